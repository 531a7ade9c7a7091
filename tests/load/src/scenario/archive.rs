//! Archive paging (XEP-0313): the newest page, as a client asks for it first, then all pages from
//! the oldest on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::task::JoinSet;

use super::{Run, joined};
use crate::clock;
use crate::error::{Error, Result};
use crate::histogram::Histogram;
use crate::report::Report;
use crate::scenario::messages::template::Template;
use crate::session::{Session, between};
use crate::target::Target;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Messages each account's archive holds at least; what is missing is sent first
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub fill: u64,
    /// Messages asked for per page
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub page: u64,
    /// Seconds of paging
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub duration: u64,
    /// Bytes of each message sent to fill the archive
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(200..=60_000))]
    pub size: u64,
}

/// Messages under way while an archive is filled.
const FILL_BATCH: u64 = 20;

#[derive(Default)]
struct Tally {
    pages: Cell<u64>,
    messages: Cell<u64>,
    newest: RefCell<Histogram>,
    walk: RefCell<Histogram>,
}

pub async fn run(run: &Run, options: &Options) -> Result<Report> {
    if !run.users.is_multiple_of(2) {
        return Err(Error::Usage("archive fills archives by pairs: --users must be even".into()));
    }
    let mut sessions = run.login_all().await?;
    for (pair, both) in sessions.chunks_exact_mut(2).enumerate() {
        let [left, right] = both else { unreachable!("chunks of two") };
        fill(run, options, run.first + 2 * pair, left, right).await?;
    }

    let tally = Rc::new(Tally::default());
    let meter = run.meter()?;
    let started = clock::micros();
    let deadline = started + options.duration * 1_000_000;
    let mut workers = JoinSet::new();
    for mut session in sessions {
        let (target, tally, options) = (run.target.clone(), tally.clone(), options.clone());
        workers.spawn_local(async move {
            while clock::micros() < deadline {
                newest(&target, &mut session, &options, &tally).await?;
                walk(&target, &mut session, &options, &tally, deadline).await?;
            }
            session.close().await;
            Ok(())
        });
    }
    while let Some(outcome) = workers.join_next().await {
        joined(outcome)?;
    }
    let seconds = (clock::micros() - started) as f64 / 1e6;
    let (server, own) = meter.since(run)?;

    let mut report = Report::default();
    let (pages, messages) = (tally.pages.get() as f64, tally.messages.get() as f64);
    report.add("pages", pages, "");
    report.add("archived_messages_read", messages, "");
    report.add("seconds", seconds, "s");
    report.add("pages_per_second", pages / seconds, "/s");
    report.add("archived_messages_per_second", messages / seconds, "/s");
    report.add_latency("newest_page", &tally.newest.borrow());
    report.add_latency("page", &tally.walk.borrow());
    report.add_cpu("pages", pages, server, own);
    Ok(report)
}

/// Sends what the archive of account `index`, which is `left`, lacks, to its partner `right`.
async fn fill(
    run: &Run,
    options: &Options,
    index: usize,
    left: &mut Session,
    right: &mut Session,
) -> Result<()> {
    let target = &run.target;
    left.announce(target).await?;
    right.announce(target).await?;
    let there = walk(target, left, options, &Tally::default(), u64::MAX).await?;
    let mut template = Template::new(&target.jid(index + 1), options.size as usize);
    let mut left_to_send = options.fill.saturating_sub(there);
    while left_to_send > 0 {
        let batch = left_to_send.min(FILL_BATCH);
        let mut text = Vec::new();
        (0..batch).for_each(|_| template.write(clock::micros(), &mut text));
        left.send(std::str::from_utf8(&text).expect("the template is ASCII")).await?;
        let mut received = 0;
        right
            .await_element(target, "messages that fill the archive", |element| {
                received += u64::from(element.starts_with(b"<message"));
                received == batch
            })
            .await?;
        left_to_send -= batch;
    }
    Ok(())
}

/// Asks for the newest page.
async fn newest(
    target: &Target,
    session: &mut Session,
    options: &Options,
    tally: &Tally,
) -> Result<()> {
    page(target, session, options, "<before/>", tally, &tally.newest).await.map(drop)
}

/// Asks for all pages from the oldest on, but for none after `deadline`; returns the number of
/// messages.
async fn walk(
    target: &Target,
    session: &mut Session,
    options: &Options,
    tally: &Tally,
    deadline: u64,
) -> Result<u64> {
    let mut position = String::new();
    let mut messages = 0;
    while clock::micros() < deadline {
        let page = page(target, session, options, &position, tally, &tally.walk).await?;
        messages += page.messages;
        match page.last {
            Some(last) if !page.complete && page.messages > 0 => {
                position = format!("<after>{last}</after>");
            }
            _ => break,
        }
    }
    Ok(messages)
}

struct Page {
    messages: u64,
    complete: bool,
    last: Option<String>,
}

async fn page(
    target: &Target,
    session: &mut Session,
    options: &Options,
    position: &str,
    tally: &Tally,
    latency: &RefCell<Histogram>,
) -> Result<Page> {
    let id = format!("p{}", tally.pages.get());
    let started = clock::micros();
    session
        .send(&format!(
            "<iq type='set' id='{id}'><query xmlns='urn:xmpp:mam:2' queryid='q'>\
             <set xmlns='http://jabber.org/protocol/rsm'><max>{}</max>{position}</set></query></iq>",
            options.page
        ))
        .await?;
    let mut messages = 0;
    let fin = session
        .await_element(target, "a page of the archive", |element| {
            messages += u64::from(element.starts_with(b"<message"));
            element.starts_with(b"<iq")
        })
        .await?;
    latency.borrow_mut().record(clock::micros() - started);
    tally.pages.set(tally.pages.get() + 1);
    tally.messages.set(tally.messages.get() + messages);
    let text = String::from_utf8_lossy(&fin);
    if !text.contains("<fin") {
        return Err(Error::unexpected("a page of the archive", &fin));
    }
    let complete = text.contains("complete='true'") || text.contains("complete=\"true\"");
    let last = between(&fin, "<last>", "</last>").map(str::to_owned);
    Ok(Page { messages, complete, last })
}
