//! Restoring a backup to the running server: verified and staged first, a backup of now, then the
//! server stops in order, swaps and starts again.

use std::sync::atomic::{AtomicBool, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{aside, create, file_of, name_of, passphrase};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::config::value::Secret;
use crate::store::backup::{Kind, Staged, inspect};

/// Puts a backup in the place of all accounts and messages. The server starts anew with it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Its name, or the whole path of a file.
    pub file: String,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub passphrase: Option<Secret>,
    /// Its config file, too.
    #[serde(default)]
    pub with_config: bool,
    /// Tell what would be replaced and lost, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a restore replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restored {
    pub name: String,
    /// When the backup was made.
    pub made: String,
    pub accounts: u64,
    pub messages: u64,
    pub accounts_before: u64,
    pub messages_before: u64,
    /// Messages stored since the backup was made, which it does not have.
    pub messages_lost: u64,
    /// The backup that was made first.
    pub safety: Option<String>,
}

/// What a restore replaces and loses, in words.
pub fn loss(restored: &Restored) -> String {
    format!(
        "{} of {} with {} accounts and {} messages replaces {} accounts and {} messages; {} messages \
         that came since are not in it.",
        restored.name,
        restored.made.get(..16).unwrap_or(&restored.made).replace('T', " "),
        restored.accounts,
        restored.messages,
        restored.accounts_before,
        restored.messages_before,
        restored.messages_lost,
    )
}

/// There is one place to unpack into.
static RESTORING: AtomicBool = AtomicBool::new(false);

struct Turn;

impl Turn {
    fn take() -> Result<Turn, Refusal> {
        if RESTORING.swap(true, Ordering::AcqRel) {
            let text = "another backup is being restored";
            return Err(Refusal::new(RefusalKind::Conflict, text));
        }
        Ok(Turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RESTORING.store(false, Ordering::Release);
    }
}

impl Operation for Restore {
    const NAME: &'static str = "backup.restore";
    const SUMMARY: &'static str = "Replace everything by a backup and start anew";
    const CLASS: Class = Class::LockOut;
    const EXAMPLE: Example = Example {
        arguments: r#"{"file": "2026-11-23T18-40-00Z.coucou"}"#,
        output: r#"{"name": "2026-11-23T18-40-00Z.coucou", "made": "2026-11-23T18:40:00.000Z", "accounts": 214, "messages": 80000, "accounts_before": 215, "messages_before": 80100, "messages_lost": 100, "safety": "/var/lib/coucou/backups/2026-11-24T01-00-00Z.coucou"}"#,
    };
    type Output = Restored;

    fn target(&self) -> String {
        self.file.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    fn to_wire(&self) -> Value {
        json!({
            "file": self.file,
            "passphrase": self.passphrase.as_ref().map(Secret::reveal),
            "with_config": self.with_config,
            "dry_run": self.dry_run,
        })
    }

    async fn run(self, cx: &Context) -> Result<Restored, Refusal> {
        let server = cx.running()?;
        let turn = Turn::take()?;
        let file = file_of(cx, &self.file)?;
        let secret = passphrase(cx, self.passphrase)?;
        let (path, key) = (file.clone(), secret.clone());
        let contents = aside(move || inspect(&path, key.as_ref())).await?;
        let (accounts_before, messages_before, messages_lost) =
            cx.store().stock(contents.made).await?;
        let (accounts, messages) = contents.counts.unwrap_or_default();
        let mut restored = Restored {
            name: name_of(&file),
            made: contents.made.to_xmpp(),
            accounts,
            messages,
            accounts_before,
            messages_before,
            messages_lost,
            safety: None,
        };
        if self.dry_run {
            return Ok(restored);
        }
        let data_dir = cx.config().data_dir.clone();
        let config = self.with_config.then(|| cx.config_file().to_owned());
        let staged =
            aside(move || Staged::unpack(&file, secret.as_ref(), &data_dir, config.as_deref()))
                .await?;
        let safety = match passphrase(cx, None) {
            Ok(secret) => {
                let folder = cx.config().backup.dir.clone();
                create(cx, folder, Kind::BeforeRestore, secret).await.map_err(Refusal::from)
            }
            Err(refusal) => Err(refusal),
        };
        match safety {
            Ok(made) => restored.safety = Some(made.file.display().to_string()),
            Err(refusal) => {
                staged.discard();
                let text =
                    format!("no backup of now could be made first, so nothing was done: {refusal}");
                return Err(Refusal { text, ..refusal });
            }
        }
        server.restart_with(staged);
        // Until the end of this process.
        std::mem::forget(turn);
        Ok(restored)
    }
}
