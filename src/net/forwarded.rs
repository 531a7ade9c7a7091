//! Whom a proxy speaks for: `X-Forwarded-For`, and `Forwarded` of RFC 7239.
//!
//! Both are lists to which each proxy appends the address it sees. Only the tail that proxies we
//! trust have written is worth anything: reading goes from the end to the first address that is
//! none of theirs.

use std::net::{IpAddr, SocketAddr};

/// Entries looked at; nobody has more proxies.
const HOPS_MAX: usize = 16;

/// The client behind `peer`, by the values of the header `X-Forwarded-For` in their order.
pub fn by_x_forwarded_for<'v>(
    peer: IpAddr,
    values: impl Iterator<Item = &'v str>,
    trusts: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let entries: Vec<&str> = values.flat_map(|value| value.split(',')).collect();
    walk(peer, entries.iter().rev().map(|entry| node(entry.trim())), trusts)
}

/// The client behind `peer`, by the values of the header `Forwarded` in their order.
pub fn by_forwarded<'v>(
    peer: IpAddr,
    values: impl Iterator<Item = &'v str>,
    trusts: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut entries = Vec::new();
    for value in values {
        entries.extend(split(value, ',').into_iter().map(for_of));
    }
    walk(peer, entries.into_iter().rev(), trusts)
}

/// Follows proxies that are trusted. Where one of them does not tell, it is as far as we can see.
fn walk(
    peer: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    trusts: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer.to_canonical();
    for hop in hops.take(HOPS_MAX) {
        match hop {
            Some(hop) if trusts(client) => client = hop.to_canonical(),
            _ => break,
        }
    }
    client
}

/// The `for` of one element: `for=192.0.2.43;proto=https`.
fn for_of(element: &str) -> Option<IpAddr> {
    let value = split(element, ';').into_iter().find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.eq_ignore_ascii_case("for").then_some(value)
    })?;
    match value.strip_prefix('"') {
        Some(quoted) => node(&quoted.strip_suffix('"')?.replace('\\', "")),
        None => node(value),
    }
}

/// `text` at each `by` that is not within quotes.
fn split(text: &str, by: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|c| {
        let escapes = quoted && c == '\\' && !escaped;
        quoted ^= c == '"' && !escaped;
        escaped = escapes;
        c == by && !quoted
    })
    .collect()
}

/// RFC 7239 §6: an address, with or without a port; IPv6 in brackets, or bare as proxies do it.
/// `unknown` and made-up names give none.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusts(address: IpAddr) -> bool {
        address.is_loopback() || address.to_string().starts_with("10.")
    }

    #[test]
    fn only_what_trusted_proxies_wrote_counts() {
        for (peer, header, client) in [
            ("127.0.0.1", "192.0.2.1", "192.0.2.1"),
            ("127.0.0.1", "203.0.113.9, 192.0.2.1", "192.0.2.1"),
            ("127.0.0.1", "192.0.2.1, 10.0.0.7", "192.0.2.1"),
            ("127.0.0.1", "10.0.0.1,10.0.0.7", "10.0.0.1"),
            ("192.0.2.5", "203.0.113.9", "192.0.2.5"),
            ("127.0.0.1", "192.0.2.1, unknown", "127.0.0.1"),
            ("127.0.0.1", "192.0.2.1, 10.0.0.7:4711", "192.0.2.1"),
            ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("127.0.0.1", "[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:127.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("127.0.0.1", "'; DROP TABLE", "127.0.0.1"),
        ] {
            let found = by_x_forwarded_for(ip(peer), [header].into_iter(), trusts);
            assert_eq!(found, ip(client), "{peer} {header}");
        }
        let lines = ["192.0.2.1", "10.0.0.7"].into_iter();
        assert_eq!(by_x_forwarded_for(ip("127.0.0.1"), lines, trusts), ip("192.0.2.1"));
        assert_eq!(by_x_forwarded_for(ip("127.0.0.1"), [].into_iter(), trusts), ip("127.0.0.1"));
    }

    /// RFC 7239 §4 and §7.
    #[test]
    fn forwarded_is_read_with_its_quotes() {
        for (header, client) in [
            ("for=192.0.2.43", "192.0.2.43"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("for=203.0.113.9, for=198.51.100.17", "198.51.100.17"),
            ("for=192.0.2.43, for=\"10.0.0.7\";host=\"a,b;for=1.2.3.4\"", "192.0.2.43"),
            ("by=\"x\\\",y\";for=192.0.2.43", "192.0.2.43"),
            ("for=_hidden, for=_SEVKISEK", "127.0.0.1"),
            ("for=unknown", "127.0.0.1"),
            ("for=\"192.0.2.43", "127.0.0.1"),
        ] {
            let found = by_forwarded(ip("127.0.0.1"), [header].into_iter(), trusts);
            assert_eq!(found, ip(client), "{header}");
        }
    }

    #[test]
    fn a_long_list_ends() {
        let long = ["10.0.0.1"; 1000].join(",");
        let found = by_x_forwarded_for(ip("10.0.0.2"), [long.as_str()].into_iter(), trusts);
        assert_eq!(found, ip("10.0.0.1"));
    }
}
