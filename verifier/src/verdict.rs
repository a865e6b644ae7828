//! What the verifier has to say of an archive.

use std::fmt;

use crate::Difference;

/// Differences printed in full by `Display`; the others are counted.
const MAX_PRINTED: usize = 20;

/// The outcome of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Entries of the log.
    pub n_events: u64,
    /// Attempts started.
    pub n_attempts: u64,
    /// Answers stored.
    pub n_answers: u64,
    /// Persons who started an attempt.
    pub n_persons: u64,
    /// Papers drawn again.
    pub n_papers_rebuilt: u64,
    /// Ended attempts of control candidates whose outcome was checked; in none of the numbers of persons, attempts and answers.
    pub n_control_attempts: u64,
    /// BLAKE3 of the result file as the verifier writes it.
    pub result_hash: [u8; 32],
    /// The first 1,000 differences.
    pub differences: Vec<Difference>,
    /// All differences.
    pub n_differences: u64,
}

impl Verdict {
    /// Tells whether the archive is what it claims to be.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.n_differences == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            n_events,
            n_attempts,
            n_answers,
            n_persons,
            n_papers_rebuilt,
            n_control_attempts,
            ..
        } = self;
        let n = self.n_differences;
        let hash = hex::encode(self.result_hash);
        if self.ok() {
            writeln!(
                f,
                "ĐÚNG: hồ sơ kỳ thi toàn vẹn, kết quả trùng khớp từng byte."
            )?;
        } else {
            writeln!(f, "SAI: hồ sơ kỳ thi có {n} điểm không khớp.")?;
        }
        writeln!(
            f,
            "Đã đọc {n_events} sự kiện, {n_persons} người, {n_attempts} lượt thi, {n_answers} câu \
             trả lời; dựng lại {n_papers_rebuilt} đề; đối chiếu {n_control_attempts} lượt thi kiểm soát. Mã băm kết quả: {hash}."
        )?;
        if self.ok() {
            writeln!(
                f,
                "RIGHT: the archive is whole and its result is the same, byte for byte."
            )?;
        } else {
            writeln!(f, "WRONG: the archive has {n} differences.")?;
        }
        writeln!(
            f,
            "Read {n_events} events, {n_persons} persons, {n_attempts} attempts, {n_answers} \
             answers; rebuilt {n_papers_rebuilt} papers; checked {n_control_attempts} control attempts. Result hash: {hash}."
        )?;
        for difference in self.differences.iter().take(MAX_PRINTED) {
            writeln!(f, "- {difference}")?;
        }
        if usize::try_from(n).is_ok_and(|n| n > MAX_PRINTED) {
            writeln!(f, "- …")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DifferenceKind;

    fn verdict(n: usize) -> Verdict {
        let difference = Difference {
            kind: DifferenceKind::Rank,
            place: "result.tsv line 10, rank".to_owned(),
            expected: "1".to_owned(),
            found: "2".to_owned(),
        };
        Verdict {
            n_events: 5,
            n_attempts: 1,
            n_answers: 3,
            n_persons: 1,
            n_papers_rebuilt: 1,
            n_control_attempts: 3,
            result_hash: [0xab; 32],
            differences: vec![difference; n],
            n_differences: u64::try_from(n).unwrap(),
        }
    }

    #[test]
    fn the_verdict_reads_in_vietnamese_first_then_in_english() {
        let right = verdict(0).to_string();
        assert!(right.starts_with("ĐÚNG: "), "{right}");
        assert!(right.contains("\nRIGHT: "), "{right}");
        assert!(
            right.contains("5 sự kiện") && right.contains("5 events"),
            "{right}"
        );
    }

    #[test]
    fn differences_are_listed_until_they_are_too_many() {
        let wrong = verdict(1).to_string();
        assert!(wrong.starts_with("SAI: hồ sơ kỳ thi có 1 "), "{wrong}");
        let line = "- Rank · result.tsv line 10, rank · đúng ra / expected: 1 · thấy / found: 2\n";
        assert!(wrong.ends_with(line), "{wrong}");
        let many = verdict(21).to_string();
        assert_eq!(many.matches(line).count(), 20);
        assert!(many.ends_with("- …\n"), "{many}");
    }
}
