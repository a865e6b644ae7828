//! A gRPC connection within one process, so that roles talk the same way as between machines.

use std::io;

use hyper_util::rt::TokioIo;
use proto::exam::v1::log_service_server::{LogService, LogServiceServer};
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::{Channel, Endpoint, Server, Uri},
};
use tower::service_fn;

use super::port::CONNECTION_WINDOW_BYTES;

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

/// Serves log and grader on such connections.
pub(super) async fn serve<L, G>(
    connections: mpsc::Receiver<DuplexStream>,
    log: LogServiceServer<L>,
    grader: G,
    stop: CancellationToken,
) where
    L: LogService,
    G: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = std::convert::Infallible,
        > + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    G::Future: Send + 'static,
{
    let incoming = ReceiverStream::new(connections).map(Ok::<_, io::Error>);
    let served = Server::builder()
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(log)
        .add_service(grader)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(error = %error, "in-process server ended");
    }
}
