//! What can go wrong below this room's door.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::jid::BareJid;
use crate::stanza::{Condition, ErrorType, StanzaError};

/// Cloned to every waiter of a commit that failed, hence the shared texts.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} is in use by process {pid}: speak to that one, or stop it first", dir.display())]
    InUse { dir: PathBuf, pid: String },
    #[error(
        "the database has version {found}, this program knows versions up to {known}: \
         install the newer Coucou again, or restore a backup from before the upgrade"
    )]
    Newer { found: i64, known: i64 },
    #[error("cannot {doing}: {reason}")]
    Io { doing: Arc<str>, reason: Arc<str> },
    #[error("the disk is full; nothing was stored")]
    DiskFull,
    #[error("the database is damaged ({0}): stop the server and restore a backup")]
    Damaged(Arc<str>),
    #[error("the store has been shut down")]
    Closed,
    #[error("the writer's queue is full")]
    Busy,
    #[error("a bug in the store: {0}")]
    Bug(Arc<str>),
    #[error("there is no such account")]
    NoSuchAccount,
    #[error("the account exists already")]
    AccountExists,
    #[error("the name looks like that of {0}")]
    LooksLike(BareJid),
    #[error("no such item")]
    NotFound,
    #[error("not more than {max} {what} are kept")]
    TooMany { what: &'static str, max: usize },
}

impl StoreError {
    pub(super) fn io(doing: impl fmt::Display, reason: impl fmt::Display) -> StoreError {
        StoreError::Io { doing: doing.to_string().into(), reason: reason.to_string().into() }
    }

    pub(super) fn bug(what: impl fmt::Display) -> StoreError {
        StoreError::Bug(what.to_string().into())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::DiskFull,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Damaged(error.to_string().into())
            }
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied,
            ) => StoreError::io("use the database", error),
            _ => StoreError::bug(error),
        }
    }
}

/// The writer's queue is full: wait for [`Store::room`](super::Store::room) and try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the writer's queue is full")]
pub struct Busy;

impl From<Busy> for StoreError {
    fn from(Busy: Busy) -> StoreError {
        StoreError::Busy
    }
}

/// What a client is told whose request came to nothing. Faults of ours are logged, and no more is
/// said of them than that it may try again.
impl From<StoreError> for StanzaError {
    fn from(error: StoreError) -> StanzaError {
        let condition = match &error {
            StoreError::NoSuchAccount | StoreError::NotFound => Condition::ItemNotFound,
            StoreError::AccountExists => Condition::Conflict,
            StoreError::TooMany { .. } => Condition::PolicyViolation,
            StoreError::Busy | StoreError::DiskFull => Condition::ResourceConstraint,
            _ => {
                tracing::error!(%error, "a request failed");
                return StanzaError::new(Condition::InternalServerError)
                    .with_type(ErrorType::Wait)
                    .with_text("The server could not read or write its data; try again later.");
            }
        };
        StanzaError::new(condition).with_text(error.to_string())
    }
}
