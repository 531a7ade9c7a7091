//! The `[backup]` table.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::path;
use super::diff::Effect;
use super::raw::Table;
use super::value::Span;

const HOUR: Duration = Duration::from_secs(3600);

/// Backups that the server makes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backups {
    pub schedule: Schedule,
    /// The folder they go into.
    pub dir: PathBuf,
    /// Days of which the newest scheduled backup is kept.
    pub keep_daily: usize,
    /// Weeks of which the newest one is kept.
    pub keep_weekly: usize,
    /// The file whose first line encrypts them; `None` leaves them plain.
    pub passphrase_file: Option<PathBuf>,
}

/// When a backup is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Off,
    /// Each day, so many minutes after midnight UTC.
    Daily {
        minute: u32,
    },
    Every(Duration),
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Off => f.write_str("off"),
            Schedule::Daily { minute } => write!(f, "{:02}:{:02}", minute / 60, minute % 60),
            Schedule::Every(every) => Span(*every).fmt(f),
        }
    }
}

fn schedule(text: &str) -> Result<Schedule, String> {
    if text == "off" {
        return Ok(Schedule::Off);
    }
    if let Some((hour, minute)) = text.split_once(':') {
        let number = |text: &str, below: u32| {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten().filter(|number: &u32| *number < below)
        };
        return match (number(hour, 24), number(minute, 60)) {
            (Some(hour), Some(minute)) => Ok(Schedule::Daily { minute: hour * 60 + minute }),
            _ => Err("is no time of day".to_owned()),
        };
    }
    let Span(every) = text.parse()?;
    if (HOUR..=HOUR * 24 * 366).contains(&every) {
        Ok(Schedule::Every(every))
    } else {
        Err("is not from 1h to 366d".to_owned())
    }
}

/// Reads `[backup]`.
pub(super) fn backup(table: &mut Table<'_, '_>, data_dir: &Path) -> Backups {
    table.effect(Effect::Live);
    let base = data_dir.to_owned();
    Backups {
        schedule: table.text(
            "schedule",
            Schedule::Off,
            "a time of day such as \"03:10\", a distance such as \"12h\", or \"off\"",
            Schedule::to_string,
            schedule,
        ),
        dir: path(table, "dir", "backups", data_dir),
        keep_daily: table.count("keep_daily", 7, 1..=3650) as usize,
        keep_weekly: table.count("keep_weekly", 4, 0..=520) as usize,
        passphrase_file: table.text(
            "passphrase_file",
            None,
            "a path, or \"\" for none",
            |file: &Option<PathBuf>| {
                file.as_ref().map_or_else(String::new, |file| file.display().to_string())
            },
            |text| Ok((!text.is_empty()).then(|| base.join(text))),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_and_written_alike() {
        for text in ["off", "03:10", "23:59", "12h", "2d"] {
            assert_eq!(schedule(text).unwrap().to_string(), text);
        }
        for (text, why) in [
            ("24:00", "is no time of day"),
            ("3:10", "is no time of day"),
            ("5m", "is not from 1h to 366d"),
            ("daily", "does not start with a whole number"),
        ] {
            assert_eq!(schedule(text).unwrap_err(), why, "{text}");
        }
    }
}
