//! `coucou acl …` and the edits of `coucou access …`

use clap::Subcommand;
use serde_json::Value;

use super::Common;
use super::config::{How, applied, value_of};
use super::failure::Failure;
use super::output::Output;
use super::reach::Reach;
use crate::admin::ops::config::{
    AccessAdd, AccessMove, AccessRemove, AccessReplace, AclAdd, AclRemove,
};

#[derive(Debug, Subcommand)]
pub(super) enum Acl {
    /// Add a condition, as in `coucou acl add admin user anna@example.org`
    Add {
        /// The ACL; it is made if there is none
        name: String,
        /// What is asked: user, ip, server, user_regexp, shared_group, acl …
        condition: String,
        value: String,
        #[command(flatten)]
        how: How,
    },
    /// Take a condition out, or a whole ACL
    Remove {
        name: String,
        /// Which condition; without it the whole ACL goes
        condition: Option<String>,
        /// Which value of it; without it all of them
        value: Option<String>,
        #[command(flatten)]
        how: How,
    },
}

impl Acl {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let mut reach = Reach::to_settings(common)?;
        let done = match self {
            Acl::Add { name, condition, value, how } => {
                reach.call(&AclAdd { name, condition, value, options: how.options() })
            }
            Acl::Remove { name, condition, value, how } => {
                reach.call(&AclRemove { name, condition, value, options: how.options() })
            }
        };
        reach.close()?;
        applied(&done?, out)
    }
}

/// Edits of `[access]` and `[allowances]`, and of settings with entries of their own.
#[derive(Debug, Subcommand)]
pub(super) enum Edit {
    /// Put an entry at the end of a rule
    Add {
        /// The rule; it is made if there is none. A path such as allowances.sessions does, too
        rule: String,
        /// As in 'allow = "local"', or 'grant = 5, to = "all"'
        entry: String,
        #[command(flatten)]
        how: How,
    },
    /// Put an entry in the place of another, which moves down
    Insert {
        rule: String,
        /// The number that it shall have, from 1
        at: usize,
        /// As in 'deny = "forbidden"'
        entry: String,
        #[command(flatten)]
        how: How,
    },
    /// Write another entry in the place of one
    Replace {
        rule: String,
        /// The number of the entry, from 1
        at: usize,
        /// As in 'allow = { ip = "192.0.2.0/24" }'
        entry: String,
        #[command(flatten)]
        how: How,
    },
    /// Give an entry another place
    Move {
        rule: String,
        /// The number of the entry, from 1
        from: usize,
        /// The number that it shall have
        to: usize,
        #[command(flatten)]
        how: How,
    },
    /// Take an entry out of a rule, or the rule out of the file
    Remove {
        rule: String,
        /// The number of the entry, from 1; without it the whole rule goes
        at: Option<usize>,
        #[command(flatten)]
        how: How,
    },
}

impl Edit {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let mut reach = Reach::to_settings(common)?;
        let done = self.act(&mut reach);
        reach.close()?;
        applied(&done?, out)
    }

    fn act(self, reach: &mut Reach) -> Result<crate::admin::ops::config::Applied, Failure> {
        match self {
            Edit::Add { rule, entry, how } => {
                let entry = entry_of(&entry)?;
                reach.call(&AccessAdd { rule, entry, at: None, options: how.options() })
            }
            Edit::Insert { rule, at, entry, how } => {
                let entry = entry_of(&entry)?;
                reach.call(&AccessAdd { rule, entry, at: Some(at), options: how.options() })
            }
            Edit::Replace { rule, at, entry, how } => {
                let entry = entry_of(&entry)?;
                reach.call(&AccessReplace { rule, at, entry, options: how.options() })
            }
            Edit::Move { rule, from, to, how } => {
                reach.call(&AccessMove { rule, from, to, options: how.options() })
            }
            Edit::Remove { rule, at, how } => {
                reach.call(&AccessRemove { rule, at, options: how.options() })
            }
        }
    }
}

/// An entry of a rule, with or without its braces; `allow local` is short for `allow = "local"`.
fn entry_of(written: &str) -> Result<Value, Failure> {
    let short = match written.split_once(char::is_whitespace) {
        Some((verb @ ("allow" | "deny"), name)) if !name.contains(['=', '"', '{', '[']) => {
            Some(serde_json::json!({ verb: name.trim() }))
        }
        _ => None,
    };
    let inner = written.trim();
    let braced = if inner.starts_with('{') { inner.to_owned() } else { format!("{{ {inner} }}") };
    match short.unwrap_or_else(|| value_of(&braced)) {
        entry @ Value::Object(_) => Ok(entry),
        _ => Err(Failure::usage(format!("{written:?} is not an entry of a rule"))
            .help("write it as 'allow = \"local\"' or 'deny = { ip = \"192.0.2.0/24\" }'")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_need_no_braces() {
        for (written, entry) in [
            ("allow local", json!({"allow": "local"})),
            ("allow = \"local\"", json!({"allow": "local"})),
            ("{ deny = { ip = \"::1\" } }", json!({"deny": {"ip": "::1"}})),
            ("grant = 5, to = \"all\"", json!({"grant": 5, "to": "all"})),
        ] {
            assert_eq!(entry_of(written).ok(), Some(entry), "{written}");
        }
        assert!(entry_of("allow").is_err());
        assert!(entry_of("[1]").is_err());
    }
}
