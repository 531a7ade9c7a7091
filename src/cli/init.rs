//! `coucou init`: prepares a server and says what is left to do.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Common;
use super::ask::{self, PasswordSource};
use super::failure::Failure;
use super::first::{self, Plan};
use super::output::{Output, table};
use super::place::{self, CONFIG_NAME, shell_word};

/// Asks for what the flags leave open; without a terminal, what has no default must be given.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The domain to serve: what stands behind the @ of its addresses
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// The name of the first account, without its domain [default: admin]
    #[arg(long, value_name = "NAME", conflicts_with = "no_account")]
    admin: Option<String>,
    /// Make no account
    #[arg(long)]
    no_account: bool,
    #[command(flatten)]
    password: PasswordSource,
    /// An address under which clients reach this machine, for the DNS records that are shown; may
    /// be repeated
    #[arg(long = "public-address", value_name = "IP")]
    public_addresses: Vec<IpAddr>,
    /// Home of the database [default: the folder of the config file]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// What was made, and what the zone of the domain needs.
#[derive(Debug, Serialize)]
struct Made {
    #[serde(flatten)]
    prepared: first::Prepared,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    dns: Vec<Record>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Record {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    data: String,
}

impl Init {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let file = match common.named() {
            Some(file) => file,
            None => place::default_dir()?.join(CONFIG_NAME),
        };
        if file.exists() {
            return Err(Failure::conflict(format!("{} exists already", file.display()))
                .help("edit it, or prepare another folder with --dir"));
        }
        let domain = match self.domain {
            Some(domain) => first::domain(&domain)?,
            None => first::domain(&ask::question("Domain, as in example.org", "", "--domain")?)?,
        };
        let admin = match (self.no_account, self.admin) {
            (true, _) => None,
            (false, Some(admin)) => Some(admin),
            (false, None) if ask::can_ask() => {
                Some(ask::question("First account", "admin", "--admin")?)
            }
            (false, None) => Some("admin".to_owned()),
        };
        let (admin, password) = match admin {
            Some(name) => {
                let (secret, made_up) = if self.password.is_chosen() || ask::can_ask() {
                    self.password.read(&format!("{name}@{domain}"))?
                } else {
                    (ask::generate(), true)
                };
                let shown = made_up.then(|| secret.reveal().to_owned());
                (Some((name, secret)), shown)
            }
            None => (None, None),
        };
        let addresses = if self.public_addresses.is_empty() && ask::can_ask() {
            asked_addresses()?
        } else {
            self.public_addresses
        };
        let data_dir = self.data_dir.map(|dir| std::path::absolute(&dir).unwrap_or(dir));
        let plan = Plan {
            file: file.clone(),
            data_dir: data_dir.map_or_else(|| ".".to_owned(), |dir| dir.display().to_string()),
            domain: domain.clone(),
            admin,
            c2s: Vec::new(),
            c2s_tls: Vec::new(),
        };
        let prepared = first::prepare(&plan)?;
        let password = password.filter(|_| !prepared.existed);
        let made = Made { prepared, password, dns: records(&domain, &addresses) };
        out.show(&made, text)
    }
}

fn asked_addresses() -> Result<Vec<IpAddr>, Failure> {
    let question = "Public IP addresses of this machine, with spaces between (empty if unknown)";
    let answer = ask::question(question, "", "--public-address")?;
    let words = answer.split([' ', ',']).filter(|word| !word.is_empty());
    words
        .map(|word| {
            word.parse().map_err(|_| Failure::usage(format!("{word:?} is not an IP address")))
        })
        .collect()
}

/// The records by which clients find the server (RFC 6120 §3.2, XEP-0368). None for names that DNS
/// does not have.
fn records(domain: &str, addresses: &[IpAddr]) -> Vec<Record> {
    if !domain.contains('.') || domain.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
    let mut records: Vec<Record> = addresses
        .iter()
        .map(|address| Record {
            name: format!("{domain}."),
            kind: if address.is_ipv4() { "A" } else { "AAAA" },
            data: address.to_string(),
        })
        .collect();
    for (service, port) in [("_xmpp-client", 5222), ("_xmpps-client", 5223)] {
        let name = format!("{service}._tcp.{domain}.");
        records.push(Record { name, kind: "SRV", data: format!("0 5 {port} {domain}.") });
    }
    records
}

fn text(made: &Made) -> String {
    let prepared = &made.prepared;
    let mut text = format!("Prepared {} for {}.\n", prepared.config.display(), prepared.domain);
    if let Some(jid) = &prepared.jid {
        text.push_str(&format!("\n  address   {jid}\n"));
        if prepared.existed {
            text.push_str("  password  as before: the account was there already\n");
        }
        if let Some(password) = &made.password {
            text.push_str(&format!("  password  {password}   (shown this once)\n"));
        }
    }
    if !made.dns.is_empty() {
        let rows = made
            .dns
            .iter()
            .map(|record| [record.name.clone(), record.kind.to_owned(), record.data.clone()]);
        text.push_str(&format!(
            "\nThe zone of the domain needs these records:\n{}\n",
            table(["NAME", "TYPE", "DATA"], rows)
        ));
    }
    text.push_str(&format!(
        "\nA certificate that clients trust goes into [hosts.\"{}\".tls]; until then it is a self-signed one.\n\
         Start the server: coucou serve --config {}",
        prepared.domain,
        shell_word(&std::path::absolute(&prepared.config).unwrap_or_else(|_| prepared.config.clone())),
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_records_are_complete_and_ascii() {
        let records = records(
            "bücher.example",
            &["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        );
        let shown: Vec<_> =
            records.iter().map(|r| format!("{} {} {}", r.name, r.kind, r.data)).collect();
        assert_eq!(
            shown,
            [
                "xn--bcher-kva.example. A 192.0.2.1",
                "xn--bcher-kva.example. AAAA 2001:db8::1",
                "_xmpp-client._tcp.xn--bcher-kva.example. SRV 0 5 5222 xn--bcher-kva.example.",
                "_xmpps-client._tcp.xn--bcher-kva.example. SRV 0 5 5223 xn--bcher-kva.example.",
            ]
        );
        assert_eq!(super::records("localhost", &[]), []);
    }
}
