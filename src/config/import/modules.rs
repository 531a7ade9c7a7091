//! Modules that have settings here, host by host.

use super::draft::{Origin, list, text};
use super::read::{Bound, Unit};
use super::source::{Entry, Host, joined};
use super::{Import, Kind};

impl Import<'_> {
    pub(super) fn modules(&mut self, host: &Host, guest: bool) {
        self.registration(host);
        self.contact(host);
        self.archive(host, guest);
        self.offline(host, guest);
        self.push(host);
        self.rooms(host);
        self.upload(host);
        self.small_ones(host);
    }

    fn contact(&mut self, host: &Host) {
        let Some(module) = self.module(host, "mod_disco") else { return };
        let option = "modules.mod_disco";
        self.carried(&module.at, option, "service discovery is built in (XEP-0030)");
        let header = self.header(host, "contact");
        let infos = module.value.get("server_info").map(|node| node.elements().to_vec());
        for info in infos.iter().flatten() {
            let option = format!("{option}.server_info");
            let Some(name) = info.get("name").and_then(|node| node.text()).map(str::to_owned)
            else {
                self.wrong(info, &option, "a map with `name:` and `urls:`");
                continue;
            };
            let at = info.get("name").map_or(&info.at, |node| &node.at).clone();
            let field = name.strip_suffix("-addresses").unwrap_or(&name);
            let known = ["abuse", "admin", "feedback", "sales", "security", "status", "support"];
            if !known.contains(&field) {
                let why = "only the fields of XEP-0157 are told";
                self.note(&at, &format!("{option}.{name}"), Kind::Left, why, None);
                continue;
            }
            let mut urls = Vec::new();
            for url in info.get("urls").iter().flat_map(|node| node.elements()) {
                let Some(written) =
                    self.text(url, &option, "a URI such as mailto:admin@example.org")
                else {
                    continue;
                };
                let written = Self::of_host(&written, host);
                let has_scheme = written.split_once(':').is_some_and(|(scheme, rest)| {
                    !rest.is_empty()
                        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                });
                match has_scheme {
                    true => urls.push(text(&written)),
                    false if written.contains('@') => {
                        let why = format!("{written} had no scheme and is mailto:{written} now");
                        self.note(&url.at, &option, Kind::Changed, &why, None);
                        urls.push(text(&format!("mailto:{written}")));
                    }
                    false => self.wrong(url, &option, "a URI such as mailto:admin@example.org"),
                }
            }
            if let Some(modules) = info.get("modules").filter(|node| node.text() != Some("all")) {
                let why = "contact addresses are told for the host itself";
                self.note(&modules.at, &format!("{option}.modules"), Kind::Changed, why, None);
            }
            if urls.is_empty() {
                continue;
            }
            let option = format!("{option}.{name}");
            self.carried(&at, &option, &format!("contact.{field}"));
            self.draft.set(&header, field, list(&urls), Some(Origin { at, option }));
        }
        if let Some(node) = module.value.get("extra_domains") {
            let why = "no other domains are shown in a host's list of services yet";
            self.note(&node.at, &format!("{option}.extra_domains"), Kind::Left, why, None);
        }
        if let Some(node) = module.value.get("name") {
            let why = "a host is called by its domain";
            self.note(&node.at, &format!("{option}.name"), Kind::Left, why, None);
        }
        self.other_module_options(&module, option, &["server_info", "extra_domains", "name"]);
    }

    /// Without the module, ejabberd keeps nothing; with it, nothing unless asked.
    fn archive(&mut self, host: &Host, guest: bool) {
        let module = self.module(host, "mod_mam");
        let option = "modules.mod_mam";
        if guest {
            if let Some(module) = &module {
                let why = "nothing of a guest is kept";
                self.note(&module.at, option, Kind::Changed, why, None);
            }
            return;
        }
        let header = self.header(host, "archive");
        let Some(module) = module else {
            let why = "there is no mod_mam, so nothing is archived unless a user wants it";
            let at = self.place_of(host);
            self.note(
                &at,
                option,
                Kind::Carried,
                why,
                Some("archive.default = \"always\" keeps messages"),
            );
            self.draft.set(
                &header,
                "default",
                text("never"),
                Some(Origin { at, option: "no mod_mam".into() }),
            );
            return;
        };
        let (word, at) = match module.value.get("default").cloned() {
            Some(node) => {
                let words = ["always", "never", "roster"];
                let Some(word) = self.word(&node, &format!("{option}.default"), &words) else {
                    return;
                };
                (word, node.at)
            }
            None => ("never".to_owned(), module.at.clone()),
        };
        let name = format!("{option}.default");
        self.carried(&at, &name, "archive.default");
        self.draft.set(&header, "default", text(&word), Some(Origin { at, option: name }));
        for (key, kind, why) in [
            ("request_activates_archiving", Kind::Changed, "a query never changes what is kept"),
            (
                "assume_mam_usage",
                Kind::Changed,
                "whether a session's client reads the archive is seen by its asking for it",
            ),
            ("compress_xml", Kind::Needless, "messages are stored compressed"),
            ("clear_archive_on_room_destroy", Kind::Left, "there is no group chat yet"),
            ("user_mucsub_from_muc_archive", Kind::Left, "there is no group chat yet"),
            ("access_preferences", Kind::Left, "everybody may choose what their own archive keeps"),
            ("archive_muc_as_mucsub", Kind::Left, "there is no group chat yet"),
        ] {
            if let Some(node) = module.value.get(key) {
                self.note(&node.at, &format!("{option}.{key}"), kind, why, None);
            }
        }
        let why = "ejabberd keeps messages until an outside job deletes them; archive.retention and \
                   archive.bytes_max bound them here, and are not set";
        self.note(&module.at, option, Kind::Changed, why, None);
        let read = [
            "default",
            "request_activates_archiving",
            "assume_mam_usage",
            "compress_xml",
            "clear_archive_on_room_destroy",
            "user_mucsub_from_muc_archive",
            "access_preferences",
            "archive_muc_as_mucsub",
        ];
        self.other_module_options(&module, option, &read);
    }

    fn offline(&mut self, host: &Host, guest: bool) {
        let module = self.module(host, "mod_offline");
        let option = "modules.mod_offline";
        if guest {
            return;
        }
        let header = self.header(host, "offline");
        let Some(module) = module else {
            let at = self.place_of(host);
            let why = "there is no mod_offline, so messages for accounts that are away go back to their sender";
            self.note(&at, option, Kind::Carried, why, None);
            let origin = Origin { at, option: "no mod_offline".to_owned() };
            self.draft.set(&header, "messages_max", "0".to_owned(), Some(origin));
            return;
        };
        self.carried(&module.at, option, "[hosts.….offline]");
        let rule = match module.value.get("access_max_user_messages").cloned() {
            Some(node) => match node.text() {
                Some(name) => name.to_owned(),
                None => {
                    let why = "rules with values are written under [allowances] and named here";
                    self.note(
                        &node.at,
                        &format!("{option}.access_max_user_messages"),
                        Kind::Left,
                        why,
                        None,
                    );
                    String::new()
                }
            },
            None => "max_user_offline_messages".to_owned(),
        };
        self.allowance_setting(host, &rule, &header, "messages_max", 0..=1_000_000);
        for (key, kind, why) in [
            (
                "store_empty_body",
                Kind::Changed,
                "what has no text is kept if it must not get lost, as XEP-0160 asks",
            ),
            ("store_groupchat", Kind::Left, "there is no group chat yet"),
            (
                "use_mam_for_storage",
                Kind::Changed,
                "messages for accounts that are away wait apart from the archive",
            ),
            ("bounce_groupchat", Kind::Left, "there is no group chat yet"),
        ] {
            if let Some(node) = module.value.get(key) {
                self.note(&node.at, &format!("{option}.{key}"), kind, why, None);
            }
        }
        let read = [
            "access_max_user_messages",
            "store_empty_body",
            "store_groupchat",
            "use_mam_for_storage",
            "bounce_groupchat",
        ];
        self.other_module_options(&module, option, &read);
    }

    fn push(&mut self, host: &Host) {
        let Some(module) = self.module(host, "mod_push") else { return };
        let option = "modules.mod_push";
        let header = self.header(host, "push");
        self.carried(&module.at, option, "[hosts.….push]");
        for (key, setting) in [("include_sender", "with_sender"), ("include_body", "with_body")] {
            let Some(node) = module.value.get(key).cloned() else { continue };
            let option = format!("{option}.{key}");
            let value = match node.text() {
                Some("true" | "on" | "yes") => true,
                Some("false" | "off" | "no") => false,
                _ => {
                    let why = "a text in the place of the body is for the client to choose";
                    self.note(&node.at, &option, Kind::Changed, why, None);
                    false
                }
            };
            self.carried(&node.at, &option, &format!("push.{setting}"));
            let origin = Origin { at: node.at, option };
            self.draft.set(&header, setting, value.to_string(), Some(origin));
        }
        let read = ["include_sender", "include_body", "notify_on"];
        if let Some(node) = module.value.get("notify_on") {
            let why = "pushes go out for messages";
            self.note(&node.at, &format!("{option}.notify_on"), Kind::Changed, why, None);
        }
        self.other_module_options(&module, option, &read);
    }

    fn rooms(&mut self, host: &Host) {
        let Some(module) = self.module(host, "mod_muc") else { return };
        let option = "modules.mod_muc";
        self.service_name(host, &module, option, "conference");
        let why = "there is no group chat yet; its name is kept free";
        self.note(&module.at, option, Kind::Left, why, None);
        for (key, value) in joined(&module.value).entries() {
            let name = key.text().unwrap_or_default();
            if !matches!(name, "host" | "hosts") {
                let option = format!("{option}.{name}");
                self.note(&key.at, &option, Kind::Left, why, None);
                for (key, _) in value.entries().iter().filter(|_| name == "default_room_options") {
                    let option = format!("{option}.{}", key.text().unwrap_or_default());
                    self.note(&key.at, &option, Kind::Left, why, None);
                }
            }
        }
        let header = self.header(host, "services");
        self.keep_for_later(&header, why, &module.at, "mod_muc", &module.value);
    }

    fn upload(&mut self, host: &Host) {
        let Some(module) = self.module(host, "mod_http_upload") else { return };
        let option = "modules.mod_http_upload";
        self.service_name(host, &module, option, "upload");
        let why = "there is no file upload yet; its name is kept free";
        self.note(&module.at, option, Kind::Left, why, None);
        for (key, _) in joined(&module.value).entries() {
            let name = key.text().unwrap_or_default();
            if !matches!(name, "host" | "hosts") {
                self.note(&key.at, &format!("{option}.{name}"), Kind::Left, why, None);
            }
        }
        for key in ["dir_mode", "file_mode"] {
            let Some(node) = module.value.get(key).cloned() else { continue };
            let mode = node.text().and_then(|mode| u32::from_str_radix(mode, 8).ok());
            if mode.is_some_and(|mode| mode & 0o002 != 0) {
                let why = "everybody on the machine may write where uploads are kept";
                let remedy = "chmod o-w; nothing here makes a folder that others can write to";
                self.note(&node.at, &format!("{option}.{key}"), Kind::Fault, why, Some(remedy));
            }
        }
        let quota = self.module(host, "mod_http_upload_quota");
        match &quota {
            Some(quota) => {
                let option = "modules.mod_http_upload_quota";
                self.note(&quota.at, option, Kind::Left, why, None);
                self.other_module_options(quota, option, &[]);
            }
            None => {
                let why = "uploads have no bound, so they fill the disk in the end";
                let remedy = "ejabberd has mod_http_upload_quota for that";
                self.note(&module.at, option, Kind::Fault, why, Some(remedy));
            }
        }
        let header = self.header(host, "services");
        self.keep_for_later(&header, why, &module.at, "mod_http_upload", &module.value);
        if let Some(quota) = quota {
            self.keep_for_later(&header, why, &quota.at, "mod_http_upload_quota", &quota.value);
        }
    }

    /// Modules with an option or two.
    fn small_ones(&mut self, host: &Host) {
        if let Some(module) = self.module(host, "mod_roster") {
            let option = "modules.mod_roster";
            self.carried(
                &module.at,
                option,
                "contact lists are built in, with versions (RFC 6121)",
            );
            for (key, kind, why) in [
                ("versioning", Kind::Carried, "versions are always on"),
                ("store_current_id", Kind::Needless, "versions cost no query"),
                ("access", Kind::Left, "everybody manages their own contact list"),
            ] {
                if let Some(node) = module.value.get(key) {
                    self.note(&node.at, &format!("{option}.{key}"), kind, why, None);
                }
            }
            self.other_module_options(
                &module,
                option,
                &["versioning", "store_current_id", "access"],
            );
        }
        if let Some(module) = self.module(host, "mod_vcard") {
            let option = "modules.mod_vcard";
            self.carried(&module.at, option, "vCards are built in (XEP-0054)");
            for key in [
                "search",
                "host",
                "hosts",
                "matches",
                "allow_return_all",
                "search_all_hosts",
                "name",
                "vcard",
            ] {
                if let Some(node) =
                    module.value.get(key).filter(|node| node.text() != Some("false"))
                {
                    let why = "there is no directory to search in yet";
                    self.note(&node.at, &format!("{option}.{key}"), Kind::Left, why, None);
                }
            }
            let read = [
                "search",
                "host",
                "hosts",
                "matches",
                "allow_return_all",
                "search_all_hosts",
                "name",
                "vcard",
            ];
            self.other_module_options(&module, option, &read);
        }
        if let Some(module) = self.module(host, "mod_auth_fast") {
            let option = "modules.mod_auth_fast";
            self.carried(&module.at, option, "tokens of devices are built in (XEP-0484)");
            if let Some(node) = module.value.get("token_lifetime").cloned() {
                let name = format!("{option}.token_lifetime");
                let time = self.time(&node, &name, Unit::Seconds);
                let header = self.header(host, "");
                let entry = Entry { name: name.clone(), at: node.at.clone(), value: node };
                let time = time.filter(|time| !matches!(time, Bound::Infinity)).or(time);
                self.bounded_time(
                    &entry,
                    &name,
                    time,
                    &header,
                    "token_lifetime",
                    3600,
                    3650 * 86_400,
                );
            }
            if let Some(node) = module.value.get("token_refresh_age") {
                let why = "a token is renewed when it is used";
                self.note(
                    &node.at,
                    &format!("{option}.token_refresh_age"),
                    Kind::Needless,
                    why,
                    None,
                );
            }
            self.other_module_options(&module, option, &["token_lifetime", "token_refresh_age"]);
        }
        if let Some(module) = self.module(host, "mod_shared_roster") {
            let why = "groups are in the database and come over by their commands (srg_*), not by the \
                       configuration";
            let remedy =
                "`ejabberdctl srg_list` and `srg_get_info` there, `coucou api srg_create` here";
            self.note(&module.at, "modules.mod_shared_roster", Kind::Left, why, Some(remedy));
        }
        if let Some(module) = self.module(host, "mod_announce") {
            let option = "modules.mod_announce";
            self.carried(
                &module.at,
                option,
                "announcements are built in (XEP-0133), for operators",
            );
            self.other_module_options(&module, option, &[]);
        }
        if let Some(module) = self.module(host, "mod_http_api") {
            self.note(
                &module.at,
                "modules.mod_http_api",
                Kind::Carried,
                "the API is built in",
                None,
            );
            self.other_module_options(&module, "modules.mod_http_api", &[]);
        }
        if let Some(module) = self.module(host, "mod_stun_disco") {
            let why = "STUN and TURN servers are not told to clients yet (XEP-0215)";
            self.note(&module.at, "modules.mod_stun_disco", Kind::Left, why, None);
            self.other_module_options(&module, "modules.mod_stun_disco", &[]);
            let header = self.header(host, "services");
            self.keep_for_later(&header, why, &module.at, "mod_stun_disco", &module.value);
        }
    }
}
