//! The log as a stream, for graders.
//!
//! Many entries travel in one message, and the sender waits for the reader: small unread frames would close an HTTP/2
//! connection with everything on it.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future::ready, stream};
use proto::exam::v1::{
    LogPosition, TailLogRequest, TailLogResponse, log_service_server::LogService,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codegen::BoxStream};

use super::{
    auth::Roles,
    status::{stopping, to_status},
};
use crate::engine::{Engine, Error, LiveExam, TailBatch};

/// Pause when there is nothing new: what an organizer sees is at most this old, and an idle exam costs 20 looks a second.
const IDLE_PAUSE: Duration = Duration::from_millis(50);
/// Batches on their way to one reader.
const MAX_IN_FLIGHT: usize = 4;
/// Ends are told at least this often, so that a reader knows that it is up to date.
const IDLE_TURNS_BETWEEN_ENDS: u32 = 20;

/// The log's service.
#[derive(Clone)]
pub struct Log {
    engine: Arc<Engine>,
    roles: Roles,
    stop: CancellationToken,
}

impl Log {
    /// Takes the engine, the words of the roles, and what ends the streams.
    #[must_use]
    pub fn new(engine: Arc<Engine>, roles: Roles, stop: CancellationToken) -> Self {
        Self {
            engine,
            roles,
            stop,
        }
    }
}

/// Ends a stream with a refusal once `stop` is cancelled: half an archive must not look like a whole one.
pub(super) fn until_stopped<T: Send + 'static>(
    messages: impl Stream<Item = Result<T, Status>> + Send + 'static,
    stop: &CancellationToken,
) -> BoxStream<T> {
    let stopped = stop.clone();
    let last_word = stream::once(async move { stopped.is_cancelled().then(|| Err(stopping())) });
    let messages = messages.take_until(stop.clone().cancelled_owned());
    Box::pin(messages.chain(last_word.filter_map(ready)))
}

#[tonic::async_trait]
impl LogService for Log {
    type TailLogStream = BoxStream<TailLogResponse>;

    async fn tail_log(
        &self,
        request: Request<TailLogRequest>,
    ) -> Result<Response<Self::TailLogStream>, Status> {
        self.roles.service(request.metadata())?;
        let request = request.into_inner();
        let exam = self.engine.published(&request.exam_id).map_err(to_status)?;
        let after = positions(&exam, &request.after)?;
        let (sender, receiver) = mpsc::channel(MAX_IN_FLIGHT);
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move {
            if let Err(error) = tail(&engine, &exam, after, request.stop_at_end, &sender).await {
                let _ = sender.send(Err(to_status(error))).await; // the reader may have gone
            }
        });
        let messages = ReceiverStream::new(receiver);
        Ok(Response::new(until_stopped(messages, &self.stop)))
    }
}

fn positions(exam: &LiveExam, after: &[LogPosition]) -> Result<Vec<u64>, Status> {
    let mut positions = vec![0; exam.n_partitions as usize];
    for LogPosition {
        partition,
        position,
    } in after
    {
        let slot = positions.get_mut(*partition as usize);
        let unknown = Error::PositionUnknown {
            partition: *partition,
            position: *position,
        };
        *slot.ok_or_else(|| to_status(unknown))? = *position;
    }
    Ok(positions)
}

async fn tail(
    engine: &Engine,
    exam: &LiveExam,
    mut after: Vec<u64>,
    stop_at_end: bool,
    sender: &mpsc::Sender<Result<TailLogResponse, Status>>,
) -> Result<(), Error> {
    let mut idle_turns = IDLE_TURNS_BETWEEN_ENDS;
    while !sender.is_closed() {
        let TailBatch { entries, ends } = engine.read_log(exam, &mut after).await?;
        let is_idle = entries.is_empty();
        if !is_idle || idle_turns >= IDLE_TURNS_BETWEEN_ENDS {
            let at_end = after == ends;
            let ends = (0u32..)
                .zip(ends)
                .map(|(partition, position)| LogPosition {
                    partition,
                    position,
                })
                .collect();
            if sender
                .send(Ok(TailLogResponse { entries, ends }))
                .await
                .is_err()
            {
                return Ok(());
            }
            idle_turns = 0;
            if stop_at_end && at_end {
                return Ok(());
            }
        }
        if is_idle {
            idle_turns += 1;
            tokio::time::sleep(IDLE_PAUSE).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_is_stopped_ends_with_a_refusal_and_a_whole_one_without() {
        let stop = CancellationToken::new();
        let whole: Vec<_> = until_stopped(stream::iter([Ok(1), Ok(2)]), &stop)
            .collect()
            .await;
        assert!(matches!(whole[..], [Ok(1), Ok(2)]));
        let endless = stream::iter([Ok(1)]).chain(stream::pending());
        let mut endless = until_stopped(endless, &stop);
        assert!(matches!(endless.next().await, Some(Ok(1))));
        stop.cancel();
        let last = endless.next().await.unwrap().unwrap_err();
        assert_eq!(last.code(), tonic::Code::Unavailable);
        assert!(endless.next().await.is_none());
    }
}
