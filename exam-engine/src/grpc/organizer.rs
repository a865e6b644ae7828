//! Organizers' calls.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use proto::{
    exam::v1::{
        ActOnAttemptsRequest, ActOnAttemptsResponse, CloseExamRequest, CloseExamResponse,
        CompensateOutageRequest, CompensateOutageResponse, CreateExamRequest, CreateExamResponse,
        ExportExamRequest, ExportExamResponse, GetExamRequest, GetExamResponse,
        GetStandingsRequest, GetStandingsResponse, IssueCodesRequest, IssueCodesResponse,
        ListExamsRequest, ListExamsResponse, OpenExamRequest, OpenExamResponse, PublishExamRequest,
        PublishExamResponse, ReasonCode, WatchExamRequest, WatchExamResponse,
        organizer_service_server::OrganizerService,
    },
    grader::v1 as grader,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming, codegen::BoxStream};

use super::{
    auth::Roles,
    convert,
    log::until_stopped,
    status::{from_grader, to_status},
};
use crate::engine::{Engine, Error, LiveExam};

/// Messages on their way to one reader.
const MAX_IN_FLIGHT: usize = 4;
/// A grader learns of a new exam within moments; a watcher that comes first waits this often for this long.
const GRADER_TRIES: u32 = 20;
const GRADER_PAUSE: Duration = Duration::from_millis(100);

/// The organizers' service.
#[derive(Clone)]
pub struct Organizer {
    engine: Arc<Engine>,
    roles: Roles,
    stop: CancellationToken,
}

impl Organizer {
    /// Takes the engine, the words of the roles, and what ends the streams.
    #[must_use]
    pub fn new(engine: Arc<Engine>, roles: Roles, stop: CancellationToken) -> Self {
        Self {
            engine,
            roles,
            stop,
        }
    }

    /// Lets an organizer in and unwraps the message.
    fn enter<T>(&self, request: Request<T>) -> Result<T, Status> {
        self.roles.organizer(request.metadata())?;
        Ok(request.into_inner())
    }

    async fn grader_watch(&self, exam_id: &str) -> Result<Streaming<WatchExamResponse>, Status> {
        let mut tries = 0;
        loop {
            let request = grader::WatchExamRequest {
                exam_id: exam_id.to_owned(),
            };
            match self
                .engine
                .grader()
                .watch_exam(self.engine.to_grader(request))
                .await
            {
                Ok(stream) => return Ok(stream.into_inner()),
                Err(status) if status.code() == Code::NotFound && tries < GRADER_TRIES => {
                    tries += 1;
                }
                Err(status) => return Err(from_grader(status)),
            }
            tokio::time::sleep(GRADER_PAUSE).await;
        }
    }
}

/// Adds the exam's state, which the grader does not know.
fn with_state(exam: &LiveExam, mut counts: WatchExamResponse) -> WatchExamResponse {
    counts.state = exam.state().into();
    counts
}

#[tonic::async_trait]
impl OrganizerService for Organizer {
    async fn create_exam(
        &self,
        request: Request<CreateExamRequest>,
    ) -> Result<Response<CreateExamResponse>, Status> {
        let spec = self.enter(request)?.spec.unwrap_or_default();
        let exam = self.engine.create_exam(spec).await.map_err(to_status)?;
        Ok(Response::new(CreateExamResponse { exam: Some(exam) }))
    }

    async fn publish_exam(
        &self,
        request: Request<PublishExamRequest>,
    ) -> Result<Response<PublishExamResponse>, Status> {
        let exam = self
            .engine
            .publish_exam(&self.enter(request)?.exam_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(PublishExamResponse { exam: Some(exam) }))
    }

    async fn open_exam(
        &self,
        request: Request<OpenExamRequest>,
    ) -> Result<Response<OpenExamResponse>, Status> {
        let exam = self
            .engine
            .open_exam(&self.enter(request)?.exam_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(OpenExamResponse { exam: Some(exam) }))
    }

    async fn close_exam(
        &self,
        request: Request<CloseExamRequest>,
    ) -> Result<Response<CloseExamResponse>, Status> {
        let request = self.enter(request)?;
        let (exam, n_ended) = self
            .engine
            .close_exam(&request.exam_id, request.end_running)
            .await
            .map_err(to_status)?;
        Ok(Response::new(CloseExamResponse {
            exam: Some(exam),
            n_ended,
        }))
    }

    async fn get_exam(
        &self,
        request: Request<GetExamRequest>,
    ) -> Result<Response<GetExamResponse>, Status> {
        let exam = self
            .engine
            .get_exam(&self.enter(request)?.exam_id)
            .map_err(to_status)?;
        Ok(Response::new(GetExamResponse { exam: Some(exam) }))
    }

    async fn list_exams(
        &self,
        request: Request<ListExamsRequest>,
    ) -> Result<Response<ListExamsResponse>, Status> {
        self.enter(request)?;
        Ok(Response::new(ListExamsResponse {
            exams: self.engine.list_exams(),
        }))
    }

    async fn issue_codes(
        &self,
        request: Request<IssueCodesRequest>,
    ) -> Result<Response<IssueCodesResponse>, Status> {
        let request = self.enter(request)?;
        let persons: Result<Vec<_>, Error> =
            request.persons.into_iter().map(convert::ticket).collect();
        let codes = persons
            .and_then(|persons| self.engine.issue_codes(&request.exam_id, &persons))
            .map_err(to_status)?;
        Ok(Response::new(IssueCodesResponse { codes }))
    }

    async fn act_on_attempts(
        &self,
        request: Request<ActOnAttemptsRequest>,
    ) -> Result<Response<ActOnAttemptsResponse>, Status> {
        let request = self.enter(request)?;
        let scope = convert::scope(request.scope).map_err(to_status)?;
        let exam = self.engine.published(&request.exam_id).map_err(to_status)?;
        let action = convert::action(request.action, exam.state()).map_err(to_status)?;
        let attempt = (request.attempt > 0).then_some(request.attempt);
        let cause = convert::cause(request.cause).map_err(to_status)?;
        let exam = self.engine.published(&request.exam_id).map_err(to_status)?;
        let _alone = exam.begin_action().await;
        let acted = self
            .engine
            .act_on_attempts(
                &request.exam_id,
                &scope,
                attempt,
                action,
                cause,
                request.dry_run,
            )
            .await
            .map_err(to_status)?;
        Ok(Response::new(ActOnAttemptsResponse {
            n_changed: acted.changed.len() as u64,
            n_unchanged: acted.n_unchanged,
            n_failed: acted.n_failed,
        }))
    }

    async fn compensate_outage(
        &self,
        request: Request<CompensateOutageRequest>,
    ) -> Result<Response<CompensateOutageResponse>, Status> {
        let request = self.enter(request)?;
        let scope = convert::scope(request.scope).map_err(to_status)?;
        let mut cause = request.cause.unwrap_or_default();
        cause.set_reason(ReasonCode::Outage);
        let cause = convert::cause(Some(cause)).map_err(to_status)?;
        let exam = self.engine.published(&request.exam_id).map_err(to_status)?;
        let _alone = exam.begin_action().await;
        let outage = convert::outage(
            request.from_ms,
            request.to_ms,
            request.least_silence_ms,
            self.engine.now(),
        )
        .map_err(to_status)?;
        let given = self
            .engine
            .compensate_outage(&request.exam_id, &scope, outage, cause, request.dry_run)
            .await
            .map_err(to_status)?;
        Ok(Response::new(CompensateOutageResponse {
            n_extended: given.n_extended,
            n_reopened: given.n_reopened,
            n_unaffected: given.n_unaffected,
            n_failed: given.n_failed,
            longest_ms: given.longest_ms,
            total_ms: given.total_ms,
        }))
    }

    type WatchExamStream = BoxStream<WatchExamResponse>;

    async fn watch_exam(
        &self,
        request: Request<WatchExamRequest>,
    ) -> Result<Response<Self::WatchExamStream>, Status> {
        let exam_id = self.enter(request)?.exam_id;
        let exam = self.engine.published(&exam_id).map_err(to_status)?;
        let counts = self.grader_watch(&exam_id).await?;
        let states = counts.map(move |counts| counts.map(|counts| with_state(&exam, counts)));
        Ok(Response::new(until_stopped(states, &self.stop)))
    }

    async fn get_standings(
        &self,
        request: Request<GetStandingsRequest>,
    ) -> Result<Response<GetStandingsResponse>, Status> {
        let GetStandingsRequest {
            exam_id,
            scope,
            offset,
            limit,
            public,
        } = self.enter(request)?;
        let request = self.engine.to_grader(grader::GetStandingsRequest {
            exam_id,
            scope,
            offset,
            limit,
            public,
        });
        let page = self
            .engine
            .grader()
            .get_standings(request)
            .await
            .map_err(from_grader)?
            .into_inner();
        Ok(Response::new(GetStandingsResponse {
            rows: page.rows,
            n_ranked: page.n_ranked,
        }))
    }

    type ExportExamStream = BoxStream<ExportExamResponse>;

    async fn export_exam(
        &self,
        request: Request<ExportExamRequest>,
    ) -> Result<Response<Self::ExportExamStream>, Status> {
        let ExportExamRequest { exam_id, files } = self.enter(request)?;
        self.engine.published(&exam_id).map_err(to_status)?;
        let (pieces, made) = mpsc::channel(MAX_IN_FLIGHT);
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move {
            if let Err(error) = engine.export_exam(&exam_id, &files, pieces.clone()).await {
                let _ = pieces.send(Err(error)).await; // the reader may have gone
            }
        });
        let messages = ReceiverStream::new(made).map(|piece| {
            let piece = piece.map_err(to_status)?;
            Ok(ExportExamResponse {
                file: piece.file,
                data: piece.data,
            })
        });
        Ok(Response::new(until_stopped(messages, &self.stop)))
    }
}
