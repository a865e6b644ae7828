//! The same log graded by another version of the key, or under other decisions.
//!
//! A decision on the board alone grades nothing: only what the public sees is sorted anew, beside the old state
//! ([`Fold::shown_by`]), and put in at once ([`Fold::show`]).

use std::sync::Arc;

use super::{Fold, Person};
use crate::{
    attempt::Finished,
    error::{Error, Result},
    package::Package,
    standing::Standings,
};

/// Public standings, and the package whose board shows them.
pub(crate) struct Shown {
    package: Arc<Package>,
    public: Option<Standings>,
}

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
            n_controls: self.n_controls,
            n_answers: self.n_answers,
            ..Self::new(Arc::clone(package))
        };
        for who in 0..fold.persons.len() {
            fold.persons[who].class = fold.class(&fold.persons[who].id);
            fold.choose_counted(u32::try_from(who).expect("persons are counted by 32 bits"));
        }
        fold.build_standings();
        Ok(fold)
    }

    /// Returns what the public sees under a package that differs by decisions on the board alone; none if it differs in
    /// more.
    pub(crate) fn shown_by(&self, package: &Arc<Package>) -> Option<Shown> {
        let of = |package: &Package| {
            let rulings = package.rulings();
            (
                *package.paper_hash(),
                *package.key_hash(),
                rulings.last_on_result,
            )
        };
        let same = package.exam_id() == self.package.exam_id() && of(package) == of(&self.package);
        same.then(|| Shown {
            package: Arc::clone(package),
            public: self.public_by(package),
        })
    }

    /// Goes over to other decisions on the board, with what [`shown_by`](Self::shown_by) returned at this position.
    /// Returns what was shown until now.
    pub(crate) fn show(&mut self, shown: Shown) -> Shown {
        Shown {
            package: std::mem::replace(&mut self.package, shown.package),
            public: std::mem::replace(&mut self.public, shown.public),
        }
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
        class: person.class,
    }
}
