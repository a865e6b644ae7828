//! `exam exam`: an exam's life, from its file to its results.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write,
    path::Path,
};

use anyhow::Context;
use jiff::Timestamp;
use proto::exam::v1::{
    CloseExamRequest, CodeRequest, CreateExamRequest, Exam, ExamState, IssueCodesRequest,
    ListExamsRequest, OpenExamRequest, PublishExamRequest,
};

use super::{
    ExamCommand,
    client::{self, Client, refusal},
    results, say, spec,
};

pub(super) fn run(data: &Path, server: &str, command: ExamCommand) -> anyhow::Result<()> {
    if matches!(command, ExamCommand::Template) {
        say(spec::TEMPLATE);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut client = client::connect(data, server).await?;
        dispatch(&mut client, command).await
    })
}

async fn dispatch(client: &mut Client, command: ExamCommand) -> anyhow::Result<()> {
    match command {
        ExamCommand::Template => Ok(()),
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
        ExamCommand::Codes { id, file } => codes(client, &id, &file).await,
        ExamCommand::Results { id, csv, xlsx } => {
            results::run(client, &id, csv.as_deref(), xlsx.as_deref()).await
        }
        ExamCommand::Archive { id, folder } => archive(client, &id, &folder).await,
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
    }
}

async fn codes(client: &mut Client, id: &str, file: &Path) -> anyhow::Result<()> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_path(file)?;
    let mut persons = Vec::new();
    for (index, row) in reader.records().enumerate() {
        let row = row?;
        let candidate = row
            .get(0)
            .and_then(|text| hex::decode(text).ok())
            .filter(|bytes| bytes.len() == 16);
        let (Some(candidate), Some(area)) = (candidate, row.get(1)) else {
            anyhow::bail!(
                "{}, dòng {1}: cần `32 chữ số hex,mã tỉnh` / line {1}: expected `32 hexadecimal digits,area code`",
                file.display(),
                index + 1
            );
        };
        persons.push(CodeRequest {
            candidate: candidate.into(),
            area: area.to_owned(),
            unit: 0,
        });
    }
    for page in persons.chunks(crate::engine::MAX_CODES) {
        let request = IssueCodesRequest {
            exam_id: id.to_owned(),
            persons: page.to_vec(),
        };
        let codes = client
            .issue_codes(request)
            .await
            .map_err(|status| refusal(&status))?
            .into_inner()
            .codes;
        for (person, code) in page.iter().zip(codes) {
            say(format_args!(
                "{},{},{code}",
                hex::encode(&person.candidate),
                person.area
            ));
        }
    }
    Ok(())
}

async fn archive(client: &mut Client, id: &str, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut files: HashMap<String, File> = HashMap::new();
    client::archive(client, id, |name, data| {
        anyhow::ensure!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'.'),
            "tên tệp lạ / strange file name {name}"
        );
        let file = match files.entry(name.to_owned()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(File::create(folder.join(name))?)
            }
        };
        Ok(file.write_all(data)?)
    })
    .await?;
    say(format_args!("Đã lưu vào / written to {}", folder.display()));
    Ok(())
}
