//! Which service answers a path.
//!
//! Candidates' calls in plain gRPC, nearly all there are, go straight to their service; everything else goes through the
//! router: pages, health, gRPC-Web, and the services of organizers and roles, which run on the second runtime. All
//! services stand behind [`Guard`]. Start at [`Front`].

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    response::Html,
    routing::{any, get},
};
use http::StatusCode;
use hyper::body::Incoming;
use proto::{
    exam::v1::{
        ErrorCode, candidate_service_server::CandidateServiceServer,
        operator_service_server::OperatorServiceServer,
        organizer_service_server::OrganizerServiceServer,
    },
    key::v1::ruling_service_server::RulingServiceServer,
};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::{Service, ServiceBuilder, ServiceExt, util::Oneshot};

use super::{
    Parts, Role,
    guard::{Guard, Guarded, Peer, Watch},
    in_process::Services,
    line::{Call, Meter, Watched},
    runtimes::Second,
};
use crate::{
    admission::{Class, Gate},
    engine::Engine,
    grpc::{self, auth::Roles, status::refusal},
};

/// 32 answers with texts of 2,000 bytes fit.
const MAX_CANDIDATE_BYTES: usize = 128 << 10;
/// 1,000 persons, a blueprint of 50 sections, or 20,000 units with names of 150 bytes, fit.
const MAX_ORGANIZER_BYTES: usize = 4 << 20;
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

type Candidates = CandidateServiceServer<grpc::Candidate>;

/// All services of a port.
#[derive(Clone)]
pub(super) struct Front {
    /// Role engine.
    candidates: Option<Guard<Candidates>>,
    rest: Router,
}

/// What one connection calls.
pub(super) struct Desk {
    front: Front,
    peer: Peer,
    meter: Arc<Meter>,
}

impl Front {
    /// Opens a desk for a connection.
    pub(super) fn desk(&self, peer: Peer, meter: Arc<Meter>) -> Desk {
        Desk {
            front: self.clone(),
            peer,
            meter,
        }
    }
}

impl hyper::service::Service<http::Request<Incoming>> for Desk {
    type Response = http::Response<Watched>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: http::Request<Incoming>) -> Answer {
        let call = self.meter.call(Class::is_whole(request.uri().path()));
        let hot = self.front.candidates.as_ref();
        let work = if let Some(candidates) = hot.filter(|_| is_hot(&request)) {
            Work::Hot(candidates.call_from(self.peer, request))
        } else {
            request.extensions_mut().insert(self.peer);
            Work::Rest(
                self.front
                    .rest
                    .clone()
                    .oneshot(request.map(axum::body::Body::new)),
            )
        };
        Answer {
            work,
            call: Some(call),
        }
    }
}

/// Tells whether a request is a candidate's call in plain gRPC.
fn is_hot<B>(request: &http::Request<B>) -> bool {
    let path = request.uri().path().strip_prefix('/');
    let rest = path.and_then(|path| path.strip_prefix(Candidates::NAME));
    let content = request.headers().get(http::header::CONTENT_TYPE);
    rest.is_some_and(|rest| rest.starts_with('/'))
        && content.is_some_and(|content| {
            let rest = content.as_bytes().strip_prefix(b"application/grpc");
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
        })
}

/// A reply on its way.
pub(super) struct Answer {
    work: Work,
    call: Option<Call>,
}

enum Work {
    Hot(Guarded<<Candidates as Service<http::Request<Incoming>>>::Future>),
    Rest(Oneshot<Router, Request>),
}

impl Future for Answer {
    type Output = Result<http::Response<Watched>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = match &mut self.work {
            Work::Hot(call) => std::task::ready!(Pin::new(call).poll(cx)),
            Work::Rest(call) => {
                std::task::ready!(Pin::new(call).poll(cx)).map(|r| r.map(Body::new))
            }
        };
        let call = self.call.take().expect("polled once more after its end");
        Poll::Ready(reply.map(|reply| reply.map(|body| Watched::new(body, call))))
    }
}

/// Puts the routes together.
pub(super) fn front(
    parts: &Parts,
    roles: &Roles,
    second: &Second,
    door: &Door,
    stop: &CancellationToken,
) -> Front {
    let watch = &door.watch;
    let candidates = parts.with_role(Role::Engine).map(|engine| {
        let service = CandidateServiceServer::new(grpc::Candidate::new(
            Arc::clone(engine),
            Arc::clone(&watch.gate),
        ));
        Guard::new(
            service.max_decoding_message_size(MAX_CANDIDATE_BYTES),
            watch,
            false,
        )
    });
    let organizer = parts.with_role(Role::Control).map(|engine| {
        let service = grpc::Organizer::new(Arc::clone(engine), roles.clone(), stop.clone());
        let service = OrganizerServiceServer::new(service);
        let service = service.max_decoding_message_size(MAX_ORGANIZER_BYTES);
        Guard::new(second.behind(service), watch, false)
    });
    let rulings = parts.with_role(Role::Control).map(|engine| {
        let service = grpc::Rulings::new(Arc::clone(engine), roles.clone());
        let service = RulingServiceServer::new(service);
        let service = service.max_decoding_message_size(MAX_ORGANIZER_BYTES);
        Guard::new(second.behind(service), watch, false)
    });
    let relay = parts.with_role(Role::Control).map(|engine| {
        let service = grpc::GraderRelay::new(Arc::clone(engine), roles.clone());
        Guard::new(second.behind(service), watch, false)
    });
    let operator = parts.with_role(Role::Control).map(|engine| {
        let service = grpc::Operator::new(Arc::clone(engine), roles.clone(), stop.clone());
        Guard::new(
            second.behind(OperatorServiceServer::new(service)),
            watch,
            false,
        )
    });
    let Services {
        log,
        grader,
        packages,
    } = parts.services(roles, stop);
    let log = log.map(|log| Guard::new(second.behind(log), watch, door.knows_roles));
    let grader = grader.map(|grader| Guard::new(second.behind(grader), watch, door.knows_roles));
    let packages =
        packages.map(|packages| Guard::new(second.behind(packages), watch, door.knows_roles));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made by the compiler");
    let (health, health_service) = tonic_health::server::health_reporter();
    let mut told = vec![""];
    let router = Router::new()
        .route("/", get(home))
        .fallback(|| async { (StatusCode::NOT_FOUND, "không có trang này / no such page") });
    let router = mount_role(router, candidates.clone(), Role::Engine, &mut told);
    let router = mount_role(router, organizer, Role::Control, &mut told);
    let router = mount_role(router, operator, Role::Control, &mut told);
    let router = mount_role(router, rulings, Role::Control, &mut told);
    let router = mount_role(router, log, Role::Engine, &mut told);
    let router = match (grader, relay) {
        (None, Some(relay)) => mount(router, relay),
        (grader, _) => mount_role(router, grader, Role::Grader, &mut told),
    };
    let router = mount_role(router, packages, Role::Grader, &mut told);
    let router = mount(router, Guard::new(second.behind(reflection), watch, false));
    let engine = parts.engine.clone();
    let gate = Arc::clone(&watch.gate);
    tokio::spawn(report_health(health, engine, gate, told, stop.clone()));
    Front {
        candidates,
        rest: mount(router, health_service),
    }
}

/// What guards the services.
pub(super) struct Door {
    /// Room and rates.
    pub(super) watch: Arc<Watch>,
    /// Callers of log and grader must show a certificate.
    pub(super) knows_roles: bool,
}

/// Tells once a second whether answers are stored, and that they are not any more once the server stops. `told` are the
/// services that are here; "" is the server as a whole. Counts the sessions for the gate, too.
async fn report_health(
    mut health: HealthReporter,
    engine: Option<Arc<Engine>>,
    gate: Arc<Gate>,
    told: Vec<&'static str>,
    stop: CancellationToken,
) {
    let is_up = async || match &engine {
        Some(engine) => engine.store_is_up().await,
        None => true, // a grader alone has no store
    };
    let n_live = || {
        let exams = engine.as_ref().map(|engine| engine.watch_exams());
        exams.map_or(0, |exams| {
            exams.borrow().iter().map(|exam| exam.n_cells()).sum()
        })
    };
    while let Some(is_up) = stop.run_until_cancelled(is_up()).await {
        gate.set_live(n_live());
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
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
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
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_candidates_plain_grpc_goes_past_the_router() {
        #[track_caller]
        fn check(path: &str, content: &str, expected: bool) {
            let request = http::Request::post(path).header("content-type", content);
            let request = request.body(()).unwrap();
            assert_eq!(is_hot(&request), expected, "{path} {content}");
        }
        let save = "/exam.v1.CandidateService/SaveAnswers";
        check(save, "application/grpc", true);
        check(save, "application/grpc+proto", true);
        check(save, "application/grpc-web", false);
        check(save, "application/grpc-web+proto", false);
        check(save, "application/json", false);
        check(
            "/exam.v1.CandidateServiceX/SaveAnswers",
            "application/grpc",
            false,
        );
        check(
            "/exam.v1.OrganizerService/ListExams",
            "application/grpc",
            false,
        );
        check("/", "application/grpc", false);
    }
}
