//! Resumption (XEP-0198 §5 and §9.2).

use super::play::play;
use super::*;

const JID: &str = "romeo@example.org/orchard";

fn world() -> World {
    let mut world = World::plain();
    world.sessions.insert("some-long-sm-id", (Jid::parse(JID).unwrap(), 345));
    let juliet = Jid::parse("juliet@example.org/balcony").unwrap();
    world.sessions.insert("somebody-elses", (juliet, 1));
    world
}

fn inline(content: &str, expected: &str) -> String {
    format!(
        "> tls
         > open
         < open <stream:features>{{}}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
         <initial-response>AHJvbWVvAHBlbmNpbA==</initial-response>{content}</authenticate>
         {expected}"
    )
}

fn classic(more: &str) -> String {
    format!(
        "> tls
         > open
         < open <stream:features>{{}}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHBlbmNpbA==</auth>
         < <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
         ! restart
         > open
         < open <stream:features>{{}}
         {more}"
    )
}

/// XEP-0388 §2.6.1: the result stands in `<success/>`; no features follow, and no binding happens
/// even where it was asked for.
#[test]
fn resumed_with_success() {
    let mut world = world();
    let script = inline(
        "<resume xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='12'/>
         <bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag></bind>",
        &format!(
            "< <success xmlns='urn:xmpp:sasl:2'>
             <authorization-identifier>{JID}</authorization-identifier>
             <resumed xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='345'/></success>
             ! resumed {JID}"
        ),
    );
    play(&mut world, &script);
    assert_eq!(world.established.unwrap().how, How::Resumed { h: 12 });
    assert_eq!(world.asked, ["credentials", "plain", "resume"]);
}

/// XEP-0198 §9.2.1 and its second example: the failure, then a new session.
#[test]
fn a_failed_resumption_falls_back_to_binding() {
    for (answer, failed) in [
        (
            Answer::NotResumed(ResumeRefusal::NotFound { h: Some(7) }),
            "<failed xmlns='urn:xmpp:sm:3' h='7'>
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
        ),
        (
            Answer::Unavailable,
            "<failed xmlns='urn:xmpp:sm:3'>
             <internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
        ),
    ] {
        let mut world = world();
        world.instead.push(answer);
        let script = inline(
            "<resume xmlns='urn:xmpp:sm:3' previd='long-gone' h='12'/>
             <bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag></bind>",
            &format!(
                "< <success xmlns='urn:xmpp:sasl:2'>
                 <authorization-identifier>{{jid}}</authorization-identifier>
                 {failed}
                 <bound xmlns='urn:xmpp:bind:0'><metadata xmlns='urn:xmpp:mam:2'/></bound></success>
                 <stream:features>{{}}
                 ! bound {{jid}}"
            ),
        );
        play(&mut world, &script);
    }
}

#[test]
fn a_failed_resumption_without_binding_leaves_the_stream_unbound() {
    let script = inline(
        "<resume xmlns='urn:xmpp:sm:3' previd='somebody-elses' h='1'/>",
        "< <success xmlns='urn:xmpp:sasl:2'>
         <authorization-identifier>romeo@example.org</authorization-identifier>
         <failed xmlns='urn:xmpp:sm:3'>
         <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed></success>
         <stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{}
         > <resume xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='4294967295'/>
         < <resumed xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='345'/>
         ! resumed romeo@example.org/orchard",
    );
    let mut world = world();
    play(&mut world, &script);
    assert_eq!(world.established.unwrap().how, How::Resumed { h: u32::MAX });
}

#[test]
fn where_it_is_switched_off() {
    let mut world = world();
    world.policy.stream_management = false;
    let failed = "<failed xmlns='urn:xmpp:sm:3'>
         <feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    let script = inline(
        "<resume xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='12'/>",
        &format!(
            "< <success {{}}</authorization-identifier>{failed}</success><stream:features>{{}}"
        ),
    );
    play(&mut world, &script);
    let script = classic(&format!(
        "> <resume xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='12'/>
         < {failed}"
    ));
    play(&mut world, &script);
}

/// XEP-0198 §5, in place of binding.
#[test]
fn resumed_in_the_classic_way() {
    let mut world = world();
    let script = classic(&format!(
        "> <resume xmlns='urn:xmpp:sm:3' h='12' previd='some-long-sm-id'/>
         < <resumed xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='345'/>
         ! resumed {JID}"
    ));
    play(&mut world, &script);
    assert_eq!(world.established.unwrap().how, How::Resumed { h: 12 });
}

#[test]
fn the_client_may_bind_after_a_failure() {
    let bind = "> <iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         < <iq type='result' id='b1'>{}<jid>{jid}</jid></bind></iq>
         ! bound {jid}";
    for (element, condition) in [
        ("<resume xmlns='urn:xmpp:sm:3' h='12' previd='long-gone'/>", "item-not-found"),
        ("<resume xmlns='urn:xmpp:sm:3' h='12' previd='somebody-elses'/>", "item-not-found"),
        ("<resume xmlns='urn:xmpp:sm:3' previd='some-long-sm-id'/>", "bad-request"),
        ("<resume xmlns='urn:xmpp:sm:3' h='-1' previd='some-long-sm-id'/>", "bad-request"),
        ("<resume xmlns='urn:xmpp:sm:3' h='1'/>", "bad-request"),
        ("<enable xmlns='urn:xmpp:sm:3'/>", "unexpected-request"),
    ] {
        let script = classic(&format!(
            "> {element}
             < <failed xmlns='urn:xmpp:sm:3'>
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>
             {bind}"
        ));
        play(&mut world(), &script);
    }
}

/// XEP-0198 §6.
#[test]
fn acknowledging_the_unsent_ends_the_stream() {
    let too_high = || Answer::NotResumed(ResumeRefusal::HandledTooHigh);
    let resume = "<resume xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='99'/>";
    let mut world = world();
    world.instead.push(too_high());
    play(&mut world, &inline(resume, "! close undefined-condition"));
    world.instead.push(too_high());
    play(&mut world, &classic(&format!("> {resume}\n! close undefined-condition")));
}
