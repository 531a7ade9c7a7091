//! `listen`: the doors, and the components behind one of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::draft::{Origin, list, text};
use super::source::joined;
use super::yaml::{Node, Place, Value};
use super::{Import, Kind};
use crate::config::value;

/// Shortest secret of a component that is taken here.
const SECRET_BYTES_MIN: usize = 8;

/// Addresses of one door, gathered from several listeners.
#[derive(Default)]
struct Door {
    addresses: Vec<SocketAddr>,
    origin: Option<Origin>,
}

impl Import<'_> {
    pub(super) fn listeners(&mut self) {
        let source = self.source;
        self.draft.keep("listen");
        self.proxies();
        let Some(listen) = source.global_option("listen") else {
            let domain = source.hosts[0].at.clone();
            let why =
                "ejabberd would listen nowhere; here clients are listened to on 5222 and 5223";
            self.note(&domain, "listen", Kind::Changed, why, None);
            return;
        };
        if !matches!(listen.value.value, Value::List(_)) {
            self.wrong(&listen.value, "listen", "a list of listeners");
            return;
        }
        let mut c2s = Door::default();
        let mut c2s_tls = Door::default();
        let mut component = Door::default();
        let (mut https, mut http) = (Door::default(), Door::default());
        let mut stanza_max: Option<(u64, Origin)> = None;
        for (index, listener) in listen.value.elements().iter().enumerate() {
            let option = format!("listen.{}", index + 1);
            let Some(address) = self.address(listener, &option) else { continue };
            let module = listener.get("module").and_then(Node::text).unwrap_or_default().to_owned();
            let at = listener.get("port").map_or(&listener.at, |port| &port.at).clone();
            let origin = Origin { at: at.clone(), option: format!("{option} {module}") };
            match module.as_str() {
                "ejabberd_c2s" => {
                    let tls = self.flag_of(listener, "tls", &option);
                    let door = if tls { &mut c2s_tls } else { &mut c2s };
                    self.client_door(listener, address, tls, &origin, door);
                    if let Some(node) = listener.get("max_stanza_size")
                        && let Some(size) =
                            self.stanza_size(node, &format!("{option}.max_stanza_size"))
                        && stanza_max.as_ref().is_none_or(|(max, _)| size > *max)
                    {
                        let at = node.at.clone();
                        let option = format!("{option}.max_stanza_size");
                        stanza_max = Some((size, Origin { at, option }));
                    }
                }
                "ejabberd_service" => {
                    push(&mut component, address, &origin);
                    self.components(listener, &option);
                    self.carried(&at, &origin.option, "listen.component");
                    let read = ["hosts", "host", "password", "max_stanza_size"];
                    self.other_listener_options(listener, &option, &read);
                }
                "ejabberd_http" => {
                    self.web_door(listener, address, &origin, &mut https, &mut http);
                }
                "ejabberd_s2s_in" => {
                    self.left_door(listener, &origin, "other servers are not spoken to yet");
                }
                "ejabberd_stun" => self.stun(listener, &origin),
                "mod_mqtt" => self.left_door(listener, &origin, "MQTT is not spoken"),
                "ejabberd_sip" => self.left_door(listener, &origin, "SIP is not spoken"),
                "ejabberd_xmlrpc" => self.left_door(
                    listener,
                    &origin,
                    "operations are called over HTTP with JSON, not by XML-RPC",
                ),
                "" => {
                    let expected = "`module:` with what listens there, such as ejabberd_c2s";
                    self.report(&at, &option, "a listener without a module", expected, None);
                }
                _ => self.left_door(listener, &origin, "is no listener that is known here"),
            }
        }
        for (key, door) in [
            ("c2s", c2s),
            ("c2s_tls", c2s_tls),
            ("component", component),
            ("https", https),
            ("http", http),
        ] {
            let addresses = self.one_for_both(door.addresses, door.origin.as_ref());
            if addresses.is_empty() && !key.starts_with("c2s") {
                continue;
            }
            let values: Vec<String> = addresses.iter().map(|a| text(&a.to_string())).collect();
            self.draft.set("listen", key, list(&values), door.origin);
        }
        if let Some((size, origin)) = stanza_max {
            let bytes = size.clamp(10_000, 16 << 20);
            self.draft.set("limits", "stanza_bytes_max", text(&format!("{bytes} B")), Some(origin));
        }
    }

    /// The address of a listener; `None` if it has none that can be used, which is told.
    fn address(&mut self, listener: &Node, option: &str) -> Option<SocketAddr> {
        if listener.entries().is_empty() {
            self.wrong(listener, option, "a map with `port:` and `module:`");
            return None;
        }
        let Some(port_node) = listener.get("port").cloned() else {
            self.report(&listener.at, option, "a listener without a port", "`port: 5222`", None);
            return None;
        };
        let written = port_node.text().unwrap_or_default().to_owned();
        if written.starts_with("unix:") {
            let why = "listeners are on addresses and ports; a Unix socket serves operators alone";
            self.note(&port_node.at, &format!("{option}.port"), Kind::Left, why, None);
            return None;
        }
        let Some(port) = written.parse::<u16>().ok().filter(|port| *port > 0) else {
            self.wrong(&port_node, &format!("{option}.port"), "a port from 1 to 65535");
            return None;
        };
        // ejabberd's default is all of IPv4.
        let mut ip = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        if let Some(node) = listener.get("ip").cloned() {
            match node.text().and_then(|text| text.parse().ok()) {
                Some(address) => ip = address,
                None => {
                    self.wrong(
                        &node,
                        &format!("{option}.ip"),
                        "an IP address such as 192.0.2.1 or \"::\"",
                    );
                    return None;
                }
            }
        } else if self.flag_of(listener, "inet6", option) {
            ip = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        }
        Some(SocketAddr::new(ip, port))
    }

    pub(super) fn flag_of(&mut self, map: &Node, key: &str, option: &str) -> bool {
        match map.get(key) {
            Some(node) => self.flag(node, &format!("{option}.{key}")).unwrap_or(false),
            None => false,
        }
    }

    fn stanza_size(&mut self, node: &Node, option: &str) -> Option<u64> {
        match self.count_or_infinity(node, option)? {
            super::read::Bound::Of(size) if (10_000..=16 << 20).contains(&size) => {
                self.carried(&node.at, option, "limits.stanza_bytes_max");
                Some(size)
            }
            super::read::Bound::Of(size) => {
                let why = "limits.stanza_bytes_max is from 10000 B to 16 MiB here";
                self.note(&node.at, option, Kind::Changed, why, None);
                Some(size.clamp(10_000, 16 << 20))
            }
            super::read::Bound::Infinity => {
                let why = "a stanza without bound would take all memory; it is 256 KiB here";
                self.note(&node.at, option, Kind::Changed, why, None);
                None
            }
        }
    }

    fn client_door(
        &mut self,
        listener: &Node,
        address: SocketAddr,
        tls: bool,
        origin: &Origin,
        door: &mut Door,
    ) {
        let option = &origin.option;
        if self.flag_of(listener, "use_proxy_protocol", option) {
            let why =
                "connections through a proxy that tells the client's address are not taken yet";
            self.left_door(listener, origin, why);
            return;
        }
        push(door, address, origin);
        self.carried(&origin.at, option, if tls { "listen.c2s_tls" } else { "listen.c2s" });
        let required = self.flag_of(listener, "starttls_required", option);
        if !tls && !required {
            let why = "clients could sign in without TLS; here nobody can";
            let remedy = "hosts.….starttls_required = false would allow it again";
            self.note(&origin.at, option, Kind::Changed, why, Some(remedy));
        }
        let read = [
            "tls",
            "starttls",
            "starttls_required",
            "max_stanza_size",
            "use_proxy_protocol",
            "access",
        ];
        self.other_listener_options(listener, option, &read);
    }

    fn other_listener_options(&mut self, listener: &Node, option: &str, read: &[&str]) {
        for (key, value) in listener.entries() {
            let name = key.text().unwrap_or_default();
            let option = format!("{option}.{name}");
            let (kind, why) = match name {
                _ if read.contains(&name) => continue,
                "port" | "ip" | "module" | "transport" | "inet6" | "inet" | "certfile" => continue,
                "shaper" | "shaper_rule" => (
                    Kind::Left,
                    "the speed of connections is not shaped; what one may cost is \
                                  bounded in [limits]",
                ),
                "backlog" | "accept_interval" | "send_timeout" | "max_fsm_queue" | "supervisor" => {
                    (
                        Kind::Needless,
                        "connections are taken as they come, within the bounds of [limits]",
                    )
                }
                "ciphers" | "dhfile" | "protocol_options" | "tls_compression" | "zlib" => (
                    Kind::Needless,
                    "TLS 1.2 and 1.3 with the ciphers that are safe are all that is \
                                      spoken, without compression",
                ),
                "access" => (Kind::Left, "who may connect is not decided for each listener"),
                "cafile" | "tls_verify" => {
                    (Kind::Left, "clients do not sign in by certificates yet")
                }
                "check_from" => (
                    Kind::Carried,
                    "a component always speaks for addresses at its own domain only",
                ),
                "allow_unencrypted_sasl2" => (Kind::Needless, "nobody signs in without TLS"),
                _ => (Kind::Left, "there is no setting for it here"),
            };
            if name == "check_from" && value.text() == Some("false") {
                let why = "a component speaks for addresses at its own domain only, here without exception";
                self.note(&key.at, &option, Kind::Changed, why, None);
                continue;
            }
            self.note(&key.at, &option, kind, why, None);
        }
    }

    /// `[::]` takes IPv4 too, so that both addresses of one port would be one too many.
    fn one_for_both(
        &mut self,
        addresses: Vec<SocketAddr>,
        origin: Option<&Origin>,
    ) -> Vec<SocketAddr> {
        let mut kept: Vec<SocketAddr> = Vec::new();
        for address in &addresses {
            let twin = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port());
            let covered =
                address.is_ipv4() && address.ip().is_unspecified() && addresses.contains(&twin);
            if covered && let Some(origin) = origin {
                let why = "[::] listens on IPv4 too, so the two listeners are one here";
                self.note(&origin.at, &origin.option, Kind::Changed, why, None);
            }
            if !covered && !kept.contains(address) {
                kept.push(*address);
            }
        }
        kept
    }

    /// A listener that nothing here answers at.
    pub(super) fn left_door(&mut self, listener: &Node, origin: &Origin, why: &str) {
        self.note(&origin.at, &origin.option, Kind::Left, why, None);
        self.keep_for_later("listen", why, &origin.at, &origin.option.replace(' ', "_"), listener);
    }

    fn stun(&mut self, listener: &Node, origin: &Origin) {
        self.left_door(
            listener,
            origin,
            "there is no STUN and TURN server yet; calls go through another one",
        );
        let port = listener.get("port").and_then(Node::text).unwrap_or("3478").to_owned();
        let transport = listener.get("transport").and_then(Node::text).unwrap_or("udp").to_owned();
        let tls = self.flag_of(listener, "tls", &origin.option);
        let turn = listener
            .get("use_turn")
            .is_none_or(|node| self.flag(node, "use_turn").unwrap_or(false));
        let range = |key: &str, default: &str| {
            listener.get(key).and_then(Node::text).unwrap_or(default).to_owned()
        };
        let mut opens = format!("{port}/{transport}");
        if turn {
            let (low, high) = (range("turn_min_port", "49152"), range("turn_max_port", "65535"));
            opens.push_str(&format!(" and the relays' {low}-{high}/udp"));
        }
        let why = format!(
            "until then calls go by ejabberd's, which need {opens} open, for IPv4 and IPv6{}",
            if tls { "" } else { "; nothing of it listens on 5349, the port for TLS" }
        );
        let remedy = "compare that with the firewall's rules";
        self.note(&origin.at, &origin.option, Kind::Left, &why, Some(remedy));
        let has_address = ["turn_ipv4_address", "turn_ipv6_address", "turn_ip"]
            .iter()
            .any(|key| listener.get(key).is_some());
        if turn && !has_address {
            let why = "relays without turn_ipv4_address offer the address of the machine's own \
                       interface, which does not work behind NAT";
            self.note(&origin.at, &origin.option, Kind::Fault, why, None);
        }
    }

    /// HTTP is listened to where something of it is answered: the API.
    fn web_door(
        &mut self,
        listener: &Node,
        address: SocketAddr,
        origin: &Origin,
        https: &mut Door,
        http: &mut Door,
    ) {
        let option = &origin.option;
        let tls = self.flag_of(listener, "tls", option);
        let handlers = listener.get("request_handlers").map(joined);
        let handlers: Vec<(Node, Node)> =
            handlers.as_ref().map(|node| node.entries().to_vec()).unwrap_or_default();
        let is_api = |(_, module): &(Node, Node)| module.text() == Some("mod_http_api");
        let serves_api = handlers.iter().any(is_api);
        let near = address.ip().is_loopback() || self.has_proxies();
        if serves_api && (tls || near) {
            push(if tls { https } else { http }, address, origin);
            self.carried(&origin.at, option, if tls { "listen.https" } else { "listen.http" });
        } else if serves_api {
            let why = "the API without TLS on an address that others reach: passwords pass in clear \
                       text. There is no such listener here";
            let remedy = "listen.http takes loopback, or any address for http.trusted_proxies";
            self.note(&origin.at, option, Kind::Fault, why, Some(remedy));
        }
        for (path, module) in &handlers {
            let option = format!("{option}.request_handlers.{}", path.text().unwrap_or_default());
            let why = match module.text().unwrap_or_default() {
                "mod_http_api" => {
                    self.carried(&path.at, &option, "api.enabled");
                    let origin = Origin { at: path.at.clone(), option: option.clone() };
                    self.draft.set("api", "enabled", "true".to_owned(), Some(origin));
                    if path.text() != Some("/api") {
                        let why = "the API is at /api";
                        self.note(&path.at, &option, Kind::Changed, why, None);
                    }
                    continue;
                }
                "ejabberd_web_admin" => {
                    "there is no web administration; operators use the command \
                                         line, the API, and commands in their clients"
                }
                "ejabberd_acme" => "certificates are not asked for from an authority yet",
                "ejabberd_captcha" => "there are no CAPTCHAs",
                "mod_bosh" | "ejabberd_http_ws" | "mod_http_bind" => {
                    "WebSocket and BOSH are not spoken yet"
                }
                "mod_http_upload" => "there is no file upload yet",
                "mod_register_web" => "there are no web pages yet; invitations are xmpp: links",
                "ejabberd_oauth" => "there is no OAuth; keys of the API take its place",
                _ => "nothing here answers at this path",
            };
            self.note(&path.at, &option, Kind::Left, why, None);
        }
        let read = ["tls", "request_handlers"];
        self.other_listener_options(listener, option, &read);
        let why = "of its paths only the API is answered";
        self.keep_for_later("listen", why, &origin.at, &option.replace(' ', "_"), listener);
    }

    fn has_proxies(&self) -> bool {
        let proxies = self.source.global_option("trusted_proxies");
        proxies.is_some_and(|entry| {
            entry.value.elements().iter().any(|node| node.text() != Some("all"))
        })
    }

    fn proxies(&mut self) {
        let source = self.source;
        let Some(entry) = source.global_option("trusted_proxies") else { return };
        let mut networks = Vec::new();
        for node in entry.value.elements() {
            match node.text() {
                Some("all") => {
                    let why = "whoever comes is believed about their address, so no rule by address \
                               holds; nobody is believed here";
                    let remedy = "name the proxy in http.trusted_proxies";
                    self.note(&node.at, &entry.name, Kind::Fault, why, Some(remedy));
                }
                written => {
                    let net = self.network(node, written.unwrap_or_default(), &entry.name);
                    networks.extend(net.map(|net| text(&net.to_string())));
                }
            }
        }
        if !networks.is_empty() {
            let origin = self.origin(entry, &entry.name);
            self.draft.set("http", "trusted_proxies", list(&networks), origin);
            self.carried(&entry.at, &entry.name, "http.trusted_proxies");
        }
    }

    fn components(&mut self, listener: &Node, option: &str) {
        let shared = listener.get("password").cloned();
        let declared = listener.get("hosts").map(joined);
        let mut found: Vec<(String, Place, Option<Node>)> = Vec::new();
        if let Some(hosts) = declared {
            for (key, value) in hosts.entries() {
                let secret = value.get("password").cloned().or_else(|| shared.clone());
                found.push((key.text().unwrap_or_default().to_owned(), key.at.clone(), secret));
            }
        }
        if let Some(host) = listener.get("host") {
            let name = host.text().unwrap_or_default().to_owned();
            found.push((name, host.at.clone(), shared.clone()));
        }
        if found.is_empty() {
            let why = "any component could connect that knows the password; here each has a domain \
                       and a secret of its own";
            let remedy = "add a [components.\"…\"] table for each";
            self.note(&listener.at, option, Kind::Left, why, Some(remedy));
        }
        for (name, at, secret) in found {
            let option = format!("{option}.hosts.{name}");
            let domain = match value::domain(&name) {
                Ok(domain) => domain,
                Err(reason) => {
                    let found = format!("{name:?}, which {reason}");
                    self.report(&at, &option, &found, "a domain name", None);
                    continue;
                }
            };
            let header = format!("components.{}", text(&domain));
            let origin = Origin { at: at.clone(), option: option.clone() };
            match secret.as_ref().and_then(Node::text) {
                Some(secret) if secret.len() >= SECRET_BYTES_MIN => {
                    self.draft.set(&header, "secret", text(secret), Some(origin));
                    self.carried(&at, &option, &header);
                    self.free_name(&domain, &option, &at);
                }
                secret => {
                    let why = match secret {
                        Some(_) => "the secret is too short to be one",
                        None => "the component has no secret, so anybody could be it",
                    };
                    let remedy = format!(
                        "give it one of at least {SECRET_BYTES_MIN} bytes on both sides and add \
                         [{header}]"
                    );
                    self.note(&at, &option, Kind::Fault, why, Some(&remedy));
                }
            }
        }
    }

    /// A name that a component has is not kept for a service of a host.
    fn free_name(&mut self, domain: &str, option: &str, at: &Place) {
        let source = self.source;
        for host in &source.hosts {
            for service in ["conference", "upload", "proxy", "pubsub"] {
                if domain == format!("{service}.{}", host.domain) {
                    let header = format!("hosts.{}.services", text(&host.domain));
                    let origin = Origin { at: at.clone(), option: option.to_owned() };
                    self.draft.set(&header, service, text("off"), Some(origin));
                }
            }
        }
    }
}

fn push(door: &mut Door, address: SocketAddr, origin: &Origin) {
    door.addresses.push(address);
    door.origin.get_or_insert_with(|| origin.clone());
}
