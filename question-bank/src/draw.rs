//! Draws a candidate's paper from a release: pure, fast, and the same for ever (docs/FORMATS.md, section 2).
//!
//! Invariant: the paper depends on (release hash, blueprint bytes, exam secret, candidate, attempt) alone. Bounded
//! integers and shuffles are our own, because library shuffles change between versions; golden vectors guard them.
//! Start at [`Drawer::draw`]. Source: Lemire, "Fast random integer generation in an interval" (2019); Fisher–Yates.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use proto::bank::v1::{Blueprint, DifficultyWindow, ItemType, PaperHalf};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};

use crate::{
    Error, Result,
    blueprint::Plan,
    paper::{Paper, PaperEntry},
};

/// Tries before a paper is repaired. With the recommended window on the sum a paper takes about five tries, so a
/// thousand means that the blueprint is at fault, not chance.
pub const MAX_TRIES: u32 = 1_000;

/// The number of the algorithm in this file.
pub const ALGORITHM: u32 = 1;

const SELECTION: u16 = 0;
const ITEM_ORDER: u16 = 1;
const OPTION_ORDER: u16 = 2;

/// Draws papers of one exam.
pub struct Drawer {
    plan: Plan,
    blueprint: Blueprint,
    snapshot: [u8; 32],
    exam_key: [u8; 32],
    /// By index into the paper half's items.
    facts: Vec<ItemFacts>,
    n_exclusion_sets: usize,
}

struct ItemFacts {
    item_id: u32,
    facility_milli: u32,
    exclusion_sets: Vec<u32>,
    n_options: u8,
    /// Canonical indices of the options that may move; empty if order means nothing for this type.
    movable: Vec<u8>,
}

/// Memory that draws use again and again, one for each thread.
#[derive(Default)]
pub struct Scratch {
    pools: Vec<Vec<u32>>,
    swaps: Vec<(u32, u32)>,
    chosen: Vec<u32>,
    /// Number of the try in which an exclusion set was last used.
    used_in: Vec<u64>,
    n_tries: u64,
    owner: [u8; 32],
}

impl Drawer {
    /// Prepares the draws of one exam.
    ///
    /// # Errors
    /// [`Error::Infeasible`] from the blueprint, [`Error::Package`] for a package of another kind.
    pub fn new(half: &PaperHalf, exam_secret: &[u8; 32]) -> Result<Self> {
        if half.format != 1 || half.draw_algorithm != ALGORITHM {
            return Err(Error::Package(format!(
                "format {}, draw {}",
                half.format, half.draw_algorithm
            )));
        }
        if !half.items.is_sorted_by(|a, b| a.item_id < b.item_id) {
            return Err(Error::Package("items are not sorted by id".to_owned()));
        }
        let blueprint = Blueprint::decode(half.blueprint.clone())
            .map_err(|error| Error::Package(error.to_string()))?;
        let plan = Plan::new(&blueprint, &half.items)?;
        let names: BTreeSet<u32> = half
            .items
            .iter()
            .flat_map(|item| item.exclusion_sets.iter().copied())
            .collect();
        let dense: BTreeMap<u32, u32> = names.into_iter().zip(0..).collect();
        let facts = half
            .items
            .iter()
            .map(|item| {
                let movable_type = matches!(
                    item.r#type(),
                    ItemType::SingleChoice | ItemType::MultipleChoice
                );
                Ok(ItemFacts {
                    item_id: item.item_id,
                    facility_milli: item.facility_milli,
                    exclusion_sets: dense_sets(&item.exclusion_sets, &dense),
                    n_options: u8::try_from(item.options.len()).map_err(|_| {
                        Error::Package(format!("item {}: too many options", item.item_id))
                    })?,
                    movable: (0u8..)
                        .zip(&item.options)
                        .filter(|(_, option)| movable_type && !option.pinned)
                        .map(|(index, _)| index)
                        .collect(),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            snapshot: snapshot(&half.release_hash, &half.blueprint),
            exam_key: exam_key(exam_secret, &half.exam_id),
            n_exclusion_sets: dense.len(),
            plan,
            blueprint,
            facts,
        })
    }

    /// Returns the resolved blueprint.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the blueprint.
    #[must_use]
    pub fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    /// Draws the paper of one attempt, numbered from 1.
    ///
    /// # Errors
    /// [`Error::Infeasible`] if exclusion sets leave a cell without items; [`Drawer::check_feasible`] finds it before.
    pub fn draw(&self, candidate: &[u8; 16], attempt: u32, scratch: &mut Scratch) -> Result<Paper> {
        let mut selection = self.stream(candidate, attempt, 0, SELECTION);
        let repaired = self.select(&mut selection, scratch)?;
        self.order_items(candidate, attempt, scratch);
        Ok(self.order_options(candidate, attempt, scratch, repaired))
    }

    /// Draws papers for made-up candidates, to learn before an exam that none will fail.
    ///
    /// # Errors
    /// [`Error::Infeasible`] with the cause.
    pub fn check_feasible(&self, n_papers: u32) -> Result<u32> {
        let mut scratch = Scratch::default();
        let mut n_repaired = 0;
        for n in 0..n_papers {
            let mut candidate = [0; 16];
            candidate[..4].copy_from_slice(&n.to_le_bytes());
            n_repaired += u32::from(self.draw(&candidate, 1, &mut scratch)?.repaired);
        }
        Ok(n_repaired)
    }

    fn stream(
        &self,
        candidate: &[u8; 16],
        attempt: u32,
        section: u16,
        purpose: u16,
    ) -> ChaCha12Rng {
        let mut message = [0; 56];
        message[..32].copy_from_slice(&self.snapshot);
        message[32..48].copy_from_slice(candidate);
        message[48..52].copy_from_slice(&attempt.to_le_bytes());
        message[52..54].copy_from_slice(&section.to_le_bytes());
        message[54..].copy_from_slice(&purpose.to_le_bytes());
        ChaCha12Rng::from_seed(*blake3::keyed_hash(&self.exam_key, &message).as_bytes())
    }

    /// Leaves the chosen items in `scratch.chosen`; returns whether they had to be repaired.
    fn select(&self, rng: &mut impl Rng, scratch: &mut Scratch) -> Result<bool> {
        self.prepare(scratch);
        for _ in 0..MAX_TRIES {
            self.try_once(rng, scratch);
            let accepted = self.accepts(scratch);
            undo_swaps(scratch);
            if accepted {
                return Ok(false);
            }
        }
        self.repair(rng, scratch).map(|()| true)
    }

    fn prepare(&self, scratch: &mut Scratch) {
        if scratch.owner != self.exam_key || scratch.pools.len() != self.plan.cells.len() {
            scratch.pools = self
                .plan
                .cells
                .iter()
                .map(|cell| cell.pool.clone())
                .collect();
            scratch.used_in = vec![0; self.n_exclusion_sets];
            scratch.n_tries = 0;
            scratch.owner = self.exam_key;
        }
    }

    fn try_once(&self, rng: &mut impl Rng, scratch: &mut Scratch) {
        scratch.chosen.clear();
        scratch.swaps.clear();
        for (cell, pool) in self.plan.cells.iter().zip(&mut scratch.pools) {
            let len = u32::try_from(pool.len()).expect("a pool is smaller than u32");
            for i in 0..u32::try_from(cell.quota).expect("a quota is a u32") {
                let k = i + below(rng, len - i);
                pool.swap(i as usize, k as usize);
                scratch.swaps.push((i, k));
                scratch.chosen.push(pool[i as usize]);
            }
        }
    }

    fn accepts(&self, scratch: &mut Scratch) -> bool {
        scratch.n_tries += 1;
        let mut facility_milli = 0u64;
        for &index in &scratch.chosen {
            let facts = &self.facts[index as usize];
            facility_milli += u64::from(facts.facility_milli);
            for &set in &facts.exclusion_sets {
                if std::mem::replace(&mut scratch.used_in[set as usize], scratch.n_tries)
                    == scratch.n_tries
                {
                    return false;
                }
            }
        }
        self.blueprint.window.is_none_or(
            |DifficultyWindow {
                 target_milli,
                 tolerance_milli,
             }| {
                facility_milli.abs_diff(u64::from(target_milli)) <= u64::from(tolerance_milli)
            },
        )
    }

    /// Draws one by one and passes over items whose exclusion set is used; the window is not kept.
    fn repair(&self, rng: &mut impl Rng, scratch: &mut Scratch) -> Result<()> {
        scratch.n_tries += 1;
        scratch.chosen.clear();
        for cell in &self.plan.cells {
            let mut pool = cell.pool.clone();
            let mut n = u32::try_from(pool.len()).expect("a pool is smaller than u32");
            for i in 0..u32::try_from(cell.quota).expect("a quota is a u32") {
                loop {
                    if n == i {
                        return Err(Error::Infeasible(format!(
                            "phần {}: các nhóm câu loại trừ nhau không để lại đủ câu / section {}: exclusion sets leave too few items",
                            cell.section + 1,
                            cell.section + 1
                        )));
                    }
                    let k = i + below(rng, n - i);
                    let sets = &self.facts[pool[k as usize] as usize].exclusion_sets;
                    if sets
                        .iter()
                        .any(|&set| scratch.used_in[set as usize] == scratch.n_tries)
                    {
                        n -= 1;
                        pool.swap(k as usize, n as usize);
                    } else {
                        for &set in sets {
                            scratch.used_in[set as usize] = scratch.n_tries;
                        }
                        pool.swap(i as usize, k as usize);
                        scratch.chosen.push(pool[i as usize]);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn order_items(&self, candidate: &[u8; 16], attempt: u32, scratch: &mut Scratch) {
        let mut start = 0;
        for (number, (section, size)) in self
            .blueprint
            .sections
            .iter()
            .zip(&self.plan.section_sizes)
            .enumerate()
        {
            if section.shuffle_items {
                let number = u16::try_from(number).expect("at most 50 sections");
                let mut rng = self.stream(candidate, attempt, number, ITEM_ORDER);
                shuffle(&mut rng, &mut scratch.chosen[start..start + size]);
            }
            start += size;
        }
    }

    fn order_options(
        &self,
        candidate: &[u8; 16],
        attempt: u32,
        scratch: &Scratch,
        repaired: bool,
    ) -> Paper {
        let mut rng = self.stream(candidate, attempt, 0, OPTION_ORDER);
        let mut entries = Vec::with_capacity(scratch.chosen.len());
        let mut option_order = Vec::with_capacity(scratch.chosen.len() * 4);
        let sections = self.blueprint.sections.iter().zip(&self.plan.section_sizes);
        let shuffled = sections
            .flat_map(|(section, size)| std::iter::repeat_n(section.shuffle_options, *size));
        for (&index, shuffle_options) in scratch.chosen.iter().zip(shuffled) {
            let facts = &self.facts[index as usize];
            let first = option_order.len();
            option_order.extend(0..facts.n_options);
            if shuffle_options {
                let mut moved = [0; crate::item::MAX_OPTIONS];
                let moved = &mut moved[..facts.movable.len()];
                moved.copy_from_slice(&facts.movable);
                shuffle(&mut rng, moved);
                for (slot, option) in facts.movable.iter().zip(moved) {
                    option_order[first + *slot as usize] = *option;
                }
            }
            entries.push(PaperEntry {
                index,
                item_id: facts.item_id,
                n_options: facts.n_options,
            });
        }
        Paper::new(entries, option_order, repaired)
    }
}

fn undo_swaps(scratch: &mut Scratch) {
    // Swaps are recorded cell after cell; walking both backwards restores canonical order without copying pools.
    let mut cell = scratch.pools.len();
    let mut previous = 0;
    for &(i, k) in scratch.swaps.iter().rev() {
        if cell == scratch.pools.len() || i >= previous {
            cell -= 1;
        }
        previous = i;
        scratch.pools[cell].swap(i as usize, k as usize);
    }
}

/// Renumbers an item's sets from 0; one that is named twice counts once.
fn dense_sets(sets: &[u32], dense: &BTreeMap<u32, u32>) -> Vec<u32> {
    let sets: BTreeSet<u32> = sets.iter().map(|set| dense[set]).collect();
    sets.into_iter().collect()
}

/// Returns the key of an exam's draws.
fn exam_key(secret: &[u8; 32], exam_id: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("khoa-bang exam-draw v1");
    hasher.update(secret).update(exam_id.as_bytes());
    *hasher.finalize().as_bytes()
}

fn snapshot(release_hash: &[u8], blueprint: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"khoa-bang snapshot v1")
        .update(release_hash)
        .update(blueprint);
    *hasher.finalize().as_bytes()
}

/// Returns a uniform integer below `n` (Lemire's method); `n` is at least 1.
fn below(rng: &mut impl Rng, n: u32) -> u32 {
    let mut product = u64::from(rng.next_u32()) * u64::from(n);
    let low = |product: u64| u32::try_from(product & 0xffff_ffff).expect("masked to 32 bits");
    if low(product) < n {
        let threshold = n.wrapping_neg() % n;
        while low(product) < threshold {
            product = u64::from(rng.next_u32()) * u64::from(n);
        }
    }
    u32::try_from(product >> 32).expect("shifted to 32 bits")
}

/// Shuffles in place (Fisher–Yates, from the end).
fn shuffle<T>(rng: &mut impl Rng, values: &mut [T]) {
    for i in (1..values.len()).rev() {
        let bound = u32::try_from(i + 1).expect("a paper is short");
        values.swap(i, below(rng, bound) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by two implementations; see docs/FORMATS.md for the algorithm.
    #[test]
    fn streams_and_shuffles_are_the_golden_ones() {
        let mut message = Vec::new();
        message.extend(1u64.to_le_bytes());
        message.extend(42u64.to_le_bytes());
        message.extend(1u32.to_le_bytes());
        let seed = blake3::keyed_hash(&[0; 32], &message);
        assert_eq!(
            seed.to_hex().as_str(),
            "3748d7e7971bd3ca1ac0d3b22d6451b490f424fd686f01c7c868b3369000b436"
        );
        let mut rng = ChaCha12Rng::from_seed(*seed.as_bytes());
        assert_eq!(
            [0; 4].map(|_: u32| rng.next_u32()),
            [3_420_520_565, 3_077_469_174, 4_082_231_099, 1_128_150_351]
        );
        let mut rng = ChaCha12Rng::from_seed(*seed.as_bytes());
        let mut values: Vec<u32> = (0..10).collect();
        shuffle(&mut rng, &mut values);
        assert_eq!(values, [3, 5, 0, 4, 2, 8, 1, 9, 6, 7]);
    }
}
