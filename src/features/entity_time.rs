//! XEP-0202: Entity Time (2.0). Servers live in UTC.

use super::{Ctx, Feature, Handled, Iq, Reply, Target, Who, done, get, on, xep};
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(82, "1.1.1"), xep(202, "2.0")],
    disco: &[on(Target::Host, ns::TIME)],
    iq: &[get(Target::Host, Who::Anyone, "time", ns::TIME, tell)],
    ..Feature::NONE
};

fn tell<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    let field = |name, text: &str| Element::new(name, ns::TIME).with_text(text);
    done(Ok(Reply::Result(
        Element::new("time", ns::TIME)
            .with(field("tzo", "+00:00"))
            .with(field("utc", &cx.now.to_xmpp())),
    )))
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[tokio::test]
    async fn the_server_tells_its_time() {
        let world = World::new();
        let alice = world.session("alice@localhost/a").await;
        let answer = alice
            .ask("<iq to='localhost' type='get' id='t'><time xmlns='urn:xmpp:time'/></iq>")
            .await;
        let utc = world.now().to_xmpp();
        let expected = format!("<tzo>+00:00</tzo><utc>{utc}</utc>");
        assert!(answer.contains(&expected), "{answer}");
    }
}
