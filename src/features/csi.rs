//! XEP-0352: Client State Indication (1.0.0).
//!
//! `stream` handles `<active/>` and `<inactive/>`; what waits meanwhile, and what never does, is in
//! [`router::held`](crate::router::held). A resumed session is active (§5.2).

use super::{Feature, stream, xep};

pub const FEATURE: Feature = Feature {
    xeps: &[xep(352, "1.0.0")],
    stream: &[stream("<csi xmlns='urn:xmpp:csi:0'/>")],
    ..Feature::NONE
};
