//! Text that people wrote: it travels, but what is written down of it is its length.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};

/// A message, a vCard, an element of private XML. Serialised, as the audit does, it is its length;
/// an operation with such an argument puts the text itself into `to_wire`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Words(pub String);

impl Words {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Words {
        Words(text.to_owned())
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("({} bytes)", self.0.len()))
    }
}

impl JsonSchema for Words {
    fn schema_name() -> Cow<'static, str> {
        "string".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_not_written_down() {
        let words: Words = serde_json::from_str("\"meet me at nine\"").unwrap();
        assert_eq!(words.as_str(), "meet me at nine");
        assert_eq!(serde_json::to_string(&words).unwrap(), "\"(15 bytes)\"");
        assert_eq!(format!("{words:?}"), "(15 bytes)");
    }
}
