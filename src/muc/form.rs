//! The form of a room's settings (XEP-0045 §10.2, and the fields that ejabberd's clients know).

use crate::config::room::{
    DESCRIPTION_CHARS_MAX, HISTORY_MAX, MemberList, PrivateMessages, RoomConfig, TITLE_CHARS_MAX,
    USERS_MAX, VisitorPrivateMessages, Whois,
};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::forms::{Field, FieldType, Form, FormKind};
use crate::xml::ns;

/// Characters of a room's password.
const PASSWORD_CHARS_MAX: usize = 256;
/// A day.
const SECS_MAX: u32 = 86_400;

/// A setting that is on or off.
struct Switch {
    var: &'static str,
    label: &'static str,
    of: fn(&mut RoomConfig) -> &mut bool,
}

const SWITCHES: &[Switch] = &[
    Switch {
        var: "muc#roomconfig_persistentroom",
        label: "The room stays when everybody has left",
        of: |c| &mut c.persistent,
    },
    Switch {
        var: "muc#roomconfig_publicroom",
        label: "The room is listed for everybody",
        of: |c| &mut c.public,
    },
    Switch {
        var: "public_list",
        label: "Everybody may see who is in the room",
        of: |c| &mut c.public_list,
    },
    Switch {
        var: "muc#roomconfig_membersonly",
        label: "Only members may enter",
        of: |c| &mut c.members_only,
    },
    Switch {
        var: "muc#roomconfig_moderatedroom",
        label: "Only those with a voice may speak",
        of: |c| &mut c.moderated,
    },
    Switch {
        var: "members_by_default",
        label: "In a moderated room, everybody who comes has a voice",
        of: |c| &mut c.voice_by_default,
    },
    Switch {
        var: "muc#roomconfig_changesubject",
        label: "Occupants may change the subject",
        of: |c| &mut c.change_subject,
    },
    Switch {
        var: "muc#roomconfig_allowinvites",
        label: "Members may invite others",
        of: |c| &mut c.invites,
    },
    Switch {
        var: "allow_query_users",
        label: "Occupants may send requests to each other",
        of: |c| &mut c.queries,
    },
    Switch {
        var: "muc#roomconfig_allowvisitorstatus",
        label: "Visitors may show a status text",
        of: |c| &mut c.visitor_status,
    },
    Switch {
        var: "muc#roomconfig_allowvisitornickchange",
        label: "Visitors may change their nickname",
        of: |c| &mut c.visitor_nick_change,
    },
    Switch {
        var: "muc#roomconfig_allowvoicerequests",
        label: "Visitors may ask for a voice",
        of: |c| &mut c.voice_requests,
    },
    Switch { var: "muc#roomconfig_mam", label: "Messages are archived", of: |c| &mut c.archive },
];

/// A setting that is a number.
struct Number {
    var: &'static str,
    label: &'static str,
    most: u32,
    least: u32,
    of: fn(&mut RoomConfig) -> &mut u32,
}

const NUMBERS: &[Number] = &[
    Number {
        var: "muc#roomconfig_maxusers",
        label: "Occupants at most",
        least: 1,
        most: USERS_MAX,
        of: |c| &mut c.users_max,
    },
    Number {
        var: "muc#maxhistoryfetch",
        label: "Messages shown to those who enter",
        least: 0,
        most: HISTORY_MAX,
        of: |c| &mut c.history_max,
    },
    Number {
        var: "muc#roomconfig_voicerequestmininterval",
        label: "Seconds between two requests for a voice",
        least: 0,
        most: SECS_MAX,
        of: |c| &mut c.voice_request_secs,
    },
    Number {
        var: "muc#roomconfig_slow_mode_duration",
        label: "Seconds that participants wait between messages",
        least: 0,
        most: SECS_MAX,
        of: |c| &mut c.slow_mode_secs,
    },
];

/// A setting that is a text of a line.
struct Text {
    var: &'static str,
    label: &'static str,
    chars_max: usize,
    of: fn(&mut RoomConfig) -> &mut String,
}

const TEXTS: &[Text] = &[
    Text {
        var: "muc#roomconfig_roomname",
        label: "Name",
        chars_max: TITLE_CHARS_MAX,
        of: |c| &mut c.title,
    },
    Text {
        var: "muc#roomconfig_roomdesc",
        label: "Description",
        chars_max: DESCRIPTION_CHARS_MAX,
        of: |c| &mut c.description,
    },
    Text { var: "muc#roomconfig_lang", label: "Language", chars_max: 35, of: |c| &mut c.lang },
    Text {
        var: "muc#roomconfig_pubsub",
        label: "Address of a publish-subscribe node that belongs to the room",
        chars_max: 1_024,
        of: |c| &mut c.pubsub,
    },
];

const PASSWORD_PROTECTED: &str = "muc#roomconfig_passwordprotectedroom";
const PASSWORD: &str = "muc#roomconfig_roomsecret";
const WHOIS: &str = "muc#roomconfig_whois";
const BROADCAST: &str = "muc#roomconfig_presencebroadcast";
const PRIVATE_MESSAGES: &str = "muc#roomconfig_allowpm";
const VISITOR_MESSAGES: &str = "allow_private_messages_from_visitors";
const MEMBER_LIST: &str = "muc#roomconfig_getmemberlist";
pub const ADMINS: &str = "muc#roomconfig_roomadmins";
pub const OWNERS: &str = "muc#roomconfig_roomowners";

const WHOIS_NAMES: &[(&str, &str, Whois)] =
    &[("moderators", "Moderators only", Whois::Moderators), ("anyone", "Anyone", Whois::Anyone)];
const PRIVATE_NAMES: &[(&str, &str, PrivateMessages)] = &[
    ("anyone", "Anyone", PrivateMessages::Anyone),
    ("participants", "Anyone with a voice", PrivateMessages::Participants),
    ("moderators", "Moderators only", PrivateMessages::Moderators),
    ("none", "Nobody", PrivateMessages::None),
];
const VISITOR_NAMES: &[(&str, &str, VisitorPrivateMessages)] = &[
    ("anyone", "Anyone", VisitorPrivateMessages::Anyone),
    ("moderators", "Moderators only", VisitorPrivateMessages::Moderators),
    ("nobody", "Nobody", VisitorPrivateMessages::Nobody),
];
const ROLES: [(&str, &str); 3] =
    [("moderator", "Moderators"), ("participant", "Participants"), ("visitor", "Visitors")];

/// The settings as a form to be filled in.
pub fn form(room: &str, config: &RoomConfig, owners: &[String], admins: &[String]) -> Form {
    let mut current = config.clone();
    let mut form = Form::new(FormKind::Form)
        .form_type(ns::MUC_ROOM_CONFIG)
        .title(format!("Settings of {room}"))
        .instructions("What is left out stays as it is.");
    for text in TEXTS {
        let value = (text.of)(&mut current).clone();
        form =
            form.field(Field::new(FieldType::TextSingle, text.var).label(text.label).value(value));
    }
    for switch in SWITCHES {
        let value = *(switch.of)(&mut current);
        form = form
            .field(Field::new(FieldType::Boolean, switch.var).label(switch.label).boolean(value));
    }
    for number in NUMBERS {
        let value = (number.of)(&mut current).to_string();
        form = form
            .field(Field::new(FieldType::TextSingle, number.var).label(number.label).value(value));
    }
    let broadcast =
        [config.broadcast_moderators, config.broadcast_participants, config.broadcast_visitors];
    let heard = ROLES.iter().zip(broadcast).filter(|(_, on)| *on).map(|((name, _), _)| *name);
    let listing = match config.member_list {
        MemberList::Visitors => 3,
        MemberList::Participants => 2,
        MemberList::Moderators => 1,
    };
    form.field(
        Field::new(FieldType::Boolean, PASSWORD_PROTECTED)
            .label("A password is asked for")
            .boolean(config.needs_password()),
    )
    .field(
        Field::new(FieldType::TextPrivate, PASSWORD)
            .label("Password")
            .value(config.password.clone()),
    )
    .field(chosen(WHOIS, "Who sees real addresses", WHOIS_NAMES, config.whois))
    .field(roles(BROADCAST, "Whose presence everybody sees").values(heard))
    .field(
        roles(MEMBER_LIST, "Who may ask for the member list")
            .values(ROLES.iter().take(listing).map(|(name, _)| *name)),
    )
    .field(chosen(
        PRIVATE_MESSAGES,
        "Who may send private messages",
        PRIVATE_NAMES,
        config.private_messages,
    ))
    .field(chosen(
        VISITOR_MESSAGES,
        "To whom visitors may send private messages",
        VISITOR_NAMES,
        config.visitor_private_messages,
    ))
    .field(Field::new(FieldType::JidMulti, ADMINS).label("Admins").values(admins))
    .field(Field::new(FieldType::JidMulti, OWNERS).label("Owners").values(owners))
}

fn roles(var: &str, label: &str) -> Field {
    let field = Field::new(FieldType::ListMulti, var).label(label);
    ROLES.iter().fold(field, |field, (name, label)| field.option(*name, Some(label)))
}

fn chosen<T: Copy + PartialEq>(
    var: &str,
    label: &str,
    names: &[(&str, &str, T)],
    value: T,
) -> Field {
    let field = Field::new(FieldType::ListSingle, var).label(label);
    names.iter().fold(field, |field, (name, label, meant)| {
        let field = field.option(*name, Some(label));
        if *meant == value { field.value(*name) } else { field }
    })
}

/// The settings after a form was handed in; what it leaves out stays. Fields that nobody knows do
/// no harm.
///
/// # Errors
/// `not-acceptable`, with what is wrong, for values that do not do.
pub fn submitted(form: &Form, current: &RoomConfig) -> Result<RoomConfig, StanzaError> {
    let mut config = current.clone();
    for text in TEXTS {
        if let Some(value) = form.value(text.var) {
            if value.chars().count() > text.chars_max {
                return Err(refused(text.var, &format!("at most {} characters", text.chars_max)));
            }
            *(text.of)(&mut config) = value.to_owned();
        }
    }
    for switch in SWITCHES {
        if let Some(value) = form.boolean(switch.var)? {
            *(switch.of)(&mut config) = value;
        }
    }
    for number in NUMBERS {
        let Some(value) = form.value(number.var) else { continue };
        // §10.2: "none" sets no bound, which is ours then.
        let value = match value {
            "none" | "" => Some(number.most),
            value => value.parse().ok(),
        };
        let value = value.filter(|value| (number.least..=number.most).contains(value));
        *(number.of)(&mut config) = value.ok_or_else(|| {
            refused(number.var, &format!("a number from {} to {}", number.least, number.most))
        })?;
    }
    if form.get(BROADCAST).is_some() {
        let has = |role| form.values(BROADCAST).iter().any(|value| value == role);
        config.broadcast_moderators = has("moderator");
        config.broadcast_participants = has("participant");
        config.broadcast_visitors = has("visitor");
    }
    if form.get(MEMBER_LIST).is_some() {
        let has = |role| form.values(MEMBER_LIST).iter().any(|value| value == role);
        config.member_list = match (has("visitor"), has("participant")) {
            (true, _) => MemberList::Visitors,
            (false, true) => MemberList::Participants,
            (false, false) => MemberList::Moderators,
        };
    }
    config.whois = choose(form, WHOIS, WHOIS_NAMES, config.whois)?;
    config.private_messages =
        choose(form, PRIVATE_MESSAGES, PRIVATE_NAMES, config.private_messages)?;
    config.visitor_private_messages =
        choose(form, VISITOR_MESSAGES, VISITOR_NAMES, config.visitor_private_messages)?;
    password(form, &mut config)?;
    Ok(config)
}

fn password(form: &Form, config: &mut RoomConfig) -> Result<(), StanzaError> {
    let wanted = form.boolean(PASSWORD_PROTECTED)?;
    if let Some(password) = form.value(PASSWORD) {
        if password.chars().count() > PASSWORD_CHARS_MAX {
            return Err(refused(PASSWORD, &format!("at most {PASSWORD_CHARS_MAX} characters")));
        }
        config.password = password.to_owned();
    }
    match wanted {
        Some(true) if config.password.is_empty() => {
            Err(refused(PASSWORD, "a password, since one is to be asked for"))
        }
        Some(false) => {
            config.password.clear();
            Ok(())
        }
        _ => Ok(()),
    }
}

fn choose<T: Copy>(
    form: &Form,
    var: &str,
    names: &[(&str, &str, T)],
    current: T,
) -> Result<T, StanzaError> {
    let Some(value) = form.value(var) else { return Ok(current) };
    let found = names.iter().find(|(name, _, _)| *name == value).map(|(_, _, meant)| *meant);
    found.ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(|(name, _, _)| *name).collect();
        refused(var, &format!("one of {}", known.join(", ")))
    })
}

fn refused(var: &str, expected: &str) -> StanzaError {
    StanzaError::new(Condition::NotAcceptable).with_text(format!("{var}: expected {expected}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submit(fields: &[(&str, &[&str])]) -> Form {
        fields.iter().fold(Form::new(FormKind::Submit), |form, (var, values)| {
            form.field(Field::answer(var, values.iter().copied()))
        })
    }

    fn set(fields: &[(&str, &[&str])]) -> Result<RoomConfig, StanzaError> {
        submitted(&submit(fields), &RoomConfig::default())
    }

    #[test]
    fn the_form_handed_back_unchanged_changes_nothing() {
        let config = RoomConfig {
            title: "A Dark Cave".to_owned(),
            password: "cauldronburn".to_owned(),
            broadcast_visitors: false,
            member_list: MemberList::Moderators,
            visitor_private_messages: VisitorPrivateMessages::Nobody,
            ..RoomConfig::default()
        };
        let form = form("coven@chat.shakespeare.lit", &config, &[], &[]);
        assert_eq!(submitted(&form, &RoomConfig::default()).unwrap(), config);
    }

    #[test]
    fn what_is_left_out_stays() {
        let config = set(&[("muc#roomconfig_roomname", &["Cave"])]).unwrap();
        assert_eq!(config, RoomConfig { title: "Cave".to_owned(), ..RoomConfig::default() });
    }

    #[test]
    fn example_168_is_understood() {
        let config = set(&[
            ("muc#roomconfig_roomname", &["A Dark Cave"]),
            ("muc#roomconfig_roomdesc", &["The place for all good witches!"]),
            ("muc#roomconfig_enablelogging", &["0"]),
            ("muc#roomconfig_changesubject", &["1"]),
            ("muc#roomconfig_allowinvites", &["0"]),
            ("muc#roomconfig_allowpm", &["anyone"]),
            ("muc#roomconfig_maxusers", &["10"]),
            ("muc#roomconfig_publicroom", &["0"]),
            ("muc#roomconfig_persistentroom", &["0"]),
            ("muc#roomconfig_moderatedroom", &["0"]),
            ("muc#roomconfig_membersonly", &["0"]),
            ("muc#roomconfig_passwordprotectedroom", &["1"]),
            ("muc#roomconfig_roomsecret", &["cauldronburn"]),
            ("muc#roomconfig_whois", &["moderators"]),
            ("muc#maxhistoryfetch", &["50"]),
        ])
        .unwrap();
        assert!(!config.public && !config.persistent && config.change_subject);
        assert_eq!((config.users_max, config.history_max), (10, 50));
        assert_eq!(config.password, "cauldronburn");
    }

    #[test]
    fn values_that_do_not_do_are_named() {
        let long = "x".repeat(TITLE_CHARS_MAX + 1);
        for (var, value) in [
            ("muc#roomconfig_maxusers", "0"),
            ("muc#roomconfig_maxusers", "many"),
            ("muc#roomconfig_whois", "nobody"),
            ("muc#roomconfig_roomname", &long),
            ("muc#roomconfig_passwordprotectedroom", "1"),
        ] {
            let error = set(&[(var, &[value])]).unwrap_err();
            assert_eq!(error.condition, Condition::NotAcceptable, "{var}");
            assert!(error.text.unwrap_or_default().contains("roomconfig"), "{var}");
        }
        let error = set(&[("muc#roomconfig_persistentroom", &["perhaps"])]).unwrap_err();
        assert_eq!(error.condition, Condition::BadRequest);
    }
}
