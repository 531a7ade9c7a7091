//! Comparing a hash of a password with what is kept. Passwords are not: what is kept of one is its
//! SCRAM keys, which have a salt of their own, so that only such a key can be compared. That serves
//! to verify a move from another server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PasswordCheck, account, existing};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::auth::Secret as Key;
use crate::config::value::Secret;

/// Compares a SCRAM key with that of an account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckHash {
    pub jid: String,
    /// The StoredKey of RFC 5802, in base64 or hexadecimal digits.
    pub hash: Secret,
    /// `SCRAM-SHA-1`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub method: String,
}

impl Operation for CheckHash {
    const NAME: &'static str = "account.check_hash";
    const SUMMARY: &'static str = "Compare a SCRAM StoredKey with that of an account";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "hash": "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
            "method": "SCRAM-SHA-256"}"#,
        output: r#"{"right": true, "because": null}"#,
    };
    type Output = PasswordCheck;

    fn target(&self) -> String {
        self.jid.clone()
    }

    fn to_wire(&self) -> Value {
        serde_json::json!({"jid": self.jid, "hash": self.hash.reveal(), "method": self.method})
    }

    async fn run(self, cx: &Context) -> Result<PasswordCheck, Refusal> {
        let Some(hash) = self.method.strip_prefix("SCRAM-") else {
            return Err(Refusal::usage(format!(
                "method: {:?} cannot work, since no password is kept to make such a hash of",
                self.method
            ))
            .help(
                "compare SCRAM keys (SCRAM-SHA-256), or try the password: account.check_password",
            ));
        };
        let (jid, _) = account(cx, &self.jid)?;
        existing(cx, &jid).await?;
        let keys = cx.store().accounts().keys(&jid).await?;
        let Some(row) = keys.into_iter().find(|row| row.hash == hash) else {
            let text = format!("method: the account has no key for {}", self.method);
            return Err(Refusal::usage(text));
        };
        let given = decode(self.hash.reveal());
        // Compared in constant time.
        let right = given.is_some_and(|given| Key::new(given) == Key::new(row.stored_key));
        let because = (!right).then(|| "the key is another one".to_owned());
        Ok(PasswordCheck { right, because })
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let hex = text.len() >= 40
        && text.len().is_multiple_of(2)
        && text.bytes().all(|c| digit(c).is_some());
    if !hex {
        return STANDARD.decode(text).ok();
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::op::RefusalKind;
    use crate::admin::ops::testing;
    use crate::store::accounts::ScramRow;

    #[tokio::test]
    async fn keys_are_compared_and_other_hashes_refused_with_the_reason() {
        let (_dir, cx) = testing::context().await;
        let key = ScramRow {
            hash: "SHA-256".into(),
            salt: vec![1; 16],
            iterations: 10_000,
            stored_key: vec![0xab; 32],
            server_key: vec![2; 32],
        };
        let jid = crate::jid::BareJid::parse("ann@a.org").unwrap();
        cx.store().accounts().set_keys(&jid, vec![key]).await.unwrap();
        let check = async |hash: &str, method: &str| {
            let check = CheckHash {
                jid: "ann@a.org".into(),
                hash: Secret::new(hash),
                method: method.into(),
            };
            check.run(&cx).await
        };
        assert!(check(&"AB".repeat(32), "SCRAM-SHA-256").await.unwrap().right);
        assert!(check(&STANDARD.encode([0xab; 32]), "SCRAM-SHA-256").await.unwrap().right);
        assert!(!check(&"AC".repeat(32), "SCRAM-SHA-256").await.unwrap().right);
        assert!(!check("rubbish", "SCRAM-SHA-256").await.unwrap().right);
        for method in ["md5", "SCRAM-SHA-1"] {
            let refusal = check("00", method).await.unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::Usage);
        }
    }
}
