//! Names of users and groups, from the files of this machine.
//!
//! The name services of the C library would need unsafe code, and an admin group is a local matter:
//! names that only a directory server knows are shown as numbers and are not found as groups.

use std::path::Path;

/// The name of user `uid`, if this machine knows it.
pub(super) fn user_name(uid: u32) -> Option<String> {
    entry(&read("/etc/passwd"), |fields| fields.get(2) == Some(&uid.to_string().as_str()))
        .map(|fields| fields.0)
}

/// The number of the group `name`.
pub(super) fn group_id(name: &str) -> Option<u32> {
    entry(&read("/etc/group"), |fields| fields.first() == Some(&name))?.1.parse().ok()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The first and third field of the first line that `fits`; passwd(5) and group(5) have both the
/// name first and the number third.
fn entry(text: &str, fits: impl Fn(&[&str]) -> bool) -> Option<(String, String)> {
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let fields = lines.find(|fields| fields.len() > 2 && fits(fields))?;
    Some((fields[0].to_owned(), fields[2].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_by_name_and_number() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("no such group"), None);
    }

    #[test]
    fn odd_lines_are_passed_over() {
        let text = "#comment\n\n+::::::\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(entry(text, |f| f[2] == "1000").unwrap().0, "anna");
    }
}
