//! A map in which a zero entry is no entry.
//!
//! Invariant: two maps that were changed by the same amounts, in whatever order, are equal.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

use crate::id::BuildIdHasher;

/// Sums by key; what adds up to zero is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sparse<K: Eq + Hash, V>(HashMap<K, V, BuildIdHasher>);

impl<K: Eq + Hash, V> Default for Sparse<K, V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Copy + Ord + Hash, V: Copy + Default + PartialEq> Sparse<K, V> {
    /// Changes the entry of a key.
    pub(super) fn change(&mut self, key: K, change: impl FnOnce(&mut V)) {
        match self.0.entry(key) {
            Entry::Occupied(mut entry) => {
                change(entry.get_mut());
                if *entry.get() == V::default() {
                    entry.remove();
                }
            }
            Entry::Vacant(entry) => {
                let mut value = V::default();
                change(&mut value);
                if value != V::default() {
                    entry.insert(value);
                }
            }
        }
    }

    /// Adds the entries of another map.
    pub(super) fn merge(&mut self, other: &Self, add: impl Fn(&mut V, V)) {
        for (&key, &theirs) in &other.0 {
            self.change(key, |mine| add(mine, theirs));
        }
    }

    /// Returns the entries by rising key, so that no sum depends on the order of the map.
    pub(super) fn sorted(&self) -> Vec<(K, V)> {
        let mut entries: Vec<_> = self.0.iter().map(|(&key, &value)| (key, value)).collect();
        entries.sort_unstable_by_key(|&(key, _)| key);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_adds_up_to_zero_is_gone() {
        let mut map: Sparse<i64, i64> = Sparse::default();
        map.change(7, |n| *n -= 2);
        assert_eq!(map.sorted(), [(7, -2)]);
        assert_ne!(map, Sparse::default());
        map.change(7, |n| *n += 2);
        assert_eq!(map, Sparse::default());
    }
}
