use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// The line of the annotated file from which on its settings are examples, not defaults.
const EXAMPLES: &str = "- examples";

fn read(text: &str) -> Result<Checked, ConfigError> {
    parse(text, Path::new("/etc/coucou/coucou.toml"))
}

fn problems(text: &str) -> Vec<Problem> {
    read(text).err().map(|error| error.problems).unwrap_or_default()
}

/// The annotated file with its settings in force instead of commented out.
fn uncommented(text: &str) -> String {
    let setting = |line: &str| {
        line.strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
            .map(str::to_owned)
    };
    text.lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// A config that says every setting there is.
pub(super) fn everything() -> Config {
    read(&uncommented(ANNOTATED)).unwrap().config
}

fn defaults_part() -> String {
    let end = ANNOTATED.find(EXAMPLES).unwrap();
    ANNOTATED[..end].to_owned()
}

#[test]
fn the_annotated_file_says_the_defaults() {
    let default = Config::default_for("localhost").unwrap();
    assert_eq!(read(ANNOTATED).unwrap().config, default);
    let explicit = read(&uncommented(&defaults_part())).unwrap();
    assert_eq!(explicit.config, default);
    assert_eq!(explicit.warnings, []);
}

#[test]
fn the_annotated_file_names_every_key() {
    let everything = everything();
    let known: BTreeSet<&str> =
        everything.settings.iter().map(|setting| key_of(&setting.path)).collect();
    let written: BTreeSet<String> = uncommented(ANNOTATED)
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()))
        .filter(|key| !key.starts_with('#'))
        .collect();
    let written: BTreeSet<&str> = written.iter().map(String::as_str).collect();
    assert_eq!(written, known);
}

fn key_of(path: &str) -> &str {
    path.rsplit('.').next().unwrap()
}

#[test]
fn all_faults_are_told_in_order_with_place_and_remedy() {
    let found = problems(
        "[limits]\nstanza_bytes_max = \"5 MB\"\nping_afer = \"1m\"\ndepth_max = \"ten\"\n\
         [hosts.\"example.org\"]\nauth = \"internall\"\nkeep_days = 3\n",
    );
    let places: Vec<_> = found.iter().map(|p| (p.line, p.column, p.key.as_str())).collect();
    assert_eq!(
        places,
        [
            (2, 20, "limits.stanza_bytes_max"),
            (3, 1, "limits.ping_afer"),
            (4, 13, "limits.depth_max"),
            (6, 8, "hosts.\"example.org\".auth"),
            (7, 1, "hosts.\"example.org\".keep_days"),
        ]
    );
    assert_eq!(
        found[0].found,
        "\"5 MB\", which has the unknown unit \"MB\" (did you mean \"MiB\"?)"
    );
    assert_eq!(found[0].expected, "a size from 10000 B to 16 MiB, such as \"10000 B\"");
    assert_eq!(found[1].help.as_deref(), Some("did you mean \"ping_after\"?"));
    assert_eq!(found[2].expected, "a whole number from 10 to 1000");
    assert_eq!(found[3].help.as_deref(), Some("did you mean \"internal\"?"));
    assert_eq!(found[4].help.as_deref(), Some("\"keep_days\" belongs in [log]"));
}

#[test]
fn a_problem_shows_its_line_and_points_at_the_value() {
    let found = problems("[hosts.\"ä.org\"]\nstarttls_required = \"ja\"\n");
    assert_eq!(
        found[0].to_string(),
        "line 2, column 21: hosts.\"ä.org\".starttls_required: found \"ja\"; expected true or false\n  \
         2 | starttls_required = \"ja\"\n    |                     ^^^^"
    );
}

#[test]
fn faults_of_syntax_have_a_place_too() {
    let found = problems("[hosts.\"a.org\"]\nauth = \n[log\n");
    assert_eq!(found.iter().map(|p| p.line).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn names_mean_one_thing_each() {
    let found = problems(
        "[hosts.\"example.org\"]\n[hosts.\"Example.org\"]\n[hosts.\"conference.example.org\"]\n\
         [components.\"upload.example.org\"]\nsecret = \"long enough\"\n",
    );
    let told: Vec<_> = found.iter().map(|p| (p.line, p.key.as_str(), p.found.as_str())).collect();
    assert_eq!(
        told,
        [
            (
                1,
                "hosts.\"example.org\".services.conference",
                "\"conference.example.org\", which hosts.\"conference.example.org\" has already"
            ),
            (
                2,
                "hosts.\"Example.org\"",
                "\"Example.org\", the same domain as \"example.org\" above"
            ),
            (
                4,
                "components.\"upload.example.org\"",
                "\"upload.example.org\", which hosts.\"example.org\".services.upload has already"
            ),
        ]
    );
}

#[test]
fn international_domains_are_normalised() {
    let config = read("[hosts.\"xn--bcher-kva.example\"]\n").unwrap().config;
    assert_eq!(config.hosts[0].domain, "bücher.example");
    assert!(config.host("bücher.example").is_some());
    assert_eq!(config.hosts[0].services.conference.as_deref(), Some("conference.bücher.example"));
}

#[test]
fn guests_keep_nothing() {
    let config = read("[hosts.\"g.org\"]\nauth = \"anonymous\"\n").unwrap().config;
    let host = &config.hosts[0];
    assert!(host.is_guest());
    assert_eq!(
        (host.archive.default, &host.offline.messages_max),
        (ArchiveDefault::Never, &Allowance::Fixed(0))
    );

    let found = problems(
        "[hosts.\"g.org\"]\nauth = \"anonymous\"\nmechanisms = [\"PLAIN\"]\narchive.default = \"always\"\n\
         archive.search = true\noffline.messages_max = 5\n[hosts.\"i.org\".guest]\nsessions_max = 5\n",
    );
    assert_eq!(found.iter().map(|p| p.line).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
}

#[test]
fn secrets_stay_out_of_errors_and_changes() {
    let short = problems("[hosts.\"a.org\"]\n[components.\"c.org\"]\nsecret = \"hunter2\"\n");
    assert!(!short[0].to_string().contains("hunter2"), "{}", short[0]);
    assert_eq!(short[0].line, 3);

    let config = |secret: &str| {
        read(&format!("[hosts.\"a.org\"]\n[components.\"c.org\"]\nsecret = \"{secret}\"\n"))
            .unwrap()
            .config
    };
    let changes = diff(&config("correct horse"), &config("battery staple"));
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].to_string(), "components.\"c.org\".secret: *** → *** (live)");
    assert!(!format!("{:?}", config("correct horse")).contains("correct horse"));
}

#[test]
fn changes_say_how_they_come_into_force() {
    let old = read("[hosts.\"a.org\"]\n").unwrap().config;
    let new = read(
        "[listen]\nc2s = []\n[log]\nlevel = \"debug\"\n[storage]\nreaders_max = 4\n[hosts.\"a.org\"]\n",
    );
    let effects: Vec<_> = diff(&old, &new.unwrap().config)
        .into_iter()
        .map(|change| (change.path, change.effect))
        .collect();
    assert_eq!(
        effects,
        [
            ("listen.c2s".to_owned(), Effect::Rebind),
            ("log.level".to_owned(), Effect::Live),
            ("storage.readers_max".to_owned(), Effect::Restart),
        ]
    );
    assert_eq!(diff(&old, &old), []);
}

#[test]
fn a_new_host_shows_as_added() {
    let old = read("[hosts.\"a.org\"]\n").unwrap().config;
    let new = read("[hosts.\"a.org\"]\n[hosts.\"b.org\"]\n").unwrap().config;
    let changes = diff(&old, &new);
    assert!(!changes.is_empty());
    assert!(
        changes.iter().all(|c| c.path.starts_with("hosts.\"b.org\".") && c.old.is_none()),
        "{changes:?}"
    );
}

#[test]
fn component_listeners_wait_for_a_component() {
    assert!(Config::default_for("a.org").unwrap().listen.component.is_empty());
    let config = read("[hosts.\"a.org\"]\n[components.\"c.org\"]\nsecret = \"long enough\"\n")
        .unwrap()
        .config;
    assert_eq!(config.listen.component.len(), 2);
    assert!(["a.org", "upload.a.org", "c.org"].iter().all(|domain| config.serves(domain)));
    assert!(!config.serves("b.org"));
}

#[test]
fn paths_count_from_where_the_file_says() {
    let config = read(
        "data_dir = \".\"\nadmin_socket = \"/run/c/a.sock\"\n[log]\ndir = \"l\"\n[hosts.\"a.org\"]\n",
    );
    let config = config.unwrap().config;
    assert_eq!(config.data_dir, Path::new("/etc/coucou"));
    assert_eq!(config.admin_socket, Path::new("/run/c/a.sock"));
    assert_eq!(config.log.dir, Path::new("/etc/coucou/l"));
    assert_eq!(config.hosts[0].tls.certificate, Path::new("/etc/coucou/certs/a.org.pem"));
    assert!(config.hosts[0].tls.self_signed);

    let long = format!("admin_socket = \"/{}\"\n[hosts.\"a.org\"]\n", "x".repeat(107));
    assert_eq!(problems(&long)[0].key, "admin_socket");
}

#[test]
fn a_file_needs_a_host_and_a_client_listener() {
    assert_eq!(problems("")[0].found, "no host");
    assert_eq!(problems("[hosts]\n")[0].found, "no host");
    assert_eq!(problems("[hosts.\"not a domain\"]\n")[0].column, 8);
    let warned =
        read("[listen]\nc2s = []\nc2s_tls = []\n[hosts.\"a.org\"]\nstarttls_required = false\n")
            .unwrap();
    assert_eq!(warned.warnings.iter().map(|w| w.line).collect::<Vec<_>>(), [2, 5]);
    assert_eq!(
        problems("[listen]\nc2s = [\"[::]:5223\"]\n[hosts.\"a.org\"]\n")[0].key,
        "listen.c2s_tls"
    );
}

#[test]
fn a_template_keeps_comments_and_fills_in() {
    let text = Template::new("chat.example.org")
        .set("", "data_dir", ".")
        .set("listen", "c2s", vec!["127.0.0.1:0"])
        .set("host.contact", "admin", vec!["xmpp:admin@chat.example.org"])
        .render();
    let config = read(&text).unwrap().config;
    assert_eq!(config.hosts[0].domain, "chat.example.org");
    assert_eq!(config.data_dir, Path::new("/etc/coucou"));
    assert_eq!(config.listen.c2s, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(config.hosts[0].contact.admin, ["xmpp:admin@chat.example.org"]);
    assert!(text.contains("# Refuse to sign anybody in without TLS."));
    assert!(!text.contains("localhost"));
}

#[test]
fn a_missing_file_says_what_to_do() {
    let error = load(Path::new("/nowhere/coucou.toml")).unwrap_err();
    assert!(
        error.to_string().starts_with("/nowhere/coucou.toml: found no readable file"),
        "{error}"
    );
    assert!(error.to_string().contains("coucou init"));
}

proptest::proptest! {
    /// Whatever stands in the file, the answer is a config or a list of problems within the file.
    #[test]
    fn no_text_breaks_the_reader(text in ".{0,400}") {
        for text in [text.clone(), format!("[hosts.\"a.org\"]\n{text}"), format!("[limits]\ndepth_max = {text}")] {
            if let Err(error) = read(&text) {
                proptest::prop_assert!(!error.problems.is_empty());
                proptest::prop_assert!(error.problems.iter().all(|p| p.line <= text.lines().count().max(1) + 1));
                let _ = error.to_string();
            }
        }
    }
}

#[test]
fn addresses_show_as_much_as_they_may() {
    // As it comes from a listener for both.
    let mapped = "::ffff:192.0.2.17".parse().unwrap();
    assert_eq!(Addresses::Full.show(mapped), "192.0.2.17");
    assert_eq!(Addresses::Network.show(mapped), "192.0.2.0/24");
    assert_eq!(Addresses::Network.show("2001:db8:1:2::3".parse().unwrap()), "2001:db8:1::/48");
    assert_eq!(Addresses::Hidden.show(mapped), "hidden");
}
