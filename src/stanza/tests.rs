use super::*;
use crate::jid::Jid;
use crate::xml::framer::{Frame, Framer, Limits};

const MESSAGE: &str = "<message from='juliet@im.example.com/balcony' to='romeo@example.net' \
    type='chat' id='ktx72v49' xml:lang='en'><body>Art thou not Romeo, and a Montague?</body>\
    <request xmlns='urn:xmpp:receipts'/><active xmlns='http://jabber.org/protocol/chatstates'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='de305d54-75b4-431b-adb2-eb6b9e546013'/>\
    <markable xmlns='urn:xmpp:chat-markers:0'/></message>";

fn parse(xml: &str) -> Stanza {
    Stanza::parse(xml.as_bytes()).unwrap_or_else(|error| panic!("{xml}: {error}"))
}

fn written(stanza: &Stanza) -> String {
    let mut out = Vec::new();
    stanza.write(&mut out);
    String::from_utf8(out).unwrap()
}

/// Frames `stanza` on a stream with this header and reads it.
fn on_stream(header: &str, stanza: &str) -> Result<Stanza, StanzaParseError> {
    let mut framer = Framer::new(Limits::default());
    let header =
        format!("<stream:stream xmlns:stream='http://etherx.jabber.org/streams' {header}>");
    assert!(matches!(framer.next(header.as_bytes()), Ok(Some(Frame::Header { .. }))));
    match framer.next(stanza.as_bytes()) {
        Ok(Some(Frame::Element { len })) if len == stanza.len() => {}
        other => panic!("{stanza}: {other:?}"),
    }
    Stanza::from_frame(stanza.as_bytes(), &framer)
}

fn names(stanza: &Stanza) -> Vec<(&str, &str)> {
    stanza.children().map(|child| (child.name(), child.ns())).collect()
}

#[test]
fn a_message_is_read_without_touching_its_payload() {
    let stanza = parse(MESSAGE);
    let head = &stanza.head;
    assert_eq!(head.kind, Kind::Message);
    assert_eq!(head.from.as_ref().unwrap().as_str(), "juliet@im.example.com/balcony");
    assert_eq!(head.to.as_ref().unwrap().as_str(), "romeo@example.net");
    assert_eq!(head.typ, Some(Type::Chat));
    assert_eq!(head.id.as_deref(), Some("ktx72v49"));
    assert_eq!(head.lang.as_deref(), Some("en"));
    assert_eq!(
        names(&stanza),
        [
            ("body", ns::CLIENT),
            ("request", ns::RECEIPTS),
            ("active", ns::CHAT_STATES),
            ("origin-id", ns::SID),
            ("markable", ns::CHAT_MARKERS),
        ]
    );
    assert_eq!(stanza.body().as_deref(), Some("Art thou not Romeo, and a Montague?"));
    let origin = stanza.child("origin-id", ns::SID).unwrap();
    assert_eq!(origin.get("id").as_deref(), Some("de305d54-75b4-431b-adb2-eb6b9e546013"));
    assert_eq!(origin.get("by"), None);
    assert_eq!(written(&stanza), MESSAGE);
    assert_eq!(stanza.wire_len(), MESSAGE.len());
    assert_eq!(on_stream("xmlns='jabber:client'", MESSAGE), Ok(stanza.clone()));
    assert_eq!(on_stream("xmlns='jabber:server'", MESSAGE), Ok(stanza));
}

#[test]
fn a_standalone_stanza_names_its_namespace() {
    let mut out = Vec::new();
    parse("<presence to='a@b'/>").write_standalone(&mut out);
    assert_eq!(out, b"<presence to='a@b' xmlns='jabber:client'/>");
    assert_eq!(parse(std::str::from_utf8(&out).unwrap()), parse("<presence to='a@b'/>"));
}

#[test]
fn payloads_that_lean_on_their_surroundings_are_made_to_stand_alone() {
    let server = "xmlns='jabber:server' xmlns:x='urn:x' xmlns:db='jabber:server:dialback'";
    let client = "xmlns='jabber:client' xmlns:x='urn:x'";
    for (header, stanza, expected) in [
        // A prefix of the stream header.
        (
            client,
            "<message><x:y x:a='1'/></message>",
            "<message><y xmlns='urn:x' xmlns:x='urn:x' x:a='1'/></message>",
        ),
        (
            client,
            "<message><b xmlns='urn:b'><x:y/></b></message>",
            "<message><b xmlns='urn:b'><y xmlns='urn:x'/></b></message>",
        ),
        (
            client,
            "<message><b xmlns='urn:b' x:a='1'/></message>",
            "<message><b xmlns='urn:b' xmlns:x='urn:x' x:a='1'/></message>",
        ),
        // A prefix of the stanza itself.
        (
            client,
            "<message xmlns:p='urn:p'><p:y/></message>",
            "<message><y xmlns='urn:p'/></message>",
        ),
        // A prefix of the child stays as it is.
        (
            client,
            "<message><p:y xmlns:p='urn:p'/></message>",
            "<message><p:y xmlns:p='urn:p'/></message>",
        ),
        // Prefixed stanzas.
        (
            client,
            "<c:message xmlns:c='jabber:client'><body/></c:message>",
            "<message><body/></message>",
        ),
        (
            client,
            "<c:message xmlns:c='jabber:client'><c:body/></c:message>",
            "<message><body/></message>",
        ),
        (
            client,
            "<c:message xmlns:c='jabber:client' xmlns='urn:d'><e/></c:message>",
            "<message><e xmlns='urn:d'/></message>",
        ),
        // The stanza's own namespace, repeated.
        (
            client,
            "<message><body xmlns='jabber:client'>x</body></message>",
            "<message><body>x</body></message>",
        ),
        (
            server,
            "<message><body xmlns='jabber:server'>x</body></message>",
            "<message><body>x</body></message>",
        ),
        (
            server,
            "<message xmlns='jabber:server'><body>x</body></message>",
            "<message><body>x</body></message>",
        ),
        (
            server,
            "<message><f xmlns='urn:f'><message xmlns='jabber:client'/></f></message>",
            "<message><f xmlns='urn:f'><message xmlns='jabber:client'/></f></message>",
        ),
        (
            server,
            "<message><body xmlns='jabber:client'>x</body></message>",
            "<message><body>x</body></message>",
        ),
        // Text beside the children.
        (
            client,
            "<message> <x:y/> a &lt; b </message>",
            "<message> <y xmlns='urn:x'/> a &lt; b </message>",
        ),
        // The stanza's attributes are ours to write.
        (client, "<message x:a='1' foo='2' id='&lt;&apos;'/>", "<message id='&lt;&apos;'/>"),
        (
            client,
            "<message xml:lang='de'><body xml:lang='en'/></message>",
            "<message xml:lang='de'><body xml:lang='en'/></message>",
        ),
    ] {
        let read = on_stream(header, stanza).unwrap_or_else(|error| panic!("{stanza}: {error}"));
        assert_eq!(written(&read), expected, "{stanza}");
        let again = parse(expected);
        assert_eq!(names(&read), names(&again), "{stanza}");
    }
}

#[test]
fn only_stanzas_of_the_stream_are_stanzas() {
    for (header, stanza) in [
        ("xmlns='jabber:client'", "<message xmlns='jabber:server'/>"),
        ("xmlns='jabber:server'", "<message xmlns='jabber:client'/>"),
        ("xmlns='jabber:client'", "<Message/>"),
        ("xmlns='jabber:client'", "<stream:message/>"),
        ("xmlns='jabber:client'", "<r xmlns='urn:xmpp:sm:3'/>"),
    ] {
        let error = on_stream(header, stanza).unwrap_err();
        assert_eq!(error.reason, Reason::NotAStanza, "{stanza}");
        assert_eq!(error.reply(), None);
        assert_eq!(
            error.stream_error().unwrap().condition,
            crate::xml::stream_error::StreamCondition::UnsupportedStanzaType
        );
    }
    // RFC 7395: no header, every stanza says where it belongs.
    let mut framer = Framer::without_header(Limits::default(), "");
    let stanza = b"<presence xmlns='jabber:client'><show>away</show></presence>";
    assert_eq!(framer.next(stanza), Ok(Some(Frame::Element { len: stanza.len() })));
    let stanza = Stanza::from_frame(stanza, &framer).unwrap();
    assert_eq!(stanza.show(), Some(presence::Show::Away));
}

#[test]
fn what_breaks_the_rules_of_stanzas_is_answered_if_it_may_be() {
    for (stanza, condition) in [
        ("<iq type='get'><q xmlns='q'/></iq>", Some("bad-request")),
        ("<iq id='1'><q xmlns='q'/></iq>", Some("bad-request")),
        ("<iq id='1' type='put'><q xmlns='q'/></iq>", Some("bad-request")),
        ("<iq id='1' type='get'/>", Some("bad-request")),
        ("<iq id='1' type='set'> text </iq>", Some("bad-request")),
        ("<iq id='1' type='get'><a xmlns='q'/><b xmlns='q'/></iq>", Some("bad-request")),
        ("<iq id='1' type='result'><a xmlns='q'/><b xmlns='q'/></iq>", None),
        ("<iq id='1' type='error' to='a b@c'/>", None),
        ("<presence type='here'/>", Some("bad-request")),
        ("<message to='a b@c' from='d@e'/>", Some("jid-malformed")),
        ("<message to=''/>", Some("jid-malformed")),
        ("<message from='@a'/>", Some("jid-malformed")),
        ("<message type='error' from='@a'/>", None),
        ("<presence type='unavailable' to='@a'/>", None),
    ] {
        let error = Stanza::parse(stanza.as_bytes()).unwrap_err();
        assert_eq!(error.stream_error(), None);
        let reply = error.reply();
        assert_eq!(reply.is_some(), condition.is_some(), "{stanza}");
        if let (Some(reply), Some(condition)) = (reply, condition) {
            assert_eq!(reply.error().unwrap().condition.name(), condition, "{stanza}");
            assert_eq!(reply.head.typ, Some(Type::Error));
            assert!(reply.error_reply(&Condition::Conflict.into()).is_none());
        }
    }
    let error = Stanza::parse(b"<message id='7' to='a b@c' from='d@e'/>").unwrap_err();
    assert_eq!(
        written(&error.reply().unwrap()),
        "<message to='d@e' type='error' id='7'><error type='modify'>\
         <jid-malformed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>the localpart of the \
         address contains ' ' (U+0020), which is not allowed there</text></error></message>"
    );
}

#[test]
fn types_belong_to_their_stanza() {
    assert_eq!(parse("<message type='groupchat'/>").head.typ, Some(Type::Groupchat));
    assert_eq!(parse("<message type='subscribe'/>").head.typ, Some(Type::Normal));
    assert_eq!(parse("<message/>").head.message_type(), Type::Normal);
    assert_eq!(parse("<presence type='subscribe'/>").head.typ, Some(Type::Subscribe));
    assert!(Stanza::parse(b"<presence type='chat'/>").is_err());
    assert!(Stanza::parse(b"<iq type='chat' id='1'><q xmlns='q'/></iq>").is_err());
    for kind in [Kind::Message, Kind::Presence, Kind::Iq] {
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
}

#[test]
fn children_come_and_go() {
    let stanza = parse("<message> <a xmlns='urn:a'/><body>x</body> <b xmlns='urn:b'/>t</message>");
    let without = stanza.without(|child| child.name() == "body");
    assert_eq!(written(&without), "<message> <a xmlns='urn:a'/> <b xmlns='urn:b'/>t</message>");
    let with = without.with(b"<c xmlns='urn:&amp;'/>").with_element(&Element::new("d", "urn:d"));
    assert_eq!(names(&with), [("a", "urn:a"), ("b", "urn:b"), ("c", "urn:&"), ("d", "urn:d")]);
    assert_eq!(with.child("d", "urn:d").unwrap().bytes(), b"<d xmlns='urn:d'/>");
    assert_eq!(with.child("d", "urn:d").unwrap().shared(), "<d xmlns='urn:d'/>");
    let none = with.without(|_| true);
    assert_eq!(written(&none), "<message>  t</message>");
    assert!(!with.has("c", "urn:c") && with.has("c", "urn:&") && with.has_ns("urn:d"));
    let untouched = stanza.without(|_| false);
    assert_eq!(untouched.payload().as_ptr(), stanza.payload().as_ptr());
    let other = stanza.with_head(Head::new(Kind::Message).with_id(Some("n")));
    assert_eq!(other.payload().as_ptr(), stanza.payload().as_ptr());
    assert_eq!(names(&other), names(&stanza));
}

#[test]
fn our_own_stanzas_are_indexed_as_if_they_had_been_read() {
    let stanza = Stanza::message(
        Type::Chat,
        None,
        Jid::parse("a@b").ok(),
        [
            Element::new("body", ns::CLIENT).with_text("<&>"),
            Element::new("x", "urn:'&").with(Element::new("y", "urn:y")),
            Element::new("z", "urn:z").attr("a", "1"),
        ],
    );
    let read = parse(&written(&stanza));
    assert_eq!(read, stanza);
    assert_eq!(names(&read), names(&stanza));
    let raw = Stanza::with_payload(stanza.head.clone(), stanza.payload().clone()).unwrap();
    assert_eq!(names(&raw), names(&stanza));
    assert!(Stanza::with_payload(stanza.head.clone(), "</x><x>".into()).is_err());
    assert!(Stanza::with_payload(stanza.head.clone(), "<a:b/>".into()).is_err());
}

#[test]
fn requests_are_answered() {
    let request =
        parse("<iq from='a@b/c' to='b' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>");
    let (typ, child) = request.request().unwrap();
    assert!(typ == Type::Get && child.is("ping", ns::PING));
    let result = request.result(None);
    assert_eq!(written(&result), "<iq from='b' to='a@b/c' type='result' id='1'/>");
    assert!(result.request().is_none() && result.is_response() && !request.is_response());
    let error = request.error_reply(&Condition::ServiceUnavailable.into()).unwrap();
    assert_eq!(
        written(&error),
        "<iq from='b' to='a@b/c' type='error' id='1'><error type='cancel'>\
         <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    );
    assert!(result.error_reply(&Condition::Conflict.into()).is_none());
}

#[test]
fn errors_are_read_as_written() {
    let message = parse("<message from='a@b' to='c@d' id='1'/>");
    for condition in Condition::ALL {
        assert_eq!(Condition::from_name(condition.name()), Some(condition));
        let error = StanzaError::new(condition)
            .with_type(ErrorType::Wait)
            .with_text("because <of> this")
            .with_app(Element::new("too-many", "urn:app"))
            .with_by(Jid::parse("d").unwrap());
        let reply = message.error_reply(&error).unwrap();
        assert_eq!(parse(&written(&reply)).error(), Some(error));
    }
    let gone = StanzaError::new(Condition::Gone).with_address("xmpp:new@example.com");
    let reply = message.error_reply(&gone).unwrap();
    assert_eq!(parse(&written(&reply)).error(), Some(gone));
    let strange = parse("<message type='error'><error><tea xmlns='urn:t'/></error></message>");
    assert_eq!(strange.error().unwrap().condition, Condition::UndefinedCondition);
    assert_eq!(parse("<message type='error'/>").error().unwrap().kind, ErrorType::Cancel);
    assert_eq!(message.error(), None);
}

#[test]
fn presence_tells_its_state() {
    let presence = parse(
        "<presence><show> xa </show><status>Zzz &amp;</status><priority> -1 </priority></presence>",
    );
    assert_eq!(presence.show(), Some(presence::Show::Xa));
    assert_eq!(presence.status().as_deref(), Some("Zzz &"));
    assert_eq!(presence.priority(), -1);
    assert_eq!(parse("<presence><priority>200</priority></presence>").priority(), 0);
    assert!(parse("<presence type='unsubscribed'/>").is_subscription());
    assert!(!parse("<presence type='probe'/>").is_subscription());
}

#[test]
fn subjects_change_only_without_body_and_thread() {
    assert!(parse("<message><subject/></message>").is_subject_change());
    assert!(!parse("<message><subject/><body/></message>").is_subject_change());
    assert!(!parse("<message><subject/><thread/></message>").is_subject_change());
}

#[test]
fn attributes_of_a_child_are_found_without_a_tree() {
    for (child, value) in [
        ("<a xmlns='urn:a' b='1'/>", Some("1")),
        ("<a xmlns='urn:a' c='b=\"2\"' b = \"'&lt;>\">t</a>", Some("'<>")),
        ("<a\nxmlns='urn:a'\n\tb='x\ny'\n/>", Some("x y")),
        ("<a xmlns='urn:a'><b b='1'/></a>", None),
        ("<a xmlns='urn:a/b'/>", None),
    ] {
        let stanza = parse(&format!("<message>{child}</message>"));
        let found = stanza.children().next().unwrap().get("b");
        assert_eq!(found.as_deref(), value, "{child}");
    }
}
