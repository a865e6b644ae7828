//! The roles of one process: engine, grader and control, all or some of them, on one port for gRPC and pages.
//!
//! Roles talk by gRPC, through memory within a process and by `peers::role_channel` between machines: the grader is
//! fed by `TailLog`, and packages come to it by `AddExam`. Candidates' calls have the process's runtime to themselves; all
//! else runs on a second one. Start at [`Server::start`].

mod grader_feed;
mod guard;
mod in_process;
mod line;
mod peers;
mod port;
mod proxy_protocol;
mod role;
mod routes;
mod runtimes;
mod settings;
pub mod tls;

use std::{fs::File, io, path::Path, sync::Arc};

use ::grader::service::Graders;
use proto::{
    exam::v1::log_service_server::LogServiceServer,
    grader::v1::{
        grader_service_server::GraderServiceServer, package_service_server::PackageServiceServer,
    },
};
pub use role::{Role, Setup};
pub use settings::{PortLimits, STARTS_PER_SECOND, Settings, TlsFiles, starts};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use self::{
    guard::Watch, in_process::Services, peers::Engines, routes::Door, runtimes::Second, tls::Tls,
};
use crate::{
    admission::{Callers, Gate, Lobby},
    archive::{Archive, Policy},
    clock::Clock,
    engine::{self, Engine, GraderChannel, LiveExam},
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
    second: Second,
    settings: Settings,
    watch: Arc<Watch>,
    tls: Option<Arc<Tls>>,
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
    /// Puts all roles together over a store and a data folder, with the settings of a public port.
    ///
    /// # Errors
    /// When the exams cannot be read, or the secrets are not those of the processes that share the store.
    pub async fn start(
        data: &Path,
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        secrets: &Secrets,
    ) -> engine::Result<Self> {
        Self::start_with(data, store, clock, secrets, Settings::default()).await
    }

    /// Puts all roles together with settings of the caller's own.
    ///
    /// # Errors
    /// As [`Server::start`], and when the files of TLS cannot be read.
    pub async fn start_with(
        data: &Path,
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        secrets: &Secrets,
        settings: Settings,
    ) -> engine::Result<Self> {
        let all = Setup::default();
        Self::start_roles(data, Some((store, clock)), secrets, all, settings).await
    }

    /// Puts some roles together; a grader alone needs no store.
    ///
    /// # Errors
    /// As [`Server::start_with`], and for addresses that are none.
    pub async fn start_roles(
        data: &Path,
        store: Option<(Arc<dyn SessionStore>, Arc<dyn Clock>)>,
        secrets: &Secrets,
        setup: Setup,
        settings: Settings,
    ) -> engine::Result<Self> {
        let stop = CancellationToken::new();
        let roles = Roles::new(secrets);
        let mut tasks = JoinSet::new();
        let second = Second::start()?;
        let tls_files = settings.tls.as_ref();
        let tls = tls_files.cloned().map(Tls::load).transpose()?;
        let ((near, connections), graders) = {
            let _second = second.handle().enter(); // the connections' own tasks belong there too
            let near = in_process::channel();
            let own = setup.has(Role::Grader).then(|| near.0.clone());
            let mut graders: Vec<Channel> = own.into_iter().collect();
            for url in &setup.graders {
                graders.push(peers::role_channel(url, tls_files)?);
            }
            if graders.is_empty() {
                graders.push(near.0.clone()); // nobody answers there: a process without graders says so
            }
            (near, graders)
        };
        let (engine, lock) = match store {
            Some((store, clock)) => {
                let is_shared = store.exams().is_some();
                let to_graders = GraderChannel::new(graders.clone());
                let engine = Engine::new(data, store, clock, secrets, to_graders)?;
                let mut engine = engine.with_lobby(Lobby::new(settings.starts));
                let archive = log_archive(data, &setup, is_shared, settings.archiving)?;
                if let Some(archive) = archive {
                    engine = engine.with_archive(archive);
                }
                engine.join(secrets, setup.accept_new_secrets).await?;
                (Some(Arc::new(engine)), None)
            }
            None => (None, Some(files::lock(data)?)),
        };
        let grader = match setup.has(Role::Grader) {
            true => {
                let source = {
                    let _second = second.handle().enter();
                    log_source(near, secrets, &setup, tls_files)?
                };
                let keeps = !setup.has(Role::Control);
                // The grader's tasks belong to the runtime that it is started on.
                let starting = start_grader(data.to_owned(), source, keeps);
                let started = second.handle().spawn(starting).await;
                Some(started.map_err(io::Error::other)??)
            }
            false => None,
        };
        let parts = Parts {
            setup,
            engine,
            grader,
        };
        let services = parts.services(&roles, &stop);
        let served = in_process::serve(connections, services, stop.clone());
        tasks.spawn_on(served, second.handle());
        parts.spawn(&mut tasks, &second, &stop, graders).await?;
        if let Some(tls) = &tls {
            tasks.spawn(Arc::clone(tls).follow(stop.clone()));
        }
        let watch = Arc::new(Watch {
            gate: Gate::new(settings.gate),
            callers: Callers::new(settings.callers.clone()),
            roles: roles.clone(),
        });
        Ok(Self {
            parts,
            roles,
            second,
            settings,
            watch,
            tls,
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
        let front = routes::front(&self.parts, &self.roles, &self.second, &door, &streams);
        let shutdown = async {
            shutdown.await;
            streams.cancel();
        };
        let limits = self.settings.port;
        let watch = Arc::clone(&self.watch);
        let tls = self.tls.take();
        port::serve(listener, front, watch, limits, tls, &streams, shutdown).await;
        self.second.drained(port::DRAIN).await;
        // The grader lets go of the log first: its stream would keep the in-memory server, and with it the store, alive.
        if let Some((graders, _)) = &self.parts.grader {
            graders.shutdown().await;
        }
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Opens the archive of the log, which all processes that read the log must reach.
fn log_archive(
    data: &Path,
    setup: &Setup,
    is_shared: bool,
    policy: Policy,
) -> engine::Result<Option<Archive>> {
    Ok(match &setup.archive {
        Some(place) => Some(Archive::open(place, policy)?),
        // What a process archives for itself and the store forgets, others could not read.
        None if !is_shared => Some(Archive::in_folder(&data.join("archive"), policy)?),
        None => None,
    })
}

/// Where the grader of this process reads logs.
fn log_source(
    near: Channel,
    secrets: &Secrets,
    setup: &Setup,
    tls: Option<&TlsFiles>,
) -> engine::Result<Arc<Engines>> {
    let channels = if setup.has(Role::Engine) {
        vec![near]
    } else {
        let far = setup.engines.iter();
        far.map(|url| peers::role_channel(url, tls))
            .collect::<engine::Result<Vec<_>>>()?
    };
    Ok(Engines::new(channels, &secrets.service))
}

async fn start_grader(
    data: std::path::PathBuf,
    source: Arc<Engines>,
    keeps: bool,
) -> engine::Result<(Graders, Arc<Packages>)> {
    let snapshots = data.join("grader");
    files::make_folder(&snapshots)?;
    let graders = Graders::new(snapshots);
    let packages = Packages::new(data, keeps, graders.clone(), source);
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

    /// Starts what the roles do besides answering: what concerns candidates beside their calls, the rest on the second
    /// runtime.
    async fn spawn(
        &self,
        tasks: &mut JoinSet<()>,
        second: &Second,
        stop: &CancellationToken,
        graders: Vec<Channel>,
    ) -> engine::Result<()> {
        let until_stopped = |task: futures::future::BoxFuture<'static, ()>| {
            let stop = stop.clone();
            async move {
                let _ = stop.run_until_cancelled(task).await; // nothing if it was stopped
            }
        };
        if let Some(engine) = &self.engine {
            tasks.spawn(until_stopped(Box::pin(Arc::clone(engine).follow_exams())));
        }
        if let Some(engine) = self.with_role(Role::Engine) {
            tasks.spawn(until_stopped(Box::pin(expire_all(Arc::clone(engine)))));
        }
        if let Some(engine) = self.with_role(Role::Control) {
            engine.import_exams().await?;
            for grader in graders {
                let feed = grader_feed::feed(Arc::clone(engine), grader);
                tasks.spawn_on(until_stopped(Box::pin(feed)), second.handle());
            }
            let archiving = archive_all(Arc::clone(engine));
            tasks.spawn_on(until_stopped(Box::pin(archiving)), second.handle());
            if self.setup.controls {
                let sitting = sit_all(Arc::clone(engine));
                tasks.spawn_on(until_stopped(Box::pin(sitting)), second.handle());
            }
        }
        Ok(())
    }
}

/// Runs one expiry task for each published exam.
async fn expire_all(engine: Arc<Engine>) {
    for_each_exam(&engine, |exam| Arc::clone(&engine).expire_attempts(exam)).await;
}

/// Runs one task for each published exam that archives its log.
async fn archive_all(engine: Arc<Engine>) {
    for_each_exam(&engine, |exam| Arc::clone(&engine).archive_log(exam)).await;
}

/// Runs one task for each published exam in which its control candidates sit.
async fn sit_all(engine: Arc<Engine>) {
    for_each_exam(&engine, |exam| Arc::clone(&engine).sit_controls(exam)).await;
}

async fn for_each_exam<F: Future<Output = ()> + Send + 'static>(
    engine: &Engine,
    task: impl Fn(Arc<LiveExam>) -> F,
) {
    let mut exams = engine.watch_exams();
    let mut running = JoinSet::new();
    let mut known = std::collections::HashSet::new();
    loop {
        let all = exams.borrow_and_update().clone();
        for exam in all {
            if known.insert(exam.id.clone()) {
                running.spawn(task(exam));
            }
        }
        if exams.changed().await.is_err() {
            return;
        }
    }
}
