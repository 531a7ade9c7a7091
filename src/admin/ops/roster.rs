//! Rosters of accounts: their own items, and what shared groups put into them.

mod file;

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::config::HostConfig;
use crate::delivery::contacts;
use crate::features::roster::{self, GROUPS_MAX, NAME_BYTES_MAX, Removed};
use crate::jid::BareJid;
use crate::store::Facts;
use crate::store::rosters::{RosterItem, Subscription};
use crate::time::Now;

/// Contacts in one page of an answer.
const PAGE_MAX: usize = 2_000;
/// Contacts that one request puts into one roster.
const PUSH_MAX: usize = 1_000;
/// Accounts that one request may make each other's contacts: 40,000 items.
const MUTUAL_MAX: usize = 200;
/// Items that one request finds, and perhaps removes.
const FOUND_MAX: usize = 5_000;
/// Accounts looked at in one go.
const ACCOUNTS_PAGE: usize = 500;
/// Bytes of a pattern, and of what it becomes.
const PATTERN_BYTES_MAX: usize = 4_096;
const PATTERN_COMPILED_MAX: usize = 1 << 20;

/// `subscription` in the words of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sees {
    #[default]
    None,
    /// The owner sees the contact.
    To,
    /// The contact sees the owner.
    From,
    Both,
}

impl From<Subscription> for Sees {
    fn from(subscription: Subscription) -> Sees {
        match subscription {
            Subscription::None => Sees::None,
            Subscription::To => Sees::To,
            Subscription::From => Sees::From,
            Subscription::Both => Sees::Both,
        }
    }
}

impl From<Sees> for Subscription {
    fn from(sees: Sees) -> Subscription {
        match sees {
            Sees::None => Subscription::None,
            Sees::To => Subscription::To,
            Sees::From => Subscription::From,
            Sees::Both => Subscription::Both,
        }
    }
}

/// A subscription request that waits for its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pending {
    #[default]
    None,
    /// The owner has asked the contact.
    Out,
    /// The contact has asked the owner.
    In,
    Both,
}

impl Pending {
    fn of(out: bool, incoming: bool) -> Pending {
        match (out, incoming) {
            (false, false) => Pending::None,
            (true, false) => Pending::Out,
            (false, true) => Pending::In,
            (true, true) => Pending::Both,
        }
    }
}

/// One contact of a roster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    pub jid: String,
    pub name: String,
    pub groups: Vec<String>,
    pub subscription: Sees,
    pub pending: Pending,
}

/// Shows a roster as its owner's clients see it, and the requests that wait.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Get {
    pub jid: String,
    /// The last contact of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// All on one page, however many.
    #[serde(default)]
    pub whole: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contacts {
    pub contacts: Vec<Contact>,
    /// There are more: pass it as `after`.
    pub next: Option<String>,
    /// All of them, on this page or another.
    pub count: usize,
}

impl Operation for Get {
    const NAME: &'static str = "roster.get";
    const SUMMARY: &'static str = "Show an account's contacts";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"contacts": [{"jid": "bob@example.org", "name": "Bob", "groups": ["Friends"],
            "subscription": "both", "pending": "none"}], "next": null, "count": 1}"#,
    };
    type Output = Contacts;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Contacts, Refusal> {
        let (jid, _) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        let mut all = roster::whole(&cx.router(), &jid, row.id).await?.items;
        let requests = cx.store().rosters().requests(row.id).await?;
        let requests: BTreeSet<_> = requests.into_iter().map(|(jid, _)| jid).collect();
        let strangers =
            requests.iter().filter(|jid| all.binary_search_by(|item| item.jid.cmp(jid)).is_err());
        let strangers: Vec<_> = strangers.map(|jid| RosterItem::new(jid.clone())).collect();
        all.extend(strangers);
        all.sort_unstable_by(|a, b| a.jid.cmp(&b.jid));
        let count = all.len();
        let after = self.after.as_deref().unwrap_or_default();
        let mut rest = all.into_iter().filter(|item| item.jid.as_str() > after);
        let max = if self.whole { usize::MAX } else { PAGE_MAX };
        let shown = rest.by_ref().take(max).map(|item| Contact {
            pending: Pending::of(item.ask, requests.contains(&item.jid)),
            subscription: item.subscription.into(),
            name: item.name.unwrap_or_default(),
            groups: item.groups,
            jid: item.jid.to_string(),
        });
        let contacts: Vec<Contact> = shown.collect();
        let next = rest.next().and_then(|_| contacts.last().map(|contact| contact.jid.clone()));
        Ok(Contacts { contacts, next, count })
    }
}

/// The account, its host and what the pipelines know of it.
async fn owner(cx: &Context, jid: &str) -> Result<(Arc<HostConfig>, Arc<Facts>), Refusal> {
    let (jid, host) = account::account(cx, jid)?;
    account::existing(cx, &jid).await?;
    let facts = cx.store().facts(&jid).await?;
    let facts = facts.ok_or_else(|| Refusal::not_found(format!("there is no account {jid}")))?;
    Ok((host, facts))
}

fn contact(jid: &str) -> Result<BareJid, Refusal> {
    BareJid::parse(jid).map_err(|error| {
        Refusal::usage(format!("{jid:?} is not the address of a contact: {error}"))
    })
}

fn item(
    jid: &str,
    name: &str,
    groups: &[String],
    subscription: Sees,
) -> Result<RosterItem, Refusal> {
    let long = |text: &str| text.len() > NAME_BYTES_MAX;
    if long(name) {
        return Err(Refusal::usage(format!("name: more than {NAME_BYTES_MAX} bytes")));
    }
    if groups.len() > GROUPS_MAX || groups.iter().any(|group| group.is_empty() || long(group)) {
        return Err(Refusal::usage(format!(
            "groups: at most {GROUPS_MAX}, each of 1 to {NAME_BYTES_MAX} bytes"
        )));
    }
    let mut groups = groups.to_vec();
    groups.dedup();
    Ok(RosterItem {
        name: (!name.is_empty()).then(|| name.to_owned()),
        groups,
        subscription: subscription.into(),
        ..RosterItem::new(contact(jid)?)
    })
}

/// Puts a contact into a roster.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Add {
    pub jid: String,
    pub contact: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default)]
    pub subscription: Sees,
    /// Put the account into the contact's roster as well, if that is an account here.
    #[serde(default)]
    pub mutual: bool,
}

/// What became of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// Items that were written or removed.
    pub items: usize,
}

impl Operation for Add {
    const NAME: &'static str = "roster.add";
    const SUMMARY: &'static str = "Put a contact into an account's roster";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "contact": "bob@example.org", "name": "Bob",
            "groups": ["Friends"], "subscription": "both"}"#,
        output: r#"{"items": 1}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone()
    }

    fn host(&self) -> Option<String> {
        let domain = |jid: &str| BareJid::parse(jid).ok().map(|jid| jid.domain().to_owned());
        let own = domain(&self.jid);
        if self.mutual && domain(&self.contact) != own { None } else { own }
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (host, facts) = owner(cx, &self.jid).await?;
        let item = item(&self.contact, &self.name, &self.groups, self.subscription)?;
        if item.jid == facts.jid {
            return Err(Refusal::usage("nobody is their own contact"));
        }
        let (router, now) = (cx.router(), Now::read());
        let back = match self.mutual {
            true => Some(owner(cx, &self.contact).await?),
            false => None,
        };
        let subscription = item.subscription;
        if let Some((host, theirs)) = &back {
            let subscription = Subscription::new(subscription.from(), subscription.to());
            let known = cx.store().rosters().item(theirs.id, &facts.jid).await?.item;
            let known = known.unwrap_or_else(|| RosterItem::new(facts.jid.clone()));
            contacts::put(&router, host, theirs, RosterItem { subscription, ..known }, now).await?;
        }
        contacts::put(&router, &host, &facts, item, now).await?;
        Ok(Done { items: 1 + usize::from(back.is_some()) })
    }
}

/// Takes a contact out of a roster; subscriptions between the two end.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    pub jid: String,
    pub contact: String,
}

impl Operation for Remove {
    const NAME: &'static str = "roster.remove";
    const SUMMARY: &'static str = "Take a contact out of an account's roster";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "contact": "bob@example.org"}"#,
        output: r#"{"items": 1}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (host, facts) = owner(cx, &self.jid).await?;
        let contact = contact(&self.contact)?;
        match contacts::remove(&cx.router(), &host, &facts, &contact, Now::read()).await? {
            Removed::Gone => Ok(Done { items: 1 }),
            Removed::NotThere => {
                Err(Refusal::not_found(format!("{contact} is not in the roster of {}", facts.jid)))
            }
            Removed::Shared => {
                let text = format!("{contact} is in the roster of {} by a shared group", facts.jid);
                Err(Refusal::new(RefusalKind::Conflict, text)
                    .help("take one of them out of the group: see `coucou group list`"))
            }
        }
    }
}

/// A contact to be put into rosters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub jid: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub groups: Vec<String>,
}

/// Puts a list of contacts into one roster, or into the rosters of each other.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// Whose roster gets them; if it is left out, each of them gets all the others.
    #[serde(default)]
    pub jid: Option<String>,
    /// With subscription `both`; in rosters of accounts here, so they see each other once both
    /// have it.
    #[serde(default)]
    pub contacts: Vec<Wanted>,
    /// In the place of `contacts`: a file on the server, of ejabberd's form
    /// `[{"user", "host", "group", "name"}, …].`
    #[serde(default)]
    pub file: Option<String>,
    /// In the place of `contacts`: all accounts of this host, for each other.
    #[serde(default)]
    pub everyone_of: Option<String>,
    /// The group for them, with `everyone_of`.
    #[serde(default)]
    pub group: Option<String>,
}

impl Operation for Push {
    const NAME: &'static str = "roster.push";
    const SUMMARY: &'static str = "Put a list of contacts into a roster, or into each other's";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org",
            "contacts": [{"jid": "bob@example.org", "name": "Bob", "groups": ["Workers"]}]}"#,
        output: r#"{"items": 1}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone().or_else(|| self.everyone_of.clone()).unwrap_or_default()
    }

    fn host(&self) -> Option<String> {
        match (&self.jid, &self.everyone_of, &self.file) {
            (Some(jid), None, None) => BareJid::parse(jid).ok().map(|jid| jid.domain().to_owned()),
            (None, Some(host), None) => Some(host.clone()),
            _ => None,
        }
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (router, now) = (cx.router(), Now::read());
        let contacts = match (&self.everyone_of, &self.file) {
            (Some(_), Some(_)) => {
                return Err(Refusal::usage("everyone_of and file exclude each other"));
            }
            (Some(host), None) => everyone(cx, host, self.group.as_deref()).await?,
            (None, Some(file)) => file::read_file(file)?,
            (None, None) => self.contacts,
        };
        let items = contacts
            .iter()
            .map(|wanted| item(&wanted.jid, &wanted.name, &wanted.groups, Sees::Both))
            .collect::<Result<Vec<_>, _>>()?;
        if items.len() > PUSH_MAX {
            return Err(Refusal::usage(format!("contacts: more than {PUSH_MAX} at once")));
        }
        let owners = match &self.jid {
            Some(jid) => vec![owner(cx, jid).await?],
            None if items.len() > MUTUAL_MAX => {
                return Err(Refusal::usage(format!(
                    "more than {MUTUAL_MAX} accounts would become each other's contacts"
                ))
                .help("a shared group does it for any number: `coucou group create …`"));
            }
            None => {
                let mut owners = Vec::new();
                for item in &items {
                    owners.push(owner(cx, item.jid.as_str()).await?);
                }
                owners
            }
        };
        let mut done = 0;
        for (host, facts) in &owners {
            for item in items.iter().filter(|item| item.jid != facts.jid) {
                contacts::put(&router, host, facts, item.clone(), now).await?;
                done += 1;
            }
        }
        Ok(Done { items: done })
    }
}

async fn everyone(cx: &Context, host: &str, group: Option<&str>) -> Result<Vec<Wanted>, Refusal> {
    let host = account::hosts(cx, host)?.remove(0);
    let accounts = cx.store().groups().accounts(&host.domain, MUTUAL_MAX + 1).await?;
    let groups: Vec<String> = group.map(str::to_owned).into_iter().collect();
    let wanted = accounts.iter().map(|jid| Wanted {
        jid: jid.to_string(),
        name: jid.local().unwrap_or_default().to_owned(),
        groups: groups.clone(),
    });
    Ok(wanted.collect())
}

/// Finds roster items by what they are and by patterns, and removes them if it is told to.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Only these; all if it is empty.
    pub subscriptions: Vec<Sees>,
    pub pending: Vec<Pending>,
    /// Patterns of owners, such as `*@example.org`; one must fit. `*` stands for any text, `?` for
    /// one character, `[ab]` for one of them, `[!ab]` for one that is none of them.
    pub users: Vec<String>,
    /// The same of contacts.
    pub contacts: Vec<String>,
    /// Remove what was found. Without it nothing changes.
    pub delete: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    pub items: Vec<Pair>,
    /// There are more; run it again, or make the patterns narrower.
    pub more: bool,
    /// Whether they were removed.
    pub deleted: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pair {
    pub user: String,
    pub contact: String,
}

impl Operation for Process {
    const NAME: &'static str = "roster.process";
    const SUMMARY: &'static str = "Find roster items by patterns, and remove them if told to";
    const CLASS: Class = Class::Destructive;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"subscriptions": ["none"], "users": ["*@example.org"], "contacts": ["*@icq.example.org"]}"#,
        output: r#"{"items": [{"user": "anna@example.org", "contact": "7@icq.example.org"}],
            "more": false, "deleted": false}"#,
    };
    type Output = Found;

    fn class(&self) -> Class {
        if self.delete { Class::Destructive } else { Class::Safe }
    }

    async fn run(self, cx: &Context) -> Result<Found, Refusal> {
        let users = Patterns::new("users", &self.users)?;
        let contacts = Patterns::new("contacts", &self.contacts)?;
        let mut found = Found { deleted: self.delete, ..Found::default() };
        for host in cx.config().hosts.iter().filter(|host| !host.is_guest()) {
            let mut after: Option<String> = None;
            loop {
                let accounts = cx.store().accounts();
                let page = accounts.list(&host.domain, "", after.as_deref(), ACCOUNTS_PAGE).await?;
                for account in page.iter().filter(|account| users.fit(account.jid.as_str())) {
                    let Some(facts) = cx.store().facts(&account.jid).await? else { continue };
                    for (contact, entry) in cx.store().rosters().entries(facts.id).await? {
                        let item = entry.item.as_ref();
                        let subscription =
                            item.map(|item| item.subscription).unwrap_or_default().into();
                        let pending =
                            Pending::of(item.is_some_and(|item| item.ask), entry.request.is_some());
                        let any = self.subscriptions.is_empty()
                            || self.subscriptions.contains(&subscription);
                        let asks = self.pending.is_empty() || self.pending.contains(&pending);
                        if !any || !asks || !contacts.fit(contact.as_str()) {
                            continue;
                        }
                        if found.items.len() == FOUND_MAX {
                            found.more = true;
                            return Ok(found);
                        }
                        if self.delete {
                            delete(cx, host, &facts, &contact, item.is_some()).await?;
                        }
                        let (user, contact) = (account.jid.to_string(), contact.to_string());
                        found.items.push(Pair { user, contact });
                    }
                }
                if page.len() < ACCOUNTS_PAGE {
                    break;
                }
                after = page.last().and_then(|account| account.jid.local()).map(str::to_owned);
            }
        }
        Ok(found)
    }
}

/// An item goes as if its owner removed it; a request alone is dropped without a word.
async fn delete(
    cx: &Context,
    host: &HostConfig,
    owner: &Facts,
    contact: &BareJid,
    item: bool,
) -> Result<(), Refusal> {
    let now = Now::read();
    if item {
        contacts::remove(&cx.router(), host, owner, contact, now).await?;
    }
    let rosters = cx.store().rosters();
    rosters
        .edit(owner.id, contact, roster::limits(&cx.router(), host, &owner.jid), now, |entry| {
            entry.request = None
        })
        .await?;
    Ok(())
}

/// Shell patterns, of which one must fit; none fit everything.
struct Patterns(Vec<Regex>);

impl Patterns {
    fn new(argument: &str, patterns: &[String]) -> Result<Patterns, Refusal> {
        if patterns.len() > 100 {
            return Err(Refusal::usage(format!("{argument}: more than 100 patterns")));
        }
        let compiled = patterns.iter().map(|pattern| {
            let fault = |why: &str| Refusal::usage(format!("{argument}: {pattern:?} {why}"));
            if pattern.len() > PATTERN_BYTES_MAX {
                return Err(fault("is too long"));
            }
            let text = regex_of(pattern).ok_or_else(|| fault("has a [ without its ]"))?;
            RegexBuilder::new(&text)
                .size_limit(PATTERN_COMPILED_MAX)
                .build()
                .map_err(|_| fault("is no pattern"))
        });
        Ok(Patterns(compiled.collect::<Result<_, _>>()?))
    }

    fn fit(&self, text: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.is_match(text))
    }
}

/// The regular expression for a shell pattern.
fn regex_of(pattern: &str) -> Option<String> {
    let mut text = String::from("^(?s:");
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            '[' => {
                let (set, after) = rest.as_str().split_once(']')?;
                let (not, set) = match set.strip_prefix('!') {
                    Some(set) => ("^", set),
                    None => ("", set),
                };
                text.push('[');
                text.push_str(not);
                for c in set.chars() {
                    // A range keeps its hyphen.
                    match c {
                        '-' => text.push('-'),
                        c => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
                    }
                }
                text.push(']');
                rest = after.chars();
            }
            c => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    text.push_str(")$");
    Some(text)
}

#[cfg(test)]
mod tests;
