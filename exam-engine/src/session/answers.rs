//! Which answers are stored: in order, once, on the paper, in time.

use proto::bank::v1::ItemType;

use super::{
    Change, Error, Happening, ItemShape, Response, Rules, Session, StoredAnswer, extend_chain,
};
use crate::clock::Timestamp;

/// Longest text response, bytes: short answers, not essays; an entry of the log stays small.
const MAX_TEXT_BYTES: usize = 2_000;

/// Answers of an attempt for each item of its paper: nobody changes every answer a hundred times, but a program gone
/// wild fills a disk.
const MAX_ANSWERS_PER_ITEM: u32 = 100;

/// An answer as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAnswer {
    /// Its number within the attempt.
    pub seq: u32,
    /// Position on the paper.
    pub position: u32,
    /// What is answered.
    pub response: Response,
    /// When the device says it was made.
    pub made_at: Option<Timestamp>,
}

/// How late an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lateness {
    /// After the deadline, within the grace of the rules.
    Grace,
    /// Later still: the device says it was made in time and had no line.
    LateSync,
}

impl Session {
    /// Decides on answers, by rising seq, and on marks for review. Answers already stored are passed over, so that a message
    /// sent again does no harm; nothing is to be committed if nothing is left.
    ///
    /// # Errors
    /// The first answer at fault; then none of the message is stored.
    pub fn save_answers(
        &self,
        rules: &Rules,
        shape: impl Fn(u32) -> ItemShape,
        answers: &[NewAnswer],
        flags: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        let mut change = self.change(now);
        for answer in answers {
            if answer.seq == 0 {
                return Err(Error::AnswerGap {
                    expected_seq: change.progress.last_seq + 1,
                });
            }
            if answer.seq <= self.progress.last_seq {
                self.check_repeat(answer)?;
                continue;
            }
            if answer.seq != change.progress.last_seq + 1 {
                return Err(Error::AnswerGap {
                    expected_seq: change.progress.last_seq + 1,
                });
            }
            let at_fault = |error| Error::Answer {
                seq: answer.seq,
                why: Box::new(error),
            };
            let position = self.check_response(answer, &shape).map_err(at_fault)?;
            let late = self
                .admit(rules, &mut change, position, answer.made_at, now)
                .map_err(at_fault)?;
            let progress = &mut change.progress;
            progress.last_seq = answer.seq;
            progress.chain = extend_chain(
                &progress.chain,
                answer.seq,
                answer.position,
                &answer.response,
            );
            change.answers.push((
                position,
                StoredAnswer {
                    seq: answer.seq,
                    response: answer.response.clone(),
                },
            ));
            change.happenings.push(Happening::Answered {
                seq: answer.seq,
                position,
                response: answer.response.clone(),
                late,
            });
        }
        if let Some(flags) = flags.filter(|flags| self.progress.flags != **flags) {
            self.check_time(rules, now)?;
            if flags.len() > self.answers.len().div_ceil(8) {
                return Err(Error::PositionUnknown {
                    position: u32::try_from(flags.len() * 8).unwrap_or(u32::MAX),
                });
            }
            let limit = MAX_ANSWERS_PER_ITEM
                * u32::try_from(self.answers.len()).expect("papers have at most 200 items");
            if change.progress.n_flaggings >= limit {
                return Err(Error::TooManyAnswers { limit });
            }
            change.progress.n_flaggings += 1;
            change.progress.flags = flags.to_vec();
            change.happenings.push(Happening::Flagged);
        }
        if change.happenings.is_empty() {
            return Ok(None); // also after the end: the caller learns that it lost nothing
        }
        let limit = MAX_ANSWERS_PER_ITEM
            * u32::try_from(self.answers.len()).expect("papers have at most 200 items");
        if change.progress.last_seq > limit {
            return Err(Error::TooManyAnswers { limit });
        }
        change.not_after = Some(self.closes_at(rules));
        Ok(Some(change))
    }

    /// Decides whether a position may be answered now: in time, in its section, and not behind where the candidate is.
    fn admit(
        &self,
        rules: &Rules,
        change: &mut Change,
        position: u16,
        made_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<(Lateness, Timestamp)>, Error> {
        self.check_time(rules, now)?;
        let closed = |present: u16| Error::SectionClosed {
            section: u32::from(present),
        };
        let mut window = (self.head.started_at, self.progress.deadline);
        let mut present = 0;
        if rules.has_timed_sections() {
            let section = rules.section_of(position);
            (present, _) = self.section_at(rules, now);
            if section != change.progress.section && section <= present {
                self.roll_sections(rules, change, now);
            }
            let progress = &change.progress;
            let by_time = progress
                .closed
                .iter()
                .find(|closed| closed.section == section);
            window = match by_time {
                _ if section == progress.section => {
                    let over = progress.section_deadline.unwrap_or(progress.deadline);
                    (progress.section_began, over.min(progress.deadline))
                }
                Some(closed) => (closed.began, closed.ended),
                None => return Err(closed(present)),
            };
        }
        let late = lateness(rules, window, made_at, now).map_err(|()| {
            if window.1 < self.progress.deadline {
                closed(present)
            } else {
                Error::DeadlinePassed {
                    deadline: self.progress.deadline,
                }
            }
        })?;
        if rules.forward_only {
            if position < change.progress.furthest {
                return Err(Error::ForwardOnly {
                    furthest: u32::from(change.progress.furthest),
                });
            }
            change.progress.furthest = position;
        }
        Ok(late)
    }

    /// A repeated number must carry the same answer, as far as the live record still knows it.
    fn check_repeat(&self, answer: &NewAnswer) -> Result<(), Error> {
        let position = usize::try_from(answer.position).ok();
        let known = self.answers.iter().enumerate().find_map(|(index, stored)| {
            let stored = stored.as_ref().filter(|stored| stored.seq == answer.seq)?;
            Some((index, stored))
        });
        match known {
            Some((index, stored))
                if Some(index) != position || stored.response != answer.response =>
            {
                Err(Error::SeqReused { seq: answer.seq })
            }
            _ => Ok(()),
        }
    }

    fn check_response(
        &self,
        answer: &NewAnswer,
        shape: &impl Fn(u32) -> ItemShape,
    ) -> Result<u16, Error> {
        let position = answer.position;
        let entry = usize::try_from(position)
            .ok()
            .and_then(|index| self.paper.entries.get(index));
        let entry = entry.ok_or(Error::PositionUnknown { position })?;
        let ItemShape {
            item_type,
            n_options,
        } = shape(entry.index);
        let fits = match (&answer.response, item_type) {
            (Response::Blank, _) => true,
            (Response::Chosen(bits), ItemType::SingleChoice | ItemType::TrueFalse) => {
                bits.count_ones() <= 1
            }
            (Response::Chosen(_), ItemType::MultipleChoice | ItemType::Cluster) => true,
            (
                Response::Text(text),
                ItemType::Numeric | ItemType::ShortText | ItemType::Cloze | ItemType::Prediction,
            ) => text.len() <= MAX_TEXT_BYTES,
            (Response::Sequence(order), ItemType::Matching | ItemType::Ordering) => {
                order.len() <= usize::from(n_options)
            }
            _ => false,
        };
        if !fits {
            return Err(Error::TypeMismatch { position });
        }
        if let Response::Chosen(bits) = answer.response
            && bits >> n_options != 0
        {
            return Err(Error::OptionOutOfRange { position });
        }
        Ok(u16::try_from(position).expect("papers have at most 200 items"))
    }
}

/// Tells how late an answer is for the window that it belongs to, or that it is too late.
fn lateness(
    rules: &Rules,
    (from, limit): (Timestamp, Timestamp),
    made_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<(Lateness, Timestamp)>, ()> {
    if now <= limit {
        return Ok(None);
    }
    if now <= limit.plus_ms(rules.grace_ms) {
        return Ok(Some((Lateness::Grace, made_at.unwrap_or_default())));
    }
    let in_time = made_at.filter(|made_at| (from..=limit).contains(made_at));
    match in_time {
        Some(made_at) if now <= limit.plus_ms(rules.late_sync_ms) => {
            Ok(Some((Lateness::LateSync, made_at)))
        }
        _ => Err(()),
    }
}
