//! `/api`: from a request to [`crate::admin::doors::http`] and back.

use http_body_util::Full;
use hyper::Method;
use hyper::body::Bytes;

use super::routes::Request;
use super::service::{BodyFault, Response, read};
use crate::admin::doors::http::Call;

/// A call of an operation. Its body is read once it is known who asks.
pub(super) async fn call(request: Request) -> Response {
    let Request { head, body, client, server } = request;
    let call = Call::new(&server, &head, client.address);
    if head.method == Method::OPTIONS {
        return finish(call.options());
    }
    let answer = match call.admit().await {
        Err(answer) => *answer,
        Ok(actor) => {
            let http = server.router().config.load().http.clone();
            match read(body, http.request_bytes_max, http.request_timeout).await {
                Ok(body) => call.perform(&actor, &body).await,
                Err(BodyFault::TooLarge) => call.too_large(http.request_bytes_max),
                Err(BodyFault::TooSlow) => call.too_slow(),
                Err(BodyFault::Broken) => call.broken(),
            }
        }
    };
    finish(answer)
}

/// The OpenAPI document.
pub(super) async fn document(request: Request) -> Response {
    let call = Call::new(&request.server, &request.head, request.client.address);
    finish(match call.admit().await {
        _ if request.head.method == Method::OPTIONS => call.options(),
        Ok(actor) => call.document(&actor),
        Err(answer) => *answer,
    })
}

/// The page for people.
pub(super) async fn page(request: Request) -> Response {
    let call = Call::new(&request.server, &request.head, request.client.address);
    finish(match call.admit().await {
        _ if request.head.method == Method::OPTIONS => call.options(),
        Ok(actor) => call.page(&actor),
        Err(answer) => *answer,
    })
}

fn finish(answer: hyper::Response<Bytes>) -> Response {
    answer.map(Full::new)
}
