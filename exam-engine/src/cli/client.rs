//! Calls a running server as an organizer.

use std::{fs, path::Path};

use anyhow::Context;
use proto::exam::v1::{ExportExamRequest, organizer_service_client::OrganizerServiceClient};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// Archives travel in pieces of 256 KiB; a page of standings stays below.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Adds the organizer's word to every call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub(super) type Client = OrganizerServiceClient<InterceptedService<Channel, Bearer>>;

pub(super) async fn connect(data: &Path, server: &str) -> anyhow::Result<Client> {
    let file = data.join("secrets/organizer.token");
    let token = fs::read_to_string(&file)
        .with_context(|| format!("không đọc được {0}; máy chủ tạo tệp này khi chạy lần đầu, hãy dùng đúng --data / cannot read {0}; the server makes it at its first start, use the same --data", file.display()))?;
    let bearer = format!("Bearer {}", token.trim())
        .parse()
        .context("organizer.token")?;
    let channel = Endpoint::from_shared(server.to_owned())
        .context("địa chỉ máy chủ sai / bad server address")?
        .connect()
        .await
        .with_context(|| format!("không nối được {server}; máy chủ đã chạy chưa? / cannot connect to {server}; is the server running?"))?;
    Ok(
        OrganizerServiceClient::with_interceptor(channel, Bearer(bearer))
            .max_decoding_message_size(MAX_MESSAGE_BYTES),
    )
}

/// Turns a refusal into what a person reads.
pub(super) fn refusal(status: &Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}

/// Downloads an archive, piece by piece.
pub(super) async fn archive(
    client: &mut Client,
    exam_id: &str,
    mut piece: impl FnMut(&str, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let request = ExportExamRequest {
        exam_id: exam_id.to_owned(),
    };
    let mut stream = client
        .export_exam(request)
        .await
        .map_err(|status| refusal(&status))?
        .into_inner();
    while let Some(message) = stream.message().await.map_err(|status| refusal(&status))? {
        piece(&message.file, &message.data)?;
    }
    Ok(())
}
