//! Shared roster groups: who is in them, and whose rosters show them.
//!
//! All of them are in memory as one immutable [`SharedGroups`], swapped right after the commit that
//! changed it, so the pipelines ask it without waiting. A group *displays* groups: its members see
//! theirs. Who sees somebody has the subscription `to`; who is seen, `from`; both ways, `both`.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rusqlite::{Connection, OptionalExtension, params};

use super::rosters::Subscription;
use super::writer::Tx;
use super::{AccountId, Store, StoreError, accounts};
use crate::jid::BareJid;

/// Groups of one host.
const GROUPS_MAX: usize = 1_000;
/// Members of one group by name; `@all@` may stand for more.
pub const MEMBERS_MAX: usize = 10_000;
/// Groups that one group displays.
const DISPLAYED_MAX: usize = 100;
/// Bytes of a group's name and of its label.
const NAME_BYTES_MAX: usize = 1_023;
/// Bytes of a group's description.
const DESCRIPTION_BYTES_MAX: usize = 4_096;

/// What names a group: each host has its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName {
    pub host: String,
    /// In lower case, without `@`.
    pub name: String,
}

impl GroupName {
    /// Reads `name` or `name@host`; without one, the host is `host`.
    pub fn parse(text: &str, host: &str) -> Result<GroupName, GroupError> {
        let (name, host) = text.split_once('@').unwrap_or((text, host));
        let name = name.trim().to_lowercase();
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.chars().any(char::is_control)
            || host.contains('@')
        {
            return Err(GroupError::Name(text.to_owned()));
        }
        Ok(GroupName { host: host.to_lowercase(), name })
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.host)
    }
}

/// A member as operators name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// Every account of the group's host: `@all@`.
    Everyone,
    /// Every account of the group's host that is online: `@online@`.
    Online,
    Account(BareJid),
}

/// Why a group was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    #[error("{0:?} is no name of a group: it has 1 to 1023 bytes and no @ but before its host")]
    Name(String),
    #[error("the label of a group has at most 1023 bytes, its description 4096")]
    TooLong,
    #[error("the group {0} exists already")]
    Exists(GroupName),
    #[error("there is no group {0}")]
    NoSuchGroup(GroupName),
    #[error("there is no account {0}")]
    NoSuchAccount(BareJid),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A group at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    id: i64,
    pub name: GroupName,
    /// What rosters call it; the name where it is empty.
    pub label: String,
    pub description: String,
    /// `@all@` is a member.
    pub everyone: bool,
    /// `@online@` is a member.
    pub online: bool,
    /// Members by name, sorted.
    pub members: Box<[BareJid]>,
    displayed: Box<[i64]>,
}

impl Group {
    /// As rosters call it.
    pub fn label(&self) -> &str {
        if self.label.is_empty() { &self.name.name } else { &self.label }
    }

    /// May every account of its host be in it?
    pub fn is_wide(&self) -> bool {
        self.everyone || self.online
    }

    /// Counts an account that is offline as a member by `@online@`: it sends nothing.
    pub fn contains(&self, bare: &str) -> bool {
        self.is_wide() && bare.split_once('@').is_some_and(|(_, host)| host == self.name.host)
            || self.members.binary_search_by(|member| member.as_str().cmp(bare)).is_ok()
    }

    /// The same for rosters, which show members by `@online@` while they are.
    pub fn shows(&self, member: &BareJid, online: impl Fn() -> bool) -> bool {
        let at_home = member.local().is_some() && member.domain() == self.name.host;
        at_home && (self.everyone || self.online && online())
            || self.members.binary_search(member).is_ok()
    }
}

/// All groups at a moment, by host and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedGroups {
    groups: Vec<Arc<Group>>,
    /// Place in `groups` by the group's number.
    places: HashMap<i64, usize>,
}

impl SharedGroups {
    fn new(mut groups: Vec<Arc<Group>>) -> SharedGroups {
        groups.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let places = groups.iter().enumerate().map(|(at, group)| (group.id, at)).collect();
        SharedGroups { groups, places }
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Sorted by host and name.
    pub fn all(&self) -> &[Arc<Group>] {
        &self.groups
    }

    pub fn find(&self, host: &str, name: &str) -> Option<&Arc<Group>> {
        let key = |group: &Arc<Group>| {
            (group.name.host.as_str(), group.name.name.as_str()).cmp(&(host, name))
        };
        self.groups.binary_search_by(key).ok().map(|at| &self.groups[at])
    }

    /// Is `member` in the group `group` of `host`? `group` may be `name@host`, too. Whoever has an
    /// account on the host counts as a member by `@online@`.
    pub fn contains(&self, host: &str, group: &str, member: &BareJid) -> bool {
        if self.groups.is_empty() {
            return false;
        }
        let (name, host) = group.split_once('@').unwrap_or((group, host));
        let found = self.find(host, name).or_else(|| self.find(host, &name.to_lowercase()));
        found.is_some_and(|group| group.contains(member.as_str()))
    }

    /// The groups that `group` displays.
    pub fn displayed<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Arc<Group>> {
        group.displayed.iter().filter_map(|id| self.places.get(id)).map(|at| &self.groups[*at])
    }

    /// What the groups mean for one account; `None` if nothing.
    pub fn view(self: &Arc<Self>, owner: &BareJid) -> Option<Shared> {
        if self.groups.is_empty() {
            return None;
        }
        let mut seen = BTreeSet::new();
        let mut seen_by = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            if group.contains(owner.as_str()) {
                seen.extend(group.displayed.iter().filter_map(|id| self.places.get(id)).copied());
            }
            if self.displayed(group).any(|shown| shown.contains(owner.as_str())) {
                seen_by.push(at);
            }
        }
        if seen.is_empty() && seen_by.is_empty() {
            return None;
        }
        let groups = Arc::clone(self);
        Some(Shared {
            groups,
            owner: owner.clone(),
            seen: seen.into_iter().collect(),
            seen_by: seen_by.into(),
        })
    }
}

/// The shared groups as one account is concerned by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    groups: Arc<SharedGroups>,
    owner: BareJid,
    /// Places of the groups whose members the owner sees.
    seen: Box<[usize]>,
    /// Places of the groups whose members see the owner.
    seen_by: Box<[usize]>,
}

impl Shared {
    pub fn owner(&self) -> &BareJid {
        &self.owner
    }

    /// Groups whose members the owner sees.
    pub fn seen(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.seen.iter().map(|at| &self.groups.groups[*at])
    }

    /// Groups whose members see the owner.
    pub fn seen_by(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.seen_by.iter().map(|at| &self.groups.groups[*at])
    }

    /// What the groups make the owner and `other` to each other.
    pub fn subscription(&self, other: &str) -> Subscription {
        if other == self.owner.as_str() {
            return Subscription::None;
        }
        Subscription::new(
            self.seen().any(|group| group.contains(other)),
            self.seen_by().any(|group| group.contains(other)),
        )
    }

    /// The labels under which the owner sees `other`.
    pub fn labels<'a>(&'a self, other: &'a str) -> impl Iterator<Item = &'a str> {
        self.seen().filter(move |group| group.contains(other)).map(|group| group.label())
    }

    /// Does it say the same as `other`, be it of another moment?
    pub fn says_as(&self, other: &Shared) -> bool {
        self.owner == other.owner
            && self.seen().eq(other.seen())
            && self.seen_by().eq(other.seen_by())
    }
}

/// A group to be made.
#[derive(Clone, Debug)]
pub struct NewGroup {
    pub name: GroupName,
    pub label: String,
    pub description: String,
    pub displayed: Vec<GroupName>,
}

/// See [`Store::groups`].
pub struct Groups<'a>(pub(super) &'a Store);

impl Store {
    pub fn groups(&self) -> Groups<'_> {
        Groups(self)
    }
}

impl Groups<'_> {
    /// All groups as of the last change.
    pub fn snapshot(&self) -> Arc<SharedGroups> {
        self.0.shared_groups.load_full()
    }

    /// Is there no group at all? For the hot path.
    pub fn is_empty(&self) -> bool {
        self.0.shared_groups.load().is_empty()
    }

    /// Is `@online@` a member of any group?
    pub fn follow_presence(&self) -> bool {
        self.0.shared_groups.load().groups.iter().any(|group| group.online)
    }

    /// Does `@all@` or `@online@` make the accounts of a host members of any group?
    pub fn are_wide(&self, host: &str) -> bool {
        let groups = self.0.shared_groups.load();
        groups.groups.iter().any(|group| group.is_wide() && group.name.host == host)
    }

    /// The accounts of a host by name, at most `max` of them: the members by `@all@`.
    pub async fn accounts(&self, host: &str, max: usize) -> Result<Vec<BareJid>, StoreError> {
        let host = host.to_owned();
        self.0
            .read(move |reader| {
                let mut rows = reader.conn.prepare_cached(
                    "SELECT jid FROM accounts JOIN addresses USING (id)
                     WHERE host = ?1 AND NOT erasing ORDER BY name LIMIT ?2",
                )?;
                let mut rows = rows.query(params![host, max])?;
                let mut accounts = Vec::new();
                while let Some(row) = rows.next()? {
                    accounts.extend(BareJid::parse(row.get_ref(0)?.as_str().unwrap_or_default()));
                }
                Ok(accounts)
            })
            .await
    }

    /// Makes a group. With `replace`, one of that name keeps its members and gets the rest anew.
    pub async fn create(&self, group: NewGroup, replace: bool) -> Result<(), GroupError> {
        check_texts(&group.label, &group.description)?;
        self.edit(move |tx| {
            let name = &group.name;
            let known = find(tx, name)?;
            if known.is_some() && !replace {
                return Ok(Err(GroupError::Exists(name.clone())));
            }
            let count: usize = tx
                .prepare_cached("SELECT count(*) FROM shared_groups WHERE host = ?1")?
                .query_row([&name.host], |row| row.get(0))?;
            if known.is_none() && count >= GROUPS_MAX {
                return Err(StoreError::TooMany { what: "groups of a host", max: GROUPS_MAX });
            }
            // A group may display itself from the start.
            let others = group.displayed.iter().filter(|shown| *shown != name);
            if let Err(fault) = find_all(tx, others)? {
                return Ok(Err(fault));
            }
            let id: i64 = tx
                .prepare_cached(
                    "INSERT INTO shared_groups (host, name, label, description, everyone, online)
                     VALUES (?1, ?2, ?3, ?4, 0, 0)
                     ON CONFLICT (host, name) DO UPDATE SET label = ?3, description = ?4
                     RETURNING id",
                )?
                .query_row(
                    params![name.host, name.name, group.label, group.description],
                    |row| row.get(0),
                )?;
            put_displayed(tx, id, &group.displayed)
        })
        .await
    }

    pub async fn delete(&self, name: &GroupName) -> Result<(), GroupError> {
        let name = name.clone();
        self.edit(move |tx| {
            let Some(id) = find(tx, &name)? else {
                return Ok(Err(GroupError::NoSuchGroup(name)));
            };
            for sql in [
                "DELETE FROM shared_group_members WHERE shared_group = ?1",
                "DELETE FROM shared_group_displayed WHERE shared_group = ?1",
                "DELETE FROM shared_groups WHERE id = ?1",
            ] {
                tx.prepare_cached(sql)?.execute([id])?;
            }
            let showing = returned(
                tx,
                "DELETE FROM shared_group_displayed WHERE displayed = ?1 RETURNING shared_group",
                id,
            )?;
            showing.into_iter().chain([id]).for_each(|id| tx.regroup(id));
            Ok(Ok(()))
        })
        .await
    }

    /// Sets label and description; `None` leaves one as it is.
    pub async fn describe(
        &self,
        name: &GroupName,
        label: Option<String>,
        description: Option<String>,
    ) -> Result<(), GroupError> {
        check_texts(
            label.as_deref().unwrap_or_default(),
            description.as_deref().unwrap_or_default(),
        )?;
        let name = name.clone();
        self.edit(move |tx| {
            let Some(id) = find(tx, &name)? else {
                return Ok(Err(GroupError::NoSuchGroup(name)));
            };
            tx.prepare_cached(
                "UPDATE shared_groups SET label = coalesce(?2, label),
                 description = coalesce(?3, description) WHERE id = ?1",
            )?
            .execute(params![id, label, description])?;
            tx.regroup(id);
            Ok(Ok(()))
        })
        .await
    }

    /// Adds members, or takes them out; tells which of them that changed. With one unknown account
    /// among those to be added, nothing changes.
    pub async fn change_members(
        &self,
        name: &GroupName,
        members: Vec<Member>,
        add: bool,
    ) -> Result<Vec<Member>, GroupError> {
        let name = name.clone();
        self.edit(move |tx| {
            let Some(id) = find(tx, &name)? else {
                return Ok(Err(GroupError::NoSuchGroup(name)));
            };
            let mut accounts = Vec::with_capacity(members.len());
            for member in members {
                let account = match &member {
                    Member::Account(jid) => match accounts::id_of(tx, jid) {
                        Ok(account) => Some(account),
                        Err(StoreError::NoSuchAccount) if add => {
                            return Ok(Err(GroupError::NoSuchAccount(jid.clone())));
                        }
                        Err(StoreError::NoSuchAccount) => continue,
                        Err(error) => return Err(error),
                    },
                    Member::Everyone | Member::Online => None,
                };
                accounts.push((member, account));
            }
            let mut changed = Vec::new();
            for (member, account) in accounts {
                if put_member(tx, id, &member, account, add)? {
                    changed.push(member);
                }
            }
            let count: usize = tx
                .prepare_cached(
                    "SELECT count(*) FROM shared_group_members WHERE shared_group = ?1",
                )?
                .query_row([id], |row| row.get(0))?;
            if add && count > MEMBERS_MAX {
                return Err(StoreError::TooMany { what: "members of a group", max: MEMBERS_MAX });
            }
            if !changed.is_empty() {
                tx.regroup(id);
            }
            Ok(Ok(changed))
        })
        .await
    }

    /// Sets which groups the group displays.
    pub async fn set_displayed(
        &self,
        name: &GroupName,
        displayed: Vec<GroupName>,
    ) -> Result<(), GroupError> {
        let name = name.clone();
        self.edit(move |tx| {
            let Some(id) = find(tx, &name)? else {
                return Ok(Err(GroupError::NoSuchGroup(name)));
            };
            put_displayed(tx, id, &displayed)
        })
        .await
    }

    /// An inner error is found before anything is changed.
    async fn edit<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&mut Tx<'_>) -> Result<Result<T, GroupError>, StoreError> + Send + 'static,
    ) -> Result<T, GroupError> {
        self.0.write(edit).await?
    }
}

fn check_texts(label: &str, description: &str) -> Result<(), GroupError> {
    if label.len() > NAME_BYTES_MAX || description.len() > DESCRIPTION_BYTES_MAX {
        return Err(GroupError::TooLong);
    }
    Ok(())
}

fn find(conn: &Connection, name: &GroupName) -> Result<Option<i64>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT id FROM shared_groups WHERE host = ?1 AND name = ?2")?
        .query_row([&name.host, &name.name], |row| row.get(0))
        .optional()?)
}

fn find_all<'a>(
    conn: &Connection,
    names: impl IntoIterator<Item = &'a GroupName>,
) -> Result<Result<Vec<i64>, GroupError>, StoreError> {
    let mut ids = Vec::new();
    for name in names {
        match find(conn, name)? {
            Some(id) => ids.push(id),
            None => return Ok(Err(GroupError::NoSuchGroup(name.clone()))),
        }
    }
    Ok(Ok(ids))
}

fn put_displayed(
    tx: &mut Tx<'_>,
    id: i64,
    displayed: &[GroupName],
) -> Result<Result<(), GroupError>, StoreError> {
    if displayed.len() > DISPLAYED_MAX {
        return Err(StoreError::TooMany {
            what: "displayed groups of a group",
            max: DISPLAYED_MAX,
        });
    }
    let shown = match find_all(tx, displayed)? {
        Ok(shown) => shown,
        Err(fault) => return Ok(Err(fault)),
    };
    tx.prepare_cached("DELETE FROM shared_group_displayed WHERE shared_group = ?1")?
        .execute([id])?;
    for shown in shown {
        tx.prepare_cached(
            "INSERT OR IGNORE INTO shared_group_displayed (shared_group, displayed) VALUES (?1, ?2)",
        )?
        .execute([id, shown])?;
    }
    tx.regroup(id);
    Ok(Ok(()))
}

/// Tells whether that changed anything.
fn put_member(
    tx: &Tx<'_>,
    id: i64,
    member: &Member,
    account: Option<AccountId>,
    add: bool,
) -> Result<bool, StoreError> {
    let sql = match (member, add) {
        (Member::Everyone, _) => {
            "UPDATE shared_groups SET everyone = ?2 WHERE id = ?1 AND everyone <> ?2"
        }
        (Member::Online, _) => {
            "UPDATE shared_groups SET online = ?2 WHERE id = ?1 AND online <> ?2"
        }
        (Member::Account(_), true) => {
            "INSERT OR IGNORE INTO shared_group_members (shared_group, account) VALUES (?1, ?2)"
        }
        (Member::Account(_), false) => {
            "DELETE FROM shared_group_members WHERE shared_group = ?1 AND account = ?2"
        }
    };
    let value = account.map_or(i64::from(add), |account| account.0);
    Ok(tx.prepare_cached(sql)?.execute([id, value])? > 0)
}

fn returned(conn: &Connection, sql: &str, key: i64) -> Result<Vec<i64>, StoreError> {
    let mut rows = conn.prepare_cached(sql)?;
    let rows = rows.query_map([key], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Takes an account out of all groups: it is being erased.
pub(super) fn leave_all(tx: &mut Tx<'_>, account: AccountId) -> Result<(), StoreError> {
    let left = returned(
        tx,
        "DELETE FROM shared_group_members WHERE account = ?1 RETURNING shared_group",
        account.0,
    )?;
    left.into_iter().for_each(|id| tx.regroup(id));
    Ok(())
}

/// At start.
pub(super) fn load(conn: &Connection) -> Result<SharedGroups, StoreError> {
    let mut rows = conn.prepare("SELECT id FROM shared_groups")?;
    let ids = rows.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    let mut groups = Vec::new();
    for id in ids {
        groups.extend(load_one(conn, id)?.map(Arc::new));
    }
    Ok(SharedGroups::new(groups))
}

/// After a transaction that changed the groups `ids`, or wanted to: what is known is what the
/// database says.
pub(super) fn reload(
    conn: &Connection,
    known: &ArcSwap<SharedGroups>,
    ids: &[i64],
) -> Result<(), StoreError> {
    let mut groups = known.load().groups.clone();
    groups.retain(|group| !ids.contains(&group.id));
    for id in ids.iter().copied().collect::<BTreeSet<_>>() {
        groups.extend(load_one(conn, id)?.map(Arc::new));
    }
    known.store(Arc::new(SharedGroups::new(groups)));
    Ok(())
}

fn load_one(conn: &Connection, id: i64) -> Result<Option<Group>, StoreError> {
    let group = conn
        .prepare_cached(
            "SELECT host, name, label, description, everyone, online FROM shared_groups
             WHERE id = ?1",
        )?
        .query_row([id], |row| {
            Ok(Group {
                id,
                name: GroupName { host: row.get(0)?, name: row.get(1)? },
                label: row.get(2)?,
                description: row.get(3)?,
                everyone: row.get(4)?,
                online: row.get(5)?,
                members: Box::default(),
                displayed: Box::default(),
            })
        })
        .optional()?;
    let Some(mut group) = group else { return Ok(None) };
    let mut rows = conn.prepare_cached(
        "SELECT jid FROM shared_group_members JOIN addresses ON addresses.id = account
         WHERE shared_group = ?1",
    )?;
    let mut rows = rows.query([id])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        members.extend(BareJid::parse(row.get_ref(0)?.as_str().unwrap_or_default()));
    }
    members.sort_unstable();
    group.members = members.into();
    let mut rows = conn.prepare_cached(
        "SELECT displayed FROM shared_group_displayed WHERE shared_group = ?1 ORDER BY displayed",
    )?;
    group.displayed = rows.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(Some(group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{account, jid, open};

    fn name(text: &str) -> GroupName {
        GroupName::parse(text, "a").unwrap()
    }

    fn members(jids: &[&str]) -> Vec<Member> {
        jids.iter().map(|text| Member::Account(jid(text))).collect()
    }

    async fn group(store: &Store, text: &str, who: &[&str], shown: &[&str]) {
        let group = NewGroup {
            name: name(text),
            label: String::new(),
            description: String::new(),
            displayed: shown.iter().map(|text| name(text)).collect(),
        };
        store.groups().create(group, false).await.unwrap();
        store.groups().change_members(&name(text), members(who), true).await.unwrap();
    }

    fn between(store: &Store, a: &str, b: &str) -> &'static str {
        let view = store.groups().snapshot().view(&jid(a));
        view.map_or(Subscription::None, |view| view.subscription(b)).name()
    }

    #[tokio::test]
    async fn who_is_displayed_is_seen_and_both_ways_is_both() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        for name in ["boss@a", "ann@a", "ben@a", "sue@b"] {
            account(&store, name).await;
        }
        assert!(store.groups().is_empty());
        group(&store, "staff", &["ann@a", "ben@a"], &["staff"]).await;
        group(&store, "board", &["boss@a"], &["staff"]).await;
        group(&store, "guests@b", &["sue@b"], &["board@a"]).await;
        assert_eq!(between(&store, "ann@a", "ben@a"), "both");
        assert_eq!(between(&store, "boss@a", "ann@a"), "to");
        assert_eq!(between(&store, "ann@a", "boss@a"), "from");
        assert_eq!(between(&store, "ann@a", "ann@a"), "none");
        assert_eq!(between(&store, "sue@b", "boss@a"), "to");
        assert_eq!(between(&store, "sue@b", "ann@a"), "none");
        let groups = store.groups().snapshot();
        assert!(groups.contains("a", "staff", &jid("ann@a")));
        assert!(groups.contains("b", "Staff@a", &jid("ann@a")));
        assert!(!groups.contains("b", "staff", &jid("ann@a")));
        assert!(!groups.contains("a", "staff", &jid("boss@a")));
        let view = groups.view(&jid("ann@a")).unwrap();
        assert_eq!(view.labels("ben@a").collect::<Vec<_>>(), ["staff"]);
        // What was committed is there after a restart.
        drop(store);
        assert_eq!(*open(&dir).groups().snapshot(), *groups);
    }

    #[tokio::test]
    async fn the_special_members_stand_for_the_accounts_of_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        account(&store, "ann@a").await;
        group(&store, "all", &[], &["all"]).await;
        let (groups, all) = (store.groups(), name("all"));
        assert_eq!(between(&store, "ann@a", "ben@a"), "none");
        for special in [Member::Everyone, Member::Online] {
            let change = |add| groups.change_members(&all, vec![special.clone()], add);
            assert_eq!(change(true).await.unwrap(), vec![special.clone()]);
            assert_eq!(change(true).await.unwrap(), []);
            assert_eq!(between(&store, "ann@a", "ben@a"), "both");
            assert_eq!(between(&store, "ann@a", "ben@b"), "none");
            assert_eq!(change(false).await.unwrap(), vec![special.clone()]);
        }
    }

    #[tokio::test]
    async fn edits_are_whole_and_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        account(&store, "ann@a").await;
        group(&store, "g", &["ann@a"], &[]).await;
        let groups = store.groups();
        let new = |shown: &str| NewGroup {
            name: name("g"),
            label: "G".into(),
            description: String::new(),
            displayed: vec![name(shown)],
        };
        let error = groups.create(new("g"), false).await.unwrap_err();
        assert_eq!(error.to_string(), "the group g@a exists already");
        let error = groups.create(new("h"), true).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no group h@a");
        assert_eq!(groups.snapshot().find("a", "g").unwrap().label(), "g");
        groups.create(new("g"), true).await.unwrap();
        let found = groups.snapshot();
        assert_eq!(found.find("a", "g").unwrap().label(), "G");
        assert_eq!(found.find("a", "g").unwrap().members.len(), 1);
        let who = members(&["ann@a", "ghost@a"]);
        let error = groups.change_members(&name("g"), who, true).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no account ghost@a");
        let view = || groups.snapshot().view(&jid("ann@a")).unwrap();
        let before = view();
        assert!(view().says_as(&before));
        groups.describe(&name("g"), Some("H".into()), None).await.unwrap();
        assert!(!view().says_as(&before));
        groups.delete(&name("g")).await.unwrap();
        assert!(groups.is_empty());
        assert!(groups.delete(&name("g")).await.is_err());
        for bad in ["", " ", "@a", "a@b@c", "x\u{7}"] {
            assert!(GroupName::parse(bad, "a").is_err(), "{bad:?}");
        }
        assert_eq!(GroupName::parse("Staff@B", "a").unwrap().to_string(), "staff@b");
    }

    #[tokio::test]
    async fn who_is_removed_leaves_and_whoever_takes_the_name_is_no_member() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        account(&store, "ann@a").await;
        account(&store, "ben@a").await;
        group(&store, "g", &["ann@a", "ben@a"], &["g"]).await;
        let facts = store.facts(&jid("ben@a")).await.unwrap().unwrap();
        assert_eq!(facts.subscription("ann@a"), Subscription::Both);
        store.accounts().remove(&jid("ann@a")).await.unwrap();
        account(&store, "ann@a").await;
        assert_eq!(between(&store, "ben@a", "ann@a"), "none");
        let facts = store.facts(&jid("ben@a")).await.unwrap().unwrap();
        assert_eq!(facts.subscription("ann@a"), Subscription::None);
    }
}
