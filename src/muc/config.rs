//! What the owners of a room have decided about it. Stored as JSON, so that a setting added later
//! finds its default in rooms of before.

use serde::{Deserialize, Serialize};

use super::affiliation::Role;

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
    /// The role of somebody without affiliation in a moderated room.
    pub fn default_role(&self) -> Role {
        if self.voice_by_default { Role::Participant } else { Role::Visitor }
    }

    /// Is the presence of occupants of this role shown to all?
    pub fn broadcasts(&self, role: Role) -> bool {
        match role {
            Role::Moderator => self.broadcast_moderators,
            Role::Participant => self.broadcast_participants,
            Role::Visitor => self.broadcast_visitors,
            Role::None => true,
        }
    }

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
