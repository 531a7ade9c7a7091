//! Operations by HTTP, on the wire that ejabberd's `mod_http_api` speaks: `POST /api/NAME` with a
//! JSON object, `GET /api/NAME?…` for what only looks, 200 with the result, or an error's status
//! with `{"status": "error", "code": …, "message": …}`.
//!
//! Nobody comes in by an address alone. Whoever calls shows an API key (`Bearer`) or an account's
//! password (`Basic`); what each may is its scope, which [`crate::admin::run`] holds it to. Bodies
//! and queries are never logged as they came; the line of a call has its arguments without secrets.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::admin::op::{Class, Entry, Refusal, RefusalKind};
use crate::admin::{
    Actor, Context, Role, Running, Scope, arguments, describe, ejabberd, keys, run,
};
use crate::config::value::Secret;
use crate::jid::BareJid;
use crate::store::StoreError;
use crate::store::api_keys::ApiKey;
use crate::stream::accounts::Verdict;

/// What goes back.
pub type Answer = Response<Bytes>;

/// Seconds until somebody who asked too often may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("60");
/// What may be shown instead of nothing.
const CHALLENGE: &str = "Basic realm=\"coucou\", charset=\"UTF-8\", Bearer";
/// How long a browser may remember what [`Call::options`] said.
const PREFLIGHT_SECS: HeaderValue = HeaderValue::from_static("86400");

/// A request that is being answered.
pub struct Call<'r> {
    server: &'r Arc<dyn Running>,
    head: &'r Parts,
    /// The client's own, behind proxies that are trusted.
    address: IpAddr,
}

impl<'r> Call<'r> {
    pub fn new(server: &'r Arc<dyn Running>, head: &'r Parts, address: IpAddr) -> Call<'r> {
        Call { server, head, address }
    }

    /// Who asks.
    ///
    /// # Errors
    /// The answer to whoever has not shown that.
    pub async fn admit(&self) -> Result<Actor, Box<Answer>> {
        if !self.is_welcome() {
            let text = "this site may not call the API; [api] origins lists those that may";
            return Err(self.error(StatusCode::FORBIDDEN, 32, text).into());
        }
        let mut fields = self.head.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return Err(self
                .unauthorized("show an API key, or an account's address and password")
                .into());
        };
        let shown = field.to_str().unwrap_or_default();
        let (scheme, credentials) = shown.split_once(' ').unwrap_or_default();
        let admitted = if scheme.eq_ignore_ascii_case("bearer") {
            self.by_key(credentials.trim()).await
        } else if scheme.eq_ignore_ascii_case("basic") {
            self.by_password(credentials.trim()).await
        } else {
            return Err(self.unauthorized("authentication is by Basic or Bearer").into());
        };
        admitted.unwrap_or_else(|error| {
            tracing::error!(%error, "an API call cannot be decided");
            Err(self.refuse(&Refusal::from(error), None).into())
        })
    }

    async fn by_key(&self, shown: &str) -> Result<Result<Actor, Box<Answer>>, StoreError> {
        let cx = Context::live(self.server.clone());
        let row = match ApiKey::presented(shown) {
            Some(key) => cx.store().api_keys().find(&key).await?,
            None => None,
        };
        let now = crate::time::Now::read();
        let Some(row) = row.filter(|row| !row.is_expired(now)) else {
            if !self.server.streams().note_bad_token(self.address) {
                return Ok(Err(self.too_often().into()));
            }
            return Ok(Err(self.unauthorized("the API key is unknown, revoked or expired").into()));
        };
        match keys::actor(&row) {
            Ok(key) if !key.may_come_from(self.address) => {
                tracing::warn!(key = row.name, "an API key was shown from a foreign network");
                let text = format!("the API key {:?} may not be used from this network", row.name);
                Ok(Err(self.error(StatusCode::FORBIDDEN, 32, &text).into()))
            }
            Ok(key) => {
                cx.store().api_keys().note_use(&row, now).await?;
                Ok(Ok(self.actor(format!("api_key:{}", row.name), key.role, key.scope)))
            }
            Err(reason) => {
                tracing::error!(key = row.name, reason, "an API key cannot be read");
                Ok(Err(self.unauthorized("the API key is damaged; make a new one").into()))
            }
        }
    }

    async fn by_password(&self, shown: &str) -> Result<Result<Actor, Box<Answer>>, StoreError> {
        let decoded = STANDARD.decode(shown).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let Some((name, password)) = pair else {
            let text = "Basic has an address and a password, as in RFC 7617";
            return Ok(Err(self.unauthorized(text).into()));
        };
        let password = Secret::new(password);
        let wrong = "the address or the password is wrong";
        let jid = BareJid::parse(name).ok().filter(|jid| jid.local().is_some());
        let Some(jid) = jid else { return Ok(Err(self.unauthorized(wrong).into())) };
        let streams = self.server.streams();
        Ok(match streams.check_password(Some(self.address), &jid, password.reveal()).await? {
            Verdict::Right => Ok(self.actor(
                jid.to_string(),
                Role::Operator,
                keys::scope_of(&Context::live(self.server.clone()), &jid, self.address),
            )),
            Verdict::Wrong | Verdict::Locked => Err(self.unauthorized(wrong).into()),
            Verdict::TooOften => Err(self.too_often().into()),
        })
    }

    fn actor(&self, who: String, role: Role, scope: Scope) -> Actor {
        let shown = self.server.router().config.load().log.addresses.show(self.address);
        Actor {
            address: Some(self.address),
            scope: Some(Arc::new(scope)),
            ..Actor::new(who, format!("http {shown}"), role)
        }
    }

    /// Does what is asked.
    pub async fn perform(&self, actor: &Actor, body: &[u8]) -> Answer {
        let Some((name, version)) = split(self.head.uri.path()) else {
            return self.error(StatusCode::NOT_FOUND, 44, "the path is /api/NAME or /api/NAME/vN");
        };
        let version = version.unwrap_or_else(|| self.version());
        let Some(entry) = find(name, version) else {
            let text = format!("there is no operation {name:?}");
            return self.error(StatusCode::NOT_FOUND, 44, &text);
        };
        if self.head.method != Method::POST && !Self::is_readable(entry) {
            let text = format!("{} changes something or takes a secret: POST it", entry.name);
            let mut answer = self.error(StatusCode::METHOD_NOT_ALLOWED, 40, &text);
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            return answer;
        }
        let arguments = match self.head.method {
            Method::POST => from_body(body),
            _ => self.arguments_of_query(entry),
        };
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(refusal) => return self.refuse(&refusal, Some(entry)),
        };
        let cx = Context::live(self.server.clone());
        match run::call(&cx, actor, entry, arguments).await {
            Ok(result) => self.json(StatusCode::OK, &dress(entry, version, result)),
            Err(refusal) => self.refuse(&refusal, Some(entry)),
        }
    }

    /// Whether `entry` may be asked for with GET. A query stands in the log of every proxy.
    fn is_readable(entry: &Entry) -> bool {
        entry.class == Class::Safe && !arguments::has_secrets(entry)
    }

    fn arguments_of_query(&self, entry: &Entry) -> Result<Value, Refusal> {
        let pairs = query(self.head.uri.query().unwrap_or_default())?;
        arguments::read(entry, pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }

    /// The OpenAPI document, of what `actor` may use.
    pub fn document(&self, actor: &Actor) -> Answer {
        let shown = |entry: &Entry| run::may_ever(actor, entry);
        self.json(StatusCode::OK, &describe::openapi(self.version(), shown))
    }

    /// The page that lists all operations, for people.
    pub fn page(&self, actor: &Actor) -> Answer {
        let page = describe::page(|entry| run::may_ever(actor, entry));
        let mut answer = self.answer(StatusCode::OK, "text/html; charset=utf-8", page.into());
        answer.headers_mut().insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
        );
        answer
    }

    /// What a browser asks before it lets a foreign site's script call.
    pub fn options(&self) -> Answer {
        let mut answer = self.answer(StatusCode::NO_CONTENT, "", Bytes::new());
        let headers = answer.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        let methods = self.methods();
        headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            for (name, value) in [
                (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, X-Admin"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECS);
        }
        answer
    }

    /// What may be done with the path that is asked about.
    fn methods(&self) -> &'static str {
        let (name, version) = split(self.head.uri.path()).unwrap_or_default();
        match find(name, version.unwrap_or_else(|| self.version())) {
            Some(entry) if Self::is_readable(entry) => "GET, HEAD, POST, OPTIONS",
            Some(_) => "POST, OPTIONS",
            None => "GET, HEAD, OPTIONS",
        }
    }

    /// The API version of calls that name none.
    fn version(&self) -> u32 {
        self.server.router().config.load().api.version
    }

    pub fn too_large(&self, max: usize) -> Answer {
        let text = format!("the body is longer than {max} bytes");
        closing(self.error(StatusCode::PAYLOAD_TOO_LARGE, 40, &text))
    }

    pub fn too_slow(&self) -> Answer {
        closing(self.error(StatusCode::REQUEST_TIMEOUT, 40, "the body took too long to arrive"))
    }

    pub fn broken(&self) -> Answer {
        closing(self.error(StatusCode::BAD_REQUEST, 40, "the body did not arrive whole"))
    }

    fn too_often(&self) -> Answer {
        let text = "too many attempts failed; wait a minute";
        self.refuse(&Refusal::new(RefusalKind::TooOften, text), None)
    }

    fn unauthorized(&self, text: &str) -> Answer {
        let mut answer = self.error(StatusCode::UNAUTHORIZED, 10, text);
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        answer
    }

    fn refuse(&self, refusal: &Refusal, entry: Option<&Entry>) -> Answer {
        let status = match refusal.kind {
            RefusalKind::Usage => StatusCode::BAD_REQUEST,
            RefusalKind::Denied => StatusCode::FORBIDDEN,
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::TooOften => StatusCode::TOO_MANY_REQUESTS,
            RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            RefusalKind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let compat = entry.and_then(|entry| entry.compat.as_ref());
        let code =
            compat.map_or_else(|| ejabberd::code(refusal.kind), |compat| compat.code(refusal.kind));
        let mut body = problem(code, &refusal.text);
        if let Some(help) = &refusal.help {
            body["help"] = json!(help);
        }
        let mut answer = self.json(status, &body);
        if refusal.kind == RefusalKind::TooOften {
            answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        answer
    }

    fn error(&self, status: StatusCode, code: u32, text: &str) -> Answer {
        self.json(status, &problem(code, text))
    }

    fn json(&self, status: StatusCode, value: &Value) -> Answer {
        self.answer(status, "application/json", value.to_string().into())
    }

    fn answer(&self, status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        let allowed = self.allowed_origin();
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin, Authorization"));
        if let Some(origin) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        answer
    }

    /// The origin that may read the answer, as the header says it.
    fn allowed_origin(&self) -> Option<HeaderValue> {
        let config = self.server.router().config.load();
        let origins = &config.api.origins;
        let asked = self.head.headers.get(header::ORIGIN)?;
        if origins.iter().any(|origin| origin == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        let text = asked.to_str().ok()?;
        origins.iter().any(|origin| origin.eq_ignore_ascii_case(text)).then(|| asked.clone())
    }

    /// Whether the request may be from a page that is open in the caller's browser: a browser adds
    /// a password that it remembers to whatever a page sends.
    fn is_welcome(&self) -> bool {
        let headers = &self.head.headers;
        let Some(origin) = headers.get(header::ORIGIN) else {
            const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
            return headers.get(SITE).is_none_or(|site| site != "cross-site");
        };
        let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let from = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        self.allowed_origin().is_some() || matches!((own, from), (Some(a), Some((_, b))) if a == b)
    }
}

/// After a body that was not read to its end nothing more can be understood.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn problem(code: u32, text: &str) -> Value {
    json!({ "status": "error", "code": code, "message": text })
}

/// Name and version of `/api/NAME`, `/api/NAME/vN` and `/api/vN/NAME`.
fn split(path: &str) -> Option<(&str, Option<u32>)> {
    let rest = path.strip_prefix("/api/")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let version = |text: &str| text.strip_prefix('v')?.parse().ok();
    match rest.split_once('/') {
        None if rest.is_empty() => None,
        None => Some((rest, None)),
        Some((name, last)) if !last.contains('/') => match (version(last), version(name)) {
            (Some(version), _) => Some((name, Some(version))),
            (None, Some(version)) => Some((last, Some(version))),
            (None, None) => None,
        },
        Some(_) => None,
    }
}

fn find(name: &str, version: u32) -> Option<&'static Entry> {
    if name.contains('.') { Entry::find(name) } else { ejabberd::find(name, version) }
}

/// The result as the version asked for has it.
fn dress(entry: &Entry, version: u32, result: Value) -> Value {
    match entry.compat.as_ref().and_then(|compat| compat.result_name) {
        Some(name) if version == 0 => json!({ name: result }),
        _ => result,
    }
}

fn from_body(body: &[u8]) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Err(Refusal::usage("there is no body; POST a JSON object, {} for no arguments"));
    }
    if body.trim_ascii().is_empty() {
        // As `echo | curl -d @-` sends it.
        return Ok(json!({}));
    }
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Refusal::usage("the body is JSON, and not an object")),
        Err(error) => Err(Refusal::usage(format!("the body is not JSON: {error}"))),
    }
}

/// The pairs of a query, as forms write them.
fn query(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((unescape(key)?, unescape(value)?))
        })
        .collect()
}

fn unescape(text: &str) -> Result<String, Refusal> {
    let wrong = || Refusal::usage("the query is not escaped as it has to be");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = digit().zip(digit()).ok_or_else(wrong)?;
                u8::try_from(high * 16 + low).map_err(|_| wrong())?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_an_operation_and_a_version() {
        for (path, found) in [
            ("/api/register", Some(("register", None))),
            ("/api/register/", Some(("register", None))),
            ("/api/register/v2", Some(("register", Some(2)))),
            ("/api/v0/status", Some(("status", Some(0)))),
            ("/api/account.add", Some(("account.add", None))),
            ("/api/", None),
            ("/api/a/b", None),
            ("/api/a/v1/b", None),
        ] {
            assert_eq!(split(path), found, "{path}");
        }
    }

    #[test]
    fn queries_are_unescaped() {
        assert_eq!(
            query("host=example.org&prefix=a%20b+c&after&x=%C3%A4").unwrap(),
            [("host", "example.org"), ("prefix", "a b c"), ("after", ""), ("x", "ä")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        for broken in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(query(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn bodies_are_objects() {
        assert_eq!(from_body(b"\n").unwrap(), json!({}));
        assert_eq!(from_body(br#"{"a": 1}"#).unwrap(), json!({"a": 1}));
        for bad in [&b""[..], b"[]", b"1", b"{", b"\xff", b"{\"a\": 1} x"] {
            assert_eq!(from_body(bad).unwrap_err().kind, RefusalKind::Usage);
        }
        // As deep as one likes is no way to the end of the stack.
        let deep = [b'['; 100_000];
        assert!(from_body(&deep).is_err());
    }

    #[test]
    fn version_0_names_single_values() {
        let entry = find("connected_users_number", 0).unwrap();
        assert_eq!(dress(entry, 0, json!(2)), json!({"num_sessions": 2}));
        assert_eq!(dress(entry, 1, json!(2)), json!(2));
        let entry = find("connected_users", 0).unwrap();
        assert_eq!(dress(entry, 0, json!([])), json!([]));
    }
}
