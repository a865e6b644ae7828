//! Sections with a time of their own: taken in order, closed when left or when their time is over.
//!
//! Nobody has to be there when a section's time is over: which one is present is computed from the last stored change and
//! `now`, and written with the next change. Invariant: a section never begins again. Start at [`Session::section_at`].

use super::{Alarm, Chain, Change, Error, Happening, Rules, Session};
use crate::clock::Timestamp;

/// One section of a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionRule {
    /// First position behind it.
    pub end: u16,
    /// Time of its own, without accommodation; 0 for none.
    pub time_ms: u64,
}

/// A section that time has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its number.
    pub section: u16,
    /// When it began.
    pub began: Timestamp,
    /// When its time was over.
    pub ended: Timestamp,
}

impl Rules {
    /// Reports whether sections are taken in order, each in its time.
    #[must_use]
    pub fn has_timed_sections(&self) -> bool {
        self.sections.iter().any(|section| section.time_ms > 0)
    }

    /// Returns the number of the section that a position belongs to.
    pub(super) fn section_of(&self, position: u16) -> u16 {
        let before = self
            .sections
            .iter()
            .take_while(|section| section.end <= position);
        u16::try_from(before.count()).expect("a blueprint has at most 50 sections")
    }

    fn n_sections(&self) -> u16 {
        u16::try_from(self.sections.len()).expect("a blueprint has at most 50 sections")
    }
}

impl Session {
    /// Returns the section that is present at `now`, and when its time is over.
    #[must_use]
    pub fn section_at(&self, rules: &Rules, now: Timestamp) -> (u16, Option<Timestamp>) {
        let (mut section, mut deadline) = (self.progress.section, self.progress.section_deadline);
        let ended_at = self.progress.ended.map(|(_, at)| at);
        let now = self
            .progress
            .paused_at
            .or(ended_at)
            .map_or(now, |stood| stood.min(now));
        while let Some(over) = deadline.filter(|over| *over < now) {
            if section + 1 >= rules.n_sections() {
                break;
            }
            section += 1;
            deadline = self.section_deadline(rules, section, over);
        }
        (section, deadline)
    }

    /// Returns a section's time with the candidate's accommodation, 0 for none.
    #[must_use]
    pub fn section_time_ms(&self, rules: &Rules, section: u16) -> u64 {
        let time_ms = rules
            .sections
            .get(usize::from(section))
            .map_or(0, |section| section.time_ms);
        self.head.accommodation.stretch(time_ms, rules.duration_ms)
    }

    pub(super) fn section_deadline(
        &self,
        rules: &Rules,
        section: u16,
        from: Timestamp,
    ) -> Option<Timestamp> {
        let time_ms = self.section_time_ms(rules, section);
        (time_ms > 0).then(|| from.plus_ms(time_ms))
    }

    /// Writes the sections that time has begun since the last change.
    pub(super) fn roll_sections(&self, rules: &Rules, change: &mut Change, now: Timestamp) {
        let (present, _) = self.section_at(rules, now);
        while change.progress.section < present {
            let began = change
                .progress
                .section_deadline
                .expect("time went on from a section with a deadline");
            self.begin_section(rules, change, began);
        }
    }

    fn begin_section(&self, rules: &Rules, change: &mut Change, entered_at: Timestamp) {
        let section = change.progress.section + 1;
        let deadline = self.section_deadline(rules, section, entered_at);
        let progress = &mut change.progress;
        if progress.section_deadline == Some(entered_at) {
            // Time has closed it, not the candidate: what a device made within it may still come.
            progress.closed.push(Closed {
                section: progress.section,
                began: progress.section_began,
                ended: entered_at,
            });
        }
        progress.section = section;
        progress.section_began = entered_at;
        progress.section_deadline = deadline;
        change.happenings.push(Happening::SectionEntered {
            section,
            entered_at,
            deadline,
        });
    }

    /// Leaves the present section for the next one. Nothing is to be committed if that one has begun.
    ///
    /// # Errors
    /// [`Error::SubmitMismatch`] if the device holds other answers than are stored, [`Error::SectionClosed`] if the section
    /// wanted is not the next one, and what ends or stops an attempt; behind the deadline nothing begins any more.
    pub fn enter_section(
        &self,
        rules: &Rules,
        section: u32,
        last_seq: u32,
        chain: Option<Chain>,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        let (present, _) = self.section_at(rules, now);
        if section <= u32::from(present) {
            return Ok(None);
        }
        self.check_time(rules, now)?;
        if now > self.progress.deadline {
            return Err(Error::DeadlinePassed {
                deadline: self.progress.deadline,
            });
        }
        self.check_answers(last_seq, chain)?;
        let is_next = section == u32::from(present) + 1 && section < u32::from(rules.n_sections());
        if !is_next || !rules.has_timed_sections() {
            return Err(Error::SectionClosed {
                section: u32::from(present),
            });
        }
        let mut change = self.change(now);
        self.roll_sections(rules, &mut change, now);
        self.begin_section(rules, &mut change, now);
        change.not_after = Some(self.closes_at(rules));
        change.alarm = Alarm::Keep;
        Ok(Some(change))
    }
}
