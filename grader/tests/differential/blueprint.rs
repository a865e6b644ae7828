//! Random blueprints: sections with all rules, marks and floors, and the items they draw from.

use proto::{
    bank::v1::{Band, ItemType, PaperItem, Section, Stratum},
    key::v1::{ItemKey, Treatment},
};
use rand::{RngExt, rngs::StdRng};

use crate::{item, item::SCORED, pick};

const MARKS: [&str; 10] = [
    "1", "0.25", "0.5", "2", "0.3333", "0.1", "10", "0.0001", "7.5", "1.0",
];
const WRONG_MARKS: [&str; 8] = ["", "", "0", "0.25", "0.0833", "1", "2.5", "0.0001"];

/// Sections with their items and keys, by rising number.
pub(crate) struct Parts {
    pub(crate) sections: Vec<Section>,
    pub(crate) items: Vec<PaperItem>,
    pub(crate) keys: Vec<ItemKey>,
    next_id: u32,
}

impl Parts {
    pub(crate) fn random(rng: &mut StdRng) -> Self {
        let mut parts = Self {
            sections: Vec::new(),
            items: Vec::new(),
            keys: Vec::new(),
            next_id: 1,
        };
        let n_sections = pick(rng, &[1, 1, 2, 2, 3, 4]);
        let asks = rng
            .random_bool(0.4)
            .then(|| rng.random_range(0..=n_sections));
        for number in 0..n_sections {
            if asks == Some(number) {
                parts.add(&[ItemType::Prediction], rng);
            }
            let n_types = rng.random_range(1..4);
            let types: Vec<ItemType> = (0..n_types).map(|_| pick(rng, &SCORED)).collect();
            parts.add(&types, rng);
        }
        if asks == Some(n_sections) {
            parts.add(&[ItemType::Prediction], rng);
        }
        match rng.random_range(0..10) {
            0..3 => parts.weigh(rng),
            3..6 => parts.treat(&[0, 0, 0, 1, 2, 3], rng),
            6 => parts.treat(&[0, 1, 2], rng),
            7 => {
                parts.weigh(rng);
                parts.treat(&[0, 0, 1, 2], rng);
            }
            _ => {}
        }
        parts
    }

    /// Adds a section that draws items of some types.
    fn add(&mut self, types: &[ItemType], rng: &mut StdRng) {
        let number = self.sections.len();
        let by_band = rng.random_bool(0.3);
        let first = self.items.len();
        let mut strata = Vec::new();
        for (at, band) in [Band::Recognition, Band::Application]
            .into_iter()
            .enumerate()
        {
            if at > 0 && !by_band && rng.random() {
                break;
            }
            let topic = if by_band {
                format!("{number}")
            } else {
                format!("{number}-{at}")
            };
            let quota = rng.random_range(1..4);
            for _ in 0..quota + pick(rng, &[0, 0, 1, 3]) {
                let item_type = pick(rng, types);
                let (item, key) = item::random(self.next_id, item_type, &topic, band, rng);
                self.items.push(item);
                self.keys.push(key);
                self.next_id += rng.random_range(1..4);
            }
            strata.push(Stratum {
                topic,
                band: band.into(),
                any_band: !by_band,
                quota,
            });
        }
        let clusters = self.items[first..]
            .iter()
            .filter(|item| item.r#type() == ItemType::Cluster);
        let longest = clusters.map(|item| item.options.len()).max();
        self.sections.push(Section {
            title: String::new(),
            strata,
            mark: pick(rng, &MARKS).to_owned(),
            shuffle_items: rng.random(),
            shuffle_options: rng.random(),
            multiple_rule: rng.random_range(0..7),
            wrong_mark: pick(rng, &WRONG_MARKS).to_owned(),
            floor_zero: rng.random_bool(0.3),
            cluster_percent: percent(longest, rng),
            ordering_rule: rng.random_range(0..5),
        });
    }

    fn weigh(&mut self, rng: &mut StdRng) {
        for key in &mut self.keys {
            key.weight_percent = pick(rng, &[0, 0, 100, 50, 150, 1_000, 1, 33]);
        }
    }

    fn treat(&mut self, treatments: &[i32], rng: &mut StdRng) {
        let share = pick(rng, &[0.1, 0.4, 1.0]);
        for key in &mut self.keys {
            key.treatment = Treatment::Unspecified.into();
            if rng.random_bool(share) {
                key.treatment = pick(rng, treatments);
            }
        }
    }
}

/// A table that serves the longest cluster of a section.
fn percent(longest: Option<usize>, rng: &mut StdRng) -> Vec<u32> {
    let Some(longest) = longest.filter(|_| rng.random()) else {
        return Vec::new();
    };
    let n_inside = longest - 1 + pick(rng, &[0, 0, 0, 1]);
    let mut inside: Vec<u32> = (0..n_inside).map(|_| rng.random_range(0..=100)).collect();
    inside.sort_unstable();
    [vec![0], inside, vec![100]].concat()
}
