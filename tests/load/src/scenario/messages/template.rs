//! Chat messages of a given size that carry the time they were due.

use memchr::memmem;

use crate::scenario::messages::words::WORDS;

/// What marks a body as ours; the due time follows in 16 hexadecimal digits.
const MARK: &[u8] = b"coucou-load ";
const DIGITS: usize = 16;
/// Text that bodies are cut from. Each message gets another cut, so that a server that compresses
/// its archive has real work, and a real gain, from it.
const TEXT_BYTES: usize = 64 * 1024;

/// Writes messages to one receiver.
pub struct Template {
    head: Vec<u8>,
    text: Vec<u8>,
    /// Bytes of `text` in each body.
    fill: usize,
    cursor: usize,
}

impl Template {
    /// Messages to `to` (a JID that needs no escaping) of about `size` bytes as sent.
    pub fn new(to: &str, size: usize) -> Template {
        let head = format!("<message type='chat' to='{to}' id='").into_bytes();
        let rest =
            DIGITS + b"'><body>".len() + MARK.len() + DIGITS + 1 + b"</body></message>".len();
        let fill = size.saturating_sub(head.len() + rest).min(TEXT_BYTES / 2);
        // Any start will do, as long as two senders' differ.
        let seed = to.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Template { head, text: prose(seed), fill, cursor: 0 }
    }

    /// Appends a message that was due at `due` (see [`crate::clock::micros`]).
    pub fn write(&mut self, due: u64, out: &mut Vec<u8>) {
        let due = hex(due);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&due);
        out.extend_from_slice(b"'><body>");
        out.extend_from_slice(MARK);
        out.extend_from_slice(&due);
        out.push(b' ');
        // 4099 is prime: the cuts do not repeat soon.
        self.cursor = (self.cursor + 4099) % (self.text.len() - self.fill);
        out.extend_from_slice(&self.text[self.cursor..][..self.fill]);
        out.extend_from_slice(b"</body></message>");
    }
}

/// Finds the due time in an element that carries one of our messages.
pub struct Marks {
    finder: memmem::Finder<'static>,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { finder: memmem::Finder::new(MARK) }
    }
}

impl Marks {
    pub fn due(&self, element: &[u8]) -> Option<u64> {
        let start = self.finder.find(element)? + MARK.len();
        let digits = std::str::from_utf8(element.get(start..start + DIGITS)?).ok()?;
        u64::from_str_radix(digits, 16).ok()
    }
}

fn hex(value: u64) -> [u8; DIGITS] {
    std::array::from_fn(|place| {
        b"0123456789abcdef"[(value >> (4 * (DIGITS - 1 - place))) as usize & 15]
    })
}

/// Words in an order that depends on `seed` only.
fn prose(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut text = Vec::with_capacity(TEXT_BYTES + 16);
    while text.len() < TEXT_BYTES {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.extend_from_slice(WORDS[(state >> 32) as usize % WORDS.len()].as_bytes());
        text.push(b' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_size_asked_for_and_its_due_time_is_found() {
        let mut template = Template::new("u1@localhost", 300);
        let mut first = Vec::new();
        template.write(0x1234_5678_9abc, &mut first);
        assert_eq!(first.len(), 300);
        assert_eq!(Marks::default().due(&first), Some(0x1234_5678_9abc));
        let mut second = Vec::new();
        template.write(0x1234_5678_9abc, &mut second);
        assert_ne!(first, second);
        assert_eq!(Marks::default().due(b"<message><body>coucou-load 12"), None);
    }
}
