//! The grader's calls behind the word of an organizer or a service; those with keys behind a service's alone.

use grader::service::Graders;
use proto::{
    exam::v1::WatchExamResponse,
    grader::v1::{
        DryRunRequest, ExportResultRequest, ExportResultResponse, GetCountsRequest,
        GetCountsResponse, GetGraderStateRequest, GetGraderStateResponse, GetReportResponse,
        GetStandingRequest, GetStandingResponse, GetStandingsRequest, GetStandingsResponse,
        GetStatisticsRequest, GetStatisticsResponse, GetUnitStandingsRequest,
        GetUnitStandingsResponse, GetWinnersRequest, GetWinnersResponse, Impact, RankScoreRequest,
        RankScoreResponse, WatchExamRequest, grader_service_server::GraderService,
    },
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codegen::BoxStream};

use super::{auth::Roles, log::until_stopped};

/// The grader's service, guarded.
#[derive(Clone)]
pub struct Grader {
    graders: Graders,
    roles: Roles,
    stop: CancellationToken,
}

impl Grader {
    /// Takes the grader, the words of the roles, and what ends the streams.
    #[must_use]
    pub fn new(graders: Graders, roles: Roles, stop: CancellationToken) -> Self {
        Self {
            graders,
            roles,
            stop,
        }
    }

    fn enter<T>(&self, request: Request<T>) -> Result<Request<T>, Status> {
        self.roles.organizer_or_service(request.metadata())?;
        Ok(request)
    }

    /// For calls that take or give keys: control makes them, and it knows whether the exam is closed.
    fn enter_service<T>(&self, request: Request<T>) -> Result<Request<T>, Status> {
        self.roles.service(request.metadata())?;
        Ok(request)
    }
}

#[tonic::async_trait]
impl GraderService for Grader {
    async fn get_standings(
        &self,
        request: Request<GetStandingsRequest>,
    ) -> Result<Response<GetStandingsResponse>, Status> {
        self.graders.get_standings(self.enter(request)?).await
    }

    async fn get_standing(
        &self,
        request: Request<GetStandingRequest>,
    ) -> Result<Response<GetStandingResponse>, Status> {
        self.graders.get_standing(self.enter(request)?).await
    }

    type WatchStandingsStream = BoxStream<GetStandingsResponse>;

    async fn watch_standings(
        &self,
        request: Request<GetStandingsRequest>,
    ) -> Result<Response<Self::WatchStandingsStream>, Status> {
        let response = self.graders.watch_standings(self.enter(request)?).await?;
        Ok(response.map(|messages| until_stopped(messages, &self.stop)))
    }

    async fn rank_score(
        &self,
        request: Request<RankScoreRequest>,
    ) -> Result<Response<RankScoreResponse>, Status> {
        self.graders.rank_score(self.enter(request)?).await
    }

    async fn get_unit_standings(
        &self,
        request: Request<GetUnitStandingsRequest>,
    ) -> Result<Response<GetUnitStandingsResponse>, Status> {
        self.graders.get_unit_standings(self.enter(request)?).await
    }

    async fn get_winners(
        &self,
        request: Request<GetWinnersRequest>,
    ) -> Result<Response<GetWinnersResponse>, Status> {
        self.graders.get_winners(self.enter(request)?).await
    }

    async fn get_statistics(
        &self,
        request: Request<GetStatisticsRequest>,
    ) -> Result<Response<GetStatisticsResponse>, Status> {
        self.graders.get_statistics(self.enter(request)?).await
    }

    async fn get_report(
        &self,
        request: Request<GetStatisticsRequest>,
    ) -> Result<Response<GetReportResponse>, Status> {
        self.graders.get_report(self.enter(request)?).await
    }

    async fn dry_run(&self, request: Request<DryRunRequest>) -> Result<Response<Impact>, Status> {
        self.graders.dry_run(self.enter_service(request)?).await
    }

    async fn get_grader_state(
        &self,
        request: Request<GetGraderStateRequest>,
    ) -> Result<Response<GetGraderStateResponse>, Status> {
        self.graders.get_grader_state(self.enter(request)?).await
    }

    async fn get_counts(
        &self,
        request: Request<GetCountsRequest>,
    ) -> Result<Response<GetCountsResponse>, Status> {
        self.graders.get_counts(self.enter(request)?).await
    }

    type WatchExamStream = BoxStream<WatchExamResponse>;

    async fn watch_exam(
        &self,
        request: Request<WatchExamRequest>,
    ) -> Result<Response<Self::WatchExamStream>, Status> {
        let response = self.graders.watch_exam(self.enter(request)?).await?;
        Ok(response.map(|messages| until_stopped(messages, &self.stop)))
    }

    type ExportResultStream = BoxStream<ExportResultResponse>;

    async fn export_result(
        &self,
        request: Request<ExportResultRequest>,
    ) -> Result<Response<Self::ExportResultStream>, Status> {
        let response = self
            .graders
            .export_result(self.enter_service(request)?)
            .await?;
        Ok(response.map(|messages| until_stopped(messages, &self.stop)))
    }
}
