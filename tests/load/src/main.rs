//! A load generator for any XMPP server: logins, idle sessions, messages, archive paging.

mod clock;
mod error;
mod frame;
mod histogram;
mod process;
mod report;
mod scenario;
mod scram;
mod session;
mod target;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::process::Processes;
use crate::report::Report;
use crate::scenario::{Run, archive, idle, logins, messages};
use crate::scram::Mechanism;
use crate::target::{Security, TargetOptions, TlsVersion};

/// Files besides the sessions' sockets.
const SPARE_FILES: u64 = 64;

/// Loads an XMPP server and reports what it did and what that cost it.
///
/// The accounts must exist. The server's certificate is not checked. Every run is bounded in count
/// and time.
#[derive(Parser)]
#[command(name = "coucou-load", version)]
struct Arguments {
    /// Where the server listens for clients, HOST:PORT; loopback only, see --i-own-this-server
    #[arg(long)]
    server: String,
    /// The XMPP domain
    #[arg(long, default_value = "localhost")]
    domain: String,
    /// How TLS starts on that port
    #[arg(long, value_enum, default_value_t = Security::Direct)]
    tls: Security,
    #[arg(long, value_enum, default_value = "1.3")]
    tls_version: TlsVersion,
    #[arg(long, value_enum, default_value = "SCRAM-SHA-1")]
    mechanism: Mechanism,
    /// Number of accounts to use
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    users: u64,
    /// Number of the first account
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Local part of account {}
    #[arg(long, default_value = "u{}")]
    user_pattern: String,
    /// Password of account {}
    #[arg(long, default_value = "secret")]
    password_pattern: String,
    /// Logins under way at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1000))]
    parallel: u64,
    /// Seconds to wait for any single answer
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// A process of the server on this machine; its CPU, memory and disk writes, and its
    /// children's, are reported. May be repeated
    #[arg(long)]
    server_pid: Vec<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Allow an address that is not loopback. Only for a server that is yours to load
    #[arg(long)]
    i_own_this_server: bool,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Log in again and again
    Logins(logins::Options),
    /// Open sessions and leave them alone
    Idle(idle::Options),
    /// Chat between pairs of users
    Messages(messages::Options),
    /// Page through archives
    Archive(archive::Options),
}

impl Scenario {
    fn name(&self) -> &'static str {
        match self {
            Scenario::Logins(_) => "logins",
            Scenario::Idle(_) => "idle",
            Scenario::Messages(_) => "messages",
            Scenario::Archive(_) => "archive",
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match load(&arguments) {
        Ok(report) if arguments.json => {
            println!("{}", report.to_json(arguments.scenario.name(), context(&arguments)));
            ExitCode::SUCCESS
        }
        Ok(report) => {
            print!("{}", report.to_text());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("coucou-load: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// How the figures came about.
fn context(arguments: &Arguments) -> Map<String, Value> {
    let mut context = Map::new();
    context.insert("server".into(), arguments.server.clone().into());
    context.insert("users".into(), arguments.users.into());
    context.insert("mechanism".into(), arguments.mechanism.name().into());
    context.insert("tls".into(), format!("{:?}", arguments.tls).to_lowercase().into());
    context
}

fn load(arguments: &Arguments) -> Result<Report> {
    let target = TargetOptions {
        server: &arguments.server,
        domain: &arguments.domain,
        security: arguments.tls,
        tls_version: arguments.tls_version,
        mechanism: arguments.mechanism,
        user_pattern: &arguments.user_pattern,
        password_pattern: &arguments.password_pattern,
        patience: Duration::from_secs(arguments.patience),
        anywhere: arguments.i_own_this_server,
    }
    .resolve()?;
    allow_files(arguments.users.max(arguments.parallel) + SPARE_FILES)?;
    let run = Run {
        target: Rc::new(target),
        server: Processes::new(arguments.server_pid.clone()),
        first: arguments.first as usize,
        users: arguments.users as usize,
        parallel: arguments.parallel as usize,
    };
    // One thread: the other cores are the server's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        match &arguments.scenario {
            Scenario::Logins(options) => logins::run(&run, options).await,
            Scenario::Idle(options) => idle::run(&run, options).await,
            Scenario::Messages(options) => messages::run(&run, options).await,
            Scenario::Archive(options) => archive::run(&run, options).await,
        }
    })
}

/// Raises the limit of open files as far as needed.
fn allow_files(needed: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        return Err(Error::Usage(format!("{needed} open files are needed: raise `ulimit -Hn`")));
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| Error::Io(error.into()))
}
