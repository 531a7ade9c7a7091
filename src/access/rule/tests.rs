use std::net::IpAddr;
use std::path::Path;

use super::*;
use crate::config::{Config, parse};
use crate::jid::Jid;
use crate::store::groups::SharedGroups;

fn config(text: &str) -> Config {
    let text = format!("{text}\n[hosts.\"a.org\"]\n[hosts.\"b.org\"]\n");
    parse(&text, Path::new("/c.toml")).unwrap_or_else(|error| panic!("{error}")).config
}

/// Whether the rule `r` of `text` allows them, and the line that decided.
fn ask(text: &str, jid: &str, address: &str) -> (bool, Option<usize>) {
    let decision = decided(text, jid, address);
    (decision.allowed, decision.line)
}

fn decided(text: &str, jid: &str, address: &str) -> Decision {
    let jid = (!jid.is_empty()).then(|| Jid::parse(jid).unwrap());
    let address: Option<IpAddr> = (!address.is_empty()).then(|| address.parse().unwrap());
    let groups = SharedGroups::default();
    let facts = Facts { jid: jid.as_ref(), address, host: "a.org", groups: &groups };
    decide(&config(text).rules, &Access::named("r"), &facts)
}

/// The rule with one entry that allows by these conditions.
fn holds_for(conditions: &str, jid: &str, address: &str) -> bool {
    ask(&format!("[access]\nr = [{{ allow = {conditions} }}]"), jid, address).0
}

/// The same with the conditions in an ACL.
fn in_acl(conditions: &str, jid: &str, address: &str) -> bool {
    let text = format!("[acl]\nx = {conditions}\n[access]\nr = [{{ allow = \"x\" }}]");
    ask(&text, jid, address).0
}

#[test]
fn the_first_entry_that_holds_decides_and_none_means_deny() {
    let text = "[acl]\nbad = { user = \"eve\" }\n[access]\nr = [\n{ deny = \"bad\" },\n\
                { allow = \"local\" },\n{ deny = \"all\" },\n{ allow = \"all\" },\n]";
    assert_eq!(ask(text, "eve@a.org", ""), (false, Some(5)));
    assert_eq!(ask(text, "ann@a.org", ""), (true, Some(6)));
    assert_eq!(ask(text, "ann@c.org", ""), (false, Some(7)));
    let text = "[access]\nr = [{ allow = \"none\" }, { allow = { user = \"bob\" } }]";
    assert_eq!(ask(text, "ann@a.org", ""), (false, None));
    assert_eq!(ask("[access]\nr = []", "ann@a.org", ""), (false, None));
}

/// ejabberd flattens a list within a condition of an entry into so many conditions, and all of them
/// must hold; in an ACL one is enough.
#[test]
fn a_list_is_anded_in_an_entry_and_ored_in_an_acl() {
    let users = "{ user = [\"ann@a.org\", \"bob@a.org\"] }";
    assert!(!holds_for(users, "ann@a.org", ""));
    assert!(in_acl(users, "ann@a.org", ""));
    let nets = "{ ip = [\"10.0.0.0/8\", \"10.1.0.0/16\"] }";
    assert!(holds_for(nets, "", "10.1.2.3"));
    assert!(!holds_for(nets, "", "10.2.2.3"));
    assert!(in_acl(nets, "", "10.2.2.3"));
    let patterns = "{ user_regexp = [\"^a\", \"n$\"] }";
    assert!(holds_for(patterns, "ann@a.org", ""));
    assert!(!holds_for(patterns, "abe@a.org", ""));
    let both = "{ user = \"ann\", ip = \"10.0.0.0/8\" }";
    assert!(holds_for(both, "ann@a.org", "10.0.0.1"));
    assert!(!holds_for(both, "ann@a.org", "11.0.0.1"));
    assert!(in_acl(both, "ann@a.org", "11.0.0.1"));
    let acls = "[\"local\", \"loopback\"]";
    assert!(holds_for(acls, "ann@a.org", "127.0.0.1"));
    assert!(!holds_for(acls, "ann@a.org", "192.0.2.1"));
    assert!(!holds_for(acls, "ann@c.org", "127.0.0.1"));
    let mixed = "[\"local\", { ip = \"::1\" }]";
    assert!(holds_for(mixed, "ann@a.org", "::1"));
}

#[test]
fn without_a_host_a_name_means_any_host_of_ours() {
    for condition in [
        "{ user = \"ann\" }",
        "{ user_regexp = \"^ann$\" }",
        "{ user_glob = \"a?n\" }",
        "{ user_regexp = \"\" }",
    ] {
        for (jid, held) in [
            ("ann@a.org", true),
            ("ann@b.org/x", true),
            ("ann@c.org", false),
            ("ann@conference.a.org", false),
        ] {
            assert_eq!(holds_for(condition, jid, ""), held, "{condition} {jid}");
        }
    }
    for condition in [
        "{ user = \"ann@b.org\" }",
        "{ user_regexp = \"^ann$@b.org\" }",
        "{ user_glob = { \"ann\" = \"b.org\" } }",
    ] {
        for (jid, held) in [("ann@a.org", false), ("ann@b.org", true), ("bob@b.org", false)] {
            assert_eq!(holds_for(condition, jid, ""), held, "{condition} {jid}");
        }
    }
    // A host that is not ours can be named.
    assert!(holds_for("{ user = \"ann@c.org\" }", "ann@c.org", ""));
    assert!(holds_for("{ user_regexp = \"a@c.org\" }", "ann@c.org", ""));
}

#[test]
fn expressions_match_anywhere_in_the_normalised_name() {
    let forbidden = "{ user_regexp = \"(abuse|tech|mail)\" }";
    for (jid, held) in [
        ("abuse@a.org", true),
        ("Technicienne@a.org", true),
        ("camail@a.org", true),
        ("ann@a.org", false),
    ] {
        assert_eq!(holds_for(forbidden, jid, ""), held, "{jid}");
    }
    assert!(holds_for("{ user_regexp = \"^éloïse$\" }", "ÉLOÏSE@a.org", ""));
    assert!(!holds_for("{ user_regexp = \"^ANN$\" }", "ann@a.org", ""));
    assert!(holds_for("{ server_regexp = \"^c\\\\.\" }", "ann@c.org", ""));
    assert!(holds_for("{ node_regexp = \"^a@^c\" }", "ann@c.org", ""));
    assert!(!holds_for("{ node_regexp = \"^a@^c\" }", "ann@d.org", ""));
    assert!(holds_for("{ node_glob = \"a*@*.org\" }", "ann@c.org", ""));
}

/// ejabberd gives a bare address the empty resource, and an address without a local part the empty
/// name.
#[test]
fn absent_parts_count_as_empty() {
    assert!(holds_for("{ resource_regexp = \"^$\" }", "ann@a.org", ""));
    assert!(holds_for("{ resource_regexp = \"\" }", "ann@a.org", ""));
    assert!(!holds_for("{ resource = \"x\" }", "ann@a.org", ""));
    assert!(holds_for("{ resource = \"x\" }", "ann@a.org/x", ""));
    assert!(!holds_for("{ resource = \"x\" }", "ann@a.org/X", ""));
    assert!(holds_for("{ resource_glob = \"p*\" }", "ann@a.org/phone", ""));
    assert!(holds_for("\"local\"", "a.org", ""));
    assert!(holds_for("{ server = \"A.org\" }", "a.org", ""));
}

#[test]
fn what_is_not_known_does_not_hold() {
    assert!(!holds_for("{ ip = \"::/0\" }", "ann@a.org", ""));
    assert!(!holds_for("{ user_regexp = \"\" }", "", "127.0.0.1"));
    assert!(!holds_for("{ server_regexp = \"\" }", "", "127.0.0.1"));
    assert!(holds_for("\"all\"", "", ""));
    assert!(!holds_for("\"none\"", "ann@a.org", "127.0.0.1"));
    assert!(!holds_for("\"admin\"", "ann@a.org", "127.0.0.1"));
}

#[test]
fn networks_see_through_mapped_addresses() {
    for (net, address, held) in [
        ("10.0.0.0/8", "10.1.2.3", true),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "11.1.2.3", false),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "2001:db8::1", true),
        ("::/0", "10.1.2.3", false),
        ("127.0.0.0/8", "::1", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
    ] {
        assert_eq!(
            holds_for(&format!("{{ ip = \"{net}\" }}"), "", address),
            held,
            "{net} {address}"
        );
    }
    assert!(holds_for("\"loopback\"", "", "127.9.9.9"));
    assert!(holds_for("\"loopback\"", "", "::1"));
}

#[test]
fn acls_may_name_acls() {
    let text = "[acl]\nboss = { user = \"ann\" }\ncrew = { acl = \"boss\", user = \"bob\" }\n\
                [access]\nr = [{ allow = \"crew\" }]";
    assert!(ask(text, "ann@a.org", "").0);
    assert!(ask(text, "bob@a.org", "").0);
    assert!(!ask(text, "eve@a.org", "").0);
}

#[test]
fn a_rule_goes_before_an_acl_of_its_name() {
    let text =
        "[acl]\nr = { user = \"ann\" }\n[access]\nr = [{ deny = \"r\" }, { allow = \"all\" }]";
    assert!(!ask(text, "ann@a.org", "").0);
    assert!(ask(text, "bob@a.org", "").0);
    assert_eq!(ask("[acl]\nr = { user = \"ann\" }", "ann@a.org", ""), (true, Some(2)));
    assert_eq!(ask("[acl]\nr = { user = \"ann\" }", "bob@a.org", ""), (false, Some(2)));
}

/// The wiki's registration rules: reserved names, then a pattern, then the network.
#[test]
fn the_two_steps_of_the_wiki_decide_as_in_ejabberd() {
    let text = "[acl]\nforbidden = { user_regexp = [\"^(admin|abuse|tech)$\", \"^.{0,2}$\"] }\n\
                shape = { user_regexp = \"^[a-z][a-z0-9._-]*$\" }\n\
                home = { ip = [\"192.0.2.0/24\", \"2001:db8::/32\"] }\n[access]\nr = [\n\
                { deny = \"forbidden\" },\n{ allow = [\"shape\", \"home\"] },\n]";
    for (jid, address, verdict) in [
        ("admin@a.org", "192.0.2.1", (false, Some(7))),
        ("ab@a.org", "192.0.2.1", (false, Some(7))),
        ("technicienne@a.org", "192.0.2.1", (true, Some(8))),
        ("technicienne@a.org", "2001:db8::5", (true, Some(8))),
        ("technicienne@a.org", "198.51.100.1", (false, None)),
        ("9lives@a.org", "192.0.2.1", (false, None)),
    ] {
        assert_eq!(ask(text, jid, address), verdict, "{jid} {address}");
    }
}

#[test]
fn allowances_give_their_first_value() {
    let config = config(
        "[allowances]\nn = [{ grant = 100, to = \"admin\" }, { grant = 7, to = { user_glob = \"r-*\" } }]\n\
         [acl]\nadmin = { user = \"ann\" }\n[hosts.\"c.org\"]\nsessions_per_account_max = \"n\"\n",
    );
    let allowance = &config.host("c.org").unwrap().sessions_per_account_max;
    let groups = SharedGroups::default();
    let of = |jid: &str| {
        let jid = Jid::parse(jid).unwrap();
        let facts = Facts { jid: Some(&jid), address: None, host: "a.org", groups: &groups };
        let found = value(&config.rules, allowance, &facts);
        let told = found.map(|(value, decision)| (value, decision.line, decision.because));
        (amount(&config.rules, allowance, &facts), told)
    };
    let ann =
        (100, Some(2), "line 2 granted: ann@a.org is ann on a host of ours (acl admin)".into());
    assert_eq!(of("ann@a.org"), (100, Some(ann)));
    assert_eq!(of("r-2@b.org").0, 7);
    assert_eq!(of("bob@b.org"), (20, None));
}

#[test]
fn decisions_say_why() {
    let text = "[acl]\nbad = { user = \"eve@a.org\" }\nmany = { user = [\"x\", \"y\"] }\n[access]\nr = [\n\
                { deny = \"bad\" },\n{ allow = [\"local\", { ip = \"10.0.0.0/8\" }] },\n\
                { allow = { shared_group = \"staff\" } },\n{ allow = \"many\" },\n]";
    for (jid, address, because) in [
        ("eve@a.org", "", "denied by line 6: eve@a.org is eve@a.org (acl bad)"),
        (
            "ann@a.org",
            "10.1.1.1",
            "allowed by line 7: ann@a.org is of a host of ours (acl local), and the address is in 10.0.0.0/8",
        ),
        (
            "ann@a.org",
            "11.1.1.1",
            "no entry holds, which means deny; line 6: ann@a.org is not eve@a.org (acl bad); \
             line 7: the address is not in 10.0.0.0/8; line 8: ann@a.org is not in group staff; \
             line 9: ann@a.org is not in acl many, of which none of 2 conditions holds",
        ),
        (
            "",
            "",
            "no entry holds, which means deny; line 6: no user is known here (acl bad); \
             line 7: no user is known here (acl local); line 8: no user is known here; \
             line 9: nobody known is not in acl many, of which none of 2 conditions holds",
        ),
    ] {
        assert_eq!(decided(text, jid, address).because, because);
    }
}

#[test]
fn a_trace_ends_at_the_entry_that_held() {
    let config = config(
        "[access]\nr = [\n{ deny = { user = \"eve\" } },\n{ allow = \"local\" },\n{ deny = \"all\" },\n]",
    );
    let groups = SharedGroups::default();
    let jid = Jid::parse("ann@a.org").unwrap();
    let facts = Facts { jid: Some(&jid), address: None, host: "a.org", groups: &groups };
    let steps = trace(&config.rules, &Access::named("r"), &facts);
    let told: Vec<_> =
        steps.iter().map(|s| (s.line, s.entry.as_str(), s.held, s.why.as_str())).collect();
    assert_eq!(
        told,
        [
            (Some(3), "deny = { user = \"eve\" }", false, "ann@a.org is not eve on a host of ours"),
            (Some(4), "allow = \"local\"", true, "ann@a.org is of a host of ours (acl local)"),
        ]
    );
}
