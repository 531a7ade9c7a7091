//! `[hosts."DOMAIN".registration]`: who may make an account, with what name and password, and what
//! becomes of an account that is removed.

use std::time::Duration;

use super::check::secs;
use super::leaf::Choice;
use super::raw::Table;
use super::rules::Access;
use crate::jid::BareJid;

const DAY: u64 = 86_400;
/// Of texts that people are shown.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// A localpart has at most 1023 bytes (RFC 7622 §3.3).
const NAME_MAX: u32 = 1023;

/// How accounts of a host come and go.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// Who may take which name, by the name that is asked for and the address it is asked from.
    pub access: Access,
    /// Whose sessions may register further accounts.
    pub access_from: Access,
    /// Who may remove their own account, by JID and address.
    pub access_remove: Access,
    /// From where.
    pub ip_access: Access,
    /// Where registration is done instead; then it is not done here.
    pub redirect_url: Option<String>,
    /// Shown with the form.
    pub instructions: String,
    pub name_length_min: u32,
    pub name_length_max: u32,
    /// What of names such as `abuse` and `postmaster`.
    pub reserved_names: Names,
    /// What of names that look like those of others.
    pub look_alikes: Names,
    /// Least strength, in bits, of passwords that people choose for themselves.
    pub password_strength: u32,
    /// The same for passwords that operators choose.
    pub password_strength_by_operators: u32,
    /// New accounts per [`Registration::per_address_interval`] from one address (IPv6: one /56).
    pub per_address: u32,
    pub per_address_interval: Duration,
    /// After a success, nobody registers from the same address for so long.
    pub timeout: Option<Duration>,
    /// Told of each new account.
    pub watchers: Vec<BareJid>,
    /// Sent to each new account on its first sign-in, unless both are empty.
    pub welcome_subject: String,
    pub welcome_body: String,
    /// New accounts wait until an operator lets them in.
    pub approval: bool,
    /// How many may wait.
    pub approvals_max: usize,
    /// How long one may wait before it is removed.
    pub approval_age_max: Duration,
    /// How long a removed account can be brought back; `None`: not at all.
    pub removal_grace: Option<Duration>,
}

/// What becomes of a kind of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Refuse,
    Allow,
}

impl Choice for Names {
    const ALL: &'static [(&'static str, Names)] =
        &[("refuse", Names::Refuse), ("allow", Names::Allow)];
}

pub(super) fn registration(table: &mut Table<'_, '_>) -> Registration {
    let interval = secs(60)..=secs(365 * DAY);
    let registration = Registration {
        access: table.access("access", "none"),
        access_from: table.access("access_from", "none"),
        access_remove: table.access("access_remove", "all"),
        ip_access: table.access("ip_access", "all"),
        redirect_url: table.text(
            "redirect_url",
            None,
            "a web address such as \"https://example.org/join\", or \"\" for none",
            |url| url.clone().unwrap_or_default(),
            url,
        ),
        instructions: text(table, "instructions", "Choose a name and a password."),
        name_length_min: table.count("name_length_min", 1, 1..=NAME_MAX),
        name_length_max: table.count("name_length_max", 64, 1..=NAME_MAX),
        reserved_names: table.choice("reserved_names", Names::Refuse),
        look_alikes: table.choice("look_alikes", Names::Refuse),
        password_strength: table.count("password_strength", 30, 0..=256),
        password_strength_by_operators: table.count("password_strength_by_operators", 0, 0..=256),
        per_address: table.count("per_address", 5, 1..=1_000_000),
        per_address_interval: table.span("per_address_interval", secs(3600), interval.clone()),
        timeout: table.span_or("timeout", None, "infinity", secs(1)..=*interval.end()),
        watchers: table.list(
            "watchers",
            Vec::new(),
            "an address such as \"admin@example.org\"",
            BareJid::to_string,
            |text| BareJid::parse(text).map_err(|error| format!("is no address: {error}")),
        ),
        welcome_subject: text(table, "welcome_subject", ""),
        welcome_body: text(table, "welcome_body", ""),
        approval: table.flag("approval", false),
        approvals_max: table.count("approvals_max", 100, 1..=100_000) as usize,
        approval_age_max: table.span("approval_age_max", secs(30 * DAY), interval.clone()),
        removal_grace: table.span_or("removal_grace", Some(secs(14 * DAY)), "off", interval),
    };
    if registration.name_length_min > registration.name_length_max {
        table.report(
            "name_length_min",
            &format!("{}, more than name_length_max", registration.name_length_min),
            "a name length that some name has",
        );
    }
    registration
}

fn text(table: &mut Table<'_, '_>, key: &'static str, default: &str) -> String {
    let expected = format!("a text of at most {TEXT_BYTES_MAX} bytes");
    table.text(key, default.to_owned(), &expected, String::clone, |text| {
        if text.len() > TEXT_BYTES_MAX {
            return Err("is too long".to_owned());
        }
        match text.chars().find(|&c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
            Some(c) => Err(format!("contains {c:?}, which XML cannot carry")),
            None => Ok(text.to_owned()),
        }
    })
}

fn url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        None => Err("does not begin with https:// or http://".to_owned()),
        Some("") => Err("has no host".to_owned()),
        Some(rest) if rest.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err("contains white space".to_owned())
        }
        Some(_) => Ok(Some(text.to_owned())),
    }
}
