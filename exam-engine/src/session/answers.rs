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
}

impl Session {
    /// Decides on answers, by rising seq. Those already stored are passed over, so that a message sent again does no harm;
    /// nothing is to be committed if that is all of them.
    ///
    /// # Errors
    /// The first answer at fault; then none of the message is stored.
    pub fn save_answers(
        &self,
        rules: &Rules,
        shape: impl Fn(u32) -> ItemShape,
        answers: &[NewAnswer],
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
            let position = self.check_response(answer, &shape)?;
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
            });
        }
        if change.happenings.is_empty() {
            return Ok(None); // also after the end: the caller learns that it lost nothing
        }
        if let Some((by, _)) = self.progress.ended {
            return Err(Error::Ended { by });
        }
        let limit = MAX_ANSWERS_PER_ITEM
            * u32::try_from(self.answers.len()).expect("papers have at most 200 items");
        if change.progress.last_seq > limit {
            return Err(Error::TooManyAnswers { limit });
        }
        if now > self.alarm_at(rules) {
            return Err(Error::DeadlinePassed {
                deadline: self.progress.deadline,
            });
        }
        change.not_after = Some(self.alarm_at(rules));
        Ok(Some(change))
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
