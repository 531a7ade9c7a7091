//! Tag *session*: resources, presence, kicking.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, jid, rescode};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Operation, Refusal, RefusalKind};
use crate::admin::ops::session::details::{Count, Detail, DetailList, Details};
use crate::admin::ops::session::presence::{Presence, SetPresence};
use crate::admin::ops::session::{Kick, Kicked};

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<ConnectedUsersInfo>(),
    Entry::command::<ConnectedUsersVhost>(),
    Entry::command::<UserSessionsInfo>(),
    Entry::command::<UserResources>(),
    Entry::command::<NumResources>(),
    Entry::command::<ResourceNum>(),
    Entry::command::<StatusNum>(),
    Entry::command::<StatusNumHost>(),
    Entry::command::<StatusList>(),
    Entry::command::<StatusListHost>(),
    Entry::command::<StatusList3>(),
    Entry::command::<StatusListHost3>(),
    Entry::command::<GetPresence>(),
    Entry::command::<SetPresence0>(),
    Entry::command::<SetPresence1>(),
    Entry::command::<KickUser>(),
    Entry::command::<KickUser2>(),
    Entry::command::<KickUsers>(),
    Entry::command::<KickSession>(),
];

/// The one node there is.
const NODE: &str = "coucou";

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct SessionInfo {
    jid: String,
    connection: String,
    ip: String,
    port: u16,
    priority: i8,
    node: String,
    uptime: u64,
    status: String,
    resource: String,
    statustext: String,
}

/// The same without the JID.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct UserSession {
    connection: String,
    ip: String,
    port: u16,
    priority: i8,
    node: String,
    uptime: u64,
    status: String,
    resource: String,
    statustext: String,
}

fn resource(jid: &str) -> String {
    jid.split_once('/').map(|(_, resource)| resource.to_owned()).unwrap_or_default()
}

fn connection(detail: &Detail) -> String {
    if detail.tls.is_empty() { "c2s" } else { "c2s_tls" }.to_owned()
}

/// ejabberd's priority of a session without presence.
fn priority(detail: &Detail) -> i8 {
    if detail.show == "unavailable" { -1 } else { detail.priority }
}

fn user_session(detail: Detail) -> UserSession {
    UserSession {
        connection: connection(&detail),
        priority: priority(&detail),
        resource: resource(&detail.jid),
        ip: detail.address.unwrap_or_default(),
        port: detail.port.unwrap_or_default(),
        node: NODE.to_owned(),
        uptime: detail.uptime_secs,
        status: detail.show,
        statustext: detail.status,
    }
}

fn all(host: &str, account: Option<String>, show: Option<String>) -> Details {
    Details { host: host.to_owned(), jid: account, show, whole: true, ..Details::default() }
}

command! {
    ConnectedUsersInfo = "connected_users_info" {} -> Vec<SessionInfo>;
    Details; "{}" => r#"[{"jid": "anna@example.org/phone", "connection": "c2s_tls",
        "ip": "192.0.2.7", "port": 42656, "priority": 8, "node": "coucou", "uptime": 231,
        "status": "dnd", "resource": "phone", "statustext": ""}]"#;
    |_| all("", None, None);
    |outcome| {
        let info = |detail: Detail| {
            let jid = detail.jid.clone();
            let UserSession { connection, ip, port, priority, node, uptime, status, resource, statustext } =
                user_session(detail);
            SessionInfo { jid, connection, ip, port, priority, node, uptime, status, resource, statustext }
        };
        Ok(outcome?.sessions.into_iter().map(info).collect())
    }
}

command! {
    ConnectedUsersVhost = "connected_users_vhost" { host: String } -> Vec<String>;
    Details; r#"{"host": "example.org"}"# => r#"["anna@example.org/phone"]"#;
    |it| all(&it.host, None, None);
    |outcome| Ok(jids(outcome?))
}

fn jids(list: DetailList) -> Vec<String> {
    list.sessions.into_iter().map(|detail| detail.jid).collect()
}

command! {
    UserSessionsInfo = "user_sessions_info" { user: String, host: String } -> Vec<UserSession>;
    Details; r#"{"user": "anna", "host": "example.org"}"#
        => r#"[{"connection": "c2s_tls", "ip": "192.0.2.7", "port": 42656, "priority": 8,
            "node": "coucou", "uptime": 231, "status": "dnd", "resource": "phone",
            "statustext": ""}]"#;
    |it| all("", Some(jid(&it.user, &it.host)), None);
    |outcome| Ok(outcome?.sessions.into_iter().map(user_session).collect())
}

command! {
    UserResources = "user_resources" { user: String, host: String } -> Vec<String>;
    Details; r#"{"user": "anna", "host": "example.org"}"# => r#"["laptop", "phone"]"#;
    |it| all("", Some(jid(&it.user, &it.host)), None);
    |outcome| Ok(jids(outcome?).iter().map(|jid| resource(jid)).collect())
}

command! {
    NumResources = "num_resources" { user: String, host: String } -> usize ["resources"];
    Count; r#"{"user": "anna", "host": "example.org"}"# => "2";
    |it| Count { jid: Some(jid(&it.user, &it.host)), ..Count::default() };
    |outcome| Ok(outcome?.sessions)
}

command! {
    ResourceNum = "resource_num" { user: String, host: String, num: usize } -> String ["resource"];
    Details; r#"{"user": "anna", "host": "example.org", "num": 2}"# => r#""phone""#;
    |it| {
        let wrong = || Refusal::usage(format!("Wrong resource number: {}", it.num));
        // The page before has those in front of it.
        let skip = it.num.checked_sub(1).ok_or_else(wrong)?;
        Details { skip, max: 1, ..all("", Some(jid(&it.user, &it.host)), None) }
    };
    |outcome| match outcome?.sessions.first() {
        Some(detail) => Ok(resource(&detail.jid)),
        None => Err(Refusal::usage("Wrong resource number")),
    }
}

/// `all` stands for any presence.
fn show(status: String) -> Option<String> {
    (status != "all").then_some(status)
}

/// `all` stands for all hosts.
fn one_or_all(host: String) -> String {
    if host == "all" { String::new() } else { host }
}

command! {
    StatusNum = "status_num" { status: String } -> usize ["users"];
    Count; r#"{"status": "dnd"}"# => "23";
    |it| Count { show: show(it.status), ..Count::default() };
    |outcome| Ok(outcome?.sessions)
}

command! {
    StatusNumHost = "status_num_host" { host: String, status: String } -> usize ["users"];
    Count; r#"{"host": "example.org", "status": "dnd"}"# => "23";
    |it| Count { host: one_or_all(it.host), show: show(it.status), ..Count::default() };
    |outcome| Ok(outcome?.sessions)
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct UserStatus {
    user: String,
    host: String,
    resource: String,
    priority: i8,
    status: String,
}

fn user_status(detail: Detail) -> UserStatus {
    let bare = detail.jid.split('/').next().unwrap_or_default();
    let (user, host) = bare.split_once('@').unwrap_or_default();
    UserStatus {
        user: user.to_owned(),
        host: host.to_owned(),
        resource: resource(&detail.jid),
        priority: priority(&detail),
        status: detail.status,
    }
}

command! {
    StatusList = "status_list" { status: String } -> Vec<UserStatus>;
    Details; r#"{"status": "dnd"}"#
        => r#"[{"user": "anna", "host": "example.org", "resource": "phone", "priority": 6,
            "status": "Busy"}]"#;
    |it| all("", None, show(it.status));
    |outcome| Ok(outcome?.sessions.into_iter().map(user_status).collect())
}

command! {
    StatusListHost = "status_list_host" { host: String, status: String } -> Vec<UserStatus>;
    Details; r#"{"host": "example.org", "status": "dnd"}"#
        => r#"[{"user": "anna", "host": "example.org", "resource": "phone", "priority": 6,
            "status": "Busy"}]"#;
    |it| all(&one_or_all(it.host), None, show(it.status));
    |outcome| Ok(outcome?.sessions.into_iter().map(user_status).collect())
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct JidStatus {
    jid: String,
    priority: i8,
    status: String,
}

fn jid_status(detail: Detail) -> JidStatus {
    JidStatus { priority: priority(&detail), jid: detail.jid, status: detail.status }
}

command! {
    StatusList3 = "status_list" v 3 { status: String } -> Vec<JidStatus>;
    Details; r#"{"status": "dnd"}"#
        => r#"[{"jid": "anna@example.org/phone", "priority": 6, "status": "Busy"}]"#;
    |it| all("", None, show(it.status));
    |outcome| Ok(outcome?.sessions.into_iter().map(jid_status).collect())
}

command! {
    StatusListHost3 = "status_list_host" v 3 { host: String, status: String } -> Vec<JidStatus>;
    Details; r#"{"host": "example.org", "status": "dnd"}"#
        => r#"[{"jid": "anna@example.org/phone", "priority": 6, "status": "Busy"}]"#;
    |it| all(&one_or_all(it.host), None, show(it.status));
    |outcome| Ok(outcome?.sessions.into_iter().map(jid_status).collect())
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    jid: String,
    show: String,
    status: String,
}

command! {
    GetPresence = "get_presence" {
        user: String,
        #[serde(alias = "server")]
        host: String,
    } -> Shown;
    Presence; r#"{"user": "anna", "host": "example.org"}"#
        => r#"{"jid": "anna@example.org/phone", "show": "dnd", "status": "Busy"}"#;
    |it| Presence { jid: jid(&it.user, &it.host) };
    |outcome| outcome.map(|shown| Shown { jid: shown.jid, show: shown.show, status: shown.status })
}

fn set_presence(
    session: String,
    typ: &str,
    show: String,
    status: String,
    priority: i64,
) -> Result<SetPresence, Refusal> {
    let show = match (typ, show.as_str()) {
        ("unavailable", _) => "unavailable".to_owned(),
        ("available" | "", "") => "available".to_owned(),
        ("available" | "", _) => show,
        (other, _) => {
            let text = format!("type: {other:?} is neither available nor unavailable");
            return Err(Refusal::usage(text));
        }
    };
    let priority = i8::try_from(priority)
        .map_err(|_| Refusal::usage(format!("priority: {priority} is not in -128 to 127")))?;
    Ok(SetPresence { jid: session, show, status, priority })
}

command! {
    SetPresence0 = "set_presence" {
        user: String, host: String, resource: String,
        r#type: String, show: String, status: String, priority: String,
    } -> Rescode;
    SetPresence;
    r#"{"user": "anna", "host": "example.org", "resource": "phone", "type": "available",
        "show": "away", "status": "At lunch", "priority": "7"}"# => "0";
    |it| {
        let wrong = |_| Refusal::usage(format!("priority: {:?} is no number", it.priority));
        let number = it.priority.trim().parse().map_err(wrong)?;
        let session = format!("{}/{}", jid(&it.user, &it.host), it.resource);
        set_presence(session, &it.r#type, it.show, it.status, number)?
    };
    |outcome| outcome.map(|_| Rescode::of(true))
}

command! {
    SetPresence1 = "set_presence" v 1 {
        user: String, host: String, resource: String,
        r#type: String, show: String, status: String, priority: i64,
    } -> Rescode;
    SetPresence;
    r#"{"user": "anna", "host": "example.org", "resource": "phone", "type": "available",
        "show": "away", "status": "At lunch", "priority": 7}"# => "0";
    |it| {
        let session = format!("{}/{}", jid(&it.user, &it.host), it.resource);
        set_presence(session, &it.r#type, it.show, it.status, it.priority)?
    };
    |outcome| outcome.map(|_| Rescode::of(true))
}

/// Nobody there is nobody kicked.
fn kicked(outcome: Result<Kicked, Refusal>) -> Result<usize, Refusal> {
    match outcome {
        Err(refusal) if refusal.kind == RefusalKind::NotFound => Ok(0),
        outcome => Ok(outcome?.jids.len()),
    }
}

fn kick(jid: String) -> Kick {
    Kick { jid, reason: String::new() }
}

command! {
    KickUser = "kick_user" { user: String, host: String } -> usize ["num_resources"];
    Kick; r#"{"user": "eve", "host": "example.org"}"# => "2";
    |it| kick(jid(&it.user, &it.host));
    |outcome| kicked(outcome)
}

command! {
    KickUser2 = "kick_user" v 2 { user: String, host: String } -> String;
    Kick; r#"{"user": "eve", "host": "example.org"}"# => r#""Kicked sessions: 2""#;
    |it| kick(jid(&it.user, &it.host));
    |outcome| kicked(outcome).map(|count| format!("Kicked sessions: {count}"))
}

command! {
    KickUsers = "kick_users" { host: String } -> usize ["num_sessions"];
    Kick; r#"{"host": "example.org"}"# => "23";
    |it| kick(it.host);
    |outcome| kicked(outcome)
}

command! {
    KickSession = "kick_session" {
        user: String, host: String, resource: String, reason: String,
    } -> Rescode;
    Kick; r#"{"user": "eve", "host": "example.org", "resource": "phone", "reason": "stuck"}"# => "0";
    |it| Kick {
        jid: format!("{}/{}", jid(&it.user, &it.host), it.resource), reason: it.reason,
    };
    // ejabberd does not tell whether there was such a session.
    |outcome| match outcome {
        Err(refusal) if refusal.kind == RefusalKind::NotFound => Ok(Rescode::of(true)),
        outcome => rescode(outcome),
    }
}
