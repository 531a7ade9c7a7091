//! Counters: plain atomics, added to where things happen, read when somebody asks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::time::Now;

/// Something that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn inc(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many there are at the moment.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub const fn new() -> Gauge {
        Gauge(AtomicI64::new(0))
    }

    /// Counts one more for as long as the guard lives.
    pub fn hold(&'static self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }

    pub fn get(&self) -> u64 {
        u64::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// One that a [`Gauge`] counts.
#[derive(Debug)]
pub struct Held(&'static Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number at the moment of asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    pub name: &'static str,
    pub help: &'static str,
    /// It only grows, as opposed to a number that goes up and down.
    pub counter: bool,
    pub value: u64,
}

/// Declares the numbers once: field, name and help come from one line.
macro_rules! metrics {
    ($($kind:ident $name:ident: $help:literal;)*) => {
        /// All numbers of this process.
        #[derive(Debug)]
        pub struct Metrics { $(#[doc = $help] pub $name: $kind,)* }

        impl Metrics {
            const fn new() -> Metrics {
                Metrics { $($name: $kind::new(),)* }
            }

            /// Every number at this moment, in the order of their declaration.
            pub fn read(&self) -> Vec<Sample> {
                vec![$(Sample {
                    name: stringify!($name),
                    help: $help,
                    counter: matches!(stringify!($kind).as_bytes(), b"Counter"),
                    value: self.$name.get(),
                },)*]
            }
        }
    };
}

metrics! {
    Gauge connections: "Connections open, signed in or not.";
    Counter connections_accepted: "Connections accepted.";
    Counter connections_refused: "Connections refused by a limit.";
    Counter tls_failed: "TLS handshakes that failed.";
    Counter logins_ok: "Successful logins.";
    Counter logins_failed: "Failed logins.";
    Counter resumptions: "Sessions resumed.";
    Counter messages_in: "Messages received from clients.";
    Counter presences_in: "Presences received from clients.";
    Counter iqs_in: "IQs received from clients.";
    Counter messages_out: "Messages sent to clients.";
    Counter presences_out: "Presences sent to clients.";
    Counter iqs_out: "IQs sent to clients.";
    Counter messages_stored: "Messages written to archives and for absent accounts.";
    Counter push_sent: "Push notifications sent.";
    Counter bytes_in: "Bytes received from clients, before decryption.";
    Counter bytes_out: "Bytes sent to clients, after encryption.";
    Counter commits: "Database commits.";
}

/// Samples kept: with one each ten seconds, the last five minutes.
const SAMPLES_MAX: usize = 31;

/// The counters of the last minutes, for rates.
#[derive(Debug, Default)]
pub struct Rates(Mutex<VecDeque<(Now, Vec<u64>)>>);

impl Rates {
    pub const fn new() -> Rates {
        Rates(Mutex::new(VecDeque::new()))
    }

    /// Notes all counters. Meant to be called every ten seconds.
    pub fn sample(&self, now: Now) {
        let counters = METRICS.read().into_iter().filter(|s| s.counter).map(|s| s.value).collect();
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back((now, counters));
    }

    /// How much each counter grows per second, over `over` or as long as is known; and over how
    /// long that is. `None` when there was no time to tell.
    pub fn read(&self, over: Duration, now: Now) -> Option<(Duration, Vec<(&'static str, f64)>)> {
        let samples = self.0.lock();
        let from = now.minus(over);
        let (then, before) = samples.iter().find(|(at, _)| *at >= from && *at < now)?;
        let span = now.since(*then);
        let counters = METRICS.read().into_iter().filter(|sample| sample.counter);
        let rate = |(sample, before): (Sample, &u64)| {
            (sample.name, sample.value.saturating_sub(*before) as f64 / span.as_secs_f64())
        };
        Some((span, counters.zip(before).map(rate).collect()))
    }
}

/// The rates of this process.
pub static RATES: Rates = Rates::new();

/// The numbers of this process. They are global, like the process whose they are.
pub static METRICS: Metrics = Metrics::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_ones_count_until_dropped() {
        static GAUGE: Gauge = Gauge::new();
        let held = GAUGE.hold();
        assert_eq!(GAUGE.get(), 1);
        drop(held);
        assert_eq!(GAUGE.get(), 0);
    }

    #[test]
    fn rates_are_told_over_what_is_known() {
        let rates = Rates::new();
        let noon = Now::from_secs(1_000_000);
        let secs = Duration::from_secs;
        assert_eq!(rates.read(secs(60), noon), None);
        for n in 0..100 {
            rates.sample(noon.plus(secs(10 * n)));
        }
        METRICS.push_sent.add(600);
        let now = noon.plus(secs(1_000));
        let (span, told) = rates.read(secs(60), now).unwrap();
        assert_eq!(span, secs(60));
        // Other tests may count, too.
        assert!(told.iter().any(|(name, rate)| *name == "push_sent" && *rate >= 10.0), "{told:?}");
        assert_eq!(rates.read(secs(3600), now).unwrap().0, secs(310));
    }

    #[test]
    fn names_are_read_with_their_values() {
        let metrics = Metrics::new();
        metrics.logins_ok.inc();
        metrics.bytes_in.add(5);
        let samples = metrics.read();
        let value = |name| samples.iter().find(|s| s.name == name).map(|s| (s.counter, s.value));
        assert_eq!(value("logins_ok"), Some((true, 1)));
        assert_eq!(value("bytes_in"), Some((true, 5)));
        assert_eq!(value("connections"), Some((false, 0)));
    }
}
