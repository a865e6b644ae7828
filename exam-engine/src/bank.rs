//! The bank on disk: draft items and frozen releases, as canonical JSON files in the data folder.
//!
//! `bank/items.jsonl` holds one numbered item a line; `bank/releases/0001.json` one release, never changed once written;
//! `bank/statistics.jsonl` what exams said of items, one of both a line.
//! Who changes either holds `bank/lock`, so that of two imports at the same time none is lost.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use question_bank::{
    import::Import,
    item::{Band, Item, ItemId},
    release::{NumberedItem, Release},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::files;

/// What an import added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// New items.
    pub n_new: usize,
    /// Questions that the bank had already, word for word.
    pub n_known: usize,
    /// Items with doubts, not taken.
    pub n_held_back: usize,
}

/// A bank in a folder.
pub struct Bank {
    folder: PathBuf,
}

impl Bank {
    /// Takes the data folder.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self {
            folder: data.join("bank"),
        }
    }

    /// Returns all items, by rising id.
    ///
    /// # Errors
    /// When the file cannot be read; the message names the line.
    pub fn items(&self) -> io::Result<Vec<NumberedItem>> {
        self.lines("items.jsonl")
    }

    fn lines<T: DeserializeOwned>(&self, name: &str) -> io::Result<Vec<T>> {
        let file = self.folder.join(name);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let parse = |(index, line)| {
            serde_json::from_str(line).map_err(|error| invalid(&file, index + 1, &error))
        };
        text.lines().enumerate().map(parse).collect()
    }

    /// Adds the items of an import that are beyond doubt and not yet there.
    ///
    /// # Errors
    /// When the file cannot be read or written; then nothing is added.
    pub fn add(&self, import: &Import) -> io::Result<Added> {
        let _lock = self.lock()?;
        let mut items = self.items()?;
        let mut known: HashSet<Question> =
            items.iter().map(|entry| question(&entry.item)).collect();
        let mut next = items.last().map_or(1, |entry| entry.id.0 + 1);
        let mut added = Added::default();
        for imported in &import.items {
            if imported.held_back() {
                added.n_held_back += 1;
            } else if !known.insert(question(&imported.item)) {
                added.n_known += 1;
            } else {
                items.push(NumberedItem {
                    id: ItemId(next),
                    item: imported.item.clone(),
                });
                next += 1;
                added.n_new += 1;
            }
        }
        if added.n_new > 0 {
            self.save("items.jsonl", &items)?;
        }
        Ok(added)
    }

    /// Waits until nobody else changes the bank, and keeps others out while the file is held.
    fn lock(&self) -> io::Result<File> {
        files::make_folder(&self.folder)?;
        let lock = File::create(self.folder.join("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    fn save<T: Serialize>(&self, name: &str, lines: &[T]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        files::write(&self.folder.join(name), &text)
    }

    /// Returns what exams said of items, in the order in which they were kept.
    ///
    /// # Errors
    /// When the file cannot be read; the message names the line.
    pub fn statistics(&self) -> io::Result<Vec<ItemRecord>> {
        self.lines("statistics.jsonl")
    }

    /// Keeps what an exam said of its items; what it said before is replaced.
    ///
    /// # Errors
    /// When the file cannot be read or written; then nothing is changed.
    pub fn keep_statistics(&self, exam: &str, records: &[ItemRecord]) -> io::Result<()> {
        let _lock = self.lock()?;
        let mut all = self.statistics()?;
        all.retain(|record| record.exam != exam);
        all.extend_from_slice(records);
        self.save("statistics.jsonl", &all)
    }

    /// Freezes all items under the next number. A bank unchanged since the newest release gives that one again.
    ///
    /// # Errors
    /// When there is nothing to freeze, or files cannot be read or written.
    pub fn release(&self) -> io::Result<Release> {
        if self.items()?.is_empty() {
            return Err(io::Error::other(question_bank::Error::EmptyBank));
        }
        let _lock = self.lock()?;
        let newest = self.newest_release()?;
        let items = self.items()?;
        if let Some(newest) = newest.as_ref().filter(|newest| newest.items == items) {
            return Ok(newest.clone());
        }
        let number = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let release = Release::new(number, newest.as_ref(), items).map_err(io::Error::other)?;
        files::write(&self.release_file(number), &serde_json::to_vec(&release)?)?;
        Ok(release)
    }

    /// Returns a release; 0 is the newest.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load_release(&self, number: u32) -> io::Result<Option<Release>> {
        if number == 0 {
            return self.newest_release();
        }
        let file = self.release_file(number);
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| invalid(&file, 1, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn newest_release(&self) -> io::Result<Option<Release>> {
        let mut newest = 0;
        while self.release_file(newest + 1).exists() {
            newest += 1;
        }
        if newest == 0 {
            Ok(None)
        } else {
            self.load_release(newest)
        }
    }

    fn release_file(&self, number: u32) -> PathBuf {
        self.folder.join(format!("releases/{number:04}.json"))
    }
}

/// What one exam said of one item; a line of `statistics.jsonl`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ItemRecord {
    /// Number of the item.
    pub item: u32,
    /// Hash of the revision that was asked.
    pub revision: String,
    /// Name of the exam.
    pub exam: String,
    /// Attempts that had it.
    pub n: i64,
    /// Mean part of the mark earned, 0 to 1.
    pub facility: Option<f64>,
    /// Correlation with the rest of the paper.
    pub discrimination: Option<f64>,
    /// Slope of the two-parameter model.
    pub a: Option<f64>,
    /// Its standard error.
    pub a_se: Option<f64>,
    /// Difficulty in that model.
    pub b: Option<f64>,
    /// Its standard error.
    pub b_se: Option<f64>,
    /// Alarms about it.
    pub n_alarms: usize,
}

/// What makes two items the same question, whatever topic or band a file gives them.
type Question = (String, Vec<String>, Vec<u8>);

fn question(item: &Item) -> Question {
    let options = item
        .options
        .iter()
        .map(|option| option.text.clone())
        .collect();
    (item.text.clone(), options, item.key.clone())
}

/// Counts items by topic and band.
#[must_use]
pub fn counts(items: &[NumberedItem]) -> BTreeMap<(&str, Band), usize> {
    let mut counts = BTreeMap::new();
    for Item { topic, band, .. } in items.iter().map(|entry| &entry.item) {
        *counts.entry((topic.as_str(), *band)).or_default() += 1;
    }
    counts
}

fn invalid(file: &Path, line: usize, error: &serde_json::Error) -> io::Error {
    io::Error::other(format!(
        "{}, dòng {line}: {error} / {}, line {line}: {error}",
        file.display(),
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use question_bank::import::ImportedItem;

    use super::*;

    fn import(text: &str) -> Import {
        let item = serde_json::json!({
            "type": "single_choice",
            "text": text,
            "options": [{"text": "x", "pinned": false}, {"text": "y", "pinned": false}],
            "key": [0],
            "topic": "",
            "band": "unstated",
            "explanation": "",
            "exclusion_sets": [],
        });
        Import {
            items: vec![ImportedItem {
                number: 1,
                line: 1,
                item: serde_json::from_value(item).unwrap(),
                problems: vec![],
            }],
            problems: vec![],
        }
    }

    #[test]
    fn imports_at_the_same_time_lose_nothing() {
        const N_IMPORTS: usize = 16;
        let data = tempfile::tempdir().unwrap();
        let folder = data.path();
        std::thread::scope(|scope| {
            for number in 0..N_IMPORTS {
                let import = import(&format!("Hỏi {number}?"));
                scope.spawn(move || Bank::new(folder).add(&import).unwrap());
            }
        });
        let ids: Vec<u32> = Bank::new(data.path())
            .items()
            .unwrap()
            .iter()
            .map(|entry| entry.id.0)
            .collect();
        assert!(ids.into_iter().eq((1..).take(N_IMPORTS)));
    }
}
