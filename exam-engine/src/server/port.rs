//! One port for everything: gRPC, gRPC-Web, health, reflection, and the page that says that the server is up.
//!
//! The accept loop is our own, because windows, keep-alive and streams are to be set: small frames that nobody has read
//! yet close a connection whose window is small. Windows are fixed, never adaptive.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, extract::Request, response::Html, routing::get};
use http::StatusCode;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use proto::{
    exam::v1::{
        candidate_service_server::CandidateServiceServer, log_service_server::LogServiceServer,
        organizer_service_server::OrganizerServiceServer,
    },
    grader::v1::grader_service_server::GraderServiceServer,
};
use tokio::net::TcpListener;
use tonic::{body::Body, server::NamedService};
use tower::ServiceBuilder;

use crate::{
    engine::Engine,
    grpc::{self, auth::Roles},
};

/// Room for small frames that nobody has read yet: about 35,000 of them.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Calls at once on one connection: a load generator needs hundreds, a phone two.
const MAX_STREAMS: u32 = 1_000;
/// 32 answers with texts of 2,000 bytes fit.
const MAX_CANDIDATE_BYTES: usize = 128 << 10;
/// 1,000 persons, or a blueprint of 50 sections, fit.
const MAX_ORGANIZER_BYTES: usize = 1 << 20;
/// A phone that changed its network is let go after a minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Running calls may end within this at shutdown; an answer takes milliseconds.
const DRAIN: Duration = Duration::from_secs(10);
/// Accepting fails when file descriptors run out; the next try comes after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Puts the routes together.
pub(super) fn routes(engine: &Arc<Engine>, grader: &grpc::Grader, roles: &Roles) -> Router {
    let candidate = CandidateServiceServer::new(grpc::Candidate::new(Arc::clone(engine)))
        .max_decoding_message_size(MAX_CANDIDATE_BYTES);
    let organizer =
        OrganizerServiceServer::new(grpc::Organizer::new(Arc::clone(engine), roles.clone()))
            .max_decoding_message_size(MAX_ORGANIZER_BYTES);
    let log = LogServiceServer::new(grpc::Log::new(Arc::clone(engine), roles.clone()));
    let grader = GraderServiceServer::new(grader.clone());
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made by the compiler");
    let (health, health_service) = tonic_health::server::health_reporter();
    tokio::spawn(async move {
        health
            .set_serving::<CandidateServiceServer<grpc::Candidate>>()
            .await;
        health
            .set_serving::<OrganizerServiceServer<grpc::Organizer>>()
            .await;
    });
    let router = Router::new()
        .route("/", get(home))
        .fallback(|| async { (StatusCode::NOT_FOUND, "không có trang này / no such page") });
    let router = mount(router, candidate);
    let router = mount(router, organizer);
    let router = mount(router, log);
    let router = mount(router, grader);
    let router = mount(router, reflection);
    mount(router, health_service)
}

async fn home() -> Html<&'static str> {
    Html(include_str!("home.html"))
}

/// Mounts a service under its own path, with gRPC-Web around it alone, so that unknown pages stay a plain 404.
fn mount<S>(router: Router, service: S) -> Router
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let service = ServiceBuilder::new()
        .map_request(|request: Request| request.map(Body::new))
        .layer(tonic_web::GrpcWebLayer::new())
        .service(service);
    router.route_service(&format!("/{}/{{*rest}}", S::NAME), service)
}

/// Accepts connections until `shutdown`, then lets them end.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    server.http1().timer(TokioTimer::new()); // arms hyper's limit for reading the headers
    let connections = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let _ = stream.set_nodelay(true); // fails only on a socket that is already gone
                let service = TowerToHyperService::new(app.clone());
                let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
                let connection = connections.watch(connection.into_owned());
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(error = %error, "connection ended");
                    }
                });
            }
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some connections outlived the drain");
    }
}
