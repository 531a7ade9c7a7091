//! XEP-0059: Result Set Management (1.0).

use std::fmt;

use super::{Condition, StanzaError};
use crate::xml::element::Element;
use crate::xml::ns;

/// Which page of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Items at most. Zero asks for the count alone.
    pub max: Option<usize>,
    /// The page that follows this item.
    pub after: Option<String>,
    pub before: Option<Before>,
    /// The page that starts at this place, counted from 0.
    pub index: Option<usize>,
}

/// Backwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// The last page: an empty `<before/>`.
    End,
    /// The page in front of this item.
    Item(String),
}

/// Why a request for a page is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    MaxIsNotANumber,
    IndexIsNotANumber,
    /// `<index/>` together with `<after/>` or `<before/>`.
    IndexAndItem,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PageError::MaxIsNotANumber => "the <max/> of a result set is a number",
            PageError::IndexIsNotANumber => "the <index/> of a result set is a number",
            PageError::IndexAndItem => {
                "the page of a result set starts at an <index/> or next to an item, not both"
            }
        })
    }
}

impl std::error::Error for PageError {}

impl From<PageError> for StanzaError {
    fn from(error: PageError) -> StanzaError {
        StanzaError::new(Condition::BadRequest).with_text(error.to_string())
    }
}

impl PageRequest {
    /// The request in the `<set/>` of `query`; that of the first page if there is none.
    ///
    /// # Errors
    /// See [`PageError`], which is a `bad-request`.
    pub fn of(query: &Element) -> Result<PageRequest, PageError> {
        query.child("set", ns::RSM).map_or(Ok(PageRequest::default()), PageRequest::from_element)
    }

    /// Reads a `<set/>`.
    ///
    /// # Errors
    /// See [`PageError`], which is a `bad-request`.
    pub fn from_element(set: &Element) -> Result<PageRequest, PageError> {
        let number = |name, error| {
            set.child_text(name, ns::RSM)
                .map(|text| text.trim().parse().map_err(|_| error))
                .transpose()
        };
        let request = PageRequest {
            max: number("max", PageError::MaxIsNotANumber)?,
            index: number("index", PageError::IndexIsNotANumber)?,
            after: set.child_text("after", ns::RSM).filter(|id| !id.is_empty()),
            before: set.child_text("before", ns::RSM).map(|id| match id.is_empty() {
                true => Before::End,
                false => Before::Item(id),
            }),
        };
        match request.index.is_some() && (request.after.is_some() || request.before.is_some()) {
            true => Err(PageError::IndexAndItem),
            false => Ok(request),
        }
    }

    /// Items to give: what is asked for, but no more than `max`; `default` if nothing is asked.
    pub fn limit(&self, default: usize, max: usize) -> usize {
        self.max.unwrap_or(default).min(max)
    }

    /// Whether the page is sought from the end of the list.
    pub fn is_backwards(&self) -> bool {
        self.before.is_some()
    }
}

/// Which page is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// First and last item; `None` for an empty page.
    pub ends: Option<(String, String)>,
    /// Place of the first item in the whole list, if it is known.
    pub index: Option<usize>,
    /// Items in the whole list, if it was counted.
    pub count: Option<usize>,
}

impl Page {
    /// The `<set/>` of a response.
    pub fn to_element(&self) -> Element {
        let number = |name, value: usize| Element::new(name, ns::RSM).with_text(&value.to_string());
        let mut set = Element::new("set", ns::RSM);
        if let Some((first, last)) = &self.ends {
            set.push(
                Element::new("first", ns::RSM)
                    .attr_opt("index", self.index.map(|index| index.to_string()))
                    .with_text(first),
            );
            set.push(Element::new("last", ns::RSM).with_text(last));
        }
        set.with_all(self.count.map(|count| number("count", count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<PageRequest, PageError> {
        let xml = format!("<set xmlns='http://jabber.org/protocol/rsm'>{content}</set>");
        PageRequest::from_element(&Element::parse(xml.as_bytes(), "").unwrap())
    }

    #[test]
    fn requests_of_the_specification_are_read() {
        let none = PageRequest::default;
        for (content, request) in [
            ("", none()),
            ("<max>10</max>", PageRequest { max: Some(10), ..none() }),
            ("<max>0</max>", PageRequest { max: Some(0), ..none() }),
            (
                "<max> 10 </max><after>a@b</after>",
                PageRequest { max: Some(10), after: Some("a@b".into()), ..none() },
            ),
            ("<before/>", PageRequest { before: Some(Before::End), ..none() }),
            (
                "<before>x</before>",
                PageRequest { before: Some(Before::Item("x".into())), ..none() },
            ),
            ("<index>371</index>", PageRequest { index: Some(371), ..none() }),
        ] {
            assert_eq!(read(content), Ok(request), "{content}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (content, error) in [
            ("<max>-1</max>", PageError::MaxIsNotANumber),
            ("<max/>", PageError::MaxIsNotANumber),
            ("<max>99999999999999999999999</max>", PageError::MaxIsNotANumber),
            ("<index>x</index>", PageError::IndexIsNotANumber),
            ("<index>1</index><after>x</after>", PageError::IndexAndItem),
        ] {
            assert_eq!(read(content), Err(error), "{content}");
        }
    }

    #[test]
    fn limits_are_kept() {
        assert_eq!(read("<max>1000</max>").unwrap().limit(50, 250), 250);
        assert_eq!(read("<max>0</max>").unwrap().limit(50, 250), 0);
        assert_eq!(read("").unwrap().limit(50, 250), 50);
    }

    #[test]
    fn pages_are_written() {
        let page = Page { ends: Some(("a".into(), "c".into())), index: Some(0), count: Some(800) };
        assert_eq!(
            page.to_element().to_xml(ns::RSM),
            "<set><first index='0'>a</first><last>c</last><count>800</count></set>"
        );
        assert_eq!(Page::default().to_element().to_xml(ns::RSM), "<set/>");
    }
}
