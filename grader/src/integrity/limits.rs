//! What the analysis may cost, and from where on something is told.

use std::collections::BTreeMap;

/// Bounds of the work, levels of the tests. [`Limits::default`] suits an exam of a million on one slow thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Chance, per kind of flag, that an honest exam has any: split evenly where a kind has several scopes.
    pub alpha: f64,
    /// A wrong answer is rare if at most this share of the answers to its item are the same.
    pub rare_share: f64,
    /// Rare wrong answers a pair of one address or unit must share to be looked at: neighbours are few, so little is
    /// asked.
    pub near_shared: u16,
    /// The same within an area, where honest pairs are many.
    pub far_shared: u16,
    /// Steps along shared answers in one address, unit or area: about a second. Answers shared by the fewest come
    /// first; when the steps are used up the block is reported as cut.
    pub block_steps: u64,
    /// The same in all blocks together: about a minute and a half.
    pub total_steps: u64,
    /// Attempts that one attempt is compared with exactly, those with the most rare wrong answers in common first;
    /// a ring is a chain of such pairs.
    pub n_partners: usize,
    /// How long after the end of one attempt another may start and still have copied from it.
    pub overlap_slack_ms: u64,
    /// Wrong answers an answer sheet needs before its doubles are told of: sheets without are alike by being right.
    pub min_double_wrong: u32,
    /// Persons one address may have: a school with one line has a class or two.
    pub max_per_address: u32,
    /// The same of addresses that are known, by tag: large schools, exam sites, mobile networks.
    pub known_addresses: BTreeMap<u64, u32>,
    /// Persons one device may have: two of a family. A computer room with more shifts needs more.
    pub max_per_device: u32,
    /// Share of considered answers below which an attempt counts as guessed (Wise and Kong 2005).
    pub min_effort: f64,
    /// Answers with a known time an attempt needs before its effort is told.
    pub min_timed: u32,
    /// Flags of a kind that are listed, those with the smallest p-value first; more are counted. More than anybody
    /// reviews.
    pub max_flags: usize,
    /// Places on papers that are kept in memory: 1 GiB, or 2.6 million papers of 50 items.
    pub max_places: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            rare_share: 0.2,
            near_shared: 1,
            far_shared: 3,
            block_steps: 400_000_000,
            total_steps: 40_000_000_000,
            n_partners: 8,
            overlap_slack_ms: 0,
            min_double_wrong: 3,
            max_per_address: 80,
            known_addresses: BTreeMap::new(),
            max_per_device: 2,
            min_effort: 0.9,
            min_timed: 10,
            max_flags: 10_000,
            max_places: 1 << 27,
        }
    }
}
