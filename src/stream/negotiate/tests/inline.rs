//! Bind 2 (XEP-0386) and stream management within it (XEP-0198 §9.1).

use super::play::play;
use super::*;

const AGENT: &str = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>";

/// Features of a stream with a session.
const FEATURES: &str = "<stream:features><sm xmlns='urn:xmpp:sm:3'/>
    <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes>
    <idle-seconds>600</idle-seconds></limits>
    <ver xmlns='urn:xmpp:features:rosterver'/></stream:features>";

/// The same once stream management is on.
const FEATURES_MANAGED: &str = "<stream:features>
    <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes>
    <idle-seconds>600</idle-seconds></limits>
    <ver xmlns='urn:xmpp:features:rosterver'/></stream:features>";

fn sign_in(content: &str, expected: &str) -> String {
    format!(
        "> tls
         > open from='romeo@example.org'
         < <?xml {{}}<stream:features>{{}}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
         <initial-response>AHJvbWVvAHBlbmNpbA==</initial-response>{content}</authenticate>
         {expected}"
    )
}

/// XEP-0386 §3.2, both examples of a request.
#[test]
fn the_examples_of_the_xep() {
    let mut world = World::plain();
    let script = sign_in(
        "<bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag></bind>",
        &format!(
            "< <success xmlns='urn:xmpp:sasl:2'>
             <authorization-identifier>romeo@example.org/AwesomeXMPP/{{unique}}</authorization-identifier>
             <bound xmlns='urn:xmpp:bind:0'><metadata xmlns='urn:xmpp:mam:2'/></bound></success>
             {FEATURES}
             ! bound romeo@example.org/AwesomeXMPP/{{unique}}"
        ),
    );
    play(&mut world, &script);
    let how = How::Bound { carbons: false, inactive: false, sm: None };
    assert_eq!(world.established.as_ref().unwrap().how, how);
    let request = world.bind.as_ref().unwrap();
    assert_eq!((request.bind2, request.resource), (true, ResourceBy::Server));

    let script = sign_in(
        &format!(
            "{AGENT}<bind xmlns='urn:xmpp:bind:0'>
             <tag>AwesomeXMPP</tag>
             <enable xmlns='urn:xmpp:carbons:2'/>
             <enable xmlns='urn:xmpp:sm:3'/>
             <inactive xmlns='urn:xmpp:csi:0'/></bind>"
        ),
        &format!(
            "< <success xmlns='urn:xmpp:sasl:2'>
             <authorization-identifier>{{jid}}</authorization-identifier>
             <bound xmlns='urn:xmpp:bind:0'><enabled xmlns='urn:xmpp:sm:3'/>
             <metadata xmlns='urn:xmpp:mam:2'/></bound></success>
             {FEATURES_MANAGED}
             ! bound {{jid}}"
        ),
    );
    play(&mut world, &script);
    let how = How::Bound { carbons: true, inactive: true, sm: Some(SmEnabled::default()) };
    assert_eq!(world.established.unwrap().how, how);
    assert_eq!(world.bind.unwrap().resource, ResourceBy::Device);
}

#[test]
fn resumable_sessions_learn_their_id() {
    let mut world = World::plain();
    let script = sign_in(
        "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='1' max='60'/></bind>",
        &format!(
            "< <success xmlns='urn:xmpp:sasl:2'>
             <authorization-identifier>{{jid}}</authorization-identifier>
             <bound xmlns='urn:xmpp:bind:0'>
             <enabled xmlns='urn:xmpp:sm:3' id='some-long-sm-id' resume='true' max='300'/>
             <metadata xmlns='urn:xmpp:mam:2'/></bound></success>
             {FEATURES_MANAGED}
             ! bound {{jid}}"
        ),
    );
    play(&mut world, &script);
    assert_eq!(world.bind.unwrap().sm, Some(SmRequest { resume: true, max: Some(60) }));
}

/// XEP-0198 §9.1.1.
#[test]
fn stream_management_may_fail_while_binding_succeeds() {
    let mut world = World::plain();
    world.instead.push(Answer::Bound(Box::default()));
    let script = sign_in(
        "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3'/></bind>",
        &format!(
            "< <success xmlns='urn:xmpp:sasl:2'>
             <authorization-identifier>{{jid}}</authorization-identifier>
             <bound xmlns='urn:xmpp:bind:0'><failed xmlns='urn:xmpp:sm:3'>
             <internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>
             </bound></success>
             {FEATURES}
             ! bound {{jid}}"
        ),
    );
    play(&mut world, &script);
    let how = How::Bound { carbons: false, inactive: false, sm: None };
    assert_eq!(world.established.unwrap().how, how);
}

#[test]
fn a_device_keeps_its_resource() {
    let resource = |account: &str, agent: &str, tag: &str| {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let mut world = World::plain();
        world.register("juliet@example.org", &Hash::ALL);
        let plain = STANDARD.encode(format!("\0{account}\0pencil"));
        let script = format!(
            "> tls
             > open
             < open <stream:features>{{}}
             > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
             <initial-response>{plain}</initial-response>
             <user-agent id='{agent}'/><bind xmlns='urn:xmpp:bind:0'>{tag}</bind></authenticate>
             < <success {{}}
             ! bound {{}}"
        );
        play(&mut world, &script);
        world.established.unwrap().jid.resource().unwrap().to_owned()
    };
    let phone = resource("romeo", "phone", "<tag>A</tag>");
    assert_eq!(phone, resource("romeo", "phone", "<tag>A</tag>"));
    assert_eq!(phone.len(), "A/".len() + 16);
    assert!(!phone.contains("phone"));
    for other in [
        resource("juliet", "phone", "<tag>A</tag>"),
        resource("romeo", "tablet", "<tag>A</tag>"),
        resource("romeo", "phone", "<tag>B</tag>"),
    ] {
        assert_ne!(phone[2..], other[2..]);
    }
    // Tags that cannot be part of a resource are left out.
    let long = format!("<tag>{}</tag>", "x".repeat(65));
    for tag in ["", "<tag/>", "<tag> </tag>", "<tag>a\u{fff9}b</tag>", &long] {
        assert_eq!(resource("romeo", "phone", tag).len(), 16, "{tag}");
    }
}

#[test]
fn a_sign_in_without_room_for_a_session_fails_as_a_whole() {
    for (refusal, text) in [
        (
            Answer::NotBound(BindRefusal::TooManySessions),
            "the account has as many sessions as it may have",
        ),
        (Answer::Unavailable, "the server could not look the account up"),
    ] {
        let mut world = World::plain();
        world.instead.push(refusal);
        let script = sign_in(
            "<bind xmlns='urn:xmpp:bind:0'/>",
            &format!(
                "< <failure xmlns='urn:xmpp:sasl:2'>
                 <temporary-auth-failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
                 <text>{text}</text></failure>
                 ! refused temporary-auth-failure"
            ),
        );
        play(&mut world, &script);
    }
}
