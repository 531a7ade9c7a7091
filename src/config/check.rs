//! From the file as written to a [`Config`]: types, bounds, defaults, and what must hold between
//! settings.
//!
//! Every key is named here once. Defaults stand beside bounds; `assets/coucou.toml` repeats them
//! for people, and a test holds the two together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;

use super::diff::Effect;
use super::host::host;
use super::leaf::Choice;
use super::model::StreamManagement;
use super::model::{
    Addresses, Admin, Component, Config, HostConfig, Level, Limits, Listen, Log, LogFormat, Storage,
};
use super::problem::{ConfigError, Problem};
use super::raw::{Document, Table};
use super::value::IpNet;
use super::web;

pub(super) const KIB: u32 = 1 << 10;
pub(super) const MIB: u32 = 1 << 20;

/// `sun_path` holds 108 bytes with its final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A config that is in order, with what is doubtful about it.
#[derive(Clone, Debug)]
pub struct Checked {
    pub config: Config,
    /// Accepted, but worth a look.
    pub warnings: Vec<Problem>,
}

/// Reads `text` as the content of `file`; relative paths in it count from the folder of `file`.
///
/// # Errors
/// All that is wrong with it, in the order of the file.
pub fn parse(text: &str, file: &Path) -> Result<Checked, ConfigError> {
    let (tree, faults) = DeTable::parse_recoverable(text);
    if !faults.is_empty() {
        let mut problems: Vec<_> = faults.iter().map(|fault| syntax(text, fault)).collect();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        return Err(ConfigError { file: file.to_owned(), problems });
    }
    let base = std::path::absolute(file)
        .ok()
        .and_then(|file| file.parent().map(Path::to_owned))
        .unwrap_or_default();
    let document = Document::new(text);
    let mut config = Table::root(&document, tree.get_ref(), |table| root(table, &base));
    names_are_distinct(&config, &document);
    listeners_are_distinct(&config.listen, &document);
    web::plain_listeners_are_near(&config.listen, &config.http, &document);
    socket_path_fits(&config.admin_socket, &document);
    let warnings = doubts(&config, &document);
    let (problems, settings) = document.finish();
    if problems.is_empty() {
        config.settings = settings;
        Ok(Checked { config, warnings })
    } else {
        Err(ConfigError { file: file.to_owned(), problems })
    }
}

fn syntax(text: &str, fault: &toml::de::Error) -> Problem {
    let span = fault.span().unwrap_or(0..0);
    let found = fault.message().lines().next().unwrap_or("a fault of syntax").to_owned();
    Problem::at(text, &span, "").found(format!("a fault of TOML syntax: {found}"))
}

fn root(table: &mut Table<'_, '_>, base: &Path) -> Config {
    table.effect(Effect::Restart);
    let data_dir = path(table, "data_dir", "/var/lib/coucou", base);
    let admin_socket = path(table, "admin_socket", "admin.sock", &data_dir);
    let admin_group =
        table.text("admin_group", None, "the name of a group, or \"\" for none", show_group, group);
    let view_group =
        table.text("view_group", None, "the name of a group, or \"\" for none", show_group, group);
    let listen = table.section("listen", listen);
    let http = table.section("http", web::http);
    let limits = table.section("limits", limits);
    let stream_management = table.section("stream_management", stream_management);
    let log = table.section("log", |table| log(table, &data_dir));
    let storage = table.section("storage", storage);
    let backup = table.section("backup", |table| super::backup::backup(table, &data_dir));
    table.effect(Effect::Live);
    // Before the hosts, whose settings name rules.
    let mut rules = table.rules();
    let api = table.section("api", |table| web::api(table, &rules));
    let admin = table.section("admin", |table| Admin {
        access: table.access("access", "configure"),
        owners: table.access("owners", "none"),
    });
    let hosts: Vec<Arc<HostConfig>> =
        table.each_domain("hosts", |domain, table| Arc::new(host(table, domain, &data_dir)));
    let components = table.each_domain("components", |domain, table| Component {
        domain,
        secret: table.secret("secret", 8),
    });
    if hosts.is_empty() && !table.has_entries("hosts") {
        let help = "add a line `[hosts.\"example.org\"]` with your domain";
        table.report_here("no host", "at least one domain to serve", help);
    }
    rules.hosts = hosts.iter().map(|host| host.domain.clone()).collect();
    rules.uses = table.uses();
    Config {
        data_dir,
        admin_socket,
        admin_group,
        view_group,
        hosts,
        listen: Listen {
            component: if components.is_empty() { Vec::new() } else { listen.component },
            ..listen
        },
        http,
        api,
        limits,
        stream_management,
        log,
        storage,
        backup,
        components,
        admin,
        rules: Arc::new(rules),
        settings: Vec::new(),
    }
}

fn listen(table: &mut Table<'_, '_>) -> Listen {
    table.effect(Effect::Rebind);
    let mut addresses = |key, default: &[&str]| {
        let default = default.iter().filter_map(|text| text.parse().ok()).collect();
        let expected = "an address with its port, such as \"[::]:5222\" or \"192.0.2.1:5222\"";
        table.list(key, default, expected, SocketAddr::to_string, |text| {
            text.parse().map_err(|_| "is not an IP address with a port".to_owned())
        })
    };
    Listen {
        c2s: addresses("c2s", &["[::]:5222"]),
        c2s_tls: addresses("c2s_tls", &["[::]:5223"]),
        https: addresses("https", &[]),
        http: addresses("http", &[]),
        component: addresses("component", &["127.0.0.1:5347", "[::1]:5347"]),
    }
}

fn limits(table: &mut Table<'_, '_>) -> Limits {
    table.effect(Effect::NewConnections);
    let stanza_bytes_max_before_auth =
        table.bytes("stanza_bytes_max_before_auth", 10_000, 10_000..=MIB);
    let stanza_bytes_max = table.bytes("stanza_bytes_max", 256 * KIB, 10_000..=16 * MIB);
    let depth_max = table.count("depth_max", 100, 10..=1000) as usize;
    let attributes_max = table.count("attributes_max", 100, 20..=1000) as usize;
    let mailbox_bytes_max = table.bytes("mailbox_bytes_max", 256 * KIB, 16 * KIB..=64 * MIB);
    let auth_attempts_max = table.count("auth_attempts_max", 5, 2..=20);
    let negotiation_timeout = table.span("negotiation_timeout", secs(60), secs(5)..=secs(600));
    let ping_after = table.span("ping_after", secs(15 * 60), secs(10)..=secs(86_400));
    let ping_timeout = table.span("ping_timeout", secs(60), secs(1)..=secs(3600));
    let write_timeout = table.span("write_timeout", secs(60), secs(1)..=secs(3600));
    table.effect(Effect::Live);
    Limits {
        stanza_bytes_max_before_auth,
        stanza_bytes_max,
        depth_max,
        attributes_max,
        connections_max: table.count("connections_max", 20_000, 1..=1_000_000) as usize,
        connections_per_address_max: table.count("connections_per_address_max", 200, 1..=1_000_000)
            as usize,
        connections_per_address_rate: table.count(
            "connections_per_address_rate",
            120,
            1..=1_000_000,
        ),
        auth_attempts_max,
        auth_failures_per_minute: table.count("auth_failures_per_minute", 10, 1..=10_000),
        trusted_addresses: networks(table, "trusted_addresses", &["127.0.0.0/8", "::1/128"]),
        negotiation_timeout,
        ping_after,
        ping_timeout,
        write_timeout,
        mailbox_bytes_max,
    }
}

fn stream_management(table: &mut Table<'_, '_>) -> StreamManagement {
    table.effect(Effect::NewConnections);
    StreamManagement {
        resume_timeout: table.span("resume_timeout", secs(600), secs(10)..=secs(7 * 86_400)),
        resume_timeout_max: table.span(
            "resume_timeout_max",
            secs(3600),
            secs(10)..=secs(7 * 86_400),
        ),
        queue_bytes_max: table.bytes("queue_bytes_max", MIB, 64 * KIB..=64 * MIB),
    }
}

fn log(table: &mut Table<'_, '_>, data_dir: &Path) -> Log {
    table.effect(Effect::Live);
    let level = table.choice("level", Level::Info);
    let levels = table.map("levels");
    let addresses = table.choice("addresses", Addresses::Full);
    table.effect(Effect::Restart);
    Log {
        level,
        levels,
        format: table.choice("format", LogFormat::Text),
        dir: path(table, "dir", "log", data_dir),
        keep_days: table.count("keep_days", 14, 1..=3650) as usize,
        ring_lines: table.count("ring_lines", 2000, 10..=1_000_000) as usize,
        ring_bytes: table.bytes("ring_bytes", 512 * KIB, 16 * KIB..=256 * MIB),
        addresses,
    }
}

fn storage(table: &mut Table<'_, '_>) -> Storage {
    table.effect(Effect::Restart);
    Storage {
        readers_max: table.count("readers_max", 3, 1..=16) as usize,
        commit_spacing: table.span("commit_spacing", millis(20), millis(0)..=millis(1000)),
        queue_bytes_max: table.bytes("queue_bytes_max", 4 * MIB, 512 * KIB..=1024 * MIB),
        queue_jobs_max: table.count("queue_jobs_max", 8192, 64..=1_000_000) as usize,
    }
}

/// A path that counts from `base` if it is relative.
pub(super) fn path(
    table: &mut Table<'_, '_>,
    key: &'static str,
    default: &str,
    base: &Path,
) -> PathBuf {
    let expected = format!("a path, relative to {} or absolute", base.display());
    table.text(
        key,
        base.join(default),
        &expected,
        |path| path.display().to_string(),
        |text| {
            if text.is_empty() {
                return Err("is empty".to_owned());
            }
            if text.contains('\0') {
                return Err("contains a zero byte".to_owned());
            }
            // "." stands for the folder itself; any other part is kept as the system will read it.
            Ok(base.join(text).components().filter(|part| part.as_os_str() != ".").collect())
        },
    )
}

pub(super) fn networks(
    table: &mut Table<'_, '_>,
    key: &'static str,
    default: &[&str],
) -> Vec<IpNet> {
    let default = default.iter().filter_map(|text| text.parse().ok()).collect();
    let expected = "a network such as \"192.0.2.0/24\" or an address";
    table.list(key, default, expected, IpNet::to_string, |text| text.parse())
}

fn group(text: &str) -> Result<Option<String>, String> {
    match text {
        "" => Ok(None),
        text if text.contains([':', ',', '\n']) => Err("is not the name of a group".to_owned()),
        text => Ok(Some(text.to_owned())),
    }
}

fn show_group(group: &Option<String>) -> String {
    group.clone().unwrap_or_default()
}

/// Hosts, their services and components share one name space: a stanza's domain must mean one
/// thing.
fn names_are_distinct(config: &Config, document: &Document<'_>) {
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    let hosts = config
        .hosts
        .iter()
        .map(|host| (host.domain.as_str(), format!("hosts.\"{}\"", host.domain)));
    let services = config.hosts.iter().flat_map(|host| {
        let path = format!("hosts.\"{}\".services", host.domain);
        let names = &host.services;
        [
            ("conference", &names.conference),
            ("upload", &names.upload),
            ("proxy", &names.proxy),
            ("pubsub", &names.pubsub),
        ]
        .into_iter()
        .filter_map(move |(key, name)| Some((name.as_deref()?, format!("{path}.{key}"))))
    });
    let components = config
        .components
        .iter()
        .map(|c| (c.domain.as_str(), format!("components.\"{}\"", c.domain)));
    for (name, path) in hosts.chain(services).chain(components) {
        if let Some(first) = taken.get(name) {
            let problem = document
                .problem(&path)
                .found(format!("\"{name}\", which {first} has already"))
                .expected("a name of its own for each host, service and component")
                .help("rename one of the two, or switch the service off with \"off\"");
            document.report(problem);
        } else {
            taken.insert(name, path);
        }
    }
}

fn listeners_are_distinct(listen: &Listen, document: &Document<'_>) {
    let mut taken: BTreeMap<SocketAddr, &str> = BTreeMap::new();
    for (key, list) in [
        ("listen.c2s", &listen.c2s),
        ("listen.c2s_tls", &listen.c2s_tls),
        ("listen.https", &listen.https),
        ("listen.http", &listen.http),
        ("listen.component", &listen.component),
    ] {
        // Port 0 asks the system for a free one, so it may stand several times.
        for address in list.iter().filter(|address| address.port() != 0) {
            if let Some(first) = taken.insert(*address, key) {
                let problem = document
                    .problem(key)
                    .found(format!("{address}, which {first} has already"))
                    .expected("an address and port of its own for each listener");
                document.report(problem);
            }
        }
    }
}

fn socket_path_fits(path: &Path, document: &Document<'_>) {
    let len = path.as_os_str().len();
    if len > SOCKET_PATH_BYTES_MAX {
        let problem = document
            .problem("admin_socket")
            .found(format!("the path {} of {len} bytes", path.display()))
            .expected(format!(
                "at most {SOCKET_PATH_BYTES_MAX} bytes, the system's bound for a Unix socket"
            ))
            .help("set admin_socket to a shorter path, such as \"/run/coucou/admin.sock\"");
        document.report(problem);
    }
}

/// What is allowed and yet seldom meant.
fn doubts(config: &Config, document: &Document<'_>) -> Vec<Problem> {
    let mut doubts = Vec::new();
    if config.listen.c2s.is_empty() && config.listen.c2s_tls.is_empty() {
        let doubt = document.problem("listen.c2s").found("no listener for clients");
        doubts.push(doubt.help("nobody can sign in; set listen.c2s or listen.c2s_tls"));
    }
    if config.stream_management.resume_timeout > config.stream_management.resume_timeout_max {
        let doubt = document
            .problem("stream_management.resume_timeout")
            .found("a value above resume_timeout_max");
        doubts.push(doubt.help("resume_timeout_max is what counts then"));
    }
    if config.limits.stanza_bytes_max < config.limits.stanza_bytes_max_before_auth {
        let doubt = document
            .problem("limits.stanza_bytes_max")
            .found("a value below stanza_bytes_max_before_auth");
        doubts.push(doubt.help("signing in would shrink what a client may send"));
    }
    doubts.extend(web::doubts(&config.api, document));
    for host in &config.hosts {
        if !host.starttls_required {
            let path = format!("hosts.\"{}\".starttls_required", host.domain);
            let doubt = document.problem(&path).found("sign-in without TLS allowed");
            doubts.push(doubt.help("everyone on the way can read the messages; set it to true"));
        }
    }
    doubts
}

impl Choice for Level {
    const ALL: &'static [(&'static str, Level)] = &[
        ("off", Level::Off),
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, LogFormat)] =
        &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Choice for Addresses {
    const ALL: &'static [(&'static str, Addresses)] = &[
        ("full", Addresses::Full),
        ("network", Addresses::Network),
        ("hidden", Addresses::Hidden),
    ];
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
