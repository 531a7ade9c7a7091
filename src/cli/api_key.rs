//! `coucou api-key …`

use clap::Subcommand;

use super::Common;
use super::failure::Failure;
use super::output::{Output, table};
use super::reach::Reach;
use crate::admin::ops::api_key::{Create, List, Listed, Revoke};

#[derive(Debug, Subcommand)]
pub(super) enum ApiKey {
    /// Make a key for a program that calls the HTTP API, and show it this once
    Create {
        /// For the list and the audit
        name: String,
        /// What it may ask for: names, with * for any text, [tag:…], [class:safe], !NAME
        #[arg(long = "allow", value_name = "OPERATION", required = true, num_args = 1..)]
        operations: Vec<String>,
        /// Only on this host
        #[arg(long = "host", value_name = "DOMAIN")]
        hosts: Vec<String>,
        /// Only from this network
        #[arg(long = "network", value_name = "NETWORK")]
        networks: Vec<String>,
        /// How long it lives, as in 30d
        #[arg(long, value_name = "TIME")]
        expires_in: Option<String>,
        /// It only looks, and not at what people write
        #[arg(long)]
        view: bool,
    },
    /// List the keys and what they may do
    List,
    /// End a key
    Revoke { name: String },
}

impl ApiKey {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let mut reach = Reach::anyway(common)?;
        let done = self.with(&mut reach, out);
        reach.close()?;
        done
    }

    fn with(self, reach: &mut Reach, out: &mut Output) -> Result<(), Failure> {
        match self {
            ApiKey::Create { name, operations, hosts, networks, expires_in, view } => {
                let role = view.then(|| "viewer".to_owned());
                let wanted = Create { name, operations, hosts, networks, expires_in, role };
                let created = reach.call(&wanted)?;
                out.show(&created, |created| {
                    let until = match &created.expires {
                        Some(at) => format!(", until {at}"),
                        None => String::new(),
                    };
                    format!(
                        "{}\nThis is the key {:?}{until}. It is not shown again.",
                        created.key, created.name
                    )
                })
            }
            ApiKey::List => {
                let keys = reach.call(&List {})?;
                out.show(&keys, |keys| {
                    if keys.is_empty() {
                        return "No API keys.".to_owned();
                    }
                    let headings =
                        ["NAME", "ROLE", "OPERATIONS", "HOSTS", "NETWORKS", "EXPIRES", "LAST USED"];
                    table(headings, keys.iter().map(row))
                })
            }
            ApiKey::Revoke { name } => {
                reach.call(&Revoke { name: Some(name.clone()), key: None })?;
                out.show(&serde_json::json!({ "name": name }), |_| {
                    format!("The API key {name:?} is no key any more.")
                })
            }
        }
    }
}

fn row(key: &Listed) -> [String; 7] {
    let or_all = |list: &[String]| match list {
        [] => "all".to_owned(),
        list => list.join(" "),
    };
    let day = |at: &Option<String>| match at {
        Some(at) => at.get(..16).unwrap_or(at).replace('T', " "),
        None => "never".to_owned(),
    };
    let expires = if key.expired { "expired".to_owned() } else { day(&key.expires) };
    [
        key.name.clone(),
        key.role.clone(),
        key.operations.join(" "),
        or_all(&key.hosts),
        or_all(&key.networks),
        expires,
        day(&key.last_used),
    ]
}
