//! What is kept of an attempt: who and where, and 8 bytes an answer.

use proto::{
    exam::v1::{Answered, Lateness, Response},
    key::v1::Treatment,
};

use crate::{
    attempt::{self, Answers, Chosen, Read, Slot},
    package::Package,
};

/// The bit of a response that earns the full mark: above those of options.
pub(crate) const RIGHT: u16 = 1 << 15;

/// A response time that is not known.
pub(crate) const TIME_UNKNOWN: u16 = u16::MAX;
/// The place was never answered.
pub(crate) const NEVER: u16 = u16::MAX;
/// Milliseconds in the unit of response times.
const TIME_UNIT_MS: u64 = 100;

/// One place of a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Index of the item in the package.
    pub(crate) item_idx: u16,
    /// Of a choice the chosen options in canonical order, of other types a hash of what was given; [`RIGHT`] if it
    /// earns the full mark. 0 is a blank, or an item that is not compared: a prediction, or one whose key was
    /// ruled on, as what it calls wrong may be right.
    pub(crate) chosen: u16,
    /// Tenths of a second spent on it, or [`TIME_UNKNOWN`].
    pub(crate) time_ds: u16,
    /// Seconds from the start to the newest answer, or [`NEVER`].
    pub(crate) at_s: u16,
}

impl Answer {
    /// Reports whether it earns the full mark.
    pub(crate) fn is_right(&self) -> bool {
        self.chosen & RIGHT != 0
    }

    /// Reports whether something was given that does not earn the full mark.
    pub(crate) fn is_wrong(&self) -> bool {
        self.chosen != 0 && !self.is_right()
    }

    pub(crate) fn time_s(&self) -> Option<f64> {
        (self.time_ds != TIME_UNKNOWN && self.at_s != NEVER).then(|| f64::from(self.time_ds) / 10.0)
    }
}

/// One attempt, in paper order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sitting {
    /// Index of the person in the collector.
    pub(crate) person: u32,
    pub(crate) attempt: u16,
    /// Index of the area in the collector.
    pub(crate) area: u16,
    pub(crate) unit: u32,
    pub(crate) address_tag: u64,
    pub(crate) device_tag: u64,
    pub(crate) started_at_ms: u64,
    /// 0 while it runs.
    pub(crate) ended_at_ms: u64,
    pub(crate) answers: Box<[Answer]>,
}

/// What is needed of an attempt only while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    last_seq: u32,
    /// The instant from which the next response time counts.
    clock_ms: u64,
    /// The place whose answer moved the clock last; none after a start or a break.
    last_place: Option<u32>,
    /// How options are shown.
    slots: Box<[Slot]>,
}

impl Running {
    /// Begins at an instant, with nothing answered.
    pub(crate) fn new(slots: Box<[Slot]>, clock_ms: u64) -> Self {
        Self {
            last_seq: 0,
            clock_ms,
            last_place: None,
            slots,
        }
    }

    /// Returns the paper, blank.
    pub(crate) fn blank(&self) -> Box<[Answer]> {
        let answer = |slot: &Slot| Answer {
            item_idx: slot.item_idx,
            chosen: 0,
            time_ds: 0,
            at_s: NEVER,
        };
        self.slots.iter().map(answer).collect()
    }

    /// Goes on behind the answers before a reopening.
    pub(crate) fn behind(mut self, last_seq: u32) -> Self {
        self.last_seq = last_seq;
        self
    }

    /// Does not count a time in which the clock stood.
    pub(crate) fn pause(&mut self, paused_ms: u64) {
        self.clock_ms = self.clock_ms.saturating_add(paused_ms);
        self.last_place = None;
    }

    /// Takes one answer into the sitting; none if it cannot be true or was there already.
    pub(crate) fn answer(
        &mut self,
        package: &Package,
        sitting: &mut Sitting,
        answer: &Answered,
        at_ms: u64,
    ) -> Option<()> {
        if Some(answer.seq) != self.last_seq.checked_add(1) {
            return None;
        }
        self.last_seq = answer.seq;
        let place = usize::try_from(answer.position).ok()?;
        let slot = self.slots.get(place)?;
        let chosen = canonical(package, place, slot, answer.response.as_ref())?;
        let since_start_s = at_ms.saturating_sub(sitting.started_at_ms) / 1_000;
        let kept = &mut sitting.answers[place];
        kept.chosen = chosen;
        kept.at_s = u16::try_from(since_start_s).unwrap_or(NEVER).min(NEVER - 1);
        self.take_time(sitting, answer, at_ms);
        Some(())
    }

    /// The time of an answer runs from the answer before it. Answers that were stored at one instant came in one
    /// request: how long each took is not known, nor of one that came late.
    fn take_time(&mut self, sitting: &mut Sitting, answer: &Answered, at_ms: u64) {
        let slots = &mut sitting.answers;
        let place = answer.position as usize;
        let elapsed = at_ms.checked_sub(self.clock_ms);
        if elapsed == Some(0)
            && let Some(last) = self.last_place
            && last != answer.position
        {
            slots[last as usize].time_ds = TIME_UNKNOWN;
            slots[place].time_ds = TIME_UNKNOWN;
        }
        let slot = &mut slots[place];
        match elapsed {
            Some(ms) if answer.lateness() != Lateness::LateSync => {
                if slot.time_ds != TIME_UNKNOWN {
                    let tenths = u16::try_from((ms + TIME_UNIT_MS / 2) / TIME_UNIT_MS);
                    let sum = slot.time_ds.saturating_add(tenths.unwrap_or(TIME_UNKNOWN));
                    slot.time_ds = sum.min(TIME_UNKNOWN - 1);
                }
            }
            _ => slot.time_ds = TIME_UNKNOWN,
        }
        self.clock_ms = self.clock_ms.max(at_ms);
        self.last_place = Some(answer.position);
    }
}

/// Returns a response as it is compared: see [`Answer::chosen`]; none if the item has no such response.
fn canonical(
    package: &Package,
    place: usize,
    slot: &Slot,
    response: Option<&Response>,
) -> Option<u16> {
    let item = &package.items()[usize::from(slot.item_idx)];
    let read = attempt::read(response, item).ok()?;
    if item.treatment != Treatment::Unspecified || !item.is_scored() {
        return Some(0);
    }
    let is_right = |options: u16, long: Box<[Box<[u8]>]>| {
        let item_idx = slot.item_idx;
        let answers = Answers {
            long,
            ..Answers::default()
        };
        let grade = package.grade(place, Chosen { item_idx, options }, &answers);
        grade.is_full
    };
    Some(match read {
        Read::Shown(bits) => {
            let options = slot.canonical(bits);
            let right = options != 0 && is_right(options, Box::default());
            if right { options | RIGHT } else { options }
        }
        Read::Long([]) => 0,
        Read::Long(bytes) if is_right(1, Box::new([bytes.into()])) => RIGHT,
        Read::Long(bytes) => {
            let hash = blake3::hash(bytes);
            let [low, high, ..] = hash.as_bytes();
            (u16::from_le_bytes([*low, *high]) & !RIGHT).max(1)
        }
    })
}

#[cfg(test)]
mod tests {
    use proto::{
        bank::v1::ItemType,
        exam::v1::response::Value,
        key::v1::{BlankKey, ItemKey},
    };

    use super::*;
    use crate::fixture::{PAPER, parts, started};

    /// Returns how an answer to the first item of the paper is compared, once that item has been changed.
    fn compared(
        item_type: ItemType,
        change: impl FnOnce(&mut ItemKey),
        value: Value,
    ) -> Option<u16> {
        let mut parts = parts();
        let item_id = PAPER[0];
        let at = parts
            .paper
            .items
            .iter()
            .position(|item| item.item_id == item_id)
            .unwrap();
        let item = &mut parts.paper.items[at];
        item.r#type = item_type.into();
        let mut n_taken = 0;
        if item_type == ItemType::ShortText {
            n_taken = item.options.len();
            item.options.clear();
            parts.key.keys[at].right_options = 0;
            parts.key.keys[at].blanks = vec![BlankKey {
                accepted: vec!["Hà Nội".to_owned()],
                ..BlankKey::default()
            }];
        }
        change(&mut parts.key.keys[at]);
        let package = parts.load().unwrap();
        let mut started = started("01");
        started.option_order = started.option_order.slice(n_taken..);
        let slots = attempt::slots(&package, &started).unwrap();
        let response = Response { value: Some(value) };
        canonical(&package, 0, &slots[0], Some(&response))
    }

    #[test]
    fn answers_of_every_type_are_compared() {
        let text = |text: &str| compared(ItemType::ShortText, |_| {}, Value::Text(text.to_owned()));
        assert_eq!(text("hà  nội"), Some(RIGHT));
        assert_eq!(text(" "), Some(0));
        let wrong = text("Huế").unwrap();
        assert!(wrong != 0 && wrong & RIGHT == 0);
        assert_eq!(text("Huế"), Some(wrong));
        assert_ne!(text("Vinh"), Some(wrong));
        let choice = |value| compared(ItemType::SingleChoice, |_| {}, value);
        let all: Vec<_> = (0..4)
            .map(|shown| choice(Value::Chosen(1 << shown)).unwrap())
            .collect();
        assert_eq!(all.iter().filter(|chosen| **chosen & RIGHT != 0).count(), 1);
        assert_eq!(choice(Value::Chosen(0)), Some(0));
        assert_eq!(choice(Value::Chosen(1 << 12)), None);
        assert_eq!(choice(Value::Text("A".to_owned())), None);
    }

    #[test]
    fn an_item_whose_key_was_ruled_on_is_not_compared() {
        let drop = |key: &mut ItemKey| key.treatment = Treatment::Dropped.into();
        assert_eq!(
            compared(ItemType::SingleChoice, drop, Value::Chosen(1)),
            Some(0)
        );
    }

    #[test]
    fn an_answer_takes_eight_bytes_and_an_attempt_64() {
        assert_eq!(size_of::<Answer>(), 8);
        assert_eq!(size_of::<Sitting>(), 64);
    }
}
