//! Who answers where. A path answers under the host names of its own service and under no other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Version, header};

use super::service::{Client, Response, plain};
use crate::admin::Running;
use crate::config::Config;

/// A request on its way to a handler.
pub(super) struct Request {
    pub(super) head: Parts,
    /// Not read yet: a handler reads it once it knows who asks.
    pub(super) body: Incoming,
    pub(super) client: Client,
    pub(super) server: Arc<dyn Running>,
}

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

struct Route {
    site: Site,
    /// A path, or, with a `/` at its end, all paths below it.
    path: &'static str,
    methods: &'static [Method],
    handler: fn(Request) -> Answer,
}

/// Under which host names a path answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Site {
    Any,
    /// `[api] names`.
    Api,
}

const READ: &[Method] = &[Method::GET, Method::HEAD];
const CALL: &[Method] = &[Method::GET, Method::HEAD, Method::POST, Method::OPTIONS];
const SHOW: &[Method] = &[Method::GET, Method::HEAD, Method::OPTIONS];

/// Every path there is; the first that fits answers.
const ROUTES: &[Route] = &[
    Route { site: Site::Any, path: "/healthz", methods: READ, handler: |r| Box::pin(health(r)) },
    Route {
        site: Site::Api,
        path: "/api/openapi.json",
        methods: SHOW,
        handler: |r| Box::pin(super::api::document(r)),
    },
    Route {
        site: Site::Api,
        path: "/api/docs",
        methods: SHOW,
        handler: |r| Box::pin(super::api::page(r)),
    },
    Route {
        site: Site::Api,
        path: "/api/",
        methods: CALL,
        handler: |r| Box::pin(super::api::call(r)),
    },
];

impl Site {
    fn answers_to(self, host: Option<&str>, config: &Config) -> bool {
        match self {
            Site::Any => true,
            Site::Api if !config.api.enabled => false,
            Site::Api if config.api.names.is_empty() => true,
            Site::Api => host.is_some_and(|host| config.api.names.iter().any(|name| name == host)),
        }
    }
}

impl Route {
    fn fits(&self, path: &str) -> bool {
        if self.path.ends_with('/') { path.starts_with(self.path) } else { path == self.path }
    }
}

/// Answers one request.
pub(super) async fn answer(request: Request) -> Response {
    let host = match host(&request.head) {
        Ok(host) => host,
        Err(text) => return plain(StatusCode::BAD_REQUEST, text),
    };
    let path = request.head.uri.path();
    if !is_plain(path) {
        return plain(StatusCode::BAD_REQUEST, "the path is not a plain one");
    }
    let route = {
        let config = request.server.router().config.load();
        let here = |route: &&Route| route.site.answers_to(host.as_deref(), &config);
        ROUTES.iter().filter(|route| route.fits(path)).find(here)
    };
    match route {
        None => plain(StatusCode::NOT_FOUND, "there is nothing here"),
        Some(route) if route.methods.contains(&request.head.method) => {
            (route.handler)(request).await
        }
        Some(route) => {
            let mut response =
                plain(StatusCode::METHOD_NOT_ALLOWED, "this path does not know that method");
            let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
            if let Ok(methods) = methods.join(", ").parse() {
                response.headers_mut().insert(header::ALLOW, methods);
            }
            response
        }
    }
}

/// The host that a request is for, lower case, without a port. RFC 9112 §3.2: exactly one `Host`.
fn host(head: &Parts) -> Result<Option<String>, &'static str> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err("there is more than one Host");
    }
    if first.is_none() && head.version == Version::HTTP_11 {
        return Err("there is no Host");
    }
    let authority = match (head.uri.authority(), first) {
        (Some(authority), _) => authority.clone(),
        (None, Some(field)) => {
            let text = field.to_str().unwrap_or_default();
            text.parse::<Authority>().map_err(|_| "Host is not a host name")?
        }
        (None, None) => return Ok(None),
    };
    if authority.as_str().contains('@') {
        return Err("Host has a user name");
    }
    Ok(Some(authority.host().trim_end_matches('.').to_ascii_lowercase()))
}

/// Whether `path` can mean one thing only: no empty, dot or escaped segments. Our own paths need
/// none of them.
fn is_plain(path: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    let Some(rest) = path.strip_prefix('/') else { return false };
    let segments = rest.strip_suffix('/').unwrap_or(rest);
    rest.is_empty()
        || segments
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain))
}

/// Up or down, and nothing else: it is told to anybody.
async fn health(request: Request) -> Response {
    if request.server.is_stopping() {
        plain(StatusCode::SERVICE_UNAVAILABLE, "down")
    } else {
        plain(StatusCode::OK, "up")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_pass() {
        for path in ["/", "/healthz", "/api/account.add", "/api/register/v2", "/api/x/"] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "",
            "*",
            "api",
            "//",
            "/api//x",
            "/api/./x",
            "/api/../healthz",
            "/api/..",
            "/api/%2e%2e/x",
            "/api/%2Fx",
            "/api/x%00",
            "/api\\x",
            "/api;x",
            "/api/x//",
            "/a b",
            "/ä",
            "//evil.example/api",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    fn head(uri: &str, hosts: &[&str]) -> Parts {
        let mut request = hyper::Request::builder().uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_names_one_host() {
        for (uri, hosts, found) in [
            ("/x", &["Example.ORG:5443"][..], Ok(Some("example.org"))),
            ("/x", &["example.org."], Ok(Some("example.org"))),
            ("/x", &["[2001:db8::1]:443"], Ok(Some("[2001:db8::1]"))),
            ("http://a.example/x", &["b.example"], Ok(Some("a.example"))),
            ("/x", &[], Err("there is no Host")),
            ("/x", &["a.example", "b.example"], Err("there is more than one Host")),
            ("/x", &["a b"], Err("Host is not a host name")),
            ("/x", &["user@a.example"], Err("Host has a user name")),
        ] {
            let found = found.map(|host: Option<&str>| host.map(str::to_owned));
            assert_eq!(host(&head(uri, hosts)), found, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_site_answers_to_its_own_names() {
        let mut config = Config::default_for("example.org").unwrap();
        assert!(!Site::Api.answers_to(Some("example.org"), &config));
        config.api.enabled = true;
        assert!(Site::Api.answers_to(Some("example.org"), &config));
        assert!(Site::Api.answers_to(None, &config));
        config.api.names = vec!["api.example.org".to_owned()];
        assert!(Site::Api.answers_to(Some("api.example.org"), &config));
        assert!(!Site::Api.answers_to(Some("example.org"), &config));
        assert!(!Site::Api.answers_to(None, &config));
        assert!(Site::Any.answers_to(Some("anything"), &config));
    }
}
