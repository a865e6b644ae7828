//! The roles of one process: engine, grader and control, all or some of them, on one port for gRPC and pages.
//!
//! Roles talk by gRPC, through memory within a process and by `peers::role_endpoint` between machines: the grader is
//! fed by `TailLog`, and packages come to it by `AddExam`. Start at [`Server::start`].

mod grader_feed;
mod in_process;
mod peers;
mod port;
mod role;

use std::{fs::File, path::Path, sync::Arc};

use ::grader::service::Graders;
use proto::{
    exam::v1::log_service_server::LogServiceServer,
    grader::v1::{
        grader_service_server::GraderServiceServer, package_service_server::PackageServiceServer,
    },
};
pub use role::{Role, Setup};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use self::{in_process::Services, peers::Engines};
use crate::{
    clock::Clock,
    engine::{self, Engine},
    files,
    grpc::{self, auth::Roles},
    packages::Packages,
    secrets::Secrets,
    store::SessionStore,
};

/// A process.
pub struct Server {
    parts: Parts,
    roles: Roles,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// Held as long as the process uses a folder without an engine, which holds it otherwise.
    _lock: Option<File>,
}

/// What the roles of a process are made of.
struct Parts {
    setup: Setup,
    /// Roles engine and control.
    engine: Option<Arc<Engine>>,
    /// Role grader.
    grader: Option<(Graders, Arc<Packages>)>,
}

impl Server {
    /// Puts all roles together over a store and a data folder.
    ///
    /// # Errors
    /// When the exams cannot be read, or the secrets are not those of the processes that share the store.
    pub async fn start(
        data: &Path,
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        secrets: &Secrets,
    ) -> engine::Result<Self> {
        Self::start_roles(data, Some((store, clock)), secrets, Setup::default()).await
    }

    /// Puts some roles together; a grader alone needs no store.
    ///
    /// # Errors
    /// As [`Server::start`], and for addresses that are none.
    pub async fn start_roles(
        data: &Path,
        store: Option<(Arc<dyn SessionStore>, Arc<dyn Clock>)>,
        secrets: &Secrets,
        setup: Setup,
    ) -> engine::Result<Self> {
        let stop = CancellationToken::new();
        let roles = Roles::new(secrets);
        let mut tasks = JoinSet::new();
        let (near, connections) = in_process::channel();
        let grader_channel = match &setup.grader {
            Some(url) if !setup.has(Role::Grader) => peers::role_endpoint(url)?.connect_lazy(),
            _ => near.clone(),
        };
        let (engine, lock) = match store {
            Some((store, clock)) => {
                let engine = Engine::new(data, store, clock, secrets, grader_channel.clone())?;
                engine.join(secrets, setup.accept_new_secrets).await?;
                (Some(Arc::new(engine)), None)
            }
            None => (None, Some(files::lock(data)?)),
        };
        let grader = match setup.has(Role::Grader) {
            true => Some(start_grader(data, near, secrets, &setup).await?),
            false => None,
        };
        let parts = Parts {
            setup,
            engine,
            grader,
        };
        tasks.spawn(in_process::serve(
            connections,
            parts.services(&roles, &stop),
            stop.clone(),
        ));
        parts.spawn(&mut tasks, &stop, grader_channel).await?;
        Ok(Self {
            parts,
            roles,
            stop,
            tasks,
            _lock: lock,
        })
    }

    /// Returns the engine, which a grader alone does not have.
    #[must_use]
    pub fn engine(&self) -> Option<&Arc<Engine>> {
        self.parts.engine.as_ref()
    }

    /// Serves one port until `shutdown`, then lets running calls end, saves the grader's state and stops.
    pub async fn serve(mut self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        // Streams of the port end with the first word of the shutdown; calls under way end by themselves.
        let streams = self.stop.child_token();
        let app = port::routes(&self.parts, &self.roles, &streams);
        let shutdown = async {
            shutdown.await;
            streams.cancel();
        };
        port::serve(listener, app, &streams, shutdown).await;
        // The grader lets go of the log first: its stream would keep the in-memory server, and with it the store, alive.
        if let Some((graders, _)) = &self.parts.grader {
            graders.shutdown().await;
        }
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn start_grader(
    data: &Path,
    near: Channel,
    secrets: &Secrets,
    setup: &Setup,
) -> engine::Result<(Graders, Arc<Packages>)> {
    let snapshots = data.join("grader");
    files::make_folder(&snapshots)?;
    let graders = Graders::new(snapshots);
    let channels = if setup.has(Role::Engine) {
        vec![near]
    } else {
        let far = setup.engines.iter().map(|url| peers::role_endpoint(url));
        far.map(|endpoint| Ok(endpoint?.connect_lazy()))
            .collect::<engine::Result<Vec<_>>>()?
    };
    let source = Engines::new(channels, &secrets.service);
    let keeps = !setup.has(Role::Control);
    let packages = Packages::new(data.to_owned(), keeps, graders.clone(), source);
    packages.load_all().await?;
    Ok((graders, Arc::new(packages)))
}

impl Parts {
    fn with_role(&self, role: Role) -> Option<&Arc<Engine>> {
        self.engine.as_ref().filter(|_| self.setup.has(role))
    }

    /// What roles ask of each other.
    fn services(&self, roles: &Roles, stop: &CancellationToken) -> Services {
        let log = self.with_role(Role::Engine).map(|engine| {
            LogServiceServer::new(grpc::Log::new(
                Arc::clone(engine),
                roles.clone(),
                stop.clone(),
            ))
        });
        let grader = self.grader.as_ref().map(|(graders, _)| {
            GraderServiceServer::new(grpc::Grader::new(
                graders.clone(),
                roles.clone(),
                stop.clone(),
            ))
        });
        let packages = self.grader.as_ref().map(|(_, packages)| {
            PackageServiceServer::new(grpc::Packages::new(Arc::clone(packages), roles.clone()))
        });
        Services {
            log,
            grader,
            packages,
        }
    }

    /// Starts what the roles do besides answering.
    async fn spawn(
        &self,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
        grader: Channel,
    ) -> engine::Result<()> {
        let mut spawn = |task: futures::future::BoxFuture<'static, ()>| {
            let stop = stop.clone();
            tasks.spawn(async move {
                let _ = stop.run_until_cancelled(task).await; // nothing if it was stopped
            });
        };
        if let Some(engine) = &self.engine {
            spawn(Box::pin(Arc::clone(engine).follow_exams()));
        }
        if let Some(engine) = self.with_role(Role::Engine) {
            spawn(Box::pin(expire_all(Arc::clone(engine))));
        }
        if let Some(engine) = self.with_role(Role::Control) {
            engine.import_exams().await?;
            spawn(Box::pin(grader_feed::feed(Arc::clone(engine), grader)));
        }
        Ok(())
    }
}

/// Runs one expiry task for each published exam.
async fn expire_all(engine: Arc<Engine>) {
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
        if exams.changed().await.is_err() {
            return;
        }
    }
}
