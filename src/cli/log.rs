//! `coucou log`

use clap::{Args, Subcommand};

use super::Common;
use super::failure::Failure;
use super::output::{Output, table};
use super::reach::Reach;
use crate::admin::client::Followed;
use crate::admin::ops::log::Tail;
use crate::admin::ops::log::level::{Levels, Rotate, SetLevel};
use crate::admin::ops::log::search::Search;
use crate::telemetry::LogLine;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Log {
    #[command(subcommand)]
    tool: Option<Tool>,
    /// Go on with the lines to come
    #[arg(long, short)]
    follow: bool,
    /// So many lines, as far as the server holds them in memory
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    lines: usize,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Find lines by level, module, text, JID or address
    Search {
        /// Only lines that hold this text
        text: Option<String>,
        /// This level or a graver one: error, warn, info, debug, trace
        #[arg(long)]
        level: Option<String>,
        /// Only of this module, as in stream::c2s
        #[arg(long)]
        module: Option<String>,
        /// Only lines that this regular expression fits
        #[arg(long)]
        regex: Option<String>,
        /// Only lines that name this JID
        #[arg(long)]
        jid: Option<String>,
        /// Only lines that name this network address
        #[arg(long)]
        address: Option<String>,
        /// Not before this time, day or age (2026-11-23, 2h)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Look into the files, too, not only into what is in memory
        #[arg(long)]
        files: bool,
    },
    /// Show the levels in force; with a level set it, of a module or at all
    Level {
        /// off, error, warn, info, debug, trace; `settings` gives it back to the config file
        level: Option<String>,
        /// Only of this module, as in stream::c2s
        #[arg(long, default_value = "")]
        module: String,
        /// How long, as in 10m; then it falls back
        #[arg(long = "for", value_name = "TIME")]
        lasts: Option<String>,
    },
    /// Put the log file of today aside and begin another
    Rotate,
}

impl Tool {
    fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let mut client = Reach::server(common)?;
        match self {
            Tool::Search { text, level, module, regex, jid, address, since, files } => {
                let found = client.call(&Search {
                    level,
                    module,
                    text,
                    regex,
                    jid,
                    address,
                    since,
                    files,
                    max: 0,
                })?;
                found.lines.iter().try_for_each(|line| print(line, out))
            }
            Tool::Level { level, module, lasts } => {
                let in_force = match level {
                    None => client.call(&Levels {})?,
                    Some(level) => {
                        let level = Some(level).filter(|level| level != "settings");
                        client.call(&SetLevel { module, level, lasts })?
                    }
                };
                out.show(&in_force, |told| {
                    let until = |module: &str| match told.overrides.get(module) {
                        Some(Some(until)) => format!("until {until}"),
                        Some(None) => "until the server ends".to_owned(),
                        None => "by the settings".to_owned(),
                    };
                    let default = ["(all)".to_owned(), told.level.clone(), until("")];
                    let modules = told.modules.iter();
                    let modules = modules.map(|(of, level)| [of.clone(), level.clone(), until(of)]);
                    table(["MODULE", "LEVEL", ""], std::iter::once(default).chain(modules))
                })
            }
            Tool::Rotate => {
                let rotated = client.call(&Rotate {})?;
                out.show(&rotated, |rotated| format!("the file is now {}", rotated.file))
            }
        }
    }
}

impl Log {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        if let Some(tool) = self.tool {
            return tool.run(common, out);
        }
        let mut client = Reach::server(common)?;
        if !self.follow {
            let lines = client.call(&Tail { lines: self.lines })?;
            return lines.iter().try_for_each(|line| print(line, out));
        }
        let mut failure = None;
        client.follow(self.lines, |followed| {
            let printed = match followed {
                Followed::Line(line) => print(&line, out),
                Followed::Lost(count) if out.is_json() => {
                    out.line(&format!("{{\"lost\":{count}}}"))
                }
                Followed::Lost(count) => {
                    out.line(&format!("… {count} lines came too fast and are left out"))
                }
            };
            failure = printed.err();
            failure.is_none()
        })?;
        failure.map_or(Ok(()), Err)
    }
}

/// One line; with `--json` one object a line, so that a stream can be read as it comes.
fn print(line: &LogLine, out: &mut Output) -> Result<(), Failure> {
    out.show(line, LogLine::to_string)
}
