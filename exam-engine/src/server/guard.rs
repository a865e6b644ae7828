//! Stands before a service: who calls too often, what there is no room for, and what takes too long hears it here.
//!
//! A call passes three questions (rate of its caller, room for its class, time left) before it is worked on, and holds its
//! room until its reply has gone. A call that finds room at once costs no task and no wait. Start at [`Guard::call_from`].

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use proto::exam::v1::ErrorCode;
use tokio::time::Sleep;
use tonic::{Status, body::Body, metadata::MetadataMap, server::NamedService};
use tower::Service;

use crate::{
    admission::{Callers, Class, Gate, Permit},
    grpc::{auth::Roles, candidate::CallerAddress, status::refusal},
};

/// Longest work on one call, its message included: above the engine's own patience, below a client's ten seconds. Whoever
/// sends half a message holds a place no longer.
const CALL_PATIENCE: Duration = Duration::from_secs(8);
/// Exports may take longer before their first word.
const ORGANIZER_PATIENCE: Duration = Duration::from_secs(120);
/// An action on a million attempts takes minutes, and another may run before it; it goes on anyhow, so its caller may wait.
const ACTION_PATIENCE: Duration = Duration::from_secs(3_600);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: IpAddr,
    /// It has shown a certificate of the roles' authority.
    pub(super) is_role: bool,
}

/// What all guards of a port share.
pub(super) struct Watch {
    /// Room by class.
    pub(super) gate: Arc<Gate>,
    /// Rates by caller.
    pub(super) callers: Callers,
    /// Who may take a place of the few for organizers' actions: half a message of a stranger must not hold one.
    pub(super) roles: Roles,
}

/// A service behind the questions.
#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    watch: Arc<Watch>,
    needs_role: bool,
}

impl<S> Guard<S> {
    /// Guards a service; `needs_role` asks for a certificate of the roles' authority too, but not of organizers, who
    /// have none: what they may call, the service itself decides.
    pub(super) fn new(inner: S, watch: &Arc<Watch>, needs_role: bool) -> Self {
        Self {
            inner,
            watch: Arc::clone(watch),
            needs_role,
        }
    }
}

impl<S> Guard<S> {
    fn is_organizer(&self, headers: &HeaderMap) -> bool {
        let metadata = MetadataMap::from_headers(headers.clone());
        self.watch.roles.organizer(&metadata).is_ok()
    }
}

impl<S: Clone + Send + 'static> Guard<S> {
    /// Answers a call of a peer.
    pub(super) fn call_from<B>(&self, peer: Peer, mut request: Request<B>) -> Guarded<S::Future>
    where
        S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
        S::Future: Unpin + Send + 'static,
        B: Send + 'static,
    {
        if self.needs_role && !peer.is_role && !self.is_organizer(request.headers()) {
            return Guarded::refused(refusal(ErrorCode::PermissionDenied, vec![]));
        }
        let class = Class::of(request.uri().path());
        let address = self.watch.callers.address(peer.address, request.headers());
        if class == Class::Start
            && let Some(address) = address
        {
            request.extensions_mut().insert(CallerAddress(address));
        }
        let headers = request.headers();
        if let Some(address) = address {
            let now_ns = self.watch.callers.now_ns();
            if let Err(excess) = self.watch.callers.check(address, headers, class, now_ns) {
                let again = vec![("retry_after_ms", excess.retry_after_ms.to_string())];
                return Guarded::refused(refusal(ErrorCode::TooManyCalls, again));
            }
        }
        if class == Class::Act {
            let metadata = MetadataMap::from_headers(headers.clone());
            if let Err(refused) = self.watch.roles.organizer_or_approver(&metadata) {
                return Guarded::refused(refused);
            }
        }
        let patience = patience(headers, class);
        if patience.is_zero() {
            return Guarded::refused(refusal(ErrorCode::CallTimedOut, vec![]));
        }
        let suspect = address.filter(|_| class == Class::Start);
        match self.watch.gate.try_enter(class) {
            Some(permit) => Guarded::Running(Running {
                permit: place(permit, class, &mut request),
                inner: self.inner.clone().call(request),
                class,
                patience,
                alarm: None,
                suspect: suspect.map(|address| (address, Arc::clone(&self.watch))),
            }),
            None => Guarded::Waiting(Box::pin(
                self.clone().wait(request, class, patience, suspect),
            )),
        }
    }

    async fn wait<B>(
        self,
        mut request: Request<B>,
        class: Class,
        patience: Duration,
        suspect: Option<IpAddr>,
    ) -> Response<Body>
    where
        S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
        S::Future: Unpin + Send + 'static,
        B: Send + 'static,
    {
        let begun = tokio::time::Instant::now();
        let entered = tokio::time::timeout(patience, self.watch.gate.enter(class)).await;
        let permit = match entered {
            Ok(Ok(permit)) => permit,
            Ok(Err(shed)) => {
                let again = vec![("retry_after_ms", shed.retry_after_ms.to_string())];
                return refusal(ErrorCode::Overloaded, again).into_http();
            }
            Err(_elapsed) => return refusal(ErrorCode::CallTimedOut, vec![]).into_http(),
        };
        let mut inner = self.inner;
        Running {
            permit: place(permit, class, &mut request),
            inner: inner.call(request),
            class,
            patience: patience.saturating_sub(begun.elapsed()),
            alarm: None,
            suspect: suspect.map(|address| (address, self.watch)),
        }
        .await
    }
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Unpin + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Guarded<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>().copied();
        match peer {
            Some(peer) => self.call_from(peer, request),
            None => Guarded::refused(refusal(ErrorCode::Internal, vec![])), // the port always names it
        }
    }
}

impl<S: NamedService> NamedService for Guard<S> {
    const NAME: &'static str = S::NAME;
}

/// Puts a place where it is kept: with the call, or, since an action outlives its call, with the action itself.
fn place<B>(permit: Permit, class: Class, request: &mut Request<B>) -> Option<Permit> {
    if class != Class::Act {
        return Some(permit);
    }
    request.extensions_mut().insert(Arc::new(permit));
    None
}

/// Returns the time for a call: the server's, or the caller's if that is shorter.
fn patience(headers: &HeaderMap, class: Class) -> Duration {
    let own = match class {
        Class::Act => ACTION_PATIENCE,
        Class::Board | Class::Stream => ORGANIZER_PATIENCE,
        Class::Answer | Class::Start | Class::Read | Class::Result => CALL_PATIENCE,
    };
    headers
        .get("grpc-timeout")
        .and_then(|value| parse_timeout(value.to_str().ok()?))
        .map_or(own, |theirs| theirs.min(own))
}

/// Reads `grpc-timeout`: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number =
        !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = is_number.then(|| digits.parse().ok())??;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// A guarded call.
pub(super) enum Guarded<F> {
    /// It found room at once.
    Running(Running<F>),
    /// It waits for room.
    Waiting(BoxFuture<'static, Response<Body>>),
    /// It was refused.
    Refused(Option<Response<Body>>),
}

impl<F> Guarded<F> {
    fn refused(status: Status) -> Self {
        Self::Refused(Some(status.into_http()))
    }
}

impl<F: Future<Output = Result<Response<Body>, Infallible>> + Unpin> Future for Guarded<F> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Running(running) => Pin::new(running).poll(cx).map(Ok),
            Self::Waiting(waiting) => waiting.as_mut().poll(cx).map(Ok),
            Self::Refused(reply) => Poll::Ready(Ok(reply.take().expect("polled once"))),
        }
    }
}

/// A call that is worked on.
pub(super) struct Running<F> {
    inner: F,
    permit: Option<Permit>,
    class: Class,
    patience: Duration,
    /// Set only when the reply is not there at once.
    alarm: Option<Pin<Box<Sleep>>>,
    suspect: Option<(IpAddr, Arc<Watch>)>,
}

impl<F: Future<Output = Result<Response<Body>, Infallible>> + Unpin> Future for Running<F> {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        if let Poll::Ready(Ok(reply)) = Pin::new(&mut self.inner).poll(cx) {
            return Poll::Ready(self.finish(reply));
        }
        let patience = self.patience;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        alarm
            .as_mut()
            .poll(cx)
            .map(|()| refusal(ErrorCode::CallTimedOut, vec![]).into_http())
    }
}

impl<F> Running<F> {
    fn finish(&mut self, reply: Response<Body>) -> Response<Body> {
        let reply = explain_size(reply);
        if let Some((address, watch)) = &self.suspect
            && reply
                .headers()
                .get("grpc-status")
                .is_some_and(|code| code == "16")
        {
            watch.callers.failed(*address, watch.callers.now_ns());
        }
        let permit = self.permit.take();
        if self.class == Class::Stream {
            return reply.map(|body| {
                Body::new(Held {
                    body,
                    _permit: permit,
                })
            });
        }
        reply
    }
}

/// Gives tonic's refusal of an oversized message our code and sentence.
fn explain_size(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let says = |name: &str, what: &[u8]| {
        let value = headers.get(name).map_or(&b""[..], |value| value.as_bytes());
        value.windows(what.len()).any(|part| part == what)
    };
    let is_size = says("grpc-status", b"11") && says("grpc-message", b"length%20too%20large");
    if is_size {
        refusal(ErrorCode::MessageTooLarge, vec![]).into_http()
    } else {
        response
    }
}

/// A stream that holds its place until it ends.
struct Held {
    body: Body,
    _permit: Option<Permit>,
}

impl http_body::Body for Held {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_limit_is_read_and_never_lengthens_ours() {
        #[track_caller]
        fn check(text: &str, expected: Duration) {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(patience(&headers, Class::Answer), expected, "{text}");
        }
        check("100m", Duration::from_millis(100));
        check("2S", Duration::from_secs(2));
        check("0n", Duration::ZERO);
        check("99999999H", CALL_PATIENCE);
        for rubbish in ["", "5", "S", "1x", "123456789m", "+5m", "é"] {
            let mut headers = HeaderMap::new();
            headers.insert(
                "grpc-timeout",
                http::HeaderValue::from_bytes(rubbish.as_bytes()).unwrap(),
            );
            assert_eq!(
                patience(&headers, Class::Answer),
                CALL_PATIENCE,
                "{rubbish}"
            );
        }
    }
}
