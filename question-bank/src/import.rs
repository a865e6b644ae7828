//! Reads items from documents that people have: what was understood, and every problem with its place.
//!
//! Invariant: nothing is guessed. An item that is not certain is `held back`: it stands in the list with its
//! problems and never enters the bank until somebody decides. Start at [`import`]: `import/word.rs` and
//! `import/excel.rs` read the two kinds of file, `import/grammar.rs` knows the words and signs they use,
//! `import/draft.rs` checks what was read. Source: the conventions of Vietnamese question files.

mod draft;
mod excel;
mod grammar;
mod key_table;
mod package;
mod word;

use self::{
    key_table::KeyTable,
    package::{Kind, Package},
};
use crate::{Error, Result, item::Item};

/// How a problem weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look; the item is taken.
    Warning,
    /// The item is held back.
    Error,
}

/// What is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable name, e.g. `key_missing`.
    pub code: &'static str,
    /// How it weighs.
    pub severity: Severity,
    /// Paragraph of the Word file or row of the sheet, from 1.
    pub line: usize,
    /// What is wrong and what to do, Vietnamese then English, separated by " / ".
    pub message: String,
}

/// One question as found in a document.
#[derive(Clone, Debug)]
pub struct ImportedItem {
    /// Number the document gives it, else its order from 1.
    pub number: u32,
    /// Where it starts: paragraph or row, from 1.
    pub line: usize,
    /// What was understood; its key may be empty when held back.
    pub item: Item,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

impl ImportedItem {
    /// Reports whether somebody must decide before the item may enter the bank.
    #[must_use]
    pub fn held_back(&self) -> bool {
        self.problems.iter().any(|p| p.severity == Severity::Error)
    }
}

/// What a document gave.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// In document order.
    pub items: Vec<ImportedItem>,
    /// Problems of the document as a whole.
    pub problems: Vec<Problem>,
}

/// Reads the questions of a Word or Excel file, told apart by content, and their keys from a second file where there
/// is one: then that file decides, and marks and keys in the first are only compared with it.
///
/// # Errors
///
/// [`Error::Unreadable`] if a file is damaged, too large or of another kind; [`Error::NoItems`] if the first holds no
/// question or the second no key. Each names the file it is about.
pub fn import(file_name: &str, bytes: &[u8], key: Option<(&str, &[u8])>) -> Result<Import> {
    let keys = key
        .map(|(file_name, bytes)| read_keys(file_name, bytes))
        .transpose();
    let given = keys.as_ref().ok().and_then(Clone::clone);
    let found = read_questions(file_name, bytes, given);
    let no_question = match &found {
        Ok(import) => import.items.iter().all(|i| i.item.options.len() < 2),
        Err(error) => matches!(error, Error::NoItems { .. }),
    };
    if no_question && read_keys(file_name, bytes).is_ok() {
        return Err(Error::NoItems {
            file: file_name.to_owned(),
            what_vi: "có vẻ là tệp đáp án; hãy đưa nó vào bằng --key, sau tệp câu hỏi".to_owned(),
            what_en:
                "this looks like a key file; give it with --key, behind the file with the questions"
                    .to_owned(),
        });
    }
    keys.and(found)
}

fn read_questions(file_name: &str, bytes: &[u8], keys: Option<KeyTable>) -> Result<Import> {
    let mut package = Package::open(file_name, bytes)?;
    match package.kind() {
        Kind::Word => word::import(&mut package, keys),
        Kind::Excel => excel::import(&mut package, keys),
    }
}

fn read_keys(file_name: &str, bytes: &[u8]) -> Result<KeyTable> {
    let mut package = Package::open(file_name, bytes)?;
    let keys = match package.kind() {
        Kind::Word => word::read_keys(&mut package)?,
        Kind::Excel => excel::read_keys(&mut package)?,
    };
    if keys.is_empty() {
        return Err(package.no_items(
            "không tìm thấy đáp án nào: «Câu | Đáp án», «1. B»",
            "no key found: «No. | Key», «1. B»",
        ));
    }
    Ok(keys)
}
