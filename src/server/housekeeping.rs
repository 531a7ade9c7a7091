//! Timed jobs: what must happen though nobody asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::Server;
use crate::admin::ops::backup::schedule;
use crate::admin::{Context, Running};
use crate::delivery::accounts;
use crate::router::Control;
use crate::router::sessions::Flag;
use crate::store::MessageId;
use crate::telemetry::metrics::RATES;
use crate::time::Now;
use crate::xml::stream_error::{StreamCondition, StreamError};

/// Starts all jobs; they end with the server.
pub fn start(server: &Arc<Server>) {
    every(server, Duration::from_secs(10), |s| async move { probe_silent(&s) });
    every(server, Duration::from_secs(10), |s| async move { note_time(&s) });
    every(server, Duration::from_secs(30), |s| async move { end_old_guests(&s) });
    every(server, Duration::from_secs(60), |s| async move { renew_certificates(&s) });
    every(server, Duration::from_secs(600), |s| async move { learn_iterations(&s).await });
    every(server, Duration::from_secs(3600), |s| async move { forget_the_old(&s).await });
    empty_the_bin(server);
    make_backups(server);
}

/// Scheduled backups; looks once a minute whether one is due.
fn make_backups(server: &Arc<Server>) {
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let mut clock = tokio::time::interval(Duration::from_secs(60));
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut tried = None;
        loop {
            tokio::select! {
                () = server.stopping() => return,
                _ = clock.tick() => {}
            }
            let cx = Context::live(Arc::clone(&server) as Arc<dyn Running>);
            schedule::run(&cx, &mut tried).await;
        }
    });
}

fn every<J, F>(server: &Arc<Server>, period: Duration, job: J)
where
    J: Fn(Arc<Server>) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let mut clock = tokio::time::interval_at(Instant::now() + period, period);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = server.stopping() => return,
                _ = clock.tick() => job(Arc::clone(&server)).await,
            }
        }
    });
}

/// Erases what has lain in the bin for long enough: at start, once an hour, and when it is told.
fn empty_the_bin(server: &Arc<Server>) {
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let mut clock = tokio::time::interval(Duration::from_secs(3600));
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = server.stopping() => return,
                _ = clock.tick() => {}
                () = server.router.bin_due.notified() => {}
            }
            if let Err(error) = accounts::tidy(&server.router, Now::read()).await {
                tracing::error!(%error, "removed accounts are not erased");
            }
        }
    });
}

/// Wakes the tasks of connections that have been silent for long; each asks its peer.
fn probe_silent(server: &Server) {
    let after = server.router.config.load().limits.ping_after;
    let before = Now::read().minus(after).secs();
    for session in server.router.sessions.all() {
        if !session.has(Flag::Parked) && session.heard.load(Ordering::Relaxed) < before {
            session.mailbox.control(Control::Tick);
        }
    }
}

/// What is measured over time, and what lasts for a time.
fn note_time(server: &Server) {
    RATES.sample(Now::read());
    server.telemetry.expire_levels(Now::read());
}

/// Guests stay for a while (XEP-0175).
fn end_old_guests(server: &Server) {
    let now = Now::read();
    for session in server.router.sessions.all() {
        let Some(host) = server.router.host(session.jid.domain()).filter(|h| h.is_guest()) else {
            continue;
        };
        let since = Now::from_secs(session.facts.lock().since);
        if now.since(since) > host.guest.session_age_max {
            let text = "A guest's time is up; come again.";
            let error = StreamError::with_text(StreamCondition::PolicyViolation, text);
            session.mailbox.control(Control::Close(error));
        }
    }
}

/// New certificate files are taken up; sessions keep what they have.
fn renew_certificates(server: &Server) {
    match server.certs.reload_if_changed() {
        Ok(true) => tracing::info!("certificates read again"),
        Ok(false) => {}
        Err(error) => tracing::error!(%error, "the old certificates stay in use"),
    }
}

/// Passwords set meanwhile may have brought another count of rounds.
async fn learn_iterations(server: &Server) {
    if let Err(error) = server.streams.learn_iterations().await {
        tracing::warn!(%error, "unknown names may stand out by their PBKDF2 rounds");
    }
}

/// How long an invitation that has expired can still be looked up.
const EXPIRED_INVITES_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Retention of archives, offline messages and invitations.
async fn forget_the_old(server: &Server) {
    let now = Now::read();
    let invites = server.router.store.invites();
    if let Err(error) = invites.sweep(now.minus(EXPIRED_INVITES_KEPT)).await {
        tracing::error!(%error, "expired invitations stay");
    }
    let config = server.router.config.load_full();
    for host in &config.hosts {
        let before = host.archive.retention.map(|age| MessageId::floor(now.minus(age)));
        if before.is_some() || host.archive.bytes_max.is_some() {
            let archive = server.router.store.archive();
            match archive.expire(&host.domain, before, host.archive.bytes_max).await {
                Ok(gone) if gone.entries > 0 => {
                    tracing::info!(host = %host.domain, entries = gone.entries, "archive trimmed");
                }
                Ok(_) => {}
                Err(error) => tracing::error!(host = %host.domain, %error, "archive not trimmed"),
            }
        }
        if let Some(age) = host.offline.age_max {
            let offline = server.router.store.offline();
            if let Err(error) = offline.expire(&host.domain, now.minus(age)).await {
                tracing::error!(host = %host.domain, %error, "old offline messages stay");
            }
        }
    }
}
