//! XEP-0199: XMPP Ping (2.0.1). The server answers for itself and for those accounts whose presence
//! the asker may see; to others an account answers as if it did not exist.

use super::{Ctx, Feature, Handled, Iq, Reply, Target, Who, done, get, on, xep};
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(199, "2.0.1")],
    disco: &[on(Target::Host, ns::PING), on(Target::Account, ns::PING)],
    iq: &[
        get(Target::Host, Who::Anyone, "ping", ns::PING, pong),
        get(Target::Account, Who::Subscriber, "ping", ns::PING, pong),
    ],
    ..Feature::NONE
};

fn pong<'a>(_: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    done(Ok(Reply::Empty))
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[tokio::test]
    async fn server_and_own_account_answer_and_strangers_learn_nothing() {
        let world = World::new();
        let alice = world.session("alice@localhost/a").await;
        world.account("bob@localhost").await;
        let ping =
            |to: &str| format!("<iq {to} type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>");
        for to in ["", "to='localhost'", "to='alice@localhost'"] {
            assert!(alice.ask(&ping(to)).await.contains("type='result'"), "{to}");
        }
        for to in ["to='bob@localhost'", "to='nobody@localhost'"] {
            assert!(alice.ask(&ping(to)).await.contains("service-unavailable"), "{to}");
        }
    }
}
