//! The source as ejabberd understands it: included files taken in, macros put in their places, and
//! for each host the options that hold there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::World;
use super::yaml::{self, Node, Place, Value};
use crate::config::problem::{ConfigError, Problem};
use crate::config::value;

/// Files read at most, and how deep they may include each other.
const FILES_MAX: usize = 64;
const INCLUDES_DEEP_MAX: usize = 8;
/// How often a macro may stand for another.
const MACROS_DEEP_MAX: usize = 8;

/// One file that was read.
pub(super) struct File {
    pub path: PathBuf,
    pub text: String,
}

/// An option: its name, where that stands, and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub name: String,
    pub at: Place,
    pub value: Node,
}

/// A domain served, and the options that are said for it alone.
pub(super) struct Host {
    pub domain: String,
    pub at: Place,
    own: Vec<Entry>,
    added: Vec<Entry>,
}

pub(super) struct Source {
    pub files: Vec<File>,
    pub global: Vec<Entry>,
    pub hosts: Vec<Host>,
    problems: Vec<(usize, Problem)>,
}

impl Source {
    /// Reads `text`, the content of `path`, and what it includes.
    ///
    /// # Errors
    /// Faults of syntax, and what keeps the options from being understood at all.
    pub(super) fn read(text: &str, path: &Path, world: &dyn World) -> Result<Source, ConfigError> {
        let mut source = Source {
            files: Vec::new(),
            global: Vec::new(),
            hosts: Vec::new(),
            problems: Vec::new(),
        };
        let mut entries = source.file(text.to_owned(), path, world, 0);
        if let Some(error) = source.error() {
            return Err(error);
        }
        let macros = source.take_definitions(&mut entries, "define_macro");
        let mut keywords = source.take_definitions(&mut entries, "define_keyword");
        let folder = path.parent().unwrap_or(Path::new("")).display().to_string();
        keywords.entry("CONFIG_PATH".to_owned()).or_insert_with(|| plain(folder));
        for entry in &mut entries {
            source.replace(&mut entry.value, &macros, &keywords, 0);
        }
        source.global = grouped(entries);
        source.take_hosts();
        match source.error() {
            Some(error) => Err(error),
            None => Ok(source),
        }
    }

    /// The options of one file with those that it includes, in their order.
    fn file(&mut self, text: String, path: &Path, world: &dyn World, depth: usize) -> Vec<Entry> {
        let number = self.files.len();
        self.files.push(File { path: path.to_owned(), text: text.clone() });
        let root = match yaml::parse(&text, number) {
            Ok(root) if root.is_null() => return Vec::new(),
            Ok(root) if matches!(root.value, Value::Map(_)) => root,
            Ok(root) => {
                self.problems.push((number, yaml::not_a_map(&text, &root)));
                return Vec::new();
            }
            Err(problem) => {
                self.problems.push((number, *problem));
                return Vec::new();
            }
        };
        let mut entries = Vec::new();
        for entry in self.named(&root) {
            if entry.name != "include_config_file" {
                entries.push(entry);
                continue;
            }
            for (name, rules) in included(&entry.value) {
                let Some(file) = name.text() else {
                    self.report(&entry.at, &entry.name, &name.kind(), "the name of a file");
                    continue;
                };
                let file = path.parent().unwrap_or(Path::new("")).join(file);
                if depth >= INCLUDES_DEEP_MAX || self.files.len() >= FILES_MAX {
                    let expected = format!(
                        "at most {FILES_MAX} files, {INCLUDES_DEEP_MAX} deep in each other"
                    );
                    self.report(&name.at, &entry.name, "one file too many", &expected);
                    continue;
                }
                match world.read(&file) {
                    Ok(text) => {
                        let more = self.file(text, &file, world, depth + 1);
                        entries.extend(
                            more.into_iter().filter(|entry| allowed(entry, rules.as_ref())),
                        );
                    }
                    Err(error) => {
                        let found = format!("{}, which cannot be read: {error}", file.display());
                        self.report(&name.at, &entry.name, &found, "a file that can be read");
                    }
                }
            }
        }
        entries
    }

    /// The entries of a map whose keys are names.
    fn named(&mut self, map: &Node) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (key, value) in map.entries() {
            match key.text() {
                Some(name) => entries.push(Entry {
                    name: name.to_owned(),
                    at: key.at.clone(),
                    value: value.clone(),
                }),
                None => self.report(&key.at, "", &key.kind(), "the name of an option"),
            }
        }
        entries
    }

    fn take_definitions(
        &mut self,
        entries: &mut Vec<Entry>,
        option: &str,
    ) -> BTreeMap<String, Node> {
        let mut all = BTreeMap::new();
        for entry in entries.extract_if(.., |entry| entry.name == option) {
            for definition in self.named(&joined(&entry.value)) {
                all.insert(definition.name, definition.value);
            }
        }
        all
    }

    /// Puts macros in the place of words that are their names, and keywords into texts.
    fn replace(
        &mut self,
        node: &mut Node,
        macros: &BTreeMap<String, Node>,
        keywords: &BTreeMap<String, Node>,
        depth: usize,
    ) {
        match &mut node.value {
            Value::Scalar { text, .. } => {
                if let Some(value) = macros.get(text.as_str()) {
                    if depth >= MACROS_DEEP_MAX {
                        let found = format!("the macro {text}, which stands for itself");
                        self.report(&node.at, "define_macro", &found, "a value in the end");
                        return;
                    }
                    let mut value = value.clone();
                    value.at = node.at.clone();
                    self.replace(&mut value, macros, keywords, depth + 1);
                    *node = value;
                } else if text.contains('@') {
                    for (name, value) in keywords {
                        if let Some(value) = value.text() {
                            *text = text.replace(&format!("@{name}@"), value);
                        }
                    }
                }
            }
            Value::List(list) => {
                for element in list {
                    self.replace(element, macros, keywords, depth);
                }
            }
            Value::Map(entries) => {
                for (_, value) in entries {
                    self.replace(value, macros, keywords, depth);
                }
            }
        }
    }

    fn take_hosts(&mut self) {
        let Some(hosts) = self.global_option("hosts").cloned() else {
            let place = Place { file: 0, line: 1, span: 0..0 };
            self.report(&place, "hosts", "no option `hosts`", "`hosts:` with a list of domains");
            return;
        };
        for node in hosts.value.elements() {
            let Some(domain) = self.domain(node, "hosts") else { continue };
            if self.hosts.iter().any(|host| host.domain == domain) {
                self.report(&node.at, "hosts", &format!("{domain} again"), "each domain once");
                continue;
            }
            let at = node.at.clone();
            self.hosts.push(Host { domain, at, own: Vec::new(), added: Vec::new() });
        }
        if self.hosts.is_empty() && self.problems.is_empty() {
            self.report(&hosts.at, "hosts", &hosts.value.kind(), "a list of domains");
        }
        for option in ["host_config", "append_host_config"] {
            let Some(per_host) = self.global_option(option).cloned() else { continue };
            for (key, options) in joined(&per_host.value).entries() {
                let Some(domain) = self.domain(key, option) else { continue };
                let entries = grouped(self.named(&joined(options)));
                match self.hosts.iter_mut().find(|host| host.domain == domain) {
                    Some(host) if option == "host_config" => host.own.extend(entries),
                    Some(host) => host.added.extend(entries),
                    None => {
                        let names: Vec<_> =
                            self.hosts.iter().map(|host| host.domain.clone()).collect();
                        let expected = format!("one of the hosts: {}", names.join(", "));
                        self.report(&key.at, option, &domain, &expected);
                    }
                }
            }
        }
        self.global.retain(|entry| {
            !matches!(entry.name.as_str(), "hosts" | "host_config" | "append_host_config")
        });
    }

    fn domain(&mut self, node: &Node, option: &str) -> Option<String> {
        match node.text().map(value::domain) {
            Some(Ok(domain)) => Some(domain),
            Some(Err(reason)) => {
                let found = format!("{}, which {reason}", node.kind());
                self.report(&node.at, option, &found, "a domain name");
                None
            }
            None => {
                self.report(&node.at, option, &node.kind(), "a domain name");
                None
            }
        }
    }

    pub(super) fn global_option(&self, name: &str) -> Option<&Entry> {
        self.global.iter().find(|entry| entry.name == name)
    }

    /// The option as it holds for a host: the host's own, else the one for all, with what is added
    /// for the host.
    pub(super) fn option(&self, host: &Host, name: &str) -> Option<Entry> {
        let find = |entries: &[Entry]| entries.iter().find(|entry| entry.name == name).cloned();
        let base = find(&host.own).or_else(|| self.global_option(name).cloned());
        match (base, find(&host.added)) {
            (Some(base), Some(added)) => {
                let value = merged(base.value, added.value);
                Some(Entry { value, ..base })
            }
            (base, added) => base.or(added),
        }
    }

    /// Whether `host` has a word of its own on `name`.
    pub(super) fn has_own(&self, host: &Host, name: &str) -> bool {
        host.own.iter().chain(&host.added).any(|entry| entry.name == name)
    }

    /// Every option in the file with the host that it is said for.
    pub(super) fn all_options(&self) -> impl Iterator<Item = (&Entry, Option<&Host>)> {
        let global = self.global.iter().map(|entry| (entry, None));
        let hosts = self.hosts.iter().flat_map(|host| {
            host.own.iter().chain(&host.added).map(move |entry| (entry, Some(host)))
        });
        global.chain(hosts)
    }

    fn report(&mut self, at: &Place, key: &str, found: &str, expected: &str) {
        let problem = self.problem(at, key).found(found).expected(expected);
        self.problems.push((at.file, problem));
    }

    /// A problem at `at`, still without words.
    pub(super) fn problem(&self, at: &Place, key: &str) -> Problem {
        let text = self.files.get(at.file).map_or("", |file| file.text.as_str());
        Problem::at(text, &at.span, key)
    }

    fn error(&mut self) -> Option<ConfigError> {
        let problems = std::mem::take(&mut self.problems);
        self.error_of(problems)
    }

    /// `problems` as one error; those of included files say which file.
    pub(super) fn error_of(&self, mut problems: Vec<(usize, Problem)>) -> Option<ConfigError> {
        if problems.is_empty() {
            return None;
        }
        problems.sort_by_key(|(file, problem)| (*file, problem.line, problem.column));
        // An error names one file; the first that has any is the one to mend first.
        let first = problems[0].0;
        let file = self.files.get(first).map(|file| file.path.clone()).unwrap_or_default();
        let problems =
            problems.into_iter().filter(|(file, _)| *file == first).map(|(_, problem)| problem);
        Some(ConfigError { file, problems: problems.collect() })
    }
}

fn plain(text: String) -> Node {
    Node { at: Place::default(), value: Value::Scalar { text, plain: false } }
}

/// The files that an `include_config_file` names, each with what is said about its options.
fn included(value: &Node) -> Vec<(Node, Option<Node>)> {
    let mut files = Vec::new();
    for element in value.elements() {
        if element.entries().is_empty() {
            files.push((element.clone(), None));
        }
        for (key, rules) in element.entries() {
            files.push((key.clone(), Some(rules.clone())));
        }
    }
    files
}

/// Whether an included file may set this option (`allow_only`, `disallow`).
fn allowed(entry: &Entry, rules: Option<&Node>) -> bool {
    let named = |key| -> Option<bool> {
        let list = rules?.get(key)?;
        Some(list.elements().iter().any(|name| name.text() == Some(entry.name.as_str())))
    };
    named("allow_only").unwrap_or(true) && !named("disallow").unwrap_or(false)
}

/// A list of maps as one map: ejabberd takes either.
pub(super) fn joined(node: &Node) -> Node {
    let Value::List(list) = &node.value else { return node.clone() };
    let entries = list.iter().flat_map(|element| element.entries().iter().cloned()).collect();
    Node { at: node.at.clone(), value: Value::Map(entries) }
}

/// Entries of one name become one whose value is all of theirs.
fn grouped(entries: Vec<Entry>) -> Vec<Entry> {
    let mut groups: Vec<Entry> = Vec::new();
    for entry in entries {
        match groups.iter_mut().find(|group| group.name == entry.name) {
            Some(group) => {
                let first = std::mem::replace(&mut group.value, plain(String::new()));
                group.value = merged(first, entry.value);
            }
            None => groups.push(entry),
        }
    }
    groups
}

/// Both lists, or both maps; of anything else the second.
fn merged(first: Node, second: Node) -> Node {
    match (first.value, second.value) {
        (Value::List(mut list), Value::List(more)) => {
            list.extend(more);
            Node { at: first.at, value: Value::List(list) }
        }
        (Value::Map(mut entries), Value::Map(more)) => {
            entries.extend(more);
            Node { at: first.at, value: Value::Map(entries) }
        }
        (_, value) => Node { at: second.at, value },
    }
}
