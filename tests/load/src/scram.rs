//! The client's side of SCRAM (RFC 5802, RFC 7677), without channel binding.

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2, rand};

/// A server that asks for more would have the generator hash for seconds.
const ITERATIONS_MAX: u32 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mechanism {
    #[value(name = "SCRAM-SHA-1", alias = "scram-sha-1")]
    ScramSha1,
    #[value(name = "SCRAM-SHA-256", alias = "scram-sha-256")]
    ScramSha256,
}

impl Mechanism {
    /// The name in `<auth mechanism='…'/>`.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Mechanism::ScramSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Mechanism::ScramSha256 => hmac::HMAC_SHA256,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Mechanism::ScramSha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Mechanism::ScramSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }
}

/// What a password becomes with a salt; the rest of an exchange is cheap.
#[derive(Clone)]
struct Keys {
    client: Vec<u8>,
    stored: Vec<u8>,
    server: Vec<u8>,
}

/// Remembers salted passwords, so that a second login of the same account costs the generator what
/// it costs the server: two HMACs instead of thousands.
pub struct Keyring {
    mechanism: Mechanism,
    keys: RefCell<HashMap<(String, String, u32), Keys>>,
}

impl Keyring {
    pub fn new(mechanism: Mechanism) -> Keyring {
        Keyring { mechanism, keys: RefCell::default() }
    }

    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    fn keys(&self, password: &str, salt: &str, iterations: u32) -> Result<Keys, &'static str> {
        let name = (password.to_owned(), salt.to_owned(), iterations);
        if let Some(keys) = self.keys.borrow().get(&name) {
            return Ok(keys.clone());
        }
        let count = NonZeroU32::new(iterations)
            .filter(|count| count.get() <= ITERATIONS_MAX)
            .ok_or("iteration count out of range")?;
        let raw_salt = BASE64.decode(salt).map_err(|_| "salt is not base64")?;
        let algorithm = self.mechanism.hmac();
        let mut salted = vec![0; algorithm.digest_algorithm().output_len()];
        let hash = self.mechanism.pbkdf2();
        pbkdf2::derive(hash, count, &raw_salt, password.as_bytes(), &mut salted);
        let salted = hmac::Key::new(algorithm, &salted);
        let client = hmac::sign(&salted, b"Client Key").as_ref().to_vec();
        let stored = digest::digest(algorithm.digest_algorithm(), &client).as_ref().to_vec();
        let server = hmac::sign(&salted, b"Server Key").as_ref().to_vec();
        let keys = Keys { client, stored, server };
        self.keys.borrow_mut().insert(name, keys.clone());
        Ok(keys)
    }
}

/// One exchange: [`Exchange::first`], then [`Exchange::answer`], then [`Exchange::verify`].
/// All messages are base64, as SASL carries them in XMPP.
pub struct Exchange<'a> {
    keyring: &'a Keyring,
    password: &'a str,
    nonce: String,
    first_bare: String,
    server_signature: Option<hmac::Tag>,
}

impl<'a> Exchange<'a> {
    /// `user` must need no escaping: no `=` and no `,`.
    pub fn new(keyring: &'a Keyring, user: &str, password: &'a str) -> Exchange<'a> {
        let mut random = [0; 18];
        rand::SystemRandom::new().fill(&mut random).expect("the system has random numbers");
        let nonce = BASE64.encode(random);
        let first_bare = format!("n={user},r={nonce}");
        Exchange { keyring, password, nonce, first_bare, server_signature: None }
    }

    pub fn first(&self) -> String {
        BASE64.encode(format!("n,,{}", self.first_bare))
    }

    /// The client's final message for the server's challenge.
    pub fn answer(&mut self, challenge: &str) -> Result<String, &'static str> {
        let challenge = BASE64.decode(challenge).map_err(|_| "challenge is not base64")?;
        let server_first = String::from_utf8(challenge).map_err(|_| "challenge is not UTF-8")?;
        let field = |name: &str| server_first.split(',').find_map(|part| part.strip_prefix(name));
        let nonce = field("r=").ok_or("challenge has no nonce")?;
        if !nonce.starts_with(&self.nonce) {
            return Err("the server's nonce does not continue ours");
        }
        let salt = field("s=").ok_or("challenge has no salt")?;
        let iterations = field("i=").and_then(|text| text.parse().ok());
        let iterations = iterations.ok_or("challenge has no iteration count")?;
        let keys = self.keyring.keys(self.password, salt, iterations)?;

        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{without_proof}", self.first_bare);
        let algorithm = self.keyring.mechanism.hmac();
        let signature = hmac::sign(&hmac::Key::new(algorithm, &keys.stored), signed.as_bytes());
        let proof: Vec<u8> =
            keys.client.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = hmac::Key::new(algorithm, &keys.server);
        self.server_signature = Some(hmac::sign(&server_key, signed.as_bytes()));
        Ok(BASE64.encode(format!("{without_proof},p={}", BASE64.encode(proof))))
    }

    /// Whether the server's final message proves that it knows the password's keys too.
    pub fn verify(&self, success: &str) -> bool {
        let expected =
            self.server_signature.as_ref().map(|tag| format!("v={}", BASE64.encode(tag.as_ref())));
        expected.is_some_and(|text| BASE64.encode(text) == success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 5802, section 5 (with its nonce put in by hand).
    #[test]
    fn matches_the_example_of_rfc_5802() {
        let keyring = Keyring::new(Mechanism::ScramSha1);
        let mut exchange = Exchange::new(&keyring, "user", "pencil");
        exchange.nonce = "fyko+d2lbbFgONRv9qkxdawL".into();
        exchange.first_bare = "n=user,r=fyko+d2lbbFgONRv9qkxdawL".into();
        let challenge = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
        let answer = exchange.answer(&BASE64.encode(challenge)).unwrap();
        let expected = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                        p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
        assert_eq!(answer, BASE64.encode(expected));
        assert!(exchange.verify(&BASE64.encode("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")));
        assert!(!exchange.verify(&BASE64.encode("v=rmF9pqV8S7suAoZWja4dJRkFsKA=")));
    }

    #[test]
    fn refuses_a_nonce_that_is_not_ours() {
        let keyring = Keyring::new(Mechanism::ScramSha256);
        let mut exchange = Exchange::new(&keyring, "user", "pencil");
        assert!(exchange.answer(&BASE64.encode("r=other,s=QSXCR+Q6sek8bf92,i=4096")).is_err());
    }
}
