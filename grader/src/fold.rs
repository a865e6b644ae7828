//! The fold: log entries in, the state of an exam out.
//!
//! Entries of a partition come by rising position; any interleaving of partitions gives the same state, and an
//! entry that comes again changes nothing. A candidate's events are all in one partition, so they come in order.
//! Invariant: counts, standings and finished attempts agree after every entry. Start at [`Fold::apply`].

mod calibration;
mod first;
mod read;
mod regrade;
mod restore;
mod seats;
mod view;

#[cfg(test)]
mod oracle;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

pub use calibration::Group;
use proto::exam::v1::{Answered, Ended, Event, LogEntry, Reopened, Resumed, Started, event::Kind};
use seats::Sitting;
pub use view::{Place, View};

use crate::{
    attempt::{Finished, Running},
    counts::Counts,
    error::{Error, Result},
    id::{BuildIdHasher, CandidateId, partition_of},
    package::Package,
    quarantine::{Quarantine, Reason},
    standing::{Standings, rules::Class},
    statistics::Statistics,
};

/// What became of a log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It changed the state.
    Folded,
    /// It, or its answer's number, was there already.
    Repeated,
    /// It cannot be true and was kept aside.
    Quarantined(Reason),
}

/// One person: attempts so far.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) id: CandidateId,
    pub(crate) running: Option<Box<Running>>,
    /// By rising number.
    pub(crate) finished: Vec<Finished>,
    /// Which of the finished ones counts; one behind them for none.
    counted_idx: u32,
    partition: u8,
    class: Class,
}

impl Person {
    pub(crate) fn counted(&self) -> Option<&Finished> {
        self.finished.get(self.counted_idx as usize)
    }

    fn last_attempt(&self) -> u16 {
        let running = self.running.as_ref().map(|running| running.attempt);
        let finished = self.finished.last().map(|finished| finished.attempt);
        running.max(finished).unwrap_or(0)
    }
}

/// The state of an exam at one log position.
#[derive(Debug)]
pub struct Fold {
    package: Arc<Package>,
    positions: Vec<u64>,
    persons: Vec<Person>,
    idx_by_id: HashMap<CandidateId, u32, BuildIdHasher>,
    counts: Counts,
    live: Standings,
    /// What the public sees while the board is frozen.
    public: Option<Standings>,
    /// Counted once somebody asks for it, and kept up to date from then on.
    statistics: OnceLock<Statistics>,
    n_controls: u64,
    quarantine: Quarantine,
    n_answers: u64,
}

/// A row of the standings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'fold> {
    /// Rank in the scope.
    pub rank: u64,
    /// Who.
    pub candidate: CandidateId,
    /// Area code of the counted attempt.
    pub area: &'fold str,
    /// The counted attempt.
    pub counted: &'fold Finished,
}

/// Where one person stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'fold> {
    /// Nationwide.
    pub row: Row<'fold>,
    /// Rank within the area of the counted attempt.
    pub area_rank: u64,
}

impl Fold {
    /// Starts before the first entry of the log.
    #[must_use]
    pub fn new(package: Arc<Package>) -> Self {
        let n_partitions = package.n_partitions() as usize;
        let (live, public) = seats::empty(&package);
        Self {
            positions: vec![0; n_partitions],
            persons: Vec::new(),
            idx_by_id: HashMap::default(),
            counts: Counts::new(package.registered()),
            live,
            public,
            statistics: OnceLock::new(),
            n_controls: 0,
            quarantine: Quarantine::new(n_partitions),
            n_answers: 0,
            package,
        }
    }

    /// Takes one entry of the log; an entry without an event is quarantined.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_entry(&mut self, entry: &LogEntry) -> Result<Applied> {
        match &entry.event {
            Some(event) => self.apply(entry.partition, entry.position, event),
            None => self.apply(entry.partition, entry.position, &Event::default()),
        }
    }

    /// Takes the event at one position of the log.
    ///
    /// # Errors
    /// [`Error::PositionGap`] if entries before it are missing: nothing has changed, the caller reads again from
    /// [`positions`](Self::positions); [`Error::PartitionUnknown`] if the exam has no such partition.
    pub fn apply(&mut self, partition: u32, position: u64, event: &Event) -> Result<Applied> {
        let at = partition as usize;
        let Some(last) = self.positions.get_mut(at) else {
            return Err(Error::PartitionUnknown {
                partition,
                n_partitions: self.package.n_partitions(),
            });
        };
        if position <= *last {
            return Ok(Applied::Repeated);
        }
        if position != *last + 1 {
            return Err(Error::PositionGap {
                partition,
                expected: *last + 1,
                found: position,
            });
        }
        *last = position;
        Ok(self.take(partition, event).unwrap_or_else(|reason| {
            self.quarantine.take(at, position, reason);
            Applied::Quarantined(reason)
        }))
    }

    fn take(&mut self, partition: u32, event: &Event) -> std::result::Result<Applied, Reason> {
        let kind = event.kind.as_ref().ok_or(Reason::EventUnknown)?;
        let id =
            CandidateId::try_from(&*event.candidate).map_err(|_| Reason::CandidateMalformed)?;
        let person = self.idx_by_id.get(&id).copied();
        if person.is_some_and(|who| u32::from(self.persons[who as usize].partition) != partition) {
            return Err(Reason::PartitionWrong);
        }
        match kind {
            Kind::Started(started) => self.start(partition, id, person, event, started),
            Kind::Answered(answer) => self.answer(person, event.attempt, answer),
            // which device writes and how much time there is are the engine's concern
            Kind::TakenOver(_)
            | Kind::SectionEntered(_)
            | Kind::Flagged(_)
            | Kind::Extended(_)
            | Kind::Paused(_) => {
                running(&mut self.persons, person, event.attempt).map(|_| Applied::Folded)
            }
            Kind::Resumed(resumed) => self.resume(person, event.attempt, resumed),
            Kind::Ended(ended) => self.end(person, event.attempt, ended),
            Kind::Voided(_) => self.void(person, event.attempt, true),
            Kind::Restored(_) => self.void(person, event.attempt, false),
            Kind::Reopened(reopened) => self.reopen(person, event.attempt, reopened),
        }
    }

    fn resume(
        &mut self,
        person: Option<u32>,
        attempt: u32,
        resumed: &Resumed,
    ) -> std::result::Result<Applied, Reason> {
        let (_, running) = running(&mut self.persons, person, attempt)?;
        running.idle_ms = running.idle_ms.saturating_add(resumed.paused_ms);
        Ok(Applied::Folded)
    }

    fn void(
        &mut self,
        person: Option<u32>,
        attempt: u32,
        voided: bool,
    ) -> std::result::Result<Applied, Reason> {
        let (who, at) = self.ended(person, attempt)?;
        let finished = &self.persons[who as usize].finished[at];
        if finished.voided == voided {
            return Ok(Applied::Repeated);
        }
        let sitting = Sitting::of(finished);
        self.change(who, sitting, |person| {
            person.finished[at].voided = voided;
        });
        Ok(Applied::Folded)
    }

    /// Lets the person's newest attempt go on.
    fn reopen(
        &mut self,
        person: Option<u32>,
        attempt: u32,
        reopened: &Reopened,
    ) -> std::result::Result<Applied, Reason> {
        let (who, at) = self.ended(person, attempt)?;
        let person = &self.persons[who as usize];
        if person.running.is_some() || at + 1 != person.finished.len() {
            return Err(Reason::AttemptNotNext);
        }
        let running = Running::again(&self.package, &person.finished[at], reopened)?;
        let sitting = Sitting::of(&person.finished[at]);
        if person.class != Class::Control {
            self.counts
                .attempt_reopened(running.area, person.finished[at].ended_by);
        }
        self.change(who, sitting, |person| {
            person.finished.pop();
            person.running = Some(Box::new(running));
        });
        Ok(Applied::Folded)
    }

    /// Finds an ended attempt.
    fn ended(
        &self,
        person: Option<u32>,
        attempt: u32,
    ) -> std::result::Result<(u32, usize), Reason> {
        let who = person.ok_or(Reason::AttemptUnknown)?;
        let finished = &self.persons[who as usize].finished;
        let at = finished
            .iter()
            .position(|finished| u32::from(finished.attempt) == attempt);
        at.map(|at| (who, at)).ok_or(Reason::AttemptUnknown)
    }

    fn start(
        &mut self,
        partition: u32,
        id: CandidateId,
        person: Option<u32>,
        event: &Event,
        started: &Started,
    ) -> std::result::Result<Applied, Reason> {
        match person.map(|who| &self.persons[who as usize]) {
            None if partition_of(&id, self.package.n_partitions()) != partition => {
                return Err(Reason::PartitionWrong);
            }
            Some(person)
                if person.running.is_some()
                    || event.attempt <= u32::from(person.last_attempt()) =>
            {
                return Err(Reason::AttemptNotNext);
            }
            _ => {}
        }
        let mut running = Box::new(Running::new(&self.package, event, started, 0)?);
        running.area = self
            .counts
            .intern(&started.area)
            .ok_or(Reason::AreaMalformed)?;
        let area = running.area;
        let who = person.unwrap_or_else(|| self.welcome(id, partition, area));
        let person = &mut self.persons[who as usize];
        if person.class != Class::Control {
            self.counts.attempt_started(area);
        }
        person.running = Some(running);
        Ok(Applied::Folded)
    }

    /// Takes a new person, who belongs to this area.
    fn welcome(&mut self, id: CandidateId, partition: u32, area: u16) -> u32 {
        let who =
            u32::try_from(self.persons.len()).expect("fewer than 2^32 persons exist in memory");
        let class = self.class(&id);
        if class == Class::Control {
            self.n_controls += 1;
        } else {
            self.counts.person_came(area);
        }
        self.idx_by_id.insert(id, who);
        self.persons.push(Person {
            id,
            running: None,
            finished: Vec::new(),
            counted_idx: 0,
            partition: u8::try_from(partition).expect("at most 256 partitions, checked at load"),
            class,
        });
        who
    }

    fn class(&self, id: &CandidateId) -> Class {
        let package = &self.package;
        package
            .standing_rules()
            .class(id, &package.rulings().excluded)
    }

    fn answer(
        &mut self,
        person: Option<u32>,
        attempt: u32,
        answer: &Answered,
    ) -> std::result::Result<Applied, Reason> {
        let (_, running) = running(&mut self.persons, person, attempt)?;
        if !running.answer(&self.package, answer)? {
            return Ok(Applied::Repeated);
        }
        self.n_answers += 1;
        Ok(Applied::Folded)
    }

    fn end(
        &mut self,
        person: Option<u32>,
        attempt: u32,
        ended: &Ended,
    ) -> std::result::Result<Applied, Reason> {
        let (who, running) = running(&mut self.persons, person, attempt)?;
        let finished = running.finish(&self.package, ended)?;
        if self.persons[who as usize].class != Class::Control {
            self.counts.attempt_ended(finished.area, finished.ended_by);
        }
        self.change(who, Sitting::of(&finished), |person| {
            person.running = None;
            person.finished.reserve_exact(1);
            person.finished.push(finished);
        });
        Ok(Applied::Folded)
    }
}

fn running(
    persons: &mut [Person],
    person: Option<u32>,
    attempt: u32,
) -> std::result::Result<(u32, &mut Running), Reason> {
    let who = person.ok_or(Reason::AttemptUnknown)?;
    let person = &mut persons[who as usize];
    match person.running.as_deref_mut() {
        Some(running) if u32::from(running.attempt) == attempt => Ok((who, running)),
        _ if person
            .finished
            .iter()
            .any(|finished| u32::from(finished.attempt) == attempt) =>
        {
            Err(Reason::AttemptEnded)
        }
        _ => Err(Reason::AttemptUnknown),
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;
    use proto::exam::v1::{CountedAttempt, EndedBy, Restored, TakenOver, Voided, response::Value};

    use super::*;
    use crate::{
        fixture::{Log, T0_MS, answered, candidate, ended, parts, started},
        result_file, state_hash,
    };

    /// Compares all standings with a full sort of all counted attempts.
    fn standings_equal_a_full_sort(fold: &Fold, pages: &[(Option<&str>, Vec<Row<'_>>)]) -> bool {
        pages.iter().all(|(area, page)| {
            let mut rows: Vec<_> = fold
                .persons
                .iter()
                .filter_map(|person| Some((person.id, model_counted(fold, person)?)))
                .filter(|(_, counted)| {
                    area.is_none_or(|area| fold.counts.code(counted.area) == area)
                })
                .map(|(id, counted)| (model_tuple(counted), id))
                .collect();
            rows.sort_unstable();
            rows.len() == page.len()
                && rows.iter().zip(page).all(|((tuple, id), row)| {
                    let n_better = rows.iter().filter(|other| other.0 < *tuple).count() as u64;
                    row.candidate == *id
                        && model_tuple(row.counted) == *tuple
                        && row.rank == 1 + n_better
                })
        })
    }

    fn model_tuple(attempt: &Finished) -> (Reverse<i64>, u64) {
        (Reverse(attempt.score.quanta), attempt.net_time_ms())
    }

    fn model_counted<'a>(fold: &Fold, person: &'a Person) -> Option<&'a Finished> {
        let attempts = person.finished.iter().filter(|attempt| !attempt.voided);
        match fold.package.counted() {
            CountedAttempt::First => attempts.min_by_key(|attempt| attempt.attempt),
            CountedAttempt::Last => attempts.max_by_key(|attempt| attempt.attempt),
            CountedAttempt::Best | CountedAttempt::Unspecified => {
                attempts.min_by_key(|attempt| (model_tuple(attempt), attempt.attempt))
            }
        }
    }

    fn pages(fold: &Fold) -> Vec<(Option<&str>, Vec<Row<'_>>)> {
        [None, Some("01"), Some("79"), Some("99"), Some("00")]
            .map(|area| (area, fold.page(area, 0, usize::MAX)))
            .to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn standings_equal_a_full_sort_at_every_position(seed in any::<u64>()) {
            let log = Log::random(seed, 12);
            let mut fold = Fold::new(Arc::clone(&log.package));
            for entry in &log.entries {
                fold.apply_entry(entry).unwrap();
                prop_assert!(standings_equal_a_full_sort(&fold, &pages(&fold)));
            }
            for row in fold.page(None, 0, usize::MAX) {
                let standing = fold.standing(&row.candidate).unwrap();
                prop_assert_eq!(standing.row, row);
                let area = fold.page(Some(row.area), 0, usize::MAX);
                let in_area = area.iter().find(|other| other.candidate == row.candidate).unwrap();
                prop_assert_eq!(standing.area_rank, in_area.rank);
            }
        }

        #[test]
        fn any_interleaving_of_partitions_gives_the_same_state(seed in any::<u64>()) {
            let log = Log::random(seed, 20);
            let straight = log.fold();
            let mut by_partition = log.clone();
            by_partition.entries.sort_by_key(|entry| (Reverse(entry.partition), entry.position));
            let other = by_partition.fold();
            prop_assert_eq!(state_hash(&other), state_hash(&straight));
            prop_assert_eq!(result_file(&other), result_file(&straight));
            prop_assert_eq!(other.progress(), straight.progress());
        }
    }

    #[test]
    fn the_check_of_standings_sees_a_wrong_rank_and_a_wrong_order() {
        let fold = Log::random(3, 30).fold();
        let mut wrong = pages(&fold);
        assert!(wrong[0].1.len() > 3 && standings_equal_a_full_sort(&fold, &wrong));
        wrong[0].1[2].rank += 1;
        assert!(!standings_equal_a_full_sort(&fold, &wrong));
        let mut wrong = pages(&fold);
        wrong[0].1.swap(0, 1);
        assert!(!standings_equal_a_full_sort(&fold, &wrong));
        let mut wrong = pages(&fold);
        wrong[1].1.pop();
        assert!(!standings_equal_a_full_sort(&fold, &wrong));
    }

    #[test]
    fn pages_fit_together_across_ties() {
        let mut log = Log::new(&parts());
        for n in 0..30 {
            let net_ms = 1_000 + u64::from(n / 10);
            log.sit(candidate(n), 1, "79", &[], net_ms, EndedBy::Candidate);
        }
        let fold = log.fold();
        let whole = fold.page(None, 0, usize::MAX);
        let ranks: Vec<u64> = whole.iter().map(|row| row.rank).collect();
        assert_eq!((ranks[0], ranks[9], ranks[10], ranks[29]), (1, 1, 11, 21));
        assert!(fold.page(None, u64::MAX, 5).is_empty());
        for (offset, limit) in [(0, 7), (5, 10), (9, 2), (25, 100), (30, 5)] {
            let end = (offset + limit).min(30);
            assert_eq!(fold.page(None, offset as u64, limit), whole[offset..end]);
        }
    }

    #[test]
    fn an_entry_that_comes_again_changes_nothing() {
        let log = Log::random(5, 20);
        let straight = log.fold();
        let mut fold = Fold::new(Arc::clone(&log.package));
        for (at, entry) in log.entries.iter().enumerate() {
            fold.apply_entry(entry).unwrap();
            for again in [at, at / 2, 0] {
                let applied = fold.apply_entry(&log.entries[again]).unwrap();
                assert_eq!(applied, Applied::Repeated);
            }
        }
        assert_eq!(state_hash(&fold), state_hash(&straight));
        assert_eq!(fold.n_answers(), straight.n_answers());
    }

    #[test]
    fn a_gap_is_an_error_and_changes_nothing() {
        let mut log = Log::new(&parts());
        log.sit(candidate(1), 1, "79", &[(0, 1)], 1_000, EndedBy::Candidate);
        let mut fold = Fold::new(Arc::clone(&log.package));
        fold.apply_entry(&log.entries[0]).unwrap();
        let before = state_hash(&fold);
        let error = fold.apply_entry(&log.entries[2]).unwrap_err();
        assert!(
            matches!(
                error,
                Error::PositionGap {
                    expected: 2,
                    found: 3,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(state_hash(&fold), before);
        fold.apply_entry(&log.entries[1]).unwrap();
        fold.apply_entry(&log.entries[2]).unwrap();
        assert_eq!(fold.n_ranked(None), 1);
        let error = fold.apply(4, 1, &Event::default()).unwrap_err();
        assert!(matches!(
            error,
            Error::PartitionUnknown { partition: 4, .. }
        ));
    }

    #[test]
    fn the_newest_answer_of_a_position_counts_and_a_cleared_one_is_blank() {
        let mut log = Log::new(&parts());
        let who = candidate(1);
        let answers = [(0, 0b0001), (1, 0b0001), (1, 0b0010), (0, 0), (4, 0b00011)];
        log.sit(who, 1, "79", &answers, 1_000, EndedBy::Candidate);
        let fold = log.fold();
        let attempt = fold.attempt(&who, 1).unwrap();
        assert_eq!((attempt.score.quanta, attempt.score.n_correct), (45_000, 2));
        let chosen: Vec<u16> = attempt
            .answers
            .chosen
            .iter()
            .map(|chosen| chosen.options)
            .collect();
        assert_eq!(chosen, [0, 0b0010, 0, 0, 0b00011, 0]);
        assert_eq!(fold.n_answers(), 5);
    }

    #[test]
    fn a_voided_attempt_does_not_count_until_it_is_restored() {
        let mut log = Log::new(&parts());
        let who = candidate(1);
        log.sit(who, 1, "79", &[(0, 1)], 1_000, EndedBy::Candidate);
        log.sit(who, 2, "01", &[], 1_000, EndedBy::Candidate);
        let counted = |log: &Log| Some(log.fold().standing(&who)?.row.counted.attempt);
        assert_eq!(counted(&log), Some(1));
        for (attempt, kind, expected) in [
            (1, Kind::Voided(Voided::default()), Some(2)),
            (2, Kind::Voided(Voided::default()), None),
            (1, Kind::Restored(Restored::default()), Some(1)),
        ] {
            log.push(who, attempt, T0_MS, kind);
            assert_eq!(counted(&log), expected);
        }
        assert_eq!(log.fold().n_quarantined(), 0);
    }

    #[test]
    fn a_reopened_attempt_goes_on_and_its_idle_time_is_not_counted() {
        let mut log = Log::new(&parts());
        let who = candidate(1);
        log.sit(who, 1, "79", &[(0, 1)], 1_000, EndedBy::Deadline);
        log.reopen(who, 1, 5_000);
        assert_eq!((log.fold().n_ranked(None), log.fold().n_working()), (0, 1));
        log.answer(who, 1, 3, 0b00111);
        log.end(who, 1, 6_500, EndedBy::Candidate);
        let fold = log.fold();
        let attempt = fold.attempt(&who, 1).unwrap();
        assert_eq!(
            (attempt.score.quanta, attempt.net_time_ms()),
            (45_000, 1_500)
        );
        assert_eq!((fold.n_working(), fold.n_quarantined()), (0, 0));
        assert_eq!(fold.progress().0.submitted, 1);
    }

    #[track_caller]
    fn counted_of_three(counted: CountedAttempt, expected: u16) {
        let mut parts = parts();
        parts.rules_mut().counted_attempt = counted.into();
        let mut log = Log::new(&parts);
        let who = candidate(1);
        log.sit(who, 1, "79", &[], 1_000, EndedBy::Candidate);
        log.sit(who, 2, "01", &[(0, 1)], 3_000, EndedBy::Candidate);
        log.sit(who, 3, "79", &[(0, 1)], 3_000, EndedBy::Candidate);
        let fold = log.fold();
        let standing = fold.standing(&who).unwrap();
        assert_eq!(standing.row.counted.attempt, expected);
        let area = standing.row.area;
        let other = if area == "01" { "79" } else { "01" };
        assert_eq!(
            (
                fold.n_ranked(None),
                fold.n_ranked(Some(area)),
                fold.n_ranked(Some(other))
            ),
            (1, 1, 0)
        );
    }

    #[test]
    fn one_attempt_of_a_person_counts() {
        counted_of_three(CountedAttempt::First, 1);
        counted_of_three(CountedAttempt::Best, 2);
        counted_of_three(CountedAttempt::Unspecified, 2);
        counted_of_three(CountedAttempt::Last, 3);
    }

    #[test]
    fn counts_follow_attempts_and_persons() {
        let mut log = Log::new(&parts());
        log.sit(candidate(1), 1, "79", &[], 1_000, EndedBy::Candidate);
        log.sit(candidate(1), 2, "01", &[], 1_000, EndedBy::Deadline);
        log.sit(candidate(2), 1, "79", &[], 1_000, EndedBy::Organizer);
        log.start(candidate(3), 1, "79");
        let (total, areas) = log.fold().progress();
        let numbers = |row: &proto::exam::v1::AreaProgress| {
            [
                row.not_started,
                row.working,
                row.submitted,
                row.expired,
                row.persons,
            ]
        };
        assert_eq!(numbers(&total), [12, 1, 1, 2, 3]);
        assert_eq!(
            (areas[0].area.as_str(), numbers(&areas[0])),
            ("01", [5, 0, 0, 1, 0])
        );
        assert_eq!(
            (areas[1].area.as_str(), numbers(&areas[1])),
            ("79", [7, 1, 1, 1, 3])
        );
    }

    #[test]
    fn a_control_candidate_is_scored_and_stands_nowhere() {
        let control = crate::control_candidate("thi-thu", 2);
        let mut log = Log::new(&parts());
        log.sit(candidate(1), 1, "79", &[], 1_000, EndedBy::Candidate);
        let without = log.fold();
        log.sit(control, 1, "01", &[(0, 1)], 1_000, EndedBy::Candidate);
        log.start(control, 2, "22");
        log.end(control, 2, 1_000, EndedBy::Deadline);
        log.reopen(control, 2, 500);
        let fold = log.fold();
        assert_eq!(fold.attempt(&control, 1).unwrap().score.quanta, 15_000);
        assert_eq!(
            fold.live().counted_attempt(&control, None).unwrap().attempt,
            1
        );
        assert_eq!(fold.standing(&control), None);
        assert!(fold.live().places(&control).is_empty());
        assert_eq!(fold.progress(), without.progress());
        assert_eq!(
            (fold.n_persons(), fold.n_working(), fold.n_excluded()),
            (1, 0, 0)
        );
        assert_eq!((fold.n_ranked(None), fold.n_ranked(Some("01"))), (1, 0));
        assert_eq!(fold.n_quarantined(), 0);
        let read = crate::load(&crate::save(&fold), fold.package()).unwrap();
        assert_eq!(read.progress(), without.progress());
        assert_eq!(state_hash(&read), state_hash(&fold));
    }

    /// One attempt with one answer is running; the event that comes then cannot be true.
    #[track_caller]
    fn quarantined(attempt: u32, kind: Kind, reason: Reason) {
        let mut log = Log::new(&parts());
        let who = candidate(1);
        log.start(who, 1, "79");
        log.answer(who, 1, 0, 1);
        let before = log.fold();
        log.push(who, attempt, T0_MS + 5, kind);
        let mut fold = log.fold();
        let kept: Vec<_> = fold.quarantined().collect();
        assert_eq!((fold.n_quarantined(), kept[0].reason), (1, reason));
        assert_eq!(kept[0].position, log.entries[2].position);
        assert_eq!(fold.progress(), before.progress());
        assert_eq!(fold.n_answers(), before.n_answers());
        // the count goes on: the attempt can still end
        let seq = fold.persons[0].running.as_ref().unwrap().last_seq;
        log.push(
            who,
            1,
            T0_MS,
            Kind::Ended(ended(EndedBy::Candidate, seq, T0_MS + 9)),
        );
        fold.apply_entry(log.entries.last().unwrap()).unwrap();
        assert_eq!(fold.attempt(&who, 1).unwrap().score.quanta, 15_000);
    }

    #[test]
    fn answers_that_cannot_be_true_are_quarantined() {
        let answer = |seq, position, value| Kind::Answered(answered(seq, position, value));
        quarantined(2, answer(1, 0, Value::Chosen(1)), Reason::AttemptUnknown);
        quarantined(1, answer(3, 0, Value::Chosen(1)), Reason::SeqGap);
        quarantined(1, answer(0, 0, Value::Chosen(2)), Reason::SeqGap);
        quarantined(
            1,
            answer(2, 6, Value::Chosen(1)),
            Reason::AnswerPositionUnknown,
        );
        quarantined(
            1,
            answer(2, 0, Value::Chosen(0b10000)),
            Reason::AnswerOptionOutOfRange,
        );
        quarantined(
            1,
            answer(2, 0, Value::Chosen(u32::MAX)),
            Reason::AnswerOptionOutOfRange,
        );
        quarantined(
            1,
            answer(2, 0, Value::Text("A".to_owned())),
            Reason::AnswerTypeMismatch,
        );
        quarantined(
            7,
            Kind::TakenOver(TakenOver { epoch: 2 }),
            Reason::AttemptUnknown,
        );
    }

    #[test]
    fn ends_that_cannot_be_true_are_quarantined() {
        let end = |by: EndedBy, last_seq, at_ms| Kind::Ended(ended(by, last_seq, at_ms));
        quarantined(2, end(EndedBy::Candidate, 1, T0_MS), Reason::AttemptUnknown);
        quarantined(1, end(EndedBy::Candidate, 2, T0_MS), Reason::LastSeqWrong);
        quarantined(
            1,
            end(EndedBy::Candidate, 1, T0_MS - 1),
            Reason::TimeOutOfRange,
        );
        quarantined(
            1,
            end(EndedBy::Candidate, 1, T0_MS + (1 << 32)),
            Reason::TimeOutOfRange,
        );
        quarantined(
            1,
            end(EndedBy::Candidate, 1, u64::MAX),
            Reason::TimeOutOfRange,
        );
        quarantined(
            1,
            end(EndedBy::Unspecified, 1, T0_MS),
            Reason::EndedByUnknown,
        );
    }

    /// Somebody else's start cannot be true.
    #[track_caller]
    fn start_refused(change: impl FnOnce(&mut Started), reason: Reason) {
        let mut log = Log::new(&parts());
        let mut start = started("79");
        change(&mut start);
        log.push(candidate(9), 1, T0_MS, Kind::Started(start));
        let fold = log.fold();
        assert_eq!(
            fold.quarantined().next().map(|entry| entry.reason),
            Some(reason)
        );
        assert_eq!((fold.n_persons(), fold.n_working()), (0, 0));
    }

    #[test]
    fn starts_that_cannot_be_true_are_quarantined() {
        quarantined(1, Kind::Started(started("79")), Reason::AttemptNotNext);
        quarantined(2, Kind::Started(started("79")), Reason::AttemptNotNext);
        start_refused(|start| start.round = 2, Reason::RoundUnknown);
        start_refused(
            |start| start.area = "7\t9".to_owned(),
            Reason::AreaMalformed,
        );
        start_refused(|start| start.item_ids[0] = 999, Reason::ItemUnknown);
        start_refused(|start| start.item_ids.truncate(5), Reason::PaperMalformed);
        start_refused(
            |start| start.form_code = vec![1].into(),
            Reason::PaperMalformed,
        );
        start_refused(
            |start| start.item_ids[0] = start.item_ids[1],
            Reason::PaperMalformed,
        );
        start_refused(
            |start| start.option_order = start.option_order.slice(1..),
            Reason::PaperMalformed,
        );
        start_refused(
            |start| {
                let mut order = start.option_order.to_vec();
                order.push(0);
                start.option_order = order.into();
            },
            Reason::PaperMalformed,
        );
    }

    #[test]
    fn events_of_nobody_and_of_the_wrong_place_are_quarantined() {
        let mut log = Log::new(&parts());
        let who = candidate(1);
        let wrong = (partition_of(&who, 4) + 1) % 4;
        log.push_to(wrong, who, 1, T0_MS, Kind::Started(started("79")));
        log.start(who, 1, "79");
        log.push_to(
            wrong,
            who,
            1,
            T0_MS,
            Kind::Ended(ended(EndedBy::Candidate, 0, T0_MS)),
        );
        log.end(who, 1, 1_000, EndedBy::Candidate);
        log.answer(who, 1, 0, 1);
        log.start(who, 0, "79");
        log.start(candidate(2), 0, "79");
        log.start(candidate(3), 65_536, "79");
        let mut fold = log.fold();
        let short = Event {
            candidate: vec![1; 15].into(),
            ..log.entries[1].event.clone().unwrap()
        };
        for (position, event) in (log.positions[0] + 1..).zip([None, Some(short)]) {
            let entry = LogEntry {
                partition: 0,
                position,
                event,
            };
            assert!(matches!(
                fold.apply_entry(&entry),
                Ok(Applied::Quarantined(_))
            ));
        }
        let mut reasons: Vec<_> = fold.quarantined().map(|entry| entry.reason as u8).collect();
        reasons.sort_unstable();
        let mut expected = [
            Reason::PartitionWrong,
            Reason::PartitionWrong,
            Reason::AttemptEnded,
            Reason::AttemptNotNext,
            Reason::AttemptOutOfRange,
            Reason::AttemptOutOfRange,
            Reason::EventUnknown,
            Reason::CandidateMalformed,
        ]
        .map(|reason| reason as u8);
        expected.sort_unstable();
        assert_eq!(reasons, expected);
        assert_eq!(fold.n_ranked(None), 1);
    }

    #[test]
    fn an_answer_number_that_comes_again_keeps_the_first() {
        let mut log = Log::new(&parts());
        let who = candidate(1);
        log.start(who, 1, "79");
        log.answer(who, 1, 0, 1);
        let again = answered(1, 0, Value::Chosen(1));
        log.push(who, 1, T0_MS, Kind::Answered(again));
        log.end(who, 1, 1_000, EndedBy::Candidate);
        let fold = log.fold();
        assert_eq!((fold.n_answers(), fold.n_quarantined()), (1, 0));
        assert_eq!(fold.attempt(&who, 1).unwrap().score.quanta, 15_000);
    }
}
