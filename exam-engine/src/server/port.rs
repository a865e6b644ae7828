//! One port for everything: gRPC, gRPC-Web, health, reflection, and the page that says that the server is up.
//!
//! The accept loop is our own, because windows, keep-alive and streams are to be set: small frames that nobody has read
//! yet close a connection whose window is small. Windows are fixed, never adaptive.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    response::Html,
    routing::{any, get},
};
use http::StatusCode;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use proto::exam::v1::{
    ErrorCode, candidate_service_server::CandidateServiceServer,
    organizer_service_server::OrganizerServiceServer,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::ServiceBuilder;

use super::{Parts, Role, in_process::Services};
use crate::{
    engine::Engine,
    grpc::{self, auth::Roles, status::refusal},
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
/// First bytes of an HTTP/2 connection (RFC 9113, section 3.4).
const HTTP2_PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A connection says what it speaks within this, also on a bad line.
const FIRST_BYTES_PATIENCE: Duration = Duration::from_secs(10);
/// Half a preface is looked at again after this.
const PEEK_PAUSE: Duration = Duration::from_millis(20);
/// Connections at once: below the usual limit of 65,536 file descriptors of a service.
const MAX_CONNECTIONS: usize = 60_000;
/// Headers of one call: a token and what proxies add.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Streams reset before they were looked at; more is an attack ("rapid reset"), and h2 closes the connection.
const MAX_RESET_STREAMS: usize = 20;
const HEALTH_PERIOD: Duration = Duration::from_secs(1);
/// Running calls may end within this at shutdown; an answer takes milliseconds.
const DRAIN: Duration = Duration::from_secs(10);
/// Accepting fails when file descriptors run out; the next try comes after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Puts the routes together: what the process's roles answer, and for the other services where they are.
pub(super) fn routes(parts: &Parts, roles: &Roles, stop: &CancellationToken) -> Router {
    let candidate = parts.with_role(Role::Engine).map(|engine| {
        CandidateServiceServer::new(grpc::Candidate::new(Arc::clone(engine)))
            .max_decoding_message_size(MAX_CANDIDATE_BYTES)
    });
    let organizer = parts.with_role(Role::Control).map(|engine| {
        OrganizerServiceServer::new(grpc::Organizer::new(
            Arc::clone(engine),
            roles.clone(),
            stop.clone(),
        ))
        .max_decoding_message_size(MAX_ORGANIZER_BYTES)
    });
    let Services {
        log,
        grader,
        packages,
    } = parts.services(roles, stop);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made by the compiler");
    let (health, health_service) = tonic_health::server::health_reporter();
    let mut told = vec![""];
    let router = Router::new()
        .route("/", get(home))
        .fallback(|| async { (StatusCode::NOT_FOUND, "không có trang này / no such page") });
    let router = mount_role(router, candidate, Role::Engine, &mut told);
    let router = mount_role(router, organizer, Role::Control, &mut told);
    let router = mount_role(router, log, Role::Engine, &mut told);
    let router = mount_role(router, grader, Role::Grader, &mut told);
    let router = mount_role(router, packages, Role::Grader, &mut told);
    let router = mount(router, reflection);
    let engine = parts.engine.clone();
    tokio::spawn(report_health(health, engine, told, stop.clone()));
    mount(router, health_service)
}

/// Tells once a second whether answers are stored, and that they are not any more once the server stops. `told` are the
/// services that are here; "" is the server as a whole.
async fn report_health(
    mut health: HealthReporter,
    engine: Option<Arc<Engine>>,
    told: Vec<&'static str>,
    stop: CancellationToken,
) {
    let is_up = async || match &engine {
        Some(engine) => engine.store_is_up().await,
        None => true, // a grader alone has no store
    };
    while let Some(is_up) = stop.run_until_cancelled(is_up()).await {
        let status = if is_up {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in &told {
            health.set_service_status(service, status).await;
        }
        stop.run_until_cancelled(tokio::time::sleep(HEALTH_PERIOD))
            .await;
    }
    for service in &told {
        health
            .set_service_status(service, ServingStatus::NotServing)
            .await;
        health.clear_service_status(service).await; // ends those who watch it
    }
}

/// Mounts a service of a role, or in its place the refusal that names the role.
fn mount_role<S>(
    router: Router,
    service: Option<S>,
    role: Role,
    told: &mut Vec<&'static str>,
) -> Router
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    if let Some(service) = service {
        told.push(S::NAME);
        return mount(router, service);
    }
    let elsewhere = move || async move {
        let facts = vec![("role", role.name().to_owned())];
        refusal(ErrorCode::RoleNotHere, facts).into_http::<axum::body::Body>()
    };
    router.route(&format!("/{}/{{*rest}}", S::NAME), any(elsewhere))
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
        .map_response(explain_size)
        .service(service);
    router.route_service(&format!("/{}/{{*rest}}", S::NAME), service)
}

/// Gives tonic's refusal of an oversized message our code and sentence.
fn explain_size(response: http::Response<Body>) -> http::Response<Body> {
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

/// Waits until the first bytes tell the version of HTTP; false if they do not come in time.
///
/// hyper has a limit for an unfinished head of HTTP/1.1, but none for a connection that says nothing, or half of the
/// preface of HTTP/2.
async fn speaks_in_time(stream: &TcpStream, patience: Duration) -> bool {
    let speaks = async {
        let mut first = [0; HTTP2_PREFACE.len()];
        loop {
            match stream.peek(&mut first).await {
                Ok(0) | Err(_) => return false,
                Ok(n) if n == first.len() || first[..n] != HTTP2_PREFACE[..n] => return true,
                Ok(_) => tokio::time::sleep(PEEK_PAUSE).await,
            }
        }
    };
    tokio::time::timeout(patience, speaks)
        .await
        .unwrap_or(false)
}

/// Accepts connections until `shutdown`, then lets them end.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    stop: &CancellationToken,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    server.http1().timer(TokioTimer::new()); // arms hyper's limit for reading the headers
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    continue; // closed at once: the caller tries again, here or elsewhere
                };
                let (server, watcher, stop) = (server.clone(), connections.watcher(), stop.clone());
                tokio::spawn(async move {
                    let _place = place;
                    let speaks = tokio::select! {
                        speaks = speaks_in_time(&stream, FIRST_BYTES_PATIENCE) => speaks,
                        () = stop.cancelled() => false,
                    };
                    if !speaks {
                        return;
                    }
                    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
                    if let Err(error) = watcher.watch(connection.into_owned()).await {
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_says_nothing_or_half_a_preface_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (first, speaks) in [
            (&b""[..], false),
            (&HTTP2_PREFACE[..12], false),
            (&HTTP2_PREFACE, true),
            (b"GET / HTTP/1.1", true),
        ] {
            let mut caller = TcpStream::connect(address).await.unwrap();
            caller.write_all(first).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let found = speaks_in_time(&stream, Duration::from_millis(200)).await;
            assert_eq!(found, speaks, "{first:?}");
        }
    }
}
