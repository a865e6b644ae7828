//! What a snapshot is made of and restored from.

use std::sync::Arc;

use super::{Fold, Person};
use crate::{
    attempt::{Finished, Running},
    id::{CandidateId, partition_of},
    package::Package,
    quarantine::Quarantined,
    standing::rules::Class,
};

impl Fold {
    pub(crate) fn persons(&self) -> &[Person] {
        &self.persons
    }

    pub(crate) fn area_codes(&self) -> &[String] {
        self.counts.codes()
    }

    pub(crate) fn quarantine_lens(&self) -> impl Iterator<Item = u64> + '_ {
        self.quarantine.lens()
    }

    /// Returns an empty fold that stands at these positions.
    pub(crate) fn at(package: Arc<Package>, positions: Vec<u64>, n_answers: u64) -> Option<Self> {
        let fold = Self::new(package);
        (positions.len() == fold.positions.len()).then_some(Self {
            positions,
            n_answers,
            ..fold
        })
    }

    pub(crate) fn restore_area(&mut self, code: &str) -> Option<u16> {
        self.counts.intern(code)
    }

    pub(crate) fn restore_quarantined(&mut self, entry: Quarantined) -> Option<()> {
        let at = entry.partition as usize;
        (at < self.positions.len()).then(|| self.quarantine.take(at, entry.position, entry.reason))
    }

    pub(crate) fn restore_quarantine_len(&mut self, partition: usize, n_entries: u64) {
        self.quarantine.restore_len(partition, n_entries);
    }

    /// Takes a person back; standings are built once all are there.
    pub(crate) fn restore_person(
        &mut self,
        id: CandidateId,
        running: Option<Running>,
        finished: Vec<Finished>,
    ) -> Option<()> {
        let first = finished.first().map(|finished| finished.area);
        let area = first.or(running.as_ref().map(|running| running.area))?;
        let partition = partition_of(&id, self.package.n_partitions());
        let who = self.welcome(id, partition, area);
        if self.persons[who as usize].class != Class::Control {
            self.restore_counts(running.as_ref(), &finished);
        }
        let person = &mut self.persons[who as usize];
        person.running = running.map(Box::new);
        person.finished = finished;
        self.choose_counted(who);
        Some(())
    }

    fn restore_counts(&mut self, running: Option<&Running>, finished: &[Finished]) {
        for attempt in finished {
            self.counts.attempt_started(attempt.area);
            self.counts.attempt_ended(attempt.area, attempt.ended_by);
        }
        if let Some(running) = running {
            self.counts.attempt_started(running.area);
        }
    }
}
