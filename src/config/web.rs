//! `[http]` and `[api]`: HTTP, and operators' acts by it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::check::{KIB, MIB, networks, secs};
use super::diff::Effect;
use super::grant::Grant;
use super::leaf::Choice;
use super::model::Listen;
use super::problem::Problem;
use super::raw::{Document, Table};
use super::rules::{ACL_DEPTH_MAX, Access, Condition, Entry, Rules, Test};
use super::value::{self, IpNet};

/// ejabberd's number for the newest version there is.
const VERSION_NEWEST: u32 = 1_000_000;

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
    /// The API version of calls that name none: the newest form of a command that is not newer.
    pub version: u32,
    /// What accounts may do that show their password, in the order of the file; each that fits
    /// adds to the others.
    pub permissions: Vec<Permission>,
}

/// Some operations for some accounts.
#[derive(Clone, Debug, PartialEq)]
pub struct Permission {
    pub name: String,
    /// The doors it counts at; empty stands for all that ask.
    pub from: Vec<Door>,
    pub who: Access,
    pub what: Grant,
    /// Empty stands for the whole server.
    pub hosts: Vec<String>,
}

/// A door at which accounts show what they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Http,
}

impl Choice for Door {
    const ALL: &'static [(&'static str, Door)] = &[("http", Door::Http)];
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

pub(super) fn api(table: &mut Table<'_, '_>, rules: &Rules) -> Api {
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
        version: table.count("version", VERSION_NEWEST, 0..=VERSION_NEWEST),
        permissions: table.each_named("permissions", |name, table| permission(table, name, rules)),
    }
}

fn permission(table: &mut Table<'_, '_>, name: String, rules: &Rules) -> Permission {
    let doors: Vec<&str> = Door::ALL.iter().map(|(name, _)| *name).collect();
    let from = table.list(
        "from",
        Vec::new(),
        &format!("a door such as {:?}", doors[0]),
        |door: &Door| door.name().to_owned(),
        |text| Door::from_name(text).ok_or_else(|| "is no door".to_owned()),
    );
    let who = table.access("who", "none");
    if by_address_alone(rules, &who) {
        table.report(
            "who",
            "a rule that an address alone satisfies",
            "accounts, and networks at most besides: { allow = [\"admin\", { ip = \"192.0.2.0/24\" }] }; \
             a program without an account gets a key: \
             `coucou api-key create NAME --network 192.0.2.0/24`",
        );
    }
    let words = table.list(
        "what",
        Vec::new(),
        "the name of an operation, \"*\", \"[tag:…]\", \"[class:…]\", or one of them after a \"!\"",
        String::clone,
        |text| Grant::parse([text]).map(|_| text.to_owned()),
    );
    let hosts =
        table.list("hosts", Vec::new(), "a domain of this server", String::clone, value::domain);
    // Each word was read before.
    let what = Grant::parse(words.iter().map(String::as_str)).unwrap_or_default();
    Permission { name, from, who, what, hosts }
}

/// Whether somebody gets in of whom nothing is asked but where he comes from. Of the conditions of
/// an entry all must hold, of those of an ACL any.
fn by_address_alone(rules: &Rules, access: &Access) -> bool {
    let entry = |entry: &Entry| {
        let of = |condition: &Condition| asks(rules, &condition.test, ACL_DEPTH_MAX);
        let all: Vec<Asks> = entry.conditions.iter().map(of).collect();
        entry.allow && all.contains(&Asks::Address) && !all.contains(&Asks::Account)
    };
    match access {
        Access::Inline(rule) => rule.entries.iter().any(entry),
        Access::Named(name) => match rules.access.get(name.as_ref()) {
            Some(rule) => rule.entries.iter().any(entry),
            None => asks(rules, &Test::Acl(name.to_string()), ACL_DEPTH_MAX) == Asks::Address,
        },
    }
}

/// What must be known of somebody for a condition to hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    Address,
    Account,
}

fn asks(rules: &Rules, test: &Test, depth: usize) -> Asks {
    match test {
        Test::Ip(_) => Asks::Address,
        Test::Acl(name) if name == "all" => Asks::Nothing,
        Test::Acl(name) if depth > 0 => {
            let conditions = rules.acls.get(name).into_iter().flat_map(|acl| &acl.conditions);
            let all: Vec<Asks> = conditions.map(|c| asks(rules, &c.test, depth - 1)).collect();
            match () {
                () if all.contains(&Asks::Nothing) => Asks::Nothing,
                () if all.contains(&Asks::Address) => Asks::Address,
                () => Asks::Account,
            }
        }
        _ => Asks::Account,
    }
}

/// What is allowed and yet seldom meant.
pub(super) fn doubts(api: &Api, document: &Document<'_>) -> Vec<Problem> {
    let everybody = |access: &Access| matches!(access, Access::Named(name) if matches!(name.as_ref(), "all" | "local"));
    let wide = api.permissions.iter().filter(|permission| {
        everybody(&permission.who) && permission.what.words().iter().any(|word| word == "*")
    });
    wide.map(|permission| {
        document
            .problem(&format!("api.permissions.{}.who", permission.name))
            .found("every operation for every account")
            .help("whoever has an account here may then do all that operators may")
    })
    .collect()
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
    fn nothing_is_granted_by_an_address_alone() {
        let told = |who: &str| {
            told(&format!(
                "[acl]\nnear = {{ ip = \"192.0.2.0/24\" }}\nboss = {{ user = \"a@example.org\" }}\n\
                 either = {{ acl = [\"boss\", \"near\"] }}\n[access]\nfar = [{{ allow = \"near\" }}]\n\
                 [api.permissions.\"admin access\"]\nwhat = [\"*\"]\nwho = {who}"
            ))
        };
        for who in [
            "\"near\"",
            "\"far\"",
            "\"loopback\"",
            "\"either\"",
            "[{ allow = { ip = \"192.0.2.0/24\" } }]",
            "[{ deny = \"boss\" }, { allow = [\"all\", \"loopback\"] }]",
        ] {
            let told = told(who);
            assert_eq!(told.len(), 1, "{who}: {told:?}");
            assert!(told[0].contains("api-key create NAME --network"), "{told:?}");
        }
        for who in [
            "\"boss\"",
            "\"configure\"",
            "[{ allow = [\"boss\", \"near\"] }]",
            "[{ deny = \"near\" }, { allow = \"boss\" }]",
            "\"all\"",
            "\"none\"",
        ] {
            assert_eq!(told(who), [] as [String; 0], "{who}");
        }
    }

    #[test]
    fn words_that_grant_nothing_known_are_told() {
        let told = told("[api.permissions.x]\nwho = \"admin\"\nwhat = [\"!!stop\", \"a b\"]");
        assert!(told[0].contains("has two !") && told.len() == 2, "{told:?}");
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
