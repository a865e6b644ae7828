//! `exam exam watch` and `exam exam standings`: an exam as it runs, for a terminal.

use anyhow::Context;
use jiff::Timestamp;
use proto::exam::v1::{
    GetStandingsRequest, Scope, StandingRow, WatchExamRequest, WatchExamResponse,
};
use tokio::signal;

use super::{
    client::{Client, refusal},
    say,
};

/// Prints a line for each state that the server sends, at most one a second, until it ends or Ctrl+C.
pub(super) async fn run(client: &mut Client, id: String) -> anyhow::Result<()> {
    let request = WatchExamRequest { exam_id: id };
    let reply = client.watch_exam(request).await;
    let mut states = reply.map_err(|status| refusal(&status))?.into_inner();
    loop {
        let state = tokio::select! {
            state = states.message() => state.map_err(|status| refusal(&status))?,
            interrupted = signal::ctrl_c() => return Ok(interrupted?),
        };
        match state {
            Some(state) => say(line(&state)),
            None => return Ok(()),
        }
    }
}

fn line(state: &WatchExamResponse) -> String {
    let total = state.total.clone().unwrap_or_default();
    let mut line = format!(
        "người / persons {}, đang làm / working {}, đã nộp / submitted {}, hết giờ / expired {}, trễ / lag {}",
        total.persons, total.working, total.submitted, total.expired, state.lag
    );
    if state.n_quarantined > 0 {
        line += &format!(", bị loại / quarantined {}", state.n_quarantined);
    }
    line
}

/// Prints the first rows of the standings of a scope.
pub(super) async fn standings(
    client: &mut Client,
    id: String,
    scope: Scope,
    limit: u32,
) -> anyhow::Result<()> {
    let request = GetStandingsRequest {
        exam_id: id,
        scope: Some(scope),
        offset: 0,
        limit,
        public: false,
    };
    let reply = client.get_standings(request).await;
    let standings = reply.map_err(|status| refusal(&status))?.into_inner();
    say(
        "hạng / rank\tmã / candidate\ttỉnh / area\tđiểm / score\tđúng / correct\tgiây / seconds\tnộp lúc / submitted\tlượt / attempt",
    );
    for row in &standings.rows {
        say(row_line(row)?);
    }
    say(format_args!(
        "{0} người được xếp hạng / {0} persons ranked",
        standings.n_ranked
    ));
    Ok(())
}

fn row_line(row: &StandingRow) -> anyhow::Result<String> {
    let submitted = i64::try_from(row.submitted_at_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .context("submitted_at_ms")?;
    Ok(format!(
        "{}\t{}\t{}\t{}\t{}\t{}.{:03}\t{submitted}\t{}",
        row.rank,
        hex::encode(&row.candidate),
        row.area,
        row.score,
        row.n_correct,
        row.net_time_ms / 1_000,
        row.net_time_ms % 1_000,
        row.attempt
    ))
}
