//! `coucou api`: any operation by its name, ours or ejabberd's.

use std::io::Read;

use clap::{Args, CommandFactory};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::output::{Output, clean, table};
use super::reach::Reach;
use super::{Arguments, Common, ask};
use crate::admin::op::Entry;
use crate::admin::{arguments, describe};
use crate::config::value::Secret;

/// Bytes of arguments read from standard input.
const INPUT_BYTES_MAX: u64 = 1 << 20;

/// Do any operation there is, by its name or by ejabberd's name for it
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Api {
    /// The operation, as in account.list or connected_users
    name: Option<String>,
    /// Its arguments: KEY=VALUE for each, or all of them as one JSON object, or - for a JSON object
    /// on standard input, which is the way for secrets
    arguments: Vec<String>,
    /// List all operations
    #[arg(long)]
    list: bool,
    /// Print the OpenAPI document
    #[arg(long)]
    openapi: bool,
    /// Print help: of the operation NAME, if one is named
    #[arg(short, long)]
    help: bool,
}

impl Api {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        if self.list {
            return out.show(&describe::list(), |list| {
                table(
                    ["NAME", "WHAT IT DOES"],
                    list.iter().map(|(name, summary)| [(*name).to_owned(), (*summary).to_owned()]),
                )
            });
        }
        if self.openapi {
            return out.show(&describe::openapi(u32::MAX, |_| true), pretty);
        }
        let Some(name) = self.name else {
            let mut command = Arguments::command();
            let help = command.find_subcommand_mut("api").map(|api| api.render_help().to_string());
            return out.line(help.unwrap_or_default().trim_end());
        };
        let entry = Entry::find(&name).ok_or_else(|| {
            Failure::usage(format!("there is no operation {name:?}"))
                .help("`coucou api --list` shows them all")
        })?;
        if self.help {
            return out.line(describe::text(entry).trim_end());
        }
        let arguments = complete(entry, read(entry, &self.arguments)?)?;
        let mut reach = Reach::anyway(common)?;
        let done = reach.call_by_name(entry, arguments);
        reach.close()?;
        out.show(&done?, pretty)
    }
}

fn pretty(value: &Value) -> String {
    match value {
        // Lines of a text stay lines.
        Value::String(text) => text.lines().map(clean).collect::<Vec<_>>().join("\n"),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}

fn read(entry: &Entry, words: &[String]) -> Result<Value, Failure> {
    let (object, seen) = match words {
        [word] if word == "-" => {
            let mut text = String::new();
            let mut input = std::io::stdin().lock().take(INPUT_BYTES_MAX);
            input
                .read_to_string(&mut text)
                .map_err(|error| Failure::failed(format!("cannot read the arguments: {error}")))?;
            (object(&text)?, false)
        }
        [word] if word.trim_start().starts_with('{') => (object(word)?, true),
        words => {
            let pairs = words
                .iter()
                .map(|word| {
                    word.split_once('=').ok_or_else(|| {
                        Failure::usage(format!("{word:?} is not KEY=VALUE"))
                            .help(format!("`coucou api {} --help` tells the keys", entry.name))
                    })
                })
                .collect::<Result<Vec<_>, _>>()?;
            (arguments::read(entry, pairs.into_iter())?, true)
        }
    };
    let secrets = arguments::secrets(entry);
    if seen && let Some(secret) = secrets.iter().find(|(name, _)| object.get(name).is_some()) {
        return Err(Failure::usage(format!(
            "{} is a secret, and everybody on this machine can read a command line",
            secret.0
        ))
        .help(format!("give the arguments on standard input: … | coucou api {} -", entry.name)));
    }
    Ok(object)
}

fn object(text: &str) -> Result<Value, Failure> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        Ok(_) => Err(Failure::usage("the arguments are JSON, and not an object")),
        Err(error) => Err(Failure::usage(format!("the arguments are not JSON: {error}"))),
    }
}

/// Asks a person for the secrets that are missing.
fn complete(entry: &Entry, arguments: Value) -> Result<Value, Failure> {
    let mut object = match arguments {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    for (name, required) in arguments::secrets(entry) {
        if required && !object.contains_key(&name) && ask::can_ask() {
            let secret: Secret = ask::secret(&format!("{name}: "))?;
            object.insert(name, secret.reveal().into());
        }
    }
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(name: &str, words: &[&str]) -> Result<Value, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        super::read(Entry::find(name).unwrap(), &words).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn arguments_are_pairs_or_an_object() {
        let expected = json!({"host": "example.org", "max": 3});
        assert_eq!(read("account.list", &["host=example.org", "max=3"]).unwrap(), expected);
        let text = r#"{"host": "example.org", "max": 3}"#;
        assert_eq!(read("account.list", &[text]).unwrap(), expected);
        assert_eq!(read("account.list", &[]).unwrap(), json!({}));
    }

    #[test]
    fn secrets_stay_off_the_command_line() {
        for words in [&["user=a", "password=b"][..], &[r#"{"password": "b"}"#]] {
            let told = read("register", words).unwrap_err();
            assert!(told.contains("password is a secret"), "{told}");
        }
        assert!(read("account.list", &["host"]).unwrap_err().contains("is not KEY=VALUE"));
    }
}
