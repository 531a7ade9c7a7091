//! From an accepted connection to a bound session: does what the sans-IO [`Negotiator`] asks for.
//! It reads and writes the socket, looks things up in the store, and knows no rule of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::c2s::{CLOSE_WITHIN, Conn, farewell, granted};
use super::lifecycle::{self, NotResumed};
use super::negotiate::{
    Answer, Ask, BindRefusal, BindRequest, Bound, Established, FastPolicy, HostPolicy, Hosts, How,
    Input, Negotiator, Output, Refused, Registration, ResourceBy, ResumeRefusal, ResumeRequest,
    Resumed, SmEnabled, SmRequest, StreamLimits,
};
use super::{Streams, accounts};
use crate::access::rule::Decision;
use crate::auth::{Channel, Failure, MechanismName};
use crate::config::{Config, HostConfig, ResourceConflict};
use crate::features::{self, register::Answered};
use crate::jid::{BareJid, Jid};
use crate::net::buffers::Text;
use crate::net::{ReadOutcome, Socket};
use crate::router::sessions::{Flag, SessionFacts};
use crate::router::{Control, Item, Session};
use crate::stanza::error::StanzaError;
use crate::telemetry::METRICS;
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::framer::{Frame, Framer, Limits};
use crate::xml::ns;
use crate::xml::stream_error::{StreamCondition, StreamError};

/// A resource taken anew after a conflict gets this many random digits.
const RENAMED_DIGITS: usize = 8;

/// How long somebody who registers may think.
const FORM_WITHIN: Duration = Duration::from_secs(600);

/// A connection whose client has signed in, and its session.
pub struct Signed {
    pub conn: Conn,
    pub session: Arc<Session>,
}

/// Why a negotiation led nowhere.
enum Failed {
    /// The connection is gone.
    Lost,
    /// The stream has been told; close it.
    Told,
}

/// Negotiates until a session is bound or resumed. `None`: the connection has been dealt with.
pub async fn run(
    streams: &Arc<Streams>,
    socket: Socket,
    peer: SocketAddr,
    direct_tls: bool,
) -> Option<Signed> {
    let limits = &streams.router.config.load().limits;
    let within = limits.negotiation_timeout;
    let framer = Framer::new(Limits {
        element_bytes_max: limits.stanza_bytes_max_before_auth,
        ..Limits::UNAUTHENTICATED
    });
    let conn = Conn { socket, framer, partial: Vec::new(), peer, lang: None };
    let hosts: Arc<dyn Hosts> = Arc::new(Door { streams: Arc::clone(streams), address: peer.ip() });
    let mut signin = Signin {
        streams: Arc::clone(streams),
        negotiator: Negotiator::new(hosts, Arc::clone(&streams.secret)),
        conn,
        session: None,
        secured: "",
        within,
        deadline: Instant::now() + within,
        patient: false,
    };
    match signin.negotiate(direct_tls).await {
        Ok(established) => signin.signed(*established),
        Err(failed) => {
            signin.abandon(failed).await;
            None
        }
    }
}

struct Signin {
    streams: Arc<Streams>,
    negotiator: Negotiator,
    conn: Conn,
    /// Set by the answer that bound or resumed it.
    session: Option<Arc<Session>>,
    /// TLS version, for operators.
    secured: &'static str,
    within: Duration,
    /// When the client has been waited for long enough.
    deadline: Instant,
    /// It has been given the time to fill in a form, once.
    patient: bool,
}

impl Signin {
    async fn negotiate(&mut self, direct_tls: bool) -> Result<Box<Established>, Failed> {
        if direct_tls {
            let up = self.secure().await?;
            if let Some(established) = self.feed(up).await? {
                return Ok(established);
            }
        }
        loop {
            while let Some(input) = self.next_input()? {
                if let Some(established) = self.feed(input).await? {
                    return Ok(established);
                }
            }
            let deadline = self.deadline;
            let heard = async {
                self.conn.socket.flush().await.map_err(|_| Failed::Lost)?;
                self.receive().await
            };
            match tokio::time::timeout_at(deadline, heard).await {
                Ok(heard) => heard?,
                Err(_) => {
                    let text = format!("Sign in within {} seconds.", self.within.as_secs());
                    let condition = StreamCondition::ConnectionTimeout;
                    return Err(self.fail(StreamError::with_text(condition, text)));
                }
            }
        }
    }

    /// The next thing the client said, if it has arrived whole.
    fn next_input(&mut self) -> Result<Option<Input>, Failed> {
        loop {
            let frame = match self.conn.framer.next(&self.conn.partial) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.fail(error)),
            };
            let len = frame.len();
            let input = match frame {
                Frame::Header { header, .. } => Some(Input::Header(header)),
                Frame::Element { len } => match self.conn.framer.element(&self.conn.partial[..len])
                {
                    Ok(element) => Some(Input::Element(element)),
                    Err(_) => {
                        return Err(self.fail(StreamError::new(StreamCondition::NotWellFormed)));
                    }
                },
                Frame::Whitespace { .. } => None,
                Frame::Close { .. } => {
                    farewell(&mut self.conn, None);
                    return Err(Failed::Told);
                }
            };
            self.conn.partial.drain(..len);
            if input.is_some() {
                return Ok(input);
            }
        }
    }

    async fn receive(&mut self) -> Result<(), Failed> {
        self.conn.socket.readable().await.map_err(|_| Failed::Lost)?;
        let mut text = Text::lend();
        let outcome = self.conn.socket.try_read(&mut text).map_err(|_| Failed::Lost)?;
        self.conn.partial.extend_from_slice(&text);
        match outcome {
            ReadOutcome::More | ReadOutcome::WouldBlock => Ok(()),
            // The last words may still be complete, but nobody waits for an answer.
            ReadOutcome::CloseNotify | ReadOutcome::Eof => Err(Failed::Lost),
        }
    }

    /// Gives the negotiator an input and does what it wants done, until it wants no more.
    async fn feed(&mut self, input: Input) -> Result<Option<Box<Established>>, Failed> {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            let mut outputs = Vec::new();
            self.negotiator.handle(next, Now::read(), &mut outputs);
            for output in outputs {
                match output {
                    Output::Send(bytes) => self.conn.socket.queue(&bytes),
                    Output::StartTls => input = Some(self.secure().await?),
                    Output::RestartStream => self.conn.framer.reset(),
                    Output::Limits(limits) => self.allow(limits),
                    Output::Ask(ask) => input = Some(Input::Answer(self.answer(ask).await)),
                    Output::Refused(refused) => self.refused(&refused),
                    Output::Established(established) => return Ok(Some(established)),
                    Output::Close(error) => {
                        farewell(&mut self.conn, Some(error));
                        return Err(Failed::Told);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The TLS handshake. Whatever the client sent in the clear behind `<starttls/>` ends the
    /// connection: it may not be the client's own.
    async fn secure(&mut self) -> Result<Input, Failed> {
        let conn = &mut self.conn;
        let already_read = std::mem::take(&mut conn.partial);
        let acceptor = &self.streams.acceptor;
        let accepted = conn
            .socket
            .accept_tls(acceptor, None, &already_read, self.within, &mut conn.partial)
            .await;
        match accepted {
            Ok(facts) => {
                conn.framer.reset();
                self.secured = if facts.is_tls13 { "TLSv1.3" } else { "TLSv1.2" };
                Ok(Input::TlsUp(Channel {
                    exporter: facts.exporter,
                    server_end_point: facts.certificate.end_point().map(Into::into),
                    version: Some(if facts.is_tls13 { 0x0304 } else { 0x0303 }),
                }))
            }
            Err(error) => {
                METRICS.tls_failed.inc();
                tracing::debug!(peer = %conn.peer, %error, "connection not secured");
                Err(Failed::Lost)
            }
        }
    }

    fn allow(&mut self, limits: StreamLimits) {
        let config = self.streams.router.config.load();
        self.conn.framer.set_limits(Limits {
            element_bytes_max: limits.bytes_max,
            depth_max: u16::try_from(config.limits.depth_max).unwrap_or(u16::MAX),
            attributes_max: config.limits.attributes_max,
            ..Limits::AUTHENTICATED
        });
    }

    fn refused(&self, refused: &Refused) {
        METRICS.logins_failed.inc();
        // Who was told to wait, or gave up, has guessed nothing.
        let guessed = !matches!(
            refused.failure,
            Failure::TemporaryAuthFailure | Failure::Aborted | Failure::NotAdmitted
        );
        if guessed {
            self.streams.note_failure(self.conn.peer.ip(), refused.account.as_ref());
        }
        let account = refused.account.as_ref().map(|a| a.as_str()).unwrap_or("?");
        let address = self.streams.router.config.load().log.addresses.show(self.conn.peer.ip());
        match &refused.decision {
            Some(Decision { rule, because, .. }) => {
                tracing::warn!(account, %address, rule, "sign-in refused: {because}");
            }
            None => {
                tracing::warn!(account, %address, reason = %refused.failure, "sign-in refused");
            }
        }
    }

    async fn answer(&mut self, ask: Ask) -> Answer {
        let (streams, peer) = (Arc::clone(&self.streams), self.conn.peer);
        match ask {
            Ask::Bind(request) => match self.bind(*request).await {
                Ok(bound) => Answer::Bound(Box::new(bound)),
                Err(Some(refusal)) => Answer::NotBound(refusal),
                Err(None) => Answer::Unavailable,
            },
            Ask::Resume(request) => self.resume(*request).await,
            Ask::Registration(request) => {
                let answer = accounts::answer(&streams, peer, Ask::Registration(request)).await;
                if let Answer::Registration(outcome) = &answer {
                    self.be_patient(outcome);
                }
                answer
            }
            other => accounts::answer(&streams, peer, other).await,
        }
    }

    /// People take their time to choose a name; once they have one, they sign in.
    fn be_patient(&mut self, outcome: &Result<Answered, StanzaError>) {
        match outcome {
            Ok(Answered::Form(_)) if !self.patient => {
                self.patient = true;
                self.deadline = Instant::now() + FORM_WITHIN;
            }
            Ok(Answered::Made(_) | Answered::Reset) => {
                self.deadline = Instant::now() + self.within;
            }
            _ => {}
        }
    }

    /// Binds a resource: the session exists from here on. `Err(None)`: the store failed.
    async fn bind(&mut self, request: BindRequest) -> Result<Bound, Option<BindRefusal>> {
        let streams = Arc::clone(&self.streams);
        let router = &streams.router;
        let host = router.host(request.jid.domain()).ok_or(Some(BindRefusal::NotAllowed))?;
        let account = match request.account.account {
            Some(id) => id,
            None => {
                let address = self.conn.peer.ip();
                accounts::create_guest(&streams, &host, &request.account.jid, address).await?
            }
        };
        let jid = settle_conflict(&streams, &host, &request).await?;
        let config = router.config.load_full();
        let mut id = [0; 8];
        crate::auth::secret::fill_random(&mut id);
        // SQLite's integers have a sign; so that the id is the same number everywhere.
        let id = u64::from_le_bytes(id) >> 1;
        let session =
            Arc::new(Session::new(id, jid.clone(), account, config.limits.mailbox_bytes_max));
        let device = accounts::note_device(&streams, &host, &request).await;
        *session.facts.lock() = SessionFacts {
            address: Some(self.conn.peer),
            tls: self.secured,
            mechanism: request.account.mechanism.as_str(),
            since: Now::read().secs(),
            device,
        };
        session.set(Flag::Carbons, request.carbons);
        session.set(Flag::ReadsArchive, request.bind2);
        session.heard.store(Now::read().secs(), Ordering::Relaxed);

        let metadata = if request.bind2 { archive_bounds(&streams, &session).await } else { None };
        if let Some(old) = router.sessions.insert(Arc::clone(&session)) {
            // Somebody else bound it since the conflict was settled.
            displace(&streams, &old).await;
        }
        // From here on the session must be ended by whoever gives it up.
        self.session = Some(Arc::clone(&session));
        if request.inactive {
            session.set_inactive(true);
        }
        let sm = match request.sm {
            Some(wish) => Some(start_sm(&streams, &session, wish).await),
            None => None,
        };
        Ok(Bound { jid: (jid != request.jid).then_some(jid), sm, metadata })
    }

    async fn resume(&mut self, request: ResumeRequest) -> Answer {
        let Some(account) = request.account.account else {
            return Answer::NotResumed(ResumeRefusal::NotFound { h: None });
        };
        let router = &self.streams.router;
        match lifecycle::resume(router, &request.previd, request.h, account).await {
            Ok(lifecycle::Resumed { session, handled }) => {
                METRICS.resumptions.inc();
                session.heard.store(Now::read().secs(), Ordering::Relaxed);
                {
                    let mut facts = session.facts.lock();
                    facts.address = Some(self.conn.peer);
                    facts.tls = self.secured;
                    facts.mechanism = request.account.mechanism.as_str();
                }
                let jid = session.jid.clone();
                self.session = Some(session);
                Answer::Resumed(Resumed { jid, h: handled })
            }
            Err(NotResumed::Unknown | NotResumed::Busy) => {
                Answer::NotResumed(ResumeRefusal::NotFound { h: None })
            }
            Err(NotResumed::TooHigh) => Answer::NotResumed(ResumeRefusal::HandledTooHigh),
        }
    }

    /// What was said wrong is said to the client, behind a header of ours.
    fn fail(&mut self, error: StreamError) -> Failed {
        let mut outputs = Vec::new();
        self.negotiator.fail(error, Now::read(), &mut outputs);
        for output in outputs {
            match output {
                Output::Send(bytes) => self.conn.socket.queue(&bytes),
                Output::Close(error) => farewell(&mut self.conn, Some(error)),
                _ => {}
            }
        }
        Failed::Told
    }

    async fn abandon(self, failed: Failed) {
        if let Some(session) = &self.session {
            // The stream broke between binding and the first stanza.
            lifecycle::end(&self.streams.router, session).await;
        }
        if let Failed::Told = failed {
            self.conn.socket.close(CLOSE_WITHIN).await;
        }
    }

    fn signed(self, established: Established) -> Option<Signed> {
        let session = self.session?;
        METRICS.logins_ok.inc();
        self.streams.router.note_source(&session.jid, self.conn.peer.ip());
        let address = self.streams.router.config.load().log.addresses.show(self.conn.peer.ip());
        let how = match established.how {
            How::Bound { .. } => "signed in",
            How::Resumed { .. } => "resumed",
        };
        tracing::info!(
            jid = %session.jid,
            %address,
            mechanism = established.account.mechanism.as_str(),
            tls = self.secured,
            "{how}"
        );
        let conn = Conn { lang: established.lang, ..self.conn };
        Some(Signed { conn, session })
    }
}

/// RFC 6120 §7.7.2.2 by the host's policy, and the bound on sessions of one account.
async fn settle_conflict(
    streams: &Streams,
    host: &HostConfig,
    request: &BindRequest,
) -> Result<Jid, Option<BindRefusal>> {
    let sessions = &streams.router.sessions;
    let mut jid = request.jid.clone();
    if let Some(old) = sessions.full(&jid) {
        let policy = match request.resource {
            // The same device again: its older session is a leftover.
            ResourceBy::Device => ResourceConflict::Replace,
            ResourceBy::Client | ResourceBy::Server => host.resource_conflict,
        };
        match policy {
            // A session without connection blocks nobody.
            _ if old.has(Flag::Parked) => displace(streams, &old).await,
            ResourceConflict::Replace => displace(streams, &old).await,
            ResourceConflict::Refuse => return Err(Some(BindRefusal::Conflict)),
            ResourceConflict::Rename => {
                let asked = jid.resource().unwrap_or_default().to_owned();
                let renamed = format!("{asked}.{}", random_digits(RENAMED_DIGITS));
                jid = jid.with_resource(&renamed).map_err(|_| Some(BindRefusal::Conflict))?;
            }
        }
    }
    let others = sessions.of(jid.bare_str());
    if others.len() >= streams.router.amount(&host.sessions_per_account_max, &request.jid) {
        // Sessions nobody attends go first, the oldest of them before the others.
        let parked = others.iter().filter(|s| s.has(Flag::Parked));
        match parked.min_by_key(|s| s.heard.load(Ordering::Relaxed)) {
            Some(oldest) => displace(streams, oldest).await,
            None => return Err(Some(BindRefusal::TooManySessions)),
        }
    }
    Ok(jid)
}

/// XEP-0386 §4: where the archive stands at this moment.
async fn archive_bounds(streams: &Streams, session: &Session) -> Option<Element> {
    let bounds = streams.router.store.archive().bounds(session.account).await;
    match bounds {
        Ok(bounds) => Some(features::archive::metadata(bounds)),
        Err(error) => {
            tracing::warn!(%error, "archive bounds not told");
            None
        }
    }
}

/// Ends an older session that is in the way; when this returns, its contacts know.
async fn displace(streams: &Streams, old: &Arc<Session>) {
    let text = "A newer session took this resource.";
    let error = StreamError::with_text(StreamCondition::Conflict, text);
    old.mailbox.control(Control::Close(error));
    lifecycle::end(&streams.router, old).await;
}

/// Switches XEP-0198 on; for Bind 2, where nothing was sent to the session before.
async fn start_sm(streams: &Streams, session: &Arc<Session>, wish: SmRequest) -> SmEnabled {
    // What came since the session is in the table is numbered like all that follows.
    let early = lifecycle::enable(session, granted(streams, wish.max));
    session.mailbox.requeue(0, early);
    grant(streams, session, wish).await
}

async fn grant(streams: &Streams, session: &Arc<Session>, wish: SmRequest) -> SmEnabled {
    if !wish.resume {
        return SmEnabled::default();
    }
    let token = random_digits(32);
    match lifecycle::make_resumable(&streams.router, session, &token).await {
        Ok(()) => {
            let max = session.sm.lock().as_ref().map(|sm| sm.resume_secs);
            SmEnabled { id: Some(token.into()), max }
        }
        Err(error) => {
            tracing::error!(jid = %session.jid, %error, "session not resumable");
            SmEnabled::default()
        }
    }
}

/// A classic `<enable/>` (XEP-0198 §3). Returns the answer, to be sent behind `early`: what waited
/// for the session before numbering began.
pub(super) async fn enable_sm(
    streams: &Streams,
    session: &Arc<Session>,
    element: &Element,
) -> (Vec<Item>, Element) {
    let resume = matches!(element.get("resume"), Some("true" | "1"));
    let max = element.get("max").and_then(|max| max.parse().ok());
    let early = lifecycle::enable(session, granted(streams, max));
    let enabled = grant(streams, session, SmRequest { resume, max }).await;
    let answer = Element::new("enabled", ns::SM3)
        .attr_opt("id", enabled.id.as_deref())
        .attr_opt("max", enabled.max.map(|max| max.to_string()))
        .attr_opt("resume", enabled.id.is_some().then_some("true"));
    (early, answer)
}

/// Random text of `[a-z2-7]`, five bits a digit.
fn random_digits(count: usize) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = vec![0; count];
    crate::auth::secret::fill_random(&mut bytes);
    bytes.iter().map(|b| char::from(DIGITS[usize::from(b & 31)])).collect()
}

/// The hosts as they show themselves to one address.
struct Door {
    streams: Arc<Streams>,
    address: IpAddr,
}

impl Hosts for Door {
    fn host(&self, domain: &str) -> Option<Arc<HostPolicy>> {
        let config = self.streams.router.config.load();
        let host = config.host(domain)?;
        let router = &self.streams.router;
        let registration = Registration {
            open: features::register::is_offered(router, host, self.address),
            by_token: router.store.invites().wait_at(domain),
        };
        let policy = policy(&config, host, &self.streams.iterations.load());
        Some(Arc::new(HostPolicy { registration, ..policy }))
    }

    fn admits(&self, account: &BareJid) -> Decision {
        let router = &self.streams.router;
        match router.host(account.domain()) {
            Some(host) => {
                router.decide(&host.sign_in, &host.domain, Some(account), Some(self.address))
            }
            // Gone by a reload since the stream began.
            None => {
                let because = "the host is not served any more".to_owned();
                Decision { allowed: false, because, ..Decision::open() }
            }
        }
    }
}

/// What a host offers to clients that sign in.
fn policy(config: &Config, host: &HostConfig, in_use: &[u32]) -> HostPolicy {
    let mut iterations = in_use.to_vec();
    if iterations.is_empty() {
        iterations.push(host.scram_iterations);
    }
    let limits = &config.limits;
    let idle = limits.ping_after + limits.ping_timeout;
    let idle_secs = u32::try_from(idle.as_secs()).unwrap_or(u32::MAX);
    let mechanisms = if host.is_guest() {
        vec![MechanismName::Anonymous]
    } else {
        accounts::mechanisms(&host.mechanisms)
    };
    let fast = FastPolicy { lifetime: host.token_lifetime, rotate_after: host.token_lifetime / 4 };
    HostPolicy {
        domain: host.domain.as_str().into(),
        mechanisms,
        tls_required: host.starttls_required,
        scram_iterations: host.scram_iterations,
        iterations_in_use: iterations,
        fast: (!host.is_guest()).then_some(fast),
        stream_management: true,
        features: features::stream_features(host),
        limits_before: StreamLimits {
            bytes_max: limits.stanza_bytes_max_before_auth,
            idle_secs: 0,
        },
        limits_after: StreamLimits { bytes_max: limits.stanza_bytes_max, idle_secs },
        attempts_max: limits.auth_attempts_max,
        registration: Registration::default(),
    }
}
