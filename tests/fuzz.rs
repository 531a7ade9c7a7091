//! The fuzz targets of `tests/fuzz/` on a stable compiler: seeds, a bounded number of mutations of
//! them, and documents put together from pieces of markup.

use std::path::Path;

use proptest::prelude::*;

#[path = "fuzz/entries.rs"]
mod entries;

/// Pieces of markup from which documents are put together and that mutations insert.
const PIECES: &[&str] = &[
    "<",
    ">",
    "/",
    "</",
    "/>",
    "<a",
    "<a>",
    "</a>",
    "<a/>",
    "<b>",
    "</b>",
    " ",
    "\n",
    "\r\n",
    "\t",
    "=",
    "'",
    "\"",
    "='",
    "''",
    " x='1'",
    " x=\"2\"",
    " y=''",
    "&",
    ";",
    "&lt;",
    "&amp;",
    "&quot;",
    "&#65;",
    "&#x41;",
    "&#xD800;",
    "&#0;",
    "&nbsp;",
    "]]>",
    "]]",
    "<![CDATA[",
    "<!--",
    "-->",
    "<!DOCTYPE a>",
    "<?",
    "?>",
    "<?xml version='1.0'?>",
    " xmlns='urn:a'",
    " xmlns=''",
    " xmlns:p='urn:p'",
    " xmlns:q='urn:p'",
    " xmlns:p=''",
    " xmlns:xml='urn:x'",
    " p:x='3'",
    " q:x='4'",
    " xml:lang='de'",
    "<p:a",
    "</p:a>",
    "<p:a/>",
    "<stream:a/>",
    ":",
    "p:",
    "xmlns:",
    "<message>",
    "</message>",
    "<message to='a@b' id='1'>",
    "<iq type='get' id='2'>",
    "</iq>",
    "<presence/>",
    "<body>",
    "</body>",
    "text",
    "\u{e9}",
    "\u{1f469}",
    "\u{fffe}",
    "\u{0}",
    "</stream:stream>",
    " xmlns='jabber:client'",
    " xmlns='jabber:server'",
    "<x xmlns='urn:x'/>",
    "<?xml version='1.0' encoding='utf-8'?>",
];

const HEADERS: &[&str] = &[
    "",
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:p='urn:q' \
     xmlns:stream='http://etherx.jabber.org/streams' version='1.0' xml:lang='en'>",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn documents_of_pieces_are_read_as_rxml_reads_them(
        cut in any::<u8>(),
        header in prop::sample::select(HEADERS),
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24),
    ) {
        let mut document = vec![cut];
        document.extend_from_slice(header.as_bytes());
        pieces.iter().for_each(|piece| document.extend_from_slice(piece.as_bytes()));
        entries::framer(&document);
    }
}

#[test]
fn framer_seeds_and_mutations() {
    run("framer", 6000, entries::framer);
}

#[test]
fn jid_seeds_and_mutations() {
    run("jid", 20_000, entries::jid);
}

#[test]
fn config_seeds_and_mutations() {
    run("config", 1000, entries::config);
}

/// Runs an entry on each seed and on `rounds` mutations, or as many as the environment asks for.
fn run(target: &str, rounds: usize, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("seeds").map(|file| file.expect("seed").path()).collect();
    files.sort();
    let seeds: Vec<_> = files.iter().map(|file| std::fs::read(file).expect("seed")).collect();
    seeds.iter().for_each(|seed| entry(seed));
    let rounds = std::env::var("COUCOU_FUZZ_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(rounds);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        let mut data = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            mutate(&mut data, &seeds, &mut random);
        }
        // The panic message does not tell the input.
        let shown = data.clone();
        if let Err(panic) = std::panic::catch_unwind(move || entry(&data)) {
            eprintln!("input: {:?}", String::from_utf8_lossy(&shown));
            std::panic::resume_unwind(panic);
        }
    }
}

fn mutate(data: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(data.len() + 1);
    let end = (at + random.below(16)).min(data.len());
    match random.below(6) {
        0 if at < data.len() => data[at] = random.byte(),
        1 => drop(data.drain(at..end)),
        2 => {
            let piece = PIECES[random.below(PIECES.len())];
            data.splice(at..at, piece.bytes());
        }
        3 => {
            let copy = data[at..end].to_vec();
            let to = random.below(data.len() + 1);
            data.splice(to..to, copy);
        }
        4 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            let to = (from + random.below(64)).min(other.len());
            data.splice(at..end, other[from..to].iter().copied());
        }
        _ => data.insert(at, random.byte()),
    }
}

/// xorshift64*: the same mutations each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }
}
