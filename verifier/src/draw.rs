//! Rebuilds the paper of an attempt from the paper half and the exam secret.
//!
//! Invariant: a paper is a pure function of paper half, secret, exam, candidate and attempt.
//! Start at [`rebuild_paper`]; the steps stand in [`Plan::draw`] in the order of the source.
//! Source: `docs/FORMATS.md`, section 2, draw algorithm 1.

use std::collections::HashSet;

use prost::Message;
use proto::bank::v1::{Blueprint, DifficultyWindow, ItemType, PaperHalf, PaperItem, Stratum};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use crate::Error;

/// Tries before a paper is repaired.
const MAX_TRIES: u32 = 1_000;

/// Stream purposes.
const SELECT: u16 = 0;
const ORDER_ITEMS: u16 = 1;
const ORDER_OPTIONS: u16 = 2;

/// The paper of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    /// In paper order, section after section.
    pub items: Vec<DrawnItem>,
    /// First 8 bytes of the hash over items and option orders.
    pub form_code: [u8; 8],
    /// No try was acceptable, so the paper was repaired.
    pub repaired: bool,
}

/// One item of a paper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawnItem {
    /// Its number in the bank.
    pub item_id: u32,
    /// The section it stands in, from 0.
    pub section: usize,
    /// For each option in the order shown, its canonical index.
    pub option_order: Vec<u8>,
}

impl Paper {
    fn new(items: Vec<DrawnItem>, repaired: bool) -> Self {
        let form_code = form_code(&items);
        Self {
            items,
            form_code,
            repaired,
        }
    }

    /// Returns the item numbers in paper order.
    #[must_use]
    pub fn item_ids(&self) -> Vec<u32> {
        self.items.iter().map(|item| item.item_id).collect()
    }

    /// Returns the option orders of all items, one behind the other, as the event `Started` has them.
    #[must_use]
    pub fn option_order(&self) -> Vec<u8> {
        let orders = self.items.iter().map(|item| item.option_order.as_slice());
        orders.collect::<Vec<_>>().concat()
    }
}

/// Rebuilds the paper of one attempt.
///
/// # Errors
/// [`Error::Invalid`] or [`Error::Decode`] for a paper half that this format does not allow,
/// [`Error::Infeasible`] if its blueprint cannot be filled.
pub fn rebuild_paper(
    paper_half: &PaperHalf,
    secret: &[u8; 32],
    exam_id: &str,
    candidate: &[u8; 16],
    attempt: u32,
) -> Result<Paper, Error> {
    Plan::new(paper_half, secret, exam_id)?.draw(candidate, attempt)
}

/// What is the same for all papers of an exam.
pub(crate) struct Plan {
    k_exam: [u8; 32],
    snapshot: [u8; 32],
    /// By rising item number.
    items: Vec<Item>,
    /// Numbered through all sections.
    strata: Vec<Pool>,
    sections: Vec<SectionPlan>,
    window: Option<DifficultyWindow>,
}

/// What the draw needs to know of an item.
struct Item {
    item_id: u32,
    facility_milli: u32,
    exclusion_sets: HashSet<u32>,
    is_choice: bool,
    n_options: u8,
    /// Canonical indices of the options that may move, rising.
    movable: Vec<u8>,
}

/// A stratum and its pool.
struct Pool {
    section: usize,
    /// Indices into [`Plan::items`], rising.
    canonical: Vec<usize>,
    quota: usize,
}

struct SectionPlan {
    number: u16,
    shuffle_items: bool,
    shuffle_options: bool,
}

/// The chosen items of each stratum, in order.
type Chosen = Vec<Vec<usize>>;

impl Plan {
    pub(crate) fn new(half: &PaperHalf, secret: &[u8; 32], exam_id: &str) -> Result<Self, Error> {
        if half.format != 1 {
            return Err(Error::invalid("format of the paper half", half.format));
        }
        if half.draw_algorithm != 1 {
            return Err(Error::invalid("draw algorithm", half.draw_algorithm));
        }
        if half.release_hash.len() != 32 {
            let found = hex::encode(&half.release_hash);
            return Err(Error::invalid("release hash", found));
        }
        let blueprint = decode_blueprint(half)?;
        let mut sorted: Vec<&PaperItem> = half.items.iter().collect();
        sorted.sort_by_key(|item| item.item_id);
        let items = sorted.iter().map(|item| Item::new(item));
        Ok(Self {
            k_exam: blake3::derive_key(
                "khoa-bang exam-draw v1",
                &[secret.as_slice(), exam_id.as_bytes()].concat(),
            ),
            snapshot: snapshot(half),
            items: items.collect::<Result<_, _>>()?,
            strata: pools(&blueprint, &sorted)?,
            sections: sections(&blueprint)?,
            window: blueprint.window,
        })
    }

    /// Draws the paper of one attempt.
    pub(crate) fn draw(&self, candidate: &[u8; 16], attempt: u32) -> Result<Paper, Error> {
        let stream = |section, purpose| self.stream(candidate, attempt, section, purpose);

        let (chosen, repaired) = self.select(&mut stream(0, SELECT))?;
        let mut options = stream(0, ORDER_OPTIONS);
        let mut drawn = Vec::new();
        for (index, section) in self.sections.iter().enumerate() {
            let mut items = self.chosen_of_section(&chosen, index);
            if section.shuffle_items {
                shuffle(&mut stream(section.number, ORDER_ITEMS), &mut items);
            }
            for item in items.into_iter().map(|i| &self.items[i]) {
                drawn.push(DrawnItem {
                    item_id: item.item_id,
                    section: index,
                    option_order: item.option_order(section.shuffle_options, &mut options),
                });
            }
        }
        Ok(Paper::new(drawn, repaired))
    }

    fn stream(
        &self,
        candidate: &[u8; 16],
        attempt: u32,
        section: u16,
        purpose: u16,
    ) -> ChaCha12Rng {
        let mut hasher = blake3::Hasher::new_keyed(&self.k_exam);
        hasher.update(&self.snapshot);
        hasher.update(candidate);
        hasher.update(&attempt.to_le_bytes());
        hasher.update(&section.to_le_bytes());
        hasher.update(&purpose.to_le_bytes());
        ChaCha12Rng::from_seed(*hasher.finalize().as_bytes())
    }

    /// Chooses the items: the first acceptable try, else a repaired paper.
    fn select(&self, rng: &mut ChaCha12Rng) -> Result<(Chosen, bool), Error> {
        for _ in 0..MAX_TRIES {
            let chosen = self.one_try(rng);
            if self.is_acceptable(&chosen) {
                return Ok((chosen, false));
            }
        }
        Ok((self.repair(rng)?, true))
    }

    fn one_try(&self, rng: &mut ChaCha12Rng) -> Chosen {
        let draw_stratum = |stratum: &Pool| {
            let mut pool = stratum.canonical.clone();
            for i in 0..stratum.quota {
                let k = i + below(rng, pool.len() - i);
                pool.swap(i, k);
            }
            pool.truncate(stratum.quota);
            pool
        };
        self.strata.iter().map(draw_stratum).collect()
    }

    fn is_acceptable(&self, chosen: &Chosen) -> bool {
        let items = || chosen.iter().flatten().map(|&i| &self.items[i]);
        let mut seen = HashSet::new();
        for set in items().flat_map(|item| &item.exclusion_sets) {
            if !seen.insert(*set) {
                return false;
            }
        }
        let Some(window) = &self.window else {
            return true;
        };
        let sum: u64 = items().map(|item| u64::from(item.facility_milli)).sum();
        sum.abs_diff(u64::from(window.target_milli)) <= u64::from(window.tolerance_milli)
    }

    fn repair(&self, rng: &mut ChaCha12Rng) -> Result<Chosen, Error> {
        let mut taken_sets: HashSet<u32> = HashSet::new();
        let mut chosen = Chosen::new();
        for (number, stratum) in self.strata.iter().enumerate() {
            let mut pool = stratum.canonical.clone();
            let mut n = pool.len();
            for i in 0..stratum.quota {
                loop {
                    if n == i {
                        return Err(Error::Infeasible { stratum: number });
                    }
                    let k = i + below(rng, n - i);
                    let sets = &self.items[pool[k]].exclusion_sets;
                    if sets.is_disjoint(&taken_sets) {
                        taken_sets.extend(sets);
                        pool.swap(i, k);
                        break;
                    }
                    n -= 1;
                    pool.swap(k, n);
                }
            }
            pool.truncate(stratum.quota);
            chosen.push(pool);
        }
        Ok(chosen)
    }

    fn chosen_of_section(&self, chosen: &Chosen, section: usize) -> Vec<usize> {
        let strata = self.strata.iter().zip(chosen);
        let own = strata.filter(|(stratum, _)| stratum.section == section);
        own.flat_map(|(_, items)| items.iter().copied()).collect()
    }
}

impl Item {
    fn new(item: &PaperItem) -> Result<Self, Error> {
        let n_options = u8::try_from(item.options.len())
            .map_err(|_| Error::invalid("number of options of an item", item.options.len()))?;
        let item_type = item.r#type();
        if item_type == ItemType::Unspecified {
            return Err(Error::invalid("type of an item", item.r#type));
        }
        let is_movable = |&i: &u8| !item.options[usize::from(i)].pinned;
        Ok(Self {
            item_id: item.item_id,
            facility_milli: item.facility_milli,
            exclusion_sets: item.exclusion_sets.iter().copied().collect(),
            is_choice: matches!(item_type, ItemType::SingleChoice | ItemType::MultipleChoice),
            n_options,
            movable: (0..n_options).filter(is_movable).collect(),
        })
    }

    fn option_order(&self, shuffle_options: bool, rng: &mut ChaCha12Rng) -> Vec<u8> {
        let mut order: Vec<u8> = (0..self.n_options).collect();
        if self.is_choice && shuffle_options {
            let mut shuffled = self.movable.clone();
            shuffle(rng, &mut shuffled);
            for (&slot, &option) in self.movable.iter().zip(&shuffled) {
                order[usize::from(slot)] = option;
            }
        }
        order
    }
}

/// Returns the blueprint as the paper half holds it.
pub(crate) fn decode_blueprint(half: &PaperHalf) -> Result<Blueprint, Error> {
    let blueprint = Blueprint::decode(half.blueprint.as_ref());
    blueprint.map_err(|source| Error::Decode {
        file: "the blueprint in paper.bin".to_owned(),
        source,
    })
}

fn sections(blueprint: &Blueprint) -> Result<Vec<SectionPlan>, Error> {
    let plan = |(index, section): (usize, &proto::bank::v1::Section)| {
        let number =
            u16::try_from(index).map_err(|_| Error::invalid("number of sections", index))?;
        Ok(SectionPlan {
            number,
            shuffle_items: section.shuffle_items,
            shuffle_options: section.shuffle_options,
        })
    };
    blueprint.sections.iter().enumerate().map(plan).collect()
}

/// Returns the pools of all strata, numbered through all sections.
fn pools(blueprint: &Blueprint, items: &[&PaperItem]) -> Result<Vec<Pool>, Error> {
    let mut pools = Vec::new();
    let mut taken = HashSet::new();
    for (section, stratum) in strata(blueprint) {
        let fits = |&i: &usize| belongs(items[i], stratum);
        let canonical: Vec<usize> = (0..items.len()).filter(fits).collect();
        if let Some(&shared) = canonical.iter().find(|&&i| !taken.insert(i)) {
            let found = items[shared].item_id;
            return Err(Error::invalid("blueprint: an item in two strata", found));
        }
        let quota = usize::try_from(stratum.quota).unwrap_or(usize::MAX);
        if quota > canonical.len() {
            let stratum = pools.len();
            return Err(Error::Infeasible { stratum });
        }
        pools.push(Pool {
            section,
            canonical,
            quota,
        });
    }
    Ok(pools)
}

fn strata(blueprint: &Blueprint) -> impl Iterator<Item = (usize, &Stratum)> {
    let sections = blueprint.sections.iter().enumerate();
    sections.flat_map(|(index, section)| section.strata.iter().map(move |stratum| (index, stratum)))
}

pub(crate) fn belongs(item: &PaperItem, stratum: &Stratum) -> bool {
    item.topic == stratum.topic && (stratum.any_band || item.band == stratum.band)
}

fn snapshot(half: &PaperHalf) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"khoa-bang snapshot v1");
    hasher.update(&half.release_hash);
    hasher.update(&half.blueprint);
    *hasher.finalize().as_bytes()
}

fn form_code(items: &[DrawnItem]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"khoa-bang form v1");
    for item in items {
        let n_options = u8::try_from(item.option_order.len()).expect("checked in Item::new");
        hasher.update(&item.item_id.to_le_bytes());
        hasher.update(&[n_options]);
        hasher.update(&item.option_order);
    }
    let mut code = [0; 8];
    code.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    code
}

/// Returns a number below `n`, each equally likely.
fn below(rng: &mut ChaCha12Rng, n: usize) -> usize {
    let n = u32::try_from(n).expect("pools and papers are far smaller than 2^32");
    let mut m = product(rng, n);
    if low(m) < n {
        let threshold = n.wrapping_neg() % n;
        while low(m) < threshold {
            m = product(rng, n);
        }
    }
    usize::try_from(m >> 32).expect("below n, which was a usize")
}

fn product(rng: &mut ChaCha12Rng, n: u32) -> u64 {
    u64::from(rng.next_u32()) * u64::from(n)
}

fn low(m: u64) -> u32 {
    u32::try_from(m & 0xffff_ffff).expect("32 bits are left")
}

fn shuffle<T>(rng: &mut ChaCha12Rng, list: &mut [T]) {
    for i in (1..list.len()).rev() {
        let j = below(rng, i + 1);
        list.swap(i, j);
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, fs};

    use proto::bank::v1::{Band, Section};

    use super::*;
    use crate::test_exam::{item, section, stratum};

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden-draws.json");
    const SECRET: [u8; 32] = *b"golden draws of khoa bang, v1...";

    fn first_stream() -> ChaCha12Rng {
        let message = [
            &1_u64.to_le_bytes()[..],
            &42_u64.to_le_bytes(),
            &1_u32.to_le_bytes(),
        ];
        let seed = blake3::keyed_hash(&[0; 32], &message.concat());
        let expected = "3748d7e7971bd3ca1ac0d3b22d6451b490f424fd686f01c7c868b3369000b436";
        assert_eq!(seed.to_string(), expected);
        ChaCha12Rng::from_seed(*seed.as_bytes())
    }

    #[test]
    fn the_stream_is_the_golden_one() {
        let mut rng = first_stream();
        let words = [(); 4].map(|()| rng.next_u32());
        assert_eq!(
            words,
            [3_420_520_565, 3_077_469_174, 4_082_231_099, 1_128_150_351]
        );
    }

    #[test]
    fn the_shuffle_is_the_golden_one() {
        let mut list: Vec<u8> = (0..10).collect();
        shuffle(&mut first_stream(), &mut list);
        assert_eq!(list, [3, 5, 0, 4, 2, 8, 1, 9, 6, 7]);
    }

    #[test]
    fn below_stays_below_and_takes_one_word_even_for_one() {
        let mut rng = first_stream();
        assert_eq!(below(&mut rng, 1), 0);
        assert_eq!(rng.next_u32(), 3_077_469_174);
        assert!((0..10_000).all(|_| below(&mut rng, 7) < 7));
    }

    #[test]
    fn below_throws_away_what_would_not_be_even() {
        // Of all words a quarter is thrown away; the numbers were computed in Python.
        let mut rng = first_stream();
        let numbers = [(); 5].map(|()| below(&mut rng, 3 << 30));
        let expected = [
            2_565_390_423,
            2_308_101_880,
            3_061_673_324,
            846_112_763,
            1_055_482_202,
        ];
        assert_eq!(numbers, expected);
    }

    fn half(blueprint: &Blueprint, items: Vec<PaperItem>) -> PaperHalf {
        PaperHalf {
            format: 1,
            exam_id: "golden".to_owned(),
            release_no: 1,
            release_hash: blake3::hash(b"golden release").as_bytes().to_vec().into(),
            blueprint: blueprint.encode_to_vec().into(),
            items,
            draw_algorithm: 1,
        }
    }

    fn blueprint(sections: Vec<Section>) -> Blueprint {
        Blueprint {
            sections,
            ..Blueprint::default()
        }
    }

    fn singles(ids: std::ops::RangeInclusive<u32>, topic: &str) -> Vec<PaperItem> {
        ids.map(|id| item(id, ItemType::SingleChoice, topic, 4))
            .collect()
    }

    fn draw(half: &PaperHalf, candidate: u8, attempt: u32) -> Result<Paper, Error> {
        rebuild_paper(half, &SECRET, "golden", &[candidate; 16], attempt)
    }

    fn plain() -> PaperHalf {
        let strata = vec![stratum("su", None, 4), stratum("dia", None, 3)];
        let items = [singles(1..=10, "su"), singles(21..=28, "dia")].concat();
        half(&blueprint(vec![section(strata, "1")]), items)
    }

    fn window() -> PaperHalf {
        let mut blueprint = blueprint(vec![section(vec![stratum("su", None, 6)], "0.25")]);
        blueprint.window = Some(DifficultyWindow {
            target_milli: 3_000,
            tolerance_milli: 40,
        });
        let mut items = singles(1..=20, "su");
        for item in &mut items {
            item.facility_milli = item.item_id * 47;
        }
        half(&blueprint, items)
    }

    fn exclusion_sets() -> PaperHalf {
        let strata = vec![stratum("su", None, 4), stratum("dia", None, 3)];
        let mut items = [singles(1..=9, "su"), singles(10..=15, "dia")].concat();
        for item in &mut items {
            item.exclusion_sets = vec![item.item_id % 8]; // crosses the strata
        }
        items[4].exclusion_sets.push(7);
        half(&blueprint(vec![section(strata, "1")]), items)
    }

    fn pinned_options() -> PaperHalf {
        let mut items = singles(1..=3, "su");
        items[0].options[3].pinned = true;
        items[1].options[0].pinned = true;
        items[1].options[2].pinned = true;
        items[2]
            .options
            .iter_mut()
            .for_each(|option| option.pinned = true);
        items.push(item(4, ItemType::MultipleChoice, "su", 6));
        items.push(item(5, ItemType::TrueFalse, "su", 2));
        items.push(item(6, ItemType::Numeric, "su", 0));
        items.push(item(7, ItemType::Ordering, "su", 4));
        items.push(item(8, ItemType::SingleChoice, "su", 4));
        half(
            &blueprint(vec![section(vec![stratum("su", None, 8)], "1")]),
            items,
        )
    }

    fn two_sections() -> PaperHalf {
        let mut items = [singles(1..=12, "su"), singles(13..=20, "dia")].concat();
        for item in &mut items[6..12] {
            item.band = Band::Application.into();
        }
        items[12].band = Band::Unspecified.into();
        items[13].band = Band::Unspecified.into();
        let first = vec![
            stratum("su", Some(Band::Recognition), 3),
            stratum("dia", Some(Band::Unspecified), 1),
        ];
        let second = vec![
            stratum("dia", Some(Band::Recognition), 2),
            stratum("su", Some(Band::Application), 3),
        ];
        half(
            &blueprint(vec![section(first, "0.25"), section(second, "0.5")]),
            items,
        )
    }

    fn fixed_order() -> PaperHalf {
        let mut first = section(vec![stratum("su", None, 3)], "1");
        first.shuffle_items = false;
        let mut second = section(vec![stratum("dia", None, 3)], "1");
        second.shuffle_options = false;
        let items = [singles(1..=6, "su"), singles(7..=12, "dia")].concat();
        half(&blueprint(vec![first, second]), items)
    }

    fn repaired() -> PaperHalf {
        let mut half = exclusion_sets();
        let mut blueprint = decode_blueprint(&half).unwrap();
        blueprint.window = Some(DifficultyWindow {
            target_milli: 1, // nothing reaches it
            tolerance_milli: 0,
        });
        half.blueprint = blueprint.encode_to_vec().into();
        half
    }

    fn infeasible() -> PaperHalf {
        let mut half = plain();
        for item in &mut half.items {
            item.exclusion_sets = vec![item.item_id % 5];
        }
        half
    }

    type Case = (&'static str, &'static str, fn() -> PaperHalf);

    const CASES: [Case; 8] = [
        ("plain", "two strata, items and options shuffled", plain),
        (
            "window",
            "papers are drawn again until facilities sum to 2960..=3040",
            window,
        ),
        (
            "exclusion sets",
            "sets cross the strata, items with two sets",
            exclusion_sets,
        ),
        (
            "pinned options",
            "one, two and all pinned; several, true/false, numeric",
            pinned_options,
        ),
        (
            "two sections",
            "bands, one of them unspecified, and both sections shuffled",
            two_sections,
        ),
        (
            "fixed order",
            "items of section 0 and options of section 1 keep their order",
            fixed_order,
        ),
        (
            "repaired",
            "a window nothing reaches, so exclusion sets decide",
            repaired,
        ),
        (
            "infeasible",
            "seven items, but five exclusion sets",
            infeasible,
        ),
    ];

    /// One line a draw, so that a difference is easy to see.
    fn golden() -> String {
        let mut json = String::from("{\n  \"format\": 1,\n  \"algorithm\": 1,\n  \"cases\": [\n");
        for (index, (name, about, half)) in CASES.iter().enumerate() {
            let half = half();
            let (secret, bytes) = (hex::encode(SECRET), hex::encode(half.encode_to_vec()));
            write!(
                json,
                "    {{\n      \"name\": \"{name}\",\n      \"about\": \"{about}\",\n      \
                 \"exam_id\": \"golden\",\n      \"secret\": \"{secret}\",\n      \
                 \"paper_half\": \"{bytes}\",\n      \"draws\": [\n"
            )
            .unwrap();
            let draws = [(0x01, 1), (0x01, 2), (0xfe, 1), (0x80, 40_000)];
            let draws = draws.map(|(candidate, attempt)| golden_draw(&half, candidate, attempt));
            let comma = if index + 1 < CASES.len() { "," } else { "" };
            write!(json, "{}\n      ]\n    }}{comma}\n", draws.join(",\n")).unwrap();
        }
        json + "  ]\n}\n"
    }

    fn golden_draw(half: &PaperHalf, candidate: u8, attempt: u32) -> String {
        let outcome = match draw(half, candidate, attempt) {
            Ok(paper) => {
                let orders = paper.items.iter().map(|item| &item.option_order);
                format!(
                    "\"repaired\": {}, \"form_code\": \"{}\", \"item_ids\": {:?}, \
                     \"option_orders\": {:?}",
                    paper.repaired,
                    hex::encode(paper.form_code),
                    paper.item_ids(),
                    orders.collect::<Vec<_>>()
                )
            }
            Err(Error::Infeasible { .. }) => "\"infeasible\": true".to_owned(),
            Err(error) => panic!("{error}"),
        };
        let candidate = hex::encode([candidate; 16]);
        format!("        {{\"candidate\": \"{candidate}\", \"attempt\": {attempt}, {outcome}}}")
    }

    /// `UPDATE_GOLDEN=1` writes the file anew: only for a new algorithm number.
    #[test]
    fn papers_are_the_golden_ones() {
        let golden = golden();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(GOLDEN, &golden).unwrap();
        }
        assert_eq!(golden, fs::read_to_string(GOLDEN).unwrap());
    }

    #[test]
    fn a_window_and_exclusion_sets_hold_on_every_paper() {
        let (window, sets) = (window(), exclusion_sets());
        for attempt in 1..=200 {
            let paper = draw(&window, 5, attempt).unwrap();
            let sum: u32 = paper.item_ids().iter().map(|id| id * 47).sum();
            assert!(paper.repaired || sum.abs_diff(3_000) <= 40, "{sum}");
            let paper = draw(&sets, 5, attempt).unwrap();
            let mut seen = HashSet::new();
            let items = paper.items.iter().map(|drawn| {
                sets.items
                    .iter()
                    .find(|item| item.item_id == drawn.item_id)
                    .unwrap()
            });
            for item in items {
                let own: HashSet<u32> = item.exclusion_sets.iter().copied().collect();
                assert!(
                    own.into_iter().all(|set| seen.insert(set)),
                    "attempt {attempt}"
                );
            }
        }
    }

    #[test]
    fn an_item_that_names_a_set_twice_does_not_clash_with_itself() {
        let mut half = plain();
        half.items[0].exclusion_sets = vec![1, 1];
        half.items.truncate(7);
        half.blueprint = blueprint(vec![section(vec![stratum("su", None, 7)], "1")])
            .encode_to_vec()
            .into();
        assert!(!draw(&half, 1, 1).unwrap().repaired);
    }

    #[test]
    fn every_input_of_the_seed_changes_the_paper() {
        let half = plain();
        let paper = draw(&half, 1, 1).unwrap();
        assert_eq!(draw(&half, 1, 1).unwrap(), paper);
        assert_ne!(draw(&half, 2, 1).unwrap(), paper);
        assert_ne!(draw(&half, 1, 2).unwrap(), paper);
        assert_ne!(
            rebuild_paper(&half, &[0; 32], "golden", &[1; 16], 1).unwrap(),
            paper
        );
        assert_ne!(
            rebuild_paper(&half, &SECRET, "silver", &[1; 16], 1).unwrap(),
            paper
        );
        let mut other = half.clone();
        other.release_hash = vec![0; 32].into();
        assert_ne!(draw(&other, 1, 1).unwrap(), paper);
    }

    #[test]
    fn halves_outside_the_format_are_refused() {
        let refused = |change: fn(&mut PaperHalf)| {
            let mut half = plain();
            change(&mut half);
            draw(&half, 1, 1).unwrap_err()
        };
        let invalid = |error: Error| matches!(error, Error::Invalid { .. });
        assert!(invalid(refused(|half| half.format = 2)));
        assert!(invalid(refused(|half| half.draw_algorithm = 0)));
        assert!(invalid(refused(
            |half| half.release_hash = vec![0; 31].into()
        )));
        assert!(invalid(refused(|half| half.items[0].r#type = 0)));
        assert!(invalid(refused(|half| {
            let shared = vec![stratum("su", None, 1), stratum("su", None, 1)];
            half.blueprint = blueprint(vec![section(shared, "1")]).encode_to_vec().into();
        })));
        let too_few = refused(|half| half.items.truncate(10));
        assert!(
            matches!(too_few, Error::Infeasible { stratum: 1 }),
            "{too_few}"
        );
        let damaged = refused(|half| half.blueprint = vec![0xff].into());
        assert!(matches!(damaged, Error::Decode { .. }), "{damaged}");
    }
}
