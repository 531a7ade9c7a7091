//! Chat between pairs of users: as much as the server can take with a window of messages under way
//! (closed loop), or at a fixed rate (open loop).
//!
//! In the open loop every message has a time at which it is due, and its latency counts from then,
//! whether or not the server let the sender send: an overloaded server cannot hide behind a
//! generator that waits for it (coordinated omission).

mod chat;
pub mod template;
mod words;

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;

use self::chat::{Chat, Desk, Pace, Tally};
use super::{Run, joined};
use crate::clock::{self, Timer};
use crate::error::{Error, Result};
use crate::report::Report;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Messages per second over all users, due at fixed times; without it, as many as the server takes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: Option<u64>,
    /// Messages each user may have under way when there is no --rate
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub window: u64,
    /// Seconds measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub duration: u64,
    /// Seconds of the same load before
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub warmup: u64,
    /// Seconds to wait for what is under way at the end
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub drain: u64,
    /// Bytes of each message as sent
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(200..=60_000))]
    pub size: u64,
    /// Enable stream management and ask for an acknowledgement after so many messages; 0: neither
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub ack_every: u64,
}

pub async fn run(run: &Run, options: &Options) -> Result<Report> {
    if !run.users.is_multiple_of(2) {
        return Err(Error::Usage("messages go between pairs: --users must be even".into()));
    }
    let mut sessions = run.login_all().await?;
    for session in &mut sessions {
        if options.ack_every > 0 {
            session.enable_stream_management(&run.target).await?;
        }
        session.announce(&run.target).await?;
    }

    let tally = Rc::new(Tally::default());
    let desks: Vec<Rc<Desk>> = sessions.iter().map(|_| Rc::default()).collect();
    let mut chats = JoinSet::new();
    for (offset, session) in sessions.into_iter().enumerate() {
        let partner = offset ^ 1;
        let pace = match options.rate {
            None => Pace::Window,
            Some(_) => Pace::Schedule,
        };
        let template =
            template::Template::new(&run.target.jid(run.first + partner), options.size as usize);
        let desks = (desks[offset].clone(), desks[partner].clone());
        chats.spawn_local(Chat::new(
            session,
            template,
            pace,
            options.ack_every,
            desks,
            tally.clone(),
        ));
    }
    let report = tokio::select! {
        biased;
        error = first_failure(&mut chats) => return Err(error),
        report = measure(run, options, &tally, &desks) => report?,
    };
    tally.finished.set(true);
    desks.iter().for_each(|desk| desk.wake());
    let good_byes = async { while chats.join_next().await.is_some() {} };
    // A server that does not read them any more has been measured all the same.
    let _ = tokio::time::timeout(Duration::from_secs(5), good_byes).await;
    Ok(report)
}

/// Waits for a session to break: the others are no measurement without it.
async fn first_failure(chats: &mut JoinSet<Result<()>>) -> Error {
    loop {
        match chats.join_next().await.map(joined) {
            Some(Err(error)) => return error,
            // A chat ends well only when it is told to, which is after the measurement.
            Some(Ok(())) => {}
            None => std::future::pending().await,
        }
    }
}

/// Warms up, measures, drains.
async fn measure(
    run: &Run,
    options: &Options,
    tally: &Tally,
    desks: &[Rc<Desk>],
) -> Result<Report> {
    let started = clock::micros();
    let measured_from = started + options.warmup * 1_000_000;
    let measured_to = measured_from + options.duration * 1_000_000;
    let timer = Timer::new()?;
    let offered = match options.rate {
        None => {
            desks.iter().for_each(|desk| desk.credit(options.window));
            None
        }
        Some(rate) => Some(Schedule { started, rate, dealt: 0 }),
    };
    let mut load = Load { timer, offered, desks };

    load.until(measured_from).await?;
    tally.start(measured_from);
    let meter = run.meter()?;
    load.until(measured_to).await?;
    let seconds = (clock::micros() - measured_from) as f64 / 1e6;
    let delivered_in_time = tally.delivered.get();
    tally.stopped.set(true);

    let drain_to = clock::micros() + options.drain * 1_000_000;
    while !tally.is_quiet() && clock::micros() < drain_to {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (server, own) = meter.since(run)?;

    let delivered = tally.delivered.get() as f64;
    let mut report = Report::default();
    report.add("seconds", seconds, "s");
    report.add("sent", tally.sent.get() as f64, "");
    report.add("delivered", delivered, "");
    report.add("bounced", tally.bounced.get() as f64, "");
    report.add("undelivered", tally.under_way().max(0) as f64, "");
    report.add("messages_per_second", delivered_in_time as f64 / seconds, "/s");
    report.add_latency("delivery", &tally.latency.borrow());
    report.add_latency("ack", &tally.ack_latency.borrow());
    report.add_cpu("messages", delivered, server, own);
    if let Some(server) = server.filter(|_| delivered > 0.0) {
        let per_message = server.written_bytes as f64 / delivered;
        report.add("server_bytes_written_per_message", per_message, "B");
    }
    Ok(report)
}

/// When messages are due in the open loop.
struct Schedule {
    started: u64,
    /// Per second.
    rate: u64,
    dealt: u64,
}

impl Schedule {
    fn next_due(&self) -> u64 {
        self.started + self.dealt * 1_000_000 / self.rate
    }
}

struct Load<'a> {
    timer: Timer,
    offered: Option<Schedule>,
    desks: &'a [Rc<Desk>],
}

impl Load<'_> {
    /// Keeps the load up until `deadline`.
    async fn until(&mut self, deadline: u64) -> Result<()> {
        if let Some(schedule) = &mut self.offered {
            while schedule.next_due() < deadline {
                self.timer.until(schedule.next_due()).await?;
                while schedule.next_due() <= clock::micros().min(deadline - 1) {
                    let desk = &self.desks[schedule.dealt as usize % self.desks.len()];
                    desk.schedule(schedule.next_due());
                    schedule.dealt += 1;
                }
            }
        }
        Ok(self.timer.until(deadline).await?)
    }
}
