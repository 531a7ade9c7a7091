//! A user's devices and their FAST tokens (XEP-0484), as the store keeps them for XEP-0494.
//!
//! ## What is stored of a token
//! An HT mechanism sends `HMAC(token, …)`: whoever verifies must know the token itself, so a
//! stored hash of it would be as good as the token. Hence nothing of it is stored. A token is
//! derived from the [`ServerSecret`], the account, the device and a random [`Token::nonce`]; only
//! the nonce goes to the database. A stolen database or backup signs nobody in.
//!
//! Tokens end by deleting their row: on a password change, a lock, a kick, a revocation.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use zeroize::Zeroizing;

use super::hash::Hash;
use super::mechanism::Binding;
use super::secret::{Secret, ServerSecret, fill_random};
use crate::jid::BareJid;
use crate::time::Now;

/// Longest `<software/>` and `<device/>` text that we keep, in bytes.
pub const AGENT_TEXT_BYTES_MAX: usize = 128;

/// A client installation: a hash of the `id` of its `<user-agent/>` (XEP-0388 §2.3).
///
/// The id itself must stay between client and server, and nothing needs it; so it is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(pub [u8; 16]);

impl AgentId {
    /// XEP-0388 asks for a UUID v4; any text that is not empty serves.
    pub fn of(id: &str) -> Option<AgentId> {
        let hash = Hash::Sha256.digest(id.as_bytes());
        (!id.is_empty()).then(|| AgentId(first_16(&hash)))
    }
}

impl AgentId {
    /// The unique part of the resource that this device binds on an account: the same each time,
    /// another one on another account or with another `tag`, and it does not tell the agent.
    pub fn resource(self, secret: &ServerSecret, account: &BareJid, tag: &str) -> String {
        let parts: [&[u8]; 3] = [account.as_str().as_bytes(), &self.0, tag.as_bytes()];
        base32(&secret.derive("resource", &parts).expose()[..10])
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32(&self.0))
    }
}

/// What a client says of itself in `<user-agent/>`. Shown to its own user only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgent {
    pub id: Option<AgentId>,
    pub software: Option<Box<str>>,
    pub device: Option<Box<str>>,
}

/// An HT mechanism's binding to the channel, with the token's fixed mechanism name.
/// draft-schmaus-kitten-sasl-ht-09, the version that clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HtMechanism {
    None,
    EndPoint,
    Exporter,
}

impl HtMechanism {
    /// Weakest first.
    pub const ALL: [HtMechanism; 3] =
        [HtMechanism::None, HtMechanism::EndPoint, HtMechanism::Exporter];

    pub fn name(self) -> &'static str {
        match self {
            HtMechanism::None => "HT-SHA-256-NONE",
            HtMechanism::EndPoint => "HT-SHA-256-ENDP",
            HtMechanism::Exporter => "HT-SHA-256-EXPR",
        }
    }

    pub fn from_name(name: &str) -> Option<HtMechanism> {
        HtMechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    pub fn binding(self) -> Option<Binding> {
        match self {
            HtMechanism::None => None,
            HtMechanism::EndPoint => Some(Binding::TlsServerEndPoint),
            HtMechanism::Exporter => Some(Binding::TlsExporter),
        }
    }
}

/// What is kept of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub nonce: [u8; 16],
    /// The only mechanism that may use it (XEP-0484 §3.4).
    pub mechanism: HtMechanism,
    pub issued: Now,
    pub expires: Now,
    /// Highest `count` a client has sent with it; 0 before the first.
    pub count: u32,
}

impl Token {
    pub fn generate(mechanism: HtMechanism, now: Now, lifetime: Duration) -> Token {
        let mut nonce = [0; 16];
        fill_random(&mut nonce);
        Token { nonce, mechanism, issued: now, expires: now.plus(lifetime), count: 0 }
    }

    /// The text that the client gets and later uses as HMAC key. With the prefix of RFC 8959, so
    /// that scanners for leaked secrets know one when they see it.
    pub fn text(&self, secret: &ServerSecret, account: &BareJid, agent: AgentId) -> Secret {
        let parts: [&[u8]; 4] =
            [account.as_str().as_bytes(), &agent.0, self.mechanism.name().as_bytes(), &self.nonce];
        let key = secret.derive("fast token", &parts);
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str("secret-token:");
        URL_SAFE_NO_PAD.encode_string(key.expose(), &mut text);
        Secret::new(text.as_bytes())
    }
}

/// The two slots of XEP-0484 §5.1. A new token does not end the one in use before the client has
/// shown that it received it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    pub new: Option<Token>,
    pub current: Option<Token>,
}

/// A login by token, to be applied and stored in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// Names the token that was verified.
    pub nonce: [u8; 16],
    /// The client's `count`, if it sent one.
    pub count: Option<u32>,
    /// The client signs out: its tokens end with this login.
    pub invalidate: bool,
    /// A token that the client will be given with this login: rotation, or on request.
    pub issue: Option<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenRefusal {
    #[error("the token has been revoked or replaced meanwhile")]
    Gone,
    #[error("a login with this or a higher count has been seen before")]
    Replayed,
}

impl Tokens {
    /// Every token a client might hold, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.new.iter().chain(&self.current)
    }

    pub fn is_empty(&self) -> bool {
        self.new.is_none() && self.current.is_none()
    }

    /// Puts a fresh token where it waits for its first use; an unused one before it ends.
    pub fn issue(&mut self, token: Token) {
        self.new = Some(token);
    }

    /// Counts a login. Must run against the stored row in the transaction that writes it back:
    /// two logins with the same `count` must not both pass.
    pub fn apply(&mut self, used: TokenUse) -> Result<(), TokenRefusal> {
        let matches = |slot: &Option<Token>| slot.as_ref().is_some_and(|t| t.nonce == used.nonce);
        let is_new = matches(&self.new);
        let slot = if is_new { &mut self.new } else { &mut self.current };
        let Some(token) = slot.as_mut().filter(|token| token.nonce == used.nonce) else {
            return Err(TokenRefusal::Gone);
        };
        if let Some(count) = used.count {
            if count <= token.count {
                return Err(TokenRefusal::Replayed);
            }
            token.count = count;
        }
        if is_new {
            self.current = self.new.take();
        }
        if used.invalidate {
            *self = Tokens::default();
        }
        if let Some(token) = used.issue {
            self.issue(token);
        }
        Ok(())
    }
}

/// Lower-case base32hex (RFC 4648 §7) without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut bits, mut value) = (0, 0u32);
    for &byte in bytes {
        value = value << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(DIGITS[(value >> bits & 31) as usize]));
        }
        value &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(DIGITS[(value << (5 - bits) & 31) as usize]));
    }
    text
}

fn first_16(hash: &Secret) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.expose()[..16]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn token(day: i64) -> Token {
        Token::generate(HtMechanism::Exporter, Now::from_secs(day * 86_400), 21 * DAY)
    }

    fn uses(token: &Token) -> TokenUse {
        TokenUse { nonce: token.nonce, count: None, invalidate: false, issue: None }
    }

    #[test]
    fn a_new_token_moves_up_when_used_and_ends_the_old() {
        let (old, new) = (token(0), token(10));
        let mut tokens = Tokens { new: Some(new.clone()), current: Some(old.clone()) };
        tokens.apply(uses(&new)).unwrap();
        assert_eq!(tokens, Tokens { new: None, current: Some(new) });
        assert_eq!(tokens.apply(uses(&old)), Err(TokenRefusal::Gone));
    }

    #[test]
    fn the_current_token_works_until_its_successor_is_used() {
        let (old, lost, next) = (token(0), token(10), token(11));
        let mut tokens = Tokens { new: None, current: Some(old.clone()) };
        tokens.apply(TokenUse { issue: Some(lost.clone()), ..uses(&old) }).unwrap();
        assert_eq!(tokens.new, Some(lost.clone()));
        // The client never saw `lost`; what it gets next replaces it.
        tokens.apply(TokenUse { issue: Some(next.clone()), ..uses(&old) }).unwrap();
        assert_eq!(tokens, Tokens { new: Some(next), current: Some(old) });
        assert_eq!(tokens.apply(uses(&lost)), Err(TokenRefusal::Gone));
    }

    #[test]
    fn counts_must_rise() {
        let token = token(0);
        let mut tokens = Tokens { new: Some(token.clone()), current: None };
        let with = |n| TokenUse { count: Some(n), ..uses(&token) };
        tokens.apply(with(3)).unwrap();
        assert_eq!(tokens.apply(with(3)), Err(TokenRefusal::Replayed));
        assert_eq!(tokens.apply(with(2)), Err(TokenRefusal::Replayed));
        tokens.apply(with(4)).unwrap();
        // Without early data the client need not count (XEP-0484 §3.4).
        tokens.apply(uses(&token)).unwrap();
    }

    #[test]
    fn a_replay_changes_nothing() {
        let (old, new) = (token(0), Token { count: 7, ..token(10) });
        let mut tokens = Tokens { new: Some(new.clone()), current: Some(old) };
        let before = tokens.clone();
        let again = TokenUse { count: Some(7), invalidate: true, ..uses(&new) };
        assert_eq!(tokens.apply(again), Err(TokenRefusal::Replayed));
        assert_eq!(tokens, before);
    }

    #[test]
    fn signing_out_ends_every_token_of_the_device() {
        let (old, new) = (token(0), token(10));
        let mut tokens = Tokens { new: Some(new), current: Some(old.clone()) };
        tokens.apply(TokenUse { invalidate: true, ..uses(&old) }).unwrap();
        assert!(tokens.is_empty());
    }

    #[test]
    fn token_texts_depend_on_all_that_they_are_bound_to() {
        let secret = ServerSecret::from_bytes(&[3; 32]);
        let account = BareJid::parse("romeo@example.org").unwrap();
        let agent = AgentId::of("d4565fa7-4d72-4749-b3d3-740edbf87770").unwrap();
        let token = token(0);
        let text = token.text(&secret, &account, agent);
        assert!(text.expose().starts_with(b"secret-token:"));
        assert_eq!(text.expose().len(), "secret-token:".len() + 43);
        assert_eq!(text, token.text(&secret, &account, agent));

        let juliet = BareJid::parse("juliet@example.org").unwrap();
        let other = AgentId::of("other").unwrap();
        let none = Token { mechanism: HtMechanism::None, ..token.clone() };
        assert_ne!(text, token.text(&secret, &juliet, agent));
        assert_ne!(text, token.text(&secret, &account, other));
        assert_ne!(text, none.text(&secret, &account, agent));
        assert_ne!(text, token.text(&ServerSecret::from_bytes(&[4; 32]), &account, agent));
    }

    #[test]
    fn agents_are_known_by_a_hash() {
        let agent = AgentId::of("d4565fa7-4d72-4749-b3d3-740edbf87770").unwrap();
        assert_eq!(agent.to_string().len(), 26);
        assert_ne!(Some(agent), AgentId::of("D4565FA7"));
        assert_eq!(AgentId::of(""), None);
    }

    #[test]
    fn base32_as_in_rfc_4648() {
        assert_eq!(base32(b"foobar"), "cpnmuoj1e8");
        assert_eq!(base32(b""), "");
    }
}
