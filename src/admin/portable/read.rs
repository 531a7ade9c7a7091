//! Walks the files of an export: hosts, users, and what belongs to each.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::Sender;

use crate::jid::BareJid;
use crate::xml::Element;
use crate::xml::document::{Document, DocumentError, Place, Token};
use crate::xml::ns;

/// Bytes of one part: a vCard, a message, a roster.
const PART_BYTES_MAX: usize = 16 << 20;
/// Files within files.
const INCLUDED_DEPTH_MAX: usize = 4;

/// Something in a file.
#[derive(Clone, Debug)]
pub struct At {
    pub file: PathBuf,
    pub place: Place,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.place)
    }
}

/// What is wrong, and where.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{at}: {what}")]
pub struct Fault {
    pub at: At,
    pub what: String,
}

/// What the files hold, in their order.
pub enum Found {
    User {
        jid: BareJid,
        /// In plain text, or as older ejabberds wrote SCRAM keys.
        password: Option<String>,
        at: At,
    },
    /// A child of the user last named; for messages of the archive and those that wait, each one.
    Part(Kind, Element, At),
    /// The user is complete.
    EndOfUser,
    /// Not known here: where it stood, and its namespace.
    Unknown(String),
}

/// Where a part stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Directly in the user.
    Own,
    /// In `<offline-messages/>`.
    Offline,
    /// In `<archive/>`.
    Archived,
}

/// Walks `file` and those that it includes, and sends what it finds. Blocks.
///
/// # Errors
/// The first fault. Whoever receives has heard of everything before it.
pub fn walk(file: &Path, found: &Sender<Found>) -> Result<(), Fault> {
    let nowhere = |what: String| Fault {
        at: At { file: file.to_owned(), place: Place { line: 1, column: 1 } },
        what,
    };
    let path = file.canonicalize().map_err(|error| nowhere(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut walker = Walker { folder, found, hosts: 0 };
    walker.file(&path, &Level::Top, 0)?;
    match walker.hosts {
        0 => Err(nowhere("there is no host in it".to_owned())),
        _ => Ok(()),
    }
}

/// What may stand here.
enum Level {
    /// The root of the first file.
    Top,
    /// In `<server-data/>`.
    Hosts,
    /// In a `<host/>`.
    Users(String),
    /// In a `<user/>`.
    Parts,
}

struct Walker<'a> {
    /// Files outside of it are not read.
    folder: PathBuf,
    found: &'a Sender<Found>,
    hosts: usize,
}

type Input = Document<BufReader<File>>;

impl Walker<'_> {
    fn file(&mut self, path: &Path, level: &Level, depth: usize) -> Result<(), Fault> {
        let at = |place| At { file: path.to_owned(), place };
        let start = Place { line: 1, column: 1 };
        let file = File::open(path)
            .map_err(|error| Fault { at: at(start), what: format!("cannot be read: {error}") })?;
        let mut document = Document::new(BufReader::with_capacity(64 << 10, file), PART_BYTES_MAX);
        loop {
            match document.token().map_err(|error| in_file(path, error))? {
                (Token::Open(element), place) => {
                    self.element(path, &mut document, element, place, level, depth)?;
                }
                (Token::Close, _) => {}
                (Token::End, _) => return Ok(()),
            }
        }
    }

    fn element(
        &mut self,
        path: &Path,
        document: &mut Input,
        element: Element,
        place: Place,
        level: &Level,
        depth: usize,
    ) -> Result<(), Fault> {
        let at = At { file: path.to_owned(), place };
        let fault = |what: String| Err(Fault { at: at.clone(), what });
        if element.is("include", ns::XINCLUDE) && !matches!(level, Level::Top) {
            self.include(&at, &element, level, depth)?;
            return document.skip().map_err(|error| in_file(path, error));
        }
        match level {
            Level::Top if element.is("server-data", ns::PIE) => {
                self.children(path, document, &Level::Hosts, depth)
            }
            Level::Top => {
                let (name, ns) = (element.name(), element.ns());
                fault(format!(
                    "expected <server-data xmlns='{}'>, found <{name} xmlns='{ns}'>",
                    ns::PIE
                ))
            }
            Level::Hosts if element.is("host", ns::PIE) => {
                let Some(host) = element.get("jid") else {
                    return fault("the host has no 'jid'".to_owned());
                };
                self.hosts += 1;
                self.children(path, document, &Level::Users(host.to_owned()), depth)
            }
            Level::Users(host) if element.is("user", ns::PIE) => {
                let Some(name) = element.get("name") else {
                    return fault("the user has no 'name'".to_owned());
                };
                let jid = match BareJid::parse(&format!("{name}@{host}")) {
                    Ok(jid) if jid.local().is_some() => jid,
                    Ok(_) => return fault("the user's 'name' is empty".to_owned()),
                    Err(error) => return fault(format!("{name}@{host} is no address: {error}")),
                };
                let password = element.get("password").map(str::to_owned);
                let user = Found::User { jid, password, at: at.clone() };
                self.send(user, &at)?;
                self.children(path, document, &Level::Parts, depth)?;
                self.send(Found::EndOfUser, &at)
            }
            Level::Hosts | Level::Users(_) => {
                if element.ns() == ns::PIE {
                    let wanted = if matches!(level, Level::Hosts) { "host" } else { "user" };
                    return fault(format!("expected <{wanted}>, found <{}>", element.name()));
                }
                self.send(Found::Unknown(element.ns().to_owned()), &at)?;
                document.skip().map_err(|error| in_file(path, error))
            }
            Level::Parts if element.is("offline-messages", ns::PIE) => {
                self.messages(path, document, Kind::Offline)
            }
            Level::Parts if element.is("archive", ns::PIE_MAM) => {
                self.messages(path, document, Kind::Archived)
            }
            Level::Parts => self.part(path, document, element, place, Kind::Own),
        }
    }

    fn children(
        &mut self,
        path: &Path,
        document: &mut Input,
        level: &Level,
        depth: usize,
    ) -> Result<(), Fault> {
        loop {
            match document.token().map_err(|error| in_file(path, error))? {
                (Token::Open(element), place) => {
                    self.element(path, document, element, place, level, depth)?;
                }
                (Token::Close | Token::End, _) => return Ok(()),
            }
        }
    }

    fn messages(&mut self, path: &Path, document: &mut Input, kind: Kind) -> Result<(), Fault> {
        loop {
            match document.token().map_err(|error| in_file(path, error))? {
                (Token::Open(element), place) => self.part(path, document, element, place, kind)?,
                (Token::Close | Token::End, _) => return Ok(()),
            }
        }
    }

    fn part(
        &mut self,
        path: &Path,
        document: &mut Input,
        open: Element,
        place: Place,
        kind: Kind,
    ) -> Result<(), Fault> {
        let whole = document.whole(open, place).map_err(|error| in_file(path, error))?;
        let at = At { file: path.to_owned(), place };
        self.send(Found::Part(kind, whole, at.clone()), &at)
    }

    /// XInclude as XEP-0227 demands it: a relative 'href' and nothing else. It stays below the
    /// folder of the first file.
    fn include(
        &mut self,
        at: &At,
        element: &Element,
        level: &Level,
        depth: usize,
    ) -> Result<(), Fault> {
        let fault = |what: String| Err(Fault { at: at.clone(), what });
        let (href, other) = (element.get("href"), element.get("parse").or(element.get("xpointer")));
        let (Some(href), None) = (href, other) else {
            return fault("an include has an 'href', no 'parse' and no 'xpointer'".to_owned());
        };
        if depth >= INCLUDED_DEPTH_MAX {
            return fault(format!("files include each other more than {INCLUDED_DEPTH_MAX} deep"));
        }
        let name = percent_decoded(href);
        let beside = at.file.parent().unwrap_or(Path::new("/"));
        let path = match beside.join(&name).canonicalize() {
            Ok(path) => path,
            Err(error) => return fault(format!("{href} cannot be read: {error}")),
        };
        if Path::new(&name).is_absolute() || !path.starts_with(&self.folder) {
            return fault(format!("{href} lies outside of {}", self.folder.display()));
        }
        self.file(&path, level, depth + 1)
    }

    fn send(&self, found: Found, at: &At) -> Result<(), Fault> {
        // Whoever does not receive any more has met a fault of its own, and tells that.
        let ended = |_| Fault { at: at.clone(), what: "the import has ended here".to_owned() };
        self.found.blocking_send(found).map_err(ended)
    }
}

fn in_file(path: &Path, error: DocumentError) -> Fault {
    Fault { at: At { file: path.to_owned(), place: error.place }, what: error.what }
}

/// A relative URI as a path: names of users may hold what a URI may not.
fn percent_decoded(href: &str) -> String {
    let mut bytes = Vec::with_capacity(href.len());
    let mut rest = href.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
