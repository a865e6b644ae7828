//! `exam exam`: an exam's life, from its file to its results.

use std::{fs, path::Path};

use anyhow::Context;
use jiff::Timestamp;
use proto::exam::v1::{
    CloseExamRequest, CreateExamRequest, Exam, ExamState, ListExamsRequest, OpenExamRequest,
    PublishExamRequest,
};

use super::{
    ExamCommand, act, archive, ask,
    client::{self, Client, refusal},
    codes, decide, results, say, spec, watch,
};

pub(super) fn run(
    data: &Path,
    server: &str,
    ca: Option<&Path>,
    command: ExamCommand,
) -> anyhow::Result<()> {
    if matches!(command, ExamCommand::Template) {
        say(spec::TEMPLATE);
        return Ok(());
    }
    check(&command)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match command {
            ExamCommand::Decide(command) => decide::run(data, server, ca, command).await,
            ExamCommand::Ask(command) => ask::run(data, server, ca, command).await,
            command => {
                let mut client = client::connect(data, server, ca).await?;
                dispatch(&mut client, command).await
            }
        }
    })
}

/// Finds mistakes that need no server to be seen.
fn check(command: &ExamCommand) -> anyhow::Result<()> {
    match command {
        ExamCommand::Codes { file, .. } => codes::read(file).map(drop),
        ExamCommand::Results { csv, xlsx, .. } => {
            let mut files = [csv, xlsx].into_iter().flatten();
            files.try_for_each(|file| results::check_place(file))
        }
        ExamCommand::Archive { folder, .. } => archive::check_free(folder),
        _ => Ok(()),
    }
}

async fn dispatch(client: &mut Client, command: ExamCommand) -> anyhow::Result<()> {
    match command {
        // done before a client is made
        ExamCommand::Template | ExamCommand::Decide(_) | ExamCommand::Ask(_) => Ok(()),
        ExamCommand::Create { file, draft } => create(client, &file, draft).await,
        ExamCommand::Publish { id } => publish(client, id).await,
        ExamCommand::Open { id } => {
            let reply = client
                .open_exam(OpenExamRequest { exam_id: id })
                .await
                .map_err(|status| refusal(&status))?;
            show(reply.into_inner().exam.as_ref());
            Ok(())
        }
        ExamCommand::Close { id, end_running } => {
            let request = CloseExamRequest {
                exam_id: id,
                end_running,
            };
            let reply = client
                .close_exam(request)
                .await
                .map_err(|status| refusal(&status))?
                .into_inner();
            show(reply.exam.as_ref());
            say(format_args!(
                "Đã kết thúc {} bài đang làm / {} running attempts ended",
                reply.n_ended, reply.n_ended
            ));
            Ok(())
        }
        ExamCommand::List => {
            let reply = client
                .list_exams(ListExamsRequest {})
                .await
                .map_err(|status| refusal(&status))?;
            for exam in &reply.into_inner().exams {
                show(Some(exam));
            }
            Ok(())
        }
        ExamCommand::Watch { id } => watch::run(client, id).await,
        ExamCommand::Standings { id, among, limit } => {
            watch::standings(client, id, among.scope(), limit).await
        }
        ExamCommand::Codes { id, file } => codes::run(client, &id, &file).await,
        ExamCommand::Results { id, csv, xlsx } => {
            results::run(client, &id, csv.as_deref(), xlsx.as_deref()).await
        }
        ExamCommand::Act(command) => act::run(client, command).await,
        ExamCommand::Archive { id, folder } => archive::run(client, &id, &folder).await,
    }
}

async fn create(client: &mut Client, file: &Path, draft: bool) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("không đọc được / cannot read {}", file.display()))?;
    let spec = spec::parse(&text, Timestamp::now()).with_context(|| file.display().to_string())?;
    let id = spec.exam_id.clone();
    client
        .create_exam(CreateExamRequest { spec: Some(spec) })
        .await
        .map_err(|status| refusal(&status))?;
    if draft {
        say(format_args!("Đã lưu nháp / draft kept: {id}"));
        return Ok(());
    }
    publish(client, id).await
}

async fn publish(client: &mut Client, id: String) -> anyhow::Result<()> {
    let reply = client
        .publish_exam(PublishExamRequest { exam_id: id })
        .await
        .map_err(|status| refusal(&status))?;
    show(reply.into_inner().exam.as_ref());
    Ok(())
}

fn show(exam: Option<&Exam>) {
    let Some(exam) = exam else { return };
    let spec = exam.spec.clone().unwrap_or_default();
    let state = match exam.state() {
        ExamState::Unspecified => "?",
        ExamState::Draft => "nháp / draft",
        ExamState::Published => "đã công bố / published",
        ExamState::Open => "đang mở / open",
        ExamState::Closed => "đã đóng / closed",
    };
    say(format_args!("{}: {} — {state}", spec.exam_id, spec.title));
    if !exam.paper_hash.is_empty() {
        say(format_args!(
            "  {} câu mỗi đề / items on a paper; bản / release {}; đề / paper {}; cam kết / commitment {}",
            exam.n_items,
            spec.release_no,
            hex::encode(&exam.paper_hash),
            hex::encode(&exam.secret_commitment)
        ));
        say(format_args!(
            "  khóa biên nhận / slip key {}",
            hex::encode(&exam.slip_key)
        ));
    }
}
