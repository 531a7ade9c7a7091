//! Settings: one TOML file, typed, checked as a whole, replaced as a whole.
//!
//! The way of a setting: `coucou.toml` → `raw` (tree with positions) → `check` (types, bounds,
//! what must hold between settings; *all* faults with line, column and remedy) → [`model`] (what
//! the program reads, in an `Arc`) → [`diff`] (what a reload changes). `assets/coucou.toml` is the
//! documentation of every setting and the source of the file that `coucou init` writes.

mod backup;
mod check;
mod compare;
mod diff;
pub mod edit;
pub mod grant;
pub mod history;
mod host;
pub mod import;
mod leaf;
pub mod model;
mod problem;
mod raw;
pub mod registration;
pub mod room;
pub mod rules;
mod show;
mod template;
pub mod value;
pub mod web;

use std::path::Path;

pub use backup::{Backups, Schedule};
pub use check::{Checked, parse};
pub use compare::{is_secret, unified};
pub use diff::{Change, Effect, diff};
pub use leaf::Choice;
pub use model::{
    Addresses, Admin, Archive, ArchiveDefault, Auth, Component, Config, Contact, Guest, HostConfig,
    Level, Limits, Listen, Log, LogFormat, Mechanism, Offline, Push, ResourceConflict, Services,
    Storage, StreamManagement, TlsFiles,
};
pub use problem::{ConfigError, Excerpt, Problem};
pub use registration::Registration;
pub use rules::{Access, Allowance, Rules};
pub use show::{Described, describe, find_path};
pub use template::{ANNOTATED, Template};

/// Largest config file read; a bound against a wrong path such as a disk image.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads and checks `file`.
///
/// # Errors
/// Why the file cannot be read, or all that is wrong with it.
pub fn load(file: &Path) -> Result<Checked, ConfigError> {
    let text = read(file).map_err(|error| ConfigError::unreadable(file, &error))?;
    parse(&text, file)
}

/// The text of `file`.
///
/// # Errors
/// If it cannot be read, or is larger than a config file may be.
pub fn read(file: &Path) -> std::io::Result<String> {
    let len = std::fs::metadata(file)?.len();
    if len > FILE_BYTES_MAX {
        let what = format!("{len} bytes, more than a config file may have ({FILE_BYTES_MAX})");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, what));
    }
    std::fs::read_to_string(file)
}

impl Config {
    /// The settings of a file that names `domain` and says nothing else.
    ///
    /// # Errors
    /// If `domain` is not a domain name.
    pub fn default_for(domain: &str) -> Result<Config, ConfigError> {
        let name = domain.replace(['"', '\\', '\n', '\r'], "\u{fffd}");
        parse(&format!("[hosts.\"{name}\"]\n"), Path::new("/etc/coucou/coucou.toml"))
            .map(|checked| checked.config)
    }
}

#[cfg(test)]
mod tests;
