//! What sign-in asks of the store, in the negotiator's words. Password hashing runs on threads that
//! may take their time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Streams;
use super::negotiate::{Account, Answer, Ask, BindRefusal, BindRequest, RegistrationAsk, SignedIn};
use crate::auth::devices::TokenRefusal;
use crate::auth::mechanism::Facts;
use crate::auth::plain::{PlainJob, PlainVerdict};
use crate::auth::{
    AgentId, Credentials, Hash, HtMechanism, MechanismName, Offer, Password, Plus, ScramKeys,
    Token, TokenUse, Tokens, UserAgent,
};
use crate::config::{HostConfig, Mechanism};
use crate::delivery::{groups, route};
use crate::features::Outbox;
use crate::features::register::{self, Answered, scram_row};
use crate::jid::BareJid;
use crate::stanza::error::{Condition, StanzaError};
use crate::store::accounts::ScramRow;
use crate::store::devices::{Agent, TokenRow, TokenRows};
use crate::store::{AccountId, StoreError};
use crate::time::Now;

/// SASL mechanisms a host offers for its accounts, from the settings' words.
pub(super) fn mechanisms(allowed: &[Mechanism]) -> Vec<MechanismName> {
    let scram =
        |hash| [MechanismName::Scram(hash, Plus::Yes), MechanismName::Scram(hash, Plus::No)];
    let mut names = Vec::new();
    for mechanism in allowed {
        match mechanism {
            Mechanism::ScramSha512 => names.extend(scram(Hash::Sha512)),
            Mechanism::ScramSha256 => names.extend(scram(Hash::Sha256)),
            Mechanism::ScramSha1 => names.extend(scram(Hash::Sha1)),
            Mechanism::Plain => names.push(MechanismName::Plain),
        }
    }
    names
}

/// Answers everything but binding and resumption, which need the connection.
pub(super) async fn answer(streams: &Arc<Streams>, peer: SocketAddr, ask: Ask) -> Answer {
    match try_answer(streams, peer.ip(), ask).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(%error, "sign-in cannot be decided");
            Answer::Unavailable
        }
    }
}

async fn try_answer(streams: &Arc<Streams>, ip: IpAddr, ask: Ask) -> Result<Answer, StoreError> {
    Ok(match ask {
        Ask::Credentials(jid) => {
            if !streams.may_try(ip, &jid) {
                return Ok(Answer::Unavailable);
            }
            Answer::Credentials(credentials(streams, &jid).await?)
        }
        Ask::VerifyPlain(job) => {
            hash(streams, *job).await.map_or(Answer::Unavailable, Answer::Plain)
        }
        Ask::Tokens { account, agent, mechanism } => {
            if !streams.may_try(ip, &account) {
                return Ok(Answer::Unavailable);
            }
            Answer::Tokens(tokens(streams, &account, agent, mechanism).await?)
        }
        Ask::UseToken { account, agent, usage } => {
            Answer::TokenUsed(use_token(streams, &account, &agent, usage).await?)
        }
        Ask::StoreToken { account, agent, token } => {
            if let Some(device) = device_of(streams, &account, &agent).await? {
                let edit = move |rows: &mut TokenRows| {
                    let mut tokens = from_rows(std::mem::take(rows));
                    tokens.issue(token);
                    *rows = to_rows(tokens);
                };
                streams.router.store.devices().edit_tokens(device, edit).await?;
            }
            Answer::Stored
        }
        Ask::SaveKeys { account, keys } => {
            for keys in keys {
                let row = scram_row(&keys);
                streams.router.store.accounts().add_keys(&account.jid, row).await?;
            }
            Answer::Stored
        }
        Ask::Registration(request) => {
            Answer::Registration(Box::new(registration(streams, ip, *request).await))
        }
        // These need the connection and are answered by `signin`.
        Ask::Bind(_) | Ask::Resume(_) => Answer::Unavailable,
    })
}

/// A client without an account asks for one.
async fn registration(
    streams: &Arc<Streams>,
    address: IpAddr,
    request: RegistrationAsk,
) -> Result<Answered, StanzaError> {
    let RegistrationAsk { domain, asked, invite } = request;
    let router = &streams.router;
    let host = router.host(&domain).ok_or(Condition::ServiceUnavailable)?;
    let (out, now) = (Outbox::default(), Now::read());
    let invite = invite.as_deref();
    let wanted = register::before_sign_in(router, &host, asked, invite, address, &out, now).await;
    route::drain(router, out, now).await;
    if let Ok(Answered::Made(made)) = &wanted {
        groups::joined(router, &made.jid, now).await?;
    }
    wanted
}

/// What a password proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Right,
    Wrong,
    /// Right, but nobody is let in.
    Locked,
    /// Not tried: too many were wrong of late.
    TooOften,
}

impl Streams {
    /// Tries the password of `jid` for somebody at `address`, at the same price and under the same
    /// limits as PLAIN at sign-in.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub async fn check_password(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        jid: &BareJid,
        password: &str,
    ) -> Result<Verdict, StoreError> {
        if !self.may_try(address, jid) {
            return Ok(Verdict::TooOften);
        }
        let found = credentials(self, jid).await?;
        let Ok(password) = Password::prepare(password) else {
            self.note_failure(address, Some(jid));
            return Ok(Verdict::Wrong);
        };
        let mut iterations = self.iterations.load().to_vec();
        if iterations.is_empty() {
            iterations.extend(self.router.host(jid.domain()).map(|host| host.scram_iterations));
        }
        let facts = Facts {
            domain: jid.domain(),
            from: None,
            channel: None,
            offer: &Offer::default(),
            secret: &self.secret,
            iterations: &iterations,
            now: Now::read(),
        };
        let credentials = found.as_ref().map(|(_, credentials)| credentials);
        let job = PlainJob::new(password, jid, credentials, &facts);
        let tried = hash(self, job).await;
        let (Some((account, _)), Some(PlainVerdict { right: true, derived })) = (found, tried)
        else {
            self.note_failure(address, Some(jid));
            return Ok(Verdict::Wrong);
        };
        for keys in &derived {
            self.router.store.accounts().add_keys(jid, scram_row(keys)).await?;
        }
        Ok(if account.locked { Verdict::Locked } else { Verdict::Right })
    }
}

/// Tries a password where it does not hold up other work. `None`: whoever it was has proved
/// nothing.
async fn hash(streams: &Streams, job: PlainJob) -> Option<PlainVerdict> {
    // One per core at a time: guesses queue up, the server goes on.
    let _turn = streams.hashing.acquire().await.ok()?;
    tokio::task::spawn_blocking(move || job.run()).await.ok()
}

async fn account(streams: &Streams, jid: &BareJid) -> Result<Option<Account>, StoreError> {
    let found = streams.router.store.facts(jid).await?;
    Ok(found.map(|facts| Account { id: facts.id, locked: facts.locked, waiting: facts.waiting }))
}

async fn credentials(
    streams: &Streams,
    jid: &BareJid,
) -> Result<Option<(Account, Credentials)>, StoreError> {
    let account = account(streams, jid).await?;
    // Asked for unknown names too, so that they take as long.
    let rows = streams.router.store.accounts().keys(jid).await?;
    let Some(account) = account else { return Ok(None) };
    let mut credentials = Credentials::default();
    for row in rows {
        if let Some(keys) = scram_keys(row) {
            credentials.insert(keys);
        }
    }
    Ok((!credentials.is_empty()).then_some((account, credentials)))
}

fn scram_keys(row: ScramRow) -> Option<ScramKeys> {
    Some(ScramKeys {
        hash: Hash::from_name(&row.hash)?,
        salt: row.salt.into(),
        iterations: row.iterations,
        stored_key: crate::auth::Secret::new(row.stored_key),
        server_key: crate::auth::Secret::new(row.server_key),
    })
}

async fn tokens(
    streams: &Streams,
    jid: &BareJid,
    agent: AgentId,
    mechanism: HtMechanism,
) -> Result<Option<(Account, Tokens)>, StoreError> {
    let Some(account) = account(streams, jid).await? else { return Ok(None) };
    let found = streams.router.store.devices().find(account.id, agent.0).await?;
    let Some((_, rows)) = found else { return Ok(None) };
    let mut tokens = from_rows(rows);
    tokens.new = tokens.new.filter(|t| t.mechanism == mechanism);
    tokens.current = tokens.current.filter(|t| t.mechanism == mechanism);
    Ok(Some((account, tokens)))
}

fn from_rows(rows: TokenRows) -> Tokens {
    let token = |row: TokenRow| {
        Some(Token {
            nonce: row.nonce,
            mechanism: HtMechanism::from_name(&row.mechanism)?,
            issued: row.issued,
            expires: row.expires,
            count: row.count,
        })
    };
    Tokens { new: rows.new.and_then(token), current: rows.current.and_then(token) }
}

fn to_rows(tokens: Tokens) -> TokenRows {
    let row = |token: Token| TokenRow {
        nonce: token.nonce,
        mechanism: token.mechanism.name().to_owned(),
        issued: token.issued,
        expires: token.expires,
        count: token.count,
    };
    TokenRows { new: tokens.new.map(row), current: tokens.current.map(row) }
}

async fn use_token(
    streams: &Streams,
    account: &SignedIn,
    agent: &UserAgent,
    usage: TokenUse,
) -> Result<Result<(), TokenRefusal>, StoreError> {
    let (Some(id), Some(agent)) = (account.account, agent.id) else {
        return Ok(Err(TokenRefusal::Gone));
    };
    let devices = streams.router.store.devices();
    let Some((device, _)) = devices.find(id, agent.0).await? else {
        return Ok(Err(TokenRefusal::Gone));
    };
    let edit = move |rows: &mut TokenRows| {
        let mut tokens = from_rows(std::mem::take(rows));
        let verdict = tokens.apply(usage);
        *rows = to_rows(tokens);
        verdict
    };
    match devices.edit_tokens(device.id, edit).await {
        Err(StoreError::NotFound) => Ok(Err(TokenRefusal::Gone)),
        verdict => verdict,
    }
}

/// The device row of a client that names itself; made when it is new.
async fn device_of(
    streams: &Streams,
    account: &SignedIn,
    agent: &UserAgent,
) -> Result<Option<i64>, StoreError> {
    let (Some(id), Some(name)) = (account.account, agent.id) else { return Ok(None) };
    let Some(host) = streams.router.host(account.jid.domain()) else { return Ok(None) };
    let row = Agent {
        id: name.0,
        software: agent.software.as_deref().map(str::to_owned),
        name: agent.device.as_deref().map(str::to_owned),
    };
    let by_password = !matches!(account.mechanism, MechanismName::HashedToken(_));
    let devices = streams.router.store.devices();
    let max = host.tokens_per_account_max;
    Ok(Some(devices.seen(id, row, by_password, Now::read(), max).await?.id))
}

/// Notes that a device has signed in (XEP-0494); a failure costs no more than the note.
pub(super) async fn note_device(
    streams: &Streams,
    host: &HostConfig,
    request: &BindRequest,
) -> Option<i64> {
    if host.is_guest() {
        return None;
    }
    match device_of(streams, &request.account, &request.agent).await {
        Ok(device) => device,
        Err(error) => {
            tracing::warn!(%error, "a device was not noted");
            None
        }
    }
}

/// A guest's account lasts as long as its session (XEP-0175).
pub(super) async fn create_guest(
    streams: &Streams,
    host: &HostConfig,
    jid: &BareJid,
    address: IpAddr,
) -> Result<AccountId, Option<BindRefusal>> {
    if !host.is_guest() {
        return Err(Some(BindRefusal::NotAllowed));
    }
    if !streams.may_be_guest(address, host) {
        return Err(Some(BindRefusal::TooManySessions));
    }
    let guests = streams.router.store.accounts().count(&host.domain).await.map_err(|_| None)?;
    if guests >= host.guest.sessions_max as u64 {
        return Err(Some(BindRefusal::TooManySessions));
    }
    let created = streams.router.store.accounts().create(jid, Vec::new(), Now::read()).await;
    let joined = match created {
        Ok(id) => groups::joined(&streams.router, jid, Now::read()).await.map(|()| id),
        Err(error) => Err(error),
    };
    joined.map_err(|error| {
        tracing::error!(%error, "no place for a guest");
        None
    })
}
