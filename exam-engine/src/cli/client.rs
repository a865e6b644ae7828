//! Calls a running server as an organizer.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use proto::exam::v1::{ExportExamRequest, organizer_service_client::OrganizerServiceClient};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_types::StatusExt;

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

/// Reads the organizer's word.
pub(super) fn bearer(data: &Path) -> anyhow::Result<Bearer> {
    bearer_of(data, "organizer.token")
}

/// Reads the word of a role.
pub(super) fn bearer_of(data: &Path, role: &'static str) -> anyhow::Result<Bearer> {
    let file = data.join("secrets").join(role);
    let token = fs::read_to_string(&file)
        .with_context(|| format!("không đọc được {0}; máy chủ tạo tệp này khi chạy lần đầu, hãy dùng đúng --data / cannot read {0}; the server makes it at its first start, use the same --data", file.display()))?;
    let bearer = format!("Bearer {}", token.trim()).parse().context(role)?;
    Ok(Bearer(bearer))
}

fn cannot_connect(server: &str) -> String {
    format!(
        "không nối được {server}; máy chủ đã chạy chưa? / cannot connect to {server}; is the server running?"
    )
}

/// Connects to a server, which over https shows a certificate of `ca` or of an authority that this machine trusts.
pub(super) async fn channel(server: &str, ca: Option<&Path>) -> anyhow::Result<Channel> {
    let endpoint = match ca {
        Some(ca) => {
            let pem = fs::read(ca)
                .with_context(|| format!("không đọc được / cannot read {}", ca.display()))?;
            client::endpoint_trusting(server, &pem)
        }
        None => client::endpoint(server),
    };
    endpoint
        .context("địa chỉ máy chủ sai / bad server address")?
        .connect()
        .await
        .with_context(|| cannot_connect(server))
}

pub(super) async fn connect(
    data: &Path,
    server: &str,
    ca: Option<&Path>,
) -> anyhow::Result<Client> {
    let bearer = bearer(data)?;
    let channel = channel(server, ca).await?;
    Ok(OrganizerServiceClient::with_interceptor(channel, bearer)
        .max_decoding_message_size(MAX_MESSAGE_BYTES))
}

/// Tells whether the server may have done what was asked: the reply was lost, or did not come in time.
pub(super) fn is_unknown(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

/// Turns a refusal into what a person reads: its sentence, then its facts, as "(area=99)".
pub(super) fn refusal(status: &Status) -> anyhow::Error {
    let info = status.get_details_error_info();
    let facts: BTreeMap<String, String> = info.into_iter().flat_map(|info| info.metadata).collect();
    let facts: Vec<String> = facts
        .iter()
        .filter(|(_, value)| !status.message().starts_with(value.as_str())) // a field stands there already
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if facts.is_empty() {
        anyhow::anyhow!("{}", status.message())
    } else {
        anyhow::anyhow!("{} ({})", status.message(), facts.join(", "))
    }
}

/// Shows that a download goes on, and how much has come; nothing where nobody looks.
fn download_bar(id: &str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{spinner} {msg} {bytes} ({bytes_per_sec})")?;
    let bar = ProgressBar::new_spinner()
        .with_style(style)
        .with_finish(ProgressFinish::AndClear);
    bar.set_message(format!("tải / downloading {id}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

/// Downloads the files of an archive, of all or of those named, piece by piece.
pub(super) async fn archive(
    client: &mut Client,
    exam_id: &str,
    files: &[&str],
    mut piece: impl FnMut(&str, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let request = ExportExamRequest {
        exam_id: exam_id.to_owned(),
        files: files.iter().map(|file| (*file).to_owned()).collect(),
    };
    let bar = download_bar(exam_id)?;
    let mut stream = client
        .export_exam(request)
        .await
        .map_err(|status| refusal(&status))?
        .into_inner();
    while let Some(message) = stream.message().await.map_err(|status| refusal(&status))? {
        bar.inc(message.data.len() as u64);
        piece(&message.file, &message.data)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[track_caller]
    fn check(message: &str, facts: &[(&str, &str)], expected: &str) {
        let facts: HashMap<String, String> = facts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let details = ErrorDetails::with_error_info("REASON", "khoabang", facts);
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        assert_eq!(refusal(&status).to_string(), expected);
    }

    #[test]
    fn a_refusal_tells_its_facts() {
        check("No such area", &[("area", "99")], "No such area (area=99)");
        check("a", &[("z", "1"), ("y", "2")], "a (y=2, z=1)");
        check("title: too long", &[("field", "title")], "title: too long");
        assert_eq!(refusal(&Status::internal("a")).to_string(), "a");
    }
}
