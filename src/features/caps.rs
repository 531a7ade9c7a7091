//! XEP-0115: Entity Capabilities (1.6.0) and XEP-0390: Entity Capabilities 2.0 (0.3.2): what a
//! host can do, as a hash in its stream features; and what others can do, by hashes we verified.
//!
//! Left out: SHA-3 (XEP-0390 asks for one hash function that everybody has; we send SHA-256),
//! caps optimisation and gratuitous capabilities.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::auth::hash::Hash;
use crate::config::model::HostConfig;
use crate::stanza::Stanza;
use crate::store::Store;
use crate::store::hot::HotMap;
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

use super::{Feature, Target, disco, on, stream_made, xep};

pub const FEATURE: Feature = Feature {
    xeps: &[xep(115, "1.6.0"), xep(390, "0.3.2")],
    disco: &[
        on(Target::Host, ns::CAPS),
        on(Target::Host, ns::CAPS2),
        on(Target::Account, ns::CAPS),
        on(Target::Account, ns::CAPS2),
    ],
    stream: &[stream_made(stream_features)],
    ..Feature::NONE
};

/// Names this program in XEP-0115; the version is in XEP-0092.
pub const NODE: &str = "urn:x-coucou:server";
/// Capabilities of clients that are remembered; their programs are fewer.
const KNOWN_MAX: usize = 4_096;
/// How long they are remembered unseen.
const KNOWN_FOR: Duration = Duration::from_secs(90 * 24 * 3_600);
/// Features of one client that are remembered.
const FEATURES_MAX: usize = 512;

/// The elements of a host's stream features, as XML text with their own `xmlns`.
fn stream_features(host: &HostConfig) -> String {
    let info = disco::host_info(host);
    let ver = ver(&info, Hash::Sha1).unwrap_or_default();
    let c = Element::new("c", ns::CAPS).attr("hash", "sha-1").attr("node", NODE).attr("ver", ver);
    let hash = hash2(&info, Hash::Sha256).unwrap_or_default();
    let hash = Element::new("hash", ns::HASHES).attr("algo", "sha-256").with_text(&hash);
    c.to_xml("") + &Element::new("c", ns::CAPS2).with(hash).to_xml("")
}

/// Is this the node under which the stream features tell to ask?
pub fn is_node_of(node: &str, info: &Element) -> bool {
    let after = |prefix: &str, mark: &str| node.strip_prefix(prefix)?.strip_prefix(mark);
    after(NODE, "#").is_some_and(|v| ver(info, Hash::Sha1).is_ok_and(|own| own == v))
        || after(ns::CAPS2, "#sha-256.")
            .is_some_and(|h| hash2(info, Hash::Sha256).is_ok_and(|own| own == h))
}

/// A disco#info answer for which no hash can be made, or none that could be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disco#info answer is ill-formed")]
pub struct IllFormed;

/// XEP-0115 §5.1, with the rules of §5.4 that make an answer ill-formed.
///
/// The method glues texts with `<`, so an answer that has one inside a text could be glued
/// otherwise to the same hash: ill-formed as well (§9.2 knows no other cure).
pub fn ver(info: &Element, hash: Hash) -> Result<String, IllFormed> {
    let mut identities: Vec<[&str; 4]> = of(info, "identity")
        .map(|i| ["category", "type", "xml:lang", "name"].map(|key| i.get(key).unwrap_or_default()))
        .collect();
    let mut features: Vec<&str> =
        of(info, "feature").map(|f| f.get("var").unwrap_or_default()).collect();
    identities.sort_unstable();
    features.sort_unstable();
    if has_twins(&identities) || has_twins(&features) {
        return Err(IllFormed);
    }
    let mut glue = Glue::default();
    for identity in &identities {
        // A slash inside category, type or language would move the borders.
        if identity[..3].iter().any(|part| part.contains('/')) {
            return Err(IllFormed);
        }
        glue.add(&identity.join("/"))?;
    }
    for feature in &features {
        glue.add(feature)?;
    }
    let mut forms: Vec<(String, &Element)> = Vec::new();
    for x in info.children().filter(|child| child.is("x", ns::DATA_FORMS)) {
        if let Some(form_type) = form_type(x)? {
            forms.push((form_type, x));
        }
    }
    forms.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    if forms.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(IllFormed);
    }
    for (form_type, x) in forms {
        glue.add(&form_type)?;
        let mut fields: Vec<(&str, Vec<String>)> =
            fields(x).filter(|(var, _)| *var != "FORM_TYPE").collect();
        fields.sort_unstable();
        for (var, values) in fields {
            glue.add(var)?;
            for value in values {
                glue.add(&value)?;
            }
        }
    }
    Ok(STANDARD.encode(hash.digest(&glue.0).expose()))
}

/// The string that XEP-0115 hashes.
#[derive(Default)]
struct Glue(Vec<u8>);

impl Glue {
    fn add(&mut self, text: &str) -> Result<(), IllFormed> {
        if text.contains('<') {
            return Err(IllFormed);
        }
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'<');
        Ok(())
    }
}

fn of<'e>(info: &'e Element, name: &'e str) -> impl Iterator<Item = &'e Element> {
    info.children().filter(move |child| child.is(name, ns::DISCO_INFO))
}

fn has_twins<T: PartialEq>(sorted: &[T]) -> bool {
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// Variables with their values, sorted.
fn fields(x: &Element) -> impl Iterator<Item = (&str, Vec<String>)> {
    x.children().filter(|child| child.is("field", ns::DATA_FORMS)).map(|field| {
        let values = field.children().filter(|child| child.is("value", ns::DATA_FORMS));
        let mut values: Vec<String> = values.map(Element::text).collect();
        values.sort_unstable();
        (field.get("var").unwrap_or_default(), values)
    })
}

/// The form's FORM_TYPE; `None` for a form that is to be ignored.
fn form_type(x: &Element) -> Result<Option<String>, IllFormed> {
    let field =
        x.children().find(|c| c.is("field", ns::DATA_FORMS) && c.get("var") == Some("FORM_TYPE"));
    let Some(field) = field.filter(|field| field.get("type") == Some("hidden")) else {
        return Ok(None);
    };
    let mut values: Vec<String> = field.children().map(Element::text).collect();
    values.dedup();
    match <[String; 1]>::try_from(values) {
        Ok([only]) => Ok(Some(only)),
        Err(_) => Err(IllFormed),
    }
}

/// XEP-0390 §4.1, hashed and in Base64.
pub fn hash2(info: &Element, hash: Hash) -> Result<String, IllFormed> {
    Ok(STANDARD.encode(hash.digest(&hash2_input(info)?).expose()))
}

fn hash2_input(info: &Element) -> Result<Vec<u8>, IllFormed> {
    let mut features: Vec<Vec<u8>> = Vec::new();
    let mut identities: Vec<Vec<u8>> = Vec::new();
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for child in info.children() {
        match (child.name(), child.ns()) {
            ("feature", ns::DISCO_INFO) => {
                features.push(closed([child.get("var").unwrap_or_default()], &[])?)
            }
            ("identity", ns::DISCO_INFO) => {
                let parts = ["category", "type", "xml:lang", "name"]
                    .map(|key| child.get(key).unwrap_or_default());
                identities.push(closed(parts, &[0x1e])?);
            }
            ("x", ns::DATA_FORMS) => forms.push(form_input(child)?),
            _ => return Err(IllFormed),
        }
    }
    let mut input = Vec::new();
    for mut part in [features, identities, forms] {
        part.sort_unstable();
        input.extend(part.into_iter().flatten());
        input.push(0x1c);
    }
    Ok(input)
}

fn form_input(x: &Element) -> Result<Vec<u8>, IllFormed> {
    let is_table = x.children().any(|child| matches!(child.name(), "reported" | "item"));
    if is_table || form_type(x)?.is_none() {
        return Err(IllFormed);
    }
    let mut parts = Vec::new();
    for (var, values) in fields(x) {
        let texts = std::iter::once(var).chain(values.iter().map(String::as_str));
        parts.push(closed(texts, &[0x1e])?);
    }
    parts.sort_unstable();
    parts.push(vec![0x1d]);
    Ok(parts.concat())
}

/// Texts, each closed by a unit separator, and then `end`. Separators are no XML characters, so no
/// text can hold one; checked all the same, since all rests on it.
fn closed<'t>(texts: impl IntoIterator<Item = &'t str>, end: &[u8]) -> Result<Vec<u8>, IllFormed> {
    let mut out = Vec::new();
    for text in texts {
        if text.bytes().any(|byte| matches!(byte, 0x1c..=0x1f)) {
            return Err(IllFormed);
        }
        out.extend_from_slice(text.as_bytes());
        out.push(0x1f);
    }
    out.extend_from_slice(end);
    Ok(out)
}

/// A hash that somebody sent with presence: the name of what it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// To be asked for with disco#info.
    pub node: String,
    form: Form,
    hash: Hash,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Caps1,
    Caps2,
}

impl Caps {
    /// Reads a presence; the newer form is preferred. `None` if there is no hash that we could
    /// verify.
    pub fn of(presence: &Stanza) -> Option<Caps> {
        Caps::of_caps2(presence).or_else(|| Caps::of_caps1(presence))
    }

    fn of_caps2(presence: &Stanza) -> Option<Caps> {
        let c = presence.child("c", ns::CAPS2)?.element().ok()?;
        let hashes = c.children().filter(|child| child.is("hash", ns::HASHES));
        let (algorithm, hash, value) = hashes
            .filter_map(|child| {
                let algorithm = child.get("algo")?;
                Some((algorithm.to_owned(), hash_named(algorithm)?, child.text()))
            })
            .next()?;
        let value = checked(&value, hash)?;
        Some(Caps {
            node: format!("{}#{algorithm}.{value}", ns::CAPS2),
            form: Form::Caps2,
            hash,
            value,
        })
    }

    fn of_caps1(presence: &Stanza) -> Option<Caps> {
        let c = presence.child("c", ns::CAPS)?.element().ok()?;
        let hash = hash_named(c.get("hash")?)?;
        let value = checked(c.get("ver")?, hash)?;
        Some(Caps { node: format!("{}#{value}", c.get("node")?), form: Form::Caps1, hash, value })
    }

    fn key(&self) -> String {
        format!("{:?} {} {}", self.form, self.hash.name(), self.value)
    }

    /// Does this disco#info answer hash to the name it came by?
    pub fn verifies(&self, info: &Element) -> bool {
        let own = match self.form {
            Form::Caps1 => ver(info, self.hash),
            Form::Caps2 => hash2(info, self.hash),
        };
        own.is_ok_and(|own| own == self.value)
    }
}

/// A hash value in its one spelling; `None` if it cannot be one.
fn checked(value: &str, hash: Hash) -> Option<String> {
    let bytes =
        STANDARD.decode(value.trim()).ok().filter(|bytes| bytes.len() == hash.output_len())?;
    Some(STANDARD.encode(bytes))
}

/// By its name in XEP-0300 and in XEP-0115.
fn hash_named(name: &str) -> Option<Hash> {
    match name {
        "sha-1" => Some(Hash::Sha1),
        "sha-256" => Some(Hash::Sha256),
        "sha-512" => Some(Hash::Sha512),
        _ => None,
    }
}

/// What the hashes we have seen stand for.
pub struct Known(HotMap<Vec<String>>);

impl Known {
    pub fn of(store: &Store) -> Known {
        Known(store.hot("caps", KNOWN_MAX))
    }

    /// The features behind `caps`, sorted; `None` if somebody has to be asked.
    pub fn features(&self, caps: &Caps, now: Now) -> Option<Vec<String>> {
        self.0.get(&caps.key(), now)
    }

    /// Remembers an answer for everybody who sends `caps`, if it proves to be what they mean.
    /// Returns its features either way: they hold for whoever answered.
    pub fn learn(&self, caps: &Caps, info: &Element, now: Now) -> Vec<String> {
        let mut features: Vec<String> = of(info, "feature")
            .filter_map(|f| f.get("var"))
            .take(FEATURES_MAX)
            .map(str::to_owned)
            .collect();
        features.sort_unstable();
        features.dedup();
        if caps.verifies(info) {
            self.0.put(&caps.key(), &features, now, KNOWN_FOR);
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(xml: &str) -> Element {
        Element::parse(xml.as_bytes(), ns::CLIENT).expect("XML")
    }

    const EXODUS: &str = "<query xmlns='http://jabber.org/protocol/disco#info' \
        node='http://code.google.com/p/exodus#QgayPKawpkPSDYmwT/WM94uAlu0='>\
        <identity category='client' name='Exodus 0.9.1' type='pc'/>\
        <feature var='http://jabber.org/protocol/caps'/>\
        <feature var='http://jabber.org/protocol/disco#info'/>\
        <feature var='http://jabber.org/protocol/disco#items'/>\
        <feature var='http://jabber.org/protocol/muc'/></query>";

    const PSI: &str = "<query xmlns='http://jabber.org/protocol/disco#info'>\
        <identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
        <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>\
        <feature var='http://jabber.org/protocol/caps'/>\
        <feature var='http://jabber.org/protocol/disco#info'/>\
        <feature var='http://jabber.org/protocol/disco#items'/>\
        <feature var='http://jabber.org/protocol/muc'/>\
        <x xmlns='jabber:x:data' type='result'>\
        <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
        <field var='ip_version' type='text-multi'><value>ipv4</value><value>ipv6</value></field>\
        <field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>\
        <field var='software'><value>Psi</value></field>\
        <field var='software_version'><value>0.11</value></field></x></query>";

    const BOMBUS: &str = "<query xmlns='http://jabber.org/protocol/disco#info'>\
        <identity category='client' name='BombusMod' type='mobile'/>\
        <feature var='http://jabber.org/protocol/si'/>\
        <feature var='http://jabber.org/protocol/bytestreams'/>\
        <feature var='http://jabber.org/protocol/chatstates'/>\
        <feature var='http://jabber.org/protocol/disco#info'/>\
        <feature var='http://jabber.org/protocol/disco#items'/>\
        <feature var='urn:xmpp:ping'/><feature var='jabber:iq:time'/>\
        <feature var='jabber:iq:privacy'/><feature var='jabber:iq:version'/>\
        <feature var='http://jabber.org/protocol/rosterx'/><feature var='urn:xmpp:time'/>\
        <feature var='jabber:x:oob'/><feature var='http://jabber.org/protocol/ibb'/>\
        <feature var='http://jabber.org/protocol/si/profile/file-transfer'/>\
        <feature var='urn:xmpp:receipts'/><feature var='jabber:iq:roster'/>\
        <feature var='jabber:iq:last'/></query>";

    #[test]
    fn the_examples_of_xep_0115_hash_as_printed() {
        assert_eq!(ver(&parse(EXODUS), Hash::Sha1).as_deref(), Ok("QgayPKawpkPSDYmwT/WM94uAlu0="));
        assert_eq!(ver(&parse(PSI), Hash::Sha1).as_deref(), Ok("q07IKJEyjvHSyhy//CH0CxmKi8w="));
    }

    #[test]
    fn the_simple_example_of_xep_0390_hashes_as_printed() {
        let hash = hash2(&parse(BOMBUS), Hash::Sha256);
        assert_eq!(hash.as_deref(), Ok("kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8="));
    }

    /// The input of the complex example, but for its features, in the notation of its hexdump.
    #[test]
    fn the_parts_of_xep_0390_are_joined_as_printed() {
        let info = "<query xmlns='http://jabber.org/protocol/disco#info'>\
            <identity category='client' name='Tkabber' type='pc' xml:lang='en'/>\
            <identity category='client' name='Ткаббер' type='pc' xml:lang='ru'/>\
            <x xmlns='jabber:x:data' type='result'>\
            <field type='hidden' var='FORM_TYPE'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
            <field var='software'><value>Tkabber</value></field>\
            <field var='os'><value>Windows</value></field></x></query>";
        let input = hash2_input(&parse(info)).expect("well-formed");
        assert_eq!(
            String::from_utf8(input).as_deref(),
            Ok(
                "\x1cclient\x1fpc\x1fen\x1fTkabber\x1f\x1eclient\x1fpc\x1fru\x1fТкаббер\x1f\x1e\x1c\
                FORM_TYPE\x1furn:xmpp:dataforms:softwareinfo\x1f\x1eos\x1fWindows\x1f\x1e\
                software\x1fTkabber\x1f\x1e\x1d\x1c"
            )
        );
    }

    #[test]
    fn ill_formed_answers_have_no_hash() {
        let query = |inside: &str| {
            parse(&format!("<query xmlns='http://jabber.org/protocol/disco#info'>{inside}</query>"))
        };
        let form =
            |fields: &str| query(&format!("<x xmlns='jabber:x:data' type='result'>{fields}</x>"));
        let twins = "<feature var='a'/><feature var='a'/>";
        assert_eq!(ver(&query(twins), Hash::Sha1), Err(IllFormed));
        let twins =
            "<identity category='client' type='pc'/><identity category='client' type='pc'/>";
        assert_eq!(ver(&query(twins), Hash::Sha1), Err(IllFormed));
        let two_types =
            "<field var='FORM_TYPE' type='hidden'><value>a</value><value>b</value></field>";
        assert_eq!(ver(&form(two_types), Hash::Sha1), Err(IllFormed));
        assert_eq!(hash2(&form("<item/>"), Hash::Sha256), Err(IllFormed));
        assert_eq!(hash2(&form("<field var='a'/>"), Hash::Sha256), Err(IllFormed));
        assert_eq!(
            hash2(&query("<set xmlns='http://jabber.org/protocol/rsm'/>"), Hash::Sha256),
            Err(IllFormed)
        );
    }

    /// The attack of 2009: one text that reads as two, so that a client with the feature `b` and
    /// one with the feature `a<b` would share a hash.
    #[test]
    fn texts_that_hold_the_glue_are_refused() {
        let glued = "<query xmlns='http://jabber.org/protocol/disco#info'>\
            <identity category='client' type='pc' name='x&lt;http://jabber.org/protocol/muc'/></query>";
        assert_eq!(ver(&parse(glued), Hash::Sha1), Err(IllFormed));
    }

    fn presence(c: &str) -> Stanza {
        Stanza::parse(
            format!("<presence from='romeo@montague.lit/orchard'>{c}</presence>").as_bytes(),
        )
        .expect("a stanza")
    }

    #[test]
    fn presence_names_what_to_ask_for() {
        let caps = Caps::of(&presence(
            "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://code.google.com/p/exodus' \
             ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>",
        ))
        .expect("caps");
        assert_eq!(caps.node, "http://code.google.com/p/exodus#QgayPKawpkPSDYmwT/WM94uAlu0=");
        assert!(caps.verifies(&parse(EXODUS)) && !caps.verifies(&parse(PSI)));

        let caps = Caps::of(&presence(
            "<c xmlns='urn:xmpp:caps'><hash xmlns='urn:xmpp:hashes:2' algo='sha3-256'>79mdYAfU9rEdTOcWDO7UEAt6E56SUzk/g6TnqUeuD9Q=</hash>\
             <hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8=</hash></c>",
        ))
        .expect("caps");
        assert_eq!(caps.node, "urn:xmpp:caps#sha-256.kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8=");
        assert!(caps.verifies(&parse(BOMBUS)));
    }

    #[tokio::test]
    async fn an_answer_is_remembered_for_all_only_if_it_proves_itself() {
        let world = crate::testing::World::new();
        let known = Known::of(&world.router.store);
        let caps = Caps::of(&presence(
            "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='x' \
             ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>",
        ))
        .expect("caps");
        let poison = known.learn(&caps, &parse(PSI), world.now());
        assert!(!poison.is_empty(), "it holds for whoever answered");
        assert_eq!(known.features(&caps, world.now()), None);
        let features = known.learn(&caps, &parse(EXODUS), world.now());
        assert_eq!(known.features(&caps, world.now()), Some(features));
    }

    #[test]
    fn what_cannot_be_verified_is_no_hash() {
        for c in [
            "<c xmlns='http://jabber.org/protocol/caps' node='http://psi-im.org' ver='0.11'/>",
            "<c xmlns='http://jabber.org/protocol/caps' hash='md5' node='x' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>",
            "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='x' ver='short'/>",
            "<c xmlns='urn:xmpp:caps'/>",
        ] {
            assert_eq!(Caps::of(&presence(c)), None, "{c}");
        }
    }
}
