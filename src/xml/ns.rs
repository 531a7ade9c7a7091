//! Namespaces, one constant each. Names follow the specification's common name.

/// Bound to the prefix `xml` (XML Namespaces 1.0 §3).
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// Bound to the prefix `xmlns`, which nobody may declare.
pub const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

// RFC 6120: streams
pub const STREAMS: &str = "http://etherx.jabber.org/streams";
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
pub const CLIENT: &str = "jabber:client";
pub const SERVER: &str = "jabber:server";
pub const COMPONENT: &str = "jabber:component:accept";
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
pub const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// RFC 7395: framing over WebSocket.
pub const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";

// RFC 6121: instant messaging
/// RFC 3921 §3, kept for old clients.
pub const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
pub const ROSTER: &str = "jabber:iq:roster";
/// XEP-0237, now RFC 6121 §2.6.
pub const ROSTER_VERSIONING: &str = "urn:xmpp:features:rosterver";
pub const PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";

// Streams beyond the RFCs
/// XEP-0077: as a stream feature.
pub const REGISTER_FEATURE: &str = "http://jabber.org/features/iq-register";
/// XEP-0124 and XEP-0206.
pub const BOSH: &str = "http://jabber.org/protocol/httpbind";
pub const XBOSH: &str = "urn:xmpp:xbosh";
/// XEP-0198.
pub const SM3: &str = "urn:xmpp:sm:3";
/// XEP-0220.
pub const DIALBACK: &str = "jabber:server:dialback";
pub const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// XEP-0288.
pub const BIDI: &str = "urn:xmpp:bidi";
pub const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// XEP-0352.
pub const CSI: &str = "urn:xmpp:csi:0";
/// XEP-0386.
pub const BIND2: &str = "urn:xmpp:bind:0";
/// XEP-0388.
pub const SASL2: &str = "urn:xmpp:sasl:2";
/// XEP-0440.
pub const CHANNEL_BINDING: &str = "urn:xmpp:sasl-cb:0";
/// XEP-0474.
pub const DOWNGRADE: &str = "urn:xmpp:ssdp:0";
/// XEP-0478.
pub const STREAM_LIMITS: &str = "urn:xmpp:stream-limits:0";
/// XEP-0480.
pub const UPGRADE: &str = "urn:xmpp:sasl:upgrade:0";
pub const UPGRADE_SCRAM: &str = "urn:xmpp:scram-upgrade:0";
/// XEP-0484.
pub const FAST: &str = "urn:xmpp:fast:0";
/// XEP-0494.
pub const CLIENT_ACCESS: &str = "urn:xmpp:cam:0";
/// Application-specific stream and stanza errors (XEP-0182).
pub const ERRORS: &str = "urn:xmpp:errors";

// Discovery
/// XEP-0030.
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// XEP-0115.
pub const CAPS: &str = "http://jabber.org/protocol/caps";
/// XEP-0390.
pub const CAPS2: &str = "urn:xmpp:caps";
pub const CAPS2_OPTIMIZE: &str = "urn:xmpp:caps:optimize";
/// XEP-0157: `FORM_TYPE` of contact addresses.
pub const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";
/// XEP-0215.
pub const EXTERNAL_SERVICES: &str = "urn:xmpp:extdisco:2";

// Words shared by other protocols
/// XEP-0004.
pub const DATA_FORMS: &str = "jabber:x:data";
/// XEP-0122.
pub const DATA_VALIDATE: &str = "http://jabber.org/protocol/xdata-validate";
/// XEP-0141.
pub const DATA_LAYOUT: &str = "http://jabber.org/protocol/xdata-layout";
/// XEP-0221.
pub const DATA_MEDIA: &str = "urn:xmpp:media-element";
/// XEP-0050.
pub const COMMANDS: &str = "http://jabber.org/protocol/commands";
/// XEP-0059.
pub const RSM: &str = "http://jabber.org/protocol/rsm";
/// XEP-0066.
pub const OOB: &str = "jabber:x:oob";
pub const OOB_IQ: &str = "jabber:iq:oob";
/// XEP-0131.
pub const SHIM: &str = "http://jabber.org/protocol/shim";
/// XEP-0203.
pub const DELAY: &str = "urn:xmpp:delay";
/// XEP-0231.
pub const BOB: &str = "urn:xmpp:bob";
/// XEP-0297.
pub const FORWARD: &str = "urn:xmpp:forward:0";
/// XEP-0300.
pub const HASHES: &str = "urn:xmpp:hashes:2";
/// XEP-0317.
pub const HATS: &str = "urn:xmpp:hats:0";
/// XEP-0334.
pub const HINTS: &str = "urn:xmpp:hints";
/// XEP-0359.
pub const SID: &str = "urn:xmpp:sid:0";
/// XEP-0446 and XEP-0447.
pub const FILE_METADATA: &str = "urn:xmpp:file:metadata:0";
pub const FILE_SHARING: &str = "urn:xmpp:sfs:0";

// An account
/// XEP-0012.
pub const LAST: &str = "jabber:iq:last";
/// XEP-0013.
pub const OFFLINE: &str = "http://jabber.org/protocol/offline";
/// XEP-0160: disco feature.
pub const MSGOFFLINE: &str = "msgoffline";
/// XEP-0048.
pub const BOOKMARKS: &str = "storage:bookmarks";
/// XEP-0402.
pub const BOOKMARKS2: &str = "urn:xmpp:bookmarks:1";
pub const BOOKMARKS2_COMPAT: &str = "urn:xmpp:bookmarks:1#compat";
pub const BOOKMARKS2_COMPAT_PEP: &str = "urn:xmpp:bookmarks:1#compat-pep";
/// XEP-0049.
pub const PRIVATE: &str = "jabber:iq:private";
/// XEP-0054.
// XEP-0227: portable exports
pub const PIE: &str = "urn:xmpp:pie:0";
pub const PIE_SCRAM: &str = "urn:xmpp:pie:0#scram";
pub const PIE_MAM: &str = "urn:xmpp:pie:0#mam";
pub const XINCLUDE: &str = "http://www.w3.org/2001/XInclude";
/// XEP-0016, read for what XEP-0191 can say as well.
pub const PRIVACY: &str = "jabber:iq:privacy";
pub const VCARD: &str = "vcard-temp";
/// XEP-0153.
pub const VCARD_UPDATE: &str = "vcard-temp:x:update";
/// XEP-0292.
pub const VCARD4: &str = "urn:ietf:params:xml:ns:vcard-4.0";
pub const VCARD4_NODE: &str = "urn:xmpp:vcard4";
/// XEP-0055.
pub const SEARCH: &str = "jabber:iq:search";
/// XEP-0077.
pub const REGISTER: &str = "jabber:iq:register";
/// `FORM_TYPE`s of XEP-0077 §14.3.
pub const REGISTER_CANCEL: &str = "jabber:iq:register:cancel";
pub const REGISTER_CHANGE_PASSWORD: &str = "jabber:iq:register:changepassword";
/// XEP-0084.
pub const AVATAR_DATA: &str = "urn:xmpp:avatar:data";
pub const AVATAR_METADATA: &str = "urn:xmpp:avatar:metadata";
pub const AVATAR_METADATA_NOTIFY: &str = "urn:xmpp:avatar:metadata+notify";
/// XEP-0398.
pub const AVATAR_CONVERSION: &str = "urn:xmpp:pep-vcard-conversion:0";
/// XEP-0092.
pub const VERSION: &str = "jabber:iq:version";
/// XEP-0144.
pub const ROSTER_EXCHANGE: &str = "http://jabber.org/protocol/rosterx";
/// XEP-0172.
pub const NICK: &str = "http://jabber.org/protocol/nick";
/// XEP-0191.
pub const BLOCKING: &str = "urn:xmpp:blocking";
pub const BLOCKING_ERRORS: &str = "urn:xmpp:blocking:errors";
/// XEP-0377.
pub const REPORTING: &str = "urn:xmpp:reporting:1";
pub const REPORTING_ABUSE: &str = "urn:xmpp:reporting:abuse";
pub const REPORTING_SPAM: &str = "urn:xmpp:reporting:spam";
/// XEP-0199.
pub const PING: &str = "urn:xmpp:ping";
/// XEP-0202.
pub const TIME: &str = "urn:xmpp:time";
/// XEP-0280.
pub const CARBONS: &str = "urn:xmpp:carbons:2";
pub const CARBONS_RULES: &str = "urn:xmpp:carbons:rules:0";
/// XEP-0283.
pub const MOVED: &str = "urn:xmpp:moved:1";
/// XEP-0313.
pub const MAM2: &str = "urn:xmpp:mam:2";
pub const MAM2_EXTENDED: &str = "urn:xmpp:mam:2#extended";
pub const MAM2_GROUPCHAT_FIELD: &str = "urn:xmpp:mam:2#groupchat-field";
/// XEP-0431.
pub const FULLTEXT: &str = "urn:xmpp:fulltext:0";
/// XEP-0357.
pub const PUSH0: &str = "urn:xmpp:push:0";
/// `FORM_TYPE` of a push notification's summary.
pub const PUSH_SUMMARY: &str = "urn:xmpp:push:summary";
/// XEP-0363.
pub const UPLOAD0: &str = "urn:xmpp:http:upload:0";
pub const UPLOAD_PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";
/// XEP-0379 and XEP-0401, XEP-0445.
pub const PRE_AUTH: &str = "urn:xmpp:pars:0";
pub const INVITE: &str = "urn:xmpp:invite";
pub const INVITE_COMMAND: &str = "urn:xmpp:invite#invite";
pub const CREATE_ACCOUNT_COMMAND: &str = "urn:xmpp:invite#create-account";
pub const IBR_TOKEN: &str = "urn:xmpp:ibr-token:0";
/// XEP-0065.
pub const BYTESTREAMS: &str = "http://jabber.org/protocol/bytestreams";
/// XEP-0490.
pub const DISPLAYED_SYNC: &str = "urn:xmpp:mds:displayed:0";
/// XEP-0355 and XEP-0356.
pub const DELEGATION: &str = "urn:xmpp:delegation:2";
pub const PRIVILEGE: &str = "urn:xmpp:privilege:2";

// Messages
/// XEP-0071.
pub const XHTML_IM: &str = "http://jabber.org/protocol/xhtml-im";
/// XEP-0085.
pub const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// XEP-0184.
pub const RECEIPTS: &str = "urn:xmpp:receipts";
/// XEP-0224.
pub const ATTENTION: &str = "urn:xmpp:attention:0";
/// XEP-0249.
pub const CONFERENCE: &str = "jabber:x:conference";
/// XEP-0308.
pub const CORRECT: &str = "urn:xmpp:message-correct:0";
/// XEP-0333.
pub const CHAT_MARKERS: &str = "urn:xmpp:chat-markers:0";
/// XEP-0353.
pub const JINGLE_MESSAGE: &str = "urn:xmpp:jingle-message:0";
/// XEP-0166.
pub const JINGLE: &str = "urn:xmpp:jingle:1";
/// XEP-0380.
pub const EME: &str = "urn:xmpp:eme:0";
/// XEP-0384 as deployed, and its present form.
pub const OMEMO_LEGACY: &str = "eu.siacs.conversations.axolotl";
pub const OMEMO2: &str = "urn:xmpp:omemo:2";
/// XEP-0373, and XEP-0027 before it.
pub const OPENPGP: &str = "urn:xmpp:openpgp:0";
pub const OPENPGP_LEGACY: &str = "jabber:x:encrypted";
/// XEP-0422.
pub const FASTEN: &str = "urn:xmpp:fasten:0";
/// XEP-0424.
pub const RETRACT: &str = "urn:xmpp:message-retract:1";
pub const RETRACT_TOMBSTONE: &str = "urn:xmpp:message-retract:1#tombstone";
/// XEP-0425.
pub const MODERATE: &str = "urn:xmpp:message-moderate:1";
/// XEP-0428.
pub const FALLBACK: &str = "urn:xmpp:fallback:0";
/// XEP-0444.
pub const REACTIONS: &str = "urn:xmpp:reactions:0";
/// XEP-0461.
pub const REPLY: &str = "urn:xmpp:reply:0";
/// XEP-0482.
pub const CALL_INVITES: &str = "urn:xmpp:call-invites:0";

// Rooms
/// XEP-0045.
pub const MUC: &str = "http://jabber.org/protocol/muc";
pub const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
pub const MUC_ADMIN: &str = "http://jabber.org/protocol/muc#admin";
pub const MUC_OWNER: &str = "http://jabber.org/protocol/muc#owner";
pub const MUC_UNIQUE: &str = "http://jabber.org/protocol/muc#unique";
pub const MUC_ROOM_INFO: &str = "http://jabber.org/protocol/muc#roominfo";
pub const MUC_ROOM_CONFIG: &str = "http://jabber.org/protocol/muc#roomconfig";
pub const MUC_REQUEST: &str = "http://jabber.org/protocol/muc#request";
pub const MUC_REGISTER: &str = "http://jabber.org/protocol/muc#register";
pub const MUC_STABLE_ID: &str = "http://jabber.org/protocol/muc#stable_id";
/// XEP-0410.
pub const MUC_SELF_PING: &str = "http://jabber.org/protocol/muc#self-ping-optimization";
/// XEP-0421.
pub const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";

// Publish-subscribe
/// XEP-0060.
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
pub const PUBSUB_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
pub const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
pub const PUBSUB_ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";
pub const PUBSUB_NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
pub const PUBSUB_PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
pub const PUBSUB_SUBSCRIBE_OPTIONS: &str = "http://jabber.org/protocol/pubsub#subscribe_options";
pub const PUBSUB_META_DATA: &str = "http://jabber.org/protocol/pubsub#meta-data";

/// XEP-0133: prefix of service administration's command nodes.
pub const ADMIN: &str = "http://jabber.org/protocol/admin";
