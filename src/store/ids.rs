//! Names of rows: accounts and messages.

use std::fmt;
use std::str::FromStr;

use parking_lot::Mutex;

use crate::time::Now;

/// The row of an account's bare JID in `addresses`; rooms have one too. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

/// Names a stored message, in the archives of its sender and of its receiver alike.
///
/// Milliseconds since 2020 in the upper bits, a number that rises within the millisecond by random
/// steps in the lower `SEQUENCE_BITS`: ids sort by time, cannot be guessed from their neighbours
/// (XEP-0313 §3 wants that) and carry the time of the message. As text: 13 characters of base32hex
/// in lower case, which sort alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub i64);

/// Lower bits that tell messages of one millisecond apart.
const SEQUENCE_BITS: u32 = 21;
/// 2020-01-01T00:00:00Z in Unix milliseconds.
const EPOCH_MILLIS: i64 = 1_577_836_800_000;
const TEXT_LEN: usize = 13;
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

impl MessageId {
    /// When the message passed this server, to the millisecond.
    pub fn time(self) -> Now {
        Now(((self.0 >> SEQUENCE_BITS) + EPOCH_MILLIS) * 1_000)
    }

    /// The smallest id of the millisecond that holds `now`; times before 2020 count as 2020.
    pub fn floor(now: Now) -> MessageId {
        let millis = (now.millis() - EPOCH_MILLIS).clamp(0, i64::MAX >> SEQUENCE_BITS);
        MessageId(millis << SEQUENCE_BITS)
    }

    /// Reads the text form. `None` is what XEP-0313 answers with `item-not-found`.
    pub fn parse(text: &str) -> Option<MessageId> {
        if text.len() != TEXT_LEN {
            return None;
        }
        let mut value: u128 = 0;
        for byte in text.bytes() {
            let digit = DIGITS.iter().position(|d| *d == byte)?;
            value = value << 5 | digit as u128;
        }
        i64::try_from(value).ok().map(MessageId)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0.cast_unsigned();
        let text: [u8; TEXT_LEN] = std::array::from_fn(|i| {
            DIGITS[(u128::from(value) >> (5 * (TEXT_LEN - 1 - i)) & 31) as usize]
        });
        f.write_str(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

impl FromStr for MessageId {
    type Err = UnknownId;

    fn from_str(text: &str) -> Result<MessageId, UnknownId> {
        MessageId::parse(text).ok_or(UnknownId)
    }
}

/// The text is no id of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an archive id")]
pub struct UnknownId;

/// Gives out [`MessageId`]s: unique, rising, near the clock.
///
/// When the clock is set back, ids go on from the last one: order outranks the time they tell.
pub(super) struct Ids(Mutex<Last>);

struct Last {
    id: i64,
    /// State of a splitmix generator. Ids need not withstand cryptanalysis, only curiosity.
    random: u64,
}

impl Ids {
    /// `last` is the highest id ever stored.
    pub(super) fn after(last: MessageId) -> Ids {
        let mut seed = [0; 8];
        // Without entropy ids are still unique, only easier to guess.
        let _ = getrandom::fill(&mut seed);
        Ids(Mutex::new(Last { id: last.0, random: u64::from_le_bytes(seed) }))
    }

    pub(super) fn next(&self, now: Now) -> MessageId {
        let mut last = self.0.lock();
        let random = last.step();
        let floor = MessageId::floor(now).0;
        last.id = if floor > last.id {
            // Half of the millisecond's numbers stay free above the first.
            floor + (random & 0xf_ffff).cast_signed()
        } else {
            last.id + 1 + (random & 0x1ff).cast_signed()
        };
        MessageId(last.id)
    }
}

impl Last {
    fn step(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOON: Now = Now(1_795_608_000_000_000);

    #[test]
    fn ids_rise_though_the_clock_falls() {
        let ids = Ids::after(MessageId(0));
        let mut last = ids.next(NOON);
        for step in 0..100_000 {
            let now = if step % 3 == 0 { NOON.minus(Duration::from_secs(60)) } else { NOON };
            let id = ids.next(now);
            assert!(id > last);
            last = id;
        }
    }

    #[test]
    fn ids_tell_their_millisecond() {
        let ids = Ids::after(MessageId(0));
        assert_eq!(ids.next(NOON).time(), NOON);
        assert_eq!(ids.next(NOON).time(), NOON);
        assert_eq!(MessageId::floor(Now(0)).time().to_xmpp(), "2020-01-01T00:00:00.000Z");
    }

    #[test]
    fn neighbours_cannot_be_counted_to() {
        let ids = Ids::after(MessageId(0));
        let first: Vec<i64> = (0..8).map(|_| ids.next(NOON).0).collect();
        let steps: Vec<i64> = first.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().any(|step| *step != steps[0]));
    }

    #[test]
    fn text_round_trips_and_sorts_alike() {
        let ids = Ids::after(MessageId(0));
        let mut last = String::new();
        for ms in 0..1000 {
            let id = ids.next(NOON.plus(Duration::from_millis(ms)));
            let text = id.to_string();
            assert_eq!(text.len(), TEXT_LEN);
            assert_eq!(MessageId::parse(&text), Some(id));
            assert!(text > last);
            last = text;
        }
        for strange in
            ["", "0", "00000000000000", "000000000000w", "vvvvvvvvvvvvv", "000000000000é"]
        {
            assert_eq!(MessageId::parse(strange), None, "{strange}");
        }
    }
}
