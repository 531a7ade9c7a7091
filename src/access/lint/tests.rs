use std::path::Path;

use super::*;
use crate::config::parse;

fn config(text: &str) -> Config {
    let text = format!("{text}\n[hosts.\"a.org\"]\n[hosts.\"b.org\"]\n");
    parse(&text, Path::new("/c.toml")).unwrap_or_else(|error| panic!("{error}")).config
}

/// Severity, line, key and what was found.
fn found(text: &str) -> Vec<(Severity, Option<usize>, String, String)> {
    let findings = lint(&config(text), Some(&SharedGroups::default()));
    assert!(findings.iter().all(|one| !one.remedy.is_empty()));
    findings.into_iter().map(|one| (one.severity, one.line, one.key, one.found)).collect()
}

#[track_caller]
fn expect(text: &str, severity: Severity, line: usize, key: &str, words: &[&str]) {
    let found = found(text);
    let fits = |one: &&(Severity, Option<usize>, String, String)| {
        one.0 == severity
            && one.1 == Some(line)
            && one.2 == key
            && words.iter().all(|word| one.3.contains(word))
    };
    assert!(found.iter().any(|one| fits(&one)), "{text}\n{found:#?}");
}

#[test]
fn a_file_without_rules_raises_no_doubt() {
    assert_eq!(found(""), []);
    let text = "[acl]\nadmin = { user = \"ann\" }\nbad = { user_regexp = \"^(abuse|tech|mail)$\" }\n\
                home = { ip = [\"10.0.0.0/8\"] }\n[access]\nr = [{ deny = \"bad\" }, { allow = [\"admin\", \"home\"] }, \
                { allow = \"local\" }]\n[hosts.\"c.org\"]\nsign_in = \"r\"\n[admin]\naccess = [{ allow = [\"admin\", \"home\"] }]\n";
    assert_eq!(found(text), []);
}

// The ten faults of the study's part A5, as far as a config of ours can have them; the importer
// reports what only ejabberd's can (its tests are in `config::import`).

/// 1. `"public commands"`: everything for whoever has the proxy's address.
#[test]
fn a5_1_rights_by_an_address_alone_are_refused() {
    let text = "[access]\nconfigure = [\n{ allow = { ip = \"192.0.2.1\" } },\n]\n";
    let words = ["makes whoever has that address an administrator"];
    expect(text, Severity::Refused, 3, "admin.access", &words);
    let error =
        super::parse(&format!("{text}[hosts.\"a.org\"]\n"), Path::new("/c.toml")).unwrap_err();
    // The same rule says who owns all rooms.
    let refused: Vec<_> = error.problems.iter().map(|p| (p.line, p.key.as_str())).collect();
    assert_eq!(refused, [(3, "admin.access"), (3, "hosts.\"a.org\".rooms.admin")]);
    assert!(error.problems[0].help.as_deref().unwrap().contains("name who it is"));
    // By an ACL that a user or an address may be in, too.
    let text = "[acl]\nadmin = { user = \"ann\", ip = \"192.0.2.1\" }\n[access]\nconfigure = [{ allow = \"admin\" }]\n";
    expect(text, Severity::Refused, 4, "admin.access", &words);
    let text = "[admin]\naccess = [\n{ allow = [\"all\", \"loopback\"] },\n]\n";
    expect(text, Severity::Refused, 3, "admin.access", &words);
    let text = "[admin]\naccess = \"all\"\n";
    expect(text, Severity::Refused, 2, "admin.access", &["makes everybody an administrator"]);
    // A user from an address is fine.
    let text = "[acl]\nadmin = { user = \"ann\" }\n[admin]\naccess = [{ allow = [\"admin\", \"loopback\"] }]\n";
    assert_eq!(found(text), []);
}

/// 2. `admin access: allow: [net_remote_admin, loopback, admin]`.
#[test]
fn a5_2_lines_that_never_hold_are_errors() {
    let text = "[acl]\nnet_remote_admin = { ip = \"203.0.113.0/24\" }\nadmin = { user = \"ann\" }\n[access]\n\
                web = [\n{ allow = [\"net_remote_admin\", \"loopback\", \"admin\"] },\n]\n";
    let words =
        ["never holds", "acl = \"net_remote_admin\"", "acl = \"loopback\"", "exclude each other"];
    expect(text, Severity::Error, 6, "access.web", &words);
    for conditions in [
        "{ user = [\"ann\", \"ben\"] }",
        "{ user = \"ann@a.org\", server = \"b.org\" }",
        "{ user = \"ann\", user_regexp = \"^b\" }",
        "{ ip = [\"10.0.0.0/8\", \"fd00::/8\"] }",
        "{ resource = [\"a\", \"b\"] }",
        "{ server = \"a.org\", server_regexp = \"^b\" }",
    ] {
        let text = format!("[access]\nr = [{{ allow = {conditions} }}]\n");
        expect(&text, Severity::Error, 2, "access.r", &["never holds", "exclude each other"]);
    }
    for conditions in [
        "{ user_regexp = [\"^a\", \"b$\"] }",
        "{ ip = [\"10.0.0.0/8\", \"10.1.0.0/16\"] }",
        "[\"local\", \"loopback\"]",
    ] {
        assert_eq!(found(&format!("[access]\nr = [{{ allow = {conditions} }}]\n")), []);
    }
}

/// 3. `access_remove` with an ACL of addresses: here it works, and where no address is known it is
///    told.
#[test]
fn a5_3_conditions_that_cannot_be_known_are_errors() {
    let text = "[acl]\nhome = { ip = \"10.0.0.0/8\" }\n[access]\nremove = [{ allow = \"home\" }]\n\
                [hosts.\"c.org\".registration]\naccess_remove = \"remove\"\n";
    assert_eq!(found(text), []);
    let text = "[acl]\nhome = { ip = \"10.0.0.0/8\" }\n[allowances]\nn = [{ grant = 9, to = \"home\" }]\n\
                [hosts.\"c.org\"]\nroster_items_max = \"n\"\n";
    let words = ["never holds in hosts.\"c.org\".roster_items_max", "the address is not known"];
    expect(text, Severity::Error, 4, "hosts.\"c.org\".roster_items_max", &words);
    let text = "[hosts.\"c.org\"]\nsign_in = [\n{ allow = { resource = \"x\" } },\n]\n";
    expect(text, Severity::Error, 3, "hosts.\"c.org\".sign_in", &["the resource is not known"]);
    let text = "[acl]\nx = { ip = \"10.0.0.0/8\", user = \"ann\" }\n[hosts.\"c.org\".registration]\n\
                ip_access = [\n{ allow = \"x\" },\n]\n";
    let key = "hosts.\"c.org\".registration.ip_access";
    expect(text, Severity::Warning, 5, key, &["a part never holds", "the user is not known"]);
}

/// 4. `ip_access` lets the proxy in.
#[test]
fn a5_4_an_address_that_many_may_have_is_a_warning() {
    let text =
        "[hosts.\"c.org\".registration]\nip_access = [\n{ allow = { ip = \"192.0.2.7\" } },\n]\n";
    let key = "hosts.\"c.org\".registration.ip_access";
    expect(text, Severity::Warning, 3, key, &["the single address 192.0.2.7/32 lets in"]);
    let text = format!("[http]\ntrusted_proxies = [\"192.0.2.7\"]\n{text}");
    assert_eq!(found(&text), []);
}

/// 6. `(abuse|tech|mail…)`, not anchored.
#[test]
fn a5_6_patterns_that_refuse_the_innocent_show_some() {
    let text = "[acl]\nforbidden = { user_regexp = [\n\"(abuse|tech|mail)\",\n] }\n[access]\n\
                register = [{ deny = \"forbidden\" }, { allow = \"all\" }]\n";
    let config = config(&text.replace("[\n", "[").replace(",\n]", "]"));
    let findings = lint(&config, None);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let Finding { line, key, found, remedy, .. } = &findings[0];
    assert_eq!((*line, key.as_str()), (Some(2), "acl.forbidden"));
    assert!(found.contains("refuses ") && found.contains("camail"), "{found}");
    assert!(remedy.contains("\"^(?:(abuse|tech|mail))$\""), "{remedy}");
    let pattern = Pattern::regex("(abuse|tech)").unwrap();
    assert!(innocents(&pattern).contains(&"technicienne"));
    for fine in ["^(abuse|tech|mail)$", "^tech", "^.{0,2}$", "[^a-z]", "", "[0-9]{4}"] {
        assert_eq!(innocents(&Pattern::regex(fine).unwrap()), <[&str; 0]>::default(), "{fine}");
    }
}

#[test]
fn lines_that_are_never_reached_are_errors() {
    for (first, second) in [
        ("allow = \"all\"", "deny = { user = \"eve\" }"),
        ("allow = \"local\"", "deny = { user = \"eve\" }"),
        ("allow = \"local\"", "deny = { user_regexp = \"^e@b.org\" }"),
        ("allow = { ip = \"10.0.0.0/8\" }", "deny = { ip = \"10.1.0.0/16\" }"),
        ("allow = { ip = \"10.0.0.0/8\" }", "deny = { ip = \"10.1.0.0/16\", user = \"eve\" }"),
        ("deny = \"loopback\"", "allow = { ip = \"::1\" }"),
        ("allow = \"crew\"", "deny = \"boss\""),
        ("allow = { user_regexp = \"^e\" }", "deny = { user = \"eve@a.org\" }"),
        ("allow = { server = \"a.org\" }", "deny = { user = \"eve@a.org\" }"),
    ] {
        let acls = "[acl]\nboss = { user = \"ann\" }\ncrew = { user = [\"ann\", \"ben\"] }\n";
        let text = format!("{acls}[access]\nr = [\n{{ {first} }},\n{{ {second} }},\n]\n");
        expect(&text, Severity::Error, 7, "access.r", &["never reached"]);
        let text = format!("{acls}[access]\nr = [\n{{ {second} }},\n{{ {first} }},\n]\n");
        assert!(found(&text).iter().all(|one| !one.3.contains("never reached")), "{text}");
    }
    let text = "[allowances]\nn = [\n{ grant = 5 },\n{ grant = 9, to = \"admin\" },\n]\n[acl]\nadmin = { user = \"ann\" }\n";
    expect(text, Severity::Error, 4, "allowances.n", &["never reached"]);
}

#[test]
fn names_that_lead_nowhere_are_warnings() {
    let text = "[acl]\nx = { user = \"ann@elsewhere.org\" }\ny = { shared_group = \"staff\" }\n[access]\nr = [{ allow = \"empty\" }]\n[acl.empty]\n";
    expect(text, Severity::Warning, 2, "acl.x", &["whose host is none of this server"]);
    expect(text, Severity::Warning, 3, "acl.y", &["\"staff\", which does not exist"]);
    expect(text, Severity::Warning, 5, "access.r", &["the ACL \"empty\" is empty"]);
}

/// 8. Ports and records that nobody answers, as far as the config tells.
#[test]
fn a5_8_doors_without_a_counterpart_are_warnings() {
    let told = |text: &str| {
        let found = found(text).into_iter();
        found.map(|(severity, _, key, found)| (severity, key, found)).collect::<Vec<_>>()
    };
    assert_eq!(
        told("[listen]\nc2s_tls = []\n"),
        [(
            Severity::Warning,
            "listen.c2s_tls".into(),
            "no listener for TLS from the first byte".into()
        )]
    );
    assert_eq!(
        told("[listen]\nc2s = [\"0.0.0.0:5222\"]\n"),
        [(Severity::Warning, "listen.c2s".into(), "IPv4 addresses only".into())]
    );
}

#[test]
fn every_place_is_a_setting_or_will_be() {
    let config = config("");
    for used in &config.rules.uses {
        assert!(!place_of(&used.path).to_string().is_empty(), "{}", used.path);
    }
    assert!(place_of("admin.access").administers);
    assert!(place_of("hosts.\"a.org\".registration.ip_access").registers);
}

/// 5. Hosts in the wrong form, a wrong network: told with line, column and what was meant.
#[test]
fn a5_5_wrong_forms_have_their_place_and_remedy() {
    let error = config::parse("[hosts.geocoucou.im]\n", Path::new("/c.toml")).unwrap_err();
    let problem = &error.problems[0];
    assert_eq!((problem.line, problem.column), (1, 18), "{problem}");
    assert!(problem.help.as_deref().unwrap().contains("[hosts.\"geocoucou.im\"]"), "{problem}");
    let text = "[acl]\nhome = { ip = \"2001:41d0:305:2100:9789/56\" }\n[hosts.\"a.org\"]\n";
    let error = config::parse(text, Path::new("/c.toml")).unwrap_err();
    let problem = &error.problems[0];
    assert_eq!((problem.line, problem.column), (2, 15));
    assert!(problem.found.contains("did you mean \"2001:41d0:305:2100::/56\"?"), "{problem}");
}
