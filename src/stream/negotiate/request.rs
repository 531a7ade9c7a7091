//! What a client's `<authenticate/>` asks for (XEP-0388 and all that goes inline).

use super::SmRequest;
use crate::auth::devices::AGENT_TEXT_BYTES_MAX;
use crate::auth::{AgentId, Failure, Hash, HtMechanism, UserAgent, upgrade};
use crate::xml::element::Element;
use crate::xml::ns;

/// Longest `<tag/>` that becomes part of a resource, in bytes.
const TAG_BYTES_MAX: usize = 64;
/// XEP-0198 §5: an id is no longer than 4,000 bytes; ours are far shorter.
const PREVID_BYTES_MAX: usize = 4_000;

/// One `<authenticate/>`, without its mechanism and initial response.
#[derive(Default)]
pub(super) struct Request {
    pub agent: UserAgent,
    pub resume: Option<ResumeWish>,
    pub bind: Option<BindWish>,
    pub fast: Option<FastWish>,
    pub request_token: Option<HtMechanism>,
    /// Keys the client would compute, in the order it named them.
    pub upgrades: Vec<Hash>,
}

/// `<resume/>` of XEP-0198.
pub(super) struct ResumeWish {
    pub previd: Box<str>,
    pub h: u32,
}

/// `<bind/>` of XEP-0386.
#[derive(Default)]
pub(super) struct BindWish {
    pub tag: Option<Box<str>>,
    pub carbons: bool,
    pub inactive: bool,
    pub sm: Option<SmRequest>,
}

/// `<fast/>` of XEP-0484.
pub(super) struct FastWish {
    pub count: Option<u32>,
    pub invalidate: bool,
}

impl Request {
    pub(super) fn read(authenticate: &Element) -> Result<Request, Failure> {
        let mut request = Request::default();
        for child in authenticate.children() {
            match (child.name(), child.ns()) {
                ("user-agent", ns::SASL2) => request.agent = user_agent(child),
                ("resume", ns::SM3) => {
                    request.resume =
                        Some(ResumeWish::read(child).ok_or(Failure::MalformedRequest)?);
                }
                ("bind", ns::BIND2) => request.bind = Some(BindWish::read(child)),
                ("fast", ns::FAST) => request.fast = Some(FastWish::read(child)?),
                ("request-token", ns::FAST) => {
                    request.request_token = child.get("mechanism").and_then(HtMechanism::from_name);
                }
                ("upgrade", ns::UPGRADE) => {
                    let hash = upgrade::from_task_name(child.text().trim());
                    request.upgrades.extend(hash.filter(|hash| !request.upgrades.contains(hash)));
                }
                // What we do not know is not our business (XEP-0388 §2.3).
                _ => {}
            }
        }
        Ok(request)
    }
}

impl ResumeWish {
    pub(super) fn read(resume: &Element) -> Option<ResumeWish> {
        let previd = resume.get("previd")?;
        let h = resume.get("h")?.parse().ok()?;
        let fits = !previd.is_empty() && previd.len() <= PREVID_BYTES_MAX;
        fits.then(|| ResumeWish { previd: previd.into(), h })
    }
}

impl BindWish {
    fn read(bind: &Element) -> BindWish {
        let tag = bind.child("tag", ns::BIND2).map(Element::text);
        let tag = tag.as_deref().map(str::trim).filter(|t| (1..=TAG_BYTES_MAX).contains(&t.len()));
        BindWish {
            tag: tag.map(Into::into),
            carbons: bind.child("enable", ns::CARBONS).is_some(),
            inactive: bind.child("inactive", ns::CSI).is_some(),
            sm: bind.child("enable", ns::SM3).map(|enable| SmRequest {
                resume: enable.get("resume").is_some_and(is_true),
                max: enable.get("max").and_then(|max| max.parse().ok()),
            }),
        }
    }
}

impl FastWish {
    fn read(fast: &Element) -> Result<FastWish, Failure> {
        let count = match fast.get("count") {
            None => None,
            Some(count) => Some(count.parse().map_err(|_| Failure::MalformedRequest)?),
        };
        Ok(FastWish { count, invalidate: fast.get("invalidate").is_some_and(is_true) })
    }
}

fn user_agent(element: &Element) -> UserAgent {
    let text = |name| {
        let text: String = element.child(name, ns::SASL2)?.text();
        let mut text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
        text.truncate(text.floor_char_boundary(AGENT_TEXT_BYTES_MAX));
        (!text.is_empty()).then(|| text.into_boxed_str())
    };
    UserAgent {
        id: element.get("id").and_then(AgentId::of),
        software: text("software"),
        device: text("device"),
    }
}

/// `xs:boolean`.
fn is_true(value: &str) -> bool {
    matches!(value, "true" | "1")
}
