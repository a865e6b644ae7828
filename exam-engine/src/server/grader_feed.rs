//! Hands published exams to the grader: packages from files that only graders read, the log from an engine.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use grader::{
    Package,
    service::{Graders, LogSource},
};
use proto::exam::v1::log_service_client::LogServiceClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{
    engine::{ExamFiles, LiveExam},
    secrets::Token,
};

/// A message of 1,024 entries, each with a paper of 200 items, stays below.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// Runs until stopped: adds exams as they are published, and tells their states.
pub(super) async fn feed(
    data: PathBuf,
    mut exams: watch::Receiver<Vec<Arc<LiveExam>>>,
    graders: Graders,
    channel: Channel,
    token: Token,
    stop: CancellationToken,
) {
    let bearer: MetadataValue<Ascii> = format!("Bearer {}", token.reveal())
        .parse()
        .expect("hexadecimal digits are ASCII");
    let with_token = move |mut request: Request<()>| {
        request
            .metadata_mut()
            .insert("authorization", bearer.clone());
        Ok(request)
    };
    let client = LogServiceClient::with_interceptor(channel, with_token)
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let source: Arc<dyn LogSource> = Arc::new(client);
    loop {
        let all = exams.borrow_and_update().clone();
        for live in all {
            if graders.set_exam_state(live.id.as_str(), live.state()) {
                continue;
            }
            match package(&data, &live) {
                Ok(package) => {
                    graders
                        .add_exam(live.state(), Arc::new(package), Arc::clone(&source))
                        .await
                }
                Err(error) => {
                    tracing::error!(exam.id = %live.id, error = %error, "exam cannot be graded")
                }
            }
        }
        tokio::select! {
            changed = exams.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

fn package(data: &Path, live: &LiveExam) -> anyhow::Result<Package> {
    let files = ExamFiles::new(data, live.id.as_str());
    Ok(Package::load(
        &live.exam(),
        &fs::read(files.paper)?,
        &fs::read(files.key)?,
    )?)
}
