//! `coucou import`

use std::path::PathBuf;

use clap::Args;

use super::Common;
use super::export::{self, OnExisting};
use super::failure::Failure;
use super::output::Output;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// A file of XEP-0227, as `coucou export` and other servers write it; the server reads it
    file: PathBuf,
    /// What to do about accounts that are there already
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    existing: OnExisting,
    /// Only look, and tell what would come in
    #[arg(long)]
    dry_run: bool,
}

impl Import {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        export::import(common, out, &self.file, self.existing.into(), self.dry_run)
    }
}
