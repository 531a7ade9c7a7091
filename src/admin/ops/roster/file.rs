//! Rosters in files as ejabberd's `push_roster` reads them: an Erlang list of tuples.

use std::fs::File;
use std::io::Read;

use super::Wanted;
use crate::admin::op::Refusal;

/// Bytes of such a file.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn read_file(path: &str) -> Result<Vec<Wanted>, Refusal> {
    let mut text = String::new();
    let read = File::open(path).and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Err(error) => return Err(Refusal::not_found(format!("file {path}: {error}"))),
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => {
            return Err(Refusal::usage(format!(
                "file {path} has more than {FILE_BYTES_MAX} bytes"
            )));
        }
        Ok(_) => {}
    }
    let tuples = terms(&text).map_err(|(line, what)| {
        Refusal::usage(format!("file {path}: line {line}: {what}"))
            .help("write [{\"user\", \"host\", \"group\", \"nick\"}, …].")
    })?;
    let wanted = tuples.into_iter().map(|[user, host, group, nick]| Wanted {
        jid: format!("{user}@{host}"),
        name: nick,
        groups: Some(group).filter(|group| !group.is_empty()).into_iter().collect(),
    });
    Ok(wanted.collect())
}

/// Reads `[{"a", "b", "c", "d"}, …].`, where a text may also be `<<"a">>` or `<<"a"/utf8>>`.
fn terms(text: &str) -> Result<Vec<[String; 4]>, (usize, String)> {
    let mut reader = Terms { text, at: 0 };
    let mut tuples = Vec::new();
    if reader.peek().is_none() {
        return Ok(tuples);
    }
    reader.expect("[")?;
    while reader.peek() != Some(']') {
        if !tuples.is_empty() {
            reader.expect(",")?;
        }
        reader.expect("{")?;
        let mut tuple: [String; 4] = Default::default();
        for (n, place) in tuple.iter_mut().enumerate() {
            if n > 0 {
                reader.expect(",")?;
            }
            *place = reader.string()?;
        }
        reader.expect("}")?;
        tuples.push(tuple);
    }
    reader.expect("]")?;
    reader.expect(".")?;
    match reader.peek() {
        None => Ok(tuples),
        Some(_) => Err(reader.fault("nothing after the full stop")),
    }
}

struct Terms<'a> {
    text: &'a str,
    at: usize,
}

impl Terms<'_> {
    /// The next character that is no space and in no comment.
    fn peek(&mut self) -> Option<char> {
        loop {
            let rest = &self.text[self.at..];
            let c = rest.chars().next()?;
            if c == '%' {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if c.is_whitespace() {
                self.at += c.len_utf8();
            } else {
                return Some(c);
            }
        }
    }

    fn fault(&self, wanted: &str) -> (usize, String) {
        let line = 1 + self.text[..self.at].matches('\n').count();
        // What stands there is not told: it may be any file of the server's.
        (line, format!("expected {wanted}"))
    }

    fn has(&mut self, token: &str) -> bool {
        self.peek();
        let has = self.text[self.at..].starts_with(token);
        if has {
            self.at += token.len();
        }
        has
    }

    fn expect(&mut self, token: &str) -> Result<(), (usize, String)> {
        if self.has(token) { Ok(()) } else { Err(self.fault(token)) }
    }

    fn string(&mut self) -> Result<String, (usize, String)> {
        let binary = self.has("<<");
        self.expect("\"")?;
        let mut value = String::new();
        let mut chars = self.text[self.at..].char_indices();
        let end = loop {
            match chars.next() {
                Some((at, '"')) => break at + 1,
                Some((_, '\\')) => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, c)) => value.push(c),
                    None => return Err(self.fault("the end of the text")),
                },
                Some((_, c)) => value.push(c),
                None => return Err(self.fault("the end of the text")),
            }
        };
        self.at += end;
        if binary {
            self.has("/utf8");
            self.expect(">>")?;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erlang_lists_are_read_and_faults_have_a_line() {
        let text = "% staff\n[{\"anna\", \"a.org\", \"Staff\", \"An\\\"na\"},\n {<<\"bob\">>, \"a.org\", \"\", <<\"Böb\"/utf8>>}].\n";
        let read = terms(text).unwrap();
        assert_eq!(read[0], ["anna", "a.org", "Staff", "An\"na"]);
        assert_eq!(read[1], ["bob", "a.org", "", "Böb"]);
        assert_eq!(terms("[].").unwrap().len(), 0);
        for (text, line, told) in [
            ("[{\"a\", \"b\", \"c\"}].", 1, "expected ,"),
            ("[{\"a\",\n \"b", 2, "expected the end of the text"),
            ("[] x", 1, "expected ."),
            ("{\"a\"}", 1, "expected ["),
        ] {
            let (at, what) = terms(text).unwrap_err();
            assert_eq!(at, line, "{text}");
            assert!(what.starts_with(told), "{what}");
        }
    }
}
