//! What holds for the server as a whole: limits, stream management, the log, the database.

use std::time::Duration;

use super::draft::text;
use super::read::{Bound, Unit, shown};
use super::source::Entry;
use super::{Import, Kind};

const HOUR: u64 = 3600;

impl Import<'_> {
    pub(super) fn limits(&mut self) {
        let source = self.source;
        if let Some(entry) = source.global_option("negotiation_timeout") {
            let time = self.time(&entry.value, &entry.name, Unit::Seconds);
            self.bounded_time(
                entry,
                "negotiation_timeout",
                time,
                "limits",
                "negotiation_timeout",
                5,
                600,
            );
        }
        if let Some(entry) = source.global_option("max_fsm_queue") {
            let why = "counts stanzas; here the stanzas that wait for a session are bounded in bytes, \
                       by limits.mailbox_bytes_max";
            self.note(&entry.at, &entry.name, Kind::Changed, why, None);
        }
        self.one_for_all("mod_fail2ban", Self::failed_sign_ins);
        self.one_for_all("mod_ping", Self::pings);
        self.one_for_all("mod_stream_mgmt", Self::stream_management);
        self.sql();
    }

    /// A module that is set for each host there and once for all here: the first host's counts.
    fn one_for_all(&mut self, module: &str, read: impl Fn(&mut Self, &Entry, &str)) {
        let source = self.source;
        let mut first: Option<Entry> = None;
        for host in &source.hosts {
            let Some(entry) = self.module(host, module) else { continue };
            match &first {
                None => {
                    read(self, &entry, &format!("modules.{module}"));
                    first = Some(entry);
                }
                Some(before) if before.value != entry.value => {
                    let option = format!("host_config.{}.modules.{module}", host.domain);
                    let why = "is one setting for all hosts here, and the first host's counts";
                    self.note(&entry.at, &option, Kind::Changed, why, None);
                }
                Some(_) => {}
            }
        }
    }

    fn failed_sign_ins(&mut self, module: &Entry, option: &str) {
        let mut lifetime = Duration::from_secs(HOUR);
        let mut failures = 20;
        if let Some(node) = module.value.get("c2s_auth_ban_lifetime")
            && let Some(Bound::Of(time)) =
                self.time(node, &format!("{option}.c2s_auth_ban_lifetime"), Unit::Seconds)
        {
            lifetime = time;
        }
        if let Some(node) = module.value.get("c2s_max_auth_failures")
            && let Some(count) = self.count(node, &format!("{option}.c2s_max_auth_failures"))
        {
            failures = count;
        }
        let why = format!(
            "ejabberd shuts an address out for {} after {failures} failures; here an address has \
             limits.auth_failures_per_minute and then waits a minute, right password or wrong, and \
             an account has a bound too",
            shown(lifetime).trim_matches('"')
        );
        self.note(&module.at, option, Kind::Changed, &why, None);
        if let Some(node) = module.value.get("access") {
            let why = "addresses that are spared stand in limits.trusted_addresses, as networks";
            self.note(&node.at, &format!("{option}.access"), Kind::Left, why, None);
        }
        let read = ["c2s_auth_ban_lifetime", "c2s_max_auth_failures", "access"];
        self.other_module_options(module, option, &read);
    }

    fn pings(&mut self, module: &Entry, option: &str) {
        let mut sends = false;
        if let Some(node) = module.value.get("send_pings") {
            sends = self.flag(node, &format!("{option}.send_pings")).unwrap_or(false);
        }
        for (key, setting, low, high) in [
            ("ping_interval", "ping_after", 10, 86_400),
            ("ping_ack_timeout", "ping_timeout", 1, HOUR),
        ] {
            let Some(node) = module.value.get(key).cloned() else { continue };
            let option = format!("{option}.{key}");
            let unit = if key == "ping_interval" { Unit::Seconds } else { Unit::Milliseconds };
            let time = self.time(&node, &option, unit);
            let entry = Entry { name: key.to_owned(), at: node.at.clone(), value: node };
            if sends {
                self.bounded_time(&entry, &option, time, "limits", setting, low, high);
            }
        }
        if sends {
            self.carried(&module.at, option, "[limits]");
        } else {
            let why = "ejabberd pings nobody unless send_pings is on; here a client that is silent \
                       for limits.ping_after is pinged, since a lost one is noticed by nothing else";
            self.note(&module.at, option, Kind::Changed, why, None);
        }
        if let Some(node) = module.value.get("timeout_action") {
            let why = "a client that does not answer has lost its connection; its session can be \
                       resumed";
            self.note(&node.at, &format!("{option}.timeout_action"), Kind::Changed, why, None);
        }
        let read = ["send_pings", "ping_interval", "ping_ack_timeout", "timeout_action"];
        self.other_module_options(module, option, &read);
    }

    fn stream_management(&mut self, module: &Entry, option: &str) {
        self.draft.keep("stream_management");
        self.carried(&module.at, option, "[stream_management]");
        // ejabberd's default; without the option that is what clients have had.
        let default = (Bound::Of(Duration::from_secs(300)), module.clone());
        let mut resume = default;
        if let Some(node) = module.value.get("resume_timeout")
            && let Some(time) = self.time(node, &format!("{option}.resume_timeout"), Unit::Seconds)
        {
            let entry =
                Entry { name: "resume_timeout".into(), at: node.at.clone(), value: node.clone() };
            resume = (time, entry);
        }
        let week = 7 * 86_400;
        let name = format!("{option}.resume_timeout");
        let (time, entry) = resume;
        self.bounded_time(
            &entry,
            &name,
            Some(time),
            "stream_management",
            "resume_timeout",
            10,
            week,
        );
        if let Some(node) = module.value.get("max_resume_timeout") {
            let name = format!("{option}.max_resume_timeout");
            let time = self.time(node, &name, Unit::Seconds);
            let entry = Entry { name: name.clone(), at: node.at.clone(), value: node.clone() };
            self.bounded_time(
                &entry,
                &name,
                time,
                "stream_management",
                "resume_timeout_max",
                10,
                week,
            );
        } else if let Bound::Of(time) = time
            && time > Duration::from_secs(HOUR)
        {
            let value = shown(time.min(Duration::from_secs(week)));
            let origin = self.origin(&entry, &name);
            self.draft.set("stream_management", "resume_timeout_max", value, origin);
        }
        for (key, why) in [
            (
                "max_ack_queue",
                "counts stanzas; here the queue is bounded in bytes, by stream_management.queue_bytes_max",
            ),
            (
                "ack_timeout",
                "a client that stops acknowledging is noticed by limits.ping_after and by the bound of its queue",
            ),
            (
                "resend_on_timeout",
                "what was not acknowledged goes to other devices, offline storage or the archive, never twice to one",
            ),
        ] {
            if let Some(node) = module.value.get(key) {
                self.note(&node.at, &format!("{option}.{key}"), Kind::Changed, why, None);
            }
        }
        let read = [
            "resume_timeout",
            "max_resume_timeout",
            "max_ack_queue",
            "ack_timeout",
            "resend_on_timeout",
        ];
        self.other_module_options(module, option, &read);
    }

    /// A length of time that our setting takes from `low` to `high` seconds.
    #[expect(
        clippy::too_many_arguments,
        reason = "a row of a table: from where, to where, between what"
    )]
    pub(super) fn bounded_time(
        &mut self,
        entry: &Entry,
        option: &str,
        time: Option<Bound<Duration>>,
        header: &str,
        setting: &str,
        low: u64,
        high: u64,
    ) {
        let (low, high) = (Duration::from_secs(low), Duration::from_secs(high));
        let wanted = match time {
            Some(Bound::Of(time)) => time,
            Some(Bound::Infinity) => Duration::MAX,
            None => return,
        };
        let value = wanted.clamp(low, high);
        if value == wanted {
            self.carried(&entry.at, option, &format!("{header}.{setting}"));
        } else {
            let why = format!(
                "{setting} is from {} to {} here, so it is {} now",
                shown(low).trim_matches('"'),
                shown(high).trim_matches('"'),
                shown(value).trim_matches('"')
            );
            self.note(&entry.at, option, Kind::Changed, &why, None);
        }
        let origin = self.origin(entry, option);
        self.draft.set(header, setting, shown(value), origin);
    }

    pub(super) fn log(&mut self) {
        let source = self.source;
        if let Some(entry) = source.global_option("loglevel") {
            let level = match entry.value.text() {
                Some("0" | "none") => Some("off"),
                Some("1" | "2" | "emergency" | "alert" | "critical" | "error") => Some("error"),
                Some("3" | "warning") => Some("warn"),
                Some("4" | "notice" | "info") => Some("info"),
                Some("5" | "debug") => Some("debug"),
                _ => None,
            };
            match level {
                Some(level) => {
                    let origin = self.origin(entry, &entry.name);
                    self.draft.set("log", "level", text(level), origin);
                    self.carried(&entry.at, &entry.name, "log.level");
                }
                None => {
                    let expected = "0 to 5, or one of none, emergency, alert, critical, error, \
                                    warning, notice, info, debug";
                    self.wrong(&entry.value, &entry.name, expected);
                }
            }
        }
        if let Some(entry) = source.global_option("hide_sensitive_log_data")
            && let Some(hides) = self.flag(&entry.value, &entry.name)
        {
            let origin = self.origin(entry, &entry.name);
            let value = text(if hides { "hidden" } else { "full" });
            self.draft.set("log", "addresses", value, origin);
            self.carried(&entry.at, &entry.name, "log.addresses");
        }
        for name in ["log_rotate_count", "log_rotate_size", "log_rotate_date"] {
            if let Some(entry) = source.global_option(name) {
                let why = "the log is one file a day, kept for log.keep_days; under systemd the \
                           journal keeps it";
                self.note(&entry.at, name, Kind::Changed, why, None);
            }
        }
    }

    fn sql(&mut self) {
        let source = self.source;
        for (entry, _) in source.all_options() {
            if entry.name == "sql_password" || entry.name == "redis_password" {
                let why = "a password in clear text in a file; the database here is built in and \
                           has none";
                let remedy = "change that password once ejabberd is gone, and destroy old copies of \
                              the file";
                self.note(&entry.at, &entry.name, Kind::Fault, why, Some(remedy));
            } else if entry.name.starts_with("sql_") {
                let why = "the database is built in: one file, without a server and a password";
                self.note(&entry.at, &entry.name, Kind::Needless, why, None);
            }
        }
    }
}
