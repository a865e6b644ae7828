//! The course of one attempt in time: deadlines, sections, pauses, and what organizers did.
//!
//! Each event must follow from the state before it and from the rules. Start at [`Course::apply`].
//! Source: `docs/FORMATS.md`, section 8, and the comments of `exam.proto` and `log.proto`.

use std::collections::HashMap;

use proto::{
    bank::v1::Blueprint,
    exam::v1::{
        Answered, EndedBy, ExamRules, Lateness, Navigation, Reopened, Resumed, SectionEntered,
        Started, event::Kind,
    },
};

use crate::{DifferenceKind, difference::Differences};

/// What the rules say of time.
pub(crate) struct Timetable<'a> {
    rules: &'a ExamRules,
    /// First position behind each section.
    ends: Vec<u32>,
}

/// Where an attempt stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    started_at_ms: u64,
    pub(crate) deadline_ms: u64,
    paused_at_ms: Option<u64>,
    /// Time in which the clock stood or the attempt was ended.
    pub(crate) idle_ms: u64,
    section: u32,
    section_began_ms: u64,
    /// 0 for none.
    section_deadline_ms: u64,
    /// Begin and end of the sections that time has closed.
    closed: HashMap<u32, (u64, u64)>,
    furthest: u32,
    percent: u64,
    minutes: u64,
    pub(crate) voided: bool,
}

impl<'a> Timetable<'a> {
    pub(crate) fn new(blueprint: &Blueprint, rules: &'a ExamRules) -> Self {
        let mut end = 0;
        let ends = blueprint.sections.iter().map(|section| {
            end += section
                .strata
                .iter()
                .map(|stratum| stratum.quota)
                .sum::<u32>();
            end
        });
        Self {
            ends: ends.collect(),
            rules,
        }
    }

    fn is_timed(&self) -> bool {
        !self.rules.section_times.is_empty()
    }

    fn section_of(&self, position: u32) -> u32 {
        let before = self.ends.iter().filter(|end| **end <= position).count();
        u32::try_from(before).expect("fewer sections than items")
    }

    fn time_ms(&self, section: u32) -> u64 {
        let times = &self.rules.section_times;
        times
            .iter()
            .find(|time| time.section == section)
            .map_or(0, |time| time.time_ms)
    }
}

impl Course {
    /// Begins an attempt and checks its deadline.
    pub(crate) fn start(table: &Timetable<'_>, started: &Started, at_ms: u64) -> (Self, u64) {
        let mut course = Self {
            started_at_ms: at_ms,
            deadline_ms: started.deadline_ms,
            percent: if started.time_percent == 0 {
                100
            } else {
                u64::from(started.time_percent)
            },
            minutes: u64::from(started.extra_minutes),
            ..Self::default()
        };
        let duration_ms = table.rules.duration_ms;
        let all_timed = !table.ends.is_empty()
            && (0..)
                .zip(&table.ends)
                .all(|(section, _)| table.time_ms(section) > 0);
        let earliest = if all_timed {
            (0..)
                .zip(&table.ends)
                .map(|(section, _)| course.stretch(table, table.time_ms(section)))
                .sum()
        } else {
            course.allotted_ms(duration_ms)
        };
        course.section_began_ms = at_ms;
        course.section_deadline_ms = course.section_end(table, 0, at_ms);
        (course, at_ms.saturating_add(earliest))
    }

    fn allotted_ms(&self, duration_ms: u64) -> u64 {
        duration_ms.saturating_mul(self.percent) / 100 + self.minutes * 60_000
    }

    fn stretch(&self, table: &Timetable<'_>, part_ms: u64) -> u64 {
        let duration_ms = table.rules.duration_ms;
        part_ms.saturating_mul(self.allotted_ms(duration_ms)) / duration_ms.max(1)
    }

    fn section_end(&self, table: &Timetable<'_>, section: u32, from_ms: u64) -> u64 {
        match self.stretch(table, table.time_ms(section)) {
            0 => 0,
            time_ms => from_ms.saturating_add(time_ms),
        }
    }

    /// Takes an event of the running attempt that is neither an answer nor an end.
    pub(crate) fn apply(
        &mut self,
        table: &Timetable<'_>,
        place: impl std::fmt::Display,
        at_ms: u64,
        kind: &Kind,
        differences: &mut Differences,
    ) {
        let mut compare = |what: &str, expected: u64, found: u64| {
            differences.compare(
                DifferenceKind::Course,
                format_args!("{place}, {what}"),
                expected,
                found,
            );
        };
        match kind {
            Kind::Extended(extended) => {
                self.shift(extended.by_ms);
                compare("deadline", self.deadline_ms, extended.deadline_ms);
                compare(
                    "section deadline",
                    self.section_deadline_ms,
                    extended.section_deadline_ms,
                );
            }
            Kind::Paused(_) => {
                compare("pauses", 0, u64::from(self.paused_at_ms.is_some()));
                self.paused_at_ms = Some(at_ms);
            }
            Kind::Resumed(resumed) => self.resume(at_ms, resumed, &mut compare),
            Kind::SectionEntered(entered) => self.enter(table, at_ms, entered, &mut compare),
            _ => {}
        }
    }

    fn shift(&mut self, by_ms: u64) {
        self.deadline_ms = self.deadline_ms.saturating_add(by_ms);
        if self.section_deadline_ms > 0 {
            self.section_deadline_ms = self.section_deadline_ms.saturating_add(by_ms);
        }
    }

    fn resume(&mut self, at_ms: u64, resumed: &Resumed, compare: &mut impl FnMut(&str, u64, u64)) {
        compare("pauses", 1, u64::from(self.paused_at_ms.is_some()));
        let paused_ms = at_ms.saturating_sub(self.paused_at_ms.take().unwrap_or(at_ms));
        compare("pause", paused_ms, resumed.paused_ms);
        self.idle_ms = self.idle_ms.saturating_add(paused_ms);
        self.shift(paused_ms);
        compare("deadline", self.deadline_ms, resumed.deadline_ms);
        compare(
            "section deadline",
            self.section_deadline_ms,
            resumed.section_deadline_ms,
        );
    }

    /// A section begins when its candidate wants it, or when the time of the one before is over.
    fn enter(
        &mut self,
        table: &Timetable<'_>,
        at_ms: u64,
        entered: &SectionEntered,
        compare: &mut impl FnMut(&str, u64, u64),
    ) {
        compare(
            "section",
            u64::from(self.section) + 1,
            u64::from(entered.section),
        );
        let over_ms = self.section_deadline_ms;
        let began_ms = if over_ms > 0 && over_ms < at_ms {
            over_ms
        } else {
            at_ms
        };
        compare("begin", began_ms, entered.entered_at_ms);
        if began_ms == over_ms {
            let window = (self.section_began_ms, over_ms);
            self.closed.insert(self.section, window);
        }
        self.section = entered.section;
        self.section_began_ms = began_ms;
        self.section_deadline_ms = self.section_end(table, entered.section, began_ms);
        compare(
            "section deadline",
            self.section_deadline_ms,
            entered.deadline_ms,
        );
    }

    /// Lets an ended attempt go on.
    pub(crate) fn reopen(
        &mut self,
        table: &Timetable<'_>,
        place: impl std::fmt::Display,
        ended_at_ms: u64,
        at_ms: u64,
        reopened: &Reopened,
        differences: &mut Differences,
    ) {
        let idle_ms = at_ms.saturating_sub(ended_at_ms);
        let kind = DifferenceKind::Course;
        differences.compare(
            kind,
            format_args!("{place}, idle"),
            idle_ms,
            reopened.idle_ms,
        );
        if reopened.deadline_ms < self.deadline_ms.max(at_ms) {
            let expected = format!("{} or later", self.deadline_ms.max(at_ms));
            differences.push(
                DifferenceKind::Deadline,
                &place,
                expected,
                reopened.deadline_ms,
            );
        }
        self.roll(table, ended_at_ms);
        differences.compare(
            DifferenceKind::Section,
            &place,
            self.section,
            reopened.section,
        );
        let left_ms = self.section_deadline_ms.saturating_sub(ended_at_ms);
        let earliest = match self.section_deadline_ms {
            0 => 0,
            _ => at_ms.saturating_add(left_ms),
        };
        let has_own = self.section_deadline_ms > 0;
        let told = reopened.section_deadline_ms;
        if told < earliest || has_own != (told > 0) {
            let expected = format!("{earliest} or later");
            differences.push(DifferenceKind::Course, &place, expected, told);
        }
        self.idle_ms = self.idle_ms.saturating_add(idle_ms);
        self.deadline_ms = reopened.deadline_ms;
        self.section_deadline_ms = told;
        self.paused_at_ms = None;
    }

    /// Goes on to the section that time had begun by an instant.
    fn roll(&mut self, table: &Timetable<'_>, at_ms: u64) {
        while self.section_deadline_ms > 0
            && self.section_deadline_ms < at_ms
            && (self.section as usize) + 1 < table.ends.len()
        {
            let over_ms = self.section_deadline_ms;
            self.closed
                .insert(self.section, (self.section_began_ms, over_ms));
            self.section += 1;
            self.section_began_ms = over_ms;
            self.section_deadline_ms = self.section_end(table, self.section, over_ms);
        }
    }

    /// Returns when the attempt counts as ended, by who ended it; the deadline's own end is noticed later.
    pub(crate) fn end(&mut self, rules: &ExamRules, by: EndedBy, at_ms: u64) -> u64 {
        let latest = self.deadline_ms.saturating_add(rules.grace_ms);
        match by {
            EndedBy::Deadline => self.deadline_ms,
            EndedBy::Organizer => self.paused_at_ms.take().unwrap_or(at_ms).min(latest),
            EndedBy::Candidate | EndedBy::Unspecified => at_ms.min(latest),
        }
    }

    /// Tells whether the deadline can have ended the attempt by an instant.
    pub(crate) fn is_over(&self, rules: &ExamRules, at_ms: u64) -> bool {
        let waits_ms = rules.grace_ms.max(rules.late_sync_ms);
        at_ms > self.deadline_ms.saturating_add(waits_ms)
    }

    /// Checks that an answer was allowed when it was stored.
    pub(crate) fn answer(
        &mut self,
        table: &Timetable<'_>,
        place: impl std::fmt::Display,
        at_ms: u64,
        answered: &Answered,
        differences: &mut Differences,
    ) {
        if self.paused_at_ms.is_some() {
            differences.push(
                DifferenceKind::Course,
                &place,
                "no answer while the clock stands",
                "one",
            );
        }
        let mut window = (self.started_at_ms, self.deadline_ms);
        if table.is_timed() {
            let section = table.section_of(answered.position);
            match self.closed.get(&section) {
                Some(closed) if section != self.section => window = *closed,
                _ => {
                    differences.compare(DifferenceKind::Section, &place, self.section, section);
                    let over_ms = match self.section_deadline_ms {
                        0 => self.deadline_ms,
                        own => own.min(self.deadline_ms),
                    };
                    window = (self.section_began_ms, over_ms);
                }
            }
        }
        if table.rules.navigation() == Navigation::ForwardOnly {
            if answered.position < self.furthest {
                let expected = format!("{} or behind it", self.furthest);
                differences.push(
                    DifferenceKind::Navigation,
                    &place,
                    expected,
                    answered.position,
                );
            }
            self.furthest = answered.position;
        }
        match lateness(table.rules, window, at_ms, answered.made_at_ms) {
            Some(late) if late == answered.lateness() => {}
            Some(late) => {
                let found = answered.lateness();
                differences.push(
                    DifferenceKind::Lateness,
                    place,
                    format!("{late:?}"),
                    format!("{found:?}"),
                );
            }
            None => differences.push(
                DifferenceKind::LateAnswer,
                place,
                format!("until {} and grace", window.1),
                at_ms,
            ),
        }
    }
}

fn lateness(
    rules: &ExamRules,
    (from_ms, limit_ms): (u64, u64),
    at_ms: u64,
    made_at_ms: u64,
) -> Option<Lateness> {
    if at_ms <= limit_ms {
        Some(Lateness::Unspecified)
    } else if at_ms <= limit_ms.saturating_add(rules.grace_ms) {
        Some(Lateness::Grace)
    } else if at_ms <= limit_ms.saturating_add(rules.late_sync_ms)
        && (from_ms..=limit_ms).contains(&made_at_ms)
    {
        Some(Lateness::LateSync)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use DifferenceKind as D;
    use proto::exam::v1::{Ended, Event, Extended, Paused, Restored, Voided};

    use super::*;
    use crate::test_exam::{TestExam, check};

    /// Puts an event behind the event `index` of person 7's attempt, `after_ms` later.
    fn insert(exam: &mut TestExam, index: usize, after_ms: u64, kind: Kind) {
        let at = exam.events_of(7, 1)[index];
        let copy = exam.log[at].clone();
        exam.log.insert(at + 1, copy);
        let event: &mut Event = exam.event(at + 1);
        event.at_ms += after_ms;
        event.kind = Some(kind);
        exam.renumber();
    }

    fn deadline(exam: &mut TestExam) -> u64 {
        exam.started(7, 1).deadline_ms
    }

    fn extended(exam: &mut TestExam, told_ms: u64) {
        let deadline_ms = deadline(exam) + told_ms;
        let extended = Extended {
            by_ms: 1_000,
            deadline_ms,
            ..Extended::default()
        };
        insert(exam, 3, 1, Kind::Extended(extended));
    }

    #[test]
    fn an_extension_gives_what_it_says() {
        check(|exam| extended(exam, 1_000), &[]);
        check(|exam| extended(exam, 1_001), &[D::Course]);
        check(|exam| extended(exam, 0), &[D::Course]);
    }

    fn pause(exam: &mut TestExam, paused_ms: u64, told_ms: u64) {
        insert(exam, 3, 1, Kind::Paused(Paused::default()));
        let deadline_ms = deadline(exam) + told_ms;
        let resumed = Resumed {
            paused_ms: told_ms,
            deadline_ms,
            ..Resumed::default()
        };
        insert(exam, 4, paused_ms, Kind::Resumed(resumed));
    }

    #[test]
    fn a_pause_is_given_back_and_not_counted() {
        let shorter = |exam: &mut TestExam, ms: u64| {
            let rows: Vec<Vec<String>> = exam
                .result
                .lines()
                .map(|row| row.split('\t').map(str::to_owned).collect())
                .collect();
            let id = hex::encode(crate::test_exam::person(7));
            let row = rows.iter().find(|row| row.get(2) == Some(&id)).unwrap();
            let net: u64 = row[12].parse().unwrap();
            exam.set_column(7, 12, &(net - ms).to_string());
        };
        check(
            |exam| {
                pause(exam, 50, 50);
                shorter(exam, 50);
            },
            &[],
        );
        check(|exam| pause(exam, 50, 50), &[D::Row]);
        check(
            |exam| {
                pause(exam, 50, 40);
                shorter(exam, 50);
            },
            &[D::Course],
        );
        check(
            |exam| insert(exam, 3, 1, Kind::Paused(Paused::default())),
            &[D::Course],
        ); // answers follow
    }

    #[test]
    fn a_voided_attempt_is_not_in_the_result() {
        let void = |exam: &mut TestExam| insert(exam, 9, 1, Kind::Voided(Voided::default()));
        let mut exam = TestExam::new();
        void(&mut exam);
        assert!(exam.kinds().contains(&D::RowExtra));
        check(
            |exam| {
                void(exam);
                insert(exam, 10, 1, Kind::Restored(Restored::default()));
            },
            &[],
        );
        check(
            |exam| insert(exam, 9, 1, Kind::Restored(Restored::default())),
            &[D::OutsideAttempt],
        );
        check(
            |exam| insert(exam, 3, 1, Kind::Voided(Voided::default())),
            &[D::OutsideAttempt],
        );
    }

    /// Reopens person 7's attempt a while after its end and ends it again.
    fn reopen(exam: &mut TestExam, told_idle_ms: u64, deadline_ms: u64) {
        let mut ended: Ended = exam.ended(7, 1).clone();
        let order = exam.started(7, 1).option_order.clone();
        let reopened = Reopened {
            idle_ms: told_idle_ms,
            deadline_ms,
            last_seq: ended.last_seq,
            option_order: order,
            ..Reopened::default()
        };
        insert(exam, 9, 1_000, Kind::Reopened(reopened));
        ended.ended_at_ms += 1_000;
        insert(exam, 10, 0, Kind::Ended(ended));
        let ended_at = exam.ended(7, 1).ended_at_ms.to_string();
        exam.set_column(7, 13, &ended_at);
    }

    #[test]
    fn a_reopened_attempt_loses_no_time() {
        let late = |exam: &mut TestExam| deadline(exam) + 100_000;
        check(
            |exam| {
                let at = late(exam);
                reopen(exam, 1_000, at);
            },
            &[],
        );
        check(
            |exam| {
                let at = late(exam);
                reopen(exam, 999, at);
            },
            &[D::Course],
        );
        check(
            |exam| {
                let at = deadline(exam) - 1;
                reopen(exam, 1_000, at);
            },
            &[D::Deadline],
        );
    }

    #[test]
    fn forward_only_is_checked() {
        let mut exam = TestExam::new();
        let rules = exam.rules();
        rules.navigation = Navigation::ForwardOnly.into();
        exam.seal();
        // everybody answers 0, 0, 1, 2 …; person 3 goes back to clear position 1
        assert_eq!(exam.kinds(), [D::Navigation]);
    }

    #[test]
    fn a_section_begins_when_its_time_has_come() {
        use proto::exam::v1::SectionTime;
        let timed = |exam: &mut TestExam| {
            let rules = exam.rules();
            rules.section_times = vec![SectionTime {
                section: 0,
                time_ms: 3_600_000,
            }];
            exam.seal();
        };
        let mut exam = TestExam::new();
        timed(&mut exam);
        assert!(
            exam.kinds().contains(&D::Section),
            "nobody entered the second section"
        );
    }
}
