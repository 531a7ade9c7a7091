//! Looking at the settings: what is in force, what it means, what it was, what a text would do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::{history, no_history, unreadable};
use super::lockout;
use crate::access::lint;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::config::history::{State, hash};
use crate::config::value::Secret;
use crate::config::{self, Change, Described, Problem, describe, find_path, unified};

/// Settings in one answer.
const PAGE_MAX: usize = 500;

/// Every setting with its value, default, place and meaning.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Show {
    /// Only settings whose path has this in it.
    pub filter: String,
    /// Only settings that the file says.
    pub written: bool,
    /// Go on behind this path.
    pub after: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    /// The config file.
    pub file: String,
    /// The hash of its text, for edits that rely on it.
    pub hash: String,
    /// The file has changed since it was brought into force, so that lines may be wrong.
    pub edited: bool,
    pub settings: Vec<Described>,
    /// Where to go on, if there are more.
    pub next: Option<String>,
}

impl Operation for Show {
    const NAME: &'static str = "config.show";
    const SUMMARY: &'static str = "Show settings with value, default, line and meaning";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"filter": "ping_after"}"#,
        output: r#"{"file": "/etc/coucou/coucou.toml", "hash": "9f86d081", "edited": false, "settings": [{"path": "limits.ping_after", "value": "5m", "default": "15m", "line": 68, "meaning": "Silence until the server asks whether a client is still there.", "effect": "new_connections", "secret": false}], "next": null}"#,
    };
    type Output = Shown;

    async fn run(self, cx: &Context) -> Result<Shown, Refusal> {
        let text =
            config::read(cx.config_file()).map_err(|error| unreadable(cx.config_file(), &error))?;
        let edited = match config::parse(&text, cx.config_file()) {
            Ok(checked) => !config::diff(cx.config(), &checked.config).is_empty(),
            Err(_) => true,
        };
        let wanted = self.filter.replace('"', "");
        let mut settings: Vec<Described> = describe(cx.config())
            .into_iter()
            .filter(|setting| setting.path.replace('"', "").contains(&wanted))
            .filter(|setting| !self.written || setting.line.is_some())
            .filter(|setting| self.after.as_ref().is_none_or(|after| setting.path > *after))
            .collect();
        let next = (settings.len() > PAGE_MAX).then(|| settings[PAGE_MAX - 1].path.clone());
        settings.truncate(PAGE_MAX);
        Ok(Shown {
            file: cx.config_file().display().to_string(),
            hash: hash(&text),
            edited,
            settings,
            next,
        })
    }
}

/// One setting.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Get {
    /// As in `limits.ping_after`; quotes may be left out.
    pub key: String,
}

impl Operation for Get {
    const NAME: &'static str = "config.get";
    const SUMMARY: &'static str = "Show one setting";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"key": "log.level"}"#,
        output: r#"{"path": "log.level", "value": "info", "default": "info", "line": null, "meaning": "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\".", "effect": "live", "secret": false}"#,
    };
    type Output = Described;

    fn target(&self) -> String {
        self.key.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Described, Refusal> {
        let path = find_path(cx.config(), &self.key);
        let found =
            describe(cx.config()).into_iter().find(|setting| Some(&setting.path) == path.as_ref());
        found.ok_or_else(|| no_setting(cx, &self.key))
    }
}

/// There is no setting of that name; names the one most like it.
fn no_setting(cx: &Context, key: &str) -> Refusal {
    let refusal = Refusal::not_found(format!("there is no setting {key}"));
    let all = describe(cx.config());
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let same = all.iter().find(|setting| last(&setting.path) == last(key));
    let near = same.or_else(|| {
        all.iter()
            .min_by_key(|setting| strsim::damerau_levenshtein(&setting.path, key))
            .filter(|setting| strsim::damerau_levenshtein(&setting.path, key) <= 3)
    });
    match near {
        Some(near) => refusal.help(format!("did you mean {}?", near.path)),
        None => refusal.help("`coucou config show` lists them"),
    }
}

/// The text of the config file, secrets and all.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Text {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileText {
    pub file: String,
    pub text: String,
    pub hash: String,
}

impl Operation for Text {
    const NAME: &'static str = "config.text";
    const SUMMARY: &'static str = "Read the text of the config file";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"{"file": "/etc/coucou/coucou.toml", "text": "[hosts.\"example.org\"]\n", "hash": "9f86d081"}"#,
    };
    type Output = FileText;

    async fn run(self, cx: &Context) -> Result<FileText, Refusal> {
        let file = cx.config_file();
        let text = config::read(file).map_err(|error| unreadable(file, &error))?;
        Ok(FileText { file: file.display().to_string(), hash: hash(&text), text })
    }
}

/// Checks a text as if it were the config file.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The file as it is, if left out.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub text: Option<Secret>,
}

/// What a text of the config file would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// It can be used.
    pub ok: bool,
    pub problems: Vec<Fault>,
    pub warnings: Vec<Fault>,
    /// What would change from what is in force.
    pub changes: Vec<Change>,
    /// How far that reaches.
    pub class: Class,
}

/// Something wrong or doubtful at one place of the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// From 1; 0 if it is about no one place.
    pub line: usize,
    pub column: usize,
    /// The setting.
    pub key: String,
    pub found: String,
    pub expected: String,
    pub help: Option<String>,
    /// All of it with the line in question, for people.
    pub told: String,
}

impl From<&Problem> for Fault {
    fn from(problem: &Problem) -> Fault {
        Fault {
            line: problem.line,
            column: problem.column,
            key: problem.key.clone(),
            found: problem.found.clone(),
            expected: problem.expected.clone(),
            help: problem.help.clone(),
            told: problem.to_string(),
        }
    }
}

impl Operation for Check {
    const NAME: &'static str = "config.check";
    const SUMMARY: &'static str = "Check a text as if it were the config file";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"text": "[hosts.\"example.org\"]\nauth = \"internl\"\n"}"#,
        output: r#"{"ok": false, "problems": [{"line": 2, "column": 8, "key": "hosts.\"example.org\".auth", "found": "\"internl\"", "expected": "one of \"internal\", \"anonymous\"", "help": "did you mean \"internal\"?", "told": "line 2, column 8: …"}], "warnings": [], "changes": [], "class": "safe"}"#,
    };
    type Output = Verdict;

    fn to_wire(&self) -> Value {
        match &self.text {
            Some(text) => serde_json::json!({ "text": text.reveal() }),
            None => serde_json::json!({}),
        }
    }

    async fn run(self, cx: &Context) -> Result<Verdict, Refusal> {
        let file = cx.config_file();
        let text = match &self.text {
            Some(text) => text.reveal().to_owned(),
            None => config::read(file).map_err(|error| unreadable(file, &error))?,
        };
        let groups = cx.store().groups().snapshot();
        let checked = config::parse(&text, file);
        Ok(match checked.and_then(|checked| lint::judge(checked, file, Some(&groups))) {
            Ok(checked) => {
                let changes = config::diff(cx.config(), &checked.config);
                let class = match changes.is_empty() {
                    true => Class::Safe,
                    false => lockout::class(&changes, Some(cx.config()), &checked.config),
                };
                let warnings = checked.warnings.iter().map(Fault::from).collect();
                Verdict { ok: true, problems: Vec::new(), warnings, changes, class }
            }
            Err(error) => Verdict {
                ok: false,
                problems: error.problems.iter().map(Fault::from).collect(),
                warnings: Vec::new(),
                changes: Vec::new(),
                class: Class::Safe,
            },
        })
    }
}

/// The texts that were in force, newest first.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// At most so many; 0 stands for 20.
    pub max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct States {
    pub states: Vec<State>,
    /// The state that is undone at `confirm_until` unless it is confirmed.
    pub unconfirmed: Option<u64>,
    pub confirm_until: Option<String>,
}

impl Operation for History {
    const NAME: &'static str = "config.history";
    const SUMMARY: &'static str = "List the texts of the settings that were in force";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"max": 1}"#,
        output: r#"{"states": [{"id": 12, "at": "2026-11-23T18:40:00.000Z", "who": "uid=0(root)", "what": "config.set", "why": "less noise", "hash": "9f86d081", "changes": [{"path": "log.level", "old": "debug", "new": "info", "effect": "live"}]}], "unconfirmed": null, "confirm_until": null}"#,
    };
    type Output = States;

    async fn run(self, cx: &Context) -> Result<States, Refusal> {
        let history = history(cx);
        let max = if self.max == 0 { 20 } else { self.max };
        let states = history.list(max).map_err(|error| no_history(&error))?;
        let pending = history.pending();
        Ok(States {
            states,
            unconfirmed: pending.as_ref().map(|pending| pending.id),
            confirm_until: pending.map(|pending| crate::time::Now(pending.until).to_xmpp()),
        })
    }
}

/// What differs between the file and a text that was in force.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Diff {
    /// The number of a state; the newest one, which is what was last in force, if left out.
    pub id: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Differences {
    /// The state that the file is compared with; `None` if there is no history yet.
    pub id: Option<u64>,
    /// From that state to the file, as a unified diff, secrets masked.
    pub diff: String,
    /// The settings that differ; none if one of the two texts is not in order.
    pub changes: Vec<Change>,
}

impl Operation for Diff {
    const NAME: &'static str = "config.diff";
    const SUMMARY: &'static str = "Compare the config file with what was in force";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"id": 11}"#,
        output: r#"{"id": 11, "diff": "--- state 11\n+++ the file\n@@ -1,1 +1,1 @@\n-level = \"debug\"\n+level = \"info\"\n", "changes": [{"path": "log.level", "old": "debug", "new": "info", "effect": "live"}]}"#,
    };
    type Output = Differences;

    async fn run(self, cx: &Context) -> Result<Differences, Refusal> {
        let (file, history) = (cx.config_file(), history(cx));
        let text = config::read(file).map_err(|error| unreadable(file, &error))?;
        let state = match self.id {
            Some(id) => Some(history.read(id).map_err(|error| no_history(&error))?),
            None => history.newest().map_err(|error| no_history(&error))?,
        };
        let Some((state, was)) = state else {
            return Ok(Differences { id: None, diff: String::new(), changes: Vec::new() });
        };
        let diff = unified(&was, &text, &format!("state {}", state.id), "the file");
        let changes = match (config::parse(&was, file), config::parse(&text, file)) {
            (Ok(was), Ok(is)) => config::diff(&was.config, &is.config),
            _ => Vec::new(),
        };
        Ok(Differences { id: Some(state.id), diff, changes })
    }
}
