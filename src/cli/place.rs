//! Where things are: the config file of the server that a command is about.

use std::path::{Path, PathBuf};

use super::Common;
use super::failure::Failure;
use crate::config::{self, Checked};

/// The name of the config file in the folder of `coucou up`.
pub(super) const CONFIG_NAME: &str = "coucou.toml";
/// Where packages put the config file.
const PACKAGED: &str = "/etc/coucou/coucou.toml";

impl Common {
    /// The config file: the one named, or the first that exists of those that `coucou up` and
    /// packages use.
    ///
    /// # Errors
    /// If none is named and none exists.
    pub(super) fn config_file(&self) -> Result<PathBuf, Failure> {
        if let Some(file) = self.named() {
            return Ok(file);
        }
        let usual = usual();
        usual.iter().find(|file| file.exists()).cloned().ok_or_else(|| {
            let places: Vec<String> = usual.iter().map(|file| file.display().to_string()).collect();
            Failure::failed(format!("there is no config file; looked for {}", places.join(" and ")))
                .help("`coucou up` makes one and serves; `--dir DIR` or `--config FILE` names another")
        })
    }

    /// The config file that was named on the command line or in the environment.
    pub(super) fn named(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| self.dir.as_ref().map(|dir| dir.join(CONFIG_NAME)))
    }

    /// The config file's content, checked.
    ///
    /// # Errors
    /// If there is none or it is faulty.
    pub(super) fn load(&self) -> Result<(PathBuf, Checked), Failure> {
        let file = self.config_file()?;
        let checked = config::load(&file)?;
        Ok((file, checked))
    }
}

/// The folder that `coucou up` and `coucou init` work in unless told otherwise.
pub(super) fn default_dir() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/coucou"));
    }
    let from_env =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    from_env("XDG_DATA_HOME")
        .or_else(|| from_env("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("coucou"))
        .ok_or_else(|| {
            Failure::usage("there is no home directory").help("name a folder with `--dir DIR`")
        })
}

/// Files to look for, in order: root asks for the system's server first, others for their own.
fn usual() -> Vec<PathBuf> {
    let own = default_dir().ok().map(|dir| dir.join(CONFIG_NAME));
    let packaged = Some(PathBuf::from(PACKAGED));
    let order =
        if rustix::process::geteuid().is_root() { [packaged, own] } else { [own, packaged] };
    order.into_iter().flatten().collect()
}

/// `path` as a person would type it from here on, quoted where a shell needs it.
pub(super) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%:,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
