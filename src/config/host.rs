//! One `[hosts."DOMAIN"]` table.

use std::path::Path;

use super::check::{KIB, MIB, path, secs};
use super::diff::Effect;
use super::leaf::Choice;
use super::model::{
    Archive, ArchiveDefault, Auth, Contact, Guest, HostConfig, Invites, Mechanism, Offline, Push,
    ResourceConflict, Services, TlsFiles,
};
use super::raw::Table;
use super::registration::registration;
use super::room;
use super::rules::Allowance;
use super::value;

const DAY: u64 = 86_400;

/// Reads the table of `domain`.
pub(super) fn host(table: &mut Table<'_, '_>, domain: String, data_dir: &Path) -> HostConfig {
    table.effect(Effect::NewConnections);
    let auth = table.choice("auth", Auth::Internal);
    let guest = auth == Auth::Anonymous;
    let starttls_required = table.flag("starttls_required", true);
    let mechanisms = mechanisms(table, guest);
    let resource_conflict = table.choice("resource_conflict", ResourceConflict::Replace);
    table.effect(Effect::Live);
    HostConfig {
        auth,
        starttls_required,
        mechanisms,
        resource_conflict,
        tls: table.section("tls", |table| tls(table, &domain, data_dir)),
        scram_iterations: table.count("scram_iterations", 10_000, 4096..=1_000_000),
        token_lifetime: table.span("token_lifetime", secs(30 * DAY), secs(3600)..=secs(3650 * DAY)),
        tokens_per_account_max: table.count("tokens_per_account_max", 20, 1..=1000) as usize,
        services: table.section("services", |table| services(table, &domain)),
        contact: table.section("contact", contact),
        registration: table.section("registration", registration),
        archive: table.section("archive", |table| archive(table, guest)),
        offline: table.section("offline", |table| offline(table, guest)),
        roster_items_max: table.allowance("roster_items_max", 5000, 0..=100_000),
        sign_in: table.access("sign_in", "all"),
        sessions_per_account_max: table.allowance("sessions_per_account_max", 20, 1..=1000),
        private_bytes_max: table.bytes("private_bytes_max", 256 * KIB, 0..=16 * MIB),
        vcard_bytes_max: table.bytes("vcard_bytes_max", 128 * KIB, 0..=16 * MIB),
        blocklist_max: table.count("blocklist_max", 1000, 0..=100_000) as usize,
        push: table.section("push", push),
        invites: table.section("invites", |table| invites(table, &domain)),
        rooms: table.section("rooms", room::rooms),
        guest: self::guest(table, guest),
        domain,
    }
}

/// An anonymous host offers ANONYMOUS alone, so a list there would be a misunderstanding.
fn mechanisms(table: &mut Table<'_, '_>, guest: bool) -> Vec<Mechanism> {
    let names: Vec<&str> = Mechanism::ALL.iter().map(|(name, _)| *name).collect();
    let default = Mechanism::ALL.iter().map(|(_, mechanism)| *mechanism).collect();
    let expected = format!("one of {}", names.join(", "));
    let mut list = table.list(
        "mechanisms",
        default,
        &expected,
        |mechanism| mechanism.name().to_owned(),
        |text| {
            Mechanism::from_name(text).ok_or_else(|| match text {
                _ if text.ends_with("-PLUS") => "follows its base form by itself".to_owned(),
                "ANONYMOUS" => "is what `auth = \"anonymous\"` is for".to_owned(),
                _ => "is not a mechanism offered here".to_owned(),
            })
        },
    );
    if guest && table.has("mechanisms") {
        table.report(
            "mechanisms",
            "a list of mechanisms",
            "none, as `auth = \"anonymous\"` offers ANONYMOUS alone",
        );
    } else if list.is_empty() && table.has("mechanisms") {
        table.report("mechanisms", "no valid mechanism", "at least one, or nobody can sign in");
    }
    list.sort();
    list.dedup();
    list
}

fn tls(table: &mut Table<'_, '_>, domain: &str, data_dir: &Path) -> TlsFiles {
    let default = TlsFiles::default_for(data_dir, domain);
    // The default is a path of its own making and is not repeated here as text.
    let file = default.certificate.display().to_string();
    let certificate = path(table, "certificate", &file, data_dir);
    let key = path(table, "key", &file, data_dir);
    match (table.has("certificate"), table.has("key")) {
        (true, false) => {
            table.report("certificate", "a certificate without a key", "`key` beside `certificate`")
        }
        (false, true) => {
            table.report("key", "a key without a certificate", "`certificate` beside `key`")
        }
        _ => {}
    }
    let self_signed = certificate == default.certificate && key == default.key;
    TlsFiles { certificate, key, self_signed }
}

fn services(table: &mut Table<'_, '_>, domain: &str) -> Services {
    let mut service = |key: &'static str| {
        let default = Some(format!("{key}.{domain}"));
        let show = |name: &Option<String>| name.clone().unwrap_or_else(|| "off".to_owned());
        table.text(key, default, "a domain name, or \"off\"", show, |text| match text {
            "off" => Ok(None),
            text => value::domain(text).map(Some),
        })
    };
    Services {
        conference: service("conference"),
        upload: service("upload"),
        proxy: service("proxy"),
        pubsub: service("pubsub"),
    }
}

fn contact(table: &mut Table<'_, '_>) -> Contact {
    let mut addresses = |key| {
        let expected = "a URI such as \"mailto:admin@example.org\" or \"xmpp:admin@example.org\"";
        table.list(key, Vec::new(), expected, String::clone, |text| match text.split_once(':') {
            Some((scheme, rest))
                if is_scheme(scheme) && !rest.is_empty() && !text.contains(char::is_whitespace) =>
            {
                Ok(text.to_owned())
            }
            _ if text.contains('@') => {
                Err("has no scheme, which would say how to reach it".to_owned())
            }
            _ => Err("is not a URI".to_owned()),
        })
    };
    Contact {
        abuse: addresses("abuse"),
        admin: addresses("admin"),
        feedback: addresses("feedback"),
        sales: addresses("sales"),
        security: addresses("security"),
        status: addresses("status"),
        support: addresses("support"),
    }
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// A guest's account is gone with its session, so nothing of it may be kept.
fn archive(table: &mut Table<'_, '_>, guest: bool) -> Archive {
    let unset = if guest { ArchiveDefault::Never } else { ArchiveDefault::Always };
    let archive = Archive {
        default: table.choice("default", unset),
        retention: table.span_or("retention", None, "forever", secs(3600)..=secs(36_500 * DAY)),
        bytes_max: table.bytes_or("bytes_max", None, "unlimited", u64::from(MIB)..=1 << 50),
        search: table.flag("search", false),
    };
    if guest && archive.default != ArchiveDefault::Never {
        table.report(
            "default",
            archive.default.name(),
            "\"never\" on a host with `auth = \"anonymous\"`",
        );
    }
    if guest && archive.search {
        table.report("search", "true", "false on a host with `auth = \"anonymous\"`");
    }
    archive
}

fn offline(table: &mut Table<'_, '_>, guest: bool) -> Offline {
    let offline = Offline {
        messages_max: table.allowance("messages_max", if guest { 0 } else { 1000 }, 0..=1_000_000),
        age_max: table.span_or("age_max", None, "forever", secs(3600)..=secs(36_500 * DAY)),
    };
    if guest && offline.messages_max != Allowance::Fixed(0) {
        let found = offline.messages_max.to_string();
        table.report("messages_max", &found, "0 on a host with `auth = \"anonymous\"`");
    }
    offline
}

fn push(table: &mut Table<'_, '_>) -> Push {
    Push {
        registrations_max: table.count("registrations_max", 10, 0..=100) as usize,
        with_sender: table.flag("with_sender", false),
        with_body: table.flag("with_body", false),
    }
}

fn invites(table: &mut Table<'_, '_>, domain: &str) -> Invites {
    let expected = "a web address such as \"https://example.org/invite/{token}\"";
    let show = |page: &Option<String>| page.clone().unwrap_or_default();
    let page = table.text("page", None, expected, show, |text| match text {
        "" => Ok(None),
        _ if !text.contains("{token}") => Err("has no {token} in it".to_owned()),
        _ if text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err("is no web address".to_owned())
        }
        _ if text.starts_with("https://") => Ok(Some(text.replace("{host}", domain))),
        _ => Err("is no https address: tokens are as good as passwords".to_owned()),
    });
    let invites = Invites {
        create_accounts: table.access("create_accounts", "configure"),
        contacts: table.access("contacts", "local"),
        open_max: table.count("open_max", 20, 0..=100_000) as usize,
        uses_max: table.count("uses_max", 10, 1..=100_000),
        lifetime: table.span("lifetime", secs(7 * DAY), secs(60)..=secs(365 * DAY)),
        lifetime_max: table.span("lifetime_max", secs(30 * DAY), secs(60)..=secs(3650 * DAY)),
        page,
    };
    if table.has("lifetime") && invites.lifetime > invites.lifetime_max {
        let found = value::Span(invites.lifetime).to_string();
        table.report("lifetime", &found, "no more than `lifetime_max`");
    }
    invites
}

fn guest(table: &mut Table<'_, '_>, guest: bool) -> Guest {
    if table.has("guest") && !guest {
        table.report(
            "guest",
            "bounds for guests",
            "`auth = \"anonymous\"` beside them, or no [guest] table",
        );
    }
    table.section("guest", |table| Guest {
        sessions_max: table.count("sessions_max", 200, 1..=100_000) as usize,
        session_age_max: table.span("session_age_max", secs(DAY / 2), secs(60)..=secs(30 * DAY)),
        logins_per_address_per_minute: table.count("logins_per_address_per_minute", 5, 1..=10_000),
    })
}

impl Choice for Auth {
    const ALL: &'static [(&'static str, Auth)] =
        &[("internal", Auth::Internal), ("anonymous", Auth::Anonymous)];
}

impl Choice for Mechanism {
    const ALL: &'static [(&'static str, Mechanism)] = &[
        ("SCRAM-SHA-512", Mechanism::ScramSha512),
        ("SCRAM-SHA-256", Mechanism::ScramSha256),
        ("SCRAM-SHA-1", Mechanism::ScramSha1),
        ("PLAIN", Mechanism::Plain),
    ];
}

impl Choice for ArchiveDefault {
    const ALL: &'static [(&'static str, ArchiveDefault)] = &[
        ("always", ArchiveDefault::Always),
        ("never", ArchiveDefault::Never),
        ("roster", ArchiveDefault::Roster),
    ];
}

impl Choice for ResourceConflict {
    const ALL: &'static [(&'static str, ResourceConflict)] = &[
        ("replace", ResourceConflict::Replace),
        ("refuse", ResourceConflict::Refuse),
        ("rename", ResourceConflict::Rename),
    ];
}
