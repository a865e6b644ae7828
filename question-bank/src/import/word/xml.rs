//! What the readers of Word's parts share: events without a difference between `<a/>` and `<a></a>`, and attributes.

use quick_xml::{Reader, XmlVersion, events::BytesStart};

/// Why a part cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no XML, or breaks off.
    Damaged,
    /// It holds more than any bank of questions does.
    TooLong,
}

impl From<quick_xml::Error> for Fault {
    fn from(_: quick_xml::Error) -> Self {
        Self::Damaged
    }
}

/// Reads a part; an empty element gives a start and an end.
pub(super) fn events(xml: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().expand_empty_elements = true;
    reader
}

/// Returns an element's name without its prefix.
pub(super) fn local_name<'a>(element: &'a BytesStart<'_>) -> &'a str {
    element.local_name().into_inner()
}

/// Returns an attribute by its name without prefix.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element
        .attributes()
        .with_checks(false)
        .filter_map(Result::ok)
        .find(|a| a.key.local_name().into_inner() == name)?;
    found
        .normalized_value(XmlVersion::Implicit1_0)
        .ok()
        .map(std::borrow::Cow::into_owned)
}

/// Reads a property that is on by being there (`<w:b/>`) unless it says otherwise (`<w:b w:val="0"/>`).
pub(super) fn is_on(element: &BytesStart<'_>) -> bool {
    !matches!(
        attribute(element, "val").as_deref(),
        Some("0" | "false" | "off")
    )
}
