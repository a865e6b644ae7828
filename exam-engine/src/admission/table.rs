//! Numbers by key in a fixed room: sets of eight, in which the smallest number makes place.
//!
//! For a bucket's state that is the one that was used longest ago. Whoever is forgotten begins anew, so a crowd of made-up
//! keys costs no memory and nobody's access. Start at [`Table::update`].

use std::sync::Mutex;

const WAYS: usize = 8;

#[derive(Clone, Copy, Default)]
struct Slot {
    key: u64,
    value: u64,
}

/// A fixed number of numbers, by hashed key.
pub(super) struct Table {
    sets: Box<[Mutex<[Slot; WAYS]>]>,
}

impl Table {
    /// Makes room for `n` numbers, 16 bytes each.
    pub(super) fn new(n: usize) -> Self {
        let n_sets = (n / WAYS).max(1).next_power_of_two();
        Self {
            sets: (0..n_sets).map(|_| Mutex::default()).collect(),
        }
    }

    /// Changes the number of a key; an unknown key has 0.
    pub(super) fn update<T>(&self, key: u64, change: impl FnOnce(&mut u64) -> T) -> T {
        let key = key.max(1); // 0 marks an empty slot
        let index = usize::try_from(key >> 8).unwrap_or(usize::MAX) & (self.sets.len() - 1);
        let mut set = self.sets[index].lock().expect("no panic under this lock");
        let place = set
            .iter()
            .position(|slot| slot.key == key)
            .unwrap_or_else(|| {
                let oldest = (0..WAYS)
                    .min_by_key(|way| set[*way].value)
                    .expect("a set has ways");
                set[oldest] = Slot { key, value: 0 };
                oldest
            });
        change(&mut set[place].value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_numbers_of_their_own_and_the_smallest_is_forgotten_first() {
        let table = Table::new(WAYS);
        for key in 1..=8 {
            table.update(key, |value| *value = 100 + key);
        }
        assert_eq!(table.update(5, |value| *value), 105);
        table.update(9, |value| *value = 200);
        assert_eq!(table.update(9, |value| *value), 200);
        assert_eq!(table.update(8, |value| *value), 108);
        assert_eq!(
            table.update(1, |value| *value),
            0,
            "the oldest was forgotten"
        );
    }
}
