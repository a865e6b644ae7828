//! Exact counts of a whole test, its sections, areas and cohorts.

use std::collections::BTreeMap;

use super::{Sitting, histogram::Histogram, sparse::Sparse};

/// Papers of one length: their number, and the sums of their scores and of the squares.
type Papers = (i64, i128, i128);

/// Scores of the papers, or of one section of them, and of the marks they consist of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) scores: Histogram,
    /// Sum of the squares of single marks.
    pub(super) marks_squared: i128,
    /// By number of items on the paper.
    pub(super) papers: Sparse<u32, Papers>,
}

impl Scope {
    fn count(&mut self, score: i64, part: Part, by: i64) {
        let (score_wide, times) = (i128::from(score), i128::from(by));
        self.scores.count(score, by);
        self.marks_squared += times * part.marks_squared;
        self.papers.change(part.n_items, |papers| {
            add(
                papers,
                (by, times * score_wide, times * score_wide * score_wide),
            );
        });
    }

    fn merge(&mut self, other: &Self) {
        self.scores.merge(&other.scores);
        self.marks_squared += other.marks_squared;
        self.papers.merge(&other.papers, add);
    }
}

fn add(mine: &mut Papers, theirs: Papers) {
    mine.0 += theirs.0;
    mine.1 += theirs.1;
    mine.2 += theirs.2;
}

/// Items of one paper, or of one section of it.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    n_items: u32,
    marks_squared: i128,
}

impl Part {
    fn count(&mut self, quanta: i64) {
        self.n_items += 1;
        self.marks_squared += i128::from(quanta) * i128::from(quanta);
    }
}

/// Counts of the test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TestCounts {
    pub(super) whole: Scope,
    pub(super) sections: BTreeMap<u16, Scope>,
    pub(super) areas: BTreeMap<u16, Histogram>,
    pub(super) cohorts: BTreeMap<u16, Histogram>,
}

impl TestCounts {
    pub(super) fn count(&mut self, sitting: &Sitting<'_>, by: i64) {
        let mut whole = Part::default();
        let mut parts = vec![Part::default(); sitting.section_totals.len()];
        for graded in sitting.responses {
            whole.count(graded.quanta);
            if let Some(part) = parts.get_mut(usize::from(graded.section)) {
                part.count(graded.quanta);
            }
        }
        self.whole.count(sitting.total, whole, by);
        for ((section, &score), part) in (0..).zip(sitting.section_totals).zip(parts) {
            if part.n_items > 0 {
                change(&mut self.sections, section, |it| it.count(score, part, by));
            }
        }
        change(&mut self.areas, sitting.area, |it| {
            it.count(sitting.total, by)
        });
        change(&mut self.cohorts, sitting.cohort, |it| {
            it.count(sitting.total, by)
        });
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.whole.merge(&other.whole);
        for (&section, theirs) in &other.sections {
            change(&mut self.sections, section, |mine| mine.merge(theirs));
        }
        for (&area, theirs) in &other.areas {
            change(&mut self.areas, area, |mine| mine.merge(theirs));
        }
        for (&cohort, theirs) in &other.cohorts {
            change(&mut self.cohorts, cohort, |mine| mine.merge(theirs));
        }
    }
}

/// Changes an entry, and leaves out what became zero, so that equal states compare equal.
fn change<K: Copy + Ord, V: Default + PartialEq>(
    map: &mut BTreeMap<K, V>,
    key: K,
    change: impl FnOnce(&mut V),
) {
    let value = map.entry(key).or_default();
    change(value);
    if *value == V::default() {
        map.remove(&key);
    }
}
