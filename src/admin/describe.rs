//! What operations there are, told from their one definition: as OpenAPI 3.1 for programs, as a
//! page and as text for people.

use std::fmt::Write as _;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::ejabberd;
use super::op::{Class, Entry};

/// Where the parts stand that several schemas share.
const DEFINITIONS: &str = "/components/schemas";

/// What goes in and what comes out of an operation, as JSON Schema.
pub struct Schemas {
    pub arguments: Value,
    pub output: Value,
    /// By name: what the two refer to.
    pub definitions: Value,
}

fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = DEFINITIONS.into();
    settings.meta_schema = None;
    settings.into_generator()
}

/// The schemas of one operation.
pub fn schemas_of(entry: &Entry) -> Schemas {
    let mut generator = generator();
    let (arguments, output) = both(entry, &mut generator);
    let definitions = tidy(Value::Object(generator.take_definitions(true)));
    Schemas { arguments, output, definitions }
}

fn both(entry: &Entry, generator: &mut SchemaGenerator) -> (Value, Value) {
    let arguments = tidy((entry.arguments)(generator).to_value());
    (arguments, tidy((entry.output)(generator).to_value()))
}

/// Descriptions come from the comments of the code, which link to each other.
fn tidy(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(object) => {
            object.remove("$schema");
            object.remove("title");
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`").replace('\n', " ");
            }
            for value in object.values_mut() {
                *value = tidy(value.take());
            }
        }
        Value::Array(list) => {
            for value in list {
                *value = tidy(value.take());
            }
        }
        _ => {}
    }
    schema
}

/// The OpenAPI document of the operations that are `shown`, with ejabberd's commands in the forms
/// that a call of this API version gets.
pub fn openapi(version: u32, shown: impl Fn(&Entry) -> bool) -> Value {
    let mut generator = generator();
    let mut paths = Map::new();
    for entry in forms(version).filter(|entry| shown(entry)) {
        let (arguments, output) = both(entry, &mut generator);
        let name = entry.compat.as_ref().and_then(|compat| compat.result_name);
        let (output, example) = match name.filter(|_| version == 0) {
            Some(name) => (
                json!({ "type": "object", "required": [name], "properties": { name: output } }),
                json!({ name: example(entry.example.output) }),
            ),
            None => (output, example(entry.example.output)),
        };
        let output = (output, example);
        let mut methods = Map::new();
        methods.insert("post".to_owned(), post(entry, &arguments, &output));
        if entry.class == Class::Safe && !super::arguments::has_secrets(entry) {
            methods.insert("get".to_owned(), get(entry, &arguments, &output));
        }
        paths.insert(format!("/api/{}", entry.name), Value::Object(methods));
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Coucou",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Operators' acts. Names with a dot are Coucou's own; names without are \
                            ejabberd's commands. What a caller may do is decided by an API key's \
                            scope or by [api.permissions]; this document lists no more than that.",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "basic": [] }, { "key": [] }],
        "paths": paths,
        "components": {
            "schemas": tidy(Value::Object(schemas)),
            "responses": responses(),
            "securitySchemes": {
                "basic": {
                    "type": "http", "scheme": "basic",
                    "description": "An account's address and password; [api.permissions] says what it may.",
                },
                "key": {
                    "type": "http", "scheme": "bearer",
                    "description": "An API key, as `coucou api-key create` makes it.",
                },
            },
        },
    })
}

/// All operations; of commands with several versions the form for `version`.
fn forms(version: u32) -> impl Iterator<Item = &'static Entry> {
    let number = |entry: &Entry| entry.compat.as_ref().map(|compat| compat.version);
    Entry::all().filter(move |entry| match number(entry) {
        None => true,
        own => ejabberd::find(entry.name, version).is_some_and(|form| number(form) == own),
    })
}

/// All operations; of commands with several versions the newest form.
fn newest() -> impl Iterator<Item = &'static Entry> {
    forms(u32::MAX)
}

const STATUSES: &[(&str, &str)] = &[
    ("400", "The arguments, or the request, make no sense as they are."),
    ("401", "No credentials, or wrong ones."),
    ("403", "Not allowed to this caller, or not by the settings."),
    ("404", "There is no such thing, or no such operation."),
    ("405", "Not by this method."),
    ("408", "The body took too long to arrive."),
    ("409", "It exists already, or is in use."),
    ("413", "The body is too long."),
    ("429", "Too often; the header Retry-After tells when to come back."),
    ("500", "A fault of the server."),
    ("503", "The server cannot do it now."),
];

fn responses() -> Value {
    let response = |about: &str| {
        let schema = json!({ "$ref": format!("#{DEFINITIONS}/Problem") });
        json!({ "description": about, "content": { "application/json": { "schema": schema } } })
    };
    let all = STATUSES.iter().map(|(status, about)| (format!("E{status}"), response(about)));
    Value::Object(all.collect())
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["status", "code", "message"],
        "properties": {
            "status": { "const": "error" },
            "code": { "type": "integer", "description": "ejabberd's code for this error." },
            "message": { "type": "string" },
            "help": { "type": "string", "description": "What would help." },
        },
    })
}

fn post(entry: &Entry, arguments: &Value, output: &(Value, Value)) -> Value {
    let mut operation = common(entry, output);
    operation["operationId"] = json!(entry.name);
    operation["requestBody"] = json!({
        "required": true,
        "content": { "application/json": {
            "schema": arguments,
            "example": example(entry.example.arguments),
        } },
    });
    operation
}

fn get(entry: &Entry, arguments: &Value, output: &(Value, Value)) -> Value {
    let mut operation = common(entry, output);
    operation["operationId"] = json!(format!("get.{}", entry.name));
    let required = |name: &str| {
        arguments["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
    };
    let properties = arguments["properties"].as_object().into_iter().flatten();
    let parameters: Vec<Value> = properties
        .map(|(name, schema)| {
            json!({ "name": name, "in": "query", "required": required(name), "schema": schema })
        })
        .collect();
    operation["parameters"] = json!(parameters);
    operation
}

fn common(entry: &Entry, (output, shown): &(Value, Value)) -> Value {
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "Done.",
            "content": { "application/json": {
                "schema": output,
                "example": shown,
            } },
        }),
    );
    for (status, _) in STATUSES {
        let path = format!("#/components/responses/E{status}");
        responses.insert((*status).to_owned(), json!({ "$ref": path }));
    }
    json!({
        "summary": entry.summary,
        "description": format!("{} {}", reach(entry), alias(entry)).trim(),
        "tags": [if entry.compat.is_some() { "ejabberd" } else { entry.group() }],
        "responses": responses,
    })
}

fn example(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// How far it reaches and who may.
fn reach(entry: &Entry) -> &'static str {
    match (entry.class, entry.private) {
        (Class::Safe, false) => "Looks, changes nothing; open to viewers.",
        (Class::Safe, true) => "Looks at what is private, changes nothing; for operators.",
        (Class::Reversible, _) => "Can be undone by another operation; for operators.",
        (Class::Destructive, _) => "Something is gone afterwards; for operators.",
        (Class::LockOut, _) => {
            "May end the operators' own access: for root and the server's user, on the machine."
        }
    }
}

fn alias(entry: &Entry) -> String {
    match entry.compat {
        Some(_) => format!("ejabberd's name for {}.", entry.operation),
        None => String::new(),
    }
}

/// An argument as people read of it.
struct Argument {
    name: String,
    kind: String,
    required: bool,
    about: String,
}

fn arguments(entry: &Entry) -> Vec<Argument> {
    let schemas = schemas_of(entry);
    let required = schemas.arguments["required"].as_array().cloned().unwrap_or_default();
    let properties = schemas.arguments["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, schema)| Argument {
            name: name.clone(),
            kind: kind(schema, &schemas.definitions, 0),
            required: required.iter().any(|one| one == name.as_str()),
            about: schema["description"].as_str().unwrap_or_default().to_owned(),
        })
        .collect()
}

/// The type of a value in a word or two.
fn kind(schema: &Value, definitions: &Value, depth: usize) -> String {
    if depth > 4 {
        return "object".to_owned();
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return kind(&definitions[name], definitions, depth + 1);
    }
    if let Some(word) = schema["const"].as_str() {
        return word.to_owned();
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return words.join(" | ");
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[key].as_array() {
            let kinds: Vec<String> = choices
                .iter()
                .filter(|choice| choice["type"] != "null")
                .map(|choice| kind(choice, definitions, depth + 1))
                .collect();
            return kinds.join(" | ");
        }
    }
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    };
    match name {
        Some("string") if schema["format"] == "password" => "secret".to_owned(),
        Some("string") => "text".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("number") => "number".to_owned(),
        Some("boolean") => "true | false".to_owned(),
        Some("array") => format!("list of {}", kind(&schema["items"], definitions, depth + 1)),
        _ => "object".to_owned(),
    }
}

/// Everything about one operation, for a terminal.
pub fn text(entry: &Entry) -> String {
    let mut text = format!("{}: {}\n{}\n", entry.name, entry.summary, reach(entry));
    let also = ejabberd::names_of(entry.operation);
    if entry.compat.is_some() {
        let _ = writeln!(text, "{}", alias(entry));
    } else if !also.is_empty() {
        let _ = writeln!(text, "ejabberd's names: {}", also.join(", "));
    }
    let arguments = arguments(entry);
    let width = |of: fn(&Argument) -> usize| arguments.iter().map(of).max().unwrap_or(0);
    let (names, kinds) = (width(|a| a.name.len()), width(|a| a.kind.len()));
    text.push_str(if arguments.is_empty() { "\nNo arguments.\n" } else { "\nArguments:\n" });
    for Argument { name, kind, required, about } in &arguments {
        let must = if *required { "required" } else { "optional" };
        let line = format!("  {name:names$}  {kind:kinds$}  {must}  {about}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = write!(
        text,
        "\nExample:\n  coucou api {} --json '{}'\n\nResult:\n{}\n",
        entry.name,
        example(entry.example.arguments),
        indented(&example(entry.example.output)),
    );
    text
}

fn indented(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// One line an operation, ours first.
pub fn list() -> Vec<(&'static str, &'static str)> {
    newest().map(|entry| (entry.name, entry.summary)).collect()
}

const PAGE_HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n<title>Coucou: operations</title>\n\
    <style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    code,pre{font:14px ui-monospace,monospace}pre{background:#8882;padding:.5rem;overflow-x:auto}\
    td,th{text-align:left;vertical-align:top;padding:0 1rem 0 0}nav{columns:3}\
    :root{color-scheme:light dark}</style>\n</head>\n<body>\n<h1>Operations</h1>\n\
    <p>Call one with <code>POST /api/NAME</code> and a JSON object of its arguments, one that only \
    looks also with <code>GET /api/NAME?argument=value</code>. The same for programs: \
    <a href=\"/api/openapi.json\">OpenAPI</a>.</p>\n";

/// The operations that are `shown`, as a page without scripts.
pub fn page(shown: impl Fn(&Entry) -> bool) -> String {
    let mut page = String::from(PAGE_HEAD);
    page.push_str("<nav>\n");
    for entry in newest().filter(|entry| shown(entry)) {
        let name = entry.name;
        let _ = writeln!(page, "<a href=\"#{name}\">{name}</a><br>");
    }
    page.push_str("</nav>\n");
    for entry in newest().filter(|entry| shown(entry)) {
        section(&mut page, entry);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn section(page: &mut String, entry: &Entry) {
    let name = entry.name;
    let _ = write!(
        page,
        "<h2 id=\"{name}\"><code>{name}</code></h2>\n<p>{}. {} {}</p>\n",
        escaped(entry.summary),
        reach(entry),
        alias(entry),
    );
    let arguments = arguments(entry);
    if !arguments.is_empty() {
        page.push_str("<table>\n");
        for argument in arguments {
            let must = if argument.required { "required" } else { "optional" };
            let _ = writeln!(
                page,
                "<tr><td><code>{}</code></td><td>{}</td><td>{must}</td><td>{}</td></tr>",
                escaped(&argument.name),
                escaped(&argument.kind),
                escaped(&argument.about),
            );
        }
        page.push_str("</table>\n");
    }
    let _ = write!(
        page,
        "<pre>POST /api/{name}\n{}\n\n200\n{}</pre>\n",
        escaped(&example(entry.example.arguments).to_string()),
        escaped(&serde_json::to_string_pretty(&example(entry.example.output)).unwrap_or_default()),
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_has_every_operation_and_all_that_it_refers_to() {
        let document = openapi(u32::MAX, |_| true);
        for entry in Entry::all() {
            let path = &document["paths"][format!("/api/{}", entry.name)];
            assert!(path["post"]["responses"]["200"].is_object(), "{}", entry.name);
            let readable =
                entry.class == Class::Safe && !super::super::arguments::has_secrets(entry);
            assert_eq!(path["get"].is_object(), readable, "{}", entry.name);
        }
        let old = openapi(0, |_| true);
        let number = &old["paths"]["/api/connected_users_number"]["post"]["responses"]["200"];
        let content = &number["content"]["application/json"];
        assert_eq!(content["example"], json!({"num_sessions": 2}));
        assert_eq!(content["schema"]["required"], json!(["num_sessions"]));
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for path in found {
            let pointer = path.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{path}");
        }
    }

    #[test]
    fn the_document_and_the_page_show_no_more_than_asked() {
        let shown = |entry: &Entry| entry.name == "account.list";
        let paths = openapi(u32::MAX, shown)["paths"].as_object().cloned().unwrap();
        assert_eq!(paths.keys().collect::<Vec<_>>(), ["/api/account.list"]);
        let page = page(shown);
        assert!(page.contains("account.list") && !page.contains("account.add"));
        assert!(!page.contains("<script"));
    }

    #[test]
    fn the_text_of_an_operation_tells_its_arguments() {
        let text = text(Entry::find("account.lock").unwrap());
        assert!(text.starts_with("account.lock: Let nobody sign in to an account"), "{text}");
        assert!(text.contains("jid     text  required"), "{text}");
        assert!(text.contains("reason  text  optional  For operators"), "{text}");
        let text = self::text(Entry::find("register").unwrap());
        assert!(text.contains("password  secret  required"), "{text}");
        assert!(text.contains("ejabberd's name for account.add."), "{text}");
    }
}
