//! `exam exam rank | units | winners | statistics | state`: what the grader knows.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use jiff::{Timestamp, tz::TimeZone};
use proto::grader::v1::{
    GetGraderStateRequest, GetStatisticsRequest, GetUnitStandingsRequest, GetWinnersRequest,
    ItemStatistics, RankScoreRequest, TestStatistics, grader_service_client::GraderServiceClient,
};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use super::{
    Among,
    client::{self, Bearer, refusal},
    results, say,
};

/// Statistics of 20,000 items with their options fit.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// What is asked.
#[derive(Debug, Subcommand)]
pub(super) enum AskCommand {
    /// Một số điểm thì đứng hạng mấy / what rank a score would have.
    Rank {
        /// Tên kỳ thi / name of the exam.
        id: String,
        /// Điểm / score.
        score: String,
        #[command(flatten)]
        among: Among,
    },
    /// Xếp hạng các đơn vị / rank the units.
    Units {
        /// Tên kỳ thi / name of the exam.
        id: String,
        /// Chỉ các đơn vị của nhóm này / only the units of this group.
        #[arg(long)]
        group: Option<String>,
        /// Các đơn vị trực thuộc đơn vị này / the units right below this one.
        #[arg(long)]
        parent: Option<u32>,
    },
    /// Ai được giải / who gets the prizes.
    Winners {
        /// Tên kỳ thi / name of the exam.
        id: String,
    },
    /// Thống kê câu hỏi, bài thi và cảnh báo / statistics of items and test, and alarms.
    Statistics {
        /// Tên kỳ thi / name of the exam.
        id: String,
    },
    /// Báo cáo thống kê in được, có biểu đồ / a printable report of the statistics, with plots.
    Report {
        /// Tên kỳ thi / name of the exam.
        id: String,
        /// Tệp HTML để ghi / HTML file to write.
        file: PathBuf,
    },
    /// Trạng thái máy chấm / how the grader stands.
    State {
        /// Tên kỳ thi / name of the exam.
        id: String,
    },
}

type Client = GraderServiceClient<InterceptedService<Channel, Bearer>>;

pub(super) async fn run(
    data: &Path,
    server: &str,
    ca: Option<&Path>,
    command: AskCommand,
) -> anyhow::Result<()> {
    let bearer = client::bearer(data)?;
    let channel = client::channel(server, ca).await?;
    let mut client = GraderServiceClient::with_interceptor(channel, bearer)
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    match command {
        AskCommand::Rank { id, score, among } => {
            let request = RankScoreRequest {
                exam_id: id,
                scope: Some(among.scope()),
                score,
            };
            let reply = client.rank_score(request).await;
            let reply = reply.map_err(|status| refusal(&status))?.into_inner();
            say(format_args!(
                "hạng {0} trong {1} người / rank {0} of {1}",
                reply.rank, reply.n_ranked
            ));
            Ok(())
        }
        AskCommand::Units { id, group, parent } => units(&mut client, id, group, parent).await,
        AskCommand::Winners { id } => winners(&mut client, id).await,
        AskCommand::Statistics { id } => statistics(&mut client, id).await,
        AskCommand::Report { id, file } => {
            results::check_place(&file)?;
            let request = GetStatisticsRequest { exam_id: id };
            let reply = client.get_report(request).await;
            let html = reply.map_err(|status| refusal(&status))?.into_inner().html;
            std::fs::write(&file, html)?;
            say(format_args!("Đã ghi / written: {}", file.display()));
            Ok(())
        }
        AskCommand::State { id } => state(&mut client, id).await,
    }
}

async fn units(
    client: &mut Client,
    exam_id: String,
    group: Option<String>,
    parent: Option<u32>,
) -> anyhow::Result<()> {
    let request = GetUnitStandingsRequest {
        exam_id,
        group: group.unwrap_or_default(),
        parent: parent.unwrap_or_default(),
    };
    let reply = client.get_unit_standings(request).await;
    say(
        "hạng / rank\tđơn vị / unit\tbiên chế / head count\tngười / persons\tlượt / attempts\tđạt / passed\tđiểm trung bình / mean",
    );
    for row in reply.map_err(|status| refusal(&status))?.into_inner().rows {
        let rank = match row.rank {
            0 => "-".to_owned(),
            rank => rank.to_string(),
        };
        say(format_args!(
            "{rank}\t{} {}\t{}\t{}\t{}\t{}\t{}",
            row.unit,
            row.name,
            row.head_count,
            row.persons,
            row.attempts,
            row.passed,
            row.mean_score
        ));
    }
    Ok(())
}

async fn winners(client: &mut Client, exam_id: String) -> anyhow::Result<()> {
    let reply = client.get_winners(GetWinnersRequest { exam_id }).await;
    say("giải / prize\thạng / rank\tmã / candidate\tđiểm / score\tđồng hạng / tied");
    for winner in reply
        .map_err(|status| refusal(&status))?
        .into_inner()
        .winners
    {
        let row = winner.row.unwrap_or_default();
        say(format_args!(
            "{}\t{}\t{}\t{}\t{}",
            winner.prize_name,
            row.rank,
            hex::encode(&row.candidate),
            row.score,
            if winner.tied { "có / yes" } else { "" }
        ));
    }
    Ok(())
}

async fn statistics(client: &mut Client, exam_id: String) -> anyhow::Result<()> {
    let reply = client
        .get_statistics(GetStatisticsRequest { exam_id })
        .await;
    let statistics = reply.map_err(|status| refusal(&status))?.into_inner();
    say(
        "câu / item\tlượt / n\tđộ khó / facility\tsd\tphân biệt / discrimination\thiệu suất / efficiency\ttrọng số / weight\tđoán mò / guess",
    );
    for item in &statistics.items {
        say(item_line(item));
    }
    say(
        "theo / by\tlượt / n\ttrung bình / mean\ttrung vị / median\tsd\tlệch / skewness\tnhọn / kurtosis\talpha\t1-MSW/MSB\tSEM",
    );
    for test in &statistics.tests {
        say(test_line(test));
    }
    for alarm in &statistics.alarms {
        say(format_args!(
            "CẢNH BÁO / ALARM {}: câu / item {}: {}",
            alarm.kind, alarm.item_id, alarm.evidence
        ));
    }
    Ok(())
}

fn item_line(item: &ItemStatistics) -> String {
    let values = [
        item.facility,
        item.sd,
        item.discrimination_index,
        item.discriminative_efficiency,
        item.effective_weight,
        item.random_guess,
    ];
    format!("{}\t{}\t{}", item.item_id, item.n, figures(&values))
}

fn test_line(test: &TestStatistics) -> String {
    let values = [
        test.mean,
        test.median,
        test.sd,
        test.skewness,
        test.kurtosis,
        test.alpha,
        test.reliability,
        test.sem,
    ];
    let by = match test.by.as_str() {
        "" => "tất cả / all".to_owned(),
        "hour" => format!("hour {}", hour(&test.of)),
        by => format!("{by} {}", test.of),
    };
    format!("{by}\t{}\t{}", test.n, figures(&values))
}

/// Shows the hour of a cohort as Vietnam's clocks do.
fn hour(ms: &str) -> String {
    let instant = ms
        .parse()
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let zone = TimeZone::get("Asia/Ho_Chi_Minh").ok();
    match instant.zip(zone) {
        Some((instant, zone)) => instant
            .to_zoned(zone)
            .strftime("%Y-%m-%d %H:%M")
            .to_string(),
        None => ms.to_owned(),
    }
}

fn figures(values: &[Option<f64>]) -> String {
    let texts: Vec<String> = values
        .iter()
        .map(|value| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}")))
        .collect();
    texts.join("\t")
}

async fn state(client: &mut Client, exam_id: String) -> anyhow::Result<()> {
    let request = GetGraderStateRequest { exam_id };
    let reply = client.get_grader_state(request).await;
    let state = reply.map_err(|status| refusal(&status))?.into_inner();
    say(format_args!(
        "mã băm trạng thái / state hash {}\ntại vị trí / at positions {:?}\nbản đáp án / key version {}\nchậm / behind {}\ncách ly / quarantined {}",
        hex::encode(&state.state_hash),
        state.positions,
        state.key_version,
        state.lag,
        state.n_quarantined
    ));
    for entry in &state.quarantined {
        say(format_args!(
            "phân vùng / partition {} vị trí / position {}: {}",
            entry.partition, entry.position, entry.reason
        ));
    }
    Ok(())
}
