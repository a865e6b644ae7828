//! A server in the test's own process, with a clock that the test moves, over either store.

use std::sync::Arc;

use exam_engine::{
    admission::Gate,
    archive::Policy,
    bank::Bank,
    clock::{Clock, ManualClock, SystemClock},
    id::{CandidateId, ExamId},
    secrets::Secrets,
    server::{Server, Settings, Setup},
    session::{Response, extend_chain, first_chain},
    store::{EmbeddedStore, RedisStore, SessionStore},
};
use proto::{
    bank::v1::{Blueprint, Section, Stratum},
    exam::v1::{
        Answer, AreaCount, CodeRequest, CreateExamRequest, ExamRules, ExamSpec, GetPaperRequest,
        GetPaperResponse, IssueCodesRequest, OpenExamRequest, PublishExamRequest, RankingKey,
        ResultPolicy, Round, SaveAnswersRequest, SaveAnswersResponse, SessionInfo,
        StartAttemptRequest, SubmitAttemptRequest, SubmitAttemptResponse,
        candidate_service_client::CandidateServiceClient,
        organizer_service_client::OrganizerServiceClient, response::Value,
    },
};
use question_bank::{
    import::{Import, ImportedItem},
    item::{Band, Item, ItemOption, ItemType},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{Request, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::redis_server::RedisServer;

pub(crate) const EXAM: &str = "thi-thu";
pub(crate) const DURATION_MS: u64 = 600_000;
pub(crate) const N_ITEMS: u32 = 6;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Embedded,
    Redis,
}

/// Runs a test on both stores: `both!(name, |server| async { ... })`.
macro_rules! both {
    ($name:ident, $body:path) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn embedded() {
                $body($crate::harness::TestServer::start($crate::harness::Backend::Embedded).await)
                    .await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn redis() {
                $body($crate::harness::TestServer::start($crate::harness::Backend::Redis).await)
                    .await;
            }
        }
    };
}
pub(crate) use both;

/// Puts something around the store.
pub(crate) type Wrap = Box<dyn Fn(Arc<dyn SessionStore>) -> Arc<dyn SessionStore> + Send + Sync>;

pub(crate) struct TestServer {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) redis: Option<RedisServer>,
    pub(crate) secrets: Secrets,
    pub(crate) embedded: Option<Arc<EmbeddedStore>>,
    pub(crate) data: tempfile::TempDir,
    pub(crate) url: String,
    pub(crate) settings: Settings,
    pub(crate) wrap: Wrap,
    pub(crate) gate: Option<Arc<Gate>>,
    /// Control candidates sit the exam; without them logs hold what a test put there.
    pub(crate) controls: bool,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl TestServer {
    /// A server with a bank of two topics, ten items each.
    pub(crate) async fn start(backend: Backend) -> Self {
        Self::start_with(backend, Settings::default(), |store| store).await
    }

    /// The same, with another policy of archiving the log.
    pub(crate) async fn start_archiving(backend: Backend, archiving: Policy) -> Self {
        let settings = Settings {
            archiving,
            ..Settings::default()
        };
        Self::start_with(backend, settings, |store| store).await
    }

    pub(crate) async fn start_with(
        backend: Backend,
        settings: Settings,
        wrap: impl Fn(Arc<dyn SessionStore>) -> Arc<dyn SessionStore> + Send + Sync + 'static,
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        Bank::new(data.path()).add(&test_bank()).unwrap();
        Bank::new(data.path()).release().unwrap();
        let redis = (backend == Backend::Redis).then(RedisServer::start);
        let secrets = Secrets::load(&data.path().join("secrets")).unwrap();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let mut server = Self {
            clock,
            redis,
            secrets,
            embedded: None,
            data,
            url: String::new(),
            settings,
            wrap: Box::new(wrap),
            gate: None,
            controls: false,
            running: None,
        };
        server.run().await;
        server
    }

    async fn run(&mut self) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let store: Arc<dyn SessionStore> = match &self.redis {
            Some(redis) => Arc::new(RedisStore::connect(&redis.url(), false).await.unwrap()),
            None => {
                let store = Arc::new(
                    EmbeddedStore::open(&self.data.path().join("live"), clock.clone()).unwrap(),
                );
                self.embedded = Some(Arc::clone(&store));
                store
            }
        };
        let store = (self.wrap)(store);
        let settings = self.settings.clone();
        let data = self.data.path();
        let setup = Setup {
            archive: Some(data.join("archive").display().to_string()),
            controls: self.controls,
            ..Setup::default()
        };
        let parts = Some((store, clock));
        let server = Server::start_roles(data, parts, &self.secrets, setup, settings)
            .await
            .unwrap();
        self.gate = Some(server.gate());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(listener, async {
            let _ = stopped.await; // a dropped sender stops it too
        }));
        self.running = Some((stop, task));
    }

    /// Begins to stop the server; the handle ends when it has stopped.
    pub(crate) fn stop(&mut self) -> JoinHandle<()> {
        let (stop, task) = self.running.take().unwrap();
        let _ = stop.send(()); // it may have stopped
        task
    }

    /// Stops the server in order and starts it again on the same data.
    pub(crate) async fn restart(&mut self) {
        self.stop().await.unwrap();
        self.start_again().await;
    }

    /// Starts a stopped server on the same data.
    pub(crate) async fn start_again(&mut self) {
        if let Some(store) = self.embedded.take() {
            store.close();
        }
        // fjall frees its lock when the last handle is dropped, which background threads may delay for a moment.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        self.run().await;
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    pub(crate) async fn candidate(&self) -> CandidateServiceClient<Channel> {
        CandidateServiceClient::new(self.channel().await)
    }

    pub(crate) async fn organizer(&self) -> OrganizerServiceClient<Channel> {
        OrganizerServiceClient::new(self.channel().await).max_decoding_message_size(16 << 20)
    }

    /// Wraps a message with the organizer's token.
    pub(crate) fn as_organizer<T>(&self, message: T) -> Request<T> {
        bearer(message, self.secrets.organizer.reveal())
    }

    /// The word of the person who approves.
    pub(crate) fn approver(&self) -> String {
        let file = self.data.path().join("secrets/approver.token");
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    pub(crate) fn spec(&self) -> ExamSpec {
        let now = self.clock.now().0;
        spec(now)
    }

    pub(crate) async fn create(&self, spec: ExamSpec) -> Result<(), Status> {
        self.organizer()
            .await
            .create_exam(self.as_organizer(CreateExamRequest { spec: Some(spec) }))
            .await
            .map(|_| ())
    }

    pub(crate) async fn publish(&self) -> Result<(), Status> {
        self.organizer()
            .await
            .publish_exam(self.as_organizer(PublishExamRequest {
                exam_id: EXAM.to_owned(),
            }))
            .await
            .map(|_| ())
    }

    pub(crate) async fn open(&self) -> Result<(), Status> {
        self.organizer()
            .await
            .open_exam(self.as_organizer(OpenExamRequest {
                exam_id: EXAM.to_owned(),
            }))
            .await
            .map(|_| ())
    }

    /// Creates, publishes and opens the test exam.
    pub(crate) async fn open_exam(&self) {
        self.create(self.spec()).await.unwrap();
        self.publish().await.unwrap();
        self.open().await.unwrap();
    }

    pub(crate) async fn code(&self, person: u8) -> String {
        let request = IssueCodesRequest {
            exam_id: EXAM.to_owned(),
            persons: vec![code_request(person, "01")],
        };
        let reply = self
            .organizer()
            .await
            .issue_codes(self.as_organizer(request))
            .await
            .unwrap();
        reply.into_inner().codes.remove(0)
    }

    /// Starts an attempt for a person.
    pub(crate) async fn sit(&self, person: u8) -> Sitting {
        let code = self.code(person).await;
        self.sit_with(&code, person).await.unwrap()
    }

    pub(crate) async fn sit_with(&self, code: &str, person: u8) -> Result<Sitting, Status> {
        let mut client = self.candidate().await;
        let started = client
            .start_attempt(StartAttemptRequest {
                access_code: code.to_owned(),
                slot_token: String::new(),
                device_id: String::new(),
            })
            .await?
            .into_inner();
        let session = started.session.unwrap();
        let form: [u8; 8] = hex::decode(&session.form_code).unwrap().try_into().unwrap();
        let exam = ExamId::parse(EXAM).unwrap();
        let chain = first_chain(&exam, CandidateId([person; 16]), session.attempt, &form);
        Ok(Sitting {
            client,
            token: started.session_token,
            next_seq: session.next_seq,
            chain,
            session,
            resumed: started.resumed,
        })
    }
}

/// One candidate's device, which keeps its own chain.
pub(crate) struct Sitting {
    pub(crate) client: CandidateServiceClient<Channel>,
    pub(crate) token: String,
    pub(crate) session: SessionInfo,
    pub(crate) resumed: bool,
    pub(crate) next_seq: u32,
    pub(crate) chain: [u8; 32],
}

impl Sitting {
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        bearer(message, &self.token)
    }

    pub(crate) async fn paper(&mut self) -> GetPaperResponse {
        let request = self.request(GetPaperRequest {});
        self.client.get_paper(request).await.unwrap().into_inner()
    }

    /// Answers a position with the next number and follows the chain.
    pub(crate) async fn answer(
        &mut self,
        position: u32,
        shown: u32,
    ) -> Result<SaveAnswersResponse, Status> {
        let reply = self
            .send(vec![choice(self.next_seq, position, shown)])
            .await?;
        self.chain = extend_chain(
            &self.chain,
            self.next_seq,
            position,
            &Response::Chosen(1 << shown),
        );
        self.next_seq += 1;
        Ok(reply)
    }

    pub(crate) async fn send(
        &mut self,
        answers: Vec<Answer>,
    ) -> Result<SaveAnswersResponse, Status> {
        let request = self.request(SaveAnswersRequest {
            answers,
            ..SaveAnswersRequest::default()
        });
        Ok(self.client.save_answers(request).await?.into_inner())
    }

    pub(crate) async fn submit(&mut self) -> Result<SubmitAttemptResponse, Status> {
        let request = SubmitAttemptRequest {
            last_seq: self.next_seq - 1,
            chain: self.chain.to_vec().into(),
        };
        let request = self.request(request);
        Ok(self.client.submit_attempt(request).await?.into_inner())
    }
}

pub(crate) fn choice(seq: u32, position: u32, shown: u32) -> Answer {
    Answer {
        seq,
        position,
        response: Some(proto::exam::v1::Response {
            value: Some(Value::Chosen(1 << shown)),
        }),
        ..Answer::default()
    }
}

pub(crate) fn code_request(person: u8, area: &str) -> CodeRequest {
    CodeRequest {
        candidate: vec![person; 16].into(),
        area: area.to_owned(),
        ..CodeRequest::default()
    }
}

pub(crate) fn bearer<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// Returns the code's name and one fact of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    status
        .get_details_error_info()
        .map_or_else(|| format!("{:?}", status.code()), |info| info.reason)
}

pub(crate) fn fact(status: &Status, name: &str) -> Option<String> {
    status.get_details_error_info()?.metadata.get(name).cloned()
}

/// Twenty items; the right option of item n is n mod 4, and says so.
pub(crate) fn test_bank() -> Import {
    let items = (1u8..=20).map(|number| ImportedItem {
        number: u32::from(number),
        line: usize::from(number),
        item: Item {
            item_type: ItemType::SingleChoice,
            text: format!("Câu hỏi số {number}"),
            options: (0u8..4)
                .map(|index| ItemOption {
                    text: format!(
                        "{}{index}",
                        if index == number % 4 {
                            "đúng "
                        } else {
                            "sai "
                        }
                    ),
                    pinned: false,
                })
                .collect(),
            key: vec![number % 4],
            topic: if number % 2 == 0 { "địa" } else { "sử" }.to_owned(),
            band: Band::Recognition,
            explanation: String::new(),
            exclusion_sets: vec![],
        },
        problems: vec![],
    });
    Import {
        items: items.collect(),
        problems: vec![],
    }
}

pub(crate) fn spec(now_ms: u64) -> ExamSpec {
    let stratum = |topic: &str| Stratum {
        topic: topic.to_owned(),
        any_band: true,
        quota: N_ITEMS / 2,
        band: 0,
    };
    let section = Section {
        strata: vec![stratum("địa"), stratum("sử")],
        mark: "0.5".to_owned(),
        shuffle_items: true,
        shuffle_options: true,
        ..Section::default()
    };
    let rules = ExamRules {
        duration_ms: DURATION_MS,
        grace_ms: 1_000,
        rounds: vec![Round {
            round: 1,
            opens_at_ms: now_ms - 1_000,
            closes_at_ms: now_ms + 3_600_000,
        }],
        attempts_in_all: 2,
        ranking: [
            RankingKey::Score,
            RankingKey::NetTime,
            RankingKey::SubmittedAt,
        ]
        .map(i32::from)
        .to_vec(),
        score_decimals: 2,
        result_policy: ResultPolicy::AtEnd.into(),
        map_edition: "vn-63".to_owned(),
        registered: vec![AreaCount {
            area: "01".to_owned(),
            registered: 3,
        }],
        ..ExamRules::default()
    };
    ExamSpec {
        exam_id: EXAM.to_owned(),
        title: "Thi thử".to_owned(),
        blueprint: Some(Blueprint {
            sections: vec![section],
            ..Blueprint::default()
        }),
        rules: Some(rules),
        n_partitions: 4,
        ..ExamSpec::default()
    }
}
