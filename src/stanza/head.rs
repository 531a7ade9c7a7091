//! What a stanza says on its start tag (RFC 6120 §8.1).

use std::fmt;

use super::parse::Reason;
use crate::jid::Jid;
use crate::xml::framer::Outline;
use crate::xml::write;

/// The three stanzas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Message,
    Presence,
    Iq,
}

impl Kind {
    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Presence => "presence",
            Kind::Iq => "iq",
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        match name {
            "message" => Some(Kind::Message),
            "presence" => Some(Kind::Presence),
            "iq" => Some(Kind::Iq),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The values of `type` of all three stanzas. Which of them belongs to which stanza is checked
/// when a stanza is read: see [`Type::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Message, presence and IQ.
    Error,
    // Message (RFC 6121 §5.2.2)
    Chat,
    Groupchat,
    Headline,
    Normal,
    // Presence (RFC 6121 §4.7.1); available presence has no type.
    Probe,
    Subscribe,
    Subscribed,
    Unavailable,
    Unsubscribe,
    Unsubscribed,
    // IQ (RFC 6120 §8.2.3)
    Get,
    Set,
    Result,
}

impl Type {
    /// The value of the attribute.
    pub fn name(self) -> &'static str {
        match self {
            Type::Error => "error",
            Type::Chat => "chat",
            Type::Groupchat => "groupchat",
            Type::Headline => "headline",
            Type::Normal => "normal",
            Type::Probe => "probe",
            Type::Subscribe => "subscribe",
            Type::Subscribed => "subscribed",
            Type::Unavailable => "unavailable",
            Type::Unsubscribe => "unsubscribe",
            Type::Unsubscribed => "unsubscribed",
            Type::Get => "get",
            Type::Set => "set",
            Type::Result => "result",
        }
    }

    /// The type that `value` names on a stanza of this kind.
    ///
    /// A message of unknown type is a normal one (RFC 6121 §5.2.2); other stanzas of unknown type
    /// have none and are refused.
    pub fn of(kind: Kind, value: &str) -> Option<Type> {
        match (kind, value) {
            (_, "error") => Some(Type::Error),
            (Kind::Message, "chat") => Some(Type::Chat),
            (Kind::Message, "groupchat") => Some(Type::Groupchat),
            (Kind::Message, "headline") => Some(Type::Headline),
            (Kind::Message, _) => Some(Type::Normal),
            (Kind::Presence, "probe") => Some(Type::Probe),
            (Kind::Presence, "subscribe") => Some(Type::Subscribe),
            (Kind::Presence, "subscribed") => Some(Type::Subscribed),
            (Kind::Presence, "unavailable") => Some(Type::Unavailable),
            (Kind::Presence, "unsubscribe") => Some(Type::Unsubscribe),
            (Kind::Presence, "unsubscribed") => Some(Type::Unsubscribed),
            (Kind::Iq, "get") => Some(Type::Get),
            (Kind::Iq, "set") => Some(Type::Set),
            (Kind::Iq, "result") => Some(Type::Result),
            _ => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Kind, addresses and the other attributes of a stanza. Written anew for each receiver, while
/// the payload is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Kind,
    pub from: Option<Jid>,
    pub to: Option<Jid>,
    pub id: Option<Box<str>>,
    /// Absent on available presence and on messages that did not name one; see
    /// [`Head::message_type`].
    pub typ: Option<Type>,
    /// `xml:lang`
    pub lang: Option<Box<str>>,
}

impl Head {
    pub fn new(kind: Kind) -> Head {
        Head { kind, from: None, to: None, id: None, typ: None, lang: None }
    }

    #[must_use]
    pub fn with_from(mut self, from: Option<Jid>) -> Head {
        self.from = from;
        self
    }

    #[must_use]
    pub fn with_to(mut self, to: Option<Jid>) -> Head {
        self.to = to;
        self
    }

    #[must_use]
    pub fn with_id(mut self, id: Option<&str>) -> Head {
        self.id = id.map(Into::into);
        self
    }

    #[must_use]
    pub fn with_type(mut self, typ: Option<Type>) -> Head {
        self.typ = typ;
        self
    }

    /// The type of a message, `normal` being the default.
    pub fn message_type(&self) -> Type {
        self.typ.unwrap_or(Type::Normal)
    }

    /// The head of an answer: addresses swapped, same kind and id.
    pub fn answer(&self, typ: Type) -> Head {
        Head {
            kind: self.kind,
            from: self.to.clone(),
            to: self.from.clone(),
            id: self.id.clone(),
            typ: Some(typ),
            lang: None,
        }
    }

    /// Reads the attributes of a top-level element that is a stanza of `kind`. Always gives a
    /// head; with the first thing that is wrong, if something is.
    pub(super) fn read(kind: Kind, outline: &Outline<'_>) -> (Head, Option<Reason>) {
        let mut head = Head::new(kind);
        let mut wrong = None;
        for (name, value) in outline.attributes() {
            match name {
                b"to" | b"from" => {
                    let jid = Jid::parse(&value)
                        .map_err(|error| match name {
                            b"to" => Reason::BadTo(error),
                            _ => Reason::BadFrom(error),
                        })
                        .map_err(|reason| wrong.get_or_insert(reason))
                        .ok();
                    match name {
                        b"to" => head.to = jid,
                        _ => head.from = jid,
                    }
                }
                b"id" => head.id = Some(value.into()),
                b"type" => {
                    head.typ = Type::of(kind, &value);
                    if head.typ.is_none() {
                        wrong.get_or_insert(Reason::UnknownType);
                    }
                }
                b"xml:lang" => head.lang = Some(value.into()),
                _ => {}
            }
        }
        if kind == Kind::Iq {
            if head.typ.is_none() {
                wrong.get_or_insert(Reason::UnknownType);
            }
            if head.id.is_none() {
                wrong.get_or_insert(Reason::MissingId);
            }
        }
        (head, wrong)
    }

    /// Appends the start tag without its `>`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'<');
        out.extend_from_slice(self.kind.name().as_bytes());
        if let Some(from) = &self.from {
            write::attribute(out, "from", from.as_str());
        }
        if let Some(to) = &self.to {
            write::attribute(out, "to", to.as_str());
        }
        if let Some(typ) = self.typ {
            write::attribute(out, "type", typ.name());
        }
        if let Some(id) = &self.id {
            write::attribute(out, "id", id);
        }
        if let Some(lang) = &self.lang {
            write::attribute(out, "xml:lang", lang);
        }
    }

    /// Bytes of start tag and end tag, escapes not counted.
    pub(super) fn wire_len(&self) -> usize {
        let attribute = |name: &str, value: Option<&str>| {
            value.map_or(0, |value| name.len() + value.len() + " =''".len())
        };
        2 * self.kind.name().len()
            + "<></>".len()
            + attribute("from", self.from.as_ref().map(Jid::as_str))
            + attribute("to", self.to.as_ref().map(Jid::as_str))
            + attribute("type", self.typ.map(Type::name))
            + attribute("id", self.id.as_deref())
            + attribute("xml:lang", self.lang.as_deref())
    }
}
