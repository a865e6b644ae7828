//! What the product does, one operation a file: order the steps, let the rules decide, commit, answer.
//!
//! Live sessions are cached, one cell a candidate. A cell is locked while its commit is on the way, so this engine
//! never races with itself; against other engines the store's version check decides, and the loser loads again.
//! Invariant: memory changes only after the store has accepted; after any doubt the cell is emptied and loaded anew.

mod act_on_attempts;
mod archive_log;
mod check_in;
mod close_exam;
mod compensate_outage;
mod controls;
mod create_exam;
mod enter_section;
mod expire;
mod export_exam;
mod get_paper;
mod get_result;
mod get_session;
mod grader_channel;
mod live_exam;
mod publish_exam;
mod registry;
mod rulings;
mod save_answers;
mod start_attempt;
mod submit_attempt;
mod tail_log;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use act_on_attempts::{Acted, Scope};
pub use check_in::{CheckedIn, Wait, slot};
pub use close_exam::MAX_CODES;
pub use compensate_outage::Compensated;
pub use export_exam::ArchivePiece;
pub use get_paper::{PaperView, SectionView};
pub use get_session::SessionState;
pub use grader_channel::GraderChannel;
pub use live_exam::LiveExam;
use proto::{exam::v1 as wire, grader::v1::grader_service_client::GraderServiceClient};
pub use registry::FORMAT;
pub(crate) use registry::Package;
use registry::Registry;
pub use rulings::{Proposed, verdict_message};
pub use save_answers::{MAX_ANSWERS, Receipt};
pub use start_attempt::{Origin, StartedAttempt};
pub use tail_log::{MAX_ENTRIES, TailBatch};

use crate::{
    admission::Lobby,
    archive::{self, Archive},
    bank::Bank,
    clock::Clock,
    id::{CandidateId, ExamId, SessionKey},
    secrets::Secrets,
    session::{self, Change, Session},
    store::{self, SessionStore, decode_session, encode_change},
    token::{CodeError, SessionRef, Signer},
};

/// Times an operation is tried when other writers come in between. One candidate has one device that writes, so more
/// than a second try is rare; five tell a loop from bad luck.
const MAX_TRIES: u32 = 5;
/// Longest wait for one operation, those before it on the same session included: behind it the client is told to send
/// again, which it does sooner than its own limit of some ten seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why an operation was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rules of the sitting.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The archive of the log.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// Bank, blueprint or draw.
    #[error(transparent)]
    Bank(#[from] question_bank::Error),
    /// There is no such exam.
    #[error("no such exam")]
    ExamNotFound,
    /// The name is taken by an exam that cannot be replaced.
    #[error("the exam exists and is no draft")]
    ExamExists,
    /// The exam's state does not allow it.
    #[error("the exam is {state:?}")]
    ExamState {
        /// Where it stands.
        state: wire::ExamState,
    },
    /// The access code.
    #[error("the access code is refused: {0:?}")]
    AccessCode(CodeError),
    /// The session token.
    #[error("the token is refused")]
    Token,
    /// The caller's role.
    #[error("the role may not do this")]
    PermissionDenied,
    /// A field is missing or out of range.
    #[error("{field}: {what}")]
    Invalid {
        /// Name of the field.
        field: &'static str,
        /// What is wanted, Vietnamese / English.
        what: String,
    },
    /// The area is not in the map edition.
    #[error("area {area:?} is unknown")]
    AreaUnknown {
        /// As sent.
        area: String,
    },
    /// More answers than a message takes.
    #[error("too many answers")]
    TooManyAnswers,
    /// A reader names a position that is not there.
    #[error("position {position} of partition {partition} is not there")]
    PositionUnknown {
        /// Partition.
        partition: u32,
        /// Position.
        position: u64,
    },
    /// There is nothing to publish.
    #[error("no such release")]
    ReleaseNotFound,
    /// The grader could not score or rank such an exam.
    #[error("cannot be graded: {0}")]
    Ungradable(#[from] grader::Error),
    /// There is no such open proposal.
    #[error("no such proposal")]
    ProposalNotFound,
    /// Another decision came in between.
    #[error("another decision came into force since it was proposed")]
    ProposalOutdated,
    /// The result is final: attempts stay as they are.
    #[error("the result is final")]
    ResultFinal,
    /// One person may not decide alone.
    #[error("who approves must be another person")]
    TwoPersonsNeeded,
    /// No verdict of the auditor on this result.
    #[error("the verdict is not the auditor's on this result")]
    VerdictInvalid,
    /// Not yet graded, or policy says later.
    #[error("the result is not there yet")]
    ResultNotReady,
    /// Not yet this candidate's turn to start.
    #[error("not yet this candidate's turn")]
    NotYet(Box<Wait>),
    /// So many wait that no place can be given.
    #[error("the lobby is full")]
    LobbyFull {
        /// Come again after this.
        retry_after_ms: u64,
    },
    /// The grader refused or does not answer.
    #[error("grader: {0}")]
    Grader(Box<tonic::Status>),
    /// Other secrets than those of the processes that share the store.
    #[error("{0}")]
    OtherSecrets(&'static str),
    /// A file of the data folder.
    #[error("data folder: {0}")]
    File(#[from] std::io::Error),
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Grader(Box::new(status))
    }
}

/// Result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Whether an operation may begin with the session as memory has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Yes: the store refuses what is decided on an old state.
    Memory,
    /// No: somebody else may have gone on with it, and the caller is to see it as it stands.
    Store,
}

/// All operations, over one store and one data folder.
pub struct Engine {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    signer: Signer,
    data: PathBuf,
    exams: Registry,
    grader: GraderChannel,
    grader_token: tonic::metadata::MetadataValue<tonic::metadata::Ascii>,
    store_was_up: AtomicBool,
    lobby: Lobby,
    archive: Option<Archive>,
    /// Public half of the key that auditors sign with.
    verdict_key: [u8; 32],
}

impl Engine {
    /// Puts an engine together and loads the exams of the data folder.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Bank`] if an exam's files cannot be read.
    pub fn new(
        data: &Path,
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        secrets: &Secrets,
        grader: GraderChannel,
    ) -> Result<Self> {
        let token = format!("Bearer {}", secrets.service.reveal());
        Ok(Self {
            clock,
            signer: Signer::new(
                &secrets.access_code,
                &secrets.session_token,
                &secrets.receipt,
                &secrets.slip,
            ),
            exams: Registry::open(data, Arc::clone(&store), secrets)?,
            data: data.to_owned(),
            store,
            grader,
            grader_token: token.parse().expect("hexadecimal digits are ASCII"),
            store_was_up: AtomicBool::new(true),
            lobby: Lobby::new(crate::server::Settings::default().starts),
            archive: None,
            verdict_key: secrets.verdict,
        })
    }

    /// Sets how many attempts may start a second.
    #[must_use]
    pub fn with_lobby(mut self, lobby: Lobby) -> Self {
        self.lobby = lobby;
        self
    }

    /// Gives the log an archive: entries are kept there, and forgotten by the store.
    #[must_use]
    pub fn with_archive(mut self, archive: Archive) -> Self {
        self.archive = Some(archive);
        self
    }

    /// Returns the clock's instant.
    #[must_use]
    pub fn now(&self) -> crate::clock::Timestamp {
        self.clock.now()
    }

    /// Reads a session token.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub fn check_token(&self, token: &str) -> Result<SessionRef> {
        self.signer.check_token(token).ok_or(Error::Token)
    }

    /// Returns all exams as stored, by name.
    #[must_use]
    pub fn list_exams(&self) -> Vec<wire::Exam> {
        self.exams.list()
    }

    /// Returns one exam as stored.
    ///
    /// # Errors
    /// [`Error::ExamNotFound`].
    pub fn get_exam(&self, exam_id: &str) -> Result<wire::Exam> {
        self.exams.get(exam_id).ok_or(Error::ExamNotFound)
    }

    /// Returns a published exam.
    ///
    /// # Errors
    /// [`Error::ExamNotFound`], [`Error::ExamState`] for a draft.
    pub fn published(&self, exam_id: &str) -> Result<Arc<LiveExam>> {
        self.exams
            .live(exam_id)
            .ok_or_else(|| match self.exams.get(exam_id) {
                Some(exam) => Error::ExamState {
                    state: exam.state(),
                },
                None => Error::ExamNotFound,
            })
    }

    /// Returns all published exams, and tells of changes to the list.
    #[must_use]
    pub fn watch_exams(&self) -> tokio::sync::watch::Receiver<Vec<Arc<LiveExam>>> {
        self.exams.watch()
    }

    /// Takes part in what processes share in the store: checks that the secrets are theirs, and reads the list of exams.
    ///
    /// # Errors
    /// [`Error::File`] with other secrets, unless they are to replace the others'; the store.
    pub async fn join(&self, secrets: &Secrets, replace_secrets: bool) -> Result<()> {
        self.exams.claim_secrets(secrets, replace_secrets).await?;
        self.exams.refresh().await
    }

    /// Brings exams that stand in the data folder only into the list that processes share.
    ///
    /// # Errors
    /// The store.
    pub async fn import_exams(&self) -> Result<()> {
        self.exams.import_files().await
    }

    /// Learns of the changes that other processes make, until the process ends.
    pub async fn follow_exams(self: Arc<Self>) {
        if self.exams.is_shared() {
            self.exams.follow().await;
        }
    }

    /// Reads the paper half and the secret of a published exam.
    pub(crate) async fn package(&self, exam_id: &str) -> Result<Package> {
        self.exams.package(exam_id).await
    }

    /// Reads all key halves of an exam, the one in force last, on behalf of graders only.
    pub(crate) fn key_halves(&self, exam: &wire::Exam) -> Result<Vec<Vec<u8>>> {
        key_halves(&self.data, exam)
    }

    /// Returns a client of the grader.
    #[must_use]
    pub fn grader(&self) -> GraderServiceClient<GraderChannel> {
        GraderServiceClient::new(self.grader.clone())
    }

    /// Returns the way to the grader and the word that opens it.
    #[must_use]
    pub fn grader_channel(&self) -> (GraderChannel, http::HeaderValue) {
        let token = http::HeaderValue::from_bytes(self.grader_token.as_encoded_bytes());
        let token = token.expect("hexadecimal digits are ASCII");
        (self.grader.clone(), token)
    }

    /// Wraps a message to the grader with the service token.
    #[must_use]
    pub fn to_grader<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", self.grader_token.clone());
        request
    }

    pub(crate) fn bank(&self) -> Bank {
        Bank::new(&self.data)
    }

    fn exam_of(&self, session: &SessionRef) -> Result<Arc<LiveExam>> {
        self.exams.by_tag(session.exam_tag)?.ok_or(Error::Token)
    }

    async fn load(&self, exam: &LiveExam, key: &SessionKey) -> Result<Option<Session>> {
        let Some(record) = self.store.load(key).await? else {
            return Ok(None);
        };
        let draw = |attempt| {
            exam.draw(key.candidate, attempt)
                .map_err(|error| error.to_string())
        };
        let session = decode_session(key.candidate, record, draw);
        session
            .map(Some)
            .map_err(|corrupt| store::Error::Corrupt(corrupt.0).into())
    }

    /// Lets `decide` look at the session and commits what it wants; then `then` makes the answer.
    ///
    /// `decide` may run again after a conflict, on the session as loaded anew.
    async fn transact<T>(
        &self,
        exam: &LiveExam,
        candidate: CandidateId,
        trust: Trust,
        decide: impl Fn(&Session) -> Result<Option<Change>> + Send + Sync,
        then: impl FnOnce(&Session) -> T + Send,
    ) -> Result<T> {
        let outcome = tokio::time::timeout(
            PATIENCE,
            self.transact_patiently(exam, candidate, trust, decide, then),
        );
        outcome.await.unwrap_or_else(|_| {
            let waited = store::Error::Unavailable(format!("no answer within {PATIENCE:?}"));
            Err(waited.into())
        })
    }

    /// The session is taken out of its cell while anything is in doubt: if this future is dropped in the midst of a commit,
    /// the cell is empty, and the next one loads.
    async fn transact_patiently<T>(
        &self,
        exam: &LiveExam,
        candidate: CandidateId,
        trust: Trust,
        decide: impl Fn(&Session) -> Result<Option<Change>> + Send + Sync,
        then: impl FnOnce(&Session) -> T + Send,
    ) -> Result<T> {
        let key = exam.key(candidate);
        for _ in 0..MAX_TRIES {
            let mut slot = exam.lock(candidate).await;
            let known = slot.take().filter(|_| trust == Trust::Memory);
            let is_from_memory = known.is_some();
            let mut session = match known {
                Some(session) => session,
                None => match self.load(exam, &key).await? {
                    Some(session) => session,
                    None => {
                        exam.forget(candidate);
                        return Err(Error::Token);
                    }
                },
            };
            let decision = decide(&session);
            // A commit proves that memory is the newest state; a refusal or an answer from memory has to ask.
            let is_proven = !is_from_memory || matches!(decision, Ok(Some(_)));
            if !is_proven && self.store.has_moved_on(&key, session.version).await? {
                continue;
            }
            let outcome = match decision {
                Ok(Some(change)) => {
                    let commit = encode_change(&session, &change);
                    match self.store.commit(&key, commit).await {
                        Ok(version) => session.apply(change, version),
                        Err(store::Error::Conflict) => continue,
                        Err(error) => return Err(error.into()),
                    }
                    Ok(then(&session))
                }
                Ok(None) => Ok(then(&session)),
                Err(error) => Err(error),
            };
            if session.running() {
                *slot = Some(session);
            } else {
                exam.forget(candidate);
            }
            return outcome;
        }
        Err(store::Error::Conflict.into())
    }

    /// Sends the whole live store as it stands at one moment, for a backup.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn dump_store(
        &self,
        pieces: tokio::sync::mpsc::Sender<store::Result<bytes::Bytes>>,
    ) -> Result<()> {
        Ok(self.store.dump(pieces).await?)
    }

    /// Reports whether the store takes commits; tells the log when that changes.
    pub async fn store_is_up(&self) -> bool {
        let outcome = self.store.check().await;
        let is_up = outcome.is_ok();
        if is_up != self.store_was_up.swap(is_up, Ordering::Relaxed) {
            match outcome {
                Ok(()) => tracing::warn!("the store takes commits again"),
                Err(error) => tracing::error!(error = %error, "the store takes no commits"),
            }
        }
        is_up
    }
}

/// Where a data folder holds the key half of an exam: named by its hash, so that of two publications, of which the first
/// was thought to have failed, each finds its own.
pub(crate) fn key_file(data: &Path, exam: &wire::Exam, key_hash: &[u8]) -> PathBuf {
    let hash = hex::encode(key_hash.get(..8).unwrap_or_default());
    data.join("keys")
        .join(format!("{}.{hash}.bin", name_of(exam))) // names of exams have no dot
}

pub(crate) fn name_of(exam: &wire::Exam) -> &str {
    exam.spec.as_ref().map_or("", |spec| &spec.exam_id)
}

/// Reads the key halves of an exam, of all versions so far, the one in force last: whoever loads them compares the hashes.
pub(crate) fn key_halves(data: &Path, exam: &wire::Exam) -> Result<Vec<Vec<u8>>> {
    let rulings = grader::Rulings::read(exam)?;
    let read = |hash: &bytes::Bytes| {
        let file = key_file(data, exam, hash);
        // the name that the first versions of this software gave it
        let earlier = data.join("keys").join(format!("{}.bin", name_of(exam)));
        crate::files::read(if file.exists() || !earlier.exists() {
            &file
        } else {
            &earlier
        })
    };
    let halves: std::io::Result<Vec<Vec<u8>>> = rulings.key_hashes.iter().map(read).collect();
    Ok(halves?)
}

/// Checks an exam's name.
pub(crate) fn exam_id(name: &str) -> Result<ExamId> {
    ExamId::parse(name).ok_or_else(|| Error::Invalid {
        field: "exam_id",
        what: "chữ thường, chữ số và gạch nối, 1 đến 40 ký tự / lower-case letters, digits and hyphens, 1 to 40 characters".to_owned(),
    })
}
