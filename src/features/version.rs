//! XEP-0092: Software Version (1.1). The operating system is nobody's business and never told.

use super::{Ctx, Feature, Handled, Iq, Reply, Target, Who, done, get, on, xep};
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(92, "1.1")],
    disco: &[on(Target::Host, ns::VERSION)],
    iq: &[get(Target::Host, Who::Anyone, "query", ns::VERSION, tell)],
    ..Feature::NONE
};

fn tell<'a>(_: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    let field = |name, text| Element::new(name, ns::VERSION).with_text(text);
    done(Ok(Reply::Result(
        Element::new("query", ns::VERSION)
            .with(field("name", "Coucou"))
            .with(field("version", env!("CARGO_PKG_VERSION"))),
    )))
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[tokio::test]
    async fn the_server_names_itself_but_not_its_system() {
        let world = World::new();
        let alice = world.session("alice@localhost/a").await;
        let answer = alice
            .ask("<iq to='localhost' type='get' id='v'><query xmlns='jabber:iq:version'/></iq>")
            .await;
        assert!(answer.contains("<name>Coucou</name><version>"), "{answer}");
        assert!(!answer.contains("<os>"), "{answer}");
    }
}
