//! What the generator can do to a server. Each scenario takes the target, its own options and the
//! server's processes, and returns its figures.

pub mod archive;
pub mod idle;
pub mod logins;
pub mod messages;

use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::process::{Processes, Usage};
use crate::session::Session;
use crate::target::Target;

/// What a scenario runs against.
pub struct Run {
    pub target: Rc<Target>,
    /// The server's processes; none when it runs elsewhere.
    pub server: Processes,
    /// The number of the first account.
    pub first: usize,
    /// Accounts.
    pub users: usize,
    /// Logins under way at a time.
    pub parallel: usize,
}

impl Run {
    /// Logs in all users, account `first` first.
    async fn login_all(&self) -> Result<Vec<Session>> {
        let gate = Rc::new(Semaphore::new(self.parallel));
        let mut tasks = JoinSet::new();
        for offset in 0..self.users {
            let (target, gate, index) = (self.target.clone(), gate.clone(), self.first + offset);
            tasks.spawn_local(async move {
                let _permit = gate.acquire().await.expect("never closed");
                Session::login(&target, index).await.map(|session| (offset, session))
            });
        }
        let mut sessions = Vec::with_capacity(self.users);
        while let Some(session) = tasks.join_next().await {
            sessions.push(joined(session)?);
        }
        sessions.sort_by_key(|(offset, _)| *offset);
        Ok(sessions.into_iter().map(|(_, session)| session).collect())
    }

    fn meter(&self) -> Result<Meter> {
        let server = if self.server.is_empty() { None } else { Some(self.server.usage()?) };
        Ok(Meter { server, own: Processes::own().usage()? })
    }
}

/// A reading of all that is metered, to be compared with a later one.
struct Meter {
    server: Option<Usage>,
    own: Usage,
}

impl Meter {
    /// What has been used since.
    fn since(&self, run: &Run) -> Result<(Option<Usage>, Usage)> {
        let now = run.meter()?;
        let server = now.server.zip(self.server).map(|(now, then)| now - then);
        Ok((server, now.own - self.own))
    }
}

/// The result of a task; its panic is ours.
fn joined<T>(outcome: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    match outcome {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Usage("a session was cancelled".into())),
    }
}
