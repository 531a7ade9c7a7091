//! The client's side of SASL: SCRAM with and without channel binding (RFC 5802), PLAIN.

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use coucou::auth::Hash;
use coucou::xml::{Element, ns};

use crate::client::Client;

/// A SCRAM exchange under way.
pub struct Scram {
    hash: Hash,
    header: String,
    bare: String,
    binding: Vec<u8>,
    signature: String,
}

impl Scram {
    /// `mechanism` as in `SCRAM-SHA-256-PLUS`, with `:tls-server-end-point` behind it for another
    /// binding than `tls-exporter`. Without `-PLUS` the client says that it cannot bind.
    pub fn new(client: &Client, mechanism: &str, user: &str) -> Scram {
        let (name, binding) = mechanism.split_once(':').unwrap_or((mechanism, "tls-exporter"));
        let name = name.strip_prefix("SCRAM-").expect("a SCRAM mechanism");
        let (hash, header, binding) = match name.strip_suffix("-PLUS") {
            Some(hash) => (hash, format!("p={binding},,"), client.binding(binding)),
            None => (name, "n,,".to_owned(), Vec::new()),
        };
        let hash = Hash::from_name(hash).expect("a hash function");
        let bare = format!("n={user},r=rOprNGfwEbeRWgbNEkqO");
        Scram { hash, header, bare, binding, signature: String::new() }
    }

    pub fn first(&self) -> String {
        BASE64.encode(format!("{}{}", self.header, self.bare))
    }

    /// The answer to the server's first message.
    pub fn last(&mut self, challenge: &str, password: &str) -> String {
        let challenge = String::from_utf8(BASE64.decode(challenge).unwrap()).unwrap();
        let of = |key| challenge.split(',').find_map(|a| a.strip_prefix(key)).expect("attribute");
        let salt = BASE64.decode(of("s=")).unwrap();
        let salted = self.hash.pbkdf2(password.as_bytes(), &salt, of("i=").parse().unwrap());
        let binding = [self.header.as_bytes(), &self.binding].concat();
        let without_proof = format!("c={},r={}", BASE64.encode(binding), of("r="));
        let message = format!("{},{challenge},{without_proof}", self.bare);
        let key = self.hash.hmac(salted.expose(), &[b"Client Key"]);
        let stored = self.hash.digest(key.expose());
        let signature = self.hash.hmac(stored.expose(), &[message.as_bytes()]);
        let proof = key.expose().iter().zip(signature.expose()).map(|(a, b)| a ^ b);
        let proof = BASE64.encode(proof.collect::<Vec<u8>>());
        let server = self.hash.hmac(salted.expose(), &[b"Server Key"]);
        let signature = self.hash.hmac(server.expose(), &[message.as_bytes()]);
        self.signature = BASE64.encode(format!("v={}", BASE64.encode(signature.expose())));
        BASE64.encode(format!("{without_proof},p={proof}"))
    }

    /// Whether the server knows the password too.
    pub fn verifies(&self, data: &str) -> bool {
        self.signature == data
    }
}

/// Authenticates in the dialect of RFC 6120. On failure the server's answer is returned.
pub fn prove(client: &mut Client, by: &str, user: &str, password: &str) -> Result<(), String> {
    if by == "PLAIN" {
        client.plain(user, password);
        let answer = client.element();
        return if answer.is("success", ns::SASL) { Ok(()) } else { Err(told(&answer)) };
    }
    let mut scram = Scram::new(client, by, user);
    let name = by.split(':').next().unwrap_or(by);
    let first = scram.first();
    client.say(&format!("<auth xmlns='{}' mechanism='{name}'>{first}</auth>", ns::SASL));
    let challenge = client.element();
    if !challenge.is("challenge", ns::SASL) {
        return Err(told(&challenge));
    }
    let last = scram.last(&challenge.text(), password);
    client.say(&format!("<response xmlns='{}'>{last}</response>", ns::SASL));
    let success = client.element();
    if !success.is("success", ns::SASL) {
        return Err(told(&success));
    }
    assert!(scram.verifies(&success.text()), "the server's signature: {}", success.to_xml(""));
    Ok(())
}

fn told(element: &Element) -> String {
    element.to_xml(ns::CLIENT)
}
