//! Expected stanzas with holes, and how a stanza differs from what was expected.

use std::collections::HashMap;

use coucou::xml::Element;

/// Text that stands for whatever else an element contains.
const MORE: &str = "{...}";

/// What was captured by name.
#[derive(Clone)]
pub struct Holes(HashMap<String, String>);

impl Holes {
    pub fn new() -> Holes {
        Holes(HashMap::new())
    }

    /// `text` with captured values in their places.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("  a { without }")?;
            let value = self.0.get(name).ok_or_else(|| format!("  nothing filled {{{name}}}"))?;
            filled += before;
            filled += value;
            rest = after;
        }
        Ok(filled + rest)
    }

    /// Whether `got` has the form of `pattern`; captures.
    fn matches(&mut self, pattern: &str, got: &str) -> bool {
        let (mut pattern, mut rest) = (pattern, got);
        while let Some((literal, after)) = pattern.split_once('{') {
            let Some(behind) = rest.strip_prefix(literal) else { return false };
            let Some((name, after)) = after.split_once('}') else { return false };
            let stop = after.split('{').next().unwrap_or_default();
            let end = if stop.is_empty() { Some(behind.len()) } else { behind.find(stop) };
            let Some(end) = end else { return false };
            let value = &behind[..end];
            if !name.is_empty() && self.0.entry(name.to_owned()).or_insert(value.into()) != value {
                return false;
            }
            (pattern, rest) = (after, &behind[end..]);
        }
        pattern == rest
    }
}

/// What is wrong with `got`, at the first place where something is.
pub fn difference(pattern: &Element, got: &Element, holes: &mut Holes) -> Option<String> {
    let name = pattern.name();
    if (name, pattern.ns()) != (got.name(), got.ns()) {
        let (found, found_ns) = (got.name(), got.ns());
        return Some(format!("<{name} xmlns='{}'> is <{found} xmlns='{found_ns}'>", pattern.ns()));
    }
    for (attribute, wanted) in pattern.attributes() {
        match got.get(attribute) {
            None => return Some(format!("<{name}> has no attribute {attribute}")),
            Some(found) if !holes.matches(wanted, found) => {
                let wanted = holes.fill(wanted).unwrap_or_else(|_| wanted.to_owned());
                return Some(format!("<{name} {attribute}> is '{found}', not '{wanted}'"));
            }
            Some(_) => {}
        }
    }
    if let Some((extra, value)) = got.attributes().find(|(a, _)| pattern.get(a).is_none()) {
        return Some(format!("<{name}> has also {extra}='{value}'"));
    }
    let text = pattern.text();
    let open = text.contains(MORE);
    let text = text.replace(MORE, "");
    let text = text.trim();
    let is_layout = open && text.is_empty();
    if !is_layout && !holes.matches(text, &got.text()) {
        return Some(format!("the text of <{name}> is '{}', not '{text}'", got.text()));
    }
    let mut found = got.children();
    for child in pattern.children() {
        // Where more is allowed, what is expected may stand anywhere behind the last that was.
        let fits = |f: &&Element| difference(child, f, &mut holes.clone()).is_none();
        let next = if open { found.find(fits) } else { found.next() };
        match next {
            None => return Some(format!("<{name}> has no further {}", child.to_xml(pattern.ns()))),
            Some(next) => {
                if let Some(why) = difference(child, next, holes) {
                    return Some(why);
                }
            }
        }
    }
    match found.next() {
        Some(extra) if !open => Some(format!("<{name}> has also <{}>", extra.name())),
        _ => None,
    }
}
