//! Checks that exam, paper half, key half and secret belong together.
//!
//! Source: `docs/FORMATS.md`, section 1, and the comments of `exam.proto`, `bank.proto`, `key.proto`.

use proto::{
    bank::v1::{ItemType, PaperItem},
    exam::v1::ExamState,
    key::v1::ItemKey,
};

use crate::{
    Archive, DifferenceKind, Error,
    difference::Differences,
    score::{item::blanks, sequence::is_permutation},
};

/// An item weighs at most so many percent.
const MAX_WEIGHT_PERCENT: u32 = 1_000;

/// A blank of a cloze weighs at most so much.
const MAX_BLANK_WEIGHT: u32 = 100;

/// Checks hashes, names and keys, of every version of the key half.
pub(crate) fn check(archive: &Archive, differences: &mut Differences) -> Result<(), Error> {
    for key in &archive.keys {
        if key.half.format != 1 {
            return Err(Error::invalid("format of the key half", key.half.format));
        }
    }
    check_hashes(archive, differences);
    check_names(archive, differences);
    check_items(&archive.paper_half.items, differences);
    for key in &archive.keys {
        check_keys(
            &archive.paper_half.items,
            &key.half.keys,
            &key.name,
            differences,
        );
    }
    Ok(())
}

fn check_hashes(archive: &Archive, differences: &mut Differences) {
    let exam = &archive.exam;
    let commitment = *blake3::hash(&archive.secret).as_bytes();
    let first = &archive.keys[0];
    for (kind, computed, named) in [
        (
            DifferenceKind::PaperHash,
            &archive.paper_hash,
            &exam.paper_hash,
        ),
        (DifferenceKind::KeyHash, &first.hash, &exam.key_hash),
        (
            DifferenceKind::SecretCommitment,
            &commitment,
            &exam.secret_commitment,
        ),
    ] {
        differences.compare_bytes(kind, "exam.bin", computed, named);
    }
    let kind = DifferenceKind::KeyVersion;
    differences.compare(kind, &first.name, 1, first.half.key_version);
    for key in &archive.keys {
        let kind = DifferenceKind::KeyNamesPaper;
        differences.compare_bytes(kind, &key.name, &archive.paper_hash, &key.half.paper_hash);
    }
}

fn check_names(archive: &Archive, differences: &mut Differences) {
    let (paper, spec) = (&archive.paper_half, &archive.spec);
    let kind = DifferenceKind::Identity;
    differences.compare(kind, "exam id in paper.bin", &spec.exam_id, &paper.exam_id);
    for key in &archive.keys {
        let place = format_args!("exam id in {}", key.name);
        differences.compare(kind, place, &spec.exam_id, &key.half.exam_id);
    }
    let place = "release in paper.bin";
    differences.compare(kind, place, spec.release_no, paper.release_no);
    let state = archive.exam.state();
    if state != ExamState::Closed {
        let (expected, found) = (ExamState::Closed.as_str_name(), state.as_str_name());
        differences.push(DifferenceKind::ExamState, "exam.bin", expected, found);
    }
}

pub(crate) fn check_items(items: &[PaperItem], differences: &mut Differences) {
    if !items.is_sorted_by(|a, b| a.item_id < b.item_id) {
        let ids: Vec<u32> = items.iter().map(|item| item.item_id).collect();
        let kind = DifferenceKind::KeyItems;
        differences.push(kind, "paper.bin", "rising item numbers", format!("{ids:?}"));
    }
}

/// Both halves have the same items by rising number, so they can be read side by side.
pub(crate) fn check_keys(
    items: &[PaperItem],
    keys: &[ItemKey],
    name: &str,
    differences: &mut Differences,
) {
    let item_ids: Vec<u32> = items.iter().map(|item| item.item_id).collect();
    let key_ids: Vec<u32> = keys.iter().map(|key| key.item_id).collect();
    if item_ids != key_ids {
        let (expected, found) = (format!("{item_ids:?}"), format!("{key_ids:?}"));
        return differences.push(DifferenceKind::KeyItems, name, expected, found);
    }
    for (item, own) in items.iter().zip(keys) {
        let place = format!("{name}, item {}", item.item_id);
        let kind = DifferenceKind::Revision;
        differences.compare_bytes(kind, &place, &item.revision, &own.revision);
        check_key(&place, item, own, differences);
    }
}

fn check_key(place: &str, item: &PaperItem, key: &ItemKey, differences: &mut Differences) {
    let kind = DifferenceKind::KeyOptions;
    if key.weight_percent > MAX_WEIGHT_PERCENT {
        let expected = format!("at most {MAX_WEIGHT_PERCENT} percent");
        differences.push(kind, place, expected, key.weight_percent);
    }
    if let Some(blank) = key
        .blanks
        .iter()
        .find(|blank| blank.weight > MAX_BLANK_WEIGHT)
    {
        let expected = format!("weights of blanks up to {MAX_BLANK_WEIGHT}");
        differences.push(kind, place, expected, blank.weight);
    }
    if !is_whole(item) || !is_possible(item, key) {
        let expected = format!("a key of a {}", item.r#type().as_str_name());
        let found = format!(
            "{:#b}, {} more sets, {} sequences, {} blanks; item of {} options",
            key.right_options,
            key.accepted.len(),
            key.sequences.len(),
            key.blanks.len(),
            item.options.len()
        );
        differences.push(kind, place, expected, found);
    }
}

/// Tells whether an item has the parts of its type.
fn is_whole(item: &PaperItem) -> bool {
    let (options, targets, blanks) = match item.r#type() {
        ItemType::SingleChoice
        | ItemType::MultipleChoice
        | ItemType::TrueFalse
        | ItemType::Ordering => (2..=12, 0..=0, 0..=0),
        ItemType::Cluster => (1..=12, 0..=0, 0..=0),
        ItemType::Matching => (2..=12, 2..=12, 0..=0),
        ItemType::Cloze => (0..=0, 0..=0, 1..=20),
        ItemType::Numeric | ItemType::ShortText | ItemType::Prediction => (0..=0, 0..=0, 0..=0),
        ItemType::Unspecified => return false,
    };
    options.contains(&item.options.len())
        && targets.contains(&item.targets.len())
        && blanks.contains(&item.n_blanks)
}

/// Tells whether an item can have a key at all.
fn is_possible(item: &PaperItem, key: &ItemKey) -> bool {
    let n = item.options.len();
    let exist = |set: u32| u64::from(set) >> n.min(63) == 0;
    let all_exist = exist(key.right_options) && key.accepted.iter().all(|set| exist(*set));
    let item_type = item.r#type();
    let is_of_n = |sequence: &&[u8]| sequence.len() == n;
    let mut sequences = key.sequences.iter().map(AsRef::as_ref);
    let chooses = key.sequences.is_empty() && key.blanks.is_empty();
    let chooses_nothing = key.right_options == 0 && key.accepted.is_empty();
    let arranges = chooses_nothing && key.blanks.is_empty() && !key.sequences.is_empty();
    let writes = chooses_nothing && key.sequences.is_empty();
    match item_type {
        ItemType::SingleChoice | ItemType::TrueFalse => {
            let are_single = key.accepted.iter().all(|set| set.count_ones() == 1);
            chooses && all_exist && key.right_options != 0 && are_single
        }
        ItemType::MultipleChoice => {
            chooses && all_exist && key.right_options != 0 && !key.accepted.contains(&0)
        }
        ItemType::Cluster => chooses && all_exist,
        ItemType::Matching => {
            let n_targets = item.targets.len();
            let is_key = |sequence: &[u8]| {
                is_of_n(&sequence)
                    && sequence
                        .iter()
                        .all(|&target| usize::from(target) < n_targets)
            };
            arranges && sequences.all(is_key)
        }
        ItemType::Ordering => {
            let is_key = |sequence: &[u8]| is_of_n(&sequence) && is_permutation(sequence);
            arranges && sequences.all(is_key)
        }
        ItemType::Numeric | ItemType::ShortText => {
            let is_number = item_type == ItemType::Numeric;
            let is_told = key.blanks.iter().all(|blank| blank.numeric == is_number);
            writes && is_told && is_text_key(1, item_type, key)
        }
        ItemType::Cloze => writes && is_text_key(item.n_blanks as usize, item_type, key),
        ItemType::Prediction => writes && key.blanks.is_empty(),
        ItemType::Unspecified => false,
    }
}

fn is_text_key(n_blanks: usize, item_type: ItemType, key: &ItemKey) -> bool {
    let all_accept = key.blanks.iter().all(|blank| !blank.accepted.is_empty());
    key.blanks.len() == n_blanks && all_accept && blanks(item_type, key).is_some()
}

#[cfg(test)]
mod tests {
    use DifferenceKind as D;
    use proto::key::v1::BlankKey;

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
        let kinds = [D::KeyHash, D::KeyVersion, D::ResultHeader];
        check(|exam| exam.key.key_version = 2, &kinds);
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
        assert!(!found(0, 0b11), "either is right in a single choice");
        assert!(found(0, 0b1_0000), "an option that does not exist");
        assert!(found(6, 0), "true/false without a key");
        assert!(found(11, 0), "nothing right in a multiple choice");
        assert!(!found(11, 0b1_1111), "all right in a multiple choice");
    }

    /// Gives item 1 another type and key, and tells whether the key is found to be impossible.
    fn is_impossible(
        item_type: ItemType,
        change: impl FnOnce(&mut PaperItem, &mut ItemKey),
    ) -> bool {
        let mut exam = TestExam::new();
        let (item, key) = (&mut exam.paper.items[0], &mut exam.key.keys[0]);
        item.r#type = item_type.into();
        change(item, key);
        exam.seal();
        exam.kinds().contains(&D::KeyOptions)
    }

    #[test]
    fn impossible_sequences_are_found() {
        let keys = |item_type, sequences: &[&[u8]]| {
            is_impossible(item_type, |item, key| {
                if item_type == ItemType::Matching {
                    item.targets = item.options[..3].to_vec();
                }
                key.right_options = 0;
                key.sequences = sequences.iter().map(|s| s.to_vec().into()).collect();
            })
        };
        assert!(!keys(ItemType::Ordering, &[&[3, 1, 0, 2]]));
        assert!(keys(ItemType::Ordering, &[]));
        assert!(keys(ItemType::Ordering, &[&[3, 1, 0, 2], &[3, 1, 0]]));
        assert!(keys(ItemType::Ordering, &[&[3, 1, 0, 0]]));
        assert!(!keys(ItemType::Matching, &[&[2, 2, 0, 1]]));
        assert!(
            keys(ItemType::Matching, &[&[3, 2, 0, 1]]),
            "there are three targets"
        );
        assert!(keys(ItemType::Matching, &[&[2, 2, 0]]));
    }

    #[test]
    fn impossible_blanks_are_found() {
        let blank = |accepted: &[&str]| BlankKey {
            accepted: accepted.iter().map(|&text| text.to_owned()).collect(),
            ..BlankKey::default()
        };
        let keys = |item_type, n_blanks, blanks: Vec<BlankKey>| {
            is_impossible(item_type, |item, key| {
                item.options.clear();
                item.n_blanks = n_blanks;
                key.right_options = 0;
                key.blanks = blanks;
            })
        };
        let number = |accepted: &str| BlankKey {
            numeric: true,
            ..blank(&[accepted])
        };
        for right in ["12.5", "-12.5", "012"] {
            assert!(!keys(ItemType::Numeric, 0, vec![number(right)]), "{right}");
        }
        for wrong in ["12,5", "12.", ".5", "+12", "\u{2212}12", " 12", "1 000", ""] {
            assert!(keys(ItemType::Numeric, 0, vec![number(wrong)]), "{wrong}");
        }
        assert!(
            keys(ItemType::Numeric, 0, vec![blank(&["12.5"])]),
            "it wants a number"
        );
        assert!(keys(ItemType::ShortText, 0, vec![number("12.5")]));
        assert!(!keys(
            ItemType::Cloze,
            2,
            vec![number("12.5"), blank(&["x"])]
        ));
        let heavy = |weight| BlankKey {
            weight,
            ..blank(&["x"])
        };
        assert!(!keys(ItemType::Cloze, 1, vec![heavy(100)]));
        assert!(keys(ItemType::Cloze, 1, vec![heavy(101)]));
        assert!(keys(ItemType::Numeric, 0, vec![]));
        assert!(!keys(ItemType::ShortText, 0, vec![blank(&["Huế"])]));
        assert!(keys(ItemType::ShortText, 0, vec![blank(&["Huế", " "])]));
        assert!(keys(ItemType::ShortText, 0, vec![blank(&[])]));
        assert!(!keys(
            ItemType::Cloze,
            2,
            vec![blank(&["a"]), blank(&["b"])]
        ));
        assert!(keys(ItemType::Cloze, 3, vec![blank(&["a"]), blank(&["b"])]));
    }

    #[test]
    fn items_without_the_parts_of_their_type_are_found() {
        let with = |n_options: usize, n_targets: usize, n_blanks, item_type| {
            is_impossible(item_type, |item, key| {
                let part = item.options[0].clone();
                item.options = vec![part.clone(); n_options];
                item.targets = vec![part; n_targets];
                item.n_blanks = n_blanks;
                let text = BlankKey {
                    accepted: vec!["x".to_owned()],
                    ..BlankKey::default()
                };
                *key = ItemKey {
                    item_id: key.item_id,
                    revision: key.revision.clone(),
                    ..ItemKey::default()
                };
                match item_type {
                    ItemType::SingleChoice | ItemType::Cluster => key.right_options = 1,
                    ItemType::Matching => key.sequences = vec![vec![0; n_options].into()],
                    _ => key.blanks = vec![text; n_blanks as usize],
                }
            })
        };
        for (n_options, n_targets, n_blanks, item_type, expected) in [
            (2, 0, 0, ItemType::SingleChoice, false),
            (12, 0, 0, ItemType::SingleChoice, false),
            (1, 0, 0, ItemType::SingleChoice, true),
            (13, 0, 0, ItemType::SingleChoice, true),
            (2, 2, 0, ItemType::SingleChoice, true),
            (2, 0, 1, ItemType::SingleChoice, true),
            (1, 0, 0, ItemType::Cluster, false),
            (2, 2, 0, ItemType::Matching, false),
            (2, 1, 0, ItemType::Matching, true),
            (2, 13, 0, ItemType::Matching, true),
            (0, 0, 20, ItemType::Cloze, false),
            (0, 0, 21, ItemType::Cloze, true),
            (1, 0, 1, ItemType::Cloze, true),
        ] {
            let found = with(n_options, n_targets, n_blanks, item_type);
            assert_eq!(
                found, expected,
                "{n_options} {n_targets} {n_blanks} {item_type:?}"
            );
        }
    }

    #[test]
    fn keys_that_say_more_than_their_type_are_found() {
        let choice =
            |change: fn(&mut ItemKey)| is_impossible(ItemType::SingleChoice, |_, key| change(key));
        assert!(
            choice(|key| key.accepted = vec![0b110]),
            "either of both, or both?"
        );
        assert!(choice(|key| key.sequences = vec![vec![0].into()]));
        assert!(choice(|key| key.blanks = vec![BlankKey::default()]));
        let asked = PaperItem {
            r#type: ItemType::Prediction.into(),
            ..PaperItem::default()
        };
        let mut key = ItemKey::default();
        assert!(is_whole(&asked) && is_possible(&asked, &key));
        key.right_options = 0b1;
        assert!(!is_possible(&asked, &key));
    }

    #[test]
    fn a_key_half_of_another_format_is_refused() {
        let mut exam = TestExam::new();
        exam.key.format = 2;
        exam.seal();
        assert!(matches!(exam.verify(), Err(Error::Invalid { .. })));
    }
}
