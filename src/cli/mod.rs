//! The command line. Each command is a thin client of an admin operation, or starts the server.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, 3 the server cannot be
//! reached, 4 conflict (it exists already, or is in use). With `--json` every command that prints
//! data prints one JSON value on standard output, and a failure is one JSON object on standard
//! error.

mod access;
mod account;
mod announce;
mod api;
mod api_key;
mod archive;
mod ask;
mod audit;
mod backup;
mod cert;
mod check;
mod config;
mod export;
mod failure;
mod first;
mod group;
mod import;
mod init;
mod invite;
mod log;
mod message;
mod output;
mod place;
mod qr;
mod reach;
mod registration;
mod reload;
mod report;
mod rules;
mod serve;
mod session;
mod status;
mod up;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use failure::Failure;
use output::Output;

/// An XMPP server in one program: the server and every tool that speaks to it.
#[derive(Debug, Parser)]
#[command(name = "coucou", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 server not reachable, \
4 conflict (exists already or is in use)";

/// What every command understands.
#[derive(Debug, Args)]
struct Common {
    /// The config file [default: where `coucou up` or the package put it]
    #[arg(long, global = true, value_name = "FILE", env = "COUCOU_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The folder that `coucou up` works in: short for --config DIR/coucou.toml
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "COUCOU_DIR",
        hide_env_values = true,
        conflicts_with = "config"
    )]
    dir: Option<PathBuf>,
    /// The admin socket [default: as in the config file]
    #[arg(long, global = true, value_name = "PATH", env = "COUCOU_SOCKET", hide_env_values = true)]
    socket: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve; on the first run prepare everything that takes, without questions
    Up(up::Up),
    /// Prepare a server: config file, database, first account
    Init(init::Init),
    /// Serve as the config file says
    Serve,
    /// Show how the server is; exit code 3 if it is down
    Status(status::Status),
    /// Make, list, lock, unlock and remove accounts, set passwords
    #[command(subcommand)]
    Account(account::Account),
    /// Make and fill groups whose members see each other in their contact lists
    #[command(subcommand)]
    Group(group::Group),
    /// Who waits to be let in, and who registers how often
    #[command(subcommand)]
    Registration(registration::Registration),
    /// List and end sessions
    #[command(subcommand)]
    Session(session::Session),
    /// Send messages in the name of our addresses
    #[command(subcommand)]
    Message(message::Message),
    /// Count, read and trim message archives
    #[command(subcommand)]
    Archive(archive::Archive),
    /// Look at abuse reports that users made, and close them
    #[command(subcommand)]
    Report(report::Report),
    Audit(audit::Audit),
    /// List certificates, and read their files again
    #[command(subcommand)]
    Cert(cert::Cert),
    /// Invite people, list and revoke invitations
    #[command(subcommand)]
    Invite(invite::Invite),
    /// Tell everybody something, now or at the next sign-in
    #[command(subcommand)]
    Announce(announce::Announce),
    Api(api::Api),
    /// Make, list and end keys for programs that call the HTTP API
    #[command(subcommand)]
    ApiKey(api_key::ApiKey),
    /// Write accounts with all their data into a file for another server
    Export(export::Export),
    /// Take in accounts with all their data, or make a config file of ejabberd's
    Import(import::Import),
    /// Check the config file and tell all that is wrong with it
    Check(check::Check),
    /// Show, edit and revert settings
    #[command(subcommand)]
    Config(config::Config),
    /// Edit ACLs: who is who
    #[command(subcommand)]
    Acl(rules::Acl),
    /// Ask access rules who may do what, and edit them
    #[command(subcommand)]
    Access(access::Access),
    /// Make, list, test and restore backups
    #[command(subcommand)]
    Backup(backup::Backup),
    /// Bring the config file into force, whole or not at all, and tell what changed
    Reload,
    /// Show the newest lines of the log
    Log(log::Log),
    /// Stop the server
    Stop,
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are told on standard output and are no failure; clap knows which is
            // which.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    let Arguments { common, command } = arguments;
    let mut out = Output::new(common.json);
    match dispatch(command, &common, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(common.json),
    }
}

fn dispatch(command: Command, common: &Common, out: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Up(up) => up.run(common, out),
        Command::Init(init) => init.run(common, out),
        Command::Serve => serve::run(common),
        Command::Status(status) => status.run(common, out),
        Command::Account(account) => account.run(common, out),
        Command::Group(group) => group.run(common, out),
        Command::Registration(registration) => registration.run(common, out),
        Command::Session(session) => session.run(common, out),
        Command::Message(message) => message.run(common, out),
        Command::Archive(archive) => archive.run(common, out),
        Command::Report(report) => report.run(common, out),
        Command::Audit(audit) => audit.run(common, out),
        Command::Cert(cert) => cert.run(common, out),
        Command::Invite(invite) => invite.run(common, out),
        Command::Announce(announce) => announce.run(common, out),
        Command::Api(api) => api.run(common, out),
        Command::ApiKey(api_key) => api_key.run(common, out),
        Command::Export(export) => export.run(common, out),
        Command::Import(import) => import.run(common, out),
        Command::Check(check) => check.run(common, out),
        Command::Config(config) => config.run(common, out),
        Command::Acl(acl) => acl.run(common, out),
        Command::Access(access) => access.run(common, out),
        Command::Backup(backup) => backup.run(common, out),
        Command::Reload => reload::run(common, out),
        Command::Log(log) => log.run(common, out),
        Command::Stop => serve::stop(common, out),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_command_takes_a_password_as_an_argument() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                assert!(
                    !name.contains("password") || !argument.get_action().takes_values(),
                    "{} {name}",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Arguments::command());
    }
}
