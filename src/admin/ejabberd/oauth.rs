//! Tag *oauth*: ejabberd's tokens are API keys here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Command;
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Refusal};
use crate::admin::ops::api_key::{Create, Created, List, Listed, Revoke};
use crate::config::value::Secret;
use crate::jid::BareJid;
use crate::store::api_keys::ApiKey;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<IssueTokenV0>(),
    Entry::command::<IssueToken>(),
    Entry::command::<ListTokens>(),
    Entry::command::<RevokeToken>(),
];

/// The scope that stands for everything.
const EVERYTHING: &str = "ejabberd:admin";

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueToken {
    /// In whose name the key stands in the list.
    jid: String,
    /// Seconds.
    ttl: u32,
    /// Names of commands or operations, or `ejabberd:admin` for all.
    scopes: Vec<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Issued {
    token: String,
    scopes: Vec<String>,
    expires_in: String,
}

impl Command for IssueToken {
    const NAME: &'static str = "oauth_issue_token";
    const VERSION: u32 = 1;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "ttl": 3600, "scopes": ["connected_users"]}"#,
        output: r#"{"token": "coucou_Q2Jp…", "scopes": ["connected_users"],
                    "expires_in": "3600 seconds"}"#,
    };
    type Op = Create;
    type Result = Issued;

    fn operation(self, _: &Context) -> Result<Create, Refusal> {
        create(&self.jid, self.ttl, &self.scopes)
    }

    fn result(outcome: Result<Created, Refusal>) -> Result<Issued, Refusal> {
        let created = outcome?;
        Ok(Issued {
            token: created.key,
            scopes: created.operations.into_iter().map(scope).collect(),
            expires_in: seconds(created.expires_in_secs),
        })
    }
}

/// The form before version 1, with scopes in one text.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueTokenV0 {
    /// In whose name the key stands in the list.
    jid: String,
    /// Seconds.
    ttl: u32,
    /// As for version 1, with `;` between them.
    scopes: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct IssuedV0 {
    token: String,
    scopes: String,
    expires_in: String,
}

impl Command for IssueTokenV0 {
    const NAME: &'static str = "oauth_issue_token";
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "ttl": 3600, "scopes": "status;connected_users"}"#,
        output: r#"{"token": "coucou_Q2Jp…", "scopes": "status;connected_users",
                    "expires_in": "3600 seconds"}"#,
    };
    type Op = Create;
    type Result = IssuedV0;

    fn operation(self, _: &Context) -> Result<Create, Refusal> {
        let scopes: Vec<String> = self.scopes.split(';').map(str::to_owned).collect();
        create(&self.jid, self.ttl, &scopes)
    }

    fn result(outcome: Result<Created, Refusal>) -> Result<IssuedV0, Refusal> {
        let Issued { token, scopes, expires_in } = IssueToken::result(outcome)?;
        Ok(IssuedV0 { token, scopes: scopes.join(";"), expires_in })
    }
}

/// A key whose name begins with `jid`. Names are for one key each, and ejabberd lets an account have
/// any number of tokens.
fn create(jid: &str, ttl: u32, scopes: &[String]) -> Result<Create, Refusal> {
    let jid = BareJid::parse(jid)
        .map_err(|error| Refusal::usage(format!("jid: {jid:?} is not an address: {error}")))?;
    let key = ApiKey::generate()?;
    let apart: String =
        key.reveal().chars().rev().filter(char::is_ascii_alphanumeric).take(8).collect();
    Ok(Create {
        name: format!("{jid} {apart}"),
        operations: scopes.iter().map(|scope| operation(scope)).collect(),
        hosts: Vec::new(),
        networks: Vec::new(),
        expires_in: Some(format!("{ttl}s")),
        role: None,
    })
}

fn operation(scope: &str) -> String {
    if scope == EVERYTHING { "*".to_owned() } else { scope.to_owned() }
}

fn scope(operation: String) -> String {
    if operation == "*" { EVERYTHING.to_owned() } else { operation }
}

fn seconds(secs: Option<u64>) -> String {
    secs.map_or_else(|| "never".to_owned(), |secs| format!("{secs} seconds"))
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListTokens {}

#[derive(Serialize, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// The key's name: the key itself is not kept. `oauth_revoke_token` takes either.
    token: String,
    user: String,
    scope: String,
    expires_in: String,
}

impl Command for ListTokens {
    const NAME: &'static str = "oauth_list_tokens";
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"[{"token": "anna@example.org Xo3vQa9T", "user": "anna@example.org",
                     "scope": "connected_users", "expires_in": "3600 seconds"}]"#,
    };
    type Op = List;
    type Result = Vec<Token>;

    fn operation(self, _: &Context) -> Result<List, Refusal> {
        Ok(List {})
    }

    fn result(outcome: Result<Vec<Listed>, Refusal>) -> Result<Vec<Token>, Refusal> {
        let mut tokens: Vec<Token> = outcome?
            .into_iter()
            .map(|key| Token {
                user: key.name.split(' ').next().unwrap_or_default().to_owned(),
                token: key.name,
                scope: key.operations.into_iter().map(scope).collect::<Vec<_>>().join(";"),
                expires_in: seconds(key.expires_in_secs),
            })
            .collect();
        tokens.sort_unstable();
        Ok(tokens)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// The key itself, or its name.
    token: Secret,
}

impl Command for RevokeToken {
    const NAME: &'static str = "oauth_revoke_token";
    const EXAMPLE: Example =
        Example { arguments: r#"{"token": "anna@example.org Xo3vQa9T"}"#, output: r#""""# };
    type Op = Revoke;
    type Result = String;

    fn operation(self, _: &Context) -> Result<Revoke, Refusal> {
        Ok(match ApiKey::presented(self.token.reveal()) {
            Some(_) => Revoke { name: None, key: Some(self.token) },
            None => Revoke { name: Some(self.token.reveal().to_owned()), key: None },
        })
    }

    fn result(outcome: Result<(), Refusal>) -> Result<String, Refusal> {
        outcome.map(|()| String::new())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::admin::{Actor, Role, ejabberd, run, testing};

    #[tokio::test]
    async fn tokens_are_keys() {
        let (_dir, cx) = testing::offline();
        let owner = Actor::new("uid=0", "test", Role::Owner);
        let call = async |name, version, arguments| -> Value {
            let entry = ejabberd::find(name, version).unwrap();
            run::call(&cx, &owner, entry, arguments).await.unwrap()
        };
        let wanted = json!({"jid": "a@example.org", "ttl": 60, "scopes": ["ejabberd:admin"]});
        let new = call("oauth_issue_token", u32::MAX, wanted).await;
        assert_eq!(new["scopes"], json!(["ejabberd:admin"]));
        assert_eq!(new["expires_in"], "60 seconds");
        let wanted = json!({"jid": "a@example.org", "ttl": 60, "scopes": "status;register"});
        let old = call("oauth_issue_token", 0, wanted).await;
        assert_eq!(old["scopes"], "status;register");
        let listed = call("oauth_list_tokens", 0, json!({})).await;
        assert_eq!(listed.as_array().unwrap().len(), 2);
        assert_eq!(listed[0]["user"], "a@example.org");
        for token in [&old["token"], &new["token"]] {
            assert_eq!(call("oauth_revoke_token", 0, json!({"token": token})).await, json!(""));
        }
        assert_eq!(call("oauth_list_tokens", 0, json!({})).await, json!([]));
    }
}
