//! Takes the accounts of a file in: looks at all of it first, and stores only what is whole.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::parts::{self, Data};
use super::read::{self, At, Fault, Found};
use crate::admin::Context;
use crate::admin::op::{Refusal, RefusalKind};
use crate::admin::ops::account::not_made_refusal;
use crate::auth::credentials::{Credentials, Password};
use crate::auth::hash::Hash;
use crate::config::{HostConfig, Mechanism};
use crate::delivery::{accounts, groups};
use crate::features::register::{New, scram_row};
use crate::jid::{BareJid, Jid};
use crate::store::accounts::ScramRow;
use crate::store::private::PrivateLimits;
use crate::store::rosters::{RosterEntry, RosterLimits};
use crate::store::{AccountId, MessageRow};
use crate::time::Now;
use crate::xml::stream_error::StreamCondition;

/// Parts that may wait between reading and storing.
const AHEAD: usize = 8;
/// Messages of one transaction, and their bytes.
const ROWS_MAX: usize = 200;
const ROWS_BYTES_MAX: usize = 1 << 20;
/// Bounds for what one account brings with it.
const CONTACTS_MAX: usize = 100_000;
const PRIVATE: PrivateLimits = PrivateLimits { elements_max: 10_000, bytes_max: 64 << 20 };
const BLOCKED_MAX: usize = 100_000;
/// Accounts that a refusal names.
const NAMED_MAX: usize = 5;
/// Unknown namespaces that the report names.
const UNKNOWN_MAX: usize = 50;

/// What to do about an account that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// Import nothing at all.
    #[default]
    Fail,
    /// Leave it as it is.
    Skip,
    /// Give it password, contacts, vCard, private storage and block list of the file. Its messages
    /// stay, those of the file come to them.
    Replace,
}

/// What came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Imported {
    /// Nothing was stored, since only that was asked for.
    pub dry_run: bool,
    pub made: u64,
    pub replaced: u64,
    pub skipped: u64,
    /// Nobody can sign in to these before they get a password.
    pub without_password: u64,
    /// These have keys for SCRAM-SHA-1 alone: clients that choose another mechanism fail.
    pub sha_1_only: u64,
    pub contacts: u64,
    pub requests: u64,
    /// Of archives; those that were there already are not counted.
    pub archived: u64,
    /// Messages that wait for their receiver.
    pub waiting: u64,
    pub vcards: u64,
    pub private: u64,
    pub blocked: u64,
    /// What this server does not store, and how often it was met.
    pub left_out: BTreeMap<String, u64>,
}

impl Imported {
    fn leave_out(&mut self, what: &str, count: u64) {
        if count > 0 && (self.left_out.len() < UNKNOWN_MAX || self.left_out.contains_key(what)) {
            *self.left_out.entry(what.to_owned()).or_default() += count;
        }
    }
}

/// Imports `file` and what it includes.
///
/// # Errors
/// The first fault, with its place, or accounts that exist already. Then nothing was stored.
pub async fn import(
    cx: &Context,
    file: PathBuf,
    existing: Existing,
    dry_run: bool,
) -> Result<Imported, Refusal> {
    let mut found = pass(cx, &file, existing, false).await?;
    if dry_run {
        found.dry_run = true;
        return Ok(found);
    }
    pass(cx, &file, existing, true).await
}

fn refused(fault: &Fault) -> Refusal {
    Refusal::usage(fault.to_string()).help("nothing was imported")
}

/// Goes over all of it once.
async fn pass(
    cx: &Context,
    file: &Path,
    existing: Existing,
    store: bool,
) -> Result<Imported, Refusal> {
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let path = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || read::walk(&path, &sender));
    let mut pass = Pass {
        cx,
        store,
        existing,
        now: Now::read(),
        seen: HashSet::new(),
        there: Vec::new(),
        there_count: 0,
        current: None,
        imported: Imported::default(),
    };
    while let Some(found) = receiver.recv().await {
        pass.take(found).await?;
    }
    match reading.await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => return Err(refused(&fault)),
        Err(error) => return Err(Refusal::bug(&error)),
    }
    if pass.there_count > 0 {
        let more = pass.there_count.saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!("these accounts exist already: {}{more}", pass.there.join(", "));
        return Err(Refusal::new(RefusalKind::Conflict, text).help(
            "nothing was imported; leave them out with skip, or overwrite them with replace",
        ));
    }
    Ok(pass.imported)
}

struct Pass<'a> {
    cx: &'a Context,
    /// Or only look.
    store: bool,
    existing: Existing,
    now: Now,
    seen: HashSet<BareJid>,
    /// Accounts that are in the way, as far as they are named.
    there: Vec<String>,
    there_count: usize,
    current: Option<User>,
    imported: Imported,
}

/// The user whose parts are read.
struct User {
    jid: BareJid,
    host: Arc<HostConfig>,
    /// Where it is stored; `None` if nothing of it is.
    account: Option<AccountId>,
    /// Its parts are passed over.
    skipped: bool,
    password: Option<Password>,
    keys: Vec<ScramRow>,
    rows: Vec<MessageRow>,
    rows_bytes: usize,
    at: At,
}

impl Pass<'_> {
    async fn take(&mut self, found: Found) -> Result<(), Refusal> {
        match found {
            Found::User { jid, password, at } => self.begin(jid, password, at).await,
            Found::Part(kind, element, at) => {
                let Some(user) = &self.current else { return Ok(()) };
                if user.skipped {
                    return Ok(());
                }
                let data = parts::parse(kind, element, &user.jid, self.now);
                let data = data.map_err(|what| {
                    refused(&Fault { at: at.clone(), what: format!("{}: {what}", user.jid) })
                })?;
                self.put(data, at).await
            }
            Found::EndOfUser => self.end().await,
            Found::Unknown(ns) => {
                self.imported.leave_out(&ns, 1);
                Ok(())
            }
        }
    }

    async fn begin(
        &mut self,
        jid: BareJid,
        password: Option<String>,
        at: At,
    ) -> Result<(), Refusal> {
        let fault = |what: String| refused(&Fault { at: at.clone(), what });
        let host = match self.cx.config().host(jid.domain()) {
            Some(host) if host.is_guest() => {
                return Err(fault(format!("{} is for guests and has no accounts", host.domain)));
            }
            Some(host) => Arc::clone(host),
            None => {
                let text = format!("{} is not a host of this server", jid.domain());
                return Err(fault(text)
                    .help(format!("nothing was imported; add [hosts.{:?}]", jid.domain())));
            }
        };
        if !self.seen.insert(jid.clone()) {
            return Err(fault(format!("{jid} is there twice")));
        }
        let mut user = User {
            jid,
            host,
            account: None,
            skipped: false,
            password: None,
            keys: Vec::new(),
            rows: Vec::new(),
            rows_bytes: 0,
            at: at.clone(),
        };
        match password.as_deref().map(|text| (text, parts::old_keys(text))) {
            None | Some(("", _)) => {}
            Some((_, Some(keys))) => {
                user.keys.push(keys.map_err(|what| fault(format!("{}: {what}", user.jid)))?);
            }
            Some((text, None)) => {
                let password = Password::prepare(text)
                    .map_err(|error| fault(format!("the password of {}: {error}", user.jid)))?;
                user.password = Some(password);
            }
        }
        let known = self.cx.store().accounts().find(&user.jid).await?;
        match (known, self.existing) {
            (None, _) => {
                self.imported.made += 1;
                if self.store {
                    let new = New::imported(user.jid.clone());
                    let made = accounts::create(&self.cx.router(), new, Now::read()).await;
                    user.account = Some(made.map_err(not_made_refusal)?.account);
                }
            }
            (Some(_), Existing::Fail) => {
                self.there_count += 1;
                if self.there.len() < NAMED_MAX {
                    self.there.push(user.jid.to_string());
                }
            }
            (Some(_), Existing::Skip) => {
                self.imported.skipped += 1;
                user.skipped = true;
            }
            (Some(known), Existing::Replace) => {
                self.imported.replaced += 1;
                if self.store {
                    let why = "The account was replaced by an import";
                    self.cx.end_sessions(&user.jid, StreamCondition::NotAuthorized, why);
                    self.cx.store().portable().clear_own(known.id).await?;
                    user.account = Some(known.id);
                }
            }
        }
        self.current = Some(user);
        Ok(())
    }

    async fn put(&mut self, data: Data, at: At) -> Result<(), Refusal> {
        let Some(user) = &mut self.current else { return Ok(()) };
        let store = self.cx.store();
        match data {
            Data::Keys(row) => {
                if user.keys.iter().any(|known| known.hash == row.hash) {
                    let what = format!("{}: two sets of keys for SCRAM-{}", user.jid, row.hash);
                    return Err(refused(&Fault { at, what }));
                }
                user.keys.push(row);
            }
            Data::OtherKeys => self.imported.leave_out("keys of other mechanisms", 1),
            Data::Contacts(items) => {
                self.imported.contacts += items.len() as u64;
                let entry = |item| RosterEntry { item: Some(item), request: None };
                let entries = items.into_iter().map(|item| (item.jid.clone(), entry(item)));
                put_contacts(self.cx, user.account, entries.collect(), self.now).await?;
            }
            Data::Request(from, stanza) => {
                self.imported.requests += 1;
                let entry = RosterEntry { item: None, request: Some(stanza) };
                put_contacts(self.cx, user.account, vec![(from, entry)], self.now).await?;
            }
            Data::Private(elements) => {
                self.imported.private += elements.len() as u64;
                let Some(account) = user.account else { return Ok(()) };
                for element in elements {
                    let xml = element.to_xml("").into();
                    let private = store.private();
                    private.set(account, element.name(), element.ns(), xml, PRIVATE).await?;
                }
            }
            Data::VCard(vcard) => {
                self.imported.vcards += 1;
                let Some(account) = user.account else { return Ok(()) };
                store.vcards().set(account, vcard.to_xml("").into()).await?;
            }
            Data::Blocked(jids, others) => {
                self.imported.leave_out("rules of privacy lists", others);
                let jids: Vec<Jid> =
                    jids.into_iter().filter(|jid| jid.bare_str() != user.jid.as_str()).collect();
                match user.account {
                    Some(account) => {
                        let new = store.blocks().block(account, jids, BLOCKED_MAX).await?;
                        self.imported.blocked += new.len() as u64;
                    }
                    None => self.imported.blocked += jids.len() as u64,
                }
            }
            Data::Message(message) => {
                let parts::Message { id, from, to, flags, stanza, body } = *message;
                user.rows_bytes += stanza.len();
                let mut row = MessageRow::new(id, from, to, flags, stanza);
                row.text = body.filter(|_| user.host.archive.search).map(Into::into);
                user.rows.push(row);
                if user.rows.len() >= ROWS_MAX || user.rows_bytes >= ROWS_BYTES_MAX {
                    flush(self.cx, user, &mut self.imported).await?;
                }
            }
            Data::Pep(nodes) => self.imported.leave_out("PEP nodes", nodes),
            Data::Unknown(ns) => self.imported.leave_out(&ns, 1),
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Refusal> {
        let Some(mut user) = self.current.take() else { return Ok(()) };
        if user.skipped {
            return Ok(());
        }
        flush(self.cx, &mut user, &mut self.imported).await?;
        if user.keys.is_empty() && user.password.is_none() {
            self.imported.without_password += 1;
        }
        let weak = !user.keys.is_empty() && user.keys.iter().all(|row| row.hash == "SHA-1");
        self.imported.sha_1_only += u64::from(weak && user.password.is_none());
        let Some(_) = user.account else { return Ok(()) };
        if let Some(password) = user.password.take() {
            // The password says more than keys that were made of it.
            user.keys = derive(&user.host, password).await?;
        }
        if !user.keys.is_empty() {
            self.cx.store().accounts().set_keys(&user.jid, user.keys).await?;
        }
        tracing::debug!(jid = %user.jid, at = %user.at, "imported");
        groups::joined(&self.cx.router(), &user.jid, self.now).await?;
        Ok(())
    }
}

async fn put_contacts(
    cx: &Context,
    account: Option<AccountId>,
    entries: Vec<(BareJid, RosterEntry)>,
    now: Now,
) -> Result<(), Refusal> {
    let Some(account) = account else { return Ok(()) };
    let limits = RosterLimits { items_max: CONTACTS_MAX, requests_max: CONTACTS_MAX };
    Ok(cx.store().portable().put_contacts(account, entries, limits, now).await?)
}

async fn flush(cx: &Context, user: &mut User, imported: &mut Imported) -> Result<(), Refusal> {
    user.rows_bytes = 0;
    let rows = std::mem::take(&mut user.rows);
    let (waiting, archived): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.flags.has(crate::store::MessageFlags::OFFLINE));
    for (rows, count) in [(archived, &mut imported.archived), (waiting, &mut imported.waiting)] {
        *count += match user.account {
            Some(_) if !rows.is_empty() => cx.store().portable().put(rows).await?,
            _ => rows.len() as u64,
        };
    }
    Ok(())
}

async fn derive(host: &HostConfig, password: Password) -> Result<Vec<ScramRow>, Refusal> {
    let hashes: Vec<Hash> = host.mechanisms.iter().filter_map(hash).collect();
    let hashes = if hashes.is_empty() { vec![Hash::Sha256] } else { hashes };
    let iterations = host.scram_iterations;
    let derived = tokio::task::spawn_blocking(move || {
        Credentials::derive(&password, &hashes, iterations).iter().map(scram_row).collect()
    });
    derived.await.map_err(|error| Refusal::bug(&error))
}

fn hash(mechanism: &Mechanism) -> Option<Hash> {
    match mechanism {
        Mechanism::ScramSha512 => Some(Hash::Sha512),
        Mechanism::ScramSha256 => Some(Hash::Sha256),
        Mechanism::ScramSha1 => Some(Hash::Sha1),
        Mechanism::Plain => None,
    }
}
