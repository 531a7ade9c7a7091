//! SASL upgrade tasks (XEP-0480).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::play::{Play, play};
use super::*;

/// romeo has SHA-1 keys only.
fn world() -> World {
    let mut world = World::new();
    world.register("romeo@example.org", &[Hash::Sha1]);
    world
}

fn sign_in(upgrades: &[&str], more: &str) -> String {
    let upgrades: String = upgrades
        .iter()
        .map(|task| format!("<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>{task}</upgrade>"))
        .collect();
    format!(
        "> tls
         > open from='romeo@example.org'
         < <?xml {{}}<stream:features>{{}}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1-PLUS'>{upgrades}
         <initial-response>{{first}}</initial-response>
         <user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/></authenticate>
         < <challenge xmlns='urn:xmpp:sasl:2'>{{challenge}}</challenge>
         > <response xmlns='urn:xmpp:sasl:2'>{{last}}</response>
         {more}"
    )
}

fn run<'a>(world: &'a mut World, script: &str) -> Play<'a> {
    Play::new(world).scram(Hash::Sha1, "p=tls-exporter,,", &EXPORTED, "romeo", "pencil").run(script)
}

const OFFER_256: &str = "< <continue xmlns='urn:xmpp:sasl:2'>
    <additional-data>{verifier}</additional-data>
    <tasks><task>UPGR-SCRAM-SHA-256</task></tasks></continue>
";
const SALT_256: &str = "> <next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-256'/>
    < <task-data xmlns='urn:xmpp:sasl:2'>
    <salt xmlns='urn:xmpp:scram-upgrade:0' iterations='4096'>{salt}</salt></task-data>
";
const SUCCESS: &str = "< <success xmlns='urn:xmpp:sasl:2'>
    <authorization-identifier>romeo@example.org</authorization-identifier></success>
    <stream:features>{}
";

/// XEP-0480 §3, its example; then the account opens with SCRAM-SHA-256.
#[test]
fn the_example_of_the_xep() {
    let mut world = world();
    let play =
        run(&mut world, &sign_in(&["UPGR-SCRAM-SHA-256"], &format!("{OFFER_256}{SALT_256}")));
    let salt = STANDARD.decode(&play.holes()["salt"]).unwrap();
    let salted = Hash::Sha256.pbkdf2(b"pencil", &salt, ITERATIONS_MIN);
    let script = format!(
        "> <task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>{}</hash>
         </task-data>
         {SUCCESS}",
        STANDARD.encode(salted.expose())
    );
    play.run(&script);
    let credentials = &world.accounts["romeo@example.org"].1;
    let password = Password::prepare("pencil").unwrap();
    assert!(credentials.get(Hash::Sha256).unwrap().verify(&password));
    assert!(credentials.has(Hash::Sha1), "old clients go on as before");
}

#[test]
fn several_tasks_one_after_the_other() {
    let mut world = world();
    let hash = |len: usize| STANDARD.encode(vec![1u8; len]);
    let script = sign_in(
        &["UPGR-SCRAM-SHA-256", "UPGR-BLOOP2", "UPGR-SCRAM-SHA-512", "UPGR-SCRAM-SHA-256"],
        &format!(
            "{OFFER_256}{SALT_256}
             > <task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>{}</hash></task-data>
             < <continue xmlns='urn:xmpp:sasl:2'>
             <tasks><task>UPGR-SCRAM-SHA-512</task></tasks></continue>
             > <next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>
             < <task-data {{}}
             > <task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>{}</hash></task-data>
             {SUCCESS}",
            hash(32),
            hash(64)
        ),
    );
    run(&mut world, &script);
    assert_eq!(world.accounts["romeo@example.org"].1.iter().count(), 3);
}

#[test]
fn what_the_account_has_is_not_asked_for() {
    let mut world = World::new();
    let success = "< <success xmlns='urn:xmpp:sasl:2'>
         <additional-data>{verifier}</additional-data>
         <authorization-identifier>romeo@example.org</authorization-identifier></success>
         <stream:features>{}";
    run(&mut world, &sign_in(&["UPGR-SCRAM-SHA-256", "UPGR-SCRAM-SHA-512"], success));
    assert_eq!(world.asked, ["credentials"]);
    // Nor what the client did not choose, nor what the host has no use for.
    run(&mut self::world(), &sign_in(&[], success));
    let mut world = self::world();
    world.policy.mechanisms.retain(|m| !m.as_str().contains("256"));
    run(&mut world, &sign_in(&["UPGR-SCRAM-SHA-256"], success));
}

#[test]
fn tasks_that_go_wrong_fail_the_sign_in() {
    let hash = |content: &str| {
        format!(
            "{SALT_256}
             > <task-data xmlns='urn:xmpp:sasl:2'>{content}</task-data>"
        )
    };
    let short = "<hash xmlns='urn:xmpp:scram-upgrade:0'>YWJj</hash>";
    let cases = [
        ("> <abort xmlns='urn:xmpp:sasl:2'/>".to_owned(), "aborted"),
        (
            "> <next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>".to_owned(),
            "malformed-request",
        ),
        ("> <next xmlns='urn:xmpp:sasl:2'/>".to_owned(), "malformed-request"),
        ("> <task-data xmlns='urn:xmpp:sasl:2'/>".to_owned(), "malformed-request"),
        (hash(""), "malformed-request"),
        (hash(short), "malformed-request"),
        (hash(&short.replace("YWJj", "?")), "incorrect-encoding"),
        (format!("{SALT_256}> <abort xmlns='urn:xmpp:sasl:2'/>"), "aborted"),
    ];
    for (part, condition) in cases {
        let mut world = world();
        let script = format!("{OFFER_256}{part}\n< <failure {{}}\n! refused {condition}");
        run(&mut world, &sign_in(&["UPGR-SCRAM-SHA-256"], &script));
        assert_eq!(world.accounts["romeo@example.org"].1.iter().count(), 1);
    }
}

#[test]
fn nothing_else_is_said_during_a_task() {
    for (element, condition) in [
        ("<presence/>", "not-authorized"),
        ("<response xmlns='urn:xmpp:sasl:2'/>", "unsupported-stanza-type"),
        ("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>", "unsupported-stanza-type"),
    ] {
        let script = format!("{OFFER_256}> {element}\n! close {condition}");
        run(&mut world(), &sign_in(&["UPGR-SCRAM-SHA-256"], &script));
    }
}

/// A token proves a device, not the password: it must not plant keys.
#[test]
fn no_upgrade_after_a_token() {
    let mut world = world();
    let agent = "<user-agent id='phone'/>";
    let upgrade = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>";
    let choose = "> tls\n> open\n< open <stream:features>{}\n";
    world.policy.mechanisms = vec![MechanismName::Plain];
    let script = format!(
        "{choose}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
         <initial-response>AHJvbWVvAHBlbmNpbA==</initial-response>{agent}
         <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/></authenticate>
         < <success {{}} token='{{token}}'/></success><stream:features>{{}}"
    );
    let token = Play::new(&mut world).run(&script).holes()["token"].clone();
    world.policy.mechanisms = World::new().policy.mechanisms;
    let hash = Hash::Sha256.hmac(token.as_bytes(), &[b"Initiator"]);
    let initial = STANDARD.encode([b"romeo\0", hash.expose()].concat());
    let script = format!(
        "{choose}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'>
         <initial-response>{initial}</initial-response>{agent}{upgrade}
         <fast xmlns='urn:xmpp:fast:0'/></authenticate>
         < <success {{}}"
    );
    play(&mut world, &script);
    assert_eq!(world.accounts["romeo@example.org"].1.iter().count(), 1);
}
