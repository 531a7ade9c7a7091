//! What a room tells of itself (XEP-0045 §6.4, §6.5; XEP-0500 §5).

use super::affiliation::Affiliation;
use super::room::{Room, Sender};
use crate::stanza::forms::{Field, FieldType, Form, FormKind};
use crate::xml::element::Element;
use crate::xml::ns;

/// Contacts of a room that are told.
const CONTACTS_MAX: usize = 10;

/// What every room can do.
const FEATURES: &[&str] = &[
    ns::DISCO_INFO,
    ns::DISCO_ITEMS,
    ns::MUC,
    ns::MUC_STABLE_ID,
    ns::MUC_SELF_PING,
    ns::OCCUPANT_ID,
    ns::REGISTER,
    ns::PING,
];

/// What rooms with an archive can do besides.
const ARCHIVE_FEATURES: &[&str] =
    &[ns::MAM2, ns::MAM2_EXTENDED, ns::SID, ns::MODERATE, ns::RETRACT];

impl Room {
    /// The name for lists.
    pub fn name(&self) -> &str {
        match self.config.title.as_str() {
            "" => self.jid.local().unwrap_or_default(),
            title => title,
        }
    }

    /// disco#info without a node.
    pub fn info(&self) -> Element {
        let config = &self.config;
        let archive: &[&str] = if self.archives() { ARCHIVE_FEATURES } else { &[] };
        let either = |yes: bool, on: &'static str, off: &'static str| if yes { on } else { off };
        let kind = [
            either(config.public, "muc_public", "muc_hidden"),
            either(config.persistent, "muc_persistent", "muc_temporary"),
            either(config.members_only, "muc_membersonly", "muc_open"),
            either(config.moderated, "muc_moderated", "muc_unmoderated"),
            either(config.is_anonymous(), "muc_semianonymous", "muc_nonanonymous"),
            either(config.needs_password(), "muc_passwordprotected", "muc_unsecured"),
        ];
        let identity = Element::new("identity", ns::DISCO_INFO)
            .attr("category", "conference")
            .attr("type", "text")
            .attr("name", self.name());
        let features = FEATURES.iter().chain(archive).chain(&kind);
        Element::new("query", ns::DISCO_INFO)
            .with(identity)
            .with_all(features.map(|var| Element::new("feature", ns::DISCO_INFO).attr("var", var)))
            .with(self.more().to_element())
    }

    /// XEP-0128.
    fn more(&self) -> Form {
        let config = &self.config;
        let line = |var: &str, label: &str| Field::new(FieldType::TextSingle, var).label(label);
        let owners = self.with_affiliation(Affiliation::Owner).take(CONTACTS_MAX);
        let mut form = Form::new(FormKind::Result)
            .form_type(ns::MUC_ROOM_INFO)
            .field(line("muc#roominfo_description", "Description").value(&config.description))
            .field(
                line("muc#roominfo_occupants", "Occupants").value(self.occupants.len().to_string()),
            )
            .field(
                line("muc#maxhistoryfetch", "Messages shown to those who enter")
                    .value(config.history_max.to_string()),
            )
            .field(
                Field::new(FieldType::Boolean, "muc#roomconfig_changesubject")
                    .label("Occupants may change the subject")
                    .boolean(config.change_subject),
            );
        // What is said in a room of members is theirs.
        if !config.members_only {
            let subject = self.subject.text().unwrap_or_default();
            form = form.field(line("muc#roominfo_subject", "Subject").value(subject));
        }
        if !config.is_anonymous() {
            form = form.field(
                Field::new(FieldType::JidMulti, "muc#roominfo_contactjid")
                    .label("Contact addresses")
                    .values(owners.map(|(owner, _)| owner.to_string())),
            );
        }
        for (var, label, value) in [
            ("muc#roominfo_lang", "Language", &config.lang),
            ("muc#roominfo_pubsub", "Associated node", &config.pubsub),
        ] {
            if !value.is_empty() {
                form = form.field(line(var, label).value(value));
            }
        }
        if config.slow_mode_secs > 0 {
            form = form.field(
                line("muc#roominfo_slow_mode_duration", "Seconds between messages")
                    .value(config.slow_mode_secs.to_string()),
            );
        }
        form
    }

    /// disco#items: who is there, where that is no secret.
    pub fn items(&self, sender: Sender<'_>) -> Element {
        let inside = self.occupants.of(sender.jid).is_some();
        let open = self.config.public_list && !self.config.members_only && self.config.public;
        let query = Element::new("query", ns::DISCO_ITEMS);
        if !inside && !open {
            return query;
        }
        query.with_all(self.occupants.iter().filter(|occupant| self.broadcasts(occupant.role)).map(
            |occupant| {
                Element::new("item", ns::DISCO_ITEMS)
                    .attr("jid", occupant.jid.as_str())
                    .attr("name", occupant.nick())
            },
        ))
    }

    /// disco#info at the node `x-roomuser-item` (§7.12).
    pub fn reserved_item(&self, sender: Sender<'_>) -> Element {
        let identity = self.reserved_nick(sender).map(|nick| {
            Element::new("identity", ns::DISCO_INFO)
                .attr("category", "conference")
                .attr("type", "text")
                .attr("name", nick)
        });
        Element::new("query", ns::DISCO_INFO).attr("node", "x-roomuser-item").with_all(identity)
    }
}
