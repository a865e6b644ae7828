//! Several orders read as one: ranks by adding, pages by selecting and merging.
//!
//! A person stands in one of the orders, so what is better in the union is the sum of what is better in each. A page
//! starts where a selection over all orders finds its offset: each round compares with the weighted median of what
//! is left of each order, so at least a quarter of the rest falls away (Frederickson and Johnson, 1982).

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    key::{KeyLayout, SortKey},
    order::Order,
};
use crate::id::CandidateId;

/// Orders that share no person.
#[derive(Clone, Debug)]
pub(crate) struct Union<'a> {
    orders: Vec<&'a Order>,
}

impl<'a> Union<'a> {
    pub(crate) fn of(orders: impl IntoIterator<Item = &'a Order>) -> Self {
        let orders = orders.into_iter().filter(|order| !order.is_empty());
        Self {
            orders: orders.collect(),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.orders.iter().map(|order| order.len()).sum()
    }

    /// Returns 1 + the number of entries with a smaller key.
    pub(crate) fn rank(&self, key: SortKey) -> u64 {
        1 + self.sum(|order| order.rank(key) - 1)
    }

    /// Returns the number of entries whose key is not greater.
    pub(crate) fn up_to(&self, key: SortKey) -> u64 {
        self.sum(|order| order.up_to(key))
    }

    /// Returns a page as (rank, person), with the ranks that the whole union gives.
    pub(crate) fn page(
        &self,
        layout: &KeyLayout,
        id_of: &impl Fn(u32) -> CandidateId,
        offset: u64,
        limit: usize,
    ) -> Vec<(u64, u32)> {
        match *self.orders {
            [] => Vec::new(),
            [order] => self.ranked(layout, offset, order.iter_from(offset).take(limit)),
            _ => {
                let starts = self.split(offset, id_of);
                let entries = merge(&self.orders, &starts, id_of);
                self.ranked(layout, offset, entries.take(limit))
            }
        }
    }

    fn ranked(
        &self,
        layout: &KeyLayout,
        offset: u64,
        entries: impl Iterator<Item = (SortKey, u32)>,
    ) -> Vec<(u64, u32)> {
        let mut rank = 0;
        let mut tuple = None;
        (0..)
            .zip(entries)
            .map(|(n_before, (key, who))| {
                let floor = layout.floor(key);
                if tuple != Some(floor) {
                    rank = match tuple {
                        None => self.rank(floor),
                        Some(_) => offset + n_before + 1,
                    };
                    tuple = Some(floor);
                }
                (rank, who)
            })
            .collect()
    }

    /// Returns how many of the union's first entries each order has.
    fn split(&self, n_first: u64, id_of: &impl Fn(u32) -> CandidateId) -> Vec<u64> {
        let mut high: Vec<u64> = self.orders.iter().map(|order| order.len()).collect();
        if n_first >= self.len() {
            return high;
        }
        // the first `low` of each order are among the wanted ones, those from `high` on are not
        let mut low = vec![0; high.len()];
        while low.iter().sum::<u64>() < n_first {
            let (pivot_at, pivot) = self.weighted_median(&low, &high, id_of);
            let before: Vec<u64> = self
                .orders
                .iter()
                .map(|order| order.before(pivot, id_of))
                .collect();
            if before.iter().sum::<u64>() < n_first {
                for (low, before) in low.iter_mut().zip(&before) {
                    *low = (*low).max(*before);
                }
                low[pivot_at] = before[pivot_at] + 1;
            } else {
                for (high, before) in high.iter_mut().zip(&before) {
                    *high = (*high).min(*before);
                }
            }
        }
        low
    }

    /// Returns an entry such that at least a quarter of what is between `low` and `high` is not behind it, and a
    /// quarter not before; and the order it is in.
    fn weighted_median(
        &self,
        low: &[u64],
        high: &[u64],
        id_of: &impl Fn(u32) -> CandidateId,
    ) -> (usize, (SortKey, u32)) {
        let mut medians: Vec<(SortKey, CandidateId, u32, usize)> = Vec::new();
        for (at, order) in self.orders.iter().enumerate() {
            if low[at] < high[at] {
                let middle = low[at] + (high[at] - low[at]) / 2;
                let (key, who) = order.entry(middle).expect("the middle is in the order");
                medians.push((key, id_of(who), who, at));
            }
        }
        medians.sort_unstable();
        let weight = |at: usize| high[at] - low[at];
        let all: u64 = medians.iter().map(|median| weight(median.3)).sum();
        let mut seen = 0;
        let median = medians.iter().find(|median| {
            seen += weight(median.3);
            seen * 2 >= all
        });
        let &(key, _, who, at) = median.expect("something is left between low and high");
        (at, (key, who))
    }

    fn sum(&self, count: impl Fn(&Order) -> u64) -> u64 {
        self.orders.iter().map(|order| count(order)).sum()
    }
}

/// Returns the entries of several orders in one order, from a start in each on.
fn merge(
    orders: &[&Order],
    starts: &[u64],
    id_of: &impl Fn(u32) -> CandidateId,
) -> impl Iterator<Item = (SortKey, u32)> {
    let rests = orders.iter().zip(starts);
    let mut rests: Vec<_> = rests
        .map(|(order, &start)| order.iter_from(start))
        .collect();
    let head = |at: usize, entry: (SortKey, u32)| Reverse((entry.0, id_of(entry.1), entry.1, at));
    let mut heads: BinaryHeap<_> = rests
        .iter_mut()
        .enumerate()
        .filter_map(|(at, rest)| Some(head(at, rest.next()?)))
        .collect();
    std::iter::from_fn(move || {
        let Reverse((key, _, who, at)) = heads.pop()?;
        heads.extend(rests[at].next().map(|entry| head(at, entry)));
        Some((key, who))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::exam::v1::RankingKey;

    use super::*;

    fn id_of(who: u32) -> CandidateId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&who.wrapping_mul(0x9e37_79b9).to_be_bytes());
        CandidateId::from(id)
    }

    fn layout() -> KeyLayout {
        KeyLayout::new(&[RankingKey::SubmittedAt], (0, 0), 1, 1, None).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_union_equals_one_order_of_all(
            rows in prop::collection::vec((0..9usize, 0..40u128), 0..900),
            offsets in prop::collection::vec((0..1_000u64, 0..50usize), 8),
        ) {
            let layout = layout();
            let mut all = Order::default();
            let mut parts: Vec<Order> = (0..9).map(|_| Order::default()).collect();
            for (who, &(part, value)) in (0..).zip(&rows) {
                // several keys of one tuple, and equal keys that only ids tell apart
                let key = SortKey::raw(((value / 4) << 86) | (value % 4));
                all.insert(key, who, &id_of);
                parts[part].insert(key, who, &id_of);
            }
            let (one, many) = (Union::of([&all]), Union::of(&parts));
            prop_assert_eq!(one.len(), many.len());
            for (offset, limit) in offsets {
                prop_assert_eq!(
                    many.page(&layout, &id_of, offset, limit),
                    one.page(&layout, &id_of, offset, limit)
                );
            }
            for value in 0..11 {
                let key = SortKey::raw(value << 86);
                prop_assert_eq!(many.rank(key), one.rank(key));
                prop_assert_eq!(many.up_to(key), one.up_to(key));
                let n_not_greater = rows.iter().filter(|row| {
                    SortKey::raw(((row.1 / 4) << 86) | (row.1 % 4)) <= key
                }).count() as u64;
                prop_assert_eq!(one.up_to(key), n_not_greater);
            }
        }
    }

    #[test]
    fn an_empty_union_has_no_page() {
        let layout = layout();
        let union = Union::of([]);
        assert_eq!((union.len(), union.rank(SortKey::LAST)), (0, 1));
        assert!(union.page(&layout, &id_of, 0, 10).is_empty());
    }
}
