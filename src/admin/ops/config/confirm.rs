//! The change that is undone unless somebody can still come in and confirm it.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::{Context, Running};
use crate::config::history::{History, Pending};
use crate::store::audit::Act;
use crate::time::Now;

/// Keeps a change that would be undone soon. Only a connection made after the change proves that
/// operators still come in.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confirmed {
    /// The state that stays.
    pub id: u64,
}

impl Operation for Confirm {
    const NAME: &'static str = "config.confirm";
    const SUMMARY: &'static str = "Keep a change of the settings that would be undone soon";
    const CLASS: Class = Class::LockOut;
    const EXAMPLE: Example = Example { arguments: "{}", output: r#"{"id": 12}"# };
    type Output = Confirmed;

    async fn run(self, cx: &Context) -> Result<Confirmed, Refusal> {
        let history = change::history(cx);
        let _lock = change::lock(&history).await?;
        let pending = history
            .pending()
            .ok_or_else(|| Refusal::not_found("no change waits for a confirmation"))?;
        let changed_for = Now::read().since(Now(pending.since));
        let connected_for = cx.actor().map(|actor| actor.connected.elapsed());
        if connected_for.is_none_or(|connected_for| connected_for >= changed_for) {
            return Err(Refusal::denied(
                "this connection is older than the change, so it does not prove that anybody can still come in",
            )
            .help("connect anew and confirm then; `coucou config confirm` does"));
        }
        history.set_pending(None).map_err(|error| change::no_history(&error))?;
        Ok(Confirmed { id: pending.id })
    }
}

/// Takes up the change of the last run that still waits, when the server starts.
pub fn resume(server: Arc<dyn Running>) {
    let history = History::new(&server.router().config.load().data_dir);
    if let Some(pending) = history.pending() {
        watch(server, history, pending);
    }
}

/// Undoes the change when its time is up, unless it was confirmed or undone by then.
pub(super) fn watch(server: Arc<dyn Running>, history: History, pending: Pending) {
    tokio::spawn(async move {
        loop {
            let left = Now(pending.until).since(Now::read());
            if left.is_zero() {
                break;
            }
            // Clocks are set; so never one long sleep.
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
        let Ok(_lock) = change::lock(&history).await else {
            tracing::error!(
                "the settings are being edited; the change that was not confirmed stays"
            );
            return;
        };
        if history.pending().as_ref() == Some(&pending) {
            undo(&server, &history, &pending).await;
        }
    });
}

async fn undo(server: &Arc<dyn Running>, history: &History, pending: &Pending) {
    let outcome = match history.settle(server.config_file(), Now::read(), true) {
        Ok(Some(told)) => match Arc::clone(server).reload().await {
            Ok(_) => told,
            Err(refusal) => format!("{told}, but it cannot be brought into force: {refusal}"),
        },
        Ok(None) => "the file was edited since; it stays as it is".to_owned(),
        Err(error) => format!("the old settings could not be put back: {error}"),
    };
    tracing::warn!(state = pending.id, "{outcome}");
    let act = Act {
        at: Now::read(),
        who: "server".to_owned(),
        from: "timer".to_owned(),
        what: "config.revert".to_owned(),
        target: pending.back.to_string(),
        detail: serde_json::json!({ "arguments": { "id": pending.back }, "outcome": outcome })
            .to_string(),
    };
    if let Err(error) = server.router().store.audit().append(act).await {
        tracing::error!(%error, "an undone change could not be written to the audit");
    }
}
