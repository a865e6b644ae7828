//! Calls on their way to one primary: what waits together goes together.
//!
//! A lane is a queue, bounded by places, and a few workers, each with a connection of its own. A worker takes what has gathered,
//! sends it as one pipeline, and in class `replicated` ends it with one WAIT on that same connection: WAIT answers for the
//! writes of its own connection only, and stalls whatever else shares it. While one group waits, the next worker sends;
//! without WAIT a worker need not wait for one group before it sends the next.
//! Invariant: a call that must be proven is answered with its values only after WAIT counted a replica.
//! Start at [`Lane::send`] and [`Worker::run`]. Source: decision 0013.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use redis::{
    Cmd, Pipeline, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::dial::{Dial, load_script};

/// Calls in one pipeline: about 200 KiB, a few milliseconds of one server's time, so that no reply waits longer.
const MAX_GROUP: usize = 512;
/// Groups of one connection that wait for their replies at once, without WAIT: the server never idles while a group is
/// gathered, and under load a group is a few calls. With WAIT it is one, because the server stops the connection anyway.
const MAX_ON_WAY: usize = 64;
/// Calls that wait or are on the way: what one server does in a tenth of a second, so that whoever would wait longer is
/// refused at once, and no more than this is uncertain when a server dies.
const MAX_UNANSWERED: usize = 4_096;
/// How long a caller waits for a place before it is told to come back.
const PLACE_WITHIN: Duration = Duration::from_millis(50);
/// How long a group waits for a replica. A healthy one answers within milliseconds; behind this the group is uncertain.
const REPLICA_WITHIN: Duration = Duration::from_secs(1);
/// Pause after a failed connection, so that a server that is down is not stormed, and callers hear of it soon.
const REDIAL_AFTER: Duration = Duration::from_millis(50);

/// Why a call has no values.
#[derive(Debug)]
pub(super) enum Failure {
    /// Too many are unanswered; nothing was sent.
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
    _place: OwnedSemaphorePermit,
}

/// The way of calls to one primary.
pub(super) struct Lane {
    queue: mpsc::UnboundedSender<Call>,
    places: Arc<Semaphore>,
}

impl Lane {
    /// Starts a lane; it ends, with what waits in it, when it is dropped.
    pub(super) fn start(dial: &Dial, n_workers: usize, replicated: bool) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..n_workers {
            let worker = Worker {
                waiting: Arc::clone(&waiting),
                dial: dial.clone(),
                replicated,
                connection: None,
                max_on_way: if replicated { 1 } else { MAX_ON_WAY },
            };
            tokio::spawn(worker.run());
        }
        Self {
            queue,
            places: Arc::new(Semaphore::new(MAX_UNANSWERED)),
        }
    }

    /// Sends commands, which are answered together and in order; errors of the server are among the values.
    ///
    /// With `proven` and in class `replicated`, the values are those that a replica has, too.
    pub(super) async fn send(
        &self,
        commands: Vec<Cmd>,
        proven: bool,
    ) -> Result<Vec<Value>, Failure> {
        let place = Arc::clone(&self.places).acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(PLACE_WITHIN, place).await else {
            return Err(Failure::Busy);
        };
        let (reply, answer) = oneshot::channel();
        let call = Call {
            commands,
            proven,
            reply,
            _place: place,
        };
        let _ = self.queue.send(call); // without workers the answer says so
        let gone = |_| Err(Failure::Uncertain("the store has stopped".to_owned()));
        answer.await.unwrap_or_else(gone)
    }
}

struct Worker {
    waiting: Arc<Mutex<mpsc::UnboundedReceiver<Call>>>,
    dial: Dial,
    replicated: bool,
    connection: Option<MultiplexedConnection>,
    /// Groups that wait for their replies at once.
    max_on_way: usize,
}

impl Worker {
    async fn run(mut self) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        let mut on_way = FuturesUnordered::<BoxFuture<'static, bool>>::new();
        loop {
            tokio::select! {
                biased;
                Some(may_stay) = on_way.next() => {
                    if !may_stay {
                        self.connection = None;
                    }
                }
                n_taken = take(&self.waiting, &mut group), if on_way.len() < self.max_on_way => {
                    if n_taken == 0 {
                        break;
                    }
                    group.retain(|call| !call.reply.is_closed()); // callers that have gone want nothing any more
                    if self.connection.is_none() {
                        while on_way.next().await.is_some() {} // the old connection ends before a new one begins
                        self.connection = self.connect(&mut group).await;
                    }
                    if let Some(connection) = &self.connection && !group.is_empty() {
                        on_way.push(answer(connection.clone(), std::mem::take(&mut group), self.replicated).boxed());
                    }
                }
            }
        }
        while on_way.next().await.is_some() {}
    }

    /// Connects; if that fails, says so to all of the group.
    async fn connect(&self, group: &mut Vec<Call>) -> Option<MultiplexedConnection> {
        match self.dial.connect().await {
            Ok(connection) => Some(connection),
            Err(error) => {
                let why = error.to_string();
                for call in group.drain(..) {
                    let _ = call.reply.send(Err(Failure::NotSent(why.clone()))); // the caller may have gone
                }
                tokio::time::sleep(REDIAL_AFTER).await;
                None
            }
        }
    }
}

/// Waits for calls and takes those that are there; 0 means that there will be none any more.
async fn take(waiting: &Mutex<mpsc::UnboundedReceiver<Call>>, group: &mut Vec<Call>) -> usize {
    waiting.lock().await.recv_many(group, MAX_GROUP).await
}

/// Sends a group and answers each of its calls; reports whether the connection may be used again.
async fn answer(
    mut connection: MultiplexedConnection,
    mut group: Vec<Call>,
    replicated: bool,
) -> bool {
    let waits = replicated && group.iter().any(|call| call.proven);
    match send(&mut connection, &mut group, waits).await {
        Ok((values, n_replicas)) => {
            match answer_each(group, values, waits && n_replicas < 1) {
                // A primary no longer: whoever dials anew finds the one of today.
                Some(ServerErrorKind::ReadOnly) => false,
                Some(ServerErrorKind::NoScript) => load_script(&mut connection).await.is_ok(),
                _ => true,
            }
        }
        Err(error) => {
            let why = error.to_string();
            for call in group {
                let _ = call.reply.send(Err(Failure::Uncertain(why.clone()))); // the caller may have gone
            }
            false
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
    group: Vec<Call>,
    values: Vec<Vec<Value>>,
    unproven: bool,
) -> Option<ServerErrorKind> {
    let mut missing = None;
    for (call, values) in group.into_iter().zip(values) {
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
