use super::*;
use crate::config::{Config, parse};

fn config(toml: &str) -> Config {
    parse(toml, "/etc/coucou/coucou.toml".as_ref()).unwrap_or_else(|e| panic!("{e:?}")).config
}

fn jid(text: &str) -> BareJid {
    BareJid::parse(text).unwrap()
}

/// One question: who, from where, by which door, with which password.
struct Ask<'a> {
    config: &'a Config,
    door: Door,
    address: Option<&'a str>,
    password: Option<&'a str>,
    by: Option<&'a str>,
}

impl<'a> Ask<'a> {
    fn new(config: &'a Config) -> Ask<'a> {
        Ask { config, door: Door::InBand, address: Some("192.0.2.1"), password: None, by: None }
    }

    fn of(&self, name: &str) -> Result<Outcome, Refused> {
        let jid = jid(name);
        let by = self.by.map(|by| Jid::parse(by).unwrap());
        let request = Request {
            jid: &jid,
            address: self.address.map(|address| address.parse().unwrap()),
            door: self.door,
            password: self.password,
            by: by.as_ref(),
        };
        let host = self.config.host(jid.domain()).unwrap();
        may_register(host, &self.config.rules, &SharedGroups::default(), &request)
    }

    fn refused(&self, name: &str) -> Condition {
        self.of(name).unwrap_err().condition
    }
}

const DOORS: [Door; 7] =
    [Door::InBand, Door::Invite, Door::Web, Door::Api, Door::Cli, Door::AdHoc, Door::Import];

#[test]
fn registration_is_closed_unless_it_is_opened() {
    let config = config("[hosts.\"h\"]\n");
    for door in DOORS {
        let ask = Ask { door, ..Ask::new(&config) };
        match door {
            Door::InBand | Door::Web => {
                assert_eq!(ask.refused("anna@h"), Condition::ServiceUnavailable)
            }
            _ => assert!(ask.of("anna@h").is_ok(), "{door:?}"),
        }
    }
}

/// ejabberd's way, in two steps: forbidden words first, by a pattern that is not anchored and so
/// forbids them inside of names too; then the names that may be taken, by one that is.
#[test]
fn forbidden_words_and_a_pattern_for_names_decide_as_in_ejabberd() {
    let config = config(
        r#"
[hosts."h"]
[hosts."h".registration]
access = "register"
reserved_names = "allow"
[acl]
rgxp_forbidden = { user_regexp = ["(abuse|tech|mail|admin)", "^root$"] }
rgxp_name = { user_regexp = "^[a-z][a-z0-9._-]{2,31}$" }
net = { ip = ["192.0.2.0/24", "2001:db8::/32"] }
[access]
register = [
    { deny = "rgxp_forbidden" },
    { allow = ["rgxp_name", "net"] },
]
"#,
    );
    let ask = Ask::new(&config);
    for (name, allowed) in [
        ("anna", true),
        ("anna.b-c_9", true),
        ("al", false),
        ("9anna", false),
        ("anna+b", false),
        ("abuse", false),
        ("technicienne", false),
        ("camail", false),
        ("superadmin", false),
        ("root", false),
        ("roots", true),
        ("ANNA", true), // normalised before it is matched
        ("ABUSE2", false),
        ("a234567890123456789012345678901b", true),
        ("a234567890123456789012345678901bc", false),
    ] {
        let verdict = ask.of(&format!("{name}@h"));
        assert_eq!(verdict.is_ok(), allowed, "{name}: {verdict:?}");
    }
    // Both conditions of an entry have to hold.
    for (address, allowed) in [("192.0.2.77", true), ("2001:db8::1", true), ("198.51.100.1", false)]
    {
        let ask = Ask { address: Some(address), ..Ask::new(&config) };
        assert_eq!(ask.of("anna@h").is_ok(), allowed, "{address}");
    }
    assert!(Ask { address: None, ..Ask::new(&config) }.of("anna@h").is_err());
    // The line that decided is for the log, not for the stranger.
    let refused = ask.of("camail@h").unwrap_err();
    assert_eq!(refused.condition, Condition::Forbidden);
    assert!(refused.because.contains("line 12"), "{}", refused.because);
    assert!(!refused.text.contains("line"), "{}", refused.text);
}

#[test]
fn what_an_entry_denies_stays_denied_and_silence_does_not_bind_operators_and_guests() {
    let config = config(
        "[hosts.\"h\".registration]\naccess = \"register\"\n[acl]\nbad = { user_regexp = \"bad\" }\n\
         good = { user_regexp = \"good\" }\n[access]\nregister = [{ deny = \"bad\" }, { allow = \"good\" }]\n",
    );
    for door in DOORS {
        let ask = Ask { door, ..Ask::new(&config) };
        assert!(ask.of("goodie@h").is_ok(), "{door:?}");
        assert!(ask.of("baddie@h").is_err(), "{door:?}");
        let silent = ask.of("anna@h").is_ok();
        assert_eq!(silent, !matches!(door, Door::InBand | Door::Web), "{door:?}");
    }
    // An ACL in the place of a rule has no entry that could deny.
    let config = config_with("access = \"good\"\n[acl]\ngood = { user_regexp = \"good\" }");
    let ask = Ask { door: Door::Invite, ..Ask::new(&config) };
    assert!(ask.of("anna@h").is_ok());
}

fn config_with(toml: &str) -> Config {
    config(&format!("[hosts.\"h\".registration]\n{toml}\n"))
}

#[test]
fn reserved_names_are_refused_at_every_door_unless_the_host_allows_them() {
    let closed = config_with("access = \"all\"");
    let open = config_with("access = \"all\"\nreserved_names = \"allow\"");
    for door in DOORS {
        for name in ["admin@h", "P.o.s.t.master@h", "r00t@h"] {
            let ask = Ask { door, ..Ask::new(&closed) };
            assert_eq!(ask.refused(name), Condition::NotAcceptable, "{door:?} {name}");
            assert!(Ask { door, ..Ask::new(&open) }.of(name).is_ok());
        }
    }
}

#[test]
fn names_have_a_length_and_imported_ones_the_length_they_have() {
    let config = config_with("access = \"all\"\nname_length_min = 3\nname_length_max = 5");
    let ask = Ask::new(&config);
    assert!(ask.of("éèà@h").is_ok());
    assert!(ask.of("al@h").unwrap_err().text.contains("3 characters at least"));
    assert!(ask.of("alfred@h").unwrap_err().text.contains("5 characters at most"));
    assert!(Ask { door: Door::Import, ..Ask::new(&config) }.of("al@h").is_ok());
}

#[test]
fn addresses_and_sessions_are_asked_about_where_they_come_in() {
    let config = config_with(
        "access = \"all\"\nip_access = \"near\"\naccess_from = \"friends\"\n\
         [acl]\nnear = { ip = \"192.0.2.0/24\" }\nfriends = { user = \"anna@h\" }",
    );
    let far = Some("198.51.100.1");
    for door in [Door::InBand, Door::Web, Door::Invite] {
        let ask = Ask { door, address: far, ..Ask::new(&config) };
        assert_eq!(ask.refused("bob@h"), Condition::Forbidden);
        // Unknown is not near.
        let ask = Ask { door, address: None, ..Ask::new(&config) };
        assert_eq!(ask.refused("bob@h"), Condition::Forbidden);
    }
    assert!(Ask { door: Door::Cli, address: None, ..Ask::new(&config) }.of("bob@h").is_ok());
    assert!(Ask { by: Some("anna@h/x"), ..Ask::new(&config) }.of("bob@h").is_ok());
    assert!(Ask { by: Some("eve@h/x"), ..Ask::new(&config) }.of("bob@h").is_err());
}

#[test]
fn a_redirection_means_what_it_says() {
    let config = config_with("access = \"all\"\nredirect_url = \"https://h/join\"");
    let refused = Ask::new(&config).of("anna@h").unwrap_err();
    assert_eq!(refused.condition, Condition::NotAllowed);
    assert!(refused.text.contains("https://h/join"));
    for door in DOORS.into_iter().filter(|door| *door != Door::InBand) {
        assert!(Ask { door, ..Ask::new(&config) }.of("anna@h").is_ok(), "{door:?}");
    }
}

#[test]
fn weak_passwords_are_refused_with_advice_by_what_the_door_asks_for() {
    let config = config_with("access = \"all\"\npassword_strength = 40");
    let ask = |door, password| {
        let ask = Ask { door, password: Some(password), ..Ask::new(&config) };
        ask.of("juliet@h")
    };
    for weak in ["pencil", "password1", "juliet", "juliet@h", "qwertyuiop", "abcabcabc", "19871987"]
    {
        let refused = ask(Door::InBand, weak).unwrap_err();
        assert_eq!(refused.condition, Condition::NotAcceptable, "{weak}");
        assert!(refused.text.starts_with("This password is too easy to guess. "), "{weak}");
        assert!(refused.text.len() > 50, "{}", refused.text);
        assert!(refused.because.contains("bits of 40"), "{}", refused.because);
        // Operators have a setting of their own.
        assert!(ask(Door::Cli, weak).is_ok());
    }
    for strong in ["7sgx-2eeb-ee7w-cfva", "correct horse battery staple", "Fz9#kq!2LwX4t"] {
        assert!(ask(Door::Invite, strong).is_ok(), "{strong}");
    }
    let config = config_with("password_strength_by_operators = 40");
    let ask = Ask { door: Door::Api, password: Some("pencil"), ..Ask::new(&config) };
    assert_eq!(ask.refused("juliet@h"), Condition::NotAcceptable);
}

#[test]
fn approval_is_asked_of_people_and_not_of_operators() {
    let config = config_with("access = \"all\"\napproval = true");
    for door in DOORS {
        let outcome = Ask { door, ..Ask::new(&config) }.of("anna@h").unwrap();
        assert_eq!(outcome.needs_approval, !door.is_operators(), "{door:?}");
    }
}

#[test]
fn guests_have_no_accounts_to_register() {
    let config = config("[hosts.\"h\"]\nauth = \"anonymous\"\n");
    for door in DOORS {
        let refused = Ask { door, ..Ask::new(&config) }.of("anna@h").unwrap_err();
        assert_eq!(refused.condition, Condition::NotAllowed);
    }
}

#[test]
fn removal_is_decided_by_jid_and_address_together() {
    let config = config_with(
        "access_remove = [{ deny = \"kept\" }, { allow = \"near\" }]\n\
         [acl]\nkept = { user = \"kept@h\" }\nnear = { ip = \"192.0.2.0/24\" }",
    );
    let may = |config: &Config, who: &str, address: &str| {
        let who = Jid::parse(who).unwrap();
        let (host, groups) = (&config.hosts[0], SharedGroups::default());
        let address = Some(address.parse().unwrap());
        may_remove(host, &config.rules, &groups, &who, address).map_err(|r| r.condition)
    };
    assert_eq!(may(&config, "anna@h/x", "192.0.2.1"), Ok(()));
    assert_eq!(may(&config, "anna@h/x", "198.51.100.1"), Err(Condition::Forbidden));
    assert_eq!(may(&config, "kept@h/x", "192.0.2.1"), Err(Condition::Forbidden));
    let never = config_with("access_remove = \"none\"");
    assert_eq!(may(&never, "anna@h/x", "192.0.2.1"), Err(Condition::NotAllowed));
    let default = config_with("");
    assert_eq!(may(&default, "anna@h/x", "198.51.100.1"), Ok(()));
}

#[test]
fn a_rule_that_lets_nobody_in_is_known_as_such() {
    for (access, open) in [
        ("\"all\"", true),
        ("\"none\"", false),
        ("\"loopback\"", true),
        ("\"admin\"", false), // empty until it is written
        ("\"nobody\"", false),
        ("\"some\"", true),
        ("[]", false),
        ("[{ deny = \"all\" }]", false),
        ("[{ allow = \"none\" }]", false),
        ("[{ deny = \"loopback\" }, { allow = \"all\" }]", true),
    ] {
        let config = config_with(&format!(
            "access = {access}\n[access]\nnobody = [{{ allow = \"none\" }}]\n\
             some = [{{ deny = \"none\" }}, {{ allow = \"local\" }}]"
        ));
        let settings = &config.hosts[0].registration;
        assert_eq!(is_open(&config.rules, &settings.access), open, "{access}");
    }
}
