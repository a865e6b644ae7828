//! Ranks: every person's counted attempt in one order for the country and one for its area.
//!
//! Invariant: at every log position each order equals a full sort by (ranking tuple, candidate id); rank = 1 +
//! number of persons with a strictly better tuple, so ties share a rank (1, 2, 2, 4).
//! Start at [`Standings::insert`]. Source: docs/FORMATS.md section 5.

pub(crate) mod key;
pub(crate) mod order;

use self::{
    key::{KeyLayout, SortKey},
    order::Order,
};
use crate::id::CandidateId;

/// The orders of all scopes.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    national: Order,
    areas: Vec<Order>,
}

impl Standings {
    /// Builds all scopes from rows of (key, person, area) in any order, at once.
    pub(crate) fn build(
        mut rows: Vec<(SortKey, u32, u16)>,
        id_of: &impl Fn(u32) -> CandidateId,
    ) -> Self {
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| id_of(a.1).cmp(&id_of(b.1))));
        let n_areas = rows.iter().map(|row| usize::from(row.2) + 1).max();
        let mut by_area = vec![Vec::new(); n_areas.unwrap_or(0)];
        for &(key, who, area) in &rows {
            by_area[usize::from(area)].push((key, who));
        }
        Self {
            national: Order::from_sorted(rows.iter().map(|&(key, who, _)| (key, who))),
            areas: by_area.into_iter().map(Order::from_sorted).collect(),
        }
    }

    /// Ranks a person's counted attempt nationwide and in its area.
    pub(crate) fn insert(
        &mut self,
        key: SortKey,
        who: u32,
        area: u16,
        id_of: &impl Fn(u32) -> CandidateId,
    ) {
        let area = usize::from(area);
        if self.areas.len() <= area {
            self.areas.resize_with(area + 1, Order::default);
        }
        self.national.insert(key, who, id_of);
        self.areas[area].insert(key, who, id_of);
    }

    /// Takes a row out of both orders; the arguments are those of its [`insert`](Self::insert).
    pub(crate) fn remove(
        &mut self,
        key: SortKey,
        who: u32,
        area: u16,
        id_of: &impl Fn(u32) -> CandidateId,
    ) {
        self.national.remove(key, who, id_of);
        if let Some(order) = self.areas.get_mut(usize::from(area)) {
            order.remove(key, who, id_of);
        }
    }

    /// Returns the order of an area, or of the country for none.
    pub(crate) fn scope(&self, area: Option<u16>) -> Option<&Order> {
        match area {
            None => Some(&self.national),
            Some(area) => self.areas.get(usize::from(area)),
        }
    }
}

/// Returns a page of an order as (rank, person), with the ranks that the whole order gives.
pub(crate) fn page(
    order: &Order,
    layout: &KeyLayout,
    offset: u64,
    limit: usize,
) -> Vec<(u64, u32)> {
    let mut rank = 0;
    let mut tuple = None;
    (0..)
        .zip(order.iter_from(offset).take(limit))
        .map(|(n_before, (key, who))| {
            let floor = layout.floor(key);
            if tuple != Some(floor) {
                rank = match tuple {
                    None => order.rank(floor),
                    Some(_) => offset + n_before + 1,
                };
                tuple = Some(floor);
            }
            (rank, who)
        })
        .collect()
}
