//! Values that must not leak: no `Debug` text, wiped when dropped, compared in constant time.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::hash::Hash;

/// Bytes that no log, error message or panic can print.
///
/// Equality takes the same time wherever the first difference lies; only the length is public.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Secret {
        Secret(bytes.into())
    }

    /// The bytes themselves. The name is meant to be found by a search.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a server knows and nobody else: 32 random bytes, made once per installation.
///
/// It lives in a file of its own, not in the database, so that a copy of the database alone opens
/// no account: FAST tokens are derived from it and never stored (see [`super::devices`]). It also
/// gives unknown users their stable fake salts, and devices their opaque names. Replacing it signs
/// out every device that relies on a token and changes nothing else that a user would notice.
#[derive(Clone)]
pub struct ServerSecret(Secret);

impl ServerSecret {
    pub const LEN: usize = 32;

    /// Makes a new secret from the operating system's randomness.
    pub fn generate() -> ServerSecret {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        fill_random(&mut bytes[..]);
        ServerSecret::from_bytes(&bytes)
    }

    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> ServerSecret {
        ServerSecret(Secret::new(&bytes[..]))
    }

    /// For writing the file that keeps it.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// A value that depends on `purpose` and every part, and tells nothing about the secret.
    ///
    /// Parts are length-prefixed: no two lists of parts give the same input.
    pub(super) fn derive(&self, purpose: &str, parts: &[&[u8]]) -> Secret {
        let mut message = Zeroizing::new(Vec::with_capacity(128));
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
        Hash::Sha256.hmac(self.0.expose(), &[&message])
    }
}

impl fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerSecret")
    }
}

/// Fills `bytes` from the operating system.
///
/// A system that cannot give random bytes cannot run a server: there is nothing to fall back on.
pub fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_a_secret() {
        let secret = Secret::new(*b"hunter2");
        let server = ServerSecret::from_bytes(&[7; 32]);
        assert_eq!(format!("{secret:?} {server:?}"), "Secret ServerSecret");
    }

    #[test]
    fn equality_is_by_content() {
        assert_eq!(Secret::new(*b"a"), Secret::new(*b"a"));
        assert_ne!(Secret::new(*b"a"), Secret::new(*b"b"));
        assert_ne!(Secret::new(*b"a"), Secret::new(*b"aa"));
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let server = ServerSecret::from_bytes(&[7; 32]);
        assert_ne!(server.derive("p", &[b"ab", b"c"]), server.derive("p", &[b"a", b"bc"]));
        assert_ne!(server.derive("p", &[b"ab"]), server.derive("q", &[b"ab"]));
        assert_eq!(server.derive("p", &[b"ab"]), server.derive("p", &[b"ab"]));
    }

    #[test]
    fn generated_secrets_differ() {
        assert_ne!(ServerSecret::generate().expose(), ServerSecret::generate().expose());
    }
}
