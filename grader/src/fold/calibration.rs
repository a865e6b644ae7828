//! What a finished exam tells the bank about its items: difficulty, discrimination, and whom an item disfavours.
//!
//! These pass over first attempts when they are asked for; nothing is kept.

use super::{Fold, Person};
use crate::{
    attempt::Finished,
    id,
    package::Package,
    statistics::{
        ItemStatistics, alarms,
        dif::{self, MantelHaenszel},
        irt::{self, Model, Pattern, Settings},
        to_bank,
    },
};

/// Persons a calibration takes: 2,000 to 5,000 answers an item are enough, and the time grows with their number.
const MAX_CALIBRATED: u64 = 200_000;
/// Strata of the score that groups are matched on.
const N_STRATA: i64 = 50;
/// As exact as such samples allow.
const SETTINGS: Settings = Settings {
    n_nodes: 21,
    max_rounds: 100,
    tolerance: 1e-3,
};

/// Which of two groups a candidate belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The one that the other is compared with.
    Reference,
    /// The one that an item may disfavour.
    Focal,
}

impl Fold {
    /// Returns a row for the bank of each item that somebody took, with slopes and difficulties of the two-parameter
    /// model.
    #[must_use]
    pub fn item_statistics(&self) -> Vec<ItemStatistics> {
        let n_items = self.package.items().len();
        let fit = irt::fit(Model::TwoParameter, n_items, &self.patterns(), &SETTINGS);
        let statistics = self.statistics();
        to_bank(statistics, Some(&fit), &alarms(statistics))
    }

    /// Returns which items were answered right, by person; of very many persons the same sample for all graders.
    #[must_use]
    pub fn patterns(&self) -> Vec<Pattern> {
        let n_persons = self.n_persons().max(1);
        let share = MAX_CALIBRATED.saturating_mul(u64::MAX / n_persons);
        let taken =
            |person: &Person| n_persons <= MAX_CALIBRATED || id::hash(person.id.as_bytes()) < share;
        self.first_attempts()
            .filter(|(person, ..)| taken(person))
            .map(|(_, attempt, _)| Pattern {
                responses: right(&self.package, attempt).collect(),
                n: 1,
            })
            .collect()
    }

    /// Compares two groups of candidates, item by item, among equal scores; `group` sees the first attempt and the
    /// code of its area.
    #[must_use]
    pub fn dif(
        &self,
        group: impl Fn(&Finished, &str) -> Option<Group>,
    ) -> Vec<Option<MantelHaenszel>> {
        let n_items = self.package.items().len();
        let mut counts = dif::Counts::new(n_items);
        let (least, most) = self.package.marks().range();
        let width = ((most - least) / N_STRATA).max(1);
        for (_, attempt, area) in self.first_attempts() {
            let Some(group) = group(attempt, area) else {
                continue;
            };
            let stratum = (attempt.score.quanta - least) / width;
            for (item_idx, is_right) in right(&self.package, attempt) {
                let reference = group == Group::Reference;
                counts.count(usize::from(item_idx), stratum, reference, is_right, 1);
            }
        }
        (0..n_items).map(|at| counts.mantel_haenszel(at)).collect()
    }
}

/// Returns the scored items of an attempt, and which of them earned the full mark.
fn right<'a>(
    package: &'a Package,
    attempt: &'a Finished,
) -> impl Iterator<Item = (u16, bool)> + 'a {
    let places = attempt.answers.chosen.iter().enumerate();
    places.filter_map(|(place_idx, chosen)| {
        let grade = package.grade(place_idx, *chosen, &attempt.answers);
        (grade.mark_quanta > 0).then_some((chosen.item_idx, grade.is_full))
    })
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::EndedBy;

    use super::*;
    use crate::{
        CandidateId,
        fixture::{KEYS, Log, parts},
        statistics::dif::Class,
    };

    /// 600 persons in two areas; the third item is harder in area 01 than its candidates are weaker.
    fn fold() -> Fold {
        let mut log = Log::new(&parts());
        for n in 0..600u16 {
            let skill = n / 2 % 6;
            let area = if n % 2 == 0 { "79" } else { "01" };
            let hindered = |position: u16| position == 2 && area == "01" && n % 3 != 0;
            let knows =
                |position: u16| (n / 12 * 7 + position * 5) % 6 <= skill && !hindered(position);
            let answers: Vec<_> = (0..6)
                .filter(|position| knows(*position))
                .map(|position| (u32::from(position), KEYS[usize::from(position)]))
                .collect();
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&n.to_le_bytes());
            let who = CandidateId::from(bytes);
            log.sit(who, 1, area, &answers, 1_000, EndedBy::Candidate);
        }
        log.fold()
    }

    #[test]
    fn the_bank_gets_a_calibrated_row_of_each_item() {
        let fold = fold();
        let rows = fold.item_statistics();
        assert_eq!(rows.len(), 6);
        for (row, item) in rows.iter().zip(fold.package().items()) {
            assert_eq!(
                (row.item_id, row.revision, row.n),
                (item.item_id, item.revision, 600)
            );
            assert!(row.a > Some(0.0) && row.b_se.is_some(), "{row:?}");
        }
        let third = rows[2].facility.unwrap();
        assert!(
            rows.iter()
                .all(|row| row.item_id == rows[2].item_id || row.facility > Some(third))
        );
    }

    #[test]
    fn an_item_that_is_harder_in_one_area_functions_otherwise_there() {
        let group = |_: &Finished, area: &str| match area {
            "79" => Some(Group::Reference),
            "01" => Some(Group::Focal),
            _ => None,
        };
        let found = fold().dif(group);
        let third = found[2].unwrap();
        assert!(third.class == Class::C && third.delta < -1.5, "{third:?}");
        assert!(found[0].unwrap().delta.abs() < third.delta.abs() / 2.0);
        let nobody = fold().dif(|_, _| None);
        assert_eq!(nobody, [None; 6]);
    }
}
