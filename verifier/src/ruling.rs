//! Decisions since publication: their chain, and what they say of scores and ranks.
//!
//! Invariant: hashes are over the rulings as they stand in `exam.bin`. Start at [`check`] and [`Decisions::new`].
//! Source: `docs/FORMATS.md`, sections 5 and 11, and the comments of `exam.proto`.

use std::collections::HashSet;

use proto::{
    exam::v1::{
        BoardRuling, BoardState, ExclusionRuling, KeyRuling, PredictionRuling, Ruling, ruling::Kind,
    },
    key::v1::ItemKey,
};

use crate::{
    Archive, DifferenceKind, archive::KeyFile, difference::Differences, signature::check_final,
};

/// An exclusion ruling names so many candidates at most.
const MAX_EXCLUDED: usize = 10_000;

/// What the rulings together say of the result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decisions {
    /// How many rulings concern the result.
    pub(crate) n_concerning: usize,
    /// Hash of the last of them.
    pub(crate) last_hash: Option<[u8; 32]>,
    pub(crate) prediction: Option<PredictionRuling>,
    pub(crate) excluded: HashSet<[u8; 16]>,
}

impl Decisions {
    pub(crate) fn new(archive: &Archive) -> Self {
        let mut decisions = Self::default();
        for (ruling, encoded) in archive.exam.rulings.iter().zip(&archive.encoded_rulings) {
            match &ruling.kind {
                Some(Kind::Key(_)) => {} // read with the archive
                Some(Kind::Prediction(prediction)) => {
                    decisions.prediction = Some(prediction.clone());
                }
                Some(Kind::Exclusion(exclusion)) => {
                    let ids = exclusion.candidates.iter();
                    let ids = ids.filter_map(|id| <[u8; 16]>::try_from(id.as_ref()).ok());
                    decisions.excluded = ids.collect();
                }
                Some(Kind::Board(_)) | None => continue,
            }
            decisions.n_concerning += 1;
            decisions.last_hash = Some(*blake3::hash(encoded).as_bytes());
        }
        decisions
    }
}

/// Checks the chain of rulings and what each of them says.
pub(crate) fn check(archive: &Archive, differences: &mut Differences) {
    let mut previous: Vec<u8> = Vec::new();
    let mut positions: Vec<u64> = Vec::new();
    let mut keys = archive.keys.windows(2);
    let mut is_final = false;
    let rulings = archive.exam.rulings.iter().zip(&archive.encoded_rulings);
    for (index, (ruling, encoded)) in rulings.enumerate() {
        let place = format!("ruling {}", index + 1);
        let kind = DifferenceKind::RulingChain;
        let number = u64::from(ruling.number);
        differences.compare(kind, &place, index as u64 + 1, number);
        differences.compare_bytes(
            kind,
            format_args!("{place}, previous"),
            &previous,
            &ruling.previous,
        );
        previous = blake3::hash(encoded).as_bytes().to_vec();
        check_persons(&place, ruling, differences);
        check_positions(archive, &place, &positions, ruling, differences);
        positions.clone_from(&ruling.positions);
        match &ruling.kind {
            Some(Kind::Key(key)) => {
                let [before, now] = keys.next().unwrap_or_default() else {
                    continue; // a key was read for each key ruling
                };
                check_key(&place, key, before, now, differences);
            }
            Some(Kind::Prediction(_)) => {}
            Some(Kind::Exclusion(exclusion)) => check_exclusion(&place, exclusion, differences),
            Some(Kind::Board(board)) => {
                check_board(&place, board, is_final, differences);
                if board.state() == BoardState::Final {
                    is_final = true;
                    check_final(archive, index, &place, board, differences);
                }
            }
            None => differences.push(DifferenceKind::Ruling, &place, "a known kind", "none"),
        }
    }
    for name in &archive.stray_keys {
        differences.push(
            DifferenceKind::KeyVersion,
            name,
            "a ruling that names it",
            "none",
        );
    }
}

/// Whoever approves is another person than whoever proposes; what is shown may be decided by one.
fn check_persons(place: &str, ruling: &Ruling, differences: &mut Differences) {
    let (by, approved_by) = (&ruling.proposed_by, &ruling.approved_by);
    let one_is_enough = matches!(ruling.kind, Some(Kind::Board(_))) && approved_by.is_empty();
    if by.is_empty() || approved_by == by || approved_by.is_empty() && !one_is_enough {
        let found = format!("proposed by {by:?}, approved by {approved_by:?}");
        differences.push(DifferenceKind::Ruling, place, "two persons", found);
    }
}

/// The log's ends at the time of a ruling: one a partition, never behind those of an earlier one.
fn check_positions(
    archive: &Archive,
    place: &str,
    before: &[u64],
    ruling: &Ruling,
    differences: &mut Differences,
) {
    let (n, kind) = (archive.spec.n_partitions as usize, DifferenceKind::Ruling);
    if ruling.positions.len() != n {
        let expected = format!("positions of {n} partitions");
        return differences.push(kind, place, expected, ruling.positions.len());
    }
    for (partition, position) in (0_u32..).zip(&ruling.positions) {
        let first = before.get(partition as usize).copied().unwrap_or(0);
        let end = archive.log_ends.get(&partition).copied().unwrap_or(0);
        if !(first..=end).contains(position) {
            let place = format_args!("{place}, position in partition {partition}");
            differences.push(kind, place, format_args!("{first} to {end}"), position);
        }
    }
}

fn check_key(
    place: &str,
    ruling: &KeyRuling,
    before: &KeyFile,
    now: &KeyFile,
    differences: &mut Differences,
) {
    let at = format!("{place}, {}", now.name);
    differences.compare_bytes(DifferenceKind::KeyHash, &at, &now.hash, &ruling.key_hash);
    if ruling.key_version <= before.half.key_version {
        let expected = format!("more than {}", before.half.key_version);
        differences.push(
            DifferenceKind::KeyVersion,
            place,
            expected,
            ruling.key_version,
        );
    }
    let kind = DifferenceKind::KeyVersion;
    differences.compare(kind, &at, ruling.key_version, now.half.key_version);
    let mut named = ruling.item_ids.clone();
    named.sort_unstable();
    let changed = changed_items(&before.half.keys, &now.half.keys);
    if named != changed {
        let (expected, found) = (format!("{changed:?}"), format!("{named:?}"));
        differences.push(DifferenceKind::RulingItems, place, expected, found);
    }
}

/// Returns the items whose keys are not the same, by rising number.
fn changed_items(before: &[ItemKey], now: &[ItemKey]) -> Vec<u32> {
    let is_new = |key: &&ItemKey| !before.contains(key);
    let mut changed: Vec<u32> = now.iter().filter(is_new).map(|key| key.item_id).collect();
    changed.sort_unstable();
    changed
}

fn check_exclusion(place: &str, exclusion: &ExclusionRuling, differences: &mut Differences) {
    let ids = &exclusion.candidates;
    let kind = DifferenceKind::Ruling;
    if ids.len() > MAX_EXCLUDED {
        differences.push(
            kind,
            place,
            format_args!("at most {MAX_EXCLUDED}"),
            ids.len(),
        );
    }
    if let Some(id) = ids.iter().find(|id| id.len() != 16) {
        differences.push(kind, place, "16 bytes", hex::encode(id));
    }
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] >= pair[1]) {
        let found = format!("{} behind {}", hex::encode(&pair[1]), hex::encode(&pair[0]));
        differences.push(kind, place, "rising ids", found);
    }
}

/// Behind a final result come corrections and another final one.
fn check_board(place: &str, board: &BoardRuling, is_final: bool, differences: &mut Differences) {
    let kind = DifferenceKind::Ruling;
    match BoardState::try_from(board.state) {
        Ok(BoardState::Final) => {}
        Ok(state) if is_final => differences.push(kind, place, "final", state.as_str_name()),
        Ok(_) => {}
        Err(_) => differences.push(kind, place, "a known state", board.state),
    }
}

#[cfg(test)]
mod tests {
    use DifferenceKind as D;
    use proto::key::v1::{KeyHalf, Treatment};

    use super::*;
    use crate::test_exam::{TestExam, check, person};

    fn drop_item(key: &mut KeyHalf) {
        key.keys[11].treatment = Treatment::FullToAll.into(); // item 12
    }

    /// An exam with a corrected key, a quantity, an exclusion of person 7 and a freeze, and its right result.
    fn decided() -> TestExam {
        let mut exam = TestExam::new();
        exam.correct_key(drop_item, &[12]);
        exam.decide(Kind::Prediction(PredictionRuling {
            quantity: 5,
            definition: "bài hợp lệ\tđến 17 giờ\n".to_owned(),
        }));
        exam.decide(exclusion(&[7]));
        exam.decide(board(BoardState::Frozen));
        exam.write_result();
        exam
    }

    fn exclusion(persons: &[u8]) -> Kind {
        let candidates = persons.iter().map(|&n| person(n).to_vec().into()).collect();
        Kind::Exclusion(ExclusionRuling { candidates })
    }

    fn board(state: BoardState) -> Kind {
        Kind::Board(BoardRuling {
            state: state.into(),
            ..BoardRuling::default()
        })
    }

    /// Tampers with the decided exam, chains the rulings anew and writes the result that follows from them.
    #[track_caller]
    fn check_decided(tamper: impl FnOnce(&mut TestExam), kinds: &[DifferenceKind]) {
        let mut exam = decided();
        tamper(&mut exam);
        exam.seal_rulings();
        exam.write_result();
        assert_eq!(exam.kinds(), kinds);
    }

    fn key_ruling(exam: &mut TestExam) -> &mut KeyRuling {
        match &mut exam.exam.rulings[0].kind {
            Some(Kind::Key(key)) => key,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn decisions_stand_at_the_top_of_the_result() {
        let exam = decided();
        assert!(exam.verify().unwrap().ok());
        let third = blake3::hash(&prost::Message::encode_to_vec(&exam.exam.rulings[2]));
        let key = blake3::hash(&prost::Message::encode_to_vec(&exam.keys[0]));
        for line in [
            format!("key\t{key}"),
            "key_version\t2".to_owned(),
            format!("rulings\t3\t{third}"),
            "prediction\t5\tbài hợp lệ đến 17 giờ ".to_owned(),
            "excluded\t1".to_owned(),
            "persons\t11".to_owned(),
        ] {
            assert!(exam.result.contains(&(line + "\n")), "{}", exam.result);
        }
        assert!(!exam.result.contains(&hex::encode(person(7))));
    }

    #[test]
    fn a_corrected_key_changes_scores() {
        let before = TestExam::new();
        let quanta = |exam: &TestExam| -> Vec<u64> {
            let rows = exam.result.lines().skip(13);
            rows.map(|row| row.split('\t').nth(8).unwrap().parse().unwrap())
                .collect()
        };
        let mut after = TestExam::new();
        after.correct_key(drop_item, &[12]);
        let kinds = [
            D::KeyHash,
            D::ResultHeader,
            D::RowOrder,
            D::Rank,
            D::AreaRank,
            D::Score,
            D::Row,
        ];
        assert_eq!(after.kinds(), kinds, "the result of the first key");
        after.write_result();
        assert!(after.verify().unwrap().ok());
        assert!(quanta(&after).iter().sum::<u64>() > quanta(&before).iter().sum());
        after.correct_key(|key| key.keys[11].treatment = 0, &[12]);
        after.write_result();
        assert_eq!(quanta(&after), quanta(&before), "taken back");
        assert!(after.verify().unwrap().ok());
    }

    #[test]
    fn a_ruling_that_is_taken_out_or_changed_is_found() {
        let tampered = |tamper: fn(&mut Vec<Ruling>)| {
            let mut exam = decided();
            tamper(&mut exam.exam.rulings);
            exam.kinds()
        };
        let chain = [D::RulingChain, D::ResultHeader];
        assert_eq!(tampered(|rulings| drop(rulings.remove(1))), chain);
        assert_eq!(tampered(|rulings| rulings.swap(1, 3)), chain);
        assert_eq!(
            tampered(|rulings| rulings[1].note = "x".to_owned()),
            [D::RulingChain]
        );
        assert_eq!(tampered(|rulings| rulings[3].number = 5), [D::RulingChain]);
        assert_eq!(
            tampered(|rulings| rulings[0].previous = vec![0; 32].into()),
            [D::RulingChain]
        );
        let header = [D::ResultHeader];
        assert_eq!(
            tampered(|rulings| rulings[2].note = "x".to_owned()),
            [D::RulingChain, D::ResultHeader]
        );
        assert_eq!(
            tampered(|rulings| drop(rulings.pop())),
            [],
            "a freeze is no part of the result"
        );
        assert_eq!(tampered(|rulings| drop(rulings.drain(3..))), []);
        assert!(tampered(|rulings| drop(rulings.drain(2..))).starts_with(&header));
    }

    #[test]
    fn rulings_of_one_person_are_found() {
        let ruling = |index: usize, by: &'static str, approved_by: &'static str| {
            move |exam: &mut TestExam| {
                let ruling = &mut exam.exam.rulings[index];
                ruling.proposed_by = by.to_owned();
                ruling.approved_by = approved_by.to_owned();
            }
        };
        check_decided(ruling(0, "an", "an"), &[D::Ruling]);
        check_decided(ruling(1, "an", ""), &[D::Ruling]);
        check_decided(ruling(2, "", "binh"), &[D::Ruling]);
        check_decided(ruling(3, "an", ""), &[]);
        check_decided(ruling(3, "an", "an"), &[D::Ruling]);
        check_decided(ruling(3, "", ""), &[D::Ruling]);
    }

    #[test]
    fn positions_that_cannot_be_are_found() {
        check_decided(|exam| exam.exam.rulings[3].positions[0] += 1, &[D::Ruling]);
        check_decided(|exam| exam.exam.rulings[3].positions[0] -= 1, &[D::Ruling]);
        check_decided(|exam| exam.exam.rulings[0].positions[0] -= 1, &[]);
        check_decided(
            |exam| exam.exam.rulings[3].positions.truncate(3),
            &[D::Ruling],
        );
    }

    #[test]
    fn a_key_that_no_ruling_put_in_force_is_found() {
        let kinds = |tamper: fn(&mut TestExam)| {
            let mut exam = decided();
            tamper(&mut exam);
            exam.kinds()
        };
        let secretly = kinds(|exam| exam.keys[0].keys[0].right_options ^= 0b11);
        assert!(
            secretly.starts_with(&[D::KeyHash, D::RulingItems]),
            "{secretly:?}"
        );
        let stray = kinds(|exam| {
            let mut key = exam.keys[0].clone();
            key.key_version = 3;
            exam.keys.push(key);
        });
        assert_eq!(stray, [D::KeyVersion]);
    }

    #[test]
    fn a_key_version_that_is_missing_is_an_error() {
        let mut exam = decided();
        exam.keys.clear();
        let error = exam.verify().unwrap_err();
        assert!(matches!(&error, crate::Error::Read { file, .. } if file == "key-2.bin"));
    }

    #[test]
    fn key_rulings_say_what_changed() {
        check_decided(
            |exam| key_ruling(exam).key_hash = vec![0; 32].into(),
            &[D::KeyHash],
        );
        check_decided(
            |exam| key_ruling(exam).item_ids = vec![12, 13],
            &[D::RulingItems],
        );
        check_decided(|exam| key_ruling(exam).item_ids.clear(), &[D::RulingItems]);
    }

    #[test]
    fn versions_rise_and_files_are_what_their_names_say() {
        let mut exam = TestExam::new();
        exam.correct_key(drop_item, &[12]);
        exam.correct_key(|key| key.key_version = 2, &[]);
        exam.keys.pop();
        exam.write_result();
        assert!(exam.kinds().contains(&D::KeyVersion), "version 2 twice");

        let mut exam = decided();
        exam.keys[0].key_version = 7;
        let bytes = prost::Message::encode_to_vec(&exam.keys[0]);
        key_ruling(&mut exam).key_hash = blake3::hash(&bytes).as_bytes().to_vec().into();
        let dir = exam.write();
        std::fs::rename(dir.path().join("key-7.bin"), dir.path().join("key-2.bin")).unwrap();
        let verdict = crate::verify_folder(dir.path()).unwrap();
        let found = &verdict
            .differences
            .iter()
            .find(|found| found.kind == D::KeyVersion);
        assert_eq!(found.unwrap().place, "ruling 1, key-2.bin");
    }

    #[test]
    fn a_key_version_has_the_same_items() {
        let changed = |change: fn(&mut KeyHalf), item_ids: &[u32]| {
            let mut exam = TestExam::new();
            exam.correct_key(change, item_ids);
            exam.write_result();
            exam.kinds()
        };
        assert_eq!(
            changed(|key| key.paper_hash = vec![1; 32].into(), &[]),
            [D::KeyNamesPaper]
        );
        assert_eq!(changed(|key| key.exam_id.push('x'), &[]), [D::Identity]);
        assert_eq!(
            changed(|key| key.keys[0].revision = vec![1; 32].into(), &[1]),
            [D::Revision]
        );
        assert_eq!(changed(|key| key.keys.swap(0, 1), &[]), [D::KeyItems]);
        assert_eq!(
            changed(|key| key.keys[0].right_options = 0, &[1]),
            [D::KeyOptions]
        );
        assert_eq!(
            changed(|key| key.keys[0].weight_percent = 1_001, &[1]),
            [D::KeyOptions]
        );
        assert_eq!(changed(|key| key.keys[0].weight_percent = 1_000, &[1]), []);
    }

    #[test]
    fn exclusions_rise_and_leave_persons_out() {
        let excluded =
            |kind: Kind| move |exam: &mut TestExam| exam.exam.rulings[2].kind = Some(kind);
        check_decided(excluded(exclusion(&[3, 7])), &[]);
        check_decided(excluded(exclusion(&[7, 3])), &[D::Ruling]);
        check_decided(excluded(exclusion(&[7, 7])), &[D::Ruling]);
        let short = vec![vec![1; 15].into()];
        check_decided(
            excluded(Kind::Exclusion(ExclusionRuling { candidates: short })),
            &[D::Ruling],
        );
        check(
            |exam| exam.decide(exclusion(&[5])), // one of the last
            &[D::ResultHeader, D::RowExtra],
        );
        let mut exam = TestExam::new();
        exam.decide(exclusion(&[5, 7]));
        exam.decide(exclusion(&[99])); // replaces the list; nobody of that name
        exam.write_result();
        assert!(exam.result.contains("\nexcluded\t0\n"));
        assert!(exam.result.contains("\npersons\t12\n"));
    }

    #[test]
    fn a_result_that_is_final_is_not_thawed() {
        let after = |states: &[BoardState]| {
            let mut exam = TestExam::new();
            states.iter().for_each(|state| exam.decide(board(*state)));
            let kinds = exam.kinds();
            kinds.contains(&D::Ruling)
        };
        use BoardState::{Final, Frozen, Live};
        assert!(!after(&[Frozen, Live, Frozen, Final, Final]));
        assert!(after(&[Final, Live]));
        assert!(after(&[Final, Frozen]));
        check(
            |exam| {
                exam.decide(Kind::Board(BoardRuling {
                    state: 9,
                    ..BoardRuling::default()
                }));
            },
            &[D::Ruling],
        );
    }

    #[test]
    fn a_ruling_without_a_kind_is_found() {
        check(
            |exam| {
                exam.decide(board(BoardState::Live));
                exam.exam.rulings[0].kind = None;
                exam.exam.rulings[0].approved_by = "binh".to_owned();
            },
            &[D::Ruling],
        );
    }
}
