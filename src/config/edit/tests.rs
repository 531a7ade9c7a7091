use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::{Template, describe, parse, tests::everything};

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn annotated(domain: &str) -> String {
    Template::new(domain).render()
}

/// The lines that differ, as (removed, added).
fn changed(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(old), lines(new));
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[same..], &new[same..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    (old[..old.len() - end].to_vec(), new[..new.len() - end].to_vec())
}

#[test]
fn a_setting_takes_the_place_of_its_commented_default() {
    let file = annotated("example.org");
    for (path, value, before, after) in [
        ("limits.ping_after", "5m", "#ping_after = \"15m\"", "ping_after = \"5m\""),
        (
            "hosts.\"example.org\".archive.retention",
            "365d",
            "#retention = \"forever\"",
            "retention = \"365d\"",
        ),
        (
            "hosts.\"example.org\".services.upload",
            "off",
            "#upload = \"upload.example.org\"",
            "upload = \"off\"",
        ),
        ("data_dir", "/srv", "#data_dir = \"/var/lib/coucou\"", "data_dir = \"/srv\""),
    ] {
        let edited = set(&file, path, &text(value)).unwrap();
        assert_eq!(
            changed(&file, &edited),
            (vec![before.to_owned()], vec![after.to_owned()]),
            "{path}"
        );
        assert_eq!(unset(&edited, path).unwrap(), file, "{path}");
        let again = set(&edited, path, &text("x")).unwrap();
        assert_eq!(changed(&edited, &again).1, [after.replace(value, "x")]);
    }
}

#[test]
fn a_file_of_ones_own_gets_a_line_and_loses_it_again() {
    let file = "# mine\n[hosts.\"a.org\"] # here\nauth = \"internal\" # as ever\n\n# the end\n\
                [log] # logs\n";
    let edited = set(file, "hosts.\"a.org\".scram_iterations", &Value::Integer(5000)).unwrap();
    assert_eq!(
        changed(file, &edited),
        (vec![], vec!["scram_iterations = 5000".to_owned()]),
        "{edited}"
    );
    assert!(edited.contains("as ever\nscram_iterations = 5000\n\n# the end"));
    assert_eq!(unset(&edited, "hosts.\"a.org\".scram_iterations").unwrap(), file);
    let edited = set(file, "log.level", &text("debug")).unwrap();
    assert!(edited.ends_with("[log] # logs\nlevel = \"debug\"\n"), "{edited}");
    assert_eq!(unset(&edited, "log.level").unwrap(), file);
    let edited = set(file, "admin_group", &text("ops")).unwrap();
    assert!(edited.starts_with("admin_group = \"ops\"\n# mine\n[hosts"), "{edited}");
    assert_eq!(unset(&edited, "admin_group").unwrap(), file);
}

#[test]
fn tables_are_made_beside_their_like() {
    let file = "[hosts.\"a.org\"]\n\n[hosts.\"a.org\".offline]\nmessages_max = 5\n\n\n# the log\n\
                [log]\nlevel = \"info\"";
    let edited = set(file, "hosts.\"a.org\".archive.search", &Value::Boolean(true)).unwrap();
    assert_eq!(
        changed(file, &edited).1,
        ["[hosts.\"a.org\".archive]", "search = true", ""],
        "{edited}"
    );
    assert!(edited.contains("messages_max = 5\n\n[hosts.\"a.org\".archive]"), "{edited}");
    let edited = set(&edited, "storage.readers_max", &Value::Integer(2)).unwrap();
    assert!(edited.ends_with("level = \"info\"\n\n[storage]\nreaders_max = 2\n"), "{edited}");
    let empty = Value::Table(toml::Table::new());
    let edited = set(&edited, "hosts.\"b.org\"", &empty).unwrap();
    assert!(edited.contains("\n[hosts.\"b.org\"]\n"), "{edited}");
    assert!(parse(&edited, Path::new("/c")).is_ok(), "{edited}");
    let gone = unset(&edited, "hosts.\"a.org\"").unwrap();
    assert!(!gone.contains("a.org") && gone.contains("# the log\n[log]"), "{gone}");
    assert!(parse(&gone, Path::new("/c")).is_ok(), "{gone}");
    assert_eq!(set("", "log.level", &text("info")).unwrap(), "[log]\nlevel = \"info\"\n");
}

#[test]
fn dotted_and_inline_tables_are_gone_on_with_as_they_are() {
    let file = "[hosts.\"a.org\"]\narchive.search = true\noffline = { messages_max = 5 } # few\n\
                push = {}\n";
    let edited = set(file, "hosts.\"a.org\".archive.retention", &text("9d")).unwrap();
    assert_eq!(changed(file, &edited).1, ["archive.retention = \"9d\""]);
    assert_eq!(unset(&edited, "hosts.\"a.org\".archive.retention").unwrap(), file);
    let edited = set(file, "hosts.\"a.org\".offline.age_max", &text("9d")).unwrap();
    assert_eq!(
        changed(file, &edited).1,
        ["offline = { messages_max = 5, age_max = \"9d\" } # few"]
    );
    assert_eq!(unset(&edited, "hosts.\"a.org\".offline.age_max").unwrap(), file);
    let edited = set(file, "hosts.\"a.org\".push.with_body", &Value::Boolean(true)).unwrap();
    assert_eq!(changed(file, &edited).1, ["push = { with_body = true }"]);
    let gone = unset(&edited, "hosts.\"a.org\".push.with_body").unwrap();
    assert!(parse(&gone, Path::new("/c")).is_ok(), "{gone}");
}

const RULES: &str = "\
[access]
# Nobody of these, whatever they ask.
register = [
    { deny = \"forbidden\" }, # see [acl]
    # People of ours
    { allow = \"local\" },
    { allow = \"loopback\" }
]
short = [{ allow = \"a\" }, { deny = \"b\" }, { allow = \"c\" }]
none = []
";

fn allow(name: &str) -> Value {
    nested(&["allow".to_owned()], &text(name))
}

#[test]
fn entries_of_a_rule_keep_their_comments() {
    let at_end = insert(RULES, "access.register", None, &allow("x")).unwrap();
    assert!(
        at_end.contains("    { allow = \"loopback\" },\n    { allow = \"x\" },\n]\nshort"),
        "{at_end}"
    );
    let second = insert(RULES, "access.register", Some(1), &allow("x")).unwrap();
    assert!(
        second.contains("# see [acl]\n    { allow = \"x\" },\n    # People of ours\n"),
        "{second}"
    );
    assert!(remove(&second, "access.register", 1).unwrap().contains("# see [acl]\n    # People"));
    let gone = remove(RULES, "access.register", 1).unwrap();
    assert!(!gone.contains("People of ours") && gone.contains("# see [acl]\n    { allow = \"loop"));
    let moved = shift(RULES, "access.register", 2, 0).unwrap();
    assert!(moved.contains("register = [\n    { allow = \"loopback\" },\n    { deny"), "{moved}");
    assert!(moved.contains("    # People of ours\n    { allow = \"local\" },\n]"), "{moved}");
    let other = replace(RULES, "access.register", 0, &allow("y")).unwrap();
    assert!(other.contains("    { allow = \"y\" }, # see [acl]\n"), "{other}");
}

#[test]
fn short_lists_stay_on_their_line() {
    let line = |text: &str| {
        text.lines().find(|line| line.starts_with("short")).unwrap_or_default().to_owned()
    };
    let a = |text: Result<String, EditError>| line(&text.unwrap());
    let (path, x) = ("access.short", &allow("x"));
    assert_eq!(
        a(insert(RULES, path, None, x)),
        "short = [{ allow = \"a\" }, { deny = \"b\" }, { allow = \"c\" }, { allow = \"x\" }]"
    );
    assert_eq!(
        a(insert(RULES, path, Some(0), x)),
        "short = [{ allow = \"x\" }, { allow = \"a\" }, { deny = \"b\" }, { allow = \"c\" }]"
    );
    assert_eq!(a(remove(RULES, path, 0)), "short = [{ deny = \"b\" }, { allow = \"c\" }]");
    assert_eq!(a(remove(RULES, path, 2)), "short = [{ allow = \"a\" }, { deny = \"b\" }]");
    assert_eq!(
        a(shift(RULES, path, 0, 2)),
        "short = [{ deny = \"b\" }, { allow = \"c\" }, { allow = \"a\" }]"
    );
    let filled = insert(RULES, "access.none", None, x).unwrap();
    assert!(filled.ends_with("none = [{ allow = \"x\" }]\n"), "{filled}");
    assert_eq!(remove(&filled, "access.none", 0).unwrap(), RULES);
    assert_eq!(
        remove(RULES, path, 3).unwrap_err().to_string(),
        "access.short has 3 entries, so there is no entry 4"
    );
    assert!(insert(RULES, path, Some(4), x).is_err());
}

#[test]
fn conditions_come_and_go() {
    let file = "[acl]\nadmin = { user = [\"a@b\"] } # the boss\nloop = { ip = \"::1\" }\n[acl.staff]\n\
                server = [\n  \"b\", # ours\n]\n";
    let edited = add_condition(file, "admin", "user", "c@d").unwrap();
    assert_eq!(changed(file, &edited).1, ["admin = { user = [\"a@b\", \"c@d\"] } # the boss"]);
    assert_eq!(remove_condition(&edited, "admin", "user", "c@d").unwrap(), file);
    let edited = add_condition(file, "admin", "ip", "::1/128").unwrap();
    assert_eq!(
        changed(file, &edited).1,
        ["admin = { user = [\"a@b\"], ip = [\"::1/128\"] } # the boss"]
    );
    assert_eq!(remove_condition(&edited, "admin", "ip", "::1/128").unwrap(), file);
    let edited = add_condition(file, "loop", "ip", "127.0.0.0/8").unwrap();
    assert_eq!(changed(file, &edited).1, ["loop = { ip = [\"::1\", \"127.0.0.0/8\"] }"]);
    let edited = add_condition(file, "staff", "server", "c").unwrap();
    assert_eq!(changed(file, &edited).1, ["  \"c\","]);
    let edited = add_condition(file, "new one", "user", "x\\y").unwrap();
    assert_eq!(changed(file, &edited).1, ["\"new one\" = { user = ['x\\y'] }"]);
    assert_eq!(
        add_condition(file, "admin", "user", "a@b").unwrap_err().to_string(),
        "acl.admin.user has \"a@b\" already"
    );
    assert_eq!(
        remove_condition(file, "admin", "user", "z").unwrap_err().to_string(),
        "acl.admin.user does not have \"z\""
    );
    let first = add_condition("[hosts.\"a\"]\n", "admin", "user", "a@a").unwrap();
    assert_eq!(first, "[hosts.\"a\"]\n\n[acl]\nadmin = { user = [\"a@a\"] }\n");
}

#[test]
fn what_cannot_be_edited_is_told() {
    let told = |result: Result<String, EditError>| result.unwrap_err().to_string();
    assert_eq!(told(set("", "a..b", &text("x"))), "\"a..b\" does not name a setting");
    assert_eq!(told(set("a = 1\n", "a.b", &text("x"))), "a is a single value, not a table");
    assert_eq!(told(set("[a]\n", "a", &text("x"))), "a is a table of settings, not one setting");
    assert_eq!(told(unset("[a]\n", "a.b")), "the file does not say a.b");
    assert!(told(set("[a\n", "a.b", &text("x"))).contains("line 1, column 3"));
    assert_eq!(told(insert("[a]\nb = 1\n", "a.b", None, &text("x"))), "a.b is integer, not a list");
}

#[test]
fn other_line_ends_are_kept() {
    let file = "[log]\r\n#level = \"info\"\r\n";
    let edited = set(file, "log.level", &text("debug")).unwrap();
    assert_eq!(edited, "[log]\r\nlevel = \"debug\"\r\n");
    let edited = set(&edited, "log.keep_days", &Value::Integer(3)).unwrap();
    assert_eq!(edited, "[log]\r\nlevel = \"debug\"\r\nkeep_days = 3\r\n");
}

/// Every setting of the annotated file that may be given a value anywhere.
fn known_paths() -> Vec<String> {
    let all = describe(&everything());
    // Those whose tables the file only shows as examples.
    let examples = ["components", "guest", "permissions"];
    let here = all.into_iter().filter(|s| !examples.iter().any(|name| s.path.contains(name)));
    here.map(|s| s.path.replace("hosts.localhost", "hosts.\"a.org\"")).collect()
}

proptest! {
    #[test]
    fn an_edit_changes_its_line_only_and_its_inverse_gives_the_same_bytes(
        index in 0..known_paths().len(),
        value in "[a-z0-9 \"'\\\\\u{e9}]{0,20}",
        before in 0..4usize,
    ) {
        let path = &known_paths()[index];
        let mut file = annotated("a.org");
        // Other settings in force around it.
        for other in known_paths().iter().step_by(7 + before).filter(|other| *other != path) {
            file = set(&file, other, &text("other")).unwrap();
        }
        let edited = set(&file, path, &text(&value)).unwrap();
        let (old, new) = changed(&file, &edited);
        prop_assert!(old.len() <= 1 && new.len() == 1, "{path}: {old:?} {new:?}");
        prop_assert_eq!(unset(&edited, path).unwrap(), file);
        let read: toml::Table = edited.parse().unwrap();
        let mut at = &Value::Table(read);
        for part in parts(path).unwrap() {
            at = at.get(&part).unwrap();
        }
        prop_assert_eq!(at, &text(&value));
    }

    #[test]
    fn no_text_breaks_the_editor(
        file in "([a-c]( = |\\.)|\\[|\\]|\\{|\\}|\n|#|,|\"x\"|1){0,40}",
        path in "[ab](\\.[abc]){0,2}",
        at in 0..3usize,
    ) {
        for edited in [
            set(&file, &path, &text("v")),
            unset(&file, &path),
            insert(&file, &path, Some(at), &text("v")),
            remove(&file, &path, at),
            shift(&file, &path, at, 0),
            add_condition(&file, "a", "b", "c"),
        ].into_iter().flatten() {
            prop_assert!(edited.parse::<toml::Table>().is_ok(), "{file:?} {path} {at}\n{edited}");
        }
    }
}
