//! Questions to a person, which are never asked where nobody can answer, and passwords.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use clap::Args;

use super::failure::Failure;
use crate::auth::secret::fill_random;
use crate::config::value::Secret;

/// Longest password line read from standard input.
const PASSWORD_LINE_MAX: u64 = 4096;

/// Where a new password comes from. Never from an argument: those can be seen by everybody on the
/// machine.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct PasswordSource {
    /// Read the password from the first line of standard input
    #[arg(long, conflicts_with = "generate")]
    password_stdin: bool,
    /// Make a good password and print it
    #[arg(long)]
    generate: bool,
}

impl PasswordSource {
    /// Whether a source was chosen, so that nothing need be asked.
    pub(super) fn is_chosen(self) -> bool {
        self.password_stdin || self.generate
    }

    /// The password, and whether it was made up and must be shown. Asks at the terminal if no
    /// source was chosen.
    ///
    /// # Errors
    /// If nobody can be asked, or the answer is no password.
    pub(super) fn read(self, whose: &str) -> Result<(Secret, bool), Failure> {
        if self.generate {
            return Ok((generate(), true));
        }
        if self.password_stdin {
            let mut line = String::new();
            let read =
                io::BufReader::new(io::stdin().lock().take(PASSWORD_LINE_MAX)).read_line(&mut line);
            read.map_err(|error| Failure::failed(format!("cannot read the password: {error}")))?;
            let password = Secret::new(line.trim_end_matches(['\r', '\n']));
            return non_empty(password).map(|password| (password, false));
        }
        if !can_ask() {
            return Err(Failure::usage("there is no terminal to ask for the password at")
                .help("use --password-stdin or --generate"));
        }
        let ask = |prompt: String| {
            rpassword::prompt_password(prompt)
                .map(Secret::new)
                .map_err(|error| Failure::failed(format!("cannot read the password: {error}")))
        };
        let password = non_empty(ask(format!("New password for {whose}: "))?)?;
        if password != ask("The same again: ".to_owned())? {
            return Err(Failure::failed("the two passwords differ; nothing was changed"));
        }
        Ok((password, false))
    }
}

/// Asks for a secret without showing it.
///
/// # Errors
/// If the terminal goes away.
pub(super) fn secret(prompt: &str) -> Result<Secret, Failure> {
    rpassword::prompt_password(prompt)
        .map(Secret::new)
        .map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))
}

fn non_empty(password: Secret) -> Result<Secret, Failure> {
    if password.reveal().is_empty() {
        Err(Failure::usage("the password is empty"))
    } else {
        Ok(password)
    }
}

/// Letters and digits that cannot be taken for one another; 32 of them, so that a random byte picks
/// evenly.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A password of 80 random bits, in groups that can be read out and typed on a phone.
pub(super) fn generate() -> Secret {
    let mut random = zeroize::Zeroizing::new([0u8; 16]);
    fill_random(random.as_mut_slice());
    let groups = random.chunks(4).map(|group| {
        group.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect::<String>()
    });
    Secret::new(groups.collect::<Vec<_>>().join("-"))
}

/// Whether there is a person at the other end.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks `question`; an empty answer stands for `default`.
///
/// # Errors
/// If nobody can be asked or the terminal goes away; the failure names `flag`, which would answer
/// it.
pub(super) fn question(question: &str, default: &str, flag: &str) -> Result<String, Failure> {
    let unanswered =
        || Failure::usage(format!("{flag} is missing and there is no terminal to ask at"));
    if !can_ask() {
        return Err(unanswered());
    }
    // On standard error, so that standard output carries results only.
    let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    let mut err = io::stderr().lock();
    let mut answer = String::new();
    let asked = write!(err, "{question}{shown}: ").and_then(|()| err.flush());
    match asked.and_then(|()| io::stdin().lock().read_line(&mut answer)) {
        Ok(0) | Err(_) => Err(unanswered()),
        Ok(_) if answer.trim().is_empty() => Ok(default.to_owned()),
        Ok(_) => Ok(answer.trim().to_owned()),
    }
}

/// Makes sure that somebody wants `what` gone: by `--yes NAME`, or by typing the name.
///
/// # Errors
/// If the name was not given, or another one.
pub(super) fn confirm(what: &str, name: &str, yes: Option<&str>) -> Result<(), Failure> {
    let answer = match yes {
        Some(answer) => answer.to_owned(),
        None if can_ask() => question(&format!("{what} Type {name} to go on"), "", "--yes")?,
        None => return Err(Failure::usage(what).help(format!("confirm it with --yes {name}"))),
    };
    if answer == name {
        Ok(())
    } else {
        Err(Failure::failed(format!("{answer:?} is not {name}; nothing was done")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (one, two) = (generate(), generate());
        assert_ne!(one, two);
        assert_eq!(one.reveal().len(), 19);
        assert!(one.reveal().bytes().all(|b| b == b'-' || ALPHABET.contains(&b)));
    }

    #[test]
    fn only_the_right_name_confirms() {
        assert!(confirm("This erases it.", "a@b", Some("a@b")).is_ok());
        assert!(confirm("This erases it.", "a@b", Some("yes")).is_err());
    }
}
