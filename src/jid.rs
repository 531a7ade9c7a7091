//! Addresses (RFC 7622), normalised once when they are read and compared as bytes ever after.
//!
//! # Which rules apply
//! [`Jid::parse`] takes every address that another server may rightly use:
//!
//! 1. The localpart is enforced by PRECIS `UsernameCaseMapped`, the resource by `OpaqueString`
//!    (RFC 7622 §3.3, §3.4), the domain by IDNA (UTS 46, non-transitional, U-labels).
//! 2. A localpart or resource that PRECIS *refuses* is tried with the stringprep profile of
//!    RFC 6122 (`nodeprep`, `resourceprep`), since most servers still run these: `henryⅣ@…` is
//!    `henryiv@…` there, and `♚@…` a user like any other. Where PRECIS accepts, its answer
//!    stands, also where stringprep would map to something else.
//! 3. A resource that both refuse is tried once more with PRECIS after the characters that
//!    stringprep maps to nothing were dropped. Stringprep stopped at Unicode 3.2, so this is what
//!    lets a joined emoji (`👩‍💻`) be a nickname: it loses its joiner, not its bearer.
//!
//! [`Jid::parse_strict`] stops after the first step. It is for addresses that come into being on
//! this server: accounts, rooms, nodes.
//!
//! Both are idempotent: the text of a [`Jid`] parses to itself.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::Ipv6Addr;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use idna::uts46::{AsciiDenyList, Hyphens, Uts46};
use precis_core::profile::PrecisFastInvocation;
use precis_profiles::{OpaqueString, UsernameCaseMapped};
use smallvec::SmallVec;

/// Longest part of an address, in bytes of UTF-8 after normalisation (RFC 7622 §3.1).
pub const PART_BYTES_MAX: usize = 1023;

/// A bare JID shares the text of the full JID it came from up to this length of resource; longer
/// ones are copied, so that a map of bare JIDs cannot be made to hold kilobytes of resources.
const SHARED_RESOURCE_BYTES_MAX: usize = 64;

/// An address: `localpart@domain/resource`, localpart and resource being optional.
///
/// Cloning costs one reference count. Equality, order and hash are those of the text.
#[derive(Clone)]
pub struct Jid {
    text: Arc<str>,
    /// Length of the localpart; 0 without one.
    local: u16,
    /// Where the domain ends.
    domain: u16,
    /// Where the address ends: `text` may hold a resource that is not part of it.
    end: u16,
}

/// An address without resource. Made by [`Jid::bare`] or [`BareJid::parse`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BareJid(Jid);

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JidError {
    pub part: Part,
    pub reason: Reason,
}

/// The part of an address that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Local,
    Domain,
    Resource,
}

/// What is wrong with a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The separator is there, the part is not.
    Empty,
    /// More than [`PART_BYTES_MAX`] bytes after normalisation.
    TooLong,
    /// A character that this part may not hold.
    Forbidden(char),
    /// Not an internationalised domain name (IDNA), or a label that is empty or too long.
    NotADomain,
    /// Something in square brackets that is not an IPv6 address.
    NotAnIpAddress,
    /// Right-to-left characters are mixed in an order that cannot be displayed safely.
    Directionality,
    /// Normalising it again gives another text, so it has no one form to compare by.
    Unstable,
    /// A bare JID was asked for.
    NotWanted,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Local => "localpart",
            Part::Domain => "domain",
            Part::Resource => "resource",
        })
    }
}

impl fmt::Display for JidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.part;
        match &self.reason {
            Reason::Empty => write!(f, "the {part} of the address is empty"),
            Reason::TooLong => {
                write!(f, "the {part} of the address is longer than {PART_BYTES_MAX} bytes")
            }
            Reason::Forbidden(c) => write!(
                f,
                "the {part} of the address contains '{}' (U+{:04X}), which is not allowed there",
                c.escape_debug(),
                u32::from(*c)
            ),
            Reason::NotADomain => {
                write!(f, "the {part} of the address is not a valid domain name")
            }
            Reason::NotAnIpAddress => {
                write!(f, "the {part} of the address has brackets but is not an IPv6 address")
            }
            Reason::Directionality => write!(
                f,
                "the {part} of the address mixes right-to-left and left-to-right characters"
            ),
            Reason::Unstable => {
                write!(f, "the {part} of the address has no stable normal form")
            }
            Reason::NotWanted => {
                write!(f, "the address has a {part} where a bare JID is expected")
            }
        }
    }
}

impl std::error::Error for JidError {}

/// Which rules a part is held to; see the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    Precis,
    PrecisThenStringprep,
}

impl Jid {
    /// Reads and normalises an address from the wire; see the module for the rules.
    ///
    /// Plain ASCII costs one scan and one allocation.
    pub fn parse(text: &str) -> Result<Jid, JidError> {
        Jid::read(text, Rules::PrecisThenStringprep)
    }

    /// Reads an address by RFC 7622 alone, without the fall-back to RFC 6122. For addresses that
    /// are about to be created here.
    pub fn parse_strict(text: &str) -> Result<Jid, JidError> {
        Jid::read(text, Rules::Precis)
    }

    /// Normalises and joins parts. `Some("")` is an error: a part is absent or not empty.
    pub fn from_parts(
        local: Option<&str>,
        domain: &str,
        resource: Option<&str>,
    ) -> Result<Jid, JidError> {
        Jid::build(local, domain, resource, Rules::PrecisThenStringprep)
    }

    /// This address with another resource, normalised.
    pub fn with_resource(&self, resource: &str) -> Result<Jid, JidError> {
        let resource = prepare_resource(resource, Rules::PrecisThenStringprep)?;
        let bare = self.bare_str();
        let mut text = String::with_capacity(bare.len() + 1 + resource.len());
        text.push_str(bare);
        text.push('/');
        text.push_str(&resource);
        let end = span(text.len());
        Ok(Jid { text: text.into(), local: self.local, domain: self.domain, end })
    }

    pub fn local(&self) -> Option<&str> {
        (self.local > 0).then(|| &self.text[..usize::from(self.local)])
    }

    pub fn domain(&self) -> &str {
        let start = if self.local > 0 { usize::from(self.local) + 1 } else { 0 };
        &self.text[start..usize::from(self.domain)]
    }

    pub fn resource(&self) -> Option<&str> {
        (self.end > self.domain)
            .then(|| &self.text[usize::from(self.domain) + 1..usize::from(self.end)])
    }

    /// The address without its resource. Shares the text; does not allocate but for resources
    /// longer than 64 bytes.
    pub fn bare(&self) -> BareJid {
        let kept = self.text.len() - usize::from(self.domain);
        let text = if kept > SHARED_RESOURCE_BYTES_MAX {
            Arc::from(self.bare_str())
        } else {
            self.text.clone()
        };
        BareJid(Jid { text, local: self.local, domain: self.domain, end: self.domain })
    }

    /// The text of [`Jid::bare`]: a key with which a map of [`BareJid`] can be probed.
    pub fn bare_str(&self) -> &str {
        &self.text[..usize::from(self.domain)]
    }

    pub fn is_bare(&self) -> bool {
        self.end == self.domain
    }

    pub fn as_str(&self) -> &str {
        &self.text[..usize::from(self.end)]
    }

    fn read(text: &str, rules: Rules) -> Result<Jid, JidError> {
        // RFC 7622 §3.2: the resource starts after the first '/', then the localpart ends at the
        // first '@' of what is left.
        let (bare, resource) = match memchr::memchr(b'/', text.as_bytes()) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let (local, domain) = match memchr::memchr(b'@', bare.as_bytes()) {
            Some(at) => (Some(&bare[..at]), &bare[at + 1..]),
            None => (None, bare),
        };
        Jid::build(local, domain, resource, rules)
    }

    fn build(
        local: Option<&str>,
        domain: &str,
        resource: Option<&str>,
        rules: Rules,
    ) -> Result<Jid, JidError> {
        let local = local.map(|part| prepare_local(part, rules)).transpose()?;
        let domain = prepare_domain(domain)?;
        let resource = resource.map(|part| prepare_resource(part, rules)).transpose()?;

        let mut text: SmallVec<[u8; 128]> = SmallVec::new();
        if let Some(local) = &local {
            text.extend_from_slice(local.as_bytes());
            if matches!(local, Prepared::Upper(_)) {
                text.make_ascii_lowercase();
            }
            text.push(b'@');
        }
        let domain_start = text.len();
        text.extend_from_slice(domain.as_bytes());
        if matches!(domain, Prepared::Upper(_)) {
            text[domain_start..].make_ascii_lowercase();
        }
        let domain_end = text.len();
        if let Some(resource) = &resource {
            text.push(b'/');
            text.extend_from_slice(resource.as_bytes());
        }
        let joined = std::str::from_utf8(&text)
            .map_err(|_| JidError { part: Part::Domain, reason: Reason::NotADomain })?;
        Ok(Jid {
            local: span(local.map_or(0, |local| local.len())),
            domain: span(domain_end),
            end: span(joined.len()),
            text: Arc::from(joined),
        })
    }
}

/// Offsets fit: three parts of at most 1023 bytes and two separators.
fn span(len: usize) -> u16 {
    debug_assert!(len <= 3 * PART_BYTES_MAX + 2);
    u16::try_from(len).unwrap_or(u16::MAX)
}

impl BareJid {
    /// As [`Jid::parse`], but a resource is an error.
    pub fn parse(text: &str) -> Result<BareJid, JidError> {
        BareJid::without_resource(Jid::parse(text)?)
    }

    /// As [`Jid::parse_strict`], but a resource is an error.
    pub fn parse_strict(text: &str) -> Result<BareJid, JidError> {
        BareJid::without_resource(Jid::parse_strict(text)?)
    }

    pub fn into_jid(self) -> Jid {
        self.0
    }

    fn without_resource(jid: Jid) -> Result<BareJid, JidError> {
        if jid.is_bare() {
            Ok(BareJid(jid))
        } else {
            Err(JidError { part: Part::Resource, reason: Reason::NotWanted })
        }
    }
}

impl Deref for BareJid {
    type Target = Jid;

    fn deref(&self) -> &Jid {
        &self.0
    }
}

impl From<BareJid> for Jid {
    fn from(bare: BareJid) -> Jid {
        bare.0
    }
}

impl PartialEq for Jid {
    fn eq(&self, other: &Jid) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Jid {}

impl PartialOrd for Jid {
    fn partial_cmp(&self, other: &Jid) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Jid {
    fn cmp(&self, other: &Jid) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Jid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Jid {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for BareJid {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Jid {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for BareJid {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for Jid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Jid, JidError> {
        Jid::parse(text)
    }
}

impl FromStr for BareJid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<BareJid, JidError> {
        BareJid::parse(text)
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for BareJid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for BareJid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A part ready to be joined.
enum Prepared<'a> {
    /// Use as it is.
    Done(Cow<'a, str>),
    /// ASCII with capitals, which the join lowers in place instead of allocating a copy.
    Upper(&'a str),
}

impl Deref for Prepared<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Prepared::Done(text) => text,
            Prepared::Upper(text) => text,
        }
    }
}

// Classes of ASCII bytes, one bit each.
const LOCAL: u8 = 1;
const DOMAIN: u8 = 2;
const RESOURCE: u8 = 4;
const CAPITAL: u8 = 8;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0x20_u8;
    while byte < 0x7f {
        let mut class = RESOURCE;
        // RFC 7622 §3.3.1, and the space that the IdentifierClass lacks.
        if !matches!(byte, b' ' | b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@') {
            class |= LOCAL;
        }
        // Letters, digits, hyphen; the underscore is in use for hosts on private networks.
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            class |= DOMAIN;
        }
        if byte.is_ascii_uppercase() {
            class |= CAPITAL;
        }
        table[byte as usize] = class;
        byte += 1;
    }
    table
}

/// What [`plain`] found.
struct Plain {
    allowed: bool,
    capitals: bool,
}

/// Whether all bytes are of an ASCII class, and whether capitals are among them.
fn plain(part: &str, class: u8) -> Plain {
    let (mut all, mut any) = (0xff, 0);
    for byte in part.bytes() {
        let found = CLASSES[usize::from(byte)];
        all &= found;
        any |= found;
    }
    Plain { allowed: all & class != 0, capitals: any & CAPITAL != 0 }
}

fn check_bytes(part: Part, text: &str) -> Result<(), JidError> {
    let reason = match text.len() {
        0 => Reason::Empty,
        1..=PART_BYTES_MAX => return Ok(()),
        _ => Reason::TooLong,
    };
    Err(JidError { part, reason })
}

fn prepare_local(text: &str, rules: Rules) -> Result<Prepared<'_>, JidError> {
    check_bytes(Part::Local, text)?;
    let plain = plain(text, LOCAL);
    match (plain.allowed, plain.capitals) {
        (true, false) => Ok(Prepared::Done(Cow::Borrowed(text))),
        (true, true) => Ok(Prepared::Upper(text)),
        (false, _) => stable(Part::Local, text, |text| normal_local(text, rules)),
    }
}

fn prepare_resource(text: &str, rules: Rules) -> Result<Prepared<'_>, JidError> {
    check_bytes(Part::Resource, text)?;
    if plain(text, RESOURCE).allowed {
        return Ok(Prepared::Done(Cow::Borrowed(text)));
    }
    stable(Part::Resource, text, |text| normal_resource(text, rules))
}

/// One round of normalising a localpart.
fn normal_local(text: &str, rules: Rules) -> Result<String, JidError> {
    let normal = match UsernameCaseMapped::enforce(text) {
        Ok(normal) => normal.into_owned(),
        Err(error) if rules == Rules::Precis || text.is_ascii() => {
            return Err(refused(Part::Local, text, &error));
        }
        Err(error) => {
            stringprep::nodeprep(text).map_err(|_| refused(Part::Local, text, &error))?.into_owned()
        }
    };
    // RFC 7622 §3.3.1 forbids these after enforcement: wide forms have been mapped by now.
    let forbidden = |c: &char| matches!(c, '"' | '&' | '\'' | '/' | ':' | '<' | '>' | '@');
    match normal.chars().find(forbidden) {
        Some(c) => Err(JidError { part: Part::Local, reason: Reason::Forbidden(c) }),
        None => Ok(normal),
    }
}

/// One round of normalising a resource.
fn normal_resource(text: &str, rules: Rules) -> Result<String, JidError> {
    let error = match OpaqueString::enforce(text) {
        Ok(normal) => return Ok(normal.into_owned()),
        Err(error) => error,
    };
    if rules == Rules::PrecisThenStringprep && !text.is_ascii() {
        if let Ok(normal) = stringprep::resourceprep(text) {
            return Ok(normal.into_owned());
        }
        let seen: String =
            text.chars().filter(|&c| !stringprep::tables::commonly_mapped_to_nothing(c)).collect();
        if let Ok(normal) = OpaqueString::enforce(seen) {
            return Ok(normal.into_owned());
        }
    }
    Err(refused(Part::Resource, text, &error))
}

/// Normalises until nothing changes: three more rounds at most (RFC 8264 §7).
fn stable(
    part: Part,
    text: &str,
    normalise: impl Fn(&str) -> Result<String, JidError>,
) -> Result<Prepared<'static>, JidError> {
    let mut last = normalise(text)?;
    for _ in 0..3 {
        check_bytes(part, &last)?;
        let next = normalise(&last)?;
        if next == last {
            return Ok(Prepared::Done(Cow::Owned(last)));
        }
        last = next;
    }
    Err(JidError { part, reason: Reason::Unstable })
}

/// What PRECIS said, with the character instead of its place in a string the reader has not seen.
fn refused(part: Part, text: &str, error: &precis_core::Error) -> JidError {
    let reason = match error {
        precis_core::Error::BadCodepoint(info) => char::from_u32(info.cp),
        precis_core::Error::Unexpected(
            precis_core::UnexpectedError::ContextRuleNotApplicable(info)
            | precis_core::UnexpectedError::MissingContextRule(info),
        ) => char::from_u32(info.cp),
        // A context rule looked beyond the end: the joiner is what may not stand there.
        precis_core::Error::Unexpected(_) => text.chars().find(|c| !c.is_alphanumeric()),
        precis_core::Error::Invalid => None,
    };
    JidError { part, reason: reason.map_or(Reason::Directionality, Reason::Forbidden) }
}

/// ASCII that no label may hold, not even as the result of a mapping (`／` becomes `/`).
const DENIED: AsciiDenyList = AsciiDenyList::new(true, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

fn prepare_domain(text: &str) -> Result<Prepared<'_>, JidError> {
    check_bytes(Part::Domain, text)?;
    let error = |reason| JidError { part: Part::Domain, reason };
    // RFC 7622 §3.2: a final dot is not part of the domain.
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.starts_with('[') {
        return ip_literal(text).map(Prepared::Done).ok_or(error(Reason::NotAnIpAddress));
    }
    let plain = plain(text, DOMAIN);
    let labels = labels(text);
    if plain.allowed && !labels.encoded {
        if !labels.fit {
            return Err(error(if text.is_empty() { Reason::Empty } else { Reason::NotADomain }));
        }
        return Ok(match plain.capitals {
            true => Prepared::Upper(text),
            false => Prepared::Done(Cow::Borrowed(text)),
        });
    }
    if let Some(c) = text
        .chars()
        .find(|c| c.is_control() || (c.is_ascii() && CLASSES[usize::from(*c as u8)] & DOMAIN == 0))
    {
        return Err(error(Reason::Forbidden(c)));
    }
    stable(Part::Domain, text, |text| {
        let (normal, outcome) =
            Uts46::new().to_unicode(text.as_bytes(), DENIED, Hyphens::CheckFirstLast);
        outcome.map_err(|_| error(Reason::NotADomain))?;
        let normal = normal.strip_suffix('.').unwrap_or(&normal);
        // Lengths of labels are those in the DNS, so of the A-labels.
        let ascii = Uts46::new()
            .to_ascii(
                normal.as_bytes(),
                DENIED,
                Hyphens::CheckFirstLast,
                idna::uts46::DnsLength::Ignore,
            )
            .map_err(|_| error(Reason::NotADomain))?;
        match self::labels(&ascii).fit {
            true => Ok(normal.to_owned()),
            false => Err(error(Reason::NotADomain)),
        }
    })
}

/// `[2001:db8::1]` in the one form of RFC 5952. IPv4 addresses are plain labels already.
fn ip_literal(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let address: Ipv6Addr = inner.parse().ok()?;
    let normal = format!("[{address}]");
    Some(if normal == text { Cow::Borrowed(text) } else { Cow::Owned(normal) })
}

/// What the labels of a domain in ASCII look like.
struct Labels {
    /// None is empty or longer than the 63 bytes of the DNS.
    fit: bool,
    /// Some may be an A-label: it starts with `xn--`, in any case.
    encoded: bool,
}

fn labels(domain: &str) -> Labels {
    let mut found = Labels { fit: true, encoded: false };
    for label in domain.as_bytes().split(|&byte| byte == b'.') {
        found.fit &= (1..=63).contains(&label.len());
        found.encoded |= label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"xn--"));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;

    /// RFC 7622 §3.5, table 1: text, localpart, domain, resource after enforcement.
    const VALID: &[(&str, Option<&str>, &str, Option<&str>)] = &[
        ("juliet@example.com", Some("juliet"), "example.com", None),
        ("juliet@example.com/foo", Some("juliet"), "example.com", Some("foo")),
        ("juliet@example.com/foo bar", Some("juliet"), "example.com", Some("foo bar")),
        ("juliet@example.com/foo@bar", Some("juliet"), "example.com", Some("foo@bar")),
        ("foo\\20bar@example.com", Some("foo\\20bar"), "example.com", None),
        ("fussball@example.com", Some("fussball"), "example.com", None),
        ("fu\u{df}ball@example.com", Some("fu\u{df}ball"), "example.com", None),
        ("\u{3c0}@example.com", Some("\u{3c0}"), "example.com", None),
        ("\u{3a3}@example.com/foo", Some("\u{3c3}"), "example.com", Some("foo")),
        ("\u{3c3}@example.com/foo", Some("\u{3c3}"), "example.com", Some("foo")),
        ("\u{3c2}@example.com/foo", Some("\u{3c2}"), "example.com", Some("foo")),
        ("king@example.com/\u{265a}", Some("king"), "example.com", Some("\u{265a}")),
        ("example.com", None, "example.com", None),
        ("example.com/foobar", None, "example.com", Some("foobar")),
        ("a.example.com/b@example.net", None, "a.example.com", Some("b@example.net")),
    ];

    /// RFC 7622 §3.5, table 2. The last column is what RFC 6122 makes of it, if it takes it.
    const INVALID: &[(&str, Part, Option<&str>)] = &[
        ("\"juliet\"@example.com", Part::Local, None),
        ("foo bar@example.com", Part::Local, None),
        ("juliet@example.com/", Part::Resource, None),
        ("@example.com/", Part::Local, None),
        ("henry\u{2163}@example.com", Part::Local, Some("henryiv@example.com")),
        ("\u{265a}@example.com", Part::Local, Some("\u{265a}@example.com")),
        ("juliet@", Part::Domain, None),
        ("/foobar", Part::Domain, None),
    ];

    #[test]
    fn table_1_of_rfc_7622_is_accepted_and_split() {
        for &(text, local, domain, resource) in VALID {
            for jid in [Jid::parse(text), Jid::parse_strict(text)] {
                let jid = jid.unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!((jid.local(), jid.domain(), jid.resource()), (local, domain, resource));
            }
        }
    }

    #[test]
    fn table_2_of_rfc_7622_is_refused_and_falls_back_where_rfc_6122_allows() {
        for &(text, part, fallback) in INVALID {
            assert_eq!(Jid::parse_strict(text).map_err(|e| e.part), Err(part), "{text}");
            match fallback {
                Some(normal) => assert_eq!(Jid::parse(text).unwrap().as_str(), normal),
                None => assert_eq!(Jid::parse(text).map_err(|e| e.part), Err(part), "{text}"),
            }
        }
    }

    #[test]
    fn domains_are_lowered_decoded_and_freed_of_the_final_dot() {
        for (text, domain) in [
            ("EXAMPLE.Com", "example.com"),
            ("example.com.", "example.com"),
            ("xn--bcher-kva.example", "b\u{fc}cher.example"),
            ("XN--BCHER-KVA.example.", "b\u{fc}cher.example"),
            ("B\u{dc}CHER.example", "b\u{fc}cher.example"),
            ("b\u{fc}cher\u{3002}example", "b\u{fc}cher.example"),
            ("xmpp_server", "xmpp_server"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("a@[::1]/x", "[::1]"),
        ] {
            assert_eq!(Jid::parse(text).unwrap().domain(), domain, "{text}");
        }
        for text in [
            "a@b@c",
            "a..b",
            ".",
            "..",
            ".a",
            "a b",
            "a:5222",
            "[::1",
            "[::1]:5222",
            "[1.2.3.4]",
            "exa\u{ff0f}mple.com",
            "exa\u{ff20}mple.com",
            "xn--a",
            "xn--",
            "a\u{0}",
            "\u{200d}",
            "a\u{2100}b",
        ] {
            assert_eq!(Jid::parse(text).map_err(|e| e.part), Err(Part::Domain), "{text:?}");
        }
    }

    #[test]
    fn each_part_may_have_1023_bytes() {
        let label = "a".repeat(63);
        let domain = [label.as_str(); 16].join(".");
        assert_eq!(domain.len(), 1023);
        let long = "b".repeat(1023);
        let full = format!("{long}@{domain}/{long}");
        assert_eq!(Jid::parse(&full).unwrap().as_str(), full);
        for (text, part) in [
            (format!("b{long}@{domain}"), Part::Local),
            (format!("{domain}.a"), Part::Domain),
            (format!("{domain}/b{long}"), Part::Resource),
            (format!("{label}a"), Part::Domain),
        ] {
            assert_eq!(Jid::parse(&text).map_err(|e| e.part), Err(part));
        }
        // Case mapping and decoding may lengthen: the limit holds for the result.
        let grows = "\u{23a}".repeat(400); // two bytes each, three when lowered
        assert_eq!(grows.len(), 800);
        assert_eq!(
            Jid::parse(&format!("{grows}@a")),
            Err(JidError { part: Part::Local, reason: Reason::TooLong })
        );
    }

    #[test]
    fn wide_forms_cannot_smuggle_separators() {
        for text in ["a\u{ff20}b@c", "a\u{ff0f}b@c", "a\u{fe55}b@c", "\u{ff1c}@c", "\u{ff06}@c"] {
            assert_eq!(Jid::parse(text).map_err(|e| e.part), Err(Part::Local), "{text}");
        }
    }

    #[test]
    fn parsing_is_idempotent() {
        for text in [
            "J\u{fc}liet@B\u{fc}cher.example/\u{2764}\u{fe0f} balcony",
            "henry\u{2163}@example.com/\u{1f469}\u{200d}\u{1f4bb}",
            "\u{1e9e}@a/x",
            "\u{1c5}@a/x",
            "a\u{308}\u{323}@a/a\u{308}\u{323}",
            "\u{5d0}\u{5d1}@a/\u{5d0}1",
            "\u{3a3}\u{3a3}@a/\u{3000}x",
        ] {
            let once = Jid::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(Jid::parse(once.as_str()).unwrap(), once);
        }
    }

    #[test]
    fn emoji_with_joiners_are_nicknames() {
        let jid = Jid::parse("room@muc.example/Ada \u{1f469}\u{200d}\u{1f4bb}").unwrap();
        assert_eq!(jid.resource(), Some("Ada \u{1f469}\u{1f4bb}"));
    }

    #[test]
    fn controls_are_refused_everywhere() {
        for text in
            ["a\u{7f}@b", "a@b\u{7f}", "a@b/\u{7f}", "a@b/\n", "a@b/\u{85}", "\t@b", "a@b/\0"]
        {
            assert!(Jid::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn errors_are_sentences() {
        for (text, sentence) in [
            ("", "the domain of the address is empty"),
            (
                "a b@c",
                "the localpart of the address contains ' ' (U+0020), which is not allowed there",
            ),
            ("a@b/", "the resource of the address is empty"),
            ("a@-\u{fc}-", "the domain of the address is not a valid domain name"),
        ] {
            assert_eq!(Jid::parse(text).unwrap_err().to_string(), sentence);
        }
        assert_eq!(
            BareJid::parse("a@b/c").unwrap_err().to_string(),
            "the address has a resource where a bare JID is expected"
        );
    }

    #[test]
    fn bare_jids_are_probed_by_text() {
        let full = Jid::parse("Juliet@Example.com/balcony").unwrap();
        let mut map: HashMap<BareJid, u8> = HashMap::new();
        map.insert(full.bare(), 1);
        assert_eq!(map.get(full.bare_str()), Some(&1));
        assert_eq!(full.bare().as_str(), "juliet@example.com");
        assert_eq!(full.bare(), BareJid::parse("juliet@example.com").unwrap());
        assert_eq!(full.bare().with_resource("balcony").unwrap(), full);
        assert_eq!(full.bare().bare(), full.bare());
        assert!(full.bare().is_bare() && !full.is_bare());
        let long = full.with_resource(&"x".repeat(1000)).unwrap();
        assert_eq!(long.bare(), full.bare());
        assert_eq!(long.bare().0.text.len(), "juliet@example.com".len());
        let set: BTreeSet<Jid> = [full.clone(), full.bare().into()].into();
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn from_parts_refuses_what_would_split_elsewhere() {
        assert_eq!(Jid::from_parts(Some("a"), "b", Some("c/d")).unwrap().as_str(), "a@b/c/d");
        assert!(Jid::from_parts(Some("a@x"), "b", None).is_err());
        assert!(Jid::from_parts(Some("a/x"), "b", None).is_err());
        assert!(Jid::from_parts(Some(""), "b", None).is_err());
        assert!(Jid::from_parts(None, "b/c", None).is_err());
        assert!(Jid::from_parts(None, "b@c", None).is_err());
        assert!(Jid::from_parts(None, "b", Some("")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_has_one_form(text in "\\PC{0,12}(@\\PC{0,12})?(/\\PC{0,12})?") {
            if let Ok(jid) = Jid::parse(&text) {
                proptest::prop_assert_eq!(Jid::parse(jid.as_str()).unwrap(), jid.clone());
                let again = Jid::from_parts(jid.local(), jid.domain(), jid.resource()).unwrap();
                proptest::prop_assert_eq!(&again, &jid);
                let bare = jid.bare();
                proptest::prop_assert_eq!(bare.as_str(), jid.bare_str());
            }
        }
    }
}
