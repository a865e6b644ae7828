//! All roles of one process: the store, the engine, the grader, and one port for gRPC and pages.
//!
//! The grader is fed as it would be from another machine, by `TailLog`, over a connection in memory. It alone reads
//! `keys/`. Candidates' calls run on the runtime that the process started with, everything else on a second one
//! (`runtimes.rs`). Start at [`Server::start`].

mod grader_feed;
mod guard;
mod in_process;
mod line;
mod port;
mod routes;
mod runtimes;
mod settings;
pub mod tls;

use std::{path::Path, sync::Arc};

use proto::{
    exam::v1::log_service_server::LogServiceServer,
    grader::v1::grader_service_server::GraderServiceServer,
};
pub use settings::{PortLimits, STARTS_PER_SECOND, Settings, TlsFiles, starts};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{guard::Watch, routes::Door, runtimes::Second, tls::Tls};
use crate::{
    admission::{Callers, Gate, Lobby},
    clock::Clock,
    engine::{self, Engine},
    files,
    grpc::{self, auth::Roles},
    secrets::Secrets,
    store::SessionStore,
};

/// A process with all roles.
pub struct Server {
    engine: Arc<Engine>,
    graders: grader::service::Graders,
    roles: Roles,
    second: Second,
    settings: Settings,
    watch: Arc<Watch>,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    /// Puts the roles together over a store and a data folder, with the settings of a public port.
    ///
    /// # Errors
    /// When the exams of the data folder cannot be read.
    pub fn start(
        data: &Path,
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        secrets: &Secrets,
    ) -> engine::Result<Self> {
        Self::start_with(data, store, clock, secrets, Settings::default())
    }

    /// Puts the roles together with settings of the caller's own.
    ///
    /// # Errors
    /// When the exams of the data folder or the files of TLS cannot be read.
    pub fn start_with(
        data: &Path,
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        secrets: &Secrets,
        settings: Settings,
    ) -> engine::Result<Self> {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let second = Second::start()?;
        let tls = settings.tls.clone().map(Tls::load).transpose()?;
        let on_second = second.handle().clone();
        let (channel, connections) = {
            let _second = on_second.enter(); // the connection's own task belongs there too
            in_process::channel()
        };
        let engine = Engine::new(data, store, clock, secrets, channel.clone())?;
        let engine = Arc::new(engine.with_lobby(Lobby::new(settings.starts)));
        let roles = Roles::new(secrets);
        let snapshots = data.join("grader");
        files::make_folder(&snapshots)?;
        let graders = grader::service::Graders::new(snapshots);
        let log = LogServiceServer::new(grpc::Log::new(
            Arc::clone(&engine),
            roles.clone(),
            stop.clone(),
        ));
        let grader = GraderServiceServer::new(grpc::Grader::new(
            graders.clone(),
            roles.clone(),
            stop.clone(),
        ));
        let served = in_process::serve(connections, log, grader, stop.clone());
        tasks.spawn_on(served, &on_second);
        let feed = grader_feed::feed(
            data.to_owned(),
            engine.watch_exams(),
            graders.clone(),
            channel,
            secrets.service.clone(),
            stop.clone(),
        );
        tasks.spawn_on(feed, &on_second);
        tasks.spawn(expire_all(Arc::clone(&engine), stop.clone()));
        if let Some(tls) = &tls {
            tasks.spawn(Arc::clone(tls).follow(stop.clone()));
        }
        let watch = Arc::new(Watch {
            gate: Gate::new(settings.gate),
            callers: Callers::new(settings.callers.clone()),
        });
        Ok(Self {
            engine,
            graders,
            roles,
            second,
            settings,
            watch,
            tls,
            stop,
            tasks,
        })
    }

    /// Returns the engine.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Returns the gate, which counts what was refused.
    #[must_use]
    pub fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.watch.gate)
    }

    /// Serves one port until `shutdown`, then lets running calls end, saves the grader's state and stops.
    pub async fn serve(mut self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        // Streams of the port end with the first word of the shutdown; calls under way end by themselves.
        let streams = self.stop.child_token();
        let tls_files = self.settings.tls.as_ref();
        let door = Door {
            watch: Arc::clone(&self.watch),
            knows_roles: tls_files.is_some_and(|files| files.client_ca.is_some()),
        };
        let (engine, graders, roles) = (&self.engine, &self.graders, &self.roles);
        let front = routes::front(engine, graders, roles, &self.second, &door, &streams);
        let shutdown = async {
            shutdown.await;
            streams.cancel();
        };
        let limits = self.settings.port;
        port::serve(listener, front, limits, self.tls.take(), &streams, shutdown).await;
        self.second.drained(port::DRAIN).await;
        // The grader lets go of the log first: its stream would keep the in-memory server, and with it the store, alive.
        self.graders.shutdown().await;
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Runs one expiry task for each published exam.
async fn expire_all(engine: Arc<Engine>, stop: CancellationToken) {
    let mut exams = engine.watch_exams();
    let mut running = JoinSet::new();
    let mut known = std::collections::HashSet::new();
    loop {
        let all = exams.borrow_and_update().clone();
        for exam in all {
            if known.insert(exam.id.clone()) {
                running.spawn(Arc::clone(&engine).expire_attempts(exam));
            }
        }
        tokio::select! {
            changed = exams.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}
