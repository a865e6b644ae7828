//! Two runtimes: candidates' calls on the one that the process runs on, everything that reads much on a second with few threads.
//!
//! The second has threads of its own, so a board, an export or the grader's fold can keep each other waiting, never an
//! answer. What it sends goes through a queue of a few pieces, and a reader that does not take them is let go (promise P9).
//! Start at [`Second::behind`].

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc,
};
use tokio_util::task::TaskTracker;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use crate::{admission::Permit, grpc::status::stopping};

/// Of so many cores one is for the second runtime.
const CORES_A_THREAD: usize = 4;
/// Long reads of files and of the grader's order, at once.
const MAX_BLOCKING_THREADS: usize = 8;
/// Pieces of a reply on their way from one runtime to the other.
const MAX_IN_FLIGHT: usize = 4;
/// A reader that takes nothing for so long is let go.
const READER_PATIENCE: Duration = Duration::from_secs(30);

/// The second runtime and what runs on it for callers.
pub(super) struct Second {
    runtime: Option<Runtime>,
    handle: Handle,
    calls: TaskTracker,
}

impl Second {
    /// Starts its threads.
    pub(super) fn start() -> io::Result<Self> {
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(n_cores.div_ceil(CORES_A_THREAD))
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .thread_name("exam-second")
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            calls: TaskTracker::new(),
        })
    }

    /// Returns the handle by which tasks are started.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Puts a service on this runtime.
    pub(super) fn behind<S>(&self, inner: S) -> Behind<S> {
        Behind {
            inner,
            handle: self.handle.clone(),
            calls: self.calls.clone(),
        }
    }

    /// Waits until no call runs any more, for so long at most.
    pub(super) async fn drained(&self, patience: Duration) {
        self.calls.close();
        if tokio::time::timeout(patience, self.calls.wait())
            .await
            .is_err()
        {
            tracing::warn!("some calls outlived the drain");
        }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // waiting is not possible here, and everything of worth is on disk
        }
    }
}

/// A service whose calls run on the second runtime, replies included.
#[derive(Clone)]
pub(super) struct Behind<S> {
    inner: S,
    handle: Handle,
    calls: TaskTracker,
}

impl<S> Service<Request<Body>> for Behind<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let place = request.extensions_mut().remove::<Arc<Permit>>();
        let mut inner = self.inner.clone();
        let (heads, mut head) = mpsc::channel(1);
        let task = async move {
            let _place = place; // held for as long as this works, whether or not the caller waits for it
            let Ok(reply) = inner.call(request).await;
            let (parts, body) = reply.into_parts();
            if body.is_end_stream() {
                let _ = heads.send(Response::from_parts(parts, body)).await; // the caller may have gone
                return;
            }
            let (pieces, received) = mpsc::channel(MAX_IN_FLIGHT);
            let body_there = Body::new(Pieces(received, false));
            if heads
                .send(Response::from_parts(parts, body_there))
                .await
                .is_ok()
            {
                pump(body, pieces).await;
            }
        };
        self.calls.spawn_on(task, &self.handle);
        Box::pin(async move {
            let reply = head.recv().await;
            Ok(reply.unwrap_or_else(|| stopping().into_http()))
        })
    }
}

impl<S: NamedService> NamedService for Behind<S> {
    const NAME: &'static str = S::NAME;
}

type Piece = Option<Result<Frame<bytes::Bytes>, Status>>;

async fn pump(mut body: Body, pieces: mpsc::Sender<Piece>) {
    loop {
        let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let piece = tokio::select! {
            piece = next => piece,
            () = pieces.closed() => return,
        };
        let is_last = piece.is_none();
        match tokio::time::timeout(READER_PATIENCE, pieces.send(piece)).await {
            Ok(Ok(())) if !is_last => {}
            _ => return,
        }
    }
}

/// What came from the other runtime; a queue that ends without a last piece is a broken reply.
struct Pieces(mpsc::Receiver<Piece>, bool);

impl http_body::Body for Pieces {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        if self.1 {
            return Poll::Ready(None);
        }
        self.0.poll_recv(cx).map(|piece| {
            let piece = piece.unwrap_or_else(|| Some(Err(stopping())));
            self.1 = !matches!(piece, Some(Ok(_)));
            piece
        })
    }

    fn is_end_stream(&self) -> bool {
        self.1
    }
}
