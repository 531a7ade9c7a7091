//! `coucou log`

use clap::Args;

use super::Common;
use super::failure::Failure;
use super::output::Output;
use super::reach::Reach;
use crate::admin::client::Followed;
use crate::admin::ops::log::Tail;
use crate::telemetry::LogLine;

#[derive(Debug, Args)]
pub(super) struct Log {
    /// Go on with the lines to come
    #[arg(long, short)]
    follow: bool,
    /// So many lines, as far as the server holds them in memory
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    lines: usize,
}

impl Log {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
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
