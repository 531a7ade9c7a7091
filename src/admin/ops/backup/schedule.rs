//! When backups are due by themselves, and which of them are kept.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{create, passphrase, remove};
use crate::admin::Context;
use crate::config::Schedule;
use crate::store::backup::{self as files, Contents, Kind, same_disk};
use crate::time::Now;

const DAY: i64 = 86_400;
/// After one that failed.
const TRY_AGAIN: Duration = Duration::from_secs(3600);

/// The newest scheduled backup of a list.
pub(super) fn newest(found: &[Contents]) -> Option<Now> {
    found.iter().filter(|backup| backup.kind == Kind::Scheduled).map(|backup| backup.made).max()
}

/// When the next one is due; in the past if it is overdue.
pub(super) fn next(schedule: Schedule, now: Now, newest: Option<Now>) -> Option<Now> {
    match schedule {
        Schedule::Off => None,
        Schedule::Every(every) => Some(newest.map_or(now, |newest| newest.plus(every))),
        Schedule::Daily { minute } => {
            let on = |day: i64| Now::from_secs(day * DAY + i64::from(minute) * 60);
            let today = now.secs().div_euclid(DAY);
            let last = if on(today) <= now { today } else { today - 1 };
            // Without any yet, the next time of day is soon enough.
            let missed = newest.is_some_and(|newest| newest < on(last));
            Some(if missed { on(last) } else { on(last + 1) })
        }
    }
}

/// Scheduled backups that are neither the newest of one of the last `daily` days that have one nor
/// of one of the last `weekly` weeks. Others are never superfluous.
pub(super) fn superfluous(found: &[Contents], daily: usize, weekly: usize) -> Vec<&Contents> {
    let mut scheduled: Vec<&Contents> =
        found.iter().filter(|backup| backup.kind == Kind::Scheduled).collect();
    scheduled.sort_by_key(|backup| std::cmp::Reverse(backup.made));
    let (mut days, mut weeks) = (BTreeSet::new(), BTreeSet::new());
    scheduled.retain(|backup| {
        let day = backup.made.secs().div_euclid(DAY);
        // 1970-01-01 was a Thursday; weeks begin on Mondays.
        let week = (day + 3).div_euclid(7);
        let of_day = days.len() < daily && days.insert(day);
        let of_week = weeks.len() < weekly && weeks.insert(week);
        !(of_day || of_week)
    });
    scheduled
}

/// Makes the backup that is due, if one is, and lets the old ones go. `tried` is when this was last
/// attempted.
pub async fn run(cx: &Context, tried: &mut Option<Now>) {
    let plan = &cx.config().backup;
    let now = Now::read();
    if plan.schedule == Schedule::Off || tried.is_some_and(|tried| now.since(tried) < TRY_AGAIN) {
        return;
    }
    let found = files::list(&plan.dir).unwrap_or_default();
    if next(plan.schedule, now, newest(&found)).is_none_or(|next| next > now) {
        return;
    }
    *tried = Some(now);
    let secret = match passphrase(cx, None) {
        Ok(secret) => secret,
        Err(error) => {
            tracing::error!(%error, "the backup that is due cannot be encrypted and is not made");
            return;
        }
    };
    match create(cx, plan.dir.clone(), Kind::Scheduled, secret).await {
        Ok(made) => {
            tracing::info!(file = %made.file.display(), bytes = made.bytes, "backup made");
            *tried = None;
            if same_disk(&cx.config().data_dir, &plan.dir) {
                tracing::warn!(
                    "backups are on the disk of the data and will be lost with it; see backup.dir"
                );
            }
        }
        Err(error) => {
            tracing::error!(%error, "the backup that was due could not be made");
            return;
        }
    }
    let found = files::list(&plan.dir).unwrap_or_default();
    let gone = superfluous(&found, plan.keep_daily, plan.keep_weekly);
    let gone: Vec<_> = gone.iter().map(|backup| backup.file.clone()).collect();
    match remove(&gone) {
        Ok(removed) if removed.names.is_empty() => {}
        Ok(removed) => tracing::info!(backups = %removed.names.join(", "), "old backups deleted"),
        Err(error) => tracing::warn!(%error, "old backups stay"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Now = Now(1_795_608_000_000_000);

    fn backup(days_ago: u64, hours: u64, kind: Kind) -> Contents {
        let made = NOON.minus(Duration::from_secs(days_ago * 86_400 + hours * 3600));
        Contents {
            file: format!("/b/{days_ago}-{hours}").into(),
            bytes: 1,
            made,
            version: String::new(),
            kind,
            encrypted: false,
            counts: None,
        }
    }

    #[test]
    fn a_backup_is_due_once_at_its_time_of_day_and_missed_ones_are_made_up_for() {
        let time = Schedule::Daily { minute: 190 };
        let due = |hours: i64, newest: Option<Now>| {
            next(time, NOON.plus(Duration::from_secs(hours as u64 * 3600)), newest)
                .map(|next| next.to_xmpp()[..16].to_owned())
        };
        let today = &NOON.to_xmpp()[..10];
        assert_eq!(
            due(0, Some(NOON.minus(Duration::from_secs(8 * 3600)))),
            Some(format!("{}T03:10", &NOON.plus(Duration::from_secs(86_400)).to_xmpp()[..10]))
        );
        assert_eq!(
            due(0, Some(NOON.minus(Duration::from_secs(48 * 3600)))),
            Some(format!("{today}T03:10"))
        );
        assert!(due(0, None).unwrap() > NOON.to_xmpp());
        assert_eq!(next(Schedule::Off, NOON, None), None);
        let every = Schedule::Every(Duration::from_secs(3600));
        assert_eq!(next(every, NOON, None), Some(NOON));
        assert_eq!(next(every, NOON, Some(NOON)), Some(NOON.plus(Duration::from_secs(3600))));
    }

    #[test]
    fn the_newest_of_days_and_weeks_stay_and_so_do_those_made_by_hand() {
        let mut all: Vec<Contents> = (0..40).map(|day| backup(day, 1, Kind::Scheduled)).collect();
        all.push(backup(0, 5, Kind::Scheduled));
        all.push(backup(39, 3, Kind::Manual));
        all.push(backup(38, 3, Kind::BeforeRestore));
        let gone = superfluous(&all, 7, 4);
        let stays: Vec<&Contents> = all.iter().filter(|backup| !gone.contains(backup)).collect();
        assert!(gone.iter().all(|backup| backup.kind == Kind::Scheduled));
        assert!(gone.iter().any(|backup| backup.file.ends_with("0-5")));
        // Seven days, the weeks that they do not reach, and two that nobody scheduled.
        assert!((2 + 7 + 2..=2 + 7 + 3).contains(&stays.len()), "{}", stays.len());
        assert_eq!(superfluous(&all, 100, 0).len(), 1);
    }
}
