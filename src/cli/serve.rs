//! `coucou serve` and `coucou stop`

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Common;
use super::failure::Failure;
use super::output::Output;
use super::reach::Reach;
use crate::access::lint;
use crate::admin::doors::socket::Socket;
use crate::admin::ops::server::Stop;
use crate::config::history::{self, History};
use crate::config::{self, Checked, Config};
use crate::server::boot;
use crate::store::StoreError;
use crate::store::backup::Staged;
use crate::telemetry::Telemetry;
use crate::telemetry::log;
use crate::time::Now;

/// Threads for work that would hold up the others, such as deriving keys from passwords.
const BLOCKING_THREADS_MAX: usize = 16;
/// How long `coucou stop` waits for the server to be gone.
const STOP_MAX: Duration = Duration::from_secs(30);

/// How long tasks may take to end before the server becomes another.
const RUNTIME_END_MAX: Duration = Duration::from_secs(5);
/// Set for a server that another one became; nobody waits to be told that it serves.
const AGAIN: &str = "COUCOU_STARTED_AGAIN";

pub(super) fn run(common: &Common) -> Result<(), Failure> {
    let file = common.config_file()?;
    let checked = settings(&file)?;
    serve(file, checked, || Ok(()))
}

/// The settings to start with. A change that nobody has confirmed is undone first if its time is up
/// or nothing can start with it.
///
/// # Errors
/// All that is wrong with them.
pub(super) fn settings(file: &Path) -> Result<Checked, Failure> {
    let checked = lint::load(file);
    let text = config::read(file).unwrap_or_default();
    let (data_dir, _) = history::places(&text, file);
    match History::new(&data_dir).settle(file, Now::read(), checked.is_err()) {
        Ok(Some(told)) => {
            eprintln!("coucou: {told}");
            Ok(lint::load(file)?)
        }
        Ok(None) => Ok(checked?),
        Err(error) => {
            eprintln!("coucou: an unconfirmed change of the settings could not be undone: {error}");
            Ok(checked?)
        }
    }
}

/// Serves until the server is told to stop. `ready` is called once clients can sign in.
///
/// # Errors
/// If the server cannot start, or does not stop in order.
pub(super) fn serve(
    file: PathBuf,
    checked: Checked,
    ready: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Checked { config, warnings } = checked;
    let file = std::path::absolute(&file).unwrap_or(file);
    let telemetry = Telemetry::start(&config.log, log::Output::detect())
        .map_err(|error| Failure::failed(error.to_string()).help(log_help(&config)))?;
    for warning in &warnings {
        tracing::warn!("{}: {warning}", file.display());
    }
    allow_many_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("coucou")
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let next = runtime.block_on(async {
        let (socket_path, group) = (config.admin_socket.clone(), config.admin_group.clone());
        let view_group = config.view_group.clone();
        let server = boot::start(config, file, telemetry).await.map_err(not_started)?;
        let socket = Socket::bind(&socket_path, group.as_deref())
            .map_err(|error| Failure::failed(error.to_string()))?;
        let view = view_group.map(|group| Socket::bind_view(&socket_path, &group)).transpose();
        let view = view.map_err(|error| Failure::failed(error.to_string()))?;
        // Operators first: who sees a client's port answer can ask the server about it.
        let mut doors = vec![tokio::spawn(socket.serve(server.clone()))];
        doors.extend(view.map(|view| tokio::spawn(view.serve(server.clone()))));
        boot::open(&server).await.map_err(not_started)?;
        if std::env::var_os(AGAIN).is_none() {
            ready()?;
        }
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "serving");
        let ended = boot::run(&server).await;
        // Only now, when the store is closed: whoever finds no socket may start another server.
        doors.iter().for_each(tokio::task::JoinHandle::abort);
        ended.map_err(|error| Failure::failed(error.to_string()))?;
        Ok::<_, Failure>(server.next())
    })?;
    let Some(staged) = next else { return Ok(()) };
    swap(&staged);
    // Connections end with it, and the log is written out.
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    Err(start_again())
}

/// Puts a restored backup in its place. Whatever comes of it, there is a whole state to start with:
/// the start finishes what is begun.
fn swap(staged: &Staged) {
    match staged.take_over(Now::read()) {
        Ok(aside) => {
            tracing::info!(before = %aside.display(), "a backup was restored; what was there is kept");
        }
        Err(error) => tracing::error!(%error, "the backup was not restored"),
    }
}

/// Becomes a new server, in the same process: whoever watches over it sees no end. Returns only if
/// that fails.
fn start_again() -> Failure {
    // One that was replaced meanwhile starts as the new one.
    let ours = std::env::current_exe().ok().filter(|program| program.exists());
    let program = ours.or_else(|| std::env::args_os().next().map(PathBuf::from));
    let mut command = Command::new(program.unwrap_or_else(|| "coucou".into()));
    let error = command.args(std::env::args_os().skip(1)).env(AGAIN, "1").exec();
    Failure::failed(format!("the server has stopped and cannot start again: {error}"))
}

fn not_started(error: boot::BootError) -> Failure {
    match error {
        boot::BootError::Store(StoreError::InUse { dir, pid }) => Failure::conflict(format!(
            "a server runs here already: process {pid} uses {}",
            dir.display()
        ))
        .help("`coucou status` shows it, `coucou stop` ends it"),
        error => Failure::failed(error.to_string()),
    }
}

fn log_help(config: &Config) -> String {
    format!(
        "set log.dir to a folder that this user may write to; it is {}",
        config.log.dir.display()
    )
}

/// A connection is a file descriptor, and the usual soft limit of 1024 is a relic of `select`.
fn allow_many_connections() {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

pub(super) fn stop(common: &Common, out: &mut Output) -> Result<(), Failure> {
    let mut client = Reach::server(common)?;
    client.call(&Stop {})?;
    client.wait_for_end(STOP_MAX).map_err(|_| {
        Failure::failed(format!("the server still runs after {} s", STOP_MAX.as_secs()))
            .help("its log tells what holds it up")
    })?;
    out.show(&serde_json::json!({ "stopped": true }), |_| "The server has stopped.".to_owned())
}
