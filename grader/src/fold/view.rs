//! The standings as somebody may see them: organizers always all, the public only what was there at a freeze.
//!
//! While the newest ruling on the board freezes it at a cutoff, the public view ranks the attempts that ended before
//! the cutoff, and nothing tells of later ones: not the own rank, not the own score, not what a score would rank. It
//! follows the log all the same: attempts that ended before the cutoff and arrive late come in, voided and reopened
//! ones go. A final board shows the live standings; they still follow the log, so who makes a result final reads it
//! at fixed positions. Source: docs/FORMATS.md sections 5 and 11.

use super::{
    Fold, Person, Row, Standing,
    seats::{Window, id_of},
};
use crate::{
    attempt::Finished,
    id::CandidateId,
    standing::{
        Of, Scope, Standings,
        key::SortKey,
        rules::Class,
        table::{Part, Table},
        union::Union,
    },
    unit::ranking::{Among, UnitRanking},
};

/// Standings of one audience.
#[derive(Clone, Copy, Debug)]
pub struct View<'fold> {
    fold: &'fold Fold,
    standings: &'fold Standings,
}

/// A person's place in one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'fold> {
    /// Who is ranked.
    pub scope: Scope<'fold>,
    /// Rank in it.
    pub rank: u64,
    /// Persons in it with the same tuple, this one included.
    pub n_tied: u64,
    /// Persons in it.
    pub n_ranked: u64,
}

impl Fold {
    /// Returns the standings as organizers see them: everything folded so far.
    #[must_use]
    pub fn live(&self) -> View<'_> {
        View {
            fold: self,
            standings: &self.live,
        }
    }

    /// Returns the standings as the public sees them.
    #[must_use]
    pub fn public(&self) -> View<'_> {
        View {
            fold: self,
            standings: self.public.as_ref().unwrap_or(&self.live),
        }
    }

    /// Reports whether the public sees the standings of an earlier instant.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.public.is_some()
    }
}

impl<'fold> View<'fold> {
    /// Returns the number of persons ranked in a scope.
    #[must_use]
    pub fn n_ranked(&self, scope: Scope<'_>) -> u64 {
        self.union(scope).map_or(0, |union| union.len())
    }

    /// Returns a page of the standings of a scope, by (rank, candidate id).
    #[must_use]
    pub fn page(&self, scope: Scope<'_>, offset: u64, limit: usize) -> Vec<Row<'fold>> {
        let Some(union) = self.union(scope) else {
            return Vec::new();
        };
        let layout = self.fold.package.layout();
        let rows = union.page(layout, &id_of(&self.fold.persons), offset, limit);
        rows.into_iter()
            .filter_map(|(rank, who)| self.row(rank, &self.fold.persons[who as usize], scope.round))
            .collect()
    }

    /// Returns where a person stands in every scope: in the country, the area, the unit and those above it, and the
    /// group, first of the whole exam, then of each round of several.
    #[must_use]
    pub fn places(&self, candidate: &CandidateId) -> Vec<Place<'fold>> {
        let Some(person) = self.ranked_person(candidate) else {
            return Vec::new();
        };
        let rules = self.fold.package.standing_rules();
        let rounds = rules.rounds.iter().copied().map(Some);
        let mut places = Vec::new();
        for round in std::iter::once(None).chain(rounds).take(rules.n_tables()) {
            let Some(counted) = self.counted(person, round) else {
                continue;
            };
            let key = self.fold.key(person, counted);
            places.extend(self.scopes_of(counted).into_iter().filter_map(|of| {
                let scope = Scope { round, of };
                Some(self.place_in(scope, &self.union(scope)?, key))
            }));
        }
        places
    }

    /// Returns the ranks of a person nationwide and in the area; none if nothing of the person is ranked.
    #[must_use]
    pub fn ranks(&self, candidate: &CandidateId) -> Option<(u64, u64)> {
        let person = self.ranked_person(candidate)?;
        let counted = self.counted(person, None)?;
        let floor = self
            .fold
            .package
            .layout()
            .floor(self.fold.key(person, counted));
        let table = self.standings.table(0);
        Some((
            table.country().rank(floor),
            table.area(counted.area)?.rank(floor),
        ))
    }

    /// Returns where a person stands; none if nothing of the person is ranked.
    #[must_use]
    pub fn standing(&self, candidate: &CandidateId) -> Option<Standing<'fold>> {
        let (rank, area_rank) = self.ranks(candidate)?;
        let row = self.row(rank, self.ranked_person(candidate)?, None)?;
        Some(Standing { row, area_rank })
    }

    /// Returns an ended attempt of a person, ranked or not; in a frozen view only one that ended before the cutoff.
    #[must_use]
    pub fn attempt(&self, candidate: &CandidateId, attempt: u32) -> Option<&'fold Finished> {
        let mut ended = self.fold.person(candidate)?.finished.iter();
        ended.find(|ended| {
            u32::from(ended.attempt) == attempt && ended.ended_at_ms < self.standings.before_ms
        })
    }

    /// Returns the attempt of a person that counts, of one round or of all, also of a person who is not ranked.
    #[must_use]
    pub fn counted_attempt(
        &self,
        candidate: &CandidateId,
        round: Option<u32>,
    ) -> Option<&'fold Finished> {
        self.counted(self.fold.person(candidate)?, round)
    }

    /// Returns the rank that a score would have in a scope: 1 + the number of persons with a higher score.
    ///
    /// This is the rank of whoever has that score and wins every tie-break; of all who have it, none ranks better.
    /// None if the exam's rule does not take the score first, if there is no such scope, and in a frozen view.
    #[must_use]
    pub fn rank_of_score(&self, scope: Scope<'_>, quanta: i64) -> Option<u64> {
        self.shows_all().then_some(())?;
        let floor = self.fold.package.layout().score_floor(quanta)?;
        let union = self.union(scope)?;
        Some(if floor == SortKey::LAST {
            1 + union.len()
        } else {
            union.rank(floor)
        })
    }

    /// Ranks units of one group, or those below a unit, by all rounds or one; none in a frozen view, or if there is no
    /// such round.
    #[must_use]
    pub fn unit_ranking(&self, round: Option<u32>, among: Among<'_>) -> Option<UnitRanking<'fold>> {
        let table = self.shows_all().then(|| self.table(round)).flatten()?;
        let rules = self.fold.package.standing_rules();
        let tally = |places| table.tallies.sum(places);
        Some(UnitRanking::of(
            rules.units(),
            &rules.unit_rule,
            among,
            tally,
        ))
    }

    fn shows_all(&self) -> bool {
        self.standings.before_ms == u64::MAX
    }

    fn table(&self, round: Option<u32>) -> Option<&'fold Table> {
        let at = self.fold.package.standing_rules().table(round)?;
        Some(self.standings.table(at))
    }

    /// Returns the orders of a scope; none if there is no such round, area, unit or group.
    fn union(&self, scope: Scope<'_>) -> Option<Union<'fold>> {
        let units = self.fold.package.standing_rules().units();
        Some(self.table(scope.round)?.part(self.part(scope.of)?, units))
    }

    fn part(&self, of: Of<'_>) -> Option<Part> {
        let units = self.fold.package.standing_rules().units();
        Some(match of {
            Of::Country => Part::Country,
            Of::Area(code) => Part::Area(self.fold.counts.find(code)?),
            Of::Unit(number) => Part::Unit(units.place(number)?),
            Of::Group(name) => Part::Group(units.find_group(name)?),
        })
    }

    fn scopes_of(&self, counted: &Finished) -> Vec<Of<'fold>> {
        let units = self.fold.package.standing_rules().units();
        let mut scopes = vec![Of::Country, Of::Area(self.fold.counts.code(counted.area))];
        let own = units.find(counted.unit);
        let chain = std::iter::successors(own, |unit| units.parent(unit));
        scopes.extend(chain.map(|unit| Of::Unit(unit.number)));
        scopes.extend(own.and_then(|unit| units.group(unit)).map(Of::Group));
        scopes
    }

    fn place_in<'a>(&self, scope: Scope<'a>, union: &Union<'_>, key: SortKey) -> Place<'a> {
        let layout = self.fold.package.layout();
        let rank = union.rank(layout.floor(key));
        Place {
            scope,
            rank,
            n_tied: union.up_to(layout.ceiling(key)) - (rank - 1),
            n_ranked: union.len(),
        }
    }

    fn counted(&self, person: &'fold Person, round: Option<u32>) -> Option<&'fold Finished> {
        let rules = self.fold.package.standing_rules();
        // the table of the only round is that of the exam
        let round = round.filter(|_| rules.has_round_tables());
        let before_ms = self.standings.before_ms;
        self.fold.counted_in(person, Window { round, before_ms })
    }

    fn ranked_person(&self, candidate: &CandidateId) -> Option<&'fold Person> {
        let person = self.fold.person(candidate)?;
        (person.class == Class::Ranked).then_some(person)
    }

    fn row(&self, rank: u64, person: &'fold Person, round: Option<u32>) -> Option<Row<'fold>> {
        let counted = self.counted(person, round)?;
        Some(Row {
            rank,
            candidate: person.id,
            area: self.fold.counts.code(counted.area),
            counted,
        })
    }
}
