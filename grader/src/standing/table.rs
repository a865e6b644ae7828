//! The orders of one exam or one round: the country's, and one for each area, unit, block of units and group.
//!
//! Invariant: each order holds exactly the rows whose place lies in its scope, and the tallies add up the same rows.
//! Orders of areas and units are born with their first row, so that an exam without units pays for none.

use super::{Seat, Spot, order::Order, union::Union};
use crate::{
    id::CandidateId,
    unit::{Piece, Units, tally::Tallies},
};

/// Who is ranked with whom, within a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Country,
    Area(u16),
    /// A unit with all units below it, by place.
    Unit(u16),
    Group(u16),
}

/// All orders of one table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    country: Order,
    areas: Vec<Order>,
    units: Vec<Order>,
    blocks: Vec<Order>,
    groups: Vec<Order>,
    pub(crate) tallies: Tallies,
}

impl Table {
    pub(crate) fn new(units: &Units) -> Self {
        Self {
            tallies: Tallies::new(units.all().len()),
            ..Self::default()
        }
    }

    /// Builds all orders from rows in any order, at once.
    pub(crate) fn build(
        mut rows: Vec<Spot>,
        units: &Units,
        id_of: &impl Fn(u32) -> CandidateId,
    ) -> Self {
        rows.sort_unstable_by(|a, b| {
            let by_key = a.key.cmp(&b.key);
            by_key.then_with(|| id_of(a.who).cmp(&id_of(b.who)))
        });
        let mut table = Self::new(units);
        for row in &rows {
            table.each(row, units, |order| order.append(row.key, row.who));
        }
        table
    }

    pub(crate) fn insert(
        &mut self,
        row: &Spot,
        units: &Units,
        id_of: &impl Fn(u32) -> CandidateId,
    ) {
        self.each(row, units, |order| order.insert(row.key, row.who, id_of));
    }

    /// Takes a row out; it is the one of its [`insert`](Self::insert).
    pub(crate) fn remove(
        &mut self,
        row: &Spot,
        units: &Units,
        id_of: &impl Fn(u32) -> CandidateId,
    ) {
        self.each(row, units, |order| {
            let was_there = order.remove(row.key, row.who, id_of);
            debug_assert!(was_there, "a row stands where it was put");
        });
    }

    /// Adds a row to what its unit has done.
    pub(crate) fn count(&mut self, seat: &Seat) {
        if let Some(place) = seat.spot.unit() {
            self.tallies.person_came(place, seat.quanta, seat.passed);
        }
    }

    pub(crate) fn uncount(&mut self, seat: &Seat) {
        if let Some(place) = seat.spot.unit() {
            self.tallies.person_left(place, seat.quanta, seat.passed);
        }
    }

    /// Returns the order of the country.
    pub(crate) fn country(&self) -> &Order {
        &self.country
    }

    /// Returns the order of an area, none while nobody is in it.
    pub(crate) fn area(&self, area: u16) -> Option<&Order> {
        self.areas.get(usize::from(area))
    }

    /// Returns the orders that a part is joined from.
    pub(crate) fn part(&self, part: Part, units: &Units) -> Union<'_> {
        match part {
            Part::Country => Union::of([&self.country]),
            Part::Area(area) => Union::of(self.areas.get(usize::from(area))),
            Part::Group(group) => Union::of(self.groups.get(usize::from(group))),
            Part::Unit(place) => {
                let pieces = units.pieces(place).into_iter();
                Union::of(pieces.filter_map(|piece| match piece {
                    Piece::Own(place) => self.units.get(usize::from(place)),
                    Piece::Block(block) => self.blocks.get(usize::from(block)),
                }))
            }
        }
    }

    /// Calls for every order that a row stands in.
    fn each(&mut self, row: &Spot, units: &Units, mut call: impl FnMut(&mut Order)) {
        call(&mut self.country);
        call(at(&mut self.areas, row.area));
        let Some(place) = row.unit() else {
            return;
        };
        call(at(&mut self.units, place));
        for block in units.blocks_of(place) {
            call(at(&mut self.blocks, block));
        }
        if let Some(group) = units.group_of(place) {
            call(at(&mut self.groups, group));
        }
    }
}

fn at(orders: &mut Vec<Order>, at: u16) -> &mut Order {
    let at = usize::from(at);
    if orders.len() <= at {
        orders.resize_with(at + 1, Order::default);
    }
    &mut orders[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(who: u32) -> CandidateId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&who.wrapping_mul(0x9e37_79b9).to_be_bytes());
        CandidateId::from(id)
    }

    fn spot(who: u32) -> Spot {
        let scattered = who.wrapping_mul(2_654_435_761).rotate_left(13) ^ who;
        Spot {
            key: super::super::key::SortKey::raw(u128::from(scattered) << 90),
            who,
            area: u16::try_from(scattered % 34).unwrap(),
            unit: Spot::NO_UNIT,
        }
    }

    impl Table {
        fn room(&self) -> usize {
            let lists = [&self.areas, &self.units, &self.blocks, &self.groups];
            let heads: usize = lists
                .iter()
                .map(|list| list.capacity() * size_of::<Order>())
                .sum();
            let orders = lists.into_iter().flatten();
            heads + self.country.room() + orders.map(Order::room).sum::<usize>()
        }
    }

    #[test]
    fn a_candidate_takes_at_most_64_bytes_in_country_and_area() {
        let n_rows = 500_000;
        let units = Units::default();
        let mut grown = Table::new(&units);
        for who in 0..n_rows {
            grown.insert(&spot(who), &units, &id_of);
        }
        let built = Table::build((0..n_rows).map(spot).collect(), &units, &id_of);
        for table in [&grown, &built] {
            let bytes_each = table.room().div_ceil(n_rows as usize);
            assert!((40..=64).contains(&bytes_each), "{bytes_each} bytes a row");
            assert!(table.units.is_empty() && table.blocks.is_empty() && table.groups.is_empty());
        }
        // moving everybody leaves no room behind that grows
        for who in 0..n_rows {
            grown.remove(&spot(who), &units, &id_of);
            let moved = Spot {
                area: (spot(who).area + 1) % 34,
                ..spot(who)
            };
            grown.insert(&moved, &units, &id_of);
        }
        let bytes_each = grown.room().div_ceil(n_rows as usize);
        assert!((40..=64).contains(&bytes_each), "{bytes_each} bytes a row");
    }
}
