//! Checks that exam, paper half, key half and secret belong together.
//!
//! Source: `docs/FORMATS.md`, section 1, and the comments of `exam.proto`, `bank.proto`, `key.proto`.

use proto::{
    bank::v1::{ItemType, PaperItem},
    exam::v1::ExamState,
    key::v1::ItemKey,
};

use crate::{Archive, DifferenceKind, Error, difference::Differences};

/// Checks hashes, names and keys.
pub(crate) fn check(archive: &Archive, differences: &mut Differences) -> Result<(), Error> {
    if archive.key_half.format != 1 {
        return Err(Error::invalid(
            "format of the key half",
            archive.key_half.format,
        ));
    }
    check_hashes(archive, differences);
    check_names(archive, differences);
    check_keys(archive, differences);
    Ok(())
}

fn check_hashes(archive: &Archive, differences: &mut Differences) {
    let commitment = blake3::hash(&archive.secret);
    let exam = &archive.exam;
    for (kind, place, computed, named) in [
        (
            DifferenceKind::PaperHash,
            "exam.bin",
            &archive.paper_hash,
            &exam.paper_hash,
        ),
        (
            DifferenceKind::KeyHash,
            "exam.bin",
            &archive.key_hash,
            &exam.key_hash,
        ),
        (
            DifferenceKind::KeyNamesPaper,
            "key.bin",
            &archive.paper_hash,
            &archive.key_half.paper_hash,
        ),
        (
            DifferenceKind::SecretCommitment,
            "exam.bin",
            commitment.as_bytes(),
            &exam.secret_commitment,
        ),
    ] {
        differences.compare_bytes(kind, place, computed, named);
    }
}

fn check_names(archive: &Archive, differences: &mut Differences) {
    let (paper, key, spec) = (&archive.paper_half, &archive.key_half, &archive.spec);
    let kind = DifferenceKind::Identity;
    differences.compare(kind, "exam id in paper.bin", &spec.exam_id, &paper.exam_id);
    differences.compare(kind, "exam id in key.bin", &spec.exam_id, &key.exam_id);
    differences.compare(
        kind,
        "release in paper.bin",
        spec.release_no,
        paper.release_no,
    );
    let state = archive.exam.state();
    if state != ExamState::Closed {
        let (expected, found) = (ExamState::Closed.as_str_name(), state.as_str_name());
        differences.push(DifferenceKind::ExamState, "exam.bin", expected, found);
    }
}

/// Both halves have the same items by rising number, so they can be read side by side.
fn check_keys(archive: &Archive, differences: &mut Differences) {
    let (items, keys) = (&archive.paper_half.items, &archive.key_half.keys);
    let item_ids: Vec<u32> = items.iter().map(|item| item.item_id).collect();
    let key_ids: Vec<u32> = keys.iter().map(|key| key.item_id).collect();
    if !item_ids.is_sorted_by(|a, b| a < b) {
        let found = format!("{item_ids:?}");
        differences.push(
            DifferenceKind::KeyItems,
            "paper.bin",
            "rising item numbers",
            found,
        );
    }
    if item_ids != key_ids {
        let (expected, found) = (format!("{item_ids:?}"), format!("{key_ids:?}"));
        return differences.push(DifferenceKind::KeyItems, "key.bin", expected, found);
    }
    for (item, key) in items.iter().zip(keys) {
        let place = format!("item {}", item.item_id);
        differences.compare_bytes(
            DifferenceKind::Revision,
            &place,
            &item.revision,
            &key.revision,
        );
        check_key(&place, item, key, differences);
    }
}

fn check_key(place: &str, item: &PaperItem, key: &ItemKey, differences: &mut Differences) {
    let n_right = key.right_options.count_ones();
    let all_exist = u64::from(key.right_options) >> item.options.len().min(63) == 0;
    let is_possible = match item.r#type() {
        ItemType::SingleChoice | ItemType::TrueFalse => n_right == 1,
        ItemType::MultipleChoice => n_right >= 1,
        ItemType::Prediction => true, // never scored
        other => {
            let found = other.as_str_name();
            return differences.push(DifferenceKind::ItemType, place, "a scoring rule", found);
        }
    };
    if !(is_possible && all_exist) {
        let expected = format!("a key of a {}", item.r#type().as_str_name());
        let found = format!("{:#b} of {} options", key.right_options, item.options.len());
        differences.push(DifferenceKind::KeyOptions, place, expected, found);
    }
}

#[cfg(test)]
mod tests {
    use DifferenceKind as D;

    use super::*;
    use crate::test_exam::{TestExam, check};

    #[test]
    fn a_foreign_hash_in_the_exam_is_found() {
        check(
            |exam| exam.exam.paper_hash = vec![1; 32].into(),
            &[D::PaperHash],
        );
        check(
            |exam| exam.exam.key_hash = vec![1; 32].into(),
            &[D::KeyHash],
        );
        check(
            |exam| exam.exam.secret_commitment = vec![1; 32].into(),
            &[D::SecretCommitment],
        );
    }

    #[test]
    fn a_foreign_hash_in_the_result_is_found() {
        check(
            |exam| exam.set_header("paper", &"0".repeat(64)),
            &[D::PaperHash],
        );
        check(
            |exam| exam.set_header("key", &"0".repeat(64)),
            &[D::KeyHash],
        );
    }

    #[test]
    fn one_changed_letter_of_a_half_is_found() {
        let kinds = [D::PaperHash, D::KeyNamesPaper];
        check(|exam| exam.paper.items[0].text.push('!'), &kinds);
        check(|exam| exam.key.key_version = 2, &[D::KeyHash]);
    }

    #[test]
    fn a_key_of_another_paper_is_found() {
        check(
            |exam| {
                exam.key.paper_hash = vec![1; 32].into();
                exam.seal_key();
            },
            &[D::KeyNamesPaper],
        );
    }

    #[test]
    fn another_secret_is_found_by_its_commitment_and_by_every_paper() {
        let mut exam = TestExam::new();
        exam.secret[0] ^= 1;
        let kinds = exam.kinds();
        assert!(
            kinds.contains(&D::SecretCommitment) && kinds.contains(&D::PaperItems),
            "{kinds:?}"
        );
    }

    #[test]
    fn foreign_names_are_found() {
        let sealed = |change: fn(&mut TestExam), kind| {
            let tamper = |exam: &mut TestExam| {
                change(exam);
                exam.seal();
            };
            check(tamper, &[kind]);
        };
        sealed(|exam| exam.paper.exam_id.push('x'), D::Identity);
        sealed(|exam| exam.key.exam_id.push('x'), D::Identity);
        sealed(|exam| exam.paper.release_no = 4, D::Identity);
        sealed(
            |exam| exam.exam.state = ExamState::Open.into(),
            D::ExamState,
        );
        sealed(
            |exam| exam.key.keys[2].revision = vec![3; 32].into(),
            D::Revision,
        );
        sealed(
            |exam| exam.paper.items[2].revision = vec![3; 32].into(),
            D::Revision,
        );
        sealed(|exam| exam.key.keys.swap(0, 1), D::KeyItems);
    }

    #[test]
    fn halves_with_other_items_are_found() {
        let mut exam = TestExam::new();
        exam.key.keys.pop();
        exam.seal();
        assert!(exam.kinds().contains(&D::KeyItems));
        let mut exam = TestExam::new();
        exam.paper.items.swap(0, 1);
        exam.key.keys.swap(0, 1);
        exam.seal();
        assert_eq!(exam.kinds(), [D::KeyItems]);
    }

    #[test]
    fn impossible_keys_are_found() {
        let found = |index: usize, right_options| {
            let mut exam = TestExam::new();
            exam.key.keys[index].right_options = right_options;
            exam.seal();
            exam.kinds().contains(&D::KeyOptions)
        };
        assert!(found(0, 0b11), "two right ones in a single choice");
        assert!(found(0, 0b1_0000), "an option that does not exist");
        assert!(found(6, 0), "true/false without a key");
        assert!(found(11, 0), "nothing right in a multiple choice");
        assert!(!found(11, 0b1_1111), "all right in a multiple choice");
    }

    #[test]
    fn types_without_a_rule_are_found() {
        let mut exam = TestExam::new();
        exam.paper.items[0].r#type = ItemType::Ordering.into();
        exam.seal();
        assert!(exam.kinds().contains(&D::ItemType));
    }

    #[test]
    fn a_key_half_of_another_format_is_refused() {
        let mut exam = TestExam::new();
        exam.key.format = 2;
        exam.seal();
        assert!(matches!(exam.verify(), Err(Error::Invalid { .. })));
    }
}
