//! Tag *accounts*: existence, passwords, bans, removal.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, jid, rescode};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Operation, Refusal, RefusalKind};
use crate::admin::ops::account::{self, locked, purge, show};
use crate::config::value::Secret;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<CheckAccount>(),
    Entry::command::<CheckPasswordHash>(),
    Entry::command::<ChangePassword>(),
    Entry::command::<Unregister>(),
    Entry::command::<RegisteredUsers>(),
    Entry::command::<BanAccount>(),
    Entry::command::<UnbanAccount>(),
    Entry::command::<GetBanDetails>(),
    Entry::command::<ListBanned>(),
    Entry::command::<CountBanned>(),
    Entry::command::<NumActiveUsers>(),
    Entry::command::<DeleteOldUsers>(),
    Entry::command::<DeleteOldUsersVhost>(),
];

command! {
    CheckAccount = "check_account" { user: String, host: String } -> Rescode;
    show::Exists; r#"{"user": "peter", "host": "example.org"}"# => "0";
    |it| show::Exists { jid: jid(&it.user, &it.host) };
    |outcome| match outcome {
        Ok(found) => Ok(Rescode::of(found.exists)),
        Err(refusal) => rescode::<()>(Err(refusal)),
    }
}

command! {
    CheckPasswordHash = "check_password_hash" {
        user: String, host: String, passwordhash: Secret, hashmethod: String,
    } -> Rescode;
    account::hash::CheckHash;
    r#"{"user": "peter", "host": "example.org", "passwordhash": "6BQ…", "hashmethod": "SCRAM-SHA-256"}"#
        => "0";
    |it| account::hash::CheckHash {
        jid: jid(&it.user, &it.host), hash: it.passwordhash, method: it.hashmethod,
    };
    |outcome| match outcome {
        Ok(check) => Ok(Rescode::of(check.right)),
        // A method that cannot work is not a wrong password.
        Err(refusal) if refusal.kind == RefusalKind::Usage => Err(refusal),
        Err(refusal) => rescode::<()>(Err(refusal)),
    }
}

command! {
    ChangePassword = "change_password" { user: String, host: String, newpass: Secret } -> Rescode;
    account::Password;
    r#"{"user": "peter", "host": "example.org", "newpass": "correct horse battery"}"# => "0";
    |it| account::Password { jid: jid(&it.user, &it.host), password: it.newpass };
    |outcome| outcome.map(|_| Rescode::of(true))
}

command! {
    Unregister = "unregister" { user: String, host: String } -> String;
    account::Remove; r#"{"user": "bob", "host": "example.org"}"# => r#""""#;
    // Scripts count on it that the name is free afterwards.
    |it| account::Remove { jid: jid(&it.user, &it.host), purge: true };
    // Whoever is not there is as gone as can be.
    |outcome| match outcome {
        Err(refusal) if refusal.kind != RefusalKind::NotFound => Err(refusal),
        _ => Ok(String::new()),
    }
}

command! {
    RegisteredUsers = "registered_users" { host: String } -> Vec<String>;
    show::Names; r#"{"host": "example.org"}"# => r#"["anna", "bob"]"#;
    |it| show::Names { host: it.host, whole: true, ..show::Names::default() };
    |outcome| Ok(outcome?.jids.iter().map(|jid| local(jid)).collect())
}

fn local(jid: &str) -> String {
    jid.rsplit_once('@').map_or(jid, |(local, _)| local).to_owned()
}

command! {
    BanAccount = "ban_account" { user: String, host: String, reason: String } -> Rescode;
    account::Lock; r#"{"user": "eve", "host": "example.org", "reason": "spam"}"# => "0";
    |it| account::Lock { jid: jid(&it.user, &it.host), reason: it.reason };
    |outcome| rescode(outcome)
}

command! {
    UnbanAccount = "unban_account" { user: String, host: String } -> Rescode;
    account::Unlock; r#"{"user": "eve", "host": "example.org"}"# => "0";
    |it| account::Unlock { jid: jid(&it.user, &it.host) };
    |outcome| rescode(outcome)
}

command! {
    GetBanDetails = "get_ban_details" { user: String, host: String } -> BTreeMap<String, String>;
    locked::Lock; r#"{"user": "eve", "host": "example.org"}"#
        => r#"{"reason": "spam", "bandate": "2026-11-23T18:40:00.123Z",
            "lastdate": "2026-11-23T18:39:00.000Z", "lastreason": ""}"#;
    |it| locked::Lock { jid: jid(&it.user, &it.host) };
    |outcome| {
        let details = match outcome {
            Err(refusal) if refusal.kind == RefusalKind::NotFound => return Ok(BTreeMap::new()),
            details => details?,
        };
        let Some(lock) = details.locked else { return Ok(BTreeMap::new()) };
        let pairs = [
            ("reason", lock.reason),
            ("bandate", lock.since),
            ("lastdate", details.last_seen.unwrap_or_default()),
            ("lastreason", details.last_status),
        ];
        Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

/// `all` stands for all hosts.
fn one_or_all(host: String) -> String {
    if host == "all" { String::new() } else { host }
}

command! {
    ListBanned = "list_banned" { host: String } -> Vec<String>;
    locked::ListLocked; r#"{"host": "example.org"}"# => r#"["eve@example.org"]"#;
    |it| locked::ListLocked {
        host: one_or_all(it.host), whole: true, ..locked::ListLocked::default()
    };
    |outcome| Ok(outcome?.accounts.into_iter().map(|account| account.jid).collect())
}

command! {
    CountBanned = "count_banned" { host: String } -> u64 ["banned"];
    show::Count; r#"{"host": "example.org"}"# => "1";
    |it| show::Count { host: one_or_all(it.host), days: None };
    |outcome| Ok(outcome?.locked)
}

command! {
    NumActiveUsers = "num_active_users" { host: String, days: u64 } -> u64 ["users"];
    show::Count; r#"{"host": "example.org", "days": 30}"# => "87";
    |it| show::Count { host: it.host, days: Some(it.days) };
    |outcome| Ok(outcome?.active.unwrap_or_default())
}

fn deleted(unused: &purge::Unused) -> String {
    let more = if unused.more { ", and there are more" } else { "" };
    format!("Deleted {} users: {:?}{more}", unused.jids.len(), unused.jids)
}

command! {
    DeleteOldUsers = "delete_old_users" { days: u64 } -> String;
    purge::RemoveUnused; r#"{"days": 730}"#
        => r#""Deleted 1 users: [\"oldman@example.org\"]""#;
    |it| purge::RemoveUnused { host: String::new(), days: it.days, max: 0, apply: true };
    |outcome| Ok(deleted(&outcome?))
}

command! {
    DeleteOldUsersVhost = "delete_old_users_vhost" { host: String, days: u64 } -> String;
    purge::RemoveUnused; r#"{"host": "example.org", "days": 730}"#
        => r#""Deleted 1 users: [\"oldman@example.org\"]""#;
    |it| purge::RemoveUnused { host: it.host, days: it.days, max: 0, apply: true };
    |outcome| Ok(deleted(&outcome?))
}
