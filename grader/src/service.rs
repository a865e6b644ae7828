//! The grader's only door: reads logs by gRPC, answers for scores, ranks, counts and results.
//!
//! Each exam has one task that follows its log and one lock around its fold: held for writing a batch at a time, for
//! reading a page at a time. Authentication is the caller's layer.
//! Invariant: a result is given out only when exactly the positions asked for are folded, nothing is running and
//! nothing is quarantined. Start at [`Graders::add_exam`].

mod follow;
mod log_source;
mod reply;
mod snapshot_file;
mod standings;
mod statistics_reply;

use std::{
    collections::HashMap,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use proto::{
    exam::v1::{ErrorCode, ExamState, LogPosition, WatchExamResponse},
    grader::v1::{
        DryRunRequest, ExportResultRequest, ExportResultResponse, GetCountsRequest,
        GetCountsResponse, GetGraderStateRequest, GetGraderStateResponse, GetReportResponse,
        GetStandingRequest, GetStandingResponse, GetStandingsRequest, GetStandingsResponse,
        GetStatisticsRequest, GetStatisticsResponse, GetUnitStandingsRequest,
        GetUnitStandingsResponse, GetWinnersRequest, GetWinnersResponse, Impact, RankScoreRequest,
        RankScoreResponse, WatchExamRequest, grader_service_server::GraderService,
    },
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub use self::log_source::{LogSource, LogStream};
use self::snapshot_file::SnapshotFile;
use crate::{error::Result, fold::Fold, package::Package, result::result_file};

/// Most bytes of a piece of a file, far below the 4 MiB that gRPC readers take.
const PIECE_BYTES: usize = 256 * 1024;
/// Watchers hear of changes at most this often.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

type BoxStream<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;
type Answer<T> = std::result::Result<Response<T>, Status>;

/// All exams this grader follows; clones share them.
#[derive(Clone)]
pub struct Graders {
    inner: Arc<Inner>,
}

struct Inner {
    snapshots: PathBuf,
    exams: Mutex<HashMap<String, Followed>>,
}

struct Followed {
    live: Arc<Live>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// One exam while its log is followed.
struct Live {
    state: RwLock<LiveState>,
    /// Number of the exam's state.
    exam_state: AtomicI32,
    /// Held by whoever folds, and by long readers: so the fold task waits for them here, where waiting blocks no
    /// thread, and short readers never queue behind it.
    folding: Arc<tokio::sync::Mutex<()>>,
    /// Sends a new number after each batch.
    changed: watch::Sender<u64>,
}

struct LiveState {
    fold: Fold,
    /// Packages of all versions of the key, the one in force last.
    versions: Vec<Arc<Package>>,
    /// Last positions stored, as the newest batch told them.
    ends: Vec<u64>,
}

impl Graders {
    /// Starts with no exam; snapshots live in this folder, which exists.
    #[must_use]
    pub fn new(snapshots: PathBuf) -> Self {
        Self {
            inner: Arc::new(Inner {
                snapshots,
                exams: Mutex::default(),
            }),
        }
    }

    /// Follows an exam's log from its snapshot on, or from its start; an exam that is followed already is graded anew
    /// if other decisions are in force now. `versions` are the packages of all versions of the key, the one in force last.
    ///
    /// A snapshot that cannot be used is left aside with a warning: the log holds everything.
    ///
    /// # Panics
    /// Without a version.
    pub async fn add_exam(
        &self,
        state: ExamState,
        versions: Vec<Arc<Package>>,
        source: Arc<dyn LogSource>,
    ) {
        let package = versions.last().expect("an exam has a key");
        let exam_id = package.exam_id().to_owned();
        if self.set_exam_state(&exam_id, state) {
            if let Ok(live) = self.live(&exam_id) {
                live.regrade(versions).await;
            }
            return;
        }
        let file = SnapshotFile::new(&self.inner.snapshots, &exam_id);
        let fold = file.load(Arc::clone(package)).await;
        let live = Arc::new(Live::new(fold, versions, state));
        let mut exams = self.exams();
        exams.entry(exam_id).or_insert_with(|| {
            let (stop, stopped) = watch::channel(false);
            let task = follow::follow(Arc::clone(&live), source, file, stopped);
            Followed {
                live,
                stop,
                task: tokio::spawn(task),
            }
        });
    }

    /// Reports whether an exam is followed under the decision with this hash as its last one.
    #[must_use]
    pub fn follows(&self, exam_id: &str, last_ruling: Option<[u8; 32]>) -> bool {
        let live = self.exams().get(exam_id).map(|exam| Arc::clone(&exam.live));
        live.is_some_and(|live| live.read().fold.package().rulings().last == last_ruling)
    }

    /// Tells watchers where an exam stands now; false if it is not followed.
    #[must_use]
    pub fn set_exam_state(&self, exam_id: &str, state: ExamState) -> bool {
        let live = self.exams().get(exam_id).map(|exam| Arc::clone(&exam.live));
        live.is_some_and(|live| {
            live.exam_state.store(state.into(), Ordering::Relaxed);
            live.announce();
            true
        })
    }

    /// Stops following an exam, after a last snapshot; false if it was not followed.
    pub async fn remove(&self, exam_id: &str) -> bool {
        let exam = self.exams().remove(exam_id);
        match exam {
            Some(exam) => {
                exam.stop().await;
                true
            }
            None => false,
        }
    }

    /// Stops following all exams, after a last snapshot of each.
    pub async fn shutdown(&self) {
        let exams: Vec<Followed> = self.exams().drain().map(|(_, exam)| exam).collect();
        for exam in &exams {
            exam.stop.send_replace(true);
        }
        for exam in exams {
            exam.stop().await;
        }
    }

    /// Reads an exam's fold, under its lock: nothing is folded meanwhile.
    pub fn read<T>(&self, exam_id: &str, read: impl FnOnce(&Fold) -> T) -> Option<T> {
        let live = self
            .exams()
            .get(exam_id)
            .map(|exam| Arc::clone(&exam.live))?;
        let state = live.read();
        Some(read(&state.fold))
    }

    fn exams(&self) -> MutexGuard<'_, HashMap<String, Followed>> {
        // each critical section is one call on the map: it is whole whatever panicked
        self.inner
            .exams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, exam_id: &str) -> std::result::Result<Arc<Live>, Status> {
        let live = self.exams().get(exam_id).map(|exam| Arc::clone(&exam.live));
        live.ok_or_else(|| {
            refusal(
                Code::NotFound,
                ErrorCode::ExamNotFound,
                "Không có kỳ thi này / There is no such exam",
                &[],
            )
        })
    }
}

impl Followed {
    async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task of an exam has died");
        }
    }
}

impl Live {
    fn new(fold: Fold, versions: Vec<Arc<Package>>, exam_state: ExamState) -> Self {
        Self {
            state: RwLock::new(LiveState {
                ends: fold.positions().to_vec(),
                fold,
                versions,
            }),
            exam_state: AtomicI32::new(exam_state.into()),
            folding: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, LiveState> {
        self.state
            .read()
            .expect("no log entry makes the fold panic")
    }

    fn write(&self) -> RwLockWriteGuard<'_, LiveState> {
        self.state
            .write()
            .expect("no log entry makes the fold panic")
    }

    /// Puts other decisions into force: what is folded so far is graded anew beside the old state, then takes its place
    /// at once. Nothing is folded meanwhile; readers see the old state until the last moment.
    async fn regrade(self: &Arc<Self>, versions: Vec<Arc<Package>>) {
        let package = Arc::clone(versions.last().expect("an exam has a key"));
        let is_known = |live: &Self| {
            let state = live.read();
            let known = state.fold.package();
            (known.rulings().last, known.key_hash()) == (package.rulings().last, package.key_hash())
        };
        let turn = Arc::clone(&self.folding).lock_owned().await;
        if is_known(self) {
            return;
        }
        let live = Arc::clone(self);
        let graded = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // it takes a while to free a large old state: that is done when the lock is given back
            let shown = live.read().fold.shown_by(&package);
            if let Some(shown) = shown {
                let _old = live.put(versions, |fold| fold.show(shown));
            } else {
                let graded = live.read().fold.graded_by(&package)?;
                let _old = live.put(versions, |fold| std::mem::replace(fold, graded));
            }
            Result::Ok(())
        });
        match graded.await {
            Ok(Ok(())) => self.announce(),
            Ok(Err(error)) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the log cannot be graded by the new key"
            ),
            Err(error) => tracing::error!(%error, "grading anew broke"),
        }
    }

    fn put<T>(&self, versions: Vec<Arc<Package>>, put: impl FnOnce(&mut Fold) -> T) -> T {
        let mut state = self.write();
        state.versions = versions;
        put(&mut state.fold)
    }

    /// Runs a long reader: nothing is folded meanwhile, and no thread of the runtime is blocked.
    async fn read_long<T: Send + 'static>(
        self: Arc<Self>,
        read: impl FnOnce(&LiveState) -> std::result::Result<T, Status> + Send + 'static,
    ) -> std::result::Result<T, Status> {
        let turn = Arc::clone(&self.folding).lock_owned().await;
        let outcome = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read(&self.read())
        });
        outcome.await.map_err(|_| broken())?
    }

    fn announce(&self) {
        self.changed.send_modify(|number| *number += 1);
    }

    fn counts(&self) -> WatchExamResponse {
        let state = self.read();
        let (total, areas) = state.fold.progress();
        WatchExamResponse {
            state: self.exam_state.load(Ordering::Relaxed),
            total: Some(total),
            areas,
            n_answers: state.fold.n_answers(),
            lag: state.lag(),
            n_quarantined: state.fold.n_quarantined(),
        }
    }

    fn after(&self) -> Vec<LogPosition> {
        let positions = self.read().fold.positions().to_vec();
        (0..)
            .zip(positions)
            .map(|(partition, position)| LogPosition {
                partition,
                position,
            })
            .collect()
    }
}

impl LiveState {
    fn lag(&self) -> u64 {
        let pairs = self.ends.iter().zip(self.fold.positions());
        pairs.map(|(end, at)| end.saturating_sub(*at)).sum()
    }

    /// Says what still keeps the result back.
    fn not_ready(&self, request: &ExportResultRequest) -> Option<&'static str> {
        if self.fold.package().rulings().n_all != request.n_rulings {
            Some(
                "Quyết định mới nhất chưa được áp dụng / The newest decision is not in force here yet",
            )
        } else if self.fold.positions() != request.ends {
            Some(
                "Nhật ký chưa chấm đến đúng các vị trí này / The log is not folded to exactly these positions",
            )
        } else if self.fold.n_working() > 0 {
            Some("Còn lượt đang làm bài / Attempts are running")
        } else if self.fold.n_quarantined() > 0 {
            Some("Có mục nhật ký bị cách ly / Entries are quarantined")
        } else {
            None
        }
    }
}

#[tonic::async_trait]
impl GraderService for Graders {
    async fn get_standings(
        &self,
        request: Request<GetStandingsRequest>,
    ) -> Answer<GetStandingsResponse> {
        let live = self.live(&request.get_ref().exam_id)?;
        let standings = live.read().standings(request.get_ref())?;
        Ok(Response::new(standings))
    }

    async fn get_standing(
        &self,
        request: Request<GetStandingRequest>,
    ) -> Answer<GetStandingResponse> {
        let live = self.live(&request.get_ref().exam_id)?;
        let standing = live.read().standing(request.get_ref())?;
        Ok(Response::new(standing))
    }

    type WatchStandingsStream = BoxStream<GetStandingsResponse>;

    async fn watch_standings(
        &self,
        request: Request<GetStandingsRequest>,
    ) -> Answer<BoxStream<GetStandingsResponse>> {
        let request = request.into_inner();
        let live = self.live(&request.exam_id)?;
        live.read().standings(&request)?; // what is wrong with it is said at once
        let pages = Watch::new(&live, move |live: &Live| {
            live.read().standings(&request).ok()
        });
        Ok(Response::new(pages.stream()))
    }

    async fn rank_score(&self, request: Request<RankScoreRequest>) -> Answer<RankScoreResponse> {
        let live = self.live(&request.get_ref().exam_id)?;
        let rank = live.read().rank_score(request.get_ref())?;
        Ok(Response::new(rank))
    }

    async fn get_unit_standings(
        &self,
        request: Request<GetUnitStandingsRequest>,
    ) -> Answer<GetUnitStandingsResponse> {
        let live = self.live(&request.get_ref().exam_id)?;
        let units = live.read().unit_standings(request.get_ref())?;
        Ok(Response::new(units))
    }

    async fn get_winners(&self, request: Request<GetWinnersRequest>) -> Answer<GetWinnersResponse> {
        let live = self.live(&request.get_ref().exam_id)?;
        let winners = live.read_long(|state| Ok(state.winners())).await?;
        Ok(Response::new(winners))
    }

    async fn get_statistics(
        &self,
        request: Request<GetStatisticsRequest>,
    ) -> Answer<GetStatisticsResponse> {
        let live = self.live(&request.get_ref().exam_id)?;
        let exam = live
            .read_long(|state| Ok(state.fold.exam_statistics()))
            .await?;
        // the log goes on while the reports are made
        let reply = tokio::task::spawn_blocking(move || statistics_reply::reply(&exam));
        reply.await.map(Response::new).map_err(|_| broken())
    }

    async fn get_report(
        &self,
        request: Request<GetStatisticsRequest>,
    ) -> Answer<GetReportResponse> {
        let live = self.live(&request.get_ref().exam_id)?;
        let exam = live
            .read_long(|state| Ok(state.fold.exam_statistics()))
            .await?;
        let page = tokio::task::spawn_blocking(move || exam.to_html());
        let html = page.await.map_err(|_| broken())?;
        Ok(Response::new(GetReportResponse { html }))
    }

    async fn dry_run(&self, request: Request<DryRunRequest>) -> Answer<Impact> {
        let request = request.into_inner();
        let exam = request.exam.ok_or_else(|| invalid("exam"))?;
        let exam_id = exam.spec.as_ref().map(|spec| spec.exam_id.as_str());
        let live = self.live(exam_id.unwrap_or_default())?;
        let impact = live
            .read_long(move |state| reply::dry_run(&state.fold, &exam, &request.key))
            .await?;
        Ok(Response::new(impact))
    }

    async fn get_grader_state(
        &self,
        request: Request<GetGraderStateRequest>,
    ) -> Answer<GetGraderStateResponse> {
        let live = self.live(&request.get_ref().exam_id)?;
        let state = live
            .read_long(|state| Ok(reply::grader_state(&state.fold, state.lag())))
            .await?;
        Ok(Response::new(state))
    }

    async fn get_counts(&self, request: Request<GetCountsRequest>) -> Answer<GetCountsResponse> {
        let live = self.live(&request.get_ref().exam_id)?;
        let mut counts = live.counts();
        counts.state = ExamState::Unspecified.into();
        let positions = live.read().fold.positions().to_vec();
        Ok(Response::new(GetCountsResponse {
            counts: Some(counts),
            positions,
        }))
    }

    type WatchExamStream = BoxStream<WatchExamResponse>;

    async fn watch_exam(
        &self,
        request: Request<WatchExamRequest>,
    ) -> Answer<BoxStream<WatchExamResponse>> {
        let live = self.live(&request.get_ref().exam_id)?;
        Ok(Response::new(
            Watch::new(&live, |live: &Live| Some(live.counts())).stream(),
        ))
    }

    type ExportResultStream = BoxStream<ExportResultResponse>;

    async fn export_result(
        &self,
        request: Request<ExportResultRequest>,
    ) -> Answer<BoxStream<ExportResultResponse>> {
        let request = request.into_inner();
        let live = self.live(&request.exam_id)?;
        let files = live
            .read_long(move |state| result_and_keys(state, &request))
            .await?;
        let pieces = files
            .into_iter()
            .flat_map(|(file, bytes)| pieces(file, bytes));
        Ok(Response::new(stream::iter(pieces.map(Ok)).boxed()))
    }
}

/// A watcher of one exam: sends the first state at once, then changed ones.
struct Watch<T, F> {
    live: Weak<Live>,
    changed: watch::Receiver<u64>,
    sent: Option<(Instant, T)>,
    read: F,
}

impl<T, F> Watch<T, F>
where
    T: Clone + PartialEq + Send + 'static,
    F: Fn(&Live) -> Option<T> + Send + 'static,
{
    fn new(live: &Arc<Live>, read: F) -> Self {
        Self {
            live: Arc::downgrade(live),
            changed: live.changed.subscribe(),
            sent: None,
            read,
        }
    }

    fn stream(self) -> BoxStream<T> {
        let states = stream::unfold(self, |mut watch| async {
            let state = watch.next().await?;
            Some((Ok(state), watch))
        });
        states.boxed()
    }

    /// Returns the next state; none once the exam is followed no more.
    async fn next(&mut self) -> Option<T> {
        loop {
            if let Some((at, _)) = &self.sent {
                self.changed.changed().await.ok()?;
                tokio::time::sleep_until(*at + WATCH_PERIOD).await;
            }
            self.changed.mark_unchanged();
            let state = (self.read)(&*self.live.upgrade()?)?;
            if self.sent.as_ref().is_none_or(|sent| sent.1 != state) {
                self.sent = Some((Instant::now(), state.clone()));
                return Some(state);
            }
        }
    }
}

fn result_and_keys(
    state: &LiveState,
    request: &ExportResultRequest,
) -> std::result::Result<Vec<(String, Bytes)>, Status> {
    if let Some(why) = state.not_ready(request) {
        return Err(not_ready(why));
    }
    let result = result_file(&state.fold).bytes.into();
    let mut files = vec![("result.tsv".to_owned(), result)];
    files.extend(state.versions.iter().map(|package| {
        let name = match package.key_version() {
            1 => "key.bin".to_owned(),
            version => format!("key-{version}.bin"),
        };
        (name, package.key_bytes().clone())
    }));
    Ok(files)
}

fn pieces(file: String, mut bytes: Bytes) -> impl Iterator<Item = ExportResultResponse> {
    std::iter::from_fn(move || {
        (!bytes.is_empty()).then(|| ExportResultResponse {
            file: file.clone(),
            data: bytes.split_to(bytes.len().min(PIECE_BYTES)),
        })
    })
}

fn invalid(field: &str) -> Status {
    refusal(
        Code::InvalidArgument,
        ErrorCode::InvalidArgument,
        "Có trường thiếu hoặc sai / A field is missing or out of its range",
        &[("field", field)],
    )
}

fn not_ready(why: &str) -> Status {
    refusal(
        Code::FailedPrecondition,
        ErrorCode::ResultNotReady,
        why,
        &[],
    )
}

fn broken() -> Status {
    let what = "Máy chủ hỏng khi đang tính / The server broke while it was computing";
    refusal(Code::Internal, ErrorCode::Internal, what, &[])
}

/// The one place a status of this service is made.
fn refusal(code: Code, reason: ErrorCode, message: &str, metadata: &[(&str, &str)]) -> Status {
    let metadata: HashMap<String, String> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let details = ErrorDetails::with_error_info(proto::reason(reason), proto::DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

#[cfg(test)]
mod tests {
    use proto::{
        exam::v1::{
            EndedBy, LogEntry, Scope, TailLogRequest, TailLogResponse,
            log_service_client::LogServiceClient,
            log_service_server::{LogService, LogServiceServer},
        },
        grader::v1::{
            grader_service_client::GraderServiceClient, grader_service_server::GraderServiceServer,
        },
    };
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;
    use crate::{
        fixture::{Log, candidate, parts},
        snapshot, state_hash,
    };

    pub(super) type Client = GraderServiceClient<GraderServiceServer<Graders>>;

    /// An engine's log service: sends what a request asks for, a few entries a batch, and breaks off now and then.
    #[derive(Clone, Default)]
    pub(super) struct FakeLog {
        inner: Arc<Mutex<FakeLogState>>,
        grown: Arc<tokio::sync::Notify>,
    }

    #[derive(Default)]
    struct FakeLogState {
        entries: Vec<LogEntry>,
        n_calls: usize,
        n_sent: usize,
        /// Streams end after this many batches.
        break_after: Option<usize>,
    }

    impl FakeLog {
        pub(super) fn set(&self, log: &Log) {
            self.inner.lock().unwrap().entries.clone_from(&log.entries);
            self.grown.notify_waiters();
        }

        fn batch(&self, after: &mut [u64]) -> TailLogResponse {
            let state = self.inner.lock().unwrap();
            let mut entries = Vec::new();
            let mut ends = vec![0; after.len()];
            for entry in &state.entries {
                let partition = entry.partition as usize;
                ends[partition] = entry.position;
                if entry.position > after[partition] && entries.len() < 5 {
                    after[partition] = entry.position;
                    entries.push(entry.clone());
                }
            }
            let ends = (0..)
                .zip(ends)
                .map(|(partition, position)| LogPosition {
                    partition,
                    position,
                })
                .collect();
            TailLogResponse { entries, ends }
        }

        async fn send(
            self,
            mut after: Vec<u64>,
            sender: mpsc::Sender<std::result::Result<TailLogResponse, Status>>,
        ) {
            for n_batches in 1.. {
                let grown = self.grown.notified();
                let batch = self.batch(&mut after);
                let n_entries = batch.entries.len();
                if sender.send(Ok(batch)).await.is_err() {
                    return;
                }
                let break_after = {
                    let mut state = self.inner.lock().unwrap();
                    state.n_sent += n_entries;
                    state.break_after
                };
                if Some(n_batches) == break_after {
                    let _ = sender.send(Err(Status::unavailable("gone"))).await;
                    return;
                }
                if n_entries == 0 {
                    tokio::select! {
                        () = grown => {}
                        () = sender.closed() => return,
                    }
                }
            }
        }
    }

    #[tonic::async_trait]
    impl LogService for FakeLog {
        type TailLogStream = ReceiverStream<std::result::Result<TailLogResponse, Status>>;

        async fn tail_log(&self, request: Request<TailLogRequest>) -> Answer<Self::TailLogStream> {
            let request = request.into_inner();
            assert_eq!(request.exam_id, "thi-thu");
            self.inner.lock().unwrap().n_calls += 1;
            let mut after = vec![0; 4];
            for position in request.after {
                after[position.partition as usize] = position.position;
            }
            let (sender, receiver) = mpsc::channel(2);
            tokio::spawn(self.clone().send(after, sender));
            Ok(Response::new(ReceiverStream::new(receiver)))
        }
    }

    pub(super) struct Rig {
        pub(super) graders: Graders,
        pub(super) client: Client,
        pub(super) engine: FakeLog,
        folder: tempfile::TempDir,
    }

    impl Rig {
        pub(super) fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let graders = Graders::new(folder.path().to_owned());
            Self {
                client: GraderServiceClient::new(GraderServiceServer::new(graders.clone())),
                graders,
                engine: FakeLog::default(),
                folder,
            }
        }

        pub(super) async fn add(&self, log: &Log) {
            self.engine.set(log);
            let source = LogServiceClient::new(LogServiceServer::new(self.engine.clone()));
            self.graders
                .add_exam(
                    ExamState::Open,
                    vec![Arc::clone(&log.package)],
                    Arc::new(source),
                )
                .await;
        }

        /// Waits until everything is folded.
        pub(super) async fn caught_up(&self, log: &Log) {
            let deadline = Instant::now() + Duration::from_secs(20);
            while self
                .graders
                .read("thi-thu", |fold| fold.positions() == log.positions)
                != Some(true)
            {
                assert!(Instant::now() < deadline, "the grader does not catch up");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }

        async fn export(
            &mut self,
            ends: &[u64],
        ) -> std::result::Result<Vec<ExportResultResponse>, Status> {
            let request = ExportResultRequest {
                exam_id: "thi-thu".to_owned(),
                ends: ends.to_vec(),
                n_rulings: 0,
            };
            let mut stream = self.client.export_result(request).await?.into_inner();
            let mut pieces = Vec::new();
            while let Some(piece) = stream.message().await? {
                pieces.push(piece);
            }
            Ok(pieces)
        }
    }

    fn finished_log(n_persons: u8) -> Log {
        let mut log = Log::new(&parts());
        for n in 0..n_persons {
            let net_ms = 1_000 + u64::from(n % 5);
            log.sit(
                candidate(n),
                1,
                ["01", "79"][usize::from(n % 2)],
                &[(0, 1), (3, 3)],
                net_ms,
                EndedBy::Candidate,
            );
        }
        log
    }

    #[track_caller]
    pub(super) fn reason_of(status: &Status) -> (Code, String) {
        let info = status
            .get_details_error_info()
            .expect("every refusal says why");
        assert_eq!(info.domain, "khoabang");
        (status.code(), info.reason)
    }

    #[tokio::test]
    async fn a_log_that_breaks_off_is_folded_to_its_end_once() {
        let rig = Rig::new();
        let log = Log::random(11, 40);
        rig.engine.inner.lock().unwrap().break_after = Some(20);
        rig.add(&log).await;
        rig.caught_up(&log).await;
        assert!(
            rig.engine.inner.lock().unwrap().n_calls > 1,
            "the stream must have broken"
        );
        let hash = rig.graders.read("thi-thu", state_hash).unwrap();
        assert_eq!(hash, state_hash(&log.fold()));
        rig.graders.shutdown().await;
    }

    #[tokio::test]
    async fn a_grader_that_comes_back_reads_only_what_is_new() {
        let mut log = finished_log(20);
        let rig = Rig::new();
        rig.add(&log).await;
        rig.caught_up(&log).await;
        rig.graders.shutdown().await;
        let bytes = std::fs::read(rig.folder.path().join("thi-thu.snapshot")).unwrap();
        assert_eq!(bytes, snapshot::save(&log.fold()));
        let n_before = log.entries.len();
        log.sit(candidate(99), 1, "79", &[(0, 1)], 500, EndedBy::Candidate);
        rig.engine.inner.lock().unwrap().n_sent = 0;
        rig.add(&log).await;
        rig.caught_up(&log).await;
        assert_eq!(
            rig.engine.inner.lock().unwrap().n_sent,
            log.entries.len() - n_before
        );
        let hash = rig.graders.read("thi-thu", state_hash).unwrap();
        assert_eq!(hash, state_hash(&log.fold()));
        assert!(rig.graders.remove("thi-thu").await);
        assert!(!rig.graders.remove("thi-thu").await);
    }

    #[tokio::test]
    async fn a_damaged_snapshot_costs_time_only() {
        let rig = Rig::new();
        std::fs::write(rig.folder.path().join("thi-thu.snapshot"), b"damaged").unwrap();
        let log = finished_log(5);
        rig.add(&log).await;
        rig.caught_up(&log).await;
        let hash = rig.graders.read("thi-thu", state_hash).unwrap();
        assert_eq!(hash, state_hash(&log.fold()));
    }

    #[tokio::test]
    async fn standings_are_read_by_page_and_by_person() {
        let mut rig = Rig::new();
        let log = finished_log(20);
        rig.add(&log).await;
        rig.caught_up(&log).await;
        let mut request = GetStandingsRequest {
            exam_id: "thi-thu".to_owned(),
            scope: Some(Scope {
                area: "79".to_owned(),
                ..Scope::default()
            }),
            offset: 1,
            limit: 3,
            public: false,
        };
        let page = rig
            .client
            .get_standings(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!((page.n_ranked, page.rows.len()), (10, 3));
        let ranks: Vec<u64> = page.rows.iter().map(|row| row.rank).collect();
        assert_eq!(ranks, [1, 3, 3]);
        assert_eq!(
            (page.rows[0].score.as_str(), page.rows[0].net_time_ms),
            ("0.58", 1_000)
        );
        request.scope = None;
        request.offset = 0;
        request.limit = 0;
        let page = rig
            .client
            .get_standings(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!((page.n_ranked, page.rows.len()), (20, 20));
        request.limit = 1_001;
        let status = rig.client.get_standings(request.clone()).await.unwrap_err();
        assert_eq!(
            reason_of(&status),
            (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned())
        );

        let mut own = GetStandingRequest {
            exam_id: "thi-thu".to_owned(),
            candidate: vec![6; 16].into(),
            attempt: 1,
            public: false,
        };
        let standing = rig
            .client
            .get_standing(own.clone())
            .await
            .unwrap()
            .into_inner();
        let row = standing.counted.unwrap();
        assert_eq!(
            (row.rank, standing.area_rank, standing.n_ranked),
            (5, 3, 20)
        );
        assert_eq!(
            (standing.score.as_str(), standing.max_score.as_str()),
            ("0.58", "2.25")
        );
        assert_eq!(
            (standing.n_correct, standing.n_items, standing.net_time_ms),
            (1, 6, 1_001)
        );
        for (candidate, attempt) in [(vec![77; 16], 0), (vec![6; 16], 2)] {
            own.candidate = candidate.into();
            own.attempt = attempt;
            let status = rig.client.get_standing(own.clone()).await.unwrap_err();
            assert_eq!(
                reason_of(&status),
                (Code::FailedPrecondition, "RESULT_NOT_READY".to_owned())
            );
        }
        own.candidate = vec![1].into();
        let status = rig.client.get_standing(own).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }

    #[tokio::test]
    async fn an_exam_that_is_not_followed_is_not_found() {
        let mut rig = Rig::new();
        let exam_id = "khac".to_owned();
        let mut statuses = Vec::new();
        let request = GetCountsRequest {
            exam_id: exam_id.clone(),
        };
        statuses.push(rig.client.get_counts(request).await.unwrap_err());
        let request = WatchExamRequest {
            exam_id: exam_id.clone(),
        };
        statuses.push(rig.client.watch_exam(request).await.unwrap_err());
        let request = ExportResultRequest {
            exam_id,
            ends: vec![],
            n_rulings: 0,
        };
        statuses.push(rig.client.export_result(request).await.unwrap_err());
        for status in statuses {
            assert_eq!(
                reason_of(&status),
                (Code::NotFound, "EXAM_NOT_FOUND".to_owned())
            );
        }
        assert!(!rig.graders.set_exam_state("khac", ExamState::Open));
    }

    #[tokio::test]
    async fn the_result_is_given_out_only_when_all_is_folded_ended_and_possible() {
        let mut rig = Rig::new();
        let mut log = finished_log(8);
        rig.add(&log).await;
        rig.caught_up(&log).await;
        let pieces = rig.export(&log.positions.clone()).await.unwrap();
        assert_eq!(pieces.len(), 2);
        assert_eq!(
            (pieces[0].file.as_str(), pieces[1].file.as_str()),
            ("result.tsv", "key.bin")
        );
        assert_eq!(*pieces[0].data, result_file(&log.fold()).bytes);
        assert_eq!(
            blake3::hash(&pieces[1].data).as_bytes(),
            log.package.key_hash()
        );

        let mut ahead = log.positions.clone();
        ahead[2] += 1;
        let mut behind = log.positions.clone();
        *behind.iter_mut().find(|end| **end > 0).unwrap() -= 1;
        for ends in [ahead, behind, vec![], log.positions[1..].to_vec()] {
            let status = rig.export(&ends).await.unwrap_err();
            assert_eq!(
                reason_of(&status),
                (Code::FailedPrecondition, "RESULT_NOT_READY".to_owned())
            );
        }

        log.start(candidate(50), 1, "79");
        rig.engine.set(&log);
        rig.caught_up(&log).await;
        let status = rig.export(&log.positions.clone()).await.unwrap_err();
        assert_eq!(
            status.message(),
            "Còn lượt đang làm bài / Attempts are running"
        );

        log.end(candidate(50), 1, 1_000, EndedBy::Deadline);
        rig.engine.set(&log);
        rig.caught_up(&log).await;
        rig.export(&log.positions.clone()).await.unwrap();

        log.answer(candidate(50), 1, 0, 1);
        rig.engine.set(&log);
        rig.caught_up(&log).await;
        let status = rig.export(&log.positions.clone()).await.unwrap_err();
        assert_eq!(
            status.message(),
            "Có mục nhật ký bị cách ly / Entries are quarantined"
        );
    }

    /// The fixture's exam with the first key turned from A to B by a decision; exam, and key halves by version.
    fn corrected() -> (proto::exam::v1::Exam, Vec<u8>, Vec<Vec<u8>>) {
        use proto::exam::v1::{KeyRuling, Ruling, ruling::Kind};
        let mut parts = parts();
        let (mut exam, paper, first) = parts.encode();
        parts.key.key_version = 2;
        parts.key.keys[0].right_options = 0b10;
        let (_, _, second) = parts.encode();
        crate::ruling::append(
            &mut exam,
            Ruling {
                at_ms: 77,
                note: "đáp án câu 101 sửa thành B".to_owned(),
                kind: Some(Kind::Key(KeyRuling {
                    key_version: 2,
                    key_hash: blake3::hash(&second).as_bytes().to_vec().into(),
                    item_ids: vec![101],
                })),
                ..Ruling::default()
            },
        );
        (exam, paper, vec![first, second])
    }

    #[tokio::test]
    async fn a_corrected_key_is_tried_out_then_put_into_force_with_its_history() {
        let mut rig = Rig::new();
        let mut log = Log::new(&parts());
        let sit = |log: &mut Log, n: u8, chosen: u32| {
            let answers = [(0, chosen)];
            log.sit(candidate(n), 1, "79", &answers, 1_000, EndedBy::Candidate);
        };
        sit(&mut log, 1, 0b01);
        sit(&mut log, 2, 0b10);
        rig.add(&log).await;
        rig.caught_up(&log).await;
        let (exam, paper, keys) = corrected();
        let request = DryRunRequest {
            exam: Some(exam.clone()),
            key: keys[1].clone().into(),
        };
        let impact = rig.client.dry_run(request).await.unwrap().into_inner();
        let total = impact.total.unwrap();
        assert_eq!((total.n_scores, total.n_higher, total.n_ranks), (2, 1, 2));
        let own = GetStandingRequest {
            exam_id: "thi-thu".to_owned(),
            candidate: vec![2; 16].into(),
            ..GetStandingRequest::default()
        };
        let standing = async |rig: &mut Rig| {
            let own = own.clone();
            rig.client.get_standing(own).await.unwrap().into_inner()
        };
        assert_eq!(
            standing(&mut rig).await.score,
            "0.00",
            "a dry run changes nothing"
        );

        let versions = keys
            .iter()
            .map(|key| Arc::new(Package::load(&exam, &paper, key).unwrap()));
        let source = LogServiceClient::new(LogServiceServer::new(rig.engine.clone()));
        let last = crate::Rulings::read(&exam).unwrap().last;
        assert!(!rig.graders.follows("thi-thu", last));
        rig.graders
            .add_exam(ExamState::Open, versions.collect(), Arc::new(source))
            .await;
        assert!(rig.graders.follows("thi-thu", last));
        let after = standing(&mut rig).await;
        assert_eq!(
            (after.score.as_str(), after.counted.unwrap().rank),
            ("0.25", 1)
        );
        let history: Vec<_> = after
            .scores
            .iter()
            .map(|by| (by.key_version, by.at_ms, by.score.as_str()))
            .collect();
        assert_eq!(history, [(1, 0, "0.00"), (2, 77, "0.25")]);
        // what is answered later is graded by the new key as well
        sit(&mut log, 3, 0b10);
        rig.engine.set(&log);
        rig.caught_up(&log).await;
        let ends = log.positions.clone();
        let refused = rig.export(&ends).await.unwrap_err();
        assert_eq!(
            refused.code(),
            Code::FailedPrecondition,
            "a decision is missing in what is asked"
        );
        let request = ExportResultRequest {
            exam_id: "thi-thu".to_owned(),
            ends,
            n_rulings: 1,
        };
        let mut stream = rig
            .client
            .export_result(request)
            .await
            .unwrap()
            .into_inner();
        let mut files = Vec::new();
        while let Some(piece) = stream.message().await.unwrap() {
            files.push(piece.file);
        }
        assert_eq!(files, ["result.tsv", "key.bin", "key-2.bin"]);
    }

    #[test]
    fn long_files_come_in_pieces() {
        let bytes = Bytes::from(vec![7; 2 * PIECE_BYTES + 1]);
        let lens: Vec<usize> = pieces("result.tsv".to_owned(), bytes)
            .map(|piece| piece.data.len())
            .collect();
        assert_eq!(lens, [PIECE_BYTES, PIECE_BYTES, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_hears_at_once_then_of_changes_once_a_second() {
        let mut rig = Rig::new();
        let mut log = finished_log(3);
        rig.add(&log).await;
        rig.caught_up(&log).await;
        let request = WatchExamRequest {
            exam_id: "thi-thu".to_owned(),
        };
        let mut stream = rig.client.watch_exam(request).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        let at = Instant::now();
        assert_eq!(
            (first.state(), first.lag, first.n_answers),
            (ExamState::Open, 0, 6)
        );
        assert_eq!(first.total.unwrap().submitted, 3);

        log.start(candidate(60), 1, "79");
        rig.engine.set(&log);
        rig.caught_up(&log).await;
        assert!(rig.graders.set_exam_state("thi-thu", ExamState::Closed));
        let second = stream.message().await.unwrap().unwrap();
        assert!(at.elapsed() >= WATCH_PERIOD, "{:?}", at.elapsed());
        assert_eq!(
            (second.state(), second.total.unwrap().working),
            (ExamState::Closed, 1)
        );

        // a batch without entries changes nothing, so nothing is sent
        rig.engine.set(&log);
        let quiet = tokio::time::timeout(WATCH_PERIOD * 5, stream.message()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        let counts = GetCountsRequest {
            exam_id: "thi-thu".to_owned(),
        };
        let counts = rig
            .client
            .get_counts(counts)
            .await
            .unwrap()
            .into_inner()
            .counts
            .unwrap();
        assert_eq!(
            (counts.state(), counts.n_answers),
            (ExamState::Unspecified, 6)
        );
        rig.graders.shutdown().await;
        assert!(
            stream.message().await.unwrap().is_none(),
            "the stream ends with the exam"
        );
    }

    #[test]
    fn lag_is_what_is_stored_but_not_folded() {
        let log = finished_log(4);
        let live = Live::new(log.fold(), vec![Arc::clone(&log.package)], ExamState::Open);
        assert_eq!(live.counts().lag, 0);
        live.write().ends.iter_mut().for_each(|end| *end += 3);
        assert_eq!(live.counts().lag, 12);
    }
}
