//! Forms from schemas: what an operation takes becomes questions, answers become its arguments,
//! and what comes out becomes a form to look at.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::admin::op::{Class, Entry};
use crate::features::adhoc::{Note, Severity, Stage};
use crate::stanza::forms::{Field, FieldType, Form, FormKind};

/// Rows of a table, and lines of a list.
const ROWS_MAX: usize = 500;
/// Bytes of one value.
const VALUE_BYTES_MAX: usize = 16 * 1024;
/// Schemas refer to each other at most this deep.
const DEPTH_MAX: usize = 8;

/// What an operation asks.
pub(super) struct Questions(Vec<Question>);

struct Question {
    name: String,
    desc: Option<String>,
    required: bool,
    kind: Kind,
    default: Option<Value>,
}

/// How a value is asked for and read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Flag,
    Whole,
    Number,
    Text,
    /// A text of several lines.
    Long,
    Address,
    Secret,
    Choice(Vec<String>),
    /// A text a line.
    List,
    /// Anything deeper, as JSON.
    Json,
}

/// Arguments that hold prose.
const LONG: [&str; 3] = ["body", "text", "stanza"];

impl Questions {
    pub(super) fn of(entry: &Entry) -> Questions {
        let mut settings = SchemaSettings::draft2020_12();
        settings.inline_subschemas = true;
        let schema = (entry.arguments)(&mut settings.into_generator()).to_value();
        let required: Vec<&str> = match &schema["required"] {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let properties = schema["properties"].as_object().into_iter().flatten();
        let questions = properties.map(|(name, schema)| Question {
            desc: schema["description"].as_str().map(tidy),
            required: required.contains(&name.as_str()),
            kind: kind(name, schema, 0),
            default: schema.get("default").filter(|value| !value.is_null()).cloned(),
            name: name.clone(),
        });
        let mut questions: Vec<Question> = questions.collect();
        questions.sort_by_key(|question| !question.required);
        Questions(questions)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn form(&self, entry: &Entry) -> Form {
        let mut form = Form::new(FormKind::Form).form_type(entry.name).title(entry.summary);
        match entry.class {
            Class::Safe => {}
            Class::Reversible => form = form.instructions("It can be undone by another command."),
            Class::Destructive => form = form.instructions("This cannot be undone."),
            Class::LockOut => {
                form = form.instructions("This may end your own access to the server.");
            }
        }
        self.0.iter().fold(form, |form, question| form.field(question.field()))
    }

    /// The arguments that a submission stands for. What was left empty is left out.
    pub(super) fn arguments(&self, answer: &Form) -> Result<Value, String> {
        let mut arguments = Map::new();
        for question in &self.0 {
            let values = answer.values(&question.name);
            if values.iter().all(String::is_empty) {
                continue;
            }
            let value = question.kind.read(values).ok_or_else(|| {
                format!("The field {} is not {}.", question.name, question.kind.told())
            })?;
            arguments.insert(question.name.clone(), value);
        }
        Ok(Value::Object(arguments))
    }
}

impl Question {
    fn field(&self) -> Field {
        let typ = match &self.kind {
            Kind::Flag => FieldType::Boolean,
            Kind::Whole | Kind::Number | Kind::Text => FieldType::TextSingle,
            Kind::Long | Kind::List | Kind::Json => FieldType::TextMulti,
            Kind::Address => FieldType::JidSingle,
            Kind::Secret => FieldType::TextPrivate,
            Kind::Choice(_) => FieldType::ListSingle,
        };
        let mut field = Field::new(typ, &self.name).label(&self.name);
        if let Some(desc) = &self.desc {
            field = field.desc(desc);
        }
        if self.required {
            field = field.required();
        }
        if let Kind::Choice(words) = &self.kind {
            field = words.iter().fold(field, |field, word| field.option(word, None));
        }
        match (&self.default, &self.kind) {
            (Some(Value::Bool(flag)), Kind::Flag) => field.boolean(*flag),
            (Some(Value::String(text)), Kind::Text | Kind::Choice(_)) if !text.is_empty() => {
                field.value(text)
            }
            (Some(Value::Number(number)), Kind::Whole | Kind::Number) => {
                field.value(number.to_string())
            }
            _ => field,
        }
    }
}

impl Kind {
    fn read(&self, values: &[String]) -> Option<Value> {
        let first = values.first().map(|text| text.trim()).unwrap_or_default();
        match self {
            Kind::Flag => match first {
                "1" | "true" => Some(true.into()),
                "0" | "false" => Some(false.into()),
                _ => None,
            },
            Kind::Whole => match first.parse::<i64>() {
                Ok(number) => Some(number.into()),
                Err(_) => first.parse::<u64>().ok().map(Value::from),
            },
            Kind::Number => first.parse::<f64>().ok().map(Value::from),
            Kind::Text | Kind::Address | Kind::Choice(_) => Some(first.into()),
            // Not trimmed: blanks may be part of it.
            Kind::Secret => values.first().map(|text| text.as_str().into()),
            Kind::Long => Some(values.join("\n").into()),
            Kind::List => {
                let lines = values.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
                Some(lines.map(Value::from).collect())
            }
            Kind::Json => serde_json::from_str(&values.join("\n")).ok(),
        }
    }

    fn told(&self) -> &'static str {
        match self {
            Kind::Flag => "true or false",
            Kind::Whole => "a whole number",
            Kind::Number => "a number",
            Kind::Json => "JSON",
            _ => "a text",
        }
    }
}

/// Descriptions come from the comments of the code, which link to each other.
fn tidy(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`").replace('\n', " ")
}

fn kind(name: &str, schema: &Value, depth: usize) -> Kind {
    let is = |name: &str| match &schema["type"] {
        Value::String(typ) => typ == name,
        Value::Array(types) => types.iter().any(|typ| typ == name),
        _ => false,
    };
    let words = words(schema);
    match () {
        () if schema["format"] == "password" => Kind::Secret,
        () if !words.is_empty() => Kind::Choice(words),
        () if is("boolean") => Kind::Flag,
        () if is("integer") => Kind::Whole,
        () if is("number") => Kind::Number,
        () if is("string") && LONG.contains(&name) => Kind::Long,
        () if is("string") && name == "jid" => Kind::Address,
        () if is("string") => Kind::Text,
        () if is("array") && schema["items"]["type"] == "string" => Kind::List,
        () if depth < DEPTH_MAX => {
            // What may be left out is one of two things, of which the other is null.
            let choices = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array());
            let mut real = choices.into_iter().flatten().filter(|choice| choice["type"] != "null");
            match (real.next(), real.next()) {
                (Some(only), None) => kind(name, only, depth + 1),
                _ => Kind::Json,
            }
        }
        () => Kind::Json,
    }
}

/// The words of an enumeration.
fn words(schema: &Value) -> Vec<String> {
    let of = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().filter_map(of).collect();
    }
    let Some(choices) = schema["oneOf"].as_array() else { return Vec::new() };
    let words: Option<Vec<String>> = choices.iter().map(|choice| of(&choice["const"])).collect();
    words.unwrap_or_default()
}

/// What an operation gave, to look at: its fields, and a table of what it lists.
pub(super) fn result(title: &str, output: &Value) -> Stage {
    let mut form = Form::new(FormKind::Result).title(title);
    let mut notes = Vec::new();
    let warn = |text: String| Note { severity: Severity::Warn, text };
    let mut table = None;
    match output {
        Value::Null => return Stage::said("Done."),
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::Array(rows) if rows.iter().any(Value::is_object) && table.is_none() => {
                        table = Some(rows);
                    }
                    value => flat(name, value, &mut form.fields, 0),
                }
            }
        }
        Value::Array(rows) if rows.iter().any(Value::is_object) => table = Some(rows),
        value => flat("result", value, &mut form.fields, 0),
    }
    if let Some(rows) = table {
        if rows.len() > ROWS_MAX {
            notes.push(warn(format!("{} of {} rows are shown.", ROWS_MAX, rows.len())));
        }
        for row in rows.iter().take(ROWS_MAX) {
            let mut fields = Vec::new();
            match row {
                Value::Object(object) => {
                    object.iter().for_each(|(name, value)| flat(name, value, &mut fields, 0));
                }
                value => flat("value", value, &mut fields, 0),
            }
            for field in &mut fields {
                // A cell of a table has one value.
                field.values = vec![field.values.join(", ")];
                let known = |column: &Field| column.var == field.var;
                if !form.reported.iter().any(known) {
                    let var = field.var.as_deref().unwrap_or_default();
                    form.reported.push(Field::new(FieldType::TextSingle, var).label(var));
                }
                (field.typ, field.label) = (None, None);
            }
            form.items.push(fields);
        }
        let columns: Vec<String> =
            form.reported.iter().filter_map(|column| column.var.clone()).collect();
        for item in &mut form.items {
            for column in &columns {
                if !item.iter().any(|field| field.var.as_deref() == Some(column.as_str())) {
                    item.push(Field::answer(column, [""]));
                }
            }
        }
    }
    Stage::Done { form: Some(form), notes, more: Vec::new() }
}

/// A value as fields: objects become `outer.inner`, lists fields of several lines.
fn flat(name: &str, value: &Value, fields: &mut Vec<Field>, depth: usize) {
    let single =
        |text: String| Field::new(FieldType::TextSingle, name).label(name).value(cut(text));
    match value {
        Value::Null => fields.push(single(String::new())),
        Value::Bool(flag) => {
            fields.push(Field::new(FieldType::Boolean, name).label(name).boolean(*flag));
        }
        Value::Number(number) => fields.push(single(number.to_string())),
        Value::String(text) if text.contains('\n') => {
            let lines = text.lines().take(ROWS_MAX).map(|line| cut(line.to_owned()));
            fields.push(Field::new(FieldType::TextMulti, name).label(name).values(lines));
        }
        Value::String(text) => fields.push(single(text.clone())),
        Value::Array(list) => {
            let lines = list.iter().take(ROWS_MAX).map(|value| match value {
                Value::String(text) => cut(text.clone()),
                value => cut(value.to_string()),
            });
            fields.push(Field::new(FieldType::TextMulti, name).label(name).values(lines));
        }
        Value::Object(object) if depth < DEPTH_MAX => {
            for (inner, value) in object {
                flat(&format!("{name}.{inner}"), value, fields, depth + 1);
            }
        }
        Value::Object(_) => fields.push(single(value.to_string())),
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(VALUE_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::op::OPS;

    fn entry(name: &str) -> &'static Entry {
        OPS.iter().find(|entry| entry.name == name).unwrap()
    }

    #[test]
    fn a_form_asks_what_the_operation_takes() {
        let form = Questions::of(entry("account.add")).form(entry("account.add"));
        let field = |name: &str| form.get(name).unwrap();
        assert_eq!(field("jid").typ, Some(FieldType::JidSingle));
        assert!(field("jid").required);
        assert_eq!(field("password").typ, Some(FieldType::TextPrivate));
        let form = Questions::of(entry("announce.send")).form(entry("announce.send"));
        let to = form.get("to").unwrap();
        assert_eq!(to.typ, Some(FieldType::ListSingle));
        assert_eq!(to.options.len(), 2);
        assert_eq!(form.get("kind").unwrap().options.len(), 2, "one of two, or left out");
        assert_eq!(form.get("body").unwrap().typ, Some(FieldType::TextMulti));
        let form = Questions::of(entry("invite.create")).form(entry("invite.create"));
        assert_eq!(form.get("groups").unwrap().typ, Some(FieldType::TextMulti));
        assert_eq!(form.get("subscribe").unwrap().typ, Some(FieldType::Boolean));
        assert_eq!(form.get("uses").unwrap().typ, Some(FieldType::TextSingle));
    }

    /// What the documentation shows as arguments can be said by a form.
    #[tokio::test]
    async fn every_operation_takes_what_its_form_gives() {
        let (_dir, cx) = crate::admin::testing::offline();
        for entry in OPS {
            let questions = Questions::of(entry);
            let example: Value = serde_json::from_str(entry.example.arguments).unwrap();
            let mut answer = Form::new(FormKind::Submit);
            for (name, value) in example.as_object().unwrap() {
                let question = questions.0.iter().find(|question| question.name == *name);
                let question = question.unwrap_or_else(|| panic!("{} {name}", entry.name));
                let values = match (&question.kind, value) {
                    (_, Value::Null) => continue,
                    (Kind::List, Value::Array(list)) => {
                        list.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
                    }
                    (Kind::Long, Value::String(text)) => {
                        text.split('\n').map(str::to_owned).collect()
                    }
                    (_, Value::String(text)) if question.kind != Kind::Json => vec![text.clone()],
                    (_, value) => vec![value.to_string()],
                };
                answer.fields.push(Field::answer(name, values));
            }
            let read = questions.arguments(&answer);
            let read = read.unwrap_or_else(|error| panic!("{}: {error}", entry.name));
            if let Err(refusal) = entry.prepare(read, &cx) {
                panic!("{}: {refusal}", entry.name);
            }
        }
    }

    #[test]
    fn lists_become_tables_and_objects_fields() {
        let output = json!({
            "accounts": [
                {"jid": "a@b", "locked": {"since": "x"}, "tags": ["p", "q"]},
                {"jid": "c@b"},
            ],
            "next": null,
        });
        let Stage::Done { form: Some(form), notes, .. } = result("List accounts", &output) else {
            panic!("not done");
        };
        let columns: Vec<_> = form.reported.iter().filter_map(|f| f.var.as_deref()).collect();
        assert_eq!(columns, ["jid", "locked.since", "tags"]);
        assert_eq!(form.items[0][2].values, ["p, q"]);
        assert!(form.items.iter().all(|item| item.len() == 3));
        assert!(notes.is_empty());
        assert_eq!(form.value("next"), Some(""));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let questions = Questions::of(entry("invite.create"));
        let mut answer = Form::new(FormKind::Submit);
        answer.fields.push(Field::answer("uses", ["many"]));
        let error = questions.arguments(&answer).unwrap_err();
        assert_eq!(error, "The field uses is not a whole number.");
    }
}
