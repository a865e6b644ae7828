//! Takes the log entry by entry and keeps what the analysis reads.
//!
//! Memory: 8 bytes a place on a paper, 64 an attempt and about 56 a person; a running attempt has 10 more a place. When the places pass the limit, half of the *sites* (units, else addresses, else persons)
//! are let go, chosen by a hash, and again when they pass it anew: whoever sat together is kept or let go together.
//! Invariant: what is kept does not depend on how the partitions are interleaved. Start at [`Collector::apply`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use proto::exam::v1::{Answered, Ended, Event, LogEntry, Reopened, Started, event::Kind};

use super::{
    person_fit::ItemCurve,
    sitting::{Answer, Running, Sitting},
};
use crate::{
    attempt::slots,
    counts::Counts,
    error::{Error, Result},
    id::{BuildIdHasher, CandidateId, partition_of},
    package::Package,
    standing::rules::Class,
};

/// No sitting, in a person.
const NONE: u32 = u32::MAX;

/// What became of a log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Something of it was kept.
    Kept,
    /// It tells the analysis nothing, was there already, cannot be true, or its site was let go.
    Passed,
}

#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) id: CandidateId,
    /// Index of the newest sitting.
    sitting: u32,
    last_attempt: u16,
    partition: u8,
    running: Option<Box<Running>>,
}

/// Attempts as the analysis needs them, taken from the log of one exam.
#[derive(Debug)]
pub struct Collector {
    pub(crate) package: Arc<Package>,
    pub(crate) persons: Vec<Person>,
    pub(crate) sittings: Vec<Sitting>,
    pub(crate) areas: Counts,
    pub(crate) curves: BTreeMap<u16, ItemCurve>,
    positions: Vec<u64>,
    idx_by_id: HashMap<CandidateId, u32, BuildIdHasher>,
    max_places: usize,
    n_places: usize,
    n_halvings: u32,
}

impl Collector {
    /// Starts before the first entry of the log; the limit is that of [`Limits`](super::Limits).
    #[must_use]
    pub fn new(package: Arc<Package>, max_places: usize) -> Self {
        Self {
            positions: vec![0; package.n_partitions() as usize],
            persons: Vec::new(),
            sittings: Vec::new(),
            areas: Counts::new(&[]),
            curves: BTreeMap::new(),
            idx_by_id: HashMap::default(),
            max_places,
            n_places: 0,
            n_halvings: 0,
            package,
        }
    }

    /// Tells the parameters of an item, by its number in the bank; false if the exam has no such item or they are
    /// out of range. Without them the fit of persons is not looked at.
    pub fn calibrate(&mut self, item_id: u32, curve: ItemCurve) -> bool {
        let item_idx = self.package.item_idx(item_id).filter(|_| curve.is_valid());
        item_idx.is_some_and(|item_idx| {
            self.curves.insert(item_idx, curve);
            true
        })
    }

    /// Returns the last position taken, by partition; 0 for none.
    #[must_use]
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// Returns the number of places kept; never above the limit.
    #[must_use]
    pub fn n_places(&self) -> usize {
        self.n_places
    }

    /// Returns how often half of the sites were let go; 0 if everybody is kept.
    #[must_use]
    pub fn n_halvings(&self) -> u32 {
        self.n_halvings
    }

    /// Takes one entry of the log.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_entry(&mut self, entry: &LogEntry) -> Result<Taken> {
        let nothing = Event::default();
        let event = entry.event.as_ref().unwrap_or(&nothing);
        self.apply(entry.partition, entry.position, event)
    }

    /// Takes the event at one position of the log.
    ///
    /// # Errors
    /// [`Error::PositionGap`] if entries before it are missing, [`Error::PartitionUnknown`] if the exam has no such
    /// partition; nothing has changed.
    pub fn apply(&mut self, partition: u32, position: u64, event: &Event) -> Result<Taken> {
        let Some(last) = self.positions.get_mut(partition as usize) else {
            return Err(Error::PartitionUnknown {
                partition,
                n_partitions: self.package.n_partitions(),
            });
        };
        if position <= *last {
            return Ok(Taken::Passed);
        }
        if position != *last + 1 {
            return Err(Error::PositionGap {
                partition,
                expected: *last + 1,
                found: position,
            });
        }
        *last = position;
        let kept = self.take(partition, event).unwrap_or(false);
        Ok(if kept { Taken::Kept } else { Taken::Passed })
    }

    fn take(&mut self, partition: u32, event: &Event) -> Option<bool> {
        let id = CandidateId::try_from(&*event.candidate).ok()?;
        let known = self.idx_by_id.get(&id).copied();
        if let Some(Kind::Started(started)) = &event.kind {
            return self.start(partition, id, known, event, started);
        }
        let who = known?;
        let person = &self.persons[who as usize];
        if u32::from(person.partition) != partition
            || u32::from(person.last_attempt) != event.attempt
            || person.sitting == NONE
        {
            return None;
        }
        match event.kind.as_ref()? {
            Kind::Answered(answer) => self.answer(who, answer, event.at_ms),
            Kind::Ended(ended) => self.end(who, ended),
            Kind::Reopened(reopened) => self.reopen(who, reopened, event.at_ms),
            Kind::Resumed(resumed) => {
                let running = self.persons[who as usize].running.as_mut()?;
                running.pause(resumed.paused_ms);
                Some(true)
            }
            _ => None,
        }
    }

    fn start(
        &mut self,
        partition: u32,
        id: CandidateId,
        known: Option<u32>,
        event: &Event,
        started: &Started,
    ) -> Option<bool> {
        let attempt = u16::try_from(event.attempt).ok()?;
        match known.map(|who| &self.persons[who as usize]) {
            None if partition_of(&id, self.package.n_partitions()) != partition => return None,
            Some(person)
                if u32::from(person.partition) != partition || attempt <= person.last_attempt =>
            {
                return None;
            }
            _ if attempt == 0 || self.is_control(&id) => return None,
            _ => {}
        }
        let running = Running::new(slots(&self.package, started).ok()?, event.at_ms);
        let area = self.areas.intern(&started.area)?;
        let who = known.unwrap_or_else(|| self.welcome(id, partition));
        let sitting = Sitting {
            person: who,
            attempt,
            area,
            unit: started.unit,
            address_tag: started.address_tag,
            device_tag: started.device_tag,
            started_at_ms: event.at_ms,
            ended_at_ms: 0,
            answers: running.blank(),
        };
        let is_kept = self.is_sampled(&sitting);
        let sitting_idx = u32::try_from(self.sittings.len()).ok()?;
        let person = &mut self.persons[who as usize];
        person.last_attempt = attempt;
        person.sitting = if is_kept { sitting_idx } else { NONE };
        if is_kept {
            person.running = Some(Box::new(running));
            self.n_places += sitting.answers.len();
            self.sittings.push(sitting);
            self.halve();
        }
        Some(is_kept)
    }

    /// Reports whether a control made the candidate up.
    fn is_control(&self, id: &CandidateId) -> bool {
        self.package.standing_rules().class(id, &[]) == Class::Control
    }

    fn welcome(&mut self, id: CandidateId, partition: u32) -> u32 {
        let who = u32::try_from(self.persons.len()).expect("fewer than 2^32 persons exist");
        self.idx_by_id.insert(id, who);
        self.persons.push(Person {
            id,
            sitting: NONE,
            last_attempt: 0,
            partition: u8::try_from(partition).expect("a package has at most 256 partitions"),
            running: None,
        });
        who
    }

    fn answer(&mut self, who: u32, answer: &Answered, at_ms: u64) -> Option<bool> {
        let person = &mut self.persons[who as usize];
        let sitting = &mut self.sittings[person.sitting as usize];
        let running = person.running.as_mut()?;
        running.answer(&self.package, sitting, answer, at_ms)?;
        Some(true)
    }

    fn end(&mut self, who: u32, ended: &Ended) -> Option<bool> {
        let person = &mut self.persons[who as usize];
        person.running.take()?;
        let sitting = &mut self.sittings[person.sitting as usize];
        sitting.ended_at_ms = ended.ended_at_ms.max(sitting.started_at_ms + 1);
        Some(true)
    }

    fn reopen(&mut self, who: u32, reopened: &Reopened, at_ms: u64) -> Option<bool> {
        let person = &mut self.persons[who as usize];
        let sitting = &mut self.sittings[person.sitting as usize];
        if person.running.is_some() {
            return None;
        }
        let items = self.package.items();
        let item_id = |answer: &Answer| items[usize::from(answer.item_idx)].item_id;
        let as_started = Started {
            item_ids: sitting.answers.iter().map(item_id).collect(),
            option_order: reopened.option_order.clone(),
            ..Started::default()
        };
        let running = Running::new(slots(&self.package, &as_started).ok()?, at_ms);
        person.running = Some(Box::new(running.behind(reopened.last_seq)));
        sitting.ended_at_ms = 0;
        Some(true)
    }

    /// Reports whether the site of a sitting is among those that are kept.
    fn is_sampled(&self, sitting: &Sitting) -> bool {
        if self.n_halvings == 0 {
            return true;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"khoa-bang integrity site v1");
        match (sitting.unit, sitting.address_tag) {
            (0, 0) => hasher.update(self.persons[sitting.person as usize].id.as_bytes()),
            (0, tag) => hasher.update(&tag.to_le_bytes()),
            (unit, _) => hasher.update(&unit.to_le_bytes()),
        };
        let hash = hasher.finalize();
        let first = hash.as_bytes().first_chunk().expect("32 bytes");
        u64::from_le_bytes(*first).trailing_zeros() >= self.n_halvings
    }

    /// Lets half of the sites go while there are too many places. Places only ever come, so how many sites are left
    /// follows from all that came, in whatever order.
    fn halve(&mut self) {
        while self.n_places > self.max_places {
            self.n_halvings += 1;
            let all = std::mem::take(&mut self.sittings);
            for person in &mut self.persons {
                person.sitting = NONE;
            }
            for sitting in all {
                if !self.is_sampled(&sitting) {
                    self.n_places -= sitting.answers.len();
                    continue;
                }
                let person = &mut self.persons[sitting.person as usize];
                if sitting.attempt == person.last_attempt {
                    person.sitting = u32::try_from(self.sittings.len()).expect("fewer than before");
                }
                self.sittings.push(sitting);
            }
            for person in &mut self.persons {
                if person.sitting == NONE {
                    person.running = None;
                }
            }
        }
    }
}
