//! The organization tree of an exam, numbered so that a unit and all units below it are one range.
//!
//! Units get their places in the order of an Euler tour: a unit's subtree is `place..end`. Persons are ranked in an
//! order for each unit; the order of a subtree is the union of those of its range. A subtree that would take more
//! than [`MAX_PIECES`] orders has one order for the whole, a *block*, so that every union is of few orders.
//! Invariant: a unit stands before those below it, and ranges nest. Start at [`Units::load`].
//! Source: docs/FORMATS.md section 5.

pub(crate) mod ranking;
pub(crate) mod tally;

use std::{collections::HashMap, ops::Range};

use proto::exam::v1::ExamUnit;

use crate::{
    error::{Error, Result},
    id::BuildIdHasher,
};

/// Most units of an exam: twice the communes of Vietnam before 2025, and their numbers fit 16 bits.
const MAX_UNITS: usize = 20_000;
/// Most characters of a group's name.
const MAX_GROUP_CHARS: usize = 40;
/// Most units above one: a person is ranked in each, and every change is told to each.
const MAX_LEVELS: usize = 32;
/// Most orders that a subtree is joined from: a rank looks into each, in about 0.1 µs.
const MAX_PIECES: usize = 64;

/// One unit of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Number in the directory.
    pub number: u32,
    /// Name as shown.
    pub name: String,
    /// Persons expected in the unit itself, without those below it.
    pub head_count: u64,
    /// Number of units above it.
    level: usize,
    parent: Option<u16>,
    /// Own or inherited.
    group: Option<u16>,
    /// One behind the last place of the subtree.
    end: u16,
    /// Number of the subtree's order, if it has one.
    block: Option<u16>,
    /// Place of the nearest unit above that has a block.
    block_above: Option<u16>,
}

/// An order that a subtree's is joined from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Persons of the unit at this place alone.
    Own(u16),
    /// Persons of a whole subtree, by the number of its block.
    Block(u16),
}

/// All units that take part, by place.
#[derive(Debug, Default)]
pub struct Units {
    units: Vec<Unit>,
    place_by_number: HashMap<u32, u16, BuildIdHasher>,
    groups: Vec<String>,
}

impl Units {
    /// Checks the list of an exam's rules and numbers the units.
    ///
    /// # Errors
    /// [`Error::TooManyUnits`], and [`Error::UnitInvalid`] for a unit that does not fit those before it.
    pub fn load(listed: &[ExamUnit]) -> Result<Self> {
        let n_units = listed.len();
        if n_units > MAX_UNITS {
            return Err(Error::TooManyUnits { n_units });
        }
        let parents = parents(listed)?;
        let places = places(&parents);
        let mut this = Self::default();
        let mut units: Vec<(u16, Unit)> = Vec::with_capacity(n_units);
        for ((unit, parent), range) in listed.iter().zip(parents).zip(places) {
            let above = parent.map(|parent| &units[parent]);
            let level = above.map_or(0, |(_, above)| above.level + 1);
            if level > MAX_LEVELS {
                return Err(Error::UnitInvalid {
                    unit: unit.unit,
                    why: "more than 32 units stand above it",
                });
            }
            let group = match unit.group.as_str() {
                "" => above.and_then(|(_, above)| above.group),
                name => Some(this.intern(name)),
            };
            let unit = Unit {
                number: unit.unit,
                name: unit.name.clone(),
                head_count: unit.head_count,
                level,
                parent: above.map(|(place, _)| *place),
                group,
                end: range.end,
                block: None,
                block_above: None,
            };
            units.push((range.start, unit));
        }
        units.sort_unstable_by_key(|(place, _)| *place);
        this.place_by_number = units
            .iter()
            .map(|(place, unit)| (unit.number, *place))
            .collect();
        this.units = units.into_iter().map(|(_, unit)| unit).collect();
        give_blocks(&mut this.units);
        Ok(this)
    }

    /// Reports whether the exam knows no units.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Returns all units, each before those below it.
    #[must_use]
    pub fn all(&self) -> &[Unit] {
        &self.units
    }

    /// Returns the unit with this number.
    #[must_use]
    pub fn find(&self, number: u32) -> Option<&Unit> {
        self.place(number).map(|place| self.at(place))
    }

    /// Returns the unit above one, none for a top one.
    #[must_use]
    pub fn parent(&self, unit: &Unit) -> Option<&Unit> {
        unit.parent.map(|parent| self.at(parent))
    }

    /// Returns the own or inherited group of a unit.
    #[must_use]
    pub fn group(&self, unit: &Unit) -> Option<&str> {
        unit.group
            .map(|group| self.groups[usize::from(group)].as_str())
    }

    /// Returns the names of all groups, in the order in which the list names them.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    pub(crate) fn place(&self, number: u32) -> Option<u16> {
        if number == 0 || self.units.is_empty() {
            return None;
        }
        self.place_by_number.get(&number).copied()
    }

    pub(crate) fn at(&self, place: u16) -> &Unit {
        &self.units[usize::from(place)]
    }

    pub(crate) fn parent_of(&self, place: u16) -> Option<u16> {
        self.at(place).parent
    }

    /// Returns the places of a unit and all units below it.
    pub(crate) fn subtree(&self, place: u16) -> Range<u16> {
        place..self.at(place).end
    }

    pub(crate) fn group_of(&self, place: u16) -> Option<u16> {
        self.at(place).group
    }

    pub(crate) fn find_group(&self, name: &str) -> Option<u16> {
        let at = self.groups.iter().position(|group| group == name)?;
        u16::try_from(at).ok()
    }

    /// Returns the blocks that a unit's persons are ranked in.
    pub(crate) fn blocks_of(&self, place: u16) -> impl Iterator<Item = u16> + '_ {
        let own = self.at(place).block.map(|_| place);
        let first = own.or(self.at(place).block_above);
        std::iter::successors(first, |&place| self.at(place).block_above)
            .filter_map(|place| self.at(place).block)
    }

    /// Returns the orders that together hold the persons of a subtree, each person once.
    pub(crate) fn pieces(&self, place: u16) -> Vec<Piece> {
        if let Some(block) = self.at(place).block {
            return vec![Piece::Block(block)];
        }
        pieces(&self.units, place)
    }

    fn intern(&mut self, name: &str) -> u16 {
        self.find_group(name).unwrap_or_else(|| {
            self.groups.push(name.to_owned());
            u16::try_from(self.groups.len() - 1).expect("there are no more groups than units")
        })
    }
}

/// Returns the index of each unit's parent in the list.
fn parents(listed: &[ExamUnit]) -> Result<Vec<Option<usize>>> {
    let mut idx_by_number: HashMap<u32, usize, BuildIdHasher> = HashMap::default();
    let mut n_expected = 0u64;
    let mut parents = Vec::with_capacity(listed.len());
    for (idx, unit) in listed.iter().enumerate() {
        let invalid = |why| Error::UnitInvalid {
            unit: unit.unit,
            why,
        };
        if unit.unit == 0 {
            return Err(invalid("0 stands for no unit"));
        }
        if unit.group.chars().count() > MAX_GROUP_CHARS {
            return Err(invalid(
                "the name of its group is longer than 40 characters",
            ));
        }
        n_expected = n_expected
            .checked_add(unit.head_count)
            .ok_or(invalid("the head-counts up to it leave 64 bits"))?;
        parents.push(match unit.parent {
            0 => None,
            parent => Some(
                *idx_by_number
                    .get(&parent)
                    .ok_or(invalid("the unit above it does not stand before it"))?,
            ),
        });
        if idx_by_number.insert(unit.unit, idx).is_some() {
            return Err(invalid("it stands in the list twice"));
        }
    }
    Ok(parents)
}

/// Returns the range of each unit's subtree in an Euler tour; children follow each other as listed.
fn places(parents: &[Option<usize>]) -> Vec<Range<u16>> {
    let mut sizes = vec![1u16; parents.len()];
    for (idx, parent) in parents.iter().enumerate().rev() {
        if let Some(parent) = *parent {
            sizes[parent] += sizes[idx];
        }
    }
    let mut places: Vec<Range<u16>> = Vec::with_capacity(parents.len());
    let mut free_at_top = 0;
    let mut free_below: Vec<u16> = Vec::with_capacity(parents.len());
    for (parent, size) in parents.iter().zip(sizes) {
        let free = match *parent {
            None => &mut free_at_top,
            Some(parent) => &mut free_below[parent],
        };
        let start = *free;
        *free += size;
        free_below.push(start + 1);
        places.push(start..start + size);
    }
    places
}

/// Gives a block to every unit whose subtree would take too many orders, from the lowest up.
fn give_blocks(units: &mut [Unit]) {
    let mut n_pieces = vec![1usize; units.len()];
    let mut n_blocks = 0;
    for place in (0..units.len()).rev() {
        if n_pieces[place] > MAX_PIECES {
            units[place].block = Some(n_blocks);
            n_blocks += 1;
            n_pieces[place] = 1;
        }
        if let Some(parent) = units[place].parent {
            n_pieces[usize::from(parent)] += n_pieces[place];
        }
    }
    for place in 0..units.len() {
        units[place].block_above = units[place].parent.and_then(|parent| {
            let above = &units[usize::from(parent)];
            above.block.map(|_| parent).or(above.block_above)
        });
    }
}

fn pieces(units: &[Unit], place: u16) -> Vec<Piece> {
    let end = units[usize::from(place)].end;
    let mut pieces = vec![Piece::Own(place)];
    let mut at = place + 1;
    while at < end {
        let unit = &units[usize::from(at)];
        let (piece, next) = match unit.block {
            Some(block) => (Piece::Block(block), unit.end),
            None => (Piece::Own(at), at + 1),
        };
        pieces.push(piece);
        at = next;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(number: u32, parent: u32, group: &str) -> ExamUnit {
        ExamUnit {
            unit: number,
            parent,
            name: format!("Đơn vị {number}"),
            head_count: 10,
            group: group.to_owned(),
        }
    }

    #[track_caller]
    fn refused(listed: &[ExamUnit]) -> (u32, &'static str) {
        match Units::load(listed) {
            Err(Error::UnitInvalid { unit, why }) => (unit, why),
            other => panic!("must be refused: {other:?}"),
        }
    }

    #[test]
    fn a_list_that_is_no_tree_is_refused() {
        let above = "the unit above it does not stand before it";
        assert_eq!(refused(&[unit(1, 2, ""), unit(2, 0, "")]), (1, above));
        assert_eq!(refused(&[unit(1, 0, ""), unit(2, 9, "")]), (2, above));
        assert_eq!(refused(&[unit(3, 3, "")]), (3, above));
        let twice = [unit(1, 0, ""), unit(2, 1, ""), unit(1, 2, "")];
        assert_eq!(refused(&twice), (1, "it stands in the list twice"));
        assert_eq!(refused(&[unit(0, 0, "")]), (0, "0 stands for no unit"));
        let long = "ầ".repeat(MAX_GROUP_CHARS);
        assert!(Units::load(&[unit(1, 0, &long)]).is_ok());
        refused(&[unit(1, 0, &(long + "a"))]);
        let crowded = ExamUnit {
            head_count: u64::MAX,
            ..unit(2, 1, "")
        };
        refused(&[unit(1, 0, ""), crowded]);
    }

    #[test]
    fn twenty_thousand_units_are_the_most() {
        let wide = |n: u32| {
            (1..=n)
                .map(|n| unit(n, n.min(2) - 1, ""))
                .collect::<Vec<_>>()
        };
        let units = Units::load(&wide(20_000)).unwrap();
        assert_eq!(units.subtree(0), 0..20_000);
        let error = Units::load(&wide(20_001)).unwrap_err();
        assert!(matches!(error, Error::TooManyUnits { n_units: 20_001 }));
    }

    #[test]
    fn a_tree_deeper_than_any_organization_is_refused() {
        let chain = |n: u32| (1..=n).map(|n| unit(n, n - 1, "")).collect::<Vec<_>>();
        let units = Units::load(&chain(33)).unwrap();
        assert_eq!(units.subtree(0), 0..33);
        assert_eq!(
            refused(&chain(40)),
            (34, "more than 32 units stand above it")
        );
    }

    #[test]
    fn a_group_is_inherited_until_another_is_named() {
        let listed = [
            unit(7, 0, ""),
            unit(5, 7, "A"),
            unit(9, 7, "B"),
            unit(2, 5, ""),
            unit(3, 5, "B"),
            unit(8, 3, ""),
        ];
        let units = Units::load(&listed).unwrap();
        let group = |number| units.group(units.find(number).unwrap());
        assert_eq!([7, 5, 2].map(group), [None, Some("A"), Some("A")]);
        assert_eq!([9, 3, 8].map(group), [Some("B"); 3]);
        assert_eq!(units.groups(), ["A", "B"]);
        let tour: Vec<u32> = units.all().iter().map(|unit| unit.number).collect();
        assert_eq!(tour, [7, 5, 2, 3, 8, 9]);
        assert!(units.find(0).is_none() && units.find(4).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_subtree_is_a_range_and_its_pieces_cover_it_once(
            parents in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..400),
        ) {
            let listed: Vec<ExamUnit> = (0u32..).zip(&parents).map(|(n, (parent, near))| {
                // near the top, so that some units have many children
                let parent = if *near { parent.index(n as usize % 4 + 1) } else { parent.index(n as usize + 1) };
                unit(n + 1, if n == 0 { 0 } else { u32::try_from(parent).unwrap().min(n) }, "")
            }).collect();
            let units = Units::load(&listed).unwrap();
            for place in 0..u16::try_from(listed.len()).unwrap() {
                let chain: Vec<u16> =
                    std::iter::successors(Some(place), |&place| units.parent_of(place)).collect();
                for above in 0..u16::try_from(listed.len()).unwrap() {
                    prop_assert_eq!(units.subtree(above).contains(&place), chain.contains(&above));
                    let blocks: Vec<u16> = units.blocks_of(place).collect();
                    let n_times = units.pieces(above).into_iter().filter(|piece| match piece {
                        Piece::Own(own) => *own == place,
                        Piece::Block(block) => blocks.contains(block),
                    }).count();
                    // a block of a wider subtree holds others too, but is no piece of this one
                    prop_assert_eq!(n_times, usize::from(chain.contains(&above)));
                }
                prop_assert!(units.pieces(place).len() <= MAX_PIECES);
            }
        }
    }
}
