//! XEP-0030: Service Discovery (2.5.0) with XEP-0128: Service Discovery Extensions (1.0.1): what a
//! host and its accounts offer, told from the one list [`ALL`].
//!
//! An account shows itself to its owner and to contacts who may see its presence; to others it
//! looks like one that does not exist.

use std::collections::BTreeSet;

use crate::config::model::HostConfig;
use crate::router::Router;
use crate::stanza::error::{Condition, StanzaError};
use crate::xml::element::Element;
use crate::xml::ns;

use super::{
    ALL, Ctx, Feature, Handled, Iq, Reply, Target, Who, adhoc, caps, contacts, done, get, on, xep,
};

pub const FEATURE: Feature = Feature {
    xeps: &[xep(30, "2.5.0"), xep(128, "1.0.1")],
    disco: &[
        on(Target::Host, ns::DISCO_INFO),
        on(Target::Host, ns::DISCO_ITEMS),
        on(Target::Account, ns::DISCO_INFO),
        on(Target::Account, ns::DISCO_ITEMS),
    ],
    iq: &[
        get(Target::Host, Who::Anyone, "query", ns::DISCO_INFO, info_of_host),
        get(Target::Host, Who::Anyone, "query", ns::DISCO_ITEMS, items_of_host),
        get(Target::Account, Who::Subscriber, "query", ns::DISCO_INFO, info_of_account),
        get(Target::Account, Who::Subscriber, "query", ns::DISCO_ITEMS, items_of_account),
    ],
    ..Feature::NONE
};

/// The disco#info of a host, without node.
pub fn host_info(host: &HostConfig) -> Element {
    let mut info = info(Target::Host, host, "server", "im");
    if let Some(form) = contacts::form(&host.contact) {
        info.push(form);
    }
    info
}

/// The disco#info of any account of a host, without node.
pub fn account_info(host: &HostConfig) -> Element {
    let typ = if host.is_guest() { "anonymous" } else { "registered" };
    info(Target::Account, host, "account", typ)
}

fn info(target: Target, host: &HostConfig, category: &str, typ: &str) -> Element {
    let mut identity =
        Element::new("identity", ns::DISCO_INFO).attr("category", category).attr("type", typ);
    if target == Target::Host {
        identity.set("name", "Coucou");
    }
    let rows = ALL.iter().flat_map(|feature| feature.disco);
    let features: BTreeSet<&str> =
        rows.filter(|row| row.target == target && (row.when)(host)).map(|row| row.ns).collect();
    features.into_iter().fold(Element::new("query", ns::DISCO_INFO).with(identity), |info, var| {
        info.with(Element::new("feature", ns::DISCO_INFO).attr("var", var))
    })
}

fn info_of_host<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    let command = iq.payload.get("node").and_then(|node| adhoc::info(cx, node));
    done(match command {
        Some(info) => info.map(Reply::Result),
        None => at_node(&iq, host_info(cx.host)),
    })
}

fn info_of_account<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    done(at_node(&iq, account_info(cx.host)))
}

/// The only nodes are those of our own capability hashes.
fn at_node(iq: &Iq, info: Element) -> Result<Reply, StanzaError> {
    match iq.payload.get("node") {
        None => Ok(Reply::Result(info)),
        Some(node) if caps::is_node_of(node, &info) => Ok(Reply::Result(info.attr("node", node))),
        Some(_) => Err(Condition::ItemNotFound.into()),
    }
}

fn items_of_host<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    if iq.payload.get("node") == Some(ns::COMMANDS) {
        return done(Ok(Reply::Result(adhoc::items(cx))));
    }
    done(no_node(&iq).map(|()| {
        let items = services_of(cx.router, cx.host).into_iter();
        let items = items.map(|jid| Element::new("item", ns::DISCO_ITEMS).attr("jid", jid));
        Reply::Result(Element::new("query", ns::DISCO_ITEMS).with_all(items))
    }))
}

/// The services and components that answer now and belong to this host: named in its config, or
/// below its domain and no other host's.
fn services_of(router: &Router, host: &HostConfig) -> Vec<String> {
    let config = router.config.load();
    let below = |name: &str, domain: &str| {
        name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    };
    let belongs = |name: &str| {
        if let Some(owner) = config.hosts.iter().find(|h| h.services.names().any(|own| own == name))
        {
            return owner.domain == host.domain;
        }
        let nearest =
            config.hosts.iter().filter(|h| below(name, &h.domain)).max_by_key(|h| h.domain.len());
        nearest.is_some_and(|nearest| nearest.domain == host.domain)
    };
    router.services.domains().into_iter().filter(|name| belongs(name)).collect()
}

/// An account has no items: nodes come with publish-subscribe, and who is online is presence's to
/// tell.
fn items_of_account<'a>(_: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    done(no_node(&iq).map(|()| Reply::Result(Element::new("query", ns::DISCO_ITEMS))))
}

fn no_node(iq: &Iq) -> Result<(), StanzaError> {
    match iq.payload.get("node") {
        None => Ok(()),
        Some(_) => Err(Condition::ItemNotFound.into()),
    }
}

#[cfg(test)]
mod tests;
