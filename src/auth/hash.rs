//! The hash functions of SCRAM, chosen at run time.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::secret::Secret;

/// A hash function with a registered SCRAM mechanism, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// RFC 5802.
    Sha1,
    /// RFC 7677.
    Sha256,
    /// draft-melnikov-scram-sha-512, deployed by ejabberd, MongooseIM and most clients.
    Sha512,
}

impl Hash {
    pub const ALL: [Hash; 3] = [Hash::Sha1, Hash::Sha256, Hash::Sha512];

    /// Bytes of output.
    pub fn output_len(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha512 => 64,
        }
    }

    /// The name within `SCRAM-…`; also how the store names it.
    pub fn name(self) -> &'static str {
        match self {
            Hash::Sha1 => "SHA-1",
            Hash::Sha256 => "SHA-256",
            Hash::Sha512 => "SHA-512",
        }
    }

    pub fn from_name(name: &str) -> Option<Hash> {
        Hash::ALL.into_iter().find(|hash| hash.name() == name)
    }

    pub fn digest(self, message: &[u8]) -> Secret {
        match self {
            Hash::Sha1 => Secret::new(Sha1::digest(message).as_slice()),
            Hash::Sha256 => Secret::new(Sha256::digest(message).as_slice()),
            Hash::Sha512 => Secret::new(Sha512::digest(message).as_slice()),
        }
    }

    /// HMAC over the parts, one after the other.
    pub fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        match self {
            Hash::Sha1 => mac::<Hmac<Sha1>>(key, parts),
            Hash::Sha256 => mac::<Hmac<Sha256>>(key, parts),
            Hash::Sha512 => mac::<Hmac<Sha512>>(key, parts),
        }
    }

    /// `Hi()` of RFC 5802 §2.2: PBKDF2 with this hash and one block of output.
    ///
    /// Takes milliseconds: never call it on a thread that serves sockets.
    pub fn pbkdf2(self, password: &[u8], salt: &[u8], iterations: u32) -> Secret {
        let mut out = vec![0; self.output_len()].into_boxed_slice();
        match self {
            Hash::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut out),
            Hash::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut out),
            Hash::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut out),
        }
        Secret::new(out)
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Secret {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    Secret::new(mac.finalize().into_bytes().as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for hash in Hash::ALL {
            assert_eq!(Hash::from_name(hash.name()), Some(hash));
            assert_eq!(hash.digest(b"").expose().len(), hash.output_len());
        }
        assert_eq!(Hash::from_name("MD5"), None);
    }

    /// RFC 6070, second vector.
    #[test]
    fn pbkdf2_as_in_rfc_6070() {
        let key = Hash::Sha1.pbkdf2(b"password", b"salt", 2);
        assert_eq!(key.expose()[..4], [0xea, 0x6c, 0x01, 0x4d]);
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_as_in_rfc_4231() {
        let tag = Hash::Sha256.hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(tag.expose()[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }
}
