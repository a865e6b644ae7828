//! A store that can be made to wait, and that counts what it is asked.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use exam_engine::{
    clock::Timestamp,
    id::{CandidateId, ExamId, SessionKey},
    store::{Commit, Durability, Record, Result, SessionStore},
};
use tokio::sync::watch;

/// Commits wait while it is stalled, and stand once it goes on.
pub(crate) struct Stalled {
    inner: Arc<dyn SessionStore>,
    is_stalled: watch::Receiver<bool>,
    pub(crate) n_commits: Arc<AtomicU64>,
}

impl Stalled {
    /// Wraps stores; the sender stalls them.
    pub(crate) fn wrap(
        is_stalled: watch::Receiver<bool>,
        n_commits: Arc<AtomicU64>,
    ) -> impl Fn(Arc<dyn SessionStore>) -> Arc<dyn SessionStore> {
        move |inner| {
            Arc::new(Self {
                inner,
                is_stalled: is_stalled.clone(),
                n_commits: Arc::clone(&n_commits),
            })
        }
    }
}

#[tonic::async_trait]
impl SessionStore for Stalled {
    async fn load(&self, key: &SessionKey) -> Result<Option<Record>> {
        self.inner.load(key).await
    }

    async fn commit(&self, key: &SessionKey, commit: Commit) -> Result<u64> {
        let mut is_stalled = self.is_stalled.clone();
        let _ = is_stalled.wait_for(|stalled| !stalled).await; // a dropped sender stalls nothing
        self.n_commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(key, commit).await
    }

    async fn read_log(
        &self,
        exam: &ExamId,
        partition: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>> {
        self.inner.read_log(exam, partition, after, limit).await
    }

    async fn trim_log(&self, exam: &ExamId, partition: u32, upto: u64) -> Result<()> {
        self.inner.trim_log(exam, partition, upto).await
    }

    async fn log_ends(&self, exam: &ExamId, n_partitions: u32) -> Result<Vec<u64>> {
        self.inner.log_ends(exam, n_partitions).await
    }

    async fn due(
        &self,
        exam: &ExamId,
        n_partitions: u32,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<CandidateId>, Option<Timestamp>)> {
        self.inner.due(exam, n_partitions, now, limit).await
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }

    fn durability(&self) -> Durability {
        self.inner.durability()
    }
}
