//! The grader's calls for organizers, passed on to a grader in another process.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use proto::grader::v1::grader_service_server;
use tonic::{Status, body::Body, metadata::MetadataMap, server::NamedService};
use tower::{Service, ServiceExt};

use super::{
    auth::Roles,
    status::{from_grader, to_status},
};
use crate::engine::{Engine, Error};

/// Lets organizers pass, and calls the grader in the name of the service.
#[derive(Clone)]
pub struct GraderRelay {
    engine: Arc<Engine>,
    roles: Roles,
}

impl GraderRelay {
    /// Takes the engine, which knows the grader, and the words of the roles.
    #[must_use]
    pub fn new(engine: Arc<Engine>, roles: Roles) -> Self {
        Self { engine, roles }
    }
}

impl NamedService for GraderRelay {
    const NAME: &'static str = grader_service_server::SERVICE_NAME;
}

impl Service<http::Request<Body>> for GraderRelay {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // the channel is asked for each call
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let metadata = MetadataMap::from_headers(request.headers().clone());
        let allowed = match request.uri().path().rsplit('/').next() {
            Some("DryRun" | "ExportResult") => Err(to_status(Error::PermissionDenied)), // with keys
            _ => self.roles.organizer(&metadata),
        };
        let (channel, token) = self.engine.grader_channel();
        Box::pin(async move {
            if let Err(status) = allowed {
                return Ok(status.into_http());
            }
            request.headers_mut().insert(AUTHORIZATION, token);
            let unreachable = |error| from_grader(Status::from_error(Box::new(error))).into_http();
            Ok(channel.oneshot(request).await.unwrap_or_else(unreachable))
        })
    }
}
