//! Writes accounts into a file that nobody else can read, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Context;
use crate::admin::op::{Refusal, RefusalKind};
use crate::config::HostConfig;
use crate::jid::{BareJid, Jid};
use crate::stanza::delay::Delay;
use crate::store::AccountId;
use crate::store::archive::{ArchiveQuery, Archived, Position};
use crate::xml::Element;
use crate::xml::{ns, write};

/// Bytes that are written at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Accounts, and messages that wait, of one look into the store.
const ACCOUNTS_PAGE: usize = 200;
const WAITING_PAGE: usize = 100;

/// What went out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exported {
    pub file: String,
    pub accounts: u64,
    pub archived: u64,
    /// Messages that wait for their receiver.
    pub waiting: u64,
    pub bytes: u64,
}

/// Exports one account, or all of some hosts, into `file`, which must not be there yet.
///
/// # Errors
/// If there is nothing to export, or the file cannot be written. Then there is none.
pub async fn export(
    cx: &Context,
    hosts: &[Arc<HostConfig>],
    account: Option<&BareJid>,
    file: &Path,
) -> Result<Exported, Refusal> {
    let mut out = Out::create(file)?;
    out.text(&format!(
        "<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='{}'>\n",
        ns::PIE
    ));
    let mut done = Exported { file: file.display().to_string(), ..Exported::default() };
    for host in hosts {
        let mut begun = false;
        let mut after: Option<String> = None;
        loop {
            let page = match account {
                Some(jid) => cx.store().accounts().find(jid).await?.into_iter().collect(),
                None => {
                    let accounts = cx.store().accounts();
                    accounts.list(&host.domain, "", after.as_deref(), ACCOUNTS_PAGE).await?
                }
            };
            for account in &page {
                if !std::mem::replace(&mut begun, true) {
                    out.open("host", "jid", &host.domain);
                }
                user(cx, &mut out, &account.jid, account.id, &mut done).await?;
                done.accounts += 1;
            }
            if account.is_some() || page.len() < ACCOUNTS_PAGE {
                break;
            }
            after = page.last().and_then(|account| account.jid.local()).map(str::to_owned);
        }
        if begun {
            out.text("</host>\n");
        }
    }
    if done.accounts == 0 {
        return Err(Refusal::not_found("there is no account to export"));
    }
    out.text("</server-data>\n");
    done.bytes = out.finish().await?;
    Ok(done)
}

async fn user(
    cx: &Context,
    out: &mut Out,
    jid: &BareJid,
    account: AccountId,
    done: &mut Exported,
) -> Result<(), Refusal> {
    let store = cx.store();
    out.open("user", "name", jid.local().unwrap_or_default());
    // The schema wants these first.
    let mut after = None;
    loop {
        let page = store.offline().fetch(account, after, WAITING_PAGE).await?;
        let Some(last) = page.last() else { break };
        if after.is_none() {
            out.text("<offline-messages>\n");
        }
        after = Some(last.id);
        for message in &page {
            if let Some(message) = waiting(message, jid) {
                out.element(&message);
                done.waiting += 1;
            }
        }
        out.flush().await?;
    }
    if after.is_some() {
        out.text("</offline-messages>\n");
    }
    for key in store.accounts().keys(jid).await? {
        let leaf = |name: &str, text: String| Element::new(name, ns::PIE_SCRAM).with_text(&text);
        let element = Element::new("scram-credentials", ns::PIE_SCRAM)
            .attr("mechanism", format!("SCRAM-{}", key.hash))
            .with(leaf("iter-count", key.iterations.to_string()))
            .with(leaf("salt", STANDARD.encode(&key.salt)))
            .with(leaf("server-key", STANDARD.encode(&key.server_key)))
            .with(leaf("stored-key", STANDARD.encode(&key.stored_key)));
        out.element(&element);
    }
    let roster = store.rosters().get(account).await?.items;
    if !roster.is_empty() {
        let items = roster.iter().map(crate::features::roster::item_element);
        out.element(&Element::new("query", ns::ROSTER).with_all(items));
    }
    for (_, request) in store.rosters().requests(account).await? {
        out.xml(&request);
    }
    let private = store.survey().private(account).await?;
    if !private.is_empty() {
        out.text(&format!("<query xmlns='{}'>", ns::PRIVATE));
        for (name, namespace, _) in private {
            let element = store.private().get(account, &name, &namespace).await?;
            element.iter().for_each(|xml| out.stored(xml));
        }
        out.text("</query>\n");
    }
    if let Some(vcard) = store.vcards().get(account).await? {
        out.stored(&vcard);
    }
    let blocked = store.blocks().list(account).await?;
    if !blocked.is_empty() {
        block_list(out, &blocked);
    }
    archive(cx, out, account, done).await?;
    out.text("</user>\n");
    out.flush().await
}

/// A message that waits, with the time it came and the name it has in the archive.
fn waiting(message: &Archived, owner: &BareJid) -> Option<Element> {
    let mut element = Element::parse(&message.stanza, ns::CLIENT).ok()?;
    let host = Jid::parse(owner.domain()).ok();
    element.push(Delay::new(message.id.time(), host).to_element());
    let id = Element::new("stanza-id", ns::SID)
        .attr("by", owner.as_str())
        .attr("id", message.id.to_string());
    element.push(id);
    Some(element)
}

/// As XEP-0191 has it, and as the privacy list that XEP-0227 knows.
fn block_list(out: &mut Out, blocked: &[Jid]) {
    let item = |jid: &Jid| Element::new("item", ns::BLOCKING).attr("jid", jid.as_str());
    out.element(&Element::new("blocklist", ns::BLOCKING).with_all(blocked.iter().map(item)));
    let rule = |(order, jid): (usize, &Jid)| {
        Element::new("item", ns::PRIVACY)
            .attr("type", "jid")
            .attr("value", jid.as_str())
            .attr("action", "deny")
            .attr("order", (order + 1).to_string())
    };
    let last = Element::new("item", ns::PRIVACY)
        .attr("action", "allow")
        .attr("order", (blocked.len() + 1).to_string());
    let list = Element::new("list", ns::PRIVACY)
        .attr("name", "blocked")
        .with_all(blocked.iter().enumerate().map(rule))
        .with(last);
    let default = Element::new("default", ns::PRIVACY).attr("name", "blocked");
    out.element(&Element::new("query", ns::PRIVACY).with(default).with(list));
}

async fn archive(
    cx: &Context,
    out: &mut Out,
    account: AccountId,
    done: &mut Exported,
) -> Result<(), Refusal> {
    let mut query = ArchiveQuery::of(account);
    let mut begun = false;
    loop {
        let page = cx.store().archive().page(query.clone()).await?;
        let Some(last) = page.last() else { break };
        if !std::mem::replace(&mut begun, true) {
            out.text(&format!("<archive xmlns='{}'>\n", ns::PIE_MAM));
        }
        for message in &page.items {
            let delay = Delay::new(message.id.time(), None).to_element();
            out.text(&format!(
                "<result xmlns='{}' id='{}'><forwarded xmlns='{}'>",
                ns::MAM2,
                message.id,
                ns::FORWARD
            ));
            out.inside(&delay, ns::FORWARD);
            out.xml(&message.stanza);
            out.text("</forwarded></result>\n");
            done.archived += 1;
        }
        out.flush().await?;
        if page.complete {
            break;
        }
        query.rsm.at = Position::After(last);
    }
    if begun {
        out.text("</archive>\n");
    }
    Ok(())
}

/// The file on its way: under another name until it is whole.
struct Out {
    path: PathBuf,
    part: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
    written: u64,
}

impl Out {
    fn create(path: &Path) -> Result<Out, Refusal> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !path.is_absolute() || name.is_empty() {
            return Err(Refusal::usage(format!("{}: the whole path of a file", path.display())));
        }
        if path.exists() {
            let text = format!("{} is there already", path.display());
            return Err(Refusal::new(RefusalKind::Conflict, text).help("name another file"));
        }
        let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let file = file.map_err(|error| failed(path, &error))?;
        Ok(Out { path: path.to_owned(), part, file: Some(file), buffer: Vec::new(), written: 0 })
    }

    fn text(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    fn open(&mut self, name: &str, attribute: &str, value: &str) {
        self.text("<");
        self.text(name);
        write::attribute(&mut self.buffer, attribute, value);
        self.text(">\n");
    }

    fn element(&mut self, element: &Element) {
        self.inside(element, ns::PIE);
        self.text("\n");
    }

    fn inside(&mut self, element: &Element, ns: &str) {
        element.write(&mut self.buffer, ns);
    }

    /// XML that declares its own namespace.
    fn xml(&mut self, xml: &[u8]) {
        self.buffer.extend_from_slice(xml);
    }

    /// XML as a client wrote it into its store; read and written again, in case it declares no
    /// namespace of its own.
    fn stored(&mut self, xml: &Bytes) {
        if let Ok(element) = Element::parse(xml, ns::CLIENT) {
            self.element(&element);
        }
    }

    async fn flush(&mut self) -> Result<(), Refusal> {
        if self.buffer.len() < CHUNK_BYTES {
            return Ok(());
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<(), Refusal> {
        let (Some(mut file), buffer) = (self.file.take(), std::mem::take(&mut self.buffer)) else {
            return Ok(());
        };
        self.written += buffer.len() as u64;
        let wrote = tokio::task::spawn_blocking(move || file.write_all(&buffer).map(|()| file));
        let file = wrote.await.map_err(|error| Refusal::bug(&error))?;
        self.file = Some(file.map_err(|error| failed(&self.path, &error))?);
        Ok(())
    }

    async fn finish(mut self) -> Result<u64, Refusal> {
        self.write().await?;
        let (path, part, file) = (self.path.clone(), self.part.clone(), self.file.take());
        let named = tokio::task::spawn_blocking(move || {
            if let Some(file) = file {
                file.sync_all()?;
            }
            // Unlike a rename it takes nobody's place.
            fs::hard_link(&part, &path)?;
            File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
        });
        let named = named.await.map_err(|error| Refusal::bug(&error))?;
        named.map_err(|error| failed(&self.path, &error))?;
        Ok(self.written)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // Its other name, or all there is of a file that was not finished.
        let _ = fs::remove_file(&self.part);
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Refusal {
    let kind = match error.kind() {
        std::io::ErrorKind::AlreadyExists => RefusalKind::Conflict,
        _ => RefusalKind::Unavailable,
    };
    Refusal::new(kind, format!("{} cannot be written: {error}", path.display()))
        .help("the server writes it: name a folder in which the server's user may write")
}
