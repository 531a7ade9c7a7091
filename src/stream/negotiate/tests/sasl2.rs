//! XEP-0388 without what goes inline.

use super::play::{Play, play};
use super::*;

const CHOOSE: &str = "> tls
    > open from='romeo@example.org'
    < <?xml {}<stream:features>{}
";

/// Features after sign-in, unbound.
const FEATURES: &str = "<stream:features>
    <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind>
    <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>
    <sm xmlns='urn:xmpp:sm:3'/>
    <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes>
    <idle-seconds>600</idle-seconds></limits>
    <ver xmlns='urn:xmpp:features:rosterver'/></stream:features>";

/// XEP-0388 §2.3 to §2.6.1, its example with our own nonce and salt.
#[test]
fn the_example_of_the_xep() {
    let mut world = World::scram(Hash::Sha1);
    let script = format!(
        "> tls
         > open from='romeo@example.org'
         < <?xml {{}}<stream:features>{{}}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1-PLUS'>
         <initial-response>{{first}}</initial-response>
         <user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'>
         <software>AwesomeXMPP</software>
         <device>Kiva's Phone</device></user-agent></authenticate>
         < <challenge xmlns='urn:xmpp:sasl:2'>{{challenge}}</challenge>
         > <response xmlns='urn:xmpp:sasl:2'>{{last}}</response>
         < <success xmlns='urn:xmpp:sasl:2'>
         <additional-data>{{verifier}}</additional-data>
         <authorization-identifier>romeo@example.org</authorization-identifier></success>
         {FEATURES}
         > <iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         < <iq type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
         <jid>{{jid}}</jid></bind></iq>
         ! bound {{jid}}"
    );
    Play::new(&mut world)
        .scram(Hash::Sha1, "p=tls-exporter,,", &EXPORTED, "romeo", "pencil")
        .run(&script);
    let agent = world.established.unwrap().agent;
    assert_eq!(agent.id, AgentId::of("d4565fa7-4d72-4749-b3d3-740edbf87770"));
    assert_eq!(agent.software.as_deref(), Some("AwesomeXMPP"));
    assert_eq!(agent.device.as_deref(), Some("Kiva's Phone"));
}

/// XEP-0388 §6.1: one round trip, and no restart.
#[test]
fn plain_takes_one_round_trip() {
    let script = format!(
        "{CHOOSE}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
         <initial-response>AHJvbWVvAHBlbmNpbA==</initial-response></authenticate>
         < <success xmlns='urn:xmpp:sasl:2'>
         <authorization-identifier>romeo@example.org</authorization-identifier></success>
         {FEATURES}"
    );
    play(&mut World::plain(), &script);
}

/// XEP-0388 §6.2: without an initial response.
#[test]
fn a_mechanism_may_be_asked_to_begin() {
    let script = format!(
        "{CHOOSE}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>
         < <challenge xmlns='urn:xmpp:sasl:2'/>
         > <response xmlns='urn:xmpp:sasl:2'>AHJvbWVvAHBlbmNpbA==</response>
         < <success xmlns='urn:xmpp:sasl:2'>
         <authorization-identifier>romeo@example.org</authorization-identifier></success>
         {FEATURES}"
    );
    play(&mut World::plain(), &script);
}

#[test]
fn failures() {
    let authenticate = |mechanism: &str, content: &str| {
        format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>{content}</authenticate>"
        )
    };
    let initial = |data: &str| format!("<initial-response>{data}</initial-response>");
    let cases = [
        (authenticate("PLAIN", &initial("AHJvbWVvAHdyb25n")), "not-authorized"),
        (authenticate("PLAIN", &initial("AGp1bGlldABwZW5jaWw=")), "invalid-authzid"),
        (authenticate("PLAIN", &initial("%")), "incorrect-encoding"),
        (authenticate("PLAIN", &initial("")), "malformed-request"),
        (authenticate("CRAM-MD5", ""), "invalid-mechanism"),
        (
            authenticate("SCRAM-SHA-1", "<resume xmlns='urn:xmpp:sm:3' previd='x'/>"),
            "malformed-request",
        ),
        ("<abort xmlns='urn:xmpp:sasl:2'/>".to_owned(), "aborted"),
        ("<response xmlns='urn:xmpp:sasl:2'/>".to_owned(), "malformed-request"),
    ];
    for (element, condition) in cases {
        let script = format!(
            "{CHOOSE}
             > {element}
             < <failure xmlns='urn:xmpp:sasl:2'>
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>{{}}
             ! refused {condition}"
        );
        play(&mut World::new(), &script);
    }
}

#[test]
fn attempts_of_both_dialects_are_counted_together() {
    let script = format!(
        "{CHOOSE}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
         <initial-response>AHJvbWVvAHdyb25n</initial-response></authenticate>
         < <failure xmlns='urn:xmpp:sasl:2'>
         <not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>
         ! refused not-authorized
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHdyb25n</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>
         ! refused not-authorized
         > <abort xmlns='urn:xmpp:sasl:2'/>
         < <failure xmlns='urn:xmpp:sasl:2'>{{}}
         ! refused aborted
         ! close policy-violation"
    );
    play(&mut World::new(), &script);
}

#[test]
fn nobody_signs_in_twice() {
    let script = format!(
        "{CHOOSE}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
         <initial-response>AHJvbWVvAHBlbmNpbA==</initial-response></authenticate>
         < <success {{}}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
         <initial-response>AHJvbWVvAHBlbmNpbA==</initial-response></authenticate>
         ! close unsupported-stanza-type"
    );
    play(&mut World::plain(), &script);
}

#[test]
fn what_a_client_says_of_itself_is_kept_within_bounds() {
    let long = "é".repeat(100);
    let script = format!(
        "{CHOOSE}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
         <initial-response>AHJvbWVvAHBlbmNpbA==</initial-response>
         <user-agent id=''><software>{long}</software><device>&#9;&#10;</device></user-agent>
         <bind xmlns='urn:xmpp:bind:0'/></authenticate>
         < <success {{}}
         ! bound {{}}"
    );
    let mut world = World::plain();
    play(&mut world, &script);
    let agent = world.established.unwrap().agent;
    assert_eq!(agent.software.unwrap().len(), 128);
    assert_eq!((agent.id, agent.device), (None, None));
}
