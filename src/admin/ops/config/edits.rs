//! Changing the settings, a piece at a time or as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::change::{Applied, Kind, Options, change, history, no_history};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::config::edit::{self, key_text};
use crate::config::value::Secret;
use crate::config::{find_path, is_secret};

/// What a change of the settings shows as its output in examples.
const APPLIED: &str = r#"{"id": 13, "hash": "9f86d081", "diff": "--- the file\n+++ changed\n@@ -1,1 +1,1 @@\n-#level = \"info\"\n+level = \"debug\"\n", "changes": [{"path": "log.level", "old": "info", "new": "debug", "effect": "live"}], "warnings": [], "class": "reversible", "in_force": true, "confirm_until": null}"#;

/// Gives a setting another value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// As in `limits.ping_after` or `hosts."example.org".archive.retention`.
    pub key: String,
    /// As in the file: a text, a number, true or false, a list, a table.
    pub value: Value,
    #[serde(default)]
    pub options: Options,
}

/// For the audit: a value that is a secret does not show.
impl Serialize for Set {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let last = self.key.rsplit('.').next().unwrap_or_default().trim_matches('"');
        let value = if is_secret(last) { json!("***") } else { without_secrets(&self.value) };
        json!({ "key": self.key, "value": value, "options": self.options }).serialize(serializer)
    }
}

fn without_secrets(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let hidden = |key: &str, value| {
                if is_secret(key) { json!("***") } else { without_secrets(value) }
            };
            entries.iter().map(|(key, value)| (key.clone(), hidden(key, value))).collect()
        }
        Value::Array(items) => items.iter().map(without_secrets).collect(),
        other => other.clone(),
    }
}

impl Operation for Set {
    const NAME: &'static str = "config.set";
    const SUMMARY: &'static str = "Give a setting another value, in the file and in force";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"key": "log.level", "value": "debug", "options": {"reason": "looking for the lost pings"}}"#,
        output: APPLIED,
    };
    type Output = Applied;

    fn target(&self) -> String {
        self.key.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    fn to_wire(&self) -> Value {
        json!({ "key": self.key, "value": self.value, "options": self.options })
    }

    async fn run(self, cx: &Context) -> Result<Applied, Refusal> {
        let value = toml_value(&self.value)?;
        let key = find_path(cx.config(), &self.key).unwrap_or(self.key);
        change(cx, Self::NAME, Kind::Piece, &self.options, |text| edit::set(text, &key, &value))
            .await
    }
}

fn toml_value(value: &Value) -> Result<toml::Value, Refusal> {
    toml::Value::try_from(value).map_err(|error| {
        Refusal::usage(format!("the value cannot stand in the file: {error}"))
            .help("`config.unset` takes a setting out of it")
    })
}

/// Takes a setting, or a table with all that is in it, out of the file: its default counts again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unset {
    /// As in `limits.ping_after` or `hosts."example.org"`.
    pub key: String,
    #[serde(default)]
    pub options: Options,
}

impl Operation for Unset {
    const NAME: &'static str = "config.unset";
    const SUMMARY: &'static str = "Take a setting out of the file, so that its default counts";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example { arguments: r#"{"key": "log.level"}"#, output: APPLIED };
    type Output = Applied;

    fn target(&self) -> String {
        self.key.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Applied, Refusal> {
        let key = find_path(cx.config(), &self.key).unwrap_or(self.key);
        change(cx, Self::NAME, Kind::Piece, &self.options, |text| edit::unset(text, &key)).await
    }
}

/// Puts a whole text in the place of the file and brings it into force.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    #[schemars(with = "String")]
    pub text: Secret,
    #[serde(default)]
    pub options: Options,
}

impl Operation for Apply {
    const NAME: &'static str = "config.apply";
    const SUMMARY: &'static str = "Replace the config file by a text, and bring it into force";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"text": "[hosts.\"example.org\"]\n", "options": {"base": "9f86d081"}}"#,
        output: APPLIED,
    };
    type Output = Applied;

    fn to_wire(&self) -> Value {
        json!({ "text": self.text.reveal(), "options": self.options })
    }

    async fn run(self, cx: &Context) -> Result<Applied, Refusal> {
        let text = self.text.reveal().to_owned();
        change(cx, Self::NAME, Kind::Whole, &self.options, |_| Ok(text)).await
    }
}

/// Goes back to a text that was in force.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Revert {
    /// The number of a state; the one before what is in force if left out.
    pub id: Option<u64>,
    pub options: Options,
}

impl Operation for Revert {
    const NAME: &'static str = "config.revert";
    const SUMMARY: &'static str = "Go back to settings that were in force";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example { arguments: r#"{"id": 12}"#, output: APPLIED };
    type Output = Applied;

    fn target(&self) -> String {
        self.id.map_or_else(String::new, |id| id.to_string())
    }

    async fn run(self, cx: &Context) -> Result<Applied, Refusal> {
        let text = state(cx, self.id)?;
        change(cx, Self::NAME, Kind::Back, &self.options, |_| Ok(text)).await
    }
}

/// The text of that state, or of the newest that differs from the file.
fn state(cx: &Context, id: Option<u64>) -> Result<String, Refusal> {
    let history = history(cx);
    if let Some(id) = id.or_else(|| history.pending().map(|pending| pending.back)) {
        return history.read(id).map(|(_, text)| text).map_err(|error| no_history(&error));
    }
    let file = crate::config::read(cx.config_file()).unwrap_or_default();
    let states = history.list(usize::MAX).map_err(|error| no_history(&error))?;
    let before = states.iter().find(|state| state.hash != crate::config::history::hash(&file));
    let Some(before) = before else {
        return Err(Refusal::not_found("there is no earlier text of the settings"));
    };
    history.read(before.id).map(|(_, text)| text).map_err(|error| no_history(&error))
}

/// Adds somebody to an ACL.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AclAdd {
    /// The name of the ACL; it is made if there is none.
    pub name: String,
    /// What is asked: `user`, `ip`, `server`, `user_regexp`, `shared_group`, `acl` …
    pub condition: String,
    /// As in `anna@example.org` or `192.0.2.0/24`.
    pub value: String,
    #[serde(default)]
    pub options: Options,
}

impl Operation for AclAdd {
    const NAME: &'static str = "acl.add";
    const SUMMARY: &'static str = "Add a condition to an ACL";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"name": "admin", "condition": "user", "value": "anna@example.org"}"#,
        output: APPLIED,
    };
    type Output = Applied;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Applied, Refusal> {
        let AclAdd { name, condition, value, options } = self;
        change(cx, Self::NAME, Kind::Piece, &options, |text| {
            edit::add_condition(text, &name, &condition, &value)
        })
        .await
    }
}

/// Takes somebody out of an ACL.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AclRemove {
    pub name: String,
    /// Which condition; the whole ACL goes if it is left out.
    #[serde(default)]
    pub condition: Option<String>,
    /// Which value of it; all of them if left out.
    #[serde(default)]
    pub value: Option<String>,
    #[serde(default)]
    pub options: Options,
}

impl Operation for AclRemove {
    const NAME: &'static str = "acl.remove";
    const SUMMARY: &'static str = "Take a condition out of an ACL, or an ACL out of the file";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"name": "admin", "condition": "user", "value": "eve@example.org"}"#,
        output: APPLIED,
    };
    type Output = Applied;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Applied, Refusal> {
        let AclRemove { name, condition, value, options } = self;
        let acl = format!("acl.{}", key_text(&name));
        change(cx, Self::NAME, Kind::Piece, &options, |text| match (&condition, &value) {
            (None, _) => edit::unset(text, &acl),
            (Some(key), None) => edit::unset(text, &format!("{acl}.{}", key_text(key))),
            (Some(key), Some(value)) => edit::remove_condition(text, &name, key, value),
        })
        .await
    }
}

/// Puts an entry into a rule: at the end, or where `at` says.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessAdd {
    /// The name of a rule of `[access]`, which is made if there is none, or the path of a list of
    /// entries such as `allowances.sessions`.
    pub rule: String,
    /// As in the file: `{"allow": "local"}`, `{"deny": {"ip": "192.0.2.0/24"}}`, `{"grant": 5}`.
    pub entry: Value,
    /// The number that it shall have, from 1; the end of the list if left out.
    #[serde(default)]
    pub at: Option<usize>,
    #[serde(default)]
    pub options: Options,
}

impl Operation for AccessAdd {
    const NAME: &'static str = "access.add";
    const SUMMARY: &'static str = "Put an entry into an access rule";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"rule": "register", "entry": {"deny": "forbidden"}, "at": 1}"#,
        output: APPLIED,
    };
    type Output = Applied;

    fn target(&self) -> String {
        self.rule.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Applied, Refusal> {
        let (path, entry) = (rule_path(&self.rule), toml_value(&self.entry)?);
        let at = self.at.map(from_one).transpose()?;
        change(cx, Self::NAME, Kind::Piece, &self.options, |text| {
            edit::insert(text, &path, at, &entry)
        })
        .await
    }
}

/// Writes another entry in the place of one.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessReplace {
    pub rule: String,
    /// The number of the entry, from 1.
    pub at: usize,
    pub entry: Value,
    #[serde(default)]
    pub options: Options,
}

impl Operation for AccessReplace {
    const NAME: &'static str = "access.replace";
    const SUMMARY: &'static str = "Write another entry in the place of one of an access rule";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"rule": "register", "at": 2, "entry": {"allow": "local"}}"#,
        output: APPLIED,
    };
    type Output = Applied;

    fn target(&self) -> String {
        self.rule.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Applied, Refusal> {
        let (path, entry, at) =
            (rule_path(&self.rule), toml_value(&self.entry)?, from_one(self.at)?);
        change(cx, Self::NAME, Kind::Piece, &self.options, |text| {
            edit::replace(text, &path, at, &entry)
        })
        .await
    }
}

/// Changes the order of a rule.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessMove {
    pub rule: String,
    /// The number of the entry, from 1.
    pub from: usize,
    /// The number that it shall have.
    pub to: usize,
    #[serde(default)]
    pub options: Options,
}

impl Operation for AccessMove {
    const NAME: &'static str = "access.move";
    const SUMMARY: &'static str = "Give an entry of an access rule another place";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example =
        Example { arguments: r#"{"rule": "register", "from": 3, "to": 1}"#, output: APPLIED };
    type Output = Applied;

    fn target(&self) -> String {
        self.rule.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Applied, Refusal> {
        let (path, from, to) = (rule_path(&self.rule), from_one(self.from)?, from_one(self.to)?);
        change(cx, Self::NAME, Kind::Piece, &self.options, |text| {
            edit::shift(text, &path, from, to)
        })
        .await
    }
}

/// Takes an entry out of a rule, or a rule out of the file.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRemove {
    pub rule: String,
    /// The number of the entry, from 1; the whole rule goes if it is left out.
    #[serde(default)]
    pub at: Option<usize>,
    #[serde(default)]
    pub options: Options,
}

impl Operation for AccessRemove {
    const NAME: &'static str = "access.remove";
    const SUMMARY: &'static str = "Take an entry out of an access rule, or a rule out of the file";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example =
        Example { arguments: r#"{"rule": "register", "at": 1}"#, output: APPLIED };
    type Output = Applied;

    fn target(&self) -> String {
        self.rule.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Applied, Refusal> {
        let (path, at) = (rule_path(&self.rule), self.at.map(from_one).transpose()?);
        change(cx, Self::NAME, Kind::Piece, &self.options, |text| match at {
            Some(at) => edit::remove(text, &path, at),
            None => edit::unset(text, &path),
        })
        .await
    }
}

/// The name of a rule, or a path.
fn rule_path(rule: &str) -> String {
    if rule.contains('.') { rule.to_owned() } else { format!("access.{}", key_text(rule)) }
}

fn from_one(number: usize) -> Result<usize, Refusal> {
    number.checked_sub(1).ok_or_else(|| {
        Refusal::new(RefusalKind::Usage, "entries are counted from 1, so there is no entry 0")
    })
}
