//! Calls on their way to one primary: what waits together goes together.
//!
//! A lane is a bounded queue and a few workers, each with a connection of its own. A worker takes what has gathered,
//! sends it as one pipeline, and in class `replicated` ends it with one WAIT on that same connection: WAIT answers for the
//! writes of its own connection only, and stalls whatever else shares it. While one group waits, the next worker sends.
//! Invariant: a call that must be proven is answered with its values only after WAIT counted a replica.
//! Start at [`Lane::send`] and [`Worker::run`]. Source: decision 0013.

use std::{sync::Arc, time::Duration};

use redis::{
    Cmd, Pipeline, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::dial::{Dial, load_script};

/// Calls in one pipeline: about 200 KiB, a few milliseconds of one server's time, so that no reply waits longer.
const MAX_GROUP: usize = 512;
/// Calls that wait for a worker: a tenth of a second of what one server does, so that whoever waits longer is refused early.
const MAX_WAITING: usize = 4_096;
/// How long a caller waits for a place in a full queue before it is told to come back.
const PLACE_WITHIN: Duration = Duration::from_millis(50);
/// How long a group waits for a replica. A healthy one answers within milliseconds; behind this the group is uncertain.
const REPLICA_WITHIN: Duration = Duration::from_secs(1);
/// Pause after a failed connection, so that a server that is down is not stormed, and callers hear of it soon.
const REDIAL_AFTER: Duration = Duration::from_millis(50);

/// Why a call has no values.
#[derive(Debug)]
pub(super) enum Failure {
    /// The queue is full; nothing was sent.
    Busy,
    /// There is no connection; nothing was sent.
    NotSent(String),
    /// It was sent and may or may not have been done.
    Uncertain(String),
}

struct Call {
    commands: Vec<Cmd>,
    proven: bool,
    reply: oneshot::Sender<Result<Vec<Value>, Failure>>,
}

/// The way of calls to one primary.
pub(super) struct Lane {
    queue: mpsc::Sender<Call>,
}

impl Lane {
    /// Starts a lane; it ends, with what waits in it, when it is dropped.
    pub(super) fn start(dial: &Dial, n_workers: usize, replicated: bool) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..n_workers {
            let worker = Worker {
                waiting: Arc::clone(&waiting),
                dial: dial.clone(),
                replicated,
                connection: None,
            };
            tokio::spawn(worker.run());
        }
        Self { queue }
    }

    /// Sends commands, which are answered together and in order; errors of the server are among the values.
    ///
    /// With `proven` and in class `replicated`, the values are those that a replica has, too.
    pub(super) async fn send(
        &self,
        commands: Vec<Cmd>,
        proven: bool,
    ) -> Result<Vec<Value>, Failure> {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            commands,
            proven,
            reply,
        };
        if self.queue.send_timeout(call, PLACE_WITHIN).await.is_err() {
            return Err(Failure::Busy);
        }
        let gone = |_| Err(Failure::Uncertain("the store has stopped".to_owned()));
        answer.await.unwrap_or_else(gone)
    }
}

struct Worker {
    waiting: Arc<Mutex<mpsc::Receiver<Call>>>,
    dial: Dial,
    replicated: bool,
    connection: Option<MultiplexedConnection>,
}

impl Worker {
    async fn run(mut self) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        while self
            .waiting
            .lock()
            .await
            .recv_many(&mut group, MAX_GROUP)
            .await
            > 0
        {
            group.retain(|call| !call.reply.is_closed()); // callers that have gone want nothing any more
            if !group.is_empty() {
                self.answer(&mut group).await;
            }
        }
    }

    /// Sends a group and answers each of its calls.
    async fn answer(&mut self, group: &mut Vec<Call>) {
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.dial.connect().await,
        };
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                let why = error.to_string();
                for call in group.drain(..) {
                    let _ = call.reply.send(Err(Failure::NotSent(why.clone()))); // the caller may have gone
                }
                return tokio::time::sleep(REDIAL_AFTER).await;
            }
        };
        let waits = self.replicated && group.iter().any(|call| call.proven);
        match send(&mut connection, group, waits).await {
            Ok((values, n_replicas)) => {
                let missing = answer_each(group, values, waits && n_replicas < 1);
                if self.may_stay(&mut connection, missing).await {
                    self.connection = Some(connection);
                }
            }
            Err(error) => {
                let why = error.to_string();
                for call in group.drain(..) {
                    let _ = call.reply.send(Err(Failure::Uncertain(why.clone()))); // the caller may have gone
                }
            }
        }
    }

    /// Reports whether the connection may be used again, and gives back the script if the server forgot it.
    async fn may_stay(
        &self,
        connection: &mut MultiplexedConnection,
        missing: Option<ServerErrorKind>,
    ) -> bool {
        match missing {
            // A primary no longer: whoever dials anew finds the one of today.
            Some(ServerErrorKind::ReadOnly) => false,
            Some(ServerErrorKind::NoScript) => load_script(connection).await.is_ok(),
            _ => true,
        }
    }
}

/// Sends a group as one pipeline; returns its values and the number of replicas that have all of it.
async fn send(
    connection: &mut MultiplexedConnection,
    group: &mut [Call],
    waits: bool,
) -> RedisResult<(Vec<Vec<Value>>, i64)> {
    let mut pipeline = Pipeline::with_capacity(group.len() + 1);
    let lengths: Vec<usize> = group.iter().map(|call| call.commands.len()).collect();
    for command in group.iter_mut().flat_map(|call| call.commands.drain(..)) {
        pipeline.add_command(command);
    }
    if waits {
        let limit_ms = u64::try_from(REPLICA_WITHIN.as_millis()).unwrap_or(u64::MAX);
        pipeline.cmd("WAIT").arg(1).arg(limit_ms);
    }
    let n_values = pipeline.len();
    let values = connection
        .req_packed_commands(&pipeline, 0, n_values)
        .await?;
    let mut values = values.into_iter();
    let mut take = |n| values.by_ref().take(n).collect::<Vec<_>>();
    let values = lengths.into_iter().map(&mut take).collect();
    let n_replicas = match take(1).first() {
        Some(Value::Int(n)) => *n,
        _ => 0,
    };
    Ok((values, n_replicas))
}

/// Answers each call of a group; returns what is the matter with the connection, if anything.
fn answer_each(
    group: &mut Vec<Call>,
    values: Vec<Vec<Value>>,
    unproven: bool,
) -> Option<ServerErrorKind> {
    let mut missing = None;
    for (call, values) in group.drain(..).zip(values) {
        let error = first_error(&values);
        if let Some(kind @ (ServerErrorKind::ReadOnly | ServerErrorKind::NoScript)) = error {
            missing = Some(kind);
        }
        let answer = if call.proven && unproven && error.is_none() {
            Err(Failure::Uncertain(
                "no replica has confirmed it in time".to_owned(),
            ))
        } else {
            Ok(values)
        };
        let _ = call.reply.send(answer); // the caller may have gone
    }
    missing
}

fn first_error(values: &[Value]) -> Option<ServerErrorKind> {
    values.iter().find_map(|value| match value {
        Value::ServerError(error) => error.kind(),
        _ => None,
    })
}
