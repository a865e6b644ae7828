//! The way to the graders: to one of them, and when it cannot be reached to the next.
//!
//! Graders of one exam are equal at equal positions of its log, so any may answer. A call that fails is not made again
//! here: its caller asks again anyway, and then reaches the next grader.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{
    body::Body,
    transport::{Channel, Error},
};
use tower::{Service, ServiceExt};

/// One or more graders.
#[derive(Clone)]
pub struct GraderChannel {
    channels: Arc<[Channel]>,
    current: Arc<AtomicUsize>,
}

impl GraderChannel {
    /// Takes the channels, at least one.
    #[must_use]
    pub fn new(channels: Vec<Channel>) -> Self {
        assert!(!channels.is_empty(), "somebody grades");
        Self {
            channels: channels.into(),
            current: Arc::default(),
        }
    }
}

impl Service<http::Request<Body>> for GraderChannel {
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(())) // the channel is asked for each call
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let place = self.current.load(Ordering::Relaxed);
        let channel = self.channels[place].clone();
        let (current, n_channels) = (Arc::clone(&self.current), self.channels.len());
        Box::pin(async move {
            let reply = channel.oneshot(request).await;
            if reply.is_err() {
                let next = (place + 1) % n_channels;
                // another call may have gone on already
                let _ = current.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed);
            }
            reply
        })
    }
}
