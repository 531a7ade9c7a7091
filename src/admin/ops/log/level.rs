//! How much the log tells, by module, live; and beginning a new file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::config::Level;
use crate::config::value::Span;
use crate::telemetry::Override;
use crate::time::Now;

/// Bytes of a module's name.
const MODULE_BYTES_MAX: usize = 200;

/// Tells the levels in force.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Levels {}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InForce {
    /// Of modules that have none of their own: `off`, `error`, `warn`, `info`, `debug`, `trace`.
    pub level: String,
    /// By module; the longest name that fits wins.
    pub modules: BTreeMap<String, String>,
    /// What of it an operator has put over the settings, and until when; `""` is the default level.
    pub overrides: BTreeMap<String, Option<String>>,
}

impl Operation for Levels {
    const NAME: &'static str = "log.levels";
    const SUMMARY: &'static str = "Tell how much the log tells, by module";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"{"level": "info", "modules": {"coucou::stream": "debug"},
            "overrides": {"coucou::stream": "2026-11-23T19:10:00.000Z"}}"#,
    };
    type Output = InForce;

    async fn run(self, cx: &Context) -> Result<InForce, Refusal> {
        Ok(in_force(cx.running()?.telemetry()))
    }
}

fn in_force(telemetry: &crate::telemetry::Telemetry) -> InForce {
    let (log, over) = telemetry.levels();
    InForce {
        level: name(log.level).to_owned(),
        modules: log
            .levels
            .iter()
            .map(|(of, level)| (of.clone(), name(*level).to_owned()))
            .collect(),
        overrides: over.into_iter().map(|(of, set)| (of, set.until.map(Now::to_xmpp))).collect(),
    }
}

/// Every level with its name.
const NAMES: [(Level, &str); 6] = [
    (Level::Off, "off"),
    (Level::Error, "error"),
    (Level::Warn, "warn"),
    (Level::Info, "info"),
    (Level::Debug, "debug"),
    (Level::Trace, "trace"),
];

fn name(level: Level) -> &'static str {
    NAMES.iter().find(|(of, _)| *of == level).map_or("", |(_, name)| name)
}

pub(super) fn level(text: &str) -> Result<Level, Refusal> {
    NAMES.iter().find(|(_, name)| *name == text).map(|(level, _)| *level).ok_or_else(|| {
        let names: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
        Refusal::usage(format!("level: {text:?} is none of {}", names.join(", ")))
    })
}

/// Sets a level, or gives it back to the settings.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetLevel {
    /// As in `stream::c2s` or `coucou::store`; the default level if empty.
    pub module: String,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`; as the settings say if it is left out.
    pub level: Option<String>,
    /// How long, as in `10m`; then it falls back. To the end of the process if it is left out.
    #[serde(rename = "for")]
    pub lasts: Option<String>,
}

impl Operation for SetLevel {
    const NAME: &'static str = "log.set_level";
    const SUMMARY: &'static str =
        "Set how much the log tells, of one module or at all, for a while";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"module": "stream", "level": "debug", "for": "10m"}"#,
        output: r#"{"level": "info", "modules": {"coucou::stream": "debug"},
            "overrides": {"coucou::stream": "2026-11-23T19:10:00.000Z"}}"#,
    };
    type Output = InForce;

    fn target(&self) -> String {
        self.module.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<InForce, Refusal> {
        let telemetry = cx.running()?.telemetry();
        let module = module(&self.module)?;
        let until = match &self.lasts {
            Some(text) => {
                let span: Span = text
                    .parse()
                    .map_err(|error| Refusal::usage(format!("for: {text:?} {error}")))?;
                Some(Now::read().plus(span.0))
            }
            None => None,
        };
        let set = match &self.level {
            Some(text) => Some(Override { level: level(text)?, until }),
            None if until.is_some() => {
                return Err(Refusal::usage("for: only together with a level"));
            }
            None => None,
        };
        telemetry.set_level(&module, set).map_err(|error| Refusal::denied(error.to_string()))?;
        Ok(in_force(telemetry))
    }
}

/// The rooms of the program, as in lib.rs, may go without its name.
fn module(text: &str) -> Result<String, Refusal> {
    const ROOMS: [&str; 16] = [
        "access",
        "admin",
        "auth",
        "cli",
        "config",
        "delivery",
        "features",
        "http",
        "jid",
        "net",
        "router",
        "server",
        "stanza",
        "store",
        "stream",
        "telemetry",
    ];
    let valid = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if text.is_empty() {
        return Ok(String::new());
    }
    if text.len() > MODULE_BYTES_MAX || !text.split("::").all(valid) {
        return Err(Refusal::usage(format!("module: {text:?} is no name of a module"))
            .help(format!("write one of {}, or a part as in stream::c2s", ROOMS.join(", "))));
    }
    let first = text.split("::").next().unwrap_or_default();
    Ok(if ROOMS.contains(&first) { format!("coucou::{text}") } else { text.to_owned() })
}

/// Begins a new log file.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rotated {
    /// What the file of today is called now.
    pub file: String,
}

impl Operation for Rotate {
    const NAME: &'static str = "log.rotate";
    const SUMMARY: &'static str = "Put the log file of today aside and begin another";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"{"file": "/var/lib/coucou/log/coucou.2026-11-23.1.log"}"#,
    };
    type Output = Rotated;

    async fn run(self, cx: &Context) -> Result<Rotated, Refusal> {
        let server = cx.running()?.clone();
        let rotated = tokio::task::spawn_blocking(move || server.telemetry().rotate(Now::read()));
        let rotated = rotated.await.map_err(|error| Refusal::bug(&error))?;
        match rotated.map_err(|error| Refusal::unavailable(error.to_string()))? {
            Some(file) => Ok(Rotated { file: file.display().to_string() }),
            None => {
                Err(Refusal::unavailable("the log goes to the journal, which has no file of ours")
                    .help("`journalctl --rotate` does it there"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::op::RefusalKind;
    use crate::admin::ops::testing;
    use crate::testing::World;

    #[tokio::test]
    async fn levels_are_set_by_module_and_given_back() {
        let world = World::new();
        let cx = testing::live(&world);
        let set = |module: &str, level: Option<&str>, lasts: Option<&str>| SetLevel {
            module: module.to_owned(),
            level: level.map(str::to_owned),
            lasts: lasts.map(str::to_owned),
        };
        let told = set("stream::c2s", Some("debug"), Some("10m")).run(&cx).await.unwrap();
        assert_eq!(told.modules["coucou::stream::c2s"], "debug");
        assert!(told.overrides["coucou::stream::c2s"].is_some());
        let told = set("", Some("warn"), None).run(&cx).await.unwrap();
        assert_eq!((told.level.as_str(), &told.overrides[""]), ("warn", &None));
        set("", None, None).run(&cx).await.unwrap();
        set("stream::c2s", None, None).run(&cx).await.unwrap();
        let told = Levels {}.run(&cx).await.unwrap();
        assert_eq!((told.level.as_str(), told.overrides.len()), ("info", 0));
        for bad in [
            set("stream::", Some("debug"), None),
            set("", Some("loud"), None),
            set("", Some("debug"), Some("a while")),
            set("", None, Some("10m")),
        ] {
            assert_eq!(bad.run(&cx).await.unwrap_err().kind, RefusalKind::Usage);
        }
        let journal = Rotate {}.run(&cx).await.unwrap_err();
        assert_eq!(journal.kind, RefusalKind::Unavailable);
    }
}
