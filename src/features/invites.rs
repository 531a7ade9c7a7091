//! XEP-0401: Ad-hoc Account Invitation Generation (0.6.0) and XEP-0379: Pre-Authenticated Roster
//! Subscription (0.3.3): links by which people come to have an account here, or each other as
//! contacts.
//!
//! The tokens are the store's ([`crate::store::invites`]). They are redeemed in two places: here,
//! by whoever subscribes with one, and where accounts are made (XEP-0445), which then calls
//! [`welcome`].

use std::sync::Arc;
use std::time::Duration;

use super::adhoc::{Route, Running, Stage, bad_payload};
use super::{Ctx, Feature, Outbox, availability, roster, xep};
use crate::access::rule::Decision;
use crate::config::value::Span;
use crate::config::{Access, HostConfig};
use crate::jid::{BareJid, Jid};
use crate::router::Router;
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::forms::{Field, FieldType, Form, FormKind};
use crate::stanza::{Stanza, Type};
use crate::store::StoreError;
use crate::store::invites::{Invite, InviteKind, InviteState, InviteToken, NewInvite};
use crate::store::rosters::{RosterItem, Subscription};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(379, "0.3.3"), xep(401, "0.6.0")],
    commands: &[
        Route { node: ns::INVITE_COMMAND, name: "Invite user", may: may_invite, run: invite },
        Route {
            node: ns::CREATE_ACCOUNT_COMMAND,
            name: "Create account",
            may: may_create,
            run: create_account,
        },
    ],
    ..Feature::NONE
};

/// The `FORM_TYPE` of a link (XEP-0401 §8.2).
const INVITATION: &str = "urn:xmpp:invite#invitation";
/// Groups that an invitation prefills, and bytes of each and of its note.
pub const GROUPS_MAX: usize = 16;
pub const TEXT_BYTES_MAX: usize = 255;

/// An invitation as it is handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// `xmpp:…`
    pub uri: String,
    /// The web page that explains it, if the host has one.
    pub page: Option<String>,
}

impl Link {
    pub fn new(host: &HostConfig, invite: &Invite, token: &InviteToken) -> Link {
        let token = token.reveal();
        let page = host.invites.page.as_ref();
        Link { uri: uri(invite, token), page: page.map(|page| page.replace("{token}", token)) }
    }
}

/// XEP-0401 §4.1 and §4.4, XEP-0445 §2; a reset looks like the registration that it will be.
fn uri(invite: &Invite, token: &str) -> String {
    let host = escape(&invite.host);
    let at = |name: &str| format!("xmpp:{}@{host}", escape(name));
    let inviter = invite.inviter.as_ref().and_then(|inviter| inviter.local());
    match (invite.kind, &invite.name, inviter) {
        (InviteKind::Contact, _, Some(inviter)) => {
            let registers = if invite.registers { ";ibr=y" } else { "" };
            format!("{}?roster;preauth={token}{registers}", at(inviter))
        }
        (_, Some(name), _) => format!("{}?register;preauth={token}", at(name)),
        _ => format!("xmpp:{host}?register;preauth={token}"),
    }
}

/// RFC 5122 §2.2: everything but what a URI never has to escape; the brackets and colons of an
/// IPv6 address stay.
fn escape(part: &str) -> String {
    use std::fmt::Write as _;
    let literal = part.starts_with('[');
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~')
            || literal && matches!(byte, b'[' | b']' | b':');
        if plain {
            out.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// What may be asked for when an invitation is made, and how it is bounded.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub kind: InviteKind,
    pub inviter: Option<BareJid>,
    pub name: Option<String>,
    pub registers: bool,
    pub subscribes: bool,
    pub groups: Vec<String>,
    pub note: String,
    /// `None`: the host's own.
    pub lifetime: Option<Duration>,
    pub uses: u32,
}

impl Wanted {
    pub fn new(kind: InviteKind) -> Wanted {
        Wanted {
            kind,
            inviter: None,
            name: None,
            registers: kind == InviteKind::Account,
            subscribes: false,
            groups: Vec::new(),
            note: String::new(),
            lifetime: None,
            uses: 1,
        }
    }
}

/// Why there is no invitation.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What was asked for does not do; a sentence.
    #[error("{0}")]
    Wrong(String),
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl From<Refused> for StanzaError {
    fn from(refused: Refused) -> StanzaError {
        match refused {
            Refused::Wrong(text) => bad_payload(text),
            Refused::Store(StoreError::AccountExists) => {
                let text = "The name is taken, or kept for somebody who was invited before.";
                StanzaError::new(Condition::Conflict).with_text(text)
            }
            Refused::Store(StoreError::TooMany { max, .. }) => {
                let text = format!(
                    "You have {max} invitations that nobody has used yet, which is the most you may have."
                );
                StanzaError::new(Condition::PolicyViolation).with_text(text)
            }
            Refused::Store(error) => error.into(),
        }
    }
}

/// Makes an invitation for `host`; `bounded` by the settings for people, which operators are not.
///
/// # Errors
/// If it is more than may be had, or makes no sense.
pub async fn create(
    router: &Router,
    host: &HostConfig,
    wanted: Wanted,
    bounded: bool,
    now: Now,
) -> Result<(Invite, InviteToken), Refused> {
    let wrong = |text: String| Err(Refused::Wrong(text));
    let settings = &host.invites;
    if host.is_guest() {
        return wrong(format!("{} is for guests, who need no invitation.", host.domain));
    }
    let name = match wanted.name.as_deref().filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => match BareJid::parse(&format!("{name}@{}", host.domain)) {
            Ok(jid) if !name.contains(['@', '/']) => jid.local().map(str::to_owned),
            Ok(_) => return wrong(format!("{name:?} is no name of an account.")),
            Err(error) => return wrong(format!("{name:?} is no name of an account: {error}.")),
        },
    };
    let uses_max = if bounded { settings.uses_max } else { 100_000 };
    if wanted.uses == 0 || wanted.uses > uses_max {
        return wrong(format!("An invitation is used between 1 and {uses_max} times."));
    }
    if name.is_some() && wanted.uses > 1 {
        return wrong("An invitation that names the account is used once.".to_owned());
    }
    let lifetime = wanted.lifetime.unwrap_or(settings.lifetime.min(settings.lifetime_max));
    let longest = if bounded { settings.lifetime_max } else { Duration::from_secs(3650 * 86_400) };
    if lifetime.is_zero() || lifetime > longest {
        return wrong(format!("An invitation lasts {} at most.", Span(longest)));
    }
    let fits = |text: &String| !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
    if wanted.groups.len() > GROUPS_MAX || !wanted.groups.iter().all(fits) {
        return wrong(format!(
            "There are at most {GROUPS_MAX} groups of 1 to {TEXT_BYTES_MAX} bytes each."
        ));
    }
    if wanted.note.len() > TEXT_BYTES_MAX {
        return wrong(format!("A note has at most {TEXT_BYTES_MAX} bytes."));
    }
    let new = NewInvite {
        kind: wanted.kind,
        host: host.domain.clone(),
        inviter: wanted.inviter,
        name,
        registers: wanted.registers,
        subscribes: wanted.subscribes,
        groups: wanted.groups,
        note: wanted.note,
        expires: now.plus(lifetime),
        uses_max: wanted.uses,
    };
    let open_max = if bounded { settings.open_max } else { usize::MAX };
    Ok(router.store.invites().create(new, open_max, now).await?)
}

/// The open invitation behind a token that somebody presents, if there is one for this host.
///
/// # Errors
/// Those of the store.
pub async fn presented(
    router: &Router,
    host: &HostConfig,
    token: &str,
    now: Now,
) -> Result<Option<Invite>, StoreError> {
    let Some(token) = InviteToken::presented(token) else { return Ok(None) };
    let found = router.store.invites().find(&token).await?;
    Ok(found.filter(|invite| invite.host == host.domain && invite.state(now) == InviteState::Open))
}

/// XEP-0379 §3.5: does this request to subscribe to `owner` carry a token of theirs? Then it is
/// used up by this. A token that does not do is as good as none (§4.1).
///
/// # Errors
/// Those of the store.
pub async fn approves(
    router: &Router,
    host: &HostConfig,
    owner: &BareJid,
    contact: &BareJid,
    request: &Stanza,
    now: Now,
) -> Result<Option<Invite>, StoreError> {
    let Some(token) = request
        .child("preauth", ns::PRE_AUTH)
        .and_then(|child| child.get("token").map(|token| token.into_owned()))
    else {
        return Ok(None);
    };
    let Some(invite) = presented(router, host, &token, now).await? else { return Ok(None) };
    if invite.kind != InviteKind::Contact || invite.inviter.as_ref() != Some(owner) {
        return Ok(None);
    }
    match router.store.invites().redeem(invite.id, contact, now).await {
        Ok(invite) => {
            tracing::info!(invite = invite.id.0, %owner, %contact, "an invitation was redeemed");
            Ok(Some(invite))
        }
        // Somebody else was first.
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An account was made by `invite`: inviter and newcomer become contacts if that was asked for, and
/// the inviter hears of it (XEP-0401 §4.5).
///
/// # Errors
/// Those of the store; the account is there all the same.
pub async fn welcome(
    router: &Arc<Router>,
    host: &HostConfig,
    invite: &Invite,
    newcomer: &BareJid,
    out: &Outbox,
    now: Now,
) -> Result<(), StoreError> {
    let Some(inviter) = invite.inviter.as_ref().filter(|_| invite.kind != InviteKind::Reset) else {
        return Ok(());
    };
    if invite.subscribes && inviter != newcomer {
        befriend(router, host, inviter, newcomer, &invite.groups, out, now).await?;
        befriend(router, host, newcomer, inviter, &invite.groups, out, now).await?;
        availability::tell_available(router, inviter, &Jid::from(newcomer.clone()), out);
    }
    let from = BareJid::parse(&host.domain).map_err(|_| StoreError::NotFound)?;
    let text = format!("{newcomer} has made an account by your invitation.");
    let body = Element::new("body", ns::CLIENT).with_text(&text);
    out.push(Stanza::message(
        Type::Normal,
        Some(from.into()),
        Some(inviter.clone().into()),
        [body],
    ));
    Ok(())
}

/// Puts `contact` into the roster of `owner`, each seeing the other, and pushes it. A roster that is
/// full stays as it is.
async fn befriend(
    router: &Router,
    host: &HostConfig,
    owner: &BareJid,
    contact: &BareJid,
    groups: &[String],
    out: &Outbox,
    now: Now,
) -> Result<(), StoreError> {
    let Some(facts) = router.store.facts(owner).await? else { return Ok(()) };
    let (jid, groups) = (contact.clone(), groups.to_vec());
    let edited = router
        .store
        .rosters()
        .edit(facts.id, contact, roster::limits(router, host, owner), now, move |entry| {
            let item =
                entry.item.get_or_insert_with(|| RosterItem { groups, ..RosterItem::new(jid) });
            item.subscription = Subscription::Both;
            (item.ask, item.approved) = (false, false);
            entry.request = None;
        })
        .await;
    let edited = match edited {
        Err(StoreError::TooMany { what, max }) => {
            tracing::info!(%owner, %contact, what, max, "not added by invitation");
            return Ok(());
        }
        edited => edited?,
    };
    if edited.version.is_some() {
        let (version, item) = (edited.version, edited.after.item);
        for (session, push) in roster::pushes(router, owner, version, contact, item).await? {
            out.push_to(&session, push);
        }
    }
    Ok(())
}

fn decide(cx: &Ctx<'_>, access: &Access) -> Option<Decision> {
    // Accounts of other hosts of ours are no inviters of this one.
    let session = cx.from.session().filter(|session| session.jid.domain() == cx.host.domain)?;
    let address = session.facts.lock().address.map(|address| address.ip());
    Some(cx.router.decide(access, &cx.host.domain, Some(&session.jid), address))
}

fn may(cx: &Ctx<'_>, access: &Access) -> bool {
    !cx.host.is_guest() && decide(cx, access).is_some_and(|decision| decision.allowed)
}

fn may_invite(cx: &Ctx<'_>) -> bool {
    may(cx, &cx.host.invites.contacts)
}

fn may_create(cx: &Ctx<'_>) -> bool {
    may(cx, &cx.host.invites.create_accounts)
}

/// XEP-0401 §4.1: done at once, nothing to fill in.
fn invite<'a>(cx: &'a Ctx<'a>, _: &'a [Form]) -> Running<'a> {
    Box::pin(async move {
        let wanted = Wanted {
            inviter: Some(cx.from.jid().bare()),
            registers: may_create(cx),
            subscribes: true,
            ..Wanted::new(InviteKind::Contact)
        };
        made(cx, wanted).await
    })
}

/// XEP-0401 §4.4.
fn create_account<'a>(cx: &'a Ctx<'a>, answers: &'a [Form]) -> Running<'a> {
    Box::pin(async move {
        let Some(answer) = answers.last() else {
            let settings = &cx.host.invites;
            let lifetime = Span(settings.lifetime.min(settings.lifetime_max)).to_string();
            return Ok(Stage::ask(
                Form::new(FormKind::Form)
                    .title("Create account")
                    .instructions("A link by which somebody can make an account here.")
                    .field(
                        Field::new(FieldType::TextSingle, "username")
                            .label("Username")
                            .desc("Empty: the guest chooses one."),
                    )
                    .field(
                        Field::new(FieldType::Boolean, "roster-subscription")
                            .label("Roster subscription")
                            .desc("You and the new account become contacts.")
                            .boolean(true),
                    )
                    .field(
                        Field::new(FieldType::TextMulti, "groups")
                            .label("Groups")
                            .desc("Groups of the contact lists, one a line."),
                    )
                    .field(
                        Field::new(FieldType::TextSingle, "lifetime")
                            .label("Valid for")
                            .desc("Such as 12h or 7d.")
                            .value(lifetime),
                    )
                    .field(
                        Field::new(FieldType::TextSingle, "uses")
                            .label("Accounts that can be made by it")
                            .value("1"),
                    )
                    .field(
                        Field::new(FieldType::TextSingle, "note").label("Note for your own memory"),
                    ),
            ));
        };
        let said = |var| answer.value(var).map(str::trim).filter(|text| !text.is_empty());
        let lifetime = said("lifetime").map(|text| {
            let span = text.parse::<Span>();
            span.map(|Span(time)| time)
                .map_err(|error| bad_payload(format!("The time {text:?} {error}; it is like 7d.")))
        });
        let groups = answer.values("groups").iter().map(|group| group.trim().to_owned());
        let uses = if said("uses").is_some() { answer.number("uses")? } else { None };
        let wanted = Wanted {
            inviter: Some(cx.from.jid().bare()),
            name: said("username").map(str::to_owned),
            subscribes: answer.boolean("roster-subscription")?.unwrap_or(false),
            groups: groups.filter(|group| !group.is_empty()).collect(),
            note: said("note").unwrap_or_default().to_owned(),
            lifetime: lifetime.transpose()?,
            uses: uses.unwrap_or(1),
            ..Wanted::new(InviteKind::Account)
        };
        made(cx, wanted).await
    })
}

async fn made(cx: &Ctx<'_>, wanted: Wanted) -> Result<Stage, StanzaError> {
    let (invite, token) = create(cx.router, cx.host, wanted, true, cx.now).await?;
    tracing::info!(
        invite = invite.id.0,
        kind = invite.kind.name(),
        by = cx.from.jid().bare_str(),
        "an invitation was made"
    );
    let link = Link::new(cx.host, &invite, &token);
    let text = |var| Field::new(FieldType::TextSingle, var);
    let mut form = Form::new(FormKind::Result)
        .form_type(INVITATION)
        .field(text("uri").label("Invitation link").value(link.uri));
    if let Some(page) = link.page {
        form = form.field(text("landing-url").label("Web page of the invitation").value(page));
    }
    let expire = text("expire").label("Valid until").value(invite.expires.to_xmpp());
    Ok(Stage::done(form.field(expire)))
}

#[cfg(test)]
mod tests;
