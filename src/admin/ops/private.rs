//! Private XML (XEP-0049): bookmarks and what else clients keep there.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account;
use super::words::Words;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::features::private::ELEMENTS_MAX;
use crate::store::private::PrivateLimits;
use crate::xml::element::Element;
use crate::xml::ns;

/// Lists what an account keeps, without its content.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {
    pub jid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    pub name: String,
    pub ns: String,
    pub bytes: u64,
}

impl Operation for List {
    const NAME: &'static str = "private.list";
    const SUMMARY: &'static str = "List the elements that an account keeps in private storage";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"[{"name": "storage", "ns": "storage:bookmarks", "bytes": 812}]"#,
    };
    type Output = Vec<Kept>;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Vec<Kept>, Refusal> {
        let (jid, _) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        let kept = cx.store().survey().private(row.id).await?;
        Ok(kept.into_iter().map(|(name, ns, bytes)| Kept { name, ns, bytes }).collect())
    }
}

/// Reads one element.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Get {
    pub jid: String,
    /// As in `storage`.
    pub name: String,
    /// As in `storage:bookmarks`.
    pub ns: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// None if the account keeps no such element.
    pub element: Option<String>,
}

impl Operation for Get {
    const NAME: &'static str = "private.get";
    const SUMMARY: &'static str = "Read an element of an account's private storage";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "name": "storage", "ns": "storage:rosternotes"}"#,
        output: r#"{"element": "<storage xmlns='storage:rosternotes'/>"}"#,
    };
    type Output = Found;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Found, Refusal> {
        let (jid, _) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        let xml = cx.store().private().get(row.id, &self.name, &self.ns).await?;
        let element = xml.map(|xml| String::from_utf8_lossy(&xml).into_owned());
        Ok(Found { element })
    }
}

/// Writes one element.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Set {
    pub jid: String,
    /// XML with a namespace of its own.
    pub element: Words,
}

impl Operation for Set {
    const NAME: &'static str = "private.set";
    const SUMMARY: &'static str = "Write an element of an account's private storage";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org",
            "element": "<storage xmlns='storage:rosternotes'/>"}"#,
        output: r#"{"name": "storage", "ns": "storage:rosternotes", "bytes": 38}"#,
    };
    type Output = Kept;

    fn target(&self) -> String {
        self.jid.clone()
    }

    fn to_wire(&self) -> Value {
        json!({"jid": self.jid, "element": self.element.as_str()})
    }

    async fn run(self, cx: &Context) -> Result<Kept, Refusal> {
        let (jid, host) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        let element = Element::parse(self.element.as_str().trim().as_bytes(), "")
            .map_err(|error| Refusal::usage(format!("element: {error}")))?;
        if element.ns().is_empty() || element.ns() == ns::PRIVATE {
            let text = "element: it needs a namespace of its own";
            return Err(Refusal::usage(text).help("as in <storage xmlns='storage:bookmarks'/>"));
        }
        let (name, ns) = (element.name().to_owned(), element.ns().to_owned());
        let xml = element.to_xml("");
        let bytes = xml.len() as u64;
        let limits =
            PrivateLimits { elements_max: ELEMENTS_MAX, bytes_max: host.private_bytes_max };
        cx.store().private().set(row.id, &name, &ns, Bytes::from(xml), limits).await?;
        Ok(Kept { name, ns, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::op::RefusalKind;
    use crate::admin::ops::testing;

    #[tokio::test]
    async fn what_is_written_is_read_and_listed() {
        let (_dir, cx) = testing::context().await;
        let jid = "ann@a.org".to_owned();
        let bookmarks = "<storage xmlns='storage:bookmarks'><url name='x'/></storage>";
        let set = Set { jid: jid.clone(), element: bookmarks.into() }.run(&cx).await.unwrap();
        assert_eq!(set.bytes as usize, bookmarks.len());
        assert_eq!(List { jid: jid.clone() }.run(&cx).await.unwrap(), [set]);
        let get = |ns: &str| Get { jid: jid.clone(), name: "storage".into(), ns: ns.into() };
        let found = get("storage:bookmarks").run(&cx).await.unwrap();
        assert_eq!(found.element.as_deref(), Some(bookmarks));
        assert_eq!(get("other").run(&cx).await.unwrap().element, None);
    }

    #[tokio::test]
    async fn what_is_no_element_or_too_large_is_refused() {
        let (_dir, cx) = testing::context().await;
        let set = async |element: &str| {
            Set { jid: "ann@a.org".into(), element: element.into() }.run(&cx).await.unwrap_err()
        };
        assert_eq!(set("<a").await.kind, RefusalKind::Usage);
        assert!(set("<a/>").await.text.contains("namespace of its own"));
        let large = format!("<a xmlns='b'>{}</a>", "x".repeat(300_000));
        assert_eq!(set(&large).await.kind, RefusalKind::Denied);
    }
}
