//! Made-up stanzas in the manner of today's clients: food for training the dictionary and for
//! measuring it. Nothing here was ever said by anyone.

use std::fmt::Write;

/// A small generator, so that a seed names the same stanzas on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn text(&mut self, len: usize, digits: &[u8]) -> String {
        (0..len).map(|_| digits[self.roll(digits.len())] as char).collect()
    }

    fn hex(&mut self, len: usize) -> String {
        self.text(len, b"0123456789abcdef")
    }

    fn base64(&mut self, len: usize) -> String {
        let text = self
            .text(len / 4 * 4, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
        if self.roll(2) == 0 { text } else { format!("{}=", &text[..text.len() - 1]) }
    }

    fn uuid(&mut self) -> String {
        format!("{}-{}-4{}-{}-{}", self.hex(8), self.hex(4), self.hex(3), self.hex(4), self.hex(12))
    }

    fn id(&mut self) -> String {
        match self.roll(5) {
            0 => self.text(22, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
            1 => self.hex(16),
            2 => format!("purple{}", self.hex(8)),
            _ => self.uuid(),
        }
    }
}

const NAMES: &[&str] = &[
    "alice", "bob", "romeo", "juliet", "anna", "max", "maria", "jan", "user1", "user42", "lea",
    "tom", "sofie", "nurse", "ines", "kim", "olga", "piotr", "yuki", "fatima",
];
const HOSTS: &[&str] = &[
    "example.org",
    "example.com",
    "example.net",
    "chat.example",
    "capulet.example",
    "montague.example",
    "localhost",
    "xmpp.example",
    "im.example.org",
];
const RESOURCES: &[&str] = &[
    "Conversations.",
    "gajim.",
    "dino.",
    "phone",
    "laptop",
    "profanity.",
    "Monal-iOS.",
    "Psi+",
    "balcony",
    "slixmpp",
    "web-",
    "siskin-",
    "Cheogram.",
];
const WORDS: &[&str] = &[
    "the",
    "a",
    "I",
    "you",
    "we",
    "to",
    "and",
    "is",
    "it",
    "in",
    "of",
    "for",
    "on",
    "that",
    "this",
    "not",
    "have",
    "with",
    "can",
    "will",
    "be",
    "at",
    "tomorrow",
    "today",
    "yes",
    "no",
    "ok",
    "thanks",
    "please",
    "when",
    "where",
    "what",
    "how",
    "meeting",
    "photo",
    "home",
    "work",
    "later",
    "see",
    "call",
    "me",
    "good",
    "morning",
    "night",
    "great",
    "maybe",
    "sure",
    "train",
    "late",
    "minutes",
    "ich",
    "du",
    "wir",
    "und",
    "nicht",
    "der",
    "die",
    "das",
    "ist",
    "es",
    "ein",
    "eine",
    "auf",
    "mit",
    "für",
    "heute",
    "morgen",
    "ja",
    "nein",
    "danke",
    "bitte",
    "bis",
    "später",
    "gut",
    "schön",
    "je",
    "tu",
    "nous",
    "et",
    "pas",
    "le",
    "la",
    "les",
    "est",
    "un",
    "une",
    "dans",
    "pour",
    "oui",
    "non",
    "merci",
    "demain",
    "bonjour",
    "que",
    "de",
    "el",
    "los",
    "por",
    "hola",
    "gracias",
    "mañana",
    "как",
    "что",
    "это",
    "не",
    "да",
    "нет",
    "спасибо",
    "привет",
    "завтра",
    "😀",
    "👍",
    "❤️",
    "😂",
];
const EMOJI: &[&str] = &["👍", "❤️", "😂", "😮", "😢", "🙏", "🎉"];

fn sentence(dice: &mut Dice) -> String {
    let mut text = String::new();
    let words = [1, 3, 5, 8, 8, 12, 20, 40][dice.roll(8)];
    for n in 0..words {
        if n > 0 {
            text.push_str(if dice.roll(12) == 0 { ", " } else { " " });
        }
        text.push_str(dice.pick(WORDS));
    }
    text.push_str(dice.pick(&["", "", ".", "!", "?", " :)", "…"]));
    text
}

fn bare(dice: &mut Dice) -> String {
    format!("{}@{}", dice.pick(NAMES), dice.pick(HOSTS))
}

fn full(dice: &mut Dice) -> String {
    let resource = dice.pick(RESOURCES);
    let tail = if resource.ends_with(['.', '-']) {
        dice.text(4, b"abcdefghijklmnopqrstuvwxyz0123456789ABCD")
    } else {
        String::new()
    };
    format!("{}/{resource}{tail}", bare(dice))
}

/// One stanza as the archive stores it.
pub(crate) fn stanza(dice: &mut Dice) -> String {
    let from = full(dice);
    let to = if dice.roll(3) == 0 { full(dice) } else { bare(dice) };
    let id = dice.id();
    let other = dice.id();
    let q = if dice.roll(2) == 0 { '"' } else { '\'' };
    let kind = dice.pick(&["chat", "chat", "chat", "chat", "chat", "chat", "normal", "groupchat"]);
    let lang = match dice.roll(6) {
        0 => " xml:lang='en'",
        1 => " xml:lang='de'",
        _ => "",
    };
    let mut payload = String::new();
    match dice.roll(20) {
        0..=7 => {
            write!(payload, "<body>{}</body>", sentence(dice)).unwrap();
            extras(dice, &mut payload, &id, q);
        }
        8..=11 => {
            omemo(dice, &mut payload, q);
            extras(dice, &mut payload, &id, q);
        }
        12 => {
            write!(payload, "<received xmlns={q}urn:xmpp:receipts{q} id={q}{other}{q}/>").unwrap();
            store_hint(dice, &mut payload, q);
        }
        13 => {
            let mark = dice.pick(&["displayed", "displayed", "received", "acknowledged"]);
            write!(payload, "<{mark} xmlns={q}urn:xmpp:chat-markers:0{q} id={q}{other}{q}/>")
                .unwrap();
            store_hint(dice, &mut payload, q);
        }
        14 => {
            let emoji = dice.pick(EMOJI);
            write!(payload, "<reactions xmlns={q}urn:xmpp:reactions:0{q} id={q}{other}{q}><reaction>{emoji}</reaction></reactions>").unwrap();
            store_hint(dice, &mut payload, q);
        }
        15 => {
            write!(
                payload,
                "<body>{}</body><replace xmlns={q}urn:xmpp:message-correct:0{q} id={q}{other}{q}/>",
                sentence(dice)
            )
            .unwrap();
            extras(dice, &mut payload, &id, q);
        }
        16 => {
            let said = sentence(dice);
            write!(
                payload,
                "<body>&gt; {said}\n{}</body><reply xmlns={q}urn:xmpp:reply:0{q} to={q}{to}{q} id={q}{other}{q}/>\
                 <fallback xmlns={q}urn:xmpp:fallback:0{q} for={q}urn:xmpp:reply:0{q}><body start={q}0{q} end={q}{}{q}/></fallback>",
                sentence(dice),
                said.len() + 3,
            )
            .unwrap();
            extras(dice, &mut payload, &id, q);
        }
        17 => {
            let url = format!(
                "https://upload.{}/upload/{}/{}.jpg",
                dice.pick(HOSTS),
                dice.uuid(),
                dice.text(8, b"abcdefghijklmnopqrstuvwxyz")
            );
            write!(payload, "<body>{url}</body><x xmlns={q}jabber:x:oob{q}><url>{url}</url></x>")
                .unwrap();
            extras(dice, &mut payload, &id, q);
        }
        18 => {
            write!(
                payload,
                "<retract xmlns={q}urn:xmpp:message-retract:1{q} id={q}{other}{q}/><fallback xmlns={q}urn:xmpp:fallback:0{q} for={q}urn:xmpp:message-retract:1{q}/>\
                 <body>This person attempted to retract a previous message, but it's unsupported by your client.</body>"
            )
            .unwrap();
            store_hint(dice, &mut payload, q);
        }
        _ => {
            write!(
                payload,
                "<{} xmlns={q}urn:xmpp:jingle-message:0{q} id={q}{other}{q}><description xmlns={q}urn:xmpp:jingle:apps:rtp:1{q} media={q}audio{q}/></{0}>",
                "propose"
            )
            .unwrap();
            store_hint(dice, &mut payload, q);
        }
    }
    if dice.roll(4) == 0 {
        write!(
            payload,
            "<stanza-id xmlns='urn:xmpp:sid:0' by='{}' id='{}'/>",
            bare(dice),
            dice.text(13, b"0123456789abcdefghijklmnopqrstuv")
        )
        .unwrap();
    }
    match dice.roll(3) {
        0 => format!(
            "<message xmlns=\"jabber:client\" from=\"{from}\" to=\"{to}\" id=\"{id}\" type=\"{kind}\"{lang}>{payload}</message>"
        ),
        _ => format!(
            "<message xmlns='jabber:client' from='{from}' to='{to}' id='{id}' type='{kind}'{lang}>{payload}</message>"
        ),
    }
}

fn extras(dice: &mut Dice, payload: &mut String, id: &str, q: char) {
    let request = format!("<request xmlns={q}urn:xmpp:receipts{q}/>");
    let markable = format!("<markable xmlns={q}urn:xmpp:chat-markers:0{q}/>");
    let origin = format!("<origin-id xmlns={q}urn:xmpp:sid:0{q} id={q}{id}{q}/>");
    let active = format!("<active xmlns={q}http://jabber.org/protocol/chatstates{q}/>");
    match dice.roll(5) {
        0 => *payload += &format!("{request}{markable}{origin}"),
        1 => *payload += &format!("{origin}{active}{request}{markable}"),
        2 => *payload += &format!("{active}{request}"),
        3 => *payload += &format!("{markable}{origin}{request}<store xmlns={q}urn:xmpp:hints{q}/>"),
        _ => {}
    }
    if dice.roll(8) == 0 {
        write!(payload, "<thread>{}</thread>", dice.uuid()).unwrap();
    }
    if dice.roll(12) == 0 {
        write!(
            payload,
            "<nick xmlns={q}http://jabber.org/protocol/nick{q}>{}</nick>",
            dice.pick(NAMES)
        )
        .unwrap();
    }
}

fn store_hint(dice: &mut Dice, payload: &mut String, q: char) {
    if dice.roll(2) == 0 {
        write!(payload, "<store xmlns={q}urn:xmpp:hints{q}/>").unwrap();
    }
}

fn omemo(dice: &mut Dice, payload: &mut String, q: char) {
    let sid = 100_000_000 + dice.roll(2_000_000_000);
    if dice.roll(4) == 0 {
        write!(
            payload,
            "<encrypted xmlns={q}urn:xmpp:omemo:2{q}><header sid={q}{sid}{q}><keys jid={q}{}{q}>",
            bare(dice)
        )
        .unwrap();
        for _ in 0..=dice.roll(3) {
            let rid = 100_000_000 + dice.roll(2_000_000_000);
            write!(payload, "<key rid={q}{rid}{q}>{}</key>", dice.base64(120)).unwrap();
        }
        write!(payload, "</keys></header><payload>{}</payload></encrypted>", dice.base64(160))
            .unwrap();
    } else {
        write!(
            payload,
            "<encrypted xmlns={q}eu.siacs.conversations.axolotl{q}><header sid={q}{sid}{q}>"
        )
        .unwrap();
        for _ in 0..=dice.roll(4) {
            let rid = 100_000_000 + dice.roll(2_000_000_000);
            let pre = if dice.roll(6) == 0 { format!(" prekey={q}true{q}") } else { String::new() };
            write!(payload, "<key rid={q}{rid}{q}{pre}>{}</key>", dice.base64(116)).unwrap();
        }
        let (iv, len) = (dice.base64(16), 24 + dice.roll(120));
        write!(
            payload,
            "<iv>{iv}</iv></header><payload>{}</payload></encrypted>",
            dice.base64(len)
        )
        .unwrap();
    }
    write!(
        payload,
        "<encryption xmlns={q}urn:xmpp:eme:0{q} name={q}OMEMO{q} namespace={q}eu.siacs.conversations.axolotl{q}/>\
         <body>I sent you an OMEMO encrypted message but your client doesn’t seem to support that. Find more information on https://conversations.im/omemo</body>\
         <store xmlns={q}urn:xmpp:hints{q}/>"
    )
    .unwrap();
}
