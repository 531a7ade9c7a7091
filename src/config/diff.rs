//! What a reload changes, and what each change asks of the running server.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::Config;
use super::raw::Setting;

/// How a change comes into force.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// At once, for everybody.
    Live,
    /// For connections made from now on.
    NewConnections,
    /// By opening and closing listeners; sessions stay.
    Rebind,
    /// Not before the server is started again.
    Restart,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effect::Live => "live",
            Effect::NewConnections => "for new connections",
            Effect::Rebind => "by new listeners",
            Effect::Restart => "needs a restart",
        })
    }
}

/// One setting that differs. Secrets are masked in `old` and `new`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// As in `hosts."example.org".archive.retention`.
    pub path: String,
    /// `None` if the setting was not there, as with a new host.
    pub old: Option<String>,
    /// `None` if it is gone.
    pub new: Option<String>,
    pub effect: Effect,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{}: {old} → {new}", self.path)?,
            (None, Some(new)) => write!(f, "{}: added, {new}", self.path)?,
            (Some(old), None) => write!(f, "{}: removed, was {old}", self.path)?,
            (None, None) => f.write_str(&self.path)?,
        }
        write!(f, " ({})", self.effect)
    }
}

/// Every setting that differs from `old` to `new`, sorted by path.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let before: BTreeMap<&str, &Setting> = by_path(old);
    let after: BTreeMap<&str, &Setting> = by_path(new);
    let mut changes = Vec::new();
    for (path, setting) in &before {
        let now = after.get(path);
        if now.is_none_or(|now| now.value != setting.value) {
            changes.push(Change {
                path: (*path).to_owned(),
                old: Some(setting.value.to_string()),
                new: now.map(|now| now.value.to_string()),
                effect: setting.effect,
            });
        }
    }
    for (path, setting) in &after {
        if !before.contains_key(path) {
            changes.push(Change {
                path: (*path).to_owned(),
                old: None,
                new: Some(setting.value.to_string()),
                effect: setting.effect,
            });
        }
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn by_path(config: &Config) -> BTreeMap<&str, &Setting> {
    config.settings.iter().map(|setting| (setting.path.as_str(), setting)).collect()
}
