//! Bodies of stored stanzas: zstd with a dictionary that knows how stanzas look.
//!
//! The codec's number stands beside each body, so new dictionaries can join; old ones stay in
//! `assets/` for ever. A frame is stored without its first four bytes, which never differ.
//!
//! `assets/stanzas-1.zdict` was made from the stanzas of `samples.rs`:
//! `COUCOU_SAMPLES=/tmp/s cargo test --lib codec::tests::write_samples -- --ignored`, then
//! `zstd --train /tmp/s/* -o assets/stanzas-1.zdict --maxdict=16384 --dictID=1`.

#[cfg(test)]
pub(super) mod samples;

use std::borrow::Cow;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::StoreError;

/// As it was.
const RAW: u8 = 0;
/// With the first dictionary.
const STANZAS_1: u8 = 1;
const DICTIONARY_1: &[u8] = include_bytes!("../../assets/stanzas-1.zdict");

/// Measured on the samples (`measure` below): higher levels cost more than they save.
const LEVEL: i32 = 1;
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Below this a frame gains nothing.
const BYTES_MIN: usize = 48;
/// Larger stanzas are not taken in; a frame that claims more is damaged.
const BYTES_MAX: usize = 64 << 20;

/// Packs bodies. Holds its tables and buffer from the first use on.
#[derive(Default)]
pub(super) struct Packer {
    zstd: Option<Compressor<'static>>,
    frame: Vec<u8>,
}

impl Packer {
    /// The codec's number and the body to store with it.
    pub(super) fn pack<'a>(&'a mut self, stanza: &'a [u8]) -> (u8, &'a [u8]) {
        if stanza.len() < BYTES_MIN {
            return (RAW, stanza);
        }
        if self.zstd.is_none() {
            self.zstd = compressor().ok();
        }
        let Some(zstd) = &mut self.zstd else { return (RAW, stanza) };
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(stanza.len()));
        match zstd.compress_to_buffer(stanza, &mut self.frame) {
            Ok(len) if len < stanza.len() && self.frame.starts_with(&MAGIC) => {
                (STANZAS_1, &self.frame[MAGIC.len()..])
            }
            _ => (RAW, stanza),
        }
    }
}

fn compressor() -> std::io::Result<Compressor<'static>> {
    let mut zstd = Compressor::with_dictionary(LEVEL, DICTIONARY_1)?;
    // The column says which dictionary, SQLite's pages are the checksum's business.
    zstd.set_parameter(CParameter::DictIdFlag(false))?;
    zstd.set_parameter(CParameter::ChecksumFlag(false))?;
    Ok(zstd)
}

/// Unpacks bodies of every codec there ever was.
#[derive(Default)]
pub(super) struct Unpacker {
    zstd: Option<Decompressor<'static>>,
    frame: Vec<u8>,
}

impl Unpacker {
    pub(super) fn unpack(&mut self, codec: u8, body: &[u8]) -> Result<Vec<u8>, StoreError> {
        let damaged = |what: Cow<'static, str>| StoreError::Damaged(what.as_ref().into());
        match codec {
            RAW => Ok(body.to_vec()),
            STANZAS_1 => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(
                        Decompressor::with_dictionary(DICTIONARY_1)
                            .map_err(|e| StoreError::bug(format!("dictionary: {e}")))?,
                    ),
                };
                self.frame.clear();
                self.frame.extend_from_slice(&MAGIC);
                self.frame.extend_from_slice(body);
                let len = match zstd::zstd_safe::get_frame_content_size(&self.frame) {
                    Ok(Some(len)) if len <= BYTES_MAX as u64 => len as usize,
                    _ => return Err(damaged("a stored stanza has no length".into())),
                };
                zstd.decompress(&self.frame, len)
                    .map_err(|e| damaged(format!("a stored stanza: {e}").into()))
            }
            other => Err(damaged(format!("unknown codec {other}").into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::samples::{Dice, stanza};
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let (mut packer, mut unpacker, mut dice) =
            (Packer::default(), Unpacker::default(), Dice::new(7));
        let mut texts: Vec<Vec<u8>> = (0..500).map(|_| stanza(&mut dice).into_bytes()).collect();
        texts.push(Vec::new());
        texts.push(b"<message/>".to_vec());
        texts.push((0..5000).map(|_| dice.roll(256) as u8).collect());
        texts.push(vec![b'x'; 1 << 20]);
        for text in texts {
            let (codec, body) = packer.pack(&text);
            assert!(body.len() <= text.len());
            assert_eq!(unpacker.unpack(codec, body).unwrap(), text);
        }
    }

    #[test]
    fn plain_messages_shrink_to_less_than_half() {
        let (mut packer, mut dice) = (Packer::default(), Dice::new(99));
        let (mut before, mut after) = (0, 0);
        for _ in 0..2_000 {
            let text = stanza(&mut dice);
            if !text.contains("<encrypted") {
                before += text.len();
                after += packer.pack(text.as_bytes()).1.len();
            }
        }
        assert!(after * 2 < before, "{after} of {before}");
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let mut unpacker = Unpacker::default();
        let text = stanza(&mut Dice::new(1));
        let mut packer = Packer::default();
        let (codec, body) = packer.pack(text.as_bytes());
        for cut in 0..body.len() {
            let _ = unpacker.unpack(codec, &body[..cut]);
            let mut flipped = body.to_vec();
            flipped[cut] ^= 0x55;
            let _ = unpacker.unpack(codec, &flipped);
        }
        assert!(unpacker.unpack(codec, &[]).is_err());
        assert!(unpacker.unpack(250, body).is_err());
    }

    /// Writes 20,000 samples into the folder `COUCOU_SAMPLES`, for `zstd --train`.
    #[test]
    #[ignore = "a tool, see the head of codec.rs"]
    fn write_samples() {
        let folder = std::env::var("COUCOU_SAMPLES").expect("COUCOU_SAMPLES names a folder");
        std::fs::create_dir_all(&folder).unwrap();
        let mut dice = Dice::new(2026);
        for n in 0..20_000 {
            std::fs::write(format!("{folder}/{n}"), stanza(&mut dice)).unwrap();
        }
    }

    /// Size and time of each level on stanzas the dictionary was not trained with.
    #[test]
    #[ignore = "a measurement: cargo test --release --lib codec::tests::measure -- --ignored --nocapture"]
    fn measure() {
        let mut dice = Dice::new(4711);
        let texts: Vec<String> = (0..20_000).map(|_| stanza(&mut dice)).collect();
        let plain: usize = texts.iter().map(String::len).sum();
        for level in [-3, -1, 1, 2, 3, 4, 5, 6, 9, 12] {
            let mut zstd = Compressor::with_dictionary(level, DICTIONARY_1).unwrap();
            zstd.set_parameter(CParameter::DictIdFlag(false)).unwrap();
            let mut frame = Vec::with_capacity(1 << 16);
            let start = Instant::now();
            let mut packed = 0;
            for text in &texts {
                frame.clear();
                packed +=
                    zstd.compress_to_buffer(text.as_bytes(), &mut frame).unwrap() - MAGIC.len();
            }
            let each = start.elapsed() / texts.len() as u32;
            println!(
                "level {level}: {} → {} bytes, {each:?}",
                plain / texts.len(),
                packed / texts.len()
            );
        }
    }
}
