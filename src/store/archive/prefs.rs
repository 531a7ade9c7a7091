//! XEP-0441: what an account wants archived. One JSON text in the account's row.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{ArchiveDefault, ArchivePrefs};
use crate::jid::Jid;
use crate::store::writer::Tx;
use crate::store::{AccountId, StoreError, accounts};

#[derive(Serialize, Deserialize)]
struct Stored {
    default: String,
    always: Vec<String>,
    never: Vec<String>,
}

impl ArchiveDefault {
    /// The value in XEP-0441's `default` attribute.
    pub fn name(self) -> &'static str {
        match self {
            ArchiveDefault::Always => "always",
            ArchiveDefault::Never => "never",
            ArchiveDefault::Roster => "roster",
        }
    }

    pub fn from_name(name: &str) -> Option<ArchiveDefault> {
        [ArchiveDefault::Always, ArchiveDefault::Never, ArchiveDefault::Roster]
            .into_iter()
            .find(|default| default.name() == name)
    }
}

pub(in crate::store) fn read(
    conn: &Connection,
    owner: AccountId,
) -> Result<Option<ArchivePrefs>, StoreError> {
    let text: Option<String> = conn
        .prepare_cached("SELECT prefs FROM accounts WHERE id = ?1")?
        .query_row([owner.0], |row| row.get(0))
        .optional()?
        .flatten();
    Ok(text.as_deref().and_then(parse))
}

pub(in crate::store) fn parse(text: &str) -> Option<ArchivePrefs> {
    let stored: Stored = serde_json::from_str(text).ok()?;
    let jids = |texts: Vec<String>| {
        let mut jids: Vec<Jid> = texts.iter().filter_map(|text| Jid::parse(text).ok()).collect();
        jids.sort_unstable();
        jids.dedup();
        jids.into_boxed_slice()
    };
    Some(ArchivePrefs {
        default: ArchiveDefault::from_name(&stored.default)?,
        always: jids(stored.always),
        never: jids(stored.never),
    })
}

pub(super) fn write(
    tx: &mut Tx<'_>,
    owner: AccountId,
    prefs: &ArchivePrefs,
) -> Result<(), StoreError> {
    let texts = |jids: &[Jid]| jids.iter().map(ToString::to_string).collect();
    let stored = Stored {
        default: prefs.default.name().to_owned(),
        always: texts(&prefs.always),
        never: texts(&prefs.never),
    };
    let text = serde_json::to_string(&stored).map_err(StoreError::bug)?;
    tx.prepare_cached("UPDATE accounts SET prefs = ?2 WHERE id = ?1")?
        .execute(params![owner.0, text])?;
    accounts::touch(tx, owner)
}
