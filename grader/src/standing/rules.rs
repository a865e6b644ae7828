//! What an exam says about who is ranked with whom: rounds, units, prizes, and who is left out.

use std::collections::HashSet;

use proto::exam::v1::{ExamRules, UnitRankingKey};

use super::{Of, Scope};
use crate::{
    error::{Error, Result},
    id::CandidateId,
    prize::{Prizes, load_prizes},
    unit::{Units, ranking::UnitRule},
};

/// Made-up candidates that a control sits with, so that a grader's scores can be compared with known ones.
const N_CONTROLS: u32 = 3;

/// Rules of the standings, checked.
#[derive(Debug)]
pub struct StandingRules {
    pub(crate) rounds: Vec<u32>,
    pub(crate) units: Units,
    pub(crate) unit_rule: UnitRule,
    pub(crate) prizes: Prizes,
    controls: Vec<CandidateId>,
}

/// What a person is to the standings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Ranked and counted.
    Ranked,
    /// Counted, but left out of all standings and of what units have done.
    Excluded,
    /// Neither: a made-up candidate.
    Control,
}

impl StandingRules {
    /// Checks the rules of an exam.
    ///
    /// # Errors
    /// [`Error::TooManyUnits`], [`Error::UnitInvalid`] and [`Error::FieldInvalid`].
    pub(crate) fn load(exam_id: &str, rules: &ExamRules) -> Result<Self> {
        let units = Units::load(&rules.units)?;
        Ok(Self {
            rounds: rules.rounds.iter().map(|round| round.round).collect(),
            unit_rule: unit_rule(rules)?,
            prizes: load_prizes(rules, &units)?,
            controls: (0..N_CONTROLS)
                .map(|number| control_candidate(exam_id, number))
                .collect(),
            units,
        })
    }

    /// Returns the units that take part.
    #[must_use]
    pub fn units(&self) -> &Units {
        &self.units
    }

    /// Reports whether there are such a round, unit or group; any area may be.
    #[must_use]
    pub fn has(&self, scope: Scope<'_>) -> bool {
        let of = match scope.of {
            Of::Country | Of::Area(_) => true,
            Of::Unit(number) => self.units.find(number).is_some(),
            Of::Group(name) => self.units.find_group(name).is_some(),
        };
        of && self.table(scope.round).is_some()
    }

    pub(crate) fn class(&self, candidate: &CandidateId, excluded: &[CandidateId]) -> Class {
        if self.controls.contains(candidate) {
            Class::Control
        } else if excluded.binary_search(candidate).is_ok() {
            Class::Excluded
        } else {
            Class::Ranked
        }
    }

    /// Returns which table a round has; the first table is that of the whole exam, and the only round has no other.
    pub(crate) fn table(&self, round: Option<u32>) -> Option<usize> {
        let Some(round) = round else {
            return Some(0);
        };
        let at = self.rounds.iter().position(|known| *known == round)?;
        Some(if self.has_round_tables() { 1 + at } else { 0 })
    }

    pub(crate) fn has_round_tables(&self) -> bool {
        self.rounds.len() > 1
    }

    pub(crate) fn n_tables(&self) -> usize {
        if self.has_round_tables() {
            1 + self.rounds.len()
        } else {
            1
        }
    }
}

/// Returns the id of a made-up candidate of an exam.
#[must_use]
pub fn control_candidate(exam_id: &str, number: u32) -> CandidateId {
    let mut material = number.to_le_bytes().to_vec();
    material.extend_from_slice(exam_id.as_bytes());
    let hash = blake3::derive_key("khoa-bang control candidate v1", &material);
    let id: &[u8; 16] = hash.first_chunk().expect("a hash has 32 bytes");
    CandidateId::from(*id)
}

fn unit_rule(rules: &ExamRules) -> Result<UnitRule> {
    let mut keys: Vec<UnitRankingKey> = rules.unit_ranking().collect();
    let distinct: HashSet<_> = keys.iter().collect();
    let whole = keys.len() == rules.unit_ranking.len() && distinct.len() == keys.len();
    if !whole || keys.contains(&UnitRankingKey::Unspecified) {
        return Err(Error::FieldInvalid {
            field: "spec.rules.unit_ranking",
        });
    }
    if rules.unit_threshold_percent > 100 {
        return Err(Error::FieldInvalid {
            field: "spec.rules.unit_threshold_percent",
        });
    }
    if keys.is_empty() {
        keys = vec![UnitRankingKey::Turnout, UnitRankingKey::MeanScore];
    }
    Ok(UnitRule {
        keys,
        threshold_percent: rules.unit_threshold_percent,
    })
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::{ExamUnit, Round};

    use super::*;

    #[test]
    fn control_candidates_are_those_of_the_format() {
        let mut material = vec![2, 0, 0, 0];
        material.extend(b"thi-thu");
        let hash = blake3::derive_key("khoa-bang control candidate v1", &material);
        assert_eq!(control_candidate("thi-thu", 2).as_bytes()[..], hash[..16]);
    }

    #[test]
    fn a_control_candidate_on_the_list_of_exclusions_stays_one() {
        let rules = StandingRules::load("thi-thu", &ExamRules::default()).unwrap();
        let (one, other) = (control_candidate("thi-thu", 0), CandidateId::from([9; 16]));
        assert_eq!(rules.class(&one, &[one]), Class::Control);
        assert_eq!(rules.class(&other, &[other]), Class::Excluded);
        assert_eq!(rules.class(&other, &[]), Class::Ranked);
        assert_eq!(
            rules.class(&control_candidate("khac", 0), &[]),
            Class::Ranked
        );
    }

    #[test]
    fn scopes_are_known_by_round_unit_and_group() {
        let rounds = |numbers: &[u32]| {
            let round = |&round: &u32| Round {
                round,
                ..Round::default()
            };
            let unit = ExamUnit {
                unit: 7,
                group: "A".to_owned(),
                ..ExamUnit::default()
            };
            let rules = ExamRules {
                rounds: numbers.iter().map(round).collect(),
                units: vec![unit],
                ..ExamRules::default()
            };
            StandingRules::load("thi-thu", &rules).unwrap()
        };
        let one = rounds(&[4]);
        let tables = [None, Some(4), Some(1)].map(|round| one.table(round));
        assert_eq!(tables, [Some(0), Some(0), None]);
        assert_eq!((one.n_tables(), one.has_round_tables()), (1, false));
        let two = rounds(&[4, 9]);
        let tables = [None, Some(4), Some(9), Some(1)].map(|round| two.table(round));
        assert_eq!(tables, [Some(0), Some(1), Some(2), None]);
        assert_eq!((two.n_tables(), two.has_round_tables()), (3, true));
        for of in [Of::Country, Of::Area("any"), Of::Unit(7), Of::Group("A")] {
            assert!(two.has(of.overall()) && two.has(of.in_round(9)), "{of:?}");
            assert!(!two.has(of.in_round(1)), "{of:?}");
        }
        for of in [Of::Unit(8), Of::Unit(0), Of::Group("B"), Of::Group("")] {
            assert!(!two.has(of.overall()) && !two.has(of.in_round(9)), "{of:?}");
        }
        assert_eq!(two.units().all().len(), 1);
    }

    #[test]
    fn rules_of_units_out_of_range_are_refused() {
        let refused = |change: fn(&mut ExamRules)| {
            let mut rules = ExamRules::default();
            change(&mut rules);
            StandingRules::load("thi-thu", &rules).is_err()
        };
        assert!(!refused(|rules| rules.unit_ranking = vec![5, 1]));
        assert!(!refused(|rules| rules.unit_threshold_percent = 100));
        assert!(refused(|rules| rules.unit_ranking = vec![1, 1]));
        assert!(refused(|rules| rules.unit_ranking = vec![0]));
        assert!(refused(|rules| rules.unit_ranking = vec![77]));
        assert!(refused(|rules| rules.unit_threshold_percent = 101));
        let rules = StandingRules::load("thi-thu", &ExamRules::default()).unwrap();
        let usual = [UnitRankingKey::Turnout, UnitRankingKey::MeanScore];
        assert_eq!(rules.unit_rule.keys, usual);
    }
}
