//! What can go wrong between the generator and the server.

/// Why a run or one of its sessions ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("cannot connect to {address}: {source}")]
    Connect { address: std::net::SocketAddr, source: std::io::Error },
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("connection lost: {0}")]
    Io(#[from] std::io::Error),
    #[error("the server closed the stream while {0} was awaited")]
    Closed(&'static str),
    #[error("expected {expected}, got: {got}")]
    Unexpected { expected: &'static str, got: String },
    #[error("{user} could not log in: {reason}")]
    Login { user: String, reason: String },
    #[error("no answer within {0:?} while {1}")]
    Timeout(std::time::Duration, &'static str),
    #[error("process {pid}: {source}")]
    Process { pid: u32, source: std::io::Error },
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Unexpected`] that quotes the beginning of what the server sent.
    pub fn unexpected(expected: &'static str, got: &[u8]) -> Error {
        const QUOTED_CHARS_MAX: usize = 300;
        let got = String::from_utf8_lossy(got).chars().take(QUOTED_CHARS_MAX).collect();
        Error::Unexpected { expected, got }
    }
}
