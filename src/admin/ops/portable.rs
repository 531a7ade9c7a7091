//! Accounts that go to other servers and come from them, in files of XEP-0227.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::portable::export::{self, Exported};
use crate::admin::portable::import::{self, Existing, Imported};

/// Writes an account, the accounts of a host, or all into a file on the server.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Only this account.
    #[serde(default)]
    pub jid: Option<String>,
    /// Only the accounts of this host.
    #[serde(default)]
    pub host: Option<String>,
    /// The whole path of a file that is not there yet. The server writes it, and only its user
    /// may read it.
    pub file: String,
}

impl Operation for Export {
    const NAME: &'static str = "account.export";
    const SUMMARY: &'static str = "Write accounts with all their data into a file (XEP-0227)";
    const CLASS: Class = Class::Reversible;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "file": "/var/lib/coucou/anna.xml"}"#,
        output: r#"{"file": "/var/lib/coucou/anna.xml", "accounts": 1, "archived": 120,
            "waiting": 0, "bytes": 61440}"#,
    };
    type Output = Exported;

    fn target(&self) -> String {
        self.jid.clone().or_else(|| self.host.clone()).unwrap_or_default()
    }

    /// It writes where the server may write, whatever host the accounts are of.
    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Exported, Refusal> {
        let file = PathBuf::from(&self.file);
        match (&self.jid, &self.host) {
            (Some(_), Some(_)) => Err(Refusal::usage("jid and host exclude each other")),
            (Some(jid), None) => {
                let (jid, host) = account::account(cx, jid)?;
                account::existing(cx, &jid).await?;
                export::export(cx, &[host], Some(&jid), &file).await
            }
            (None, host) => {
                let mut hosts = account::hosts(cx, host.as_deref().unwrap_or_default())?;
                hosts.retain(|host| !host.is_guest());
                export::export(cx, &hosts, None, &file).await
            }
        }
    }
}

/// Takes in the accounts of a file on the server, if nothing in it is wrong.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The whole path of the file; those that it includes lie beside it or below.
    pub file: String,
    /// What to do about accounts that are there already.
    #[serde(default)]
    pub existing: Existing,
    /// Only look, and tell what would come in.
    #[serde(default)]
    pub dry_run: bool,
}

impl Operation for Import {
    const NAME: &'static str = "account.import";
    const SUMMARY: &'static str = "Take in accounts with all their data from a file (XEP-0227)";
    const CLASS: Class = Class::Destructive;
    /// Faults tell what is in the server's files.
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"file": "/var/lib/coucou/export.xml", "existing": "skip"}"#,
        output: r#"{"dry_run": false, "made": 2, "replaced": 0, "skipped": 1,
            "without_password": 0, "sha_1_only": 2, "contacts": 14, "requests": 0, "archived": 812, "waiting": 3,
            "vcards": 2, "private": 1, "blocked": 0, "left_out": {"PEP nodes": 4}}"#,
    };
    type Output = Imported;

    fn target(&self) -> String {
        self.file.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    fn class(&self) -> Class {
        if self.dry_run { Class::Safe } else { Class::Destructive }
    }

    async fn run(self, cx: &Context) -> Result<Imported, Refusal> {
        import::import(cx, PathBuf::from(self.file), self.existing, self.dry_run).await
    }
}
