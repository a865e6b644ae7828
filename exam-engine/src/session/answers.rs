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
        match shape(entry.index).fit(&answer.response) {
            Fit::Fits => {}
            Fit::OtherType => return Err(Error::TypeMismatch { position }),
            Fit::OutOfRange => return Err(Error::OptionOutOfRange { position }),
        }
        Ok(u16::try_from(position).expect("papers have at most 200 items"))
    }
}

/// Joins the texts of a cloze's blanks.
const BLANK_SEPARATOR: char = '\u{1f}';

/// Whether a response is one that an item can have.
enum Fit {
    Fits,
    OtherType,
    OutOfRange,
}

impl ItemShape {
    /// Source of the shapes: docs/FORMATS.md section 4.
    fn fit(self, response: &Response) -> Fit {
        let n_options = usize::from(self.n_options);
        let is_whole = match (response, self.item_type) {
            (Response::Blank, _) => return Fit::Fits,
            (Response::Chosen(bits), ItemType::SingleChoice | ItemType::TrueFalse) => {
                bits.count_ones() <= 1
            }
            (Response::Chosen(_), ItemType::MultipleChoice) => true,
            (
                Response::Text(text),
                ItemType::Numeric | ItemType::ShortText | ItemType::Prediction,
            ) => text.len() <= MAX_TEXT_BYTES,
            (Response::Text(text), ItemType::Cloze) => {
                let n_blanks = text.split(BLANK_SEPARATOR).count();
                text.len() <= MAX_TEXT_BYTES && n_blanks <= usize::from(self.n_blanks)
            }
            (
                Response::Sequence(order),
                ItemType::Cluster | ItemType::Matching | ItemType::Ordering,
            ) => order.is_empty() || order.len() == n_options,
            _ => false,
        };
        let is_in_range = match (response, self.item_type) {
            (Response::Chosen(bits), _) => bits >> n_options == 0,
            (Response::Sequence(marks), ItemType::Cluster) => marks.iter().all(|&mark| mark <= 2),
            (Response::Sequence(targets), ItemType::Matching) => {
                targets.iter().all(|&target| target <= self.n_targets)
            }
            (Response::Sequence(order), _) => (0..order.len()).all(|option| {
                let placed = order
                    .iter()
                    .filter(|&&placed| usize::from(placed) == option);
                placed.count() == 1
            }),
            _ => true,
        };
        match (is_whole, is_in_range) {
            (false, _) => Fit::OtherType,
            (true, false) => Fit::OutOfRange,
            (true, true) => Fit::Fits,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_takes_its_own_responses() {
        #[track_caller]
        fn check(item_type: ItemType, response: &Response, expected: &str) {
            let shape = ItemShape {
                item_type,
                n_options: 4,
                n_targets: 5,
                n_blanks: 2,
            };
            let fit = match shape.fit(response) {
                Fit::Fits => "fits",
                Fit::OtherType => "type",
                Fit::OutOfRange => "range",
            };
            assert_eq!(fit, expected, "{item_type:?} {response:?}");
        }
        let text = |text: &str| Response::Text(text.to_owned());
        let sequence = |bytes: &[u8]| Response::Sequence(bytes.to_vec());
        check(ItemType::SingleChoice, &Response::Chosen(8), "fits");
        check(ItemType::SingleChoice, &Response::Chosen(16), "range");
        check(ItemType::SingleChoice, &Response::Chosen(3), "type");
        check(ItemType::MultipleChoice, &Response::Chosen(15), "fits");
        check(ItemType::Cluster, &sequence(&[0, 1, 2, 1]), "fits");
        check(ItemType::Cluster, &sequence(&[0, 1, 2, 3]), "range");
        check(ItemType::Cluster, &sequence(&[1, 1, 1]), "type");
        check(ItemType::Cluster, &Response::Chosen(1), "type");
        check(ItemType::Matching, &sequence(&[0, 5, 5, 1]), "fits");
        check(ItemType::Matching, &sequence(&[0, 6, 0, 0]), "range");
        check(ItemType::Ordering, &sequence(&[3, 1, 0, 2]), "fits");
        check(ItemType::Ordering, &sequence(&[3, 1, 0, 3]), "range");
        check(ItemType::Ordering, &sequence(&[]), "fits");
        check(ItemType::Numeric, &text("3,14"), "fits");
        check(ItemType::Prediction, &text(&"9".repeat(2_001)), "type");
        check(ItemType::Cloze, &text("a\u{1f}b"), "fits");
        check(ItemType::Cloze, &text("a\u{1f}b\u{1f}c"), "type");
        check(ItemType::Cloze, &Response::Blank, "fits");
    }
}
