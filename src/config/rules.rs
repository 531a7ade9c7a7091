//! Access rules as the program reads them: who is who (`[acl]`), who may do what (`[access]`), and
//! how much of it (`[allowances]`). Data only; [`crate::access::rule`] decides by it.
//!
//! The meaning is ejabberd's, so that its rules can be carried over one by one:
//!
//! - the conditions of an ACL are **or**ed, however they are grouped;
//! - the entries of an access rule are tried in order, the first that holds decides, and nothing
//!   held means deny;
//! - the conditions of one entry are **and**ed, a list within one of them too: two networks in one
//!   entry hold only for an address in both. What shall be ored goes into an ACL;
//! - a name or pattern without a host means a user of any host of ours.
//!
//! Every entry and condition knows its line, so that a decision can name it. Lines do not count when
//! two sets of rules are compared: moved is not changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::value::IpNet;

/// ACLs that reference each other may be this many deep.
pub(super) const ACL_DEPTH_MAX: usize = 10;
/// Longest pattern, in bytes.
pub(super) const PATTERN_BYTES_MAX: usize = 4096;
/// Memory that one compiled pattern may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// All rules of a config, with the names that are known without being written.
#[derive(Clone, Debug)]
pub struct Rules {
    pub acls: BTreeMap<String, Acl>,
    pub access: BTreeMap<String, Rule>,
    pub allowances: BTreeMap<String, AllowanceRule>,
    /// The domains that have accounts here: what "a user of ours" means.
    pub hosts: Vec<String>,
    /// The settings that take a rule or an allowance, in the order in which they were read.
    pub uses: Vec<Use>,
}

/// Who is who. Holds if any of its conditions does.
#[derive(Clone, Debug)]
pub struct Acl {
    pub name: String,
    /// `None` if it is not in the file but known by itself.
    pub line: Option<usize>,
    pub conditions: Vec<Condition>,
}

/// Who may do what: entries in order.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    pub line: Option<usize>,
    pub entries: Vec<Entry>,
}

/// One line of an access rule. Decides if all its conditions hold.
#[derive(Clone, Debug)]
pub struct Entry {
    pub allow: bool,
    pub line: Option<usize>,
    pub conditions: Vec<Condition>,
}

/// How much: grants in order.
#[derive(Clone, Debug)]
pub struct AllowanceRule {
    pub name: String,
    pub line: Option<usize>,
    pub grants: Vec<Grant>,
}

/// One line of an allowance. Gives its value if all its conditions hold.
#[derive(Clone, Debug)]
pub struct Grant {
    pub value: u64,
    pub line: Option<usize>,
    pub conditions: Vec<Condition>,
}

/// Something to ask of a user, an address, a group.
#[derive(Clone, Debug)]
pub struct Condition {
    pub test: Test,
    /// `None` in rules known without being written.
    pub line: Option<usize>,
}

#[derive(Clone, Debug)]
pub enum Test {
    /// Another ACL; `all` and `none` among them.
    Acl(String),
    User {
        local: String,
        /// `None`: any host of ours.
        host: Option<String>,
    },
    Server(String),
    Resource(String),
    UserPattern {
        pattern: Pattern,
        host: Option<String>,
    },
    ServerPattern(Pattern),
    ResourcePattern(Pattern),
    NodePattern {
        user: Pattern,
        server: Pattern,
    },
    Ip(IpNet),
    SharedGroup {
        group: String,
        /// `None`: the group of that name on the user's own host.
        host: Option<String>,
    },
}

/// A regular expression or a glob. Expressions are not anchored: they hold if they match anywhere.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As in the file.
    pub written: String,
    /// `*`, `?` and `[…]` that must match the whole.
    pub glob: bool,
    regex: Regex,
}

/// The value of a setting that takes a rule: the name of an access rule or of an ACL, or entries of
/// its own.
#[derive(Clone, Debug)]
pub enum Access {
    Named(Arc<str>),
    Inline(Arc<Rule>),
}

/// The value of a setting that takes a number or the name of an allowance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowance {
    Fixed(u64),
    Named {
        name: Arc<str>,
        /// What counts where no line of the allowance holds: the setting's default.
        otherwise: u64,
    },
}

/// A setting that takes a rule or an allowance.
#[derive(Clone, Debug)]
pub struct Use {
    /// As in `hosts."example.org".sign_in`.
    pub path: String,
    /// `None` if the setting is left out.
    pub line: Option<usize>,
    pub what: Used,
}

#[derive(Clone, Debug)]
pub enum Used {
    Access(Access),
    Allowance(Allowance),
}

impl Rules {
    /// The rules of a file without any.
    pub(super) fn known() -> Rules {
        let condition = |test| Condition { test, line: None };
        let acl = |name: &str, conditions| {
            let name = name.to_owned();
            (name.clone(), Acl { name, line: None, conditions })
        };
        let loopback = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().map(Test::Ip));
        let anybody = Pattern::anything().map(|pattern| Test::UserPattern { pattern, host: None });
        let acls = [
            acl("admin", Vec::new()),
            acl("local", anybody.map(condition).into_iter().collect()),
            acl("loopback", loopback.into_iter().flatten().map(condition).collect()),
        ];
        let rule = |name: &str, who: &str| {
            let conditions = vec![condition(Test::Acl(who.to_owned()))];
            let entries = vec![Entry { allow: true, line: None, conditions }];
            (name.to_owned(), Rule { name: name.to_owned(), line: None, entries })
        };
        Rules {
            acls: BTreeMap::from(acls),
            access: BTreeMap::from([rule("configure", "admin"), rule("local", "local")]),
            allowances: BTreeMap::new(),
            hosts: Vec::new(),
            uses: Vec::new(),
        }
    }

    /// What stands at the setting `path`, if it takes a rule or an allowance.
    pub fn used_at(&self, path: &str) -> Option<&Use> {
        let bare = |path: &str| path.replace('"', "");
        let wanted = bare(path);
        self.uses.iter().find(|used| bare(&used.path) == wanted)
    }

    /// Whether `domain` has accounts here.
    pub fn is_ours(&self, domain: &str) -> bool {
        self.hosts.iter().any(|host| host == domain)
    }

    /// Whether `name` can stand where an ACL is asked for.
    pub fn knows_acl(&self, name: &str) -> bool {
        is_fixed(name) || self.acls.contains_key(name)
    }

    /// Whether `name` can stand where a setting takes a rule.
    pub fn knows_access(&self, name: &str) -> bool {
        self.access.contains_key(name) || self.knows_acl(name)
    }
}

/// `all` and `none` mean themselves everywhere and cannot be written anew.
pub fn is_fixed(name: &str) -> bool {
    matches!(name, "all" | "none")
}

/// Lines and uses aside: rules that decide alike.
impl PartialEq for Rules {
    fn eq(&self, other: &Rules) -> bool {
        let acls = |rules: &Rules| rules.acls.values().map(Acl::shown).collect::<Vec<_>>();
        let access = |rules: &Rules| rules.access.values().map(Rule::shown).collect::<Vec<_>>();
        let allowances =
            |rules: &Rules| rules.allowances.values().map(AllowanceRule::shown).collect::<Vec<_>>();
        self.acls.keys().eq(other.acls.keys())
            && self.access.keys().eq(other.access.keys())
            && self.allowances.keys().eq(other.allowances.keys())
            && acls(self) == acls(other)
            && access(self) == access(other)
            && allowances(self) == allowances(other)
            && self.hosts == other.hosts
    }
}

impl Access {
    /// The access rule or ACL of that name, which must be known.
    pub fn named(name: &str) -> Access {
        Access::Named(name.into())
    }

    /// As in the file.
    pub fn shown(&self) -> String {
        match self {
            Access::Named(name) => name.to_string(),
            Access::Inline(rule) => rule.shown(),
        }
    }
}

impl PartialEq for Access {
    fn eq(&self, other: &Access) -> bool {
        match (self, other) {
            (Access::Named(own), Access::Named(others)) => own == others,
            (Access::Inline(own), Access::Inline(others)) => own.shown() == others.shown(),
            _ => false,
        }
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowance::Fixed(value) => value.fmt(f),
            Allowance::Named { name, .. } => f.write_str(name),
        }
    }
}

impl Acl {
    pub fn shown(&self) -> String {
        let conditions: Vec<_> =
            self.conditions.iter().map(|condition| format!("{{ {condition} }}")).collect();
        format!("[{}]", conditions.join(", "))
    }
}

impl Rule {
    pub fn shown(&self) -> String {
        let entries: Vec<_> =
            self.entries.iter().map(|entry| format!("{{ {} }}", entry.shown())).collect();
        format!("[{}]", entries.join(", "))
    }
}

impl Entry {
    /// As in `allow = "local"`.
    pub fn shown(&self) -> String {
        let verb = if self.allow { "allow" } else { "deny" };
        format!("{verb} = {}", shown(&self.conditions))
    }
}

impl AllowanceRule {
    pub fn shown(&self) -> String {
        let grants: Vec<_> =
            self.grants.iter().map(|grant| format!("{{ {} }}", grant.shown())).collect();
        format!("[{}]", grants.join(", "))
    }
}

impl Grant {
    pub fn shown(&self) -> String {
        let value = match self.value {
            u64::MAX => "\"unlimited\"".to_owned(),
            value => value.to_string(),
        };
        format!("grant = {value}, to = {}", shown(&self.conditions))
    }
}

/// Conditions that must all hold, as a value in the file.
fn shown(conditions: &[Condition]) -> String {
    let one = |condition: &Condition| match &condition.test {
        Test::Acl(name) => format!("{name:?}"),
        _ => format!("{{ {condition} }}"),
    };
    match conditions {
        [condition] => one(condition),
        many => format!("[{}]", many.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

/// As a pair in the file: `user = "carol@example.org"`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = ", self.test.key())?;
        match &self.test {
            Test::Acl(name) => write!(f, "{name:?}"),
            Test::User { local, host } => scoped(f, local, host.as_deref()),
            Test::Server(text) | Test::Resource(text) => write!(f, "{text:?}"),
            Test::UserPattern { pattern, host } => scoped(f, &pattern.written, host.as_deref()),
            Test::ServerPattern(pattern) | Test::ResourcePattern(pattern) => {
                write!(f, "{:?}", pattern.written)
            }
            Test::NodePattern { user, server } => scoped(f, &user.written, Some(&server.written)),
            Test::Ip(net) => write!(f, "\"{net}\""),
            Test::SharedGroup { group, host } => scoped(f, group, host.as_deref()),
        }
    }
}

/// `"what@host"`, or a table where an `@` in either would make that mean something else.
fn scoped(f: &mut fmt::Formatter<'_>, what: &str, host: Option<&str>) -> fmt::Result {
    match host {
        Some(host) if what.contains('@') || host.contains('@') => {
            write!(f, "{{ {what:?} = {host:?} }}")
        }
        Some(host) => write!(f, "{:?}", format!("{what}@{host}")),
        None => write!(f, "{what:?}"),
    }
}

impl Test {
    /// The key that stands for it in the file.
    pub fn key(&self) -> &'static str {
        match self {
            Test::Acl(_) => "acl",
            Test::User { .. } => "user",
            Test::Server(_) => "server",
            Test::Resource(_) => "resource",
            Test::UserPattern { pattern, .. } if pattern.glob => "user_glob",
            Test::UserPattern { .. } => "user_regexp",
            Test::ServerPattern(pattern) if pattern.glob => "server_glob",
            Test::ServerPattern(_) => "server_regexp",
            Test::ResourcePattern(pattern) if pattern.glob => "resource_glob",
            Test::ResourcePattern(_) => "resource_regexp",
            Test::NodePattern { user, .. } if user.glob => "node_glob",
            Test::NodePattern { .. } => "node_regexp",
            Test::Ip(_) => "ip",
            Test::SharedGroup { .. } => "shared_group",
        }
    }
}

/// Why a pattern does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternFault {
    /// Follows the pattern, as in "has an unclosed group".
    pub reason: String,
    /// Where in the pattern, in bytes.
    pub at: Option<std::ops::Range<usize>>,
    pub help: Option<String>,
}

impl Pattern {
    /// A regular expression of the crate `regex`: linear time, so without look-around and
    /// backreferences.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn regex(written: &str) -> Result<Pattern, PatternFault> {
        if written.len() > PATTERN_BYTES_MAX {
            return Err(too_long());
        }
        if let Err(error) = regex_syntax::parse(written) {
            return Err(syntax(&error));
        }
        Pattern::compile(written, written, false)
    }

    /// A glob as shells have them: `*` any text, `?` any one character, `[abc]`, `[a-z]`, `[!abc]` a
    /// character out of a set or not; all else means itself. It must match the whole.
    ///
    /// # Errors
    /// If a set in it makes no sense.
    pub fn glob(written: &str) -> Result<Pattern, PatternFault> {
        if written.len() > PATTERN_BYTES_MAX {
            return Err(too_long());
        }
        Pattern::compile(written, &glob_to_regex(written), true)
    }

    fn compile(written: &str, expression: &str, glob: bool) -> Result<Pattern, PatternFault> {
        let built = RegexBuilder::new(expression)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build();
        match built {
            Ok(regex) => Ok(Pattern { written: written.to_owned(), glob, regex }),
            Err(regex::Error::CompiledTooBig(_)) => Err(PatternFault {
                reason: "takes too much memory once compiled".to_owned(),
                at: None,
                help: Some("use smaller repetitions, or several patterns".to_owned()),
            }),
            Err(error) => {
                let told = error.to_string();
                let reason = told.lines().last().unwrap_or("cannot be compiled");
                let reason = format!("is not a pattern: {}", reason.trim_start_matches("error: "));
                Err(PatternFault { reason, at: None, help: None })
            }
        }
    }

    /// What matches everything. Compiling the empty expression does not fail.
    fn anything() -> Option<Pattern> {
        Pattern::regex("").ok()
    }

    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The part of `text` that it matches first.
    pub fn found_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.regex.find(text).map(|found| found.as_str())
    }

    /// Whether it matches every text there is, as the empty expression does.
    pub fn is_anything(&self) -> bool {
        matches!(self.written.as_str(), "" | ".*" | "^" | "$" | "^.*$" | "^.*" | ".*$" if !self.glob)
            || (self.glob && !self.written.is_empty() && self.written.bytes().all(|b| b == b'*'))
    }
}

fn too_long() -> PatternFault {
    let reason = format!("is longer than {PATTERN_BYTES_MAX} bytes");
    PatternFault { reason, at: None, help: Some("use several patterns".to_owned()) }
}

fn syntax(error: &regex_syntax::Error) -> PatternFault {
    use regex_syntax::ast::ErrorKind;
    let (reason, span, help) = match error {
        regex_syntax::Error::Parse(error) => {
            let help = match error.kind() {
                ErrorKind::UnsupportedLookAround | ErrorKind::UnsupportedBackreference => Some(
                    "every pattern here runs in linear time, which rules this out; \
                     use a `deny` entry before the `allow`, or several patterns",
                ),
                _ => None,
            };
            (error.kind().to_string(), Some(error.span()), help)
        }
        regex_syntax::Error::Translate(error) => {
            (error.kind().to_string(), Some(error.span()), None)
        }
        other => (other.to_string(), None, None),
    };
    PatternFault {
        reason: format!("is not a regular expression: {reason}"),
        at: span.map(|span| span.start.offset..span.end.offset),
        help: help.map(str::to_owned),
    }
}

/// ejabberd's reading of globs: sets may start with `]`, `[!` and not `[^` negates, an unclosed set
/// ends with the text.
fn glob_to_regex(glob: &str) -> String {
    let mut expression = String::from("(?s)^(?:");
    let mut rest = glob.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => {
                expression.push('[');
                if rest.next_if_eq(&'!').is_some() {
                    expression.push('^');
                }
                let mut first = true;
                loop {
                    match rest.next() {
                        Some(']') if !first => break,
                        None => break,
                        Some('-') => expression.push('-'),
                        Some(c) => expression.push_str(&regex::escape(&c.to_string())),
                    }
                    first = false;
                }
                expression.push(']');
            }
            c => expression.push_str(&regex::escape(&c.to_string())),
        }
    }
    expression.push_str(")$");
    expression
}

#[cfg(test)]
mod tests;
