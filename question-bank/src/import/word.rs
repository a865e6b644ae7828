//! Reads questions and keys from Word files.
//!
//! A key comes, in this order, from the key file, a key table or key line in the document, or the mark that the whole
//! document uses (`word/marks.rs`). Where an earlier source decides, the mark is only compared with it.
//! Start at [`import`]: `word/document.rs` gives what a reader sees, `word/questions.rs` finds the questions in it.

mod document;
mod marks;
mod numbering;
mod questions;
mod styles;
mod xml;

use self::{
    document::{Block, Paragraph, cell_text, read_blocks},
    marks::Sign,
    numbering::Numbering,
    questions::{Line, Question, read_questions},
    styles::Styles,
    xml::Fault,
};
use super::{
    Import,
    draft::{Draft, Unit, finish},
    grammar::{announced_count, asks_for_several, key_text},
    key_table::{KeyTable, Row},
    package::Package,
};
use crate::{Result, item::clean_text};

/// Reads a document of questions.
pub(super) fn import(package: &mut Package<'_>, keys: Option<KeyTable>) -> Result<Import> {
    let blocks = read(package)?;
    let mut own_keys = KeyTable::default();
    let lines = lines(&blocks, &mut own_keys);
    let found = read_questions(&lines);
    if found.questions.is_empty() {
        return Err(package.no_questions("«Câu 1: …», «A. …», «B. …»"));
    }
    let keys = keys.or_else(|| Some(own_keys.clone()).filter(|keys| !keys.is_empty()));
    let sign = marks::vote(&found.questions);
    let drafts = found.questions.iter().map(|question| {
        let mut draft = draft(question);
        take_key(&mut draft, question, sign.as_ref(), keys.as_ref());
        if keys.is_some() {
            draft.compare_key(question.key.as_deref().unwrap_or_default(), false);
            draft.compare_key(own_keys.stated(question.number), false);
        }
        draft
    });
    Ok(finish(
        drafts.collect(),
        announced_count(&found.preamble),
        keys.as_ref(),
    ))
}

/// Reads a document that holds keys: tables, else lists such as `1. B`.
pub(super) fn read_keys(package: &mut Package<'_>) -> Result<KeyTable> {
    let blocks = read(package)?;
    let mut keys = KeyTable::default();
    for block in &blocks {
        if let Block::Table(rows) = block {
            keys.read_table(&table_rows(rows));
        }
    }
    if !keys.is_empty() {
        return Ok(keys);
    }
    for block in &blocks {
        match block {
            Block::Paragraph(paragraph) => {
                let text: String = paragraph.chars.iter().collect();
                keys.read_list(paragraph.line, &text);
            }
            Block::Table(rows) => {
                for row in table_rows(rows) {
                    keys.read_list(row.line, &row.cells.join(" "));
                }
            }
        }
    }
    Ok(keys)
}

fn read(package: &mut Package<'_>) -> Result<Vec<Block>> {
    let part = |name: &str, fault: Fault, package: &Package<'_>| match fault {
        Fault::Damaged => package.damaged(name, "hỏng", "damaged"),
        Fault::TooLong => package.unreadable(
            "tài liệu quá dài, hãy chia thành nhiều tệp",
            "the document is too long, divide it into several files",
        ),
    };
    let styles = match package.text("word/styles.xml")? {
        Some(xml) => Styles::read(&xml).map_err(|fault| part("styles.xml", fault, package))?,
        None => Styles::default(),
    };
    let numbering = match package.text("word/numbering.xml")? {
        Some(xml) => {
            Numbering::read(&xml).map_err(|fault| part("numbering.xml", fault, package))?
        }
        None => Numbering::default(),
    };
    let xml = package.main_text()?;
    read_blocks(&xml, &styles, numbering).map_err(|fault| part("document.xml", fault, package))
}

/// Lists the lines of a document. A table of keys is taken out; of any other, the cells follow one another.
fn lines(blocks: &[Block], keys: &mut KeyTable) -> Vec<Line> {
    let mut lines = vec![];
    for block in blocks {
        match block {
            Block::Paragraph(paragraph) => lines.extend(Line::split(paragraph)),
            Block::Table(rows) => {
                if !keys.read_table(&table_rows(rows)) {
                    lines.extend(rows.iter().flatten().flatten().flat_map(Line::split));
                }
            }
        }
    }
    lines
}

fn table_rows(rows: &[Vec<document::Cell>]) -> Vec<Row> {
    let line_of =
        |cells: &[Vec<Paragraph>]| cells.iter().flatten().map(|p| p.line).next().unwrap_or(1);
    rows.iter()
        .map(|cells| Row {
            line: line_of(cells),
            cells: cells.iter().map(cell_text).collect(),
        })
        .collect()
}

fn draft(question: &Question) -> Draft {
    let mut draft = Draft {
        number: question.number,
        line: question.line,
        unit: Unit::Paragraph,
        text: clean_text(&question.stem),
        options: question
            .choices
            .iter()
            .map(|choice| choice.clean_text())
            .collect(),
        key: vec![],
        topic: question.topic.clone(),
        band: question.band,
        explanation: clean_text(&question.explanation),
        problems: vec![],
    };
    if question.letters_out_of_order {
        draft.hold(
            "letters_out_of_order",
            "chữ cái phương án lặp hoặc nhảy cóc; hãy sửa lại A., B., C. hoặc thêm «Câu n:» bị thiếu",
            "option letters are repeated or skipped; correct A., B., C. or add a missing «Câu n:»",
        );
    }
    if question.text_joined {
        draft.warn(
            "text_joined",
            "có đoạn không chữ cái sau phương án, đã nối vào phương án; hãy xem lại",
            "a paragraph without letter follows an option and was joined to it; please check",
        );
    }
    report_losses(&mut draft, question);
    draft
}

fn report_losses(draft: &mut Draft, question: &Question) {
    if question.losses.picture {
        draft.hold(
            "picture_lost",
            "có hình, chưa nhập được; hãy diễn đạt bằng lời hoặc bỏ câu này",
            "it has a picture, which is not imported; put it in words or leave the question out",
        );
    }
    if question.losses.legacy_font {
        draft.hold(
            "legacy_font",
            "dùng phông chữ cũ (.Vn…, VNI-…); hãy chuyển sang Unicode",
            "it uses a font before Unicode (.Vn…, VNI-…); convert it to Unicode",
        );
    }
    if question.losses.equation {
        draft.warn(
            "equation_flattened",
            "có công thức, đã viết thành một dòng; hãy xem lại",
            "it has an equation, which was written on one line; please check",
        );
    }
}

fn take_key(draft: &mut Draft, question: &Question, sign: Option<&Sign>, keys: Option<&KeyTable>) {
    let source = match (keys, &question.key) {
        (Some(keys), _) => {
            draft.take_key_from(keys);
            ("bảng đáp án", "the key table")
        }
        (None, Some(raw)) => {
            draft.take_key(raw, false);
            ("dòng đáp án", "the key line")
        }
        (None, None) => return take_marked_key(draft, question, sign),
    };
    if let Some(sign) = sign.filter(|_| !draft.key.is_empty()) {
        compare_with_marks(draft, question, sign, source);
    }
}

/// The stated key stands; people hear where the marks say something else or nothing.
fn compare_with_marks(draft: &mut Draft, question: &Question, sign: &Sign, source: (&str, &str)) {
    let marked = sign.marked(question);
    if marked == draft.key {
        return;
    }
    let key = key_text(&draft.key);
    let (vi, en) = sign.names();
    let (source_vi, source_en) = source;
    if marked.is_empty() || marked.len() == question.choices.len() {
        let (which_vi, which_en) = if marked.is_empty() {
            ("không phương án nào", "no")
        } else {
            ("mọi phương án đều", "every")
        };
        draft.warn(
            "marks_unclear",
            &format!("{which_vi} {vi}; đã lấy {key} theo {source_vi}, hãy xem lại"),
            &format!("{which_en} option is {en}; {key} was taken from {source_en}, please check"),
        );
    } else {
        let marked = key_text(&marked);
        draft.warn(
            "marks_disagree",
            &format!(
                "phương án {vi} là {marked} nhưng {source_vi} ghi {key}; đã lấy {key}, hãy xem lại"
            ),
            &format!("{marked} is {en} but {source_en} says {key}; {key} was taken, please check"),
        );
    }
}

fn take_marked_key(draft: &mut Draft, question: &Question, sign: Option<&Sign>) {
    let Some(sign) = sign else {
        draft.hold(
            "key_missing",
            "chưa có đáp án; hãy thêm dòng «Đáp án: B», đánh dấu phương án đúng hoặc gửi kèm tệp đáp án",
            "no key; add a line «Đáp án: B», mark the right option or send a key file along",
        );
        return;
    };
    let (vi, en) = sign.names();
    let marked = sign.marked(question);
    let n_options = question.choices.len();
    if marked.is_empty() {
        draft.hold(
            "marks_unclear",
            &format!("không phương án nào {vi} như ở các câu khác; hãy đánh dấu phương án đúng"),
            &format!("no option is {en} as in other questions; mark the right one"),
        );
    } else if marked.len() == n_options && n_options > 1 {
        draft.hold(
            "marks_unclear",
            &format!("cả {n_options} phương án đều {vi}; hãy chỉ đánh dấu phương án đúng"),
            &format!("all {n_options} options are {en}; mark only the right one"),
        );
    } else if marked.len() > 1 && !asks_for_several(&draft.text) {
        let letters = key_text(&marked);
        draft.hold(
            "several_keys",
            &format!("nhiều phương án {vi} ({letters}); hãy bỏ bớt, hoặc ghi «(chọn các đáp án đúng)» vào câu dẫn"),
            &format!("several options are {en} ({letters}); unmark some, or add «(chọn các đáp án đúng)» to the stem"),
        );
    } else {
        draft.key = marked;
    }
}
