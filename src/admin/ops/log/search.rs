//! Finding lines: in memory, or in the log files, the newest first.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::level::level;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::ops::when::{moment_opt, page};
use crate::telemetry::LogLine;
use crate::time::Now;

/// Lines in one answer, and their bytes.
const FOUND_MAX: usize = 500;
const FOUND_BYTES_MAX: usize = 256 << 10;
/// Bytes of files that one search reads; the newest are read first.
const READ_BYTES_MAX: u64 = 256 << 20;
/// Memory of a compiled expression.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Longest line that is looked at.
const LINE_BYTES_MAX: u64 = 32 << 10;

/// Finds lines of the log.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// Lines of this level or a graver one: `error`, `warn`, `info`, `debug`, `trace`.
    pub level: Option<String>,
    /// Only of this module and what is below it, as in `stream` or `coucou::store`.
    pub module: Option<String>,
    /// Only lines that hold this text.
    pub text: Option<String>,
    /// Only lines that this regular expression fits.
    pub regex: Option<String>,
    /// Only lines that name this JID.
    pub jid: Option<String>,
    /// Only lines that name this network address.
    pub address: Option<String>,
    /// Not before this time, day or age.
    pub since: Option<String>,
    /// Look into the files, too, not only into what is in memory.
    pub files: bool,
    /// Lines at most; 0 stands for as many as fit in an answer.
    pub max: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// The newest that fit, in the order of time.
    pub lines: Vec<LogLine>,
    /// There may be others: older ones, or in files that were not read to the end.
    pub more: bool,
}

impl Operation for Search {
    const NAME: &'static str = "log.search";
    const SUMMARY: &'static str = "Find lines of the log by level, module, text, JID or address";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"level": "warn", "module": "stream", "since": "1h"}"#,
        output: r#"{"lines": [{"time": "2026-11-23T18:40:00.123Z", "level": "warn",
            "target": "coucou::stream::c2s", "message": "the client is too slow peer=192.0.2.7"}],
            "more": false}"#,
    };
    type Output = Found;

    async fn run(self, cx: &Context) -> Result<Found, Refusal> {
        let filter = Filter::new(&self)?;
        let max = page(self.max, FOUND_MAX);
        let server = cx.running()?;
        if !self.files {
            let lines = server.telemetry().ring.tail(usize::MAX);
            let mut found = Newest::new(max);
            for line in lines.iter().rev().filter(|line| filter.fits(line)) {
                if !found.add(LogLine::clone(line)) {
                    break;
                }
            }
            return Ok(found.done());
        }
        if !server.telemetry().has_files() {
            return Err(Refusal::unavailable("the log goes to the journal and not to files")
                .help("`journalctl -u coucou` searches there"));
        }
        let dir = cx.config().log.dir.clone();
        let search = tokio::task::spawn_blocking(move || in_files(&dir, &filter, max));
        let found = search.await.map_err(|error| Refusal::bug(&error))?;
        found.map_err(|error| Refusal::unavailable(format!("a log file cannot be read: {error}")))
    }
}

struct Filter {
    /// By gravity; 0 is the gravest.
    gravest: usize,
    module: Option<String>,
    texts: Vec<String>,
    regex: Option<Regex>,
    since: Option<String>,
}

/// From grave to talkative.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

impl Filter {
    fn new(search: &Search) -> Result<Filter, Refusal> {
        let gravest = match &search.level {
            Some(text) => {
                level(text)?;
                LEVELS.iter().position(|name| name == text).unwrap_or(0)
            }
            None => LEVELS.len(),
        };
        let regex = search.regex.as_deref().map(|text| {
            RegexBuilder::new(text)
                .size_limit(REGEX_BYTES_MAX)
                .build()
                .map_err(|error| Refusal::usage(format!("regex: {error}")))
        });
        let since = moment_opt("since", search.since.as_deref(), Now::read())?;
        let texts = [&search.text, &search.jid, &search.address];
        Ok(Filter {
            gravest,
            module: search.module.as_ref().map(|module| match module.strip_prefix("coucou") {
                Some(_) => module.clone(),
                None => format!("coucou::{module}"),
            }),
            texts: texts.into_iter().flatten().cloned().collect(),
            regex: regex.transpose()?,
            since: since.map(Now::to_xmpp),
        })
    }

    fn fits(&self, line: &LogLine) -> bool {
        let level = LEVELS.iter().position(|name| *name == line.level).unwrap_or(0);
        let in_module = |module: &String| {
            line.target
                .strip_prefix(module.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        level <= self.gravest
            && self.module.as_ref().is_none_or(in_module)
            && self.texts.iter().all(|text| line.message.contains(text.as_str()))
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(&line.message))
            // One format, UTC: text sorts as time does.
            && self.since.as_ref().is_none_or(|since| line.time >= *since)
    }
}

/// Lines from the newest on, as many as fit.
struct Newest {
    lines: Vec<LogLine>,
    bytes: usize,
    max: usize,
    more: bool,
}

impl Newest {
    fn new(max: usize) -> Newest {
        Newest { lines: Vec::new(), bytes: 0, max, more: false }
    }

    /// False when it is full, and the line is left out.
    fn add(&mut self, line: LogLine) -> bool {
        self.bytes += line.message.len() + line.target.len() + 100;
        if self.lines.len() == self.max || self.bytes > FOUND_BYTES_MAX {
            self.more = true;
            return false;
        }
        self.lines.push(line);
        true
    }

    fn done(mut self) -> Found {
        self.lines.reverse();
        Found { lines: self.lines, more: self.more }
    }
}

fn in_files(dir: &Path, filter: &Filter, max: usize) -> std::io::Result<Found> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("coucou.") && name.ends_with(".log") {
            let metadata = entry.metadata()?;
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    files.sort();
    let mut found = Newest::new(max);
    let mut left = READ_BYTES_MAX;
    for (_, bytes, path) in files.into_iter().rev() {
        if bytes > left {
            found.more = true;
            break;
        }
        left -= bytes;
        let mut reader = BufReader::new(File::open(path)?);
        // The newest of this file that fit: the older ones make way.
        let mut here = std::collections::VecDeque::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let Some(line) = parse(&String::from_utf8_lossy(&line)) else { continue };
            if filter.fits(&line) {
                if here.len() > max {
                    here.pop_front();
                }
                here.push_back(line);
            }
        }
        if !here.into_iter().rev().all(|line| found.add(line)) {
            break;
        }
    }
    Ok(found.done())
}

/// A line as the log writes it, as text or as JSON.
fn parse(line: &str) -> Option<LogLine> {
    if line.starts_with('{') {
        return serde_json::from_str(line).ok();
    }
    let (time, rest) = line.trim_end().split_once(' ')?;
    let (level, rest) = rest.split_once(' ')?;
    let (target, message) = rest.trim_start().split_once(": ")?;
    Some(LogLine {
        time: time.to_owned(),
        level: level.to_owned(),
        target: target.to_owned(),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::op::RefusalKind;
    use crate::admin::ops::testing;
    use crate::testing::World;

    fn line(n: i64, level: &str, target: &str, message: &str) -> LogLine {
        LogLine::new(Now::from_secs(1_795_608_000 + n), level, target, message.to_owned())
    }

    #[tokio::test]
    async fn lines_in_memory_are_found_by_what_they_hold() {
        let world = World::new();
        let cx = testing::live(&world);
        let ring = &cx.server().unwrap().telemetry().ring;
        ring.push(line(1, "info", "coucou::stream::c2s", "signed in jid=ann@a.org peer=192.0.2.7"));
        ring.push(line(2, "warn", "coucou::streams", "odd"));
        ring.push(line(3, "error", "coucou::store", "disk full"));
        let find = async |search: serde_json::Value| {
            let search: Search = serde_json::from_value(search).unwrap();
            let found = search.run(&cx).await.unwrap();
            found.lines.iter().map(|line| line.message.chars().next().unwrap()).collect::<String>()
        };
        assert_eq!(find(serde_json::json!({})).await, "sod");
        assert_eq!(find(serde_json::json!({"level": "warn"})).await, "od");
        assert_eq!(find(serde_json::json!({"module": "stream"})).await, "s");
        assert_eq!(
            find(serde_json::json!({"jid": "ann@a.org", "address": "192.0.2.7"})).await,
            "s"
        );
        assert_eq!(find(serde_json::json!({"regex": "^d.*full$"})).await, "d");
        assert_eq!(find(serde_json::json!({"max": 1})).await, "d");
        let files = Search { files: true, ..Search::default() }.run(&cx).await.unwrap_err();
        assert_eq!(files.kind, RefusalKind::Unavailable);
        let bad = Search { regex: Some("(".into()), ..Search::default() }.run(&cx).await;
        assert_eq!(bad.unwrap_err().kind, RefusalKind::Usage);
    }

    #[test]
    fn files_are_read_from_the_newest_line_on() {
        let dir = tempfile::tempdir().unwrap();
        let old: String =
            (0..5).map(|n| format!("{}\n", line(n, "info", "coucou", "old"))).collect();
        std::fs::write(dir.path().join("coucou.2026-11-22.log"), old).unwrap();
        let new: String = (5..8)
            .map(|n| {
                format!("{}\n", serde_json::to_string(&line(n, "info", "coucou", "new")).unwrap())
            })
            .collect();
        std::fs::write(dir.path().join("coucou.2026-11-23.log"), new + "rubbish\n").unwrap();
        std::fs::write(dir.path().join("other.log"), "2026-11-23T12:00:00Z info x: y\n").unwrap();
        let filter = Filter::new(&Search::default()).unwrap();
        let found = in_files(dir.path(), &filter, 4).unwrap();
        let told: Vec<_> = found.lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!((told, found.more), (vec!["old", "new", "new", "new"], true));
        let found = in_files(dir.path(), &filter, 100).unwrap();
        assert_eq!((found.lines.len(), found.more), (8, false));
        let since =
            Search { since: Some(Now::from_secs(1_795_608_006).to_xmpp()), ..Search::default() };
        let found = in_files(dir.path(), &Filter::new(&since).unwrap(), 100).unwrap();
        assert_eq!(found.lines.len(), 2);
    }
}
