//! `<stream:features/>` before and after authentication, in the order of XEP-0170.

use super::{HostPolicy, Open, StreamLimits};
use crate::auth::{Offer, upgrade};
use crate::xml::element::Element;
use crate::xml::ns;

/// What may be enabled within Bind 2, besides stream management.
const BIND_INLINE: [&str; 2] = [ns::CARBONS, ns::CSI];

/// Features of a stream that nobody has authenticated on.
pub(super) fn before(open: &Open, encrypted: bool, out: &mut Vec<u8>) {
    let policy = &*open.policy;
    let mut features = Vec::with_capacity(5);
    if !encrypted {
        let starttls = Element::new("starttls", ns::TLS);
        features.push(match policy.tls_required {
            true => starttls.with(Element::new("required", ns::TLS)),
            false => starttls,
        });
    }
    if !open.offer.mechanisms.is_empty() {
        features.push(mechanisms(Element::new("mechanisms", ns::SASL), &open.offer, ns::SASL));
        if !open.offer.bindings.is_empty() {
            features.push(channel_bindings(&open.offer));
        }
        if encrypted {
            features.push(authentication(policy, &open.offer));
        }
    }
    if encrypted && policy.registration.by_token {
        features.push(Element::new("register", ns::IBR_TOKEN));
    }
    // Clients with a token look for both.
    if encrypted && (policy.registration.open || policy.registration.by_token) {
        features.push(Element::new("register", ns::REGISTER_FEATURE));
    }
    features.push(limits(policy.limits_before));
    write(&features, b"", out);
}

/// How far a client is that has authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A resource is yet to be bound.
    Unbound,
    Bound,
    /// Bound, and stream management is on: offered again, clients would enable it again.
    Managed,
}

/// Features of a stream that is authenticated.
pub(super) fn after(policy: &HostPolicy, stage: Stage, out: &mut Vec<u8>) {
    let mut features = Vec::with_capacity(4);
    if stage == Stage::Unbound {
        let required = Element::new("required", ns::BIND);
        features.push(Element::new("bind", ns::BIND).with(required));
        let optional = Element::new("optional", ns::SESSION);
        features.push(Element::new("session", ns::SESSION).with(optional));
    }
    if policy.stream_management && stage != Stage::Managed {
        features.push(Element::new("sm", ns::SM3));
    }
    features.push(limits(policy.limits_after));
    write(&features, &policy.features, out);
}

fn write(features: &[Element], more: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<stream:features>");
    for feature in features {
        feature.write(out, ns::CLIENT);
    }
    out.extend_from_slice(more);
    out.extend_from_slice(b"</stream:features>");
}

fn mechanisms(parent: Element, offer: &Offer, ns: &str) -> Element {
    let names = offer.mechanisms.iter().map(|mechanism| mechanism.as_str());
    names.fold(parent, |parent, name| parent.with(Element::new("mechanism", ns).with_text(name)))
}

/// XEP-0440.
fn channel_bindings(offer: &Offer) -> Element {
    let parent = Element::new("sasl-channel-binding", ns::CHANNEL_BINDING);
    offer.bindings.iter().fold(parent, |parent, binding| {
        let child = Element::new("channel-binding", ns::CHANNEL_BINDING);
        parent.with(child.attr("type", binding.name()))
    })
}

/// XEP-0388, with what can be had in the same round trip.
fn authentication(policy: &HostPolicy, offer: &Offer) -> Element {
    let mut bind_inline = Element::new("inline", ns::BIND2);
    let sm = policy.stream_management.then_some(ns::SM3);
    for var in BIND_INLINE.into_iter().chain(sm) {
        bind_inline.push(Element::new("feature", ns::BIND2).attr("var", var));
    }
    let mut inline =
        Element::new("inline", ns::SASL2).with(Element::new("bind", ns::BIND2).with(bind_inline));
    if policy.stream_management {
        inline.push(Element::new("sm", ns::SM3));
    }
    if !offer.tokens.is_empty() {
        let fast = Element::new("fast", ns::FAST);
        inline.push(offer.tokens.iter().fold(fast, |fast, mechanism| {
            fast.with(Element::new("mechanism", ns::FAST).with_text(mechanism.name()))
        }));
    }
    let parent = Element::new("authentication", ns::SASL2);
    let mut parent = mechanisms(parent, offer, ns::SASL2).with(inline);
    for hash in upgrade::UPGRADES.into_iter().filter(|&hash| policy.wants_keys(hash)) {
        let task = upgrade::task_name(hash);
        parent.push(Element::new("upgrade", ns::UPGRADE).with_text(&task));
    }
    parent
}

/// XEP-0478.
fn limits(limits: StreamLimits) -> Element {
    let child = |name, value: String| Element::new(name, ns::STREAM_LIMITS).with_text(&value);
    let parent = Element::new("limits", ns::STREAM_LIMITS)
        .with(child("max-bytes", limits.bytes_max.to_string()));
    match limits.idle_secs {
        0 => parent,
        secs => parent.with(child("idle-seconds", secs.to_string())),
    }
}
