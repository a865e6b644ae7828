//! `exam exam extend | pause | resume | end | void | restore | reopen | compensate`: what is done to running and ended attempts.

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use jiff::{civil::DateTime, tz::TimeZone};
use proto::exam::v1::{
    ActOnAttemptsRequest, ActionScope, Cause, CompensateOutageRequest, EndAction, ExtendAction,
    PauseAction, ReasonCode, ReopenAction, RestoreAction, ResumeAction, VoidAction,
    act_on_attempts_request::Action, action_scope::Who,
};
use tonic::Status;

use super::{
    client::{Client, is_unknown, refusal},
    say,
};

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum ActCommand {
    /// Cho thêm giờ / give more time.
    Extend {
        /// Số phút / minutes.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_440))]
        minutes: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Tạm dừng giờ / stop the clock.
    Pause {
        #[command(flatten)]
        common: Common,
    },
    /// Chạy tiếp giờ / let the clock go on.
    Resume {
        #[command(flatten)]
        common: Common,
    },
    /// Thu bài / end attempts with the answers they have.
    End {
        #[command(flatten)]
        common: Common,
    },
    /// Hủy kết quả lượt thi / make attempts not count.
    Void {
        /// Cho thi lại / the person may sit once more.
        #[arg(long)]
        may_retake: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Công nhận lại lượt thi đã hủy / make voided attempts count again.
    Restore {
        #[command(flatten)]
        common: Common,
    },
    /// Mở lại lượt thi đã kết thúc / let ended attempts go on.
    Reopen {
        /// Số phút kể từ bây giờ / minutes from now.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_440))]
        minutes: u64,
        /// Cả khi kỳ thi đã đóng / also in a closed exam.
        #[arg(long)]
        after_close: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Bù giờ sự cố, tính riêng cho từng thí sinh từ biên nhận của họ / give back the time lost in an outage, for each candidate by the own receipts.
    Compensate {
        /// Bắt đầu, giờ Việt Nam, ví dụ 2026-12-01T09:00:30 / when it began, time of Vietnam.
        #[arg(long)]
        from: DateTime,
        /// Kết thúc / when it was over.
        #[arg(long)]
        to: DateTime,
        /// Im lặng ngắn hơn thế là đang nghĩ, giây / a shorter silence is thinking, seconds.
        #[arg(long, default_value_t = 20)]
        least_silence_s: u64,
        #[command(flatten)]
        common: Common,
    },
}

/// Whose attempts, and why.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Tên kỳ thi / name of the exam.
    id: String,
    #[command(flatten)]
    whose: Whose,
    /// Chỉ khi lượt mới nhất mang số này / only if the newest attempt has this number.
    #[arg(long, default_value_t = 0)]
    attempt: u32,
    /// Lý do / reason.
    #[arg(long, value_enum)]
    reason: Reason,
    /// Ghi chú, bắt buộc khi lý do là `other` / note, required with `other`.
    #[arg(long, default_value = "")]
    note: String,
    /// Mã việc: gọi lại cùng mã thì chỉ làm tiếp phần còn lại / id: called again with the same one it only does what is left.
    #[arg(long)]
    action_id: Option<String>,
    /// Chỉ đếm / only count.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Một thí sinh, 32 chữ số hex / one candidate, 32 hexadecimal digits.
    #[arg(long)]
    candidate: Option<String>,
    /// Một đơn vị / one unit.
    #[arg(long)]
    unit: Option<u32>,
    /// Một tỉnh / one area.
    #[arg(long)]
    area: Option<String>,
    /// Tất cả / everybody.
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Reason {
    TechnicalFault,
    Outage,
    Accommodation,
    RuleBreach,
    Identity,
    CandidateRequest,
    OrganizerError,
    Rehearsal,
    Other,
}

impl Reason {
    pub(super) fn to_wire(self) -> ReasonCode {
        match self {
            Self::TechnicalFault => ReasonCode::TechnicalFault,
            Self::Outage => ReasonCode::Outage,
            Self::Accommodation => ReasonCode::Accommodation,
            Self::RuleBreach => ReasonCode::RuleBreach,
            Self::Identity => ReasonCode::Identity,
            Self::CandidateRequest => ReasonCode::CandidateRequest,
            Self::OrganizerError => ReasonCode::OrganizerError,
            Self::Rehearsal => ReasonCode::Rehearsal,
            Self::Other => ReasonCode::Other,
        }
    }
}

pub(super) async fn run(client: &mut Client, command: ActCommand) -> anyhow::Result<()> {
    let (action, common) = match command {
        ActCommand::Extend { minutes, common } => {
            let by_ms = minutes * 60_000;
            (Action::Extend(ExtendAction { by_ms }), common)
        }
        ActCommand::Pause { common } => (Action::Pause(PauseAction {}), common),
        ActCommand::Resume { common } => (Action::Resume(ResumeAction {}), common),
        ActCommand::End { common } => (Action::End(EndAction {}), common),
        ActCommand::Void { may_retake, common } => {
            (Action::Void(VoidAction { may_retake }), common)
        }
        ActCommand::Restore { common } => (Action::Restore(RestoreAction {}), common),
        ActCommand::Reopen {
            minutes,
            after_close,
            common,
        } => {
            let reopen = ReopenAction {
                time_ms: minutes * 60_000,
                after_close,
            };
            (Action::Reopen(reopen), common)
        }
        ActCommand::Compensate {
            from,
            to,
            least_silence_s,
            common,
        } => {
            return compensate(client, from, to, least_silence_s, common).await;
        }
    };
    let request = ActOnAttemptsRequest {
        scope: Some(scope(&common.whose)?),
        cause: Some(cause(&common)),
        exam_id: common.id,
        dry_run: common.dry_run,
        attempt: common.attempt,
        action: Some(action),
    };
    let action_id = action_id(&request.cause);
    let reply = client.act_on_attempts(request).await;
    let acted = reply
        .map_err(|status| refused(&status, &action_id))?
        .into_inner();
    say(format_args!(
        "{} lượt thi thay đổi, {} giữ nguyên / {} attempts changed, {} unchanged",
        acted.n_changed, acted.n_unchanged, acted.n_changed, acted.n_unchanged
    ));
    complete(acted.n_failed)
}

async fn compensate(
    client: &mut Client,
    from: DateTime,
    to: DateTime,
    least_silence_s: u64,
    common: Common,
) -> anyhow::Result<()> {
    let request = CompensateOutageRequest {
        scope: Some(scope(&common.whose)?),
        cause: Some(cause(&common)),
        exam_id: common.id,
        dry_run: common.dry_run,
        from_ms: instant(from)?,
        to_ms: instant(to)?,
        least_silence_ms: least_silence_s.saturating_mul(1_000),
    };
    let action_id = action_id(&request.cause);
    let reply = client.compensate_outage(request).await;
    let given = reply
        .map_err(|status| refused(&status, &action_id))?
        .into_inner();
    say(format_args!(
        "{} lượt thi thêm giờ, {} mở lại, {} không ảnh hưởng; nhiều nhất {} giây / \
         {} attempts extended, {} reopened, {} unaffected; {} seconds at most",
        given.n_extended,
        given.n_reopened,
        given.n_unaffected,
        given.longest_ms.div_ceil(1_000),
        given.n_extended,
        given.n_reopened,
        given.n_unaffected,
        given.longest_ms.div_ceil(1_000),
    ));
    complete(given.n_failed)
}

fn action_id(cause: &Option<Cause>) -> String {
    cause
        .as_ref()
        .map(|cause| cause.action_id.clone())
        .unwrap_or_default()
}

/// Tells whoever lost the reply how to ask again without doing it twice.
fn refused(status: &Status, action_id: &str) -> anyhow::Error {
    let error = refusal(status);
    if !is_unknown(status) {
        return error;
    }
    error.context(format!(
        "chưa biết việc đã xong hay chưa, hãy gọi lại với --action-id {action_id} / \
         it is not known whether it was done, call again with --action-id {action_id}"
    ))
}

fn complete(n_failed: u64) -> anyhow::Result<()> {
    anyhow::ensure!(
        n_failed == 0,
        "{n_failed} lượt thi chưa làm được, hãy gọi lại với cùng --action-id / {n_failed} attempts could not be changed, call again with the same --action-id"
    );
    Ok(())
}

fn scope(whose: &Whose) -> anyhow::Result<ActionScope> {
    let who = match (&whose.candidate, whose.unit, &whose.area) {
        (Some(candidate), _, _) => {
            let id = hex::decode(candidate).ok().filter(|id| id.len() == 16);
            Who::Candidate(
                id.context(
                    "mã thí sinh cần 32 chữ số hex / a candidate id has 32 hexadecimal digits",
                )?
                .into(),
            )
        }
        (_, Some(unit), _) => Who::Unit(unit),
        (_, _, Some(area)) => Who::Area(area.clone()),
        _ => Who::Everybody(true),
    };
    Ok(ActionScope { who: Some(who) })
}

/// Without an id of the caller's, each call is an action of its own.
fn cause(common: &Common) -> Cause {
    let own = || format!("cli-{}", jiff::Timestamp::now().as_microsecond());
    let action_id = common.action_id.clone().unwrap_or_else(own);
    say(format_args!("Mã việc / action id: {action_id}"));
    Cause {
        action_id,
        reason: common.reason.to_wire().into(),
        note: common.note.clone(),
    }
}

fn instant(at: DateTime) -> anyhow::Result<u64> {
    let zone = TimeZone::get("Asia/Ho_Chi_Minh")?;
    let at = at.to_zoned(zone)?.timestamp();
    Ok(u64::try_from(at.as_millisecond())?)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_lost_reply_names_the_id_to_repeat() {
        #[track_caller]
        fn check(code: Code, expected: bool) {
            let error = refused(&Status::new(code, "why"), "cli-7");
            assert_eq!(format!("{error:#}").contains("--action-id cli-7"), expected);
            assert!(format!("{error:#}").contains("why"));
        }
        for lost in [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled] {
            check(lost, true);
        }
        for decided in [
            Code::InvalidArgument,
            Code::PermissionDenied,
            Code::NotFound,
        ] {
            check(decided, false);
        }
    }
}
