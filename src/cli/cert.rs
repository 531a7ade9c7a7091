//! `coucou cert …`

use clap::Subcommand;

use super::Common;
use super::failure::Failure;
use super::output::{Output, clean, table};
use super::reach::Reach;
use crate::admin::ops::cert::{Certificates, List, Reload, Shown};

#[derive(Debug, Subcommand)]
pub(super) enum Cert {
    /// List certificates: names, issuer, days left, and what is wrong with them
    List,
    /// Read the files again now; the server looks by itself every minute
    Reload,
}

impl Cert {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let mut reach = Reach::anyway(common)?;
        let certificates = match self {
            Cert::List => reach.call(&List {})?,
            Cert::Reload => reach.call(&Reload {})?,
        };
        reach.close()?;
        out.show(&certificates, text)
    }
}

fn text(certificates: &Certificates) -> String {
    let headings = ["NAMES", "SHOWN FOR", "ISSUER", "DAYS LEFT", "FILE"];
    let mut text = table(headings, certificates.certificates.iter().map(row));
    for warning in &certificates.warnings {
        text.push_str(&format!("\nwarning: {}", clean(warning)));
    }
    text
}

fn row(shown: &Shown) -> [String; 5] {
    [
        shown.names.join(" "),
        shown.hosts.join(" "),
        if shown.self_signed { "self-signed".to_owned() } else { shown.issuer.clone() },
        shown.days_left.to_string(),
        shown.file.clone(),
    ]
}
