//! Ranks in any scope, to check what boards showed.
//!
//! Start at [`Boards::rank`]. Source: `docs/FORMATS.md`, section 5, "Scopes".

use std::collections::HashMap;

use proto::exam::v1::{ExamRules, ExamUnit};

use crate::{
    Archive, Error,
    difference::Differences,
    rank::{Ranking, Standing, ranked_in},
    ruling::Decisions,
    score::{Fraction, Marking, Score},
    standings::Standings,
};

/// Most units that take part.
const MAX_UNITS: usize = 20_000;
/// Most units above one.
const MAX_ABOVE: usize = 32;
/// Most characters of a group's name.
const MAX_GROUP_LEN: usize = 40;

/// Who is ranked among each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody.
    Country,
    /// The persons of one area.
    Area(String),
    /// The persons of a unit and of all units below it.
    Unit(u32),
    /// The persons of the units whose own or inherited group it is.
    Group(String),
}

/// One person's place in a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardPlace {
    /// 1 and the number of persons in the scope with a better tuple.
    pub rank: u64,
    /// The person.
    pub candidate: [u8; 16],
    /// Number of the attempt that counts in the scope.
    pub attempt: u32,
    /// Its exact score in quanta.
    pub quanta: i128,
    /// Items with the full mark.
    pub n_correct: u32,
}

/// What is ranked of one ended attempt that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardRow {
    /// The person; may have several attempts.
    pub candidate: [u8; 16],
    /// Number of the attempt.
    pub attempt: u32,
    /// Code of the area.
    pub area: String,
    /// Number of the unit, 0 for none.
    pub unit: u32,
    /// Round it counts in.
    pub round: u32,
    /// Its exact score in quanta.
    pub quanta: i128,
    /// Items with the full mark.
    pub n_correct: u32,
    /// What was predicted.
    pub prediction: Option<u32>,
    /// Time that was used.
    pub net_time_ms: u64,
    /// Unix milliseconds of its end.
    pub submitted_at_ms: u64,
}

/// The scored attempts of an exam, ready to be ranked in any scope.
pub struct Boards {
    ranking: Ranking,
    units: Units,
    attempts: Vec<Standing>,
    quanta_per_point: i128,
}

impl Boards {
    /// Scores every attempt of an archive. Whether the archive is right is not told here: verify it.
    ///
    /// # Errors
    /// Those of [`crate::verify`].
    pub fn new(archive: &Archive) -> Result<Self, Error> {
        let decisions = Decisions::new(archive);
        let marking = Marking::new(&archive.paper_half, &archive.key().half, &archive.rules)?;
        let standings = Standings::new(archive, &marking, &decisions, &mut Differences::default())?;
        let quantity = decisions.prediction.map(|prediction| prediction.quantity);
        Ok(Self {
            ranking: Ranking::new(&archive.rules, quantity)?,
            units: Units::new(&archive.rules.units)?,
            attempts: standings.ranked,
            quanta_per_point: marking.quanta_per_point,
        })
    }

    /// Takes attempts as they were scored elsewhere. `quantity` is what predictions are compared with, once it is known.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a ranking rule that nobody knows, and units that are no tree.
    pub fn of_rows(
        rules: &ExamRules,
        quantity: Option<u64>,
        rows: impl IntoIterator<Item = BoardRow>,
    ) -> Result<Self, Error> {
        Ok(Self {
            ranking: Ranking::new(rules, quantity)?,
            units: Units::new(&rules.units)?,
            attempts: rows.into_iter().map(Standing::from).collect(),
            quanta_per_point: 1,
        })
    }

    /// Ranks a scope, over all rounds or within one. With `ended_before_ms`, attempts that ended then or later are not
    /// looked at: a frozen board.
    #[must_use]
    pub fn rank(
        &self,
        scope: &Scope,
        round: Option<u32>,
        ended_before_ms: Option<u64>,
    ) -> Vec<BoardPlace> {
        let is_seen = |attempt: &&Standing| {
            round.is_none_or(|round| attempt.round == round)
                && ended_before_ms.is_none_or(|cutoff_ms| attempt.submitted_at_ms < cutoff_ms)
        };
        let attempts = self.attempts.iter().filter(is_seen).cloned();
        let is_inside = |standing: &Standing| match scope {
            Scope::Country => true,
            Scope::Area(area) => standing.area == *area,
            Scope::Unit(unit) => self.units.path(standing.unit).any(|above| above == *unit),
            Scope::Group(group) => self.units.group(standing.unit) == Some(group.as_str()),
        };
        let placed = ranked_in(&self.ranking, attempts, is_inside);
        placed
            .into_iter()
            .map(|(rank, standing)| self.place(rank, &standing))
            .collect()
    }

    fn place(&self, rank: u64, standing: &Standing) -> BoardPlace {
        let quanta = standing.score.points.whole_times(self.quanta_per_point);
        BoardPlace {
            rank,
            candidate: standing.candidate,
            attempt: standing.attempt,
            quanta: quanta.expect("quanta were chosen so that every score is a whole number"),
            n_correct: standing.score.n_correct,
        }
    }
}

impl From<BoardRow> for Standing {
    fn from(row: BoardRow) -> Self {
        Self {
            candidate: row.candidate,
            attempt: row.attempt,
            area: row.area,
            unit: row.unit,
            round: row.round,
            score: Score {
                points: Fraction::new(row.quanta, 1),
                n_correct: row.n_correct,
                passed: None,
            },
            prediction: row.prediction,
            net_time_ms: row.net_time_ms,
            submitted_at_ms: row.submitted_at_ms,
            ended_by: "",
            form_code: [0; 8],
        }
    }
}

/// The organization tree: parent and group by unit.
struct Units(HashMap<u32, (u32, String)>);

impl Units {
    /// Reads the list, in which each unit stands once and behind the one above it.
    fn new(listed: &[ExamUnit]) -> Result<Self, Error> {
        let invalid = |what, unit: &ExamUnit| Err(Error::invalid(what, unit.unit));
        if listed.len() > MAX_UNITS {
            return Err(Error::invalid("number of units", listed.len()));
        }
        let mut units = Self(HashMap::new());
        let mut n_expected: u64 = 0;
        for unit in listed {
            let above = units.path(unit.parent).count();
            if unit.unit == 0 || unit.parent != 0 && above == 0 {
                return invalid("unit without a number or a known parent", unit);
            }
            if above > MAX_ABOVE {
                return invalid("unit that lies too deep", unit);
            }
            if unit.group.chars().count() > MAX_GROUP_LEN {
                return invalid("unit with a long name of a group", unit);
            }
            match n_expected.checked_add(unit.head_count) {
                Some(sum) => n_expected = sum,
                None => return invalid("sum of the head-counts up to unit", unit),
            }
            let entry = (unit.parent, unit.group.clone());
            if units.0.insert(unit.unit, entry).is_some() {
                return invalid("unit that stands in the list twice", unit);
            }
        }
        Ok(units)
    }

    /// Returns a unit and those above it; a path is never longer than the tree has units.
    fn path(&self, unit: u32) -> impl Iterator<Item = u32> {
        let known = |unit: u32| Some(unit).filter(|unit| self.0.contains_key(unit));
        let above = move |unit: &u32| known(self.0.get(unit)?.0);
        std::iter::successors(known(unit), above).take(self.0.len())
    }

    /// Returns a unit's own group, or the nearest one above it.
    fn group(&self, unit: u32) -> Option<&str> {
        let groups = self.path(unit).filter_map(|unit| self.0.get(&unit));
        groups
            .map(|(_, group)| group.as_str())
            .find(|group| !group.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::RankingKey;

    use super::*;
    use crate::test_exam::{TestExam, person};

    fn rules() -> ExamRules {
        let unit = |unit, parent, group: &str| ExamUnit {
            unit,
            parent,
            group: group.to_owned(),
            ..ExamUnit::default()
        };
        ExamRules {
            ranking: vec![RankingKey::Score.into()],
            units: vec![
                unit(1, 0, "xa"),
                unit(2, 1, ""),
                unit(3, 2, "truong"),
                unit(4, 0, ""),
            ],
            ..ExamRules::default()
        }
    }

    /// Person, attempt, area, unit, round, quanta, end.
    fn boards(rows: &[(u8, u32, &str, u32, u32, i128, u64)]) -> Boards {
        let row = |&(n, attempt, area, unit, round, quanta, submitted_at_ms): &_| BoardRow {
            candidate: person(n),
            attempt,
            area: str::to_owned(area),
            unit,
            round,
            quanta,
            submitted_at_ms,
            ..BoardRow::default()
        };
        Boards::of_rows(&rules(), None, rows.iter().map(row)).unwrap()
    }

    /// Ranks and persons.
    fn table(places: &[BoardPlace]) -> Vec<(u64, u8)> {
        let place = |place: &BoardPlace| (place.rank, place.candidate[0] - 1);
        places.iter().map(place).collect()
    }

    #[track_caller]
    fn check(boards: &Boards, scope: &Scope, round: Option<u32>, expected: &[(u64, u8)]) {
        assert_eq!(
            table(&boards.rank(scope, round, None)),
            expected,
            "{scope:?}"
        );
    }

    #[test]
    fn every_scope_has_its_own_ranks() {
        let boards = boards(&[
            (0, 1, "01", 1, 1, 5, 10),
            (1, 1, "01", 2, 1, 7, 20),
            (2, 1, "79", 3, 1, 7, 30),
            (3, 1, "79", 4, 1, -1, 40),
            (4, 1, "79", 0, 1, 9, 50),
            (5, 1, "79", 77, 1, 8, 60),
        ]);
        let country = [(1, 4), (2, 5), (3, 1), (3, 2), (5, 0), (6, 3)];
        check(&boards, &Scope::Country, None, &country);
        let area = [(1, 4), (2, 5), (3, 2), (4, 3)];
        check(&boards, &Scope::Area("79".to_owned()), None, &area);
        check(&boards, &Scope::Area("99".to_owned()), None, &[]);
        check(&boards, &Scope::Unit(1), None, &[(1, 1), (1, 2), (3, 0)]);
        check(&boards, &Scope::Unit(2), None, &[(1, 1), (1, 2)]);
        check(&boards, &Scope::Unit(3), None, &[(1, 2)]);
        check(&boards, &Scope::Unit(0), None, &[]);
        check(
            &boards,
            &Scope::Group("xa".to_owned()),
            None,
            &[(1, 1), (2, 0)],
        );
        check(&boards, &Scope::Group("truong".to_owned()), None, &[(1, 2)]);
        check(&boards, &Scope::Group(String::new()), None, &[]);
    }

    #[test]
    fn within_a_round_the_best_attempt_of_the_round_counts() {
        let boards = boards(&[
            (0, 1, "01", 2, 1, 5, 10),
            (0, 2, "79", 4, 2, 9, 20),
            (1, 1, "01", 2, 1, 6, 30),
        ]);
        check(&boards, &Scope::Country, None, &[(1, 0), (2, 1)]);
        check(&boards, &Scope::Country, Some(1), &[(1, 1), (2, 0)]);
        check(&boards, &Scope::Country, Some(2), &[(1, 0)]);
        check(&boards, &Scope::Country, Some(3), &[]);
        // A person stands where the counted attempt stands.
        check(&boards, &Scope::Area("01".to_owned()), None, &[(1, 1)]);
        check(
            &boards,
            &Scope::Area("01".to_owned()),
            Some(1),
            &[(1, 1), (2, 0)],
        );
        check(&boards, &Scope::Unit(1), None, &[(1, 1)]);
    }

    #[test]
    fn a_frozen_board_shows_what_ended_before() {
        let boards = boards(&[
            (0, 1, "01", 1, 1, 5, 10),
            (0, 2, "01", 1, 1, 9, 20),
            (1, 1, "01", 1, 1, 6, 15),
        ]);
        let frozen = |cutoff_ms| table(&boards.rank(&Scope::Country, None, Some(cutoff_ms)));
        assert_eq!(frozen(21), [(1, 0), (2, 1)]);
        assert_eq!(frozen(20), [(1, 1), (2, 0)]);
        assert_eq!(frozen(15), [(1, 0)]);
        assert_eq!(frozen(10), []);
    }

    #[test]
    fn units_that_are_no_tree_are_refused() {
        let refused = |change: fn(&mut Vec<ExamUnit>)| {
            let mut rules = rules();
            change(&mut rules.units);
            Boards::of_rows(&rules, None, []).is_err()
        };
        let chain = |units: &mut Vec<ExamUnit>, n: u32| {
            let unit = |number| ExamUnit {
                unit: number,
                parent: number - 1,
                ..ExamUnit::default()
            };
            units.extend((5..n).map(unit));
        };
        assert!(!refused(|_| {}));
        assert!(refused(|units| units[3].unit = 0));
        assert!(refused(|units| units[3].unit = 1));
        assert!(refused(|units| units[3].parent = 4));
        assert!(
            refused(|units| units[0].parent = 2),
            "behind it in the list"
        );
        assert!(refused(|units| units[0].group = "ố".repeat(41)));
        assert!(!refused(|units| units[0].group = "ố".repeat(40)));
        assert!(refused(|units| for unit in units {
            unit.head_count = u64::MAX / 2
        }));
        let deep = |n: u32| {
            let mut rules = rules();
            chain(&mut rules.units, n);
            Boards::of_rows(&rules, None, []).is_err()
        };
        assert!(!deep(37), "32 units stand above the last one");
        assert!(deep(38));
    }

    #[test]
    fn ranks_are_those_of_the_result() {
        let mut exam = TestExam::new();
        let archive = exam.archive();
        let places = Boards::new(&archive)
            .unwrap()
            .rank(&Scope::Country, None, None);
        let rows: Vec<Vec<&str>> = exam
            .result
            .lines()
            .skip(13)
            .map(|row| row.split('\t').collect())
            .collect();
        assert_eq!(places.len(), rows.len());
        for (place, row) in places.iter().zip(&rows) {
            let found = [
                place.rank.to_string(),
                hex::encode(place.candidate),
                place.attempt.to_string(),
                place.quanta.to_string(),
                place.n_correct.to_string(),
            ];
            assert_eq!(found, [row[0], row[2], row[6], row[8], row[9]]);
        }
        exam.rules().ranking = vec![0];
        assert!(Boards::new(&exam.archive()).is_err());
    }
}
