//! What an archive says that is not so.
//!
//! Start at [`DifferenceKind`]: one kind for each thing that is checked.

use std::fmt;

/// At most so many are kept: enough to see what went wrong, little enough to print.
const MAX_KEPT: usize = 1_000;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DifferenceKind {
    /// The hash of `paper.bin` is not the one that another file names.
    PaperHash,
    /// The hash of `key.bin` is not the one that another file names.
    KeyHash,
    /// The key half names another paper half.
    KeyNamesPaper,
    /// The secret is not the one that was committed to.
    SecretCommitment,
    /// Exam id or release number differ between the files.
    Identity,
    /// The exam is not closed.
    ExamState,
    /// Paper half and key half do not have the same items by rising number.
    KeyItems,
    /// Paper half and key half have different revisions of an item.
    Revision,
    /// A key that its item cannot have.
    KeyOptions,
    /// A ruling is not the next one, or does not name the one before it.
    RulingChain,
    /// A ruling says what it cannot say.
    Ruling,
    /// A ruling names other items than those whose keys changed.
    RulingItems,
    /// The version of a key is not the one that it should have, or no ruling names it.
    KeyVersion,
    /// A final result has no verdict of the exam's auditor, or names another result.
    FinalVerdict,
    /// Partitions do not follow one another.
    LogOrder,
    /// Positions of a partition are not 1, 2, 3, …
    PositionGap,
    /// A candidate's event stands in another partition than its own.
    WrongPartition,
    /// An entry without event, candidate, or a known kind.
    MalformedEvent,
    /// Attempt numbers of a candidate are not 1, 2, 3, …
    AttemptNumber,
    /// An attempt started while another one of the candidate was running.
    AttemptOverlap,
    /// More attempts than the rules allow, in a round or in all.
    AttemptLimit,
    /// An attempt started outside its round, or the round does not exist.
    RoundWindow,
    /// The deadline is earlier than start plus duration.
    Deadline,
    /// An event of an attempt that had not started or had ended.
    OutsideAttempt,
    /// Sequence numbers of an attempt are not 1, 2, 3, …
    SeqGap,
    /// An answer came after deadline plus grace.
    LateAnswer,
    /// An answer is marked as late by another degree than it was.
    Lateness,
    /// An answer to a position of another section than the present one.
    Section,
    /// An answer to an earlier position, where navigation goes forward only.
    Navigation,
    /// A pause, an extension, a section or a reopening does not follow from what was before it.
    Course,
    /// A fenced device wrote, or a takeover did not raise the epoch.
    Epoch,
    /// The attempt's end names another number of answers than the log has.
    LastSeq,
    /// The attempt's end lies where it cannot.
    EndTime,
    /// The attempt never ended.
    NotEnded,
    /// No paper can be drawn for an attempt.
    PaperInfeasible,
    /// The items on the paper are not those that the draw gives.
    PaperItems,
    /// The order of options is not the one that the draw gives.
    PaperOptions,
    /// The form code is not the paper's.
    FormCode,
    /// The mark "repaired" is wrong.
    Repaired,
    /// An answer to a position that is not on the paper.
    PositionUnknown,
    /// An answer chooses an option that does not exist.
    OptionUnknown,
    /// The kind of response does not fit the item.
    ResponseKind,
    /// A sequence or text that its item does not allow: a wrong length, no permutation, too many blanks.
    ResponseForm,
    /// The head of the answer chain is not the recomputed one.
    Chain,
    /// A control candidate's attempt has another outcome than it must have.
    Control,
    /// A line at the top of `result.tsv` is wrong.
    ResultHeader,
    /// A person is missing in `result.tsv`.
    RowMissing,
    /// A row of `result.tsv` that should not be there.
    RowExtra,
    /// Rows of `result.tsv` are not in order.
    RowOrder,
    /// The nationwide rank is wrong.
    Rank,
    /// The rank in the area is wrong.
    AreaRank,
    /// Score, quanta or number of right items are wrong.
    Score,
    /// Another column of a row is wrong.
    Row,
    /// `result.tsv` differs in a way that none of its lines shows.
    ResultText,
}

/// One thing that an archive says and that is not so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What is wrong.
    pub kind: DifferenceKind,
    /// Who or where: a file, a line, a log position, a candidate.
    pub place: String,
    /// What the verifier computed or the rules ask for.
    pub expected: String,
    /// What the archive says.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            place,
            expected,
            found,
        } = self;
        write!(
            f,
            "{kind:?} · {place} · đúng ra / expected: {expected} · thấy / found: {found}"
        )
    }
}

/// Differences as they are found: the first [`MAX_KEPT`] and the number of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Differences {
    pub(crate) kept: Vec<Difference>,
    pub(crate) n_found: u64,
}

impl Differences {
    pub(crate) fn push(
        &mut self,
        kind: DifferenceKind,
        place: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) {
        self.n_found += 1;
        if self.kept.len() < MAX_KEPT {
            self.kept.push(Difference {
                kind,
                place: place.to_string(),
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
    }

    /// Pushes if the two differ.
    pub(crate) fn compare<T: PartialEq + fmt::Display>(
        &mut self,
        kind: DifferenceKind,
        place: impl fmt::Display,
        expected: T,
        found: T,
    ) {
        if expected != found {
            self.push(kind, place, expected, found);
        }
    }

    /// Pushes if the two byte strings differ; they are shown in hexadecimal.
    pub(crate) fn compare_bytes(
        &mut self,
        kind: DifferenceKind,
        place: impl fmt::Display,
        expected: &[u8],
        found: &[u8],
    ) {
        if expected != found {
            self.push(kind, place, hex::encode(expected), hex::encode(found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_are_kept_and_all_are_counted() {
        let mut differences = Differences::default();
        for i in 0..1_500 {
            differences.compare(DifferenceKind::Rank, "somewhere", i, i + 1);
            differences.compare(DifferenceKind::Rank, "somewhere", i, i);
        }
        assert_eq!(differences.kept.len(), 1_000);
        assert_eq!(differences.n_found, 1_500);
    }
}
