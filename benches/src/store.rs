//! Commits of answers to the embedded store, many at once.
//!
//! The folder lies where the system keeps temporary files: a file system in memory makes every sync free, so set
//! `TMPDIR` to a disk before figures are believed. Start at [`Sessions::save_answers`].

use std::sync::Arc;

use bytes::Bytes;
use exam_engine::{
    clock::{SystemClock, Timestamp},
    id::{CandidateId, ExamId, SessionKey},
    store::{AlarmChange, Commit, EmbeddedStore, Field, Result, SessionStore},
};
use prost::Message;
use proto::exam::v1::{Answered, Event, Response, event::Kind, response::Value};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use crate::bank::{DURATION_MS, EXAM_ID, N_PARTITIONS, OPENS_AT_MS};

/// Places that answers go to in turn.
pub const N_PLACES: u16 = 30;
/// About the size of a stored head and of a stored progress.
const FIELD_BYTES: usize = 56;

/// Running sessions in a store of their own.
pub struct Sessions {
    /// Closed before its folder goes.
    store: EmbeddedStore,
    keys: Vec<SessionKey>,
    /// Commits of every session so far.
    version: u64,
    _folder: TempDir,
}

impl Sessions {
    /// Opens a store in a new folder; it holds nothing yet.
    #[must_use]
    pub fn new(n_sessions: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let folder = tempfile::tempdir().expect("temporary files can be made");
        let store = EmbeddedStore::open(folder.path(), Arc::new(SystemClock))
            .expect("the folder is new and nobody else's");
        let exam = ExamId::parse(EXAM_ID).expect("a name of lower-case letters");
        let keys = (0..n_sessions).map(|_| {
            let candidate = CandidateId(rng.random());
            SessionKey {
                exam: exam.clone(),
                partition: candidate.partition(N_PARTITIONS),
                candidate,
            }
        });
        Self {
            store,
            keys: keys.collect(),
            version: 0,
            _folder: folder,
        }
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &EmbeddedStore {
        &self.store
    }

    /// Returns where the sessions live.
    #[must_use]
    pub fn keys(&self) -> &[SessionKey] {
        &self.keys
    }

    /// Saves one answer in every session, all at once.
    ///
    /// # Errors
    /// What the store refused.
    pub async fn save_answers(&mut self) -> Result<()> {
        let commits = self
            .keys
            .iter()
            .map(|key| self.store.commit(key, self.commit(key)));
        futures::future::try_join_all(commits).await?;
        self.version += 1;
        Ok(())
    }

    /// One commit as the engine makes it: what changed, the answer, its event; the first writes the head as well.
    fn commit(&self, key: &SessionKey) -> Commit {
        let seq = u32::try_from(self.version + 1).expect("fewer than 2^32 answers");
        let position =
            u16::try_from(self.version % u64::from(N_PLACES)).expect("below the number of places");
        let mut fields = vec![
            (Field::Progress, Bytes::from(vec![1; FIELD_BYTES])),
            (
                Field::Answer(position),
                Bytes::copy_from_slice(&seq.to_le_bytes()),
            ),
        ];
        let mut alarm = AlarmChange::Keep;
        if self.version == 0 {
            fields.push((Field::Head, Bytes::from(vec![2; FIELD_BYTES])));
            alarm = AlarmChange::Set(Timestamp(OPENS_AT_MS + DURATION_MS));
        }
        let event = Event {
            candidate: Bytes::copy_from_slice(&key.candidate.0),
            attempt: 1,
            epoch: 1,
            at_ms: OPENS_AT_MS + self.version,
            kind: Some(Kind::Answered(Answered {
                seq,
                position: u32::from(position),
                response: Some(Response {
                    value: Some(Value::Chosen(1)),
                }),
                ..Answered::default()
            })),
        };
        Commit {
            expected_version: self.version,
            not_after: Some(Timestamp(u64::MAX)),
            reset: false,
            fields,
            alarm,
            events: vec![event.encode_to_vec().into()],
        }
    }
}
