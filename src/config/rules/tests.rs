use std::path::Path;

use super::*;
use crate::config::{Checked, Config, Problem, diff, parse};

const HOST: &str = "[hosts.\"a.org\"]\n";

fn read(text: &str) -> Config {
    match parse(&format!("{text}{HOST}"), Path::new("/c.toml")) {
        Ok(Checked { config, .. }) => config,
        Err(error) => panic!("{error}"),
    }
}

fn problems(text: &str) -> Vec<Problem> {
    let read = parse(&format!("{text}{HOST}"), Path::new("/c.toml"));
    read.err().map(|error| error.problems).unwrap_or_default()
}

/// Line, what was found, and what would help.
fn told(text: &str) -> Vec<(usize, String, String)> {
    let told = |p: Problem| (p.line, p.found, p.help.unwrap_or(p.expected));
    problems(text).into_iter().map(told).collect()
}

#[test]
fn every_form_of_a_value_is_read() {
    let config = read(
        "[acl]\n\
         a = { user = [\"Ann\", \"bob@B.org\"], server = \"B.org\", resource = [\"Phone\"] }\n\
         b = { user_regexp = [\"^a\", \"^b@b.org\"], user_glob = { \"c*\" = \"c.org\" } }\n\
         c = [{ ip = [\"10.0.0.0/8\", \"::ffff:192.0.2.0/120\"] }, { shared_group = \"staff@b.org\" }]\n\
         d = { acl = [\"a\", \"b\"], node_regexp = \"x@y\", node_glob = [{ \"p@q\" = \"*\" }] }\n\
         e = {}\n\
         [acl.f]\nserver_regexp = \"org$\"\nserver_glob = \"*.org\"\nresource_regexp = \"^p\"\n\
         resource_glob = \"p?\"\n",
    );
    let shown = |name: &str| config.rules.acls[name].shown();
    assert_eq!(
        shown("a"),
        "[{ user = \"ann\" }, { user = \"bob@b.org\" }, { server = \"b.org\" }, { resource = \"Phone\" }]"
    );
    assert_eq!(
        shown("b"),
        "[{ user_regexp = \"^a\" }, { user_regexp = \"^b@b.org\" }, { user_glob = \"c*@c.org\" }]"
    );
    assert_eq!(
        shown("c"),
        "[{ ip = \"10.0.0.0/8\" }, { ip = \"192.0.2.0/24\" }, { shared_group = \"staff@b.org\" }]"
    );
    assert_eq!(
        shown("d"),
        "[{ acl = \"a\" }, { acl = \"b\" }, { node_regexp = \"x@y\" }, { node_glob = { \"p@q\" = \"*\" } }]"
    );
    assert_eq!(shown("e"), "[]");
    assert_eq!(config.rules.acls["f"].line, Some(7));
    let lines: Vec<_> = config.rules.acls["f"].conditions.iter().map(|c| c.line).collect();
    assert_eq!(lines, [Some(8), Some(9), Some(10), Some(11)]);
}

#[test]
fn entries_keep_their_order_and_lines() {
    let config = read(
        "[acl]\nbad = { user = \"x\" }\n[access]\nr = [\n  { deny = \"bad\" },\n\n  \
         { allow = [\"local\", { ip = \"10.0.0.0/8\", user_glob = \"a*\" }] },\n]\n[allowances]\n\
         n = [{ grant = 3, to = \"bad\" }, { grant = \"1 KiB\" }, { grant = \"unlimited\" }]\n",
    );
    let rule = &config.rules.access["r"];
    assert_eq!(
        rule.shown(),
        "[{ deny = \"bad\" }, { allow = [\"local\", { ip = \"10.0.0.0/8\" }, { user_glob = \"a*\" }] }]"
    );
    assert_eq!(rule.entries.iter().map(|e| e.line).collect::<Vec<_>>(), [Some(5), Some(7)]);
    let values: Vec<_> = config.rules.allowances["n"].grants.iter().map(|g| g.value).collect();
    assert_eq!(values, [3, 1024, u64::MAX]);
    assert!(config.rules.allowances["n"].shown().contains("grant = \"unlimited\", to = \"all\""));
}

#[test]
fn names_that_are_not_there_bring_the_nearest() {
    assert_eq!(
        told("[acl]\nstaff = {}\n[access]\nr = [{ allow = \"staf\" }, { deny = \"configure\" }]\n"),
        [
            (4, "\"staf\", which is no ACL".into(), "did you mean \"staff\"?".into()),
            (
                4,
                "\"configure\", which is no ACL".into(),
                "\"configure\" is an access rule; an entry takes ACLs".into()
            ),
        ]
    );
    let text = "[access]\nregister = [{ allow = \"all\" }]\n[hosts.\"b.org\"]\nsign_in = ";
    assert_eq!(
        told(&format!("{text}\"registr\"\n")),
        [(4, "\"registr\", which is neither".into(), "did you mean \"register\"?".into())]
    );
    assert_eq!(
        told(&format!("{text}[{{ allow = \"lokal\" }}]\n")),
        [(4, "\"lokal\", which is no ACL".into(), "did you mean \"local\"?".into())]
    );
    assert_eq!(
        told(
            "[allowances]\nmany = [{ grant = 5000 }]\n[hosts.\"b.org\"]\nsessions_per_account_max = \"many\"\n"
        ),
        [(
            4,
            "the allowance \"many\", which grants 5000 in line 2".into(),
            "a whole number from 1 to 1000, or the name of an allowance".into()
        )]
    );
}

#[test]
fn wrong_forms_are_told_with_their_place() {
    for (text, line, found) in [
        ("[acl]\na = { usr = \"x\" }\n", 2, "the unknown key \"usr\""),
        ("[acl]\na = \"x\"\n", 2, "\"x\""),
        ("[acl]\nall = {}\n", 2, "the name \"all\", which means itself everywhere"),
        ("[acl]\n\"a b\" = {}\n", 2, "the name \"a b\""),
        ("[acl]\na = { user = 5 }\n", 2, "5"),
        ("[acl]\na = { user = \"a b\" }\n", 2, "\"a b\", which is no user: "),
        ("[acl]\na = { user = \"a@b@c\" }\n", 2, "\"a@b@c\", which has more than one @"),
        ("[acl]\na = { user = \"a@b c\" }\n", 2, "\"b c\", which contains ' '"),
        (
            "[acl]\na = { ip = \"10.0.0.0/33\" }\n",
            2,
            "\"10.0.0.0/33\": the prefix is longer than 32 bits",
        ),
        (
            "[acl]\na = { ip = \"2001:41d0:305:2100:9789/56\" }\n",
            2,
            "\"2001:41d0:305:2100:9789/56\": \"2001:41d0:305:2100:9789\" is not an IP address",
        ),
        ("[acl]\na = { node_regexp = \"x\" }\n", 2, "\"x\", which has no pattern for the server"),
        ("[access]\nr = \"all\"\n", 2, "\"all\""),
        ("[access]\nr = [\"all\"]\n", 2, "\"all\""),
        (
            "[access]\nr = [{ allow = \"all\", deny = \"none\" }]\n",
            2,
            "`allow` and `deny` in one entry",
        ),
        ("[access]\nr = [{ alow = \"all\" }]\n", 2, "the unknown key \"alow\""),
        ("[access]\nr = [{ allow = [] }]\n", 2, "no condition, which would never hold"),
        ("[access]\nr = [{ allow = { user = [] } }]\n", 2, "no condition, which would never hold"),
        ("[allowances]\nr = [{ to = \"all\" }]\n", 2, "a table"),
        ("[allowances]\nr = [{ grant = -1 }]\n", 2, "-1"),
    ] {
        let told = told(text);
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        assert_eq!(told[0].0, line, "{text}");
        assert!(told[0].1.starts_with(found), "{text}: {}", told[0].1);
    }
}

#[test]
fn a_bad_expression_is_pointed_at() {
    let found = problems("[acl]\na = { user_regexp = [\"^ok$\", \"^(abuse\"] }\n");
    assert_eq!(
        (found[0].line, found[0].column, found[0].found.as_str()),
        (
            2,
            32,
            "\"^(abuse\", which is not a regular expression: unclosed group, at its character 2"
        )
    );
    let found = problems("[acl]\na = { user_regexp = \"^(?!x)a\" }\n");
    assert!(found[0].found.contains("look-around"), "{}", found[0].found);
    assert!(found[0].help.as_deref().unwrap().contains("linear time"));
    let found = problems("[acl]\na = { user_regexp = \"(a{1000}){1000}\" }\n");
    assert!(found[0].found.contains("takes too much memory"), "{}", found[0].found);
}

#[test]
fn circles_and_depths_are_refused() {
    assert_eq!(
        told(
            "[acl]\na = { acl = \"b\" }\nb = { acl = \"c\" }\nc = { acl = \"a\" }\nd = { acl = \"d\" }\n"
        ),
        [
            (
                2,
                "a reference to \"b\", which leads back to \"a\"".into(),
                "ACLs without a circle".into()
            ),
            (
                3,
                "a reference to \"c\", which leads back to \"b\"".into(),
                "ACLs without a circle".into()
            ),
            (
                4,
                "a reference to \"a\", which leads back to \"c\"".into(),
                "ACLs without a circle".into()
            ),
            (5, "a reference of the ACL \"d\" to itself".into(), "ACLs without a circle".into()),
        ]
    );
    let chain = |len: usize| {
        let link = |at: usize| format!("a{at} = {{ acl = \"a{}\" }}\n", at + 1);
        let links: String = (0..len).map(link).collect();
        format!("[acl]\n{links}a{len} = {{}}\n")
    };
    assert_eq!(told(&chain(ACL_DEPTH_MAX - 1)), []);
    assert_eq!(told(&chain(ACL_DEPTH_MAX + 1)).len(), 1);
}

#[test]
fn globs_are_whole_and_literal() {
    for (glob, yes, no) in [
        ("a*", "abc", "ba"),
        ("a?c", "aéc", "ac"),
        ("a.c", "a.c", "abc"),
        ("[ab]x", "bx", "cx"),
        ("[!ab]x", "cx", "ax"),
        ("[a-c]+", "b+", "bb"),
        ("[^a]", "^", "b"),
        ("*(x)", "y(x)", "yx"),
    ] {
        let pattern = Pattern::glob(glob).unwrap();
        assert!(pattern.matches(yes), "{glob} {yes}");
        assert!(!pattern.matches(no), "{glob} {no}");
    }
    assert!(Pattern::glob("[z-a]").is_err());
}

#[test]
fn a_reload_sees_what_changed_and_not_what_moved() {
    let old = read("[acl]\na = { user = \"x\" }\n[access]\nr = [{ allow = \"a\" }]\n");
    let moved = read("\n\n[acl]\n\na = { user = \"x\" }\n[access]\nr = [ { allow =  \"a\" } ]\n");
    assert_eq!(old, moved);
    assert_eq!(diff(&old, &moved), []);
    let new = read("[acl]\na = { user = \"y\" }\n[access]\nr = [{ deny = \"a\" }]\n");
    let changes: Vec<_> = diff(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "access.r: [{ allow = \"a\" }] → [{ deny = \"a\" }] (live)",
            "acl.a: [{ user = \"x\" }] → [{ user = \"y\" }] (live)",
        ]
    );
}

#[test]
fn uses_are_known_with_their_lines() {
    let config = parse(
        "[hosts.\"a.org\"]\nsign_in = \"local\"\n[hosts.\"b.org\"]\nsign_in = [{ allow = \"admin\" }]\n",
        Path::new("/c.toml"),
    );
    let rules = config.unwrap().config.rules;
    let uses: Vec<_> = rules
        .uses
        .iter()
        .filter(|used| used.path.ends_with("sign_in"))
        .map(|used| (used.path.as_str(), used.line))
        .collect();
    assert_eq!(uses, [("hosts.\"a.org\".sign_in", Some(2)), ("hosts.\"b.org\".sign_in", Some(4))]);
}
