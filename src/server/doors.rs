//! The listeners: which are open, opening others, closing those that are not wanted any more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::Server;
use crate::access::rate::Rate;
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

type Door = (Kind, SocketAddr);

/// The listeners that are open.
pub(super) struct Doors {
    open: HashMap<Door, AbortHandle>,
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
        self.open.retain(|door, task| {
            let wanted = prepared.wanted.contains(door);
            if !wanted {
                task.abort();
                tracing::info!(address = %door.1, "no longer listening");
            }
            wanted
        });
        for (door, listener) in prepared.new {
            tracing::info!(address = %door.1, kind = ?door.0, "listening");
            let task = tokio::spawn(serve(Arc::clone(server), self.gate.clone(), door.0, listener));
            self.open.insert(door, task.abort_handle());
        }
    }

    /// Accepts nobody any more.
    pub(super) fn close(&mut self) {
        for (_, task) in self.open.drain() {
            task.abort();
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

async fn serve(server: Arc<Server>, gate: Gate, kind: Kind, listener: TcpListener) {
    let web = Arc::new(Web::new(server.clone(), server.certs.clone(), server.stopping.subscribe()));
    loop {
        let (tcp, peer, permit) = listen::accept(&listener, &gate).await;
        let (streams, web) = (Arc::clone(&server.streams), Arc::clone(&web));
        tokio::spawn(async move {
            METRICS.connections_accepted.inc();
            let _counted = (permit, METRICS.connections.hold());
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
