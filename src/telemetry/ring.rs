//! The newest lines of the log, in memory, for `coucou log` and the dashboard.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::time::Now;

/// Lines that a subscriber may fall behind before it loses some (it is told how many).
const SUBSCRIBER_LAG_MAX: usize = 1024;

/// One line of the log. Texts hold no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// XEP-0082 time, UTC.
    pub time: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The module that wrote it, as in `coucou::stream::c2s`.
    pub target: String,
    /// Message and fields.
    pub message: String,
}

impl LogLine {
    /// A line of now.
    pub fn new(now: Now, level: &str, target: &str, message: String) -> LogLine {
        LogLine { time: now.to_xmpp(), level: level.to_owned(), target: target.to_owned(), message }
    }

    fn bytes(&self) -> usize {
        size_of::<LogLine>()
            + self.time.len()
            + self.level.len()
            + self.target.len()
            + self.message.len()
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:<5} {}: {}", self.time, self.level, self.target, self.message)
    }
}

/// The last lines, bounded in number and in bytes; the oldest go first.
#[derive(Debug)]
pub struct Ring {
    kept: Mutex<Kept>,
    lines_max: usize,
    bytes_max: usize,
    live: broadcast::Sender<Arc<LogLine>>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
}

impl Ring {
    pub fn new(lines_max: usize, bytes_max: usize) -> Ring {
        let live = broadcast::Sender::new(SUBSCRIBER_LAG_MAX);
        Ring { kept: Mutex::default(), lines_max, bytes_max, live }
    }

    /// Adds a line and shows it to all subscribers; never waits for them.
    pub fn push(&self, line: LogLine) {
        let line = Arc::new(line);
        let mut kept = self.kept.lock();
        kept.bytes += line.bytes();
        kept.lines.push_back(line.clone());
        while kept.lines.len() > self.lines_max || kept.bytes > self.bytes_max {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.bytes();
        }
        // Under the lock, so that `tail_and_follow` neither misses nor repeats a line. Without
        // subscribers the channel hands the line back, which is no fault.
        let _ = self.live.send(line);
    }

    /// The last `count` lines, oldest first.
    pub fn tail(&self, count: usize) -> Vec<Arc<LogLine>> {
        tail(&self.kept.lock(), count)
    }

    /// The last `count` lines, and a receiver that goes on exactly after them.
    pub fn tail_and_follow(
        &self,
        count: usize,
    ) -> (Vec<Arc<LogLine>>, broadcast::Receiver<Arc<LogLine>>) {
        let kept = self.kept.lock();
        (tail(&kept, count), self.live.subscribe())
    }
}

fn tail(kept: &Kept, count: usize) -> Vec<Arc<LogLine>> {
    let skip = kept.lines.len().saturating_sub(count);
    kept.lines.iter().skip(skip).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> LogLine {
        LogLine::new(Now(0), "info", "test", message.to_owned())
    }

    fn messages(lines: &[Arc<LogLine>]) -> Vec<&str> {
        lines.iter().map(|line| line.message.as_str()).collect()
    }

    #[test]
    fn the_oldest_lines_go_by_number() {
        let ring = Ring::new(3, 1 << 20);
        ["a", "b", "c", "d"].into_iter().for_each(|text| ring.push(line(text)));
        assert_eq!(messages(&ring.tail(10)), ["b", "c", "d"]);
        assert_eq!(messages(&ring.tail(1)), ["d"]);
    }

    #[test]
    fn the_oldest_lines_go_by_bytes() {
        let ring = Ring::new(1000, 2 * line("").bytes() + 10);
        ["12345", "12345", "x"].into_iter().for_each(|text| ring.push(line(text)));
        assert_eq!(messages(&ring.tail(10)), ["12345", "x"]);
        ring.push(line(&"y".repeat(10_000)));
        assert_eq!(ring.tail(10), []);
        ring.push(line("z"));
        assert_eq!(messages(&ring.tail(10)), ["z"]);
    }

    #[tokio::test]
    async fn followers_go_on_where_the_tail_ends() {
        let ring = Ring::new(10, 1 << 20);
        ring.push(line("a"));
        let (tail, mut live) = ring.tail_and_follow(10);
        ring.push(line("b"));
        assert_eq!(messages(&tail), ["a"]);
        assert_eq!(live.recv().await.unwrap().message, "b");
    }

    #[tokio::test]
    async fn slow_followers_are_told_what_they_missed() {
        let ring = Ring::new(10, 1 << 20);
        let (_, mut live) = ring.tail_and_follow(0);
        (0..SUBSCRIBER_LAG_MAX + 5).for_each(|_| ring.push(line("x")));
        assert_eq!(live.recv().await, Err(broadcast::error::RecvError::Lagged(5)));
    }
}
