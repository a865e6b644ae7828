//! What a grader holds of exams: both halves, by hash, from the role that publishes.
//!
//! Invariant: key halves come to a grader by `PackageService` and stay in its data folder; nothing gives them out but the
//! archive of a closed exam. Start at [`Packages::add`].

use std::{fs, path::PathBuf, sync::Arc};

use grader::{
    Package,
    service::{Graders, LogSource},
};
use prost::Message;
use proto::exam::v1::Exam;

use crate::{
    engine::{Error, Result, exam_id, key_file, key_halves},
    files,
};

/// The exams of one grader.
pub struct Packages {
    data: PathBuf,
    /// A grader beside the role that publishes is told everything again at each start, and keeps no second copy.
    keeps: bool,
    graders: Graders,
    source: Arc<dyn LogSource>,
}

impl Packages {
    /// Takes the grader, where it reads logs, and the folder for packages if they are to be kept.
    #[must_use]
    pub fn new(data: PathBuf, keeps: bool, graders: Graders, source: Arc<dyn LogSource>) -> Self {
        Self {
            data,
            keeps,
            graders,
            source,
        }
    }

    /// Follows the exams whose packages are here from an earlier run.
    ///
    /// # Errors
    /// When the folder cannot be read; one package that cannot be used is told in the log.
    pub async fn load_all(&self) -> Result<()> {
        let folder = self.data.join("packages");
        if !self.keeps || !folder.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Err(error) = self.load(&name).await {
                tracing::error!(exam.id = name, error = %error, "exam cannot be graded");
            }
        }
        Ok(())
    }

    async fn load(&self, name: &str) -> Result<()> {
        let exam = Exam::decode(files::read(&self.path(name, "exam.bin"))?.as_slice())
            .map_err(std::io::Error::other)?;
        let paper = files::read(&self.path(name, "paper.bin"))?;
        let keys = key_halves(&self.data, &exam)?;
        self.follow(&exam, &paper, &keys).await
    }

    fn path(&self, name: &str, file: &str) -> PathBuf {
        self.data.join("packages").join(name).join(file)
    }

    /// Tells where an exam stands; false if its halves are wanted: it is new here, or other decisions are in force.
    ///
    /// # Errors
    /// When the exam has no proper name, or cannot be written.
    pub fn tell(&self, exam: &Exam) -> Result<bool> {
        let name = name(exam)?;
        let last_ruling = grader::Rulings::read(exam)?.last;
        if !self.graders.follows(&name, last_ruling) {
            return Ok(false);
        }
        let is_followed = self.graders.set_exam_state(&name, exam.state());
        if is_followed && self.keeps {
            files::write(&self.path(&name, "exam.bin"), &exam.encode_to_vec())?;
        }
        Ok(is_followed)
    }

    /// Takes an exam with its halves, of all versions of the key, which must have the hashes that the exam names, and follows its log.
    ///
    /// # Errors
    /// [`Error::Ungradable`], or the disk.
    pub async fn add(&self, exam: &Exam, paper: &[u8], keys: &[Vec<u8>]) -> Result<()> {
        let name = name(exam)?;
        self.follow(exam, paper, keys).await?;
        if self.keeps {
            let hashes = grader::Rulings::read(exam)?.key_hashes;
            for (hash, key) in hashes.iter().zip(keys) {
                files::write(&key_file(&self.data, exam, hash), key)?;
            }
            files::write(&self.path(&name, "paper.bin"), paper)?;
            files::write(&self.path(&name, "exam.bin"), &exam.encode_to_vec())?;
        }
        Ok(())
    }

    async fn follow(&self, exam: &Exam, paper: &[u8], keys: &[Vec<u8>]) -> Result<()> {
        let versions: grader::Result<Vec<Arc<Package>>> = keys
            .iter()
            .map(|key| Package::load(exam, paper, key).map(Arc::new))
            .collect();
        let versions = versions?;
        let in_force = versions.last().map(|package| *package.key_hash());
        if in_force.as_ref().map(|hash| &hash[..]) != Some(grader::Rulings::read(exam)?.key_hash())
        {
            return Err(grader::Error::HashMismatch { what: "key half" }.into());
        }
        let source = Arc::clone(&self.source);
        self.graders.add_exam(exam.state(), versions, source).await;
        Ok(())
    }
}

/// The name is about to become one of a file.
fn name(exam: &Exam) -> Result<String> {
    let name = exam.spec.as_ref().map(|spec| spec.exam_id.as_str());
    let name = name.ok_or(Error::ExamNotFound)?;
    exam_id(name).map(|name| name.as_str().to_owned())
}
