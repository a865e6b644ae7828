//! A gRPC connection within one process, so that roles talk the same way as between machines.

use std::io;

use hyper_util::rt::TokioIo;
use proto::{
    exam::v1::log_service_server::LogServiceServer,
    grader::v1::{
        grader_service_server::GraderServiceServer, package_service_server::PackageServiceServer,
    },
};
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tower::service_fn;

use super::port::CONNECTION_WINDOW_BYTES;
use crate::grpc;

/// Bytes on their way in one direction.
const PIPE_BYTES: usize = 1 << 20;
/// Connections waiting to be accepted: a handful of roles make one each.
const MAX_WAITING: usize = 16;

/// Returns a channel that connects through memory, and the connections it makes.
pub(super) fn channel() -> (Channel, mpsc::Receiver<DuplexStream>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let connect = service_fn(move |_: Uri| {
        let sender = sender.clone();
        async move {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            sender
                .send(far)
                .await
                .map_err(|_| io::Error::other("the server has stopped"))?;
            Ok::<_, io::Error>(TokioIo::new(near))
        }
    });
    let channel = Endpoint::from_static("http://in.process")
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_with_connector_lazy(connect);
    (channel, receiver)
}

/// What roles ask of each other, as far as it is here.
pub(super) struct Services {
    pub(super) log: Option<LogServiceServer<grpc::Log>>,
    pub(super) grader: Option<GraderServiceServer<grpc::Grader>>,
    pub(super) packages: Option<PackageServiceServer<grpc::Packages>>,
}

/// Serves roles on such connections.
pub(super) async fn serve(
    connections: mpsc::Receiver<DuplexStream>,
    services: Services,
    stop: CancellationToken,
) {
    let incoming = ReceiverStream::new(connections).map(Ok::<_, io::Error>);
    let served = Server::builder()
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_optional_service(services.log)
        .add_optional_service(services.grader)
        .add_optional_service(services.packages)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(error = %error, "in-process server ended");
    }
}
