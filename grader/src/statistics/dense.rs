//! Sums by a small number: areas, cohorts, sections.
//!
//! Invariant: two that were changed by the same amounts, in whatever order, are equal.

/// Sums by number; the last one is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dense<V>(Vec<V>);

impl<V: Copy + Default + PartialEq> Dense<V> {
    /// Changes the entry of a number.
    #[inline]
    pub(super) fn change(&mut self, at: u16, change: impl FnOnce(&mut V)) {
        let at = usize::from(at);
        if at >= self.0.len() {
            self.0.resize(at + 1, V::default());
        }
        change(&mut self.0[at]);
        while self.0.last().is_some_and(|last| *last == V::default()) {
            self.0.pop();
        }
    }

    /// Adds the entries of another one.
    pub(super) fn merge(&mut self, other: &Self, add: impl Fn(&mut V, V)) {
        for (at, theirs) in (0..).zip(&other.0) {
            self.change(at, |mine| add(mine, *theirs));
        }
    }

    /// Returns the entries that are not zero, by rising number.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u16, V)> + '_ {
        let entries = (0..).zip(self.0.iter().copied());
        entries.filter(|(_, value)| *value != V::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_adds_up_to_zero_is_gone() {
        let mut sums: Dense<i64> = Dense::default();
        sums.change(3, |n| *n += 2);
        sums.change(1, |n| *n -= 1);
        assert_eq!(sums.entries().collect::<Vec<_>>(), [(1, -1), (3, 2)]);
        sums.change(3, |n| *n -= 2);
        assert_eq!(sums.entries().collect::<Vec<_>>(), [(1, -1)]);
        sums.change(1, |n| *n += 1);
        assert_eq!(sums, Dense::default());
    }
}
