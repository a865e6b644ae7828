//! All exams of a data folder: files on disk, published ones in memory.
//!
//! `exams/<id>/exam.bin` and `paper.bin`; the key half stands apart in `keys/<id>.bin`, which only graders read.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, RwLock},
};

use prost::Message;
use proto::exam::v1 as wire;
use tokio::sync::watch;

use super::{Error, LiveExam, Result};
use crate::{files, secrets::Key};

pub(super) struct Registry {
    /// Held as long as the process uses the folder: exams are read once, so two processes would not know of each other's.
    _lock: File,
    data: PathBuf,
    writes: Mutex<()>,
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

impl ExamFiles {
    /// Returns the exam secret, checked against the commitment that was published with the exam.
    pub(crate) fn exam_secret(&self, exam: &wire::Exam) -> Result<Key> {
        let secret = Key::load(&self.secret)?;
        if blake3::hash(&secret.0).as_bytes()[..] == exam.secret_commitment[..] {
            return Ok(secret);
        }
        Err(Error::File(io::Error::other(format!(
            "{}: không phải khóa bốc đề đã cam kết, hãy khôi phục tệp gốc / not the committed exam secret, restore the original file",
            self.secret.display()
        ))))
    }
}

/// Takes the data folder for this process.
fn lock(data: &Path) -> Result<File> {
    let path = data.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)?;
    file.try_lock().map_err(|_| {
        Error::File(io::Error::other(format!(
            "thư mục {0} đang được một tiến trình khác dùng, hãy dừng nó trước / another process uses the folder {0}, stop it first",
            data.display()
        )))
    })?;
    Ok(file)
}

impl Registry {
    pub(super) fn load(data: &Path) -> Result<Self> {
        let folder = data.join("exams");
        files::make_folder(&folder)?;
        let registry = Self {
            _lock: lock(data)?,
            data: data.to_owned(),
            writes: Mutex::default(),
            exams: RwLock::default(),
            live: watch::Sender::new(Vec::new()),
        };
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            let files = ExamFiles::new(data, &name.to_string_lossy());
            if !files.exam.exists() {
                continue; // a crash between making the folder and the file leaves one, and so do desktop programs
            }
            if let Err(error) = registry.load_exam(&files) {
                // One damaged exam must not keep the others from being sat.
                tracing::error!(exam.file = %files.exam.display(), error = %error, "exam not loaded");
            }
        }
        Ok(registry)
    }

    fn load_exam(&self, files: &ExamFiles) -> Result<()> {
        let exam = wire::Exam::decode(files::read(&files.exam)?.as_slice())
            .map_err(|error| damaged(&files.exam, &error))?;
        self.insert(exam)
    }

    /// Lets one organizer's change of an exam be read, checked and written at a time.
    pub(super) fn begin_write(&self) -> MutexGuard<'_, ()> {
        self.writes.lock().expect("no panic under this lock")
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
                let secret = files.exam_secret(&exam)?;
                let paper = files::read(&files.paper)?;
                Some(Arc::new(LiveExam::new(exam.clone(), &paper, &secret.0)?))
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
    Error::File(io::Error::other(format!("{}: {error}", file.display())))
}
