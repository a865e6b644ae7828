//! The ended attempts in one fixed order, and the measures every part of the analysis takes of them.

use super::{
    collect::Collector,
    report::{AttemptId, MAX_LISTED},
    sitting::{NEVER, Sitting},
};
use crate::id::CandidateId;

/// How many steps of a loop pass between two looks at whether to stop.
const STEPS_PER_LOOK: usize = 1_024;

/// Asks the caller whether to end; the caller may rest before it answers.
#[derive(Clone, Copy)]
pub(crate) struct Stop<'a>(pub(crate) &'a dyn Fn() -> bool);

impl Stop<'_> {
    /// Reports whether to end now.
    pub(crate) fn now(self) -> bool {
        self.0()
    }

    /// The same for step number `at` of a loop; looks now and then.
    pub(crate) fn at(self, at: usize) -> bool {
        at.is_multiple_of(STEPS_PER_LOOK) && self.now()
    }
}

/// One ended attempt.
pub(crate) struct Sheet<'a> {
    pub(crate) id: CandidateId,
    pub(crate) sitting: &'a Sitting,
    /// Share of the paper that is right, in millionths.
    pub(crate) right_ppm: u32,
}

/// All ended attempts, by candidate and number.
pub(crate) struct Sheets<'a> {
    pub(crate) collector: &'a Collector,
    pub(crate) all: Vec<Sheet<'a>>,
}

/// A place that two persons both answered, by its positions on their papers.
#[derive(Clone, Copy)]
pub(crate) struct Common {
    pub(crate) a: u16,
    pub(crate) b: u16,
}

impl<'a> Sheets<'a> {
    pub(crate) fn new(collector: &'a Collector) -> Self {
        let ended = collector
            .sittings
            .iter()
            .filter(|sitting| sitting.ended_at_ms > 0);
        let sheet = |sitting: &'a Sitting| {
            let n_right = sitting
                .answers
                .iter()
                .filter(|answer| answer.is_right())
                .count();
            let ppm = n_right * 1_000_000 / sitting.answers.len();
            Sheet {
                id: collector.persons[sitting.person as usize].id,
                sitting,
                right_ppm: u32::try_from(ppm).expect("a share is at most a million"),
            }
        };
        let mut all: Vec<Sheet> = ended.map(sheet).collect();
        all.sort_unstable_by_key(|sheet| (sheet.id, sheet.sitting.attempt));
        Self { collector, all }
    }

    pub(crate) fn item_id(&self, item_idx: u16) -> u32 {
        self.collector.package.items()[usize::from(item_idx)].item_id
    }

    /// Reports whether the item is answered by choosing options.
    pub(crate) fn is_choice(&self, item_idx: u16) -> bool {
        !self.collector.package.items()[usize::from(item_idx)]
            .key_sets()
            .is_empty()
    }

    pub(crate) fn sitting(&self, at: u32) -> &'a Sitting {
        self.all[at as usize].sitting
    }

    pub(crate) fn attempt_id(&self, at: u32) -> AttemptId {
        let sheet = &self.all[at as usize];
        AttemptId {
            candidate: sheet.id,
            attempt: sheet.sitting.attempt,
        }
    }

    /// Returns the attempts that are listed of a group: the first 100.
    pub(crate) fn attempt_ids(&self, group: &[u32]) -> Vec<AttemptId> {
        let listed = group.iter().take(MAX_LISTED);
        listed.map(|&at| self.attempt_id(at)).collect()
    }

    /// Returns how many persons a group is of.
    pub(crate) fn n_persons(&self, group: &[u32]) -> u32 {
        let mut persons: Vec<u32> = group.iter().map(|&at| self.sitting(at).person).collect();
        persons.sort_unstable();
        persons.dedup();
        u32::try_from(persons.len()).expect("fewer than 2^32 attempts")
    }

    /// Returns the sheets by a key that is not 0, in groups of two and more, by rising key.
    pub(crate) fn groups(&self, key: impl Fn(&Sitting) -> u64) -> Vec<(u64, Vec<u32>)> {
        let mut keyed: Vec<(u64, u32)> = (0..)
            .zip(&self.all)
            .map(|(at, sheet)| (key(sheet.sitting), at))
            .filter(|(key, _)| *key != 0)
            .collect();
        keyed.sort_unstable();
        keyed
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|group| group.len() > 1)
            .map(|group| (group[0].0, group.iter().map(|(_, at)| *at).collect()))
            .collect()
    }

    /// Returns the items that both answered in a way that is compared, in the order of `b`'s paper.
    pub(crate) fn common(&self, a: u32, b: u32) -> Vec<Common> {
        let answered = |at: u32| {
            let places = (0u16..).zip(&self.sitting(at).answers);
            places
                .filter(|(_, answer)| answer.chosen != 0 && answer.at_s != NEVER)
                .map(|(place, answer)| (answer.item_idx, place))
        };
        let mut of_a: Vec<(u16, u16)> = answered(a).collect();
        of_a.sort_unstable();
        answered(b)
            .filter_map(|(item_idx, place)| {
                let at = of_a.binary_search_by_key(&item_idx, |(idx, _)| *idx).ok()?;
                Some(Common {
                    a: of_a[at].1,
                    b: place,
                })
            })
            .collect()
    }
}
