//! XEP-0133: Service Administration (1.3.1), by operations of ours; each acts on the host that the
//! command is addressed to.
//!
//! Left out: *Get User Password* (retracted; nobody here knows a password), *Edit Blacklist* and
//! *Edit Whitelist* (there are no such lists of whole servers), *Restart Service* (who starts a
//! program again is the system's to say, as with `systemctl restart coucou`). Of *Add User* the
//! name and mail address, of *Get User Statistics* the rates, which nobody counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Visit, refused};
use crate::admin::op::{Entry, Refusal, RefusalKind};
use crate::admin::{Actor, Context, run};
use crate::config::rules::Test;
use crate::features::adhoc::{Note, Severity, Stage, bad_payload};
use crate::jid::Jid;
use crate::router::Session;
use crate::router::sessions::Flag;
use crate::stanza::error::StanzaError;
use crate::stanza::forms::{Field, FieldType, Form, FormKind};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Where the names of commands, and the `FORM_TYPE` of their forms, come from.
const ADMIN: &str = "http://jabber.org/protocol/admin";
/// Accounts that one command is about.
const JIDS_MAX: usize = 500;
/// Accounts of one list.
const LIST_MAX: usize = 5_000;
/// Whoever was heard of in this time is active.
const ACTIVE: Duration = Duration::from_secs(10 * 60);
/// Delays of a shutdown, in seconds, and what they are called.
const DELAYS: [(&str, &str); 8] = [
    ("0", "now"),
    ("30", "30 seconds"),
    ("60", "60 seconds"),
    ("90", "90 seconds"),
    ("120", "2 minutes"),
    ("300", "5 minutes"),
    ("600", "10 minutes"),
    ("1800", "30 minutes"),
];

/// A command of the specification.
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// The operations that it is made of.
    operations: &'static [&'static str],
}

const fn service(
    name: &'static str,
    title: &'static str,
    operations: &'static [&'static str],
) -> Service {
    Service { name, title, operations }
}

pub(super) const ALL: &[Service] = &[
    service("add-user", "Add User", &["account.add"]),
    service("delete-user", "Delete User", &["account.remove"]),
    service("disable-user", "Disable User", &["account.lock"]),
    service("reenable-user", "Re-Enable User", &["account.unlock"]),
    service("end-user-session", "End User Session", &["session.kick"]),
    service("change-user-password", "Change User Password", &["account.password"]),
    service("get-user-roster", "Get User Roster", &["roster.get"]),
    service("get-user-lastlogin", "Get User Last Login Time", &["account.last"]),
    service("user-stats", "Get User Statistics", &["account.show", "session.details"]),
    service("get-registered-users-num", "Get Number of Registered Users", &["account.count"]),
    service("get-disabled-users-num", "Get Number of Disabled Users", &["account.count"]),
    service("get-online-users-num", "Get Number of Online Users", &["session.list"]),
    service("get-active-users-num", "Get Number of Active Users", &["session.list"]),
    service("get-idle-users-num", "Get Number of Idle Users", &["session.list"]),
    service("get-registered-users-list", "Get List of Registered Users", &["account.names"]),
    service("get-disabled-users-list", "Get List of Disabled Users", &["account.locked"]),
    service("get-online-users-list", "Get List of Online Users", &["session.list"]),
    service("get-active-users", "Get List of Active Users", &["session.list"]),
    service("get-idle-users", "Get List of Idle Users", &["session.list"]),
    service("announce", "Send Announcement to Online Users", &["announce.send"]),
    service("set-motd", "Set Message of the Day", &["motd.set"]),
    service("edit-motd", "Edit Message of the Day", &["motd.show", "motd.set"]),
    service("delete-motd", "Delete Message of the Day", &["motd.delete"]),
    service("set-welcome", "Set Welcome Message", &["config.set"]),
    service("delete-welcome", "Delete Welcome Message", &["config.unset"]),
    service("edit-admin", "Edit Admin List", &["acl.add", "acl.remove"]),
    service("shutdown", "Shut Down Service", &["server.stop", "announce.send"]),
];

/// The command at a node.
pub(super) fn find(node: &str) -> Option<&'static Service> {
    let name = node.strip_prefix(ADMIN)?.strip_prefix('#')?;
    ALL.iter().find(|service| service.name == name)
}

impl Service {
    pub(super) fn node(&self) -> String {
        format!("{ADMIN}#{}", self.name)
    }

    /// Whether somebody may use it: all that it is made of.
    pub(super) fn is_for(&self, actor: &Actor) -> bool {
        let may = |name: &&str| Entry::find(name).is_some_and(|entry| run::may_ever(actor, entry));
        self.operations.iter().all(may)
    }
}

/// The next stage of the command `name`.
pub(super) async fn run(
    visit: &Visit<'_>,
    name: &str,
    answers: &[Form],
) -> Result<Stage, StanzaError> {
    match answers.last() {
        None => begin(visit, name).await,
        Some(answer) => go_on(visit, name, answer).await,
    }
}

fn form(title: &str, instructions: &str) -> Form {
    let form = Form::new(FormKind::Form).form_type(ADMIN).title(title);
    form.instructions(instructions)
}

fn one_jid(label: &str) -> Field {
    Field::new(FieldType::JidSingle, "accountjid").label(label).required()
}

fn some_jids(label: &str) -> Field {
    Field::new(FieldType::JidMulti, "accountjids").label(label).required()
}

fn lines(var: &str, label: &str) -> Field {
    Field::new(FieldType::TextMulti, var).label(label).required()
}

/// The form of a command, or what those that ask nothing give at once.
async fn begin(visit: &Visit<'_>, name: &str) -> Result<Stage, StanzaError> {
    let host = visit.cx.host.domain.as_str();
    Ok(Stage::ask(match name {
        "add-user" => form("Adding a User", "Fill out this form to add a user.")
            .field(one_jid("The Jabber ID for the account to be added"))
            .field(password("password", "The password for this account"))
            .field(password("password-verify", "Retype password")),
        "delete-user" => form("Deleting a User", "Fill out this form to delete a user.")
            .field(some_jids("The Jabber ID(s) to delete")),
        "disable-user" => form("Disabling a User", "Fill out this form to disable a user.")
            .field(some_jids("The Jabber ID(s) to disable")),
        "reenable-user" => form("Re-Enable a User", "Fill out this form to re-enable a user.")
            .field(some_jids("The Jabber ID(s) to re-enable")),
        "end-user-session" => {
            form("Ending a User Session", "Fill out this form to end a user's session.")
                .field(some_jids("The Jabber ID(s) for which to end sessions"))
        }
        "change-user-password" => {
            form("Changing a User Password", "Fill out this form to change a user's password.")
                .field(one_jid("The Jabber ID for this account"))
                .field(password("password", "The password for this account"))
        }
        "get-user-roster" => {
            form("Getting a User's Roster", "Fill out this form to get a user's roster.")
                .field(some_jids("The Jabber ID(s) for which to retrieve the roster"))
        }
        "get-user-lastlogin" => form(
            "Getting a User's Last Login Time",
            "Fill out this form to get a user's last login time.",
        )
        .field(some_jids("The Jabber ID(s) for which to retrieve the last login time")),
        "user-stats" => {
            form("Get User Statistics", "Fill out this form to gather user statistics.")
                .field(one_jid("The Jabber ID for statistics"))
        }
        "get-registered-users-list" => listing("Requesting List of Registered Users"),
        "get-disabled-users-list" => listing("Requesting List of Disabled Users"),
        "get-online-users-list" => listing("Requesting List of Online Users"),
        "get-active-users" => listing("Requesting List of Active Users"),
        "get-idle-users" => listing("Requesting List of Idle Users"),
        "announce" => form(
            "Making an Announcement",
            "Fill out this form to make an announcement to all active users of this service.",
        )
        .field(lines("announcement", "Announcement")),
        "set-motd" => form(
            "Setting the Message of the Day",
            "Fill out this form to set the message of the day.",
        )
        .field(lines("motd", "Message of the Day")),
        "edit-motd" => {
            let shown = visit.call("motd.show", json!({ "host": host })).await.map_err(refused)?;
            let body = shown["messages"][0]["body"].as_str().unwrap_or_default();
            form(
                "Editing the Message of the Day",
                "Fill out this form to edit the message of the day.",
            )
            .field(lines("motd", "Message of the Day").values(body.lines()))
        }
        "set-welcome" => {
            let body = visit.cx.host.registration.welcome_body.clone();
            form(
                "Setting Welcome Message",
                "Fill out this form to set the welcome message for this service.",
            )
            .field(lines("welcome", "Welcome Message").values(body.lines()))
        }
        "edit-admin" => {
            form("Editing the Admin List", "Fill out this form to edit the list of administrators.")
                .field(
                    Field::new(FieldType::JidMulti, "adminjids")
                        .label("The admin list")
                        .values(admins(visit).iter().map(|jid| jid.to_string())),
                )
        }
        "shutdown" => {
            let delay = Field::new(FieldType::ListSingle, "delay")
                .label("Time delay before shutting down")
                .required()
                .value(DELAYS[1].0);
            let delay =
                DELAYS.iter().fold(delay, |field, (secs, label)| field.option(*secs, Some(label)));
            form("Shutting Down the Service", "Fill out this form to shut down the service.")
                .field(delay)
                .field(Field::new(FieldType::TextMulti, "announcement").label("Announcement"))
        }
        _ => return at_once(visit, name).await,
    }))
}

fn password(var: &str, label: &str) -> Field {
    Field::new(FieldType::TextPrivate, var).label(label).required()
}

fn listing(title: &str) -> Form {
    let count = Field::new(FieldType::ListSingle, "max_items")
        .label("Maximum number of items to show")
        .value("100");
    let counts = ["25", "50", "75", "100", "150", "200", "none"];
    let count = counts.iter().fold(count, |field, count| field.option(*count, None));
    form(title, "Fill out this form to request the list.").field(count)
}

/// Commands without a form.
async fn at_once(visit: &Visit<'_>, name: &str) -> Result<Stage, StanzaError> {
    let host = visit.cx.host.domain.as_str();
    let (var, label, number) = match name {
        "delete-motd" => {
            let done = visit.call("motd.delete", json!({ "host": host })).await.map_err(refused)?;
            let none = done["hosts"].as_array().is_none_or(Vec::is_empty);
            return Ok(Stage::said(if none { "There was none." } else { "Deleted." }));
        }
        "delete-welcome" => {
            let key = welcome_key(host);
            visit.call("config.unset", json!({ "key": key })).await.map_err(refused)?;
            return Ok(Stage::said("Deleted."));
        }
        "get-registered-users-num" | "get-disabled-users-num" => {
            let arguments = json!({ "host": host });
            let counted = visit.call("account.count", arguments).await.map_err(refused)?;
            let of = |key: &str| counted[key].as_u64().unwrap_or_default();
            match name {
                "get-registered-users-num" => {
                    ("registeredusersnum", "The number of registered users", of("accounts"))
                }
                _ => ("disabledusersnum", "The number of disabled users", of("locked")),
            }
        }
        "get-online-users-num" => {
            ("onlineusersnum", "The number of online users", people(visit, Of::Online).len() as u64)
        }
        "get-active-users-num" => {
            ("activeusersnum", "The number of active users", people(visit, Of::Active).len() as u64)
        }
        _ => ("idleusersnum", "The number of idle users", people(visit, Of::Idle).len() as u64),
    };
    let field = Field::new(FieldType::TextSingle, var).label(label).value(number.to_string());
    Ok(Stage::done(Form::new(FormKind::Result).form_type(ADMIN).field(field)))
}

/// What is done with a filled-out form.
async fn go_on(visit: &Visit<'_>, name: &str, answer: &Form) -> Result<Stage, StanzaError> {
    let host = visit.cx.host.domain.as_str();
    let text = |var| answer.values(var).join("\n");
    match name {
        "add-user" => {
            let password = answer.value("password").unwrap_or_default();
            if answer.value("password-verify") != Some(password) {
                return Err(bad_payload("The two passwords are not the same."));
            }
            let arguments = json!({ "jid": single(answer)?, "password": password });
            visit.call("account.add", arguments).await.map_err(refused)?;
            Ok(Stage::said("The account has been added."))
        }
        "change-user-password" => {
            let password = answer.value("password").unwrap_or_default();
            let arguments = json!({ "jid": single(answer)?, "password": password });
            visit.call("account.password", arguments).await.map_err(refused)?;
            Ok(Stage::said("The password has been changed."))
        }
        "delete-user" => each(visit, answer, "account.remove", json!({})).await,
        "disable-user" => each(visit, answer, "account.lock", json!({ "reason": "" })).await,
        "reenable-user" => each(visit, answer, "account.unlock", json!({})).await,
        "end-user-session" => each(visit, answer, "session.kick", json!({ "reason": "" })).await,
        "get-user-roster" => rosters(visit, answer).await,
        "get-user-lastlogin" => last_logins(visit, answer).await,
        "user-stats" => stats(visit, answer).await,
        "get-registered-users-list" => {
            let arguments = json!({ "host": host, "max": count(answer) });
            let names = visit.call("account.names", arguments).await.map_err(refused)?;
            Ok(list("registereduserjids", "The list of all users", texts(&names["jids"])))
        }
        "get-disabled-users-list" => {
            let arguments = json!({ "host": host, "max": count(answer) });
            let locked = visit.call("account.locked", arguments).await.map_err(refused)?;
            let jids = locked["accounts"].as_array().into_iter().flatten();
            let jids = jids.filter_map(|row| row["jid"].as_str()).map(str::to_owned).collect();
            Ok(list("disableduserjids", "The list of all disabled users", jids))
        }
        "get-online-users-list" => {
            Ok(some(visit, answer, Of::Online, "onlineuserjids", "The list of all online users"))
        }
        "get-active-users" => {
            Ok(some(visit, answer, Of::Active, "activeuserjids", "The list of active users"))
        }
        // The name of the field is the specification's.
        "get-idle-users" => {
            Ok(some(visit, answer, Of::Idle, "activeuserjids", "The list of idle users"))
        }
        "announce" => {
            let arguments = json!({ "to": "online", "host": host, "body": text("announcement") });
            let sent = visit.call("announce.send", arguments).await.map_err(refused)?;
            Ok(Stage::said(format!("Sent to {} sessions.", sent["sessions"])))
        }
        "set-motd" | "edit-motd" => {
            let now = name == "set-motd";
            let arguments = json!({ "host": host, "body": text("motd"), "tell_online": now });
            visit.call("motd.set", arguments).await.map_err(refused)?;
            Ok(Stage::said("The message of the day has been set."))
        }
        "set-welcome" => {
            let arguments = json!({ "key": welcome_key(host), "value": text("welcome") });
            visit.call("config.set", arguments).await.map_err(refused)?;
            Ok(Stage::said("The welcome message has been set."))
        }
        "edit-admin" => edit_admins(visit, answer).await,
        "shutdown" => shut_down(visit, answer).await,
        // It asks nothing, so whatever was sent changes nothing.
        _ => at_once(visit, name).await,
    }
}

fn single(answer: &Form) -> Result<String, StanzaError> {
    let jid = answer.jid("accountjid").map_err(|error| bad_payload(error.to_string()))?;
    jid.map(|jid| jid.to_string()).ok_or_else(|| bad_payload("There is no address."))
}

fn several(answer: &Form) -> Result<Vec<Jid>, StanzaError> {
    let jids = answer.jids("accountjids").map_err(|error| bad_payload(error.to_string()))?;
    if jids.len() > JIDS_MAX {
        return Err(bad_payload(format!("A command is about {JIDS_MAX} addresses at most.")));
    }
    Ok(jids)
}

/// Does an operation to each of the accounts. If all fail, the command does; if some do, it says
/// which.
async fn each(
    visit: &Visit<'_>,
    answer: &Form,
    operation: &str,
    arguments: Value,
) -> Result<Stage, StanzaError> {
    let jids = several(answer)?;
    let mut failed: Vec<(String, Refusal)> = Vec::new();
    for jid in &jids {
        let mut arguments = arguments.clone();
        arguments["jid"] = jid.as_str().into();
        if let Err(refusal) = visit.call(operation, arguments).await {
            failed.push((jid.to_string(), refusal));
        }
    }
    if failed.len() == jids.len()
        && let Some((_, refusal)) = failed.first()
    {
        return Err(refused(refusal.clone()));
    }
    let notes = failed.iter().map(|(jid, refusal)| Note {
        severity: Severity::Error,
        text: format!("{jid}: {refusal}"),
    });
    let done = jids.len() - failed.len();
    let done = Note { severity: Severity::Info, text: format!("Done for {done} addresses.") };
    let notes = std::iter::once(done).chain(notes).collect();
    Ok(Stage::Done { form: None, notes, more: Vec::new() })
}

async fn rosters(visit: &Visit<'_>, answer: &Form) -> Result<Stage, StanzaError> {
    let jids = several(answer)?;
    let mut more = Vec::new();
    let given = Field::new(FieldType::JidMulti, "accountjids");
    let given = given.values(jids.iter().map(|jid| jid.to_string()));
    for jid in &jids {
        let got = visit.call("roster.get", json!({ "jid": jid.as_str() })).await;
        let got = got.map_err(refused)?;
        let items = got["contacts"].as_array().into_iter().flatten().map(|contact| {
            let attr = |name: &str| contact[name].as_str().filter(|text| !text.is_empty());
            Element::new("item", ns::ROSTER)
                .attr_opt("jid", attr("jid"))
                .attr_opt("name", attr("name"))
                .attr_opt("subscription", attr("subscription"))
                .with_all(
                    texts(&contact["groups"])
                        .iter()
                        .map(|group| Element::new("group", ns::ROSTER).with_text(group)),
                )
        });
        more.push(Element::new("query", ns::ROSTER).with_all(items));
    }
    let form = Form::new(FormKind::Result).form_type(ADMIN).field(given);
    Ok(Stage::Done { form: Some(form), notes: Vec::new(), more })
}

async fn last_logins(visit: &Visit<'_>, answer: &Form) -> Result<Stage, StanzaError> {
    let jids = several(answer)?;
    let (mut times, mut notes) = (Vec::new(), Vec::new());
    for jid in &jids {
        let last = visit.call("account.last", json!({ "jid": jid.as_str() })).await;
        let last = last.map_err(refused)?;
        let time = match (&last["online"], last["at"].as_str()) {
            (Value::Bool(true), _) => Now::read().to_xmpp(),
            (_, Some(at)) => at.to_owned(),
            (_, None) => {
                let text = format!("{jid} has never been here.");
                notes.push(Note { severity: Severity::Info, text });
                continue;
            }
        };
        times.push(time);
    }
    let given = Field::new(FieldType::JidMulti, "accountjids");
    let given = given.values(jids.iter().map(|jid| jid.to_string()));
    let times = Field::new(FieldType::TextMulti, "lastlogin").values(times);
    let form = Form::new(FormKind::Result).form_type(ADMIN).field(given).field(times);
    Ok(Stage::Done { form: Some(form), notes, more: Vec::new() })
}

async fn stats(visit: &Visit<'_>, answer: &Form) -> Result<Stage, StanzaError> {
    let jid = single(answer)?;
    let shown = visit.call("account.show", json!({ "jid": jid })).await.map_err(refused)?;
    let jid = shown["jid"].as_str().unwrap_or(&jid);
    let sessions = visit.cx.router.sessions.of(jid);
    let addresses = sessions.iter().filter_map(|session| session.facts.lock().address);
    let show = visit.context.config().log.addresses;
    let addresses: BTreeSet<String> = addresses.map(|peer| show.show(peer.ip())).collect();
    let resources = sessions.iter().filter_map(|session| session.jid.resource());
    let many = |var, label| Field::new(FieldType::TextMulti, var).label(label);
    let form = Form::new(FormKind::Result)
        .form_type(ADMIN)
        .field(many("ipaddresses", "The IP addresses of this user").values(addresses))
        .field(
            Field::new(FieldType::TextSingle, "rostersize")
                .label("Number of roster items")
                .value(shown["contacts"].to_string()),
        )
        .field(many("onlineresources", "Online resources").values(resources));
    Ok(Stage::done(form))
}

/// Which of those who are online.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Online,
    Active,
    Idle,
}

/// Accounts of the host with a session. Active is whose client was heard of late and says that its
/// user looks (XEP-0352); idle are the others.
fn people(visit: &Visit<'_>, of: Of) -> BTreeSet<String> {
    let before = Now::read().minus(ACTIVE).secs();
    let is_active = |session: &Session| {
        let heard = session.heard.load(std::sync::atomic::Ordering::Relaxed);
        heard >= before && !session.has(Flag::Inactive) && !session.has(Flag::Parked)
    };
    let mut sessions = visit.cx.router.sessions.all();
    sessions.retain(|session| session.jid.domain() == visit.cx.host.domain);
    let of_these = |sessions: &[Arc<Session>], keep: &dyn Fn(&Session) -> bool| {
        let kept = sessions.iter().filter(|session| keep(session));
        kept.map(|session| session.jid.bare_str().to_owned()).collect::<BTreeSet<_>>()
    };
    let online = of_these(&sessions, &|_| true);
    match of {
        Of::Online => online,
        Of::Active => of_these(&sessions, &is_active),
        Of::Idle => {
            let active = of_these(&sessions, &is_active);
            online.difference(&active).cloned().collect()
        }
    }
}

fn count(answer: &Form) -> usize {
    let wanted = answer.value("max_items").and_then(|count| count.parse().ok());
    wanted.unwrap_or(LIST_MAX).min(LIST_MAX)
}

fn some(visit: &Visit<'_>, answer: &Form, of: Of, var: &str, label: &str) -> Stage {
    list(var, label, people(visit, of).into_iter().take(count(answer)).collect())
}

fn list(var: &str, label: &str, jids: Vec<String>) -> Stage {
    let field = Field::new(FieldType::TextMulti, var).label(label).values(jids);
    Stage::done(Form::new(FormKind::Result).form_type(ADMIN).field(field))
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn welcome_key(host: &str) -> String {
    format!("hosts.{host:?}.registration.welcome_body")
}

/// The addresses that the ACL `admin` names one by one.
fn admins(visit: &Visit<'_>) -> Vec<Jid> {
    let config = visit.context.config();
    let Some(acl) = config.rules.acls.get("admin") else { return Vec::new() };
    let named = acl.conditions.iter().filter_map(|condition| match &condition.test {
        Test::User { local, host: Some(host) } => Jid::parse(&format!("{local}@{host}")).ok(),
        _ => None,
    });
    named.collect()
}

async fn edit_admins(visit: &Visit<'_>, answer: &Form) -> Result<Stage, StanzaError> {
    let wanted = answer.jids("adminjids").map_err(|error| bad_payload(error.to_string()))?;
    let wanted: Vec<Jid> = wanted.iter().map(|jid| jid.bare().into()).collect();
    if wanted.len() > JIDS_MAX || wanted.iter().any(|jid| jid.local().is_none()) {
        return Err(bad_payload(format!(
            "Administrators are accounts, name@host, and {JIDS_MAX} at most."
        )));
    }
    let before = admins(visit);
    let change = |jid: &Jid| json!({ "name": "admin", "condition": "user", "value": jid.as_str() });
    let mut changes = 0;
    // The new ones first: the list is never without anybody.
    for jid in wanted.iter().filter(|jid| !before.contains(jid)) {
        visit.call("acl.add", change(jid)).await.map_err(refused)?;
        changes += 1;
    }
    for jid in before.iter().filter(|jid| !wanted.contains(jid)) {
        visit.call("acl.remove", change(jid)).await.map_err(refused)?;
        changes += 1;
    }
    Ok(Stage::said(format!("{changes} changes have been made to the list.")))
}

async fn shut_down(visit: &Visit<'_>, answer: &Form) -> Result<Stage, StanzaError> {
    let secs: u64 = answer.value("delay").and_then(|secs| secs.parse().ok()).unwrap_or_default();
    let server = visit.context.running().map_err(refused)?.clone();
    let announcement = answer.values("announcement").join("\n");
    if !announcement.is_empty() {
        let arguments = json!({ "to": "online", "body": announcement });
        visit.call("announce.send", arguments).await.map_err(refused)?;
    }
    if secs == 0 {
        visit.call("server.stop", json!({})).await.map_err(refused)?;
        return Ok(Stage::said("The server stops."));
    }
    let (actor, weak) = (visit.actor.clone(), Arc::downgrade(&server));
    tracing::warn!(who = %actor.who, secs, "the server will be stopped");
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(secs)).await;
        let Some(server) = weak.upgrade() else { return };
        let done = run::run(&Context::live(server), &actor, "server.stop", json!({})).await;
        if let Err(refusal) = done
            && refusal.kind != RefusalKind::Unavailable
        {
            tracing::error!(%refusal, "the server was to be stopped and is not");
        }
    });
    Ok(Stage::said(format!("The server stops in {secs} seconds.")))
}
