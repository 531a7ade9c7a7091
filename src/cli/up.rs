//! `coucou up`: from nothing to a server, without questions.

use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::Common;
use super::ask;
use super::failure::Failure;
use super::first::{self, Plan};
use super::output::Output;
use super::place::{self, CONFIG_NAME, shell_word};
use super::serve;
use crate::config::{Checked, Config};

#[derive(Debug, Args)]
pub(super) struct Up {
    /// The domain to serve, from the first run on [default: localhost]
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Listen here for clients with STARTTLS, from the first run on [default: [::]:5222]
    #[arg(long, value_name = "ADDRESS:PORT", value_delimiter = ',')]
    c2s: Vec<SocketAddr>,
    /// Listen here for clients with direct TLS, from the first run on [default: [::]:5223]
    #[arg(long, value_name = "ADDRESS:PORT", value_delimiter = ',')]
    c2s_tls: Vec<SocketAddr>,
}

impl Up {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let file = match (common.named(), common.config_file()) {
            (Some(file), _) | (None, Ok(file)) => file,
            (None, Err(_)) => place::default_dir()?.join(CONFIG_NAME),
        };
        if !file.exists() {
            self.first_run(&file, common, out)?;
        }
        let checked = serve::settings(&file)?;
        self.agrees_with(&checked.config, &file)?;
        let told = serving(&checked, &file, common);
        serve::serve(file, checked, || out.show(&told.0, |_| told.1))
    }

    /// Prepares everything and tells the password, once, before anything else can fail.
    fn first_run(&self, file: &Path, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let password = ask::generate();
        let plan = Plan {
            file: file.to_owned(),
            data_dir: ".".to_owned(),
            domain: first::domain(self.domain.as_deref().unwrap_or("localhost"))?,
            admin: Some(("admin".to_owned(), password.clone())),
            c2s: self.c2s.clone(),
            c2s_tls: self.c2s_tls.clone(),
        };
        let prepared = first::prepare(&plan)?;
        let jid = prepared.jid.unwrap_or_default();
        let at = at(file, common);
        if prepared.existed {
            return out.show(&json!({ "jid": jid, "password": null }), |_| {
                format!("The account {jid} was there already and keeps its password.")
            });
        }
        out.show(&json!({ "jid": jid, "password": password.reveal() }), |_| {
            format!(
                "Prepared {}.\n\n  address   {jid}\n  password  {}\n\nThe password is shown this once; \
                 `coucou account password {jid}{at}` sets another.\n",
                file.display(),
                password.reveal(),
            )
        })
    }

    /// Flags of the first run may be repeated, but they change nothing any more.
    fn agrees_with(&self, config: &Config, file: &Path) -> Result<(), Failure> {
        let differs = |what: &str, there: String| {
            Err(Failure::usage(format!("{} says {there}, not what {what} says", file.display()))
                .help(
                    "edit that file and run `coucou reload`, or prepare another folder with --dir",
                ))
        };
        if let Some(domain) = &self.domain
            && config.host(&first::domain(domain)?).is_none()
        {
            let hosts: Vec<&str> = config.hosts.iter().map(|host| host.domain.as_str()).collect();
            return differs("--domain", format!("the domain is {}", hosts.join(", ")));
        }
        for (flag, wanted, there) in [
            ("--c2s", &self.c2s, &config.listen.c2s),
            ("--c2s-tls", &self.c2s_tls, &config.listen.c2s_tls),
        ] {
            if !wanted.is_empty() && wanted != there {
                return differs(flag, format!("it listens on {}", addresses(there)));
            }
        }
        Ok(())
    }
}

/// What to tell once the server serves: for programs, and for people.
fn serving(checked: &Checked, file: &Path, common: &Common) -> (serde_json::Value, String) {
    let config = &checked.config;
    let domains: Vec<&str> = config.hosts.iter().map(|host| host.domain.as_str()).collect();
    let value = json!({
        "serving": domains,
        "c2s": addresses(&config.listen.c2s),
        "c2s_tls": addresses(&config.listen.c2s_tls),
        "config": file,
        "log": config.log.dir,
    });
    let at = at(file, common);
    let trust = if config.hosts.iter().any(|host| host.tls.self_signed) {
        "\n  certificate  self-signed: clients ask before they trust it; see [hosts.….tls] in the config file"
    } else {
        ""
    };
    let text = format!(
        "Coucou serves {}.\n\n  STARTTLS     {}\n  direct TLS   {}{trust}\n  config file  {}\n  log          {}\n\n\
         coucou account add NAME@{}{at}\ncoucou log --follow{at}\ncoucou stop{at}    (or Ctrl-C here)",
        domains.join(", "),
        addresses(&config.listen.c2s),
        addresses(&config.listen.c2s_tls),
        file.display(),
        config.log.dir.display(),
        domains.first().copied().unwrap_or("localhost"),
    );
    (value, text)
}

/// What other commands need on their line to find this server.
fn at(file: &Path, common: &Common) -> String {
    if common.named().is_none() {
        return String::new();
    }
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    match file.parent() {
        Some(dir) if file.ends_with(CONFIG_NAME) => format!(" --dir {}", shell_word(dir)),
        _ => format!(" --config {}", shell_word(&file)),
    }
}

fn addresses(list: &[SocketAddr]) -> String {
    if list.is_empty() {
        return "off".to_owned();
    }
    list.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}
