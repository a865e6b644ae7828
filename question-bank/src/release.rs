//! Freezes a bank: numbered, hashed releases, and the two halves of an exam's package.
//!
//! Invariant: a release never changes; its hash covers the revision of every item, and the hash of the release
//! before it. Keys leave the bank only inside a key half. Formats: docs/FORMATS.md, section 1.

use std::collections::BTreeMap;

use prost::Message;
use proto::{
    bank::v1::{Blueprint, Option as PaperOption, PaperHalf, PaperItem},
    key::v1::{ItemKey, KeyHalf},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, draw,
    item::{Item, ItemId, refers_to_letters},
};

/// An item of a release with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberedItem {
    /// Number in the bank.
    pub id: ItemId,
    /// The revision that the release holds.
    pub item: Item,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    number: u32,
    previous: String,
    items: Vec<ManifestEntry>,
}

#[derive(Serialize, Deserialize)]
struct ManifestEntry {
    id: ItemId,
    revision: String,
}

/// An immutable, numbered version of a bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// From 1.
    pub number: u32,
    /// Hash of the release before it, hexadecimal; empty for the first.
    pub previous: String,
    /// By rising id.
    pub items: Vec<NumberedItem>,
}

/// The two halves of an exam's package, as stored.
#[derive(Clone, Debug)]
pub struct Package {
    /// An encoded `bank.v1.PaperHalf`.
    pub paper_half: Vec<u8>,
    /// An encoded `key.v1.KeyHalf`.
    pub key_half: Vec<u8>,
}

impl Release {
    /// Freezes items under a number.
    ///
    /// # Errors
    /// [`Error::EmptyBank`] if there is nothing to freeze; [`Error::Package`] if ids repeat.
    pub fn new(number: u32, previous: Option<&Self>, mut items: Vec<NumberedItem>) -> Result<Self> {
        items.sort_by_key(|entry| entry.id);
        if items.is_empty() {
            return Err(Error::EmptyBank);
        }
        if !items.is_sorted_by(|a, b| a.id < b.id) {
            return Err(Error::Package(
                "số câu bị trùng / item numbers repeat".to_owned(),
            ));
        }
        let previous = previous
            .map(|release| hex::encode(release.hash()))
            .unwrap_or_default();
        Ok(Self {
            number,
            previous,
            items,
        })
    }

    /// Returns the manifest's canonical bytes.
    #[must_use]
    pub fn manifest(&self) -> Vec<u8> {
        let items = self
            .items
            .iter()
            .map(|entry| ManifestEntry {
                id: entry.id,
                revision: hex::encode(entry.item.revision()),
            })
            .collect();
        let manifest = Manifest {
            format: 1,
            number: self.number,
            previous: self.previous.clone(),
            items,
        };
        serde_json::to_vec(&manifest).expect("a manifest has only strings, numbers and lists")
    }

    /// Returns the release hash: BLAKE3 of the manifest.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.manifest()).as_bytes()
    }

    /// Makes the package of an exam, its key half salted with random bytes, and proves on 1,000 made-up candidates that its blueprint yields papers.
    ///
    /// # Errors
    /// [`Error::Infeasible`] says which cell cannot be filled.
    pub fn package(&self, exam_id: &str, blueprint: &Blueprint, salt: [u8; 32]) -> Result<Package> {
        let sets = self.exclusion_sets();
        let wanted = |item: &Item| {
            blueprint
                .sections
                .iter()
                .flat_map(|section| &section.strata)
                .any(|stratum| stratum.topic == item.topic)
        };
        let entries: Vec<&NumberedItem> = self
            .items
            .iter()
            .filter(|entry| wanted(&entry.item))
            .collect();
        let half = PaperHalf {
            format: 1,
            exam_id: exam_id.to_owned(),
            release_no: self.number,
            release_hash: self.hash().to_vec().into(),
            blueprint: blueprint.encode_to_vec().into(),
            items: entries
                .iter()
                .map(|entry| paper_item(entry, &sets))
                .collect(),
            draw_algorithm: draw::ALGORITHM,
        };
        draw::Drawer::new(&half, &[0; 32])?.check_feasible(1_000)?;
        let paper_half = half.encode_to_vec();
        let key_half = KeyHalf {
            format: 1,
            exam_id: exam_id.to_owned(),
            paper_hash: blake3::hash(&paper_half).as_bytes().to_vec().into(),
            key_version: 1,
            keys: entries.iter().map(|entry| item_key(entry)).collect(),
            salt: salt.to_vec().into(),
        }
        .encode_to_vec();
        Ok(Package {
            paper_half,
            key_half,
        })
    }

    /// Numbers the exclusion sets of the release, from 0 by name.
    fn exclusion_sets(&self) -> BTreeMap<&str, u32> {
        let names: std::collections::BTreeSet<&str> = self
            .items
            .iter()
            .flat_map(|entry| &entry.item.exclusion_sets)
            .map(String::as_str)
            .collect();
        names.into_iter().zip(0..).collect()
    }
}

fn paper_item(entry: &NumberedItem, sets: &BTreeMap<&str, u32>) -> PaperItem {
    let item = &entry.item;
    let all_pinned = item
        .options
        .iter()
        .any(|option| refers_to_letters(&option.text));
    PaperItem {
        item_id: entry.id.0,
        revision: item.revision().to_vec().into(),
        r#type: proto::bank::v1::ItemType::from(item.item_type).into(),
        text: item.text.clone(),
        options: item
            .options
            .iter()
            .map(|option| PaperOption {
                text: option.text.clone(),
                pinned: option.pinned || all_pinned,
            })
            .collect(),
        topic: item.topic.clone(),
        band: proto::bank::v1::Band::from(item.band).into(),
        facility_milli: item.band.facility_milli(),
        exclusion_sets: item
            .exclusion_sets
            .iter()
            .map(|name| sets[name.as_str()])
            .collect(),
        ..PaperItem::default()
    }
}

fn item_key(entry: &NumberedItem) -> ItemKey {
    ItemKey {
        item_id: entry.id.0,
        revision: entry.item.revision().to_vec().into(),
        right_options: entry.item.key_bits(),
        ..ItemKey::default()
    }
}

/// Reads a paper half and checks it against the hash it was published under.
///
/// # Errors
/// [`Error::Package`] if the bytes differ from the hash or cannot be read.
pub fn read_paper_half(bytes: &[u8], hash: &[u8]) -> Result<PaperHalf> {
    if blake3::hash(bytes).as_bytes() != hash {
        return Err(Error::Package(
            "mã băm của nửa đề không khớp / the paper half's hash differs".to_owned(),
        ));
    }
    PaperHalf::decode(bytes).map_err(|error| Error::Package(error.to_string()))
}
