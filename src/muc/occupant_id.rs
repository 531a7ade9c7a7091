//! XEP-0421: Occupant identifiers for semi-anonymous MUCs (1.0.1). One id per account and room, the
//! same at every visit; nobody can tell the account from it, nor whether two rooms' ids are one's.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::hash::Hash;
use crate::jid::BareJid;

/// The id of `account` in the room whose secret is `salt`.
pub fn of(salt: &[u8; 16], account: &BareJid) -> Box<str> {
    let id = Hash::Sha256.hmac(salt, &[account.as_str().as_bytes()]);
    URL_SAFE_NO_PAD.encode(id.expose()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_within_a_room_and_strange_outside_of_it() {
        let [hag, crone] = ["hag66@shakespeare.lit", "crone1@shakespeare.lit"]
            .map(|jid| BareJid::parse(jid).unwrap());
        assert_eq!(of(&[1; 16], &hag), of(&[1; 16], &hag));
        assert_ne!(of(&[1; 16], &hag), of(&[1; 16], &crone));
        assert_ne!(of(&[1; 16], &hag), of(&[2; 16], &hag));
    }
}
