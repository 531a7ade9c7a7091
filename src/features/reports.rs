//! XEP-0377: Blocking Command Reports (0.4.1): a report inside a block request is stored for the
//! operators. Reports are not forwarded, so the opt-ins of §5 have no effect.

use super::{Feature, Target, on, xep};
use crate::jid::Jid;
use crate::router::Router;
use crate::stanza::error::{Condition, StanzaError};
use crate::store::reports::Report;
use crate::store::{AccountId, StoreError};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(377, "0.4.1")],
    disco: &[on(Target::Host, ns::REPORTING)],
    ..Feature::NONE
};

/// Reports of one account that may wait for an operator. Past it a report is dropped; the block
/// stands regardless (§6).
const OPEN_MAX: usize = 100;
const REASON_BYTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 4_096;
const STANZA_IDS_MAX: usize = 64;

/// The reports inside a `<block/>`.
pub fn parse(block: &Element, reporter: AccountId, at: Now) -> Result<Vec<Report>, StanzaError> {
    let mut reports = Vec::new();
    for item in block.children() {
        let Some(report) = item.child("report", ns::REPORTING) else { continue };
        let about = Jid::parse(item.get("jid").unwrap_or_default());
        let about = about.map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        let reason = report.get("reason").filter(|r| !r.is_empty() && r.len() <= REASON_BYTES_MAX);
        let reason = reason.ok_or_else(|| {
            StanzaError::new(Condition::BadRequest).with_text("A report has a 'reason'.")
        })?;
        let mut text = String::new();
        if let Some(first) = report.child("text", ns::REPORTING) {
            text.push_str(first.text().trim());
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        }
        let ids = report.children().filter(|child| child.is("stanza-id", ns::SID));
        let stanza_ids = ids
            .filter_map(|id| Some((Jid::parse(id.get("by")?).ok()?, id.get("id")?.to_owned())))
            .filter(|(_, id)| id.len() <= REASON_BYTES_MAX)
            .take(STANZA_IDS_MAX)
            .collect();
        reports.push(Report { at, reporter, about, reason: reason.to_owned(), text, stanza_ids });
    }
    Ok(reports)
}

/// Stores reports. That too many of one account wait already is no error to its client.
pub async fn file(router: &Router, reports: Vec<Report>) -> Result<(), StoreError> {
    for report in reports {
        let (about, reporter) = (report.about.clone(), report.reporter.0);
        match router.store.reports().file(report, OPEN_MAX).await {
            Ok(id) => tracing::info!(id, %about, reporter, "abuse reported"),
            Err(StoreError::TooMany { max, .. }) => {
                tracing::info!(%about, reporter, max, "report dropped: too many of this account wait");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
