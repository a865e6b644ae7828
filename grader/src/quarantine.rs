//! Log entries that cannot be true: kept aside with their reason while the count goes on.
//!
//! One of them blocks publication; none of them stops the fold. The first few of each partition are kept, so that
//! what is kept does not depend on how partitions interleave.

use std::fmt;

/// Entries kept a partition: enough to see a pattern, 256 partitions of them take 400 KiB.
const KEPT: usize = 64;

/// Why an entry cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The entry says nothing that is known here.
    EventUnknown = 1,
    /// The candidate id is not 16 bytes.
    CandidateMalformed = 2,
    /// The candidate belongs to another partition.
    PartitionWrong = 3,
    /// Nobody started this attempt.
    AttemptUnknown = 4,
    /// The attempt has ended.
    AttemptEnded = 5,
    /// Another attempt of the person is running, or a later one has started.
    AttemptNotNext = 6,
    /// Attempts are numbered from 1 to 65,535.
    AttemptOutOfRange = 7,
    /// The exam has no such round.
    RoundUnknown = 8,
    /// The area code is none, or there are too many.
    AreaMalformed = 9,
    /// The package has no such item.
    ItemUnknown = 10,
    /// The paper has another length than the blueprint says, an item twice, an option order that is no permutation,
    /// or no form code.
    PaperMalformed = 11,
    /// An earlier answer of the attempt is missing, or the answer is numbered 0.
    SeqGap = 12,
    /// The position is not on the paper.
    AnswerPositionUnknown = 13,
    /// The option does not exist on the item.
    AnswerOptionOutOfRange = 14,
    /// The kind of response does not fit the item.
    AnswerTypeMismatch = 15,
    /// The end names another number of answers than the log holds.
    LastSeqWrong = 16,
    /// The attempt ended before it started, after 49 days, or after the year 2109.
    TimeOutOfRange = 17,
    /// Nobody known ended the attempt.
    EndedByUnknown = 18,
}

impl Reason {
    const ALL: [Self; 18] = [
        Self::EventUnknown,
        Self::CandidateMalformed,
        Self::PartitionWrong,
        Self::AttemptUnknown,
        Self::AttemptEnded,
        Self::AttemptNotNext,
        Self::AttemptOutOfRange,
        Self::RoundUnknown,
        Self::AreaMalformed,
        Self::ItemUnknown,
        Self::PaperMalformed,
        Self::SeqGap,
        Self::AnswerPositionUnknown,
        Self::AnswerOptionOutOfRange,
        Self::AnswerTypeMismatch,
        Self::LastSeqWrong,
        Self::TimeOutOfRange,
        Self::EndedByUnknown,
    ];

    /// Returns the reason with this number in a snapshot.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|&reason| u32::from(reason as u8) == number)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EventUnknown => "the event is of no known kind",
            Self::CandidateMalformed => "the candidate id is not 16 bytes",
            Self::PartitionWrong => "the candidate belongs to another partition",
            Self::AttemptUnknown => "nobody started this attempt",
            Self::AttemptEnded => "the attempt has ended",
            Self::AttemptNotNext => "another attempt is running or a later one has started",
            Self::AttemptOutOfRange => "the attempt number is out of range",
            Self::RoundUnknown => "the exam has no such round",
            Self::AreaMalformed => "the area code is malformed",
            Self::ItemUnknown => "the package has no such item",
            Self::PaperMalformed => "the paper does not fit the blueprint",
            Self::SeqGap => "an earlier answer is missing",
            Self::AnswerPositionUnknown => "the position is not on the paper",
            Self::AnswerOptionOutOfRange => "the option does not exist",
            Self::AnswerTypeMismatch => "the kind of response does not fit the item",
            Self::LastSeqWrong => "the end names another number of answers",
            Self::TimeOutOfRange => "the attempt's times are out of range",
            Self::EndedByUnknown => "nobody known ended the attempt",
        })
    }
}

/// One entry kept aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its partition.
    pub partition: u32,
    /// Its position.
    pub position: u64,
    /// Why it cannot be true.
    pub reason: Reason,
}

/// Entries kept aside, by partition.
#[derive(Clone, Debug)]
pub(crate) struct Quarantine {
    partitions: Vec<Ward>,
}

#[derive(Clone, Debug, Default)]
struct Ward {
    n_entries: u64,
    first: Vec<(u64, Reason)>,
}

impl Quarantine {
    pub(crate) fn new(n_partitions: usize) -> Self {
        Self {
            partitions: vec![Ward::default(); n_partitions],
        }
    }

    /// Takes one entry of a partition the exam has.
    pub(crate) fn take(&mut self, partition: usize, position: u64, reason: Reason) {
        let ward = &mut self.partitions[partition];
        ward.n_entries += 1;
        if ward.first.len() < KEPT {
            ward.first.push((position, reason));
        }
    }

    /// Sets how many entries of a partition were taken in all, kept ones included.
    pub(crate) fn restore_len(&mut self, partition: usize, n_entries: u64) {
        self.partitions[partition].n_entries = n_entries;
    }

    pub(crate) fn len(&self) -> u64 {
        self.lens().sum()
    }

    /// Returns the number of entries taken, by partition.
    pub(crate) fn lens(&self) -> impl Iterator<Item = u64> + '_ {
        self.partitions.iter().map(|ward| ward.n_entries)
    }

    /// Returns the entries kept, by partition and position.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Quarantined> + '_ {
        (0..).zip(&self.partitions).flat_map(|(partition, ward)| {
            ward.first
                .iter()
                .map(move |&(position, reason)| Quarantined {
                    partition,
                    position,
                    reason,
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_entries_are_counted_and_the_first_of_each_partition_kept() {
        let mut quarantine = Quarantine::new(2);
        for position in 1..=200 {
            quarantine.take(0, position, Reason::SeqGap);
        }
        quarantine.take(1, 9, Reason::ItemUnknown);
        assert_eq!(quarantine.len(), 201);
        let kept: Vec<_> = quarantine.iter().collect();
        assert_eq!(kept.len(), KEPT + 1);
        assert_eq!(kept[KEPT - 1].position, KEPT as u64);
        assert_eq!(kept[KEPT].reason, Reason::ItemUnknown);
    }

    #[test]
    fn every_reason_is_read_back_by_its_number() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(reason as u32), Some(reason));
        }
        assert_eq!(Reason::from_number(0), None);
        assert_eq!(Reason::from_number(19), None);
    }
}
