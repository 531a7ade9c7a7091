//! PLAIN (RFC 4616), verified against SCRAM keys. Offered on encrypted streams only.

use std::fmt;

use super::credentials::{Credentials, Password, ScramKeys};
use super::hash::Hash;
use super::mechanism::{Facts, Failure, Found, Mechanism, Need, Proof, ProvedBy, Step};
use crate::jid::BareJid;

#[derive(Default)]
pub struct Plain {
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Message,
    Keys(BareJid, Password),
    Verdict(BareJid),
    Over,
}

/// A password to be tried against keys. Self-contained: send it to a thread that may be busy.
#[derive(Clone)]
pub struct PlainJob {
    password: Password,
    keys: ScramKeys,
    exists: bool,
    /// Derived in the same go when the password is right.
    missing: Vec<Hash>,
    iterations: u32,
}

/// What [`PlainJob::run`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainVerdict {
    pub right: bool,
    /// Keys for hash functions that had none; empty unless `right`.
    pub derived: Vec<ScramKeys>,
}

impl PlainJob {
    /// Tries `password` against what an account has. `None` is a name without account; it costs
    /// as much as a wrong password.
    pub fn new(
        password: Password,
        account: &BareJid,
        credentials: Option<&Credentials>,
        facts: &Facts<'_>,
    ) -> PlainJob {
        let found = credentials.and_then(Credentials::strongest);
        let missing = match credentials {
            Some(credentials) => {
                Hash::ALL.into_iter().filter(|&hash| !credentials.has(hash)).collect()
            }
            None => Vec::new(),
        };
        let decoy = Credentials::decoy(facts.secret, account.as_str(), facts.iterations);
        let keys = found.or(decoy.strongest()).cloned().expect("decoys have keys");
        let iterations = keys.iterations;
        PlainJob { password, exists: found.is_some(), keys, missing, iterations }
    }

    /// Derives the keys: milliseconds of computing. Never call it on a thread that serves sockets.
    pub fn run(self) -> PlainVerdict {
        let right = self.keys.verify(&self.password) & self.exists;
        let derive = |&hash: &Hash| ScramKeys::derive(hash, &self.password, self.iterations);
        let derived = if right { self.missing.iter().map(derive).collect() } else { Vec::new() };
        PlainVerdict { right, derived }
    }
}

impl fmt::Debug for PlainJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainJob")
    }
}

/// `[authzid] NUL authcid NUL passwd`
fn message(input: &[u8], facts: &Facts<'_>) -> Result<(BareJid, Password), Failure> {
    let text = std::str::from_utf8(input).map_err(|_| Failure::MalformedRequest)?;
    let mut fields = text.split('\0');
    let fields = (fields.next(), fields.next(), fields.next(), fields.next());
    let (Some(authzid), Some(authcid), Some(password), None) = fields else {
        return Err(Failure::MalformedRequest);
    };
    if authcid.is_empty() || password.is_empty() {
        return Err(Failure::MalformedRequest);
    }
    let authcid = stringprep::saslprep(authcid).map_err(|_| Failure::NotAuthorized)?;
    let account = facts.account(&authcid)?;
    facts.authorize(authzid, &account)?;
    let password = Password::prepare(password).map_err(|_| Failure::NotAuthorized)?;
    Ok((account, password))
}

impl Mechanism for Plain {
    fn step(&mut self, input: &[u8], facts: &Facts<'_>) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Message => match message(input, facts) {
                Ok((account, password)) => {
                    self.state = State::Keys(account.clone(), password);
                    Step::Need(Need::Credentials(account))
                }
                Err(failure) => failure.into(),
            },
            _ => Failure::MalformedRequest.into(),
        }
    }

    fn found(&mut self, found: Found, facts: &Facts<'_>) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), found) {
            (State::Keys(account, password), Found::Credentials(credentials)) => {
                let job = PlainJob::new(password, &account, credentials.as_ref(), facts);
                self.state = State::Verdict(account);
                Step::Need(Need::VerifyPlain(Box::new(job)))
            }
            (State::Verdict(account), Found::Plain(PlainVerdict { right: true, derived })) => {
                Step::Done(Proof { account, data: None, by: ProvedBy::Plain { derived } })
            }
            (State::Verdict(_), Found::Plain(_)) => Failure::NotAuthorized.into(),
            _ => Failure::TemporaryAuthFailure.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::credentials::ITERATIONS_MIN;
    use crate::auth::mechanism::Offer;
    use crate::auth::secret::ServerSecret;
    use crate::time::Now;

    fn with_facts<T>(test: impl FnOnce(&Facts<'_>) -> T) -> T {
        test(&Facts {
            domain: "example.org",
            from: None,
            channel: None,
            offer: &Offer::default(),
            secret: &ServerSecret::from_bytes(&[1; 32]),
            iterations: &[ITERATIONS_MIN],
            now: Now(0),
        })
    }

    fn login(input: &[u8], stored: Option<Credentials>) -> Step {
        with_facts(|facts| {
            let mut plain = Plain::default();
            match plain.step(input, facts) {
                Step::Need(Need::Credentials(account)) => {
                    assert_eq!(account.as_str(), "romeo@example.org");
                }
                other => return other,
            }
            match plain.found(Found::Credentials(stored), facts) {
                Step::Need(Need::VerifyPlain(job)) => plain.found(Found::Plain(job.run()), facts),
                other => panic!("{other:?}"),
            }
        })
    }

    fn stored(hashes: &[Hash]) -> Option<Credentials> {
        let password = Password::prepare("secret").unwrap();
        Some(Credentials::derive(&password, hashes, ITERATIONS_MIN))
    }

    fn failure(step: Step) -> Failure {
        match step {
            Step::Fail(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_right_password_opens() {
        for input in [&b"\0romeo\0secret"[..], b"romeo@example.org\0romeo\0secret"] {
            match login(input, stored(&Hash::ALL)) {
                Step::Done(proof) => {
                    assert_eq!(proof.by, ProvedBy::Plain { derived: Vec::new() });
                    assert_eq!(proof.data, None);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_right_password_fills_in_missing_keys() {
        match login(b"\0romeo\0secret", stored(&[Hash::Sha1])) {
            Step::Done(Proof { by: ProvedBy::Plain { derived }, .. }) => {
                let hashes: Vec<_> = derived.iter().map(|keys| keys.hash).collect();
                assert_eq!(hashes, [Hash::Sha256, Hash::Sha512]);
                let password = Password::prepare("secret").unwrap();
                assert!(derived.iter().all(|keys| keys.verify(&password)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wrong_passwords_and_unknown_names_take_the_same_way() {
        assert_eq!(failure(login(b"\0romeo\0wrong", stored(&Hash::ALL))), Failure::NotAuthorized);
        assert_eq!(failure(login(b"\0romeo\0wrong", None)), Failure::NotAuthorized);
    }

    #[test]
    fn unknown_names_cost_as_many_rounds() {
        with_facts(|facts| {
            let account = BareJid::parse("romeo@example.org").unwrap();
            let password = Password::prepare("secret").unwrap();
            let job = |stored: Option<&Credentials>| {
                PlainJob::new(password.clone(), &account, stored, facts)
            };
            let (real, ghost) = (job(stored(&Hash::ALL).as_ref()), job(None));
            assert_eq!(real.keys.hash, ghost.keys.hash);
            assert_eq!(real.keys.iterations, ghost.keys.iterations);
            assert!(!ghost.exists);
        });
    }

    #[test]
    fn nobody_acts_for_others() {
        let step = login(b"juliet@example.org\0romeo\0secret", stored(&Hash::ALL));
        assert_eq!(failure(step), Failure::InvalidAuthzid);
    }

    #[test]
    fn malformed_messages() {
        for input in [
            &b""[..],
            b"romeo",
            b"\0romeo",
            b"\0romeo\0",
            b"\0\0secret",
            b"\0romeo\0secret\0more",
            b"\0romeo\0\xff",
        ] {
            assert_eq!(failure(login(input, None)), Failure::MalformedRequest, "{input:?}");
        }
    }

    #[test]
    fn no_debug_text_holds_the_password() {
        with_facts(|facts| {
            let mut plain = Plain::default();
            plain.step(b"\0romeo\0secret", facts);
            let step = plain.found(Found::Credentials(None), facts);
            assert_eq!(format!("{step:?}"), "Need(VerifyPlain(PlainJob))");
        });
    }
}
