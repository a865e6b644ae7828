//! The folder that `ExportExam` makes, read into memory.
//!
//! Invariant: nothing is encoded a second time; hashes are over the bytes as they were read.
//! Start at [`Archive::read`]. Source: `docs/FORMATS.md`, section 7.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use prost::Message;
use proto::{
    bank::v1::PaperHalf,
    exam::v1::{Ended, Exam, ExamRules, ExamSpec, LogEntry, Response, Started, ruling::Kind},
    key::v1::KeyHalf,
};

use crate::{
    Error,
    control::Controls,
    course::{Course, Timetable},
    difference::Differences,
    log::{LogFold, LogTotals},
};

/// An entry holds one event: a start with a long paper takes a few kilobytes, a text 2,000 bytes.
const MAX_ENTRY_LEN: usize = 1 << 20;

/// An archive: the packages, the secret, the result file as it is, and the log by attempt.
pub struct Archive {
    pub(crate) exam: Exam,
    pub(crate) spec: ExamSpec,
    pub(crate) rules: ExamRules,
    pub(crate) paper_half: PaperHalf,
    pub(crate) paper_hash: [u8; 32],
    /// The first is `key.bin`; then those of the key rulings, in their order. The last one is in force.
    pub(crate) keys: Vec<KeyFile>,
    /// Files of key versions that no ruling names.
    pub(crate) stray_keys: Vec<String>,
    /// The rulings of the exam as they are encoded.
    pub(crate) encoded_rulings: Vec<Vec<u8>>,
    pub(crate) exam_bytes: Vec<u8>,
    pub(crate) log_hash: [u8; 32],
    pub(crate) controls: Controls,
    pub(crate) secret: [u8; 32],
    pub(crate) result: Vec<u8>,
    pub(crate) totals: LogTotals,
    /// The last position of each partition that has entries.
    pub(crate) log_ends: HashMap<u32, u64>,
    /// What the log alone shows to be wrong.
    pub(crate) log_differences: Differences,
    attempts: HashMap<AttemptId, Attempt>,
}

/// One version of the key half.
pub(crate) struct KeyFile {
    /// Its name in the archive.
    pub(crate) name: String,
    pub(crate) half: KeyHalf,
    pub(crate) hash: [u8; 32],
    /// Unix milliseconds from which on it is in force.
    pub(crate) since_ms: u64,
}

/// The part of `exam.v1.Exam` that is hashed as it is encoded.
#[derive(Clone, PartialEq, Message)]
struct EncodedRulings {
    #[prost(bytes = "vec", repeated, tag = "8")]
    rulings: Vec<Vec<u8>>,
}

/// One attempt of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttemptId {
    pub(crate) candidate: [u8; 16],
    pub(crate) attempt: u32,
}

/// What the log says of one attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) started: Started,
    pub(crate) started_at_ms: u64,
    pub(crate) course: Course,
    /// Its person may sit once more for it.
    pub(crate) may_retake: bool,
    /// The newest device that may write.
    pub(crate) epoch: u32,
    /// In the order of the log.
    pub(crate) answers: Vec<StoredAnswer>,
    /// All its ends: more than one if it was reopened.
    pub(crate) ends: Vec<Ended>,
    /// The end that counts.
    pub(crate) ended: Option<Ended>,
}

/// One answer as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Rising by 1 within the attempt, from 1.
    pub seq: u32,
    /// Position on the paper, from 0.
    pub position: u32,
    /// What was answered; no value is blank.
    pub response: Response,
}

impl Archive {
    /// Reads all files of the folder.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Decode`] and [`Error::LogDamaged`] for files that cannot be read,
    /// [`Error::Invalid`] for values outside the formats.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let exam_bytes = read(dir, "exam.bin")?;
        let exam: Exam = decode("exam.bin", &exam_bytes)?;
        let encoded: EncodedRulings = decode("exam.bin", &exam_bytes)?;
        let absent = |what| move || Error::invalid(what, "nothing");
        let spec = exam.spec.clone().ok_or_else(absent("spec of the exam"))?;
        let rules = spec.rules.clone().ok_or_else(absent("rules of the exam"))?;
        let paper = read(dir, "paper.bin")?;
        let paper_half: PaperHalf = decode("paper.bin", &paper)?;
        let blueprint = decode("paper.bin", &paper_half.blueprint)?;
        let table = Timetable::new(&blueprint, &rules);
        let controls = Controls::new(&spec.exam_id);
        let fold = LogFold::new(&rules, table, spec.n_partitions, &controls)?;
        let (log, log_hash) = read_log(dir, fold)?;
        let keys = read_keys(dir, &exam)?;
        Ok(Self {
            paper_half,
            paper_hash: *blake3::hash(&paper).as_bytes(),
            stray_keys: stray_keys(dir, &keys)?,
            keys,
            encoded_rulings: encoded.rulings,
            exam_bytes,
            log_hash,
            secret: parse_secret(&read(dir, "secret.hex")?)?,
            result: read(dir, "result.tsv")?,
            totals: log.totals,
            log_ends: log.positions,
            log_differences: log.differences,
            attempts: log.attempts,
            controls,
            exam,
            spec,
            rules,
        })
    }

    /// Returns the newest answer of each answered position of an attempt; none if the log does not
    /// have the attempt.
    #[must_use]
    pub fn last_answers(
        &self,
        candidate: &[u8; 16],
        attempt: u32,
    ) -> Option<BTreeMap<u32, &StoredAnswer>> {
        Some(newest_answers(&self.attempt(candidate, attempt)?.answers))
    }

    /// Tells whether the log has exactly this answer.
    #[must_use]
    pub fn contains(
        &self,
        candidate: &[u8; 16],
        attempt: u32,
        seq: u32,
        position: u32,
        response: &Response,
    ) -> bool {
        let Some(attempt) = self.attempt(candidate, attempt) else {
            return false;
        };
        let is_it = |answer: &StoredAnswer| {
            answer.seq == seq && answer.position == position && answer.response == *response
        };
        // In a whole log, the answer with number `seq` stands at its place.
        let usual = usize::try_from(seq).ok().and_then(|seq| seq.checked_sub(1));
        let there = usual.and_then(|index| attempt.answers.get(index));
        there.is_some_and(is_it) || attempt.answers.iter().any(is_it)
    }

    /// Returns the key that slips of this exam are verified with.
    #[must_use]
    pub fn slip_key(&self) -> &[u8] {
        &self.exam.slip_key
    }

    /// Returns the key half in force.
    pub(crate) fn key(&self) -> &KeyFile {
        self.keys.last().expect("the first is always read")
    }

    /// Returns `exam.bin` as it was before a ruling, without it and those behind it; none if they do not stand together.
    pub(crate) fn exam_before(&self, ruling: usize) -> Option<Vec<u8>> {
        let rulings = self.encoded_rulings[ruling..].to_vec();
        let later = EncodedRulings { rulings }.encode_to_vec();
        let is_there = |part: &[u8]| part == later;
        let start = self.exam_bytes.windows(later.len()).position(is_there)?;
        let (before, behind) = (
            &self.exam_bytes[..start],
            &self.exam_bytes[start + later.len()..],
        );
        Some([before, behind].concat())
    }

    /// Returns all attempts by candidate, then number.
    pub(crate) fn attempts(&self) -> Vec<(AttemptId, &Attempt)> {
        let mut attempts: Vec<_> = self.attempts.iter().map(|(id, a)| (*id, a)).collect();
        attempts.sort_unstable_by_key(|(id, _)| *id);
        attempts
    }

    pub(crate) fn attempt(&self, candidate: &[u8; 16], attempt: u32) -> Option<&Attempt> {
        let candidate = *candidate;
        self.attempts.get(&AttemptId { candidate, attempt })
    }
}

/// Returns for each answered position the answer with the highest seq.
pub(crate) fn newest_answers(answers: &[StoredAnswer]) -> BTreeMap<u32, &StoredAnswer> {
    let mut newest: BTreeMap<u32, &StoredAnswer> = BTreeMap::new();
    for answer in answers {
        let known = newest.entry(answer.position).or_insert(answer);
        if answer.seq > known.seq {
            *known = answer;
        }
    }
    newest
}

impl std::fmt::Display for AttemptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let candidate = hex::encode(self.candidate);
        write!(f, "candidate {candidate} attempt {}", self.attempt)
    }
}

fn read(dir: &Path, file: &str) -> Result<Vec<u8>, Error> {
    fs::read(dir.join(file)).map_err(|source| Error::Read {
        file: file.to_owned(),
        source,
    })
}

fn decode<M: Message + Default>(file: &str, bytes: &[u8]) -> Result<M, Error> {
    M::decode(bytes).map_err(|source| Error::Decode {
        file: file.to_owned(),
        source,
    })
}

fn parse_secret(file: &[u8]) -> Result<[u8; 32], Error> {
    let text = String::from_utf8_lossy(file);
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim_end(), &mut secret)
        .map_err(|e| Error::invalid("secret.hex", e))?;
    Ok(secret)
}

/// Reads all versions of the key half.
fn read_keys(dir: &Path, exam: &Exam) -> Result<Vec<KeyFile>, Error> {
    let mut keys = vec![read_key(dir, "key.bin".to_owned(), 0)?];
    for ruling in &exam.rulings {
        if let Some(Kind::Key(key)) = &ruling.kind {
            let name = format!("key-{}.bin", key.key_version);
            keys.push(read_key(dir, name, ruling.at_ms)?);
        }
    }
    Ok(keys)
}

fn read_key(dir: &Path, name: String, since_ms: u64) -> Result<KeyFile, Error> {
    let bytes = read(dir, &name)?;
    Ok(KeyFile {
        half: decode(&name, &bytes)?,
        hash: *blake3::hash(&bytes).as_bytes(),
        name,
        since_ms,
    })
}

/// Returns the names of key versions in the folder that are not among those read.
fn stray_keys(dir: &Path, keys: &[KeyFile]) -> Result<Vec<String>, Error> {
    let unreadable = |source| Error::Read {
        file: "the folder".to_owned(),
        source,
    };
    let mut stray = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy();
        let is_key = name.starts_with("key-") && name.ends_with(".bin");
        if is_key && keys.iter().all(|key| key.name != name) {
            stray.push(name.into_owned());
        }
    }
    stray.sort();
    Ok(stray)
}

/// Folds the log entry by entry: a national log is larger than memory should be. Returns the file's hash with it.
fn read_log<'a>(dir: &Path, mut fold: LogFold<'a>) -> Result<(LogFold<'a>, [u8; 32]), Error> {
    let unreadable = |source| Error::Read {
        file: "log.bin".to_owned(),
        source,
    };
    let file = fs::File::open(dir.join("log.bin")).map_err(unreadable)?;
    let mut log = BufReader::new(Hashed {
        file,
        hasher: blake3::Hasher::new(),
    });
    let mut bytes = Vec::new();
    let mut n_read = 0;
    while !log.fill_buf().map_err(unreadable)?.is_empty() {
        let damaged = || Error::LogDamaged { n_read };
        bytes.resize(read_length(&mut log).ok_or_else(damaged)?, 0);
        log.read_exact(&mut bytes).map_err(|_| damaged())?;
        fold.apply(decode::<LogEntry>("log.bin", &bytes)?);
        n_read += 1;
    }
    fold.finish();
    Ok((fold, *log.get_ref().hasher.finalize().as_bytes()))
}

/// A file whose bytes are hashed as they are read.
struct Hashed {
    file: fs::File,
    hasher: blake3::Hasher,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// Reads a varint of at most 4 bytes; none if it is longer, cut off or over the limit.
fn read_length(log: &mut impl Read) -> Option<usize> {
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let mut byte = [0];
        log.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return (length <= MAX_ENTRY_LEN).then_some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::response::Value;

    use super::*;
    use crate::test_exam::{TestExam, chosen, person};

    #[test]
    fn answers_of_the_log_are_found() {
        let mut exam = TestExam::new();
        let dir = exam.write();
        let archive = Archive::read(dir.path()).unwrap();
        let first = exam.answered(7, 1, 1).response.clone().unwrap();
        assert!(archive.contains(&person(7), 1, 1, 0, &first));
        assert!(
            !archive.contains(&person(7), 1, 1, 1, &first),
            "another position"
        );
        assert!(
            !archive.contains(&person(7), 1, 2, 0, &first),
            "another seq"
        );
        assert!(!archive.contains(&person(7), 1, 0, 0, &first), "no seq");
        assert!(
            !archive.contains(&person(7), 1, 1, 0, &chosen(0b1000)),
            "another response"
        );
        assert!(
            !archive.contains(&person(7), 2, 1, 0, &first),
            "another attempt"
        );
        assert!(
            !archive.contains(&person(99), 1, 1, 0, &first),
            "another person"
        );
    }

    #[test]
    fn answers_behind_a_gap_are_found() {
        let mut exam = TestExam::new();
        let last = exam.answered(7, 1, 8).clone();
        let third = exam.events_of(7, 1)[3];
        exam.log.remove(third);
        let archive = Archive::read(exam.write().path()).unwrap();
        let response = last.response.unwrap();
        assert!(archive.contains(&person(7), 1, 8, last.position, &response));
    }

    #[test]
    fn the_newest_answer_of_each_position_counts() {
        let mut exam = TestExam::new();
        let archive = Archive::read(exam.write().path()).unwrap();
        let last = archive.last_answers(&person(3), 1).unwrap();
        assert_eq!(
            last.keys().copied().collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6]
        );
        let second = exam.answered(3, 1, 2).response.clone().unwrap();
        assert_eq!((last[&0].seq, &last[&0].response), (2, &second));
        let cleared = Response { value: None };
        assert_eq!((last[&1].seq, &last[&1].response), (9, &cleared));
        assert!(matches!(last[&2].response.value, Some(Value::Chosen(_))));
        assert_eq!(archive.last_answers(&person(4), 1).unwrap().len(), 0);
        assert!(archive.last_answers(&person(4), 2).is_none());
    }

    #[test]
    fn missing_and_damaged_files_are_errors() {
        for file in [
            "exam.bin",
            "paper.bin",
            "key.bin",
            "secret.hex",
            "log.bin",
            "result.tsv",
        ] {
            let dir = TestExam::new().write();
            fs::remove_file(dir.path().join(file)).unwrap();
            let error = Archive::read(dir.path()).err().unwrap();
            assert!(
                matches!(&error, Error::Read { file: name, .. } if name == file),
                "{error}"
            );
        }
        for file in ["exam.bin", "paper.bin", "key.bin"] {
            let dir = TestExam::new().write();
            fs::write(dir.path().join(file), [0xff; 3]).unwrap();
            let error = Archive::read(dir.path()).err().unwrap();
            assert!(
                matches!(&error, Error::Decode { file: name, .. } if name == file),
                "{error}"
            );
        }
        let dir = TestExam::new().write();
        fs::write(dir.path().join("secret.hex"), "5e5e").unwrap();
        assert!(matches!(
            Archive::read(dir.path()),
            Err(Error::Invalid { .. })
        ));
    }

    #[test]
    fn a_log_cut_off_within_an_entry_is_an_error() {
        let exam = TestExam::new();
        let dir = exam.write();
        let path = dir.path().join("log.bin");
        let log = fs::read(&path).unwrap();
        let n_read = u64::try_from(exam.log.len()).unwrap() - 1;
        fs::write(&path, &log[..log.len() - 1]).unwrap();
        let error = Archive::read(dir.path()).err().unwrap();
        assert!(
            matches!(error, Error::LogDamaged { n_read: n } if n == n_read),
            "{error}"
        );
        fs::write(&path, [0xff, 0xff, 0xff, 0x7f]).unwrap();
        let error = Archive::read(dir.path()).err().unwrap();
        assert!(matches!(error, Error::LogDamaged { n_read: 0 }), "{error}");
    }
}
