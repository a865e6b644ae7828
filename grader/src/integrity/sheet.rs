//! The ended attempts in one fixed order, and the measures every part of the analysis takes of them.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    collect::Collector,
    report::AttemptId,
    sitting::{Answer, NEVER, Sitting},
};
use crate::id::CandidateId;

/// How many steps of a loop pass between two looks at whether to stop.
const STEPS_PER_LOOK: usize = 1_024;

/// Whether the caller wants the analysis to end.
#[derive(Clone, Copy)]
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Stop<'_> {
    /// Reports whether to end now.
    pub(crate) fn now(self) -> bool {
        self.0.load(Ordering::Relaxed)
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
        let mut sheets = Self {
            collector,
            all: Vec::new(),
        };
        let ended = collector.sittings.iter().filter(|sitting| sitting.ended_at_ms > 0);
        let all = ended.map(|sitting| {
            let is_right = |answer: &&Answer| sheets.is_right(answer);
            let n_right = sitting.answers.iter().filter(is_right).count();
            let ppm = n_right * 1_000_000 / sitting.answers.len();
            Sheet {
                id: collector.persons[sitting.person as usize].id,
                sitting,
                right_ppm: u32::try_from(ppm).expect("a share is at most a million"),
            }
        });
        let all = all.collect();
        sheets.all = all;
        sheets
            .all
            .sort_unstable_by_key(|sheet| (sheet.id, sheet.sitting.attempt));
        sheets
    }

    pub(crate) fn item_id(&self, item_idx: u16) -> u32 {
        self.collector.package.items()[usize::from(item_idx)].item_id
    }

    /// Reports whether the answer is the key.
    pub(crate) fn is_right(&self, answer: &Answer) -> bool {
        answer.chosen != 0
            && answer.chosen == self.collector.package.items()[usize::from(answer.item_idx)].key
    }

    /// Reports whether options were chosen that are not the key.
    pub(crate) fn is_wrong(&self, answer: &Answer) -> bool {
        answer.chosen != 0 && !self.is_right(answer)
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

    /// Returns the items that both answered by choosing options, in the order of `b`'s paper.
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
