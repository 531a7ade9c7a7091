//! FAST (XEP-0484): tokens asked for, used, rotated, ended.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::play::{Play, play};
use super::*;

const AGENT: &str = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>";
const CHOOSE: &str = "> tls
    > open from='romeo@example.org'
    < <?xml {}<stream:features>{}
";
const REFUSED: &str = "< <failure xmlns='urn:xmpp:sasl:2'>
    <not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>
    ! refused not-authorized";

/// Signs in by password and asks for a token; returns it.
fn obtain(world: &mut World, mechanism: &str) -> String {
    let script = format!(
        "{CHOOSE}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
         <initial-response>AHJvbWVvAHBlbmNpbA==</initial-response>{AGENT}
         <bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag></bind>
         <request-token xmlns='urn:xmpp:fast:0' mechanism='{mechanism}'/></authenticate>
         < <success xmlns='urn:xmpp:sasl:2'>
         <authorization-identifier>{{jid}}</authorization-identifier>
         <bound xmlns='urn:xmpp:bind:0'><metadata xmlns='urn:xmpp:mam:2'/></bound>
         <token xmlns='urn:xmpp:fast:0' expiry='{{expiry}}' token='{{token}}'/></success>
         <stream:features>{{}}
         ! bound {{jid}}"
    );
    let expiry = world.now.plus(21 * DAY).to_xmpp();
    let play = Play::new(world).run(&script);
    assert_eq!(play.holes()["expiry"], expiry);
    play.holes()["token"].clone()
}

fn initiator(token: &str, binding: &[u8]) -> String {
    let hash = Hash::Sha256.hmac(token.as_bytes(), &[b"Initiator", binding]);
    STANDARD.encode([b"romeo\0", hash.expose()].concat())
}

fn responder(token: &str, binding: &[u8]) -> String {
    STANDARD.encode(Hash::Sha256.hmac(token.as_bytes(), &[b"Responder", binding]).expose())
}

/// The login with a token, to the client's last word.
fn by_token(mechanism: &str, token: &str, binding: &[u8], fast: &str, more: &str) -> String {
    format!(
        "{CHOOSE}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>
         <initial-response>{}</initial-response>{AGENT}
         <fast xmlns='urn:xmpp:fast:0'{fast}/>{more}</authenticate>",
        initiator(token, binding)
    )
}

fn success(token: &str, binding: &[u8], more: &str) -> String {
    format!(
        "< <success xmlns='urn:xmpp:sasl:2'>
         <additional-data>{}</additional-data>
         <authorization-identifier>romeo@example.org</authorization-identifier>{more}</success>
         <stream:features>{{}}",
        responder(token, binding)
    )
}

#[test]
fn one_round_trip_to_a_session() {
    for (mechanism, binding) in [
        ("HT-SHA-256-NONE", &[][..]),
        ("HT-SHA-256-ENDP", &END_POINT[..]),
        ("HT-SHA-256-EXPR", &EXPORTED[..]),
    ] {
        let mut world = World::plain();
        let token = obtain(&mut world, mechanism);
        world.asked.clear();
        let bind = "<bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag></bind>";
        let script = format!(
            "{}
             < <success xmlns='urn:xmpp:sasl:2'>
             <additional-data>{}</additional-data>
             <authorization-identifier>{{jid}}</authorization-identifier>
             <bound xmlns='urn:xmpp:bind:0'><metadata xmlns='urn:xmpp:mam:2'/></bound></success>
             <stream:features>{{}}
             ! bound {{jid}}",
            by_token(mechanism, &token, binding, " count='123'", bind),
            responder(&token, binding),
        );
        play(&mut world, &script);
        assert_eq!(world.asked, ["tokens", "use token", "bind"]);
        assert_eq!(world.established.unwrap().account.mechanism.as_str(), mechanism);
    }
}

#[test]
fn a_token_is_bound_to_its_mechanism_and_its_channel() {
    let mut world = World::plain();
    let token = obtain(&mut world, "HT-SHA-256-EXPR");
    for (mechanism, binding) in [
        ("HT-SHA-256-NONE", &[][..]),
        ("HT-SHA-256-EXPR", &[0; 32]),
        ("HT-SHA-256-ENDP", &END_POINT),
    ] {
        let script = by_token(mechanism, &token, binding, "", "");
        play(&mut world, &format!("{script}\n{REFUSED}"));
    }
}

#[test]
fn a_used_count_does_not_pass_again() {
    let mut world = World::plain();
    let token = obtain(&mut world, "HT-SHA-256-NONE");
    let login = |count| by_token("HT-SHA-256-NONE", &token, b"", &format!(" count='{count}'"), "");
    play(&mut world, &format!("{}\n{}", login(5), success(&token, b"", "")));
    for count in [5, 4, 0] {
        play(&mut world, &format!("{}\n{REFUSED}", login(count)));
    }
    play(&mut world, &format!("{}\n{}", login(6), success(&token, b"", "")));
}

#[test]
fn old_tokens_are_replaced_when_used() {
    let mut world = World::plain();
    let old = obtain(&mut world, "HT-SHA-256-NONE");
    let login = |token: &str| by_token("HT-SHA-256-NONE", token, b"", "", "");
    play(&mut world, &format!("{}\n{}", login(&old), success(&old, b"", "")));

    world.now = world.now.plus(2 * DAY);
    let rotate = |world: &mut World| {
        let element = "<token xmlns='urn:xmpp:fast:0' expiry='{}' token='{token}'/>";
        let script = format!("{}\n{}", login(&old), success(&old, b"", element));
        Play::new(world).run(&script).holes()["token"].clone()
    };
    // The first answer got lost: the old token still serves, and what was not seen ends.
    let lost = rotate(&mut world);
    let new = rotate(&mut world);
    play(&mut world, &format!("{}\n{REFUSED}", login(&lost)));
    play(&mut world, &format!("{}\n{}", login(&new), success(&new, b"", "")));
    // Having been used, the new one ends the old.
    play(&mut world, &format!("{}\n{REFUSED}", login(&old)));
}

#[test]
fn signing_out_ends_the_token() {
    let mut world = World::plain();
    let token = obtain(&mut world, "HT-SHA-256-NONE");
    world.now = world.now.plus(2 * DAY);
    let login = |fast: &str| by_token("HT-SHA-256-NONE", &token, b"", fast, "");
    let script = format!("{}\n{}", login(" invalidate='true'"), success(&token, b"", ""));
    play(&mut world, &script);
    play(&mut world, &format!("{}\n{REFUSED}", login("")));
}

#[test]
fn a_client_may_sign_out_and_ask_for_another_token() {
    let mut world = World::plain();
    let old = obtain(&mut world, "HT-SHA-256-NONE");
    let request = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/>";
    let element = "<token xmlns='urn:xmpp:fast:0' expiry='{}' token='{token}'/>";
    let script = by_token("HT-SHA-256-NONE", &old, b"", " invalidate='1'", request);
    let script = format!("{script}\n{}", success(&old, b"", element));
    let new = Play::new(&mut world).run(&script).holes()["token"].clone();
    let script = by_token("HT-SHA-256-EXPR", &new, &EXPORTED, "", "");
    play(&mut world, &format!("{script}\n{}", success(&new, &EXPORTED, "")));
}

#[test]
fn expired_tokens_say_so() {
    let mut world = World::plain();
    let token = obtain(&mut world, "HT-SHA-256-NONE");
    world.now = world.now.plus(21 * DAY);
    let script = format!(
        "{}
         < <failure xmlns='urn:xmpp:sasl:2'>
         <credentials-expired xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
         <text>the token or password is past its time</text></failure>
         ! refused credentials-expired",
        by_token("HT-SHA-256-NONE", &token, b"", "", "")
    );
    play(&mut world, &script);
}

#[test]
fn revoked_tokens_and_unknown_devices_look_alike() {
    let mut world = World::plain();
    let token = obtain(&mut world, "HT-SHA-256-NONE");
    let script = by_token("HT-SHA-256-NONE", &token, b"", "", "");
    world.asked.clear();
    world.tokens.clear();
    play(&mut world, &format!("{script}\n{REFUSED}"));
    world.accounts.clear();
    play(&mut world, &format!("{script}\n{REFUSED}"));
    assert_eq!(world.asked, ["tokens", "tokens"]);
}

#[test]
fn a_lock_shuts_out_tokens_too() {
    let mut world = World::plain();
    let token = obtain(&mut world, "HT-SHA-256-NONE");
    world.lock("romeo@example.org");
    let script = by_token("HT-SHA-256-NONE", &token, b"", "", "");
    let refused = "< <failure {}\n! refused account-disabled";
    play(&mut world, &format!("{script}\n{refused}"));
}

/// Neither used nor renewed: it is good again when the rules change.
#[test]
fn rules_refuse_tokens_without_using_them_up() {
    let mut world = World::plain();
    let token = obtain(&mut world, "HT-SHA-256-NONE");
    world.shut = true;
    world.asked.clear();
    let script = by_token("HT-SHA-256-NONE", &token, b"", "", "");
    play(&mut world, &format!("{script}\n< <failure {{}}\n! refused account-disabled"));
    assert_eq!(world.asked, ["tokens"]);
    world.shut = false;
    play(&mut world, &format!("{script}\n< <success {{}}"));
}

#[test]
fn tokens_must_be_presented_as_such() {
    let mut world = World::plain();
    let token = obtain(&mut world, "HT-SHA-256-NONE");
    let initial = initiator(&token, b"");
    for (content, condition) in [
        (AGENT, "malformed-request"),
        ("<fast xmlns='urn:xmpp:fast:0'/>", "malformed-request"),
        ("<user-agent id='x'/><fast xmlns='urn:xmpp:fast:0' count='many'/>", "malformed-request"),
    ] {
        let script = format!(
            "{CHOOSE}
             > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'>
             <initial-response>{initial}</initial-response>{content}</authenticate>
             < <failure {{}}
             ! refused {condition}"
        );
        play(&mut world, &script);
    }
    world.policy.fast = None;
    let script = by_token("HT-SHA-256-NONE", &token, b"", "", "");
    play(&mut world, &format!("{script}\n< <failure {{}}\n! refused invalid-mechanism"));
}

#[test]
fn tokens_go_to_devices_that_can_use_them() {
    for content in [
        // No device to bind it to; a mechanism that is not offered.
        "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>",
        "<user-agent id='x'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-512-NONE'/>",
        "<user-agent id='x'/><request-token xmlns='urn:xmpp:fast:0'/>",
    ] {
        let mut world = World::plain();
        let script = format!(
            "{CHOOSE}
             > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
             <initial-response>AHJvbWVvAHBlbmNpbA==</initial-response>{content}</authenticate>
             < <success xmlns='urn:xmpp:sasl:2'>
             <authorization-identifier>romeo@example.org</authorization-identifier></success>
             <stream:features>{{}}"
        );
        play(&mut world, &script);
        assert!(world.tokens.is_empty());
    }
}
