//! `coucou reload`

use super::Common;
use super::failure::Failure;
use super::output::{Output, clean};
use super::reach::Reach;
use crate::admin::ops::config::Reload;
use crate::config::Effect;

pub(super) fn run(common: &Common, out: &mut Output) -> Result<(), Failure> {
    let mut client = Reach::server(common)?;
    let reloaded = client.call(&Reload {})?;
    out.show(&reloaded, |reloaded| {
        let mut lines: Vec<String> =
            reloaded.changes.iter().map(|change| clean(&change.to_string())).collect();
        if lines.is_empty() {
            lines.push("Nothing has changed.".to_owned());
        }
        if reloaded.changes.iter().any(|change| change.effect == Effect::Restart) {
            lines.push(
                "What needs a restart is as before until the server is started again.".to_owned(),
            );
        }
        lines.extend(reloaded.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.join("\n")
    })
}
