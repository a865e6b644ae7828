//! The look of a run, resolved through document defaults, paragraph style, character style and its own settings.
//!
//! Source: ECMA-376 part 1, 17.7.2 (style hierarchy) and 17.7.3 (toggle properties).

use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event};

use super::xml::{Fault, attribute, events, is_on, local_name};

/// Longest chain of styles that build on one another; Word's own chains are about five long, and a damaged file may
/// hold a circle.
const MAX_STYLE_DEPTH: usize = 32;
/// Smallest difference between the strongest and the weakest of red, green and blue of what people call a colour: red
/// marks an option, dark grey does not.
const MIN_COLOUR_SPREAD: u8 = 64;

/// How characters look, as far as it can mark an option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Format {
    pub(super) bold: bool,
    pub(super) italic: bool,
    pub(super) underline: bool,
    pub(super) highlight: bool,
    /// None for black, white and greys.
    pub(super) colour: Option<[u8; 3]>,
}

/// Above or below the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Normal,
    Superscript,
    Subscript,
}

/// What one level of the hierarchy says about the look of a run; None where it is silent.
#[derive(Clone, Debug, Default)]
pub(super) struct RunLook {
    pub(super) style: Option<String>,
    bold: Option<bool>,
    italic: Option<bool>,
    hidden: Option<bool>,
    underline: Option<bool>,
    highlight: Option<bool>,
    colour: Option<Option<[u8; 3]>>,
    script: Option<Script>,
    legacy_font: Option<bool>,
}

impl RunLook {
    /// Takes up one child element of `w:rPr`.
    pub(super) fn read(&mut self, element: &BytesStart<'_>) {
        let value = || attribute(element, "val").unwrap_or_default();
        match local_name(element) {
            "rStyle" => self.style = Some(value()),
            "b" => self.bold = Some(is_on(element)),
            "i" => self.italic = Some(is_on(element)),
            "vanish" => self.hidden = Some(is_on(element)),
            "u" => self.underline = Some(value() != "none"),
            "highlight" => self.highlight = Some(value() != "none"),
            "shd" => self.read_shading(element),
            "color" => self.colour = Some(colour(&value())),
            "vertAlign" => {
                self.script = Some(match value().as_str() {
                    "superscript" => Script::Superscript,
                    "subscript" => Script::Subscript,
                    _ => Script::Normal,
                });
            }
            "rFonts" => {
                if let Some(font) = attribute(element, "ascii") {
                    self.legacy_font = Some(is_legacy_font(&font));
                }
            }
            _ => {}
        }
    }

    /// White paper behind text pasted from a page is no highlight.
    fn read_shading(&mut self, element: &BytesStart<'_>) {
        let fill = attribute(element, "fill").unwrap_or_default();
        if !matches!(fill.to_uppercase().as_str(), "" | "AUTO" | "FFFFFF") {
            self.highlight.get_or_insert(true);
        }
    }

    /// Fills what this level leaves open from the one below it.
    fn or(self, below: &Self) -> Self {
        Self {
            style: self.style,
            bold: self.bold.or(below.bold),
            italic: self.italic.or(below.italic),
            hidden: self.hidden.or(below.hidden),
            underline: self.underline.or(below.underline),
            highlight: self.highlight.or(below.highlight),
            colour: self.colour.or(below.colour),
            script: self.script.or(below.script),
            legacy_font: self.legacy_font.or(below.legacy_font),
        }
    }
}

/// A run's look as Word shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResolvedLook {
    pub(super) format: Format,
    pub(super) hidden: bool,
    pub(super) script: Script,
    pub(super) legacy_font: bool,
}

/// A style with everything it builds on.
#[derive(Clone, Debug, Default)]
struct Style {
    based_on: Option<String>,
    look: RunLook,
    numbering: Option<(u32, usize)>,
    is_heading: bool,
}

/// The styles of a document.
#[derive(Debug, Default)]
pub(super) struct Styles {
    styles: HashMap<String, Style>,
    defaults: RunLook,
    default_paragraph: Option<String>,
}

impl Styles {
    /// Reads `word/styles.xml`.
    pub(super) fn read(xml: &str) -> Result<Self, Fault> {
        let mut styles = Self::default();
        let mut id = String::new();
        let mut style = Style::default();
        let mut in_defaults = false;
        let mut in_run = false;
        let mut reader = events(xml);
        loop {
            match reader.read_event()? {
                Event::Start(element) => match local_name(&element) {
                    "docDefaults" => in_defaults = true,
                    "style" => {
                        id = attribute(&element, "styleId").unwrap_or_default();
                        style = Style::default();
                        let is_default =
                            attribute(&element, "default").is_some_and(|v| v == "1" || v == "true");
                        if is_default && attribute(&element, "type").as_deref() == Some("paragraph")
                        {
                            styles.default_paragraph = Some(id.clone());
                        }
                    }
                    "rPr" => in_run = true,
                    // The looks of parts of tables do not belong to the style itself.
                    "tblStylePr" => {
                        reader.read_to_end(element.name())?;
                    }
                    _ if in_run && in_defaults => styles.defaults.read(&element),
                    _ if in_run => style.look.read(&element),
                    _ => style.read(&element),
                },
                Event::End(element) => match element.local_name().into_inner() {
                    "docDefaults" => in_defaults = false,
                    "rPr" => in_run = false,
                    "style" => {
                        styles
                            .styles
                            .insert(std::mem::take(&mut id), std::mem::take(&mut style));
                    }
                    _ => {}
                },
                Event::Eof => break,
                _ => {}
            }
        }
        Ok(styles.resolved())
    }

    /// Replaces every style by itself with what it builds on.
    fn resolved(self) -> Self {
        let styles = self
            .styles
            .keys()
            .map(|id| (id.clone(), self.with_bases(id)))
            .collect();
        Self { styles, ..self }
    }

    fn with_bases(&self, id: &str) -> Style {
        let mut resolved = self.styles.get(id).cloned().unwrap_or_default();
        let mut base = resolved.based_on.clone();
        for _ in 0..MAX_STYLE_DEPTH {
            let Some(style) = base.and_then(|id| self.styles.get(&id)) else {
                break;
            };
            resolved.look = resolved.look.or(&style.look);
            resolved.numbering = resolved.numbering.or(style.numbering);
            resolved.is_heading |= style.is_heading;
            base = style.based_on.clone();
        }
        resolved
    }

    fn paragraph_style(&self, id: Option<&str>) -> Option<&Style> {
        id.and_then(|id| self.styles.get(id))
            .or_else(|| self.styles.get(self.default_paragraph.as_deref()?))
    }

    /// Reports whether paragraphs of a style are headings.
    pub(super) fn is_heading(&self, id: Option<&str>) -> bool {
        self.paragraph_style(id).is_some_and(|s| s.is_heading)
    }

    /// Returns list and level that a paragraph style brings along.
    pub(super) fn numbering(&self, id: Option<&str>) -> Option<(u32, usize)> {
        self.paragraph_style(id)?.numbering
    }

    /// Returns the look of a run in a paragraph of some style.
    pub(super) fn resolve(&self, paragraph_style: Option<&str>, own: &RunLook) -> ResolvedLook {
        let silent = RunLook::default();
        let paragraph = self
            .paragraph_style(paragraph_style)
            .map_or(&silent, |s| &s.look);
        let character = own
            .style
            .as_ref()
            .and_then(|id| self.styles.get(id))
            .map_or(&silent, |s| &s.look);
        // Bold in both styles cancels out; a setting of the run itself is final.
        let toggle = |property: fn(&RunLook) -> Option<bool>| {
            let below = property(paragraph)
                .or(property(&self.defaults))
                .unwrap_or(false);
            property(own).unwrap_or(below ^ property(character).unwrap_or(false))
        };
        let look = own.clone().or(character).or(paragraph).or(&self.defaults);
        ResolvedLook {
            format: Format {
                bold: toggle(|look| look.bold),
                italic: toggle(|look| look.italic),
                underline: look.underline.unwrap_or(false),
                highlight: look.highlight.unwrap_or(false),
                colour: look.colour.flatten(),
            },
            hidden: toggle(|look| look.hidden),
            script: look.script.unwrap_or(Script::Normal),
            legacy_font: look.legacy_font.unwrap_or(false),
        }
    }
}

impl Style {
    fn read(&mut self, element: &BytesStart<'_>) {
        let value = || attribute(element, "val").unwrap_or_default();
        match local_name(element) {
            "basedOn" => self.based_on = Some(value()),
            "name" => self.is_heading |= value().to_lowercase().starts_with("heading "),
            "outlineLvl" => self.is_heading |= value().parse().is_ok_and(|level: u8| level < 9),
            "numId" => {
                let level = self.numbering.map_or(0, |(_, level)| level);
                self.numbering = value().parse().ok().map(|id| (id, level));
            }
            "ilvl" => {
                let list = self.numbering.map_or(0, |(list, _)| list);
                self.numbering = value().parse().ok().map(|level| (list, level));
            }
            _ => {}
        }
    }
}

fn colour(hex: &str) -> Option<[u8; 3]> {
    let value = u32::from_str_radix(hex, 16)
        .ok()
        .filter(|_| hex.len() == 6)?;
    let [_, red, green, blue] = value.to_be_bytes();
    let colour = [red, green, blue];
    let spread = colour.iter().max()? - colour.iter().min()?;
    (spread >= MIN_COLOUR_SPREAD).then_some(colour)
}

/// Recognizes the fonts of the encodings before Unicode, whose characters would come out as others.
fn is_legacy_font(font: &str) -> bool {
    font.starts_with(".Vn") || font.starts_with("VNI-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLES: &str = r#"<w:styles xmlns:w="w"><w:docDefaults><w:rPrDefault><w:rPr><w:color w:val="333333"/></w:rPr>
        </w:rPrDefault></w:docDefaults>
        <w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>
        <w:style w:type="paragraph" w:styleId="Right"><w:basedOn w:val="Base"/><w:rPr><w:u w:val="single"/></w:rPr></w:style>
        <w:style w:type="paragraph" w:styleId="Base"><w:basedOn w:val="Right"/><w:rPr><w:b/></w:rPr></w:style>
        <w:style w:type="character" w:styleId="Strong"><w:rPr><w:b/><w:color w:val="FF0000"/></w:rPr></w:style>
        <w:style w:type="paragraph" w:styleId="Part"><w:name w:val="heading 2"/></w:style></w:styles>"#;

    #[track_caller]
    fn check(paragraph: Option<&str>, run: &str, expected: Format) {
        let styles = Styles::read(STYLES).unwrap();
        let mut look = RunLook::default();
        let mut reader = events(run);
        while let Event::Start(element) | Event::Empty(element) = reader.read_event().unwrap() {
            look.read(&element);
            reader.read_event().unwrap();
        }
        assert_eq!(styles.resolve(paragraph, &look).format, expected, "{run}");
    }

    #[test]
    fn looks_come_from_the_styles_a_style_builds_on_even_in_a_circle() {
        let expected = Format {
            bold: true,
            underline: true,
            ..Format::default()
        };
        check(Some("Right"), "", expected);
        check(
            Some("Right"),
            "<w:u w:val='none'/>",
            Format {
                bold: true,
                ..Format::default()
            },
        );
        check(Some("unknown"), "", Format::default());
    }

    #[test]
    fn a_run_overrules_its_styles_and_bold_twice_is_not_bold() {
        let red = Some([255, 0, 0]);
        check(
            None,
            "<w:rStyle w:val='Strong'/>",
            Format {
                bold: true,
                colour: red,
                ..Format::default()
            },
        );
        check(
            None,
            "<w:rStyle w:val='Strong'/><w:b w:val='0'/>",
            Format {
                colour: red,
                ..Format::default()
            },
        );
        check(
            Some("Base"),
            "<w:rStyle w:val='Strong'/>",
            Format {
                underline: true,
                colour: red,
                ..Format::default()
            },
        );
    }

    #[test]
    fn white_shading_and_grey_letters_are_no_marks() {
        check(
            None,
            "<w:shd w:fill='FFFFFF'/><w:color w:val='444444'/>",
            Format::default(),
        );
        check(
            None,
            "<w:shd w:fill='FFFF00'/>",
            Format {
                highlight: true,
                ..Format::default()
            },
        );
        check(None, "<w:highlight w:val='none'/>", Format::default());
    }

    #[test]
    fn heading_styles_are_known_by_their_names() {
        let styles = Styles::read(STYLES).unwrap();
        assert!(styles.is_heading(Some("Part")));
        assert!(!styles.is_heading(Some("Base")));
        assert!(!styles.is_heading(None));
    }
}
