//! The clock. Protocol code takes [`Now`] as an argument; only shells call [`Now::read`].

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now(pub i64);

impl Now {
    /// Reads the system's clock.
    pub fn read() -> Now {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    pub fn from_secs(secs: i64) -> Now {
        Now(secs.saturating_mul(1_000_000))
    }

    pub fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Time since `earlier`; zero when the clock was set back in between.
    pub fn since(self, earlier: Now) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    pub fn plus(self, span: Duration) -> Now {
        Now(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, span: Duration) -> Now {
        Now(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// XEP-0082 `DateTime` in UTC with milliseconds, as in `2026-11-23T18:40:00.123Z`.
    pub fn to_xmpp(self) -> String {
        let t = self.civil();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.millisecond()
        )
    }

    /// Reads a XEP-0082 `DateTime`; fractions and offsets are honoured.
    pub fn parse_xmpp(text: &str) -> Option<Now> {
        let t = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(t.unix_timestamp_nanos() / 1_000).ok().map(Now)
    }

    fn civil(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_xmpp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xmpp_text_round_trips_to_the_millisecond() {
        let now = Now(1_795_459_200_123_000);
        assert_eq!(Now::parse_xmpp(&now.to_xmpp()), Some(now));
    }

    #[test]
    fn offsets_and_missing_fractions_are_read() {
        assert_eq!(
            Now::parse_xmpp("1969-07-20T21:56:15-05:00"),
            Now::parse_xmpp("1969-07-21T02:56:15Z")
        );
        assert_eq!(Now::parse_xmpp("yesterday"), None);
    }
}
