//! Old values as YAML again, for the comments that keep them. Secrets stay out.

use super::yaml::{Node, Value};

/// Ends of names whose values are nobody's business.
const SECRET: &[&str] = &["password", "secret", "token", "passwd"];

/// `name: value`, line by line.
pub(super) fn lines(name: &str, value: &Node) -> Vec<String> {
    let mut lines = Vec::new();
    entry(name, value, 0, &mut lines);
    lines
}

fn entry(name: &str, value: &Node, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let secret = SECRET.iter().any(|word| name.to_lowercase().ends_with(word));
    match &value.value {
        Value::Scalar { .. } if secret => lines.push(format!("{indent}{name}: ***")),
        Value::Scalar { .. } if value.is_null() => lines.push(format!("{indent}{name}:")),
        Value::Scalar { text, plain } => scalar(&format!("{indent}{name}:"), text, *plain, lines),
        Value::List(list) if list.is_empty() => lines.push(format!("{indent}{name}: []")),
        Value::Map(entries) if entries.is_empty() => lines.push(format!("{indent}{name}: {{}}")),
        _ => {
            lines.push(format!("{indent}{name}:"));
            inner(value, depth + 1, lines);
        }
    }
}

fn inner(value: &Node, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match &value.value {
        Value::Scalar { text, plain } => scalar(&indent, text, *plain, lines),
        Value::Map(entries) => {
            for (key, value) in entries {
                entry(key.text().unwrap_or("?"), value, depth, lines);
            }
        }
        Value::List(list) => {
            for element in list {
                match &element.value {
                    Value::Scalar { text, plain } => {
                        scalar(&format!("{indent}-"), text, *plain, lines);
                    }
                    _ => {
                        let first = lines.len();
                        inner(element, depth + 1, lines);
                        if let Some(line) = lines.get_mut(first) {
                            line.replace_range(indent.len()..indent.len() + 1, "-");
                        }
                    }
                }
            }
        }
    }
}

fn scalar(before: &str, text: &str, plain: bool, lines: &mut Vec<String>) {
    let gap = if before.trim().is_empty() { "" } else { " " };
    if text.contains('\n') {
        lines.push(format!("{before}{gap}|"));
        let indent = " ".repeat(before.len() - before.trim_start().len() + 2);
        lines.extend(text.lines().map(|line| format!("{indent}{line}").trim_end().to_owned()));
    } else if plain {
        lines.push(format!("{before}{gap}{text}"));
    } else {
        lines.push(format!("{before}{gap}{text:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    #[test]
    fn values_come_back_without_secrets() {
        let text = "a: 1\nlist:\n  - x: 1\n    y: [p, \"q\"]\n  - plain\nbody: |\n  one\n  two\n\
                    sql_password: \"hunter2\"\nempty: {}\n";
        let root = parse(text, 0).unwrap();
        let shown: Vec<String> =
            root.entries().iter().flat_map(|(k, v)| lines(k.text().unwrap(), v)).collect();
        let shown = shown.join("\n") + "\n";
        assert!(!shown.contains("hunter2"), "{shown}");
        let again = parse(&shown.replace("***", "\"hunter2\""), 0)
            .unwrap_or_else(|p| panic!("{p}\n{shown}"));
        let again: Vec<String> =
            again.entries().iter().flat_map(|(k, v)| lines(k.text().unwrap(), v)).collect();
        assert_eq!(again.join("\n") + "\n", shown);
        assert!(shown.contains("    y:\n      - p\n      - \"q\"\n  - plain"), "{shown}");
    }
}
