//! All exams of a data folder: files on disk, published ones in memory.
//!
//! `exams/<id>/exam.bin` and `paper.bin`; the key half stands apart in `keys/<id>.bin`, which only graders read.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use prost::Message;
use proto::exam::v1 as wire;
use tokio::sync::watch;

use super::{Error, LiveExam, Result};
use crate::{files, secrets::Key};

pub(super) struct Registry {
    data: PathBuf,
    exams: RwLock<Exams>,
    live: watch::Sender<Vec<Arc<LiveExam>>>,
}

#[derive(Default)]
struct Exams {
    drafts: BTreeMap<String, wire::Exam>,
    live: BTreeMap<String, Arc<LiveExam>>,
    by_tag: BTreeMap<[u8; 8], Arc<LiveExam>>,
}

/// Where the files of an exam stand.
pub(crate) struct ExamFiles {
    pub(crate) exam: PathBuf,
    pub(crate) paper: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) secret: PathBuf,
}

impl ExamFiles {
    pub(crate) fn new(data: &Path, exam_id: &str) -> Self {
        let folder = data.join("exams").join(exam_id);
        Self {
            exam: folder.join("exam.bin"),
            paper: folder.join("paper.bin"),
            key: data.join("keys").join(format!("{exam_id}.bin")),
            secret: data.join("secrets").join(format!("exam-{exam_id}.secret")),
        }
    }
}

impl Registry {
    pub(super) fn load(data: &Path) -> Result<Self> {
        let registry = Self {
            data: data.to_owned(),
            exams: RwLock::default(),
            live: watch::Sender::new(Vec::new()),
        };
        let folder = data.join("exams");
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            let files = ExamFiles::new(data, &name.to_string_lossy());
            let exam = wire::Exam::decode(fs::read(&files.exam)?.as_slice())
                .map_err(|error| damaged(&files.exam, &error))?;
            registry.insert(exam)?;
        }
        Ok(registry)
    }

    pub(super) fn files(&self, exam_id: &str) -> ExamFiles {
        ExamFiles::new(&self.data, exam_id)
    }

    /// Writes an exam to disk, then takes it into memory.
    pub(super) fn save(&self, exam: wire::Exam) -> Result<()> {
        let name = exam
            .spec
            .as_ref()
            .map(|spec| spec.exam_id.clone())
            .unwrap_or_default();
        files::write(&self.files(&name).exam, &exam.encode_to_vec())?;
        self.insert(exam)
    }

    fn insert(&self, exam: wire::Exam) -> Result<()> {
        let name = exam
            .spec
            .as_ref()
            .map(|spec| spec.exam_id.clone())
            .unwrap_or_default();
        let is_draft = exam.state() == wire::ExamState::Draft;
        let known = self
            .exams
            .read()
            .expect("no panic under this lock")
            .live
            .get(&name)
            .cloned();
        let live = match known {
            _ if is_draft => None,
            Some(live) => {
                live.set(exam.clone());
                Some(live)
            }
            None => {
                let files = self.files(&name);
                let secret = Key::load_or_generate(&files.secret)?;
                Some(Arc::new(LiveExam::new(
                    exam.clone(),
                    &fs::read(&files.paper)?,
                    &secret.0,
                )?))
            }
        };
        let mut exams = self.exams.write().expect("no panic under this lock");
        match live {
            None => {
                exams.drafts.insert(name, exam);
            }
            Some(live) => {
                exams.drafts.remove(&name);
                exams.by_tag.insert(live.id.tag(), Arc::clone(&live));
                exams.live.insert(name, live);
            }
        }
        let all = exams.live.values().cloned().collect();
        drop(exams);
        self.live.send_replace(all);
        Ok(())
    }

    pub(super) fn get(&self, exam_id: &str) -> Option<wire::Exam> {
        let exams = self.exams.read().expect("no panic under this lock");
        exams
            .live
            .get(exam_id)
            .map(|live| live.exam())
            .or_else(|| exams.drafts.get(exam_id).cloned())
    }

    pub(super) fn live(&self, exam_id: &str) -> Option<Arc<LiveExam>> {
        self.exams
            .read()
            .expect("no panic under this lock")
            .live
            .get(exam_id)
            .cloned()
    }

    pub(super) fn by_tag(&self, tag: [u8; 8]) -> Option<Arc<LiveExam>> {
        self.exams
            .read()
            .expect("no panic under this lock")
            .by_tag
            .get(&tag)
            .cloned()
    }

    pub(super) fn list(&self) -> Vec<wire::Exam> {
        let exams = self.exams.read().expect("no panic under this lock");
        let mut all: BTreeMap<&str, wire::Exam> = exams
            .drafts
            .iter()
            .map(|(name, exam)| (name.as_str(), exam.clone()))
            .collect();
        all.extend(
            exams
                .live
                .iter()
                .map(|(name, live)| (name.as_str(), live.exam())),
        );
        all.into_values().collect()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Vec<Arc<LiveExam>>> {
        self.live.subscribe()
    }
}

fn damaged(file: &Path, error: &prost::DecodeError) -> Error {
    Error::File(std::io::Error::other(format!(
        "{}: {error}",
        file.display()
    )))
}
