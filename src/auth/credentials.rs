//! What an account keeps of its password: SCRAM keys (RFC 5802 §3), never the password.

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;
use thiserror::Error;
use zeroize::Zeroizing;

use super::hash::Hash;
use super::secret::{Secret, ServerSecret, fill_random};

/// Fewest PBKDF2 rounds that RFC 5802 §5.1 and RFC 7677 §4 allow.
pub const ITERATIONS_MIN: u32 = 4_096;
/// Most rounds we accept from configuration or import: a login must not become a weapon.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// Rounds for new keys unless the configuration says otherwise. Clients pay for them, on phones,
/// at every login by password; the server pays at registration and for PLAIN only.
pub const ITERATIONS_DEFAULT: u32 = 10_000;
/// Bytes of salt in new keys.
pub const SALT_LEN: usize = 16;
/// Longest password, in bytes after preparation.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// A prepared password. Lives only between a request and the derivation of its keys.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PasswordError {
    #[error("the password is empty")]
    Empty,
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    #[error("the password contains a control character")]
    ControlCharacter,
}

impl Password {
    /// Prepares with SASLprep (RFC 4013), as RFC 5802 §2.2 demands.
    ///
    /// SASLprep stops at Unicode 3.2 and refuses what came later, emoji among it. Clients then use
    /// the text as typed, and so do we (PostgreSQL does the same).
    pub fn prepare(text: &str) -> Result<Password, PasswordError> {
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PasswordError::ControlCharacter);
        }
        let prepared = stringprep::saslprep(text).unwrap_or(Cow::Borrowed(text));
        if prepared.is_empty() {
            return Err(PasswordError::Empty);
        }
        Ok(Password(Zeroizing::new(prepared.into_owned())))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// The keys for one hash function.
///
/// `stored_key` and `server_key` have [`Hash::output_len`] bytes. With them one can verify a login
/// and pretend to be the server, but not sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramKeys {
    pub hash: Hash,
    pub salt: Box<[u8]>,
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// `H(ClientKey)`.
    pub stored_key: Secret,
    /// `HMAC(SaltedPassword, "Server Key")`.
    pub server_key: Secret,
}

impl ScramKeys {
    /// Derives keys with a fresh salt. CPU-heavy, see [`Hash::pbkdf2`].
    pub fn derive(hash: Hash, password: &Password, iterations: u32) -> ScramKeys {
        let salt = fresh_salt();
        let salted = hash.pbkdf2(password.as_bytes(), &salt, iterations);
        ScramKeys::from_salted(hash, salt, iterations, &salted)
    }

    /// Derives keys from a `SaltedPassword` that was computed elsewhere (XEP-0480, imports).
    pub fn from_salted(hash: Hash, salt: Box<[u8]>, iterations: u32, salted: &Secret) -> ScramKeys {
        let client_key = hash.hmac(salted.expose(), &[b"Client Key"]);
        ScramKeys {
            hash,
            salt,
            iterations,
            stored_key: hash.digest(client_key.expose()),
            server_key: hash.hmac(salted.expose(), &[b"Server Key"]),
        }
    }

    /// True when the keys came from this password. CPU-heavy, see [`Hash::pbkdf2`].
    pub fn verify(&self, password: &Password) -> bool {
        let salted = self.hash.pbkdf2(password.as_bytes(), &self.salt, self.iterations);
        let keys = ScramKeys::from_salted(self.hash, self.salt.clone(), self.iterations, &salted);
        keys.stored_key == self.stored_key
    }

    /// Keys for a name that has none: no password fits, yet the salt stays the same from one
    /// attempt to the next, as a real account's does.
    fn decoy(secret: &ServerSecret, account: &str, hash: Hash, iterations: u32) -> ScramKeys {
        let parts = [account.as_bytes(), hash.name().as_bytes()];
        let mut salt = secret.derive("scram decoy salt", &parts).expose().to_vec();
        salt.truncate(SALT_LEN);
        // Of the right length for every hash; nothing can be proved against a random StoredKey.
        let key = secret.derive("scram decoy key", &parts);
        let key = hash.hmac(key.expose(), &[b"decoy"]);
        ScramKeys { hash, salt: salt.into(), iterations, stored_key: key.clone(), server_key: key }
    }
}

/// All keys of one account: at most one set per hash function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    keys: SmallVec<[ScramKeys; 1]>,
}

impl Credentials {
    /// Derives keys for each of `hashes`. CPU-heavy: some 10 ms a hash on a small computer.
    pub fn derive(password: &Password, hashes: &[Hash], iterations: u32) -> Credentials {
        hashes.iter().map(|&hash| ScramKeys::derive(hash, password, iterations)).collect()
    }

    /// What a login as a name without account (or without keys for `hash`) is checked against.
    ///
    /// `iterations` lists the round counts in use on the host. A name always gets the same one of
    /// them, so that a count tells no more than a salt does. Must not be empty; an empty list
    /// counts as the default.
    pub fn decoy(secret: &ServerSecret, account: &str, iterations: &[u32]) -> Credentials {
        let pick = secret.derive("scram decoy iterations", &[account.as_bytes()]);
        let pick = usize::from(u16::from_be_bytes([pick.expose()[0], pick.expose()[1]]));
        let iterations = match iterations {
            [] => ITERATIONS_DEFAULT,
            counts => counts[pick % counts.len()],
        };
        Hash::ALL
            .into_iter()
            .map(|hash| ScramKeys::decoy(secret, account, hash, iterations))
            .collect()
    }

    pub fn get(&self, hash: Hash) -> Option<&ScramKeys> {
        self.keys.iter().find(|keys| keys.hash == hash)
    }

    pub fn has(&self, hash: Hash) -> bool {
        self.get(hash).is_some()
    }

    /// The keys with the strongest hash: what PLAIN is verified against.
    pub fn strongest(&self) -> Option<&ScramKeys> {
        self.keys.iter().max_by_key(|keys| keys.hash)
    }

    pub fn iter(&self) -> impl Iterator<Item = &ScramKeys> {
        self.keys.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a set, in place of one with the same hash.
    pub fn insert(&mut self, keys: ScramKeys) {
        self.keys.retain(|old| old.hash != keys.hash);
        self.keys.push(keys);
    }
}

impl FromIterator<ScramKeys> for Credentials {
    fn from_iter<I: IntoIterator<Item = ScramKeys>>(keys: I) -> Credentials {
        let mut credentials = Credentials::default();
        for keys in keys {
            credentials.insert(keys);
        }
        credentials
    }
}

/// A salt for new keys.
pub fn fresh_salt() -> Box<[u8]> {
    let mut salt = [0; SALT_LEN];
    fill_random(&mut salt);
    salt.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> ServerSecret {
        ServerSecret::from_bytes(&[1; 32])
    }

    #[test]
    fn derived_keys_fit_their_password_only() {
        let password = Password::prepare("pencil").unwrap();
        let credentials = Credentials::derive(&password, &Hash::ALL, ITERATIONS_MIN);
        for keys in credentials.iter() {
            assert!(keys.verify(&password));
            assert!(!keys.verify(&Password::prepare("Pencil").unwrap()));
            assert_eq!(keys.stored_key.expose().len(), keys.hash.output_len());
            assert_eq!(keys.server_key.expose().len(), keys.hash.output_len());
        }
        assert_eq!(credentials.strongest().unwrap().hash, Hash::Sha512);
    }

    #[test]
    fn each_derivation_has_its_own_salt() {
        let password = Password::prepare("pencil").unwrap();
        let one = ScramKeys::derive(Hash::Sha1, &password, ITERATIONS_MIN);
        let two = ScramKeys::derive(Hash::Sha1, &password, ITERATIONS_MIN);
        assert_ne!(one.salt, two.salt);
    }

    #[test]
    fn decoys_are_stable_and_look_real() {
        let one = Credentials::decoy(&secret(), "ghost@example.org", &[10_000]);
        assert_eq!(one, Credentials::decoy(&secret(), "ghost@example.org", &[10_000]));
        let other = Credentials::decoy(&secret(), "spirit@example.org", &[10_000]);
        for hash in Hash::ALL {
            let (a, b) = (one.get(hash).unwrap(), other.get(hash).unwrap());
            assert_ne!(a.salt, b.salt);
            assert_eq!(a.salt.len(), SALT_LEN);
            assert_eq!(a.iterations, 10_000);
            assert_eq!(a.stored_key.expose().len(), hash.output_len());
        }
    }

    #[test]
    fn decoys_spread_over_the_counts_in_use() {
        let counts = [4_096, 10_000];
        let seen: Vec<u32> = (0..32)
            .map(|n| Credentials::decoy(&secret(), &format!("u{n}@example.org"), &counts))
            .map(|decoy| decoy.get(Hash::Sha1).unwrap().iterations)
            .collect();
        assert!(counts.iter().all(|count| seen.contains(count)));
    }

    #[test]
    fn inserting_replaces_the_same_hash() {
        let mut credentials = Credentials::decoy(&secret(), "a@example.org", &[4_096]);
        let keys = ScramKeys::decoy(&secret(), "b@example.org", Hash::Sha1, 5_000);
        credentials.insert(keys.clone());
        assert_eq!(credentials.iter().count(), 3);
        assert_eq!(credentials.get(Hash::Sha1), Some(&keys));
    }

    #[test]
    fn passwords_are_prepared() {
        let same = |a: &str, b: &str| {
            Password::prepare(a).unwrap().as_bytes() == Password::prepare(b).unwrap().as_bytes()
        };
        // RFC 4013 §3: soft hyphen maps to nothing, compatibility forms are folded, case is kept.
        assert!(same("I\u{AD}X", "IX"));
        assert!(same("\u{2168}", "IX"));
        assert!(!same("user", "USER"));
        // Beyond Unicode 3.2: taken as typed.
        assert!(same("🦉 night", "🦉 night"));
    }

    #[test]
    fn unusable_passwords_are_named() {
        assert_eq!(Password::prepare("").unwrap_err(), PasswordError::Empty);
        assert_eq!(Password::prepare("\u{AD}").unwrap_err(), PasswordError::Empty);
        assert_eq!(Password::prepare("a\0b").unwrap_err(), PasswordError::ControlCharacter);
        assert_eq!(Password::prepare(&"x".repeat(1_025)).unwrap_err(), PasswordError::TooLong);
    }

    #[test]
    fn no_debug_text_holds_a_key() {
        let password = Password::prepare("pencil").unwrap();
        let keys = ScramKeys::derive(Hash::Sha1, &password, ITERATIONS_MIN);
        let text = format!("{password:?} {keys:?}");
        assert!(!text.contains("pencil"));
        assert!(text.contains("stored_key: Secret"));
    }
}
