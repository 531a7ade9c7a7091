//! The first run: config file, data directory and first account, for `coucou up` and `coucou init`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::failure::Failure;
use super::reach::DataDir;
use crate::admin::ops::account::{Add, List};
use crate::config::value::{self, Secret};
use crate::config::{self, Checked, Template};
use crate::jid::Jid;

/// What is to be prepared.
#[derive(Debug)]
pub(super) struct Plan {
    pub file: PathBuf,
    /// As it shall stand in the file; `.` is the file's own folder.
    pub data_dir: String,
    /// Normalised.
    pub domain: String,
    /// The name of the first account, and its password; none if there shall be none.
    pub admin: Option<(String, Secret)>,
    /// Empty lists leave the defaults.
    pub c2s: Vec<SocketAddr>,
    pub c2s_tls: Vec<SocketAddr>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Prepared {
    pub config: PathBuf,
    pub domain: String,
    pub jid: Option<String>,
    /// The account was there before and keeps its password.
    pub existed: bool,
}

/// `text` as a domain.
///
/// # Errors
/// If it is none.
pub(super) fn domain(text: &str) -> Result<String, Failure> {
    value::domain(text).map_err(|reason| {
        Failure::usage(format!("the domain {text:?} {reason}"))
            .help("it looks like chat.example.org")
    })
}

/// Makes everything that `plan` says. The config file comes last: where it is, all else is.
///
/// # Errors
/// If anything is in the way; what was made by then does no harm to a second try.
pub(super) fn prepare(plan: &Plan) -> Result<Prepared, Failure> {
    let jid = match &plan.admin {
        Some((name, _)) => Some(jid(name, &plan.domain)?),
        None => None,
    };
    let text = template(plan).render();
    let dir =
        plan.file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |what: &Path, error: std::io::Error| {
        Failure::failed(format!("cannot make {}: {error}", what.display()))
    };
    if !dir.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| failed(dir, error))?;
    }
    let Checked { config, .. } = config::parse(&text, &plan.file)?;
    let mut existed = false;
    let data = DataDir::create(config, plan.file.clone())?;
    if let (Some(jid), Some((name, password))) = (&jid, &plan.admin) {
        let same =
            List { host: plan.domain.clone(), prefix: name.to_lowercase(), ..List::default() };
        existed = data.call(&same)?.accounts.iter().any(|account| account.jid == *jid);
        if !existed {
            // Whoever runs the server may be called admin.
            data.call(&Add { jid: jid.clone(), password: password.clone(), force: true })?;
        }
    }
    data.close()?;
    // Never over a file that is there: it may hold somebody's settings.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(&plan.file).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| failed(&plan.file, error))?;
    Ok(Prepared { config: plan.file.clone(), domain: plan.domain.clone(), jid, existed })
}

fn jid(name: &str, domain: &str) -> Result<String, Failure> {
    Jid::from_parts(Some(name), domain, None).map(|jid| jid.to_string()).map_err(|error| {
        Failure::usage(format!("{name:?} cannot be the name of an account: {error}"))
            .help("give the part before the @ only, as in `admin`")
    })
}

fn template(plan: &Plan) -> Template {
    let mut template = Template::new(&plan.domain).set("", "data_dir", plan.data_dir.as_str());
    for (key, addresses) in [("c2s", &plan.c2s), ("c2s_tls", &plan.c2s_tls)] {
        if !addresses.is_empty() {
            let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
            template = template.set("listen", key, addresses);
        }
    }
    if let Some((name, _)) = &plan.admin {
        template =
            template.set("host.contact", "admin", vec![format!("xmpp:{name}@{}", plan.domain)]);
    }
    template
}
