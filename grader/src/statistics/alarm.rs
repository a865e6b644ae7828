//! Live alarms: items whose responses say that the key is wrong or that the item leaked, and impossible scores.
//!
//! Each rule of item keys has a chance of `CHANCE` per exam to be met by chance, shared among the items and
//! options it is tried on (Bonferroni), and most also ask for a large effect.
//! Measured on simulated exams of 100 items without an error: 3 of 670 raised an alarm; of those in which three items
//! in five are far too easy, far too hard or hardly related to ability, 31 of 400 with 200 or 500 candidates and none
//! of 270 with 2,000 or more.
//! Invariant: an alarm carries the numbers that raised it. Start at [`alarms`]. Source: Moodle's dubious questions;
//! Lord and Novick chapter 15 for item analysis.

mod key;
mod leak;
mod score;
pub(crate) mod words;

pub use words::Words;

use super::{
    Choice, ItemInfo, ScoreRange, Statistics,
    item_counts::{Cell, ItemCounts, step},
    score_groups::ScoreGroups,
    sums::Sums,
};

/// Chance that a rule is met somewhere in a correct exam.
const CHANCE: f64 = 0.01;
/// Fewest responses that can raise an alarm about an item.
const MIN_RESPONSES: i64 = 100;

/// Something that a person should look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    /// The item's number in the bank; none for scores.
    pub item_id: Option<u32>,
    /// Responses, or sittings, that were looked at.
    pub n: i64,
    /// What was seen.
    pub evidence: Evidence,
}

/// What was seen; z values are in standard errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evidence {
    /// More of the best 27 % chose something else than the key.
    BeatsKey {
        /// What they chose.
        choice: Choice,
        /// How many of the best chose it.
        n_best: i64,
        /// How many of the best chose the key.
        n_best_key: i64,
        /// By how much that exceeds chance.
        z: f64,
    },
    /// Another choice is more frequent than the key, and made by better candidates.
    StrongerThanKey {
        /// The other choice.
        choice: Choice,
        /// Its share.
        share: f64,
        /// Share of the key.
        key_share: f64,
        /// Correlation of the other choice with the rest score.
        point_biserial: f64,
        /// Correlation of the key.
        key_point_biserial: f64,
    },
    /// Another choice is made by candidates about as good as those of the key: two right answers?
    AsGoodAsKey {
        /// The other choice.
        choice: Choice,
        /// Its share.
        share: f64,
        /// Its correlation with the rest score.
        point_biserial: f64,
    },
    /// The better the candidate, the less the item earns.
    NegativeDiscrimination {
        /// Correlation with the rest score.
        r_ir: f64,
        /// How far it is below 0.
        z: f64,
    },
    /// Of an item with several right options: the better candidates treat an option otherwise than the key; or one of
    /// several accepted answers is given by clearly weaker candidates than the others.
    OptionAgainstKey {
        /// Index of the option.
        option: u8,
        /// Whether the key has it.
        in_key: bool,
        /// Correlation of having chosen it with the rest score.
        point_biserial: f64,
    },
    /// Nearly nobody chose an option of the key.
    KeyOptionRare {
        /// Index of the option.
        option: u8,
        /// Its share.
        share: f64,
    },
    /// Nobody earned the full mark.
    NobodyRight,
    /// Everybody who answered earned the full mark.
    EverybodyRight,
    /// From some cohort on the item was easier than the rest of the paper explains.
    EasierSince {
        /// Number of the cohort.
        cohort: u16,
        /// Facility before.
        before: f64,
        /// Facility since.
        since: f64,
        /// Rise that ability does not explain, as a part of the mark.
        rise: f64,
        /// By how much that exceeds chance.
        z: f64,
    },
    /// In one area the item was easier than the rest of the paper explains.
    EasierIn {
        /// Number of the area.
        area: u16,
        /// Facility elsewhere.
        elsewhere: f64,
        /// Facility there.
        there: f64,
        /// Rise that ability does not explain, as a part of the mark.
        rise: f64,
        /// By how much that exceeds chance.
        z: f64,
    },
    /// A total below 0, above the greatest, or between two units.
    UnreachableScore {
        /// The total in quanta.
        total: i64,
    },
}

impl Evidence {
    /// Returns the choice that speaks against the key.
    #[must_use]
    pub fn choice(&self) -> Option<Choice> {
        match *self {
            Self::BeatsKey { choice, .. }
            | Self::StrongerThanKey { choice, .. }
            | Self::AsGoodAsKey { choice, .. } => Some(choice),
            _ => None,
        }
    }
}

/// Returns all alarms: impossible scores first, then items in their order.
#[must_use]
pub fn alarms(statistics: &Statistics) -> Vec<Alarm> {
    let range = statistics.range;
    let mut alarms = score::unreachable(&statistics.scores(), range);
    let reliability = statistics.test_report().reliability;
    let reliability = reliability.alpha.or(reliability.nested).unwrap_or(1.0);
    let rows = statistics.infos.iter().zip(&statistics.items);
    let seen: Vec<_> = rows
        .filter_map(|(info, counts)| Seen::new(info, counts, step(info, range)))
        .collect();
    let chance = CHANCE / seen.len().max(1) as f64;
    for item in &seen {
        let about_key = if item.info.decided {
            Vec::new()
        } else {
            key::evidence(item, chance)
        };
        let about_leak = leak::evidence(item.counts, reliability, chance);
        alarms.extend(
            about_key
                .into_iter()
                .chain(about_leak)
                .map(|evidence| Alarm {
                    item_id: Some(item.info.item_id),
                    n: item.n,
                    evidence,
                }),
        );
    }
    alarms
}

/// An item that enough candidates saw.
struct Seen<'a> {
    info: &'a ItemInfo,
    counts: &'a ItemCounts,
    cells: Vec<(Cell, i64)>,
    sums: Sums,
    n: i64,
    /// By rest score.
    groups: Option<ScoreGroups>,
}

impl<'a> Seen<'a> {
    fn new(info: &'a ItemInfo, counts: &'a ItemCounts, step: i64) -> Option<Self> {
        let sums = counts.sums();
        // an item without a mark asks nothing
        if sums.n < MIN_RESPONSES || sums.mark == 0 {
            return None;
        }
        let cells = counts.cells(step);
        let groups = ScoreGroups::of(cells.iter().map(|&(cell, n)| (cell.rest(), n)));
        Some(Self {
            info,
            counts,
            cells,
            n: sums.n,
            sums,
            groups,
        })
    }

    /// Returns how many of the best 27 % by rest score made some choice; nobody if there is no such group.
    fn n_best(&self, made: impl Fn(Choice) -> bool) -> i64 {
        let best = |rest| {
            self.groups
                .as_ref()
                .is_some_and(|groups| groups.is_upper(rest))
        };
        let cells = self.cells.iter();
        cells
            .filter(|(cell, _)| made(cell.choice) && best(cell.rest()))
            .map(|&(_, n)| n)
            .sum()
    }
}
