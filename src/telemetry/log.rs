//! The log: from `tracing` events to daily files or the journal, and to the ring.
//!
//! An event becomes one line, whatever the peer wrote into its fields: control characters are
//! escaped, so neither a line nor a terminal that shows it can be forged. Writing never blocks a
//! worker: a thread of tracing-appender does it, and lines that it cannot take are counted
//! ([`Telemetry::dropped_lines`]) rather than waited for.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;

use super::ring::{LogLine, Ring};
use crate::config::{Level, Log, LogFormat};
use crate::time::Now;

/// Lines waiting for the disk; past it lines are dropped and counted.
const WAITING_LINES_MAX: usize = 8192;
/// Longest line; the rest of a longer one is cut off and its length told.
const LINE_BYTES_MAX: usize = 8192;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot make the log folder {}: {error}", dir.display())]
    Folder { dir: PathBuf, error: io::Error },
    #[error("cannot open a log file in {}: {error}", dir.display())]
    File { dir: PathBuf, error: tracing_appender::rolling::InitError },
    #[error("a log is set up already in this process")]
    Twice,
}

/// The log of this process. Dropping it writes out what waits.
#[derive(Debug)]
pub struct Telemetry {
    pub ring: Arc<Ring>,
    levels: reload::Handle<Targets, Registry>,
    dropped: ErrorCounter,
    /// The settings' levels, and what an operator put over them for a while.
    wanted: Mutex<Wanted>,
    files: Option<Files>,
    _writer: WorkerGuard,
}

#[derive(Debug)]
struct Wanted {
    log: Log,
    over: BTreeMap<String, Override>,
}

/// A level that an operator set, live; the settings do not know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    pub level: Level,
    /// When it falls back to the settings' level; never before the end of the process if `None`.
    pub until: Option<Now>,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Daily files in [`Log::dir`].
    Files,
    /// Standard error, as it is in a terminal.
    Stderr,
    /// Standard error with the priorities that systemd's journal understands.
    Journal,
}

impl Output {
    /// The journal under systemd, else files.
    pub fn detect() -> Output {
        let systemd =
            ["JOURNAL_STREAM", "NOTIFY_SOCKET"].iter().any(|name| std::env::var_os(name).is_some());
        if systemd { Output::Journal } else { Output::Files }
    }
}

impl Telemetry {
    /// Sets up the log of this process; it can be done once.
    ///
    /// # Errors
    /// If the folder or file cannot be made, or there is a log already.
    pub fn start(log: &Log, output: Output) -> Result<Telemetry, LogError> {
        let (telemetry, subscriber) = Telemetry::build(log, output)?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
        Ok(telemetry)
    }

    fn build(
        log: &Log,
        output: Output,
    ) -> Result<(Telemetry, impl Subscriber + Send + Sync), LogError> {
        let builder = NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING_LINES_MAX)
            .lossy(true)
            .thread_name("coucou-log");
        let files = match output {
            Output::Files => Some(Files(Arc::new(Mutex::new(daily_files(log)?)))),
            Output::Stderr | Output::Journal => None,
        };
        let (writer, guard) = match (&files, output) {
            (Some(files), _) => builder.finish(files.clone()),
            (None, _) => builder.finish(io::stderr()),
        };
        let dropped = writer.error_counter();
        let ring = Arc::new(Ring::new(log.ring_lines, log.ring_bytes));
        let (filter, levels) = reload::Layer::new(targets(log));
        let lines = Lines { ring: ring.clone(), writer, format: log.format, output };
        let subscriber = Registry::default().with(filter).with(lines);
        let wanted = Mutex::new(Wanted { log: log.clone(), over: BTreeMap::new() });
        let telemetry = Telemetry { ring, levels, dropped, wanted, files, _writer: guard };
        Ok((telemetry, subscriber))
    }

    /// A log that nobody writes to, for tests.
    #[cfg(test)]
    pub fn detached(log: &Log) -> Telemetry {
        Telemetry::build(log, Output::Stderr).expect("standard error is there").0
    }

    /// Puts the levels of `log` into force at once.
    pub fn set_levels(&self, log: &Log) {
        let mut wanted = self.wanted.lock();
        wanted.log = log.clone();
        self.apply(&wanted);
    }

    /// Puts a level into force at once: of a module and all below it, or of all that have none of
    /// their own if `module` is empty. `None` gives it back to the settings.
    ///
    /// # Errors
    /// If too many are set already.
    pub fn set_level(&self, module: &str, level: Option<Override>) -> Result<(), TooManyLevels> {
        let mut wanted = self.wanted.lock();
        match level {
            Some(level) => {
                if wanted.over.len() >= OVERRIDES_MAX && !wanted.over.contains_key(module) {
                    return Err(TooManyLevels);
                }
                wanted.over.insert(module.to_owned(), level);
            }
            None => drop(wanted.over.remove(module)),
        }
        self.apply(&wanted);
        Ok(())
    }

    /// The default level and those of modules as they are in force, and which of them an operator
    /// set.
    pub fn levels(&self) -> (Log, BTreeMap<String, Override>) {
        let wanted = self.wanted.lock();
        (wanted.in_force(), wanted.over.clone())
    }

    /// Gives levels back to the settings whose time is over. Meant to be called every few seconds.
    pub fn expire_levels(&self, now: Now) {
        let mut wanted = self.wanted.lock();
        let before = wanted.over.len();
        wanted.over.retain(|_, set| set.until.is_none_or(|until| until > now));
        if wanted.over.len() < before {
            self.apply(&wanted);
            drop(wanted);
            tracing::info!("log levels are back to those of the settings: their time was over");
        }
    }

    fn apply(&self, wanted: &Wanted) {
        // This fails only if the subscriber is gone, and then nothing is logged anyway.
        let _ = self.levels.modify(|filter| *filter = targets(&wanted.in_force()));
    }

    /// Puts the file of today aside and begins another; tells the name it has now. `None` where
    /// there are no files, as under systemd.
    ///
    /// # Errors
    /// If the file cannot be moved, or no other can be begun; the old one goes on then.
    pub fn rotate(&self, now: Now) -> Result<Option<PathBuf>, LogError> {
        let Some(files) = &self.files else { return Ok(None) };
        let log = self.wanted.lock().log.clone();
        let mut appender = files.0.lock();
        let day = now.to_xmpp().get(..10).unwrap_or_default().to_owned();
        let current = log.dir.join(format!("coucou.{day}.log"));
        let aside = (1..ROTATIONS_MAX)
            .map(|n| log.dir.join(format!("coucou.{day}.{n}.log")))
            .find(|path| !path.exists());
        let failed = |error| LogError::Folder { dir: log.dir.clone(), error };
        let aside = aside.ok_or_else(|| failed(io::Error::other("too many rotations today")))?;
        match std::fs::rename(&current, &aside) {
            Ok(()) => {}
            // Somebody else has moved it away, as logrotate(8) does: a new one is all that is due.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        *appender = daily_files(&log)?;
        Ok(Some(aside))
    }

    /// Whether the log goes to files.
    pub fn has_files(&self) -> bool {
        self.files.is_some()
    }

    /// Lines lost since the start because the disk or the journal did not take them in time.
    pub fn dropped_lines(&self) -> u64 {
        self.dropped.dropped_lines() as u64
    }
}

impl Wanted {
    fn in_force(&self) -> Log {
        let mut log = self.log.clone();
        for (module, set) in &self.over {
            if module.is_empty() {
                log.level = set.level;
            } else {
                log.levels.insert(module.clone(), set.level);
            }
        }
        log
    }
}

/// Levels that operators may have set at once.
const OVERRIDES_MAX: usize = 64;
/// Files of one day.
const ROTATIONS_MAX: usize = 1_000;

/// See [`Telemetry::set_level`].
#[derive(Debug, thiserror::Error)]
#[error("levels of {OVERRIDES_MAX} modules are set already; give one back first")]
pub struct TooManyLevels;

/// The log files, which can be exchanged while lines are being written.
#[derive(Clone, Debug)]
struct Files(Arc<Mutex<RollingFileAppender>>);

impl io::Write for Files {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flush()
    }
}

fn daily_files(log: &Log) -> Result<RollingFileAppender, LogError> {
    let dir = log.dir.clone();
    // A log tells who spoke from where: it is for its owner.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|error| LogError::Folder { dir: dir.clone(), error })?;
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("coucou")
        .filename_suffix("log")
        .max_log_files(log.keep_days)
        .build(&dir)
        .map_err(|error| LogError::File { dir, error })
}

fn targets(log: &Log) -> Targets {
    let modules = log.levels.iter().map(|(module, level)| (module.clone(), filter(*level)));
    Targets::new().with_default(filter(log.level)).with_targets(modules)
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// Formats events as lines.
struct Lines {
    ring: Arc<Ring>,
    writer: NonBlocking,
    format: LogFormat,
    output: Output,
}

/// A span's fields as text, kept with it so that they are formatted once.
struct SpanText(String);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut text = FieldText::default();
        attributes.record(&mut text);
        span.extensions_mut().insert(SpanText(text.fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut text = FieldText::default();
        values.record(&mut text);
        if let Some(SpanText(known)) = span.extensions_mut().get_mut::<SpanText>() {
            known.push_str(&text.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut text = FieldText::default();
        event.record(&mut text);
        let mut message = text.message;
        message.push_str(&text.fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanText(fields)) = span.extensions().get::<SpanText>() {
                message.push_str(fields);
            }
        }
        let level = event.metadata().level();
        let name = match *level {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        let line = LogLine::new(Now::read(), name, event.metadata().target(), bounded(message));
        self.write(&line, level);
        self.ring.push(line);
    }
}

impl Lines {
    fn write(&self, line: &LogLine, level: &tracing::Level) {
        let mut text = match (self.output, self.format) {
            // The journal has its own clock and shows the priority itself.
            (Output::Journal, LogFormat::Text) => {
                format!("<{}>{}: {}", priority(level), line.target, line.message)
            }
            (Output::Journal, LogFormat::Json) => format!("<{}>{}", priority(level), json(line)),
            (_, LogFormat::Text) => line.to_string(),
            (_, LogFormat::Json) => json(line),
        };
        text.push('\n');
        // A full queue drops the line and counts it; there is nobody to tell here.
        let _ = self.writer.clone().write_all(text.as_bytes());
    }
}

/// sd-daemon(3): syslog's priorities.
fn priority(level: &tracing::Level) -> u8 {
    match *level {
        tracing::Level::ERROR => 3,
        tracing::Level::WARN => 4,
        tracing::Level::INFO => 6,
        tracing::Level::DEBUG | tracing::Level::TRACE => 7,
    }
}

fn json(line: &impl Serialize) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

/// Gathers the message and, apart from it, ` name=value` of each field.
#[derive(Default)]
struct FieldText {
    message: String,
    fields: String,
}

impl Visit for FieldText {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            escape(value, &mut self.message);
        } else if value.is_empty() || value.contains([' ', '"', '=']) {
            let _ = write!(self.fields, " {}=\"", field.name());
            escape(&value.replace('"', "\\\""), &mut self.fields);
            self.fields.push('"');
        } else {
            let _ = write!(self.fields, " {}=", field.name());
            escape(value, &mut self.fields);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            escape(&text, &mut self.message);
        } else {
            let _ = write!(self.fields, " {}=", field.name());
            escape(&text, &mut self.fields);
        }
    }
}

/// Writes `text` with every character escaped that could move a cursor, end a line or turn its
/// direction.
pub fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// Bidirectional controls, line separators, zero-width characters and the byte order mark.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn bounded(mut message: String) -> String {
    if message.len() > LINE_BYTES_MAX {
        let whole = message.len();
        let cut = (0..=LINE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(cut);
        let _ = write!(message, "… ({whole} bytes)");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn log_in(dir: &std::path::Path) -> Log {
        let mut config = Config::default_for("localhost").expect("the defaults are in order");
        config.log.dir = dir.to_owned();
        config.log
    }

    fn lines(telemetry: &Telemetry) -> Vec<String> {
        telemetry
            .ring
            .tail(100)
            .iter()
            .map(|line| format!("{} {}", line.level, line.message))
            .collect()
    }

    #[test]
    fn lines_reach_ring_and_file_and_carry_their_spans() {
        let dir = tempfile::tempdir().unwrap();
        let (telemetry, subscriber) = Telemetry::build(&log_in(dir.path()), Output::Files).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let span =
                tracing::info_span!("stream", peer = "192.0.2.1", jid = tracing::field::Empty);
            span.record("jid", "a@b");
            span.in_scope(|| tracing::info!(count = 3, why = "two words", "hello {}", "there"));
            tracing::debug!("not wanted");
        });
        assert_eq!(
            lines(&telemetry),
            ["info hello there count=3 why=\"two words\" peer=192.0.2.1 jid=a@b"]
        );
        drop(telemetry);
        let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let text = std::fs::read_to_string(file).unwrap();
        assert!(
            text.ends_with("hello there count=3 why=\"two words\" peer=192.0.2.1 jid=a@b\n"),
            "{text}"
        );
    }

    #[test]
    fn levels_change_live_and_by_module() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log_in(dir.path());
        let (telemetry, subscriber) = Telemetry::build(&log, Output::Files).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let speak = || tracing::debug!(target: "coucou::stream::c2s", "now");
            speak();
            log.levels.insert("coucou::stream".to_owned(), Level::Debug);
            telemetry.set_levels(&log);
            speak();
            tracing::debug!(target: "coucou::store", "not wanted");
        });
        assert_eq!(lines(&telemetry), ["debug now"]);
    }

    #[test]
    fn an_operators_level_outlives_a_reload_and_ends_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let log = log_in(dir.path());
        let (telemetry, subscriber) = Telemetry::build(&log, Output::Files).unwrap();
        let noon = Now::from_secs(1_000_000);
        tracing::subscriber::with_default(subscriber, || {
            let speak = |what: &str| tracing::debug!(target: "coucou::stream::c2s", "{what}");
            let until = noon.plus(std::time::Duration::from_secs(60));
            let set = Override { level: Level::Debug, until: Some(until) };
            telemetry.set_level("coucou::stream", Some(set)).unwrap();
            telemetry.set_levels(&log);
            telemetry.expire_levels(noon);
            speak("heard");
            telemetry.expire_levels(until);
            speak("not heard");
            telemetry.set_level("", Some(Override { until: None, ..set })).unwrap();
            speak("heard again");
            telemetry.set_level("", None).unwrap();
            speak("not heard");
        });
        let told = lines(&telemetry);
        assert_eq!(told.iter().filter(|line| line.starts_with("debug")).count(), 2, "{told:?}");
        assert!(!told.iter().any(|line| line.contains("not heard")));
    }

    #[test]
    fn a_rotation_puts_the_file_aside_and_loses_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let (telemetry, subscriber) = Telemetry::build(&log_in(dir.path()), Output::Files).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("one");
            let aside = telemetry.rotate(Now::read()).unwrap().unwrap();
            assert!(aside.to_string_lossy().ends_with(".1.log"), "{}", aside.display());
            tracing::info!("two");
        });
        drop(telemetry);
        let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
        let texts: Vec<String> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
        assert_eq!(texts.len(), 2);
        assert_eq!(texts.concat().lines().count(), 2);
    }

    #[test]
    fn nothing_a_peer_says_forges_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let (telemetry, subscriber) = Telemetry::build(&log_in(dir.path()), Output::Files).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(nick = "a\nb \"q\"", "\u{1b}[2J\u{202e}gpj\u{85}");
        });
        assert_eq!(
            lines(&telemetry),
            ["info \\u{1b}[2J\\u{202e}gpj\\u{85} nick=\"a\\nb \\\"q\\\"\""]
        );
    }

    #[test]
    fn long_lines_are_cut() {
        let cut = bounded("ä".repeat(LINE_BYTES_MAX));
        assert!(cut.len() < LINE_BYTES_MAX + 40);
        assert!(cut.ends_with(&format!("… ({} bytes)", 2 * LINE_BYTES_MAX)));
    }

    proptest::proptest! {
        #[test]
        fn escaped_text_has_no_control_characters(text in "\\PC{0,50}[\u{0}-\u{9f}\u{202e}\u{2066}]{0,20}") {
            let mut out = String::new();
            escape(&text, &mut out);
            proptest::prop_assert!(!out.chars().any(|c| c.is_control() || is_invisible(c)));
        }
    }
}
