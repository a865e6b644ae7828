//! The snapshot of an exam on disk: written whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Fold, Live, Package, Result};
use crate::{error::Error, snapshot};

/// Where one exam's snapshot lives.
#[derive(Clone, Debug)]
pub(super) struct SnapshotFile {
    path: PathBuf,
}

impl SnapshotFile {
    /// Names the file `<exam_id>.snapshot`; the package has checked that the id is a plain name.
    pub(super) fn new(folder: &Path, exam_id: &str) -> Self {
        Self {
            path: folder.join(format!("{exam_id}.snapshot")),
        }
    }

    /// Returns the saved fold, or a new one if there is none that can be used.
    pub(super) async fn load(&self, package: Arc<Package>) -> Fold {
        let file = self.clone();
        let fresh = Arc::clone(&package);
        let loaded = tokio::task::spawn_blocking(move || file.read(&package)).await;
        match loaded {
            Ok(Ok(Some(fold))) => fold,
            Ok(Ok(None)) => Fold::new(fresh),
            Ok(Err(error)) => {
                tracing::warn!(
                    exam.id = fresh.exam_id(),
                    error = &error as &dyn std::error::Error,
                    "the snapshot cannot be used, the log is read from its start"
                );
                Fold::new(fresh)
            }
            Err(error) => {
                tracing::error!(exam.id = fresh.exam_id(), %error, "reading the snapshot broke");
                Fold::new(fresh)
            }
        }
    }

    /// Saves what is folded so far; a failure is logged, the next one tries again.
    pub(super) async fn save(&self, live: &Arc<Live>) {
        let (file, live) = (self.clone(), Arc::clone(live));
        let saved = tokio::task::spawn_blocking(move || {
            let bytes = snapshot::save(&live.read().fold);
            file.write(&bytes)
        });
        match saved.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the snapshot was not written"
            ),
            Err(error) => tracing::error!(%error, "writing the snapshot broke"),
        }
    }

    fn read(&self, package: &Arc<Package>) -> Result<Option<Fold>> {
        match fs::read(&self.path) {
            Ok(bytes) => snapshot::load(&bytes, package).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error(error)),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        self.replace(bytes).map_err(|error| self.error(error))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("snapshot.new");
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        // the rename itself is durable once its folder is
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    fn error(&self, source: io::Error) -> Error {
        Error::SnapshotFile {
            path: self.path.clone(),
            source,
        }
    }
}
