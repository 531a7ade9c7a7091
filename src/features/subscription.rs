//! RFC 6121 §3 and Appendix A: presence subscriptions, seen from one side, as pure functions.
//!
//! A state and a subscription stanza give a new state and what follows from it. The caller keeps
//! the state in the roster, pushes the item when [`Step::shows`] says so, and sends what the step asks for.
//! A pre-approval (§3.4) serves for one subscription: the request it answers uses it up, which the
//! section leaves to the server.

use crate::stanza::Type;

/// Where a user stands with a contact. All false is "None", also for a contact that is not in the roster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The user is subscribed to the contact's presence. Excludes `pending_out`.
    pub to: bool,
    /// The contact is subscribed to the user's presence. Excludes `pending_in` and `approved`.
    pub from: bool,
    /// The user has asked and not been answered: `ask='subscribe'`.
    pub pending_out: bool,
    /// The contact has asked and not been answered. Not shown in the roster.
    pub pending_in: bool,
    /// The user has approved a request that has not come yet (§3.4).
    pub approved: bool,
}

/// The four presence types that manage subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
}

impl Request {
    /// The request a presence type stands for, if it is one.
    pub fn of(typ: Option<Type>) -> Option<Request> {
        match typ? {
            Type::Subscribe => Some(Request::Subscribe),
            Type::Subscribed => Some(Request::Subscribed),
            Type::Unsubscribe => Some(Request::Unsubscribe),
            Type::Unsubscribed => Some(Request::Unsubscribed),
            _ => None,
        }
    }

    pub fn typ(self) -> Type {
        match self {
            Request::Subscribe => Type::Subscribe,
            Request::Subscribed => Type::Subscribed,
            Request::Unsubscribe => Type::Unsubscribe,
            Request::Unsubscribed => Type::Unsubscribed,
        }
    }
}

/// What the contact learns of the user's available resources because of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    Nothing,
    /// The last presence of each available resource: the contact may see it from now on.
    Available,
    /// Unavailable presence from each available resource: the contact may not see it any longer.
    /// To be sent before the stanza itself, since the contact's server drops it afterwards.
    Unavailable,
}

/// What follows from one subscription stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub state: State,
    /// Outbound: route the stanza to the contact. Inbound: deliver it to the user.
    pub pass: bool,
    /// Inbound only: what the server answers on the user's behalf.
    pub reply: Option<Request>,
    pub tell: Tell,
}

impl Step {
    fn stay(state: State, pass: bool) -> Step {
        Step { state, pass, reply: None, tell: Tell::Nothing }
    }

    fn go(state: State) -> Step {
        Step::stay(state, true)
    }

    /// Does the roster item look different from `before`? Then it is pushed; a pending request of
    /// the contact does not show.
    pub fn shows(&self, before: State) -> bool {
        State { pending_in: false, ..self.state } != State { pending_in: false, ..before }
    }
}

/// Appendix A.2: the user sends `request` to the contact.
pub fn outbound(state: State, request: Request) -> Step {
    match request {
        Request::Subscribe => Step::go(State { pending_out: !state.to, ..state }),
        Request::Unsubscribe => Step::go(State { to: false, pending_out: false, ..state }),
        Request::Subscribed if state.pending_in => Step {
            tell: Tell::Available,
            ..Step::go(State { from: true, pending_in: false, approved: false, ..state })
        },
        Request::Subscribed => Step::stay(State { approved: !state.from, ..state }, false),
        Request::Unsubscribed => Step {
            tell: if state.from { Tell::Unavailable } else { Tell::Nothing },
            ..Step::stay(
                State { from: false, pending_in: false, approved: false, ..state },
                state.from || state.pending_in,
            )
        },
    }
}

/// Appendix A.3: the contact sends `request` to the user.
pub fn inbound(state: State, request: Request) -> Step {
    match request {
        Request::Subscribe if state.from || state.approved => Step {
            // A contact that asks again has lost our answer, and our presence with it.
            reply: Some(Request::Subscribed),
            tell: Tell::Available,
            ..Step::stay(State { from: true, pending_in: false, approved: false, ..state }, false)
        },
        Request::Subscribe => Step::stay(State { pending_in: true, ..state }, !state.pending_in),
        Request::Unsubscribe => Step {
            tell: if state.from { Tell::Unavailable } else { Tell::Nothing },
            ..Step::stay(
                State { from: false, pending_in: false, ..state },
                state.from || state.pending_in,
            )
        },
        Request::Subscribed if state.pending_out => {
            Step::go(State { to: true, pending_out: false, ..state })
        }
        Request::Subscribed => Step::stay(state, false),
        Request::Unsubscribed => Step::stay(
            State { to: false, pending_out: false, ..state },
            state.to || state.pending_out,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn state(to: bool, from: bool, pending_out: bool, pending_in: bool) -> State {
        State { to, from, pending_out, pending_in, approved: false }
    }

    const NONE: State = state(false, false, false, false);
    const NONE_OUT: State = state(false, false, true, false);
    const NONE_IN: State = state(false, false, false, true);
    const NONE_OUT_IN: State = state(false, false, true, true);
    const TO: State = state(true, false, false, false);
    const TO_IN: State = state(true, false, false, true);
    const FROM: State = state(false, true, false, false);
    const FROM_OUT: State = state(false, true, true, false);
    const BOTH: State = state(true, true, false, false);
    const ALL: [State; 9] = [NONE, NONE_OUT, NONE_IN, NONE_OUT_IN, TO, TO_IN, FROM, FROM_OUT, BOTH];

    const MUST: bool = true;
    const MUST_NOT: bool = false;

    /// A table of Appendix A: (existing state, route or deliver?, new state).
    type Table = [(State, bool, State); 9];

    fn check(step: fn(State, Request) -> Step, request: Request, table: &Table) {
        for (row, expected) in table.iter().zip(ALL) {
            assert_eq!(row.0, expected, "the table is complete and in order");
        }
        for (before, pass, after) in table {
            let got = step(*before, request);
            assert_eq!((got.pass, got.state), (*pass, *after), "{request:?} in {before:?}");
        }
    }

    fn approved(state: State) -> State {
        State { approved: true, ..state }
    }

    #[test]
    fn a_2_1_outbound_subscribe() {
        check(
            outbound,
            Request::Subscribe,
            &[
                (NONE, MUST, NONE_OUT),
                (NONE_OUT, MUST, NONE_OUT),
                (NONE_IN, MUST, NONE_OUT_IN),
                (NONE_OUT_IN, MUST, NONE_OUT_IN),
                (TO, MUST, TO),
                (TO_IN, MUST, TO_IN),
                (FROM, MUST, FROM_OUT),
                (FROM_OUT, MUST, FROM_OUT),
                (BOTH, MUST, BOTH),
            ],
        );
    }

    #[test]
    fn a_2_2_outbound_unsubscribe() {
        check(
            outbound,
            Request::Unsubscribe,
            &[
                (NONE, MUST, NONE),
                (NONE_OUT, MUST, NONE),
                (NONE_IN, MUST, NONE_IN),
                (NONE_OUT_IN, MUST, NONE_IN),
                (TO, MUST, NONE),
                (TO_IN, MUST, NONE_IN),
                (FROM, MUST, FROM),
                (FROM_OUT, MUST, FROM),
                (BOTH, MUST, FROM),
            ],
        );
    }

    /// The MUST NOT rows note a pre-approval where there is no subscription yet (§3.4).
    #[test]
    fn a_2_3_outbound_subscribed() {
        check(
            outbound,
            Request::Subscribed,
            &[
                (NONE, MUST_NOT, approved(NONE)),
                (NONE_OUT, MUST_NOT, approved(NONE_OUT)),
                (NONE_IN, MUST, FROM),
                (NONE_OUT_IN, MUST, FROM_OUT),
                (TO, MUST_NOT, approved(TO)),
                (TO_IN, MUST, BOTH),
                (FROM, MUST_NOT, FROM),
                (FROM_OUT, MUST_NOT, FROM_OUT),
                (BOTH, MUST_NOT, BOTH),
            ],
        );
    }

    #[test]
    fn a_2_4_outbound_unsubscribed() {
        check(
            outbound,
            Request::Unsubscribed,
            &[
                (NONE, MUST_NOT, NONE),
                (NONE_OUT, MUST_NOT, NONE_OUT),
                (NONE_IN, MUST, NONE),
                (NONE_OUT_IN, MUST, NONE_OUT),
                (TO, MUST_NOT, TO),
                (TO_IN, MUST, TO),
                (FROM, MUST, NONE),
                (FROM_OUT, MUST, NONE_OUT),
                (BOTH, MUST, TO),
            ],
        );
    }

    #[test]
    fn a_3_1_inbound_subscribe() {
        check(
            inbound,
            Request::Subscribe,
            &[
                (NONE, MUST, NONE_IN),
                (NONE_OUT, MUST, NONE_OUT_IN),
                (NONE_IN, MUST_NOT, NONE_IN),
                (NONE_OUT_IN, MUST_NOT, NONE_OUT_IN),
                (TO, MUST, TO_IN),
                (TO_IN, MUST_NOT, TO_IN),
                (FROM, MUST_NOT, FROM),
                (FROM_OUT, MUST_NOT, FROM_OUT),
                (BOTH, MUST_NOT, BOTH),
            ],
        );
    }

    #[test]
    fn a_3_2_inbound_unsubscribe() {
        check(
            inbound,
            Request::Unsubscribe,
            &[
                (NONE, MUST_NOT, NONE),
                (NONE_OUT, MUST_NOT, NONE_OUT),
                (NONE_IN, MUST, NONE),
                (NONE_OUT_IN, MUST, NONE_OUT),
                (TO, MUST_NOT, TO),
                (TO_IN, MUST, TO),
                (FROM, MUST, NONE),
                (FROM_OUT, MUST, NONE_OUT),
                (BOTH, MUST, TO),
            ],
        );
    }

    #[test]
    fn a_3_3_inbound_subscribed() {
        check(
            inbound,
            Request::Subscribed,
            &[
                (NONE, MUST_NOT, NONE),
                (NONE_OUT, MUST, TO),
                (NONE_IN, MUST_NOT, NONE_IN),
                (NONE_OUT_IN, MUST, TO_IN),
                (TO, MUST_NOT, TO),
                (TO_IN, MUST_NOT, TO_IN),
                (FROM, MUST_NOT, FROM),
                (FROM_OUT, MUST, BOTH),
                (BOTH, MUST_NOT, BOTH),
            ],
        );
    }

    #[test]
    fn a_3_4_inbound_unsubscribed() {
        check(
            inbound,
            Request::Unsubscribed,
            &[
                (NONE, MUST_NOT, NONE),
                (NONE_OUT, MUST, NONE),
                (NONE_IN, MUST_NOT, NONE_IN),
                (NONE_OUT_IN, MUST, NONE_IN),
                (TO, MUST, NONE),
                (TO_IN, MUST, NONE_IN),
                (FROM, MUST_NOT, FROM),
                (FROM_OUT, MUST, FROM),
                (BOTH, MUST, FROM),
            ],
        );
    }

    #[test]
    fn a_pre_approved_request_is_answered_and_uses_the_approval_up() {
        for (before, after) in [(NONE, FROM), (NONE_OUT, FROM_OUT), (TO, BOTH)] {
            let step = inbound(approved(before), Request::Subscribe);
            assert_eq!(
                step,
                Step {
                    state: after,
                    pass: false,
                    reply: Some(Request::Subscribed),
                    tell: Tell::Available
                }
            );
            assert!(step.shows(approved(before)));
        }
    }

    #[test]
    fn a_pre_approval_is_shown_and_can_be_cancelled_without_a_word_to_the_contact() {
        for before in [NONE, NONE_OUT, TO] {
            let noted = outbound(before, Request::Subscribed);
            assert!(!noted.pass && noted.shows(before));
            let cancelled = outbound(noted.state, Request::Unsubscribed);
            assert_eq!((cancelled.state, cancelled.pass), (before, false));
            assert!(cancelled.shows(noted.state));
        }
    }

    #[test]
    fn a_pre_approval_outlives_what_concerns_the_other_direction() {
        for request in [Request::Subscribe, Request::Unsubscribe] {
            assert!(outbound(approved(TO), request).state.approved);
        }
        for request in [Request::Subscribed, Request::Unsubscribed] {
            assert!(inbound(approved(NONE_OUT), request).state.approved);
        }
    }

    #[test]
    fn a_subscriber_that_asks_again_is_answered_at_once() {
        for before in [FROM, FROM_OUT, BOTH] {
            let step = inbound(before, Request::Subscribe);
            assert_eq!((step.reply, step.tell), (Some(Request::Subscribed), Tell::Available));
            assert!(!step.shows(before));
        }
    }

    #[test]
    fn presence_is_told_when_the_contact_gains_or_loses_sight_of_it() {
        for before in ALL {
            for (step, requests) in [
                (
                    outbound as fn(State, Request) -> Step,
                    [Request::Subscribed, Request::Unsubscribed],
                ),
                (inbound, [Request::Subscribed, Request::Unsubscribe]),
            ] {
                for request in requests {
                    let after = step(before, request);
                    let expected = match (before.from, after.state.from) {
                        (false, true) => Tell::Available,
                        (true, false) => Tell::Unavailable,
                        _ => Tell::Nothing,
                    };
                    assert_eq!(after.tell, expected, "{request:?} in {before:?}");
                }
            }
        }
    }

    #[test]
    fn no_step_leads_out_of_the_nine_states() {
        for before in
            ALL.into_iter().flat_map(|s| [s, State { approved: !s.from && !s.pending_in, ..s }])
        {
            for request in [
                Request::Subscribe,
                Request::Subscribed,
                Request::Unsubscribe,
                Request::Unsubscribed,
            ] {
                for after in [outbound(before, request).state, inbound(before, request).state] {
                    assert!(!(after.to && after.pending_out), "{request:?} in {before:?}");
                    assert!(
                        !(after.from && (after.pending_in || after.approved)),
                        "{request:?} in {before:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_pending_request_alone_does_not_show() {
        assert!(!inbound(NONE, Request::Subscribe).shows(NONE));
        assert!(!inbound(NONE_IN, Request::Unsubscribe).shows(NONE_IN));
        assert!(outbound(NONE_IN, Request::Subscribed).shows(NONE_IN));
    }
}
