//! A Word document as what its reader sees: paragraphs of characters with their look, and tables of them.
//!
//! Automatic labels are part of the text; hidden and deleted text is not. What plain text cannot carry (pictures,
//! equations, characters of fonts before Unicode) is noted as lost, so that nobody takes the rest for the whole.
//! Source: ECMA-376 part 1, 17.2 to 17.4 and 22.1 (equations).

use quick_xml::events::{BytesRef, BytesStart, Event};
use unicode_normalization::{UnicodeNormalization, char::compose};

use super::{
    numbering::Numbering,
    styles::{Format, RunLook, Script, Styles},
    xml::{Fault, attribute, events, local_name},
};

/// Most paragraphs of a document: 10,000 questions with ten lines each fit twice.
const MAX_PARAGRAPHS: usize = 200_000;
/// Most characters of a document: each takes 12 bytes here, and 10,000 questions have about ten million.
const MAX_CHARS: usize = 12_000_000;

/// What stands in a paragraph but not in its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// A picture, drawing, embedded object or symbol.
    pub(super) picture: bool,
    /// An equation, or letters above or below the line.
    pub(super) equation: bool,
    /// Characters of a font before Unicode.
    pub(super) legacy_font: bool,
}

impl Losses {
    /// Adds what another paragraph lost.
    pub(super) fn add(&mut self, other: Self) {
        self.picture |= other.picture;
        self.equation |= other.equation;
        self.legacy_font |= other.legacy_font;
    }
}

/// One paragraph; `formats` has one entry a character.
#[derive(Clone, Debug, Default)]
pub(super) struct Paragraph {
    /// From 1, in document order, those of tables included.
    pub(super) line: usize,
    pub(super) chars: Vec<char>,
    pub(super) formats: Vec<Format>,
    pub(super) is_heading: bool,
    pub(super) losses: Losses,
}

impl Paragraph {
    fn push(&mut self, c: char, format: Format) {
        // Runs split anywhere, even between a letter and its accent.
        if let Some(last) = self.chars.last_mut()
            && let Some(composed) = compose(*last, c)
        {
            *last = composed;
            return;
        }
        self.chars.push(c);
        self.formats.push(format);
    }

    fn is_blank(&self) -> bool {
        self.losses == Losses::default() && self.chars.iter().all(|c| c.is_whitespace())
    }
}

/// The paragraphs of one cell.
pub(super) type Cell = Vec<Paragraph>;

/// What follows one another in a document.
#[derive(Clone, Debug)]
pub(super) enum Block {
    Paragraph(Paragraph),
    /// Rows of cells; a cell over several columns is followed by empty ones.
    Table(Vec<Vec<Cell>>),
}

/// Reads `word/document.xml` with the styles and lists it refers to.
pub(super) fn read_blocks(
    xml: &str,
    styles: &Styles,
    numbering: Numbering,
) -> Result<Vec<Block>, Fault> {
    let mut body = Body {
        styles,
        numbering,
        blocks: vec![],
        tables: vec![],
        open: None,
        n_paragraphs: 0,
        n_chars: 0,
    };
    let mut reader = events(xml);
    let mut depth = 0_usize;
    let mut has_body = false;
    loop {
        match reader.read_event()? {
            Event::Start(element) => {
                if is_skipped(local_name(&element)) {
                    body.note_loss(local_name(&element));
                    reader.read_to_end(element.name())?;
                } else {
                    depth += 1;
                    has_body |= local_name(&element) == "body";
                    body.start(&element);
                }
            }
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                body.end(element.local_name().into_inner())?;
            }
            Event::Text(text) => body.text(&text.xml10_content()),
            Event::CData(text) => body.text(&text.xml10_content()),
            Event::GeneralRef(reference) => body.text(&resolved(&reference)?),
            Event::Eof => break,
            _ => {}
        }
    }
    if has_body && depth == 0 {
        Ok(body.blocks)
    } else {
        Err(Fault::Damaged)
    }
}

/// Elements whose content is no text of the document: deleted text, field codes, old settings, drawings.
fn is_skipped(name: &str) -> bool {
    matches!(
        name,
        "del"
            | "moveFrom"
            | "delText"
            | "delInstrText"
            | "instrText"
            | "Fallback"
            | "drawing"
            | "pict"
            | "object"
            | "rPrChange"
            | "pPrChange"
            | "tblPrChange"
            | "trPrChange"
            | "tcPrChange"
            | "sectPr"
            | "tblPr"
            | "rt"
    )
}

fn resolved(reference: &BytesRef<'_>) -> Result<String, Fault> {
    if let Some(c) = reference.resolve_char_ref()? {
        return Ok(c.to_string());
    }
    let c = match reference.xml10_content().as_ref() {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => return Err(Fault::Damaged),
    };
    Ok(c.to_owned())
}

/// The paragraph being read.
#[derive(Default)]
struct Open {
    paragraph: Paragraph,
    style: Option<String>,
    list: Option<u32>,
    level: Option<usize>,
    in_settings: bool,
    in_look: bool,
    /// Of the paragraph's mark, and so of its automatic label.
    mark_look: RunLook,
    run_look: RunLook,
    n_equations: usize,
    text: Option<Text>,
}

/// The text element being read.
struct Text {
    keeps_spaces: bool,
    text: String,
}

#[derive(Default)]
struct OpenTable {
    rows: Vec<Vec<Cell>>,
    row: Vec<Cell>,
    cell: Cell,
    n_columns: usize,
}

struct Body<'a> {
    styles: &'a Styles,
    numbering: Numbering,
    blocks: Vec<Block>,
    tables: Vec<OpenTable>,
    open: Option<Open>,
    n_paragraphs: usize,
    n_chars: usize,
}

impl Body<'_> {
    fn start(&mut self, element: &BytesStart<'_>) {
        let name = local_name(element);
        match (name, &mut self.open) {
            ("p", _) => {
                self.n_paragraphs += 1;
                let mut open = Open::default();
                open.paragraph.line = self.n_paragraphs;
                self.open = Some(open);
            }
            (_, Some(open)) => open.start(name, element, self.styles),
            ("tbl", None) => self.tables.push(OpenTable::default()),
            (name, None) => {
                if let Some(table) = self.tables.last_mut() {
                    table.start(name, element);
                }
            }
        }
    }

    fn end(&mut self, name: &str) -> Result<(), Fault> {
        match name {
            "p" => return self.end_paragraph(),
            "tbl" => self.end_table(),
            "tc" | "tr" => {
                if let Some(table) = self.tables.last_mut() {
                    table.end(name);
                }
            }
            _ => {
                if let Some(open) = &mut self.open {
                    open.end(name, self.styles);
                }
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(open) = self.open.as_mut().and_then(|open| open.text.as_mut()) {
            open.text.push_str(text);
        }
    }

    fn note_loss(&mut self, skipped: &str) {
        if let Some(open) = &mut self.open {
            open.paragraph.losses.picture |= matches!(skipped, "drawing" | "pict" | "object");
        }
    }

    fn end_paragraph(&mut self) -> Result<(), Fault> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let style = open.style.as_deref();
        open.paragraph.is_heading |= self.styles.is_heading(style);
        let of_style = self.styles.numbering(style);
        let list = open
            .list
            .or(of_style.map(|(list, _)| list))
            .filter(|list| *list > 0);
        if let Some(list) = list {
            let level = open.level.or(of_style.map(|(_, level)| level)).unwrap_or(0);
            let label = self.numbering.next_label(list, level);
            let format = self.styles.resolve(style, &open.mark_look).format;
            open.paragraph.put_label(&label, format);
        }
        self.n_chars += open.paragraph.chars.len();
        if self.n_paragraphs > MAX_PARAGRAPHS || self.n_chars > MAX_CHARS {
            return Err(Fault::TooLong);
        }
        match self.tables.last_mut() {
            Some(table) => table.cell.push(open.paragraph),
            None => self.blocks.push(Block::Paragraph(open.paragraph)),
        }
        Ok(())
    }

    /// The cells of a table within a table become part of the cell around it.
    fn end_table(&mut self) {
        let Some(table) = self.tables.pop() else {
            return;
        };
        match self.tables.last_mut() {
            Some(outer) => outer
                .cell
                .extend(table.rows.into_iter().flatten().flatten()),
            None => self.blocks.push(Block::Table(table.rows)),
        }
    }
}

impl OpenTable {
    fn start(&mut self, name: &str, element: &BytesStart<'_>) {
        match name {
            "tc" => self.n_columns = 1,
            // Word has at most 63 columns.
            "gridSpan" => {
                let span = attribute(element, "val").and_then(|v| v.parse().ok());
                self.n_columns = span.unwrap_or(1).clamp(1, 63);
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        if name == "tr" {
            self.rows.push(std::mem::take(&mut self.row));
            return;
        }
        self.row.push(std::mem::take(&mut self.cell));
        for _ in 1..self.n_columns {
            self.row.push(Cell::new());
        }
    }
}

impl Open {
    fn start(&mut self, name: &str, element: &BytesStart<'_>, styles: &Styles) {
        let number = || attribute(element, "val").and_then(|v| v.parse().ok());
        match name {
            "pPr" => self.in_settings = true,
            "rPr" => self.in_look = true,
            _ if self.in_look && self.in_settings => self.mark_look.read(element),
            _ if self.in_look => self.run_look.read(element),
            "pStyle" => self.style = attribute(element, "val"),
            "numId" => self.list = number(),
            "ilvl" => self.level = number().and_then(|level| usize::try_from(level).ok()),
            "outlineLvl" => self.paragraph.is_heading |= number().is_some_and(|level| level < 9),
            _ if self.in_settings => {}
            "r" => self.run_look = RunLook::default(),
            "t" => {
                self.text = Some(Text {
                    keeps_spaces: attribute(element, "space").as_deref() == Some("preserve"),
                    text: String::new(),
                });
            }
            "tab" | "ptab" => self.push_text("\t", styles),
            "br" | "cr" => self.push_text("\n", styles),
            "noBreakHyphen" => self.push_text("-", styles),
            "sym" => self.paragraph.losses.picture = true,
            "oMath" => {
                self.n_equations += 1;
                self.paragraph.losses.equation = true;
            }
            _ if self.n_equations > 0 => self.push_text(equation_sign(name, true), styles),
            _ => {}
        }
    }

    fn end(&mut self, name: &str, styles: &Styles) {
        match name {
            "pPr" => self.in_settings = false,
            "rPr" => self.in_look = false,
            "t" => {
                if let Some(Text { keeps_spaces, text }) = self.text.take() {
                    let text = if keeps_spaces {
                        text.as_str()
                    } else {
                        text.trim_matches([' ', '\t', '\r', '\n'])
                    };
                    self.push_text(text, styles);
                }
            }
            "oMath" => self.n_equations = self.n_equations.saturating_sub(1),
            _ if self.n_equations > 0 && !self.in_settings => {
                self.push_text(equation_sign(name, false), styles)
            }
            _ => {}
        }
    }

    fn push_text(&mut self, text: &str, styles: &Styles) {
        let look = styles.resolve(self.style.as_deref(), &self.run_look);
        if look.hidden || text.is_empty() {
            return;
        }
        self.paragraph.losses.legacy_font |=
            look.legacy_font && text.chars().any(char::is_alphabetic);
        for c in text.nfc() {
            let c = match look.script {
                Script::Normal => c,
                script => scripted(c, script).unwrap_or_else(|| {
                    self.paragraph.losses.equation |= c.is_alphanumeric();
                    c
                }),
            };
            match c {
                '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => {}
                '\t' | '\n' => self.paragraph.push(c, look.format),
                c if c.is_whitespace() => self.paragraph.push(' ', look.format),
                c => self.paragraph.push(c, look.format),
            }
        }
    }
}

impl Paragraph {
    /// Puts an automatic label before the text; a paragraph without text shows nothing worth a label.
    fn put_label(&mut self, label: &str, format: Format) {
        if label.is_empty() || self.is_blank() {
            return;
        }
        let label: Vec<char> = label.chars().chain([' ']).collect();
        self.formats.splice(0..0, vec![format; label.len()]);
        self.chars.splice(0..0, label);
    }
}

/// Writes the bones of an equation on one line: (a)/(b), x^2, √(x).
fn equation_sign(name: &str, start: bool) -> &'static str {
    match (name, start) {
        ("num", true) => "(",
        ("num", false) => ")/",
        ("den", true) => "(",
        ("den", false) => ")",
        ("sup", true) => "^",
        ("sub", true) => "_",
        ("rad", true) => "√(",
        ("rad", false) => ")",
        _ => "",
    }
}

/// Returns the character that is itself above or below the line: ² of x², ₂ of H₂O.
fn scripted(c: char, script: Script) -> Option<char> {
    let plain = "0123456789+-=()";
    let scripted = match script {
        Script::Normal => plain,
        Script::Superscript => "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾",
        Script::Subscript => "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎",
    };
    plain
        .chars()
        .zip(scripted.chars())
        .find(|(p, _)| *p == c)
        .map(|(_, s)| s)
}

/// Returns the text of a cell, its paragraphs joined by blanks.
pub(super) fn cell_text(cell: &Cell) -> String {
    let paragraphs: Vec<String> = cell.iter().map(|p| p.chars.iter().collect()).collect();
    paragraphs.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(body: &str) -> Result<Vec<Block>, Fault> {
        let xml = format!("<w:document><w:body>{body}</w:body></w:document>");
        read_blocks(&xml, &Styles::default(), Numbering::default())
    }

    #[track_caller]
    fn check(paragraph: &str, expected: &str, losses: Losses) {
        let blocks = blocks(&format!("<w:p>{paragraph}</w:p>")).unwrap();
        let [Block::Paragraph(paragraph)] = blocks.as_slice() else {
            panic!("{blocks:?}");
        };
        let text: String = paragraph.chars.iter().collect();
        assert_eq!((text.as_str(), paragraph.losses), (expected, losses));
        assert_eq!(paragraph.chars.len(), paragraph.formats.len());
    }

    #[test]
    fn text_is_joined_over_runs_and_what_is_not_shown_is_left_out() {
        check(
            "<w:r><w:t xml:space='preserve'>Ca</w:t></w:r><w:r><w:t>\u{302}u&#160;1 &amp; 2</w:t><w:tab/></w:r>\
             <w:del><w:r><w:delText>x</w:delText></w:r></w:del><w:ins><w:r><w:t>y</w:t></w:r></w:ins>\
             <w:r><w:rPr><w:vanish/></w:rPr><w:t>A</w:t></w:r><w:r><w:instrText>PAGE</w:instrText></w:r>",
            "Câu 1 & 2\ty",
            Losses::default(),
        );
    }

    #[test]
    fn indices_become_characters_and_equations_a_line() {
        let index = |value: &str, text: &str| {
            format!("<w:r><w:rPr><w:vertAlign w:val='{value}'/></w:rPr><w:t>{text}</w:t></w:r>")
        };
        check(
            &format!(
                "<w:r><w:t>H</w:t></w:r>{}<w:r><w:t>O m</w:t></w:r>{}",
                index("subscript", "2"),
                index("superscript", "3")
            ),
            "H₂O m³",
            Losses::default(),
        );
        check(
            "<m:oMath><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r></m:den></m:f></m:oMath>",
            "(a)/(b)",
            Losses {
                equation: true,
                ..Losses::default()
            },
        );
    }

    #[test]
    fn pictures_are_noted_once_and_their_text_is_not_the_question() {
        check(
            "<w:r><mc:AlternateContent><mc:Choice><w:drawing><w:txbxContent><w:p><w:r><w:t>x</w:t></w:r></w:p>\
             </w:txbxContent></w:drawing></mc:Choice><mc:Fallback><w:t>z</w:t></mc:Fallback></mc:AlternateContent></w:r>",
            "",
            Losses {
                picture: true,
                ..Losses::default()
            },
        );
    }

    #[test]
    fn tables_keep_their_columns_and_flatten_tables_within() {
        let cell =
            |content: &str| format!("<w:tc><w:p><w:r><w:t>{content}</w:t></w:r></w:p></w:tc>");
        let inner = format!(
            "<w:tc><w:tbl><w:tr>{}{}</w:tr></w:tbl><w:p/></w:tc>",
            cell("b"),
            cell("c")
        );
        let wide = "<w:tc><w:tcPr><w:gridSpan w:val='2'/></w:tcPr><w:p/></w:tc>";
        let blocks = blocks(&format!(
            "<w:tbl><w:tr>{}{inner}</w:tr><w:tr>{wide}</w:tr></w:tbl>",
            cell("a")
        ))
        .unwrap();
        let [Block::Table(rows)] = blocks.as_slice() else {
            panic!("{blocks:?}");
        };
        let texts: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(cell_text).collect())
            .collect();
        assert_eq!(texts, [["a", "b c "], ["", ""]]);
    }

    #[test]
    fn a_part_that_breaks_off_is_damaged() {
        let whole = "<w:document><w:body><w:p/></w:body></w:document>";
        for end in 0..whole.len() {
            let read = read_blocks(&whole[..end], &Styles::default(), Numbering::default());
            assert_eq!(read.err(), Some(Fault::Damaged), "{end}");
        }
        assert!(read_blocks(whole, &Styles::default(), Numbering::default()).is_ok());
    }
}
