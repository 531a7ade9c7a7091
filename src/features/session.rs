//! Session establishment of RFC 3921 §3. Binding a resource is all it takes since RFC 6121; clients
//! that know only the old way ask, are told yes, and go on.

use super::{Ctx, Feature, Handled, Iq, Reply, Target, Who, done, set};
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    iq: &[
        set(Target::Host, Who::Local, "session", ns::SESSION, establish),
        set(Target::Account, Who::Owner, "session", ns::SESSION, establish),
    ],
    ..Feature::NONE
};

fn establish<'a>(_: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    done(Ok(Reply::Empty))
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[tokio::test]
    async fn old_clients_get_their_session() {
        let world = World::new();
        let alice = world.session("alice@localhost/a").await;
        for to in ["", " to='localhost'", " to='alice@localhost'"] {
            let session = "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>";
            let answer = alice.ask(&format!("<iq{to} type='set' id='s'>{session}</iq>")).await;
            assert!(answer.contains("type='result'"), "{answer}");
        }
    }
}
