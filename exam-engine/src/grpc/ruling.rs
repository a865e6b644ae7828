//! Decisions of two persons: organizers propose, approvers approve.

use std::sync::Arc;

use proto::key::v1::{
    ApproveRulingRequest, ApproveRulingResponse, ListProposalsRequest, ListProposalsResponse,
    ProposeRulingRequest, ProposeRulingResponse, ruling_service_server::RulingService,
};
use tonic::{Request, Response, Status};

use super::{auth::Roles, status::to_status};
use crate::engine::Engine;

/// The service of decisions, guarded.
#[derive(Clone)]
pub struct Rulings {
    engine: Arc<Engine>,
    roles: Roles,
}

impl Rulings {
    /// Takes the engine and the words of the roles.
    #[must_use]
    pub fn new(engine: Arc<Engine>, roles: Roles) -> Self {
        Self { engine, roles }
    }
}

#[tonic::async_trait]
impl RulingService for Rulings {
    async fn propose_ruling(
        &self,
        request: Request<ProposeRulingRequest>,
    ) -> Result<Response<ProposeRulingResponse>, Status> {
        self.roles.organizer(request.metadata())?;
        let proposed = self.engine.propose_ruling(request.into_inner()).await;
        let proposed = proposed.map_err(to_status)?;
        Ok(Response::new(ProposeRulingResponse {
            proposal_id: proposed.proposal_id,
            impact: Some(proposed.impact),
        }))
    }

    async fn approve_ruling(
        &self,
        request: Request<ApproveRulingRequest>,
    ) -> Result<Response<ApproveRulingResponse>, Status> {
        self.roles.approver(request.metadata())?;
        let request = request.into_inner();
        let ruling = self
            .engine
            .approve_ruling(&request.exam_id, &request.proposal_id, &request.by)
            .await;
        Ok(Response::new(ApproveRulingResponse {
            ruling: Some(ruling.map_err(to_status)?),
        }))
    }

    async fn list_proposals(
        &self,
        request: Request<ListProposalsRequest>,
    ) -> Result<Response<ListProposalsResponse>, Status> {
        self.roles.organizer_or_approver(request.metadata())?;
        let proposals = self.engine.list_proposals(&request.get_ref().exam_id);
        Ok(Response::new(ListProposalsResponse {
            proposals: proposals.map_err(to_status)?,
        }))
    }
}
