//! The bytes of one connection, and what they tell of its peer: that it speaks, and that it reads.
//!
//! A peer that takes nothing for a while is let go; so is one that opens calls and leaves the replies unread. Both are
//! limits in time on what waits here; the bytes that wait are limited by the port. Start at [`Line`] and [`Meter`].

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::Frame;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use tonic::{Status, body::Body};

/// Fewer bytes than this are no request of any version of HTTP: the preface of HTTP/2 has 24.
const SPEAKS_FROM_BYTES: u64 = 18; // "GET / HTTP/1.1\r\n\r\n"

/// What is known of a connection.
pub(super) struct Meter {
    n_read: AtomicU64,
    n_calls: AtomicU64,
    n_running: AtomicUsize,
    /// Those of them that cannot be taken up where they broke off.
    n_whole: AtomicUsize,
    /// Replies with something to send that the connection does not ask for.
    n_unread: AtomicUsize,
    /// Rises with each piece of a reply that is asked for.
    progress: AtomicU64,
}

impl Meter {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            n_read: AtomicU64::new(0),
            n_calls: AtomicU64::new(0),
            n_running: AtomicUsize::new(0),
            n_whole: AtomicUsize::new(0),
            n_unread: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
        })
    }

    /// Tells whether a request may have begun.
    pub(super) fn speaks(&self, preface: usize) -> bool {
        self.n_calls.load(Ordering::Relaxed) > 0
            || self.n_read.load(Ordering::Relaxed)
                >= SPEAKS_FROM_BYTES.max(u64::try_from(preface).unwrap_or(u64::MAX))
    }

    /// Notes a call, which runs until what is returned is dropped; `is_whole` if it cannot be taken up where it broke off.
    pub(super) fn call(self: &Arc<Self>, is_whole: bool) -> Call {
        self.n_calls.fetch_add(1, Ordering::Relaxed);
        self.n_running.fetch_add(1, Ordering::Relaxed);
        self.n_whole
            .fetch_add(usize::from(is_whole), Ordering::Relaxed);
        Call {
            meter: Arc::clone(self),
            is_whole,
        }
    }

    /// Tells whether a call runs that cannot be taken up where it broke off.
    pub(super) fn has_whole(&self) -> bool {
        self.n_whole.load(Ordering::Relaxed) > 0
    }

    /// Tells whether no call runs.
    pub(super) fn is_idle(&self) -> bool {
        self.n_running.load(Ordering::Relaxed) == 0
    }

    /// Returns what rises while replies are read, if any lie unread.
    pub(super) fn unread_at(&self) -> Option<u64> {
        let lies_unread = self.n_unread.load(Ordering::Relaxed) > 0;
        lies_unread.then(|| self.progress.load(Ordering::Relaxed))
    }

    fn unread(&self) {
        self.n_unread.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) {
        self.n_unread.fetch_sub(1, Ordering::Relaxed);
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call under way, its reply included.
pub(super) struct Call {
    meter: Arc<Meter>,
    is_whole: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.meter.n_running.fetch_sub(1, Ordering::Relaxed);
        self.meter
            .n_whole
            .fetch_sub(usize::from(self.is_whole), Ordering::Relaxed);
    }
}

/// A reply whose reader is watched.
pub(super) struct Watched {
    body: Body,
    call: Call,
    is_unread: bool,
}

impl Watched {
    pub(super) fn new(body: Body, call: Call) -> Self {
        let is_unread = !http_body::Body::is_end_stream(&body);
        if is_unread {
            call.meter.unread();
        }
        Self {
            body,
            call,
            is_unread,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.is_unread {
            self.call.meter.read();
        }
    }
}

impl http_body::Body for Watched {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        if std::mem::take(&mut self.is_unread) {
            self.call.meter.read();
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if matches!(frame, Some(Ok(_))) {
            self.is_unread = true; // it lies here until the connection asks for more
            self.call.meter.unread();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A connection's bytes.
pub(super) struct Line<S> {
    stream: S,
    meter: Arc<Meter>,
    patience: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Line<S> {
    pub(super) fn new(stream: S, meter: Arc<Meter>, patience: Duration) -> Self {
        Self {
            stream,
            meter,
            patience,
            alarm: None,
        }
    }

    /// Lets a write wait, but not for ever.
    fn limit<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.alarm = None;
            return outcome;
        }
        let patience = self.patience;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer does not read",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let n_read = u64::try_from(buffer.filled().len() - before).unwrap_or(u64::MAX);
        self.meter.n_read.fetch_add(n_read, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.limit(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.limit(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.limit(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.limit(cx, outcome)
    }
}
