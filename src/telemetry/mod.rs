//! Sight: the log with its live ring, and counters read on demand.

pub mod log;
pub mod metrics;
pub mod ring;

pub use log::{LogError, Override, Telemetry};
pub use metrics::METRICS;
pub use ring::{LogLine, Ring};
