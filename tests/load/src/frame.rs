//! Finds where top-level elements end in a server's stream, and nothing else.
//!
//! A generator must cost much less than the server it measures, so no tree is built and no name is
//! looked up: tags are counted. What a server sends after login is well-formed, or the server has a
//! problem that this program is not the one to find.

use memchr::{memchr, memchr3};

/// What ends at [`Frame::len`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The start tag of the stream.
    Header,
    /// A complete child of the stream.
    Element,
    /// The end tag of the stream.
    Close,
}

/// A piece of the stream: the first `len` bytes of the buffer given to [`Scanner::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    /// Bytes, white space before the element included.
    pub len: usize,
}

/// Counts open tags. The buffer starts where the last frame ended and only grows between calls, so
/// that complete tags are looked at once.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Open elements, the stream's own included.
    depth: u32,
    /// Bytes of the buffer that need no second look.
    seen: usize,
}

impl Scanner {
    /// A scanner for a stream whose header has not been read.
    pub fn new() -> Scanner {
        Scanner::default()
    }

    /// The next frame that is complete in `buffer`, if one is.
    pub fn next(&mut self, buffer: &[u8]) -> Option<Frame> {
        loop {
            let Some(offset) = memchr(b'<', &buffer[self.seen..]) else {
                self.seen = buffer.len();
                return None;
            };
            let start = self.seen + offset;
            self.seen = start;
            let end = tag_end(buffer, start)?;
            self.seen = end;
            let kind = match buffer[start + 1] {
                b'?' | b'!' => continue,
                b'/' => {
                    self.depth = self.depth.saturating_sub(1);
                    match self.depth {
                        0 => Kind::Close,
                        1 => Kind::Element,
                        _ => continue,
                    }
                }
                _ if buffer[end - 2] == b'/' => match self.depth {
                    1 => Kind::Element,
                    _ => continue,
                },
                _ => {
                    self.depth += 1;
                    match self.depth {
                        1 => Kind::Header,
                        _ => continue,
                    }
                }
            };
            self.seen = 0;
            return Some(Frame { kind, len: end });
        }
    }
}

/// The offset behind the `>` of the tag that starts at `start`; a `>` in an attribute's value is
/// not it.
fn tag_end(buffer: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr3(b'>', b'"', b'\'', &buffer[at..])?;
        if buffer[at] == b'>' {
            return Some(at + 1);
        }
        at += 1 + memchr(buffer[at], &buffer[at + 1..])? + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in pieces of `step` bytes and returns the frames with their text.
    fn frames(text: &str, step: usize) -> Vec<(Kind, String)> {
        let mut scanner = Scanner::new();
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = scanner.next(&buffer) {
                let bytes = buffer.drain(..frame.len).collect();
                found.push((frame.kind, String::from_utf8(bytes).unwrap()));
            }
        }
        found
    }

    #[test]
    fn frames_are_the_same_however_the_bytes_arrive() {
        let header = "<?xml version='1.0'?><stream:stream id='a>b' from=\"it's\">";
        let message = "<message to='a/>'><body>x > y</body><x/></message>";
        let text = format!("{header}{message}<r xmlns='urn:xmpp:sm:3'/>\n<a/></stream:stream>");
        let expected = [
            (Kind::Header, header),
            (Kind::Element, message),
            (Kind::Element, "<r xmlns='urn:xmpp:sm:3'/>"),
            (Kind::Element, "\n<a/>"),
            (Kind::Close, "</stream:stream>"),
        ]
        .map(|(kind, text)| (kind, text.to_owned()));
        for step in 1..=text.len() {
            assert_eq!(frames(&text, step), expected, "in pieces of {step} bytes");
        }
    }

    #[test]
    fn an_incomplete_element_is_not_a_frame() {
        assert_eq!(frames("<s><message><body>", 3).len(), 1);
        assert_eq!(frames("<s><message attr='></message>", 3).len(), 1);
    }
}
