//! The one way in which accounts are made, given new passwords and removed, whatever the door.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;

use super::keys::{at_leisure, derive};
use crate::access::rate::Source;
use crate::access::registration::{self, Door, Refused, Request};
use crate::access::signups::{TooOften, Who};
use crate::auth::credentials::Password;
use crate::config::registration::Names;
use crate::config::value::{Secret, Span};
use crate::config::{HostConfig, Registration};
use crate::features::{Outbox, invites};
use crate::jid::{BareJid, Jid};
use crate::router::{Control, Router, Session};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Stanza, Type};
use crate::store::accounts::ScramRow;
use crate::store::audit::Act;
use crate::store::invites::{Invite, InviteId, InviteKind};
use crate::store::registrations::{Asked, NewAccount, Welcome};
use crate::store::{AccountId, StoreError};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::stream_error::{StreamCondition, StreamError};

/// An account that somebody wants.
pub struct New {
    pub jid: BareJid,
    pub proof: Proof,
    pub door: Door,
    pub address: Option<IpAddr>,
    /// The session, or the address of another server, that asks; `None` before sign-in and for
    /// operators.
    pub by: Option<Jid>,
    /// Do it whatever the policy says.
    pub force: bool,
    /// The invitation that lets them in.
    pub invite: Option<InviteId>,
}

/// By what the owner of an account will prove to be it.
pub enum Proof {
    Password(Secret),
    /// From a server where it was before; may be empty, then nobody can sign in yet.
    Keys(Vec<ScramRow>),
}

impl New {
    /// An account made by an operator.
    pub fn by_operator(jid: BareJid, password: Secret, door: Door, force: bool) -> New {
        let proof = Proof::Password(password);
        New { jid, proof, door, address: None, by: None, force, invite: None }
    }
}

impl New {
    /// An account that was elsewhere before; its keys come later. The policy was that of its old
    /// server.
    pub fn imported(jid: BareJid) -> New {
        let proof = Proof::Keys(Vec::new());
        let door = Door::Import;
        New { jid, proof, door, address: None, by: None, force: true, invite: None }
    }
}

/// It is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub jid: BareJid,
    pub account: AccountId,
    /// Nobody signs in before an operator agrees.
    pub waiting: bool,
}

/// It is not.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotMade {
    #[error("{0}")]
    Refused(Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NotMade {
    fn refused(
        condition: Condition,
        text: impl Into<String>,
        because: impl Into<String>,
    ) -> NotMade {
        NotMade::Refused(Refused::new(condition, text, because))
    }

    fn taken(jid: &BareJid) -> NotMade {
        let text = "This name is taken; try another one.";
        NotMade::refused(Condition::Conflict, text, format!("{jid} exists, or its name is kept"))
    }

    fn too_often(TooOften { wait, setting }: TooOften) -> NotMade {
        // To the second; a fraction would only look precise.
        let wait = Span(std::time::Duration::from_secs(wait.as_secs() + 1));
        let text = format!("Too many accounts were made from where you are; try again in {wait}.");
        NotMade::refused(Condition::ResourceConstraint, text, setting)
    }
}

impl From<Refused> for NotMade {
    fn from(refused: Refused) -> NotMade {
        NotMade::Refused(refused)
    }
}

impl From<NotMade> for StanzaError {
    fn from(not_made: NotMade) -> StanzaError {
        match not_made {
            NotMade::Refused(refused) => {
                StanzaError::new(refused.condition).with_text(refused.text)
            }
            NotMade::Store(error) => error.into(),
        }
    }
}

/// Makes an account, if the policy lets it be: keys, store, watchers, greeting, log. What it has to
/// say to others goes to `out`.
///
/// # Errors
/// Why there is no account.
pub async fn create(
    router: &Arc<Router>,
    new: New,
    out: &Outbox,
    now: Now,
) -> Result<Made, NotMade> {
    let (jid, door, address, by) = (new.jid.clone(), new.door, new.address, new.by.clone());
    let result = make(router, new, out, now).await;
    if let Err(NotMade::Refused(refused)) = &result {
        let address = shown(router, address);
        let by = by.as_ref().map(Jid::as_str);
        tracing::warn!(%jid, address, by, door = door.name(), because = refused.because, "no account was made");
    }
    result
}

async fn make(router: &Arc<Router>, new: New, out: &Outbox, now: Now) -> Result<Made, NotMade> {
    let config = router.config.load_full();
    let Some(host) = config.host(new.jid.domain()).cloned() else {
        let text = format!("{} is not a host of this server.", new.jid.domain());
        return Err(NotMade::refused(Condition::ItemNotFound, text, "no such host"));
    };
    if host.is_guest() {
        let text = "This host is for guests, who sign in without an account.";
        return Err(NotMade::refused(Condition::NotAllowed, text, "auth = \"anonymous\""));
    }
    let New { jid, proof, door, address, by, force, invite } = new;
    let groups = router.store.groups().snapshot();
    if !force {
        let by = by.as_ref();
        registration::may_be_offered(&host, &config.rules, &groups, address, door, by)?;
    }
    let trusted = address.is_some_and(|address| config.limits.trusts(address));
    let counted = !force && !door.is_operators() && !trusted;
    let who = address.map(|address| Who::Address(Source::from(address)));
    let who = who.into_iter().chain(by.as_ref().map(|by| Who::Jid(by.bare())));
    let who: Vec<Who> = if counted { who.collect() } else { Vec::new() };
    let attempt = router
        .signups
        .begin(&host.domain, &host.registration, who, now)
        .map_err(NotMade::too_often)?;
    // Asked first, because deriving keys for a name that is taken would be work for nothing.
    if router.store.accounts().find(&jid).await?.is_some()
        || router.store.bin().find(&jid).await?.is_some()
    {
        return Err(NotMade::taken(&jid));
    }
    let (for_policy, asked_for, asker) = (Arc::clone(&host), jid.clone(), by.clone());
    let decided = at_leisure(move || -> Result<_, NotMade> {
        let (host, rules) = (&*for_policy, &config.rules);
        let password = match &proof {
            Proof::Password(password) => Some(password.reveal()),
            Proof::Keys(_) => None,
        };
        let request = Request { jid: &asked_for, address, door, password, by: asker.as_ref() };
        let outcome = match force {
            true => registration::Outcome { needs_approval: false },
            false => registration::may_register(host, rules, &groups, &request)?,
        };
        Ok((outcome, keys(host, proof)?))
    });
    let Some(decided) = decided.await else { return Err(StoreError::Closed.into()) };
    let (outcome, keys) = decided?;

    let settings = &host.registration;
    let approval = outcome.needs_approval.then(|| Asked {
        expires: now.plus(settings.approval_age_max),
        address,
        door: door.name().to_owned(),
        waiting_max: settings.approvals_max,
    });
    let refuse_look_alikes =
        settings.look_alikes == Names::Refuse && !force && door != Door::Import;
    let account = NewAccount {
        jid: jid.clone(),
        keys,
        refuse_look_alikes,
        invite,
        welcome: welcome(settings, &jid).filter(|_| door != Door::Import),
        approval,
    };
    let made = router.store.registrations().create(account, now).await;
    let (account, redeemed) = made.map_err(|error| not_stored(error, settings, &jid))?;
    attempt.succeeded();

    let waiting = outcome.needs_approval;
    let made = Made { jid, account, waiting };
    announce(router, &host, &made, door, address, by.as_ref(), out, now).await;
    if let Some(invite) = redeemed {
        let told = invites::welcome(router, &host, &invite, &made.jid, out, now).await;
        if let Err(error) = told {
            let (jid, invite) = (&made.jid, invite.id.0);
            tracing::error!(%jid, invite, %error, "an invited account is nobody's contact");
        }
    }
    Ok(made)
}

/// The keys that are stored for what proves the owner.
fn keys(host: &HostConfig, proof: Proof) -> Result<Vec<ScramRow>, NotMade> {
    match proof {
        Proof::Keys(keys) => Ok(keys),
        Proof::Password(password) => Ok(derive(host, &prepared(&password)?)),
    }
}

fn prepared(password: &Secret) -> Result<Password, NotMade> {
    Password::prepare(password.reveal()).map_err(|error| {
        let text = format!("This cannot be a password: {error}.");
        NotMade::refused(Condition::NotAcceptable, text, error.to_string())
    })
}

fn not_stored(error: StoreError, settings: &Registration, jid: &BareJid) -> NotMade {
    match error {
        StoreError::AccountExists => NotMade::taken(jid),
        StoreError::LooksLike(other) => match registration::looks_like_another(settings, &other) {
            Err(refused) => refused.into(),
            Ok(()) => NotMade::taken(jid),
        },
        StoreError::NotFound => NotMade::refused(
            Condition::NotAllowed,
            "The invitation is used up, was taken back, or is for another name.",
            "the invitation",
        ),
        StoreError::TooMany { what, max } => NotMade::refused(
            Condition::ResourceConstraint,
            "Too many people wait to be let in; try again later.",
            format!("{max} {what} (approvals_max)"),
        ),
        error => error.into(),
    }
}

/// What the account will read first, with its placeholders filled in.
fn welcome(settings: &Registration, jid: &BareJid) -> Option<Welcome> {
    if settings.welcome_subject.is_empty() && settings.welcome_body.is_empty() {
        return None;
    }
    let fill = |text: &str| {
        text.replace("\r\n", "\n").replace("{jid}", jid.as_str()).replace("{host}", jid.domain())
    };
    let (subject, body) = (fill(&settings.welcome_subject), fill(&settings.welcome_body));
    Some(Welcome { subject, body })
}

/// The message that greets an account on its first sign-in.
pub fn greeting(jid: &BareJid, welcome: Welcome) -> Stanza {
    let child = |name, text: &String| {
        (!text.is_empty()).then(|| Element::new(name, ns::CLIENT).with_text(text))
    };
    let (subject, body) = (child("subject", &welcome.subject), child("body", &welcome.body));
    // Without a body clients take a subject for that of a room.
    let body = body.or_else(|| child("body", &welcome.subject));
    let children = subject.into_iter().chain(body);
    Stanza::message(Type::Chat, host_of(jid), Some(jid.clone().into()), children)
}

fn host_of(jid: &BareJid) -> Option<Jid> {
    Jid::parse(jid.domain()).ok()
}

#[allow(clippy::too_many_arguments)]
async fn announce(
    router: &Router,
    host: &HostConfig,
    made: &Made,
    door: Door,
    address: Option<IpAddr>,
    by: Option<&Jid>,
    out: &Outbox,
    now: Now,
) {
    let jid = &made.jid;
    let asker = by.map(Jid::as_str);
    if let Some(address) = address {
        router.note_source(jid, address);
    }
    tracing::info!(%jid, address = shown(router, address), by = asker, door = door.name(), waiting = made.waiting, "account made");
    // Whoever moves accounts in knows of them.
    let watchers = match door {
        Door::Import => &[][..],
        _ => &host.registration.watchers,
    };
    for watcher in watchers {
        let from = address.map_or_else(String::new, |a| format!(" from {}", a.to_canonical()));
        let by = asker.map_or_else(String::new, |by| format!(" (asked by {by})"));
        let mut text =
            format!("New account {jid}: {}, by {}{from}{by}.", now.to_xmpp(), door.name());
        if made.waiting {
            text.push_str(&format!(
                "\nIt waits until you let it in: coucou registration approve {jid}, \
                 or coucou registration refuse {jid}."
            ));
        }
        let body = Element::new("body", ns::CLIENT).with_text(&text);
        let to = Some(watcher.clone().into());
        out.push(Stanza::message(Type::Chat, host_of(jid), to, [body]));
    }
    // What operators do is written down where it comes in.
    if !door.is_operators() {
        let detail = json!({ "door": door.name(), "waiting": made.waiting });
        note(router, asker, address, "account.register", jid, detail, now).await;
    }
}

/// Writes down what people did to their own accounts.
pub(super) async fn note(
    router: &Router,
    who: Option<&str>,
    address: Option<IpAddr>,
    what: &str,
    target: &BareJid,
    detail: serde_json::Value,
    now: Now,
) {
    let act = Act {
        at: now,
        who: who.unwrap_or("somebody").to_owned(),
        from: address.map_or_else(|| "c2s".to_owned(), |a| format!("c2s {}", a.to_canonical())),
        what: what.to_owned(),
        target: target.to_string(),
        detail: detail.to_string(),
    };
    if let Err(error) = router.store.audit().append(act).await {
        tracing::error!(what, %error, "an act could not be written to the audit");
    }
}

fn shown(router: &Router, address: Option<IpAddr>) -> Option<String> {
    address.map(|address| router.config.load().log.addresses.show(address))
}

/// Gives an account a new password and ends its tokens.
///
/// # Errors
/// If the password does not do, or there is no such account.
pub async fn set_password(
    router: &Router,
    host: &Arc<HostConfig>,
    jid: &BareJid,
    password: Secret,
    door: Door,
) -> Result<(), NotMade> {
    let keys = new_keys(host, jid, password, door).await?;
    Ok(router.store.accounts().set_keys(jid, keys).await?)
}

async fn new_keys(
    host: &Arc<HostConfig>,
    jid: &BareJid,
    password: Secret,
    door: Door,
) -> Result<Vec<ScramRow>, NotMade> {
    let bits = match door.is_operators() {
        true => host.registration.password_strength_by_operators,
        false => host.registration.password_strength,
    };
    let (host, owner) = (Arc::clone(host), jid.clone());
    let keys = at_leisure(move || {
        registration::password_is_strong(bits, &owner, password.reveal())?;
        keys(&host, Proof::Password(password))
    });
    keys.await.unwrap_or(Err(NotMade::Store(StoreError::Closed)))
}

/// Uses up an invitation to set a new password, which ends the account's sessions and tokens.
///
/// # Errors
/// If the password does not do, or the invitation is used up.
pub async fn reset_password(
    router: &Router,
    host: &Arc<HostConfig>,
    invite: &Invite,
    password: Secret,
    address: Option<IpAddr>,
    now: Now,
) -> Result<BareJid, NotMade> {
    let jid = invite.reserved().filter(|_| invite.kind == InviteKind::Reset);
    let jid = jid.ok_or(StoreError::NotFound)?;
    let keys = new_keys(host, &jid, password, Door::Invite).await?;
    router.store.invites().reset(invite.id, keys, now).await?;
    end_sessions(router, &jid, None, StreamCondition::Reset, "The password was changed");
    let detail = json!({ "invite": invite.id.0 });
    note(router, None, address, "account.password", &jid, detail, now).await;
    Ok(jid)
}

/// Ends the sessions of an account, but for one; tells how many.
pub fn end_sessions(
    router: &Router,
    jid: &BareJid,
    but: Option<&Arc<Session>>,
    condition: StreamCondition,
    text: &str,
) -> usize {
    let sessions = router.sessions.of(jid.as_str());
    let ended = sessions.iter().filter(|s| but.is_none_or(|but| !Arc::ptr_eq(s, but)));
    ended
        .map(|session| {
            let error = StreamError::with_text(condition, text);
            session.mailbox.control(Control::Close(error));
        })
        .count()
}

/// Moves an account into the bin and ends its sessions; tells how many there were. Without a time
/// of grace it is erased as soon as they have ended.
///
/// # Errors
/// If there is no such account.
pub async fn remove(
    router: &Router,
    host: &HostConfig,
    jid: &BareJid,
    who: &str,
    now: Now,
) -> Result<usize, StoreError> {
    let grace = host.registration.removal_grace;
    let until = grace.map_or(now, |grace| now.plus(grace));
    router.store.bin().put(jid, until, who, now).await?;
    let text = "The account was removed";
    let ended = end_sessions(router, jid, None, StreamCondition::NotAuthorized, text);
    if grace.is_none() {
        router.bin_due.notify_one();
    }
    Ok(ended)
}
