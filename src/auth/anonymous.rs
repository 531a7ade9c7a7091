//! ANONYMOUS (RFC 4505) as XEP-0175 wants it: a fresh name for every session, on guest hosts.

use super::devices::base32;
use super::mechanism::{Facts, Failure, Found, Mechanism, Proof, ProvedBy, Step};
use super::secret::fill_random;
use crate::jid::Jid;

/// Longest trace information of RFC 4505 §2, in bytes. We read none of it.
const TRACE_BYTES_MAX: usize = 1_020;

pub struct Anonymous {
    name: Option<String>,
}

impl Anonymous {
    pub fn new() -> Anonymous {
        let mut bytes = [0; 16];
        fill_random(&mut bytes);
        Anonymous { name: Some(base32(&bytes)) }
    }
}

impl Default for Anonymous {
    fn default() -> Anonymous {
        Anonymous::new()
    }
}

impl Mechanism for Anonymous {
    fn step(&mut self, input: &[u8], facts: &Facts<'_>) -> Step {
        let Some(name) = self.name.take().filter(|_| input.len() <= TRACE_BYTES_MAX) else {
            return Failure::MalformedRequest.into();
        };
        match Jid::from_parts(Some(&name), facts.domain, None) {
            Ok(jid) => Step::Done(Proof { account: jid.bare(), data: None, by: ProvedBy::Nobody }),
            Err(_) => Failure::TemporaryAuthFailure.into(),
        }
    }

    fn found(&mut self, _: Found, _: &Facts<'_>) -> Step {
        Failure::TemporaryAuthFailure.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::mechanism::Offer;
    use crate::auth::secret::ServerSecret;
    use crate::time::Now;

    #[test]
    fn every_guest_has_a_name_of_its_own() {
        let facts = Facts {
            domain: "public.example.org",
            from: None,
            channel: None,
            offer: &Offer::default(),
            secret: &ServerSecret::from_bytes(&[1; 32]),
            iterations: &[],
            now: Now(0),
        };
        let guest = |trace: &[u8]| match Anonymous::new().step(trace, &facts) {
            Step::Done(proof) => proof,
            other => panic!("{other:?}"),
        };
        let (one, two) = (guest(b""), guest(b"juliet"));
        assert_ne!(one.account, two.account);
        assert_eq!(one.by, ProvedBy::Nobody);
        assert_eq!(one.account.domain(), "public.example.org");
        assert_eq!(one.account.local().unwrap().len(), 26);

        let step = Anonymous::new().step(&[b'x'; 1_021], &facts);
        assert!(matches!(step, Step::Fail(Failure::MalformedRequest)));
    }
}
