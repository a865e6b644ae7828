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
    standing::{self, key::SortKey, order::Order},
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
        self.persons.len() as u64
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
        let excluded = self.package.rulings().excluded.iter();
        let persons = excluded.filter_map(|id| self.person(id));
        persons
            .filter(|person| person.finished.iter().any(|attempt| !attempt.voided))
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
        self.order(area).map_or(0, Order::len)
    }

    /// Returns a page of the standings of an area, or of the country for none, by (rank, candidate id).
    #[must_use]
    pub fn page(&self, area: Option<&str>, offset: u64, limit: usize) -> Vec<Row<'_>> {
        let Some(order) = self.order(area) else {
            return Vec::new();
        };
        standing::page(order, self.package.layout(), offset, limit)
            .into_iter()
            .filter_map(|(rank, who)| self.row(rank, &self.persons[who as usize]))
            .collect()
    }

    /// Returns the ranks of a person nationwide and in the area; none if nothing of the person is ranked.
    #[must_use]
    pub fn ranks(&self, candidate: &CandidateId) -> Option<(u64, u64)> {
        let person = self.person(candidate)?;
        let counted = person.counted()?;
        let floor = self.package.layout().floor(self.key(person, counted));
        let rank = |area| Some(self.standings.scope(area)?.rank(floor));
        Some((rank(None)?, rank(Some(counted.area))?))
    }

    /// Returns where a person stands; none if nothing of the person is ranked.
    #[must_use]
    pub fn standing(&self, candidate: &CandidateId) -> Option<Standing<'_>> {
        let (rank, area_rank) = self.ranks(candidate)?;
        Some(Standing {
            row: self.row(rank, self.person(candidate)?)?,
            area_rank,
        })
    }

    /// Returns an ended attempt of a person.
    #[must_use]
    pub fn attempt(&self, candidate: &CandidateId, attempt: u32) -> Option<&Finished> {
        let finished = &self.person(candidate)?.finished;
        finished
            .iter()
            .find(|finished| u32::from(finished.attempt) == attempt)
    }

    /// Returns every ranked person by (rank, candidate id), and the number of the area with each.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (SortKey, u16, Row<'_>)> + '_ {
        let order = self.standings.scope(None);
        let entries = order.into_iter().flat_map(|order| order.iter_from(0));
        entries.filter_map(|(key, who)| {
            let row = self.row(0, &self.persons[who as usize])?;
            Some((self.package.layout().floor(key), row.counted.area, row))
        })
    }

    /// Returns where every person stands nationwide, by the number of the person here.
    pub(crate) fn places(&self) -> Vec<Option<Place>> {
        let mut places = vec![None; self.persons.len()];
        let layout = self.package.layout();
        let order = self.standings.scope(None);
        let (mut rank, mut tuple) = (0, None);
        for (n_before, (key, who)) in (0..).zip(order.into_iter().flat_map(|o| o.iter_from(0))) {
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

    fn order(&self, area: Option<&str>) -> Option<&Order> {
        match area {
            None => self.standings.scope(None),
            Some(code) => self.standings.scope(Some(self.counts.find(code)?)),
        }
    }

    fn person(&self, candidate: &CandidateId) -> Option<&Person> {
        let who = *self.idx_by_id.get(candidate)?;
        Some(&self.persons[who as usize])
    }

    fn row<'fold>(&'fold self, rank: u64, person: &'fold Person) -> Option<Row<'fold>> {
        let counted = person.counted()?;
        Some(Row {
            rank,
            candidate: person.id,
            area: self.counts.code(counted.area),
            counted,
        })
    }
}
