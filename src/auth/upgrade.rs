//! SASL upgrade tasks (XEP-0480 0.2.0): a client that knows the password computes keys for a hash
//! function that the account has none for, so that nobody must set a new password.
//!
//! Offered after a login by password only. Whoever holds a mere token may not plant keys that
//! outlive it.

use super::credentials::{ITERATIONS_MIN, ScramKeys, fresh_salt};
use super::hash::Hash;
use super::mechanism::Failure;
use super::secret::Secret;

/// The hash functions that are worth an upgrade, strongest first. SHA-1 is not.
pub const UPGRADES: [Hash; 2] = [Hash::Sha512, Hash::Sha256];

/// The task's name, as in `UPGR-SCRAM-SHA-256`.
pub fn task_name(hash: Hash) -> String {
    format!("UPGR-SCRAM-{}", hash.name())
}

/// Reads a task's name; `None` for tasks that we do not offer.
pub fn from_task_name(name: &str) -> Option<Hash> {
    let hash = Hash::from_name(name.strip_prefix("UPGR-SCRAM-")?)?;
    UPGRADES.contains(&hash).then_some(hash)
}

/// One task, from `<next/>` to the client's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    pub hash: Hash,
    /// To be sent to the client.
    pub salt: Box<[u8]>,
    /// PBKDF2 rounds; to be sent to the client.
    pub iterations: u32,
}

impl Upgrade {
    pub fn new(hash: Hash, iterations: u32) -> Upgrade {
        Upgrade { hash, salt: fresh_salt(), iterations: iterations.max(ITERATIONS_MIN) }
    }

    /// Takes the client's `SaltedPassword`. That it fits the password cannot be checked; the
    /// client has proved the password, and could set another one just as well.
    pub fn finish(self, salted: &[u8]) -> Result<ScramKeys, Failure> {
        if salted.len() != self.hash.output_len() {
            return Err(Failure::MalformedRequest);
        }
        let salted = Secret::new(salted);
        Ok(ScramKeys::from_salted(self.hash, self.salt, self.iterations, &salted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::credentials::Password;

    #[test]
    fn names_go_both_ways() {
        assert_eq!(task_name(Hash::Sha256), "UPGR-SCRAM-SHA-256");
        assert_eq!(from_task_name("UPGR-SCRAM-SHA-512"), Some(Hash::Sha512));
        for other in ["UPGR-SCRAM-SHA-1", "UPGR-SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", ""] {
            assert_eq!(from_task_name(other), None, "{other}");
        }
    }

    #[test]
    fn the_keys_fit_the_password_of_the_client() {
        let upgrade = Upgrade::new(Hash::Sha256, 4_096);
        let salted = Hash::Sha256.pbkdf2(b"pencil", &upgrade.salt, upgrade.iterations);
        let keys = upgrade.finish(salted.expose()).unwrap();
        assert!(keys.verify(&Password::prepare("pencil").unwrap()));
    }

    #[test]
    fn hashes_of_the_wrong_length_are_refused() {
        let upgrade = Upgrade::new(Hash::Sha256, 1);
        assert_eq!(upgrade.iterations, ITERATIONS_MIN);
        assert_eq!(upgrade.finish(&[0; 20]), Err(Failure::MalformedRequest));
    }
}
