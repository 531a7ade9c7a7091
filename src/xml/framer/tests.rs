use super::*;
use crate::xml::stream_error::StreamCondition;

const HEADER: &str = "<?xml version='1.0'?><stream:stream to='example.com' version='1.0' \
    xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// What a stream of bytes was cut into, white space joined and left out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    headers: Vec<StreamHeader>,
    elements: Vec<String>,
    closed: bool,
    fault: Option<Fault>,
}

/// Feeds `bytes` as they would come in pieces that end at `cuts`.
fn feed(limits: Limits, bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Seen {
    let mut framer = Framer::new(limits);
    let mut seen = Seen::default();
    let mut start = 0;
    for cut in cuts.into_iter().chain([bytes.len()]) {
        loop {
            let buf = &bytes[start..cut.max(start)];
            match framer.next(buf) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    start += frame.len();
                    match frame {
                        Frame::Header { header, .. } => seen.headers.push(header),
                        Frame::Element { len } => {
                            let element = framer.element(&buf[..len]).unwrap();
                            let outline = framer.outline(&buf[..len]);
                            assert!(outline.is(element.name(), element.ns()));
                            assert!(outline.children().count() == element.children().count());
                            seen.elements.push(element.to_xml("jabber:client"));
                        }
                        Frame::Whitespace { .. } => {}
                        Frame::Close { .. } => seen.closed = true,
                    }
                }
                Err(error) => {
                    let fault = framer.fault().unwrap();
                    assert_eq!(error.condition, fault.condition());
                    assert_eq!(framer.next(buf), Err(error), "an error stays");
                    seen.fault = Some(fault);
                    return seen;
                }
            }
        }
    }
    seen
}

/// Whole, byte by byte and in pieces of some sizes: always the same is seen.
fn see(limits: Limits, bytes: &[u8]) -> Seen {
    let whole = feed(limits, bytes, []);
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(feed(limits, bytes, 0..bytes.len()), whole, "byte by byte: {text}");
    for size in [2, 3, 5, 7, 11, 64] {
        assert_eq!(feed(limits, bytes, (0..bytes.len()).step_by(size)), whole, "{size}: {text}");
    }
    whole
}

fn after_header(content: &[u8]) -> Vec<u8> {
    [HEADER.as_bytes(), content].concat()
}

#[test]
fn a_stream_is_cut_into_its_parts() {
    let seen = see(
        Limits::default(),
        &after_header(
            b"\n<presence/>\n \t<message to='a@b'><body>x</body></message><r xmlns='urn:xmpp:sm:3'/> \
              </stream:stream >\n",
        ),
    );
    let header = StreamHeader {
        to: Some("example.com".into()),
        version: Some("1.0".into()),
        lang: Some("en".into()),
        default_ns: "jabber:client".into(),
        prefixes: vec![("stream".into(), "http://etherx.jabber.org/streams".into())],
        ..StreamHeader::default()
    };
    assert_eq!(seen.headers, [header]);
    assert_eq!(
        seen.elements,
        ["<presence/>", "<message to='a@b'><body>x</body></message>", "<r xmlns='urn:xmpp:sm:3'/>"]
    );
    assert_eq!((seen.closed, seen.fault), (true, None));
}

#[test]
fn headers_are_read_in_every_legal_form() {
    for header in [
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "\r\n <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "<stream xmlns='http://etherx.jabber.org/streams'>",
        "<s:stream xmlns:s=\"http://etherx.jabber.org/streams\" xmlns='jabber:server'\n>",
        "<?xml version=\"1.0\" encoding='UTF-8' standalone='yes' ?>\n<s:stream xmlns:s='http://etherx.jabber.org/streams'>",
        "<?xml\nversion = '1.0'\tencoding=\"utf-8\"?><s:stream xmlns:s='http://etherx.jabber.org/streams'>",
        "<s:stream xmlns:s='http://etherx.jabber.org&#47;streams' to='&#x61;&amp;\t'>",
    ] {
        let seen = see(Limits::default(), header.as_bytes());
        assert_eq!((seen.headers.len(), seen.fault), (1, None), "{header}");
    }
}

#[test]
fn headers_that_are_none_are_refused() {
    for (header, fault) in [
        ("x", Fault::NotAStream),
        ("GET / HTTP/1.1\r\n", Fault::NotAStream),
        ("\u{feff}<stream:stream", Fault::NotAStream),
        ("<stream:stream xmlns='jabber:client'>", Fault::UnboundPrefix),
        ("<stream xmlns='jabber:client'>", Fault::NotTheStreamNamespace),
        ("<s:stream xmlns:s='http://etherx.jabber.org/streams/'>", Fault::NotTheStreamNamespace),
        ("<s:flow xmlns:s='http://etherx.jabber.org/streams'>", Fault::NotAStream),
        ("<s:stream xmlns:s='http://etherx.jabber.org/streams'/>", Fault::NotAStream),
        (
            "<s:stream to='a' to='b' xmlns:s='http://etherx.jabber.org/streams'>",
            Fault::DuplicateAttribute,
        ),
        ("</stream:stream>", Fault::TagMismatch),
        ("<?xml version='1.1'?>", Fault::BadDeclaration),
        ("<?xml version='1.0?>' ?>", Fault::BadDeclaration),
        ("<?xml?>", Fault::BadDeclaration),
        ("<?xml encoding='utf-8'?>", Fault::BadDeclaration),
        ("<?xml version='1.0'encoding='utf-8'?>", Fault::BadDeclaration),
        ("<?xml version='1.0' standalone='maybe'?>", Fault::BadDeclaration),
        ("<?xml version='1.0' more='x'?>", Fault::BadDeclaration),
        ("<?xml version='1.0' encoding='ISO-8859-1'?>", Fault::EncodingIsNotUtf8),
        ("<?xml version='1.0' encoding='UTF-16'?>", Fault::EncodingIsNotUtf8),
        ("<?php echo 1 ?>", Fault::ProcessingInstruction),
        ("<?xml-stylesheet href='x'?>", Fault::ProcessingInstruction),
        ("<?xml version='1.0'?><?xml version='1.0'?>", Fault::ProcessingInstruction),
        (" <?xml version='1.0'?>", Fault::ProcessingInstruction),
        ("<!DOCTYPE stream []>", Fault::DocumentType),
        ("<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY lol 'lol'>]>", Fault::DocumentType),
        ("<!-- hello -->", Fault::Comment),
        ("<![CDATA[x]]>", Fault::NotAStream),
    ] {
        let seen = see(Limits::default(), header.as_bytes());
        assert_eq!(seen.fault, Some(fault), "{header}");
        assert!(seen.headers.is_empty());
    }
}

#[test]
fn what_xml_allows_is_taken() {
    for (element, written) in [
        ("<a/>", "<a/>"),
        ("<a />", "<a/>"),
        ("<a\t\r\n></a\n>", "<a/>"),
        ("<a b='1' c = \"2\"\n d\t=\n'3'/>", "<a b='1' c='2' d='3'/>"),
        ("<a b='>' c='\"' d=\"'\"/>", "<a b='>' c='\"' d='&apos;'/>"),
        ("<a>&lt;&gt;&amp;&apos;&quot;</a>", "<a>&lt;&gt;&amp;'\"</a>"),
        ("<a>&#65;&#x41;&#x10FFFF;&#0000000065;</a>", "<a>AA\u{10ffff}A</a>"),
        ("<a>]] > ]]&gt; ]&#93;></a>", "<a>]] &gt; ]]&gt; ]]&gt;</a>"),
        ("<a><![CDATA[<b>&amp;]]]]><![CDATA[>]]></a>", "<a>&lt;b&gt;&amp;amp;]]&gt;</a>"),
        ("<a><![CDATA[]]></a>", "<a/>"),
        ("<\u{e9}l\u{e9}ment \u{3a9}-1='x'/>", "<\u{e9}l\u{e9}ment \u{3a9}-1='x'/>"),
        (
            "<a>\u{fc}\u{20ac}\u{1f469}\u{7f}\u{85}\u{fffd}</a>",
            "<a>\u{fc}\u{20ac}\u{1f469}\u{7f}\u{85}\u{fffd}</a>",
        ),
        ("<a xml:lang='de' xml:space='preserve'/>", "<a xml:lang='de' xml:space='preserve'/>"),
        ("<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>", "<a/>"),
        ("<stream:error/>", "<error xmlns='http://etherx.jabber.org/streams'/>"),
        (
            "<p:a xmlns:p='urn:p'><p:b xmlns:p='urn:q'/><p:c/></p:a>",
            "<a xmlns='urn:p'><b xmlns='urn:q'/><c/></a>",
        ),
        (
            "<a xmlns:p='urn:p' xmlns:q='urn:q' p:x='1' q:x='2' x='3'/>",
            "<a xmlns:p='urn:p' p:x='1' xmlns:q='urn:q' q:x='2' x='3'/>",
        ),
        ("<a xmlns=''/>", "<a xmlns=''/>"),
        ("<a xmlns='urn:&#x61;'><b xmlns='urn:a'/></a>", "<a xmlns='urn:a'><b/></a>"),
        ("<xmla/>", "<xmla/>"),
    ] {
        let seen = see(Limits::default(), &after_header(element.as_bytes()));
        assert_eq!((seen.elements, seen.fault), (vec![written.into()], None), "{element}");
    }
}

#[test]
fn what_is_not_allowed_is_refused_with_its_condition() {
    use StreamCondition::{BadFormat, NotWellFormed, RestrictedXml, UnsupportedEncoding};
    let cases: &[(&[u8], Fault, StreamCondition)] = &[
        // Restricted XML.
        (b"<!-- c -->", Fault::Comment, RestrictedXml),
        (b"<a><!-- c --></a>", Fault::Comment, RestrictedXml),
        (b"<?php ?>", Fault::ProcessingInstruction, RestrictedXml),
        (b"<a><?pi?></a>", Fault::ProcessingInstruction, RestrictedXml),
        (b"<?xml version='1.0'?>", Fault::ProcessingInstruction, RestrictedXml),
        (b"<!DOCTYPE a>", Fault::DocumentType, RestrictedXml),
        (b"<a><!ENTITY b 'c'></a>", Fault::DocumentType, RestrictedXml),
        (b"<a>&nbsp;</a>", Fault::EntityReference, RestrictedXml),
        (b"<a b='&lol9;'/>", Fault::EntityReference, RestrictedXml),
        (b"<a>&averyveryverylongname;</a>", Fault::EntityReference, RestrictedXml),
        // References.
        (b"<a>&</a>", Fault::BadReference, NotWellFormed),
        (b"<a>& </a>", Fault::BadReference, NotWellFormed),
        (b"<a>&;</a>", Fault::BadReference, NotWellFormed),
        (b"<a>&amp</a>", Fault::BadReference, NotWellFormed),
        (b"<a>&#;</a>", Fault::BadReference, NotWellFormed),
        (b"<a>&#0;</a>", Fault::BadReference, NotWellFormed),
        (b"<a>&#x1;</a>", Fault::BadReference, NotWellFormed),
        (b"<a>&#xD800;</a>", Fault::BadReference, NotWellFormed),
        (b"<a>&#xFFFE;</a>", Fault::BadReference, NotWellFormed),
        (b"<a>&#x110000;</a>", Fault::BadReference, NotWellFormed),
        (b"<a>&#X41;</a>", Fault::BadReference, NotWellFormed),
        (b"<a>&#a;</a>", Fault::BadReference, NotWellFormed),
        (b"<a>&#000000000000000000065;</a>", Fault::BadReference, NotWellFormed),
        // Characters.
        (b"<a>\x00</a>", Fault::ForbiddenCharacter, NotWellFormed),
        (b"<a>\x0b</a>", Fault::ForbiddenCharacter, NotWellFormed),
        (b"<a b='\x1f'/>", Fault::ForbiddenCharacter, NotWellFormed),
        (b"<a>\xef\xbf\xbe</a>", Fault::ForbiddenCharacter, NotWellFormed),
        (b"<a><![CDATA[\x01]]></a>", Fault::ForbiddenCharacter, NotWellFormed),
        (b"<a>\xff</a>", Fault::InvalidUtf8, UnsupportedEncoding),
        (b"<a>\xc0\x80</a>", Fault::InvalidUtf8, UnsupportedEncoding),
        (b"<a>\xed\xa0\x80</a>", Fault::InvalidUtf8, UnsupportedEncoding),
        (b"<a>\xf4\x90\x80\x80</a>", Fault::InvalidUtf8, UnsupportedEncoding),
        (b"<a b='\xe2\x82'/>", Fault::InvalidUtf8, UnsupportedEncoding),
        (b"<\xff/>", Fault::InvalidUtf8, UnsupportedEncoding),
        // Markup.
        (b"<a>]]></a>", Fault::CdataEndInText, NotWellFormed),
        (b"<a>x]]]></a>", Fault::CdataEndInText, NotWellFormed),
        (b"<a b='<'/>", Fault::LessThanInValue, NotWellFormed),
        (b"<a b/>", Fault::MissingEquals, NotWellFormed),
        (b"<a b=c/>", Fault::MissingQuote, NotWellFormed),
        (b"<a b='1'c='2'/>", Fault::MissingSpace, NotWellFormed),
        (b"<a b='1' b='2'/>", Fault::DuplicateAttribute, NotWellFormed),
        (b"<a / >", Fault::BadMarkup, NotWellFormed),
        (b"<a b='1' /c>", Fault::BadMarkup, NotWellFormed),
        (b"< a/>", Fault::BadName, NotWellFormed),
        (b"<>", Fault::BadName, NotWellFormed),
        (b"<1/>", Fault::BadName, NotWellFormed),
        (b"<-a/>", Fault::BadName, NotWellFormed),
        (b"<a 1='2'/>", Fault::BadName, NotWellFormed),
        (b"<a =''/>", Fault::BadName, NotWellFormed),
        (b"<a!/>", Fault::MissingSpace, NotWellFormed),
        ("<a\u{d7}/>".as_bytes(), Fault::BadName, NotWellFormed),
        (b"<a></b>", Fault::TagMismatch, NotWellFormed),
        (b"<a></A>", Fault::TagMismatch, NotWellFormed),
        (b"<a><b></a></b>", Fault::TagMismatch, NotWellFormed),
        (b"<a></a b='1'>", Fault::BadMarkup, NotWellFormed),
        (b"<a></ a>", Fault::BadName, NotWellFormed),
        (b"</a>", Fault::TagMismatch, NotWellFormed),
        (b"<a><![cdata[x]]></a>", Fault::BadMarkup, NotWellFormed),
        // Namespaces.
        (b"<p:a/>", Fault::UnboundPrefix, NotWellFormed),
        (b"<a p:b='1'/>", Fault::UnboundPrefix, NotWellFormed),
        (b"<a><b xmlns:p='urn:p'/><p:c/></a>", Fault::UnboundPrefix, NotWellFormed),
        (b"<p:a xmlns:p='urn:p'></a>", Fault::TagMismatch, NotWellFormed),
        (b"<:a/>", Fault::BadName, NotWellFormed),
        (b"<a:/>", Fault::BadName, NotWellFormed),
        (b"<a:b:c/>", Fault::BadName, NotWellFormed),
        (b"<a:1 xmlns:a='urn:a'/>", Fault::BadName, NotWellFormed),
        (b"<xmlns:a/>", Fault::UnboundPrefix, NotWellFormed),
        (b"<a xmlns:p=''/>", Fault::EmptyNamespace, NotWellFormed),
        (b"<a xmlns:xmlns='urn:x'/>", Fault::ReservedPrefix, NotWellFormed),
        (b"<a xmlns:xml='urn:x'/>", Fault::ReservedPrefix, NotWellFormed),
        (
            b"<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
            Fault::ReservedNamespace,
            NotWellFormed,
        ),
        (
            b"<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
            Fault::ReservedNamespace,
            NotWellFormed,
        ),
        (b"<a xmlns='http://www.w3.org/2000/xmlns/'/>", Fault::ReservedNamespace, NotWellFormed),
        (b"<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", Fault::DuplicateAttribute, NotWellFormed),
        (
            b"<a xmlns:p='u&amp;' xmlns:q='u&#38;' p:b='1' q:b='2'/>",
            Fault::DuplicateAttribute,
            NotWellFormed,
        ),
        (b"<a xmlns='u' xmlns='u'/>", Fault::DuplicateAttribute, NotWellFormed),
        // Shape.
        (b"hello", Fault::TextBetweenStanzas, BadFormat),
        (b"<a/>hello", Fault::TextBetweenStanzas, BadFormat),
        (b"&#32;", Fault::TextBetweenStanzas, BadFormat),
        (b"\x00", Fault::TextBetweenStanzas, BadFormat),
        (b"<![CDATA[x]]>", Fault::TextBetweenStanzas, BadFormat),
        (b"</stream:stream><a/>", Fault::AfterTheEnd, NotWellFormed),
    ];
    for &(content, fault, condition) in cases {
        let seen = see(Limits::default(), &after_header(content));
        assert_eq!(seen.fault, Some(fault), "{}", String::from_utf8_lossy(content));
        assert_eq!(fault.condition(), condition);
    }
}

#[test]
fn incomplete_documents_wait() {
    let whole = "<a b='x&amp;\u{fc}' xmlns:p='urn:p'>\u{1f469}&#65;<![CDATA[x]]><p:b/></a>";
    for len in 0..whole.len() {
        let seen = feed(Limits::default(), &after_header(&whole.as_bytes()[..len]), []);
        assert_eq!((seen.elements.len(), seen.fault), (0, None), "{len}");
    }
}

#[test]
fn limits_are_policy_violations_however_the_bytes_come() {
    let short_header = |content: &[u8]| {
        let header = "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams'>";
        [header.as_bytes(), content].concat()
    };
    let limits = Limits {
        element_bytes_max: 100,
        header_bytes_max: 180,
        depth_max: 3,
        attributes_max: 3,
        prefixes_max: 2,
        name_bytes_max: 8,
        children_max: 4,
    };
    let fits: &[&str] = &[
        "<a><b><c/></b></a>",
        "<a a='' b='' c=''/>",
        "<p:a xmlns:p='p' xmlns:q='q'><b xmlns='c'/></p:a>",
        "<abcdefgh abcdefgh=''/>",
        "<a><b/><b/><b/><b/></a>",
    ];
    for content in fits {
        let seen = see(limits, &short_header(content.as_bytes()));
        assert_eq!((seen.elements.len(), seen.fault), (1, None), "{content}");
    }
    let brim = format!("<a>{}</a>", "x".repeat(93));
    assert_eq!(see(limits, &short_header(brim.as_bytes())).elements, [brim.as_str()]);
    for (content, fault) in [
        ("<a><b><c><d/></c></b></a>", Fault::TooDeep),
        ("<a a='' b='' c='' d=''/>", Fault::TooManyAttributes),
        ("<a xmlns:p='p' xmlns:q='q'><b xmlns:r='r'/></a>", Fault::TooManyPrefixes),
        ("<abcdefghi/>", Fault::NameTooLong),
        ("<a abcdefghi=''/>", Fault::NameTooLong),
        ("<a><b/><b/><b/><b/><b/></a>", Fault::TooManyChildren),
        (&format!("<a>{}</a>", "x".repeat(94)), Fault::ElementTooLarge),
        (&format!("<a>{}", "x".repeat(98)), Fault::ElementTooLarge),
        (&format!("<a>{}", "\u{1f469}".repeat(98)), Fault::ElementTooLarge),
        (&format!("<{}", "x".repeat(101)), Fault::ElementTooLarge),
        (&format!("<a b='{}", "x".repeat(101)), Fault::ElementTooLarge),
        (&format!("<a {}", " ".repeat(101)), Fault::ElementTooLarge),
    ] {
        let seen = see(limits, &short_header(content.as_bytes()));
        assert_eq!(seen.fault, Some(fault), "{content}");
        assert_eq!(fault.condition(), StreamCondition::PolicyViolation);
    }
    // White space between elements is never part of one.
    let spaced = format!("{}<a/>{}<a/>", " ".repeat(150), "\n".repeat(150));
    assert_eq!(see(limits, &short_header(spaced.as_bytes())).elements.len(), 2);
    for header in ["<s:stream to='", " ", "<?xml "] {
        let long = format!("{header}{}", " ".repeat(200));
        assert_eq!(see(limits, long.as_bytes()).fault, Some(Fault::HeaderTooLarge));
    }
}

#[test]
fn limits_can_change_in_the_midst_of_an_element() {
    let mut framer = Framer::without_header(Limits::UNAUTHENTICATED, "jabber:client");
    let text = format!("<a>{}</a>", "x".repeat(20_000));
    assert_eq!(framer.next(&text.as_bytes()[..5000]), Ok(None));
    framer.set_limits(Limits::AUTHENTICATED);
    assert_eq!(framer.next(text.as_bytes()), Ok(Some(Frame::Element { len: text.len() })));
}

#[test]
fn a_reset_expects_a_new_header() {
    let mut framer = Framer::new(Limits::default());
    let header = HEADER.as_bytes();
    assert!(matches!(framer.next(header), Ok(Some(Frame::Header { .. }))));
    assert_eq!(framer.default_ns(), "jabber:client");
    assert_eq!(framer.next(b"<a>"), Ok(None));
    framer.reset();
    assert_eq!(framer.default_ns(), "");
    assert!(matches!(framer.next(header), Ok(Some(Frame::Header { .. }))));
    assert_eq!(framer.next(b"<a/>"), Ok(Some(Frame::Element { len: 4 })));
    assert_eq!(framer.next(header).map_err(|e| e.condition), Err(StreamCondition::RestrictedXml));
}

#[test]
fn outlines_say_what_a_tree_would() {
    let mut framer = Framer::new(Limits::default());
    let _ = framer.next(HEADER.as_bytes());
    let xml =
        b"<auth xmlns='urn:s' mechanism='A&amp;B' xml:lang='de'>text<x/><y xmlns='urn:y'/></auth>";
    assert_eq!(framer.next(xml), Ok(Some(Frame::Element { len: xml.len() })));
    let outline = framer.outline(xml);
    assert!(outline.is("auth", "urn:s") && !outline.is("auth", "urn:t"));
    assert_eq!(outline.attribute("mechanism").as_deref(), Some("A&B"));
    assert_eq!(outline.attribute("xmlns"), None);
    assert_eq!((&*outline.name(), &*outline.ns()), ("auth", "urn:s"));
    let namespaces: Vec<_> = outline.children().map(|child| child.ns).collect();
    assert!(matches!(namespaces[..], [ChildNs::Inherited, ChildNs::At(_)]));
    // Asking with other bytes gives nonsense, but no panic.
    for len in 0..xml.len() {
        let outline = framer.outline(&xml[..len]);
        let _ = (outline.name(), outline.ns(), outline.attributes().count());
        let _ = framer.element(&xml[..len]);
    }
    let before = Framer::new(Limits::default());
    let outline = before.outline(xml);
    assert!(!outline.is("auth", "urn:s") && !outline.stands_alone());
    assert_eq!(outline.children().count(), 0);
}

#[test]
fn an_idle_framer_is_small() {
    let mut framer = Framer::new(Limits::default());
    let _ = framer.next(HEADER.as_bytes());
    let _ = framer.next(b"<a/>");
    let _ = framer.next(b"");
    assert!(framer.scanner.outline().is_none(), "the work area is given back");
    assert!(size_of::<Framer>() <= 384, "{}", size_of::<Framer>());
}

#[test]
fn standalone_elements_are_validated_whole() {
    let limits = Limits::default();
    assert_eq!(validate(b" <a xmlns='urn:a'/>", "", &limits), Ok(()));
    for (xml, fault) in [
        ("", Fault::Incomplete),
        ("<a>", Fault::Incomplete),
        ("<a/> ", Fault::TrailingContent),
        ("<a/><b/>", Fault::TrailingContent),
        ("x<a/>", Fault::BadMarkup),
        ("</a>", Fault::TagMismatch),
        ("<?xml version='1.0'?><a/>", Fault::ProcessingInstruction),
    ] {
        assert_eq!(validate(xml.as_bytes(), "", &limits).map_err(|e| e.fault), Err(fault), "{xml}");
    }
    let huge = vec![b' '; limits.element_bytes_max + 1];
    let error = validate(&huge, "", &limits).unwrap_err();
    assert_eq!(error.fault, Fault::ElementTooLarge);
}

/// How long framing, indexing and reading take: `cargo test --release -- --ignored speed
/// --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let body = "Wherefore art thou, Romeo? Deny thy father and refuse thy name. ".repeat(2);
    let message = format!(
        "<message from='juliet@im.example.com/balcony' to='romeo@example.net' type='chat' \
         id='ktx72v49'><body>{}</body><request xmlns='urn:xmpp:receipts'/>\
         <active xmlns='http://jabber.org/protocol/chatstates'/>\
         <origin-id xmlns='urn:xmpp:sid:0' id='ktx72v49'/></message>",
        &body[..119]
    );
    assert_eq!(message.len(), 377);
    let message = message.as_bytes();
    let mut framer = Framer::without_header(Limits::default(), "jabber:client");
    let time = |what: &str, work: &mut dyn FnMut()| {
        let best = (0..7)
            .map(|_| {
                let start = std::time::Instant::now();
                (0..20_000).for_each(|_| work());
                start.elapsed().as_nanos() / 20_000
            })
            .min();
        println!("{what}: {} ns", best.unwrap_or_default());
    };
    time("frame and index", &mut || assert!(framer.next(message).is_ok_and(|f| f.is_some())));
    time("stanza from frame", &mut || {
        assert!(crate::stanza::Stanza::from_frame(message, &framer).is_ok());
    });
    let stanza = crate::stanza::Stanza::from_frame(message, &framer).unwrap();
    let mut out = Vec::with_capacity(1024);
    time("write stanza", &mut || {
        out.clear();
        stanza.write(&mut out);
    });
    time("parse element", &mut || assert!(Element::parse(message, "jabber:client").is_ok()));
    time("parse full JID", &mut || {
        assert!(crate::jid::Jid::parse("juliet@im.example.com/balcony").is_ok());
    });
}
