//! What a fold tells: scores, ranks, pages, counts.

use std::sync::Arc;

use proto::exam::v1::AreaProgress;

use super::{Fold, Person, Row, Standing};
use crate::{
    attempt::Finished,
    correction::Place,
    counts,
    id::CandidateId,
    package::Package,
    quarantine::Quarantined,
    standing::{Of, Scope, key::SortKey, rules::Class},
};

impl Fold {
    /// Returns the package the log is graded by.
    #[must_use]
    pub fn package(&self) -> &Arc<Package> {
        &self.package
    }

    /// Returns the last position folded, by partition; 0 for none.
    #[must_use]
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// Returns the number of answers folded.
    #[must_use]
    pub fn n_answers(&self) -> u64 {
        self.n_answers
    }

    /// Returns the number of persons who started.
    #[must_use]
    pub fn n_persons(&self) -> u64 {
        self.persons.len() as u64 - self.n_controls
    }

    /// Returns the number of attempts that are running.
    #[must_use]
    pub fn n_working(&self) -> u64 {
        self.counts.n_working()
    }

    /// Returns the number of entries kept aside as impossible.
    #[must_use]
    pub fn n_quarantined(&self) -> u64 {
        self.quarantine.len()
    }

    /// Returns the first entries kept aside of each partition, by partition and position.
    pub fn quarantined(&self) -> impl Iterator<Item = Quarantined> + '_ {
        self.quarantine.iter()
    }

    /// Returns the number of persons left out by a decision who would have a row.
    #[must_use]
    pub fn n_excluded(&self) -> u64 {
        let listed = self.package.rulings().excluded.iter();
        let persons = listed.filter_map(|id| self.person(id));
        persons
            .filter(|person| person.class == Class::Excluded && person.counted().is_some())
            .count() as u64
    }

    /// Returns the counts of the country and of its areas by code.
    #[must_use]
    pub fn progress(&self) -> (AreaProgress, Vec<AreaProgress>) {
        let areas = self.counts.areas();
        (counts::total(&areas), areas)
    }

    /// Returns the number of persons ranked in an area, or nationwide for none.
    #[must_use]
    pub fn n_ranked(&self, area: Option<&str>) -> u64 {
        self.live().n_ranked(scope(area))
    }

    /// Returns a page of the standings of an area, or of the country for none, by (rank, candidate id).
    #[must_use]
    pub fn page(&self, area: Option<&str>, offset: u64, limit: usize) -> Vec<Row<'_>> {
        self.live().page(scope(area), offset, limit)
    }

    /// Returns the ranks of a person nationwide and in the area; none if nothing of the person is ranked.
    #[must_use]
    pub fn ranks(&self, candidate: &CandidateId) -> Option<(u64, u64)> {
        self.live().ranks(candidate)
    }

    /// Returns where a person stands; none if nothing of the person is ranked.
    #[must_use]
    pub fn standing(&self, candidate: &CandidateId) -> Option<Standing<'_>> {
        self.live().standing(candidate)
    }

    /// Returns an ended attempt of a person.
    #[must_use]
    pub fn attempt(&self, candidate: &CandidateId, attempt: u32) -> Option<&Finished> {
        self.live().attempt(candidate, attempt)
    }

    /// Sorts all ranked persons by (ranking tuple, candidate id), each with the tuple and the number of the area; the
    /// orders that are kept live are not asked, so a result is a second way to the same standings.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (SortKey, u16, Row<'_>)> {
        let ranked = (0u32..)
            .zip(&self.persons)
            .filter(|(_, person)| person.class == Class::Ranked);
        let mut rows: Vec<(SortKey, u32)> = ranked
            .filter_map(|(who, person)| Some((self.key(person, person.counted()?), who)))
            .collect();
        let id_of = |who: u32| self.persons[who as usize].id;
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| id_of(a.1).cmp(&id_of(b.1))));
        rows.into_iter().filter_map(|(key, who)| {
            let person = &self.persons[who as usize];
            let counted = person.counted()?;
            let row = Row {
                rank: 0,
                candidate: person.id,
                area: self.counts.code(counted.area),
                counted,
            };
            Some((self.package.layout().floor(key), counted.area, row))
        })
    }

    /// Returns where every person stands nationwide, by the number of the person here.
    pub(crate) fn places(&self) -> Vec<Option<Place>> {
        let mut places = vec![None; self.persons.len()];
        let layout = self.package.layout();
        let (mut rank, mut tuple) = (0, None);
        for (n_before, (key, who)) in (0..).zip(self.live.table(0).country().iter_from(0)) {
            let floor = layout.floor(key);
            if tuple != Some(floor) {
                (rank, tuple) = (n_before + 1, Some(floor));
            }
            let counted = self.persons[who as usize].counted();
            places[who as usize] = counted.map(|counted| Place::of(rank, counted));
        }
        places
    }

    /// Returns the id of a person by its number here.
    pub(crate) fn id_of(&self, who: u32) -> CandidateId {
        self.persons[who as usize].id
    }

    /// Returns the area of a person's counted attempt.
    pub(crate) fn area_of(&self, who: u32) -> Option<&str> {
        let counted = self.persons[who as usize].counted()?;
        Some(self.counts.code(counted.area))
    }

    pub(super) fn person(&self, candidate: &CandidateId) -> Option<&Person> {
        let who = *self.idx_by_id.get(candidate)?;
        Some(&self.persons[who as usize])
    }
}

fn scope(area: Option<&str>) -> Scope<'_> {
    area.map_or(Of::Country, Of::Area).overall()
}
