//! The settings as the program reads them: checked, resolved, immutable.
//!
//! A [`Config`] is built once by `config::check` and shared in an `Arc`. A reload builds
//! another and swaps the `Arc`, so tasks hold an `Arc<HostConfig>` for one stanza, never for their
//! life. Paths are absolute. Every bound names its unit: `*_bytes*`, `*_count` or a [`Duration`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::backup::Backups;
use super::raw::Setting;
use super::registration::Registration;
use super::room::Rooms;
use super::rules::{Access, Allowance, Rules};
use super::value::{IpNet, Secret};
use super::web::{Api, Http};

/// Everything that `coucou.toml` says, with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Home of the database, certificates and logs; mode 0700.
    pub data_dir: PathBuf,
    /// The Unix socket that the command line and the dashboard speak to.
    pub admin_socket: PathBuf,
    /// Group, besides root and the service's own user, whose members may use the admin socket.
    pub admin_group: Option<String>,
    /// Group whose members may look.
    pub view_group: Option<String>,
    /// The domains served, in the order of the file; never empty.
    pub hosts: Vec<Arc<HostConfig>>,
    pub listen: Listen,
    pub http: Http,
    pub api: Api,
    pub limits: Limits,
    pub stream_management: StreamManagement,
    pub log: Log,
    pub storage: Storage,
    pub backup: Backups,
    /// External components (XEP-0114), in the order of the file.
    pub components: Vec<Component>,
    pub admin: Admin,
    /// Who is who, and who may do what.
    pub rules: Arc<Rules>,
    /// Every setting as path and text, sorted by path: what [`super::diff`] compares.
    pub(super) settings: Vec<Setting>,
}

impl Config {
    /// The host that serves `domain`, which must be normalised as in [`HostConfig::domain`].
    pub fn host(&self, domain: &str) -> Option<&Arc<HostConfig>> {
        self.hosts.iter().find(|host| host.domain == domain)
    }

    /// The host whose rooms are at `domain`.
    pub fn host_of_rooms(&self, domain: &str) -> Option<&Arc<HostConfig>> {
        self.hosts.iter().find(|host| host.services.conference.as_deref() == Some(domain))
    }

    /// The component that serves `domain`, if one is declared.
    pub fn component(&self, domain: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.domain == domain)
    }

    /// Whether `domain` is ours: a host, the name of one of its services, or a component.
    pub fn serves(&self, domain: &str) -> bool {
        self.hosts
            .iter()
            .any(|host| host.domain == domain || host.services.names().any(|name| name == domain))
            || self.component(domain).is_some()
    }
}

/// Administration over XMPP.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Who may use the commands for administrators.
    pub access: Access,
    /// Who of those may also do what could end the operators' own access, such as stopping the
    /// server.
    pub owners: Access,
}

/// Where the server listens. An empty list switches that door off.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Clients, STARTTLS (RFC 6120).
    pub c2s: Vec<SocketAddr>,
    /// Clients, TLS from the first byte (XEP-0368).
    pub c2s_tls: Vec<SocketAddr>,
    /// HTTP over TLS.
    pub https: Vec<SocketAddr>,
    /// HTTP in clear text: on loopback, or for trusted proxies.
    pub http: Vec<SocketAddr>,
    /// Components (XEP-0114); empty as long as no component is declared.
    pub component: Vec<SocketAddr>,
}

/// What one peer may cost the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Largest top-level element before authentication; advertised by XEP-0478.
    pub stanza_bytes_max_before_auth: usize,
    /// Largest top-level element after authentication; advertised by XEP-0478.
    pub stanza_bytes_max: usize,
    /// Deepest nesting of elements in a stanza, the stanza itself counting as 1.
    pub depth_max: usize,
    /// Most attributes of one element.
    pub attributes_max: usize,
    /// Connections open at once, from everywhere.
    pub connections_max: usize,
    /// Connections open at once from one address (IPv6: one /56).
    pub connections_per_address_max: usize,
    /// New connections per minute from one address (IPv6: one /56).
    pub connections_per_address_rate: u32,
    /// SASL attempts on one stream before it is closed.
    pub auth_attempts_max: u32,
    /// Failed logins per minute, per address and per account, before further ones wait.
    pub auth_failures_per_minute: u32,
    /// Networks to which the three limits per address do not apply.
    pub trusted_addresses: Vec<IpNet>,
    /// From accept to a bound resource.
    pub negotiation_timeout: Duration,
    /// Silence after which the server pings a client.
    pub ping_after: Duration,
    /// Silence after that ping until the connection counts as dead.
    pub ping_timeout: Duration,
    /// How long a peer may refuse to take bytes that wait for it.
    pub write_timeout: Duration,
    /// Stanzas waiting for one session; past it the session ends.
    pub mailbox_bytes_max: usize,
}

impl Limits {
    /// Whether the limits per address spare `address`.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_addresses.iter().any(|net| net.contains(address))
    }
}

/// XEP-0198.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamManagement {
    /// How long a session outlives its connection when the client names no time.
    pub resume_timeout: Duration,
    /// The longest time that a client may ask for.
    pub resume_timeout_max: Duration,
    /// Bytes of stanzas sent and not acknowledged, per session, before it is closed.
    pub queue_bytes_max: usize,
}

/// Where the log goes and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub level: Level,
    /// Levels of single modules, as in `coucou::stream` → debug; the longest prefix wins.
    pub levels: BTreeMap<String, Level>,
    pub format: LogFormat,
    /// Folder of the daily files. Unused under systemd, where the log goes to the journal.
    pub dir: PathBuf,
    /// Daily files kept.
    pub keep_days: usize,
    /// Lines kept in memory for `coucou log` and the dashboard.
    pub ring_lines: usize,
    /// Bytes kept in memory for them.
    pub ring_bytes: usize,
    /// How network addresses of clients are written.
    pub addresses: Addresses,
}

/// Severity from which on a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line a person reads.
    Text,
    /// One JSON object a line.
    Json,
}

/// The privacy switch for client addresses in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// As they are.
    Full,
    /// IPv4 /24 and IPv6 /48; the rest is zeroed.
    Network,
    /// Not at all.
    Hidden,
}

impl Addresses {
    /// `address` as the log may show it.
    pub fn show(self, address: IpAddr) -> String {
        // An IPv4 client of an IPv6 listener comes as ::ffff:192.0.2.1.
        match (self, address.to_canonical()) {
            (Addresses::Full, address) => address.to_string(),
            (Addresses::Hidden, _) => "hidden".to_owned(),
            (Addresses::Network, address) => {
                let prefix = if address.is_ipv4() { 24 } else { 48 };
                IpNet::new(address, prefix)
                    .map_or_else(|| "hidden".to_owned(), |net| net.to_string())
            }
        }
    }
}

/// The database's use of memory and disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// Reader threads at most; they start on demand.
    pub readers_max: usize,
    /// Distance that commits keep under load, so that they share the cost of the disk.
    pub commit_spacing: Duration,
    /// Changes that may wait for the writer; past it senders are slowed down.
    pub queue_bytes_max: usize,
    /// The same, counted in changes.
    pub queue_jobs_max: usize,
}

/// An external component (XEP-0114).
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    pub domain: String,
    pub secret: Secret,
}

/// One domain.
#[derive(Clone, Debug, PartialEq)]
pub struct HostConfig {
    /// Normalised as a JID's domain part.
    pub domain: String,
    pub auth: Auth,
    pub tls: TlsFiles,
    /// Refuse to authenticate on a stream without TLS.
    pub starttls_required: bool,
    /// Mechanisms offered, strongest first; `-PLUS` forms follow their base form.
    pub mechanisms: Vec<Mechanism>,
    /// Iterations of SCRAM keys made from now on.
    pub scram_iterations: u32,
    /// How long a device's sign-in token (XEP-0484) lives without use.
    pub token_lifetime: Duration,
    /// Devices with a token, per account; the one unused for longest goes first.
    pub tokens_per_account_max: usize,
    pub services: Services,
    pub contact: Contact,
    pub registration: Registration,
    pub archive: Archive,
    pub offline: Offline,
    pub roster_items_max: Allowance,
    /// Who of those who have an account may sign in.
    pub sign_in: Access,
    pub sessions_per_account_max: Allowance,
    pub resource_conflict: ResourceConflict,
    /// Private XML storage (XEP-0049) per account.
    pub private_bytes_max: usize,
    pub vcard_bytes_max: usize,
    /// Entries of an account's blocklist (XEP-0191).
    pub blocklist_max: usize,
    pub push: Push,
    pub invites: Invites,
    pub rooms: Rooms,
    pub guest: Guest,
}

impl HostConfig {
    /// Whether accounts here are made up for one session.
    pub fn is_guest(&self) -> bool {
        self.auth == Auth::Anonymous
    }
}

/// Who may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Accounts in our own database.
    Internal,
    /// Guests: SASL ANONYMOUS, a made-up name for one session.
    Anonymous,
}

/// A certificate chain and its private key, both PEM; they may be one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// No files are named in the config: make a self-signed pair there if none exists.
    pub self_signed: bool,
}

impl TlsFiles {
    /// Where the self-signed pair of `domain` lives.
    pub fn default_for(data_dir: &Path, domain: &str) -> TlsFiles {
        let file = data_dir.join("certs").join(format!("{domain}.pem"));
        TlsFiles { certificate: file.clone(), key: file, self_signed: true }
    }
}

/// SASL mechanisms that a host may offer for accounts. ANONYMOUS follows from [`Auth::Anonymous`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    ScramSha512,
    ScramSha256,
    ScramSha1,
    /// Only inside TLS, whatever the other settings are.
    Plain,
}

/// Names of the services under a host; `None` where a service is switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    pub conference: Option<String>,
    pub upload: Option<String>,
    pub proxy: Option<String>,
    pub pubsub: Option<String>,
}

impl Services {
    /// The names in use.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.conference, &self.upload, &self.proxy, &self.pubsub]
            .into_iter()
            .filter_map(|name| name.as_deref())
    }
}

/// Invitations (XEP-0401, XEP-0379).
#[derive(Clone, Debug, PartialEq)]
pub struct Invites {
    /// Who may invite people to make an account here.
    pub create_accounts: Access,
    /// Who may invite people to become their contact.
    pub contacts: Access,
    /// Invitations of one account that wait to be used.
    pub open_max: usize,
    /// Uses of one invitation.
    pub uses_max: u32,
    /// How long an invitation lasts, unless it says so itself.
    pub lifetime: Duration,
    pub lifetime_max: Duration,
    /// The web page of an invitation, with `{token}` in it.
    pub page: Option<String>,
}

/// Addresses of those who run the host (XEP-0157): URIs such as `mailto:` or `xmpp:`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    pub abuse: Vec<String>,
    pub admin: Vec<String>,
    pub feedback: Vec<String>,
    pub sales: Vec<String>,
    pub security: Vec<String>,
    pub status: Vec<String>,
    pub support: Vec<String>,
}

impl Contact {
    /// The lists that are not empty, with the names of their form fields.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        [
            ("abuse-addresses", &self.abuse),
            ("admin-addresses", &self.admin),
            ("feedback-addresses", &self.feedback),
            ("sales-addresses", &self.sales),
            ("security-addresses", &self.security),
            ("status-addresses", &self.status),
            ("support-addresses", &self.support),
        ]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(field, list)| (field, list.as_slice()))
    }
}

/// The message archive (XEP-0313).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// What is kept for accounts that have not chosen.
    pub default: ArchiveDefault,
    /// Age at which messages go; `None` keeps them for ever.
    pub retention: Option<Duration>,
    /// Size of one account's archive at which its oldest messages go; `None` sets no bound.
    pub bytes_max: Option<u64>,
    /// Full-text search over one's own archive.
    pub search: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveDefault {
    Always,
    Never,
    /// Only what is exchanged with contacts.
    Roster,
}

/// Messages for accounts that are not there (XEP-0160).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offline {
    /// Messages kept per account; further ones are returned to their sender. 0 switches offline
    /// storage off.
    pub messages_max: Allowance,
    /// Age at which they go; `None` keeps them until they are fetched.
    pub age_max: Option<Duration>,
}

/// What happens when a client binds a resource that is in use (RFC 6120 §7.7.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceConflict {
    /// The older session ends with `conflict`.
    Replace,
    /// The newer one is told `conflict`.
    Refuse,
    /// The newer one gets another resource.
    Rename,
}

/// Push notifications (XEP-0357).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Devices registered per account.
    pub registrations_max: usize,
    /// Tell the push service who wrote.
    pub with_sender: bool,
    /// Tell the push service what was written.
    pub with_body: bool,
}

/// Bounds on a guest host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Guests at once.
    pub sessions_max: usize,
    /// Age at which a guest's session ends.
    pub session_age_max: Duration,
    /// New guests per minute from one address (IPv6: one /56).
    pub logins_per_address_per_minute: u32,
}
