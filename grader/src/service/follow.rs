//! Follows the log of one exam: reads, folds, announces, saves; reconnects when the stream breaks.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use proto::exam::v1::TailLogResponse;
use tokio::sync::watch;
use tonic::Status;

use super::{Live, LogSource, LogStream, snapshot_file::SnapshotFile};
use crate::{error::Result, fold::Applied};

/// Entries between two snapshots. Reading that many again takes about a second, writing the snapshot of a large
/// exam as long: rarer would make a restart slow, more often would cost more than it saves.
const SNAPSHOT_EVERY: u64 = 1_000_000;
/// First upper bound of the wait before another try.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Last upper bound: an engine that came back is found within this.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Runs until told to stop, then saves what is folded.
pub(super) async fn follow(
    live: Arc<Live>,
    source: Arc<dyn LogSource>,
    file: SnapshotFile,
    mut stop: watch::Receiver<bool>,
) {
    let exam_id = live.read().fold.package().exam_id().to_owned();
    let mut follower = Follower {
        live,
        file,
        n_unsaved: 0,
        backoff: Backoff::default(),
    };
    loop {
        let connected = tokio::select! {
            _ = stopped(&mut stop) => break,
            connected = source.tail(&exam_id, follower.live.after()) => connected,
        };
        let ended = match connected {
            Ok(stream) => follower.drain(stream, &mut stop).await,
            Err(status) => End::Broken(status.into()),
        };
        match ended {
            End::Stopped => break,
            End::Closed => tracing::debug!(exam.id = exam_id, "the log stream was closed"),
            End::Broken(error) => {
                tracing::warn!(exam.id = exam_id, error = &*error, "the log stream broke");
            }
        }
        tokio::select! {
            _ = stopped(&mut stop) => break,
            () = tokio::time::sleep(follower.backoff.next()) => {}
        }
    }
    follower.save().await;
}

/// Resolves once the exam is to be followed no more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // an error means that the other end is gone: nobody wants this exam any more
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Why a stream ended.
enum End {
    Stopped,
    Closed,
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

struct Follower {
    live: Arc<Live>,
    file: SnapshotFile,
    n_unsaved: u64,
    backoff: Backoff,
}

impl Follower {
    async fn drain(&mut self, mut stream: LogStream, stop: &mut watch::Receiver<bool>) -> End {
        loop {
            // only waiting is cut short: a batch is folded whole, a snapshot written whole
            let batch: Option<std::result::Result<TailLogResponse, Status>> = tokio::select! {
                () = stopped(stop) => return End::Stopped,
                batch = stream.next() => batch,
            };
            match batch {
                None => return End::Closed,
                Some(Err(status)) => return End::Broken(status.into()),
                Some(Ok(batch)) => match self.fold(&batch).await {
                    Ok(n_folded) => self.n_unsaved += n_folded,
                    Err(error) => return End::Broken(error.into()),
                },
            }
            self.backoff = Backoff::default();
            if self.n_unsaved >= SNAPSHOT_EVERY {
                self.save().await;
            }
        }
    }

    /// Folds one batch under the lock and tells the watchers.
    async fn fold(&self, batch: &TailLogResponse) -> Result<u64> {
        let _turn = self.live.folding.lock().await;
        let outcome = self.fold_now(batch);
        self.live.announce();
        outcome
    }

    fn fold_now(&self, batch: &TailLogResponse) -> Result<u64> {
        let mut state = self.live.write();
        let mut n_folded = 0;
        let mut outcome = Ok(());
        for entry in &batch.entries {
            match state.fold.apply_entry(entry) {
                Ok(Applied::Repeated) => {}
                Ok(Applied::Folded) => n_folded += 1,
                Ok(Applied::Quarantined(reason)) => {
                    n_folded += 1;
                    tracing::error!(
                        exam.id = state.fold.package().exam_id(),
                        partition = entry.partition,
                        position = entry.position,
                        %reason,
                        "a log entry cannot be true"
                    );
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        for end in &batch.ends {
            if let Some(known) = state.ends.get_mut(end.partition as usize) {
                *known = end.position;
            }
        }
        outcome.map(|()| n_folded)
    }

    async fn save(&mut self) {
        self.file.save(&self.live).await;
        self.n_unsaved = 0;
    }
}

/// Waits before tries: anything up to a bound that doubles, so that graders do not come back in step.
#[derive(Default)]
struct Backoff {
    n_tries: u32,
}

impl Backoff {
    fn bound(&self) -> Duration {
        BACKOFF_MIN
            .saturating_mul(1 << self.n_tries.min(16))
            .min(BACKOFF_MAX)
    }

    fn next(&mut self) -> Duration {
        let bound = self.bound();
        self.n_tries = self.n_tries.saturating_add(1);
        rand::random_range(Duration::ZERO..=bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_no_further() {
        let mut backoff = Backoff::default();
        let bounds: Vec<u128> = (0..8)
            .map(|_| {
                let bound = backoff.bound();
                assert!(backoff.next() <= bound);
                bound.as_millis()
            })
            .collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        backoff.n_tries = u32::MAX;
        assert_eq!(backoff.bound(), BACKOFF_MAX);
    }
}
