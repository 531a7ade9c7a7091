use std::io;
use std::path::Path;

use super::*;
use crate::config::{self, ArchiveDefault, Auth, Config, ConfigError, Mechanism};

const WIKI: &str = include_str!("../../../tests/worlds/wiki/ejabberd.yml");
const FAULTS: &str = include_str!("../../../tests/worlds/wiki/faults.yml");

/// No file but these can be read, and few certificates used.
struct Files<'f>(&'f [(&'f str, &'f str)]);

impl World for Files<'_> {
    fn read(&self, file: &Path) -> io::Result<String> {
        let known = self.0.iter().find(|(name, _)| Path::new(name) == file);
        known.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn certificate(&self, chain: &Path, key: &Path) -> Result<Vec<String>, String> {
        match (chain.to_str(), key.to_str()) {
            (Some("/certs/wild.pem"), _) => Ok(vec!["example.org".into(), "*.example.org".into()]),
            (Some("/etc/letsencrypt/live/xmpp.geocoucou.im/fullchain.pem"), Some(key))
                if key.ends_with("/privkey.pem") =>
            {
                Ok(vec!["geocoucou.im".into(), "xmpp.geocoucou.im".into()])
            }
            _ => Err("there is no such file".to_owned()),
        }
    }
}

const SOURCE: &str = "/etc/ejabberd/ejabberd.yml";
const TARGET: &str = "/etc/coucou/coucou.toml";

fn try_import(text: &str, files: &[(&str, &str)]) -> Result<Imported, ConfigError> {
    ejabberd(text, Path::new(SOURCE), Path::new(TARGET), &Files(files))
}

fn import(text: &str) -> (Config, Imported) {
    import_with(text, &[])
}

fn import_with(text: &str, files: &[(&str, &str)]) -> (Config, Imported) {
    let imported = try_import(text, files).unwrap_or_else(|error| panic!("{error}"));
    (imported.config.clone(), imported)
}

/// With what every source needs.
fn import_options(options: &str) -> (Config, Imported) {
    import(&format!("hosts: [example.org]\n{options}"))
}

fn refused(text: &str) -> Problem {
    match try_import(text, &[]) {
        Ok(imported) => panic!("taken:\n{}", imported.toml),
        Err(error) => error.problems[0].clone(),
    }
}

fn notes<'i>(imported: &'i Imported, option: &str) -> Vec<&'i Note> {
    imported.notes.iter().filter(|note| note.option.contains(option)).collect()
}

#[test]
fn the_wiki_comes_over() {
    let (config, imported) = import(WIKI);
    let host = config.host("geocoucou.im").unwrap();
    assert_eq!(config.host("public.geocoucou.im").unwrap().auth, Auth::Anonymous);
    assert_eq!(host.archive.default, ArchiveDefault::Always);
    assert_eq!(host.contact.support, ["mailto:support@geocoucou.im"]);
    assert_eq!(host.tls.key, Path::new("/etc/letsencrypt/live/xmpp.geocoucou.im/privkey.pem"));
    assert_eq!(config.listen.c2s, ["[::]:5222".parse().unwrap()]);
    assert_eq!(
        config.component("bridge.geocoucou.im").unwrap().secret.reveal(),
        "Ohthoh9chei3Ueph"
    );
    let registration = &host.registration;
    assert_eq!(registration.access.shown(), "register_names");
    assert_eq!(registration.access_remove.shown(), "remove_own");
    assert_eq!(registration.timeout.unwrap().as_secs(), 600);
    assert_eq!(registration.watchers.len(), 2);
    assert_eq!(registration.welcome_subject, "Bienvenue !");
    assert!(
        registration
            .welcome_body
            .starts_with("Bonjour et bienvenue sur geocoucou.im.\n\nLes salons")
    );
    assert!(config.rules.acls.contains_key("rgxp_well_formed"));
    assert!(config.rules.access.contains_key("staff_or_partner"));
    // Nothing is silently dropped: what has no setting stands in the list, the file or both.
    for left in ["mod_muc", "mod_http_upload", "ejabberd_stun", "mod_stun_disco", "s2s_access"] {
        assert!(notes(&imported, left).iter().any(|note| note.kind == Kind::Left), "{left}");
    }
    for kept in
        ["turn_ipv4_address: \"192.0.2.10\"", "max_users: 200", "Access-Control-Allow-Origin"]
    {
        assert!(imported.toml.contains(kept), "{kept}");
    }
    for secret in ["not the one in use", "a secret that stays where it is"] {
        assert!(!imported.toml.contains(secret), "{secret}");
        assert!(!serde_json::to_string(&imported).unwrap().contains(secret), "{secret}");
    }
    assert!(!serde_json::to_string(&imported).unwrap().contains("Ohthoh9chei3Ueph"));
}

#[test]
fn every_option_of_the_wiki_is_in_the_list() {
    let (_, imported) = import(WIKI);
    let root = yaml::parse(WIKI, 0).unwrap();
    for (key, value) in root.entries() {
        let name = key.text().unwrap();
        if matches!(name, "define_macro" | "host_config" | "append_host_config") {
            continue;
        }
        let said = |name: &str| imported.notes.iter().any(|note| note.option.contains(name));
        assert!(said(name), "{name}");
        if name == "modules" {
            for (module, options) in value.entries() {
                let module = module.text().unwrap();
                assert!(said(module), "{module}");
                for (option, _) in options.entries() {
                    let option = format!("{module}.{}", option.text().unwrap());
                    assert!(said(&option), "{option}");
                }
            }
        }
    }
}

#[test]
fn grants_to_accounts_become_permissions_of_the_api() {
    let (_, imported) = import(WIKI);
    let toml = &imported.toml;
    for wanted in [
        "[api.permissions.\"admin access\"]",
        "who = [{ allow = [\"admin\", \"loopback\"] }]",
        "what = [\"*\", \"!stop\", \"!start\"]",
        "[api.permissions.\"chatmail portal\"]",
        "what = [\"check_password\", \"register\"]",
    ] {
        assert!(toml.contains(wanted), "{wanted} is not in\n{toml}");
    }
    assert!(!toml.contains("[api.permissions.\"public commands\"]"), "by address alone");
}

#[test]
fn faults_of_the_wiki_are_told_with_their_lines() {
    let (_, imported) = import(FAULTS);
    let line = |wanted: &str| FAULTS.lines().position(|line| line.contains(wanted)).unwrap() + 1;
    for (option, at, why) in [
        ("admin_access", line("- allow:"), "no address is in"),
        ("both_networks", line("ip: [198") - 1, "no address is in"),
        ("ghosts", line("nobody_wrote_this"), "there is no ACL nobody_wrote_this"),
        ("listen.access", line("access: admin"), "is an ACL and no access rule"),
        ("certfiles", line("fullchain.pem"), "conference.geocoucou.im, upload.geocoucou.im"),
        ("certfiles", line("fullchain.pem"), "port 80"),
        ("bridge.geocoucou.im", line("bridge.geocoucou.im"), "too short"),
        ("sql_password", line("sql_password"), "clear text"),
        ("mod_http_upload.dir_mode", line("0777"), "everybody on the machine may write"),
        ("mod_http_upload", line("mod_http_upload"), "no bound"),
        ("ejabberd_stun", line("port: 3478"), "behind NAT"),
        ("public commands", line("public commands"), "every operation, to whoever comes from"),
        ("admin access", line("\"admin access"), "never true: no address is in"),
        ("access_remove", line("access_remove"), "refuses to everybody"),
        ("ip_access", line("ip_access"), "192.0.2.80/32 is a proxy"),
    ] {
        let told = imported.notes.iter().any(|note| {
            note.kind == Kind::Fault
                && note.option.contains(option)
                && note.line == at
                && note.why.contains(why)
        });
        assert!(told, "{option} in line {at}: {:#?}", notes(&imported, option));
    }
}

#[test]
fn what_cannot_be_used_changes_nothing_and_says_where() {
    for (text, line, column, found, expected) in [
        ("hosts\n  - a.example\nloglevel: 4\n", 1, 1, "`hosts` without a colon", "`hosts:`"),
        ("hosts: [a.example]\nmodules:\n  mod_disco {}\n  mod_mam: {}\n", 3, 3, "`mod_disco`", ""),
        (
            "hosts: [a.example]\nacl:\n  net:\n    ip: 2001:41d0:305:2100:9789/56\n",
            4,
            9,
            "9789",
            "an address",
        ),
        ("loglevel: 4\n", 1, 1, "no option `hosts`", "a list of domains"),
        ("hosts: []\n", 1, 1, "a list", "a list of domains"),
        ("hosts: [a b]\n", 1, 9, "\"a b\"", "a domain"),
        ("hosts: [a.example, A.example]\n", 1, 20, "a.example again", "once"),
        ("hosts: [a.example]\nloglevel: loud\n", 2, 11, "loud", "0 to 5"),
        (
            "hosts: [a.example]\nnegotiation_timeout: 3 fortnights\n",
            2,
            22,
            "3 fortnights",
            "5 minutes",
        ),
        (
            "hosts: [a.example]\nlisten:\n  - port: 70000\n    module: ejabberd_c2s\n",
            3,
            11,
            "70000",
            "65535",
        ),
        ("hosts: [a.example]\nlisten:\n  - module: ejabberd_c2s\n", 3, 5, "without a port", "port"),
        (
            "hosts: [a.example]\nlisten:\n  - port: 5222\n    ip: \"here\"\n    module: ejabberd_c2s\n",
            4,
            9,
            "here",
            "IP address",
        ),
        ("hosts: [a.example]\nacl: {x: {user_regex: a}}\n", 2, 11, "user_regex", "user_regexp"),
        ("hosts: [a.example]\nacl: {x: {user_regexp: '(?=a)b'}}\n", 2, 24, "(?=a)b", "linear time"),
        ("hosts: [a.example]\nacl: {x: {user_regexp: '(a'}}\n", 2, 24, "(a", "linear time"),
        ("hosts: [a.example]\nacl: {x: {user: 'a@b@c'}}\n", 2, 17, "a@b@c", "at most one @"),
        (
            "hosts: [a.example]\naccess_rules: {x: {permit: all}}\n",
            2,
            20,
            "permit",
            "allow or deny",
        ),
        ("hosts: [a.example]\ninclude_config_file: gone.yml\n", 2, 22, "gone.yml", "can be read"),
        (
            "hosts: [a.example]\ndefine_macro: {A: B, B: A}\nloglevel: A\n",
            3,
            11,
            "stands for itself",
            "in the end",
        ),
        ("hosts: [a.example]\nhost_config: {b.example: {}}\n", 2, 15, "b.example", "a.example"),
        (
            "hosts: [a.example]\nmodules: {mod_mam: {default: sometimes}}\n",
            2,
            30,
            "sometimes",
            "always",
        ),
        ("hosts: [a.example]\nresource_conflict: closenw\n", 2, 20, "closenw", "closenew"),
        (
            "hosts: [a.example]\nmodules:\n  mod_disco {}\n",
            3,
            3,
            "mod_disco {}",
            "write `mod_disco:`",
        ),
        ("hosts: [a.example]\nmodules: {mod_mam: always}\n", 2, 20, "always", "a map"),
        ("- hosts\n", 1, 1, "a list", "`option: value`"),
        ("hosts: [a.example\n", 2, 1, "YAML syntax", ""),
    ] {
        let problem = refused(text);
        let place = (problem.line, problem.column);
        assert_eq!(place, (line, column), "{text}{problem}");
        assert!(problem.found.contains(found), "{text}{problem}");
        let said = format!("{} {}", problem.expected, problem.help.unwrap_or_default());
        assert!(said.contains(expected), "{text}{said}");
    }
    let near = refused("hosts: [a.example]\nacl: {net: {ip: '2001:41d0:305:2100:9789/56'}}\n");
    assert_eq!(near.help.as_deref(), Some("did you mean 2001:41d0:305:2100::/56?"));
}

#[test]
fn rules_are_read_in_every_form_they_have() {
    let forms = [
        "access_rules:\n  r:\n    - deny: blocked\n    - allow: local\n",
        "access_rules:\n  r: {deny: blocked, allow: local}\n",
        "access_rules:\n  - r:\n    - deny:\n        - acl: blocked\n    - allow: [local]\n",
        "access:\n  r:\n    blocked: deny\n    local: allow\n",
        "access:\n  r:\n    - blocked: deny\n    - local: allow\n",
    ];
    for form in forms {
        let acls = "acl:\n  - blocked: {user: bad}\n  - local: {user_regexp: ''}\n";
        let (config, _) = import_options(&format!("{acls}{form}"));
        let rule = config.rules.access["r"].shown();
        assert_eq!(rule, "[{ deny = \"blocked\" }, { allow = \"local\" }]", "{form}");
    }
    let users = [
        "user: {anna: example.org}",
        "user: [{anna: example.org}]",
        "user: anna@example.org",
        "user: ['ANNA@EXAMPLE.org']",
    ];
    for user in users {
        let (config, _) = import_options(&format!("acl: {{x: {{{user}}}}}\n"));
        assert_eq!(config.rules.acls["x"].shown(), "[{ user = \"anna@example.org\" }]", "{user}");
    }
    let values = [
        ("max_user_sessions: 7", 7),
        ("max_user_sessions: [7]", 7),
        ("max_user_sessions: {7: all}", 7),
        ("max_user_sessions: infinity", 1000),
    ];
    for (value, sessions) in values {
        let (config, _) = import_options(&format!("shaper_rules:\n  {value}\n"));
        let host = config.host("example.org").unwrap();
        assert_eq!(host.sessions_per_account_max.to_string(), sessions.to_string(), "{value}");
    }
    let (config, _) = import_options("access: {max_user_sessions: {all: 7}}\n");
    let host = config.host("example.org").unwrap();
    assert_eq!(host.sessions_per_account_max.to_string(), "7");
}

#[test]
fn a_host_has_its_own_rules_and_modules() {
    let (config, imported) = import(
        "hosts: [a.example, b.example]\n\
         acl: {vip: {user: anna}}\n\
         access_rules: {in: {allow: vip}}\n\
         listen: [{port: 5222, module: ejabberd_c2s, access: in}]\n\
         modules: {mod_mam: {default: always}}\n\
         host_config:\n  b.example:\n    acl: {vip: {user: ben}}\n    modules: {mod_mam: {default: roster}}\n\
         append_host_config:\n  a.example: {modules: {mod_push: {include_sender: true}}}\n",
    );
    let (a, b) = (config.host("a.example").unwrap(), config.host("b.example").unwrap());
    assert_eq!((a.sign_in.shown().as_str(), b.sign_in.shown().as_str()), ("in", "in-b.example"));
    assert_eq!(config.rules.acls["vip-b.example"].shown(), "[{ user = \"ben\" }]");
    assert_eq!(config.rules.access["in-b.example"].shown(), "[{ allow = \"vip-b.example\" }]");
    assert_eq!(a.archive.default, ArchiveDefault::Always);
    assert_eq!(b.archive.default, ArchiveDefault::Roster);
    assert!(a.push.with_sender && !b.push.with_sender);
    assert!(imported.toml.contains("ejabberd.yml:8"), "{}", imported.toml);
}

#[test]
fn included_files_and_macros_are_taken_in() {
    let files = [
        (
            "/etc/ejabberd/more.yml",
            "acl: {x: {user: NAME}}\nloglevel: 5\ninclude_config_file: [deep/one.yml]\n",
        ),
        ("/etc/ejabberd/deep/one.yml", "acl: {y: {user: \"NAME\"}}\nhosts: [elsewhere.example]\n"),
        ("/etc/ejabberd/loop.yml", "include_config_file: loop.yml\n"),
    ];
    let text = "hosts: [DOMAIN]\ndefine_macro: {DOMAIN: example.org, NAME: anna}\n\
                include_config_file:\n  more.yml: {disallow: [loglevel, hosts]}\n";
    let (config, imported) = import_with(text, &files);
    assert_eq!(config.hosts.len(), 1);
    assert_eq!(config.rules.acls["x"].shown(), "[{ user = \"anna\" }]");
    assert_eq!(config.rules.acls["y"].shown(), "[{ user = \"anna\" }]");
    assert_eq!(config.log.level, config::Level::Info);
    assert!(imported.toml.contains("more.yml:1"), "{}", imported.toml);
    let note = notes(&imported, "acl.x")[0];
    assert!(note.file.ends_with("/more.yml"), "{note:?}");
    let error =
        try_import("hosts: [a.example]\ninclude_config_file: loop.yml\n", &files).unwrap_err();
    assert!(error.to_string().contains("one file too many"), "{error}");
}

#[test]
fn single_settings_mean_the_same() {
    let (config, _) = import_options(
        "disable_sasl_mechanisms: [plain, SCRAM-SHA-1]\nresource_conflict: setresource\nloglevel: 2\n\
         hide_sensitive_log_data: true\nnegotiation_timeout: 1 hour\n",
    );
    let host = config.host("example.org").unwrap();
    assert_eq!(host.mechanisms, [Mechanism::ScramSha512, Mechanism::ScramSha256]);
    assert_eq!(host.resource_conflict, config::ResourceConflict::Rename);
    assert_eq!(config.log.level, config::Level::Error);
    assert_eq!(config.log.addresses, config::Addresses::Hidden);
    assert_eq!(config.limits.negotiation_timeout.as_secs(), 600);
    // Nothing is kept that ejabberd would not keep.
    assert_eq!(host.archive.default, ArchiveDefault::Never);
    assert_eq!(host.offline.messages_max.to_string(), "0");
    // Nobody is an operator by having a name.
    assert_eq!(config.rules.access["configure"].shown(), "[{ deny = \"all\" }]");
}

#[test]
fn both_addresses_of_a_port_are_one_listener() {
    let (config, _) = import_options(
        "listen:\n  - {port: 5222, ip: '0.0.0.0', module: ejabberd_c2s}\n  - {port: 5222, ip: '::', module: ejabberd_c2s}\n\
         \x20 - {port: 5223, ip: '192.0.2.1', tls: true, module: ejabberd_c2s}\n",
    );
    assert_eq!(config.listen.c2s, ["[::]:5222".parse().unwrap()]);
    assert_eq!(config.listen.c2s_tls, ["192.0.2.1:5223".parse().unwrap()]);
}

#[test]
fn certificates_go_to_the_hosts_they_are_for() {
    let (config, imported) = import(
        "hosts: [example.org, chat.example.org, example.net]\ncertfiles: [/certs/wild.pem, /certs/gone.pem]\n",
    );
    let certificate = |domain: &str| config.host(domain).unwrap().tls.certificate.clone();
    assert_eq!(certificate("chat.example.org"), Path::new("/certs/wild.pem"));
    assert!(config.host("example.net").unwrap().tls.self_signed);
    let told = notes(&imported, "certfiles");
    assert!(
        told.iter().any(|note| note.why.contains("no certificate is for example.net")),
        "{told:?}"
    );
    assert!(told.iter().any(|note| note.kind == Kind::Left && note.why.contains("no such file")));
}
