//! Several servers in the test's own process over one Redis: control and grader in one, engines in others, each with a
//! data folder and a wall clock of its own.

use std::{fs, path::Path, sync::Arc};

use exam_engine::{
    bank::Bank,
    clock::{Clock, ManualClock, SystemClock},
    id::{CandidateId, ExamId},
    secrets::Secrets,
    server::{Role, Server, Settings, Setup},
    session::first_chain,
    store::{RedisStore, SessionStore},
};
use proto::exam::v1::{
    CloseExamRequest, CreateExamRequest, ExamSpec, ExportExamRequest, IssueCodesRequest,
    OpenExamRequest, PublishExamRequest, StartAttemptRequest, TailLogRequest,
    candidate_service_client::CandidateServiceClient, event::Kind,
    log_service_client::LogServiceClient, organizer_service_client::OrganizerServiceClient,
};
use tokio::{net::TcpListener, sync::oneshot};
use tonic::{Status, transport::Channel};

use crate::{
    harness::{EXAM, Sitting, bearer, code_request, spec, test_bank},
    redis_server::RedisServer,
};

pub(crate) const N_ENGINES: usize = 2;

pub(crate) struct Node {
    pub(crate) url: String,
    pub(crate) data: tempfile::TempDir,
    /// Dropped with the test, which stops the server.
    _stop: oneshot::Sender<()>,
}

pub(crate) struct Cluster {
    pub(crate) redis: RedisServer,
    pub(crate) secrets: Secrets,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) control: Node,
    pub(crate) engines: Vec<Node>,
}

/// Makes a data folder with the same secrets, as an operator copies them.
pub(crate) fn copy_secrets(from: &Path, to: &Path) {
    let (from, to) = (from.join("secrets"), to.join("secrets"));
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

pub(crate) fn control_folder() -> (tempfile::TempDir, Secrets) {
    let data = tempfile::tempdir().unwrap();
    Bank::new(data.path()).add(&test_bank()).unwrap();
    Bank::new(data.path()).release().unwrap();
    let secrets = Secrets::load(&data.path().join("secrets")).unwrap();
    (data, secrets)
}

impl Cluster {
    /// Control and grader in one server, and two engines, whose clocks the test moves together.
    pub(crate) async fn start() -> Self {
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        Self::with_engines(async |redis| {
            let store: Arc<dyn SessionStore> =
                Arc::new(RedisStore::connect(&redis.url(), false).await.unwrap());
            let clock: Arc<dyn Clock> = clock.clone();
            (store, clock)
        })
        .await
        .with_clock(&clock)
    }

    fn with_clock(mut self, clock: &Arc<ManualClock>) -> Self {
        self.clock = Arc::clone(clock);
        self
    }

    /// `make` gives each server its connection to the store and its clock; the first one is control's.
    pub(crate) async fn with_engines(
        mut make: impl AsyncFnMut(&RedisServer) -> (Arc<dyn SessionStore>, Arc<dyn Clock>),
    ) -> Self {
        let redis = RedisServer::start();
        let (data, secrets) = control_folder();
        let mut listeners = Vec::new();
        for _ in 0..=N_ENGINES {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let urls: Vec<String> = listeners
            .iter()
            .map(|listener| format!("http://{}", listener.local_addr().unwrap()))
            .collect();
        let mut nodes = Vec::new();
        let mut control_data = Some(data);
        for (number, listener) in listeners.into_iter().enumerate() {
            let setup = if number == 0 {
                Setup {
                    roles: [Role::Control, Role::Grader].into(),
                    engines: urls[1..].to_vec(),
                    ..Setup::default()
                }
            } else {
                Setup {
                    roles: [Role::Engine].into(),
                    graders: vec![urls[0].clone()],
                    ..Setup::default()
                }
            };
            let data = control_data
                .take()
                .unwrap_or_else(|| tempfile::tempdir().unwrap());
            let secrets_copy = if number == 0 {
                secrets.clone()
            } else {
                copy_secrets(nodes_data(&nodes), data.path());
                Secrets::load(&data.path().join("secrets")).unwrap()
            };
            let (store, clock) = make(&redis).await;
            let server = Server::start_roles(
                data.path(),
                Some((store, clock)),
                &secrets_copy,
                setup,
                Settings::default(),
            )
            .await
            .unwrap();
            let (stop, stopped) = oneshot::channel();
            tokio::spawn(server.serve(listener, async {
                let _ = stopped.await; // a dropped sender stops it too
            }));
            nodes.push(Node {
                url: urls[number].clone(),
                data,
                _stop: stop,
            });
        }
        let control = nodes.remove(0);
        Self {
            redis,
            secrets,
            clock: Arc::default(),
            control,
            engines: nodes,
        }
    }

    pub(crate) async fn organizer(&self) -> OrganizerServiceClient<Channel> {
        organizer(&self.control.url).await
    }

    pub(crate) fn word(&self) -> &str {
        self.secrets.organizer.reveal()
    }

    pub(crate) async fn open_exam(&self) {
        publish(&self.control.url, self.word(), spec(SystemClock.now().0)).await;
        open(&self.control.url, self.word()).await;
    }

    pub(crate) async fn codes(&self, n_persons: u8) -> Vec<String> {
        codes(&self.control.url, self.word(), n_persons).await
    }

    pub(crate) async fn sit(
        &self,
        engine: usize,
        code: &str,
        person: u8,
    ) -> Result<Sitting, Status> {
        sit(&self.engines[engine].url, code, person).await
    }

    pub(crate) async fn candidate(&self, engine: usize) -> CandidateServiceClient<Channel> {
        CandidateServiceClient::new(channel(&self.engines[engine].url).await)
    }

    pub(crate) async fn close_exam(&self, end_running: bool) {
        close(&self.control.url, self.word(), end_running).await;
    }
}

fn nodes_data(nodes: &[Node]) -> &Path {
    nodes[0].data.path()
}

pub(crate) async fn channel(url: &str) -> Channel {
    let endpoint = Channel::from_shared(url.to_owned()).unwrap();
    endpoint.connect().await.unwrap()
}

pub(crate) async fn organizer(url: &str) -> OrganizerServiceClient<Channel> {
    OrganizerServiceClient::new(channel(url).await).max_decoding_message_size(16 << 20)
}

pub(crate) async fn publish(url: &str, word: &str, spec: ExamSpec) {
    let mut organizer = organizer(url).await;
    organizer
        .create_exam(bearer(CreateExamRequest { spec: Some(spec) }, word))
        .await
        .unwrap();
    let exam_id = EXAM.to_owned();
    organizer
        .publish_exam(bearer(PublishExamRequest { exam_id }, word))
        .await
        .unwrap();
}

pub(crate) async fn open(url: &str, word: &str) {
    let exam_id = EXAM.to_owned();
    organizer(url)
        .await
        .open_exam(bearer(OpenExamRequest { exam_id }, word))
        .await
        .unwrap();
}

pub(crate) async fn close(url: &str, word: &str, end_running: bool) {
    let request = CloseExamRequest {
        exam_id: EXAM.to_owned(),
        end_running,
    };
    organizer(url)
        .await
        .close_exam(bearer(request, word))
        .await
        .unwrap();
}

pub(crate) async fn codes(url: &str, word: &str, n_persons: u8) -> Vec<String> {
    let request = IssueCodesRequest {
        exam_id: EXAM.to_owned(),
        persons: (0..n_persons)
            .map(|person| code_request(person, "01"))
            .collect(),
    };
    let reply = organizer(url)
        .await
        .issue_codes(bearer(request, word))
        .await;
    reply.unwrap().into_inner().codes
}

pub(crate) async fn sit(url: &str, code: &str, person: u8) -> Result<Sitting, Status> {
    let mut client = CandidateServiceClient::new(channel(url).await);
    let access_code = code.to_owned();
    let started = client
        .start_attempt(StartAttemptRequest {
            access_code,
            ..StartAttemptRequest::default()
        })
        .await?
        .into_inner();
    let session = started.session.unwrap();
    let form: [u8; 8] = hex::decode(&session.form_code).unwrap().try_into().unwrap();
    let exam = ExamId::parse(EXAM).unwrap();
    Ok(Sitting {
        client,
        token: started.session_token,
        next_seq: session.next_seq,
        chain: first_chain(&exam, CandidateId([person; 16]), session.attempt, &form),
        session,
        resumed: started.resumed,
    })
}

/// Downloads files of the archive, all if none are named.
pub(crate) async fn export(url: &str, word: &str, files: &[&str]) -> tempfile::TempDir {
    use std::io::Write;
    let request = ExportExamRequest {
        exam_id: EXAM.to_owned(),
        files: files.iter().map(|file| (*file).to_owned()).collect(),
    };
    let mut organizer = organizer(url).await;
    let pieces = organizer.export_exam(bearer(request, word)).await;
    let mut pieces = pieces.unwrap().into_inner();
    let folder = tempfile::tempdir().unwrap();
    while let Some(piece) = pieces.message().await.unwrap() {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.path().join(piece.file))
            .unwrap();
        file.write_all(&piece.data).unwrap();
    }
    folder
}

/// Reads the log to its end: person, attempt and what happened.
pub(crate) async fn read_log(url: &str, service_word: &str) -> Vec<(u8, u32, Kind)> {
    let request = TailLogRequest {
        exam_id: EXAM.to_owned(),
        after: vec![],
        stop_at_end: true,
    };
    let mut client = LogServiceClient::new(channel(url).await).max_decoding_message_size(16 << 20);
    let batches = client.tail_log(bearer(request, service_word)).await;
    let mut batches = batches.unwrap().into_inner();
    let mut log = Vec::new();
    while let Some(batch) = batches.message().await.unwrap() {
        let events = batch.entries.into_iter().filter_map(|entry| entry.event);
        log.extend(events.map(|event| (event.candidate[0], event.attempt, event.kind.unwrap())));
    }
    log
}
