//! Rooms (XEP-0045): their settings, subject and affiliations. What is said in them is in the
//! archive of their id.

use rusqlite::{OptionalExtension, params};

use super::archive::retention;
use super::writer::Tx;
use super::{AccountId, Store, StoreError};
use crate::jid::BareJid;
use crate::time::Now;

/// A room as it is stored. Config and subject are opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// Owner of its archive.
    pub id: AccountId,
    pub jid: BareJid,
    pub created: Now,
    pub settings: Settings,
    pub subject: Option<String>,
    pub salt: [u8; 16],
    pub ties: Vec<TieRow>,
}

/// What is written whenever the settings change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// JSON.
    pub config: String,
    /// For lists.
    pub title: String,
    pub public: bool,
}

/// An affiliation, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TieRow {
    pub jid: BareJid,
    pub affiliation: String,
    pub nick: Option<String>,
    pub reason: String,
}

/// A room in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub jid: BareJid,
    pub title: String,
    pub public: bool,
    pub created: Now,
    pub used: Now,
}

/// See [`Store::rooms`].
pub struct Rooms<'a>(pub(super) &'a Store);

impl Store {
    pub fn rooms(&self) -> Rooms<'_> {
        Rooms(self)
    }
}

impl Rooms<'_> {
    /// The room of that address, with all of its ties.
    pub async fn load(&self, jid: &BareJid) -> Result<Option<RoomRow>, StoreError> {
        let jid = jid.clone();
        self.0
            .read(move |reader| {
                let conn = &reader.conn;
                let row = conn
                    .prepare_cached(
                        "SELECT rooms.id, created, config, title, public, subject, salt
                         FROM rooms JOIN addresses USING (id) WHERE jid = ?1 AND NOT erasing",
                    )?
                    .query_row([jid.as_str()], |row| {
                        Ok(RoomRow {
                            id: AccountId(row.get(0)?),
                            jid: jid.clone(),
                            created: Now(row.get(1)?),
                            settings: Settings {
                                config: row.get(2)?,
                                title: row.get(3)?,
                                public: row.get(4)?,
                            },
                            subject: row.get(5)?,
                            salt: row.get(6)?,
                            ties: Vec::new(),
                        })
                    })
                    .optional()?;
                let Some(mut row) = row else { return Ok(None) };
                let mut ties = conn.prepare_cached(
                    "SELECT jid, affiliation, nick, reason FROM room_ties WHERE room = ?1",
                )?;
                let mut ties = ties.query([row.id.0])?;
                while let Some(tie) = ties.next()? {
                    row.ties.push(TieRow {
                        jid: BareJid::parse(tie.get_ref(0)?.as_str().unwrap_or_default())
                            .map_err(StoreError::bug)?,
                        affiliation: tie.get(1)?,
                        nick: tie.get(2)?,
                        reason: tie.get(3)?,
                    });
                }
                Ok(Some(row))
            })
            .await
    }

    /// Writes a whole room, new or not; tells its id. On disk when this returns.
    pub async fn save(
        &self,
        jid: &BareJid,
        settings: Settings,
        subject: Option<String>,
        salt: [u8; 16],
        ties: Vec<TieRow>,
        now: Now,
    ) -> Result<AccountId, StoreError> {
        let jid = jid.clone();
        self.0
            .write(move |tx| {
                let id = tx.address(&jid)?;
                let name = jid.local().ok_or_else(|| StoreError::bug("a room without a name"))?;
                tx.prepare_cached(
                    "INSERT INTO rooms (id, service, name, created, config, title, public, subject,
                                        salt, used)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?4)
                     ON CONFLICT (id) DO UPDATE SET config = ?5, title = ?6, public = ?7,
                         subject = ?8, salt = ?9, used = ?4, erasing = 0",
                )?
                .execute(params![
                    id,
                    jid.domain(),
                    name,
                    now.0,
                    settings.config,
                    settings.title,
                    settings.public,
                    subject,
                    salt
                ])?;
                tx.prepare_cached("DELETE FROM room_ties WHERE room = ?1")?.execute([id])?;
                ties.iter().try_for_each(|tie| put_tie(tx, id, tie))?;
                Ok(AccountId(id))
            })
            .await
    }

    pub async fn set_settings(&self, id: AccountId, settings: Settings) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached(
                    "UPDATE rooms SET config = ?2, title = ?3, public = ?4 WHERE id = ?1",
                )?
                .execute(params![
                    id.0,
                    settings.config,
                    settings.title,
                    settings.public
                ])?;
                Ok(())
            })
            .await
    }

    pub async fn set_subject(&self, id: AccountId, subject: String) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached("UPDATE rooms SET subject = ?2 WHERE id = ?1")?
                    .execute(params![id.0, subject])?;
                Ok(())
            })
            .await
    }

    /// `Err` is the address of somebody who has no tie any more.
    pub async fn set_tie(
        &self,
        id: AccountId,
        tie: Result<TieRow, BareJid>,
    ) -> Result<(), StoreError> {
        self.0
            .write(move |tx| match tie {
                Ok(tie) => put_tie(tx, id.0, &tie),
                Err(gone) => {
                    tx.prepare_cached("DELETE FROM room_ties WHERE room = ?1 AND jid = ?2")?
                        .execute(params![id.0, gone.as_str()])?;
                    Ok(())
                }
            })
            .await
    }

    /// Notes that somebody was there just now.
    pub async fn set_used(&self, id: AccountId, now: Now) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached("UPDATE rooms SET used = ?2 WHERE id = ?1")?
                    .execute(params![id.0, now.0])?;
                Ok(())
            })
            .await
    }

    /// Erases a room with its archive. What a crash interrupts is finished at the next start.
    pub async fn destroy(&self, id: AccountId) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached("UPDATE rooms SET erasing = 1 WHERE id = ?1")?.execute([id.0])?;
                tx.prepare_cached("DELETE FROM room_ties WHERE room = ?1")?.execute([id.0])?;
                retention::settle(tx)
            })
            .await?;
        while self.0.write(move |tx| erase_step(tx, id.0)).await? {}
        Ok(())
    }

    /// Rooms of a service by name, after the name `after`.
    pub async fn list(
        &self,
        service: &str,
        public_only: bool,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let (service, after) = (service.to_owned(), after.unwrap_or_default().to_owned());
        self.0
            .read(move |reader| {
                let mut rows = reader.conn.prepare_cached(
                    "SELECT jid, title, public, created, used FROM rooms JOIN addresses USING (id)
                     WHERE service = ?1 AND name > ?2 AND (public OR NOT ?3) AND NOT erasing
                     ORDER BY name LIMIT ?4",
                )?;
                let mut rows = rows.query(params![service, after, public_only, max])?;
                let mut listed = Vec::new();
                while let Some(row) = rows.next()? {
                    listed.push(Listed {
                        jid: BareJid::parse(row.get_ref(0)?.as_str().unwrap_or_default())
                            .map_err(StoreError::bug)?,
                        title: row.get(1)?,
                        public: row.get(2)?,
                        created: Now(row.get(3)?),
                        used: Now(row.get(4)?),
                    });
                }
                Ok(listed)
            })
            .await
    }

    pub async fn count(&self, service: &str, public_only: bool) -> Result<u64, StoreError> {
        let service = service.to_owned();
        self.0
            .read(move |reader| {
                Ok(reader
                    .conn
                    .prepare_cached(
                        "SELECT count(*) FROM rooms
                         WHERE service = ?1 AND (public OR NOT ?2) AND NOT erasing",
                    )?
                    .query_row(params![service, public_only], |row| row.get(0))?)
            })
            .await
    }

    /// How many rooms of a service somebody owns.
    pub async fn owned_by(&self, service: &str, owner: &BareJid) -> Result<u64, StoreError> {
        let (service, owner) = (service.to_owned(), owner.clone());
        self.0
            .read(move |reader| {
                Ok(reader
                    .conn
                    .prepare_cached(
                        "SELECT count(*) FROM room_ties JOIN rooms ON rooms.id = room
                         WHERE room_ties.jid = ?1 AND affiliation = 'owner' AND service = ?2
                         AND NOT erasing",
                    )?
                    .query_row(params![owner.as_str(), service], |row| row.get(0))?)
            })
            .await
    }
}

fn put_tie(tx: &Tx<'_>, room: i64, tie: &TieRow) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO room_ties (room, jid, affiliation, nick, reason)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![room, tie.jid.as_str(), tie.affiliation, tie.nick, tie.reason])?;
    Ok(())
}

/// Removes a piece of a room that is being erased; false when it was the last.
fn erase_step(tx: &mut Tx<'_>, id: i64) -> Result<bool, StoreError> {
    if retention::clear_step(tx, id)? {
        return Ok(true);
    }
    tx.prepare_cached("DELETE FROM rooms WHERE id = ?1 AND erasing")?.execute([id])?;
    Ok(false)
}

/// At start: a step of an erasure that the last process did not finish; false when none is left.
pub(super) fn erase_interrupted(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let id = tx
        .prepare_cached("SELECT id FROM rooms WHERE erasing LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    match id {
        Some(id) => erase_step(tx, id).map(|_| true),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::archive::ArchiveQuery;
    use crate::store::tests::{NOON, integrity, jid, open};
    use crate::store::{MessageFlags, MessageRow};

    fn settings(title: &str, public: bool) -> Settings {
        Settings { config: "{}".to_owned(), title: title.to_owned(), public }
    }

    fn owner() -> TieRow {
        let jid = jid("crone1@shakespeare.lit");
        TieRow { jid, affiliation: "owner".to_owned(), nick: None, reason: String::new() }
    }

    async fn room(store: &Store, name: &str, public: bool) -> AccountId {
        let jid = jid(&format!("{name}@chat.h"));
        let settings = settings(name, public);
        store.rooms().save(&jid, settings, None, [7; 16], vec![owner()], NOON).await.unwrap()
    }

    #[tokio::test]
    async fn a_room_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let id = room(&store, "coven", true).await;
        let rooms = store.rooms();
        let hag = TieRow {
            jid: jid("hag66@shakespeare.lit"),
            affiliation: "member".to_owned(),
            nick: Some("thirdwitch".to_owned()),
            reason: "why".to_owned(),
        };
        rooms.set_tie(id, Ok(hag.clone())).await.unwrap();
        rooms.set_subject(id, "Fire".to_owned()).await.unwrap();
        rooms.set_settings(id, settings("Cave", false)).await.unwrap();
        let read = rooms.load(&jid("coven@chat.h")).await.unwrap().unwrap();
        assert_eq!(read.ties, [owner(), hag]);
        assert_eq!((read.id, read.created, read.salt), (id, NOON, [7; 16]));
        assert_eq!(read.settings, settings("Cave", false));
        assert_eq!(read.subject.as_deref(), Some("Fire"));
        rooms.set_tie(id, Err(jid("hag66@shakespeare.lit"))).await.unwrap();
        assert_eq!(rooms.load(&jid("coven@chat.h")).await.unwrap().unwrap().ties, [owner()]);
        assert_eq!(rooms.load(&jid("other@chat.h")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn lists_are_paged_and_show_strangers_only_what_is_public() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        for (name, public) in [("a", true), ("b", false), ("c", true)] {
            room(&store, name, public).await;
        }
        let names = |listed: Vec<Listed>| {
            listed.into_iter().map(|room| room.title).collect::<Vec<_>>().join(" ")
        };
        let rooms = store.rooms();
        assert_eq!(names(rooms.list("chat.h", true, None, 10).await.unwrap()), "a c");
        assert_eq!(names(rooms.list("chat.h", false, Some("a"), 1).await.unwrap()), "b");
        assert_eq!(rooms.count("chat.h", true).await.unwrap(), 2);
        assert_eq!(rooms.count("elsewhere.h", false).await.unwrap(), 0);
        assert_eq!(rooms.owned_by("chat.h", &jid("crone1@shakespeare.lit")).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_room_goes_with_its_archive_and_its_name_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let id = room(&store, "coven", true).await;
        let coven = jid("coven@chat.h");
        for _ in 0..300 {
            let stanza = "<message xmlns='jabber:client'><body>x</body></message>";
            let message = store.next_id(NOON);
            let flags = MessageFlags::ARCHIVED_TO | MessageFlags::GROUPCHAT;
            let row = MessageRow::new(message, coven.clone(), coven.clone(), flags, stanza);
            store.append(row).unwrap();
        }
        assert_eq!(store.archive().page(ArchiveQuery::of(id)).await.unwrap().count, Some(300));
        store.rooms().destroy(id).await.unwrap();
        assert_eq!(store.rooms().load(&coven).await.unwrap(), None);
        let again = room(&store, "coven", true).await;
        assert!(store.archive().page(ArchiveQuery::of(again)).await.unwrap().items.is_empty());
        store.shutdown().await.unwrap();
        integrity(&dir);
    }
}
