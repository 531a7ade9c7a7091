//! Affiliations and roles (XEP-0045 §5), and who may change whose (§5.1.2, §5.2.2, §8, §9).

use crate::stanza::error::{Condition, StanzaError};

/// A long-lived tie between a bare JID and a room. Ordered by rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Affiliation {
    /// Banned.
    Outcast,
    #[default]
    None,
    Member,
    Admin,
    Owner,
}

impl Affiliation {
    pub const ALL: [Affiliation; 5] = [
        Affiliation::Outcast,
        Affiliation::None,
        Affiliation::Member,
        Affiliation::Admin,
        Affiliation::Owner,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Affiliation::Outcast => "outcast",
            Affiliation::None => "none",
            Affiliation::Member => "member",
            Affiliation::Admin => "admin",
            Affiliation::Owner => "owner",
        }
    }

    pub fn from_name(name: &str) -> Option<Affiliation> {
        Affiliation::ALL.into_iter().find(|affiliation| affiliation.name() == name)
    }
}

/// What an occupant may do as long as it is in the room. Ordered by rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Not in the room.
    None,
    Visitor,
    Participant,
    Moderator,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::None, Role::Visitor, Role::Participant, Role::Moderator];

    pub fn name(self) -> &'static str {
        match self {
            Role::None => "none",
            Role::Visitor => "visitor",
            Role::Participant => "participant",
            Role::Moderator => "moderator",
        }
    }

    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The role that somebody of this affiliation gets on entering (§5.1.1).
    pub fn on_entry(affiliation: Affiliation, moderated: bool, default: Role) -> Role {
        match affiliation {
            Affiliation::Owner | Affiliation::Admin => Role::Moderator,
            Affiliation::Member => Role::Participant,
            Affiliation::None if moderated => default,
            Affiliation::None => default.max(Role::Participant),
            Affiliation::Outcast => Role::None,
        }
    }
}

/// Who acts on a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    pub affiliation: Affiliation,
    pub role: Role,
}

/// May `actor` give `target`, who is of rank `target`, the role `new` (§8.2–§8.4, §9.6, §9.7)?
///
/// # Errors
/// `forbidden` for those who manage no roles, `not-allowed` where rank protects the target.
pub fn may_set_role(actor: Rank, target: Rank, new: Role) -> Result<(), StanzaError> {
    if actor.role < Role::Moderator && actor.affiliation < Affiliation::Admin {
        return Err(StanzaError::new(Condition::Forbidden));
    }
    let protected = || Err(StanzaError::new(Condition::NotAllowed));
    if new == Role::None {
        // §8.2: nobody is kicked by somebody of a lower affiliation.
        return match target.affiliation > actor.affiliation {
            true => protected(),
            false => Ok(()),
        };
    }
    let about_moderators = new == Role::Moderator || target.role == Role::Moderator;
    if about_moderators && actor.affiliation < Affiliation::Admin {
        return Err(StanzaError::new(Condition::Forbidden));
    }
    // §9.7: owners and admins are moderators for as long as they are what they are; §8.4: their
    // voice is not taken by anybody.
    if new < Role::Moderator && target.affiliation >= Affiliation::Admin {
        return protected();
    }
    if target.affiliation > actor.affiliation { protected() } else { Ok(()) }
}

/// May `actor` turn the affiliation `old` of somebody into `new` (§9.1–§9.5, §10.3–§10.8)?
/// `is_self`: the actor's own.
///
/// # Errors
/// `forbidden` for those who manage no affiliations, `not-allowed` where rank protects the target.
pub fn may_set_affiliation(
    actor: Affiliation,
    old: Affiliation,
    new: Affiliation,
    is_self: bool,
) -> Result<(), StanzaError> {
    if actor < Affiliation::Admin {
        return Err(StanzaError::new(Condition::Forbidden));
    }
    if actor == Affiliation::Owner {
        return match is_self && new == Affiliation::Outcast {
            // §9.1: nobody bans himself.
            true => Err(StanzaError::new(Condition::Conflict)),
            false => Ok(()),
        };
    }
    if new >= Affiliation::Admin {
        return Err(StanzaError::new(Condition::Forbidden));
    }
    match old {
        Affiliation::Owner => Err(StanzaError::new(Condition::NotAllowed)),
        Affiliation::Admin if is_self && new == Affiliation::Outcast => {
            Err(StanzaError::new(Condition::Conflict))
        }
        Affiliation::Admin if is_self => Ok(()),
        Affiliation::Admin => Err(StanzaError::new(Condition::NotAllowed)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(affiliation: Affiliation, role: Role) -> Rank {
        Rank { affiliation, role }
    }

    #[test]
    fn roles_follow_affiliations_on_entry() {
        use Affiliation::*;
        let roles = |moderated| {
            Affiliation::ALL.map(|a| Role::on_entry(a, moderated, Role::Visitor).name())
        };
        assert_eq!(roles(true), ["none", "visitor", "participant", "moderator", "moderator"]);
        assert_eq!(roles(false), ["none", "participant", "participant", "moderator", "moderator"]);
        assert_eq!(Role::on_entry(None, true, Role::Participant), Role::Participant);
    }

    #[test]
    fn kicks_respect_affiliation() {
        use Affiliation::*;
        let moderator = |affiliation| rank(affiliation, Role::Moderator);
        for (actor, target, allowed) in [
            (moderator(None), rank(None, Role::Participant), true),
            (moderator(Member), moderator(Member), true),
            (moderator(Member), moderator(Admin), false),
            (moderator(Admin), moderator(Owner), false),
            (moderator(Owner), moderator(Owner), true),
            (rank(Member, Role::Participant), rank(None, Role::Visitor), false),
        ] {
            let may = may_set_role(actor, target, Role::None);
            assert_eq!(may.is_ok(), allowed, "{actor:?} {target:?}");
        }
    }

    #[test]
    fn only_admins_make_moderators_and_nobody_unmakes_admins() {
        use Affiliation::*;
        let participant = rank(None, Role::Participant);
        assert!(may_set_role(rank(Admin, Role::Moderator), participant, Role::Moderator).is_ok());
        let refused = may_set_role(rank(Member, Role::Moderator), participant, Role::Moderator);
        assert_eq!(refused.unwrap_err().condition, Condition::Forbidden);
        for new in [Role::Participant, Role::Visitor] {
            let admin = rank(Admin, Role::Moderator);
            let refused = may_set_role(rank(Owner, Role::Moderator), admin, new);
            assert_eq!(refused.unwrap_err().condition, Condition::NotAllowed);
        }
    }

    #[test]
    fn affiliations_change_by_rank() {
        use Affiliation::*;
        for (actor, old, new, allowed) in [
            (Owner, Owner, None, true),
            (Owner, None, Owner, true),
            (Admin, None, Member, true),
            (Admin, Member, Outcast, true),
            (Admin, None, Admin, false),
            (Admin, Admin, None, false),
            (Admin, Owner, Outcast, false),
            (Member, None, Member, false),
        ] {
            let may = may_set_affiliation(actor, old, new, false);
            assert_eq!(may.is_ok(), allowed, "{actor:?}: {old:?} to {new:?}");
        }
    }

    #[test]
    fn nobody_bans_himself() {
        for own in [Affiliation::Owner, Affiliation::Admin] {
            let refused = may_set_affiliation(own, own, Affiliation::Outcast, true);
            assert_eq!(refused.unwrap_err().condition, Condition::Conflict);
        }
        assert!(
            may_set_affiliation(Affiliation::Admin, Affiliation::Admin, Affiliation::None, true)
                .is_ok()
        );
    }
}
