//! What every SASL mechanism has in common: names, order by strength, facts, steps and failures.

use std::fmt;

use thiserror::Error;

use super::credentials::{Credentials, ScramKeys};
use super::devices::{AgentId, HtMechanism, Token, Tokens};
use super::hash::Hash;
use super::plain::{PlainJob, PlainVerdict};
use super::secret::ServerSecret;
use crate::jid::{BareJid, Jid};
use crate::time::Now;

/// A channel-binding type that this server implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Binding {
    /// RFC 5929 §4: a hash of the server's certificate. Survives a TLS proxy that shares the key.
    TlsServerEndPoint,
    /// RFC 9266: keying material of this very connection.
    TlsExporter,
}

impl Binding {
    pub fn name(self) -> &'static str {
        match self {
            Binding::TlsServerEndPoint => "tls-server-end-point",
            Binding::TlsExporter => "tls-exporter",
        }
    }

    pub fn from_name(name: &str) -> Option<Binding> {
        [Binding::TlsServerEndPoint, Binding::TlsExporter].into_iter().find(|b| b.name() == name)
    }
}

/// What SASL needs to know of the TLS connection below it.
#[derive(Clone, Default)]
pub struct Channel {
    /// RFC 9266: 32 bytes exported under `EXPORTER-Channel-Binding`. On TLS 1.2 only where
    /// the extended master secret was negotiated.
    pub exporter: Option<[u8; 32]>,
    /// RFC 5929 §4: hash of the certificate that was presented.
    pub server_end_point: Option<Box<[u8]>>,
    /// Protocol version as on the wire: 0x0304 for TLS 1.3.
    pub version: Option<u16>,
}

impl Channel {
    pub fn binding(&self, binding: Binding) -> Option<&[u8]> {
        match binding {
            Binding::TlsServerEndPoint => self.server_end_point.as_deref(),
            Binding::TlsExporter => self.exporter.as_ref().map(|bytes| &bytes[..]),
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.unwrap_or_default();
        write!(f, "Channel {{ version: {version:#06x}, .. }}")
    }
}

/// A mechanism's name, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MechanismName {
    Anonymous,
    Plain,
    Scram(Hash, Plus),
    /// Offered within `<fast/>` only.
    HashedToken(HtMechanism),
}

/// Whether a SCRAM mechanism binds to the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plus {
    No,
    Yes,
}

impl MechanismName {
    /// Everything a host may offer outside `<fast/>`, strongest first. A channel binding counts
    /// for more than a longer hash: it stops an attacker that sits in the middle today.
    pub const ALL: [MechanismName; 8] = [
        MechanismName::Scram(Hash::Sha512, Plus::Yes),
        MechanismName::Scram(Hash::Sha256, Plus::Yes),
        MechanismName::Scram(Hash::Sha1, Plus::Yes),
        MechanismName::Scram(Hash::Sha512, Plus::No),
        MechanismName::Scram(Hash::Sha256, Plus::No),
        MechanismName::Scram(Hash::Sha1, Plus::No),
        MechanismName::Plain,
        MechanismName::Anonymous,
    ];

    /// The registered name (IANA "SASL Mechanisms").
    pub fn as_str(self) -> &'static str {
        match self {
            MechanismName::Anonymous => "ANONYMOUS",
            MechanismName::Plain => "PLAIN",
            MechanismName::Scram(Hash::Sha1, Plus::No) => "SCRAM-SHA-1",
            MechanismName::Scram(Hash::Sha1, Plus::Yes) => "SCRAM-SHA-1-PLUS",
            MechanismName::Scram(Hash::Sha256, Plus::No) => "SCRAM-SHA-256",
            MechanismName::Scram(Hash::Sha256, Plus::Yes) => "SCRAM-SHA-256-PLUS",
            MechanismName::Scram(Hash::Sha512, Plus::No) => "SCRAM-SHA-512",
            MechanismName::Scram(Hash::Sha512, Plus::Yes) => "SCRAM-SHA-512-PLUS",
            MechanismName::HashedToken(mechanism) => mechanism.name(),
        }
    }

    pub fn from_name(name: &str) -> Option<MechanismName> {
        let token = || HtMechanism::from_name(name).map(MechanismName::HashedToken);
        MechanismName::ALL.into_iter().find(|m| m.as_str() == name).or_else(token)
    }
}

impl fmt::Display for MechanismName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a stream advertised: a mechanism not listed here fails, and SCRAM proves the list itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Strongest first.
    pub mechanisms: Vec<MechanismName>,
    /// XEP-0484 `<fast/>`; empty where FAST is off or the stream is not encrypted.
    pub tokens: Vec<HtMechanism>,
    /// XEP-0440; empty when that element was not sent.
    pub bindings: Vec<Binding>,
}

impl Offer {
    /// Reduces what the host allows to what is safe on this connection.
    ///
    /// Without TLS there is nothing to bind to, and neither passwords nor tokens may be sent.
    /// -PLUS needs a binding; nobody is asked to bind to what we cannot check.
    pub fn new(allowed: &[MechanismName], fast: bool, channel: Option<&Channel>) -> Offer {
        let mut bindings = Vec::new();
        if let Some(channel) = channel {
            let all = [Binding::TlsServerEndPoint, Binding::TlsExporter];
            bindings.extend(all.into_iter().filter(|b| channel.binding(*b).is_some()));
        }
        let safe = |mechanism: &MechanismName| match mechanism {
            MechanismName::Anonymous | MechanismName::Scram(_, Plus::No) => true,
            MechanismName::Plain => channel.is_some(),
            MechanismName::Scram(_, Plus::Yes) => !bindings.is_empty(),
            MechanismName::HashedToken(_) => false,
        };
        let offered = |mechanism: &MechanismName| allowed.contains(mechanism) && safe(mechanism);
        let mechanisms: Vec<_> = MechanismName::ALL.into_iter().filter(offered).collect();
        if !mechanisms.iter().any(|m| matches!(m, MechanismName::Scram(_, Plus::Yes))) {
            // XEP-0440 §4: a client must give up on bindings without a mechanism that uses them.
            bindings.clear();
        }
        let mut tokens = Vec::new();
        if let Some(channel) = channel.filter(|_| fast) {
            let usable = |m: &HtMechanism| m.binding().is_none_or(|b| channel.binding(b).is_some());
            tokens.extend(HtMechanism::ALL.into_iter().rev().filter(usable));
        }
        Offer { mechanisms, tokens, bindings }
    }

    pub fn has_plus(&self) -> bool {
        self.mechanisms.iter().any(|m| matches!(m, MechanismName::Scram(_, Plus::Yes)))
    }

    /// The string that SCRAM's attribute `h` hashes (XEP-0474 §5.1).
    pub(super) fn downgrade_protected(&self) -> String {
        let mut mechanisms: Vec<_> = self.mechanisms.iter().map(|m| m.as_str()).collect();
        mechanisms.sort_unstable();
        let mut text = mechanisms.join("\x1e");
        if !self.bindings.is_empty() {
            let mut bindings: Vec<_> = self.bindings.iter().map(|b| b.name()).collect();
            bindings.sort_unstable();
            text.push('\x1f');
            text.push_str(&bindings.join("\x1e"));
        }
        text
    }
}

/// All that a mechanism may know of the world.
pub struct Facts<'a> {
    /// The host the stream is addressed to: the domain of every account here.
    pub domain: &'a str,
    /// The account that the stream header's `from` claims.
    pub from: Option<&'a BareJid>,
    /// `None` on a stream that is not encrypted.
    pub channel: Option<&'a Channel>,
    pub offer: &'a Offer,
    pub secret: &'a ServerSecret,
    /// PBKDF2 rounds in use on this host, for names that have no keys.
    pub iterations: &'a [u32],
    pub now: Now,
}

impl Facts<'_> {
    /// The account that an authentication identity names: a localpart, or a bare JID of this host.
    pub(super) fn account(&self, authcid: &str) -> Result<BareJid, Failure> {
        let account = match authcid.split_once('@') {
            Some(_) => BareJid::parse(authcid).ok().filter(|jid| jid.domain() == self.domain),
            None => Jid::from_parts(Some(authcid), self.domain, None).ok().map(|jid| jid.bare()),
        };
        let account = account.filter(|jid| jid.local().is_some()).ok_or(Failure::NotAuthorized)?;
        match self.from {
            Some(from) if *from != account => Err(Failure::InvalidAuthzid),
            _ => Ok(account),
        }
    }

    /// Nobody acts for others: the authorization identity is empty or the account itself.
    pub(super) fn authorize(&self, authzid: &str, account: &BareJid) -> Result<(), Failure> {
        if authzid.is_empty() || BareJid::parse(authzid).is_ok_and(|jid| jid == *account) {
            Ok(())
        } else {
            Err(Failure::InvalidAuthzid)
        }
    }
}

/// One SASL exchange. Knows no XML, no store and no clock.
pub trait Mechanism: Send {
    /// Takes a message of the client, decoded.
    fn step(&mut self, input: &[u8], facts: &Facts<'_>) -> Step;

    /// Takes what [`Step::Need`] asked for. Anything else fails the exchange.
    fn found(&mut self, found: Found, facts: &Facts<'_>) -> Step;
}

/// What a mechanism wants next.
#[derive(Debug)]
pub enum Step {
    Challenge(Vec<u8>),
    /// Look this up, then call [`Mechanism::found`].
    Need(Need),
    Done(Proof),
    Fail(Failure),
}

impl From<Failure> for Step {
    fn from(failure: Failure) -> Step {
        Step::Fail(failure)
    }
}

/// A question that the mechanism cannot answer itself.
#[derive(Debug)]
pub enum Need {
    /// The stored keys of an account that may not exist.
    Credentials(BareJid),
    /// CPU-heavy: run it off the threads that serve sockets.
    VerifyPlain(Box<PlainJob>),
    /// The tokens of a device that may not exist.
    Tokens { account: BareJid, agent: AgentId },
}

/// An answer to [`Need`]. "No such account" is `None`, and treated as a wrong secret.
#[derive(Debug)]
pub enum Found {
    Credentials(Option<Credentials>),
    Plain(PlainVerdict),
    Tokens(Option<Tokens>),
}

/// A successful exchange.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof {
    pub account: BareJid,
    /// Additional data for `<success/>`: SCRAM's `v=`, HT's responder message.
    pub data: Option<Vec<u8>>,
    pub by: ProvedBy,
}

/// How the account was proved; what follows from it differs.
#[derive(Debug, PartialEq, Eq)]
pub enum ProvedBy {
    /// Hash functions for which the account lacks keys: candidates for XEP-0480.
    Scram { missing: Vec<Hash> },
    /// Keys that the password gave for hash functions that had none: to be stored.
    Plain { derived: Vec<ScramKeys> },
    /// This token was used.
    Token(Token),
    /// A guest with a name of ours.
    Nobody,
}

/// Why an exchange failed: the conditions of RFC 6120 §6.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Failure {
    #[error("the client gave up")]
    Aborted,
    #[error("the account is locked")]
    AccountDisabled,
    #[error("the token or password is past its time")]
    CredentialsExpired,
    #[error("the mechanism needs an encrypted stream")]
    EncryptionRequired,
    #[error("the data is not base64")]
    IncorrectEncoding,
    #[error("the client wants to act as an account that it did not prove")]
    InvalidAuthzid,
    #[error("the mechanism is not offered")]
    InvalidMechanism,
    #[error("the message breaks the rules of its mechanism")]
    MalformedRequest,
    #[error("the account does not exist, the secret is wrong, or the channel was tampered with")]
    NotAuthorized,
    /// The secret was right. RFC 6120 has no word for it; of those it has, this one makes no client
    /// forget its password or token.
    #[error("the rules of this server do not let this account sign in from here")]
    NotAdmitted,
    #[error("the server could not look the account up")]
    TemporaryAuthFailure,
}

impl Failure {
    /// The element's name in `urn:ietf:params:xml:ns:xmpp-sasl`.
    pub fn condition(self) -> &'static str {
        match self {
            Failure::Aborted => "aborted",
            Failure::AccountDisabled | Failure::NotAdmitted => "account-disabled",
            Failure::CredentialsExpired => "credentials-expired",
            Failure::EncryptionRequired => "encryption-required",
            Failure::IncorrectEncoding => "incorrect-encoding",
            Failure::InvalidAuthzid => "invalid-authzid",
            Failure::InvalidMechanism => "invalid-mechanism",
            Failure::MalformedRequest => "malformed-request",
            Failure::NotAuthorized => "not-authorized",
            Failure::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fast::Fast;
    use crate::auth::plain::Plain;
    use crate::auth::scram::Scram;

    fn channel(exporter: bool) -> Channel {
        Channel {
            exporter: exporter.then_some([1; 32]),
            server_end_point: Some([2; 32].into()),
            version: Some(0x0304),
        }
    }

    fn names(offer: &Offer) -> Vec<&'static str> {
        offer.mechanisms.iter().map(|m| m.as_str()).collect()
    }

    #[test]
    fn names_parse_back() {
        for name in MechanismName::ALL {
            assert_eq!(MechanismName::from_name(name.as_str()), Some(name));
        }
        let token = MechanismName::HashedToken(HtMechanism::None);
        assert_eq!(MechanismName::from_name("HT-SHA-256-NONE"), Some(token));
        assert_eq!(MechanismName::from_name("scram-sha-1"), None);
    }

    #[test]
    fn a_plain_stream_offers_nothing_that_needs_secrecy_or_binding() {
        let offer = Offer::new(&MechanismName::ALL, true, None);
        assert_eq!(names(&offer), ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "ANONYMOUS"]);
        assert!(offer.bindings.is_empty() && offer.tokens.is_empty());
    }

    #[test]
    fn an_encrypted_stream_offers_all_that_is_allowed_strongest_first() {
        let allowed = [
            MechanismName::Plain,
            MechanismName::Scram(Hash::Sha1, Plus::No),
            MechanismName::Scram(Hash::Sha1, Plus::Yes),
        ];
        let offer = Offer::new(&allowed, true, Some(&channel(true)));
        assert_eq!(names(&offer), ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"]);
        assert_eq!(offer.bindings, [Binding::TlsServerEndPoint, Binding::TlsExporter]);
        let tokens: Vec<_> = offer.tokens.iter().map(|m| m.name()).collect();
        assert_eq!(tokens, ["HT-SHA-256-EXPR", "HT-SHA-256-ENDP", "HT-SHA-256-NONE"]);
    }

    #[test]
    fn bindings_are_offered_only_where_they_can_be_checked_and_used() {
        let offer = Offer::new(&MechanismName::ALL, true, Some(&channel(false)));
        assert_eq!(offer.bindings, [Binding::TlsServerEndPoint]);
        assert!(!offer.tokens.contains(&HtMechanism::Exporter));

        let none = Offer::new(&MechanismName::ALL, true, Some(&Channel::default()));
        assert!(none.bindings.is_empty() && !none.has_plus());

        let plain = Offer::new(&[MechanismName::Plain], false, Some(&channel(true)));
        assert!(plain.bindings.is_empty() && plain.tokens.is_empty());
    }

    /// The example of XEP-0474 §5.3.
    #[test]
    fn the_protected_string_is_sorted_by_octets() {
        let offer = Offer {
            mechanisms: vec![
                MechanismName::Scram(Hash::Sha1, Plus::Yes),
                MechanismName::Scram(Hash::Sha1, Plus::No),
            ],
            tokens: vec![HtMechanism::None],
            bindings: vec![Binding::TlsServerEndPoint, Binding::TlsExporter],
        };
        let text = "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1ftls-exporter\x1etls-server-end-point";
        assert_eq!(offer.downgrade_protected(), text);
        let unbound = Offer { bindings: Vec::new(), ..offer };
        assert_eq!(unbound.downgrade_protected(), "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS");
    }

    #[test]
    fn identities_are_localparts_or_bare_jids_of_this_host() {
        let (offer, secret) = (Offer::default(), ServerSecret::from_bytes(&[1; 32]));
        let from = BareJid::parse("romeo@example.org").unwrap();
        let facts = Facts {
            domain: "example.org",
            from: None,
            channel: None,
            offer: &offer,
            secret: &secret,
            iterations: &[],
            now: Now(0),
        };
        assert_eq!(facts.account("Romeo").unwrap(), from);
        assert_eq!(facts.account("romeo@example.org").unwrap(), from);
        assert_eq!(facts.account("romeo@example.net"), Err(Failure::NotAuthorized));
        assert_eq!(facts.account(""), Err(Failure::NotAuthorized));
        assert_eq!(facts.account("a b"), Err(Failure::NotAuthorized));

        assert_eq!(facts.authorize("", &from), Ok(()));
        assert_eq!(facts.authorize("ROMEO@example.org", &from), Ok(()));
        for other in ["juliet@example.org", "romeo@example.org/orchard", "romeo", "@"] {
            assert_eq!(facts.authorize(other, &from), Err(Failure::InvalidAuthzid));
        }

        let facts = Facts { from: Some(&from), ..facts };
        assert_eq!(facts.account("juliet"), Err(Failure::InvalidAuthzid));
    }

    proptest::proptest! {
        /// Whatever a client sends: no mechanism panics, and none succeeds.
        #[test]
        fn nonsense_proves_nothing(
            header in "(n|y|p=tls-exporter|p=),(a=[^,]{0,8})?,",
            bare in "(n=[a-z=,]{0,8},)?r=[!-~]{0,8}",
            messages in proptest::collection::vec(proptest::prelude::any::<Vec<u8>>(), 0..3),
        ) {
            let channel = channel(true);
            let offer = Offer::new(&MechanismName::ALL, true, Some(&channel));
            let facts = Facts {
                domain: "example.org",
                from: None,
                channel: Some(&channel),
                offer: &offer,
                secret: &ServerSecret::from_bytes(&[1; 32]),
                iterations: &[],
                now: Now(0),
            };
            let agent = AgentId([0; 16]);
            let mechanisms: [Box<dyn Mechanism>; 4] = [
                Box::new(Scram::new(Hash::Sha1, Plus::No)),
                Box::new(Scram::new(Hash::Sha256, Plus::Yes)),
                Box::new(Plain::default()),
                Box::new(Fast::new(HtMechanism::None, agent)),
            ];
            let first = format!("{header}{bare}").into_bytes();
            for mut mechanism in mechanisms {
                for message in std::iter::once(&first).chain(&messages) {
                    let mut step = mechanism.step(message, &facts);
                    while let Step::Need(need) = step {
                        let found = match need {
                            Need::Credentials(_) => Found::Credentials(None),
                            Need::Tokens { .. } => Found::Tokens(None),
                            Need::VerifyPlain(job) => Found::Plain(job.run()),
                        };
                        step = mechanism.found(found, &facts);
                    }
                    proptest::prop_assert!(!matches!(step, Step::Done(_)));
                }
            }
        }
    }
}
