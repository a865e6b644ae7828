//! All roles of one process: the store, the engine, the grader, and one port for gRPC and pages.
//!
//! The grader is fed as it would be from another machine, by `TailLog`, over a connection in memory. It alone reads
//! `keys/`. Start at [`Server::start`].

mod grader_feed;
mod in_process;
mod port;

use std::{path::Path, sync::Arc};

use proto::{
    exam::v1::log_service_server::LogServiceServer,
    grader::v1::grader_service_server::GraderServiceServer,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    archive::{Archive, Policy},
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
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    /// Puts the roles together over a store and a data folder.
    ///
    /// # Errors
    /// When the exams of the data folder cannot be read.
    pub fn start(
        data: &Path,
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        secrets: &Secrets,
    ) -> engine::Result<Self> {
        let archive = Archive::in_folder(&data.join("archive"), Policy::default())?;
        Self::start_with_archive(data, store, clock, secrets, archive)
    }

    /// As [`Server::start`], with the log's archive in another place.
    ///
    /// # Errors
    /// When the exams of the data folder cannot be read.
    pub fn start_with_archive(
        data: &Path,
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        secrets: &Secrets,
        archive: Archive,
    ) -> engine::Result<Self> {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (channel, connections) = in_process::channel();
        let engine = Engine::new(data, store, clock, secrets, channel.clone())?;
        let engine = Arc::new(engine.with_archive(archive));
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
        tasks.spawn(in_process::serve(connections, log, grader, stop.clone()));
        tasks.spawn(grader_feed::feed(
            data.to_owned(),
            engine.watch_exams(),
            graders.clone(),
            channel,
            secrets.service.clone(),
            stop.clone(),
        ));
        tasks.spawn(expire_all(Arc::clone(&engine), stop.clone()));
        Ok(Self {
            engine,
            graders,
            roles,
            stop,
            tasks,
        })
    }

    /// Returns the engine.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Serves one port until `shutdown`, then lets running calls end, saves the grader's state and stops.
    pub async fn serve(mut self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        // Streams of the port end with the first word of the shutdown; calls under way end by themselves.
        let streams = self.stop.child_token();
        let app = port::routes(&self.engine, &self.graders, &self.roles, &streams);
        let shutdown = async {
            shutdown.await;
            streams.cancel();
        };
        port::serve(listener, app, &streams, shutdown).await;
        // The grader lets go of the log first: its stream would keep the in-memory server, and with it the store, alive.
        self.graders.shutdown().await;
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Runs for each published exam one task that ends attempts and one that archives the log.
async fn expire_all(engine: Arc<Engine>, stop: CancellationToken) {
    let mut exams = engine.watch_exams();
    let mut running = JoinSet::new();
    let mut known = std::collections::HashSet::new();
    loop {
        let all = exams.borrow_and_update().clone();
        for exam in all {
            if known.insert(exam.id.clone()) {
                running.spawn(Arc::clone(&engine).archive_log(Arc::clone(&exam)));
                running.spawn(Arc::clone(&engine).expire_attempts(exam));
            }
        }
        tokio::select! {
            changed = exams.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}
