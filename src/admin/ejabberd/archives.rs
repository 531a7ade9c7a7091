//! Tags *mam*, *offline* and *purge*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, jid};
use crate::admin::Context;
use crate::admin::jobs::{Progress, State};
use crate::admin::op::{Entry, Example, Operation, Refusal};
use crate::admin::ops::archive::purge::{self, Whose};
use crate::admin::ops::{archive, offline};

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<GetMamCount>(),
    Entry::command::<DeleteOldMamMessages>(),
    Entry::command::<DeleteOldMamMessagesBatch>(),
    Entry::command::<DeleteOldMamMessagesStatus>(),
    Entry::command::<AbortDeleteOldMamMessages>(),
    Entry::command::<RemoveMamForUser>(),
    Entry::command::<RemoveMamForUserWithPeer>(),
    Entry::command::<GetOfflineCount>(),
    Entry::command::<DeleteOldMessages>(),
    Entry::command::<DeleteExpiredMessages>(),
    Entry::command::<DeleteOldMessagesBatch>(),
    Entry::command::<DeleteOldMessagesStatus>(),
    Entry::command::<AbortDeleteOldMessages>(),
];

fn days(days: u64) -> String {
    format!("{days}d")
}

fn status(outcome: Result<Progress, Refusal>) -> Result<String, Refusal> {
    let progress = outcome?;
    let removed = progress.removed;
    Ok(match progress.state {
        State::None => "Operation not started".to_owned(),
        State::Running => format!("Operation in progress, deleted {removed} messages"),
        State::Done => format!("Operation ended sucessfully, deleted {removed} messages"),
        State::Aborted => format!("Operation aborted, deleted {removed} messages"),
        State::Failed => format!("Operation ended with error, deleted {removed} messages"),
    })
}

fn aborted(aborted: bool) -> String {
    if aborted { "Operation aborted" } else { "No task running" }.to_owned()
}

command! {
    GetMamCount = "get_mam_count" {
        user: String,
        #[serde(alias = "server")]
        host: String,
    } -> u64 ["value"];
    archive::Count; r#"{"user": "anna", "host": "example.org"}"# => "9120";
    |it| archive::Count { jid: jid(&it.user, &it.host) };
    |outcome| Ok(outcome?.messages)
}

command! {
    DeleteOldMamMessages = "delete_old_mam_messages" { r#type: Whose, days: u64 } -> Rescode;
    purge::Purge; r#"{"type": "all", "days": 31}"# => "0";
    |it| purge::Purge {
        host: String::new(), whose: it.r#type, before: days(it.days), apply: true,
    };
    |outcome| outcome.map(|_| Rescode::of(true))
}

command! {
    DeleteOldMamMessagesBatch = "delete_old_mam_messages_batch" {
        host: String, r#type: Whose, days: u64, batch_size: u64, rate: u64,
    } -> String;
    purge::Start;
    r#"{"host": "example.org", "type": "all", "days": 31, "batch_size": 1000, "rate": 10000}"#
        => r#""Removal of old messages in progress""#;
    |it| purge::Start { host: it.host, whose: it.r#type, before: days(it.days), rate: it.rate };
    |outcome| outcome.map(|_| "Removal of old messages in progress".to_owned())
}

command! {
    DeleteOldMamMessagesStatus = "delete_old_mam_messages_status" { host: String } -> String ["status"];
    purge::Status; r#"{"host": "example.org"}"#
        => r#""Operation in progress, deleted 5000 messages""#;
    |it| purge::Status { host: it.host };
    |outcome| status(outcome)
}

command! {
    AbortDeleteOldMamMessages = "abort_delete_old_mam_messages" { host: String } -> String ["status"];
    purge::Abort; r#"{"host": "example.org"}"# => r#""Operation aborted""#;
    |it| purge::Abort { host: it.host };
    |outcome| Ok(aborted(outcome?.aborted))
}

command! {
    RemoveMamForUser = "remove_mam_for_user" {
        user: String,
        #[serde(alias = "server")]
        host: String,
    } -> String;
    archive::Forget; r#"{"user": "bob", "host": "example.org"}"# => r#""MAM archive removed""#;
    |it| archive::Forget { jid: jid(&it.user, &it.host), with: None };
    |outcome| outcome.map(|_| "MAM archive removed".to_owned())
}

command! {
    RemoveMamForUserWithPeer = "remove_mam_for_user_with_peer" {
        user: String,
        #[serde(alias = "server")]
        host: String,
        with: String,
    } -> String;
    archive::Forget; r#"{"user": "bob", "host": "example.org", "with": "anna@example.org"}"#
        => r#""MAM archive removed""#;
    |it| archive::Forget { jid: jid(&it.user, &it.host), with: Some(it.with) };
    |outcome| outcome.map(|_| "MAM archive removed".to_owned())
}

command! {
    GetOfflineCount = "get_offline_count" {
        user: String,
        #[serde(alias = "server")]
        host: String,
    } -> u64 ["value"];
    offline::Count; r#"{"user": "anna", "host": "example.org"}"# => "5";
    |it| offline::Count { jid: jid(&it.user, &it.host) };
    |outcome| Ok(outcome?.messages)
}

command! {
    DeleteOldMessages = "delete_old_messages" { days: u64 } -> Rescode;
    offline::Purge; r#"{"days": 31}"# => "0";
    |it| offline::Purge { host: String::new(), before: Some(days(it.days)), apply: true };
    |outcome| outcome.map(|_| Rescode::of(true))
}

command! {
    DeleteExpiredMessages = "delete_expired_messages" {} -> Rescode;
    offline::Purge; "{}" => "0";
    |_| offline::Purge { host: String::new(), before: None, apply: true };
    |outcome| outcome.map(|_| Rescode::of(true))
}

command! {
    DeleteOldMessagesBatch = "delete_old_messages_batch" {
        host: String, days: u64, batch_size: u64, rate: u64,
    } -> String;
    offline::Start; r#"{"host": "example.org", "days": 31, "batch_size": 1000, "rate": 10000}"#
        => r#""Removal of old messages in progress""#;
    |it| offline::Start { host: it.host, before: days(it.days), rate: it.rate };
    |outcome| outcome.map(|_| "Removal of old messages in progress".to_owned())
}

command! {
    DeleteOldMessagesStatus = "delete_old_messages_status" { host: String } -> String ["status"];
    offline::Status; r#"{"host": "example.org"}"#
        => r#""Operation in progress, deleted 5000 messages""#;
    |it| offline::Status { host: it.host };
    |outcome| status(outcome)
}

command! {
    AbortDeleteOldMessages = "abort_delete_old_messages" { host: String } -> String ["status"];
    offline::Abort; r#"{"host": "example.org"}"# => r#""Operation aborted""#;
    |it| offline::Abort { host: it.host };
    |outcome| Ok(aborted(outcome?.aborted))
}
