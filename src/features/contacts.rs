//! XEP-0157: Contact Addresses for XMPP Services (1.1.1): the form that disco#info of a host carries.

use super::{Feature, xep};
use crate::config::model::Contact;
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature { xeps: &[xep(157, "1.1.1")], ..Feature::NONE };

/// The form with whom to write to, or `None` where the config names nobody.
pub fn form(contact: &Contact) -> Option<Element> {
    let field = |var: &str| Element::new("field", ns::DATA_FORMS).attr("var", var);
    let value = |text: &str| Element::new("value", ns::DATA_FORMS).with_text(text);
    let mut lists = contact.fields().peekable();
    lists.peek()?;
    let form = Element::new("x", ns::DATA_FORMS)
        .attr("type", "result")
        .with(field("FORM_TYPE").attr("type", "hidden").with(value(ns::SERVER_INFO)));
    Some(lists.fold(form, |form, (name, addresses)| {
        let list = field(name).attr("type", "list-multi");
        form.with(addresses.iter().fold(list, |list, address| list.with(value(address))))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_contacts_has_no_form() {
        assert!(form(&Contact::default()).is_none());
    }

    #[test]
    fn every_address_is_a_value_of_its_field() {
        let contact = Contact {
            abuse: vec!["mailto:abuse@example.org".into(), "xmpp:abuse@example.org".into()],
            admin: vec!["mailto:admin@example.org".into()],
            ..Contact::default()
        };
        assert_eq!(
            form(&contact).unwrap().to_xml(""),
            "<x xmlns='jabber:x:data' type='result'>\
             <field var='FORM_TYPE' type='hidden'>\
             <value>http://jabber.org/network/serverinfo</value></field>\
             <field var='abuse-addresses' type='list-multi'>\
             <value>mailto:abuse@example.org</value><value>xmpp:abuse@example.org</value></field>\
             <field var='admin-addresses' type='list-multi'>\
             <value>mailto:admin@example.org</value></field></x>"
        );
    }
}
