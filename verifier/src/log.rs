//! Reads the log once, entry by entry, and checks what the log alone can show.
//!
//! Invariant: an answer is kept only if its attempt had started and had not ended.
//! Start at [`LogFold::apply`]. What needs the paper is checked in `attempt.rs`.
//! Source: `docs/FORMATS.md`, sections 5 and 7, and the comments of `exam.proto` and `log.proto`.

use std::collections::{HashMap, HashSet};

use proto::exam::v1::{
    Answered, Ended, EndedBy, Event, ExamRules, LogEntry, Reopened, Started, TakenOver, event::Kind,
};

use crate::{
    DifferenceKind, Error,
    archive::{Attempt, AttemptId, StoredAnswer},
    control::Controls,
    course::{Course, Timetable},
    difference::Differences,
};

/// How much the log holds, control candidates left out of all but the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogTotals {
    pub(crate) n_events: u64,
    pub(crate) n_attempts: u64,
    pub(crate) n_answers: u64,
    pub(crate) n_persons: u64,
}

/// The log folded so far.
pub(crate) struct LogFold<'a> {
    rules: &'a ExamRules,
    table: Timetable<'a>,
    n_partitions: u32,
    /// The partition of the entry before.
    partition: u32,
    controls: &'a Controls,
    /// Position before, by partition.
    pub(crate) positions: HashMap<u32, u64>,
    persons: HashMap<[u8; 16], Person>,
    pub(crate) attempts: HashMap<AttemptId, Attempt>,
    pub(crate) totals: LogTotals,
    pub(crate) differences: Differences,
}

/// What is known of one candidate.
#[derive(Default)]
struct Person {
    last_attempt: u32,
    n_attempts: u32,
    n_running: u32,
    /// Attempts by round.
    n_in_round: HashMap<u32, u32>,
    /// Attempts given back, in all and by round.
    retakes: HashMap<Option<u32>, u32>,
    /// Ids of organizers' actions, which are applied once.
    actions: HashSet<String>,
}

/// Where an event stands, for the reader of a difference.
#[derive(Clone, Copy)]
struct Place {
    partition: u32,
    position: u64,
    id: AttemptId,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            partition,
            position,
            id,
        } = self;
        write!(f, "partition {partition} position {position}, {id}")
    }
}

impl<'a> LogFold<'a> {
    pub(crate) fn new(
        rules: &'a ExamRules,
        table: Timetable<'a>,
        n_partitions: u32,
        controls: &'a Controls,
    ) -> Result<Self, Error> {
        if n_partitions == 0 {
            return Err(Error::invalid("number of partitions", n_partitions));
        }
        Ok(Self {
            rules,
            table,
            n_partitions,
            controls,
            partition: 0,
            positions: HashMap::new(),
            persons: HashMap::new(),
            attempts: HashMap::new(),
            totals: LogTotals::default(),
            differences: Differences::default(),
        })
    }

    /// Takes the next entry.
    pub(crate) fn apply(&mut self, entry: LogEntry) {
        self.totals.n_events += 1;
        self.check_position(&entry);
        let at = format_args!("partition {} position {}", entry.partition, entry.position);
        let kind = DifferenceKind::MalformedEvent;
        let Some(event) = entry.event else {
            return self.differences.push(kind, at, "an event", "none");
        };
        let Ok(candidate) = <[u8; 16]>::try_from(event.candidate.as_ref()) else {
            let found = hex::encode(&event.candidate);
            return self.differences.push(kind, at, "16 bytes", found);
        };
        let place = Place {
            partition: entry.partition,
            position: entry.position,
            id: AttemptId {
                candidate,
                attempt: event.attempt,
            },
        };
        let expected = partition_of(&candidate, self.n_partitions);
        self.differences.compare(
            DifferenceKind::WrongPartition,
            place,
            expected,
            entry.partition,
        );
        self.apply_event(place, event);
    }

    /// Checks what can be checked only at the end.
    pub(crate) fn finish(&mut self) {
        let is_person = |candidate: &[u8; 16]| self.controls.number(candidate).is_none();
        let attempts = self.attempts.keys().filter(|id| is_person(&id.candidate));
        self.totals.n_attempts = as_u64(attempts.count());
        self.totals.n_persons = as_u64(self.persons.keys().filter(|id| is_person(id)).count());
        let running = self.attempts.iter().filter(|(_, a)| a.ended.is_none());
        let mut ids: Vec<AttemptId> = running.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in ids {
            self.differences
                .push(DifferenceKind::NotEnded, id, "an end", "none");
        }
        for attempt in self.attempts.values_mut() {
            attempt.answers.shrink_to_fit();
        }
    }

    fn check_position(&mut self, entry: &LogEntry) {
        let at = format_args!("log.bin entry {}", self.totals.n_events);
        if entry.partition < self.partition {
            let expected = format!("partition {} or later", self.partition);
            self.differences
                .push(DifferenceKind::LogOrder, at, expected, entry.partition);
        }
        self.partition = entry.partition;
        let before = self.positions.insert(entry.partition, entry.position);
        let expected = before.unwrap_or(0).saturating_add(1);
        let kind = DifferenceKind::PositionGap;
        self.differences.compare(kind, at, expected, entry.position);
    }

    fn apply_event(&mut self, place: Place, event: Event) {
        let at_ms = event.at_ms;
        self.check_action(place, event.kind.as_ref());
        match event.kind {
            None => {
                let kind = DifferenceKind::MalformedEvent;
                self.differences.push(kind, place, "a known kind", "none");
            }
            Some(Kind::Started(started)) => self.start(place, event.epoch, at_ms, started),
            Some(Kind::Answered(answered)) => self.answer(place, event.epoch, at_ms, answered),
            Some(Kind::TakenOver(taken_over)) => self.take_over(place, &taken_over),
            Some(Kind::Ended(ended)) => self.end(place, at_ms, ended),
            Some(Kind::Voided(voided)) => self.void(place, true, voided.may_retake),
            Some(Kind::Restored(_)) => self.void(place, false, false),
            Some(Kind::Reopened(reopened)) => self.reopen(place, at_ms, &reopened),
            Some(kind) => {
                if let Some(attempt) = running(&mut self.attempts, &mut self.differences, place) {
                    let differences = &mut self.differences;
                    attempt
                        .course
                        .apply(&self.table, place, at_ms, &kind, differences);
                }
            }
        }
    }

    /// An action's id is applied to a person once. (What voids a running attempt ends it first, under the same id.)
    fn check_action(&mut self, place: Place, kind: Option<&Kind>) {
        let cause = match kind {
            Some(Kind::Extended(event)) => event.cause.as_ref(),
            Some(Kind::Paused(event)) => event.cause.as_ref(),
            Some(Kind::Resumed(event)) => event.cause.as_ref(),
            Some(Kind::Voided(event)) => event.cause.as_ref(),
            Some(Kind::Restored(event)) => event.cause.as_ref(),
            Some(Kind::Reopened(event)) => event.cause.as_ref(),
            _ => None,
        };
        let Some(cause) = cause else { return };
        let person = self.persons.entry(place.id.candidate).or_default();
        if !person.actions.insert(cause.action_id.clone()) {
            let kind = DifferenceKind::Course;
            let id = &cause.action_id;
            self.differences.push(kind, place, "each action once", id);
        }
    }

    /// An ended attempt does not count any more, or counts again.
    fn void(&mut self, place: Place, voided: bool, may_retake: bool) {
        let attempt = self.attempts.get_mut(&place.id);
        let Some(attempt) =
            attempt.filter(|attempt| attempt.ended.is_some() && attempt.course.voided != voided)
        else {
            let expected = "an ended attempt that is not so yet";
            return self.differences.push(
                DifferenceKind::OutsideAttempt,
                place,
                expected,
                "another",
            );
        };
        attempt.course.voided = voided;
        let round = attempt.started.round;
        let person = self.persons.entry(place.id.candidate).or_default();
        let given = std::mem::replace(&mut attempt.may_retake, may_retake);
        for scope in [None, Some(round)] {
            let retakes = person.retakes.entry(scope).or_default();
            *retakes = retakes
                .saturating_add(u32::from(may_retake))
                .saturating_sub(u32::from(given));
        }
    }

    /// The newest attempt goes on, if it has ended and counts.
    fn reopen(&mut self, place: Place, at_ms: u64, reopened: &Reopened) {
        let person = self.persons.entry(place.id.candidate).or_default();
        let attempt = self.attempts.get_mut(&place.id);
        let attempt = attempt
            .filter(|attempt| !attempt.course.voided && person.last_attempt == place.id.attempt);
        let Some((attempt, ended)) =
            attempt.and_then(|attempt| attempt.ended.take().map(|ended| (attempt, ended)))
        else {
            let expected = "an ended newest attempt that counts";
            return self.differences.push(
                DifferenceKind::OutsideAttempt,
                place,
                expected,
                "another",
            );
        };
        person.n_running += 1;
        let differences = &mut self.differences;
        differences.compare(
            DifferenceKind::LastSeq,
            place,
            ended.last_seq,
            reopened.last_seq,
        );
        let order = &attempt.started.option_order;
        differences.compare_bytes(
            DifferenceKind::PaperOptions,
            place,
            order,
            &reopened.option_order,
        );
        attempt.course.reopen(
            &self.table,
            place,
            ended.ended_at_ms,
            at_ms,
            reopened,
            differences,
        );
    }

    fn start(&mut self, place: Place, epoch: u32, at_ms: u64, started: Started) {
        let differences = &mut self.differences;
        let person = self.persons.entry(place.id.candidate).or_default();
        let number = person.last_attempt.saturating_add(1);
        differences.compare(
            DifferenceKind::AttemptNumber,
            place,
            number,
            place.id.attempt,
        );
        if self.attempts.contains_key(&place.id) {
            return; // a second start of one attempt: reported by its number
        }
        if person.n_running > 0 {
            let kind = DifferenceKind::AttemptOverlap;
            differences.push(kind, place, "none running", person.n_running);
        }
        person.last_attempt = place.id.attempt;
        person.n_attempts += 1;
        person.n_running += 1;
        let n_in_round = person.n_in_round.entry(started.round).or_default();
        *n_in_round += 1;
        let retakes = |scope| person.retakes.get(&scope).copied().unwrap_or(0);
        check_limit(
            differences,
            place,
            "in the round",
            self.rules.attempts_per_round,
            n_in_round.saturating_sub(retakes(Some(started.round))),
        );
        check_limit(
            differences,
            place,
            "in all",
            self.rules.attempts_in_all,
            person.n_attempts.saturating_sub(retakes(None)),
        );
        check_window(differences, place, self.rules, started.round, at_ms);
        let (course, earliest) = Course::start(&self.table, &started, at_ms);
        if started.deadline_ms < earliest {
            let expected = format!("{earliest} or later");
            differences.push(
                DifferenceKind::Deadline,
                place,
                expected,
                started.deadline_ms,
            );
        }
        let attempt = Attempt {
            started,
            started_at_ms: at_ms,
            course,
            may_retake: false,
            epoch,
            answers: Vec::new(),
            ends: Vec::new(),
            ended: None,
        };
        self.attempts.insert(place.id, attempt);
    }

    fn answer(&mut self, place: Place, epoch: u32, at_ms: u64, answered: Answered) {
        let is_person = self.controls.number(&place.id.candidate).is_none();
        self.totals.n_answers += u64::from(is_person);
        let Some(attempt) = running(&mut self.attempts, &mut self.differences, place) else {
            return;
        };
        let last_seq = attempt.answers.last().map_or(0, |answer| answer.seq);
        let seq = last_seq.saturating_add(1);
        self.differences
            .compare(DifferenceKind::SeqGap, place, seq, answered.seq);
        self.differences
            .compare(DifferenceKind::Epoch, place, attempt.epoch, epoch);
        let differences = &mut self.differences;
        attempt
            .course
            .answer(&self.table, place, at_ms, &answered, differences);
        attempt.answers.push(StoredAnswer {
            seq: answered.seq,
            position: answered.position,
            response: answered.response.unwrap_or_default(),
        });
    }

    fn take_over(&mut self, place: Place, taken_over: &TakenOver) {
        let Some(attempt) = running(&mut self.attempts, &mut self.differences, place) else {
            return;
        };
        if taken_over.epoch <= attempt.epoch {
            let expected = format!("more than {}", attempt.epoch);
            self.differences
                .push(DifferenceKind::Epoch, place, expected, taken_over.epoch);
        }
        attempt.epoch = taken_over.epoch;
    }

    fn end(&mut self, place: Place, at_ms: u64, ended: Ended) {
        let differences = &mut self.differences;
        let Some(attempt) = running(&mut self.attempts, differences, place) else {
            return;
        };
        if ended.by() == EndedBy::Unspecified {
            differences.push(
                DifferenceKind::MalformedEvent,
                place,
                "who ended it",
                ended.by,
            );
        }
        let (n_answers, last_seq) = (as_u64(attempt.answers.len()), u64::from(ended.last_seq));
        differences.compare(DifferenceKind::LastSeq, place, n_answers, last_seq);
        check_end_time(differences, place, attempt, at_ms, &ended, self.rules);
        attempt.ends.push(ended.clone());
        attempt.ended = Some(ended);
        if let Some(person) = self.persons.get_mut(&place.id.candidate) {
            person.n_running -= 1; // counted when this attempt started
        }
    }
}

/// Returns the attempt if it has started and has not ended, else notes the event as outside.
fn running<'m>(
    attempts: &'m mut HashMap<AttemptId, Attempt>,
    differences: &mut Differences,
    place: Place,
) -> Option<&'m mut Attempt> {
    let attempt = attempts.get_mut(&place.id);
    let is_unknown = attempt.is_none();
    let running = attempt.filter(|attempt| attempt.ended.is_none());
    if running.is_none() {
        let found = if is_unknown { "not started" } else { "ended" };
        differences.push(
            DifferenceKind::OutsideAttempt,
            place,
            "a running attempt",
            found,
        );
    }
    running
}

fn check_limit(differences: &mut Differences, place: Place, scope: &str, limit: u32, n: u32) {
    if limit != 0 && n > limit {
        let expected = format!("at most {limit} {scope}");
        differences.push(DifferenceKind::AttemptLimit, place, expected, n);
    }
}

fn check_window(
    differences: &mut Differences,
    place: Place,
    rules: &ExamRules,
    round: u32,
    at_ms: u64,
) {
    let kind = DifferenceKind::RoundWindow;
    let Some(window) = rules.rounds.iter().find(|known| known.round == round) else {
        return differences.push(kind, place, "a round of the exam", round);
    };
    let (opens, closes) = (window.opens_at_ms, window.closes_at_ms);
    if !(opens..closes).contains(&at_ms) {
        differences.push(
            kind,
            place,
            format!("from {opens} to before {closes}"),
            at_ms,
        );
    }
}

/// A deadline ends an attempt at the deadline, once nothing is awaited any more; everybody else when they say so, but behind
/// the grace at its end, and a paused attempt when its clock was stopped.
fn check_end_time(
    differences: &mut Differences,
    place: Place,
    attempt: &mut Attempt,
    at_ms: u64,
    ended: &Ended,
    rules: &ExamRules,
) {
    let by = ended.by();
    let expected = attempt.course.end(rules, by, at_ms);
    let kind = DifferenceKind::EndTime;
    differences.compare(kind, place, expected, ended.ended_at_ms);
    if ended.ended_at_ms < attempt.started_at_ms {
        differences.push(kind, place, "behind the start", ended.ended_at_ms);
    }
    if by == EndedBy::Deadline && !attempt.course.is_over(rules, at_ms) {
        differences.push(kind, place, "behind deadline, grace and late sync", at_ms);
    }
}

/// Returns the partition that holds a candidate's events.
pub(crate) fn partition_of(candidate: &[u8; 16], n_partitions: u32) -> u32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"khoa-bang partition v1");
    hasher.update(candidate);
    let hash = hasher.finalize();
    let [a, b, c, d] = *hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    u32::from_le_bytes([a, b, c, d]) % n_partitions
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).expect("a usize has at most 64 bits")
}

#[cfg(test)]
mod tests {
    use DifferenceKind as D;
    use proto::exam::v1::Lateness;

    use super::*;
    use crate::test_exam::{TestExam, check, chosen, person};

    /// Inserts a copy of an event right behind it and changes the copy.
    fn repeat(exam: &mut TestExam, index: usize, change: impl FnOnce(&mut Event)) {
        let copy = exam.log[index].clone();
        exam.log.insert(index + 1, copy);
        change(exam.event(index + 1));
        exam.renumber();
    }

    fn is_takeover_of(epoch: u32) -> Option<Kind> {
        Some(Kind::TakenOver(TakenOver { epoch }))
    }

    #[test]
    fn partitions_spread_as_the_page_says() {
        // Computed with Python's blake3 from the page alone.
        assert_eq!(partition_of(&[0; 16], 256), 242);
        assert_eq!(partition_of(&[0xff; 16], 256), 243);
        assert_eq!(partition_of(&[0xff; 16], 1), 0);
    }

    #[test]
    fn a_dropped_answer_is_found() {
        let drop_answer = |exam: &mut TestExam| {
            let fourth = exam.events_of(6, 1)[4];
            exam.log.remove(fourth);
        };
        let kinds = [D::PositionGap, D::SeqGap, D::LastSeq, D::Chain];
        let found = |renumber: bool| {
            let mut exam = TestExam::new();
            drop_answer(&mut exam);
            if renumber {
                exam.renumber();
            }
            exam.kinds()
        };
        assert!(kinds.iter().all(|kind| found(false).contains(kind)));
        assert!(kinds[1..].iter().all(|kind| found(true).contains(kind)));
        assert!(!found(true).contains(&D::PositionGap));
    }

    #[test]
    fn a_dropped_end_leaves_the_attempt_running() {
        check(
            |exam| {
                let end = *exam.events_of(7, 1).last().unwrap();
                exam.log.remove(end);
                exam.renumber();
            },
            &[
                D::NotEnded,
                D::ResultHeader,
                D::RowExtra,
                D::Rank,
                D::AreaRank,
            ],
        );
    }

    #[test]
    fn a_position_used_twice_is_found() {
        check(|exam| exam.log[5].position -= 1, &[D::PositionGap]);
    }

    #[test]
    fn partitions_out_of_order_are_found() {
        check(
            |exam| {
                let partition = exam.log[0].partition;
                let n = exam
                    .log
                    .iter()
                    .filter(|entry| entry.partition == partition)
                    .count();
                exam.log.rotate_left(n);
            },
            &[D::LogOrder],
        );
    }

    #[test]
    fn a_candidate_in_a_foreign_partition_is_found() {
        check(
            |exam| {
                let all = exam.events_of(7, 1);
                let own = exam.log[all[0]].partition;
                for index in all {
                    exam.log[index].partition = if own == 0 { 1 } else { own - 1 };
                }
                exam.log.sort_by_key(|entry| entry.partition); // stable: order within stays
                exam.renumber();
            },
            &[D::WrongPartition],
        );
    }

    #[test]
    fn events_without_candidate_or_kind_are_found() {
        let first_answer = |exam: &TestExam| exam.events_of(7, 1)[1];
        for tamper in [
            |event: &mut Event| event.kind = None,
            |event: &mut Event| event.candidate = vec![8; 15].into(),
        ] {
            let mut exam = TestExam::new();
            let index = first_answer(&exam);
            repeat(&mut exam, index, tamper);
            assert_eq!(exam.kinds(), [D::MalformedEvent]);
        }
        let mut exam = TestExam::new();
        let index = exam.events_of(7, 1)[1];
        repeat(&mut exam, index, |_| {});
        exam.log[index + 1].event = None;
        assert_eq!(exam.kinds(), [D::MalformedEvent]);
    }

    #[test]
    fn an_attempt_ended_by_nobody_is_found() {
        check(|exam| exam.ended(7, 1).by = 0, &[D::MalformedEvent, D::Row]);
    }

    #[test]
    fn attempt_numbers_rise_by_one() {
        let mut exam = TestExam::new();
        for index in exam.events_of(9, 2) {
            exam.event(index).attempt = 3;
        }
        assert!(exam.kinds().contains(&D::AttemptNumber));
    }

    #[test]
    fn a_second_start_of_an_attempt_is_found() {
        check(
            |exam| {
                let start = exam.events_of(7, 1)[0];
                repeat(exam, start, |_| {});
            },
            &[D::AttemptNumber],
        );
    }

    #[test]
    fn two_running_attempts_are_found() {
        check(
            |exam| {
                let start = exam.events_of(9, 2)[0];
                let end = *exam.events_of(9, 1).last().unwrap();
                let start = exam.log.remove(start);
                exam.log.insert(end, start);
                exam.renumber();
            },
            &[D::AttemptOverlap],
        );
    }

    #[test]
    fn attempts_over_the_limits_are_found() {
        check(|exam| exam.rules().attempts_in_all = 1, &[D::AttemptLimit]);
        check(|exam| exam.rules().attempts_in_all = 0, &[]);
        let in_one_round = |exam: &mut TestExam, limit| {
            let rules = exam.rules();
            rules.attempts_per_round = limit;
            rules.rounds[1].opens_at_ms = 9_000_000;
            rules.rounds[1].closes_at_ms = 9_000_000;
            rules.rounds[0].closes_at_ms = 3_000_000;
            for n in [0, 3, 6, 9] {
                exam.started(n, 2).round = 1;
            }
            exam.write_result();
        };
        check(|exam| in_one_round(exam, 1), &[D::AttemptLimit]);
        check(|exam| in_one_round(exam, 2), &[]);
        check(|exam| in_one_round(exam, 0), &[]);
    }

    #[test]
    fn a_start_outside_its_round_is_found() {
        let kinds = [D::RoundWindow];
        check(|exam| exam.started(9, 2).round = 3, &kinds);
        check(
            |exam| exam.rules().rounds[0].opens_at_ms = 1_000_001,
            &kinds,
        );
        check(|exam| exam.rules().rounds[0].closes_at_ms = 1_011_001, &[]);
        check(
            |exam| exam.rules().rounds[0].closes_at_ms = 1_011_000,
            &kinds,
        );
    }

    #[test]
    fn a_deadline_may_come_later_but_not_earlier() {
        check(|exam| exam.started(7, 1).deadline_ms -= 1, &[D::Deadline]);
        check(|exam| exam.started(7, 1).deadline_ms += 1, &[]);
    }

    #[test]
    fn an_answer_after_deadline_and_grace_is_found() {
        let answer_at = |exam: &mut TestExam, after_deadline_ms| {
            let deadline_ms = exam.started(7, 1).deadline_ms;
            let last = exam.events_of(7, 1)[8];
            exam.event(last).at_ms = deadline_ms + after_deadline_ms;
        };
        let flag = |exam: &mut TestExam, late: Lateness, made_ms| {
            let deadline_ms = exam.started(7, 1).deadline_ms;
            let answer = exam.answered(7, 1, 8);
            answer.lateness = late.into();
            answer.made_at_ms = deadline_ms + made_ms;
        };
        check(|exam| answer_at(exam, 5_000), &[D::Lateness]);
        check(
            |exam| {
                answer_at(exam, 5_000);
                flag(exam, Lateness::Grace, 0);
            },
            &[],
        );
        check(|exam| flag(exam, Lateness::Grace, 0), &[D::Lateness]);
        check(|exam| answer_at(exam, 5_001), &[D::LateAnswer]);
        for (made_ms, kinds) in [(0, &[][..]), (1, &[D::LateAnswer])] {
            check(
                |exam| {
                    exam.rules().late_sync_ms = 60_000;
                    answer_at(exam, 60_000);
                    flag(exam, Lateness::LateSync, made_ms);
                },
                kinds,
            );
        }
    }

    #[test]
    fn an_answer_outside_its_attempt_is_found() {
        check(
            |exam| {
                let all = exam.events_of(7, 1);
                repeat(exam, *all.last().unwrap(), |event| {
                    event.kind = Some(Kind::Answered(Answered {
                        seq: 9,
                        position: 0,
                        response: Some(chosen(1)),
                        ..Answered::default()
                    }));
                });
            },
            &[D::OutsideAttempt],
        );
        check(
            |exam| {
                let first = exam.events_of(7, 1)[1];
                repeat(exam, first, |event| event.attempt = 2);
            },
            &[D::OutsideAttempt],
        );
    }

    #[test]
    fn a_second_end_is_found() {
        check(
            |exam| {
                let end = *exam.events_of(7, 1).last().unwrap();
                repeat(exam, end, |_| {});
            },
            &[D::OutsideAttempt],
        );
    }

    #[test]
    fn a_takeover_fences_the_older_device() {
        let taken_over = |exam: &mut TestExam, new_epoch, writes_as| {
            let all = exam.events_of(7, 1);
            for &index in &all[3..] {
                exam.event(index).epoch = writes_as;
            }
            repeat(exam, all[2], |event| event.kind = is_takeover_of(new_epoch));
        };
        check(|exam| taken_over(exam, 2, 2), &[]);
        check(|exam| taken_over(exam, 2, 1), &[D::Epoch]);
        check(|exam| taken_over(exam, 1, 1), &[D::Epoch]);
        check(
            |exam| {
                let end = *exam.events_of(7, 1).last().unwrap();
                repeat(exam, end, |event| event.kind = is_takeover_of(2));
            },
            &[D::OutsideAttempt],
        );
    }

    #[test]
    fn an_end_that_counts_other_answers_is_found() {
        check(|exam| exam.ended(7, 1).last_seq += 1, &[D::LastSeq]);
    }

    #[test]
    fn an_end_lies_between_start_and_deadline_and_grace() {
        let kinds = [D::EndTime, D::Row];
        // Person 5 was tied with two others, of another area.
        let untied = [D::EndTime, D::RowOrder, D::Rank, D::Row];
        check(|exam| exam.ended(5, 1).ended_at_ms -= 1, &untied);
        check(|exam| exam.ended(7, 1).ended_at_ms = 1_006_999, &kinds);
        check(
            |exam| exam.ended(7, 1).ended_at_ms = 1_007_000 + 605_001,
            &kinds,
        );
        check(
            |exam| {
                let last = *exam.events_of(7, 1).last().unwrap();
                exam.event(last).at_ms = 1_007_000 + 700_000; // a submission that came late
                exam.ended(7, 1).ended_at_ms = 1_007_000 + 605_000;
            },
            &[D::Row],
        );
        check(
            |exam| {
                let last = *exam.events_of(5, 1).last().unwrap();
                exam.event(last).at_ms -= 65_000; // the deadline before its time
            },
            &[D::EndTime],
        );
    }

    #[test]
    fn no_partitions_are_refused() {
        let mut exam = TestExam::new();
        exam.exam.spec.as_mut().unwrap().n_partitions = 0;
        assert!(matches!(exam.verify(), Err(Error::Invalid { .. })));
    }

    #[test]
    fn a_candidate_has_one_partition() {
        for n in 0..12 {
            let own = partition_of(&person(n), 4);
            let exam = TestExam::new();
            let all = exam.events_of(n, 1);
            assert!(all.iter().all(|&index| exam.log[index].partition == own));
        }
    }
}
