//! What becomes of each option and each module of ejabberd's that nothing here reads closely.

use super::Import;
use super::notes::Kind;
use super::render;
use super::source::{Entry, Host, joined};
use super::yaml::{self, Node, Place, Value};
use crate::config::leaf::nearest;

/// What becomes of an option.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// Another file of this folder reads it.
    Read,
    /// It is so here, without a setting.
    Built(&'static str),
    Needless(&'static str),
    /// Not yet; what for.
    Left(&'static str),
}

use Fate::{Built, Left, Needless, Read};

const SQL: &str = "the database is built in: one file, without a server and a password";
const CACHE: &str = "the database is in the same process; there is no cache to size";
const LDAP: &str = "accounts are in the server's own database; LDAP cannot be asked";
const FEDERATION: &str = "other servers are not spoken to yet";
const CLUSTER: &str = "the server is one process on one machine";
const OAUTH: &str = "there is no OAuth; keys of the API take its place (`coucou api-key create`)";
const TLS: &str = "TLS 1.2 and 1.3 with the ciphers that are safe are all that is spoken";
const WEB: &str = "WebSocket and BOSH are not spoken yet";
const CAPTCHA: &str = "registration is bounded by address and by invitations instead of CAPTCHAs";

/// Every top-level option, by the start of its name where all of a kind meet one fate.
const OPTIONS: &[(&str, Fate)] = &[
    ("acl", Read),
    ("access_rules", Read),
    ("access", Read),
    ("shaper_rules", Read),
    (
        "acme",
        Left("certificates are not asked for from an authority yet: name files in [hosts.….tls]"),
    ),
    ("allow_contrib_modules", Needless("there are no modules to install")),
    ("install_contrib_modules", Needless("there are no modules to install")),
    ("allow_multiple_connections", Built("a guest's name is made up for each session")),
    ("anonymous_protocol", Read),
    ("api_permissions", Read),
    ("auth_cache_*", Needless(CACHE)),
    ("auth_use_cache", Needless(CACHE)),
    ("auth_method", Read),
    ("auth_opts", Left("accounts are in the server's own database alone")),
    (
        "auth_stored_password_types",
        Needless("keys for SCRAM-SHA-512, -256 and -1 are stored, never a password"),
    ),
    (
        "auth_password_types_hidden_in_s*",
        Needless("what is offered is what the account has keys for"),
    ),
    ("auth_password_format", Read),
    ("auth_scram_hash", Needless("keys for SCRAM-SHA-512, -256 and -1 are stored together")),
    ("auth_external_user_exists_check", Left("accounts are in the server's own database alone")),
    ("c2s_cafile", Left("clients do not sign in by certificates yet")),
    ("c2s_ciphers", Needless(TLS)),
    ("c2s_dhfile", Needless(TLS)),
    ("c2s_protocol_options", Needless(TLS)),
    ("c2s_tls_compression", Needless(TLS)),
    ("ca_file", Left(FEDERATION)),
    ("ca_path", Left(FEDERATION)),
    ("cache_*", Needless(CACHE)),
    ("use_cache", Needless(CACHE)),
    ("captcha_*", Left(CAPTCHA)),
    ("certfiles", Read),
    ("c2s_certfile", Read),
    ("domain_certfile", Read),
    ("s2s_certfile", Read),
    ("cluster_*", Needless(CLUSTER)),
    (
        "commands",
        Left(
            "operations have fixed names; who may call them is said by the API's keys and permissions",
        ),
    ),
    (
        "commands_admin_access",
        Left("who may call operations is said by the API's keys and permissions"),
    ),
    ("default_db", Needless(SQL)),
    ("default_ram_db", Needless(CLUSTER)),
    ("disable_sasl_mechanisms", Read),
    (
        "disable_sasl_scram_downgrade_protection",
        Needless("clients that cannot do it are not kept out by it"),
    ),
    ("domain_balancing", Needless("a component has one connection")),
    ("ejabberdctl_access_commands", Needless("the admin socket knows who is at its other end")),
    ("ext_api_*", Left("accounts are in the server's own database alone")),
    ("extauth_*", Left("accounts are in the server's own database alone")),
    ("fqdn", Needless("no mechanism offered here needs the machine's name")),
    ("hide_sensitive_log_data", Read),
    ("hosts_alias", Left("a host has one name")),
    ("iqdisc", Needless("queries are answered in the sender's order")),
    ("jwt_*", Left("accounts sign in by password or by their devices' tokens")),
    ("language", Needless("texts for people are in English")),
    ("ldap_*", Left(LDAP)),
    ("listen", Read),
    ("log_rotate_count", Read),
    ("log_rotate_*", Read),
    ("log_rate_limit", Needless("the log is bounded by its queue")),
    ("log_burst_limit_*", Needless("the log is bounded by its queue")),
    (
        "log_modules_fully",
        Left("levels of single parts go into [log.levels], by the names of parts of this server"),
    ),
    ("loglevel", Read),
    ("max_fsm_queue", Read),
    ("modules", Read),
    ("negotiation_timeout", Read),
    ("net_ticktime", Needless(CLUSTER)),
    ("new_sql_schema", Needless(SQL)),
    ("oauth_*", Left(OAUTH)),
    ("oom_*", Needless("every queue has a bound of its own, so nothing has to be killed")),
    ("outgoing_s2s_*", Left(FEDERATION)),
    ("pam_*", Left("accounts are in the server's own database; PAM cannot be asked")),
    ("pgsql_users_number_estimate", Needless(SQL)),
    ("queue_*", Needless("queues are bounded and in memory; what must last is in the database")),
    ("redis_*", Needless(CLUSTER)),
    ("registration_timeout", Read),
    ("replaced_connection_timeout", Needless("a session that is replaced ends at once")),
    ("resource_conflict", Read),
    ("rest_proxy*", Needless("no other service is asked over HTTP")),
    ("route_subdomains", Left(FEDERATION)),
    ("router_*", Needless(CLUSTER)),
    ("rpc_timeout", Needless(CLUSTER)),
    ("s2s_*", Left(FEDERATION)),
    (
        "shaper",
        Left("the speed of connections is not shaped; what one may cost is bounded in [limits]"),
    ),
    ("sm_*", Needless(CLUSTER)),
    ("sql_*", Read),
    ("trusted_proxies", Read),
    ("update_sql_*", Needless(SQL)),
    ("validate_stream", Built("stanzas that are not well-formed never get in")),
    ("version", Needless("the file says which version of ejabberd it is for")),
    ("websocket_*", Left(WEB)),
];

const PUBSUB: &str = "there is no PubSub and no PEP yet";
const ROOMS: &str = "there is no group chat yet; the names of its services are kept free";
const SPAM: &str =
    "strangers and spam are not screened yet; users block (XEP-0191) and report (XEP-0377)";

/// Every module.
const MODULES: &[(&str, Fate)] = &[
    ("mod_adhoc", Built("commands are built in (XEP-0050)")),
    ("mod_adhoc_api", Built("operators' commands are built in (XEP-0133)")),
    ("mod_admin_extra", Built("its operations are built in; `coucou api` lists them")),
    ("mod_admin_update_sql", Needless(SQL)),
    ("mod_announce", Read),
    ("mod_antispam", Left(SPAM)),
    ("mod_auth_fast", Read),
    ("mod_avatar", Left(PUBSUB)),
    ("mod_block_strangers", Left(SPAM)),
    ("mod_blocking", Built("blocking is built in (XEP-0191)")),
    ("mod_bosh", Left(WEB)),
    ("mod_caps", Built("capabilities are built in (XEP-0115)")),
    ("mod_carboncopy", Built("carbons are built in (XEP-0280)")),
    ("mod_client_state", Built("client states are built in (XEP-0352)")),
    ("mod_configure", Built("operators' commands are built in (XEP-0133)")),
    ("mod_conversejs", Left("there is no web client yet")),
    ("mod_cron", Needless("timers of the system can call `coucou api`")),
    ("mod_delegation", Left("components are not delegated to yet")),
    ("mod_disco", Read),
    ("mod_echo", Needless("a service that repeats what it is told serves nobody")),
    ("mod_fail2ban", Read),
    ("mod_host_meta", Left(WEB)),
    ("mod_http_api", Read),
    ("mod_http_fileserver", Left("files are not served yet; a web server does it")),
    ("mod_http_upload", Read),
    ("mod_http_upload_quota", Read),
    (
        "mod_invites",
        Left("invitations are a setting of each host, [hosts.….invites], with other options"),
    ),
    ("mod_jidprep", Left("addresses are not prepared on request (XEP-0328)")),
    ("mod_last", Built("last activity is built in (XEP-0012)")),
    ("mod_legacy_auth", Left("sign-in without SASL (XEP-0078) is obsolete and unsafe")),
    ("mod_mam", Read),
    ("mod_matrix_gw", Left("there is no gateway to Matrix; an external component can be one")),
    (
        "mod_metrics",
        Left("counters are read by `coucou status`; they are not sent to other services yet"),
    ),
    ("mod_mix", Left(ROOMS)),
    ("mod_mix_pam", Left(ROOMS)),
    ("mod_mqtt", Left("MQTT is not spoken")),
    ("mod_mqtt_bridge", Left("MQTT is not spoken")),
    ("mod_muc", Read),
    ("mod_muc_admin", Left(ROOMS)),
    ("mod_muc_log", Left(ROOMS)),
    ("mod_muc_occupantid", Left(ROOMS)),
    ("mod_muc_rtbl", Left(ROOMS)),
    ("mod_multicast", Left("a stanza goes to one address (XEP-0033 is not spoken)")),
    ("mod_offline", Read),
    ("mod_ping", Read),
    ("mod_pres_counter", Needless("stanzas and presence are bounded by queues of the connection")),
    (
        "mod_privacy",
        Left("privacy lists (XEP-0016) are obsolete; what they blocked, blocking (XEP-0191) does"),
    ),
    ("mod_private", Built("private storage is built in (XEP-0049), 256 KiB for each account")),
    ("mod_privilege", Left("components have no privileges yet")),
    ("mod_providers", Left("the list of providers is not published yet")),
    (
        "mod_proxy65",
        Left("files between clients are not relayed yet; the name proxy.… is kept free"),
    ),
    ("mod_pubsub", Left(PUBSUB)),
    ("mod_pubsub_serverinfo", Left(PUBSUB)),
    ("mod_push", Read),
    (
        "mod_push_keepalive",
        Left("a session with push is kept as long as any other, see [stream_management]"),
    ),
    ("mod_register", Read),
    ("mod_register_web", Left("there are no web pages yet; invitations are xmpp: links")),
    ("mod_roster", Read),
    ("mod_s2s_bidi", Left(FEDERATION)),
    ("mod_s2s_dialback", Left(FEDERATION)),
    ("mod_scram_upgrade", Built("keys of accounts are renewed at sign-in (XEP-0480)")),
    ("mod_service_log", Left("stanzas are not copied to other addresses")),
    ("mod_shared_roster", Read),
    ("mod_shared_roster_ldap", Left(LDAP)),
    ("mod_sic", Left("clients learn their address from nobody here (XEP-0279)")),
    ("mod_sip", Left("SIP is not spoken")),
    ("mod_stats", Left("counters are read by `coucou status`, not by XEP-0039")),
    ("mod_stream_mgmt", Read),
    ("mod_stun_disco", Read),
    ("mod_time", Built("the time is told (XEP-0202)")),
    ("mod_vcard", Read),
    ("mod_vcard_ldap", Left(LDAP)),
    ("mod_vcard_xupdate", Left("avatars' hashes are put into presence by clients themselves yet")),
    ("mod_version", Built("name and version are told, the operating system never (XEP-0092)")),
];

/// Options whose values are maps.
const MAPS: &[&str] =
    &["modules", "acl", "access_rules", "access", "shaper_rules", "shaper", "api_permissions"];

/// Options that most modules have, about storage and caches.
const STORAGE: &[&str] = &[
    "db_type",
    "ram_db_type",
    "use_cache",
    "cache_size",
    "cache_life_time",
    "cache_missed",
    "iqdisc",
    "queue_type",
];

fn fate(table: &[(&str, Fate)], name: &str) -> Option<Fate> {
    let fits = |known: &str| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => known == name,
    };
    table.iter().find(|(known, _)| fits(known)).map(|(_, fate)| *fate)
}

impl Import<'_> {
    /// Says of every option that nothing else reads what becomes of it.
    pub(super) fn known_options(&mut self) {
        let source = self.source;
        for (entry, host) in source.all_options() {
            let option = option_of(host, &entry.name);
            match fate(OPTIONS, &entry.name) {
                Some(fate) => self.settle(entry, &option, fate),
                None => {
                    let known = OPTIONS.iter().map(|(name, _)| name.trim_end_matches('*'));
                    let help =
                        nearest(&entry.name, known).map(|near| format!("did you mean {near}?"));
                    let why = "is no option of ejabberd that is known here";
                    self.note(&entry.at, &option, Kind::Left, why, help.as_deref());
                }
            }
            if MAPS.contains(&entry.name.as_str()) {
                self.is_map(&entry.value, &option);
            }
            if entry.name == "modules" {
                self.known_modules(entry, &option);
            }
        }
    }

    /// Whether a value has names and values, or nothing; anything else is told.
    fn is_map(&mut self, value: &Node, option: &str) {
        let is_one = |node: &Node| node.is_null() || matches!(node.value, Value::Map(_));
        if is_one(value) || matches!(&value.value, Value::List(list) if list.iter().all(is_one)) {
            return;
        }
        let help =
            value.text().and_then(yaml::without_colon).map(|word| format!("write `{word}:`"));
        self.report(&value.at, option, &value.kind(), "a map of `name: value`", help);
    }

    fn known_modules(&mut self, modules: &Entry, option: &str) {
        for (key, value) in joined(&modules.value).entries() {
            let module = key.text().unwrap_or_default().to_owned();
            let option = format!("{option}.{module}");
            self.is_map(value, &option);
            let entry = Entry { name: module.clone(), at: key.at.clone(), value: value.clone() };
            match fate(MODULES, &module) {
                Some(Read) => {}
                Some(fate) => {
                    self.settle(&entry, &option, fate);
                    for (key, value) in joined(value).entries() {
                        let name = key.text().unwrap_or_default().to_owned();
                        let option = format!("{option}.{name}");
                        let entry = Entry { name, at: key.at.clone(), value: value.clone() };
                        self.settle(&entry, &option, fate);
                    }
                }
                None => {
                    let known = MODULES.iter().map(|(name, _)| *name);
                    let help = nearest(&module, known).map(|near| format!("did you mean {near}?"));
                    let why = "is no module of ejabberd's own that is known here";
                    self.note(&key.at, &option, Kind::Left, why, help.as_deref());
                }
            }
        }
    }

    fn settle(&mut self, entry: &Entry, option: &str, fate: Fate) {
        match fate {
            Read => {}
            Built(why) => self.note(&entry.at, option, Kind::Carried, why, None),
            Needless(why) => self.note(&entry.at, option, Kind::Needless, why, None),
            Left(why) => self.note(&entry.at, option, Kind::Left, why, None),
        }
    }

    /// Options of a module that nothing has read: storage is needless, the rest is told apart.
    pub(super) fn other_module_options(&mut self, module: &Entry, option: &str, read: &[&str]) {
        for (key, _) in joined(&module.value).entries() {
            let name = key.text().unwrap_or_default();
            let option = format!("{option}.{name}");
            if STORAGE.contains(&name) {
                self.note(&key.at, &option, Kind::Needless, SQL, None);
            } else if !read.contains(&name) {
                let why = "there is no setting for it here";
                self.note(&key.at, &option, Kind::Left, why, None);
            } else if !self.notes.iter().any(|note| note.option.starts_with(&option)) {
                self.note(&key.at, &option, Kind::Carried, "with its module, see there", None);
            }
        }
    }

    /// What is kept for later, as a comment under `header`; what holds for several hosts, once.
    pub(super) fn keep_for_later(
        &mut self,
        header: &str,
        why: &str,
        at: &Place,
        name: &str,
        value: &Node,
    ) {
        if !self.kept.insert((at.file, at.span.start)) {
            return;
        }
        let text = format!("{} left: {why}", self.show(at));
        self.draft.later(header, &text, &render::lines(name, value));
    }

    /// At the end of the file: what was left of options and modules that have no place of their own.
    pub(super) fn left_over(&mut self) {
        let source = self.source;
        let mut kept: Vec<(String, String, Entry)> = Vec::new();
        for (entry, host) in source.all_options() {
            if let Some(Left(why)) = fate(OPTIONS, &entry.name) {
                let name = option_of(host, &entry.name);
                kept.push((name, why.to_owned(), entry.clone()));
            }
            if entry.name != "modules" {
                continue;
            }
            for (key, value) in joined(&entry.value).entries() {
                let module = key.text().unwrap_or_default();
                let has_options = !value.entries().is_empty();
                if let Some(Left(why)) = fate(MODULES, module).filter(|_| has_options) {
                    let name = option_of(host, &format!("modules.{module}"));
                    let entry =
                        Entry { name: module.to_owned(), at: key.at.clone(), value: value.clone() };
                    kept.push((name, why.to_owned(), entry));
                }
            }
        }
        if kept.is_empty() {
            return;
        }
        let end = self.draft.last_header();
        self.draft.later(
            &end,
            "What follows was not carried over, and waits here until it can be.",
            &[],
        );
        for (name, why, entry) in kept {
            self.keep_for_later(&end, &why, &entry.at, &name, &entry.value);
        }
    }
}

/// As in `host_config.example.org.modules`.
pub(super) fn option_of(host: Option<&Host>, name: &str) -> String {
    match host {
        Some(host) => format!("host_config.{}.{name}", host.domain),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_known_by_one_row() {
        for table in [OPTIONS, MODULES] {
            for (index, (name, _)) in table.iter().enumerate() {
                let hidden =
                    table[..index].iter().any(|(before, _)| match before.strip_suffix('*') {
                        Some(start) => name.starts_with(start),
                        None => before == name,
                    });
                assert!(!hidden, "{name}");
            }
        }
        assert!(fate(OPTIONS, "sql_password").is_some() && fate(OPTIONS, "acll").is_none());
    }
}
