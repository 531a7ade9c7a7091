//! What is known of somebody when a rule is asked.

use std::net::IpAddr;

use crate::jid::Jid;
use crate::store::groups::SharedGroups;

/// Whoever asks for something. A condition about what is not known here does not hold.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// A bare one where no resource is known; it counts as an empty resource then.
    pub jid: Option<&'a Jid>,
    pub address: Option<IpAddr>,
    /// The host on whose behalf the rule is asked.
    pub host: &'a str,
    pub groups: &'a SharedGroups,
}
