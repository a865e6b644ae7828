//! The embedded store under damage, after crashes, with a long journal, and on a disk that is really full.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use bytes::Bytes;
use exam_engine::{
    clock::SystemClock,
    id::{CandidateId, ExamId, SessionKey},
    store::{AlarmChange, Commit, EmbeddedStore, Error, Field, Recovery, SessionStore, Settings},
};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};
use tokio::{sync::mpsc, task::JoinSet};

fn exam() -> ExamId {
    ExamId::parse("a").unwrap()
}

fn key(candidate: u8) -> SessionKey {
    SessionKey {
        exam: exam(),
        partition: 1,
        candidate: CandidateId([candidate; 16]),
    }
}

fn commit(expected_version: u64, field: Field, value: Bytes) -> Commit {
    Commit {
        expected_version,
        not_after: None,
        reset: false,
        fields: vec![(Field::Progress, Bytes::from_static(b"p")), (field, value)],
        alarm: AlarmChange::Keep,
        events: vec![Bytes::from(format!("event {expected_version}"))],
    }
}

/// Bytes that no compression makes smaller.
fn noise(rng: &mut ChaCha12Rng, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes.into()
}

fn open(folder: &Path) -> Result<EmbeddedStore, Error> {
    EmbeddedStore::open(folder, Arc::new(SystemClock))
}

/// Everything that is stored, or the first error.
async fn everything(store: &EmbeddedStore) -> Result<Vec<u8>, Error> {
    let (pieces, mut made) = mpsc::channel(1_000);
    let mut all = Vec::new();
    let (dumped, ()) = tokio::join!(store.dump(pieces), async {
        while let Some(piece) = made.recv().await {
            all.extend(piece.unwrap());
        }
    });
    dumped.map(|()| all)
}

fn journal(folder: &Path) -> PathBuf {
    folder.join("0.jnl")
}

/// A store of a few commits, stopped in order and opened once more, which leaves a journal without empty space.
async fn small_store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert!(store.recovery().is_new);
    for version in 0..12 {
        let commit = commit(
            version,
            Field::Answer(3),
            Bytes::from(format!("value {version}")),
        );
        store.commit(&key(1), commit).await.unwrap();
    }
    drop(store);
    let recovery = open(folder.path()).unwrap().recovery().clone();
    assert!(recovery.was_clean);
    assert_eq!(recovery.ends[&("a".to_owned(), 1)], 12);
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Opens a changed copy of a store without its mark, and reads all of it.
async fn with(folder: &Path, change: impl FnOnce(&Path)) -> Result<(Recovery, Vec<u8>), Error> {
    let other = tempfile::tempdir().unwrap();
    copy(folder, other.path());
    let _ = fs::remove_file(other.path().join("clean-stop"));
    change(other.path());
    let store = open(other.path())?;
    let recovery = store.recovery().clone();
    Ok((recovery, everything(&store).await?))
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_has_changed_in_the_journal_is_refused_before_anything_is_cut() {
    let folder = small_store().await;
    let (_, whole) = with(folder.path(), |_| ()).await.unwrap();
    let len = fs::read(journal(folder.path())).unwrap().len();
    let (mut n_refused, mut n_harmless) = (0, 0);
    for at in (0..len).step_by(3) {
        match with(folder.path(), |folder| flip(&journal(folder), at)).await {
            Err(Error::Corrupt(text)) => {
                assert!(
                    text.contains("hỏng") && text.contains("exam restore"),
                    "{text}"
                );
                n_refused += 1;
            }
            // The sequence number of the first or last batch: the order stays what it was.
            Ok((_, read)) => {
                assert_eq!(read, whole, "byte {at} of {len}");
                n_harmless += 1;
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
    assert!(
        n_refused > 20 * n_harmless,
        "{n_refused} refused, {n_harmless} harmless"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_has_changed_in_a_table_is_never_read_as_data() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        memtable_bytes: 32 << 10,
        ..Settings::default()
    };
    let store = EmbeddedStore::open_with(folder.path(), Arc::new(SystemClock), settings).unwrap();
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    for version in 0..60 {
        let answer = Field::Answer(u16::try_from(version).unwrap());
        let value = noise(&mut rng, 3_000);
        store
            .commit(&key(1), commit(version, answer, value))
            .await
            .unwrap();
    }
    drop(store);
    drop(open(folder.path()).unwrap());
    let (_, whole) = with(folder.path(), |_| ()).await.unwrap();
    let mut tables = Vec::new();
    let mut folders = vec![folder.path().join("keyspaces")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.path().parent().unwrap().ends_with("tables") {
                tables.push(entry.path());
            }
        }
    }
    assert!(!tables.is_empty(), "no table was written, nothing is tried");
    let (mut n_refused, mut n_tried) = (0, 0);
    for table in tables {
        let name = table.strip_prefix(folder.path()).unwrap().to_owned();
        let len = usize::try_from(fs::metadata(&table).unwrap().len()).unwrap();
        for at in (0..len).step_by((len / 12).max(1)) {
            n_tried += 1;
            match with(folder.path(), |folder| flip(&folder.join(&name), at)).await {
                Err(Error::Corrupt(_) | Error::Unavailable(_)) => n_refused += 1,
                Ok((_, read)) => assert_eq!(read, whole, "{} byte {at}", name.display()),
                Err(error) => panic!("{} byte {at}: {error}", name.display()),
            }
        }
    }
    assert!(
        n_refused * 2 > n_tried,
        "{n_refused} of {n_tried} were noticed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_is_cut_off_and_told() {
    let folder = small_store().await;
    let len = fs::read(journal(folder.path())).unwrap().len();
    for zeros in [0, 40_000] {
        let torn = |folder: &Path| {
            let file = fs::File::options()
                .write(true)
                .open(journal(folder))
                .unwrap();
            file.set_len(len as u64 - 20).unwrap();
            file.set_len((len - 20 + zeros) as u64).unwrap();
        };
        let (recovery, _) = with(folder.path(), torn).await.unwrap();
        assert!(!recovery.was_clean);
        assert!(recovery.journal.n_cut_bytes > 0, "{recovery:?}");
        assert_eq!(
            recovery.ends[&("a".to_owned(), 1)],
            11,
            "one commit was incomplete"
        );
    }
    // Nothing was torn: nothing is told.
    let (recovery, _) = with(folder.path(), |_| ()).await.unwrap();
    assert_eq!(recovery.journal.n_cut_bytes, 0);
    // After a stop in order nothing may be missing.
    let file = fs::File::options()
        .write(true)
        .open(journal(folder.path()))
        .unwrap();
    file.set_len(len as u64 - 20).unwrap();
    let error = open(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("has lost its end"), "{error}");
}

/// Four journals of 64 MiB: the one in use, two that wait for memory tables, one being dropped.
const MAX_JOURNAL_BYTES: u64 = 256 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_stays_below_its_limit_and_a_restart_reads_only_its_tail() {
    const N_WRITERS: u8 = 16;
    const ROUNDS: u64 = 640;
    const VALUE_BYTES: usize = 64 << 10;
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        memtable_bytes: 4 << 20,
        journal_bytes: 64 << 20, // a quarter of the usual, so that the test ends soon
        ..Settings::default()
    };
    let store = EmbeddedStore::open_with(folder.path(), Arc::new(SystemClock), settings).unwrap();
    let store = Arc::new(store);
    let mut largest = 0;
    let value = noise(&mut ChaCha12Rng::seed_from_u64(2), VALUE_BYTES);
    for round in 0..ROUNDS {
        let mut writers = JoinSet::new();
        for writer in 0..N_WRITERS {
            let (store, value) = (Arc::clone(&store), value.clone());
            writers.spawn(async move {
                let commit = commit(round, Field::Answer(0), value);
                store.commit(&key(writer), commit).await.unwrap();
            });
        }
        writers.join_all().await;
        let journals = fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        let journals =
            journals.filter(|file| file.path().extension().is_some_and(|end| end == "jnl"));
        largest = largest.max(
            journals
                .map(|file| file.metadata().map_or(0, |meta| meta.len()))
                .sum(),
        );
    }
    let n_written = u64::from(N_WRITERS) * ROUNDS * VALUE_BYTES as u64;
    assert!(
        n_written > 2 * MAX_JOURNAL_BYTES,
        "too little to prove anything"
    );
    assert!(largest <= MAX_JOURNAL_BYTES, "{largest} bytes of journals");
    drop(store);
    let store = open(folder.path()).unwrap();
    let n_read = store.recovery().journal.n_bytes;
    let _ = writeln!(
        std::io::stderr(),
        "{n_written} bytes written, journals {largest} at most, {n_read} read again"
    );
    assert!(n_read <= MAX_JOURNAL_BYTES, "{n_read}");
    let record = store.load(&key(3)).await.unwrap().unwrap();
    assert_eq!(record.version, ROUNDS);
}

/// A file system in memory; gone with the test.
struct Mount(tempfile::TempDir);

impl Mount {
    fn of(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(folder))
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let status = Command::new("mount")
            .args(["-o", &options])
            .arg(self.0.path())
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status(); // the folder goes next
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_really_full_loses_nothing_acknowledged() {
    let Some(mount) = Mount::of("100m") else {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED, nothing can be mounted here (not root): a really full disk was not tested"
        );
        return;
    };
    let folder = mount.0.path().join("live");
    let store = open(&folder).unwrap();
    store.set_reserve_bytes(0); // the reserve would refuse before the disk does
    let value = noise(&mut ChaCha12Rng::seed_from_u64(3), 64 << 10);
    let mut version = 0;
    let error = loop {
        match store
            .commit(&key(1), commit(version, Field::Answer(0), value.clone()))
            .await
        {
            Ok(stored) => version = stored,
            Err(error) => break error,
        }
        assert!(version < 100_000, "the disk never fills");
    };
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(version > 10, "it was full before anything was stored");
    assert!(
        store.check().await.is_err(),
        "a failed write ends the service until a restart"
    );
    drop(store);
    mount.resize("400m");
    let store = open(&folder).unwrap();
    assert!(!store.recovery().was_clean);
    let record = store.load(&key(1)).await.unwrap().unwrap();
    // The refused one may stand: "unavailable" leaves it open.
    assert!(
        (version..=version + 1).contains(&record.version),
        "{version} {}",
        record.version
    );
    let log = store.read_log(&exam(), 1, 0, usize::MAX).await.unwrap();
    assert_eq!(log.len() as u64, record.version);
    store.set_reserve_bytes(0);
    let next = commit(record.version, Field::Answer(0), value);
    store.commit(&key(1), next).await.unwrap();
    drop(store);
}
