//! Calls of whoever runs the server.

use std::sync::Arc;

use futures::StreamExt;
use proto::exam::v1::{
    DumpStoreRequest, DumpStoreResponse, operator_service_server::OperatorService,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codegen::BoxStream};

use super::{auth::Roles, log::until_stopped, status::to_status};
use crate::engine::{Engine, Error};

/// Pieces on their way to one reader.
const MAX_IN_FLIGHT: usize = 4;

/// The operator's service.
#[derive(Clone)]
pub struct Operator {
    engine: Arc<Engine>,
    roles: Roles,
    stop: CancellationToken,
}

impl Operator {
    /// Takes the engine, the words of the roles, and what ends the streams.
    #[must_use]
    pub fn new(engine: Arc<Engine>, roles: Roles, stop: CancellationToken) -> Self {
        Self {
            engine,
            roles,
            stop,
        }
    }
}

#[tonic::async_trait]
impl OperatorService for Operator {
    type DumpStoreStream = BoxStream<DumpStoreResponse>;

    async fn dump_store(
        &self,
        request: Request<DumpStoreRequest>,
    ) -> Result<Response<Self::DumpStoreStream>, Status> {
        self.roles.organizer(request.metadata())?;
        let (pieces, made) = mpsc::channel(MAX_IN_FLIGHT);
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move {
            if let Err(Error::Store(error)) = engine.dump_store(pieces.clone()).await {
                let _ = pieces.send(Err(error)).await; // the reader may have gone
            }
        });
        let messages = ReceiverStream::new(made).map(|piece| {
            let data = piece.map_err(|error| to_status(error.into()))?;
            Ok(DumpStoreResponse { data })
        });
        Ok(Response::new(until_stopped(messages, &self.stop)))
    }
}
