//! The way to an operation: through the running server, or on its data directory while it is down.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::runtime::Runtime;

use super::Common;
use super::failure::Failure;
use crate::admin::client::{Client, Unreachable};
use crate::admin::op::{Entry, Operation, Refusal};
use crate::admin::{Actor, Context, Role, run};
use crate::config::history::{self, History};
use crate::config::{self, Checked, Config};
use crate::store::audit::Act;
use crate::store::{Store, StoreError, StoreOptions};
use crate::time::Now;

/// Something that does operations.
pub(super) enum Reach {
    Server(Client),
    /// The server is down and we hold its lock.
    DataDir(Box<DataDir>),
}

/// A data directory held by this process.
pub(super) struct DataDir {
    runtime: Runtime,
    store: Arc<Store>,
    context: Context,
}

impl Reach {
    /// The running server.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub(super) fn server(common: &Common) -> Result<Client, Failure> {
        Ok(Client::connect(&socket_path(common)?)?)
    }

    /// The running server or, while it is down, its data directory.
    ///
    /// # Errors
    /// If neither can be used.
    pub(super) fn anyway(common: &Common) -> Result<Reach, Failure> {
        let path = socket_path(common)?;
        match Client::connect(&path) {
            Ok(client) => Ok(Reach::Server(client)),
            Err(Unreachable::NotRunning { .. }) => {
                let (file, Checked { config, .. }) = common.load()?;
                let held = DataDir::open(config, file).map_err(|failure| match failure {
                    OpenError::InUse(text) => Failure::conflict(text).help(format!(
                        "it does not answer at {}; is it starting or stopping?",
                        path.display()
                    )),
                    OpenError::Other(failure) => failure,
                })?;
                Ok(Reach::DataDir(Box::new(held)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The same, for operations on the settings: these also work where the config file is not in
    /// order, since they may be what mends it. They then see the settings that were in force last.
    ///
    /// # Errors
    /// If neither can be used.
    pub(super) fn to_settings(common: &Common) -> Result<Reach, Failure> {
        let file = common.config_file()?;
        let Err(faults) = config::load(&file) else { return Reach::anyway(common) };
        let text = config::read(&file).unwrap_or_default();
        let (data_dir, socket) = history::places(&text, &file);
        match Client::connect(common.socket.as_ref().unwrap_or(&socket)) {
            Ok(client) => return Ok(Reach::Server(client)),
            Err(Unreachable::NotRunning { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let history = History::new(&data_dir);
        let good = history.list(usize::MAX).unwrap_or_default().into_iter().find_map(|state| {
            let (_, text) = history.read(state.id).ok()?;
            config::parse(&text, &file).ok()
        });
        let Some(good) = good else { return Err(faults.into()) };
        match DataDir::open(good.config, file) {
            Ok(held) => Ok(Reach::DataDir(Box::new(held))),
            Err(OpenError::InUse(text)) => Err(Failure::conflict(text)),
            Err(OpenError::Other(failure)) => Err(failure),
        }
    }

    /// Has `operation` done.
    ///
    /// # Errors
    /// If it is refused or the server is lost.
    pub(super) fn call<O: Operation>(&mut self, operation: &O) -> Result<O::Output, Failure> {
        match self {
            Reach::Server(client) => Ok(client.call(operation)?),
            Reach::DataDir(held) => held.call(operation),
        }
    }

    /// Has the operation of `entry` done with arguments as they go over the wire.
    ///
    /// # Errors
    /// If it is refused or the server is lost.
    pub(super) fn call_by_name(
        &mut self,
        entry: &Entry,
        arguments: Value,
    ) -> Result<Value, Failure> {
        match self {
            Reach::Server(client) => Ok(client.call_by_name(entry.name, arguments)?),
            Reach::DataDir(held) => held.run(entry.name, arguments),
        }
    }

    /// For what takes as long as there is work.
    ///
    /// # Errors
    /// If the connection does not take it.
    pub(super) fn wait_long(&mut self) -> Result<(), Failure> {
        match self {
            Reach::Server(client) => Ok(client.wait_long()?),
            Reach::DataDir(_) => Ok(()),
        }
    }

    /// Lets go in order: what was written is on disk and the next start is a clean one.
    ///
    /// # Errors
    /// If the store cannot be closed.
    pub(super) fn close(self) -> Result<(), Failure> {
        match self {
            Reach::Server(_) => Ok(()),
            Reach::DataDir(held) => held.close(),
        }
    }
}

pub(super) fn socket_path(common: &Common) -> Result<PathBuf, Failure> {
    match &common.socket {
        Some(path) => Ok(path.clone()),
        None => Ok(common.load()?.1.config.admin_socket),
    }
}

/// Where the admin socket is, even if the config file is not in order; `None` if there is no file.
pub(super) fn settings_socket(common: &Common) -> Option<PathBuf> {
    if let Some(socket) = &common.socket {
        return Some(socket.clone());
    }
    let file = common.config_file().ok()?;
    let text = config::read(&file).ok()?;
    Some(history::places(&text, &file).1)
}

enum OpenError {
    InUse(String),
    Other(Failure),
}

impl DataDir {
    fn open(config: Config, file: PathBuf) -> Result<DataDir, OpenError> {
        let other = OpenError::Other;
        owner_is_us(&config.data_dir).map_err(other)?;
        DataDir::hold(config, file).map_err(|error| match error {
            HoldError::Store(StoreError::InUse { dir, pid }) => {
                OpenError::InUse(format!("process {pid} uses {}", dir.display()))
            }
            HoldError::Store(error) => OpenError::Other(error.into()),
            HoldError::Runtime(error) => OpenError::Other(Failure::failed(error)),
        })
    }

    /// Opens the data directory, and makes it if it is not there.
    ///
    /// # Errors
    /// If another process has it, or it cannot be read or written.
    pub(super) fn create(config: Config, file: PathBuf) -> Result<DataDir, Failure> {
        DataDir::hold(config, file).map_err(|error| match error {
            HoldError::Store(error) => error.into(),
            HoldError::Runtime(error) => Failure::failed(error),
        })
    }

    fn hold(config: Config, file: PathBuf) -> Result<DataDir, HoldError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| HoldError::Runtime(format!("cannot start the runtime: {error}")))?;
        let store = {
            let _inside = runtime.enter();
            Store::open(&config.data_dir, StoreOptions::from(&config.storage))
                .map_err(HoldError::Store)?
        };
        let context = Context::offline(store.clone(), Arc::new(config)).with_config_file(file);
        Ok(DataDir { runtime, store, context })
    }

    /// Has `operation` done here.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) fn call<O: Operation>(&self, operation: &O) -> Result<O::Output, Failure> {
        let done = self.run(O::NAME, operation.to_wire())?;
        Ok(serde_json::from_value(done).map_err(|error| Refusal::bug(&error))?)
    }

    fn run(&self, name: &str, arguments: Value) -> Result<Value, Failure> {
        Ok(self.runtime.block_on(run::run(&self.context, &actor(), name, arguments))?)
    }

    /// Writes out everything and gives the lock back.
    ///
    /// # Errors
    /// If that cannot be done.
    pub(super) fn close(self) -> Result<(), Failure> {
        Ok(self.runtime.block_on(self.store.shutdown())?)
    }
}

enum HoldError {
    Store(StoreError),
    Runtime(String),
}

/// Writes down an act on a data directory that nobody has open.
pub(super) fn write_down(
    data_dir: &Path,
    what: &str,
    target: String,
    detail: String,
) -> Result<(), Failure> {
    // The real settings may be out of order, and nothing but the place counts here.
    let here = toml::Value::String(data_dir.display().to_string());
    let text = config::edit::set("[hosts.\"localhost\"]\n", "data_dir", &here)
        .map_err(|error| Failure::failed(error.to_string()))?;
    let file = data_dir.join("coucou.toml");
    let held = DataDir::create(config::parse(&text, &file)?.config, file)?;
    let Actor { who, from, .. } = actor();
    let act = Act { at: Now::read(), who, from, what: what.to_owned(), target, detail };
    held.runtime.block_on(held.store.audit().append(act))?;
    held.close()
}

/// Who works on the data directory by hand: whoever may open it is its owner.
fn actor() -> Actor {
    Actor::new(format!("uid={}", rustix::process::geteuid().as_raw()), "cli", Role::Owner)
}

/// Files made here by another user, root above all, would be closed to the server.
pub(super) fn owner_is_us(dir: &Path) -> Result<(), Failure> {
    let owner = match std::fs::metadata(dir) {
        Ok(metadata) => metadata.uid(),
        Err(error) => {
            return Err(Failure::unreachable(format!(
                "the server is not running, and its data directory {} cannot be used: {error}",
                dir.display()
            ))
            .help("`coucou up` prepares one and serves"));
        }
    };
    let us = rustix::process::geteuid().as_raw();
    if owner == us {
        return Ok(());
    }
    Err(Failure::unreachable(format!(
        "the server is not running, and its data directory {} belongs to user {owner}, not to {us}",
        dir.display()
    ))
    .help(format!("start the server, or run this as its owner: sudo -u '#{owner}' coucou …")))
}
