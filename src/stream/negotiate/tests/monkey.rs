//! Clients that say anything at any time.

use proptest::prelude::*;

use super::play::Play;
use super::*;

/// What a client might say, in and out of place. `>` lines of a play.
const WORDS: [&str; 24] = [
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHdyb25n</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1yb21lbyxyPWE=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1naG9zdCxyPWE=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>Yz1iaXdzLHI9YWIscD1BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE9</response>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<authenticate xmlns='urn:xmpp:sasl:2'/>",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>AHJvbWVvAHdyb25n</initial-response></authenticate>",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-512'><bind xmlns='urn:xmpp:bind:0'/></authenticate>",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><initial-response>cm9tZW8AQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=</initial-response><user-agent id='x'/><fast xmlns='urn:xmpp:fast:0'/></authenticate>",
    "<response xmlns='urn:xmpp:sasl:2'>biwsbj1yb21lbyxyPWE=</response>",
    "<response xmlns='urn:xmpp:sasl:2'>%</response>",
    "<abort xmlns='urn:xmpp:sasl:2'/>",
    "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-256'/>",
    "<task-data xmlns='urn:xmpp:sasl:2'/>",
    "<enable xmlns='urn:xmpp:sm:3'/>",
    "<resume xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='0'/>",
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    "<presence/>",
    "<message/>",
    "<x xmlns='jabber:x:nonsense'/>",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is said: nothing panics, nobody gets in without a secret, and the last word is
    /// the last word.
    #[test]
    fn nobody_talks_a_way_in(
        encrypted: bool,
        attempts in 1..6u32,
        words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..16),
    ) {
        let mut world = World::new();
        world.policy.tls_required = !encrypted;
        world.policy.attempts_max = attempts;
        let jid = Jid::parse("romeo@example.org/orchard").unwrap();
        world.sessions.insert("some-long-sm-id", (jid, 0));
        let heard = Play::new(&mut world).say(encrypted, &words);
        let closed = heard.iter().position(|line| line.starts_with("! close"));
        prop_assert!(closed.is_none_or(|at| at + 1 == heard.len()), "{heard:?}");
        let refused = heard.iter().filter(|line| line.starts_with("! refused")).count();
        prop_assert!(refused as u32 <= attempts);
        prop_assert!(!heard.iter().any(|line| line.contains("<success")), "{heard:?}");
        prop_assert!(world.established.is_none());
    }
}
