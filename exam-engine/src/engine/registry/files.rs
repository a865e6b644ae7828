//! The list of exams as files of one data folder, for a store that belongs to one process.
//!
//! `exams/<id>/exam.bin` and `paper.bin`, and `secrets/exam-<id>.secret`. The process holds the folder's lock, so nobody
//! else writes them; revisions are counted in memory.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use crate::{
    files,
    secrets::Key,
    store::{self, ExamTable, Look, StoredExam, StoredPackage},
};

pub(super) struct FileExams {
    data: PathBuf,
    revisions: Mutex<BTreeMap<String, u64>>,
}

struct Paths {
    exam: PathBuf,
    paper: PathBuf,
    secret: PathBuf,
}

impl FileExams {
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join("exams");
        files::make_folder(&folder)?;
        let mut revisions = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // A crash between making the folder and the file leaves one, and so do desktop programs.
            if folder.join(&name).join("exam.bin").exists() {
                revisions.insert(name, 1);
            }
        }
        Ok(Self {
            data: data.to_owned(),
            revisions: Mutex::new(revisions),
        })
    }

    fn paths(&self, name: &str) -> Paths {
        let folder = self.data.join("exams").join(name);
        Paths {
            exam: folder.join("exam.bin"),
            paper: folder.join("paper.bin"),
            secret: self
                .data
                .join("secrets")
                .join(format!("exam-{name}.secret")),
        }
    }

    pub(super) fn names(&self) -> BTreeMap<String, u64> {
        self.known().clone()
    }

    pub(super) fn n_changes(&self) -> u64 {
        self.known().values().sum()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.revisions.lock().expect("no panic under this lock")
    }

    /// Reads an exam; the halves of a draft are not there.
    pub(super) fn read(&self, name: &str) -> io::Result<StoredExam> {
        let paths = self.paths(name);
        let package = || {
            let secret = Key::load(&paths.secret)?;
            Ok::<_, io::Error>(StoredPackage {
                paper: files::read(&paths.paper)?.into(),
                secret: secret.0.to_vec().into(),
            })
        };
        Ok(StoredExam {
            min_reader: super::FORMAT, // files are written and read by one program
            exam: files::read(&paths.exam)?.into(),
            package: paths.paper.exists().then(package).transpose()?,
        })
    }

    fn write(&self, name: &str, exam: &StoredExam) -> io::Result<()> {
        let paths = self.paths(name);
        if let Some(package) = &exam.package {
            files::write(&paths.secret, hex::encode(&package.secret).as_bytes())?;
            files::write(&paths.paper, &package.paper)?;
        }
        files::write(&paths.exam, &exam.exam) // last: the others are nothing without it
    }
}

fn not_written(error: &io::Error) -> store::Error {
    tracing::error!(error = %error, "exam not written");
    store::Error::Unavailable(error.to_string())
}

#[tonic::async_trait]
impl ExamTable for FileExams {
    async fn look(&self) -> store::Result<Look> {
        Ok(Look {
            changes: self.n_changes(),
            at: None,
        })
    }

    async fn revisions(&self) -> store::Result<BTreeMap<String, u64>> {
        Ok(self.names())
    }

    async fn load_exam(&self, name: &str) -> store::Result<Option<(u64, StoredExam)>> {
        let Some(revision) = self.known().get(name).copied() else {
            return Ok(None);
        };
        let exam = self.read(name);
        let exam = exam.map_err(|error| store::Error::Corrupt(error.to_string()))?;
        Ok(Some((revision, exam)))
    }

    async fn put_exam(&self, name: &str, expected: u64, exam: StoredExam) -> store::Result<u64> {
        let mut revisions = self.known();
        if revisions.get(name).copied().unwrap_or_default() != expected {
            return Err(store::Error::Conflict);
        }
        self.write(name, &exam)
            .map_err(|error| not_written(&error))?;
        revisions.insert(name.to_owned(), expected + 1);
        Ok(expected + 1)
    }

    async fn claim_secrets(&self, _fingerprint: &str, _replace: bool) -> store::Result<bool> {
        Ok(true) // they stand in the same folder
    }
}
