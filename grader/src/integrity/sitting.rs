//! What is kept of an attempt: who and where, and 8 bytes an answer.

use proto::exam::v1::{Answered, Lateness, Response, Started, response::Value};

use crate::package::{MAX_OPTIONS, Package};

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
    /// Chosen options in canonical order; none is blank, or an item without options.
    pub(crate) chosen: u16,
    /// Tenths of a second spent on it, or [`TIME_UNKNOWN`].
    pub(crate) time_ds: u16,
    /// Seconds from the start to the newest answer, or [`NEVER`].
    pub(crate) at_s: u16,
}

impl Answer {
    pub(crate) fn time_s(&self) -> Option<f64> {
        (self.time_ds != TIME_UNKNOWN && self.at_s != NEVER)
            .then(|| f64::from(self.time_ds) / 10.0)
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
    /// One byte a shown option: its canonical index.
    order: Box<[u8]>,
    /// Where the options of a place begin in `order`; one more than places.
    begins: Box<[u32]>,
}

impl Running {
    /// Takes the order in which options are shown; none if it is not one of these items.
    pub(crate) fn new(
        package: &Package,
        item_idxs: impl Iterator<Item = u16>,
        order: &[u8],
        clock_ms: u64,
    ) -> Option<Self> {
        let mut begins = vec![0u32];
        let mut rest = order;
        for item_idx in item_idxs {
            let n_options = usize::from(package.items()[usize::from(item_idx)].n_options);
            let (shown, behind) = rest.split_at_checked(n_options)?;
            let seen = shown.iter().fold(0u32, |seen, &at| seen | 1 << (at % 32));
            if n_options > MAX_OPTIONS || seen.trailing_ones() as usize != n_options {
                return None;
            }
            rest = behind;
            begins.push(u32::try_from(order.len() - rest.len()).ok()?);
        }
        rest.is_empty().then(|| Self {
            last_seq: 0,
            clock_ms,
            last_place: None,
            order: order.into(),
            begins: begins.into_boxed_slice(),
        })
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

    /// Takes one answer into the sitting; false if it cannot be true or was there already.
    pub(crate) fn answer(&mut self, sitting: &mut Sitting, answer: &Answered, at_ms: u64) -> bool {
        if Some(answer.seq) != self.last_seq.checked_add(1) {
            return false;
        }
        self.last_seq = answer.seq;
        let place = answer.position as usize;
        let Some(chosen) = self.canonical(place, answer.response.as_ref()) else {
            return false;
        };
        let since_start_s = at_ms.saturating_sub(sitting.started_at_ms) / 1_000;
        let slot = &mut sitting.answers[place];
        slot.chosen = chosen;
        slot.at_s = u16::try_from(since_start_s).unwrap_or(NEVER).min(NEVER - 1);
        self.take_time(sitting, answer, at_ms);
        true
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

    /// Turns a response as shown into canonical options; none if the place has no such options.
    fn canonical(&self, place: usize, response: Option<&Response>) -> Option<u16> {
        let begin = *self.begins.get(place)? as usize;
        let end = *self.begins.get(place + 1)? as usize;
        let order = &self.order[begin..end];
        match response.and_then(|response| response.value.as_ref()) {
            Some(Value::Chosen(bits)) if *bits >> order.len() == 0 => {
                let shown = order.iter().enumerate();
                Some(shown.fold(0, |canonical, (at, &option)| {
                    canonical | u16::from(bits >> at & 1 == 1) << option
                }))
            }
            Some(Value::Chosen(_)) => None,
            // texts and sequences are not compared; their times are
            Some(Value::Text(_) | Value::Sequence(_)) | None => Some(0),
        }
    }
}

/// Returns the items of a start, blank; none if one is unknown or comes twice.
pub(crate) fn blank_paper(package: &Package, started: &Started) -> Option<Box<[Answer]>> {
    let paper = started.item_ids.iter().map(|&item_id| {
        Some(Answer {
            item_idx: package.item_idx(item_id)?,
            chosen: 0,
            time_ds: 0,
            at_s: NEVER,
        })
    });
    let paper: Box<[Answer]> = paper.collect::<Option<_>>()?;
    let mut item_idxs: Vec<u16> = paper.iter().map(|answer| answer.item_idx).collect();
    item_idxs.sort_unstable();
    let twice = item_idxs.windows(2).any(|pair| pair[0] == pair[1]);
    (!twice && !paper.is_empty()).then_some(paper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_takes_eight_bytes_and_an_attempt_64() {
        assert_eq!(size_of::<Answer>(), 8);
        assert_eq!(size_of::<Sitting>(), 64);
    }
}
