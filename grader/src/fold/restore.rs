//! What a snapshot is made of and restored from.

use std::sync::Arc;

use super::{Fold, Person};
use crate::{
    attempt::{Finished, Running},
    id::{CandidateId, partition_of},
    package::Package,
    quarantine::Quarantined,
    standing::Standings,
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
        self.counts.person_came(area);
        for attempt in &finished {
            self.counts.attempt_started(attempt.area);
            self.counts.attempt_ended(attempt.area, attempt.ended_by);
        }
        if let Some(running) = &running {
            self.counts.attempt_started(running.area);
        }
        let partition = partition_of(&id, self.package.n_partitions());
        let who = self.welcome(id, partition, running.map(Box::new), finished);
        let counted = self.find_counted(&self.persons[who as usize]);
        self.persons[who as usize].counted_idx = counted;
        Some(())
    }

    pub(crate) fn restore_standings(&mut self) {
        let rows = (0..)
            .zip(&self.persons)
            .filter_map(|(who, person)| {
                let counted = person.counted()?;
                Some((self.key(person, counted), who, counted.area))
            })
            .collect();
        self.standings = Standings::build(rows, &|who| self.persons[who as usize].id);
    }
}
