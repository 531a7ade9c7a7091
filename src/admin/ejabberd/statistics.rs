//! Tags *statistics*, *logs* and *server*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Operation, Refusal};
use crate::admin::ops::log::level;
use crate::admin::ops::server::stats;
use crate::admin::ops::{config, server};

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<Stats>(),
    Entry::command::<StatsHost>(),
    Entry::command::<GetLoglevel>(),
    Entry::command::<SetLoglevel>(),
    Entry::command::<RotateLog>(),
    Entry::command::<ReopenLog>(),
    Entry::command::<RegisteredVhosts>(),
    Entry::command::<ReloadConfig>(),
    Entry::command::<Stop>(),
];

command! {
    Stats = "stats" { name: stats::Name } -> u64 ["stat"];
    stats::Number; r#"{"name": "registeredusers"}"# => "6";
    |it| stats::Number { name: it.name, host: String::new() };
    |outcome| Ok(outcome?.value)
}

command! {
    StatsHost = "stats_host" { name: stats::Name, host: String } -> u64 ["stat"];
    stats::Number; r#"{"name": "registeredusers", "host": "example.org"}"# => "6";
    |it| stats::Number { name: it.name, host: it.host };
    |outcome| Ok(outcome?.value)
}

/// ejabberd's names of levels, beside ours.
const LEVELS: [(&str, &str); 6] = [
    ("none", "off"),
    ("error", "error"),
    ("warning", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("debug", "trace"),
];

command! {
    GetLoglevel = "get_loglevel" {} -> String ["levelatom"];
    level::Levels; "{}" => r#""warning""#;
    |_| level::Levels {};
    |outcome| {
        let level = outcome?.level;
        let name = LEVELS.iter().find(|(_, ours)| *ours == level).map(|(name, _)| *name);
        Ok(name.unwrap_or("info").to_owned())
    }
}

command! {
    SetLoglevel = "set_loglevel" { loglevel: String } -> Rescode;
    level::SetLevel; r#"{"loglevel": "debug"}"# => "0";
    |it| {
        // ejabberd has finer ones; the next graver one of ours stands for each.
        let ours = match it.loglevel.as_str() {
            "emergency" | "alert" | "critical" => "error",
            "notice" => "info",
            other => LEVELS.iter().find(|(name, _)| *name == other).map_or(other, |(_, ours)| ours),
        };
        level::SetLevel { module: String::new(), level: Some(ours.to_owned()), lasts: None }
    };
    |outcome| outcome.map(|_| Rescode::of(true))
}

command! {
    RotateLog = "rotate_log" {} -> Rescode;
    level::Rotate; "{}" => "0";
    |_| level::Rotate {};
    |outcome| outcome.map(|_| Rescode::of(true))
}

command! {
    ReopenLog = "reopen_log" {} -> Rescode;
    level::Rotate; "{}" => "0";
    |_| level::Rotate {};
    |outcome| outcome.map(|_| Rescode::of(true))
}

command! {
    RegisteredVhosts = "registered_vhosts" {} -> Vec<String>;
    server::Status; "{}" => r#"["example.org"]"#;
    |_| server::Status {};
    |outcome| {
        let mut hosts: Vec<String> = outcome?.hosts.into_iter().map(|host| host.domain).collect();
        hosts.sort_unstable();
        Ok(hosts)
    }
}

command! {
    ReloadConfig = "reload_config" {} -> Rescode;
    config::Reload; "{}" => "0";
    |_| config::Reload {};
    |outcome| outcome.map(|_| Rescode::of(true))
}

command! {
    Stop = "stop" {} -> Rescode;
    server::Stop; "{}" => "0";
    |_| server::Stop {};
    |outcome| outcome.map(|()| Rescode::of(true))
}
