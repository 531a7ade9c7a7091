//! Names of accounts that look alike, and names that only operators hand out.

use unicode_security::confusable_detection::skeleton as confusable;

/// The names that belong to those who run a service, by RFC 2142 or by custom: whoever had one
/// could speak for the server.
pub const RESERVED: &[&str] = &[
    "abuse",
    "accounts",
    "admin",
    "administration",
    "administrator",
    "all",
    "anonymous",
    "billing",
    "bot",
    "contact",
    "coucou",
    "daemon",
    "everybody",
    "everyone",
    "ftp",
    "help",
    "helpdesk",
    "hostmaster",
    "info",
    "mail",
    "mailerdaemon",
    "marketing",
    "moderator",
    "news",
    "nobody",
    "noc",
    "noreply",
    "official",
    "operator",
    "owner",
    "postmaster",
    "registrar",
    "registration",
    "root",
    "sales",
    "security",
    "server",
    "service",
    "staff",
    "status",
    "support",
    "sysadmin",
    "system",
    "undisclosed",
    "usenet",
    "uucp",
    "webmaster",
    "www",
    "xmpp",
];

/// Changes when [`skeleton`] gives other results: stored ones are made anew then.
pub const SKELETON_VERSION: i64 = 1;

/// What a name looks like: names with the same skeleton are hard to tell apart (Unicode Technical
/// Standard 39, §4).
pub fn skeleton(name: &str) -> String {
    // The tables give capitals for some digits, as O for 0.
    confusable(&name.to_lowercase()).flat_map(char::to_lowercase).collect()
}

/// The reserved name that `name` looks like, if there is one. Dots and dashes do not help, nor do
/// letters of other alphabets or digits for letters.
pub fn reserved(name: &str) -> Option<&'static str> {
    let seen = without_disguise(name);
    RESERVED.iter().copied().find(|reserved| without_disguise(reserved) == seen)
}

fn without_disguise(name: &str) -> String {
    let letter = |c: char| match c {
        // 1, l and | have become l already.
        'l' | 'i' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    };
    let bare: String = name.chars().filter(|c| !matches!(c, '.' | '-' | '_' | '+' | '~')).collect();
    skeleton(&bare).chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        for (one, other) in [
            ("paypal", "раураl"), // Cyrillic р, а, у
            ("anna", "аnnа"),
            ("bob", "b0b"),
            ("marco", "rnarco"),
            ("paul", "pau1"),
            ("ﬁona", "fiona"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one} {other}");
        }
        for (one, other) in [("anna", "hanna"), ("ann.a", "anna"), ("user1", "user2")] {
            assert_ne!(skeleton(one), skeleton(other), "{one} {other}");
        }
    }

    #[test]
    fn reserved_names_are_known_in_disguise_and_others_are_left_alone() {
        for (name, of) in [
            ("admin", "admin"),
            ("Admin", "admin"),
            ("a.d.m.i.n", "admin"),
            ("adm1n", "admin"),
            ("аdmin", "admin"), // Cyrillic а
            ("no-reply", "noreply"),
            ("no_reply", "noreply"),
            ("r00t", "root"),
            ("p0stmaster", "postmaster"),
            ("4buse", "abuse"),
        ] {
            assert_eq!(reserved(name), Some(of), "{name}");
        }
        for name in ["technicienne", "camail", "admina", "roots", "anna", "admin2", "helper"] {
            assert_eq!(reserved(name), None, "{name}");
        }
    }

    #[test]
    fn the_reserved_names_are_distinct_even_in_disguise() {
        let mut seen: Vec<String> = RESERVED.iter().map(|name| without_disguise(name)).collect();
        seen.sort();
        let before = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), before);
        assert!(RESERVED.is_sorted());
    }
}
