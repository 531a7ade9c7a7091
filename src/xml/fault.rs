//! What may be wrong with a document, and the stream error by which it is answered.

use std::fmt;

use crate::xml::stream_error::{StreamCondition, StreamError};

/// A rule that a document breaks. Each is a sentence by `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    // Encoding
    InvalidUtf8,
    ForbiddenCharacter,
    EncodingIsNotUtf8,
    // Restricted XML (RFC 6120 §11.1)
    DocumentType,
    Comment,
    ProcessingInstruction,
    EntityReference,
    // Well-formedness
    BadDeclaration,
    BadMarkup,
    BadName,
    MissingSpace,
    MissingEquals,
    MissingQuote,
    LessThanInValue,
    BadReference,
    CdataEndInText,
    DuplicateAttribute,
    TagMismatch,
    Incomplete,
    TrailingContent,
    // Namespaces
    UnboundPrefix,
    ReservedPrefix,
    ReservedNamespace,
    EmptyNamespace,
    // Shape of a stream
    NotAStream,
    NotTheStreamNamespace,
    TextBetweenStanzas,
    AfterTheEnd,
    // Limits
    HeaderTooLarge,
    ElementTooLarge,
    TooDeep,
    TooManyAttributes,
    TooManyPrefixes,
    TooManyChildren,
    NameTooLong,
}

impl Fault {
    /// The condition of RFC 6120 §4.9.3 that says it.
    pub fn condition(self) -> StreamCondition {
        use Fault::*;
        match self {
            // §4.9.3.22: also "by violating the rules of the UTF-8 encoding".
            InvalidUtf8 | EncodingIsNotUtf8 => StreamCondition::UnsupportedEncoding,
            DocumentType | Comment | ProcessingInstruction | EntityReference => {
                StreamCondition::RestrictedXml
            }
            ForbiddenCharacter | BadDeclaration | BadMarkup | BadName | MissingSpace
            | MissingEquals | MissingQuote | LessThanInValue | BadReference | CdataEndInText
            | DuplicateAttribute | TagMismatch | Incomplete | TrailingContent | UnboundPrefix
            | ReservedPrefix | ReservedNamespace | EmptyNamespace | AfterTheEnd => {
                StreamCondition::NotWellFormed
            }
            NotTheStreamNamespace => StreamCondition::InvalidNamespace,
            NotAStream | TextBetweenStanzas => StreamCondition::BadFormat,
            HeaderTooLarge | ElementTooLarge | TooDeep | TooManyAttributes | TooManyPrefixes
            | TooManyChildren | NameTooLong => StreamCondition::PolicyViolation,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Fault::*;
        f.write_str(match self {
            InvalidUtf8 => "the bytes are not UTF-8",
            ForbiddenCharacter => "XML does not allow this character",
            EncodingIsNotUtf8 => "the declared encoding is not UTF-8",
            DocumentType => "XMPP does not allow document type declarations",
            Comment => "XMPP does not allow comments",
            ProcessingInstruction => "XMPP does not allow processing instructions",
            EntityReference => "XMPP does not allow entities other than the five predefined",
            BadDeclaration => "the XML declaration is malformed or not at the start",
            BadMarkup => "there is markup that does not make sense",
            BadName => "a name has a character that is not allowed there",
            MissingSpace => "there is no white space before an attribute",
            MissingEquals => "an attribute has no value",
            MissingQuote => "the value of an attribute is not quoted",
            LessThanInValue => "the value of an attribute contains <",
            BadReference => "a character reference is malformed or names no allowed character",
            CdataEndInText => "text contains ]]>",
            DuplicateAttribute => "an element has the same attribute twice",
            TagMismatch => "an end tag does not match its start tag",
            Incomplete => "the document ends too soon",
            TrailingContent => "something follows the end of the document",
            UnboundPrefix => "a prefix is not bound to a namespace",
            ReservedPrefix => "the prefixes xml and xmlns cannot be used like this",
            ReservedNamespace => {
                "the namespaces of xml and xmlns cannot be bound to other prefixes"
            }
            EmptyNamespace => "a prefix is bound to an empty namespace",
            NotAStream => "the document is not a stream",
            NotTheStreamNamespace => "the root element is not in the namespace of streams",
            TextBetweenStanzas => "there is text between stanzas",
            AfterTheEnd => "something follows the end of the stream",
            HeaderTooLarge => "the stream header is too large",
            ElementTooLarge => "the element is too large",
            TooDeep => "elements are nested too deeply",
            TooManyAttributes => "an element has too many attributes",
            TooManyPrefixes => "too many prefixes are bound at once",
            TooManyChildren => "a stanza has too many children",
            NameTooLong => "a name is too long",
        })
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for StreamError {
    fn from(fault: Fault) -> StreamError {
        StreamError::with_text(fault.condition(), fault.to_string())
    }
}

/// Why a standalone document was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XmlError {
    pub fault: Fault,
    /// Byte at which it was noticed.
    pub at: usize,
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.fault, self.at)
    }
}

impl std::error::Error for XmlError {}
