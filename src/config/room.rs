//! Rooms: what a host lets people do with them, and what the owners of a room decide about it. The
//! latter is stored as JSON, so that a setting added later finds its default in rooms of before.

use serde::{Deserialize, Serialize};

use super::leaf::Choice;
use super::raw::Table;
use super::rules::{Access, Allowance};

/// Most occupants of any room.
pub const USERS_MAX: u32 = 5_000;
/// Most messages that a room shows to those who enter.
pub const HISTORY_MAX: u32 = 100;

/// Characters of a name, and of a description.
pub const TITLE_CHARS_MAX: usize = 256;
pub const DESCRIPTION_CHARS_MAX: usize = 2_048;

/// The settings of one room (XEP-0045 §10.2 and what ejabberd's users know beyond it).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomConfig {
    pub title: String,
    pub description: String,
    /// BCP 47, as in `fr`; empty if nothing was said.
    pub lang: String,
    /// It stays when the last occupant leaves.
    pub persistent: bool,
    /// Listed by the service.
    pub public: bool,
    /// Who is in it is told to anybody who asks.
    pub public_list: bool,
    /// Empty: none is asked for.
    pub password: String,
    pub users_max: u32,
    pub whois: Whois,
    /// Whose presence everybody sees.
    pub broadcast_moderators: bool,
    pub broadcast_participants: bool,
    pub broadcast_visitors: bool,
    pub members_only: bool,
    /// Those without a voice may only listen.
    pub moderated: bool,
    /// In a moderated room: somebody without affiliation may speak.
    pub voice_by_default: bool,
    /// Participants may change the subject.
    pub change_subject: bool,
    pub private_messages: PrivateMessages,
    pub visitor_private_messages: VisitorPrivateMessages,
    /// Occupants may send requests to each other.
    pub queries: bool,
    /// Members may invite.
    pub invites: bool,
    pub visitor_status: bool,
    pub visitor_nick_change: bool,
    pub voice_requests: bool,
    /// Between two requests of one visitor.
    pub voice_request_secs: u32,
    /// Messages are archived (XEP-0313).
    pub archive: bool,
    /// Messages shown on entering, at most.
    pub history_max: u32,
    /// Who may ask for the member list: nobody below this role, members aside.
    pub member_list: MemberList,
    /// XEP-0500: seconds between two messages of one participant; 0 for none.
    pub slow_mode_secs: u32,
    /// `xmpp:` URI of a node that belongs to the room.
    pub pubsub: String,
}

impl Default for RoomConfig {
    fn default() -> RoomConfig {
        RoomConfig {
            title: String::new(),
            description: String::new(),
            lang: String::new(),
            persistent: true,
            public: true,
            public_list: true,
            password: String::new(),
            users_max: 200,
            whois: Whois::Moderators,
            broadcast_moderators: true,
            broadcast_participants: true,
            broadcast_visitors: true,
            members_only: false,
            moderated: false,
            voice_by_default: true,
            change_subject: false,
            private_messages: PrivateMessages::Anyone,
            visitor_private_messages: VisitorPrivateMessages::Anyone,
            queries: true,
            invites: false,
            visitor_status: true,
            visitor_nick_change: true,
            voice_requests: true,
            voice_request_secs: 1_800,
            archive: true,
            history_max: 20,
            member_list: MemberList::Visitors,
            slow_mode_secs: 0,
            pubsub: String::new(),
        }
    }
}

impl RoomConfig {
    pub fn is_anonymous(&self) -> bool {
        self.whois == Whois::Moderators
    }

    pub fn needs_password(&self) -> bool {
        !self.password.is_empty()
    }
}

/// Who sees real addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whois {
    /// Semi-anonymous.
    Moderators,
    /// Non-anonymous.
    Anyone,
}

/// Who may send private messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivateMessages {
    Anyone,
    Participants,
    Moderators,
    None,
}

/// To whom visitors may send private messages, where they may at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisitorPrivateMessages {
    Anyone,
    Moderators,
    Nobody,
}

/// The lowest role that may ask for the member list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberList {
    Visitors,
    Participants,
    Moderators,
}

/// The rooms of a host (XEP-0045).
#[derive(Clone, Debug, PartialEq)]
pub struct Rooms {
    /// Who may enter rooms and ask about them.
    pub access: Access,
    /// Who may create rooms.
    pub create: Access,
    /// Who counts as an owner of every room.
    pub admin: Access,
    /// Rooms that one account may own.
    pub per_account_max: Allowance,
    /// Settings of a new room.
    pub default: RoomConfig,
}

/// Reads `[hosts."X".rooms]`.
pub(super) fn rooms(table: &mut Table<'_, '_>) -> Rooms {
    Rooms {
        access: table.access("access", "all"),
        create: table.access("create", "local"),
        admin: table.access("admin", "configure"),
        per_account_max: table.allowance("per_account_max", 100, 0..=100_000),
        default: table.section("default", default),
    }
}

fn default(table: &mut Table<'_, '_>) -> RoomConfig {
    let d = RoomConfig::default();
    RoomConfig {
        persistent: table.flag("persistent", d.persistent),
        public: table.flag("public", d.public),
        public_list: table.flag("public_list", d.public_list),
        users_max: table.count("users_max", d.users_max, 1..=USERS_MAX),
        whois: table.choice("whois", d.whois),
        broadcast_moderators: table.flag("broadcast_moderators", d.broadcast_moderators),
        broadcast_participants: table.flag("broadcast_participants", d.broadcast_participants),
        broadcast_visitors: table.flag("broadcast_visitors", d.broadcast_visitors),
        members_only: table.flag("members_only", d.members_only),
        moderated: table.flag("moderated", d.moderated),
        voice_by_default: table.flag("voice_by_default", d.voice_by_default),
        change_subject: table.flag("change_subject", d.change_subject),
        private_messages: table.choice("private_messages", d.private_messages),
        visitor_private_messages: table
            .choice("visitor_private_messages", d.visitor_private_messages),
        queries: table.flag("queries", d.queries),
        invites: table.flag("invites", d.invites),
        visitor_status: table.flag("visitor_status", d.visitor_status),
        visitor_nick_change: table.flag("visitor_nick_change", d.visitor_nick_change),
        voice_requests: table.flag("voice_requests", d.voice_requests),
        archive: table.flag("archive", d.archive),
        history_max: table.count("history_max", d.history_max, 0..=HISTORY_MAX),
        member_list: table.choice("member_list", d.member_list),
        ..d
    }
}

impl Choice for Whois {
    const ALL: &'static [(&'static str, Whois)] =
        &[("moderators", Whois::Moderators), ("anyone", Whois::Anyone)];
}

impl Choice for PrivateMessages {
    const ALL: &'static [(&'static str, PrivateMessages)] = &[
        ("anyone", PrivateMessages::Anyone),
        ("participants", PrivateMessages::Participants),
        ("moderators", PrivateMessages::Moderators),
        ("none", PrivateMessages::None),
    ];
}

impl Choice for VisitorPrivateMessages {
    const ALL: &'static [(&'static str, VisitorPrivateMessages)] = &[
        ("anyone", VisitorPrivateMessages::Anyone),
        ("moderators", VisitorPrivateMessages::Moderators),
        ("nobody", VisitorPrivateMessages::Nobody),
    ];
}

impl Choice for MemberList {
    const ALL: &'static [(&'static str, MemberList)] = &[
        ("visitors", MemberList::Visitors),
        ("participants", MemberList::Participants),
        ("moderators", MemberList::Moderators),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_an_older_room_get_the_defaults_of_new_ones() {
        let config: RoomConfig = serde_json::from_str(r#"{"title":"Coven"}"#).unwrap();
        assert_eq!(config, RoomConfig { title: "Coven".to_owned(), ..RoomConfig::default() });
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<RoomConfig>(&json).unwrap(), config);
    }
}
