//! The question: `<query/>` with its form (XEP-0313 §4.1, XEP-0431) and page (XEP-0059).

use crate::jid::Jid;
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::forms::{Field, FieldType, Form, FormError, FormKind};
use crate::stanza::rsm::{Before, PageRequest};
use crate::store::archive::{ArchiveQuery, PAGE_MAX, Position, Rsm};
use crate::store::{AccountId, MessageId};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Messages in a page when the client does not say how many it wants.
const PAGE_DEFAULT: usize = 100;
/// Longest search text, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// Longest `queryid`, in bytes: it comes back with every result.
const QUERY_ID_BYTES_MAX: usize = 256;
/// XEP-0431's field, in Clark notation.
const FULLTEXT: &str = "{urn:xmpp:fulltext:0}fulltext";
/// The fields of XEP-0313.
const KNOWN: [&str; 7] =
    ["with", "start", "end", "before-id", "after-id", "ids", "include-groupchat"];

/// A query as it was understood.
#[derive(Debug)]
pub struct Query {
    pub id: Option<String>,
    /// Newest first within the page.
    pub flip: bool,
    pub rows: ArchiveQuery,
}

impl Query {
    /// Reads `<query/>`; `search` tells whether the host searches texts.
    ///
    /// Values that mean nothing are `bad-request`, unknown fields `feature-not-implemented`, ids
    /// that cannot be ours `item-not-found`.
    pub fn read(query: &Element, owner: AccountId, search: bool) -> Result<Query, StanzaError> {
        if query.get("node").is_some() {
            let error = StanzaError::new(Condition::FeatureNotImplemented);
            return Err(error.with_text("An account's archive has no nodes."));
        }
        let id = query.get("queryid").map(str::to_owned);
        if id.as_ref().is_some_and(|id| id.len() > QUERY_ID_BYTES_MAX) {
            return Err(bad(format!("A queryid has at most {QUERY_ID_BYTES_MAX} bytes.")));
        }
        let mut rows = ArchiveQuery::of(owner);
        match Form::submitted(query, ns::MAM2) {
            Ok(form) => read_form(&mut rows, &form, search)?,
            Err(FormError::Missing) => {}
            Err(error) => return Err(bad(error)),
        }
        rows.rsm = read_page(query)?;
        Ok(Query { id, flip: query.child("flip-page", ns::MAM2).is_some(), rows })
    }

    /// Does it ask for everything in a stretch of time, as a client does that catches up?
    pub fn is_catch_up(&self) -> bool {
        self.rows.with.is_none()
            && self.rows.ids.is_empty()
            && self.rows.text.is_none()
            && self.rows.rsm.max > 0
    }

    /// Does it name messages that must be there?
    pub fn names_ids(&self) -> bool {
        let rows = &self.rows;
        !rows.ids.is_empty()
            || rows.after_id.is_some()
            || rows.before_id.is_some()
            || matches!(rows.rsm.at, Position::After(_) | Position::Before(_))
    }

    /// Are the pages fetched from the newest to the oldest?
    pub fn is_backwards(&self) -> bool {
        matches!(self.rows.rsm.at, Position::Before(_) | Position::Last)
    }
}

fn read_form(rows: &mut ArchiveQuery, form: &Form, search: bool) -> Result<(), StanzaError> {
    let is_known = |var: &&str| KNOWN.contains(var) || search && *var == FULLTEXT;
    if let Some(var) =
        form.fields.iter().filter_map(|field| field.var.as_deref()).find(|var| !is_known(var))
    {
        let error = StanzaError::new(Condition::FeatureNotImplemented);
        return Err(error.with_text(format!("There is no field '{var}' here.")));
    }
    rows.with = one(form, "with")?
        .map(Jid::parse)
        .transpose()
        .map_err(|e| bad(format!("The field 'with': {e}")))?;
    rows.start = read_time(form, "start")?;
    rows.end = read_time(form, "end")?;
    rows.after_id = one(form, "after-id")?.map(read_id).transpose()?;
    rows.before_id = one(form, "before-id")?.map(read_id).transpose()?;
    if form.get("ids").is_some() {
        let ids = form.values("ids");
        if ids.is_empty() || ids.len() > PAGE_MAX {
            return Err(bad(format!("The field 'ids' takes 1 to {PAGE_MAX} ids.")));
        }
        rows.ids = ids.iter().map(|id| read_id(id)).collect::<Result<_, _>>()?;
        rows.ids.sort_unstable();
        rows.ids.dedup();
    }
    rows.groupchat = form.boolean("include-groupchat").map_err(bad)?.unwrap_or(true);
    let text = one(form, FULLTEXT)?.filter(|text| !text.trim().is_empty());
    if text.is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(bad(format!("The search text has at most {TEXT_BYTES_MAX} bytes.")));
    }
    rows.text = text.map(str::to_owned);
    Ok(())
}

/// The value of a field that takes one at most; a field without value counts as left out.
fn one<'f>(form: &'f Form, var: &str) -> Result<Option<&'f str>, StanzaError> {
    match form.values(var) {
        [] => Ok(None),
        [value] => Ok(Some(value)),
        _ => Err(bad(FormError::ManyValues(var.to_owned()))),
    }
}

fn read_time(form: &Form, var: &str) -> Result<Option<Now>, StanzaError> {
    let Some(text) = one(form, var)? else { return Ok(None) };
    match Now::parse_xmpp(text.trim()) {
        Some(time) => Ok(Some(time)),
        None => Err(bad(format!("The field '{var}' is not a date and time as in XEP-0082."))),
    }
}

/// An id that we cannot read is not in the archive.
fn read_id(text: &str) -> Result<MessageId, StanzaError> {
    MessageId::parse(text).ok_or_else(|| Condition::ItemNotFound.into())
}

fn read_page(query: &Element) -> Result<Rsm, StanzaError> {
    let page = PageRequest::of(query)?;
    let at = match (&page.after, &page.before, page.index) {
        (Some(_), Some(_), _) => {
            return Err(bad(
                "<after/> and <before/> mean nothing together: use the fields after-id and before-id.",
            ));
        }
        (Some(after), None, _) => Position::After(read_id(after)?),
        (None, Some(Before::End), _) => Position::Last,
        (None, Some(Before::Item(before)), _) => Position::Before(read_id(before)?),
        (None, None, Some(index)) => Position::Index(u64::try_from(index).unwrap_or(u64::MAX)),
        (None, None, None) => Position::First,
    };
    Ok(Rsm { max: page.limit(PAGE_DEFAULT, PAGE_MAX), at })
}

/// The form that tells which fields may be asked for (§4.1.6).
pub fn fields(search: bool) -> Element {
    let field = |typ: FieldType, var: &str| Field::new(typ, var);
    let mut form = Form::new(FormKind::Form)
        .form_type(ns::MAM2)
        .field(field(FieldType::JidSingle, "with"))
        .field(field(FieldType::TextSingle, "start"))
        .field(field(FieldType::TextSingle, "end"))
        .field(field(FieldType::TextSingle, "before-id"))
        .field(field(FieldType::TextSingle, "after-id"))
        .field(field(FieldType::ListMulti, "ids"))
        .field(field(FieldType::Boolean, "include-groupchat"));
    if search {
        form = form.field(field(FieldType::TextSingle, FULLTEXT));
    }
    let mut x = form.to_element();
    // XEP-0122: a list that is open to ids we do not list.
    if let Some(ids) = x.children_mut().find(|field| field.get("var") == Some("ids")) {
        let open = Element::new("open", ns::DATA_VALIDATE);
        ids.push(
            Element::new("validate", ns::DATA_VALIDATE).attr("datatype", "xs:string").with(open),
        );
    }
    x
}

fn bad(text: impl ToString) -> StanzaError {
    StanzaError::new(Condition::BadRequest).with_text(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: AccountId = AccountId(7);

    fn read(inside: &str) -> Result<Query, StanzaError> {
        let xml = format!("<query xmlns='urn:xmpp:mam:2' queryid='f27'>{inside}</query>");
        Query::read(&Element::parse(xml.as_bytes(), ns::CLIENT).expect("XML"), OWNER, true)
    }

    fn with_fields(fields: &str) -> Result<Query, StanzaError> {
        read(&format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
             <value>urn:xmpp:mam:2</value></field>{fields}</x>"
        ))
    }

    fn with_set(inside: &str) -> Result<Query, StanzaError> {
        read(&format!("<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>"))
    }

    fn condition(result: Result<Query, StanzaError>) -> Condition {
        result.expect_err("a refusal").condition
    }

    #[test]
    fn a_bare_query_asks_for_the_first_page_of_everything() {
        let query = read("").expect("a query");
        assert_eq!(query.id.as_deref(), Some("f27"));
        assert_eq!(query.rows.rsm, Rsm { max: PAGE_DEFAULT, at: Position::First });
        assert!(query.is_catch_up() && !query.flip);
    }

    #[test]
    fn the_fields_of_the_specification_are_understood() {
        let query = with_fields(
            "<field var='with'><value>Juliet@Capulet.lit/Balcony</value></field>\
             <field var='start'><value>2010-06-07T00:00:00Z</value></field>\
             <field var='end'><value>2010-07-07T13:23:54Z</value></field>\
             <field var='after-id'><value>0000000000001</value></field>\
             <field var='before-id'><value>0000000000003</value></field>\
             <field var='ids'><value>0000000000002</value><value>0000000000002</value></field>\
             <field var='include-groupchat'><value>false</value></field>\
             <field var='{urn:xmpp:fulltext:0}fulltext'><value>Where art thou</value></field>",
        )
        .expect("a query");
        assert_eq!(query.rows.with.as_ref().map(Jid::as_str), Some("juliet@capulet.lit/Balcony"));
        assert_eq!(query.rows.start, Now::parse_xmpp("2010-06-07T00:00:00Z"));
        assert_eq!(query.rows.end, Now::parse_xmpp("2010-07-07T13:23:54Z"));
        assert_eq!(query.rows.after_id, Some(MessageId(1)));
        assert_eq!(query.rows.before_id, Some(MessageId(3)));
        assert_eq!(query.rows.ids, [MessageId(2)]);
        assert_eq!(query.rows.text.as_deref(), Some("Where art thou"));
        assert!(!query.rows.groupchat && !query.is_catch_up());
    }

    #[test]
    fn values_that_mean_nothing_are_bad_requests() {
        for fields in [
            "<field var='with'><value>@@</value></field>",
            "<field var='with'><value/></field>",
            "<field var='with'><value>a@b</value><value>c@d</value></field>",
            "<field var='with'><value>a@b</value></field><field var='with'><value>c@d</value></field>",
            "<field var='start'><value>yesterday</value></field>",
            "<field var='ids'/>",
            "<field var='include-groupchat'><value>perhaps</value></field>",
            "<field><value>x</value></field>",
        ] {
            assert_eq!(condition(with_fields(fields)), Condition::BadRequest, "{fields}");
        }
        assert_eq!(
            condition(read("<x xmlns='jabber:x:data' type='submit'/>")),
            Condition::BadRequest
        );
        assert_eq!(condition(with_set("<max>many</max>")), Condition::BadRequest);
        assert_eq!(
            condition(with_set("<after>0000000000001</after><before/>")),
            Condition::BadRequest
        );
    }

    #[test]
    fn oversized_forms_are_refused() {
        let ids: String = (0..=PAGE_MAX).map(|_| "<value>0000000000001</value>").collect();
        assert_eq!(
            condition(with_fields(&format!("<field var='ids'>{ids}</field>"))),
            Condition::BadRequest
        );
        let text = "x".repeat(TEXT_BYTES_MAX + 1);
        let field = format!("<field var='{FULLTEXT}'><value>{text}</value></field>");
        assert_eq!(condition(with_fields(&field)), Condition::BadRequest);
    }

    #[test]
    fn unknown_fields_are_not_implemented_and_unknown_ids_not_found() {
        let field = "<field var='{http://example.com/}stanza-content'><value>x</value></field>";
        assert_eq!(condition(with_fields(field)), Condition::FeatureNotImplemented);
        for var in ["ids", "after-id", "before-id"] {
            let field = format!("<field var='{var}'><value>28482-98726-73623</value></field>");
            assert_eq!(condition(with_fields(&field)), Condition::ItemNotFound);
        }
        assert_eq!(
            condition(with_set("<after>09af3-cc343-b409f</after>")),
            Condition::ItemNotFound
        );
    }

    #[test]
    fn pages_are_bounded_whatever_is_asked_for() {
        assert_eq!(with_set("<max>4294967296000</max>").expect("a query").rows.rsm.max, PAGE_MAX);
        assert_eq!(with_set("<max>0</max>").expect("a query").rows.rsm.max, 0);
    }

    #[test]
    fn the_last_page_is_an_empty_before() {
        let query = with_set("<max>10</max><before/>").expect("a query");
        assert_eq!(query.rows.rsm, Rsm { max: 10, at: Position::Last });
        assert!(query.is_backwards());
    }
}
