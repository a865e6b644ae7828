//! Hands published exams to the grader, wherever it runs: the exam's state at every change, the halves when it lacks them.
//!
//! The role that publishes does this, and nobody else reads `keys/` besides the grader itself.

use std::{collections::HashSet, sync::Arc, time::Duration};

use proto::grader::v1::{
    AddExamRequest, add_exam_request::Part, package_service_client::PackageServiceClient,
};
use tonic::transport::Channel;

use crate::{
    engine::{self, Engine, LiveExam},
    files,
};

/// Bytes in one message.
const PIECE_BYTES: usize = 256 << 10;
/// A grader that was away or lost its folder hears of all exams within this.
const PERIOD: Duration = Duration::from_secs(5);

/// Runs until it is dropped.
pub(super) async fn feed(engine: Arc<Engine>, grader: Channel) {
    let mut exams = engine.watch_exams();
    let mut failing = HashSet::new();
    loop {
        let all = exams.borrow_and_update().clone();
        for live in all {
            match push(&engine, &grader, &live).await {
                Ok(()) => {
                    if failing.remove(&live.id) {
                        tracing::warn!(exam.id = %live.id, "the grader has the exam now");
                    }
                }
                Err(error) => {
                    if failing.insert(live.id.clone()) {
                        tracing::error!(exam.id = %live.id, error = %error, "the grader does not get the exam");
                    }
                }
            }
        }
        if let Ok(Err(_)) = tokio::time::timeout(PERIOD, exams.changed()).await {
            return; // the engine is gone
        }
    }
}

async fn push(engine: &Engine, grader: &Channel, live: &LiveExam) -> engine::Result<()> {
    let exam = AddExamRequest {
        part: Some(Part::Exam(live.exam())),
    };
    let mut client = PackageServiceClient::new(grader.clone());
    let told = client
        .add_exam(engine.to_grader(tokio_stream::once(exam.clone())))
        .await?;
    if told.into_inner().is_followed {
        return Ok(());
    }
    let package = engine.package(live.id.as_str()).await?;
    let key = files::read(&engine.key_file(live.id.as_str()))?;
    let mut messages = vec![exam];
    messages.extend(pieces(&package.paper, |piece| Part::Paper(piece.into())));
    messages.extend(pieces(&key, |piece| Part::Key(piece.into())));
    client
        .add_exam(engine.to_grader(tokio_stream::iter(messages)))
        .await?;
    Ok(())
}

fn pieces(bytes: &[u8], part: impl Fn(Vec<u8>) -> Part) -> Vec<AddExamRequest> {
    bytes
        .chunks(PIECE_BYTES)
        .map(|piece| AddExamRequest {
            part: Some(part(piece.to_vec())),
        })
        .collect()
}
