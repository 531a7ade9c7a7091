//! A small owned tree, for those who need more than an outline.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, PrefixDeclaration, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

use super::fault::XmlError;
use super::framer::{self, Limits};
use super::scope::Scope;
use super::{ns, write};

/// An element with its namespace resolved: prefixes are gone, but for those of attributes.
///
/// Built by chaining:
///
/// ```
/// use coucou::xml::Element;
///
/// let ping = Element::new("iq", "jabber:client")
///     .attr("type", "get")
///     .with(Element::new("ping", "urn:xmpp:ping"));
/// assert_eq!(ping.to_xml("jabber:client"), "<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Element {
    name: Box<str>,
    /// Shared with the parent when it is the same.
    ns: Arc<str>,
    attributes: Vec<Attribute>,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    /// With its prefix.
    name: Box<str>,
    /// Of prefixed attributes other than `xml:…`.
    ns: Option<Box<str>>,
    value: String,
}

/// What an element contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    /// An empty element. The name is written as it is: no prefix, valid as an XML name.
    pub fn new(name: &str, ns: &str) -> Element {
        debug_assert!(super::chars::is_ncname(name), "{name:?} is not a name");
        Element { name: name.into(), ns: ns.into(), attributes: Vec::new(), nodes: Vec::new() }
    }

    /// With an attribute, by its qualified name (`id`, `xml:lang`).
    #[must_use]
    pub fn attr(mut self, name: &str, value: impl AsRef<str>) -> Element {
        self.set(name, value.as_ref());
        self
    }

    /// With an attribute if there is a value.
    #[must_use]
    pub fn attr_opt(self, name: &str, value: Option<impl AsRef<str>>) -> Element {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// With a child.
    #[must_use]
    pub fn with(mut self, child: Element) -> Element {
        self.push(child);
        self
    }

    /// With each of some children.
    #[must_use]
    pub fn with_all(mut self, children: impl IntoIterator<Item = Element>) -> Element {
        children.into_iter().for_each(|child| self.push(child));
        self
    }

    /// With text behind what it has.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Element {
        self.push_text(text);
        self
    }

    /// Local name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn ns(&self) -> &str {
        &self.ns
    }

    pub fn is(&self, name: &str, ns: &str) -> bool {
        &*self.name == name && &*self.ns == ns
    }

    /// The value of an attribute, by its qualified name.
    pub fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.iter().find(|a| &*a.name == attribute).map(|a| a.value.as_str())
    }

    /// Sets or replaces an attribute.
    pub fn set(&mut self, attribute: &str, value: &str) {
        match self.attributes.iter_mut().find(|a| &*a.name == attribute) {
            Some(found) => value.clone_into(&mut found.value),
            None => self.attributes.push(Attribute {
                name: attribute.into(),
                ns: None,
                value: value.to_owned(),
            }),
        }
    }

    /// Removes an attribute; whether there was one.
    pub fn unset(&mut self, attribute: &str) -> bool {
        let before = self.attributes.len();
        self.attributes.retain(|a| &*a.name != attribute);
        self.attributes.len() < before
    }

    /// Qualified names and values.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|a| (&*a.name, a.value.as_str()))
    }

    /// The first child of a name.
    pub fn child(&self, name: &str, ns: &str) -> Option<&Element> {
        self.children().find(|child| child.is(name, ns))
    }

    /// The text of the first child of a name.
    pub fn child_text(&self, name: &str, ns: &str) -> Option<String> {
        self.child(name, ns).map(Element::text)
    }

    pub fn child_mut(&mut self, name: &str, ns: &str) -> Option<&mut Element> {
        self.children_mut().find(|child| child.is(name, ns))
    }

    pub fn children(&self) -> impl Iterator<Item = &Element> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(child) => Some(child),
            Node::Text(_) => None,
        })
    }

    pub fn children_mut(&mut self) -> impl Iterator<Item = &mut Element> {
        self.nodes.iter_mut().filter_map(|node| match node {
            Node::Element(child) => Some(child),
            Node::Text(_) => None,
        })
    }

    /// Children and text in their order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Children by value; text between them is dropped.
    pub fn into_children(self) -> impl Iterator<Item = Element> {
        self.nodes.into_iter().filter_map(|node| match node {
            Node::Element(child) => Some(child),
            Node::Text(_) => None,
        })
    }

    pub fn push(&mut self, child: Element) {
        self.nodes.push(Node::Element(child));
    }

    pub fn push_text(&mut self, text: &str) {
        match self.nodes.last_mut() {
            _ if text.is_empty() => {}
            Some(Node::Text(last)) => last.push_str(text),
            _ => self.nodes.push(Node::Text(text.to_owned())),
        }
    }

    /// Keeps the children that `keep` says yes to, and all text.
    pub fn retain(&mut self, keep: impl Fn(&Element) -> bool) {
        self.nodes.retain(|node| match node {
            Node::Element(child) => keep(child),
            Node::Text(_) => true,
        });
    }

    /// The text directly in it, without that of its children.
    pub fn text(&self) -> String {
        self.nodes
            .iter()
            .filter_map(|node| match node {
                Node::Text(text) => Some(text.as_str()),
                Node::Element(_) => None,
            })
            .collect()
    }

    /// Reads one element by the rules of streams. `default_ns` is in force where none is
    /// declared.
    ///
    /// # Errors
    /// The first rule that is broken; see [`framer::validate`].
    pub fn parse(bytes: &[u8], default_ns: &str) -> Result<Element, XmlError> {
        build(bytes, &Scope::with_default(default_ns), &Limits::STORED)
    }

    /// Writes it where `inherited_ns` is the default namespace; declares its own only if it is
    /// another.
    pub fn write(&self, out: &mut Vec<u8>, inherited_ns: &str) {
        out.push(b'<');
        out.extend_from_slice(self.name.as_bytes());
        if &*self.ns != inherited_ns {
            write::attribute(out, "xmlns", &self.ns);
        }
        for attribute in &self.attributes {
            if let (Some(ns), Some((prefix, _))) = (&attribute.ns, attribute.name.split_once(':'))
                && !self.declared_before(attribute, prefix)
            {
                write::attribute(out, &format!("xmlns:{prefix}"), ns);
            }
            write::attribute(out, &attribute.name, &attribute.value);
        }
        if self.nodes.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        self.write_content(out);
        out.extend_from_slice(b"</");
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'>');
    }

    /// Writes what is between its tags.
    pub fn write_content(&self, out: &mut Vec<u8>) {
        for node in &self.nodes {
            match node {
                Node::Element(child) => child.write(out, &self.ns),
                Node::Text(text) => write::text(out, text),
            }
        }
    }

    /// Whether an attribute in front of `attribute` has declared its prefix already.
    fn declared_before(&self, attribute: &Attribute, prefix: &str) -> bool {
        self.attributes
            .iter()
            .take_while(|other| !std::ptr::eq(*other, attribute))
            .any(|other| other.name.split_once(':').is_some_and(|(p, _)| p == prefix))
    }

    pub fn to_xml(&self, inherited_ns: &str) -> String {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out, inherited_ns);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Moves it, and the descendants that stand in the same namespace without a break, from one
    /// namespace to another: how the content of `jabber:server` becomes that of `jabber:client`.
    pub(crate) fn rename_ns(&mut self, from: &str, to: &Arc<str>) {
        if &*self.ns == from {
            self.ns = to.clone();
            self.children_mut().for_each(|child| child.rename_ns(from, to));
        }
    }
}

/// The XML of the element, its namespace declared.
impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_xml(""))
    }
}

/// Reads a tree. Our scanner says whether the bytes are allowed; quick-xml, which forgives more,
/// reads only what has passed.
///
/// # Errors
/// The first rule that is broken.
pub(crate) fn build(bytes: &[u8], scope: &Scope, limits: &Limits) -> Result<Element, XmlError> {
    framer::scan_whole(bytes, scope, limits)?;
    // What was scanned whole is begun, ended and UTF-8; quick-xml has nothing to add to that.
    read(bytes, scope).ok_or(XmlError { fault: super::Fault::Incomplete, at: bytes.len() })
}

fn read(bytes: &[u8], scope: &Scope) -> Option<Element> {
    let mut reader = NsReader::from_str(std::str::from_utf8(bytes).ok()?);
    let bindings = reader.resolver_mut();
    let default_ns = as_written(scope.default_ns());
    bindings.add(PrefixDeclaration::Default, Namespace(&default_ns)).ok()?;
    for (prefix, ns) in scope.prefixes() {
        bindings.add(PrefixDeclaration::Named(prefix), Namespace(&as_written(ns))).ok()?;
    }
    // The scanner has bounded the depth.
    let mut open: Vec<Element> = Vec::new();
    loop {
        let done = match reader.read_event().ok()? {
            Event::Start(tag) => {
                open.push(begin(&tag, reader.resolver(), open.last())?);
                continue;
            }
            Event::Text(text) => {
                open.last_mut()?.push_text(&text.xml10_content());
                continue;
            }
            Event::CData(text) => {
                open.last_mut()?.push_text(&text.xml10_content());
                continue;
            }
            Event::GeneralRef(reference) => {
                let parent = open.last_mut()?;
                match reference.resolve_char_ref().ok()? {
                    Some(char) => parent.push_text(char.encode_utf8(&mut [0; 4])),
                    None => parent.push_text(resolve_xml_entity(&reference)?),
                }
                continue;
            }
            Event::Empty(tag) => begin(&tag, reader.resolver(), open.last())?,
            Event::End(_) => open.pop()?,
            // None of these passes the scanner.
            Event::Eof | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                return None;
            }
        };
        match open.last_mut() {
            Some(parent) => parent.push(done),
            None => return Some(done),
        }
    }
}

/// The element of a start tag, still empty.
pub(super) fn begin(
    tag: &BytesStart<'_>,
    bindings: &NamespaceResolver,
    parent: Option<&Element>,
) -> Option<Element> {
    let (ns, name) = bindings.resolve_element(tag.name());
    let ns = bound(ns)?;
    let ns = match parent {
        Some(parent) if *parent.ns == *ns => Arc::clone(&parent.ns),
        _ => (*ns).into(),
    };
    let mut attributes = Vec::new();
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.ok()?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let (ns, _) = bindings.resolve_attribute(attribute.key);
        let ns = bound(ns)?;
        attributes.push(Attribute {
            name: attribute.key.as_ref().into(),
            ns: (!ns.is_empty() && *ns != *ns::XML).then(|| (*ns).into()),
            value: attribute.normalized_value(XmlVersion::Explicit1_0).ok()?.into_owned(),
        });
    }
    Some(Element { name: name.into_inner().into(), ns, attributes, nodes: Vec::new() })
}

/// The text of a namespace. quick-xml keeps it as it is written in the declaration: references and
/// white space are ours to read, or tree and outline would differ.
fn bound(ns: ResolveResult<'_>) -> Option<Cow<'_, str>> {
    match ns {
        ResolveResult::Bound(Namespace(written)) => Some(write::read_value(written.as_bytes())),
        ResolveResult::Unbound => Some("".into()),
        ResolveResult::Unknown(_) => None,
    }
}

/// A namespace as [`bound`] will read it.
fn as_written(ns: &str) -> Cow<'_, str> {
    let mut out = Vec::with_capacity(ns.len());
    write::value(&mut out, ns);
    match out == ns.as_bytes() {
        true => ns.into(),
        false => String::from_utf8(out).unwrap_or_default().into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(xml: &str) -> String {
        Element::parse(xml.as_bytes(), ns::CLIENT).unwrap().to_xml(ns::CLIENT)
    }

    #[test]
    fn namespaces_are_declared_where_they_change() {
        for (xml, written) in [
            ("<a/>", "<a/>"),
            ("<a xmlns='jabber:client'/>", "<a/>"),
            ("<a xmlns=''><b/></a>", "<a xmlns=''><b/></a>"),
            ("<p:a xmlns:p='urn:p'><b/></p:a>", "<a xmlns='urn:p'><b xmlns='jabber:client'/></a>"),
            ("<a><b xmlns='urn:b'><c/></b></a>", "<a><b xmlns='urn:b'><c/></b></a>"),
            (
                "<a xmlns:p='urn:p' p:x='1' p:y='2' xml:lang='de' z='3'><p:b p:x='4'/></a>",
                "<a xmlns:p='urn:p' p:x='1' p:y='2' xml:lang='de' z='3'>\
                 <b xmlns='urn:p' xmlns:p='urn:p' p:x='4'/></a>",
            ),
            ("<a xmlns='urn:\tx'/>", "<a xmlns='urn: x'/>"),
            ("<p:a xmlns:p='u\n&#9;'/>", "<a xmlns='u &#9;'/>"),
            ("<a xmlns='urn:&amp;'/>", "<a xmlns='urn:&amp;'/>"),
        ] {
            assert_eq!(round_trip(xml), written);
            assert_eq!(round_trip(written), written);
        }
    }

    #[test]
    fn the_namespace_around_may_hold_anything() {
        let ns = "urn:a&b<'\t";
        let element = Element::parse(b"<a><b xmlns=''/></a>", ns).unwrap();
        assert_eq!(element.ns(), ns);
        assert_eq!(element.to_xml(ns), "<a><b xmlns=''/></a>");
    }

    #[test]
    fn text_is_what_the_markup_stands_for() {
        let xml = "<a>1 &lt; 2<b>not this</b> &amp;&#x20;<![CDATA[<raw> &amp;\r\n]]> \r\n</a>";
        let a = Element::parse(xml.as_bytes(), "").unwrap();
        assert_eq!(a.text(), "1 < 2 & <raw> &amp;\n \n");
        assert_eq!(a.child_text("b", "").as_deref(), Some("not this"));
        assert_eq!(Element::parse(a.to_xml("").as_bytes(), "").unwrap(), a);
    }

    #[test]
    fn a_tree_can_be_edited() {
        let mut a = Element::new("a", "urn:a")
            .attr("k", "1")
            .attr_opt("none", None::<&str>)
            .with_all([Element::new("b", "urn:a"), Element::new("c", "urn:c")])
            .with_text("x")
            .with_text("y");
        a.set("k", "2");
        a.retain(|child| !child.is("b", "urn:a"));
        assert!(a.unset("k") && !a.unset("k"));
        assert_eq!(a.to_xml(""), "<a xmlns='urn:a'><c xmlns='urn:c'/>xy</a>");
        a.child_mut("c", "urn:c").unwrap().set("v", "<'>");
        assert_eq!(a.child("c", "urn:c").unwrap().get("v"), Some("<'>"));
        assert_eq!(a.into_children().count(), 1);
    }

    #[test]
    fn a_namespace_is_renamed_down_to_the_first_break() {
        let xml = "<a xmlns='one'><b/><c xmlns='two'><d xmlns='one'/></c></a>";
        let mut a = Element::parse(xml.as_bytes(), "").unwrap();
        a.rename_ns("one", &"new".into());
        assert_eq!(a.to_xml(""), "<a xmlns='new'><b/><c xmlns='two'><d xmlns='one'/></c></a>");
    }

    #[test]
    fn errors_say_what_and_where() {
        let error = Element::parse(b"<a><b></a>", "").unwrap_err();
        assert_eq!(error.to_string(), "an end tag does not match its start tag (at byte 9)");
    }

    /// Trees of any shape, with text that XML can carry.
    fn trees() -> impl Strategy<Value = Element> {
        let ns = || prop_oneof![Just(""), Just("jabber:client"), Just("urn:a'&<\u{fc}")];
        let text = || "[\\PC\t\n\r<>&'\"\u{80}-\u{ff}\u{10000}]{0,8}";
        let attributes = proptest::collection::vec(("[a-z\u{e9}]{1,3}|xml:lang", text()), 0..4);
        let leaf = ("[a-zA-Z_\u{e9}][a-z0-9.-]{0,6}", ns(), attributes, text()).prop_map(
            |(name, ns, attributes, text)| {
                let mut element = Element::new(&name, ns).with_text(&text);
                attributes.iter().for_each(|(name, value)| element.set(name, value));
                element
            },
        );
        leaf.clone().prop_recursive(5, 40, 5, move |inner| {
            (leaf.clone(), proptest::collection::vec((inner, text()), 0..5)).prop_map(
                |(mut parent, children)| {
                    for (child, text) in children {
                        parent.push(child);
                        parent.push_text(&text);
                    }
                    parent
                },
            )
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tree in trees(), inherited in "|jabber:client|urn:x") {
            let mut out = Vec::new();
            tree.write(&mut out, &inherited);
            prop_assert_eq!(&Element::parse(&out, &inherited).unwrap(), &tree);
            let mut message = Element::new("message", ns::CLIENT);
            message.push(tree.clone());
            let stanza = crate::stanza::Stanza::parse(message.to_xml(ns::CLIENT).as_bytes()).unwrap();
            prop_assert_eq!(stanza.children().next().unwrap().element().unwrap(), tree);
        }
    }
}
