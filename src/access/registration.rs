//! The one policy of registration, which every door asks: who may make an account, of which name,
//! with which password. Pure: what it knows, it is told. Which names are taken, or look like one
//! that is, the caller finds out; how often somebody may try is [`super::signups`]' matter.
//!
//! What each door is asked:
//!
//! | | in-band | web | invitation | operators |
//! |---|---|---|---|---|
//! | `redirect_url` | ✓ | | | |
//! | `ip_access` | ✓ | ✓ | ✓ | |
//! | `access_from`, from a session | ✓ | | | |
//! | `access` | must allow | must allow | must not deny | must not deny |
//! | length, reserved names | ✓ | ✓ | ✓ | ✓ |
//! | strength of the password | ✓ | ✓ | ✓ | their own |
//!
//! "Must not deny" means: an entry that holds and says deny counts, the silence at the end of a
//! rule, which is a deny too, does not.

use std::fmt;
use std::net::IpAddr;

use super::facts::Facts;
use super::names;
use super::rule::{self, Decision};
use crate::config::registration::Names;
use crate::config::rules::{Access, Condition as Asked, Entry, Rules, Test};
use crate::config::{HostConfig, Registration};
use crate::jid::{BareJid, Jid};
use crate::stanza::error::Condition;
use crate::store::groups::SharedGroups;

/// [`Refused::because`] of a host that registers elsewhere.
pub const REDIRECTED: &str = "redirect_url";

/// Where somebody comes in to make an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A client (XEP-0077).
    InBand,
    /// Anybody who holds an invitation.
    Invite,
    /// A web page.
    Web,
    Api,
    Cli,
    /// An operator's client (XEP-0050).
    AdHoc,
    /// Accounts that another server had.
    Import,
}

impl Door {
    pub fn name(self) -> &'static str {
        match self {
            Door::InBand => "in-band registration",
            Door::Invite => "invitation",
            Door::Web => "web page",
            Door::Api => "API",
            Door::Cli => "command line",
            Door::AdHoc => "ad-hoc command",
            Door::Import => "import",
        }
    }

    /// Those who come in here run the server.
    pub fn is_operators(self) -> bool {
        matches!(self, Door::Api | Door::Cli | Door::AdHoc | Door::Import)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The address that the account shall have.
    pub jid: &'a BareJid,
    /// From where; `None` where that is not known, as with components.
    pub address: Option<IpAddr>,
    pub door: Door,
    /// `None` where nobody knows it: keys came from elsewhere.
    pub password: Option<&'a str>,
    /// The session, or the address of another server, that asks; `None` before sign-in.
    pub by: Option<&'a Jid>,
}

/// It may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Nobody signs in before an operator has agreed.
    pub needs_approval: bool,
}

/// It may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub condition: Condition,
    /// For whoever asked: what is wrong and what would do, but not how we are configured.
    pub text: String,
    /// For operators: the setting, and the line that decided.
    pub because: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Refused {
    pub fn new(
        condition: Condition,
        text: impl Into<String>,
        because: impl Into<String>,
    ) -> Refused {
        Refused { condition, text: text.into(), because: because.into() }
    }

    fn by_rule(setting: &str, text: &str, decision: &Decision) -> Refused {
        let because = format!("{setting}: {}", decision.because);
        Refused::new(Condition::Forbidden, text, because)
    }
}

/// May this account be made?
///
/// # Errors
/// The first thing that is against it.
pub fn may_register(
    host: &HostConfig,
    rules: &Rules,
    groups: &SharedGroups,
    request: &Request<'_>,
) -> Result<Outcome, Refused> {
    may_be_offered(host, rules, groups, request.address, request.door, request.by)?;
    name_is_allowed(host, rules, groups, request)?;
    if let Some(password) = request.password {
        let bits = match request.door.is_operators() {
            true => host.registration.password_strength_by_operators,
            false => host.registration.password_strength,
        };
        password_is_strong(bits, request.jid, password)?;
    }
    let needs_approval = host.registration.approval && !request.door.is_operators();
    Ok(Outcome { needs_approval })
}

/// Is there anything to register here, whatever the name? What a form is worth sending for.
///
/// # Errors
/// What is against it.
pub fn may_be_offered(
    host: &HostConfig,
    rules: &Rules,
    groups: &SharedGroups,
    address: Option<IpAddr>,
    door: Door,
    by: Option<&Jid>,
) -> Result<(), Refused> {
    let settings = &host.registration;
    if host.is_guest() {
        let text = "This host is for guests, who sign in without an account.";
        return Err(Refused::new(Condition::NotAllowed, text, "auth = \"anonymous\""));
    }
    if door.is_operators() {
        return Ok(());
    }
    if matches!(door, Door::InBand | Door::Web) && !is_open(rules, &settings.access) {
        let text = "Registration is closed on this server; ask those who run it for an account.";
        let because = format!("access: {:?} allows nobody", settings.access.shown());
        return Err(Refused::new(Condition::ServiceUnavailable, text, because));
    }
    let facts = |jid| Facts { jid, address, host: &host.domain, groups };
    let decision = rule::decide(rules, &settings.ip_access, &facts(None));
    if !decision.allowed {
        let text = "Registration is not open to your network address.";
        return Err(Refused::by_rule("ip_access", text, &decision));
    }
    if let Some(by) = by.filter(|_| door == Door::InBand) {
        let decision = rule::decide(rules, &settings.access_from, &facts(Some(by)));
        if !decision.allowed {
            let text = "Accounts are not made from within a session here; sign out to register.";
            return Err(Refused::by_rule("access_from", text, &decision));
        }
    }
    if let Some(url) = settings.redirect_url.as_ref().filter(|_| door == Door::InBand) {
        let text = format!("Register at {url}");
        return Err(Refused::new(Condition::NotAllowed, text, REDIRECTED));
    }
    Ok(())
}

fn name_is_allowed(
    host: &HostConfig,
    rules: &Rules,
    groups: &SharedGroups,
    request: &Request<'_>,
) -> Result<(), Refused> {
    let settings = &host.registration;
    let Some(name) = request.jid.local() else {
        let text = "The address of an account has a name before the @.";
        return Err(Refused::new(Condition::JidMalformed, text, "no name"));
    };
    let length = name.chars().count();
    let bounds = settings.name_length_min as usize..=settings.name_length_max as usize;
    // Accounts that are carried over have the names they have.
    if !bounds.contains(&length) && request.door != Door::Import {
        let (min, max) = (bounds.start(), bounds.end());
        let text = match length < *min {
            true => format!("The name is too short; it needs {min} characters at least."),
            false => format!("The name is too long; it may have {max} characters at most."),
        };
        let because = format!("{length} characters, not {min} to {max} (name_length_…)");
        return Err(Refused::new(Condition::NotAcceptable, text, because));
    }
    let address = Jid::from(request.jid.clone());
    let facts = Facts { jid: Some(&address), address: request.address, host: &host.domain, groups };
    let decision = rule::decide(rules, &settings.access, &facts);
    let must_allow = matches!(request.door, Door::InBand | Door::Web);
    if !decision.allowed && (must_allow || by_entry(rules, &settings.access, &decision)) {
        let text = "This name may not be registered here, or not by you; try another one.";
        return Err(Refused::by_rule("access", text, &decision));
    }
    if settings.reserved_names == Names::Refuse
        && let Some(reserved) = names::reserved(name)
    {
        let text = "This name is reserved for those who run the server; try another one.";
        let because = format!("looks like the reserved name {reserved:?} (reserved_names)");
        return Err(Refused::new(Condition::NotAcceptable, text, because));
    }
    Ok(())
}

/// Did an entry of the rule decide, and not the silence at its end?
fn by_entry(rules: &Rules, access: &Access, decision: &Decision) -> bool {
    let has_entries = match access {
        Access::Inline(_) => true,
        Access::Named(name) => rules.access.contains_key(&**name),
    };
    has_entries && decision.line.is_some()
}

/// May whoever this is remove the own account?
///
/// # Errors
/// What is against it.
pub fn may_remove(
    host: &HostConfig,
    rules: &Rules,
    groups: &SharedGroups,
    session: &Jid,
    address: Option<IpAddr>,
) -> Result<(), Refused> {
    let access = &host.registration.access_remove;
    if !is_open(rules, access) {
        let text = "Accounts are not removed by clients here; ask those who run the server.";
        let because = format!("access_remove: {:?} allows nobody", access.shown());
        return Err(Refused::new(Condition::NotAllowed, text, because));
    }
    let facts = Facts { jid: Some(session), address, host: &host.domain, groups };
    let decision = rule::decide(rules, access, &facts);
    if decision.allowed {
        return Ok(());
    }
    let text = "You may not remove this account from here; ask those who run the server.";
    Err(Refused::by_rule("access_remove", text, &decision))
}

/// Could the rule allow anybody at all? `none`, and what comes to the same, could not.
pub fn is_open(rules: &Rules, access: &Access) -> bool {
    let is_nobody = |asked: &Asked| match &asked.test {
        Test::Acl(name) => name == "none" || is_empty(rules, name),
        _ => false,
    };
    let allows = |entry: &Entry| entry.allow && !entry.conditions.iter().any(is_nobody);
    match access {
        Access::Inline(rule) => rule.entries.iter().any(allows),
        Access::Named(name) => match rules.access.get(&**name) {
            Some(rule) => rule.entries.iter().any(allows),
            None => &**name != "none" && !is_empty(rules, name),
        },
    }
}

/// An ACL that is there and has no condition: nobody is in it.
fn is_empty(rules: &Rules, acl: &str) -> bool {
    rules.acls.get(acl).is_some_and(|acl| acl.conditions.is_empty())
}

/// Does the password resist as many guesses as it should? `bits` is the logarithm of their number.
///
/// # Errors
/// How to do better.
pub fn password_is_strong(bits: u32, jid: &BareJid, password: &str) -> Result<(), Refused> {
    if bits == 0 {
        return Ok(());
    }
    let own = [jid.local().unwrap_or_default(), jid.domain(), jid.as_str(), "coucou", "xmpp"];
    let guesses = zxcvbn::zxcvbn(password, &own);
    let found = guesses.guesses_log10() * std::f64::consts::LOG2_10;
    if found >= f64::from(bits) {
        return Ok(());
    }
    let mut text = "This password is too easy to guess.".to_owned();
    if let Some(feedback) = guesses.feedback() {
        let warning = feedback.warning().map(|warning| warning.to_string());
        let suggestions = feedback.suggestions().iter().map(|suggestion| suggestion.to_string());
        for advice in warning.into_iter().chain(suggestions) {
            text.push(' ');
            text.push_str(&advice);
        }
    } else {
        text.push_str(" Add another word or two. Uncommon words are better.");
    }
    let because = format!("{} bits of {bits} (password_strength)", found.floor());
    Err(Refused::new(Condition::NotAcceptable, text, because))
}

/// What the policy and the store have to say of a name that looks like another.
pub fn looks_like_another(settings: &Registration, other: &BareJid) -> Result<(), Refused> {
    match settings.look_alikes {
        Names::Allow => Ok(()),
        Names::Refuse => Err(Refused::new(
            Condition::Conflict,
            "This name looks like one that is taken; try another one.",
            format!("looks like {other} (look_alikes)"),
        )),
    }
}

#[cfg(test)]
mod tests;
