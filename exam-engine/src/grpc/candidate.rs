//! Candidates' calls. This module and what it calls never see a key.

use std::{net::IpAddr, sync::Arc};

use proto::exam::v1::{
    CheckInRequest, CheckInResponse, EnterSectionRequest, EnterSectionResponse, GetPaperRequest,
    GetPaperResponse, GetResultRequest, GetResultResponse, GetServerTimeRequest,
    GetServerTimeResponse, GetSessionRequest, GetSessionResponse, PollSessionRequest,
    PollSessionResponse, SaveAnswersRequest, SaveAnswersResponse, StartAttemptRequest,
    StartAttemptResponse, SubmitAttemptRequest, SubmitAttemptResponse,
    candidate_service_server::CandidateService,
};
use tonic::{Request, Response, Status};

use super::{auth, convert, status::to_status};
use crate::{
    admission::Gate,
    engine::{Engine, Origin},
};

/// Whose call it is, if the address stands for one caller; put there by the guard.
#[derive(Clone, Copy, Debug)]
pub struct CallerAddress(pub IpAddr);

/// The candidates' service.
#[derive(Clone)]
pub struct Candidate {
    engine: Arc<Engine>,
    gate: Arc<Gate>,
}

impl Candidate {
    /// Takes the engine, and the gate that knows the load.
    #[must_use]
    pub fn new(engine: Arc<Engine>, gate: Arc<Gate>) -> Self {
        Self { engine, gate }
    }
}

#[tonic::async_trait]
impl CandidateService for Candidate {
    async fn get_server_time(
        &self,
        _: Request<GetServerTimeRequest>,
    ) -> Result<Response<GetServerTimeResponse>, Status> {
        Ok(Response::new(GetServerTimeResponse {
            now_ms: self.engine.now().0,
        }))
    }

    async fn start_attempt(
        &self,
        request: Request<StartAttemptRequest>,
    ) -> Result<Response<StartAttemptResponse>, Status> {
        let address = request.extensions().get::<CallerAddress>();
        let address = address.map(|CallerAddress(address)| *address);
        let request = request.into_inner();
        convert::check_device_id(&request.device_id).map_err(to_status)?;
        let from = Origin {
            address,
            device_id: &request.device_id,
        };
        let started = self
            .engine
            .start_attempt(&request.access_code, &request.slot_token, &from)
            .await
            .map_err(to_status)?;
        Ok(Response::new(StartAttemptResponse {
            session: Some(convert::session_info(
                &started.exam,
                &started.session,
                &self.engine.state(&started.exam, &started.session),
                self.engine.now().0,
            )),
            session_token: started.token,
            resumed: started.resumed,
        }))
    }

    async fn get_paper(
        &self,
        request: Request<GetPaperRequest>,
    ) -> Result<Response<GetPaperResponse>, Status> {
        let caller = auth::candidate(&self.engine, request.metadata())?;
        let paper = self
            .engine
            .get_paper(&caller, convert::paper)
            .await
            .map_err(to_status)?;
        Ok(Response::new(paper))
    }

    async fn save_answers(
        &self,
        request: Request<SaveAnswersRequest>,
    ) -> Result<Response<SaveAnswersResponse>, Status> {
        let caller = auth::candidate(&self.engine, request.metadata())?;
        let request = request.into_inner();
        let answers: Vec<_> = request
            .answers
            .into_iter()
            .map(convert::new_answer)
            .collect();
        let (receipt, state) = self
            .engine
            .save_answers(&caller, &answers, request.flags.as_deref())
            .await
            .map_err(to_status)?;
        Ok(Response::new(SaveAnswersResponse {
            receipt: Some(convert::receipt(&receipt)),
            deadline_ms: state.deadline.0,
            now_ms: receipt.at.0,
            next_poll_ms: self.gate.next_poll_ms(),
            state: Some(convert::state(&state)),
        }))
    }

    async fn submit_attempt(
        &self,
        request: Request<SubmitAttemptRequest>,
    ) -> Result<Response<SubmitAttemptResponse>, Status> {
        let caller = auth::candidate(&self.engine, request.metadata())?;
        let request = request.into_inner();
        let chain = convert::chain(&request.chain).map_err(to_status)?;
        let submitted = self
            .engine
            .submit_attempt(&caller, request.last_seq, chain)
            .await
            .map_err(to_status)?;
        let receipt = &submitted.receipt;
        let state = self.engine.state(&submitted.exam, &submitted.session);
        Ok(Response::new(SubmitAttemptResponse {
            receipt: Some(convert::receipt(receipt)),
            session: Some(convert::session_info(
                &submitted.exam,
                &submitted.session,
                &state,
                receipt.at.0,
            )),
            slip: submitted.slip,
        }))
    }

    async fn poll_session(
        &self,
        request: Request<PollSessionRequest>,
    ) -> Result<Response<PollSessionResponse>, Status> {
        let caller = auth::candidate(&self.engine, request.metadata())?;
        let (state, next_seq) = self.engine.poll_session(&caller).await.map_err(to_status)?;
        Ok(Response::new(PollSessionResponse {
            state: Some(convert::state(&state)),
            now_ms: self.engine.now().0,
            next_poll_ms: self.gate.next_poll_ms(),
            next_seq,
        }))
    }

    async fn enter_section(
        &self,
        request: Request<EnterSectionRequest>,
    ) -> Result<Response<EnterSectionResponse>, Status> {
        let caller = auth::candidate(&self.engine, request.metadata())?;
        let request = request.into_inner();
        let chain = convert::chain(&request.chain).map_err(to_status)?;
        let state = self
            .engine
            .enter_section(&caller, request.section, request.last_seq, chain)
            .await
            .map_err(to_status)?;
        Ok(Response::new(EnterSectionResponse {
            state: Some(convert::state(&state)),
            now_ms: self.engine.now().0,
        }))
    }

    async fn get_session(
        &self,
        request: Request<GetSessionRequest>,
    ) -> Result<Response<GetSessionResponse>, Status> {
        let caller = auth::candidate(&self.engine, request.metadata())?;
        let (exam, session) = self.engine.get_session(&caller).await.map_err(to_status)?;
        Ok(Response::new(GetSessionResponse {
            session: Some(convert::session_info(
                &exam,
                &session,
                &self.engine.state(&exam, &session),
                self.engine.now().0,
            )),
            answers: convert::stored_answers(&session),
            next_poll_ms: self.gate.next_poll_ms(),
        }))
    }

    async fn get_result(
        &self,
        request: Request<GetResultRequest>,
    ) -> Result<Response<GetResultResponse>, Status> {
        let caller = auth::candidate(&self.engine, request.metadata())?;
        let result = self.engine.get_result(&caller).await.map_err(to_status)?;
        Ok(Response::new(result))
    }

    async fn check_in(
        &self,
        request: Request<CheckInRequest>,
    ) -> Result<Response<CheckInResponse>, Status> {
        let checked_in = self
            .engine
            .check_in(&request.into_inner().access_code)
            .map_err(to_status)?;
        Ok(Response::new(CheckInResponse {
            slot_token: checked_in.slot_token,
            starts_at_ms: checked_in.starts_at.0,
            now_ms: checked_in.now.0,
            exam_id: checked_in.exam.id.as_str().to_owned(),
            title: checked_in.exam.title(),
            round: checked_in.round,
        }))
    }
}
