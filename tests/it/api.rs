//! Operations by HTTP: who gets in, what comes back, and what a hostile client gets.

use serde_json::{Value, json};

use crate::http::{Http, Reply, basic, bearer};
use crate::server::{PASSWORD, Server};

const API: &str = "[api]\nenabled = true\n";

fn connect(server: &Server) -> Http {
    Http::secure(server.https(), &[b"http/1.1"]).unwrap()
}

/// An API key that may do `operations`.
fn key(server: &Server, name: &str, operations: &[&str]) -> String {
    let mut arguments = vec!["api-key", "create", name];
    for operation in operations {
        arguments.extend(["--allow", operation]);
    }
    server.json(&arguments)["key"].as_str().unwrap().to_owned()
}

fn post(http: &mut Http, key: &str, name: &str, arguments: &Value) -> Reply {
    http.ask("POST", &format!("/api/{name}"), &bearer(key), &arguments.to_string())
}

#[test]
fn only_health_is_told_to_everybody() {
    let server = Server::start();
    let mut http = connect(&server);
    let health = http.ask("GET", "/healthz", "", "");
    assert_eq!((health.status, health.text().as_str()), (200, "up\n"));
    assert_eq!(health.header("x-content-type-options"), Some("nosniff"));
    let head = http.ask("HEAD", "/healthz", "", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("3")));
    let posted = http.ask("POST", "/healthz", "", "x");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    // What is not enabled is not there.
    for path in ["/", "/api/status", "/api/docs", "/api/openapi.json", "/admin"] {
        assert_eq!(http.ask("GET", path, "", "").status, 404, "{path}");
    }
    let mut plain = Http::plain(server.http());
    assert_eq!(plain.ask("GET", "/healthz", "", "").text(), "up\n");
    // ALPACA: a client of something else must not be led here.
    assert!(Http::secure(server.https(), &[b"h2", b"xmpp-client"]).is_err());
    assert!(Http::secure(server.https(), &[b"h2", b"http/1.1"]).is_ok());
    assert!(Http::secure(server.https(), &[]).is_ok());
}

#[test]
fn a_key_does_what_it_is_for_and_no_more() {
    let server = Server::start_with(API);
    let ci = key(&server, "ci", &["account.list", "register", "connected_users*"]);
    let mut http = connect(&server);
    let nobody = http.ask("POST", "/api/status", "", "{}");
    assert_eq!(nobody.status, 401);
    assert!(nobody.header("www-authenticate").unwrap().contains("Bearer"));
    assert_eq!(nobody.json()["code"], 10);

    let list = post(&mut http, &ci, "account.list", &json!({"host": "example.org"}));
    assert_eq!(list.status, 200, "{}", list.text());
    assert_eq!(list.header("content-type"), Some("application/json"));
    assert_eq!(list.header("cache-control"), Some("no-store"));
    assert_eq!(list.json()["accounts"][0]["jid"], "alice@example.org");
    let list = http.ask("GET", "/api/account.list?host=example.org&max=1", &bearer(&ci), "");
    assert_eq!(list.json()["accounts"].as_array().unwrap().len(), 1);

    let made = json!({"user": "dora", "host": "example.org", "password": "pencil"});
    let register = post(&mut http, &ci, "register", &made);
    assert_eq!(register.status, 200, "{}", register.text());
    assert_eq!(register.json(), "User dora@example.org successfully registered");
    let again = post(&mut http, &ci, "register", &made);
    assert_eq!((again.status, again.json()["code"].clone()), (409, json!(10090)));

    let denied = post(&mut http, &ci, "account.remove", &json!({"jid": "dora@example.org"}));
    assert_eq!(denied.status, 403);
    assert_eq!(denied.json()["message"], "the API key \"ci\" has no grant of account.remove");
    assert_eq!(post(&mut http, &ci, "account.nothing", &json!({})).status, 404);
    let unknown = post(&mut http, &ci, "account.list", &json!({"hosst": "example.org"}));
    assert_eq!(unknown.status, 400);
    assert!(unknown.json()["message"].as_str().unwrap().contains("unknown field `hosst`"));
    let changing = http.ask("GET", "/api/register?user=x", &bearer(&ci), "");
    assert_eq!((changing.status, changing.header("allow")), (405, Some("POST, OPTIONS")));

    let _phone = server.sign_in("alice@example.org/phone");
    let users = http.ask("GET", "/api/connected_users", &bearer(&ci), "");
    assert_eq!(users.json(), json!(["alice@example.org/phone"]));
    for (path, result) in [
        ("/api/connected_users_number", json!(1)),
        ("/api/connected_users_number/v2", json!(1)),
        ("/api/connected_users_number/v0", json!({"num_sessions": 1})),
    ] {
        assert_eq!(http.ask("GET", path, &bearer(&ci), "").json(), result, "{path}");
    }

    // The act is in the audit of the log, without its secret; the key is nowhere.
    let log = server.log();
    let line =
        "API call register {\"host\":\"example.org\",\"password\":\"***\",\"user\":\"dora\"} from";
    assert!(log.contains(line), "{log}");
    assert!(!log.contains("pencil") && !log.contains(&ci));
    server.run(&["api-key", "revoke", "ci"]);
    assert_eq!(post(&mut http, &ci, "account.list", &json!({})).status, 401);
}

#[test]
fn keys_have_networks_hosts_roles_and_an_end() {
    let server = Server::start_with(API);
    let mut http = connect(&server);
    let key = |arguments: &[&str]| {
        let made = server.json(&[&["api-key", "create"], arguments].concat());
        made["key"].as_str().unwrap().to_owned()
    };
    let far = key(&["far", "--allow", "*", "--network", "192.0.2.0/24"]);
    let refused = post(&mut http, &far, "account.list", &json!({}));
    assert_eq!(refused.status, 403, "{}", refused.text());
    let here = key(&["here", "--allow", "*", "--host", "example.org"]);
    assert_eq!(post(&mut http, &here, "account.list", &json!({})).status, 403);
    let host = json!({"host": "example.org"});
    assert_eq!(post(&mut http, &here, "account.list", &host).status, 200);
    let viewer = key(&["viewer", "--allow", "*", "--view"]);
    assert_eq!(post(&mut http, &viewer, "account.list", &json!({})).status, 200);
    let lock = json!({"jid": "bob@example.org"});
    assert_eq!(post(&mut http, &viewer, "account.lock", &lock).status, 403);
    let all = key(&["all", "--allow", "*"]);
    assert_eq!(post(&mut http, &all, "server.stop", &json!({})).status, 403);
    let brief = key(&["brief", "--allow", "*", "--expires-in", "1ms"]);
    assert_eq!(post(&mut http, &brief, "account.list", &json!({})).status, 401);
    let listed = server.json(&["api-key", "list"]);
    assert!(listed.as_array().unwrap().iter().any(|key| key["expired"] == true));
}

#[test]
fn check_password_says_yes_or_no_and_counts_guesses() {
    let config = "[limits]\nauth_failures_per_minute = 3\ntrusted_addresses = []\n";
    let server = Server::start_with(&format!("{API}{config}"));
    let key = key(&server, "portal", &["check_password"]);
    let mut http = connect(&server);
    let mut check = |user: &str, password: &str| {
        let arguments = json!({"user": user, "host": "example.org", "password": password});
        let reply = post(&mut http, &key, "check_password", &arguments);
        (reply.status, reply.json())
    };
    assert_eq!(check("alice", PASSWORD), (200, json!(0)));
    assert_eq!(check("alice", "wrong"), (200, json!(1)));
    assert_eq!(check("nobody", "wrong"), (200, json!(1)));
    server.run(&["account", "lock", "bob@example.org"]);
    assert_eq!(check("bob", PASSWORD), (200, json!(1)));
    assert_eq!(check("carol", "wrong"), (200, json!(1)));
    let (status, told) = check("alice", PASSWORD);
    assert_eq!((status, told["status"].clone()), (429, json!("error")));
    // The bucket is the one of sign-in.
    let refused = http.ask("POST", "/api/status", &basic("alice@example.org", PASSWORD), "{}");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")));
}

#[test]
fn wrong_credentials_all_look_alike() {
    let server = Server::start_with(API);
    let mut http = connect(&server);
    server.run(&["account", "lock", "bob@example.org"]);
    let mut told = Vec::new();
    for credentials in [
        basic("alice@example.org", "wrong"),
        basic("nobody@example.org", PASSWORD),
        basic("alice@elsewhere.example", PASSWORD),
        basic("bob@example.org", PASSWORD),
        basic("alice", PASSWORD),
        basic("", ""),
    ] {
        let reply = http.ask("POST", "/api/status", &credentials, "{}");
        assert_eq!(reply.status, 401, "{credentials}");
        told.push(reply.text());
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    for credentials in [
        "Authorization: Basic !!!\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Digest x\r\n",
        "Authorization: Bearer coucou_AAAA\r\nAuthorization: Bearer coucou_BBBB\r\n",
    ] {
        assert_eq!(http.ask("POST", "/api/status", credentials, "{}").status, 401);
    }
    // A password that is right opens nothing by itself.
    let alice = basic("alice@example.org", PASSWORD);
    let reply = http.ask("POST", "/api/status", &alice, "{}");
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json()["message"], "alice@example.org has no grant of status");
}

#[test]
fn accounts_do_what_permissions_say() {
    let config = format!(
        "{API}[acl]\nboss = {{ user = \"alice@example.org\" }}\nhere = {{ ip = \"127.0.0.0/8\" }}\n\
         far = {{ ip = \"192.0.2.0/24\" }}\n\
         [api.permissions.\"admin access\"]\nwho = [{{ allow = [\"boss\", \"here\"] }}]\n\
         what = [\"*\", \"!register\"]\n\
         [api.permissions.portal]\nfrom = [\"http\"]\nwho = \"local\"\n\
         what = [\"account.list\"]\nhosts = [\"example.org\"]\n\
         [api.permissions.never]\nwho = [{{ allow = [\"boss\", \"far\"] }}]\nwhat = [\"*\"]\n"
    );
    let server = Server::start_with(&config);
    let mut http = connect(&server);
    let mut ask = |who: &str, name: &str, arguments: &str| {
        let who = basic(&format!("{who}@example.org"), PASSWORD);
        let reply = http.ask("POST", &format!("/api/{name}"), &who, arguments);
        (reply.status, reply.text())
    };
    assert_eq!(ask("alice", "status", "{}").0, 200);
    let lock = "{\"jid\": \"carol@example.org\"}";
    assert_eq!(ask("alice", "account.lock", lock).0, 200);
    // Taken away under one name is taken away under all.
    for name in ["register", "account.add"] {
        let (status, told) = ask("alice", name, "{}");
        assert_eq!(status, 403, "{name} {told}");
        assert!(told.contains(&format!("alice@example.org has no grant of {name}")), "{told}");
    }
    assert_eq!(ask("bob", "account.list", "{\"host\": \"example.org\"}").0, 200);
    assert_eq!(ask("bob", "account.list", "{}").0, 403);
    let (status, told) = ask("bob", "account.lock", lock);
    assert_eq!(status, 403);
    assert!(told.contains("bob@example.org has no grant of account.lock"), "{told}");
    assert!(server.log().contains("bob@example.org has no grant of account.lock"));
}

#[test]
fn sites_call_from_a_browser_only_if_they_are_named() {
    let server = Server::start_with(&format!("{API}origins = [\"https://admin.example.org\"]\n"));
    let key = key(&server, "web", &["status"]);
    let mut http = connect(&server);
    let ours = "Origin: https://admin.example.org\r\n";
    let preflight = http.ask("OPTIONS", "/api/status", ours, "");
    assert_eq!(preflight.status, 204);
    let allowed = |reply: &Reply| reply.header("access-control-allow-origin").map(str::to_owned);
    assert_eq!(allowed(&preflight).as_deref(), Some("https://admin.example.org"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("Authorization"));
    let call = http.ask("POST", "/api/status", &format!("{ours}{}", bearer(&key)), "{}");
    assert_eq!(call.status, 200, "{}", call.text());
    assert_eq!(allowed(&call).as_deref(), Some("https://admin.example.org"));
    for foreign in
        ["Origin: https://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"]
    {
        let preflight = http.ask("OPTIONS", "/api/status", foreign, "");
        assert_eq!((preflight.status, allowed(&preflight)), (204, None));
        let call = http.ask("POST", "/api/status", &format!("{foreign}{}", bearer(&key)), "{}");
        assert_eq!((call.status, allowed(&call)), (403, None), "{foreign}");
    }
    let same = format!("Origin: https://example.org\r\n{}", bearer(&key));
    assert_eq!(http.ask("POST", "/api/status", &same, "{}").status, 200);
}

#[test]
fn the_api_answers_under_its_own_names() {
    let server = Server::start_with(&format!("{API}names = [\"api.example.org\"]\n"));
    let mut http = connect(&server);
    assert_eq!(http.ask("GET", "/api/status", "", "").status, 404);
    for (host, status) in [("api.example.org", 401), ("API.example.org.:443", 401), ("x", 404)] {
        http.send(format!("GET /api/status HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(http.reply(false).unwrap().status, status, "{host}");
    }
}

#[test]
fn a_proxy_is_believed_where_it_is_named() {
    let ip = Server::start().http().ip();
    let config = format!("{API}[http]\ntrusted_proxies = [\"{ip}\", \"127.0.0.1\"]\n");
    let server = Server::start_on(ip, &config);
    let key = server.json(&[
        "api-key",
        "create",
        "far",
        "--allow",
        "*",
        "--network",
        "192.0.2.0/24",
    ])["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut http = Http::plain(server.http());
    let mut from = |header: &str| {
        let headers = format!("{header}{}", bearer(&key));
        http.ask("POST", "/api/account.list", &headers, "{}").status
    };
    assert_eq!(from(""), 403);
    assert_eq!(from("X-Forwarded-For: 192.0.2.7\r\n"), 200);
    assert_eq!(from("X-Forwarded-For: 192.0.2.7, 198.51.100.1\r\n"), 403);
    assert_eq!(from("Forwarded: for=192.0.2.7\r\n"), 403, "not the header that was named");
    assert!(server.log().contains("from 192.0.2.7"));
}

#[test]
fn operations_are_described_from_their_one_definition() {
    let server = Server::start_with(API);
    let key = key(&server, "docs", &["*", "!account.remove"]);
    let mut http = connect(&server);
    assert_eq!(http.ask("GET", "/api/openapi.json", "", "").status, 401);
    let document = http.ask("GET", "/api/openapi.json", &bearer(&key), "").json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/api/account.add"]["post"].is_object());
    for hidden in ["/api/account.remove", "/api/server.stop"] {
        assert!(document["paths"][hidden].is_null(), "{hidden}");
    }
    let page = http.ask("GET", "/api/docs", &bearer(&key), "");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(page.text().contains("<h2 id=\"account.add\">"));

    let all: Value = serde_json::from_str(&server.run(&["api", "--openapi"])).unwrap();
    assert!(all["paths"]["/api/server.stop"].is_object());
    assert!(server.run(&["api", "--list"]).contains("account.lock"));
    assert!(server.run(&["api", "account.lock", "--help"]).contains("reason"));
}

#[test]
fn the_command_line_calls_any_operation() {
    let mut server = Server::start();
    let listed = server.json(&["api", "account.list", "host=example.org", "max=1"]);
    assert_eq!(listed["accounts"][0]["jid"], "alice@example.org");
    let number = server.run(&["api", "connected_users_number"]);
    assert_eq!(number.trim(), "0");
    let told = server.refuses(&["api", "register", "user=x", "host=example.org", "password=y"]);
    assert!(told.contains("everybody on this machine can read a command line"), "{told}");
    let told = server.refuses(&["api", "account.list", "max=many"]);
    assert!(told.contains("\"many\" is not a whole number"), "{told}");
    server.stop();
    let offline = server.json(&["api", "account.list", "{\"max\": 1}"]);
    assert_eq!(offline["accounts"][0]["jid"], "alice@example.org");
}

#[test]
fn a_reload_opens_and_closes_the_listeners_and_a_stop_drains_them() {
    let mut server = Server::start();
    let mut before = connect(&server);
    assert_eq!(before.ask("GET", "/healthz", "", "").status, 200);
    server.configure(API);
    server.run(&["reload"]);
    // An open connection sees the new settings.
    assert_eq!(before.ask("GET", "/api/status", "", "").status, 401);
    server.stop();
    assert!(before.is_closed());
}

// What follows is sent by nobody who means well.

#[test]
fn paths_that_mean_two_things_mean_nothing() {
    let server = Server::start_with(API);
    let key = key(&server, "x", &["*"]);
    let mut http = connect(&server);
    for path in [
        "//api/status",
        "/api//status",
        "/api/./status",
        "/healthz/../api/status",
        "/api/%2e%2e/x",
        "/api/status%00",
        "/api/sta%74us",
        "/api/status;x",
        "/api/..;/status",
        "/api/\\status",
    ] {
        assert_eq!(http.ask("GET", path, &bearer(&key), "").status, 400, "{path}");
    }
    for path in ["/API/status", "/api/Status", "/api/status/v2/x", "/apistatus", "/api"] {
        assert_eq!(http.ask("GET", path, &bearer(&key), "").status, 404, "{path}");
    }
}

#[test]
fn requests_that_are_none_end_the_connection() {
    let server = Server::start_with(API);
    for request in [
        "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
        "GET /healthz HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(),
        "G@T /healthz HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n".to_owned(),
        "POST /api/status HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nx".to_owned(),
        "POST /api/status HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "POST /api/status HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"
            .to_owned(),
        "POST /api/status HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
        "<stream:stream xmlns='jabber:client'>\r\n\r\n".to_owned(),
        format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(40_000)),
        format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100)),
    ] {
        let mut http = Http::plain(server.http());
        http.send(&request);
        let shown = request.chars().take(80).collect::<String>();
        if let Some(reply) = http.reply(false) {
            assert!((400..500).contains(&reply.status), "{shown:?}: {}", reply.status);
        }
    }
    assert_eq!(Http::plain(server.http()).ask("GET", "/healthz", "", "").status, 200);
}

#[test]
fn no_request_is_smuggled_in_the_body_of_another() {
    let server = Server::start_with(API);
    let key = key(&server, "x", &["status"]);
    let mut http = Http::plain(server.http());
    let inner = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    http.send(format!(
        "POST /api/status HTTP/1.1\r\nHost: a\r\n{}Content-Length: {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        bearer(&key),
        5 + inner.len()
    ));
    let first = http.reply(false).expect("an answer");
    assert!(first.status == 400, "{}", first.text());
    assert!(http.is_closed(), "what follows is not taken for a request");
}

#[test]
fn chunks_are_bounded_as_bodies_are() {
    let server = Server::start_with(&format!("{API}[http]\nrequest_bytes_max = \"8 KiB\"\n"));
    let key = key(&server, "x", &["status"]);
    let head = format!("POST /api/status HTTP/1.1\r\nHost: a\r\n{}", bearer(&key));
    let mut http = Http::plain(server.http());
    http.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"));
    assert_eq!(http.reply(false).unwrap().status, 200);
    assert!(http.is_closed());

    let mut http = Http::plain(server.http());
    http.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
    for _ in 0..100 {
        http.send(format!("400\r\n{}\r\n", "x".repeat(0x400)));
    }
    assert!(http.reply(false).is_none_or(|reply| reply.status == 413));

    let mut http = Http::plain(server.http());
    http.send(format!("{head}Content-Length: 8193\r\n\r\n"));
    assert_eq!(http.reply(false).unwrap().status, 413);
    assert!(http.is_closed());

    for chunk in ["ffffffffffffffffff\r\n", "-1\r\n", "zz\r\n", "1;x=\r\n\r\n\r\n"] {
        let mut http = Http::plain(server.http());
        http.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}"));
        http.send("0\r\n\r\n");
        assert!(http.reply(false).is_none_or(|reply| reply.status == 400), "{chunk:?}");
    }
    // Before it is known who asks, no body is read.
    let mut http = Http::plain(server.http());
    http.send("POST /api/status HTTP/1.1\r\nHost: a\r\nContent-Length: 8000\r\n\r\n");
    assert_eq!(http.reply(false).unwrap().status, 401);
}

#[test]
fn who_is_slow_is_let_go() {
    let config = "[http]\nrequest_timeout = \"1s\"\nidle_timeout = \"1s\"\n";
    let server = Server::start_with(&format!("{API}{config}"));
    let key = key(&server, "x", &["status"]);
    // Nothing at all; a head that does not end; idle after a request; a body that does not come.
    let mut silent = Http::plain(server.http());
    let mut dribbling = Http::plain(server.http());
    dribbling.send("GET /healthz HTTP/1.1\r\nHost: a\r\nX:");
    let mut idle = Http::plain(server.http());
    assert_eq!(idle.ask("GET", "/healthz", "", "").status, 200);
    let mut lazy = Http::plain(server.http());
    lazy.send(format!(
        "POST /api/status HTTP/1.1\r\nHost: a\r\n{}Content-Length: 10\r\n\r\n{{",
        bearer(&key)
    ));
    assert_eq!(lazy.reply(false).unwrap().status, 408);
    assert!(lazy.is_closed());
    assert!(silent.is_closed());
    assert!(idle.is_closed());
    assert!(dribbling.reply(false).is_none_or(|reply| reply.status == 408));
    // A handshake that does not come.
    let mut handshake = Http::plain(server.https());
    handshake.send("\x16\x03\x01");
    assert!(handshake.is_closed());
}

#[test]
fn many_requests_at_once_are_answered_in_order_and_one_after_the_other() {
    let server = Server::start_with(API);
    let mut http = Http::plain(server.http());
    let one = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let other = "GET /api/status HTTP/1.1\r\nHost: a\r\n\r\n";
    http.send([one, other].concat().repeat(50));
    for _ in 0..50 {
        assert_eq!(http.reply(false).unwrap().status, 200);
        assert_eq!(http.reply(false).unwrap().status, 401);
    }
}

#[test]
fn one_address_holds_so_many_connections() {
    let config = "[limits]\nconnections_per_address_max = 5\ntrusted_addresses = []\n";
    let server = Server::start_with(&format!("{API}{config}"));
    let mut held: Vec<Http> = (0..5).map(|_| Http::plain(server.http())).collect();
    let mut one_more = Http::plain(server.http());
    assert!(one_more.is_closed());
    assert_eq!(held[4].ask("GET", "/healthz", "", "").status, 200);
    drop(held);
    crate::server::until("places are free again", || {
        let mut http = Http::plain(server.http());
        http.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        http.reply(false).is_some()
    });
}
