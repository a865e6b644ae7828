//! A fold as bytes, so that a grader resumes where it stood instead of reading the whole log.
//!
//! Layout: a [`Head`] behind its length as a varint, the persons by rising candidate id each behind its length, the
//! BLAKE3 of all that. Equal states give equal bytes, whatever order partitions came in; standings and counts are
//! left out, they follow from the attempts.

use std::sync::Arc;

use prost::Message;
use proto::exam::v1::EndedBy;

use crate::{
    attempt::{Answers, Chosen, Finished, Running, Slot},
    error::{Error, Result},
    fold::{Fold, Person},
    id::CandidateId,
    package::Package,
    quarantine::{Quarantined, Reason},
};

/// Layout of a snapshot; another number is refused, and the log is read from its start.
const FORMAT: u32 = 3;
const HASH_BYTES: usize = 32;
const SLOT_BYTES: usize = 10;
const CHOSEN_BYTES: usize = 4;

#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    exam_id: String,
    #[prost(bytes = "vec", tag = "3")]
    paper_hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    key_hash: Vec<u8>,
    #[prost(uint64, repeated, tag = "5")]
    positions: Vec<u64>,
    #[prost(uint64, tag = "6")]
    n_answers: u64,
    /// Sorted; attempts name areas by their place here.
    #[prost(string, repeated, tag = "7")]
    areas: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    quarantined: Vec<QuarantinedRecord>,
    #[prost(uint64, repeated, tag = "9")]
    n_quarantined: Vec<u64>,
    #[prost(uint64, tag = "10")]
    n_persons: u64,
    /// Hash of the last decision that concerns the result.
    #[prost(bytes = "vec", tag = "11")]
    ruling: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct QuarantinedRecord {
    #[prost(uint32, tag = "1")]
    partition: u32,
    #[prost(uint64, tag = "2")]
    position: u64,
    #[prost(uint32, tag = "3")]
    reason: u32,
}

#[derive(Clone, PartialEq, Message)]
struct PersonRecord {
    #[prost(bytes = "vec", tag = "1")]
    candidate: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    running: Option<RunningRecord>,
    #[prost(message, repeated, tag = "3")]
    finished: Vec<FinishedRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct RunningRecord {
    #[prost(uint32, tag = "1")]
    attempt: u32,
    #[prost(uint32, tag = "2")]
    area: u32,
    #[prost(uint32, tag = "3")]
    round: u32,
    #[prost(uint32, tag = "4")]
    last_seq: u32,
    #[prost(uint64, tag = "5")]
    started_at_ms: u64,
    #[prost(bytes = "vec", tag = "6")]
    form_code: Vec<u8>,
    /// Five little-endian u16 an item: item, chosen, three words of option order.
    #[prost(bytes = "vec", tag = "7")]
    slots: Vec<u8>,
    #[prost(uint64, tag = "8")]
    idle_ms: u64,
    #[prost(uint32, tag = "9")]
    unit: u32,
    #[prost(bytes = "vec", repeated, tag = "10")]
    long: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct FinishedRecord {
    #[prost(uint32, tag = "1")]
    attempt: u32,
    #[prost(uint32, tag = "2")]
    area: u32,
    #[prost(uint32, tag = "3")]
    round: u32,
    #[prost(int32, tag = "4")]
    ended_by: i32,
    #[prost(uint64, tag = "5")]
    started_at_ms: u64,
    #[prost(uint64, tag = "6")]
    ended_at_ms: u64,
    #[prost(bytes = "vec", tag = "7")]
    form_code: Vec<u8>,
    /// Two little-endian u16 an item: item, chosen. The score follows from them.
    #[prost(bytes = "vec", tag = "8")]
    chosen: Vec<u8>,
    #[prost(uint64, tag = "9")]
    idle_ms: u64,
    #[prost(bool, tag = "10")]
    voided: bool,
    #[prost(uint32, tag = "11")]
    unit: u32,
    #[prost(bytes = "vec", repeated, tag = "12")]
    long: Vec<Vec<u8>>,
}

/// Returns the state as bytes.
#[must_use]
pub fn save(fold: &Fold) -> Vec<u8> {
    let areas = SortedAreas::of(fold);
    let mut persons: Vec<&Person> = fold.persons().iter().collect();
    persons.sort_unstable_by_key(|person| person.id);
    let mut bytes = Vec::new();
    append(&mut bytes, &head(fold, &areas));
    for person in persons {
        append(&mut bytes, &person_record(person, &areas));
    }
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

/// Returns the hash of the state: equal for two folds of the same log.
#[must_use]
pub fn state_hash(fold: &Fold) -> [u8; 32] {
    let bytes = save(fold);
    let tail = bytes.last_chunk().expect("a snapshot ends with its hash");
    *tail
}

/// Reads a state back; it is graded anew by this package, of any version of the key.
///
/// # Errors
/// [`Error::SnapshotDamaged`] if the bytes are not what was saved, [`Error::FormatUnknown`] and
/// [`Error::SnapshotOfOtherPackage`] if they are of another software or another exam.
pub fn load(bytes: &[u8], package: &Arc<Package>) -> Result<Fold> {
    let mut rest = checked(bytes)?;
    let head: Head = next(&mut rest)?;
    let (mut fold, areas) = restore_head(&head, package)?;
    for _ in 0..head.n_persons {
        let record: PersonRecord = next(&mut rest)?;
        restore_person(&mut fold, &areas, record).ok_or(damaged("a person"))?;
    }
    if !rest.is_empty() {
        return Err(damaged("its length"));
    }
    fold.build_standings();
    Ok(fold)
}

fn damaged(what: &'static str) -> Error {
    Error::SnapshotDamaged { what }
}

/// Returns what stands before the hash, if the hash is true.
fn checked(bytes: &[u8]) -> Result<&[u8]> {
    let body = bytes.len().checked_sub(HASH_BYTES);
    let (body, hash) = bytes.split_at(body.ok_or(damaged("its length"))?);
    if blake3::hash(body).as_bytes() == hash {
        Ok(body)
    } else {
        Err(damaged("its hash"))
    }
}

fn append(bytes: &mut Vec<u8>, message: &impl Message) {
    message
        .encode_length_delimited(bytes)
        .expect("a vector grows as needed");
}

fn next<M: Message + Default>(rest: &mut &[u8]) -> Result<M> {
    M::decode_length_delimited(rest).map_err(|source| Error::Malformed {
        what: "snapshot",
        source,
    })
}

/// The area codes by rising code, and the place of each area among them.
struct SortedAreas {
    codes: Vec<String>,
    places: Vec<u32>,
}

impl SortedAreas {
    fn of(fold: &Fold) -> Self {
        let codes = fold.area_codes();
        let mut areas: Vec<usize> = (0..codes.len()).collect();
        areas.sort_unstable_by_key(|&area| &codes[area]);
        let mut places = vec![0; codes.len()];
        for (place, &area) in (0..).zip(&areas) {
            places[area] = place;
        }
        Self {
            codes: areas.into_iter().map(|area| codes[area].clone()).collect(),
            places,
        }
    }

    fn place(&self, area: u16) -> u32 {
        self.places[usize::from(area)]
    }
}

fn head(fold: &Fold, areas: &SortedAreas) -> Head {
    let package = fold.package();
    Head {
        format: FORMAT,
        exam_id: package.exam_id().to_owned(),
        paper_hash: package.paper_hash().to_vec(),
        key_hash: package.key_hash().to_vec(),
        positions: fold.positions().to_vec(),
        n_answers: fold.n_answers(),
        areas: areas.codes.clone(),
        quarantined: fold
            .quarantined()
            .map(|entry| QuarantinedRecord {
                partition: entry.partition,
                position: entry.position,
                reason: entry.reason as u32,
            })
            .collect(),
        n_quarantined: fold.quarantine_lens().collect(),
        n_persons: fold.persons().len() as u64,
        ruling: package
            .rulings()
            .last_on_result
            .map_or_else(Vec::new, |hash| hash.to_vec()),
    }
}

fn person_record(person: &Person, areas: &SortedAreas) -> PersonRecord {
    PersonRecord {
        candidate: person.id.as_bytes().to_vec(),
        running: person.running.as_ref().map(|running| RunningRecord {
            attempt: u32::from(running.attempt),
            area: areas.place(running.area),
            round: running.round,
            last_seq: running.last_seq,
            started_at_ms: running.started_at_ms,
            idle_ms: running.idle_ms,
            form_code: running.form_code.to_vec(),
            slots: running.slots.iter().flat_map(slot_bytes).collect(),
            unit: running.unit,
            long: vecs(&running.long),
        }),
        finished: person
            .finished
            .iter()
            .map(|finished| FinishedRecord {
                attempt: u32::from(finished.attempt),
                area: areas.place(finished.area),
                round: finished.round,
                ended_by: finished.ended_by.into(),
                started_at_ms: finished.started_at_ms,
                idle_ms: finished.idle_ms,
                voided: finished.voided,
                ended_at_ms: finished.ended_at_ms,
                form_code: finished.form_code.to_vec(),
                chosen: finished
                    .answers
                    .chosen
                    .iter()
                    .flat_map(chosen_bytes)
                    .collect(),
                unit: finished.unit,
                long: vecs(&finished.answers.long),
            })
            .collect(),
    }
}

fn vecs(long: &[Box<[u8]>]) -> Vec<Vec<u8>> {
    long.iter().map(|bytes| bytes.to_vec()).collect()
}

fn boxes(long: &[Vec<u8>]) -> Vec<Box<[u8]>> {
    long.iter().map(|bytes| bytes.as_slice().into()).collect()
}

fn slot_bytes(slot: &Slot) -> impl Iterator<Item = u8> + use<> {
    let [a, b, c] = slot.order;
    [slot.item_idx, slot.chosen, a, b, c]
        .into_iter()
        .flat_map(u16::to_le_bytes)
}

fn chosen_bytes(chosen: &Chosen) -> impl Iterator<Item = u8> + use<> {
    [chosen.item_idx, chosen.options]
        .into_iter()
        .flat_map(u16::to_le_bytes)
}

/// Reads the little-endian words of one item.
fn words<const N: usize>(bytes: &[u8]) -> [u16; N] {
    std::array::from_fn(|at| u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]))
}

/// Returns a fold without persons, and the number of each saved area in it.
fn restore_head(head: &Head, package: &Arc<Package>) -> Result<(Fold, Vec<u16>)> {
    if head.format != FORMAT {
        return Err(Error::FormatUnknown {
            what: "snapshot",
            format: head.format,
        });
    }
    // answers are saved, not scores: a snapshot serves every version of the key
    if head.exam_id != package.exam_id() || head.paper_hash != package.paper_hash() {
        return Err(Error::SnapshotOfOtherPackage);
    }
    let mut fold = Fold::at(Arc::clone(package), head.positions.clone(), head.n_answers)
        .ok_or(damaged("its positions"))?;
    if head.n_quarantined.len() != head.positions.len() {
        return Err(damaged("its quarantine"));
    }
    for record in &head.quarantined {
        let reason = Reason::from_number(record.reason).ok_or(damaged("its quarantine"))?;
        fold.restore_quarantined(Quarantined {
            partition: record.partition,
            position: record.position,
            reason,
        })
        .ok_or(damaged("its quarantine"))?;
    }
    for (partition, &n_entries) in head.n_quarantined.iter().enumerate() {
        fold.restore_quarantine_len(partition, n_entries);
    }
    let codes = head.areas.iter();
    let areas: Option<Vec<u16>> = codes.map(|code| fold.restore_area(code)).collect();
    Ok((fold, areas.ok_or(damaged("its areas"))?))
}

fn restore_person(fold: &mut Fold, areas: &[u16], record: PersonRecord) -> Option<()> {
    let package = Arc::clone(fold.package());
    let id = CandidateId::try_from(&*record.candidate).ok()?;
    let running = match record.running {
        None => None,
        Some(record) => Some(restore_running(&package, areas, &record)?),
    };
    let finished = record.finished.iter();
    let finished: Option<Vec<Finished>> = finished
        .map(|record| restore_finished(&package, areas, record))
        .collect();
    fold.restore_person(id, running, finished?)
}

fn restore_running(package: &Package, areas: &[u16], record: &RunningRecord) -> Option<Running> {
    let (pieces, rest) = record.slots.as_chunks::<SLOT_BYTES>();
    let slots: Box<[Slot]> = pieces
        .iter()
        .map(|piece| {
            let [item_idx, chosen, a, b, c] = words(piece);
            Slot {
                item_idx,
                chosen,
                order: [a, b, c],
            }
        })
        .collect();
    let whole = rest.is_empty() && is_paper(package, slots.iter().map(|slot| slot.item_idx));
    whole.then_some(())?;
    Some(Running {
        attempt: u16::try_from(record.attempt).ok()?,
        area: *areas.get(record.area as usize)?,
        round: record.round,
        last_seq: record.last_seq,
        started_at_ms: record.started_at_ms,
        idle_ms: record.idle_ms,
        form_code: (*record.form_code).try_into().ok()?,
        slots,
        unit: record.unit,
        long: boxes(&record.long),
    })
}

fn restore_finished(package: &Package, areas: &[u16], record: &FinishedRecord) -> Option<Finished> {
    let (pieces, rest) = record.chosen.as_chunks::<CHOSEN_BYTES>();
    let chosen: Box<[Chosen]> = pieces
        .iter()
        .map(|piece| {
            let [item_idx, options] = words(piece);
            Chosen { item_idx, options }
        })
        .collect();
    let whole = rest.is_empty()
        && is_paper(package, chosen.iter().map(|chosen| chosen.item_idx))
        && record
            .started_at_ms
            .checked_add(record.idle_ms)
            .is_some_and(|earliest| earliest <= record.ended_at_ms);
    whole.then_some(())?;
    let answers = Answers {
        chosen,
        long: boxes(&record.long).into(),
    };
    Some(Finished {
        attempt: u16::try_from(record.attempt).ok()?,
        area: *areas.get(record.area as usize)?,
        round: record.round,
        ended_by: EndedBy::try_from(record.ended_by).ok()?,
        unit: record.unit,
        score: package.score(&answers),
        prediction: answers.prediction(package),
        started_at_ms: record.started_at_ms,
        idle_ms: record.idle_ms,
        ended_at_ms: record.ended_at_ms,
        voided: record.voided,
        form_code: (*record.form_code).try_into().ok()?,
        answers,
    })
}

fn is_paper(package: &Package, item_idxs: impl ExactSizeIterator<Item = u16>) -> bool {
    let n_items = package.items().len();
    item_idxs.len() == package.n_items()
        && item_idxs.into_iter().all(|idx| usize::from(idx) < n_items)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{Log, parts};

    #[test]
    fn a_state_read_back_is_the_same_state() {
        let log = Log::random(7, 60);
        let fold = log.fold();
        assert!(fold.n_quarantined() > 0 && fold.n_working() > 0 && fold.n_ranked(None) > 0);
        let bytes = save(&fold);
        let read = load(&bytes, fold.package()).unwrap();
        assert_eq!(save(&read), bytes);
        assert_eq!(read.progress(), fold.progress());
        assert_eq!(read.page(None, 0, 1_000), fold.page(None, 0, 1_000));
        assert_eq!(
            crate::result_file(&read).bytes,
            crate::result_file(&fold).bytes
        );
    }

    #[test]
    fn another_state_has_another_hash() {
        let log = Log::random(7, 20);
        let whole = log.fold();
        let mut shorter = log.clone();
        shorter.entries.pop();
        assert_eq!(state_hash(&whole), state_hash(&log.fold()));
        assert_ne!(state_hash(&whole), state_hash(&shorter.fold()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_fold_that_was_interrupted_equals_one_that_was_not(seed in any::<u64>(), cut in 0..100usize) {
            let log = Log::random(seed, 12);
            let straight = log.fold();
            let package = straight.package();
            let cut = log.entries.len() * cut / 100;
            let mut fold = Fold::new(Arc::clone(package));
            for entry in &log.entries[..cut] {
                fold.apply_entry(entry).unwrap();
            }
            let mut fold = load(&save(&fold), package).unwrap();
            // the stream starts over from earlier positions: what is known already changes nothing
            for entry in &log.entries[cut / 2..] {
                fold.apply_entry(entry).unwrap();
            }
            prop_assert_eq!(save(&fold), save(&straight));
            prop_assert_eq!(crate::result_file(&fold), crate::result_file(&straight));
        }
    }

    #[test]
    fn a_damaged_snapshot_is_refused() {
        let fold = Log::random(1, 5).fold();
        let bytes = save(&fold);
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let error = load(&bytes, fold.package()).unwrap_err();
            assert!(matches!(error, Error::SnapshotDamaged { what: "its hash" }));
        }
        for len in [0, 31, bytes.len() - 1] {
            assert!(load(&bytes[..len], fold.package()).is_err());
        }
        assert!(load(&bytes, fold.package()).is_ok());
    }

    #[test]
    fn a_snapshot_of_another_package_is_refused() {
        let fold = Log::random(1, 5).fold();
        let mut other = parts();
        other.paper.release_no = 2;
        let other = Arc::new(other.load().unwrap());
        let error = load(&save(&fold), &other).unwrap_err();
        assert!(matches!(error, Error::SnapshotOfOtherPackage), "{error}");
    }

    #[test]
    fn a_snapshot_read_under_another_key_is_graded_by_that_key() {
        let log = Log::random(4, 20);
        let fold = log.fold();
        let mut other = parts();
        other.rules_mut().counted_attempt = fold.package().counted().into();
        other.key.key_version = 2;
        other.key.keys[0].right_options = 0b0010;
        let other = Arc::new(other.load().unwrap());
        let mut graded = Fold::new(Arc::clone(&other));
        for entry in &log.entries {
            graded.apply_entry(entry).unwrap();
        }
        let read = load(&save(&fold), &other).unwrap();
        assert_eq!(save(&read), save(&graded));
        assert_ne!(save(&read), save(&fold), "the key is part of the state");
        assert_eq!(crate::result_file(&read), crate::result_file(&graded));
    }

    #[test]
    fn a_snapshot_of_another_format_is_refused() {
        let fold = Log::random(1, 5).fold();
        let mut head = head(&fold, &SortedAreas::of(&fold));
        head.format = FORMAT + 1;
        head.n_persons = 0;
        let mut bytes = Vec::new();
        append(&mut bytes, &head);
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        let error = load(&bytes, fold.package()).unwrap_err();
        assert!(matches!(error, Error::FormatUnknown { format, .. } if format == FORMAT + 1));
    }
}
