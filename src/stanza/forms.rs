//! XEP-0004: Data Forms (2.13.1), with the `FORM_TYPE` of XEP-0068.
//!
//! Pages and sections (XEP-0141) are passed through by nobody and read by nobody; `<reported/>`
//! tables (XEP-0055) are written and read.

use std::fmt;

use super::{Condition, StanzaError};
use crate::jid::{Jid, JidError};
use crate::xml::element::Element;
use crate::xml::ns;

/// What a form is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormKind {
    /// To be filled out.
    Form,
    /// Filled out.
    Submit,
    /// Not going to be filled out.
    Cancel,
    /// Data for the reader.
    Result,
}

impl FormKind {
    pub fn name(self) -> &'static str {
        match self {
            FormKind::Form => "form",
            FormKind::Submit => "submit",
            FormKind::Cancel => "cancel",
            FormKind::Result => "result",
        }
    }

    pub fn from_name(name: &str) -> Option<FormKind> {
        [FormKind::Form, FormKind::Submit, FormKind::Cancel, FormKind::Result]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// How a field is to be shown and what it may hold (XEP-0004 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    Boolean,
    Fixed,
    Hidden,
    JidMulti,
    JidSingle,
    ListMulti,
    ListSingle,
    TextMulti,
    TextPrivate,
    TextSingle,
}

impl FieldType {
    pub const ALL: [FieldType; 10] = [
        FieldType::Boolean,
        FieldType::Fixed,
        FieldType::Hidden,
        FieldType::JidMulti,
        FieldType::JidSingle,
        FieldType::ListMulti,
        FieldType::ListSingle,
        FieldType::TextMulti,
        FieldType::TextPrivate,
        FieldType::TextSingle,
    ];

    pub fn name(self) -> &'static str {
        match self {
            FieldType::Boolean => "boolean",
            FieldType::Fixed => "fixed",
            FieldType::Hidden => "hidden",
            FieldType::JidMulti => "jid-multi",
            FieldType::JidSingle => "jid-single",
            FieldType::ListMulti => "list-multi",
            FieldType::ListSingle => "list-single",
            FieldType::TextMulti => "text-multi",
            FieldType::TextPrivate => "text-private",
            FieldType::TextSingle => "text-single",
        }
    }

    pub fn from_name(name: &str) -> Option<FieldType> {
        Self::ALL.into_iter().find(|typ| typ.name() == name)
    }
}

/// One question, or one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; fixed fields may have none.
    pub var: Option<String>,
    /// May be left out of submissions.
    pub typ: Option<FieldType>,
    pub label: Option<String>,
    pub desc: Option<String>,
    pub required: bool,
    pub values: Vec<String>,
    /// Choices of a list: value, and label if there is one.
    pub options: Vec<(String, Option<String>)>,
}

impl Field {
    pub fn new(typ: FieldType, var: &str) -> Field {
        Field { var: Some(var.to_owned()), typ: Some(typ), ..Field::EMPTY }
    }

    /// An answer: name and values, no type.
    pub fn answer(var: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Field {
        Field {
            var: Some(var.to_owned()),
            values: values.into_iter().map(Into::into).collect(),
            ..Field::EMPTY
        }
    }

    const EMPTY: Field = Field {
        var: None,
        typ: None,
        label: None,
        desc: None,
        required: false,
        values: Vec::new(),
        options: Vec::new(),
    };

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Field {
        self.label = Some(label.into());
        self
    }

    #[must_use]
    pub fn desc(mut self, desc: impl Into<String>) -> Field {
        self.desc = Some(desc.into());
        self
    }

    #[must_use]
    pub fn required(mut self) -> Field {
        self.required = true;
        self
    }

    /// With one more value.
    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Field {
        self.values.push(value.into());
        self
    }

    #[must_use]
    pub fn values(mut self, values: impl IntoIterator<Item = impl Into<String>>) -> Field {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn boolean(self, value: bool) -> Field {
        self.value(if value { "1" } else { "0" })
    }

    /// With one more choice.
    #[must_use]
    pub fn option(mut self, value: impl Into<String>, label: Option<&str>) -> Field {
        self.options.push((value.into(), label.map(str::to_owned)));
        self
    }

    pub fn to_element(&self) -> Element {
        let text = |name, text: &String| Element::new(name, ns::DATA_FORMS).with_text(text);
        Element::new("field", ns::DATA_FORMS)
            .attr_opt("var", self.var.as_ref())
            .attr_opt("type", self.typ.map(FieldType::name))
            .attr_opt("label", self.label.as_ref())
            .with_all(self.desc.iter().map(|desc| text("desc", desc)))
            .with_all(self.required.then(|| Element::new("required", ns::DATA_FORMS)))
            .with_all(self.values.iter().map(|value| text("value", value)))
            .with_all(self.options.iter().map(|(value, label)| {
                Element::new("option", ns::DATA_FORMS)
                    .attr_opt("label", label.as_ref())
                    .with(text("value", value))
            }))
    }

    fn from_element(field: &Element) -> Field {
        let texts = |parent: &Element, name: &str| -> Vec<String> {
            parent.children().filter(|c| c.is(name, ns::DATA_FORMS)).map(Element::text).collect()
        };
        Field {
            var: field.get("var").map(str::to_owned),
            // XEP-0004 §3.3: an unknown type is text-single.
            typ: field
                .get("type")
                .map(|typ| FieldType::from_name(typ).unwrap_or(FieldType::TextSingle)),
            label: field.get("label").map(str::to_owned),
            desc: field.child_text("desc", ns::DATA_FORMS),
            required: field.child("required", ns::DATA_FORMS).is_some(),
            values: texts(field, "value"),
            options: field
                .children()
                .filter(|child| child.is("option", ns::DATA_FORMS))
                .map(|option| {
                    let value = option.child_text("value", ns::DATA_FORMS).unwrap_or_default();
                    (value, option.get("label").map(str::to_owned))
                })
                .collect(),
        }
    }
}

/// A form, a submission or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    pub kind: FormKind,
    pub title: Option<String>,
    pub instructions: Vec<String>,
    /// Without the hidden `FORM_TYPE`, which is `form_type`.
    pub fields: Vec<Field>,
    /// The namespace of the fields' names (XEP-0068).
    pub form_type: Option<String>,
    /// Columns of a table; its rows are `items`.
    pub reported: Vec<Field>,
    pub items: Vec<Vec<Field>>,
}

/// Why a form cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormError {
    Missing,
    UnknownKind,
    /// Kind expected, kind found.
    WrongKind(FormKind, FormKind),
    /// `FORM_TYPE` expected, `FORM_TYPE` found.
    WrongFormType(String, Option<String>),
    /// A field has no name.
    Unnamed,
    /// A field comes twice.
    Repeated(String),
    /// A field that must have a value has none.
    Unanswered(String),
    /// A field that takes one value has several.
    ManyValues(String),
    NotABoolean(String),
    /// Not a number, or not one of the range.
    NotANumber(String),
    NotAJid(String, JidError),
    /// A value that is not among the choices.
    NotAnOption(String, String),
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormError::Missing => f.write_str("there is no form"),
            FormError::UnknownKind => f.write_str("the form has no type that is defined"),
            FormError::WrongKind(expected, found) => {
                write!(f, "a form of type {} is expected, not {}", expected.name(), found.name())
            }
            FormError::WrongFormType(expected, Some(found)) => {
                write!(f, "FORM_TYPE {expected} is expected, not {found}")
            }
            FormError::WrongFormType(expected, None) => {
                write!(f, "FORM_TYPE {expected} is expected, but there is none")
            }
            FormError::Unnamed => f.write_str("a field of the form has no name"),
            FormError::Repeated(var) => write!(f, "the field {var} comes twice"),
            FormError::Unanswered(var) => write!(f, "the field {var} needs a value"),
            FormError::ManyValues(var) => write!(f, "the field {var} takes only one value"),
            FormError::NotABoolean(var) => write!(f, "the field {var} is 0, 1, false or true"),
            FormError::NotANumber(var) => {
                write!(f, "the field {var} is not a number of the range it may have")
            }
            FormError::NotAJid(var, error) => write!(f, "the field {var}: {error}"),
            FormError::NotAnOption(var, value) => {
                write!(f, "the field {var} cannot be {value:?}: it is not one of its options")
            }
        }
    }
}

impl std::error::Error for FormError {}

impl From<FormError> for StanzaError {
    fn from(error: FormError) -> StanzaError {
        let condition = match error {
            FormError::Unanswered(_) | FormError::NotAnOption(..) => Condition::NotAcceptable,
            FormError::NotAJid(..) => Condition::JidMalformed,
            _ => Condition::BadRequest,
        };
        StanzaError::new(condition).with_text(error.to_string())
    }
}

impl Form {
    pub fn new(kind: FormKind) -> Form {
        Form {
            kind,
            title: None,
            instructions: Vec::new(),
            fields: Vec::new(),
            form_type: None,
            reported: Vec::new(),
            items: Vec::new(),
        }
    }

    #[must_use]
    pub fn form_type(mut self, form_type: &str) -> Form {
        self.form_type = Some(form_type.to_owned());
        self
    }

    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Form {
        self.title = Some(title.into());
        self
    }

    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Form {
        self.instructions.push(instructions.into());
        self
    }

    #[must_use]
    pub fn field(mut self, field: Field) -> Form {
        self.fields.push(field);
        self
    }

    pub fn to_element(&self) -> Element {
        let text = |name, text: &String| Element::new(name, ns::DATA_FORMS).with_text(text);
        let row = |name, fields: &[Field]| {
            Element::new(name, ns::DATA_FORMS).with_all(fields.iter().map(Field::to_element))
        };
        let hidden = self
            .form_type
            .as_ref()
            .map(|form_type| Field::new(FieldType::Hidden, "FORM_TYPE").value(form_type.as_str()));
        Element::new("x", ns::DATA_FORMS)
            .attr("type", self.kind.name())
            .with_all(self.title.iter().map(|title| text("title", title)))
            .with_all(self.instructions.iter().map(|line| text("instructions", line)))
            .with_all(hidden.iter().chain(&self.fields).map(Field::to_element))
            .with_all((!self.reported.is_empty()).then(|| row("reported", &self.reported)))
            .with_all(self.items.iter().map(|item| row("item", item)))
    }

    /// Reads an `<x/>`.
    ///
    /// # Errors
    /// If its type is unknown, or a field has no name or comes twice.
    pub fn from_element(x: &Element) -> Result<Form, FormError> {
        if !x.is("x", ns::DATA_FORMS) {
            return Err(FormError::Missing);
        }
        let kind = x.get("type").and_then(FormKind::from_name).ok_or(FormError::UnknownKind)?;
        let mut form = Form::new(kind);
        for child in x.children().filter(|child| child.ns() == ns::DATA_FORMS) {
            match child.name() {
                "title" => form.title = Some(child.text()),
                "instructions" => form.instructions.push(child.text()),
                "field" => form.add(Field::from_element(child))?,
                "reported" => form.reported = row(child),
                "item" => form.items.push(row(child)),
                _ => {}
            }
        }
        Ok(form)
    }

    fn add(&mut self, field: Field) -> Result<(), FormError> {
        match field.var.as_deref() {
            None if field.typ == Some(FieldType::Fixed) => {}
            None => return Err(FormError::Unnamed),
            // XEP-0068 §4: a form that asks or tells is marked by a hidden field only.
            Some("FORM_TYPE")
                if self.kind == FormKind::Submit || field.typ == Some(FieldType::Hidden) =>
            {
                if self.form_type.is_some() {
                    return Err(FormError::Repeated("FORM_TYPE".into()));
                }
                self.form_type = field.values.into_iter().next();
                return Ok(());
            }
            Some(var) if self.get(var).is_some() => return Err(FormError::Repeated(var.into())),
            Some(_) => {}
        }
        self.fields.push(field);
        Ok(())
    }

    /// The submission in `parent` of a form of this type.
    ///
    /// # Errors
    /// If there is no form, it cannot be read, is no submission, or is for something else.
    pub fn submitted(parent: &Element, form_type: &str) -> Result<Form, FormError> {
        let x = parent.child("x", ns::DATA_FORMS).ok_or(FormError::Missing)?;
        let form = Form::from_element(x)?;
        if form.kind == FormKind::Submit && form.form_type.as_deref() != Some(form_type) {
            return Err(FormError::WrongFormType(form_type.to_owned(), form.form_type));
        }
        match form.kind {
            FormKind::Submit => Ok(form),
            kind => Err(FormError::WrongKind(FormKind::Submit, kind)),
        }
    }

    /// Checks a submission against the form that was asked: required fields are answered, single
    /// fields have one value, lists hold their options, addresses and booleans are such. Fields
    /// that were not asked are let through (XEP-0004 §3.2).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, asked: &Form) -> Result<(), FormError> {
        for question in &asked.fields {
            let (Some(var), Some(typ)) = (question.var.as_deref(), question.typ) else { continue };
            let values = self.values(var);
            if question.required && values.iter().all(String::is_empty) {
                return Err(FormError::Unanswered(var.into()));
            }
            let multiple =
                matches!(typ, FieldType::JidMulti | FieldType::ListMulti | FieldType::TextMulti);
            if values.len() > 1 && !multiple {
                return Err(FormError::ManyValues(var.into()));
            }
            for value in values {
                match typ {
                    FieldType::Boolean => {
                        boolean(value).ok_or_else(|| FormError::NotABoolean(var.into()))?;
                    }
                    FieldType::JidMulti | FieldType::JidSingle if !value.is_empty() => {
                        Jid::parse(value).map_err(|e| FormError::NotAJid(var.into(), e))?;
                    }
                    FieldType::ListMulti | FieldType::ListSingle
                        if !question.options.iter().any(|(option, _)| option == value) =>
                    {
                        return Err(FormError::NotAnOption(var.into(), value.clone()));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    pub fn get(&self, var: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.var.as_deref() == Some(var))
    }

    /// All values of a field; none if it is not there.
    pub fn values(&self, var: &str) -> &[String] {
        self.get(var).map_or(&[], |field| &field.values)
    }

    /// The first value of a field. An empty one is a value.
    pub fn value(&self, var: &str) -> Option<&str> {
        self.values(var).first().map(String::as_str)
    }

    /// # Errors
    /// If there is a value and it is not a boolean.
    pub fn boolean(&self, var: &str) -> Result<Option<bool>, FormError> {
        self.value(var)
            .map(|value| boolean(value).ok_or_else(|| FormError::NotABoolean(var.into())))
            .transpose()
    }

    /// # Errors
    /// If there is a value and it is not a number of type `N`.
    pub fn number<N: std::str::FromStr>(&self, var: &str) -> Result<Option<N>, FormError> {
        self.value(var)
            .map(|value| value.trim().parse().map_err(|_| FormError::NotANumber(var.into())))
            .transpose()
    }

    /// # Errors
    /// If there is a value and it is not an address.
    pub fn jid(&self, var: &str) -> Result<Option<Jid>, FormError> {
        Ok(self.jids(var)?.into_iter().next())
    }

    /// # Errors
    /// If a value is not an address.
    pub fn jids(&self, var: &str) -> Result<Vec<Jid>, FormError> {
        self.values(var)
            .iter()
            .map(|value| Jid::parse(value).map_err(|e| FormError::NotAJid(var.into(), e)))
            .collect()
    }
}

fn row(parent: &Element) -> Vec<Field> {
    parent
        .children()
        .filter(|child| child.is("field", ns::DATA_FORMS))
        .map(Field::from_element)
        .collect()
}

/// XML Schema's lexical forms.
fn boolean(value: &str) -> Option<bool> {
    match value.trim() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Form {
        Form::new(FormKind::Form)
            .form_type("urn:bot")
            .title("Bot Configuration")
            .instructions("Fill out this form to configure your new bot!")
            .field(Field::new(FieldType::TextSingle, "botname").label("The name").required())
            .field(Field::new(FieldType::Boolean, "public").boolean(true))
            .field(
                Field::new(FieldType::ListMulti, "features")
                    .option("contests", Some("Contests"))
                    .option("news", None)
                    .values(["news"]),
            )
            .field(Field::new(FieldType::JidMulti, "invitelist").desc("Tell friends"))
            .field(Field::new(FieldType::ListSingle, "maxsubs").option("20", None).value("20"))
    }

    fn submitted(fields: &[Field]) -> Form {
        let mut form = Form::new(FormKind::Submit).form_type("urn:bot");
        form.fields = fields.to_vec();
        form
    }

    #[test]
    fn a_form_is_read_as_written() {
        let form = asked();
        let element = form.to_element();
        assert_eq!(Form::from_element(&element), Ok(form));
        let mut table = Form::new(FormKind::Result);
        table.reported = vec![Field::new(FieldType::TextSingle, "name").label("Name")];
        table.items = vec![vec![Field::answer("name", ["Comune di Verona"])]];
        assert_eq!(Form::from_element(&table.to_element()), Ok(table));
    }

    #[test]
    fn the_form_type_is_hidden_where_that_is_needed() {
        let visible = "<x xmlns='jabber:x:data' type='form'>\
            <field var='FORM_TYPE' type='text-single'><value>urn:x</value></field></x>";
        let form = Form::from_element(&Element::parse(visible.as_bytes(), "").unwrap()).unwrap();
        assert_eq!((form.form_type, form.fields.len()), (None, 1));
        let submit = visible.replace("'form'", "'submit'").replace(" type='text-single'", "");
        let form = Form::from_element(&Element::parse(submit.as_bytes(), "").unwrap()).unwrap();
        assert_eq!((form.form_type.as_deref(), form.fields.len()), (Some("urn:x"), 0));
    }

    #[test]
    fn submissions_are_for_the_right_form() {
        let query = |form: &Form| Element::new("query", "urn:q").with(form.to_element());
        let good = submitted(&[]);
        assert_eq!(Form::submitted(&query(&good), "urn:bot"), Ok(good.clone()));
        assert_eq!(
            Form::submitted(&query(&good), "urn:other").unwrap_err().to_string(),
            "FORM_TYPE urn:other is expected, not urn:bot"
        );
        assert_eq!(
            Form::submitted(&query(&asked()), "urn:bot"),
            Err(FormError::WrongKind(FormKind::Submit, FormKind::Form))
        );
        assert_eq!(Form::submitted(&Element::new("q", "q"), "urn:bot"), Err(FormError::Missing));
    }

    #[test]
    fn submissions_are_checked_against_the_question() {
        let name = || Field::answer("botname", ["Marvin"]);
        let with = |field| submitted(&[name(), field]).check(&asked());
        assert_eq!(submitted(&[name()]).check(&asked()), Ok(()));
        assert_eq!(with(Field::answer("unasked", ["x", "y"])), Ok(()));
        assert_eq!(with(Field::answer("features", ["news", "contests"])), Ok(()));
        assert_eq!(with(Field::answer("invitelist", ["a@b", "c@d"])), Ok(()));
        assert_eq!(submitted(&[]).check(&asked()), Err(FormError::Unanswered("botname".into())));
        for field in [
            Field::answer("maxsubs", ["20", "20"]),
            Field::answer("maxsubs", ["21"]),
            Field::answer("features", ["tea"]),
            Field::answer("public", ["maybe"]),
            Field::answer("invitelist", ["a b@c"]),
        ] {
            assert!(with(field.clone()).is_err(), "{field:?}");
        }
    }

    #[test]
    fn values_are_read_by_type() {
        let form = submitted(&[
            Field::answer("b", ["true"]),
            Field::answer("n", [" 42 "]),
            Field::answer("j", ["A@b", "c@d"]),
        ]);
        assert_eq!(form.boolean("b"), Ok(Some(true)));
        assert_eq!(form.boolean("none"), Ok(None));
        assert_eq!(form.boolean("n"), Err(FormError::NotABoolean("n".into())));
        assert_eq!(form.number::<u8>("n"), Ok(Some(42)));
        assert_eq!(form.number::<u8>("b"), Err(FormError::NotANumber("b".into())));
        assert_eq!(form.jid("j").unwrap().unwrap().as_str(), "a@b");
        assert_eq!(form.jids("j").unwrap().len(), 2);
    }

    #[test]
    fn nameless_and_repeated_fields_are_refused() {
        for (fields, error) in [
            ("<field/>", FormError::Unnamed),
            ("<field var='a'/><field var='a'/>", FormError::Repeated("a".into())),
            (
                "<field var='FORM_TYPE'><value>a</value></field>\
                 <field var='FORM_TYPE'><value>b</value></field>",
                FormError::Repeated("FORM_TYPE".into()),
            ),
        ] {
            let xml = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
            let element = Element::parse(xml.as_bytes(), "").unwrap();
            assert_eq!(Form::from_element(&element), Err(error));
        }
    }
}
