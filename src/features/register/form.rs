//! What is said in `jabber:iq:register`, both ways. Pure.

use crate::config::HostConfig;
use crate::config::value::Secret;
use crate::jid::BareJid;
use crate::stanza::error::{Condition, ErrorType, StanzaError};
use crate::stanza::forms::{Field, FieldType, Form, FormKind};
use crate::xml::element::Element;
use crate::xml::ns;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// What is to be filled in?
    Form,
    /// An account, or another password for one's own.
    Submit(Submission),
    /// The own account is to go.
    Remove,
    /// A form is not going to be filled in.
    Cancel,
}

/// What was filled in; empty texts count as left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// A name, or the whole address of an account.
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// The form said that it is about another password.
    pub is_change: bool,
}

impl Submission {
    /// The address that the username stands for on `host`.
    ///
    /// # Errors
    /// If it is none, or one of another host.
    pub fn account(username: &str, host: &str) -> Result<BareJid, StanzaError> {
        let malformed = |reason: String| {
            StanzaError::new(Condition::JidMalformed)
                .with_type(ErrorType::Modify)
                .with_text(format!("{username:?} cannot be the name of an account: {reason}."))
        };
        let jid = match username.split_once('@') {
            Some((_, domain)) if domain.eq_ignore_ascii_case(host) => BareJid::parse(username),
            Some(_) => {
                return Err(malformed(format!("write the name alone, without @{host} behind it")));
            }
            // What stands behind a slash would be taken for a resource.
            None if username.contains('/') => {
                return Err(malformed("it contains a slash".to_owned()));
            }
            None => BareJid::parse(&format!("{username}@{host}")),
        };
        jid.map_err(|error| malformed(error.to_string()))
    }
}

/// Reads the `<query/>` of an IQ set; of a get it would mean [`Wish::Form`].
///
/// # Errors
/// If it makes no sense.
pub fn read_set(query: &Element) -> Result<Wish, StanzaError> {
    let bad = |text: &str| Err(StanzaError::new(Condition::BadRequest).with_text(text));
    if query.child("remove", ns::REGISTER).is_some() {
        // XEP-0077 §3.2.
        return match query.children().count() {
            1 => Ok(Wish::Remove),
            _ => bad("<remove/> stands alone."),
        };
    }
    if let Some(x) = query.child("x", ns::DATA_FORMS) {
        let form = Form::from_element(x)
            .map_err(|e| StanzaError::new(Condition::BadRequest).with_text(e.to_string()))?;
        let said = |var| form.value(var).filter(|text| !text.is_empty());
        let submission = |is_change| {
            Wish::Submit(Submission {
                username: said("username").map(str::to_owned),
                password: said("password").map(Secret::new),
                is_change,
            })
        };
        return match (form.kind, form.form_type.as_deref()) {
            (FormKind::Cancel, _) => Ok(Wish::Cancel),
            (FormKind::Submit, Some(ns::REGISTER) | None) => Ok(submission(false)),
            (FormKind::Submit, Some(ns::REGISTER_CHANGE_PASSWORD)) => Ok(submission(true)),
            (FormKind::Submit, Some(ns::REGISTER_CANCEL)) => Ok(Wish::Remove),
            _ => bad("This is not a form that was asked to be filled in."),
        };
    }
    let said = |name| query.child_text(name, ns::REGISTER).filter(|text| !text.is_empty());
    Ok(Wish::Submit(Submission {
        username: said("username"),
        password: said("password").map(Secret::new),
        is_change: false,
    }))
}

fn query(instructions: &str) -> Element {
    let text = Element::new("instructions", ns::REGISTER).with_text(instructions);
    Element::new("query", ns::REGISTER).with(text)
}

fn element(name: &str) -> Element {
    Element::new(name, ns::REGISTER)
}

/// What is to be filled in to register; `name` is the one that an invitation gives.
pub fn blank(host: &HostConfig, name: Option<&str>) -> Element {
    let instructions = match host.registration.instructions.as_str() {
        "" => "Choose a name and a password.",
        text => text,
    };
    let username = Field::new(FieldType::TextSingle, "username").label("Name").required();
    let username = match name {
        Some(name) => username.value(name),
        None => username,
    };
    let password = Field::new(FieldType::TextPrivate, "password").label("Password").required();
    let form = Form::new(FormKind::Form)
        .form_type(ns::REGISTER)
        .title(format!("An account at {}", host.domain))
        .instructions(instructions)
        .field(username)
        .field(password);
    let username = name.map_or_else(|| element("username"), |n| element("username").with_text(n));
    query(instructions).with(username).with(element("password")).with(form.to_element())
}

/// What is to be filled in for another password.
pub fn blank_reset(name: &str) -> Element {
    let instructions = "Choose a new password.";
    query(instructions).with(element("username").with_text(name)).with(element("password"))
}

/// Registration is done elsewhere (§5).
pub fn redirection(url: &str) -> Element {
    let oob = Element::new("x", ns::OOB).with(Element::new("url", ns::OOB).with_text(url));
    query(&format!("To register, visit {url}")).with(oob)
}

/// What is on file for an account.
pub fn registered(name: &str) -> Element {
    let instructions = "You have an account here. To change its password, send another one.";
    let form = Form::new(FormKind::Form)
        .form_type(ns::REGISTER_CHANGE_PASSWORD)
        .title("Another password")
        .instructions(instructions)
        .field(Field::new(FieldType::TextSingle, "username").label("Name").value(name).required())
        .field(Field::new(FieldType::TextPrivate, "password").label("New password").required());
    let mut query = Element::new("query", ns::REGISTER).with(element("registered"));
    query.push(Element::new("instructions", ns::REGISTER).with_text(instructions));
    query
        .with(element("username").with_text(name))
        .with(element("password"))
        .with(form.to_element())
}

/// An error with the number that clients from before RFC 3920 look at (§8, XEP-0086).
pub fn with_code(error: &StanzaError) -> Element {
    use Condition::*;
    let code = match error.condition {
        NotAuthorized => "401",
        Forbidden => "403",
        ItemNotFound => "404",
        NotAllowed => "405",
        NotAcceptable => "406",
        RegistrationRequired => "407",
        Conflict => "409",
        ServiceUnavailable => "503",
        InternalServerError | ResourceConstraint => "500",
        _ => "400",
    };
    error.to_element().attr("code", code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<Wish, Condition> {
        let query = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
        read_set(&query).map_err(|error| error.condition)
    }

    fn submit(username: Option<&str>, password: Option<&str>, is_change: bool) -> Wish {
        Wish::Submit(Submission {
            username: username.map(str::to_owned),
            password: password.map(Secret::new),
            is_change,
        })
    }

    #[test]
    fn fields_and_forms_are_read_alike() {
        for (xml, wish) in [
            (
                "<query xmlns='jabber:iq:register'><username>bill</username><password>Calliope</password>\
                 <email>bard@shakespeare.lit</email></query>",
                submit(Some("bill"), Some("Calliope"), false),
            ),
            (
                "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>\
                 <field type='hidden' var='FORM_TYPE'><value>jabber:iq:register</value></field>\
                 <field var='username'><value>bill</value></field>\
                 <field var='password'><value>Calliope</value></field></x></query>",
                submit(Some("bill"), Some("Calliope"), false),
            ),
            (
                "<query xmlns='jabber:iq:register'><username>bill</username><password/></query>",
                submit(Some("bill"), None, false),
            ),
            ("<query xmlns='jabber:iq:register'/>", submit(None, None, false)),
            // XEP-0077, "User Returns Password Change Form".
            (
                "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>\
                 <field type='hidden' var='FORM_TYPE'>\
                 <value>jabber:iq:register:changepassword</value></field>\
                 <field type='text-single' var='username'><value>bill@shakespeare.lit</value></field>\
                 <field type='text-private' var='old_password'><value>theglobe</value></field>\
                 <field type='text-private' var='password'><value>groundlings</value></field>\
                 </x></query>",
                submit(Some("bill@shakespeare.lit"), Some("groundlings"), true),
            ),
            ("<query xmlns='jabber:iq:register'><remove/></query>", Wish::Remove),
            // XEP-0077, "User Returns Cancellation Form".
            (
                "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>\
                 <field type='hidden' var='FORM_TYPE'><value>jabber:iq:register:cancel</value></field>\
                 <field var='username'><value>bill@shakespeare.lit</value></field></x></query>",
                Wish::Remove,
            ),
            (
                "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='cancel'/></query>",
                Wish::Cancel,
            ),
        ] {
            assert_eq!(read(xml), Ok(wish), "{xml}");
        }
        for xml in [
            "<query xmlns='jabber:iq:register'><remove/><username>bill</username></query>",
            "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='form'/></query>",
            "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE'><value>jabber:iq:search</value></field></x></query>",
        ] {
            assert_eq!(read(xml), Err(Condition::BadRequest), "{xml}");
        }
    }

    #[test]
    fn names_become_addresses_of_this_host_or_a_sentence() {
        let account = |name: &str| {
            Submission::account(name, "h.example").map(|jid| jid.to_string()).map_err(|error| {
                assert_eq!(error.condition, Condition::JidMalformed);
                error.text.unwrap_or_default()
            })
        };
        assert_eq!(account("Bill"), Ok("bill@h.example".into()));
        assert_eq!(account("bill@H.example"), Ok("bill@h.example".into()));
        for bad in ["bill@other.example", "bi ll", "bill/x", "", "a@b@h.example", "\"bill\""] {
            let text = account(bad).unwrap_err();
            assert!(text.contains("cannot be the name of an account: "), "{text}");
        }
    }

    #[test]
    fn passwords_do_not_show() {
        let wish = read(
            "<query xmlns='jabber:iq:register'><username>a</username><password>s3cret</password></query>",
        );
        assert!(!format!("{wish:?}").contains("s3cret"));
    }
}
