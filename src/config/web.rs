//! `[http]` and `[api]`: HTTP, and operators' acts by it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::check::{KIB, MIB, networks, secs};
use super::diff::Effect;
use super::leaf::Choice;
use super::model::Listen;
use super::raw::{Document, Table};
use super::value::{self, IpNet};

/// How HTTP is spoken.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Whose word on the address of a client counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Where they say it.
    pub proxy_header: ProxyHeader,
    /// Largest body of a request.
    pub request_bytes_max: usize,
    /// From a request's first byte to its last.
    pub request_timeout: Duration,
    /// How long a connection without a request stays open.
    pub idle_timeout: Duration,
}

impl Http {
    /// Whether `peer` is a proxy that is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(peer))
    }
}

/// The header in which a proxy tells whom it speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// What most proxies write.
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl Choice for ProxyHeader {
    const ALL: &'static [(&'static str, ProxyHeader)] =
        &[("x-forwarded-for", ProxyHeader::XForwardedFor), ("forwarded", ProxyHeader::Forwarded)];
}

/// Operators' acts by HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    pub enabled: bool,
    /// Host names under which it answers; empty stands for any.
    pub names: Vec<String>,
    /// Web sites whose scripts may call it; `*` stands for all.
    pub origins: Vec<String>,
}

pub(super) fn http(table: &mut Table<'_, '_>) -> Http {
    table.effect(Effect::NewConnections);
    let request_timeout = table.span("request_timeout", secs(30), secs(1)..=secs(600));
    let idle_timeout = table.span("idle_timeout", secs(60), secs(1)..=secs(3600));
    table.effect(Effect::Live);
    Http {
        trusted_proxies: networks(table, "trusted_proxies", &[]),
        proxy_header: table.choice("proxy_header", ProxyHeader::XForwardedFor),
        request_bytes_max: table.bytes("request_bytes_max", MIB, 4 * KIB..=64 * MIB),
        request_timeout,
        idle_timeout,
    }
}

pub(super) fn api(table: &mut Table<'_, '_>) -> Api {
    table.effect(Effect::Live);
    Api {
        enabled: table.flag("enabled", false),
        names: table.list(
            "names",
            Vec::new(),
            "a host name such as \"api.example.org\"",
            String::clone,
            value::domain,
        ),
        origins: table.list(
            "origins",
            Vec::new(),
            "an origin such as \"https://example.org\", or \"*\"",
            String::clone,
            origin,
        ),
    }
}

/// RFC 6454: scheme, host, and a port that is not the scheme's own.
fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c);
    match rest {
        Some("") => Err("has no host name".to_owned()),
        Some(rest) if rest.chars().all(fits) => Ok(text.to_ascii_lowercase()),
        Some(_) => Err("has more than a host name and a port".to_owned()),
        None => Err("does not begin with https:// or http://".to_owned()),
    }
}

/// What is in clear text stays on this machine, or comes from a proxy that is named.
pub(super) fn plain_listeners_are_near(listen: &Listen, http: &Http, document: &Document<'_>) {
    let far = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    if let Some(address) = listen.http.iter().find(far)
        && http.trusted_proxies.is_empty()
    {
        let problem = document
            .problem("listen.http")
            .found(format!("{address}, where passwords would pass in clear text"))
            .expected("a loopback address such as \"127.0.0.1:5280\", or a proxy to listen for")
            .help("use listen.https, or name the proxy's address in http.trusted_proxies");
        document.report(problem);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    fn told(text: &str) -> Vec<String> {
        let text = format!("{text}\n[hosts.\"example.org\"]\n");
        match parse(&text, Path::new("/etc/coucou/coucou.toml")) {
            Ok(_) => Vec::new(),
            Err(error) => error.problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn clear_text_stays_near() {
        assert!(told("[listen]\nhttp = [\"127.0.0.1:5280\", \"[::1]:5280\"]").is_empty());
        let far = told("[listen]\nhttp = [\"[::]:5280\"]");
        assert!(far[0].contains("where passwords would pass in clear text"), "{far:?}");
        let proxy = "[http]\ntrusted_proxies = [\"192.0.2.1\"]";
        assert!(told(&format!("[listen]\nhttp = [\"[::]:5280\"]\n{proxy}")).is_empty());
    }

    #[test]
    fn origins_are_origins() {
        for (origin, why) in [
            ("example.org", "does not begin with"),
            ("https://", "has no host name"),
            ("https://example.org/", "has more than a host name"),
        ] {
            let told = told(&format!("[api]\norigins = [\"{origin}\"]"));
            assert!(told[0].contains(why), "{told:?}");
        }
        assert!(told("[api]\norigins = [\"*\", \"http://localhost:8000\"]").is_empty());
    }
}
