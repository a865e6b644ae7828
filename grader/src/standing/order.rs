//! A counted order of persons: insert, remove, rank and page by offset, at ten million entries.
//!
//! A sorted sequence in chunks of at most [`CHUNK`] entries, chunks in groups of at most [`GROUP`]; each level keeps
//! the last entry and the length of its children. Finding an entry is a binary search a level, counting what stands
//! before it one short sum of lengths a level: at 10,000,000 entries about 400 groups and 100 chunks.
//! Entries are ordered by (key, candidate id); ids are looked up only when keys are equal.
//! Invariant: no chunk and no group is empty, and lasts and lengths equal what their children say.

use std::cmp::Ordering;

use super::key::SortKey;
use crate::id::CandidateId;

/// Most entries of a chunk: 8 KiB of keys, moved in about 100 ns by an insertion in the middle.
const CHUNK: usize = 512;
/// Entries a chunk grows by: it bounds unused room to a tenth, where doubling would waste a third.
const GROWTH: usize = 32;
/// Most chunks of a group: its list of last entries stays within 4 KiB.
const GROUP: usize = 128;
/// Neighbours that together are this small become one; half of the limit, so that no split follows soon.
const MERGE_SHARE: usize = 2;

type Entry = (SortKey, u32);

/// Persons in ranking order, with counts.
#[derive(Debug, Default)]
pub struct Order {
    groups: Vec<Group>,
    lasts: Vec<Entry>,
    lens: Vec<u32>,
    len: u64,
}

#[derive(Debug, Default)]
struct Group {
    chunks: Vec<Chunk>,
    lasts: Vec<Entry>,
    lens: Vec<u32>,
}

#[derive(Debug, Default)]
struct Chunk {
    keys: Vec<SortKey>,
    whos: Vec<u32>,
}

impl Order {
    /// Builds the order from entries that are sorted already.
    pub fn from_sorted(entries: impl IntoIterator<Item = (SortKey, u32)>) -> Self {
        let mut order = Self::default();
        for (key, who) in entries {
            order.append(key, who);
        }
        order
    }

    /// Puts a person behind all others, where it belongs; chunks and groups are left with room for insertions.
    pub(crate) fn append(&mut self, key: SortKey, who: u32) {
        if self.groups.last().is_none_or(Group::is_built) {
            self.groups.push(Group::default());
            self.lasts.push((key, who));
            self.lens.push(0);
        }
        let at = self.groups.len() - 1;
        self.groups[at].append(key, who);
        self.lasts[at] = (key, who);
        self.lens[at] += 1;
        self.len += 1;
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Reports whether nobody is in the order.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a person in; `id_of` returns the id of any person in the order and of this one.
    pub fn insert(&mut self, key: SortKey, who: u32, id_of: &impl Fn(u32) -> CandidateId) {
        self.len += 1;
        if self.groups.is_empty() {
            self.groups.push(Group::default());
            self.lasts.push((key, who));
            self.lens.push(0);
        }
        let entry = (key, who);
        let at = child_of(&self.lasts, entry, id_of).min(self.groups.len() - 1);
        self.groups[at].insert(entry, id_of);
        if self.groups[at].chunks.len() > GROUP {
            let right = self.groups[at].split();
            self.groups.insert(at + 1, right);
            self.lasts.insert(at + 1, entry);
            self.lens.insert(at + 1, 0);
            self.refresh(at + 1);
        }
        self.refresh(at);
    }

    /// Takes a person out and reports whether it was there with this key.
    pub fn remove(&mut self, key: SortKey, who: u32, id_of: &impl Fn(u32) -> CandidateId) -> bool {
        let at = child_of(&self.lasts, (key, who), id_of);
        let Some(group) = self.groups.get_mut(at) else {
            return false;
        };
        if !group.remove((key, who), id_of) {
            return false;
        }
        self.len -= 1;
        if group.chunks.is_empty() {
            self.forget(at);
            return true;
        }
        self.refresh(at);
        self.merge(at);
        true
    }

    /// Returns 1 + the number of entries with a smaller key.
    #[must_use]
    pub fn rank(&self, key: SortKey) -> u64 {
        let at = self.lasts.partition_point(|last| last.0 < key);
        let inside = self.groups.get(at).map_or(0, |group| group.below(key));
        1 + sum(&self.lens[..at]) + inside
    }

    /// Returns the number of entries whose key is not greater.
    pub(crate) fn up_to(&self, key: SortKey) -> u64 {
        let at = self.lasts.partition_point(|last| last.0 <= key);
        let inside = self.groups.get(at).map_or(0, |group| group.up_to(key));
        sum(&self.lens[..at]) + inside
    }

    /// Returns the number of entries before one, which need not be in this order.
    pub(crate) fn before(&self, entry: (SortKey, u32), id_of: &impl Fn(u32) -> CandidateId) -> u64 {
        let at = child_of(&self.lasts, entry, id_of);
        let inside = self
            .groups
            .get(at)
            .map_or(0, |group| group.before(entry, id_of));
        sum(&self.lens[..at]) + inside
    }

    /// Returns the entry that this many stand before.
    pub(crate) fn entry(&self, offset: u64) -> Option<(SortKey, u32)> {
        let (group_at, in_group) = locate(&self.lens, offset);
        let group = self.groups.get(group_at)?;
        let (chunk_at, in_chunk) = locate(&group.lens, in_group);
        let chunk = group.chunks.get(chunk_at)?;
        let place = usize::try_from(in_chunk).ok()?;
        Some((*chunk.keys.get(place)?, *chunk.whos.get(place)?))
    }

    /// Returns the entries from an offset on, in order.
    pub fn iter_from(&self, offset: u64) -> impl Iterator<Item = (SortKey, u32)> + '_ {
        let (group_at, in_group) = locate(&self.lens, offset);
        let (chunk_at, in_chunk) = self
            .groups
            .get(group_at)
            .map_or((0, 0), |group| locate(&group.lens, in_group));
        let skipped = usize::try_from(in_chunk).unwrap_or(usize::MAX);
        let groups = self.groups.get(group_at..).unwrap_or_default();
        groups
            .iter()
            .flat_map(|group| &group.chunks)
            .skip(chunk_at)
            .flat_map(|chunk| chunk.keys.iter().copied().zip(chunk.whos.iter().copied()))
            .skip(skipped)
    }

    fn refresh(&mut self, at: usize) {
        self.lasts[at] = self.groups[at].last();
        self.lens[at] = self.groups[at].len();
    }

    fn forget(&mut self, at: usize) {
        self.groups.remove(at);
        self.lasts.remove(at);
        self.lens.remove(at);
    }

    /// Joins a group with the one behind it when both have become small.
    fn merge(&mut self, at: usize) {
        let Some(right) = self.groups.get(at + 1) else {
            return;
        };
        if self.groups[at].chunks.len() + right.chunks.len() > GROUP / MERGE_SHARE {
            return;
        }
        let right = std::mem::take(&mut self.groups[at + 1]);
        right
            .chunks
            .into_iter()
            .for_each(|chunk| self.groups[at].push(chunk));
        self.forget(at + 1);
        self.refresh(at);
    }
}

impl Group {
    fn len(&self) -> u32 {
        self.lens.iter().sum()
    }

    fn last(&self) -> Entry {
        *self.lasts.last().expect("a group has a chunk")
    }

    fn push(&mut self, chunk: Chunk) {
        self.lasts.push(chunk.last());
        self.lens.push(chunk.len());
        self.chunks.push(chunk);
    }

    /// Reports whether it is as full as an order built at once makes it.
    fn is_built(&self) -> bool {
        self.chunks.len() >= GROUP - GROUP / 4 && self.chunks.last().is_some_and(Chunk::is_built)
    }

    fn append(&mut self, key: SortKey, who: u32) {
        if self.chunks.last().is_none_or(Chunk::is_built) {
            self.chunks.push(Chunk::default());
            self.lasts.push((key, who));
            self.lens.push(0);
        }
        let at = self.chunks.len() - 1;
        let n_keys = self.chunks[at].keys.len();
        self.chunks[at].insert(n_keys, key, who);
        self.lasts[at] = (key, who);
        self.lens[at] += 1;
    }

    fn insert(&mut self, entry: Entry, id_of: &impl Fn(u32) -> CandidateId) {
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::default());
            self.lasts.push(entry);
            self.lens.push(0);
        }
        let at = child_of(&self.lasts, entry, id_of).min(self.chunks.len() - 1);
        let chunk = &mut self.chunks[at];
        chunk.insert(chunk.place(entry, id_of), entry.0, entry.1);
        if chunk.keys.len() > CHUNK {
            let right = chunk.split();
            self.lasts.insert(at + 1, right.last());
            self.lens.insert(at + 1, right.len());
            self.chunks.insert(at + 1, right);
        }
        self.refresh(at);
    }

    fn remove(&mut self, entry: Entry, id_of: &impl Fn(u32) -> CandidateId) -> bool {
        let at = child_of(&self.lasts, entry, id_of);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return false;
        };
        let place = chunk.place(entry, id_of);
        if chunk.whos.get(place) != Some(&entry.1) || chunk.keys[place] != entry.0 {
            return false;
        }
        chunk.keys.remove(place);
        chunk.whos.remove(place);
        if chunk.keys.is_empty() {
            self.forget(at);
            return true;
        }
        self.refresh(at);
        self.merge(at);
        true
    }

    fn below(&self, key: SortKey) -> u64 {
        let at = self.lasts.partition_point(|last| last.0 < key);
        let inside = self.chunks.get(at).map_or(0, |chunk| {
            chunk.keys.partition_point(|other| *other < key) as u64
        });
        sum(&self.lens[..at]) + inside
    }

    fn up_to(&self, key: SortKey) -> u64 {
        let at = self.lasts.partition_point(|last| last.0 <= key);
        let inside = self.chunks.get(at).map_or(0, |chunk| {
            chunk.keys.partition_point(|other| *other <= key) as u64
        });
        sum(&self.lens[..at]) + inside
    }

    fn before(&self, entry: Entry, id_of: &impl Fn(u32) -> CandidateId) -> u64 {
        let at = child_of(&self.lasts, entry, id_of);
        let inside = self
            .chunks
            .get(at)
            .map_or(0, |chunk| chunk.place(entry, id_of) as u64);
        sum(&self.lens[..at]) + inside
    }

    fn split(&mut self) -> Self {
        let half = self.chunks.len() / 2;
        Self {
            chunks: self.chunks.split_off(half),
            lasts: self.lasts.split_off(half),
            lens: self.lens.split_off(half),
        }
    }

    fn refresh(&mut self, at: usize) {
        self.lasts[at] = self.chunks[at].last();
        self.lens[at] = self.chunks[at].len();
    }

    fn forget(&mut self, at: usize) {
        self.chunks.remove(at);
        self.lasts.remove(at);
        self.lens.remove(at);
    }

    fn merge(&mut self, at: usize) {
        let Some(right) = self.chunks.get(at + 1) else {
            return;
        };
        if self.chunks[at].keys.len() + right.keys.len() > CHUNK / MERGE_SHARE {
            return;
        }
        let right = std::mem::take(&mut self.chunks[at + 1]);
        self.chunks[at].keys.extend_from_slice(&right.keys);
        self.chunks[at].whos.extend_from_slice(&right.whos);
        self.forget(at + 1);
        self.refresh(at);
    }
}

impl Chunk {
    fn is_built(&self) -> bool {
        self.keys.len() >= CHUNK - CHUNK / 4
    }

    fn len(&self) -> u32 {
        u32::try_from(self.keys.len()).expect("a chunk is short")
    }

    fn last(&self) -> Entry {
        let place = self.keys.len() - 1;
        (self.keys[place], self.whos[place])
    }

    /// Returns where an entry stands or would stand.
    fn place(&self, (key, who): Entry, id_of: &impl Fn(u32) -> CandidateId) -> usize {
        let low = self.keys.partition_point(|other| *other < key);
        let n_equal = self.keys[low..].partition_point(|other| *other == key);
        if n_equal == 0 {
            return low;
        }
        let id = id_of(who);
        low + self.whos[low..low + n_equal].partition_point(|&other| id_of(other) < id)
    }

    fn insert(&mut self, place: usize, key: SortKey, who: u32) {
        if self.keys.len() == self.keys.capacity() {
            self.keys.reserve_exact(GROWTH);
            self.whos.reserve_exact(GROWTH);
        }
        self.keys.insert(place, key);
        self.whos.insert(place, who);
    }

    fn split(&mut self) -> Self {
        let half = self.keys.len() / 2;
        let right = Self {
            keys: self.keys.split_off(half),
            whos: self.whos.split_off(half),
        };
        self.keys.shrink_to(half + GROWTH);
        self.whos.shrink_to(half + GROWTH);
        right
    }
}

/// Returns the first child whose last entry is not before the wanted one.
fn child_of(lasts: &[Entry], (key, who): Entry, id_of: &impl Fn(u32) -> CandidateId) -> usize {
    lasts.partition_point(|last| {
        let order = last.0.cmp(&key);
        order == Ordering::Less
            || (order == Ordering::Equal && last.1 != who && id_of(last.1) < id_of(who))
    })
}

fn sum(lens: &[u32]) -> u64 {
    lens.iter().map(|&len| u64::from(len)).sum()
}

/// Returns which child an offset falls into, and the offset within it.
fn locate(lens: &[u32], mut offset: u64) -> (usize, u64) {
    for (at, &len) in lens.iter().enumerate() {
        if offset < u64::from(len) {
            return (at, offset);
        }
        offset -= u64::from(len);
    }
    (lens.len(), 0)
}

#[cfg(test)]
impl Order {
    /// Returns the bytes that the entries take, with unused room.
    pub(crate) fn room(&self) -> usize {
        let groups = self.groups.iter();
        groups
            .flat_map(|group| &group.chunks)
            .map(|chunk| chunk.keys.capacity() * 16 + chunk.whos.capacity() * 4 + 48 + 36)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id_of(who: u32) -> CandidateId {
        // ids in another order than the numbers
        let mut id = [0; 16];
        id[..4].copy_from_slice(&who.wrapping_mul(0x9e37_79b9).to_be_bytes());
        id[12..].copy_from_slice(&who.to_be_bytes());
        CandidateId::from(id)
    }

    fn key(n: u32) -> SortKey {
        SortKey::raw(u128::from(n) << 100)
    }

    #[track_caller]
    fn check(order: &Order, model: &[(SortKey, u32)]) {
        let mut sorted = model.to_vec();
        sorted.sort_by_key(|&(key, who)| (key, id_of(who)));
        assert_eq!(order.len(), sorted.len() as u64);
        assert_eq!(order.iter_from(0).collect::<Vec<_>>(), sorted);
        for offset in [0, 1, sorted.len() / 3, sorted.len(), sorted.len() + 7] {
            let page: Vec<_> = order.iter_from(offset as u64).take(20).collect();
            let expected: Vec<_> = sorted.iter().skip(offset).take(20).copied().collect();
            assert_eq!(page, expected, "offset {offset}");
        }
        for (key, _) in sorted.iter().step_by(sorted.len() / 20 + 1) {
            let n_smaller = sorted.iter().filter(|other| other.0 < *key).count() as u64;
            assert_eq!(order.rank(*key), 1 + n_smaller);
        }
        check_levels(order);
    }

    #[track_caller]
    fn check_levels(order: &Order) {
        for (at, group) in order.groups.iter().enumerate() {
            assert!(!group.chunks.is_empty() && group.chunks.len() <= GROUP);
            assert_eq!(
                (order.lasts[at], order.lens[at]),
                (group.last(), group.len())
            );
            for (at, chunk) in group.chunks.iter().enumerate() {
                assert!(!chunk.keys.is_empty() && chunk.keys.len() <= CHUNK);
                assert_eq!(
                    (group.lasts[at], group.lens[at]),
                    (chunk.last(), chunk.len())
                );
            }
        }
    }

    /// Numbers that look random and are the same in every run.
    fn scatter(n: u32) -> u32 {
        n.wrapping_mul(2_654_435_761).rotate_left(13) ^ n
    }

    #[test]
    fn a_large_order_equals_a_sort_while_it_grows_and_shrinks() {
        for n_keys in [1, 7, 50_000] {
            let mut order = Order::default();
            let mut model = Vec::new();
            for who in 0..100_000 {
                let key = key(scatter(who) % n_keys);
                order.insert(key, who, &id_of);
                model.push((key, who));
            }
            assert!(
                order.groups.len() > 1,
                "the test must reach the upper level"
            );
            check(&order, &model);
            let mut kept = Vec::new();
            for (key, who) in model {
                if scatter(who).is_multiple_of(40) {
                    kept.push((key, who));
                } else {
                    assert!(order.remove(key, who, &id_of));
                }
            }
            check(&order, &kept);
            let chunks: usize = order.groups.iter().map(|group| group.chunks.len()).sum();
            assert!(
                chunks <= kept.len() / 16 + order.groups.len(),
                "{chunks} chunks are left"
            );
            for (key, who) in kept {
                assert!(order.remove(key, who, &id_of));
            }
            assert!(order.is_empty() && order.groups.is_empty());
        }
    }

    #[test]
    fn an_order_built_at_once_equals_one_that_grew() {
        let mut model: Vec<_> = (0..200_000)
            .map(|who| (key(scatter(who) % 999), who))
            .collect();
        model.sort_by_key(|&(key, who)| (key, id_of(who)));
        let mut order = Order::from_sorted(model.iter().copied());
        check(&order, &model);
        order.insert(key(5), 200_000, &id_of);
        model.push((key(5), 200_000));
        check(&order, &model);
    }

    #[test]
    fn what_is_not_there_is_not_removed() {
        let mut order = Order::default();
        assert!(!order.remove(key(1), 1, &id_of));
        order.insert(key(1), 1, &id_of);
        assert!(!order.remove(key(2), 1, &id_of));
        assert!(!order.remove(key(1), 2, &id_of));
        assert!(!order.remove(key(0), 1, &id_of));
        check(&order, &[(key(1), 1)]);
    }

    proptest! {
        #[test]
        fn any_mix_of_insertions_and_removals_equals_a_sort(
            steps in prop::collection::vec((any::<bool>(), 0..400u32, 0..6u32), 1..600),
        ) {
            let mut order = Order::default();
            let mut model: Vec<(SortKey, u32)> = Vec::new();
            for (insert, who, n) in steps {
                let at = model.iter().position(|entry| entry.1 == who);
                match (insert, at) {
                    (true, None) => {
                        order.insert(key(n), who, &id_of);
                        model.push((key(n), who));
                    }
                    (false, Some(at)) => {
                        let (key, who) = model.swap_remove(at);
                        prop_assert!(order.remove(key, who, &id_of));
                    }
                    _ => {}
                }
            }
            check(&order, &model);
        }
    }

    #[test]
    fn an_entry_takes_less_than_half_of_64_bytes() {
        // two scopes, 64 bytes a candidate: half of it for each; chunks filled at random
        let mut order = Order::default();
        let n_entries = 300_000u32;
        for who in 0..n_entries {
            order.insert(key(scatter(who)), who, &id_of);
        }
        let room = order.room();
        let bytes_each = room / n_entries as usize;
        assert!(
            (20..32).contains(&bytes_each),
            "{bytes_each} bytes an entry"
        );
    }
}
