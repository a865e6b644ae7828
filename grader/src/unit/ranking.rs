//! Units compared with each other: by turnout, mean score, numbers of persons, attempts and passes.
//!
//! Shares and means are compared by cross multiplication of whole numbers, so that equal ones tie exactly and share
//! a rank (1, 2, 2, 4). A unit is compared with all units below it added.
//! Start at [`UnitRanking::of`]. Source: docs/FORMATS.md section 5.

use std::cmp::Ordering;

use proto::exam::v1::UnitRankingKey;

use super::{Unit, Units, tally::Tally};

/// Which units are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among<'a> {
    /// Those right below a unit; 0 for those at the top.
    Below(u32),
    /// Those of an audience group or block that stand below no other unit of it.
    Group(&'a str),
}

/// How units are ranked.
#[derive(Clone, Debug)]
pub(crate) struct UnitRule {
    pub(crate) keys: Vec<UnitRankingKey>,
    /// At least this percent of the head-count must have taken part.
    pub(crate) threshold_percent: u32,
}

/// A unit with all units below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitFigures<'a> {
    /// The unit.
    pub unit: &'a Unit,
    /// What its persons have done.
    pub tally: Tally,
    /// Persons expected.
    pub head_count: u64,
}

/// Why a unit has no rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unranked {
    /// Nobody of the unit has a counted attempt.
    Nobody,
    /// Nobody was expected, so there is no turnout.
    NoHeadCount,
    /// Less than the threshold took part.
    BelowThreshold,
}

/// Units by rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitRanking<'a> {
    /// By rank, then number of the unit.
    pub ranked: Vec<(u64, UnitFigures<'a>)>,
    /// Units that the rule does not rank, by number.
    pub unranked: Vec<(Unranked, UnitFigures<'a>)>,
}

impl<'a> UnitRanking<'a> {
    /// Ranks the units of a group, or those below another; `tally` returns the sum over a range of places.
    pub(crate) fn of(
        units: &'a Units,
        rule: &UnitRule,
        among: Among<'_>,
        tally: impl Fn(std::ops::Range<u16>) -> Tally,
    ) -> Self {
        let mut this = Self::default();
        for place in compared(units, among) {
            let figures = figures(units, place, &tally);
            match rule.unranked(&figures) {
                Some(why) => this.unranked.push((why, figures)),
                None => this.ranked.push((0, figures)),
            }
        }
        this.ranked.sort_unstable_by(|(_, a), (_, b)| {
            let by_number = a.unit.number.cmp(&b.unit.number);
            rule.compare(a, b).then(by_number)
        });
        this.unranked
            .sort_unstable_by_key(|(_, figures)| figures.unit.number);
        let mut rank = 0;
        for at in 0..this.ranked.len() {
            let ties = |before: usize| rule.compare(&this.ranked[before].1, &this.ranked[at].1);
            if at == 0 || ties(at - 1) != Ordering::Equal {
                rank = at as u64 + 1;
            }
            this.ranked[at].0 = rank;
        }
        this
    }
}

/// Adds up a unit and all units below it.
fn figures(
    units: &Units,
    place: u16,
    tally: impl Fn(std::ops::Range<u16>) -> Tally,
) -> UnitFigures<'_> {
    let range = units.subtree(place);
    UnitFigures {
        unit: units.at(place),
        tally: tally(range.clone()),
        head_count: range.map(|place| units.at(place).head_count).sum(),
    }
}

/// Returns the places of the units that are compared, in the order of the tree.
fn compared(units: &Units, among: Among<'_>) -> Vec<u16> {
    let places = 0..u16::try_from(units.all().len()).expect("units are numbered by 16 bits");
    match among {
        Among::Below(0) => places
            .filter(|&place| units.parent_of(place).is_none())
            .collect(),
        Among::Below(number) => match units.place(number) {
            None => Vec::new(),
            Some(above) => units
                .subtree(above)
                .filter(|&place| units.parent_of(place) == Some(above))
                .collect(),
        },
        Among::Group(name) => {
            let Some(group) = units.find_group(name) else {
                return Vec::new();
            };
            let is_of = |place| units.group_of(place) == Some(group);
            let below_another = |place| {
                std::iter::successors(units.parent_of(place), |&above| units.parent_of(above))
                    .any(is_of)
            };
            places
                .filter(|&place| is_of(place) && !below_another(place))
                .collect()
        }
    }
}

impl UnitRule {
    fn unranked(&self, figures: &UnitFigures<'_>) -> Option<Unranked> {
        let by_turnout = self.keys.contains(&UnitRankingKey::Turnout);
        let (persons, heads) = (figures.tally.persons, figures.head_count);
        if persons == 0 {
            Some(Unranked::Nobody)
        } else if heads == 0 && (by_turnout || self.threshold_percent > 0) {
            Some(Unranked::NoHeadCount)
        } else if u128::from(persons) * 100 < u128::from(heads) * u128::from(self.threshold_percent)
        {
            Some(Unranked::BelowThreshold)
        } else {
            None
        }
    }

    /// Compares two units that have a rank, the better one first.
    fn compare(&self, a: &UnitFigures<'_>, b: &UnitFigures<'_>) -> Ordering {
        let (x, y) = (&a.tally, &b.tally);
        self.keys.iter().fold(Ordering::Equal, |order, key| {
            order.then_with(|| match key {
                UnitRankingKey::Unspecified => Ordering::Equal,
                // p/h > q/g exactly if p g > q h
                UnitRankingKey::Turnout => {
                    let share = |persons: u64, heads: u64| u128::from(persons) * u128::from(heads);
                    share(y.persons, a.head_count).cmp(&share(x.persons, b.head_count))
                }
                // a sum is below 2^95, as scores have 64 bits and persons 32: the products fit
                UnitRankingKey::MeanScore => {
                    let mean = |quanta: i128, persons: u64| quanta * i128::from(persons);
                    mean(y.quanta, x.persons).cmp(&mean(x.quanta, y.persons))
                }
                UnitRankingKey::Persons => y.persons.cmp(&x.persons),
                UnitRankingKey::Attempts => y.attempts.cmp(&x.attempts),
                UnitRankingKey::Passed => y.passed.cmp(&x.passed),
            })
        })
    }
}
