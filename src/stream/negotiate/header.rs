//! Stream headers (RFC 6120 §4.7).

use super::features::{self, Stage};
use super::{Cx, Open, SignedIn, State, random_id};
use crate::auth::Offer;
use crate::jid::{BareJid, Jid};
use crate::xml::framer::StreamHeader;
use crate::xml::stream_error::{StreamCondition, StreamError};
use crate::xml::{ns, write};

use super::ready::Ready;
use super::unbound::Unbound;

/// A stream that has not begun, or begins anew.
pub(super) enum AwaitHeader {
    /// Not authenticated.
    Anyone,
    /// SASL has succeeded on this connection.
    SignedIn(SignedIn),
}

impl AwaitHeader {
    pub(super) fn header(self, header: StreamHeader, cx: &mut Cx<'_>) -> State {
        let (policy, from) = match self.check(&header, cx) {
            Ok(addresses) => addresses,
            Err(error) => return cx.close(error),
        };
        let mut bytes = write(Some(&policy.domain), from.as_deref().map(Jid::as_str));
        cx.shared.opened = true;
        let lang = header.lang.as_deref().map(Into::into);
        match self {
            AwaitHeader::Anyone => {
                let channel = cx.shared.channel.as_ref();
                let offer = Offer::new(&policy.mechanisms, policy.fast.is_some(), channel);
                let offer =
                    if channel.is_none() && policy.tls_required { Offer::default() } else { offer };
                let open = Open { policy, from, lang, offer };
                features::before(&open, cx.shared.channel.is_some(), &mut bytes);
                cx.send(bytes);
                State::Ready(Ready { open })
            }
            AwaitHeader::SignedIn(account) => {
                features::after(&policy, Stage::Unbound, &mut bytes);
                cx.send(bytes);
                State::Unbound(Unbound { policy, lang, account, agent: Default::default() })
            }
        }
    }

    /// What is wrong with a header, in the order in which it matters to its sender.
    fn check(
        &self,
        header: &StreamHeader,
        cx: &Cx<'_>,
    ) -> Result<(std::sync::Arc<super::HostPolicy>, Option<BareJid>), StreamError> {
        if header.default_ns != ns::CLIENT {
            return Err(StreamCondition::InvalidNamespace.into());
        }
        if !version_is_1(header.version.as_deref()) {
            return Err(StreamCondition::UnsupportedVersion.into());
        }
        let Some(to) = &header.to else {
            let text = "the header's 'to' must name the host";
            return Err(StreamError::with_text(StreamCondition::HostUnknown, text));
        };
        let policy = Jid::parse(to)
            .ok()
            .filter(|to| to.local().is_none() && to.resource().is_none())
            .and_then(|to| cx.shared.hosts.host(to.domain()))
            .ok_or(StreamCondition::HostUnknown)?;
        // A claim, not yet proved; but one about another domain is wrong already (XEP-0388 §2.1).
        let from = match header.from.as_deref().filter(|from| !from.is_empty()) {
            None => None,
            Some(from) => {
                let from = Jid::parse(from).map_err(|_| StreamCondition::InvalidFrom)?;
                if from.domain() != &*policy.domain {
                    return Err(StreamCondition::InvalidFrom.into());
                }
                from.local().is_some().then(|| from.bare())
            }
        };
        if let AwaitHeader::SignedIn(account) = self {
            if account.jid.domain() != &*policy.domain {
                let text = format!("this connection is authenticated for {}", account.jid.domain());
                return Err(StreamError::with_text(StreamCondition::HostUnknown, text));
            }
            if from.as_ref().is_some_and(|from| *from != account.jid) {
                return Err(StreamCondition::InvalidFrom.into());
            }
        }
        Ok((policy, from))
    }
}

/// RFC 6120 §4.7.5: major and minor are numbers of their own. Minor versions are compatible; a
/// header without a version is from before there were features.
fn version_is_1(version: Option<&str>) -> bool {
    let parts = version.and_then(|version| version.split_once('.'));
    parts.is_some_and(|(major, minor)| {
        major.parse() == Ok(1u32) && !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit())
    })
}

/// Our header. The names are left out where the client's could not be understood.
pub(super) fn write(from: Option<&str>, to: Option<&str>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1_024);
    bytes.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'");
    write::attribute(&mut bytes, "xmlns:stream", ns::STREAMS);
    write::attribute(&mut bytes, "id", &random_id::<15>());
    for (name, address) in [("from", from), ("to", to)] {
        if let Some(address) = address {
            write::attribute(&mut bytes, name, address);
        }
    }
    bytes.extend_from_slice(b" version='1.0' xml:lang='en'>");
    bytes
}
