//! Block lists of accounts (XEP-0191). A change is told to the account's clients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::delivery::route;
use crate::features::{Outbox, blocking};
use crate::jid::Jid;
use crate::time::Now;

/// Addresses in one request.
const REQUEST_MAX: usize = 1_000;

/// Lists whom an account blocks.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Get {
    pub jid: String,
}

impl Operation for Get {
    const NAME: &'static str = "blocklist.get";
    const SUMMARY: &'static str = "List the addresses that an account blocks";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"["eve@example.com", "spam.example"]"#,
    };
    type Output = Vec<String>;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Vec<String>, Refusal> {
        let (jid, _) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        let blocked = cx.store().blocks().list(row.id).await?;
        Ok(blocked.iter().map(Jid::to_string).collect())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// The addresses for which that changed something.
    pub changed: Vec<String>,
}

/// Blocks addresses for an account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Add {
    pub jid: String,
    /// Accounts, sessions or whole domains.
    pub addresses: Vec<String>,
}

impl Operation for Add {
    const NAME: &'static str = "blocklist.add";
    const SUMMARY: &'static str = "Block addresses for an account";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "addresses": ["spam.example"]}"#,
        output: r#"{"changed": ["spam.example"]}"#,
    };
    type Output = Changed;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Changed, Refusal> {
        let (jid, host) = account::account(cx, &self.jid)?;
        account::existing(cx, &jid).await?;
        let addresses = addresses(&self.addresses)?;
        if let Some(own) = addresses.iter().find(|other| other.bare_str() == jid.as_str()) {
            return Err(Refusal::usage(format!("{own} is the account itself")));
        }
        let (router, out) = (cx.router(), Outbox::default());
        let new = blocking::block_for(&router, &host, &jid, addresses, &out).await?;
        route::drain(&router, out, Now::read()).await;
        Ok(Changed { changed: new.iter().map(Jid::to_string).collect() })
    }
}

/// Unblocks addresses for an account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    pub jid: String,
    pub addresses: Vec<String>,
}

impl Operation for Remove {
    const NAME: &'static str = "blocklist.remove";
    const SUMMARY: &'static str = "Unblock addresses for an account";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "addresses": ["spam.example"]}"#,
        output: r#"{"changed": ["spam.example"]}"#,
    };
    type Output = Changed;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Changed, Refusal> {
        let (jid, _) = account::account(cx, &self.jid)?;
        account::existing(cx, &jid).await?;
        let addresses = addresses(&self.addresses)?;
        let (router, out) = (cx.router(), Outbox::default());
        let gone = blocking::unblock_for(&router, &jid, addresses, &out).await?;
        route::drain(&router, out, Now::read()).await;
        Ok(Changed { changed: gone.iter().map(Jid::to_string).collect() })
    }
}

/// At least one, since an empty list has another meaning to the store: all of them.
fn addresses(texts: &[String]) -> Result<Vec<Jid>, Refusal> {
    if texts.is_empty() {
        return Err(Refusal::usage("addresses: name at least one"));
    }
    if texts.len() > REQUEST_MAX {
        return Err(Refusal::usage(format!("addresses: more than {REQUEST_MAX}")));
    }
    let parse = |text: &String| {
        Jid::parse(text)
            .map_err(|error| Refusal::usage(format!("{text:?} is not an address: {error}")))
    };
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::op::RefusalKind;
    use crate::admin::ops::testing;

    #[tokio::test]
    async fn addresses_are_blocked_and_unblocked() {
        let (_dir, cx) = testing::context().await;
        let jid = "ann@a.org".to_owned();
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let add =
            async |texts: &[&str]| Add { jid: jid.clone(), addresses: list(texts) }.run(&cx).await;
        let added = add(&["Eve@b.org", "spam.example"]).await.unwrap();
        assert_eq!(added.changed, ["eve@b.org", "spam.example"]);
        assert_eq!(add(&["spam.example"]).await.unwrap().changed, [""; 0]);
        assert_eq!(add(&[]).await.unwrap_err().kind, RefusalKind::Usage);
        assert!(add(&["ann@a.org/x"]).await.unwrap_err().text.contains("the account itself"));
        let remove = Remove { jid: jid.clone(), addresses: list(&["eve@b.org", "x@y"]) };
        assert_eq!(remove.run(&cx).await.unwrap().changed, ["eve@b.org"]);
        assert_eq!(Get { jid: jid.clone() }.run(&cx).await.unwrap(), ["spam.example"]);
        let empty = Remove { jid: jid.clone(), addresses: Vec::new() }.run(&cx).await;
        assert_eq!(empty.unwrap_err().kind, RefusalKind::Usage);
        assert_eq!(Get { jid }.run(&cx).await.unwrap().len(), 1);
    }
}
