//! From checked settings to a server that accepts connections, and back to nothing in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::doors::Doors;
use super::{Server, housekeeping};
use crate::admin::Running;
use crate::admin::doors::adhoc;
use crate::admin::jobs::Jobs;
use crate::auth::ServerSecret;
use crate::config::{self, Config};
use crate::muc;
use crate::net::certs::{CertError, CertSource, CertStore, write_self_signed};
use crate::net::listen::BindError;
use crate::net::tls::Acceptor;
use crate::router::{Control, Router};
use crate::store::{Store, StoreError, StoreOptions};
use crate::stream::{Streams, lifecycle};
use crate::telemetry::Telemetry;
use crate::time::Now;

/// How long an orderly stop may take before connections are cut.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Certificate(#[from] CertError),
    #[error(transparent)]
    Listen(#[from] BindError),
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
}

impl BootError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> BootError {
        let what = what.into();
        move |error| BootError::Io { what, error }
    }
}

/// Opens the store, brings sessions back, reads certificates. Nobody can come in before [`open`].
pub async fn start(
    config: Config,
    config_file: PathBuf,
    telemetry: Telemetry,
) -> Result<Arc<Server>, BootError> {
    let store = Store::open(&config.data_dir, StoreOptions::from(&config.storage))?;
    let secret = Arc::new(server_secret(&config.data_dir)?);
    let certs = Arc::new(CertStore::open(cert_sources(&config, Now::read())?)?);
    let router = Router::new(Arc::new(config), store);
    muc::service::install(&router, &[]);
    let streams = Arc::new(Streams::new(
        Arc::clone(&router),
        Acceptor::new(Arc::clone(&certs), &["xmpp-client"]),
        secret,
    ));
    clear_guests(&router).await?;
    streams.learn_iterations().await?;
    let restored = lifecycle::restore(&streams).await?;
    if restored > 0 {
        tracing::info!(restored, "sessions of the last run wait for their clients");
    }
    let booted = router.config.load_full();
    let doors = Doors::new(&router.config.load());
    let server = Arc::new(Server {
        router,
        streams,
        certs,
        telemetry,
        config_file,
        started: Now::read(),
        booted,
        jobs: Jobs::default(),
        doors: Mutex::new(doors),
        next: parking_lot::Mutex::default(),
        stopping: watch::Sender::new(false),
    });
    Ok(server)
}

/// Opens the doors: on return clients can sign in.
pub async fn open(server: &Arc<Server>) -> Result<(), BootError> {
    let config = server.router.config.load_full();
    let running: Arc<dyn Running> = server.clone();
    adhoc::install(&running);
    let mut doors = server.doors.lock().await;
    let prepared = doors.prepare(&config.listen)?;
    doors.commit(server, prepared);
    crate::admin::keys::warn_of_idle_words(&config);
    drop(doors);
    housekeeping::start(server);
    remember_settings(server, &config);
    Ok(())
}

/// The settings that have proved good enough to start with, for those who want to go back to them.
fn remember_settings(server: &Arc<Server>, config: &Config) {
    if let Ok(text) = config::read(&server.config_file)
        // Not one that was edited while the server came up.
        && config::parse(&text, &server.config_file).is_ok_and(|read| read.config == *config)
    {
        server.remember(&text, "start", &[]);
    }
    crate::admin::ops::config::resume(Arc::clone(server) as Arc<dyn Running>);
}

/// The secret behind FAST tokens and the answers for unknown names: made once, kept beside the
/// database, readable by its owner only.
fn server_secret(dir: &Path) -> Result<ServerSecret, BootError> {
    let file = dir.join("secret");
    match std::fs::read(&file) {
        Ok(bytes) => match <[u8; ServerSecret::LEN]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(ServerSecret::from_bytes(&bytes)),
            Err(_) => {
                let error = std::io::Error::other(format!(
                    "{} bytes instead of {}; restore it from a backup, or remove it: \
                     devices then sign in by password once",
                    bytes.len(),
                    ServerSecret::LEN
                ));
                Err(BootError::Io { what: file.display().to_string(), error })
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = ServerSecret::generate();
            crate::net::certs::write_private(&file, secret.expose())
                .map_err(BootError::io(format!("write {}", file.display())))?;
            Ok(secret)
        }
        Err(error) => Err(BootError::Io { what: format!("read {}", file.display()), error }),
    }
}

/// The certificate files of all hosts; self-signed ones are made where none are configured and
/// none are there yet.
pub(super) fn cert_sources(config: &Config, now: Now) -> Result<Vec<CertSource>, BootError> {
    let mut sources = Vec::new();
    for host in &config.hosts {
        let files = &host.tls;
        if files.self_signed && !files.certificate.exists() {
            let mut names = vec![host.domain.clone()];
            names.extend(host.services.names().map(str::to_owned));
            sources.push(write_self_signed(&files.certificate, &names, now)?);
        } else {
            sources.push(CertSource { chain: files.certificate.clone(), key: files.key.clone() });
        }
    }
    Ok(sources)
}

/// Guests of the last run whose sessions did not survive it.
async fn clear_guests(router: &Arc<Router>) -> Result<(), StoreError> {
    const PAGE: usize = 256;
    let config = router.config.load_full();
    for host in config.hosts.iter().filter(|h| h.is_guest()) {
        loop {
            let guests = router.store.accounts().list(&host.domain, "", None, PAGE).await?;
            for guest in &guests {
                router.store.accounts().remove(&guest.jid).await?;
            }
            if guests.len() < PAGE {
                break;
            }
        }
    }
    Ok(())
}

/// Serves until it is told to stop, by [`Server::stop`], SIGTERM or SIGINT. SIGHUP reloads.
pub async fn run(server: &Arc<Server>) -> Result<(), BootError> {
    let catch = |kind| signal(kind).map_err(BootError::io("install a signal handler"));
    let mut terminate = catch(SignalKind::terminate())?;
    let mut interrupt = catch(SignalKind::interrupt())?;
    let mut hang_up = catch(SignalKind::hangup())?;
    tell_systemd(&[sd_notify::NotifyState::Ready]);
    let mut watchdog = watchdog();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = server.stopping() => break,
            _ = hang_up.recv() => reload(server).await,
            () = watchdog.beat() => tell_systemd(&[sd_notify::NotifyState::Watchdog]),
        }
    }
    stop(server).await;
    Ok(())
}

async fn reload(server: &Arc<Server>) {
    tell_systemd(&reloading());
    // What was applied, or why nothing was, is in the log; there is nobody else to tell.
    let _ = server.reload().await;
    tell_systemd(&[sd_notify::NotifyState::Ready]);
}

fn reloading() -> [sd_notify::NotifyState<'static>; 2] {
    let now = sd_notify::NotifyState::monotonic_usec_now();
    [sd_notify::NotifyState::Reloading, now.unwrap_or(sd_notify::NotifyState::Reloading)]
}

/// Beats twice in the time that systemd allows; never without a watchdog.
struct Watchdog(Option<tokio::time::Interval>);

fn watchdog() -> Watchdog {
    let allowed = sd_notify::watchdog_enabled();
    Watchdog(allowed.map(|within| tokio::time::interval(within / 2)))
}

impl Watchdog {
    async fn beat(&mut self) {
        match &mut self.0 {
            Some(interval) => drop(interval.tick().await),
            None => std::future::pending().await,
        }
    }
}

fn tell_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd was not told");
    }
}

/// Closes the doors, lets sessions say goodbye and be written down, closes the store.
async fn stop(server: &Arc<Server>) {
    tracing::info!("stopping");
    server.stop();
    match server.next.lock().is_some() {
        // One that comes back is not told as one that ends: systemd would wait for its end.
        true => tell_systemd(&reloading()),
        false => tell_systemd(&[sd_notify::NotifyState::Stopping]),
    }
    server.doors.lock().await.close();
    let router = &server.router;
    for session in router.sessions.all() {
        session.mailbox.control(Control::Stop);
    }
    for domain in router.services.connected() {
        if let Some(service) = router.services.get(&domain) {
            service.mailbox.control(Control::Stop);
        }
    }
    let until = Instant::now() + STOP_WITHIN;
    if tokio::time::timeout_at(until, server.streams.idle()).await.is_err() {
        tracing::warn!("some connections were cut");
    }
    // Now that nobody is left who would send them something.
    for session in router.sessions.all() {
        lifecycle::save(router, &session).await;
    }
    if let Err(error) = router.store.shutdown().await {
        tracing::error!(%error, "the store did not close in order");
    }
}
