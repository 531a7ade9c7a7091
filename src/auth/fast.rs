//! Hashed Token mechanisms (draft-schmaus-kitten-sasl-ht-09) for FAST (XEP-0484).

use subtle::{Choice, ConstantTimeEq};

use super::devices::{AgentId, HtMechanism, Token, Tokens};
use super::hash::Hash;
use super::mechanism::{Facts, Failure, Found, Mechanism, Need, Proof, ProvedBy, Step};
use crate::jid::BareJid;

/// One login by token.
pub struct Fast {
    mechanism: HtMechanism,
    agent: AgentId,
    state: State,
}

enum State {
    Message,
    Tokens(BareJid, [u8; 32]),
    Over,
}

impl Fast {
    /// `agent` is the device that claims to hold a token.
    pub fn new(mechanism: HtMechanism, agent: AgentId) -> Fast {
        Fast { mechanism, agent, state: State::Message }
    }

    /// `authcid NUL HMAC(token, "Initiator" cb-data)`
    fn message(&self, input: &[u8], facts: &Facts<'_>) -> Result<(BareJid, [u8; 32]), Failure> {
        let malformed = Failure::MalformedRequest;
        let nul = input.iter().position(|&byte| byte == 0).ok_or(malformed)?;
        let hash = input[nul + 1..].try_into().map_err(|_| malformed)?;
        let authcid = std::str::from_utf8(&input[..nul]).map_err(|_| malformed)?;
        let authcid = stringprep::saslprep(authcid).map_err(|_| Failure::NotAuthorized)?;
        Ok((facts.account(&authcid)?, hash))
    }

    fn verify(
        &self,
        account: BareJid,
        hash: &[u8; 32],
        tokens: &Tokens,
        facts: &Facts<'_>,
    ) -> Result<Proof, Failure> {
        let binding = match self.mechanism.binding() {
            None => &[][..],
            Some(binding) => facts
                .channel
                .and_then(|channel| channel.binding(binding))
                .ok_or(Failure::NotAuthorized)?,
        };
        // Two comparisons for everybody: neither the number of tokens nor the slot shows.
        let decoy = Token {
            nonce: [0; 16],
            mechanism: self.mechanism,
            issued: facts.now,
            expires: facts.now,
            count: 0,
        };
        let mut found = None;
        for slot in [&tokens.new, &tokens.current] {
            let token = slot.as_ref().unwrap_or(&decoy);
            let key = token.text(facts.secret, &account, self.agent);
            let expected = Hash::Sha256.hmac(key.expose(), &[b"Initiator", binding]);
            let usable = slot.is_some() && token.mechanism == self.mechanism;
            let good = expected.expose().ct_eq(hash) & Choice::from(u8::from(usable));
            if bool::from(good) && found.is_none() {
                let data = Hash::Sha256.hmac(key.expose(), &[b"Responder", binding]);
                found = Some((token, data));
            }
        }
        let (token, data) = found.ok_or(Failure::NotAuthorized)?;
        if token.expires <= facts.now {
            return Err(Failure::CredentialsExpired);
        }
        let by = ProvedBy::Token(token.clone());
        Ok(Proof { account, data: Some(data.expose().to_vec()), by })
    }
}

impl Mechanism for Fast {
    fn step(&mut self, input: &[u8], facts: &Facts<'_>) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Message => match self.message(input, facts) {
                Ok((account, hash)) => {
                    self.state = State::Tokens(account.clone(), hash);
                    Step::Need(Need::Tokens { account, agent: self.agent })
                }
                Err(failure) => failure.into(),
            },
            _ => Failure::MalformedRequest.into(),
        }
    }

    fn found(&mut self, found: Found, facts: &Facts<'_>) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), found) {
            (State::Tokens(account, hash), Found::Tokens(tokens)) => {
                let tokens = tokens.unwrap_or_default();
                match self.verify(account, &hash, &tokens, facts) {
                    Ok(proof) => Step::Done(proof),
                    Err(failure) => failure.into(),
                }
            }
            _ => Failure::TemporaryAuthFailure.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::mechanism::{Channel, Offer};
    use crate::auth::secret::ServerSecret;
    use crate::time::Now;

    const NOW: Now = Now(1_000_000_000);
    const EXPORTED: [u8; 32] = [0xe1; 32];

    fn secret() -> ServerSecret {
        ServerSecret::from_bytes(&[5; 32])
    }

    fn romeo() -> BareJid {
        BareJid::parse("romeo@example.org").unwrap()
    }

    fn phone() -> AgentId {
        AgentId::of("d4565fa7-4d72-4749-b3d3-740edbf87770").unwrap()
    }

    fn token(mechanism: HtMechanism) -> Token {
        Token::generate(mechanism, NOW, Duration::from_secs(60))
    }

    fn initiator(token: &Token, binding: &[u8]) -> Vec<u8> {
        let key = token.text(&secret(), &romeo(), phone());
        let hash = Hash::Sha256.hmac(key.expose(), &[b"Initiator", binding]);
        [b"romeo\0", hash.expose()].concat()
    }

    fn login(mechanism: HtMechanism, now: Now, input: &[u8], tokens: Option<Tokens>) -> Step {
        let (secret, offer) = (secret(), Offer::default());
        let channel = Channel { exporter: Some(EXPORTED), ..Channel::default() };
        let facts = Facts {
            domain: "example.org",
            from: None,
            channel: Some(&channel),
            offer: &offer,
            secret: &secret,
            iterations: &[],
            now,
        };
        let mut fast = Fast::new(mechanism, phone());
        match fast.step(input, &facts) {
            Step::Need(Need::Tokens { account, agent }) => {
                assert_eq!((account, agent), (romeo(), phone()));
                fast.found(Found::Tokens(tokens), &facts)
            }
            other => other,
        }
    }

    fn failure(step: Step) -> Failure {
        match step {
            Step::Fail(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    fn only(token: &Token) -> Option<Tokens> {
        Some(Tokens { new: Some(token.clone()), current: None })
    }

    #[test]
    fn a_token_opens_and_the_server_proves_that_it_knows_it() {
        for (mechanism, binding) in
            [(HtMechanism::None, &[][..]), (HtMechanism::Exporter, &EXPORTED[..])]
        {
            let token = token(mechanism);
            let input = initiator(&token, binding);
            match login(mechanism, NOW, &input, only(&token)) {
                Step::Done(proof) => {
                    let key = token.text(&secret(), &romeo(), phone());
                    let responder = Hash::Sha256.hmac(key.expose(), &[b"Responder", binding]);
                    assert_eq!(proof.data.as_deref(), Some(responder.expose()));
                    assert_eq!(proof.account, romeo());
                    assert_eq!(proof.by, ProvedBy::Token(token));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn both_slots_are_tried() {
        let (new, current) = (token(HtMechanism::None), token(HtMechanism::None));
        let tokens = Tokens { new: Some(new.clone()), current: Some(current.clone()) };
        for token in [new, current] {
            let step = login(HtMechanism::None, NOW, &initiator(&token, b""), Some(tokens.clone()));
            assert!(matches!(step, Step::Done(Proof { by: ProvedBy::Token(t), .. }) if t == token));
        }
    }

    #[test]
    fn a_token_serves_its_own_mechanism_only() {
        let bound = token(HtMechanism::Exporter);
        let step = login(HtMechanism::None, NOW, &initiator(&bound, b""), only(&bound));
        assert_eq!(failure(step), Failure::NotAuthorized);
    }

    #[test]
    fn a_token_replayed_on_another_channel_fails() {
        let bound = token(HtMechanism::Exporter);
        let input = initiator(&bound, &[0; 32]);
        let step = login(HtMechanism::Exporter, NOW, &input, only(&bound));
        assert_eq!(failure(step), Failure::NotAuthorized);
        // Nor may a binding be claimed that this connection does not have.
        let endp = token(HtMechanism::EndPoint);
        let step = login(HtMechanism::EndPoint, NOW, &initiator(&endp, b""), only(&endp));
        assert_eq!(failure(step), Failure::NotAuthorized);
    }

    #[test]
    fn only_the_holder_learns_that_a_token_has_expired() {
        let token = token(HtMechanism::None);
        let late = NOW.plus(Duration::from_secs(60));
        let step = login(HtMechanism::None, late, &initiator(&token, b""), only(&token));
        assert_eq!(failure(step), Failure::CredentialsExpired);
        let wrong = [&b"romeo\0"[..], &[0; 32]].concat();
        let step = login(HtMechanism::None, late, &wrong, only(&token));
        assert_eq!(failure(step), Failure::NotAuthorized);
    }

    #[test]
    fn revoked_tokens_and_unknown_names_fail_alike() {
        let token = token(HtMechanism::None);
        let input = initiator(&token, b"");
        for tokens in [None, Some(Tokens::default())] {
            let step = login(HtMechanism::None, NOW, &input, tokens);
            assert_eq!(failure(step), Failure::NotAuthorized);
        }
    }

    #[test]
    fn malformed_messages() {
        for input in
            [&b""[..], b"romeo", b"romeo\0short", b"\xff\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
        {
            let step = login(HtMechanism::None, NOW, input, None);
            assert_eq!(failure(step), Failure::MalformedRequest, "{input:?}");
        }
    }
}
