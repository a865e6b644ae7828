//! A store in memory that keeps the contract of `SessionStore`, over links that delay, cut and lose answers; or breaks it
//! on purpose.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use exam_engine::{
    clock::Timestamp,
    id::{CandidateId, ExamId, SessionKey},
    store::{AlarmChange, Commit, Durability, Error, Field, Record, Result, SessionStore},
};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};
use tokio::time::Instant;

/// How the store breaks its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    IgnoresVersions,
    ForgetsEvents,
    IgnoresLimits,
}

/// One entry of the log, with the instant of its commit on the store's clock.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    pub(super) event: Bytes,
}

pub(super) struct SimStore {
    begin: Timestamp,
    begun: Instant,
    fault: Fault,
    state: Mutex<State>,
}

struct State {
    rng: ChaCha12Rng,
    records: HashMap<CandidateId, (u64, BTreeMap<Field, Bytes>)>,
    due: BTreeMap<CandidateId, Timestamp>,
    log: BTreeMap<u32, Vec<Entry>>,
    cut: [bool; super::N_ENGINES],
    n_commits: u64,
}

impl SimStore {
    pub(super) fn new(begin: Timestamp, fault: Fault) -> Self {
        let state = State {
            rng: ChaCha12Rng::seed_from_u64(0),
            records: HashMap::new(),
            due: BTreeMap::new(),
            log: BTreeMap::new(),
            cut: [false; super::N_ENGINES],
            n_commits: 0,
        };
        Self {
            begin,
            begun: Instant::now(),
            fault,
            state: Mutex::new(state),
        }
    }

    pub(super) fn set_seed(&self, seed: u64) {
        self.state.lock().unwrap().rng = ChaCha12Rng::seed_from_u64(seed);
    }

    /// Cuts an engine off, or lets it in again.
    pub(super) fn cut(&self, engine: usize, is_cut: bool) {
        self.state.lock().unwrap().cut[engine] = is_cut;
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.state
            .lock()
            .unwrap()
            .log
            .values()
            .flatten()
            .cloned()
            .collect()
    }

    pub(super) fn record(&self, candidate: CandidateId) -> Option<Record> {
        let state = self.state.lock().unwrap();
        let (version, fields) = state.records.get(&candidate)?;
        Some(Record {
            version: *version,
            fields: fields
                .iter()
                .map(|(field, value)| (*field, value.clone()))
                .collect(),
        })
    }

    fn now(&self) -> Timestamp {
        self.begin
            .plus_ms(u64::try_from(self.begun.elapsed().as_millis()).unwrap())
    }

    fn draw(&self, n: u64) -> u64 {
        self.state.lock().unwrap().rng.next_u64() % n
    }

    fn is_cut(&self, engine: usize) -> bool {
        self.state.lock().unwrap().cut[engine]
    }

    fn apply(&self, key: &SessionKey, commit: Commit) -> Result<u64> {
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.n_commits += 1;
        let forgets = self.fault == Fault::ForgetsEvents && state.n_commits.is_multiple_of(7);
        let (version, fields) = state.records.entry(key.candidate).or_default();
        if *version != commit.expected_version && self.fault != Fault::IgnoresVersions {
            return Err(Error::Conflict);
        }
        if commit.not_after.is_some_and(|limit| now > limit) && self.fault != Fault::IgnoresLimits {
            return Err(Error::TooLate);
        }
        if commit.reset {
            fields.clear();
        }
        fields.extend(commit.fields);
        *version += 1;
        let version = *version;
        match commit.alarm {
            AlarmChange::Keep => {}
            AlarmChange::Set(at) => drop(state.due.insert(key.candidate, at)),
            AlarmChange::Clear => drop(state.due.remove(&key.candidate)),
        }
        if !forgets {
            let log = state.log.entry(key.partition).or_default();
            log.extend(
                commit
                    .events
                    .into_iter()
                    .map(|event| Entry { at: now, event }),
            );
        }
        Ok(version)
    }
}

/// How one engine reaches the store.
pub(super) struct Link {
    store: Arc<SimStore>,
    engine: usize,
    is_dead: AtomicBool,
}

impl Link {
    pub(super) fn new(store: Arc<SimStore>, engine: usize) -> Self {
        Self {
            store,
            engine,
            is_dead: AtomicBool::new(false),
        }
    }

    /// Cuts the link for good: its process has crashed.
    pub(super) fn die(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
    }

    /// One way: takes time, and fails while the link is cut.
    async fn way(&self) -> Result<()> {
        let delay = match self.store.draw(20) {
            0 => self.store.draw(1_500),
            _ => self.store.draw(20),
        };
        tokio::time::sleep(Duration::from_millis(delay)).await;
        if self.is_dead.load(Ordering::Relaxed) || self.store.is_cut(self.engine) {
            return Err(Error::Unavailable("cut off".to_owned()));
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl SessionStore for Link {
    async fn load(&self, key: &SessionKey) -> Result<Option<Record>> {
        self.way().await?;
        let record = self.store.record(key.candidate);
        self.way().await?;
        Ok(record)
    }

    /// A commit may stand although its answer is lost.
    async fn commit(&self, key: &SessionKey, commit: Commit) -> Result<u64> {
        self.way().await?;
        let outcome = self.store.apply(key, commit);
        self.way().await?;
        if self.store.draw(25) == 0 {
            return Err(Error::Unavailable("the answer was lost".to_owned()));
        }
        outcome
    }

    async fn read_log(
        &self,
        _: &ExamId,
        partition: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>> {
        let state = self.store.state.lock().unwrap();
        let log = state.log.get(&partition).map_or(&[][..], Vec::as_slice);
        let after = usize::try_from(after).unwrap();
        Ok(log
            .iter()
            .skip(after)
            .take(limit)
            .map(|entry| entry.event.clone())
            .collect())
    }

    async fn log_ends(&self, _: &ExamId, n_partitions: u32) -> Result<Vec<u64>> {
        let state = self.store.state.lock().unwrap();
        Ok((0..n_partitions)
            .map(|partition| state.log.get(&partition).map_or(0, |log| log.len() as u64))
            .collect())
    }

    async fn due(
        &self,
        _: &ExamId,
        _: u32,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<CandidateId>, Option<Timestamp>)> {
        self.way().await?;
        let state = self.store.state.lock().unwrap();
        let mut all: Vec<(Timestamp, CandidateId)> = state
            .due
            .iter()
            .map(|(candidate, at)| (*at, *candidate))
            .collect();
        all.sort_unstable();
        let n_due = all
            .iter()
            .take_while(|(at, _)| *at <= now)
            .count()
            .min(limit);
        Ok((
            all[..n_due]
                .iter()
                .map(|(_, candidate)| *candidate)
                .collect(),
            all.get(n_due).map(|(at, _)| *at),
        ))
    }

    async fn check(&self) -> Result<()> {
        self.way().await
    }

    async fn trim_log(&self, _exam: &ExamId, _partition: u32, _upto: u64) -> Result<()> {
        Err(Error::Unavailable("it trims nothing".to_owned()))
    }

    fn durability(&self) -> Durability {
        Durability::Single
    }
}
