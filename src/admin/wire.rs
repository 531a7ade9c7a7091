//! What is spoken on the admin socket: JSON, one object a line.
//!
//! The server speaks first ([`Greeting`]); then the client sends [`Request`]s and the server
//! answers each by one [`Reply`] with its id. `log.follow` is answered by a stream of them, until
//! the client goes away.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Role;
use super::op::Refusal;

/// Version of this protocol. Raised when an old client could misunderstand a new server.
pub const PROTOCOL: u32 = 1;
/// Longest line in either direction.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// The one request that is answered by a stream instead of a single reply.
pub const FOLLOW: &str = "log.follow";

/// Where viewers come in, if operators come in at `socket`.
pub fn view_path(socket: &Path) -> PathBuf {
    let stem = socket.file_stem().unwrap_or_default().to_string_lossy();
    socket.with_file_name(format!("{stem}-view.sock"))
}

/// The server's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Greeting {
    Hello(Hello),
    /// The peer may not come in; the server closes.
    Refused(Refusal),
}

/// What a client must know of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    /// The server's version, as in `0.1.0`.
    pub version: String,
    /// What this client may do.
    pub role: Role,
    pub operations: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client, repeated in the reply.
    pub id: u64,
    pub op: String,
    #[serde(default)]
    pub args: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub id: u64,
    #[serde(flatten)]
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The operation's output.
    Ok(Value),
    Refused(Refusal),
    /// One item of a stream.
    Item(Value),
    /// So many items of a stream are missing here: the client was too slow.
    Lost(u64),
}

/// `value` as a line.
pub fn line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Arguments of an operation; none at all count as an empty object.
pub fn arguments<T: DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    let value = if value.is_null() { Value::Object(serde_json::Map::new()) } else { value };
    serde_json::from_value(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_read_as_written() {
        for body in [
            Body::Ok(serde_json::json!({"a": 1})),
            Body::Refused(Refusal::usage("no").help("yes")),
            Body::Item(Value::Null),
            Body::Lost(3),
        ] {
            let reply = Reply { id: 7, body };
            let line = line(&reply).unwrap();
            assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
            assert_eq!(serde_json::from_slice::<Reply>(&line).unwrap(), reply);
        }
    }

    #[test]
    fn requests_need_no_arguments() {
        let request: Request = serde_json::from_str(r#"{"id":1,"op":"server.status"}"#).unwrap();
        assert_eq!(request.args, Value::Null);
    }
}
