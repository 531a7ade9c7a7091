//! The listeners: which are open, opening others, closing those that are not wanted any more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::Server;
use crate::access::rate::Rate;
use crate::admin::Listener;
use crate::config::{Config, Listen};
use crate::http::Web;
use crate::net::listen::{self, BindError, Gate};
use crate::net::socket::Socket;
use crate::stream::{c2s, component};
use crate::telemetry::METRICS;

/// What is spoken behind a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// Clients, STARTTLS.
    C2s,
    /// Clients, TLS from the first byte (XEP-0368).
    C2sTls,
    /// HTTP over TLS.
    Https,
    /// HTTP, in clear text.
    Http,
    /// XEP-0114.
    Component,
}

impl Kind {
    /// The name of its setting in `[listen]`.
    fn name(self) -> &'static str {
        match self {
            Kind::C2s => "c2s",
            Kind::C2sTls => "c2s_tls",
            Kind::Https => "https",
            Kind::Http => "http",
            Kind::Component => "component",
        }
    }
}

type Door = (Kind, SocketAddr);

/// A listener that is open.
struct Open {
    task: AbortHandle,
    /// Held once more by each of its connections.
    connections: Arc<()>,
    /// The port may have been left to the kernel.
    address: SocketAddr,
}

/// The listeners that are open.
pub(super) struct Doors {
    open: HashMap<Door, Open>,
    gate: Gate,
}

/// Listeners that are bound and wait for [`Doors::commit`]; dropping them closes them.
pub(super) struct Prepared {
    new: Vec<(Door, TcpListener)>,
    wanted: Vec<Door>,
}

impl Doors {
    pub(super) fn new(config: &Config) -> Doors {
        Doors { open: HashMap::new(), gate: Gate::new(gate_limits(config)) }
    }

    /// Binds what `listen` wants and is not open yet. Changes nothing.
    pub(super) fn prepare(&self, listen: &Listen) -> Result<Prepared, BindError> {
        let mut prepared = Prepared { new: Vec::new(), wanted: Vec::new() };
        let kinds = [
            (Kind::C2s, &listen.c2s),
            (Kind::C2sTls, &listen.c2s_tls),
            (Kind::Https, &listen.https),
            (Kind::Http, &listen.http),
            (Kind::Component, &listen.component),
        ];
        for (kind, addresses) in kinds {
            let missing: Vec<SocketAddr> = addresses
                .iter()
                .copied()
                .filter(|a| !self.open.contains_key(&(kind, *a)))
                .collect();
            for (address, listener) in missing.iter().zip(listen::bind_all(&missing)?) {
                prepared.new.push(((kind, *address), listener));
            }
            prepared.wanted.extend(addresses.iter().map(|a| (kind, *a)));
        }
        Ok(prepared)
    }

    /// Opens what was prepared and closes what is not wanted; connections stay.
    pub(super) fn commit(&mut self, server: &Arc<Server>, prepared: Prepared) {
        self.gate.set_limits(gate_limits(&server.router.config.load()));
        self.open.retain(|door, open| {
            let wanted = prepared.wanted.contains(door);
            if !wanted {
                open.task.abort();
                tracing::info!(address = %door.1, "no longer listening");
            }
            wanted
        });
        for (door, listener) in prepared.new {
            tracing::info!(address = %door.1, kind = ?door.0, "listening");
            let connections = Arc::new(());
            let address = listener.local_addr().unwrap_or(door.1);
            let task = tokio::spawn(serve(
                Arc::clone(server),
                self.gate.clone(),
                door.0,
                listener,
                Arc::clone(&connections),
            ));
            self.open.insert(door, Open { task: task.abort_handle(), connections, address });
        }
    }

    /// What is open, by kind and address.
    pub(super) fn listeners(&self) -> Vec<Listener> {
        let show = |((kind, _), open): (&Door, &Open)| Listener {
            what: kind.name(),
            address: open.address,
            // One is ours, one the listener's own.
            connections: Arc::strong_count(&open.connections).saturating_sub(2),
        };
        let mut all: Vec<Listener> = self.open.iter().map(show).collect();
        all.sort_by_key(|listener| (listener.what, listener.address));
        all
    }

    /// Accepts nobody any more.
    pub(super) fn close(&mut self) {
        for (_, open) in self.open.drain() {
            open.task.abort();
        }
    }
}

fn gate_limits(config: &Config) -> listen::Limits {
    let limits = &config.limits;
    // Behind one proxy come many people.
    let proxies = config.http.trusted_proxies.iter();
    listen::Limits {
        connections_max: limits.connections_max,
        per_source_max: limits.connections_per_address_max,
        new_per_source: Rate {
            burst: limits.connections_per_address_rate,
            period: Duration::from_secs(60),
        },
        trusted: limits.trusted_addresses.iter().chain(proxies).copied().collect(),
    }
}

async fn serve(
    server: Arc<Server>,
    gate: Gate,
    kind: Kind,
    listener: TcpListener,
    connections: Arc<()>,
) {
    let web = Arc::new(Web::new(server.clone(), server.certs.clone(), server.stopping.subscribe()));
    loop {
        let (tcp, peer, permit) = listen::accept(&listener, &gate).await;
        let (streams, web) = (Arc::clone(&server.streams), Arc::clone(&web));
        let connection = Arc::clone(&connections);
        tokio::spawn(async move {
            METRICS.connections_accepted.inc();
            let _counted = (permit, METRICS.connections.hold(), connection);
            // Boxed where it is not what most connections are, so that those stay small.
            match kind {
                Kind::C2s => c2s::serve(streams, Socket::plain(tcp), peer, false).await,
                Kind::C2sTls => c2s::serve(streams, Socket::plain(tcp), peer, true).await,
                Kind::Https => Box::pin(web.serve(tcp, peer, true)).await,
                Kind::Http => Box::pin(web.serve(tcp, peer, false)).await,
                Kind::Component => {
                    Box::pin(component::serve(streams, Socket::plain(tcp), peer)).await
                }
            }
        });
    }
}
