//! Values as they stand in the file: durations, sizes, domains, networks, secrets.
//!
//! Each type reads its text and writes it back in the form that a person would choose.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

use crate::jid::Jid;

/// A length of time such as `"90s"`, `"10m"`, `"12h"`, `"30d"`, or parts joined as in `"1h 30m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Units of [`Span`] in milliseconds, largest first.
const SPAN_UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let mut millis = 0u64;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err("is empty".to_owned());
        }
        while !rest.is_empty() {
            let (number, after) = split_number(rest)?;
            let unit_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_len);
            let scale = match SPAN_UNITS.iter().find(|(name, _)| *name == unit) {
                Some((_, scale)) => *scale,
                None if unit.is_empty() => return Err(format!("has no unit after {number}")),
                None => return Err(format!("has the unknown unit \"{unit}\"")),
            };
            let part = number.checked_mul(scale).ok_or("is too long")?;
            millis = millis.checked_add(part).ok_or("is too long")?;
            rest = after.trim_start();
        }
        Ok(Span(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        // Whole days are told as days: "30d" is clearer than "4w 2d".
        let units = if millis % 604_800_000 == 0 { &SPAN_UNITS[..] } else { &SPAN_UNITS[1..] };
        let mut first = true;
        for (unit, scale) in units {
            let count = millis / scale;
            millis %= scale;
            if count > 0 {
                let gap = if first { "" } else { " " };
                write!(f, "{gap}{count}{unit}")?;
                first = false;
            }
        }
        Ok(())
    }
}

/// A number of bytes such as `"512 B"`, `"64 KiB"`, `"2 GiB"`; units count by 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let (number, unit) = split_number(text.trim())?;
        let unit = unit.trim_start();
        match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, scale)) => {
                number.checked_mul(*scale).map(Size).ok_or_else(|| "is too large".to_owned())
            }
            None if unit.is_empty() => Err(format!("has no unit after {number}")),
            None => match SIZE_UNITS.iter().find(|(name, _)| similar_unit(name, unit)) {
                Some((name, _)) => {
                    Err(format!("has the unknown unit \"{unit}\" (did you mean \"{name}\"?)"))
                }
                None => Err(format!("has the unknown unit \"{unit}\"")),
            },
        }
    }
}

/// `KB`, `kb`, `K` and the like for `KiB`.
fn similar_unit(name: &str, unit: &str) -> bool {
    unit.len() <= 3 && unit.chars().next().is_some_and(|c| name.starts_with(c.to_ascii_uppercase()))
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit =
            SIZE_UNITS.iter().find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale));
        let (name, scale) = unit.unwrap_or(&("B", 1));
        write!(f, "{} {name}", self.0 / scale)
    }
}

/// Splits `"12 KiB"` into 12 and `" KiB"`.
fn split_number(text: &str) -> Result<(u64, &str), String> {
    let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(len);
    if digits.is_empty() {
        let what = if text.starts_with('-') {
            "is negative"
        } else {
            "does not start with a whole number"
        };
        return Err(what.to_owned());
    }
    if rest.starts_with('.') || rest.starts_with(',') {
        return Err("has a fraction; use a smaller unit".to_owned());
    }
    let number = digits.parse().map_err(|_| "is too large".to_owned())?;
    Ok((number, rest))
}

/// A network such as `192.0.2.0/24` or `2001:db8::/32`; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet {
    address: IpAddr,
    prefix: u8,
}

impl IpNet {
    /// The network of `prefix` bits around `address`; `None` if that is more bits than the address
    /// has.
    pub fn new(address: IpAddr, prefix: u8) -> Option<IpNet> {
        let address = match address {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & mask_v4(prefix)?).into()),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & mask_v6(prefix)?).into()),
        };
        Some(IpNet { address, prefix })
    }

    /// A network of IPv4 addresses mapped into IPv6 as the IPv4 network it is.
    #[must_use]
    pub fn unmapped(self) -> IpNet {
        match self.address {
            IpAddr::V6(v6) if self.prefix >= 96 => match v6.to_ipv4_mapped() {
                Some(v4) => IpNet { address: IpAddr::V4(v4), prefix: self.prefix - 96 },
                None => self,
            },
            _ => self,
        }
    }

    /// Whether it is one address.
    pub fn is_single(&self) -> bool {
        self.prefix == if self.address.is_ipv4() { 32 } else { 128 }
    }

    pub fn is_loopback(&self) -> bool {
        self.address.is_loopback()
    }

    /// Whether every address of `other` lies within.
    pub fn covers(&self, other: &IpNet) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// Whether some address lies in both.
    pub fn overlaps(&self, other: &IpNet) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Whether `address` lies within; an IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(_), other @ IpAddr::V4(_)) | (IpAddr::V6(_), other @ IpAddr::V6(_)) => {
                IpNet::new(other, self.prefix).is_some_and(|net| net.address == self.address)
            }
            _ => false,
        }
    }
}

/// The network that an IPv6 address without its final `::` was probably to be.
fn completed(address: &str, prefix: Option<&str>) -> Option<IpNet> {
    let missing = address.contains(':') && !address.contains("::");
    let address = format!("{address}::").parse().ok().filter(|_| missing)?;
    IpNet::new(address, prefix.map_or(Ok(128), str::parse).ok()?)
}

fn mask_v4(prefix: u8) -> Option<u32> {
    (prefix <= 32).then(|| u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0))
}

fn mask_v6(prefix: u8) -> Option<u128> {
    (prefix <= 128).then(|| u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0))
}

impl FromStr for IpNet {
    type Err = String;

    fn from_str(text: &str) -> Result<IpNet, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| {
            let wrong = format!("\"{address}\" is not an IP address");
            match completed(address, prefix) {
                Some(net) => format!("{wrong} (did you mean \"{net}\"?)"),
                None => wrong,
            }
        })?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => {
                prefix.parse().map_err(|_| format!("\"{prefix}\" is not a prefix length"))?
            }
            None => whole,
        };
        let net = IpNet::new(address, prefix)
            .ok_or_else(|| format!("the prefix is longer than {whole} bits"))?;
        if net.address != address {
            return Err(format!("has bits set beyond its prefix (did you mean \"{net}\"?)"));
        }
        Ok(net)
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A secret: compared and handed out, never shown, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself, for the one place that proves it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Masked: whatever is serialised may end in a log. A secret goes over a wire by [`Secret::reveal`]
/// only.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Secret")
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "password" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret)
    }
}

/// A domain as it stands in a JID: lower case, Unicode labels, no final dot.
///
/// # Errors
/// A text that follows "the domain …": what is wrong with it.
pub fn domain(text: &str) -> Result<String, String> {
    if let Some(bad) = text.chars().find(|c| matches!(c, '@' | '/' | ':') || c.is_whitespace()) {
        return Err(format!("contains {bad:?}"));
    }
    let jid = Jid::parse(text).map_err(|_| "is not a domain name".to_owned())?;
    Ok(jid.domain().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for text in ["90s", "10m", "12h", "30d", "2w", "1h 30m", "5ms", "0s"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>(), Ok(span), "{text}");
        }
        assert_eq!("1h30m".parse(), Ok(Span(Duration::from_secs(5400))));
        assert_eq!(Span(Duration::from_secs(90)).to_string(), "1m 30s");
        assert_eq!(Span(Duration::from_secs(30 * 86400)).to_string(), "30d");
    }

    #[test]
    fn bad_durations_say_what_is_wrong() {
        for (text, why) in [
            ("10", "has no unit after 10"),
            ("10 parsecs", "has no unit after 10"),
            ("10parsecs", "has the unknown unit \"parsecs\""),
            ("-5m", "is negative"),
            ("1.5h", "has a fraction; use a smaller unit"),
            ("99999999999999w", "is too long"),
            ("", "is empty"),
        ] {
            assert_eq!(text.parse::<Span>().unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_and_written_alike() {
        assert_eq!("2 GiB".parse(), Ok(Size(2 << 30)));
        assert_eq!("10000 B".parse(), Ok(Size(10_000)));
        assert_eq!("64KiB".parse(), Ok(Size(65_536)));
        assert_eq!(Size(262_144).to_string(), "256 KiB");
        assert_eq!(Size(10_000).to_string(), "10000 B");
        assert_eq!(
            "5 MB".parse::<Size>().unwrap_err(),
            "has the unknown unit \"MB\" (did you mean \"MiB\"?)"
        );
        assert_eq!("5".parse::<Size>().unwrap_err(), "has no unit after 5");
        assert_eq!("99999999 TiB".parse::<Size>().unwrap_err(), "is too large");
    }

    #[test]
    fn networks_contain_their_addresses_only() {
        let net: IpNet = "192.0.2.0/24".parse().unwrap();
        assert!(net.contains("192.0.2.77".parse().unwrap()));
        assert!(net.contains("::ffff:192.0.2.77".parse().unwrap()));
        assert!(!net.contains("192.0.3.1".parse().unwrap()));
        assert!("::/0".parse::<IpNet>().unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!("2001:db8::1".parse::<IpNet>().unwrap().contains("2001:db8::1".parse().unwrap()));
        assert_eq!(
            "10.1.2.3/8".parse::<IpNet>().unwrap_err(),
            "has bits set beyond its prefix (did you mean \"10.0.0.0/8\"?)"
        );
        assert!("10.0.0.0/33".parse::<IpNet>().is_err());
    }

    #[test]
    fn domains_are_normalised() {
        assert_eq!(domain("Example.ORG."), Ok("example.org".to_owned()));
        assert_eq!(domain("xn--bcher-kva.example"), Ok("bücher.example".to_owned()));
        assert_eq!(domain("BÜCHER.example"), Ok("bücher.example".to_owned()));
        assert_eq!(domain("localhost"), Ok("localhost".to_owned()));
        for bad in [
            "",
            "a b",
            "me@example.org",
            "example.org/x",
            "..",
            "exa_mple..org",
            "example.org:5222",
        ] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "***");
    }
}
