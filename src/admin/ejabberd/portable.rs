//! Tag *mnesia*, what there is of it to say here: exports and imports by XEP-0227.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, rescode};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Refusal};
use crate::admin::ops::portable;
use crate::admin::portable::export::Exported;
use crate::admin::portable::import::{Existing, Imported};
use crate::time::Now;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<ImportPiefxis>(),
    Entry::command::<ExportPiefxis>(),
    Entry::command::<ExportPiefxisHost>(),
];

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportPiefxis {
    file: String,
}

impl Command for ImportPiefxis {
    const NAME: &'static str = "import_piefxis";
    const EXAMPLE: Example =
        Example { arguments: r#"{"file": "/var/lib/coucou/export.xml"}"#, output: "0" };
    type Op = portable::Import;
    type Result = Rescode;

    /// ejabberd leaves accounts alone that are there.
    fn operation(self, _: &Context) -> Result<portable::Import, Refusal> {
        Ok(portable::Import { file: self.file, existing: Existing::Skip, dry_run: false })
    }

    fn result(outcome: Result<Imported, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

/// Writes a file into the directory, named by the time.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportPiefxis {
    dir: String,
}

impl Command for ExportPiefxis {
    const NAME: &'static str = "export_piefxis";
    const EXAMPLE: Example = Example { arguments: r#"{"dir": "/var/lib/coucou"}"#, output: "0" };
    type Op = portable::Export;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<portable::Export, Refusal> {
        Ok(portable::Export { jid: None, host: None, file: named(&self.dir, "") })
    }

    fn result(outcome: Result<Exported, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

/// The same for one host.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportPiefxisHost {
    dir: String,
    host: String,
}

impl Command for ExportPiefxisHost {
    const NAME: &'static str = "export_piefxis_host";
    const EXAMPLE: Example =
        Example { arguments: r#"{"dir": "/var/lib/coucou", "host": "example.org"}"#, output: "0" };
    type Op = portable::Export;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<portable::Export, Refusal> {
        let file = named(&self.dir, "_host");
        Ok(portable::Export { jid: None, host: Some(self.host), file })
    }

    fn result(outcome: Result<Exported, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

/// As in `20261123-120000.xml`.
fn named(dir: &str, what: &str) -> String {
    let now = Now::read().to_xmpp().replace(['-', ':'], "").replace('T', "-");
    let seconds = now.get(..15).unwrap_or(&now);
    Path::new(dir).join(format!("{seconds}{what}.xml")).display().to_string()
}
