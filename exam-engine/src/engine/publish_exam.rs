//! Makes an exam's packages and opens it.
//!
//! The key half goes to `keys/`, which only graders read; from here on the engine works with the paper half alone.

use proto::exam::v1::{Exam, ExamState};

use super::{Engine, Error, Package, Result, key_file};
use crate::{files, secrets::Key};

impl Engine {
    /// Makes the packages; from then on nothing can be changed.
    ///
    /// # Errors
    /// [`Error::Bank`] if the blueprint cannot be filled, [`Error::Ungradable`], [`Error::ReleaseNotFound`], [`Error::ExamState`].
    pub async fn publish_exam(&self, exam_id: &str) -> Result<Exam> {
        let _writing = self.exams.begin_write().await?;
        let mut exam = self.in_state(exam_id, ExamState::Draft)?;
        let mut spec = exam.spec.take().unwrap_or_default();
        let release = self
            .bank()
            .load_release(spec.release_no)?
            .ok_or(Error::ReleaseNotFound)?;
        spec.release_no = release.number;
        let blueprint = spec.blueprint.clone().unwrap_or_default();
        let package = release.package(exam_id, &blueprint, Key::generate()?.0)?;
        let secret = Key::generate()?;
        let hash = |bytes: &[u8]| blake3::hash(bytes).as_bytes().to_vec().into();
        exam.n_items = blueprint
            .sections
            .iter()
            .flat_map(|section| &section.strata)
            .map(|stratum| stratum.quota)
            .sum();
        exam.spec = Some(spec);
        exam.state = ExamState::Published.into();
        exam.paper_hash = hash(&package.paper_half);
        exam.key_hash = hash(&package.key_half);
        exam.secret_commitment = hash(&secret.0);
        exam.slip_key = self.signer.slip_key().to_vec().into();
        exam.verdict_key = self.verdict_key.to_vec().into();
        grader::Package::load(&exam, &package.paper_half, &package.key_half)?;
        files::write(
            &key_file(&self.data, &exam, &exam.key_hash),
            &package.key_half,
        )?;
        let package = Package {
            paper: package.paper_half,
            secret: secret.0,
        };
        self.exams.save(&exam, Some(package)).await?;
        Ok(exam)
    }

    /// Lets attempts start within the rounds.
    ///
    /// # Errors
    /// [`Error::ExamState`] unless the exam is published and not yet open.
    pub async fn open_exam(&self, exam_id: &str) -> Result<Exam> {
        let _writing = self.exams.begin_write().await?;
        let mut exam = self.in_state(exam_id, ExamState::Published)?;
        exam.state = ExamState::Open.into();
        self.exams.save(&exam, None).await?;
        Ok(exam)
    }

    pub(super) fn in_state(&self, exam_id: &str, wanted: ExamState) -> Result<Exam> {
        let exam = self.get_exam(exam_id)?;
        if exam.state() == wanted {
            Ok(exam)
        } else {
            Err(Error::ExamState {
                state: exam.state(),
            })
        }
    }
}
