//! Which attempt of a person counts, and how its row moves through the standings.
//!
//! Every change of a person's attempts goes through [`Fold::change`]: it looks at the person's rows before and
//! after, in all tables that the attempt can touch, and moves what differs.

use proto::exam::v1::{BoardState, CountedAttempt};

use super::{Fold, Person};
use crate::{
    attempt::Finished,
    id::CandidateId,
    package::Package,
    standing::{
        Seat, Spot, Standings,
        key::SortKey,
        rules::{Class, StandingRules},
        table::Table,
    },
    unit::Units,
};

/// The live standings know no end.
const NEVER_MS: u64 = u64::MAX;

/// Which attempts of a person are looked at: ended, not voided, of the round, and before the instant.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) round: Option<u32>,
    pub(super) before_ms: u64,
}

impl Window {
    fn holds(self, attempt: &Finished) -> bool {
        !attempt.voided
            && attempt.ended_at_ms < self.before_ms
            && self.round.is_none_or(|round| attempt.round == round)
    }
}

/// An attempt by what decides where it is counted.
#[derive(Clone, Copy)]
pub(super) struct Sitting {
    pub(super) attempt: u16,
    pub(super) round: u32,
    pub(super) unit: u32,
}

impl Sitting {
    pub(super) fn of(attempt: &Finished) -> Self {
        Self {
            attempt: attempt.attempt,
            round: attempt.round,
            unit: attempt.unit,
        }
    }
}

/// The rows of a person in the table of the exam and in that of a round.
type Seats = [Option<Seat>; 2];

impl Fold {
    /// Changes a person's attempts by one sitting, and moves the person wherever that changes the standings.
    pub(super) fn change(&mut self, who: u32, sitting: Sitting, change: impl FnOnce(&mut Person)) {
        let is_ranked = self.persons[who as usize].class == Class::Ranked;
        let old = is_ranked.then(|| self.seats_and_attempt(who, sitting));
        self.leave_statistics(who, sitting.attempt);
        change(&mut self.persons[who as usize]);
        self.enter_statistics(who, sitting.attempt);
        self.choose_counted(who);
        let Some((old_live, old_public, had_attempt)) = old else {
            return;
        };
        let (new_live, new_public, has_attempt) = self.seats_and_attempt(who, sitting);
        let package = &self.package;
        let tables = tables(package.standing_rules(), sitting.round);
        let persons = &self.persons;
        let id_of = |who: u32| persons[who as usize].id;
        let units = package.standing_rules().units();
        for (at, table) in tables.into_iter().enumerate() {
            let Some(table) = table else { continue };
            self.live
                .replace(table, old_live[at], new_live[at], units, &id_of);
            if let Some(public) = &mut self.public {
                public.replace(table, old_public[at], new_public[at], units, &id_of);
            }
            let tallies = &mut self.live.table_mut(table).tallies;
            match (units.place(sitting.unit), had_attempt, has_attempt) {
                (Some(place), false, true) => tallies.attempt_came(place),
                (Some(place), true, false) => tallies.attempt_left(place),
                _ => {}
            }
        }
    }

    fn seats_and_attempt(&self, who: u32, sitting: Sitting) -> (Seats, Seats, bool) {
        let public = self.public.as_ref();
        let ended = self.persons[who as usize].finished.iter();
        (
            self.seats(who, sitting.round, NEVER_MS),
            public.map_or([None; 2], |public| {
                self.seats(who, sitting.round, public.before_ms)
            }),
            ended
                .rev()
                .any(|ended| ended.attempt == sitting.attempt && !ended.voided),
        )
    }

    fn seats(&self, who: u32, round: u32, before_ms: u64) -> Seats {
        let seat = |round| self.seat(who, Window { round, before_ms });
        let in_round = self.package.standing_rules().has_round_tables();
        [seat(None), in_round.then(|| seat(Some(round))).flatten()]
    }

    /// Returns a person's row among the attempts of a window.
    pub(super) fn seat(&self, who: u32, window: Window) -> Option<Seat> {
        let person = &self.persons[who as usize];
        let counted = self.counted_in(person, window)?;
        let units = self.package.standing_rules().units();
        Some(Seat {
            spot: Spot {
                key: self.key(person, counted),
                who,
                area: counted.area,
                unit: units.place(counted.unit).unwrap_or(Spot::NO_UNIT),
            },
            quanta: counted.score.quanta,
            passed: counted.score.passed == Some(true),
        })
    }

    /// Returns which attempt counts in a window.
    pub(super) fn counted_in<'a>(
        &self,
        person: &'a Person,
        window: Window,
    ) -> Option<&'a Finished> {
        if window.round.is_none() && window.before_ms == NEVER_MS {
            return person.counted();
        }
        person.finished.get(self.find_counted(person, window)?)
    }

    /// Looks anew which attempt of a person counts in the live standings.
    pub(super) fn choose_counted(&mut self, who: u32) {
        let person = &self.persons[who as usize];
        let window = Window {
            round: None,
            before_ms: NEVER_MS,
        };
        let counted = self.find_counted(person, window);
        let at = counted.unwrap_or(person.finished.len());
        self.persons[who as usize].counted_idx =
            u32::try_from(at).expect("attempts are numbered by 16 bits");
    }

    fn find_counted(&self, person: &Person, window: Window) -> Option<usize> {
        let layout = self.package.layout();
        let mut eligible = (0..)
            .zip(&person.finished)
            .filter(|(_, attempt)| window.holds(attempt));
        let counted = match self.package.counted() {
            CountedAttempt::First => eligible.next(),
            CountedAttempt::Last => eligible.last(),
            CountedAttempt::Best | CountedAttempt::Unspecified => {
                // of equal ones the first is taken: the lower number
                eligible.min_by_key(|(_, attempt)| layout.floor(self.key(person, attempt)))
            }
        };
        counted.map(|(at, _)| at)
    }

    pub(super) fn key(&self, person: &Person, attempt: &Finished) -> SortKey {
        self.package
            .layout()
            .pack(&attempt.rank_facts(), &person.id)
    }

    /// Sorts all persons anew into the live standings and, while the board is frozen, into the public ones.
    pub(crate) fn build_standings(&mut self) {
        self.live = self.standings_before(NEVER_MS);
        self.public = self.public_by(&self.package);
    }

    /// Returns the public standings as the board of a package shows them; none if it hides nothing.
    pub(super) fn public_by(&self, package: &Package) -> Option<Standings> {
        cutoff_ms(package).map(|cutoff| self.standings_before(cutoff))
    }

    pub(super) fn standings_before(&self, before_ms: u64) -> Standings {
        let rules = self.package.standing_rules();
        let windows = std::iter::once(None).chain(rules.rounds.iter().copied().map(Some));
        let tables = windows
            .take(rules.n_tables())
            .map(|round| self.table(Window { round, before_ms }));
        Standings::new(before_ms, tables.collect())
    }

    fn table(&self, window: Window) -> Table {
        let units = self.package.standing_rules().units();
        let n_persons = u32::try_from(self.persons.len()).expect("persons are counted by 32 bits");
        let ranked =
            (0..n_persons).filter(|&who| self.persons[who as usize].class == Class::Ranked);
        let seats = ranked.filter_map(|who| self.seat(who, window));
        let rows = seats.map(|seat| seat.spot).collect();
        let mut table = Table::build(rows, units, &|who| self.persons[who as usize].id);
        if !units.is_empty() {
            self.tally(&mut table, window, units);
        }
        table
    }

    fn tally(&self, table: &mut Table, window: Window, units: &Units) {
        for (who, person) in (0..).zip(&self.persons) {
            if person.class != Class::Ranked {
                continue;
            }
            if let Some(seat) = self.seat(who, window) {
                table.count(&seat);
            }
            for attempt in person.finished.iter().filter(|at| window.holds(at)) {
                if let Some(place) = units.place(attempt.unit) {
                    table.tallies.attempt_came(place);
                }
            }
        }
    }
}

/// Returns the tables that an attempt of a round can touch: the exam's, and the round's if it has one.
fn tables(rules: &StandingRules, round: u32) -> [Option<usize>; 2] {
    let of_round = rules.table(Some(round)).filter(|&table| table != 0);
    [Some(0), of_round]
}

/// Returns the instant that public standings end before, while the board is frozen.
pub(super) fn cutoff_ms(package: &Package) -> Option<u64> {
    let board = package.rulings().board.as_ref()?;
    (board.state() == BoardState::Frozen).then_some(board.cutoff_ms)
}

/// Returns an empty fold's standings.
pub(super) fn empty(package: &Package) -> (Standings, Option<Standings>) {
    let rules = package.standing_rules();
    let of = |before_ms| {
        let tables = (0..rules.n_tables()).map(|_| Table::new(rules.units()));
        Standings::new(before_ms, tables.collect())
    };
    (of(NEVER_MS), cutoff_ms(package).map(of))
}

/// Returns a function that tells a person's id.
pub(super) fn id_of(persons: &[Person]) -> impl Fn(u32) -> CandidateId + '_ {
    |who| persons[who as usize].id
}
