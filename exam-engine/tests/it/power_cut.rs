//! A power cut under load: what was written and never synced is gone, what was acknowledged is there (P1).
//!
//! A child process (this binary again, as [`child`]) fills an embedded store under the library of
//! `tests/powercut/shim.c`, and says each acknowledged commit. The test kills it, overwrites what no sync had covered
//! with zeros, opens the store and compares. The same without syncs is the negative control.
//! `POWERCUT_CUTS=…` cuts so often, `POWERCUT_SEED=…` repeats a run's moments.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use exam_engine::{
    clock::SystemClock,
    id::{CandidateId, ExamId, SessionKey},
    store::{AlarmChange, Commit, EmbeddedStore, Error, Field, SessionStore, Settings},
};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};

const N_WRITERS: u8 = 32;
const N_PARTITIONS: u32 = 4;
const N_CUTS: u32 = 6;
const N_CONTROL_CUTS: u32 = 10;
/// A child is killed after at least this many answers, so that there is something to lose.
const MIN_ACKNOWLEDGED: usize = 200;
/// Longest wait of the test for one line of the child.
const PATIENCE: Duration = Duration::from_secs(60);

fn exam() -> ExamId {
    ExamId::parse("mat-dien").unwrap()
}

fn key(writer: u8) -> SessionKey {
    SessionKey {
        exam: exam(),
        partition: u32::from(writer) % N_PARTITIONS,
        candidate: CandidateId([writer; 16]),
    }
}

/// What the event of a commit says; a record's progress says the same, so that both can be compared.
fn text(writer: u8, version: u64) -> Bytes {
    format!("{writer} {version} {}", "x".repeat(60)).into()
}

fn commit(writer: u8, version: u64) -> Commit {
    Commit {
        expected_version: version - 1,
        not_after: None,
        reset: false,
        fields: vec![(Field::Progress, text(writer, version))],
        alarm: AlarmChange::Keep,
        events: vec![text(writer, version)],
    }
}

/// The process that is killed: nothing unless the test starts it.
#[test]
fn child() {
    let Ok(folder) = std::env::var("POWERCUT_CHILD") else {
        return;
    };
    let settings = Settings {
        syncs: std::env::var("POWERCUT_NO_SYNC").is_err(),
        memtable_bytes: 256 << 10, // so that tables are written and journals dropped while it runs
        ..Settings::default()
    };
    let store = EmbeddedStore::open_with(Path::new(&folder), Arc::new(SystemClock), settings);
    let store = Arc::new(store.unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..N_WRITERS {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                let record = store.load(&key(writer)).await.unwrap();
                let version = record.map_or(0, |record| record.version);
                for version in version + 1.. {
                    let stored = store.commit(&key(writer), commit(writer, version)).await;
                    assert_eq!(stored.unwrap(), version);
                    // Straight to the pipe, which outlives the process.
                    let line = format!("\nacknowledged {writer} {version}\n");
                    std::io::stderr().write_all(line.as_bytes()).unwrap();
                }
            });
        }
        while writers.join_next().await.is_some() {}
    });
}

/// Builds the library; nothing if there is no compiler.
fn build_shim(folder: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/powercut/shim.c");
    let library = folder.join("shim.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    match built {
        Ok(status) => {
            assert!(status.success(), "cc did not build {}", source.display());
            Some(library)
        }
        Err(error) => {
            // On a bare machine the rest of the suite is still worth running; CI has a compiler.
            assert!(std::env::var("CI").is_err(), "cc is needed: {error}");
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED, no C compiler `cc` ({error}): power cuts were not tested; install gcc or clang"
            );
            None
        }
    }
}

/// A place with a store, a shim and a log of syncs.
struct Site {
    folder: tempfile::TempDir,
    shim: PathBuf,
    syncs: bool,
}

impl Site {
    fn new(syncs: bool) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let shim = build_shim(folder.path())?;
        Some(Self {
            folder,
            shim,
            syncs,
        })
    }

    fn live(&self) -> PathBuf {
        self.folder.path().join("live")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("syncs")
    }

    fn spawn(&self) -> Child {
        let _ = fs::remove_file(self.log()); // each run begins with an empty one
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(std::env::current_exe().unwrap())
            .args(["power_cut::child", "--exact", "--nocapture"])
            .env("POWERCUT_CHILD", self.live())
            .env("POWERCUT_LOG", self.log())
            .env("POWERCUT_MODE", "offset")
            .env("LD_PRELOAD", &self.shim)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if !self.syncs {
            command.env("POWERCUT_NO_SYNC", "1");
        }
        command.spawn().unwrap()
    }

    /// Runs the child, kills it at a random moment; returns the last acknowledged version of each writer.
    fn run_and_kill(&self, rng: &mut ChaCha12Rng) -> BTreeMap<u8, u64> {
        let mut child = self.spawn();
        let (lines, read) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = lines.send(line); // the test may have enough
            }
        });
        let mut acknowledged = BTreeMap::new();
        let mut n_acknowledged = 0;
        let mut take = |line: &str| {
            let mut words = line.strip_prefix("acknowledged ")?.split(' ');
            let writer = words.next()?.parse().ok()?;
            acknowledged.insert(writer, words.next()?.parse().ok()?);
            Some(())
        };
        let mut others = String::new();
        let mut kill_at = None;
        loop {
            let wait = kill_at.map_or(PATIENCE, |at: Instant| {
                at.saturating_duration_since(Instant::now())
            });
            match read.recv_timeout(wait) {
                Ok(line) if take(&line).is_some() => n_acknowledged += 1,
                Ok(line) => others.push_str(&line),
                Err(_) => break, // time to kill, or it has ended by itself
            }
            if n_acknowledged == MIN_ACKNOWLEDGED {
                kill_at = Some(Instant::now() + Duration::from_micros(rng.next_u64() % 300_000));
            }
            if kill_at.is_some_and(|at| at <= Instant::now()) {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        while let Ok(line) = read.try_recv() {
            take(&line);
        }
        assert!(n_acknowledged >= MIN_ACKNOWLEDGED, "{others}");
        acknowledged
    }

    /// Takes away what no sync of this run had covered; returns how many written bytes are gone.
    fn cut(&self, before: &HashMap<u64, u64>) -> u64 {
        let mut safe: HashMap<u64, u64> = HashMap::new();
        for line in BufReader::new(File::open(self.log()).unwrap()).lines() {
            let line = line.unwrap();
            let mut words = line.splitn(3, ' ');
            let bytes: u64 = words.next().unwrap().parse().unwrap();
            let inode = words.next().unwrap().parse().unwrap();
            let known = safe.entry(inode).or_default();
            *known = bytes.max(*known);
        }
        let mut n_lost = 0;
        for (path, inode) in files(&self.live()) {
            let safe = match safe.get(&inode) {
                Some(safe) => *safe,
                None if before.contains_key(&inode) => continue,
                None => 0,
            };
            let bytes = fs::read(&path).unwrap();
            let behind = &bytes[usize::try_from(safe).unwrap().min(bytes.len())..];
            n_lost += behind.iter().filter(|byte| **byte != 0).count() as u64;
            let file = File::options().write(true).open(&path).unwrap();
            file.write_all_at(&vec![0; behind.len()], safe).unwrap();
        }
        n_lost
    }
}

/// All files below a folder, with their inodes.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path(), entry.metadata().unwrap().ino()));
            }
        }
    }
    found
}

/// Opens the store; returns the versions that are there, from records and log, which must agree.
fn stored(folder: &Path) -> Result<BTreeMap<u8, u64>, Error> {
    let store = EmbeddedStore::open(folder, Arc::new(SystemClock))?;
    let recovery = store.recovery();
    assert!(!recovery.was_clean, "a kill is no stop in order");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut logged: BTreeMap<u8, u64> = BTreeMap::new();
        for partition in 0..N_PARTITIONS {
            let entries = store.read_log(&exam(), partition, 0, usize::MAX).await?;
            let end = recovery.ends.get(&(exam().to_string(), partition));
            assert_eq!(end.copied().unwrap_or(0), entries.len() as u64);
            for entry in entries {
                let said = String::from_utf8(entry.to_vec()).unwrap();
                let writer = said.split(' ').next().unwrap().parse().unwrap();
                let version = logged.entry(writer).or_default();
                *version += 1;
                assert_eq!(
                    text(writer, *version),
                    said,
                    "the log of a record has no gap"
                );
            }
        }
        let mut versions = BTreeMap::new();
        for writer in 0..N_WRITERS {
            if let Some(record) = store.load(&key(writer)).await? {
                let progress = (Field::Progress, text(writer, record.version));
                assert_eq!(
                    record.fields,
                    [progress],
                    "the record is not that of its version"
                );
                versions.insert(writer, record.version);
            }
        }
        assert_eq!(versions, logged, "records and log say different things");
        Ok(versions)
    })
}

/// Returns how many acknowledged commits are not stored.
fn lost(acknowledged: &BTreeMap<u8, u64>, stored: &BTreeMap<u8, u64>) -> u64 {
    let missing = |(writer, version): (&u8, &u64)| {
        version.saturating_sub(stored.get(writer).copied().unwrap_or(0))
    };
    acknowledged.iter().map(missing).sum()
}

fn seed() -> u64 {
    let given = std::env::var("POWERCUT_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
    let _ = writeln!(std::io::stderr(), "POWERCUT_SEED={seed}"); // shown with a failure
    seed
}

#[test]
fn a_power_cut_takes_no_acknowledged_commit() {
    let Some(site) = Site::new(true) else { return };
    let mut rng = ChaCha12Rng::seed_from_u64(seed());
    let n_cuts = std::env::var("POWERCUT_CUTS").map_or(N_CUTS, |cuts| cuts.parse().unwrap());
    let (mut n_gone, mut n_all) = (0, 0);
    for _ in 0..n_cuts {
        let before = files(&site.live())
            .into_iter()
            .map(|(_, inode)| (inode, 0))
            .collect();
        let acknowledged = site.run_and_kill(&mut rng);
        n_gone += site.cut(&before);
        let stored = stored(&site.live()).unwrap();
        assert_eq!(
            lost(&acknowledged, &stored),
            0,
            "{acknowledged:?} {stored:?}"
        );
        n_all = stored.values().sum();
        // The next child's start is again one after a crash.
        let _ = fs::remove_file(site.live().join("clean-stop"));
    }
    let _ = writeln!(
        std::io::stderr(),
        "{n_cuts} cuts, {n_all} commits, 0 acknowledged lost, {n_gone} unsynced bytes taken away"
    );
}

/// A cut that comes right behind a memtable's table, which is synced even here, finds nothing to take; another does.
#[test]
fn without_syncs_a_power_cut_takes_acknowledged_commits() {
    let mut rng = ChaCha12Rng::seed_from_u64(seed());
    for _ in 0..N_CONTROL_CUTS {
        let Some(site) = Site::new(false) else { return };
        let acknowledged = site.run_and_kill(&mut rng);
        site.cut(&HashMap::new());
        let stored = stored(&site.live()).unwrap_or_default();
        if lost(&acknowledged, &stored) > 0 {
            return;
        }
    }
    panic!("this check cannot fail");
}
