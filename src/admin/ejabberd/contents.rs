//! Tags *vcard*, *private* and *last*: what accounts keep and tell of themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, jid, rescode};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Operation, Refusal};
use crate::admin::ops::account::last;
use crate::admin::ops::words::Words;
use crate::admin::ops::{private, vcard};
use crate::time::Now;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<SetNickname>(),
    Entry::command::<GetVcard>(),
    Entry::command::<GetVcard2>(),
    Entry::command::<GetVcard2Multi>(),
    Entry::command::<SetVcard>(),
    Entry::command::<SetVcard2>(),
    Entry::command::<SetVcard2Multi>(),
    Entry::command::<PrivateGet>(),
    Entry::command::<PrivateSet>(),
    Entry::command::<GetLast>(),
    Entry::command::<SetLast>(),
];

fn get(jid: String, field: String, part: Option<String>) -> vcard::Get {
    vcard::Get { jid, field: Some(field), part }
}

fn set(jid: String, field: String, part: Option<String>, values: Vec<Words>) -> vcard::Set {
    // ejabberd's way to empty a field.
    let values = values.into_iter().filter(|value| !value.is_empty()).collect();
    vcard::Set { jid, field: Some(field), part, values, xml: None }
}

fn first(outcome: Result<vcard::VCard, Refusal>) -> Result<String, Refusal> {
    outcome?
        .values
        .into_iter()
        .next()
        .ok_or_else(|| Refusal::not_found("error_no_value_found_in_vcard"))
}

command! {
    SetNickname = "set_nickname" { user: String, host: String, nickname: Words } -> Rescode;
    vcard::Set; r#"{"user": "anna", "host": "example.org", "nickname": "Annie"}"# => "0";
    |it| set(jid(&it.user, &it.host), "NICKNAME".to_owned(), None, vec![it.nickname]);
    |outcome| rescode(outcome)
}

command! {
    GetVcard = "get_vcard" { user: String, host: String, name: String } -> String ["content"];
    vcard::Get; r#"{"user": "anna", "host": "example.org", "name": "FN"}"# => r#""Anna Example""#;
    |it| get(jid(&it.user, &it.host), it.name, None);
    |outcome| first(outcome)
}

command! {
    GetVcard2 = "get_vcard2" {
        user: String, host: String, name: String, subname: String,
    } -> String ["content"];
    vcard::Get; r#"{"user": "anna", "host": "example.org", "name": "N", "subname": "FAMILY"}"#
        => r#""Example""#;
    |it| get(jid(&it.user, &it.host), it.name, Some(it.subname));
    |outcome| first(outcome)
}

command! {
    GetVcard2Multi = "get_vcard2_multi" {
        user: String, host: String, name: String, subname: String,
    } -> Vec<String>;
    vcard::Get; r#"{"user": "anna", "host": "example.org", "name": "ORG", "subname": "ORGUNIT"}"#
        => r#"["Research"]"#;
    |it| get(jid(&it.user, &it.host), it.name, Some(it.subname));
    |outcome| match outcome {
        Ok(card) if card.values.is_empty() => Err(Refusal::not_found("error_no_value_found_in_vcard")),
        outcome => Ok(outcome?.values),
    }
}

command! {
    SetVcard = "set_vcard" { user: String, host: String, name: String, content: Words } -> Rescode;
    vcard::Set;
    r#"{"user": "anna", "host": "example.org", "name": "FN", "content": "Anna Example"}"# => "0";
    |it| set(jid(&it.user, &it.host), it.name, None, vec![it.content]);
    |outcome| rescode(outcome)
}

command! {
    SetVcard2 = "set_vcard2" {
        user: String, host: String, name: String, subname: String, content: Words,
    } -> Rescode;
    vcard::Set;
    r#"{"user": "anna", "host": "example.org", "name": "TEL", "subname": "CELL",
        "content": "+49 30 1234567"}"# => "0";
    |it| set(jid(&it.user, &it.host), it.name, Some(it.subname), vec![it.content]);
    |outcome| rescode(outcome)
}

command! {
    SetVcard2Multi = "set_vcard2_multi" {
        user: String, host: String, name: String, subname: String,
        #[serde(default)]
        contents: Vec<Words>,
    } -> Rescode;
    vcard::Set;
    r#"{"user": "anna", "host": "example.org", "name": "ORG", "subname": "ORGUNIT",
        "contents": ["Research", "Support"]}"# => "0";
    |it| set(jid(&it.user, &it.host), it.name, Some(it.subname), it.contents);
    |outcome| rescode(outcome)
}

command! {
    PrivateGet = "private_get" {
        user: String, host: String, element: String, ns: String,
    } -> String ["res"];
    private::Get;
    r#"{"user": "anna", "host": "example.org", "element": "storage", "ns": "storage:rosternotes"}"#
        => r#""<query xmlns='jabber:iq:private'><storage xmlns='storage:rosternotes'/></query>""#;
    |it| private::Get { jid: jid(&it.user, &it.host), name: it.element, ns: it.ns };
    |outcome| Ok(format!(
        "<query xmlns='jabber:iq:private'>{}</query>",
        outcome?.element.unwrap_or_default()
    ))
}

command! {
    PrivateSet = "private_set" { user: String, host: String, element: Words } -> Rescode;
    private::Set;
    r#"{"user": "anna", "host": "example.org",
        "element": "<storage xmlns='storage:rosternotes'/>"}"# => "0";
    |it| private::Set { jid: jid(&it.user, &it.host), element: it.element };
    |outcome| rescode(outcome)
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct LastActivity {
    timestamp: String,
    status: String,
}

command! {
    GetLast = "get_last" { user: String, host: String } -> LastActivity;
    last::Last; r#"{"user": "anna", "host": "example.org"}"#
        => r#"{"timestamp": "2026-11-23T18:40:00.123Z", "status": "ONLINE"}"#;
    |it| last::Last { jid: jid(&it.user, &it.host) };
    |outcome| {
        let now = || Now::read().to_xmpp();
        let outcome = match outcome {
            Err(refusal) if refusal.kind == crate::admin::op::RefusalKind::NotFound => None,
            outcome => Some(outcome?),
        };
        Ok(match outcome {
            Some(activity) if activity.online => {
                LastActivity { timestamp: now(), status: "ONLINE".to_owned() }
            }
            Some(last::Activity { at: Some(at), status, .. }) => {
                LastActivity { timestamp: at, status }
            }
            _ => LastActivity { timestamp: now(), status: "NOT FOUND".to_owned() },
        })
    }
}

command! {
    SetLast = "set_last" { user: String, host: String, timestamp: i64, status: String } -> Rescode;
    last::SetLast;
    r#"{"user": "anna", "host": "example.org", "timestamp": 1500045311, "status": "GoSleeping"}"#
        => "0";
    |it| last::SetLast {
        jid: jid(&it.user, &it.host),
        at: Now::from_secs(it.timestamp).to_xmpp(),
        status: it.status,
    };
    |outcome| rescode(outcome)
}
