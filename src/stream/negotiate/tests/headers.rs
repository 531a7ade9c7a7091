//! RFC 6120 §4 and §5: headers, features, STARTTLS, and everything that is not allowed yet.

use super::play::{Play, play};
use super::*;

/// Features of a plain stream on a host that demands TLS.
const START_TLS: &str = "<stream:features>
    <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>
    <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>
    </stream:features>";

#[test]
fn starttls_comes_first_and_alone() {
    play(
        &mut World::new(),
        &format!(
            "> open
             < open {START_TLS}
             > <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
             < <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
             ! starttls
             > tls
             > open
             < open <stream:features>
             <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>
             <mechanism>SCRAM-SHA-512-PLUS</mechanism>
             <mechanism>SCRAM-SHA-256-PLUS</mechanism>
             <mechanism>SCRAM-SHA-1-PLUS</mechanism>
             <mechanism>SCRAM-SHA-512</mechanism>
             <mechanism>SCRAM-SHA-256</mechanism>
             <mechanism>SCRAM-SHA-1</mechanism>
             <mechanism>PLAIN</mechanism></mechanisms>
             <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>
             <channel-binding type='tls-server-end-point'/>
             <channel-binding type='tls-exporter'/></sasl-channel-binding>
             <authentication xmlns='urn:xmpp:sasl:2'>
             <mechanism>SCRAM-SHA-512-PLUS</mechanism>
             <mechanism>SCRAM-SHA-256-PLUS</mechanism>
             <mechanism>SCRAM-SHA-1-PLUS</mechanism>
             <mechanism>SCRAM-SHA-512</mechanism>
             <mechanism>SCRAM-SHA-256</mechanism>
             <mechanism>SCRAM-SHA-1</mechanism>
             <mechanism>PLAIN</mechanism>
             <inline>
             <bind xmlns='urn:xmpp:bind:0'><inline>
             <feature var='urn:xmpp:carbons:2'/>
             <feature var='urn:xmpp:csi:0'/>
             <feature var='urn:xmpp:sm:3'/></inline></bind>
             <sm xmlns='urn:xmpp:sm:3'/>
             <fast xmlns='urn:xmpp:fast:0'>
             <mechanism>HT-SHA-256-EXPR</mechanism>
             <mechanism>HT-SHA-256-ENDP</mechanism>
             <mechanism>HT-SHA-256-NONE</mechanism></fast></inline>
             <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>
             <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>
             </authentication>
             <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>
             </stream:features>"
        ),
    );
}

#[test]
fn where_tls_is_optional_only_challenges_are_safe_without() {
    let mut world = World::new();
    world.policy.tls_required = false;
    world.policy.mechanisms.retain(|m| !m.as_str().contains("512"));
    play(
        &mut world,
        "> open
         < open <stream:features>
         <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
         <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>
         <mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms>
         <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>
         </stream:features>
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHBlbmNpbA==</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><encryption-required/>
         <text>the mechanism needs an encrypted stream</text></failure>
         ! refused encryption-required",
    );
}

#[test]
fn a_direct_tls_connection_needs_no_starttls() {
    let mut world = World::plain();
    world.policy.fast = None;
    world.policy.stream_management = false;
    play(
        &mut world,
        "> tls
         > open
         < open <stream:features>
         <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>
         </mechanisms>
         <authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism>
         <inline><bind xmlns='urn:xmpp:bind:0'><inline>
         <feature var='urn:xmpp:carbons:2'/><feature var='urn:xmpp:csi:0'/></inline></bind>
         </inline></authentication>
         <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>
         </stream:features>
         > <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
         ! close policy-violation",
    );
}

#[test]
fn the_answer_names_the_client_that_named_itself() {
    let script = format!(
        "> open from='Romeo@example.org/orchard' xml:lang='fr'
         < <?xml version='1.0'?><stream:stream xmlns='jabber:client'
         xmlns:stream='http://etherx.jabber.org/streams' id='{{}}' from='example.org'
         to='romeo@example.org' version='1.0' xml:lang='en'>{START_TLS}"
    );
    play(&mut World::new(), &script);
}

/// Each header is refused with its condition, after a header of ours.
#[test]
fn bad_headers() {
    const STREAM: &str =
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
    let cases = [
        (format!("{STREAM} version='1.0'>"), "host-unknown"),
        (format!("{STREAM} to='example.net' version='1.0'>"), "host-unknown"),
        (format!("{STREAM} to='romeo@example.org' version='1.0'>"), "host-unknown"),
        (format!("{STREAM} to='example.org'>"), "unsupported-version"),
        (format!("{STREAM} to='example.org' version='2.0'>"), "unsupported-version"),
        (format!("{STREAM} to='example.org' version='1'>"), "unsupported-version"),
        (
            format!("{STREAM} to='example.org' version='1.0' from='romeo@example.net'>"),
            "invalid-from",
        ),
        (format!("{STREAM} to='example.org' version='1.0' from='@'>"), "invalid-from"),
        (
            format!("{STREAM} to='example.org' version='1.0'>")
                .replace("jabber:client", "jabber:server"),
            "invalid-namespace",
        ),
    ];
    for (header, condition) in cases {
        let script = format!(
            "> {header}
             < <?xml version='1.0'?><stream:stream xmlns='jabber:client'
             xmlns:stream='http://etherx.jabber.org/streams' id='{{}}' version='1.0' xml:lang='en'>
             ! close {condition}"
        );
        play(&mut World::new(), &script);
    }
}

#[test]
fn later_minor_versions_are_welcome() {
    let mut world = World::new();
    let script = format!(
        "> <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'
         to='EXAMPLE.org' version='1.12'>
         < open {START_TLS}"
    );
    play(&mut world, &script);
}

#[test]
fn an_error_before_the_header_still_gets_one() {
    let mut world = World::new();
    play(
        &mut world,
        "> <html>
         < <?xml version='1.0'?><stream:stream xmlns='jabber:client'
         xmlns:stream='http://etherx.jabber.org/streams' id='{}' version='1.0' xml:lang='en'>
         ! close {}",
    );
}

#[test]
fn nothing_but_sign_in_is_allowed_before_sign_in() {
    let cases = [
        ("<message to='juliet@example.org'><body>Hi</body></message>", "not-authorized"),
        ("<presence/>", "not-authorized"),
        ("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", "not-authorized"),
        ("<pubsub/>", "unsupported-stanza-type"),
        ("<message xmlns='jabber:server'/>", "unsupported-stanza-type"),
        ("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "unsupported-stanza-type"),
    ];
    for (element, condition) in cases {
        for encrypted in ["> tls\n", ""] {
            let script = format!(
                "{encrypted}> open\n< open <stream:features>{{}}\n> {element}\n! close {condition}"
            );
            play(&mut World::new(), &script);
        }
    }
}

#[test]
fn stream_management_waits_for_authentication() {
    for element in ["enable", "resume"] {
        let script = format!(
            "> tls
             > open
             < open <stream:features>{{}}
             > <{element} xmlns='urn:xmpp:sm:3' previd='x' h='0'/>
             < <failed xmlns='urn:xmpp:sm:3'>
             <unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"
        );
        play(&mut World::new(), &script);
    }
}

#[test]
fn no_authentication_where_tls_is_missing() {
    for (element, sasl) in [("auth", ns::SASL), ("authenticate", ns::SASL2)] {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "ANONYMOUS", "NONSENSE"] {
            let script = format!(
                "> open
                 < open <stream:features>{{}}
                 > <{element} xmlns='{sasl}' mechanism='{mechanism}'/>
                 < <failure xmlns='{sasl}'><encryption-required{{}}
                 ! refused encryption-required"
            );
            play(&mut World::new(), &script);
        }
    }
}

#[test]
fn a_shell_that_breaks_the_rules_ends_the_stream() {
    let mut world = World::new();
    let mut negotiator = Negotiator::new(world.hosts(), Arc::new(world.secret.clone()));
    let mut out = Vec::new();
    negotiator.handle(Input::Answer(Answer::Stored), world.now, &mut out);
    let last = out.last();
    assert!(
        matches!(last, Some(Output::Close(e)) if e.condition == StreamCondition::InternalServerError)
    );
    // And it stays closed.
    out.clear();
    negotiator.handle(Input::TlsUp(world.channel.clone()), world.now, &mut out);
    negotiator.fail(StreamCondition::Reset.into(), world.now, &mut out);
    assert!(out.is_empty());
    // Holes that nobody fills are a mistake of the test.
    let play = Play::new(&mut world).hole("a", "b");
    assert_eq!(play.holes()["a"], "b");
}
