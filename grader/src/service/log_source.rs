//! Where a log is read: any engine, by gRPC.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use proto::exam::v1::{
    LogPosition, TailLogRequest, TailLogResponse, log_service_client::LogServiceClient,
};
use tonic::{
    Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, Bytes, StdError},
};

/// Batches of a log as they are stored.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<TailLogResponse, Status>> + Send>>;

/// Something that streams the log of an exam: a `LogServiceClient` with whatever token it attaches.
#[tonic::async_trait]
pub trait LogSource: Send + Sync + 'static {
    /// Streams every entry behind these positions, then new ones as they are stored.
    async fn tail(&self, exam_id: &str, after: Vec<LogPosition>) -> Result<LogStream, Status>;
}

#[tonic::async_trait]
impl<T> LogSource for LogServiceClient<T>
where
    T: GrpcService<Body> + Clone + Send + Sync + 'static,
    T::Error: Into<StdError>,
    T::Future: Send,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    async fn tail(&self, exam_id: &str, after: Vec<LogPosition>) -> Result<LogStream, Status> {
        let request = TailLogRequest {
            exam_id: exam_id.to_owned(),
            after,
            stop_at_end: false,
        };
        let stream = self.clone().tail_log(request).await?.into_inner();
        Ok(stream.boxed())
    }
}
