//! SCRAM (RFC 5802, RFC 7677) with channel binding (RFC 5929, RFC 9266) and the downgrade
//! protection of XEP-0474 (0.5.0) and XEP-0515 (0.1.0).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::credentials::{Credentials, ScramKeys};
use super::hash::Hash;
use super::mechanism::{
    Binding, Facts, Failure, Found, Mechanism, Need, Plus, Proof, ProvedBy, Step,
};
use super::secret::{Secret, fill_random};
use crate::jid::BareJid;

/// Longest nonce that we take from a client, in bytes. The deployed ones have 16 to 64.
const NONCE_BYTES_MAX: usize = 256;

/// The server's side of one exchange.
pub struct Scram {
    hash: Hash,
    plus: Plus,
    /// Our part of the nonce.
    nonce: String,
    state: State,
}

enum State {
    ClientFirst,
    /// The keys are being looked up.
    Keys(ClientFirst),
    ClientFinal(Box<ServerFirst>),
    Over,
}

/// What the client's first message said.
struct ClientFirst {
    account: BareJid,
    /// `gs2-header`, as it came.
    header: String,
    /// `client-first-message-bare`, as it came.
    bare: String,
    nonce: String,
    binding: Option<Binding>,
}

/// What our first message promised.
struct ServerFirst {
    account: BareJid,
    /// `client-first-message-bare "," server-first-message ","`
    messages: String,
    /// Both halves of the nonce.
    nonce: String,
    /// `cbind-input` that a client on our own channel sends.
    cbind_input: Vec<u8>,
    keys: ScramKeys,
    /// False for decoys: then no proof is good enough.
    exists: Choice,
    missing: Vec<Hash>,
}

impl Scram {
    pub fn new(hash: Hash, plus: Plus) -> Scram {
        let mut bytes = [0; 18];
        fill_random(&mut bytes);
        Scram::with_nonce(hash, plus, BASE64.encode(bytes))
    }

    /// `nonce` must be fresh and unguessable: for tests with known answers only.
    pub(crate) fn with_nonce(hash: Hash, plus: Plus, nonce: String) -> Scram {
        Scram { hash, plus, nonce, state: State::ClientFirst }
    }

    fn client_first(&self, input: &[u8], facts: &Facts<'_>) -> Result<ClientFirst, Failure> {
        let text = std::str::from_utf8(input).map_err(|_| Failure::MalformedRequest)?;
        let malformed = || Failure::MalformedRequest;
        let (flag, rest) = text.split_once(',').ok_or_else(malformed)?;
        let (authzid, bare) = rest.split_once(',').ok_or_else(malformed)?;
        let header = &text[..text.len() - bare.len()];

        let mut attributes = bare.split(',');
        let mut next = |name| attributes.next().and_then(|a| a.strip_prefix(name));
        // An `m=` in first place is a mandatory extension, of which we know none (RFC 5802 §5.1).
        let username = saslname(next("n=").ok_or_else(malformed)?)?;
        let nonce = next("r=").ok_or_else(malformed)?;
        if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX || !nonce.bytes().all(printable) {
            return Err(Failure::MalformedRequest);
        }

        let binding = self.binding(flag, facts)?;
        let username = stringprep::saslprep(&username).map_err(|_| Failure::NotAuthorized)?;
        let account = facts.account(&username)?;
        match authzid {
            "" => {}
            _ => {
                let authzid = authzid.strip_prefix("a=").ok_or_else(malformed)?;
                facts.authorize(&saslname(authzid)?, &account)?;
            }
        }
        Ok(ClientFirst {
            account,
            header: header.to_owned(),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
            binding,
        })
    }

    /// Judges the `gs2-cbind-flag` (RFC 5802 §6).
    fn binding(&self, flag: &str, facts: &Facts<'_>) -> Result<Option<Binding>, Failure> {
        match (flag, self.plus) {
            ("n", Plus::No) => Ok(None),
            // The client would have bound, had it seen a -PLUS. We offered one: somebody between
            // us removed it.
            ("y", Plus::No) if facts.offer.has_plus() => Err(Failure::NotAuthorized),
            ("y", Plus::No) => Ok(None),
            (_, Plus::Yes) => {
                let name = flag.strip_prefix("p=").ok_or(Failure::MalformedRequest)?;
                let binding = Binding::from_name(name).ok_or(Failure::NotAuthorized)?;
                match facts.channel.and_then(|channel| channel.binding(binding)) {
                    Some(_) => Ok(Some(binding)),
                    None => Err(Failure::NotAuthorized),
                }
            }
            _ => Err(Failure::MalformedRequest),
        }
    }

    fn server_first(
        &self,
        first: ClientFirst,
        credentials: Option<Credentials>,
        facts: &Facts<'_>,
    ) -> (ServerFirst, String) {
        let has = |hash: &Hash| credentials.as_ref().is_some_and(|c| c.has(*hash));
        let missing = Hash::ALL.into_iter().filter(|hash| !has(hash)).collect();
        // Made for everybody, so that a name without account costs the same.
        let decoy = Credentials::decoy(facts.secret, first.account.as_str(), facts.iterations);
        let found = credentials.as_ref().and_then(|c| c.get(self.hash));
        let exists = Choice::from(u8::from(found.is_some()));
        let keys = found.or(decoy.get(self.hash)).cloned();
        let keys = keys.expect("decoys have keys for every hash");

        let nonce = format!("{}{}", first.nonce, self.nonce);
        let salt = BASE64.encode(&keys.salt);
        let offered = self.hash.digest(facts.offer.downgrade_protected().as_bytes());
        let offered = BASE64.encode(offered.expose());
        let mut message = format!("r={nonce},s={salt},i={},h={offered}", keys.iterations);
        if let Some(version) = facts.channel.and_then(|channel| channel.version) {
            message.push_str(&format!(",t={version:04x}"));
        }

        let mut cbind_input = first.header.into_bytes();
        let data = first.binding.and_then(|binding| facts.channel?.binding(binding));
        cbind_input.extend_from_slice(data.unwrap_or_default());
        let messages = format!("{},{message},", first.bare);
        let account = first.account;
        (ServerFirst { account, messages, nonce, cbind_input, keys, exists, missing }, message)
    }

    fn client_final(&self, input: &[u8], first: ServerFirst) -> Result<Proof, Failure> {
        let text = std::str::from_utf8(input).map_err(|_| Failure::MalformedRequest)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Failure::MalformedRequest)?;
        let mut attributes = without_proof.split(',');
        let mut next = |name| {
            attributes.next().and_then(|a| a.strip_prefix(name)).ok_or(Failure::MalformedRequest)
        };
        let cbind_input = decode(next("c=")?)?;
        let nonce = next("r=")?;
        let proof = Zeroizing::new(decode(proof)?);
        if proof.len() != self.hash.output_len() {
            return Err(Failure::MalformedRequest);
        }

        // From here on everything is computed whatever is wrong, and one answer given for all.
        let messages = format!("{}{without_proof}", first.messages);
        let keys = &first.keys;
        let signature = self.hash.hmac(keys.stored_key.expose(), &[messages.as_bytes()]);
        let client_key: Vec<u8> =
            proof.iter().zip(signature.expose()).map(|(proof, sig)| proof ^ sig).collect();
        let client_key = Secret::new(client_key);
        let stored_key = self.hash.digest(client_key.expose());
        let good = stored_key.expose().ct_eq(keys.stored_key.expose())
            & cbind_input.ct_eq(&first.cbind_input)
            & nonce.as_bytes().ct_eq(first.nonce.as_bytes())
            & first.exists;
        let server = self.hash.hmac(keys.server_key.expose(), &[messages.as_bytes()]);
        if !bool::from(good) {
            return Err(Failure::NotAuthorized);
        }
        Ok(Proof {
            account: first.account,
            data: Some(format!("v={}", BASE64.encode(server.expose())).into_bytes()),
            by: ProvedBy::Scram { missing: first.missing },
        })
    }
}

impl Mechanism for Scram {
    fn step(&mut self, input: &[u8], facts: &Facts<'_>) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::ClientFirst => match self.client_first(input, facts) {
                Ok(first) => {
                    let account = first.account.clone();
                    self.state = State::Keys(first);
                    Step::Need(Need::Credentials(account))
                }
                Err(failure) => failure.into(),
            },
            State::ClientFinal(first) => match self.client_final(input, *first) {
                Ok(proof) => Step::Done(proof),
                Err(failure) => failure.into(),
            },
            State::Keys(_) | State::Over => Failure::MalformedRequest.into(),
        }
    }

    fn found(&mut self, found: Found, facts: &Facts<'_>) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), found) {
            (State::Keys(first), Found::Credentials(credentials)) => {
                let (first, message) = self.server_first(first, credentials, facts);
                self.state = State::ClientFinal(Box::new(first));
                Step::Challenge(message.into_bytes())
            }
            _ => Failure::TemporaryAuthFailure.into(),
        }
    }
}

/// Undoes the escapes of RFC 5802 §5.1: `=2C` and `=3D`, and no other `=`.
fn saslname(text: &str) -> Result<String, Failure> {
    let mut name = String::with_capacity(text.len());
    let mut pieces = text.split('=');
    name.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (character, rest) = match piece.strip_prefix("2C") {
            Some(rest) => (',', rest),
            None => ('=', piece.strip_prefix("3D").ok_or(Failure::MalformedRequest)?),
        };
        name.push(character);
        name.push_str(rest);
    }
    if name.is_empty() || name.contains('\0') {
        return Err(Failure::MalformedRequest);
    }
    Ok(name)
}

/// `printable` of RFC 5802 §7: ASCII without space, control characters and comma.
fn printable(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b','
}

fn decode(text: &str) -> Result<Vec<u8>, Failure> {
    BASE64.decode(text).map_err(|_| Failure::MalformedRequest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::credentials::{ITERATIONS_MIN, Password};
    use crate::auth::mechanism::{Channel, MechanismName, Offer};
    use crate::auth::secret::ServerSecret;
    use crate::time::Now;

    /// A server with its surroundings, and a client that computes what it sends.
    struct Scene {
        offer: Offer,
        tls: Option<Channel>,
        from: Option<BareJid>,
        secret: ServerSecret,
    }

    impl Scene {
        fn new(tls: Option<Channel>) -> Scene {
            let offer = Offer::new(&MechanismName::ALL, false, tls.as_ref());
            Scene { offer, tls, from: None, secret: ServerSecret::from_bytes(&[9; 32]) }
        }

        fn tls() -> Scene {
            Scene::new(Some(Channel {
                exporter: Some([0xe1; 32]),
                server_end_point: Some([0xe2; 32].into()),
                version: Some(0x0304),
            }))
        }

        fn facts(&self) -> Facts<'_> {
            Facts {
                domain: "example.org",
                from: self.from.as_ref(),
                channel: self.tls.as_ref(),
                offer: &self.offer,
                secret: &self.secret,
                iterations: &[ITERATIONS_MIN],
                now: Now(0),
            }
        }

        fn first(&self, scram: &mut Scram, message: &str) -> Step {
            scram.step(message.as_bytes(), &self.facts())
        }

        fn challenge(&self, scram: &mut Scram, keys: Option<Credentials>) -> String {
            match scram.found(Found::Credentials(keys), &self.facts()) {
                Step::Challenge(text) => String::from_utf8(text).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The client's last message for a password.
    fn answer(hash: Hash, password: &str, first: &str, server: &str, binding: &[u8]) -> String {
        let bare = first.splitn(3, ',').nth(2).unwrap();
        let header = &first[..first.len() - bare.len()];
        let attribute = |name| server.split(',').find_map(|a| a.strip_prefix(name)).unwrap();
        let salt = BASE64.decode(attribute("s=")).unwrap();
        let iterations = attribute("i=").parse().unwrap();
        let salted = hash.pbkdf2(password.as_bytes(), &salt, iterations);
        let client_key = hash.hmac(salted.expose(), &[b"Client Key"]);
        let stored_key = hash.digest(client_key.expose());
        let cbind = BASE64.encode([header.as_bytes(), binding].concat());
        let without_proof = format!("c={cbind},r={}", attribute("r="));
        let message = format!("{bare},{server},{without_proof}");
        let signature = hash.hmac(stored_key.expose(), &[message.as_bytes()]);
        let proof: Vec<u8> = client_key
            .expose()
            .iter()
            .zip(signature.expose())
            .map(|(key, signature)| key ^ signature)
            .collect();
        format!("{without_proof},p={}", BASE64.encode(proof))
    }

    fn keys(password: &str) -> Option<Credentials> {
        let password = Password::prepare(password).unwrap();
        Some(Credentials::derive(&password, &Hash::ALL, ITERATIONS_MIN))
    }

    fn login(scene: &Scene, plus: Plus, header: &str, binding: &[u8], password: &str) -> Step {
        let mut scram = Scram::new(Hash::Sha256, plus);
        let first = format!("{header}n=romeo,r=fyko+d2lbbFgONRv9qkxdawL");
        match scene.first(&mut scram, &first) {
            Step::Need(Need::Credentials(account)) => {
                assert_eq!(account.as_str(), "romeo@example.org");
            }
            other => return other,
        }
        let server = scene.challenge(&mut scram, keys("pencil"));
        let last = answer(Hash::Sha256, password, &first, &server, binding);
        scram.step(last.as_bytes(), &scene.facts())
    }

    fn failure(step: Step) -> Failure {
        match step {
            Step::Fail(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// RFC 5802 §5 and RFC 7677 §3. Their server sends no `h`; the rest is ours to the letter.
    fn vector(hash: Hash, nonces: [&str; 2], salt: &str, proof: &str, verifier: &str) {
        let salted = hash.pbkdf2(b"pencil", &BASE64.decode(salt).unwrap(), 4_096);
        let salt = BASE64.decode(salt).unwrap().into();
        let keys = ScramKeys::from_salted(hash, salt, 4_096, &salted);
        let bare = format!("n=user,r={}", nonces[0]);
        let nonce = nonces.concat();
        let salt = BASE64.encode(&keys.salt);
        let first = ServerFirst {
            account: BareJid::parse("user@example.org").unwrap(),
            messages: format!("{bare},r={nonce},s={salt},i=4096,"),
            nonce: nonce.clone(),
            cbind_input: b"n,,".to_vec(),
            keys,
            exists: Choice::from(1),
            missing: Vec::new(),
        };
        let scram = Scram::with_nonce(hash, Plus::No, nonces[1].to_owned());
        let last = format!("c=biws,r={nonce},p={proof}");
        let proof = scram.client_final(last.as_bytes(), first).unwrap();
        assert_eq!(proof.data.unwrap(), format!("v={verifier}").into_bytes());
    }

    #[test]
    fn vector_of_rfc_5802() {
        vector(
            Hash::Sha1,
            ["fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j"],
            "QSXCR+Q6sek8bf92",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        );
    }

    #[test]
    fn vector_of_rfc_7677() {
        vector(
            Hash::Sha256,
            ["rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"],
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        );
    }

    /// XEP-0474 §5.3: the server's first message with its hash of what was offered, and the
    /// client's answer, which carries an extension between nonce and proof.
    #[test]
    fn example_of_xep_0474() {
        let mut scene = Scene::new(Some(Channel {
            exporter: None,
            server_end_point: Some([0; 32].into()),
            version: None,
        }));
        scene.offer = Offer {
            mechanisms: vec![
                MechanismName::Scram(Hash::Sha1, Plus::No),
                MechanismName::Scram(Hash::Sha1, Plus::Yes),
            ],
            tokens: Vec::new(),
            bindings: vec![Binding::TlsServerEndPoint, Binding::TlsExporter],
        };
        let salt: Box<[u8]> = BASE64.decode("QSXCR+Q6sek8bf92").unwrap().into();
        let salted = Hash::Sha1.pbkdf2(b"pencil", &salt, 4_096);
        let keys = ScramKeys::from_salted(Hash::Sha1, salt, 4_096, &salted);
        let nonce = "a09117a6-ac50-4f2f-93f1-93799c2bddf6";
        let mut scram = Scram::with_nonce(Hash::Sha1, Plus::No, nonce.to_owned());
        // Without -PLUS here: the example's binding data is a placeholder that cannot be supplied.
        scene.first(&mut scram, "n,,n=user,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6");
        assert_eq!(
            scene.challenge(&mut scram, Some([keys].into_iter().collect())),
            "r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,\
             s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08="
        );
    }

    #[test]
    fn the_right_password_opens_with_and_without_binding() {
        let scene = Scene::tls();
        let cases: [(Plus, &str, &[u8]); 4] = [
            (Plus::No, "n,,", b""),
            (Plus::No, "n,a=romeo@example.org,", b""),
            (Plus::Yes, "p=tls-exporter,,", &[0xe1; 32]),
            (Plus::Yes, "p=tls-server-end-point,,", &[0xe2; 32]),
        ];
        for (plus, header, binding) in cases {
            match login(&scene, plus, header, binding, "pencil") {
                Step::Done(proof) => {
                    assert_eq!(proof.account.as_str(), "romeo@example.org");
                    assert_eq!(proof.by, ProvedBy::Scram { missing: Vec::new() });
                    assert!(proof.data.unwrap().starts_with(b"v="));
                }
                other => panic!("{header}: {other:?}"),
            }
        }
    }

    #[test]
    fn wrong_passwords_and_wrong_channels_fail_alike() {
        let scene = Scene::tls();
        let header = "p=tls-exporter,,";
        for (binding, password) in
            [([0xe1; 32], "Pencil"), ([0xe2; 32], "pencil"), ([0; 32], "wrong")]
        {
            let step = login(&scene, Plus::Yes, header, &binding, password);
            assert_eq!(failure(step), Failure::NotAuthorized);
        }
    }

    #[test]
    fn a_client_that_saw_no_plus_although_we_offered_one_was_deceived() {
        let scene = Scene::tls();
        let step = login(&scene, Plus::No, "y,,", b"", "pencil");
        assert_eq!(failure(step), Failure::NotAuthorized);
        let bare = Scene::new(None);
        assert!(matches!(login(&bare, Plus::No, "y,,", b"", "pencil"), Step::Done(_)));
    }

    #[test]
    fn flags_must_fit_the_mechanism_and_the_channel() {
        let scene = Scene::tls();
        let cases = [
            (Plus::No, "p=tls-exporter,,", Failure::MalformedRequest),
            (Plus::Yes, "n,,", Failure::MalformedRequest),
            (Plus::Yes, "y,,", Failure::MalformedRequest),
            (Plus::Yes, "p=tls-unique,,", Failure::NotAuthorized),
            (Plus::No, "x,,", Failure::MalformedRequest),
            (Plus::No, "n,romeo,", Failure::MalformedRequest),
            (Plus::No, "n,a=juliet@example.org,", Failure::InvalidAuthzid),
        ];
        for (plus, header, expected) in cases {
            assert_eq!(failure(login(&scene, plus, header, b"", "pencil")), expected, "{header}");
        }
        let no_exporter = Scene::new(Some(Channel {
            server_end_point: Some([0xe2; 32].into()),
            ..Channel::default()
        }));
        let step = login(&no_exporter, Plus::Yes, "p=tls-exporter,,", &[0; 32], "pencil");
        assert_eq!(failure(step), Failure::NotAuthorized);
    }

    #[test]
    fn malformed_first_messages() {
        let scene = Scene::new(None);
        let long = format!("n,,n=romeo,r={}", "x".repeat(257));
        for message in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,r=abc",
            "n,,n=romeo",
            "n,,n=romeo,r=",
            "n,,n=,r=abc",
            "n,,m=must,n=romeo,r=abc",
            "n,,n=ro=meo,r=abc",
            "n,,n=romeo,r=a c",
            "n,,n=romeo,r=ä",
            &long,
        ] {
            let mut scram = Scram::new(Hash::Sha1, Plus::No);
            let step = scene.first(&mut scram, message);
            assert_eq!(failure(step), Failure::MalformedRequest, "{message}");
        }
        let mut scram = Scram::new(Hash::Sha1, Plus::No);
        let step = scram.step(b"n,,n=\xff,r=abc", &scene.facts());
        assert_eq!(failure(step), Failure::MalformedRequest);
    }

    #[test]
    fn malformed_last_messages() {
        let scene = Scene::new(None);
        let good = |server: &str| answer(Hash::Sha1, "pencil", "n,,n=romeo,r=abc", server, b"");
        type Spoil = fn(String) -> String;
        let cases: [(Spoil, Failure); 6] = [
            (|m| m.replace("c=", "x="), Failure::MalformedRequest),
            (|m| m.replace(",p=", ",q="), Failure::MalformedRequest),
            (|m| m.replace("c=biws", "c=!"), Failure::MalformedRequest),
            (|m| m.replace("c=biws", "c=eSws"), Failure::NotAuthorized),
            (|m| m.replace("r=abc", "r=abd"), Failure::NotAuthorized),
            (|m| format!("{}p=YWJj", &m[..m.len() - 30]), Failure::MalformedRequest),
        ];
        for (spoil, expected) in cases {
            let mut scram = Scram::with_nonce(Hash::Sha1, Plus::No, "def".to_owned());
            scene.first(&mut scram, "n,,n=romeo,r=abc");
            let server = scene.challenge(&mut scram, keys("pencil"));
            let spoilt = spoil(good(&server));
            let step = scram.step(spoilt.as_bytes(), &scene.facts());
            assert_eq!(failure(step), expected, "{spoilt}");
        }
    }

    #[test]
    fn names_without_account_get_a_stable_challenge_and_the_same_refusal() {
        let scene = Scene::tls();
        let challenge = |keys: Option<Credentials>| {
            let mut scram = Scram::with_nonce(Hash::Sha512, Plus::No, "def".to_owned());
            let first = "n,,n=romeo,r=abc";
            scene.first(&mut scram, first);
            let server = scene.challenge(&mut scram, keys);
            let last = answer(Hash::Sha512, "guess", first, &server, b"");
            let step = scram.step(last.as_bytes(), &scene.facts());
            (server, failure(step))
        };
        let (real, refusal) = challenge(keys("pencil"));
        let (ghost, same) = challenge(None);
        assert_eq!(refusal, same);
        assert_eq!(ghost, challenge(None).0);
        let shape = |text: &str| text.split(',').map(str::len).collect::<Vec<_>>();
        assert_eq!(shape(&real), shape(&ghost));
        // An account without keys for this hash is no different.
        let sha1 = keys("pencil").unwrap().get(Hash::Sha1).cloned();
        assert_eq!(challenge(Some(sha1.into_iter().collect())).0, ghost);
    }

    #[test]
    fn missing_keys_are_reported_for_upgrades() {
        let scene = Scene::new(None);
        let sha1: Credentials =
            keys("pencil").unwrap().get(Hash::Sha1).cloned().into_iter().collect();
        let mut scram = Scram::new(Hash::Sha1, Plus::No);
        let first = "n,,n=romeo,r=abc";
        scene.first(&mut scram, first);
        let server = scene.challenge(&mut scram, Some(sha1));
        let last = answer(Hash::Sha1, "pencil", first, &server, b"");
        match scram.step(last.as_bytes(), &scene.facts()) {
            Step::Done(proof) => {
                let missing = vec![Hash::Sha256, Hash::Sha512];
                assert_eq!(proof.by, ProvedBy::Scram { missing });
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_tls_version_is_proved_too() {
        let scene = Scene::tls();
        let mut scram = Scram::new(Hash::Sha1, Plus::No);
        scene.first(&mut scram, "n,,n=romeo,r=abc");
        assert!(scene.challenge(&mut scram, None).ends_with(",t=0304"));
    }

    #[test]
    fn names_are_unescaped_and_prepared() {
        assert_eq!(saslname("a=2Cb=3Dc").unwrap(), "a,b=c");
        assert_eq!(saslname("a=2cb"), Err(Failure::MalformedRequest));
        let scene = Scene::new(None);
        let mut scram = Scram::new(Hash::Sha1, Plus::No);
        match scene.first(&mut scram, "n,,n=Ro\u{AD}meo,r=abc") {
            Step::Need(Need::Credentials(account)) => {
                assert_eq!(account.as_str(), "romeo@example.org");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_exchange_is_over_when_it_is_over() {
        let scene = Scene::new(None);
        let mut scram = Scram::new(Hash::Sha1, Plus::No);
        scene.first(&mut scram, "nonsense");
        let step = scene.first(&mut scram, "n,,n=romeo,r=abc");
        assert_eq!(failure(step), Failure::MalformedRequest);
        let step = scram.found(Found::Credentials(None), &scene.facts());
        assert_eq!(failure(step), Failure::TemporaryAuthFailure);
    }
}
