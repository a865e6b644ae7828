//! The accept loop: which connections are taken, what each may use, and when it ends.
//!
//! The loop is our own, because windows, keep-alive and streams are to be set: small frames that nobody has read yet close
//! a connection whose window is small. Windows are fixed, never adaptive. Invariant: whatever a peer does or leaves, what
//! its connection holds is limited in bytes, in calls and in time. Start at [`serve`].

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rand::RngExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    guard::{Peer, Watch},
    line::{Line, Meter},
    proxy_protocol,
    routes::Front,
    settings::PortLimits,
    tls::Tls,
};

/// Room for small frames that nobody has read yet: about 35,000 of them.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Calls at once on one connection: a program needs a few hundred, a phone two.
const MAX_STREAMS: u32 = 256;
/// The least that HTTP/2 allows: a larger frame would only make others wait.
const MAX_FRAME_BYTES: u32 = 16 << 10;
/// Bytes of one reply that wait for their reader: a paper fits, an export comes in pieces.
const MAX_SEND_BYTES: usize = 256 << 10;
/// A phone that changed its network is let go after a minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(30);
/// First bytes of an HTTP/2 connection (RFC 9113, section 3.4): half of them are nothing.
const HTTP2_PREFACE_BYTES: usize = 24;
/// Headers of one call: a token and what proxies add.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Headers of one call over HTTP/1.1, and the bytes of their block.
const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Streams reset before they were looked at; more is an attack ("rapid reset"), and h2 closes the connection.
const MAX_RESET_STREAMS: usize = 20;
/// Streams that we had to reset for the peer's faults; a program with so many has a fault that will not go away.
const MAX_FAULTY_STREAMS: usize = 100;
/// Running calls may end within this at shutdown; an answer takes milliseconds.
pub(super) const DRAIN: Duration = Duration::from_secs(10);
/// A peer at rest says good-bye within this, or is not waited for.
const GOODBYE: Duration = Duration::from_secs(1);
/// Accepting fails when file descriptors run out; the next try comes after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// File descriptors that are no connections: the store's files, the log, a spare for each thread.
const SPARE_FILES: u64 = 1_024;

/// Fewer than this are worth a word: a school district has as many phones.
const FEW_CONNECTIONS: usize = 10_000;

type Server = auto::Builder<TokioExecutor>;

fn server(limits: &PortLimits) -> Server {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_send_buf_size(MAX_SEND_BYTES)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_FAULTY_STREAMS)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.first_bytes)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    server
}

/// Raises the limit of open files as far as it goes, and returns how many connections fit.
fn room(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX) + SPARE_FILES;
    let reachable = maximum.map_or(needed, |maximum| maximum.min(needed));
    let mut allowed = current.unwrap_or(u64::MAX);
    if allowed < reachable {
        let raised = Rlimit {
            current: Some(reachable),
            maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            allowed = reachable;
        }
    }
    let room = usize::try_from(allowed.saturating_sub(SPARE_FILES)).unwrap_or(usize::MAX);
    if room < wanted.min(FEW_CONNECTIONS) {
        tracing::warn!(
            connections = room,
            "the limit of open files is low, see `ulimit -n`"
        );
    }
    room.clamp(1, wanted)
}

/// Accepts connections until `shutdown`, then lets them end.
pub(super) async fn serve(
    listener: TcpListener,
    front: Front,
    watch: Arc<Watch>,
    limits: PortLimits,
    tls: Option<Arc<Tls>>,
    stop: &CancellationToken,
    shutdown: impl Future<Output = ()> + Send,
) {
    let places = Arc::new(Semaphore::new(room(limits.connections)));
    let end = CancellationToken::new();
    let port = Arc::new(Port {
        end: end.clone(),
        server: server(&limits),
        front,
        watch,
        limits,
        tls,
        stop: stop.clone(),
    });
    let connections = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, peer)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    continue; // closed at once: the caller tries again, here or elsewhere
                };
                let port = Arc::clone(&port);
                connections.spawn(async move {
                    let _place = place;
                    port.accept(stream, peer).await;
                });
            }
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("some calls outlived the drain and are cut off");
        end.cancel();
        connections.wait().await;
    }
}

struct Port {
    server: Server,
    front: Front,
    watch: Arc<Watch>,
    limits: PortLimits,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    end: CancellationToken,
}

impl Port {
    async fn accept(&self, mut stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true); // fails only on a socket that is already gone
        let meter = Meter::new();
        let speaks_by = Instant::now() + self.limits.first_bytes;
        let mut peer = Peer {
            address: peer.ip(),
            is_role: false,
        };
        if self.watch.callers.names_caller_first(peer.address) {
            let reading = proxy_protocol::read(&mut stream);
            let reading = tokio::time::timeout_at(speaks_by, reading);
            match self.stop.run_until_cancelled(reading).await {
                Some(Ok(Ok(named))) => peer.address = named.unwrap_or(peer.address),
                Some(Ok(Err(error))) => {
                    tracing::debug!(error = %error, "a trusted proxy names nobody");
                    return;
                }
                Some(Err(_)) | None => return, // said nothing in time, or we stop
            }
        }
        let line = Line::new(stream, Arc::clone(&meter), self.limits.reader);
        let Some(tls) = &self.tls else {
            return self.serve(line, peer, &meter, speaks_by).await;
        };
        let handshake = tokio::time::timeout_at(speaks_by, tls.acceptor().accept(line));
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => {
                peer.is_role = stream.get_ref().1.peer_certificates().is_some();
                self.serve(stream, peer, &meter, speaks_by).await;
            }
            Some(Ok(Err(error))) => tracing::debug!(error = %error, "no TLS"),
            Some(Err(_)) | None => {} // said nothing in time, or we stop
        }
    }

    /// Serves a connection until it ends, is too old, or its peer neither speaks nor reads.
    async fn serve<S>(&self, stream: S, peer: Peer, meter: &Arc<Meter>, speaks_by: Instant)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let desk = self.front.desk(peer, Arc::clone(meter));
        let mut connection = pin!(self.server.serve_connection(TokioIo::new(stream), desk));
        let begun = Instant::now();
        // Connections that came together do not go together.
        let youth = rand::rng().random_range(0.9..=1.0);
        let leaves_at = begun + self.limits.age.mul_f64(youth);
        let mut patience = Patience {
            limits: &self.limits,
            meter,
            speaks_by,
            preface_bytes: self.preface_bytes(),
            leaves_at,
            is_leaving: false,
            is_stopping: false,
            unread_at: None,
        };
        // Looked at only when one of them has happened, since the connection wakes for every call.
        let mut events = FuturesUnordered::<BoxFuture<'_, Event>>::new();
        events.push(Box::pin(self.stop.cancelled().map(|()| Event::Stop)));
        events.push(Box::pin(self.end.cancelled().map(|()| Event::End)));
        let look_at = speaks_by.min(leaves_at);
        events.push(Box::pin(sleep_until(look_at).map(|()| Event::Look)));
        loop {
            let event = tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error = %error, "connection ended");
                    }
                    return;
                }
                Some(event) = events.next() => event,
            };
            match event {
                Event::End => return,
                Event::Stop => patience.is_stopping = true,
                Event::Look if patience.is_over(Instant::now()) => return,
                Event::Look => {}
            }
            let now = Instant::now();
            if patience.leaves(now) {
                connection.as_mut().graceful_shutdown();
            }
            let look_at = patience.next_look(now);
            events.push(Box::pin(sleep_until(look_at).map(|()| Event::Look)));
        }
    }

    /// Bytes of a plain connection that begins HTTP/2; TLS has spoken with its handshake.
    fn preface_bytes(&self) -> usize {
        if self.tls.is_some() {
            0
        } else {
            HTTP2_PREFACE_BYTES
        }
    }
}

/// What a connection waits for beside its peer.
enum Event {
    /// The server stops.
    Stop,
    /// The drain is over.
    End,
    /// Time to see whether the peer speaks and reads.
    Look,
}

/// How long a connection is kept.
struct Patience<'a> {
    limits: &'a PortLimits,
    meter: &'a Meter,
    speaks_by: Instant,
    preface_bytes: usize,
    leaves_at: Instant,
    is_leaving: bool,
    is_stopping: bool,
    /// Since when replies lie unread, and the meter then.
    unread_at: Option<(Instant, u64)>,
}

impl Patience<'_> {
    /// Tells whether the connection is to be dropped, whatever its peer thinks of it.
    fn is_over(&mut self, now: Instant) -> bool {
        let is_silent = now >= self.speaks_by && !self.meter.speaks(self.preface_bytes);
        let is_old = now >= self.leaves_at + self.limits.age_grace && !self.meter.has_whole();
        let is_gone = self.is_stopping && self.is_leaving && self.meter.is_idle();
        is_silent || is_old || is_gone || self.is_stalled(now)
    }

    /// Tells whether replies lie unread for too long.
    fn is_stalled(&mut self, now: Instant) -> bool {
        let unread_at = self.meter.unread_at();
        match (self.unread_at, unread_at) {
            (Some((since, then)), Some(progress)) if then == progress => {
                now >= since + self.limits.reader
            }
            _ => {
                self.unread_at = unread_at.map(|progress| (now, progress));
                false
            }
        }
    }

    /// Tells whether the peer is to be asked to go, once.
    fn leaves(&mut self, now: Instant) -> bool {
        let leaves = !self.is_leaving && (self.is_stopping || now >= self.leaves_at);
        self.is_leaving |= leaves;
        leaves
    }

    fn next_look(&self, now: Instant) -> Instant {
        if self.is_leaving {
            now + GOODBYE
        } else {
            let first = if now < self.speaks_by {
                self.speaks_by
            } else {
                now + self.limits.reader
            };
            first.min(self.leaves_at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Class;

    #[tokio::test]
    async fn a_backup_is_not_cut_off_for_the_age_of_its_connection() {
        let (limits, meter, now) = (PortLimits::default(), Meter::new(), Instant::now());
        let mut patience = Patience {
            limits: &limits,
            meter: &meter,
            speaks_by: now,
            preface_bytes: HTTP2_PREFACE_BYTES,
            leaves_at: now + limits.age,
            is_leaving: false,
            is_stopping: false,
            unread_at: None,
        };
        let late = now + limits.age + limits.age_grace;
        let backup = meter.call(Class::is_whole("/exam.v1.OperatorService/DumpStore"));
        assert!(patience.leaves(late), "no new call may begin");
        assert!(!patience.is_over(late));
        drop(backup);
        assert!(patience.is_over(late));
        // Negative control: who follows the log goes on elsewhere.
        let _tail = meter.call(Class::is_whole("/exam.v1.LogService/TailLog"));
        assert!(patience.is_over(late));
    }
}
