//! From a password to what is stored of it, where the work holds up nothing else.

use std::sync::LazyLock;

use tokio::sync::Semaphore;

use crate::auth::ScramKeys;
use crate::auth::credentials::{Credentials, Password};
use crate::auth::hash::Hash;
use crate::config::{HostConfig, Mechanism};
use crate::store::accounts::ScramRow;

/// One per core at a time: whoever wants accounts by the thousand waits, the server goes on.
static WORKERS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// Runs what takes its time on a thread of its own. `None` if it panicked.
pub(super) async fn at_leisure<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let _turn = WORKERS.acquire().await.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}

/// The keys that the host's mechanisms need. CPU-heavy.
pub(super) fn derive(host: &HostConfig, password: &Password) -> Vec<ScramRow> {
    let derived = Credentials::derive(password, &hashes(&host.mechanisms), host.scram_iterations);
    derived.iter().map(scram_row).collect()
}

/// Keys as the store keeps them.
pub fn scram_row(keys: &ScramKeys) -> ScramRow {
    ScramRow {
        hash: keys.hash.name().to_owned(),
        salt: keys.salt.to_vec(),
        iterations: keys.iterations,
        stored_key: keys.stored_key.expose().to_vec(),
        server_key: keys.server_key.expose().to_vec(),
    }
}

fn hashes(mechanisms: &[Mechanism]) -> Vec<Hash> {
    let mut hashes: Vec<Hash> = mechanisms
        .iter()
        .filter_map(|mechanism| match mechanism {
            Mechanism::ScramSha512 => Some(Hash::Sha512),
            Mechanism::ScramSha256 => Some(Hash::Sha256),
            Mechanism::ScramSha1 => Some(Hash::Sha1),
            Mechanism::Plain => None,
        })
        .collect();
    // PLAIN is verified against keys too; any one will do.
    if hashes.is_empty() {
        hashes.push(Hash::Sha256);
    }
    hashes
}
