//! Moments and pages, as operators write them.

use crate::admin::op::Refusal;
use crate::config::value::Span;
use crate::time::Now;

/// A moment that stands in the argument `name`: XEP-0082 text, a day, or an age such as `7d`.
pub(super) fn moment(name: &str, text: &str, now: Now) -> Result<Now, Refusal> {
    let day = || Now::parse_xmpp(&format!("{text}T00:00:00Z"));
    let ago = || text.parse::<Span>().ok().map(|span| now.minus(span.0));
    Now::parse_xmpp(text).or_else(day).or_else(ago).ok_or_else(|| {
        Refusal::usage(format!("{name}: {text:?} is no moment"))
            .help("write a time (2026-11-23T18:40:00Z), a day (2026-11-23) or an age (7d, 12h)")
    })
}

/// The same, where it may be left out.
pub(super) fn moment_opt(name: &str, text: Option<&str>, now: Now) -> Result<Option<Now>, Refusal> {
    text.map(|text| moment(name, text, now)).transpose()
}

/// `days` before `now`.
///
/// # Errors
/// If that is longer ago than there was time.
pub(super) fn days_ago(days: u64, now: Now) -> Result<Now, Refusal> {
    const DAYS_MAX: u64 = 36_500;
    if days > DAYS_MAX {
        return Err(Refusal::usage(format!("days: {days} is more than {DAYS_MAX}")));
    }
    Ok(now.minus(std::time::Duration::from_secs(days * 86_400)))
}

/// How many items a page has: what was asked for within `most`; 0 stands for `most`.
pub(super) fn page(asked: usize, most: usize) -> usize {
    if asked == 0 { most } else { asked.min(most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_days_and_ages() {
        let now = Now::parse_xmpp("2026-11-23T12:00:00Z").unwrap();
        for (text, is) in [
            ("2026-11-20T01:02:03Z", "2026-11-20T01:02:03.000Z"),
            ("2026-11-20", "2026-11-20T00:00:00.000Z"),
            ("2d", "2026-11-21T12:00:00.000Z"),
            ("1h 30m", "2026-11-23T10:30:00.000Z"),
        ] {
            assert_eq!(moment("since", text, now).unwrap().to_xmpp(), is);
        }
        let refusal = moment("since", "yesterday", now).unwrap_err();
        assert_eq!(refusal.text, "since: \"yesterday\" is no moment");
        assert!(days_ago(40_000, now).is_err());
        assert_eq!((page(0, 10), page(3, 10), page(99, 10)), (10, 3, 10));
    }
}
