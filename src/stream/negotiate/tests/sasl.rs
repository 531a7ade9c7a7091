//! SASL of RFC 6120 §6 and binding of §7.

use super::play::{Play, play};
use super::*;

/// To the choice of mechanisms.
const CHOOSE: &str = "> tls
    > open
    < open <stream:features>{}
";

/// From `<success/>` to the features of an authenticated stream.
const RESTART: &str = "! restart
    > open
    < open <stream:features>
    <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind>
    <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>
    <sm xmlns='urn:xmpp:sm:3'/>
    <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes>
    <idle-seconds>600</idle-seconds></limits>
    <ver xmlns='urn:xmpp:features:rosterver'/></stream:features>
";

const PLAIN: &str = "> <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>
    AHJvbWVvAHBlbmNpbA==</auth>
    < <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
";

fn after_login(more: &str) -> String {
    format!("{CHOOSE}{PLAIN}{RESTART}{more}")
}

#[test]
fn scram_then_bind() {
    let mut world = World::new();
    let script = format!(
        "{CHOOSE}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>{{first}}</auth>
         < <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{challenge}}</challenge>
         > <response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{last}}</response>
         < <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{verifier}}</success>
         {RESTART}
         > <iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
         < <iq type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
         <jid>{{jid}}</jid></bind></iq>
         ! bound {{jid}}"
    );
    Play::new(&mut world).scram(Hash::Sha256, "n,,", b"", "romeo", "pencil").run(&script);
    let established = world.established.unwrap();
    assert_eq!(established.account.jid.as_str(), "romeo@example.org");
    assert_eq!(established.account.account, Some(AccountId(1)));
    assert_eq!(established.account.mechanism.as_str(), "SCRAM-SHA-256");
    assert_eq!(established.how, How::Bound { carbons: false, inactive: false, sm: None });
    let request = world.bind.unwrap();
    assert_eq!((request.resource, request.bind2), (ResourceBy::Server, false));
    assert_eq!(request.jid.resource().unwrap().len(), 16);
}

#[test]
fn scram_plus_with_both_bindings() {
    for (header, data) in [("p=tls-exporter,,", EXPORTED), ("p=tls-server-end-point,,", END_POINT)]
    {
        let script = format!(
            "{CHOOSE}
             > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1-PLUS'>{{first}}</auth>
             < <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{challenge}}</challenge>
             > <response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{last}}</response>
             < <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{verifier}}</success>
             ! restart"
        );
        let mut world = World::new();
        Play::new(&mut world).scram(Hash::Sha1, header, &data, "romeo", "pencil").run(&script);
    }
}

/// Somebody in the middle has another channel to each side.
#[test]
fn plus_over_another_channel_fails() {
    let script = format!(
        "{CHOOSE}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256-PLUS'>{{first}}</auth>
         < <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{challenge}}</challenge>
         > <response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{last}}</response>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>
         ! refused not-authorized"
    );
    let mut world = World::new();
    Play::new(&mut world)
        .scram(Hash::Sha256, "p=tls-exporter,,", &[0; 32], "romeo", "pencil")
        .run(&script);
}

/// Somebody in the middle took -PLUS out of the features; the client noticed the lack of it.
#[test]
fn a_stripped_plus_is_noticed() {
    let script = format!(
        "{CHOOSE}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>{{first}}</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>
         ! refused not-authorized"
    );
    let mut world = World::new();
    Play::new(&mut world).scram(Hash::Sha256, "y,,", b"", "romeo", "pencil").run(&script);
}

/// Somebody in the middle removed mechanisms: the hash in the challenge tells (XEP-0474).
#[test]
fn the_challenge_proves_what_was_offered() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let mut world = World::scram(Hash::Sha1);
    let script = format!(
        "{CHOOSE}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{{first}}</auth>
         < <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{challenge}}</challenge>"
    );
    let play = Play::new(&mut world).scram(Hash::Sha1, "n,,", b"", "romeo", "pencil").run(&script);
    let challenge = STANDARD.decode(&play.holes()["challenge"]).unwrap();
    let challenge = String::from_utf8(challenge).unwrap();
    // The value of XEP-0474's own example, which offers the same.
    assert!(challenge.contains(",h=G6k/rBLDqgOhRRaCuuatSDFkJ08="), "{challenge}");
}

#[test]
fn a_mechanism_may_be_asked_to_begin() {
    // No initial response, an empty one as "=", and white space around: RFC 6120 §6.4.2.
    for (auth, response) in [("", "AHJvbWVvAHBlbmNpbA=="), ("", " AHJvbWVvAHBlbmNpbA==\n")] {
        let script = format!(
            "{CHOOSE}
             > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{auth}</auth>
             < <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
             > <response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{response}</response>
             < <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
             {RESTART}"
        );
        play(&mut World::new(), &script);
    }
    let script = format!(
        "{CHOOSE}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>=</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><malformed-request/>{{}}
         ! refused malformed-request"
    );
    play(&mut World::new(), &script);
}

#[test]
fn guests_get_a_name() {
    let mut world = World::new();
    world.policy.mechanisms = vec![MechanismName::Anonymous];
    for auth in ["", "=", "c2lyaGM="] {
        let script = format!(
            "{CHOOSE}
             > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'>{auth}</auth>
             < <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
             {RESTART}
             > <iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
             < <iq type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
             <jid>{{jid}}</jid></bind></iq>
             ! bound {{jid}}"
        );
        play(&mut world, &script);
        let guest = world.established.take().unwrap().account;
        assert_eq!(guest.account, None);
        assert_eq!(guest.jid.domain(), "example.org");
    }
    let script = format!(
        "{CHOOSE}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHBlbmNpbA==</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-mechanism/>{{}}
         ! refused invalid-mechanism"
    );
    play(&mut world, &script);
}

#[test]
fn failures_of_rfc_6120() {
    let auth = |mechanism: &str, data: &str| {
        format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{data}</auth>"
        )
    };
    let cases = [
        (auth("PLAIN", "AHJvbWVvAHdyb25n"), "not-authorized"),
        (auth("PLAIN", "AG5vYm9keQB3cm9uZw=="), "not-authorized"),
        (auth("PLAIN", "anVsaWV0QGV4YW1wbGUub3JnAHJvbWVvAHBlbmNpbA=="), "invalid-authzid"),
        (auth("PLAIN", "not base64"), "incorrect-encoding"),
        (auth("PLAIN", "AHJvbWVv"), "malformed-request"),
        (auth("DIGEST-MD5", ""), "invalid-mechanism"),
        (auth("ANONYMOUS", ""), "invalid-mechanism"),
        (auth("HT-SHA-256-NONE", ""), "invalid-mechanism"),
        ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_owned(), "invalid-mechanism"),
        ("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_owned(), "aborted"),
        ("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_owned(), "malformed-request"),
    ];
    for (element, condition) in cases {
        let script = format!(
            "{CHOOSE}
             > {element}
             < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/>{{}}
             ! refused {condition}
             {PLAIN}{RESTART}"
        );
        play(&mut World::new(), &script);
    }
}

#[test]
fn an_exchange_can_be_ended_in_the_middle() {
    for (element, condition) in [
        ("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "aborted"),
        ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", "malformed-request"),
        ("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>?</response>", "incorrect-encoding"),
    ] {
        let script = format!(
            "{CHOOSE}
             > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'/>
             < <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
             > {element}
             < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/>{{}}
             ! refused {condition}
             {PLAIN}{RESTART}"
        );
        play(&mut World::new(), &script);
    }
}

#[test]
fn other_traffic_within_an_exchange_ends_the_stream() {
    for (element, condition) in [
        ("<presence/>", "not-authorized"),
        ("<r xmlns='urn:xmpp:sm:3'/>", "unsupported-stanza-type"),
        ("<response xmlns='urn:xmpp:sasl:2'/>", "unsupported-stanza-type"),
    ] {
        let script = format!(
            "{CHOOSE}
             > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'/>
             < <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
             > {element}
             ! close {condition}"
        );
        play(&mut World::new(), &script);
    }
}

#[test]
fn attempts_are_counted() {
    let attempt =
        "> <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHdyb25n</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>
         ! refused not-authorized
         ";
    let script = format!("{CHOOSE}{attempt}{attempt}{attempt}! close policy-violation");
    play(&mut World::new(), &script);
}

#[test]
fn the_owner_of_a_locked_account_is_told_so_and_nobody_else() {
    let mut world = World::new();
    world.lock("romeo@example.org");
    let script = format!(
        "{CHOOSE}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHdyb25n</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>
         ! refused not-authorized
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHBlbmNpbA==</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><account-disabled/>
         <text>the account is locked</text></failure>
         ! refused account-disabled"
    );
    play(&mut world, &script);
}

/// Rules are asked where the secret is proved, whatever the mechanism: nothing is stored, resumed or
/// bound for those whom they refuse, and guessers learn nothing of them.
#[test]
fn rules_refuse_who_has_proved_the_secret() {
    let text = "the rules of this server do not let this account sign in from here";
    let mut world = World::new();
    world.shut = true;
    let script = format!(
        "{CHOOSE}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHdyb25n</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>
         ! refused not-authorized
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHBlbmNpbA==</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><account-disabled/>
         <text>{text}</text></failure>
         ! refused account-disabled"
    );
    play(&mut world, &script);
    world.asked.clear();
    let script = format!(
        "{CHOOSE}
         > <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>
         <initial-response>AHJvbWVvAHBlbmNpbA==</initial-response>
         <resume xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='12'/>
         <bind xmlns='urn:xmpp:bind:0'/></authenticate>
         < <failure xmlns='urn:xmpp:sasl:2'><account-disabled xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
         <text>{text}</text></failure>
         ! refused account-disabled"
    );
    play(&mut world, &script);
    assert_eq!(world.asked, ["credentials", "plain"]);

    world.policy.mechanisms = vec![MechanismName::Anonymous];
    let script = format!(
        "{CHOOSE}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>
         < <failure {{}}
         ! refused account-disabled"
    );
    play(&mut world, &script);
}

/// The whole conversation with a guesser, with every hole closed: what is asked of the store and
/// the shape of every message are the same whether the account exists or not.
#[test]
fn unknown_accounts_look_like_wrong_passwords() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    for hash in Hash::ALL {
        let script = format!(
            "{CHOOSE}
             > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-{}'>{{first}}</auth>
             < <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{challenge}}</challenge>
             > <response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{{last}}</response>
             < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>
             ! refused not-authorized
             > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{{plain}}</auth>
             < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>
             ! refused not-authorized",
            hash.name()
        );
        let guess = |user: &str| {
            let mut world = World::new();
            let plain = STANDARD.encode(format!("\0{user}\0guess"));
            let play = Play::new(&mut world)
                .scram(hash, "n,,", b"", user, "guess")
                .hole("plain", plain)
                .run(&script);
            let challenge = STANDARD.decode(&play.holes()["challenge"]).unwrap();
            let challenge = String::from_utf8(challenge).unwrap();
            let shape: Vec<usize> = challenge.split(',').map(str::len).collect();
            let salt = challenge.split(',').nth(1).unwrap().to_owned();
            (shape, world.asked.clone(), salt)
        };
        let (real, ghost) = (guess("romeo"), guess("ghost"));
        assert_eq!((real.0, real.1), (ghost.0, ghost.1.clone()));
        assert_eq!(ghost.1, ["credentials", "credentials", "plain"]);
        assert_eq!(ghost.2, guess("ghost").2, "the salt of a ghost stays the same");
    }
}

#[test]
fn the_session_belongs_to_the_account_that_was_proved() {
    // The claim of the header binds from the start …
    let script = "> tls
         > open from='juliet@example.org'
         < <?xml {}<stream:features>{}
         > <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHBlbmNpbA==</auth>
         < <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-authzid/>{}
         ! refused invalid-authzid";
    play(&mut World::new(), script);
    // … and cannot be changed afterwards.
    let script = format!(
        "{CHOOSE}{PLAIN}! restart
         > open from='juliet@example.org'
         < {{}}
         ! close invalid-from"
    );
    play(&mut World::new(), &script);
}

#[test]
fn the_host_cannot_be_changed_after_authentication() {
    let world = World::new();
    let policy = Arc::new(world.policy.clone());
    let other = Arc::new(HostPolicy { domain: "example.net".into(), ..world.policy.clone() });
    let hosts = move |domain: &str| match domain {
        "example.org" => Some(Arc::clone(&policy)),
        "example.net" => Some(Arc::clone(&other)),
        _ => None,
    };
    let account = SignedIn {
        jid: BareJid::parse("romeo@example.org").unwrap(),
        account: Some(AccountId(1)),
        mechanism: MechanismName::Plain,
    };
    let mut negotiator = Negotiator::new(Arc::new(hosts), Arc::new(world.secret.clone()));
    negotiator.state = State::AwaitHeader(header::AwaitHeader::SignedIn(account));
    let header = "<stream:stream xmlns='jabber:client' to='example.net' version='1.0' \
                  xmlns:stream='http://etherx.jabber.org/streams'>";
    let mut framer = crate::xml::framer::Framer::new(crate::xml::framer::Limits::UNAUTHENTICATED);
    let frame = framer.next(header.as_bytes()).unwrap().unwrap();
    let crate::xml::framer::Frame::Header { header, .. } = frame else { panic!() };
    let mut out = Vec::new();
    negotiator.handle(Input::Header(header), world.now, &mut out);
    let condition = StreamCondition::HostUnknown;
    assert!(matches!(out.last(), Some(Output::Close(error)) if error.condition == condition));
}

#[test]
fn plain_fills_in_keys_that_are_missing() {
    let mut world = World::new();
    world.register("romeo@example.org", &[Hash::Sha1]);
    play(&mut world, &format!("{CHOOSE}{PLAIN}{RESTART}"));
    assert_eq!(world.asked, ["credentials", "plain", "save keys"]);
    assert!(world.accounts["romeo@example.org"].1.has(Hash::Sha512));
    // Only what the host has a mechanism for.
    let mut world = World::plain();
    world.register("romeo@example.org", &[Hash::Sha1]);
    play(&mut world, &format!("{CHOOSE}{PLAIN}{RESTART}"));
    assert_eq!(world.asked, ["credentials", "plain"]);
}

#[test]
fn a_wanted_resource_is_asked_for() {
    let mut world = World::new();
    let script = after_login(
        "> <iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
         <resource>balcony</resource></bind></iq>
         < <iq type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
         <jid>romeo@example.org/balcony</jid></bind></iq>
         ! bound romeo@example.org/balcony",
    );
    play(&mut world, &script);
    assert_eq!(world.bind.unwrap().resource, ResourceBy::Client);
    // The shell may decide otherwise.
    let jid = Some(Jid::parse("romeo@example.org/other").unwrap());
    let mut world = World::new();
    world.instead.push(Answer::Bound(Box::new(Bound { jid, ..Bound::default() })));
    play(&mut world, &script.replace("org/balcony", "org/other"));
}

#[test]
fn refused_resources_can_be_tried_again() {
    let refusals = [
        (Answer::NotBound(BindRefusal::Conflict), "cancel", "conflict"),
        (Answer::NotBound(BindRefusal::TooManySessions), "wait", "resource-constraint"),
        (Answer::NotBound(BindRefusal::NotAllowed), "cancel", "not-allowed"),
        (Answer::Unavailable, "wait", "internal-server-error"),
    ];
    for (answer, kind, condition) in refusals {
        let mut world = World::new();
        world.instead.push(answer);
        let script = after_login(&format!(
            "> <iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
             <resource>balcony</resource></bind></iq>
             < <iq type='error' id='b1'><error type='{kind}'>
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
             > <iq type='set' id='b2'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
             < <iq type='result' id='b2'>{{}}<jid>{{jid}}</jid></bind></iq>
             ! bound {{jid}}"
        ));
        play(&mut world, &script);
    }
}

#[test]
fn impossible_resources_are_bad_requests() {
    let long = "x".repeat(1_024);
    for resource in ["a\u{1d5}b\u{200e}c\u{fff9}", &long] {
        let script = after_login(&format!(
            "> <iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
             <resource>{resource}</resource></bind></iq>
             < <iq type='error' id='b1'><error type='modify'>
             <bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        ));
        play(&mut World::new(), &script);
    }
}

#[test]
fn stanzas_wait_for_a_resource() {
    for (element, condition) in [
        ("<presence/>", "not-authorized"),
        ("<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>", "not-authorized"),
        (
            "<iq type='get' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
            "not-authorized",
        ),
        (
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
            "unsupported-stanza-type",
        ),
        ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "unsupported-stanza-type"),
    ] {
        play(&mut World::new(), &after_login(&format!("> {element}\n! close {condition}")));
    }
}
