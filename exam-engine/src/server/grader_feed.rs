//! Hands published exams to the grader, wherever it runs: the exam's state at every change, the halves when it lacks them.
//!
//! The role that publishes does this, and nobody else reads `keys/` besides the grader itself.

use std::{collections::HashSet, sync::Arc, time::Duration};

use proto::grader::v1::{AddExamRequest, package_service_client::PackageServiceClient};
use tonic::transport::Channel;

use crate::engine::{self, Engine, LiveExam};

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
        exam: Some(live.exam().as_ref().clone()),
        ..AddExamRequest::default()
    };
    let mut client = PackageServiceClient::new(grader.clone());
    let told = client
        .add_exam(engine.to_grader(tokio_stream::once(exam.clone())))
        .await?;
    if told.into_inner().is_followed {
        return Ok(());
    }
    let package = engine.package(live.id.as_str()).await?;
    let keys = engine.key_halves(&live.exam())?;
    let mut messages = vec![exam];
    messages.extend(
        package
            .paper
            .chunks(PIECE_BYTES)
            .map(|piece| AddExamRequest {
                paper: piece.to_vec().into(),
                ..AddExamRequest::default()
            }),
    );
    for (key_version, key) in (1..).zip(keys) {
        messages.extend(key.chunks(PIECE_BYTES).map(|piece| AddExamRequest {
            key: piece.to_vec().into(),
            key_version,
            ..AddExamRequest::default()
        }));
    }
    client
        .add_exam(engine.to_grader(tokio_stream::iter(messages)))
        .await?;
    Ok(())
}
