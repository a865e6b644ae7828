//! The same log graded by another version of the key, or under other decisions.

use std::sync::Arc;

use super::{Fold, Person};
use crate::{
    attempt::Finished,
    error::{Error, Result},
    package::Package,
};

impl Fold {
    /// Returns this state as if the whole log had been folded with another package of the same exam and paper half.
    ///
    /// # Errors
    /// [`Error::SnapshotOfOtherPackage`] if it is of another exam, or its papers are others.
    pub fn graded_by(&self, package: &Arc<Package>) -> Result<Self> {
        if package.exam_id() != self.package.exam_id()
            || package.paper_hash() != self.package.paper_hash()
            || package.n_partitions() != self.package.n_partitions()
        {
            return Err(Error::SnapshotOfOtherPackage);
        }
        let mut fold = Self {
            package: Arc::clone(package),
            persons: self
                .persons
                .iter()
                .map(|person| graded(person, package))
                .collect(),
            idx_by_id: self.idx_by_id.clone(),
            counts: self.counts.clone(),
            positions: self.positions.clone(),
            quarantine: self.quarantine.clone(),
            ..Self::new(Arc::clone(package))
        };
        fold.n_answers = self.n_answers;
        for who in 0..fold.persons.len() {
            fold.persons[who].counted_idx = fold.find_counted(&fold.persons[who]);
        }
        fold.restore_standings();
        Ok(fold)
    }
}

fn graded(person: &Person, package: &Package) -> Person {
    let graded = |attempt: &Finished| Finished {
        score: package.score(&attempt.answers),
        ..attempt.clone()
    };
    Person {
        id: person.id,
        running: person.running.clone(),
        finished: person.finished.iter().map(graded).collect(),
        counted_idx: 0,
        partition: person.partition,
    }
}
