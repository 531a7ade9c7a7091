//! XEP-0050: Ad-Hoc Commands (1.3.0): forms by which people use what has no protocol of its own.
//!
//! A command is a function from the forms answered so far to the next [`Stage`]: it keeps nothing
//! between them. What must be kept is the [`Desk`]'s: who is at which stage, what was asked and
//! answered, for how long. Commands come from [`Feature::commands`] and from the [`Provider`]s
//! that rooms above this one install.
//!
//! Texts are English, and marked so; a language that the requester names is no reason to refuse
//! him, as clients send that of their user with every stream.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::{ALL, Ctx, Feature, Handled, Iq, Reply, Target, Who, on, set, xep};
use crate::jid::Jid;
use crate::router::Router;
use crate::stanza::error::{Condition, ErrorType, StanzaError};
use crate::stanza::forms::{Field, Form, FormKind};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    // The commands of XEP-0133 are those of a provider: `admin::doors::adhoc`.
    xeps: &[xep(50, "1.3.0"), xep(133, "1.3.1")],
    disco: &[on(Target::Host, ns::COMMANDS)],
    iq: &[set(Target::Host, Who::Local, "command", ns::COMMANDS, command)],
    ..Feature::NONE
};

/// Commands under way at once, of everybody and of one account; the oldest of an account gives way.
const TALKS_MAX: usize = 512;
const TALKS_PER_ACCOUNT_MAX: usize = 8;
/// A form that is not answered for so long is void.
const TALK_AGE_MAX: Duration = Duration::from_secs(15 * 60);
/// Stages of one command.
const STAGES_MAX: usize = 8;

/// A command of a feature.
pub struct Route {
    pub node: &'static str,
    pub name: &'static str,
    /// Whether the asker may run it; then it is listed too.
    pub may: fn(&Ctx<'_>) -> bool,
    pub run: for<'a> fn(&'a Ctx<'a>, &'a [Form]) -> Running<'a>,
}

/// Boxed for the same reason as [`Handled`].
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Stage, StanzaError>> + Send + 'a>>;

/// Where a command is after a form was answered.
#[derive(Debug)]
pub enum Stage {
    /// It asks for more; `last`: and for nothing after that.
    Ask { form: Form, last: bool },
    Done {
        form: Option<Form>,
        notes: Vec<Note>,
        /// Payload besides the form.
        more: Vec<Element>,
    },
}

impl Stage {
    /// The one and last form.
    pub fn ask(form: Form) -> Stage {
        Stage::Ask { form, last: true }
    }

    pub fn done(form: Form) -> Stage {
        Stage::Done { form: Some(form), notes: Vec::new(), more: Vec::new() }
    }

    /// Done, with a word about it.
    pub fn said(text: impl Into<String>) -> Stage {
        let note = Note { severity: Severity::Info, text: text.into() };
        Stage::Done { form: None, notes: vec![note], more: Vec::new() }
    }
}

/// A word for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub severity: Severity,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Info,
    Warn,
    /// What a command that came to its end has failed at.
    Error,
}

/// A command as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    pub node: String,
    pub name: String,
}

/// What is known of a node.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// There is such a command, and not for the asker.
    Forbidden,
    Command(Listing),
}

/// Commands that a room above features provides.
pub trait Provider: Send + Sync + 'static {
    /// Those that the asker may run, in order.
    fn list(&self, cx: &Ctx<'_>) -> Vec<Listing>;
    fn find(&self, cx: &Ctx<'_>, node: &str) -> Found;
    /// Runs one that was found; whether the asker may is asked anew at every stage.
    fn run<'a>(&'a self, cx: &'a Ctx<'a>, node: &'a str, answers: &'a [Form]) -> Running<'a>;
}

/// Adds commands to those of the features.
pub fn install(router: &Router, provider: Arc<dyn Provider>) {
    router.places.get::<Desk>().providers.write().push(provider);
}

/// disco#items of the node that lists commands.
pub fn items(cx: &Ctx<'_>) -> Element {
    let listed = listed(cx).into_iter().map(|command| {
        Element::new("item", ns::DISCO_ITEMS)
            .attr("jid", &cx.host.domain)
            .attr("node", command.node)
            .attr("name", command.name)
    });
    Element::new("query", ns::DISCO_ITEMS).attr("node", ns::COMMANDS).with_all(listed)
}

/// disco#info of the list or of a command; `None` for what is neither.
pub fn info(cx: &Ctx<'_>, node: &str) -> Option<Result<Element, StanzaError>> {
    let (typ, name) = match node {
        ns::COMMANDS => ("command-list", "Commands".to_owned()),
        _ => match find(cx, node).0 {
            Found::Nothing => return None,
            Found::Forbidden if cx.from.session().is_none() => return None,
            Found::Forbidden => return Some(Err(forbidden())),
            Found::Command(command) => ("command-node", command.name),
        },
    };
    let identity = Element::new("identity", ns::DISCO_INFO)
        .attr("category", "automation")
        .attr("type", typ)
        .attr("name", name);
    let features = [ns::COMMANDS, ns::DATA_FORMS].into_iter();
    let features = features.map(|var| Element::new("feature", ns::DISCO_INFO).attr("var", var));
    let info = Element::new("query", ns::DISCO_INFO).attr("node", node);
    Some(Ok(info.with(identity).with_all(features)))
}

fn routes() -> impl Iterator<Item = &'static Route> {
    ALL.iter().flat_map(|feature| feature.commands)
}

/// What the asker may run. Strangers may run nothing.
fn listed(cx: &Ctx<'_>) -> Vec<Listing> {
    if cx.from.session().is_none() {
        return Vec::new();
    }
    let own = routes().filter(|route| (route.may)(cx)).map(Route::listing);
    let providers = cx.router.places.get::<Desk>().providers.read().clone();
    own.chain(providers.iter().flat_map(|provider| provider.list(cx))).collect()
}

impl Route {
    fn listing(&self) -> Listing {
        Listing { node: self.node.to_owned(), name: self.name.to_owned() }
    }
}

/// Who runs a command.
enum Runner {
    Route(&'static Route),
    Provider(Arc<dyn Provider>),
    Nobody,
}

fn find(cx: &Ctx<'_>, node: &str) -> (Found, Runner) {
    if let Some(route) = routes().find(|route| route.node == node) {
        let found =
            if (route.may)(cx) { Found::Command(route.listing()) } else { Found::Forbidden };
        return (found, Runner::Route(route));
    }
    let providers = cx.router.places.get::<Desk>().providers.read().clone();
    for provider in providers {
        match provider.find(cx, node) {
            Found::Nothing => {}
            found => return (found, Runner::Provider(provider)),
        }
    }
    (Found::Nothing, Runner::Nobody)
}

fn forbidden() -> StanzaError {
    StanzaError::new(Condition::Forbidden)
        .with_type(ErrorType::Cancel)
        .with_text("You may not use this command.")
}

fn command<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let request = Request::parse(&iq.payload)?;
        let (found, runner) = find(cx, &request.node);
        match found {
            Found::Command(_) => {}
            Found::Forbidden => return Err(forbidden()),
            Found::Nothing => {
                let text = format!("There is no command {:?}.", request.node);
                return Err(StanzaError::new(Condition::ItemNotFound).with_text(text));
            }
        }
        let desk = cx.router.places.get::<Desk>();
        let asker = cx.from.jid();
        let mut talk = match desk.turn(asker, request, cx.now)? {
            Turn::Run(talk) => talk,
            Turn::Show(talk) => return Ok(Reply::Result(desk.keep(talk, cx.now)?)),
            Turn::Cancelled(id, node) => return Ok(Reply::Result(head(&id, &node, "canceled"))),
        };
        let running = match &runner {
            Runner::Route(route) => (route.run)(cx, &talk.answers),
            Runner::Provider(provider) => provider.run(cx, &talk.node, &talk.answers),
            Runner::Nobody => return Err(Condition::ItemNotFound.into()),
        };
        match running.await {
            Ok(Stage::Ask { form, last }) if talk.asked.len() < STAGES_MAX => {
                talk.asked.push(Asked { form, last });
                Ok(Reply::Result(desk.keep(talk, cx.now)?))
            }
            Ok(Stage::Ask { .. }) => Err(Condition::PolicyViolation.into()),
            Ok(Stage::Done { form, notes, more }) => {
                let done = head(&talk.id, &talk.node, "completed");
                let notes = notes.iter().map(Note::to_element);
                let form = form.iter().map(Form::to_element);
                Ok(Reply::Result(done.with_all(form).with_all(more).with_all(notes)))
            }
            Err(error) => {
                // The answer can be mended: the form is still open.
                if talk.answers.pop().is_some() {
                    desk.keep(talk, cx.now)?;
                }
                Err(error)
            }
        }
    })
}

impl Note {
    fn to_element(&self) -> Element {
        let severity = match self.severity {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
        };
        Element::new("note", ns::COMMANDS).attr("type", severity).with_text(&self.text)
    }
}

/// What the requester wants done with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Execute,
    Prev,
    Next,
    Complete,
    Cancel,
}

/// A `<command/>` that was sent to us.
#[derive(Debug)]
struct Request {
    node: String,
    session: Option<String>,
    action: Action,
    form: Option<Form>,
}

impl Request {
    fn parse(command: &Element) -> Result<Request, StanzaError> {
        let Some(node) = command.get("node").filter(|node| !node.is_empty()) else {
            let text = "A command is named by its 'node'.";
            return Err(StanzaError::new(Condition::BadRequest).with_text(text));
        };
        let action = match command.get("action").unwrap_or("execute") {
            "execute" => Action::Execute,
            "prev" => Action::Prev,
            "next" => Action::Next,
            "complete" => Action::Complete,
            "cancel" => Action::Cancel,
            other => {
                let text = format!("There is no action {other:?}.");
                return Err(wrong("malformed-action", text));
            }
        };
        if command.get("xml:lang").is_some_and(|lang| !is_language(lang)) {
            return Err(wrong("bad-locale", "The 'xml:lang' is not a language tag."));
        }
        let form = command.child("x", ns::DATA_FORMS).map(Form::from_element).transpose();
        let form = form.map_err(|error| wrong("bad-payload", error.to_string()))?;
        if let Some(form) = &form
            && !matches!(form.kind, FormKind::Submit | FormKind::Cancel)
        {
            return Err(wrong("bad-payload", "The form is not a submission."));
        }
        let session = command.get("sessionid").filter(|id| !id.is_empty()).map(str::to_owned);
        Ok(Request { node: node.to_owned(), session, action, form })
    }
}

/// RFC 5646 §2.1, roughly: parts of letters and digits.
fn is_language(tag: &str) -> bool {
    tag.is_empty()
        || tag.split('-').all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// An error of the protocol's own (§4.4).
fn wrong(condition: &str, text: impl Into<String>) -> StanzaError {
    let general = match condition {
        "session-expired" => Condition::NotAllowed,
        _ => Condition::BadRequest,
    };
    StanzaError::new(general).with_text(text).with_app(Element::new(condition, ns::COMMANDS))
}

/// A payload that the command cannot take: the same form may be sent again, mended.
pub fn bad_payload(text: impl Into<String>) -> StanzaError {
    wrong("bad-payload", text)
}

/// Commands under way.
#[derive(Default)]
pub struct Desk {
    providers: RwLock<Vec<Arc<dyn Provider>>>,
    talks: Mutex<Talks>,
}

#[derive(Default)]
struct Talks {
    /// Tells our ids from those of another process.
    era: Option<i64>,
    last: u64,
    open: HashMap<String, Talk>,
}

/// One command under way.
#[derive(Clone, Debug)]
struct Talk {
    id: String,
    number: u64,
    asker: Jid,
    node: String,
    /// What was asked, stage by stage; the last is open.
    asked: Vec<Asked>,
    /// The answers to all but the last.
    answers: Vec<Form>,
    touched: Now,
}

#[derive(Clone, Debug)]
struct Asked {
    form: Form,
    last: bool,
}

/// What is to be done with a request.
#[derive(Debug)]
enum Turn {
    Run(Talk),
    /// The form before is shown again.
    Show(Talk),
    Cancelled(String, String),
}

impl Desk {
    fn turn(&self, asker: &Jid, request: Request, now: Now) -> Result<Turn, StanzaError> {
        let mut talks = self.talks.lock();
        talks.open.retain(|_, talk| now.since(talk.touched) <= TALK_AGE_MAX);
        let Some(id) = request.session else {
            return match request.action {
                Action::Execute => Ok(Turn::Run(talks.begin(asker, request.node, now))),
                _ => Err(wrong("bad-action", "A command begins with the action 'execute'.")),
            };
        };
        let Some(talk) = talks.open.get(&id) else {
            return Err(if talks.is_ours(&id) {
                wrong("session-expired", "The session of this command has ended; begin anew.")
            } else {
                wrong("bad-sessionid", "There is no such session.")
            });
        };
        if talk.asker != *asker || talk.node != request.node {
            return Err(wrong("bad-sessionid", "The session is not one of this command."));
        }
        let (form, last) = match talk.asked.last() {
            Some(asked) => (&asked.form, asked.last),
            None => return Err(wrong("bad-sessionid", "There is no such session.")),
        };
        let action = match request.action {
            Action::Execute if last => Action::Complete,
            Action::Execute => Action::Next,
            action => action,
        };
        let answer = match action {
            Action::Cancel => {
                talks.open.remove(&id);
                return Ok(Turn::Cancelled(id, request.node));
            }
            Action::Prev if talk.asked.len() > 1 => None,
            Action::Next if !last => Some(request.form),
            Action::Complete if last => Some(request.form),
            _ => return Err(wrong("bad-action", "This stage of the command has no such action.")),
        };
        if let Some(answer) = &answer {
            check(answer.as_ref(), form)?;
        }
        // Taken out while it runs: nobody answers the same form twice.
        let Some(mut talk) = talks.open.remove(&id) else {
            return Err(Condition::InternalServerError.into());
        };
        match answer {
            Some(answer) => {
                talk.answers.push(answer.unwrap_or_else(|| Form::new(FormKind::Submit)));
                Ok(Turn::Run(talk))
            }
            None => {
                talk.asked.pop();
                if let (Some(asked), Some(answer)) = (talk.asked.last_mut(), talk.answers.pop()) {
                    remember(&mut asked.form, &answer);
                }
                Ok(Turn::Show(talk))
            }
        }
    }

    /// Keeps a command that waits for an answer, and says what it asks.
    fn keep(&self, talk: Talk, now: Now) -> Result<Element, StanzaError> {
        let Some(asked) = talk.asked.last() else {
            return Err(Condition::InternalServerError.into());
        };
        let action = |name| Element::new(name, ns::COMMANDS);
        let forward = if asked.last { "complete" } else { "next" };
        let actions = Element::new("actions", ns::COMMANDS)
            .attr("execute", forward)
            .with_all((talk.asked.len() > 1).then(|| action("prev")))
            .with(action(forward));
        let element =
            head(&talk.id, &talk.node, "executing").with(actions).with(asked.form.to_element());
        let mut talks = self.talks.lock();
        let own = |other: &&Talk| other.asker.bare_str() == talk.asker.bare_str();
        if talks.open.values().filter(own).count() >= TALKS_PER_ACCOUNT_MAX
            && let Some(oldest) = talks.open.values().filter(own).min_by_key(|talk| talk.number)
        {
            let oldest = oldest.id.clone();
            talks.open.remove(&oldest);
        }
        if talks.open.len() >= TALKS_MAX {
            let text = "Too many commands are under way; try again later.";
            return Err(StanzaError::new(Condition::ResourceConstraint).with_text(text));
        }
        talks.open.insert(talk.id.clone(), Talk { touched: now, ..talk });
        Ok(element)
    }
}

impl Talks {
    fn begin(&mut self, asker: &Jid, node: String, now: Now) -> Talk {
        let era = *self.era.get_or_insert(now.0);
        self.last += 1;
        Talk {
            id: format!("{era:x}-{}", self.last),
            number: self.last,
            asker: asker.clone(),
            node,
            asked: Vec::new(),
            answers: Vec::new(),
            touched: now,
        }
    }

    /// Has this been a session, here or before a restart?
    fn is_ours(&self, id: &str) -> bool {
        let Some((era, number)) = id.split_once('-') else { return false };
        let (Ok(era), Ok(number)) = (i64::from_str_radix(era, 16), number.parse::<u64>()) else {
            return false;
        };
        match self.era {
            Some(own) if own == era => number <= self.last,
            _ => era > 0,
        }
    }
}

/// Does an answer answer what was asked?
fn check(answer: Option<&Form>, asked: &Form) -> Result<(), StanzaError> {
    let empty = Form::new(FormKind::Submit);
    let answer = answer.unwrap_or(&empty);
    if let (Some(given), Some(expected)) = (&answer.form_type, &asked.form_type)
        && given != expected
    {
        return Err(bad_payload(format!("FORM_TYPE {expected} is expected, not {given}.")));
    }
    answer.check(asked).map_err(|error| bad_payload(error.to_string()))
}

/// Shows what was answered before; what is secret is not shown again.
fn remember(asked: &mut Form, answer: &Form) {
    use crate::stanza::forms::FieldType::{Fixed, Hidden, TextPrivate};
    let open = |field: &&mut Field| !matches!(field.typ, Some(Fixed | Hidden | TextPrivate));
    for field in asked.fields.iter_mut().filter(open) {
        if let Some(given) = field.var.as_deref().and_then(|var| answer.get(var)) {
            field.values.clone_from(&given.values);
        }
    }
}

fn head(id: &str, node: &str, status: &str) -> Element {
    Element::new("command", ns::COMMANDS)
        .attr("node", node)
        .attr("sessionid", id)
        .attr("status", status)
        .attr("xml:lang", "en")
}

#[cfg(test)]
mod tests;
