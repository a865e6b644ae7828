//! The organizer's side of a run: codes before it, the close, the standings and the archive after it.
//!
//! Invariant: every wait and every file is bounded. Start at [`Organizer`].

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use client::Retries;
use proto::exam::v1::{
    CloseExamRequest, CodeRequest, CreateExamRequest, ErrorCode, Exam, ExamSpec, ExamState,
    ExportExamRequest, GetExamRequest, GetStandingsRequest, IssueCodesRequest, OpenExamRequest,
    PublishExamRequest, Scope, StandingRow, WatchExamRequest, WatchExamResponse,
    organizer_service_client::OrganizerServiceClient,
};
use tokio::{fs::File, io::AsyncWriteExt, time::Instant};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{
    client::{Failure, authorized, bearer, channel, retries},
    plan::Person,
};

/// Calls of the organizer are sent again for so long; an engine under test is killed and comes back.
const PATIENCE: Duration = Duration::from_secs(60);
/// Persons in one message of `IssueCodes`.
const CODES_PAGE: usize = 1_000;
/// Silence of a watched exam after which it is asked anew.
const WATCH_SILENCE: Duration = Duration::from_secs(5);
/// Pause before a stream is opened again.
const STREAM_PAUSE: Duration = Duration::from_millis(500);
/// The export is tried so often: the last entries may still be on their way to the grader.
const EXPORT_TRIES: u32 = 20;
/// No archive of a run on one machine is larger.
const MAX_ARCHIVE_BYTES: u64 = 16 << 30;

/// A client with the organizer's token.
#[derive(Clone)]
pub(crate) struct Organizer {
    client: OrganizerServiceClient<Channel>,
    token: MetadataValue<Ascii>,
    exam_id: String,
    retries: Retries,
}

impl Organizer {
    /// Makes one for an exam; the token stands in a file.
    pub(crate) fn new(url: &str, token_file: &Path, exam_id: &str) -> Result<Self> {
        let token = std::fs::read_to_string(token_file)
            .with_context(|| format!("read the organizer's token {}", token_file.display()))?;
        Ok(Self {
            client: OrganizerServiceClient::new(channel(url)?),
            token: bearer(token.trim())?,
            exam_id: exam_id.to_owned(),
            retries: retries(),
        })
    }

    fn authorized<T>(&self, body: T) -> Request<T> {
        authorized(body, &self.token)
    }

    async fn call<T, Fut>(
        &self,
        send: impl Fn(OrganizerServiceClient<Channel>) -> Fut,
    ) -> Result<T, Failure>
    where
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let give_up = Instant::now() + PATIENCE;
        let reply = self
            .retries
            .call(give_up, |_| {}, |_| send(self.client.clone()))
            .await?;
        Ok(reply.body)
    }

    /// Returns the exam.
    pub(crate) async fn exam(&self) -> Result<Exam> {
        let reply = self.call(|mut client| {
            let exam_id = self.exam_id.clone();
            let request = self.authorized(GetExamRequest { exam_id });
            async move { client.get_exam(request).await }
        });
        let exam = reply.await.context("GetExam")?.exam;
        exam.context("GetExam replied without an exam")
    }

    /// Writes, publishes and opens an exam.
    pub(crate) async fn open(&self, spec: ExamSpec) -> Result<()> {
        let created = self.call(|mut client| {
            let spec = Some(spec.clone());
            let request = self.authorized(CreateExamRequest { spec });
            async move { client.create_exam(request).await }
        });
        created.await.context("CreateExam")?;
        let published = self.call(|mut client| {
            let exam_id = self.exam_id.clone();
            let request = self.authorized(PublishExamRequest { exam_id });
            async move { client.publish_exam(request).await }
        });
        published.await.context("PublishExam")?;
        let opened = self.call(|mut client| {
            let exam_id = self.exam_id.clone();
            let request = self.authorized(OpenExamRequest { exam_id });
            async move { client.open_exam(request).await }
        });
        opened.await.context("OpenExam")?;
        Ok(())
    }

    /// Returns one access code a person, in order.
    pub(crate) async fn codes(&self, persons: &[Person]) -> Result<Vec<String>> {
        let mut codes = Vec::with_capacity(persons.len());
        for page in persons.chunks(CODES_PAGE) {
            let persons: Vec<CodeRequest> = page.iter().map(code_request).collect();
            let reply = self.call(|mut client| {
                let request = self.authorized(IssueCodesRequest {
                    exam_id: self.exam_id.clone(),
                    persons: persons.clone(),
                });
                async move { client.issue_codes(request).await }
            });
            let page_codes = reply.await.context("IssueCodes")?.codes;
            ensure!(
                page_codes.len() == page.len(),
                "IssueCodes gave too few codes"
            );
            codes.extend(page_codes);
        }
        Ok(codes)
    }

    /// Watches until the exam is as wanted. Returns the last state seen, and whether it is the wanted one.
    pub(crate) async fn watch_until(
        &self,
        until: Instant,
        wanted: impl Fn(&WatchExamResponse) -> bool,
    ) -> Result<(WatchExamResponse, bool)> {
        let mut last = None;
        loop {
            let give_up = until.min(Instant::now() + WATCH_SILENCE);
            let watched = self.watch_once(give_up, &wanted, &mut last).await;
            if let (Some(state), true) = (&last, watched) {
                return Ok((state.clone(), true));
            }
            if Instant::now() >= until {
                let state = last.context("WatchExam never replied")?;
                return Ok((state, false));
            }
            tokio::time::sleep(STREAM_PAUSE).await;
        }
    }

    /// One stream, until it shows what is wanted, falls silent or breaks.
    async fn watch_once(
        &self,
        give_up: Instant,
        wanted: &impl Fn(&WatchExamResponse) -> bool,
        last: &mut Option<WatchExamResponse>,
    ) -> bool {
        let exam_id = self.exam_id.clone();
        let request = self.authorized(WatchExamRequest { exam_id });
        let mut client = self.client.clone();
        let watched = tokio::time::timeout_at(give_up, async {
            let mut states = client.watch_exam(request).await?.into_inner();
            while let Some(state) = states.message().await? {
                let found = wanted(&state);
                *last = Some(state);
                if found {
                    return Ok(true);
                }
            }
            Ok::<bool, Status>(false)
        });
        matches!(watched.await, Ok(Ok(true)))
    }

    /// Closes the exam; an exam closed by a call whose reply was lost is closed all the same.
    pub(crate) async fn close(&self, end_running: bool) -> Result<()> {
        let reply = self.call(|mut client| {
            let exam_id = self.exam_id.clone();
            let request = self.authorized(CloseExamRequest {
                exam_id,
                end_running,
            });
            async move { client.close_exam(request).await }
        });
        match reply.await {
            Err(failure) if failure.is(ErrorCode::ExamStateWrong) => {
                let state = self.exam().await?.state();
                ensure!(state == ExamState::Closed, "CloseExam {failure}");
                Ok(())
            }
            reply => reply.map(|_| ()).context("CloseExam"),
        }
    }

    /// Returns the first rows of the standings in a scope, and the number of persons ranked there.
    pub(crate) async fn standings(
        &self,
        area: &str,
        limit: u32,
    ) -> Result<(Vec<StandingRow>, u64)> {
        let reply = self.call(|mut client| {
            let request = self.authorized(GetStandingsRequest {
                exam_id: self.exam_id.clone(),
                scope: Some(Scope {
                    area: area.to_owned(),
                    ..Scope::default()
                }),
                offset: 0,
                limit,
                public: false,
            });
            async move { client.get_standings(request).await }
        });
        let page = reply.await.context("GetStandings")?;
        Ok((page.rows, page.n_ranked))
    }

    /// Asks for the first rows of the nationwide standings, once.
    pub(crate) async fn standings_once(&self, limit: u32) -> Result<(), Status> {
        let request = self.authorized(GetStandingsRequest {
            exam_id: self.exam_id.clone(),
            scope: Some(Scope::default()),
            offset: 0,
            limit,
            public: false,
        });
        self.client.clone().get_standings(request).await.map(|_| ())
    }

    /// Writes the archive's files into a folder.
    pub(crate) async fn export(&self, dir: &Path) -> Result<()> {
        let mut last = anyhow!("not tried");
        for _ in 0..EXPORT_TRIES {
            match self.export_once(dir).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            tokio::time::sleep(STREAM_PAUSE).await;
        }
        Err(last.context("ExportExam"))
    }

    async fn export_once(&self, dir: &Path) -> Result<()> {
        let reply = self.call(|mut client| {
            let exam_id = self.exam_id.clone();
            let request = self.authorized(ExportExamRequest {
                exam_id,
                files: vec![],
            });
            async move { client.export_exam(request).await }
        });
        let mut pieces = reply.await?;
        let mut open: Option<(String, File)> = None;
        let mut n_bytes = 0_u64;
        while let Some(piece) = pieces.message().await? {
            n_bytes += piece.data.len() as u64;
            ensure!(n_bytes <= MAX_ARCHIVE_BYTES, "the archive is too large");
            let mut file = match open.take() {
                Some((name, file)) if name == piece.file => file,
                before => {
                    finish(before).await?;
                    let name = file_name(&piece.file)?;
                    File::create(dir.join(name))
                        .await
                        .context("create a file of the archive")?
                }
            };
            file.write_all(&piece.data)
                .await
                .context("write a file of the archive")?;
            open = Some((piece.file, file));
        }
        finish(open).await
    }
}

async fn finish(open: Option<(String, File)>) -> Result<()> {
    if let Some((_, mut file)) = open {
        file.flush().await.context("write a file of the archive")?;
    }
    Ok(())
}

/// A name from the network becomes a file only if it stays in the folder.
fn file_name(name: &str) -> Result<&str> {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if name.is_empty() || name.starts_with('.') || name.len() > 100 || !plain {
        bail!("the archive has a file of a strange name: {name:?}");
    }
    Ok(name)
}

fn code_request(person: &Person) -> CodeRequest {
    CodeRequest {
        candidate: person.candidate.to_vec().into(),
        area: person.area.to_string(),
        ..CodeRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_the_folder() {
        for good in ["log.bin", "result.tsv", "exam-1_a"] {
            assert_eq!(file_name(good).unwrap(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "../log.bin",
            "/etc/passwd",
            "a/b",
            ".hidden",
            "a\\b",
            "a\0",
        ] {
            assert!(file_name(bad).is_err(), "{bad:?}");
        }
    }
}
