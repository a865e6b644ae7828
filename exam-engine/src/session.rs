//! The rules of a sitting, pure: what a candidate or an organizer may do now, and what changes if it is done.
//!
//! A rule takes the session and `now`, and returns a [`Change`] or a refusal; it never waits. The engine commits the
//! change and then applies it, so that memory never runs ahead of the store. Invariants are in [`invariants`].
//! Start at [`Session::save_answers`].

mod act;
mod answers;
mod chain;
mod end;
pub mod invariants;
mod outage;
mod sections;
mod start;

use std::sync::Arc;

pub use act::{Action, Cause};
pub use answers::{Lateness, NewAnswer};
pub use chain::{Chain, extend_chain, first_chain};
pub use end::EndedBy;
pub use outage::{LostTime, Outage};
use question_bank::paper::Paper;
pub use sections::{Closed, SectionRule};
pub use start::{Accommodation, Round, Rules, Ticket};

use crate::{clock::Timestamp, id::CandidateId};

/// What was answered to one item; positions as shown on the paper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Cleared.
    Blank,
    /// Chosen options; bit 0 is the option shown first.
    Chosen(u32),
    /// A text, NFC.
    Text(String),
    /// An order or pairing.
    Sequence(Vec<u8>),
}

/// The newest answer of a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Its number within the attempt.
    pub seq: u32,
    /// What was answered.
    pub response: Response,
}

/// What does not change while an attempt runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// From 1, over all rounds.
    pub attempt: u32,
    /// Round it counts in.
    pub round: u32,
    /// Attempts of this person in this round, this one included.
    pub attempts_in_round: u32,
    /// Area code in the exam's map edition.
    pub area: String,
    /// Unit number, 0 for none.
    pub unit: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// First 8 bytes of the paper's hash: proves that the paper drawn anew is the one that was started.
    pub form_code: [u8; 8],
    /// More time than the rules give.
    pub accommodation: Accommodation,
    /// Attempts that organizers gave back to the person before this one, in all and in this round.
    pub retakes: (u32, u32),
}

/// What changes while an attempt runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of the device that may write.
    pub epoch: u32,
    /// When time is over, without grace.
    pub deadline: Timestamp,
    /// Number of the newest answer, 0 for none.
    pub last_seq: u32,
    /// Head of the answer chain.
    pub chain: Chain,
    /// Set when the attempt has ended.
    pub ended: Option<(EndedBy, Timestamp)>,
    /// Set while an organizer has stopped the clock.
    pub paused_at: Option<Timestamp>,
    /// Section that was present at the last change; time may have gone on to a later one.
    pub section: u16,
    /// When it began.
    pub section_began: Timestamp,
    /// When that section's time is over, if it has its own.
    pub section_deadline: Option<Timestamp>,
    /// Sections that time has closed, not the candidate.
    pub closed: Vec<Closed>,
    /// Position answered last, where navigation is forward only.
    pub furthest: u16,
    /// Marks for review, one bit a position.
    pub flags: Vec<u8>,
    /// How often they were changed.
    pub n_flaggings: u32,
    /// The attempt does not count.
    pub voided: bool,
    /// The person may sit once more for it.
    pub may_retake: bool,
    /// The person's newest actions of organizers, over all attempts, by the hash of their id.
    pub actions: Vec<u64>,
}

/// The live record of one candidate in one exam: the newest attempt.
#[derive(Clone, Debug)]
pub struct Session {
    /// The candidate.
    pub candidate: CandidateId,
    /// Number of commits so far; the next one must find it unchanged.
    pub version: u64,
    /// What does not change.
    pub head: Head,
    /// What changes.
    pub progress: Progress,
    /// By position.
    pub answers: Vec<Option<StoredAnswer>>,
    /// The paper, drawn anew from the seed whenever the session is loaded.
    pub paper: Arc<Paper>,
}

/// What kind of response a position takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemShape {
    /// Kind of item.
    pub item_type: proto::bank::v1::ItemType,
    /// Number of options.
    pub n_options: u8,
    /// Matching: number of targets.
    pub n_targets: u8,
    /// Cloze: number of blanks.
    pub n_blanks: u8,
}

/// Where an attempt was started from, as keyed hashes that tell equal from unequal within one exam; 0 for not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Of the caller's network address.
    pub address_tag: u64,
    /// Of the id that the device has chosen for itself.
    pub device_tag: u64,
}

/// One thing that happened, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// An attempt started.
    Started(Origin),
    /// An answer was stored.
    Answered {
        /// Its number.
        seq: u32,
        /// Position on the paper.
        position: u16,
        /// What was answered.
        response: Response,
        /// How late it came, and when the device says it was made.
        late: Option<(Lateness, Timestamp)>,
    },
    /// Another device took over.
    TakenOver,
    /// A section with its own time began.
    SectionEntered {
        /// Its number.
        section: u16,
        /// When it began.
        entered_at: Timestamp,
        /// When its time is over.
        deadline: Option<Timestamp>,
    },
    /// Marks for review changed.
    Flagged,
    /// The attempt ended, on an organizer's word if there is a cause.
    Ended(Option<Arc<Cause>>),
    /// More time was given.
    Extended {
        /// How much.
        by_ms: u64,
        /// Why.
        cause: Arc<Cause>,
    },
    /// The clock was stopped.
    Paused(Arc<Cause>),
    /// The clock goes on.
    Resumed {
        /// How long it stood.
        paused_ms: u64,
        /// Why.
        cause: Arc<Cause>,
    },
    /// The attempt does not count.
    Voided(Arc<Cause>),
    /// The attempt counts again.
    Restored(Arc<Cause>),
    /// The ended attempt runs again.
    Reopened {
        /// Time since its end.
        idle_ms: u64,
        /// Why.
        cause: Arc<Cause>,
    },
}

/// How the deadline index changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Not at all.
    Keep,
    /// The session is to be ended at this instant.
    Set(Timestamp),
    /// Nothing is to be done any more.
    Clear,
}

/// What a rule wants stored, in one atomic step.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version that must still stand.
    pub expected_version: u64,
    /// The store refuses when its clock is past this.
    pub not_after: Option<Timestamp>,
    /// Set when a new attempt begins: everything of the one before is dropped from the live record.
    pub new_head: Option<Head>,
    /// As it will be.
    pub progress: Progress,
    /// Newest answers by position.
    pub answers: Vec<(u16, StoredAnswer)>,
    /// Deadline index.
    pub alarm: Alarm,
    /// For the log, in order.
    pub happenings: Vec<Happening>,
    /// When it was decided.
    pub at: Timestamp,
}

/// Why a rule refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An earlier answer is missing.
    #[error("answer {expected_seq} is missing")]
    AnswerGap {
        /// The number to send from.
        expected_seq: u32,
    },
    /// The option does not exist.
    #[error("position {position} has no such option")]
    OptionOutOfRange {
        /// Position on the paper.
        position: u32,
    },
    /// The position is not on the paper.
    #[error("position {position} is not on the paper")]
    PositionUnknown {
        /// As sent.
        position: u32,
    },
    /// One number, two answers.
    #[error("answer number {seq} was used for another answer")]
    SeqReused {
        /// The number.
        seq: u32,
    },
    /// The kind of response does not fit.
    #[error("position {position} takes another kind of response")]
    TypeMismatch {
        /// Position on the paper.
        position: u32,
    },
    /// The attempt has ended.
    #[error("the attempt has ended")]
    Ended {
        /// Who ended it.
        by: EndedBy,
    },
    /// No attempt is left.
    #[error("no attempt is left of {limit}")]
    AttemptsExhausted {
        /// How many there are.
        limit: u32,
    },
    /// Time is over.
    #[error("the deadline has passed")]
    DeadlinePassed {
        /// When.
        deadline: Timestamp,
    },
    /// No round is running.
    #[error("no round is running")]
    NotOpen {
        /// When the next one opens.
        next_opens_at: Option<Timestamp>,
    },
    /// One answer of a message is at fault.
    #[error("answer {seq}: {why}")]
    Answer {
        /// Its number.
        seq: u32,
        /// What is wrong with it.
        why: Box<Error>,
    },
    /// An organizer has stopped the clock.
    #[error("the clock is stopped")]
    Paused,
    /// Answers before the newest one are closed.
    #[error("only position {furthest} and those behind it may be answered")]
    ForwardOnly {
        /// Position answered last.
        furthest: u32,
    },
    /// The position belongs to another section.
    #[error("section {section} is the present one")]
    SectionClosed {
        /// The present one.
        section: u32,
    },
    /// Another device writes.
    #[error("another device has taken over")]
    TakenOver {
        /// Its epoch.
        epoch: u32,
    },
    /// The submission names other answers.
    #[error("the submission names other answers than are stored")]
    SubmitMismatch {
        /// The number to send from.
        expected_seq: u32,
    },
    /// More answers in one attempt than anybody needs.
    #[error("more than {limit} answers in one attempt")]
    TooManyAnswers {
        /// How many are stored at most.
        limit: u32,
    },
    /// The token names an attempt that is over, with a newer one begun.
    #[error("a newer attempt has begun")]
    OlderAttempt,
}

impl Session {
    /// Applies a change that was committed.
    pub fn apply(&mut self, change: Change, version: u64) {
        invariants::check(&self.progress, &change);
        if let Some(head) = change.new_head {
            self.head = head;
            self.answers = vec![None; self.answers.len()];
        }
        self.progress = change.progress;
        for (position, answer) in change.answers {
            self.answers[usize::from(position)] = Some(answer);
        }
        self.version = version;
    }

    /// Reports whether the attempt runs.
    #[must_use]
    pub fn running(&self) -> bool {
        self.progress.ended.is_none()
    }

    /// Checks that the caller is the one writer of the running attempt.
    pub(crate) fn check_writer(&self, attempt: u32, epoch: u32) -> Result<(), Error> {
        if attempt != self.head.attempt {
            return Err(Error::OlderAttempt);
        }
        if epoch < self.progress.epoch {
            return Err(Error::TakenOver {
                epoch: self.progress.epoch,
            });
        }
        Ok(())
    }

    fn change(&self, now: Timestamp) -> Change {
        Change {
            expected_version: self.version,
            not_after: None,
            new_head: None,
            progress: self.progress.clone(),
            answers: Vec::new(),
            alarm: Alarm::Keep,
            happenings: Vec::new(),
            at: now,
        }
    }
}

#[cfg(test)]
mod tests;
