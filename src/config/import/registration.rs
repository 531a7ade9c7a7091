//! `mod_register`: who may make an account, and what they are told.

use super::draft::{Origin, list, text};
use super::read::{Bound, Unit};
use super::source::{Entry, Host, joined};
use super::yaml::{Node, Place};
use super::{Import, Kind};
use crate::config::value::IpNet;
use crate::jid::BareJid;

const YEAR: u64 = 365 * 86_400;

impl Import<'_> {
    pub(super) fn registration(&mut self, host: &Host) {
        let Some(module) = self.module(host, "mod_register") else { return };
        let option = "modules.mod_register";
        let header = self.header(host, "registration");
        self.carried(&module.at, option, &format!("[{header}]"));
        // What ejabberd takes where nothing is said; ours is closed.
        for (key, default) in [
            ("access", "all"),
            ("access_from", "none"),
            ("access_remove", "all"),
            ("ip_access", "all"),
        ] {
            let option = format!("{option}.{key}");
            let (value, at) = match module.value.get(key).cloned() {
                Some(node) => {
                    let Some(value) = self.access_value(&node, &option, Some(host)) else {
                        continue;
                    };
                    self.carried(&node.at, &option, &format!("registration.{key}"));
                    (value, node.at)
                }
                None => (text(default), module.at.clone()),
            };
            self.draft.set(&header, key, value, Some(Origin { at, option }));
        }
        self.registration_timeout(&module, &header);
        self.texts(host, &module, option, &header);
        self.watchers(host, &module, option, &header);
        self.stricter_than_before(&module, option);
        self.addresses_where_none_are(host, &module, option);
        self.proxies_as_users(host, &module, option);
        let read = [
            "access",
            "access_from",
            "access_remove",
            "ip_access",
            "captcha_protected",
            "password_strength",
            "registration_watchers",
            "welcome_message",
            "redirect_url",
            "allow_modules",
        ];
        self.other_module_options(&module, option, &read);
    }

    fn registration_timeout(&mut self, module: &Entry, header: &str) {
        let option = "registration_timeout";
        let entry = self.source.global_option(option).cloned();
        let (entry, time) = match entry {
            Some(entry) => {
                let time = self.time(&entry.value, option, Unit::Seconds);
                (entry, time)
            }
            None => (module.clone(), Some(Bound::Of(std::time::Duration::from_secs(600)))),
        };
        if let Some(Bound::Infinity) = time {
            let origin = self.origin(&entry, option);
            self.draft.set(header, "timeout", text("infinity"), origin);
            self.carried(&entry.at, option, "registration.timeout");
        } else {
            self.bounded_time(&entry, option, time, header, "timeout", 1, YEAR);
        }
        let why = "besides that, an address makes at most registration.per_address accounts in \
                   registration.per_address_interval; loopback is exempt from both";
        self.note(&entry.at, option, Kind::Changed, why, None);
    }

    fn texts(&mut self, host: &Host, module: &Entry, option: &str, header: &str) {
        if let Some(node) = module.value.get("redirect_url").cloned() {
            let option = format!("{option}.redirect_url");
            if let Some(url) = self.text(&node, &option, "a web address") {
                if url.starts_with("https://") || url.starts_with("http://") {
                    let why = "in ejabberd a client that ignores the address can register \
                               nevertheless; here it cannot";
                    self.note(&node.at, &option, Kind::Changed, why, None);
                    let url = text(&Self::of_host(&url, host));
                    let origin = Origin { at: node.at, option };
                    self.draft.set(header, "redirect_url", url, Some(origin));
                } else {
                    self.wrong(&node, &option, "an address that begins with https:// or http://");
                }
            }
        }
        let Some(message) = module.value.get("welcome_message").map(joined) else { return };
        for (key, setting) in [("subject", "welcome_subject"), ("body", "welcome_body")] {
            let Some(node) = message.get(key).cloned() else { continue };
            let option = format!("{option}.welcome_message.{key}");
            if let Some(written) = self.text(&node, &option, "a text") {
                // Braces would be taken for what is filled in here.
                let written = Self::of_host(&written, host);
                let value = if written.contains('\n') { lines(&written) } else { text(&written) };
                self.carried(&node.at, &option, &format!("registration.{setting}"));
                let origin = Origin { at: node.at, option };
                self.draft.set(header, setting, value, Some(origin));
            }
        }
    }

    fn watchers(&mut self, host: &Host, module: &Entry, option: &str, header: &str) {
        let Some(node) = module.value.get("registration_watchers").cloned() else { return };
        let option = format!("{option}.registration_watchers");
        let mut watchers = Vec::new();
        for element in node.elements() {
            let Some(written) = self.text(element, &option, "an address such as admin@example.org")
            else {
                continue;
            };
            match BareJid::parse(&Self::of_host(&written, host)) {
                Ok(jid) => watchers.push(text(jid.as_ref())),
                Err(error) => {
                    let found = format!("{written:?}: {error}");
                    self.report(
                        &element.at,
                        &option,
                        &found,
                        "an address such as admin@example.org",
                        None,
                    );
                }
            }
        }
        self.carried(&node.at, &option, "registration.watchers");
        let origin = Origin { at: node.at, option };
        self.draft.set(header, "watchers", list(&watchers), Some(origin));
    }

    fn stricter_than_before(&mut self, module: &Entry, option: &str) {
        let strength = match module.value.get("password_strength").cloned() {
            Some(node) => {
                let option = format!("{option}.password_strength");
                let why = "ejabberd counts kinds of characters; here the guesses of a cracker are \
                           estimated, so the number means another thing: 30 is fair, 50 is good, and \
                           registration.password_strength is 30";
                self.note(&node.at, &option, Kind::Changed, why, None);
                self.count(&node, &option).unwrap_or(0)
            }
            None => 0,
        };
        if strength == 0 {
            let why = "passwords that are guessed within an hour are refused here";
            let remedy = "registration.password_strength = 0 takes any";
            self.note(&module.at, option, Kind::Changed, why, Some(remedy));
        }
        let why = "names such as admin and abuse, and names that look like one that is taken, are \
                   refused here besides what the rules say";
        let remedy = "registration.reserved_names and look_alikes = \"allow\" take them";
        self.note(&module.at, option, Kind::Changed, why, Some(remedy));
        let why =
            "an account that its owner removes can be restored for registration.removal_grace";
        self.note(&module.at, option, Kind::Changed, why, Some("\"off\" erases it at once"));
        if let Some(node) =
            module.value.get("captcha_protected").filter(|n| n.text() != Some("false"))
        {
            let why = "registration is bounded by address, by invitations and by approval instead of \
                       CAPTCHAs";
            self.note(&node.at, &format!("{option}.captcha_protected"), Kind::Left, why, None);
        } else if let Some(node) = module.value.get("captcha_protected") {
            let why = "there are no CAPTCHAs";
            self.note(&node.at, &format!("{option}.captcha_protected"), Kind::Needless, why, None);
        }
        if let Some(node) = module.value.get("allow_modules") {
            let why = "every way to make an account asks the same rules here";
            self.note(&node.at, &format!("{option}.allow_modules"), Kind::Changed, why, None);
        }
    }

    /// ejabberd asks this rule about a name alone.
    fn addresses_where_none_are(&mut self, host: &Host, module: &Entry, option: &str) {
        let Some(node) = module.value.get("access_remove").cloned() else { return };
        let nets = self.networks_in_rule(host, &node);
        if nets.is_empty() {
            return;
        }
        let why = "the rule has addresses, and ejabberd asks it about names alone: what it allows by \
                   address it refuses to everybody. Here the address counts";
        let remedy = "see that it says what was meant";
        self.note(&node.at, &format!("{option}.access_remove"), Kind::Fault, why, Some(remedy));
    }

    /// A proxy's address stands for everybody who comes through it.
    fn proxies_as_users(&mut self, host: &Host, module: &Entry, option: &str) {
        let Some(node) = module.value.get("ip_access").cloned() else { return };
        let source = self.source;
        let mut proxies: Vec<IpNet> = Vec::new();
        if let Some(entry) = source.global_option("trusted_proxies") {
            let elements = entry.value.elements().iter().filter_map(Node::text);
            proxies.extend(elements.filter_map(super::acl::network));
        }
        for group in
            source.global_option("api_permissions").iter().flat_map(|entry| entry.value.entries())
        {
            let mut nets = Vec::new();
            networks_below(&group.1, &mut nets);
            proxies
                .extend(nets.into_iter().filter(IpNet::is_single).filter(|net| !net.is_loopback()));
        }
        for (net, _) in self.networks_in_rule(host, &node) {
            if proxies.iter().any(|proxy| net.covers(proxy)) && net.is_single() {
                let why = format!(
                    "{net} is a proxy: whoever comes by it is let in, and one registration in \
                     registration_timeout is all that they get together"
                );
                let remedy = "leave it out, and name it in http.trusted_proxies, so that the address \
                              behind it counts";
                self.note(
                    &node.at,
                    &format!("{option}.ip_access"),
                    Kind::Fault,
                    &why,
                    Some(remedy),
                );
            }
        }
    }

    /// Every network that a rule names, itself or by its ACLs.
    fn networks_in_rule(&self, host: &Host, node: &Node) -> Vec<(IpNet, Place)> {
        let rule = match node.text() {
            Some(name) => {
                let rules =
                    self.source.option(host, "access_rules").map(|entry| joined(&entry.value));
                match rules.as_ref().and_then(|rules| rules.get(name)) {
                    Some(rule) => rule.clone(),
                    None => return Vec::new(),
                }
            }
            None => node.clone(),
        };
        let mut nets = Vec::new();
        networks_below(&rule, &mut nets);
        let mut names = Vec::new();
        words_below(&rule, &mut names);
        let acls = self.source.option(host, "acl").map(|entry| joined(&entry.value));
        for name in names {
            if let Some(acl) = acls.as_ref().and_then(|acls| acls.get(&name)) {
                networks_below(acl, &mut nets);
            }
        }
        nets.into_iter().map(|net| (net, rule.at.clone())).collect()
    }
}

/// The networks of every `ip:` in a value.
pub(super) fn networks_below(node: &Node, nets: &mut Vec<IpNet>) {
    for (key, value) in node.entries() {
        if key.text() == Some("ip") {
            nets.extend(
                value.elements().iter().filter_map(Node::text).filter_map(super::acl::network),
            );
        } else {
            networks_below(value, nets);
        }
    }
    if node.entries().is_empty() {
        for element in node.elements().iter().filter(|element| element.text().is_none()) {
            networks_below(element, nets);
        }
    }
}

/// Every word in a value that may be the name of an ACL.
fn words_below(node: &Node, words: &mut Vec<String>) {
    if let Some(text) = node.text() {
        words.push(text.to_owned());
        return;
    }
    for (_, value) in node.entries() {
        words_below(value, words);
    }
    if node.entries().is_empty() {
        node.elements().iter().for_each(|element| words_below(element, words));
    }
}

/// A text of several lines as TOML.
fn lines(written: &str) -> String {
    let inner: Vec<String> = written
        .split('\n')
        .map(|line| {
            let quoted = text(line);
            quoted[1..quoted.len() - 1].to_owned()
        })
        .collect();
    format!("\"\"\"\n{}\"\"\"", inner.join("\n"))
}
