//! One sitting: while it runs, and what is kept of it once it has ended.
//!
//! A running attempt takes 10 bytes an item, an ended one 4 (item and chosen options, so that a corrected key can
//! be applied later); both are one boxed slice, made once.

use proto::{
    bank::v1::ItemType,
    exam::v1::{Answered, Ended, EndedBy, Event, Reopened, Response, Started, response::Value},
};
use rust_decimal::prelude::ToPrimitive;

use crate::{
    package::{Item, MAX_OPTIONS, Package},
    quarantine::Reason,
    rule::{self, BLANK_SEPARATOR, Given},
    score::Score,
    standing::key::{NET_TIME_BITS, RankFacts, SUBMITTED_AT_BITS},
};

/// Bits of one shown option's canonical index.
const INDEX_BITS: usize = 4;
/// Words that hold the order of [`MAX_OPTIONS`] options.
const ORDER_WORDS: usize = MAX_OPTIONS * INDEX_BITS / 16;

/// Longest text of an answer, bytes.
const MAX_TEXT_BYTES: usize = 2_000;

/// What was answered to one item of a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Index of the item in [`Package::items`].
    pub item_idx: u16,
    /// Choices: chosen options in canonical order; bit 0 is the first; none is blank. Other types: 1 + the place of
    /// the answer in [`Answers::long`], 0 for none.
    pub options: u16,
}

/// What was answered to a whole paper.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// In paper order.
    pub chosen: Box<[Chosen]>,
    /// Sequences and texts; an empty one is a blank.
    pub long: Box<[Box<[u8]>]>,
}

impl Answers {
    /// Returns what was given for an item.
    #[must_use]
    #[inline]
    pub fn given(&self, item: &Item, chosen: Chosen) -> Given<'_> {
        match (item.item_type, chosen.options) {
            (_, 0) => Given::Blank,
            (ItemType::SingleChoice | ItemType::MultipleChoice | ItemType::TrueFalse, options) => {
                Given::Chosen(options)
            }
            (item_type, number) => match self.long.get(usize::from(number) - 1) {
                None => Given::Blank,
                Some(bytes) if bytes.is_empty() => Given::Blank,
                Some(bytes) if is_sequence(item_type) => Given::Sequence(bytes),
                Some(bytes) => std::str::from_utf8(bytes).map_or(Given::Blank, Given::Text),
            },
        }
    }

    /// Returns the number predicted, if the paper asks for one and it is whole and below 2^32.
    pub(crate) fn prediction(&self, package: &Package) -> Option<u32> {
        let asks = |chosen: &&Chosen| !package.items()[usize::from(chosen.item_idx)].is_scored();
        let chosen = self.chosen.iter().find(asks)?;
        match self.given(&package.items()[usize::from(chosen.item_idx)], *chosen) {
            Given::Text(text) => rule::number(text).filter(|x| x.is_integer())?.to_u32(),
            Given::Blank | Given::Chosen(_) | Given::Sequence(_) => None,
        }
    }
}

fn is_sequence(item_type: ItemType) -> bool {
    matches!(
        item_type,
        ItemType::Cluster | ItemType::Matching | ItemType::Ordering
    )
}

/// An item of a running paper: what was chosen last, and the order its options are shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) item_idx: u16,
    /// Canonical bits of the newest answer.
    pub(crate) chosen: u16,
    /// Four bits a shown option, from the lowest of the first word: its canonical index.
    pub(crate) order: [u16; ORDER_WORDS],
}

impl Slot {
    /// Makes the slot of an item whose options are shown in this order, one byte an option.
    fn new(item_idx: u16, shown: &[u8]) -> Option<Self> {
        let mut slot = Self {
            item_idx,
            chosen: 0,
            order: [0; ORDER_WORDS],
        };
        let mut seen = 0u16;
        for (at, &canonical) in shown.iter().enumerate() {
            if usize::from(canonical) >= shown.len() || seen >> canonical & 1 == 1 {
                return None;
            }
            seen |= 1 << canonical;
            slot.order[at / 4] |= u16::from(canonical) << (at % 4 * INDEX_BITS);
        }
        Some(slot)
    }

    /// Turns shown options into canonical ones.
    pub(crate) fn canonical(&self, shown: u16) -> u16 {
        let mut rest = shown;
        let mut bits = 0;
        while rest != 0 {
            let at = rest.trailing_zeros() as usize;
            bits |= 1 << (self.order[at / 4] >> (at % 4 * INDEX_BITS) & 0xf);
            rest &= rest - 1;
        }
        bits
    }
}

/// An attempt that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) attempt: u16,
    pub(crate) area: u16,
    pub(crate) unit: u32,
    pub(crate) round: u32,
    pub(crate) last_seq: u32,
    pub(crate) started_at_ms: u64,
    /// Time in which the clock stood or the attempt was ended.
    pub(crate) idle_ms: u64,
    pub(crate) form_code: [u8; 8],
    pub(crate) slots: Box<[Slot]>,
    pub(crate) long: Vec<Box<[u8]>>,
}

impl Running {
    /// Checks a start against the package; the area is the caller's to check.
    pub(crate) fn new(
        package: &Package,
        event: &Event,
        started: &Started,
        area: u16,
    ) -> Result<Self, Reason> {
        let attempt = u16::try_from(event.attempt).map_err(|_| Reason::AttemptOutOfRange)?;
        if attempt == 0 {
            return Err(Reason::AttemptOutOfRange);
        }
        if !package.has_round(started.round) {
            return Err(Reason::RoundUnknown);
        }
        Ok(Self {
            attempt,
            area,
            unit: started.unit,
            round: started.round,
            last_seq: 0,
            started_at_ms: event.at_ms,
            idle_ms: 0,
            form_code: (*started.form_code)
                .try_into()
                .map_err(|_| Reason::PaperMalformed)?,
            slots: slots(package, started)?,
            long: Vec::new(),
        })
    }

    /// Lets an ended attempt go on; the event tells again how its options are shown.
    pub(crate) fn again(
        package: &Package,
        finished: &Finished,
        reopened: &Reopened,
    ) -> Result<Self, Reason> {
        let mut rest: &[u8] = &reopened.option_order;
        let mut slots = Vec::with_capacity(finished.answers.chosen.len());
        for chosen in &finished.answers.chosen {
            let n_options = package.items()[usize::from(chosen.item_idx)].n_options;
            let (shown, behind) = rest
                .split_at_checked(usize::from(n_options))
                .ok_or(Reason::PaperMalformed)?;
            rest = behind;
            let slot = Slot::new(chosen.item_idx, shown).ok_or(Reason::PaperMalformed)?;
            slots.push(Slot {
                chosen: chosen.options,
                ..slot
            });
        }
        if !rest.is_empty() {
            return Err(Reason::PaperMalformed);
        }
        Ok(Self {
            attempt: finished.attempt,
            area: finished.area,
            unit: finished.unit,
            round: finished.round,
            last_seq: reopened.last_seq,
            started_at_ms: finished.started_at_ms,
            idle_ms: finished.idle_ms.saturating_add(reopened.idle_ms),
            form_code: finished.form_code,
            slots: slots.into_boxed_slice(),
            long: finished.answers.long.to_vec(),
        })
    }

    /// Takes one answer; false if its number was taken already.
    pub(crate) fn answer(&mut self, package: &Package, answer: &Answered) -> Result<bool, Reason> {
        if (1..=self.last_seq).contains(&answer.seq) {
            return Ok(false);
        }
        if Some(answer.seq) != self.last_seq.checked_add(1) {
            return Err(Reason::SeqGap);
        }
        // the number is used up whatever the answer says: the ones behind it are no gap
        self.last_seq = answer.seq;
        let slot = usize::try_from(answer.position)
            .ok()
            .and_then(|position| self.slots.get_mut(position))
            .ok_or(Reason::AnswerPositionUnknown)?;
        let item = &package.items()[usize::from(slot.item_idx)];
        match read(answer.response.as_ref(), item)? {
            Read::Shown(bits) => slot.chosen = slot.canonical(bits),
            Read::Long(bytes) => {
                match self.long.get_mut(usize::from(slot.chosen).wrapping_sub(1)) {
                    Some(old) => *old = bytes.into(),
                    None if bytes.is_empty() => {}
                    None => {
                        self.long.push(bytes.into());
                        slot.chosen = u16::try_from(self.long.len()).map_err(|_| Reason::SeqGap)?;
                    }
                }
            }
        }
        Ok(true)
    }

    /// Returns what is kept of the attempt, by the event that ended it.
    pub(crate) fn finish(&self, package: &Package, ended: &Ended) -> Result<Finished, Reason> {
        let ended_by = ended.by();
        if ended_by == EndedBy::Unspecified {
            return Err(Reason::EndedByUnknown);
        }
        if ended.last_seq != self.last_seq {
            return Err(Reason::LastSeqWrong);
        }
        let net_time_ms = ended
            .ended_at_ms
            .checked_sub(self.started_at_ms)
            .and_then(|gross_ms| gross_ms.checked_sub(self.idle_ms));
        if net_time_ms.is_none_or(|net| net >> NET_TIME_BITS != 0)
            || ended.ended_at_ms >> SUBMITTED_AT_BITS != 0
        {
            return Err(Reason::TimeOutOfRange);
        }
        let chosen = |slot: &Slot| Chosen {
            item_idx: slot.item_idx,
            options: slot.chosen,
        };
        let answers = Answers {
            chosen: self.slots.iter().map(chosen).collect(),
            long: self.long.clone().into_boxed_slice(),
        };
        Ok(Finished {
            attempt: self.attempt,
            area: self.area,
            unit: self.unit,
            round: self.round,
            ended_by,
            score: package.score(&answers),
            prediction: answers.prediction(package),
            started_at_ms: self.started_at_ms,
            ended_at_ms: ended.ended_at_ms,
            idle_ms: self.idle_ms,
            voided: false,
            form_code: self.form_code,
            answers,
        })
    }
}

/// Lays out the paper of a start: known items, each once, options in a true order.
pub(crate) fn slots(package: &Package, started: &Started) -> Result<Box<[Slot]>, Reason> {
    if started.item_ids.len() != package.n_items() {
        return Err(Reason::PaperMalformed);
    }
    let mut rest: &[u8] = &started.option_order;
    let mut slots = Vec::with_capacity(started.item_ids.len());
    for &item_id in &started.item_ids {
        let item_idx = package.item_idx(item_id).ok_or(Reason::ItemUnknown)?;
        let n_options = package.items()[usize::from(item_idx)].n_options;
        let (shown, behind) = rest
            .split_at_checked(usize::from(n_options))
            .ok_or(Reason::PaperMalformed)?;
        rest = behind;
        slots.push(Slot::new(item_idx, shown).ok_or(Reason::PaperMalformed)?);
    }
    let mut idxs: Vec<u16> = slots.iter().map(|slot| slot.item_idx).collect();
    idxs.sort_unstable();
    if !rest.is_empty() || idxs.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Reason::PaperMalformed);
    }
    Ok(slots.into_boxed_slice())
}

/// An answer as the log holds it.
pub(crate) enum Read<'a> {
    /// Chosen options as shown; none for a blank.
    Shown(u16),
    /// A sequence or a text; empty for a blank.
    Long(&'a [u8]),
}

/// Checks an answer against its item.
pub(crate) fn read<'a>(response: Option<&'a Response>, item: &Item) -> Result<Read<'a>, Reason> {
    let value = response.and_then(|response| response.value.as_ref());
    let n = usize::from(item.n_options);
    match item.item_type {
        ItemType::SingleChoice | ItemType::MultipleChoice | ItemType::TrueFalse => match value {
            None => Ok(Read::Shown(0)),
            Some(Value::Chosen(bits)) if bits >> n == 0 => u16::try_from(*bits)
                .map(Read::Shown)
                .map_err(|_| Reason::AnswerOptionOutOfRange),
            Some(Value::Chosen(_)) => Err(Reason::AnswerOptionOutOfRange),
            Some(Value::Text(_) | Value::Sequence(_)) => Err(Reason::AnswerTypeMismatch),
        },
        ItemType::Cluster | ItemType::Matching | ItemType::Ordering => match value {
            None => Ok(Read::Long(&[])),
            Some(Value::Sequence(sequence)) => sequence_of(sequence, n, item).map(Read::Long),
            Some(Value::Text(_) | Value::Chosen(_)) => Err(Reason::AnswerTypeMismatch),
        },
        _ => match value {
            None => Ok(Read::Long(&[])),
            Some(Value::Text(text)) => text_of(text, item).map(Read::Long),
            Some(Value::Sequence(_) | Value::Chosen(_)) => Err(Reason::AnswerTypeMismatch),
        },
    }
}

fn sequence_of<'a>(sequence: &'a [u8], n: usize, item: &Item) -> Result<&'a [u8], Reason> {
    let most = match item.item_type {
        ItemType::Cluster => 2,
        _ => item.n_targets,
    };
    let whole = match item.item_type {
        ItemType::Ordering => rule::is_permutation(sequence),
        _ => sequence.iter().all(|mark| *mark <= most),
    };
    if sequence.is_empty() {
        return Ok(sequence);
    }
    if sequence.len() != n || !whole {
        return Err(Reason::AnswerOptionOutOfRange);
    }
    let nothing = item.item_type != ItemType::Ordering && sequence.iter().all(|mark| *mark == 0);
    Ok(if nothing { &[] } else { sequence })
}

fn text_of<'a>(text: &'a str, item: &Item) -> Result<&'a [u8], Reason> {
    let n_blanks = match item.item_type {
        ItemType::Cloze => usize::from(item.n_blanks),
        _ => 1,
    };
    if text.len() > MAX_TEXT_BYTES || text.split(BLANK_SEPARATOR).count() > n_blanks {
        return Err(Reason::AnswerOptionOutOfRange);
    }
    Ok(if rule::is_empty(text) {
        &[]
    } else {
        text.as_bytes()
    })
}

/// An attempt that has ended, scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Number of the attempt, from 1.
    pub attempt: u16,
    pub(crate) area: u16,
    /// Number of the unit in the directory, 0 for none.
    pub unit: u32,
    /// Round it counts in.
    pub round: u32,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// Score.
    pub score: Score,
    /// Number predicted, if the paper asks for one.
    pub prediction: Option<u32>,
    /// Unix milliseconds.
    pub started_at_ms: u64,
    /// Unix milliseconds: the submission, or the deadline.
    pub ended_at_ms: u64,
    /// Time in between in which the clock stood or the attempt was ended, milliseconds.
    pub idle_ms: u64,
    /// An organizer has decided that it does not count.
    pub voided: bool,
    /// First bytes of the paper's hash.
    pub form_code: [u8; 8],
    /// What was answered.
    pub answers: Answers,
}

impl Finished {
    /// Returns the milliseconds between start and end in which the clock went.
    #[must_use]
    pub fn net_time_ms(&self) -> u64 {
        self.ended_at_ms - self.started_at_ms - self.idle_ms
    }

    pub(crate) fn rank_facts(&self) -> RankFacts {
        RankFacts {
            quanta: self.score.quanta,
            n_correct: self.score.n_correct,
            net_time_ms: self.net_time_ms(),
            submitted_at_ms: self.ended_at_ms,
            attempt: self.attempt,
            prediction: self.prediction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_options_turn_into_canonical_ones() {
        let shown = [3, 0, 11, 1, 2, 4, 10, 9, 8, 7, 6, 5];
        let slot = Slot::new(7, &shown).unwrap();
        for (at, canonical) in shown.into_iter().enumerate() {
            assert_eq!(slot.canonical(1 << at), 1 << canonical);
        }
        assert_eq!(slot.canonical(0b101), 1 << 3 | 1 << 11);
        assert_eq!(slot.canonical(0), 0);
        assert_eq!(slot.canonical(0xfff), 0xfff);
    }

    #[test]
    fn an_order_that_is_no_permutation_is_none() {
        assert!(Slot::new(0, &[0, 1, 1]).is_none());
        assert!(Slot::new(0, &[0, 1, 3]).is_none());
        assert!(Slot::new(0, &[2, 1, 0]).is_some());
    }

    #[test]
    fn a_slot_takes_ten_bytes_and_what_is_kept_four() {
        assert_eq!(size_of::<Slot>(), 10);
        assert_eq!(size_of::<Chosen>(), 4);
    }
}
