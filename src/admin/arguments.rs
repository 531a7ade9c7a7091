//! Arguments as people type them: pairs of texts, made into what an operation's schema asks for.

use serde_json::{Map, Value};

use super::describe;
use super::op::{Entry, Refusal};

/// Schemas refer to each other at most this deep.
const DEPTH_MAX: usize = 16;

/// The object that `pairs` describe. A list is one pair for each of its items, or one pair of JSON;
/// an object is JSON. What the schema does not know stays a text, for the operation to refuse by
/// its name.
///
/// # Errors
/// Which value does not fit, and what would.
pub fn read<'p>(
    entry: &Entry,
    pairs: impl Iterator<Item = (&'p str, &'p str)>,
) -> Result<Value, Refusal> {
    let schemas = describe::schemas_of(entry);
    let mut object = Map::new();
    for (key, text) in pairs {
        let property = &schemas.arguments["properties"][key];
        let types = types(property, &schemas.definitions, 0);
        let wrong = |expected: &str| {
            Err(Refusal::usage(format!("{}: {key}: {text:?} is not {expected}", entry.name)))
        };
        if types.list && !text.trim_start().starts_with('[') {
            let item = items(property, &schemas.definitions, 0);
            let Some(item) = scalar(text, &item) else { return wrong(item.told()) };
            match object.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(list) => list.push(item),
                _ => return wrong("one more item"),
            }
            continue;
        }
        let Some(value) = scalar(text, &types) else { return wrong(types.told()) };
        if object.insert(key.to_owned(), value).is_some() {
            return Err(Refusal::usage(format!("{}: {key} is there twice", entry.name)));
        }
    }
    Ok(Value::Object(object))
}

/// The arguments that are secrets, and whether each is required.
pub fn secrets(entry: &Entry) -> Vec<(String, bool)> {
    let schemas = describe::schemas_of(entry);
    let required = schemas.arguments["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
    let properties = schemas.arguments["properties"].as_object().into_iter().flatten();
    properties
        .filter(|(_, schema)| is_secret(schema, &schemas.definitions, 0))
        .map(|(name, _)| (name.clone(), is_required(name)))
        .collect()
}

/// Whether one of the arguments is a secret.
pub fn has_secrets(entry: &Entry) -> bool {
    !secrets(entry).is_empty()
}

/// What a value may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Types {
    text: bool,
    whole: bool,
    number: bool,
    flag: bool,
    list: bool,
    object: bool,
    nothing: bool,
}

impl Types {
    fn told(&self) -> &'static str {
        match self {
            Types { whole: true, .. } => "a whole number",
            Types { number: true, .. } => "a number",
            Types { flag: true, .. } => "true or false",
            Types { list: true, .. } => "a list in JSON",
            Types { object: true, .. } => "an object in JSON",
            _ => "what this takes",
        }
    }
}

/// One value; a text where that is among the types.
fn scalar(text: &str, types: &Types) -> Option<Value> {
    if types.whole
        && let Ok(number) = text.parse::<i64>()
    {
        return Some(number.into());
    }
    if types.whole
        && let Ok(number) = text.parse::<u64>()
    {
        return Some(number.into());
    }
    if types.number
        && let Ok(number) = text.parse::<f64>()
    {
        return Some(number.into());
    }
    if types.flag
        && let Ok(flag) = text.parse::<bool>()
    {
        return Some(flag.into());
    }
    if (types.list || types.object)
        && text.trim_start().starts_with(['[', '{'])
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        return Some(value);
    }
    let untyped = *types == Types::default();
    if types.text || untyped {
        return Some(text.into());
    }
    (types.nothing && text.is_empty()).then_some(Value::Null)
}

fn types(schema: &Value, definitions: &Value, depth: usize) -> Types {
    let mut all = Types::default();
    each(schema, definitions, depth, &mut |schema| {
        let names = match &schema["type"] {
            Value::Array(names) => names.as_slice(),
            name => std::slice::from_ref(name),
        };
        for name in names.iter().filter_map(Value::as_str) {
            match name {
                "string" => all.text = true,
                "integer" => all.whole = true,
                "number" => all.number = true,
                "boolean" => all.flag = true,
                "array" => all.list = true,
                "object" => all.object = true,
                "null" => all.nothing = true,
                _ => {}
            }
        }
        // A fixed word has no type besides.
        all.text |= schema["const"].is_string() || schema["enum"][0].is_string();
    });
    all
}

fn items(schema: &Value, definitions: &Value, depth: usize) -> Types {
    let mut all = Types::default();
    each(schema, definitions, depth, &mut |schema| {
        if !schema["items"].is_null() {
            all = types(&schema["items"], definitions, depth + 1);
        }
    });
    all
}

fn is_secret(schema: &Value, definitions: &Value, depth: usize) -> bool {
    let mut secret = false;
    each(schema, definitions, depth, &mut |schema| secret |= schema["format"] == "password");
    secret
}

/// Every schema that a value may fit: through references and choices.
fn each(schema: &Value, definitions: &Value, depth: usize, look: &mut impl FnMut(&Value)) {
    if depth > DEPTH_MAX {
        return;
    }
    look(schema);
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        each(&definitions[name], definitions, depth + 1, look);
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for choice in schema[key].as_array().into_iter().flatten() {
            each(choice, definitions, depth + 1, look);
        }
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::admin::Context;
    use crate::admin::op::{Class, Example, Operation};
    use crate::config::value::Secret;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Big,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Inner {
        x: u8,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Op {
        text: String,
        count: Option<u32>,
        flag: bool,
        kind: Option<Kind>,
        words: Vec<String>,
        numbers: Vec<i64>,
        inner: Option<Inner>,
        secret: Secret,
    }

    impl Operation for Op {
        const NAME: &'static str = "test.op";
        const SUMMARY: &'static str = "";
        const CLASS: Class = Class::Safe;
        const EXAMPLE: Example = Example { arguments: "", output: "" };
        type Output = ();

        async fn run(self, _: &Context) -> Result<(), Refusal> {
            Ok(())
        }
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Value, String> {
        let entry = Entry::of::<Op>();
        super::read(&entry, pairs.iter().copied()).map_err(|refusal| refusal.text)
    }

    #[test]
    fn pairs_become_what_the_schema_asks_for() {
        let read = read(&[
            ("text", "12"),
            ("count", "12"),
            ("flag", "true"),
            ("kind", "big"),
            ("words", "a"),
            ("words", "1"),
            ("numbers", "[1, 2]"),
            ("inner", "{\"x\": 1}"),
            ("secret", "{}"),
            ("unknown", "x"),
        ]);
        let expected = json!({
            "text": "12", "count": 12, "flag": true, "kind": "big", "words": ["a", "1"],
            "numbers": [1, 2], "inner": {"x": 1}, "secret": "{}", "unknown": "x"
        });
        assert_eq!(read.unwrap(), expected);
        assert_eq!(self::read(&[("count", "")]).unwrap(), json!({"count": null}));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        assert_eq!(
            read(&[("count", "many")]).unwrap_err(),
            "test.op: count: \"many\" is not a whole number"
        );
        assert_eq!(
            read(&[("flag", "yes")]).unwrap_err(),
            "test.op: flag: \"yes\" is not true or false"
        );
        assert_eq!(
            read(&[("numbers", "x")]).unwrap_err(),
            "test.op: numbers: \"x\" is not a whole number"
        );
        assert_eq!(
            read(&[("text", "a"), ("text", "b")]).unwrap_err(),
            "test.op: text is there twice"
        );
    }

    #[test]
    fn secrets_are_known() {
        assert!(has_secrets(&Entry::of::<Op>()));
        assert!(!has_secrets(Entry::find("account.list").unwrap()));
        assert!(has_secrets(Entry::find("check_password").unwrap()));
    }
}
