//! XEP-0077 and XEP-0445 before sign-in. What is asked of the shell is its own matter; here the
//! stream is played.

use super::play::Play;
use super::*;
use crate::features::register::Answered;
use crate::stanza::error::{Condition, StanzaError};
use crate::store::AccountId;
use crate::store::invites::{Invite, InviteId, InviteKind};

fn open(by_token: bool) -> World {
    let mut world = World::plain();
    world.policy.fast = None;
    world.policy.registration = Registration { open: true, by_token };
    world
}

fn answers(outcome: Result<Answered, StanzaError>) -> Answer {
    Answer::Registration(Box::new(outcome))
}

fn made() -> Answered {
    let jid = BareJid::parse("bill@example.org").unwrap();
    Answered::Made(crate::features::register::Made { jid, account: AccountId(7), waiting: false })
}

fn invite() -> Box<Invite> {
    let now = Now::from_secs(1_700_000_000);
    Box::new(Invite {
        id: InviteId(3),
        kind: InviteKind::Account,
        host: "example.org".into(),
        inviter: None,
        name: None,
        registers: true,
        subscribes: false,
        groups: Vec::new(),
        note: String::new(),
        created: now,
        expires: now,
        uses_max: 1,
        uses: 0,
        revoked: None,
    })
}

/// All that was heard in answer to these words on an encrypted stream.
fn said(world: &mut World, words: &[&str]) -> String {
    Play::new(world).say(true, words).concat()
}

#[test]
fn it_is_offered_on_encrypted_streams_where_it_is_open_or_by_invitation() {
    let register = "<register xmlns='http://jabber.org/features/iq-register'/>";
    let token = "<register xmlns='urn:xmpp:ibr-token:0'/>";
    for (open, by_token) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut world = World::plain();
        world.policy.registration = Registration { open, by_token };
        let plain = Play::new(&mut world).say(false, &[]).concat();
        assert!(!plain.contains("<register"), "{plain}");
        let secured = Play::new(&mut world).say(true, &[]).concat();
        assert_eq!(secured.contains(register), open || by_token, "{secured}");
        assert_eq!(secured.contains(token), by_token, "{secured}");
    }
}

#[test]
fn whoever_registers_signs_in_on_the_same_stream() {
    let mut world = open(false);
    let form = Element::new("query", ns::REGISTER).with(Element::new("username", ns::REGISTER));
    world.instead = vec![answers(Ok(made())), answers(Ok(Answered::Form(form)))];
    let heard = said(
        &mut world,
        &[
            "<iq type='get' id='reg1' to='example.org'><query xmlns='jabber:iq:register'/></iq>",
            "<iq type='set' id='reg2'><query xmlns='jabber:iq:register'><username>bill</username>\
             <password>Calliope</password></query></iq>",
            "<iq type='set' id='reg3'><query xmlns='jabber:iq:register'><username>two</username>\
             <password>Calliope</password></query></iq>",
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\
             AHJvbWVvAHBlbmNpbA==</auth>",
        ],
    );
    for part in [
        "<iq from='example.org' id='reg1' type='result'><query xmlns='jabber:iq:register'>\
         <username/></query></iq><iq from='example.org' id='reg2' type='result'/>\
         <iq from='example.org' id='reg3' type='error'>",
        "code='406'><not-acceptable ",
        "<success ",
    ] {
        assert!(heard.contains(part), "{part}: {heard}");
    }
    assert_eq!(world.asked, ["registration", "registration", "credentials", "plain"]);
}

#[test]
fn an_invitation_stays_with_the_stream_until_it_is_used() {
    let mut world = open(true);
    let refused = StanzaError::new(Condition::Conflict).with_text("taken");
    world.instead = vec![
        answers(Ok(made())),
        answers(Err(refused)),
        answers(Ok(Answered::Invited(invite()))),
        answers(Err(StanzaError::new(Condition::ItemNotFound).with_text("The provided token"))),
    ];
    let submit = "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>bill</username>\
                  <password>Calliope</password></query></iq>";
    let heard = said(
        &mut world,
        &[
            "<iq type='set' to='example.org' id='pa0'><preauth xmlns='urn:xmpp:pars:0' token='BAD'/></iq>",
            "<iq type='set' to='example.org' id='pa1'><preauth xmlns='urn:xmpp:pars:0' token='TOKEN'/></iq>",
            submit,
            submit,
        ],
    );
    for part in [
        "<iq from='example.org' id='pa0' type='error'><error type='cancel' code='404'>\
         <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>The provided token</text>\
         </error></iq><iq from='example.org' id='pa1' type='result'/>",
        "<iq from='example.org' id='r' type='error'><error type='cancel' code='409'>",
        "<iq from='example.org' id='r' type='result'/>",
    ] {
        assert!(heard.contains(part), "{part}: {heard}");
    }
}

#[test]
fn what_makes_no_sense_before_sign_in_is_refused_with_its_condition() {
    for (iq, condition) in [
        // XEP-0077 §3.2: read as a removal, which the shell refuses; alone it must stand.
        (
            "<iq type='set' id='1'><query xmlns='jabber:iq:register'><remove/><x xmlns='y'/></query></iq>",
            "bad-request",
        ),
        ("<iq type='get'><query xmlns='jabber:iq:register'/></iq>", "bad-request"),
        (
            "<iq type='get' id='1' to='other.example'><query xmlns='jabber:iq:register'/></iq>",
            "service-unavailable",
        ),
        ("<iq type='set' id='1'><preauth xmlns='urn:xmpp:pars:0'/></iq>", "bad-request"),
    ] {
        let heard = said(&mut open(true), &[iq]);
        assert!(heard.contains(&format!("<{condition} ")), "{iq}: {heard}");
    }
    let mut world = open(true);
    world.policy.tls_required = false;
    let get = "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>";
    let heard = Play::new(&mut world).say(false, &[get]).concat();
    assert!(heard.contains("<not-allowed "), "{heard}");
    // Anything else is not for those who have not signed in.
    for iq in [
        "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq type='result' id='1'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='get' id='1'><preauth xmlns='urn:xmpp:pars:0' token='x'/></iq>",
    ] {
        let heard = said(&mut open(true), &[iq]);
        assert!(heard.ends_with("! close not-authorized"), "{iq}: {heard}");
    }
}

#[test]
fn names_are_not_asked_for_without_end() {
    let mut world = open(false);
    let taken = || answers(Err(StanzaError::new(Condition::Conflict)));
    world.instead = (0..30).map(|_| taken()).collect();
    let submit = "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>bill</username>\
                  <password>x</password></query></iq>";
    let heard = said(&mut world, &[submit; 25]);
    assert_eq!(heard.matches("<conflict ").count(), 20);
    assert!(heard.ends_with("! close policy-violation"), "{heard}");
}

#[test]
fn who_waits_for_approval_is_told_so_after_proving_it() {
    let mut world = open(false);
    let account = &mut world.accounts.values_mut().next().unwrap().0;
    (account.locked, account.waiting) = (true, true);
    let heard = said(
        &mut world,
        &["<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\
           AHJvbWVvAHBlbmNpbA==</auth>"],
    );
    assert!(heard.contains("<account-disabled/>"), "{heard}");
    assert!(heard.contains("waiting for approval"), "{heard}");
}
