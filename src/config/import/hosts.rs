//! Each host: how accounts sign in, its certificate, the names of its services.

use std::path::{Path, PathBuf};

use super::draft::{Origin, list, text};
use super::source::{Entry, Host, joined};
use super::yaml::{Node, Place};
use super::{Import, Kind};
use crate::config::leaf::Choice;
use crate::config::model::Mechanism;

/// A certificate chain and the key that goes with it.
struct Pair {
    chain: PathBuf,
    key: PathBuf,
    origin: Origin,
    /// The names it is for, or why it cannot be used.
    names: Result<Vec<String>, String>,
}

impl Import<'_> {
    pub(super) fn hosts(&mut self) {
        let source = self.source;
        let pairs = self.certificates();
        for host in &source.hosts {
            let header = self.header(host, "");
            let place = self.show(&host.at);
            self.draft.comment(&header, &format!("{place} hosts"));
            self.carried(&host.at, "hosts", &format!("[{header}]"));
            let guest = self.sign_in(host, &header);
            self.mechanisms(host, &header, guest);
            self.who_signs_in(host, &header);
            self.resource_conflict(host, &header);
            self.session_count(host, &header);
            self.tls(host, &pairs);
            self.modules(host, guest);
        }
        self.covered_names(&pairs);
    }

    /// `hosts."DOMAIN"`, or a table in it.
    #[expect(clippy::unused_self, reason = "reads as the rest does")]
    pub(super) fn header(&self, host: &Host, table: &str) -> String {
        let domain = text(&host.domain);
        if table.is_empty() { format!("hosts.{domain}") } else { format!("hosts.{domain}.{table}") }
    }

    /// The options of a module that a host has; `None` if it does not have the module.
    pub(super) fn module(&self, host: &Host, module: &str) -> Option<Entry> {
        let modules = joined(&self.source.option(host, "modules")?.value);
        let (key, _) = modules.entries().iter().find(|(key, _)| key.text() == Some(module))?;
        let value = joined(modules.get(module)?);
        Some(Entry { name: module.to_owned(), at: key.at.clone(), value })
    }

    /// `text` with `@HOST@` filled in.
    pub(super) fn of_host(text: &str, host: &Host) -> String {
        text.replace("@HOST@", &host.domain).replace("@HOST_URL_ENCODE@", &host.domain)
    }

    /// Whether the host is for guests.
    fn sign_in(&mut self, host: &Host, header: &str) -> bool {
        let source = self.source;
        for option in ["auth_password_format", "anonymous_protocol"] {
            if let Some(entry) = source.option(host, option) {
                match entry.value.text() {
                    Some("plain") => {
                        let why = "passwords are stored as SCRAM keys only, which serve all \
                                   mechanisms offered";
                        self.note(&entry.at, option, Kind::Changed, why, None);
                    }
                    Some("scram") => {
                        let why = "passwords are stored as SCRAM keys in any case";
                        self.note(&entry.at, option, Kind::Needless, why, None);
                    }
                    Some("sasl_anon") => self.carried(&entry.at, option, "auth"),
                    Some("login_anon" | "both") => {
                        let why =
                            "guests sign in by SASL ANONYMOUS and never by a name of their own";
                        self.note(&entry.at, option, Kind::Changed, why, None);
                    }
                    _ => self.wrong(&entry.value, option, "a word that this option knows"),
                }
            }
        }
        let Some(entry) = source.option(host, "auth_method") else { return false };
        let mut guests = false;
        let mut accounts = false;
        for method in entry.value.elements() {
            match method.text() {
                Some("anonymous") => guests = true,
                Some("mnesia" | "internal" | "sql" | "odbc") => {
                    accounts = true;
                    let why = "accounts are in the server's own database";
                    self.note(&method.at, "auth_method", Kind::Carried, why, None);
                }
                Some("ldap" | "external" | "pam" | "jwt" | "http") => {
                    accounts = true;
                    let why = "accounts are in the server's own database; no other service is asked \
                               for them";
                    let remedy = "make the accounts with `coucou account add`, or wait";
                    self.note(&method.at, "auth_method", Kind::Left, why, Some(remedy));
                }
                _ => self.wrong(
                    method,
                    "auth_method",
                    "one of mnesia, sql, anonymous, ldap, external, pam, jwt",
                ),
            }
        }
        if guests && accounts {
            let why =
                "a host is for accounts or for guests, not for both; this one is for accounts";
            let remedy = "add a host for guests: [hosts.\"guests.…\"] with auth = \"anonymous\"";
            self.note(&entry.at, "auth_method", Kind::Left, why, Some(remedy));
            return false;
        }
        if guests {
            let origin = self.origin(&entry, "auth_method");
            self.draft.set(header, "auth", text("anonymous"), origin);
            self.carried(&entry.at, "auth_method", "auth");
        }
        guests
    }

    fn mechanisms(&mut self, host: &Host, header: &str, guest: bool) {
        let Some(entry) = self.source.option(host, "disable_sasl_mechanisms") else { return };
        let option = "disable_sasl_mechanisms";
        if guest {
            let why = "a host for guests offers ANONYMOUS alone";
            self.note(&entry.at, option, Kind::Carried, why, None);
            return;
        }
        let mut offered: Vec<&str> = Mechanism::ALL.iter().map(|(name, _)| *name).collect();
        for node in entry.value.elements() {
            let Some(name) = self.text(node, option, "the name of a mechanism") else { continue };
            let name = name.to_uppercase();
            if offered.iter().any(|offered| *offered == name) {
                offered.retain(|offered| *offered != name);
            } else if name.ends_with("-PLUS") {
                let why = format!("{name} follows its base form by itself");
                self.note(&node.at, option, Kind::Changed, &why, None);
            } else {
                let why = format!("{name} is not offered in any case");
                self.note(&node.at, option, Kind::Needless, &why, None);
            }
        }
        if offered.is_empty() {
            let expected = "at least one of SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN left";
            self.wrong(&entry.value, option, expected);
        } else if offered.len() < Mechanism::ALL.len() {
            let names: Vec<String> = offered.iter().map(|name| text(name)).collect();
            let origin = self.origin(&entry, option);
            self.draft.set(header, "mechanisms", list(&names), origin);
            self.carried(&entry.at, option, "mechanisms");
        }
    }

    /// The rule of the doors for clients, which ejabberd asks when a session begins.
    fn who_signs_in(&mut self, host: &Host, header: &str) {
        let source = self.source;
        let Some(listen) = source.global_option("listen") else { return };
        let mut first: Option<&Node> = None;
        for listener in listen.value.elements() {
            if listener.get("module").and_then(Node::text) != Some("ejabberd_c2s") {
                continue;
            }
            let Some(node) = listener.get("access") else { continue };
            match first {
                None => first = Some(node),
                Some(before) if before.value != node.value => {
                    let why = "who may sign in is one rule for all doors of a host, and the first \
                               door's counts";
                    self.note(&node.at, "listen.access", Kind::Changed, why, None);
                }
                Some(_) => {}
            }
        }
        let Some(node) = first else { return };
        let option = "listen.access";
        if let Some(value) = self.access_value(node, option, Some(host)) {
            self.carried(&node.at, option, "sign_in");
            let origin = Origin { at: node.at.clone(), option: option.to_owned() };
            self.draft.set(header, "sign_in", value, Some(origin));
        }
    }

    fn resource_conflict(&mut self, host: &Host, header: &str) {
        let Some(entry) = self.source.option(host, "resource_conflict") else { return };
        let words = ["setresource", "closenew", "closeold", "acceptnew"];
        let Some(word) = self.word(&entry.value, "resource_conflict", &words) else { return };
        let value = match word.as_str() {
            "setresource" => "rename",
            "closenew" => "refuse",
            _ => "replace",
        };
        let origin = self.origin(&entry, "resource_conflict");
        self.draft.set(header, "resource_conflict", text(value), origin);
        self.carried(&entry.at, "resource_conflict", "resource_conflict");
    }

    /// The rule of that name is what ejabberd's session manager asks.
    fn session_count(&mut self, host: &Host, header: &str) {
        self.allowance_setting(
            host,
            "max_user_sessions",
            header,
            "sessions_per_account_max",
            1..=1000,
        );
    }

    /// Certificates with their keys, as far as names of files tell which goes with which.
    fn certificates(&mut self) -> Vec<Pair> {
        let source = self.source;
        let mut files: Vec<(PathBuf, Origin)> = Vec::new();
        let mut push = |node: &Node, option: &str| {
            if let Some(file) = node.text() {
                let origin = Origin { at: node.at.clone(), option: option.to_owned() };
                files.push((PathBuf::from(file), origin));
            }
        };
        for (entry, _) in source.all_options() {
            let is_list = matches!(
                entry.name.as_str(),
                "certfiles" | "c2s_certfile" | "domain_certfile" | "s2s_certfile"
            );
            if is_list {
                entry.value.elements().iter().for_each(|node| push(node, &entry.name));
            }
        }
        for listener in source.global_option("listen").iter().flat_map(|e| e.value.elements()) {
            if let Some(node) = listener.get("certfile") {
                push(node, "listen.certfile");
            }
        }
        let mut pairs: Vec<Pair> = Vec::new();
        for (file, origin) in &files {
            if file.to_string_lossy().contains(['*', '?']) {
                let why = "files are named one by one here";
                let remedy = "name the chain and the key in [hosts.….tls]";
                self.note(&origin.at, &origin.option, Kind::Left, why, Some(remedy));
                continue;
            }
            if is_key(file) || pairs.iter().any(|pair| pair.chain == *file) {
                continue;
            }
            let beside = files.iter().find(|(key, _)| is_key(key) && key.parent() == file.parent());
            let key = beside.map_or(file, |(key, _)| key).clone();
            let names = self.world.certificate(file, &key);
            pairs.push(Pair { chain: file.clone(), key, origin: origin.clone(), names });
        }
        pairs
    }

    fn tls(&mut self, host: &Host, pairs: &[Pair]) {
        let header = self.header(host, "tls");
        let fits = |pair: &&Pair| {
            pair.names
                .as_ref()
                .is_ok_and(|names| names.iter().any(|name| covers(name, &host.domain)))
        };
        let fitting = pairs.iter().find(fits);
        if let Some(pair) = fitting {
            self.draft.set(&header, "certificate", path(&pair.chain), Some(pair.origin.clone()));
            self.draft.set(&header, "key", path(&pair.key), Some(pair.origin.clone()));
            self.carried(&pair.origin.at, &pair.origin.option, &format!("[{header}]"));
            return;
        }
        self.draft.keep(&header);
        self.draft.comment(
            &header,
            "A self-signed certificate is made here until one that clients trust is named.",
        );
        for pair in pairs {
            if let Err(reason) = &pair.names {
                let why = format!("cannot be used as it is: {reason}");
                let remedy = "let the user whom Coucou runs as read chain and key, then name them \
                              in [hosts.….tls]";
                let (at, option) = (pair.origin.at.clone(), pair.origin.option.clone());
                self.note(&at, &option, Kind::Left, &why, Some(remedy));
                self.draft.comment(&header, &format!("certificate = {}", path(&pair.chain)));
                self.draft.comment(&header, &format!("key = {}", path(&pair.key)));
            }
        }
    }

    /// Names that clients and servers ask for and that no certificate has.
    fn covered_names(&mut self, pairs: &[Pair]) {
        let source = self.source;
        let Some(first) = pairs.first() else { return };
        let letsencrypt =
            pairs.iter().find(|pair| pair.chain.to_string_lossy().contains("/letsencrypt/"));
        if let Some(pair) = letsencrypt {
            let opens_80 = source.global_option("listen").is_some_and(|listen| {
                let elements = listen.value.elements().iter();
                elements.filter_map(|l| l.get("port")).any(|port| port.text() == Some("80"))
            });
            if !opens_80 {
                let why = "certificates of this authority are renewed every 90 days, mostly by port \
                           80, where nothing of this configuration listens";
                let remedy =
                    "see that `certbot renew --dry-run` succeeds with the firewall as it is";
                self.note(&pair.origin.at, &pair.origin.option, Kind::Fault, why, Some(remedy));
            }
        }
        let names: Vec<&String> =
            pairs.iter().filter_map(|p| p.names.as_ref().ok()).flatten().collect();
        if names.is_empty() {
            return;
        }
        let needed = source.hosts.iter().flat_map(|host| {
            let services = [
                ("mod_muc", "conference"),
                ("mod_http_upload", "upload"),
                ("mod_pubsub", "pubsub"),
                ("mod_proxy65", "proxy"),
            ];
            let services = services
                .into_iter()
                .filter(|(module, _)| self.module(host, module).is_some())
                .map(|(_, service)| format!("{service}.{}", host.domain));
            std::iter::once(host.domain.clone()).chain(services.collect::<Vec<_>>())
        });
        let missing: Vec<String> =
            needed.filter(|needed| !names.iter().any(|name| covers(name, needed))).collect();
        if !missing.is_empty() {
            let why = format!("no certificate is for {}", missing.join(", "));
            let remedy = "ask for certificates with these names too: strict clients and servers \
                          refuse the connection otherwise";
            let (at, option) = (first.origin.at.clone(), first.origin.option.clone());
            self.note(&at, &option, Kind::Fault, &why, Some(remedy));
        }
    }

    /// The name of a service under a host, where it is another than ours.
    pub(super) fn service_name(
        &mut self,
        host: &Host,
        module: &Entry,
        option: &str,
        service: &str,
    ) {
        let node = module.value.get("host").or_else(|| module.value.get("hosts")).cloned();
        let Some(node) = node else { return };
        let option = format!("{option}.host");
        for (index, name) in node.elements().iter().enumerate() {
            let Some(written) = self.text(name, &option, "a domain name") else { continue };
            let domain = match crate::config::value::domain(&Self::of_host(&written, host)) {
                Ok(domain) => domain,
                Err(reason) => {
                    let found = format!("{written:?}, which {reason}");
                    self.report(&name.at, &option, &found, "a domain name", None);
                    continue;
                }
            };
            if index > 0 {
                let why = "a service has one name under each host";
                self.note(&name.at, &option, Kind::Left, why, None);
                continue;
            }
            if !written.contains("@HOST@") && self.source.hosts.len() > 1 {
                let first =
                    self.source.hosts.first().is_some_and(|first| first.domain == host.domain);
                if !first {
                    continue;
                }
            }
            self.carried(&name.at, &option, &format!("services.{service}"));
            if domain != format!("{service}.{}", host.domain) {
                let origin = Origin { at: name.at.clone(), option: option.clone() };
                let header = self.header(host, "services");
                self.draft.set(&header, service, text(&domain), Some(origin));
            }
        }
    }

    /// The place that a note about a host as a whole has.
    pub(super) fn place_of(&self, host: &Host) -> Place {
        host.at.clone()
    }
}

/// By its name: `privkey.pem`, `example.org.key`.
fn is_key(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.starts_with("privkey")
        || name.starts_with("key.")
        || name.ends_with(".key")
        || name.ends_with("-key.pem")
}

fn path(path: &Path) -> String {
    text(&path.to_string_lossy())
}

/// Whether a certificate for `name` is good for `domain`.
fn covers(name: &str, domain: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => domain.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => name == domain,
    }
}
