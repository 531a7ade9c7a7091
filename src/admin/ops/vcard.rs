//! vCards (XEP-0054), whole or field by field.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account;
use super::words::Words;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::store::AccountId;
use crate::xml::element::Element;
use crate::xml::ns;

/// Values of one field.
const VALUES_MAX: usize = 64;

/// Reads a vCard, or one field of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Get {
    pub jid: String,
    /// A field such as `FN` or `EMAIL`; the whole vCard if it is left out.
    #[serde(default)]
    pub field: Option<String>,
    /// A part of the field: `USERID` of `EMAIL`, or the kind of a telephone, as in `CELL`.
    #[serde(default)]
    pub part: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VCard {
    /// The texts of the field, in order; empty if it is not there.
    pub values: Vec<String>,
    /// The vCard as XML, if no field was asked for.
    pub xml: Option<String>,
}

impl Operation for Get {
    const NAME: &'static str = "vcard.get";
    const SUMMARY: &'static str = "Read an account's vCard, or one field of it";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "field": "EMAIL", "part": "USERID"}"#,
        output: r#"{"values": ["anna@example.org"], "xml": null}"#,
    };
    type Output = VCard;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<VCard, Refusal> {
        let (jid, _) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        let card = read(cx, row.id).await?;
        let Some(field) = &self.field else {
            let xml = card.map(|card| card.to_xml(""));
            return Ok(VCard { values: Vec::new(), xml });
        };
        let part = self.part.as_deref();
        let values = card.map(|card| texts(&card, field, part)).unwrap_or_default();
        Ok(VCard { values, xml: None })
    }
}

/// Writes a vCard, or one field of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Set {
    pub jid: String,
    /// A field such as `FN` or `EMAIL`; with it, `values` are what it is to hold.
    #[serde(default)]
    pub field: Option<String>,
    /// A part of the field: `USERID` of `EMAIL`, or the kind of a telephone, as in `CELL`.
    #[serde(default)]
    pub part: Option<String>,
    /// None of them removes the field.
    #[serde(default)]
    pub values: Vec<Words>,
    /// The whole vCard as XML, if no field is named; an empty one removes it.
    #[serde(default)]
    pub xml: Option<Words>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// Of the vCard, as it is kept now.
    pub bytes: usize,
}

impl Operation for Set {
    const NAME: &'static str = "vcard.set";
    const SUMMARY: &'static str = "Write an account's vCard, or one field of it";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "field": "FN", "values": ["Anna Example"]}"#,
        output: r#"{"bytes": 62}"#,
    };
    type Output = Written;

    fn target(&self) -> String {
        self.jid.clone()
    }

    fn to_wire(&self) -> Value {
        let values: Vec<&str> = self.values.iter().map(Words::as_str).collect();
        json!({
            "jid": self.jid, "field": self.field, "part": self.part, "values": values,
            "xml": self.xml.as_ref().map(Words::as_str),
        })
    }

    async fn run(self, cx: &Context) -> Result<Written, Refusal> {
        let (jid, host) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        let card = match (&self.field, &self.xml) {
            (Some(_), Some(_)) => {
                return Err(Refusal::usage("field and xml exclude each other"));
            }
            (None, None) => return Err(Refusal::usage("neither field nor xml is given")),
            (None, Some(xml)) if xml.is_empty() => Element::new("vCard", ns::VCARD),
            (None, Some(xml)) => parse(xml.as_str())?,
            (Some(field), None) => {
                if self.values.len() > VALUES_MAX {
                    return Err(Refusal::usage(format!("values: more than {VALUES_MAX}")));
                }
                let old = read(cx, row.id).await?;
                let mut card = old.unwrap_or_else(|| Element::new("vCard", ns::VCARD));
                let values: Vec<&str> = self.values.iter().map(Words::as_str).collect();
                put(&mut card, &name("field", field)?, self.part.as_deref(), &values)?;
                card
            }
        };
        let xml = card.to_xml("");
        if xml.len() > host.vcard_bytes_max {
            let max = host.vcard_bytes_max;
            let text = format!("the vCard would have {} bytes, at most {max}", xml.len());
            return Err(Refusal::denied(text).help("see vcard_bytes_max in the settings"));
        }
        let bytes = xml.len();
        cx.store().vcards().set(row.id, Bytes::from(xml)).await?;
        Ok(Written { bytes })
    }
}

async fn read(cx: &Context, owner: AccountId) -> Result<Option<Element>, Refusal> {
    let Some(xml) = cx.store().vcards().get(owner).await? else { return Ok(None) };
    Element::parse(&xml, ns::CLIENT).map(Some).map_err(|error| Refusal::bug(&error))
}

fn parse(xml: &str) -> Result<Element, Refusal> {
    let card = Element::parse(xml.trim().as_bytes(), ns::VCARD)
        .map_err(|error| Refusal::usage(format!("xml: {error}")))?;
    if !card.is("vCard", ns::VCARD) {
        let text = format!("xml: <{} xmlns='{}'/> is no vCard", card.name(), card.ns());
        return Err(Refusal::usage(text).help("write <vCard xmlns='vcard-temp'>…</vCard>"));
    }
    Ok(card)
}

/// XEP-0054's names are upper case letters, digits and hyphens.
fn name(what: &str, text: &str) -> Result<String, Refusal> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if text.is_empty() || !text.chars().all(valid) || !text.starts_with(char::is_alphabetic) {
        return Err(Refusal::usage(format!("{what}: {text:?} is no name of a field of a vCard"))
            .help(
                "some are: FN, NICKNAME, BDAY, TITLE, ROLE, URL, DESC, EMAIL, TEL, ADR, ORG, N",
            ));
    }
    Ok(text.to_owned())
}

/// A telephone's kind is an empty element beside its number; every other part holds its text.
fn texts(card: &Element, field: &str, part: Option<&str>) -> Vec<String> {
    let fields = card.children().filter(|child| child.is(field, ns::VCARD));
    match part {
        None => fields.map(Element::text).collect(),
        Some(kind) if field == "TEL" => fields
            .filter(|tel| tel.child(kind, ns::VCARD).is_some())
            .filter_map(|tel| tel.child_text("NUMBER", ns::VCARD))
            .collect(),
        Some(part) => fields
            .flat_map(Element::children)
            .filter(|child| child.is(part, ns::VCARD))
            .map(Element::text)
            .collect(),
    }
}

fn put(
    card: &mut Element,
    field: &str,
    part: Option<&str>,
    values: &[&str],
) -> Result<(), Refusal> {
    let leaf = |name: &str, text: &str| Element::new(name, ns::VCARD).with_text(text);
    let Some(part) = part else {
        card.retain(|child| !child.is(field, ns::VCARD));
        values.iter().for_each(|value| card.push(leaf(field, value)));
        return Ok(());
    };
    let part = name("part", part)?;
    if field == "TEL" {
        let of_kind =
            |tel: &Element| tel.is("TEL", ns::VCARD) && tel.child(&part, ns::VCARD).is_some();
        card.retain(|child| !of_kind(child));
        for value in values {
            let kind = Element::new(&part, ns::VCARD);
            card.push(Element::new("TEL", ns::VCARD).with(kind).with(leaf("NUMBER", value)));
        }
        return Ok(());
    }
    if card.child(field, ns::VCARD).is_none() {
        card.push(Element::new(field, ns::VCARD));
    }
    let Some(found) = card.child_mut(field, ns::VCARD) else { return Ok(()) };
    found.retain(|child| !child.is(&part, ns::VCARD));
    values.iter().for_each(|value| found.push(leaf(&part, value)));
    if found.children().next().is_none() {
        card.retain(|child| !child.is(field, ns::VCARD) || child.children().next().is_some());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::ops::testing;

    async fn set(cx: &Context, field: &str, part: Option<&str>, values: &[&str]) {
        let set = Set {
            jid: "ann@a.org".to_owned(),
            field: Some(field.to_owned()),
            part: part.map(str::to_owned),
            values: values.iter().map(|value| Words::from(*value)).collect(),
            xml: None,
        };
        set.run(cx).await.unwrap();
    }

    async fn get(cx: &Context, field: &str, part: Option<&str>) -> Vec<String> {
        let (field, part) = (Some(field.to_owned()), part.map(str::to_owned));
        Get { jid: "ann@a.org".to_owned(), field, part }.run(cx).await.unwrap().values
    }

    #[tokio::test]
    async fn fields_are_written_one_by_one_and_leave_the_others() {
        let (_dir, cx) = testing::context().await;
        assert_eq!(get(&cx, "FN", None).await, [""; 0]);
        set(&cx, "FN", None, &["Ann <3"]).await;
        set(&cx, "EMAIL", Some("USERID"), &["ann@a.org", "ann@b.org"]).await;
        set(&cx, "TEL", Some("CELL"), &["+1"]).await;
        set(&cx, "TEL", Some("WORK"), &["+2"]).await;
        set(&cx, "TEL", Some("CELL"), &["+3"]).await;
        assert_eq!(get(&cx, "FN", None).await, ["Ann <3"]);
        assert_eq!(get(&cx, "EMAIL", Some("USERID")).await, ["ann@a.org", "ann@b.org"]);
        assert_eq!(get(&cx, "TEL", Some("CELL")).await, ["+3"]);
        assert_eq!(get(&cx, "TEL", Some("WORK")).await, ["+2"]);
        set(&cx, "EMAIL", Some("USERID"), &[]).await;
        let all = Get { jid: "ann@a.org".to_owned(), field: None, part: None }.run(&cx).await;
        assert_eq!(
            all.unwrap().xml.unwrap(),
            "<vCard xmlns='vcard-temp'><FN>Ann &lt;3</FN><TEL><WORK/><NUMBER>+2</NUMBER></TEL>\
             <TEL><CELL/><NUMBER>+3</NUMBER></TEL></vCard>"
        );
    }

    #[tokio::test]
    async fn what_is_no_vcard_is_refused() {
        let (_dir, cx) = testing::context().await;
        for (arguments, told) in [
            (json!({"jid": "ann@a.org"}), "neither field nor xml"),
            (json!({"jid": "ann@a.org", "field": "F N", "values": ["x"]}), "is no name of a field"),
            (json!({"jid": "ann@a.org", "xml": "<vCard xmlns='vcard-temp'>"}), "xml: "),
            (json!({"jid": "ann@a.org", "xml": "<x xmlns='y'/>"}), "is no vCard"),
            (json!({"jid": "nn@a.org", "field": "FN"}), "there is no account nn@a.org"),
        ] {
            let set: Set = serde_json::from_value(arguments).unwrap();
            let refusal = set.run(&cx).await.unwrap_err();
            assert!(refusal.text.contains(told), "{refusal}");
        }
    }
}
