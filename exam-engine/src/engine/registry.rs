//! All exams: the truth in a table, which other processes may share, and what this process needs of them in memory.
//!
//! With the embedded store the table is the data folder (`registry/files.rs`), with Redis it is a few keys there
//! (`store/redis/exams.rs`), with papers and secrets sealed (`registry/seal.rs`). A process looks several times a second
//! whether the table has changed, and starts attempts only while its last look is young (`Registry::known_until`): so
//! whoever closes an exam knows when no process can start an attempt any more. Start at [`Registry::refresh`].

mod files;
mod seal;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::Path,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prost::Message;
use proto::exam::v1 as wire;
use tokio::{
    sync::{Mutex, MutexGuard, watch},
    time::Instant,
};

use self::{files::FileExams, seal::Seal};
use super::{Error, LiveExam, Result};
use crate::{
    clock::Timestamp,
    id::ExamId,
    secrets::Secrets,
    store::{self, ExamTable, SessionStore, StoredExam, StoredPackage},
};

/// The format of stored exams and sessions that this program writes and reads. A version that adds a field which older
/// programs must not overlook, in an exam or in the record of a session, raises it and writes it into `min_reader` of the
/// exams that use the field: older engines then leave those exams to newer ones.
pub const FORMAT: u32 = 1;
/// How often a shared table is looked at: an organizer's change is everywhere within a second.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
/// How long what a look has shown may be acted upon: a dozen looks, so that a busy machine is no outage.
const LEASE: Duration = Duration::from_secs(3);
/// Beyond the lease, for clocks of two nodes of a store that are not quite in step.
const LEASE_MARGIN: Duration = Duration::from_millis(250);

pub(super) struct Registry {
    /// Held as long as the process uses the folder.
    _lock: File,
    store: Arc<dyn SessionStore>,
    files: FileExams,
    seal: Seal,
    writes: Mutex<()>,
    /// Number of changes at the last look.
    seen: Mutex<Option<u64>>,
    known_until: AtomicU64,
    exams: RwLock<Exams>,
    live: watch::Sender<Vec<Arc<LiveExam>>>,
}

#[derive(Default)]
struct Exams {
    by_name: BTreeMap<String, Known>,
    by_tag: BTreeMap<[u8; 8], Arc<LiveExam>>,
    /// Exams that are left to newer engines.
    left: BTreeSet<[u8; 8]>,
}

struct Known {
    revision: u64,
    exam: wire::Exam,
    /// A published exam.
    live: Option<Arc<LiveExam>>,
    /// When this revision came to be known here.
    taken_at: Instant,
}

/// The paper half and the exam secret as they are, to be published or archived.
pub(crate) struct Package {
    pub(crate) paper: Vec<u8>,
    pub(crate) secret: [u8; 32],
}

impl Registry {
    /// Takes the data folder for this process, and the exams that stand in it.
    pub(super) fn open(
        data: &Path,
        store: Arc<dyn SessionStore>,
        secrets: &Secrets,
    ) -> Result<Self> {
        let mut registry = Self {
            _lock: crate::files::lock(data)?,
            files: FileExams::open(data)?,
            store,
            seal: Seal::new(&secrets.cluster),
            writes: Mutex::default(),
            seen: Mutex::default(),
            known_until: AtomicU64::new(u64::MAX),
            exams: RwLock::default(),
            live: watch::Sender::new(Vec::new()),
        };
        if registry.is_shared() {
            registry.known_until.store(0, Ordering::Relaxed); // nothing is known before the first look
        } else {
            for (name, revision) in registry.files.names() {
                let stored = registry.files.read(&name).map_err(Error::from);
                if let Err(error) =
                    stored.and_then(|stored| registry.take(&name, revision, &stored))
                {
                    not_taken(&name, &error); // one damaged exam must not keep the others from being sat
                }
            }
            *registry.seen.get_mut() = Some(registry.files.n_changes());
        }
        Ok(registry)
    }

    /// Tells whether other processes may write the table.
    pub(super) fn is_shared(&self) -> bool {
        self.store.exams().is_some()
    }

    fn table(&self) -> &dyn ExamTable {
        self.store.exams().unwrap_or(&self.files)
    }

    /// Refuses to go on with other secrets than those of the processes that share the table.
    pub(super) async fn claim_secrets(&self, secrets: &Secrets, replace: bool) -> Result<()> {
        let fingerprint = secrets.fingerprint();
        if self.table().claim_secrets(&fingerprint, replace).await? {
            return Ok(());
        }
        Err(Error::OtherSecrets(
            "các khóa trong secrets/ khác với khóa của những máy đang dùng chung kho này: hãy chép access-code.key, session-token.key, receipt.key, slip.key, \
             organizer.token, approver.token, verdict.key, service.token, cluster.key từ máy đầu tiên; nếu cố ý đổi khóa trên mọi máy, hãy khởi động lần đầu với --accept-new-secrets / \
             the files of secrets/ are not those of the machines that share this store: copy access-code.key, session-token.key, receipt.key, slip.key, \
             organizer.token, approver.token, verdict.key, service.token, cluster.key from the first machine; if they were changed on purpose on all machines, start once with --accept-new-secrets",
        ))
    }

    /// Looks at the table and takes what has changed.
    pub(super) async fn refresh(&self) -> Result<()> {
        let mut seen = self.seen.lock().await;
        let look = self.table().look().await?;
        if *seen != Some(look.changes) {
            self.take_changes().await?;
            *seen = Some(look.changes);
        }
        if let Some(at) = look.at {
            let until = at.plus_ms(LEASE.as_millis().try_into().expect("seconds fit"));
            self.known_until.store(until.0, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn take_changes(&self) -> Result<()> {
        let revisions = self.table().revisions().await?;
        let all = self.read(|exams| exams.by_name.keys().cloned().collect::<Vec<_>>());
        for name in all.iter().filter(|name| !revisions.contains_key(*name)) {
            self.leave(name); // its creation was taken back by a failover
        }
        for (name, revision) in revisions {
            // A failover may take a write back, so a lower revision is news, too.
            if self.revision(&name) == revision {
                continue;
            }
            let outcome = match self.table().load_exam(&name).await {
                Ok(Some((revision, stored))) => self.take(&name, revision, &stored),
                Ok(None) => continue, // the index runs ahead of nothing, but a person may have deleted it
                Err(error @ store::Error::Unavailable(_)) => return Err(error.into()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = outcome {
                if self.revision(&name) > 0 {
                    self.leave(&name); // what is known of it is old now, and must not be acted upon
                }
                not_taken(&name, &error);
            }
        }
        Ok(())
    }

    /// Looks again and again until the process ends.
    pub(super) async fn follow(&self) {
        let mut was_seen = true;
        loop {
            tokio::time::sleep(LOOK_PERIOD).await;
            let outcome = self.refresh().await;
            if outcome.is_ok() != was_seen {
                was_seen = outcome.is_ok();
                match outcome {
                    Ok(()) => tracing::warn!("the list of exams is read again"),
                    Err(error) => {
                        tracing::error!(error = %error, "the list of exams is not read, no attempt can start");
                    }
                }
            }
        }
    }

    /// Returns the last instant, by the store's clock, at which what is known here of exams may be acted upon.
    pub(super) fn known_until(&self) -> Timestamp {
        Timestamp(self.known_until.load(Ordering::Relaxed))
    }

    /// Returns once no process acts any more on what it knew of an exam before the state that is known here.
    pub(super) async fn settle(&self, exam_id: &str) {
        let taken_at = self.read(|exams| exams.by_name.get(exam_id).map(|known| known.taken_at));
        if let Some(taken_at) = taken_at
            && self.is_shared()
        {
            tokio::time::sleep_until(taken_at + LEASE + LEASE_MARGIN).await;
        }
    }

    /// Lets one organizer's change of an exam be read, checked and written at a time, on the newest state; another
    /// process that writes in between wins, and this one's write is refused.
    pub(super) async fn begin_write(&self) -> Result<MutexGuard<'_, ()>> {
        let turn = self.writes.lock().await;
        self.refresh().await?;
        Ok(turn)
    }

    /// Writes an exam, with its package at publication, then takes it into memory.
    pub(super) async fn save(&self, exam: &wire::Exam, package: Option<Package>) -> Result<()> {
        let name = name(exam);
        let package = package
            .map(|package| self.close(&name, &package))
            .transpose()?;
        let stored = StoredExam {
            min_reader: FORMAT,
            exam: exam.encode_to_vec().into(),
            package,
        };
        self.put(&name, self.revision(&name), stored).await
    }

    async fn put(&self, name: &str, expected: u64, stored: StoredExam) -> Result<()> {
        let revision = self.table().put_exam(name, expected, stored).await?;
        // The number of changes may be again what it was, if a failover takes this one back before the next look.
        *self.seen.lock().await = None;
        let written = self.table().load_exam(name).await?;
        match written {
            Some((now, stored)) if now >= revision => self.take(name, now, &stored),
            _ => Err(store::Error::Corrupt(format!("exam {name} was written and is gone")).into()),
        }
    }

    /// Brings the exams of the data folder into a shared table that lacks them: those of a version that kept them in
    /// files only.
    pub(super) async fn import_files(&self) -> Result<()> {
        if !self.is_shared() {
            return Ok(());
        }
        let known = self.table().revisions().await?;
        for name in self.files.names().into_keys() {
            if known.contains_key(&name) {
                continue;
            }
            let outcome = self.import_file(&name).await;
            match outcome {
                Ok(()) => tracing::info!(exam.id = name, "exam brought into the shared store"),
                Err(Error::Store(error @ store::Error::Unavailable(_))) => return Err(error.into()),
                Err(error) => not_taken(&name, &error),
            }
        }
        Ok(())
    }

    async fn import_file(&self, name: &str) -> Result<()> {
        let mut stored = self.files.read(name)?;
        if let Some(plain) = stored.package.take() {
            let secret = plain.secret[..]
                .try_into()
                .expect("the file was read as 32 bytes");
            let package = Package {
                paper: plain.paper.to_vec(),
                secret,
            };
            stored.package = Some(self.close(name, &package)?);
        }
        self.put(name, 0, stored).await
    }

    /// Reads a published exam's package.
    pub(super) async fn package(&self, exam_id: &str) -> Result<Package> {
        let (_, stored) = self
            .table()
            .load_exam(exam_id)
            .await?
            .ok_or(Error::ExamNotFound)?;
        let exam = decode(exam_id, &stored)?;
        self.open_package(exam_id, &exam, &stored)
    }

    fn close(&self, name: &str, package: &Package) -> Result<StoredPackage> {
        if !self.is_shared() {
            return Ok(StoredPackage {
                paper: package.paper.clone().into(),
                secret: package.secret.to_vec().into(),
            });
        }
        Ok(StoredPackage {
            paper: self.seal.close(name, "paper", &package.paper)?.into(),
            secret: self.seal.close(name, "secret", &package.secret)?.into(),
        })
    }

    fn open_package(&self, name: &str, exam: &wire::Exam, stored: &StoredExam) -> Result<Package> {
        let missing = || damaged(name, "gói đề không có / its package is missing");
        let sealed = stored.package.as_ref().ok_or_else(missing)?;
        let open = |field, bytes: &[u8]| {
            if self.is_shared() {
                self.seal.open(name, field, bytes).ok_or_else(|| {
                    damaged(name, "không mở được niêm phong bằng secrets/cluster.key này / its seal does not open with this secrets/cluster.key")
                })
            } else {
                Ok(bytes.to_vec())
            }
        };
        let secret: [u8; 32] = open("secret", &sealed.secret)?
            .try_into()
            .map_err(|_| damaged(name, "khóa bốc đề dài sai / its secret has another length"))?;
        if blake3::hash(&secret).as_bytes()[..] != exam.secret_commitment[..] {
            return Err(damaged(
                name,
                "không phải khóa bốc đề đã cam kết, hãy khôi phục bản gốc / not the committed exam secret, restore the original",
            ));
        }
        Ok(Package {
            paper: open("paper", &sealed.paper)?,
            secret,
        })
    }

    /// Takes an exam as it stands in the table into memory.
    fn take(&self, name: &str, revision: u64, stored: &StoredExam) -> Result<()> {
        if stored.min_reader > FORMAT {
            self.leave(name);
            return Err(damaged(
                name,
                &format!(
                    "cần phiên bản đọc được định dạng {0}, bản này đọc đến {FORMAT}: kỳ thi để cho các máy mới hơn, hãy nâng cấp / \
                     it needs a version that reads format {0}, this one reads {FORMAT}: left to newer engines, upgrade this one",
                    stored.min_reader
                ),
            ));
        }
        let exam = decode(name, stored)?;
        let known = self.live(name);
        let live = match known {
            _ if exam.state() == wire::ExamState::Draft => None,
            Some(live) => {
                live.set(exam.clone());
                Some(live)
            }
            None => {
                let package = self.open_package(name, &exam, stored)?;
                let live = LiveExam::new(exam.clone(), &package.paper, &package.secret)?;
                Some(Arc::new(live))
            }
        };
        let mut exams = self.exams.write().expect("no panic under this lock");
        if let Some(live) = &live {
            exams.by_tag.insert(live.id.tag(), Arc::clone(live));
            exams.left.remove(&live.id.tag());
        }
        let known = Known {
            revision,
            exam,
            live,
            taken_at: Instant::now(),
        };
        exams.by_name.insert(name.to_owned(), known);
        let all = exams.live();
        drop(exams);
        self.live.send_replace(all);
        Ok(())
    }

    /// Serves an exam no longer: a newer version has written what this one cannot know.
    fn leave(&self, name: &str) {
        let mut exams = self.exams.write().expect("no panic under this lock");
        exams.by_name.remove(name);
        if let Some(id) = ExamId::parse(name) {
            exams.by_tag.remove(&id.tag());
            exams.left.insert(id.tag());
        }
        let all = exams.live();
        drop(exams);
        self.live.send_replace(all);
    }

    fn revision(&self, exam_id: &str) -> u64 {
        self.read(|exams| exams.by_name.get(exam_id).map_or(0, |known| known.revision))
    }

    pub(super) fn get(&self, exam_id: &str) -> Option<wire::Exam> {
        self.read(|exams| exams.by_name.get(exam_id).map(|known| known.exam.clone()))
    }

    pub(super) fn live(&self, exam_id: &str) -> Option<Arc<LiveExam>> {
        self.read(|exams| {
            exams
                .by_name
                .get(exam_id)
                .and_then(|known| known.live.clone())
        })
    }

    /// Returns the exam of a code or a token, none if there is no such exam.
    ///
    /// # Errors
    /// [`store::Error::Unavailable`] if another engine can serve it, and this one is too old to.
    pub(super) fn by_tag(&self, tag: [u8; 8]) -> Result<Option<Arc<LiveExam>>> {
        self.read(|exams| match exams.by_tag.get(&tag) {
            None if exams.left.contains(&tag) => {
                let why = "the exam needs a newer version than this engine".to_owned();
                Err(store::Error::Unavailable(why).into())
            }
            found => Ok(found.cloned()),
        })
    }

    pub(super) fn list(&self) -> Vec<wire::Exam> {
        self.read(|exams| {
            exams
                .by_name
                .values()
                .map(|known| known.exam.clone())
                .collect()
        })
    }

    pub(super) fn watch(&self) -> watch::Receiver<Vec<Arc<LiveExam>>> {
        self.live.subscribe()
    }

    fn read<T>(&self, read: impl FnOnce(&Exams) -> T) -> T {
        read(&self.exams.read().expect("no panic under this lock"))
    }
}

impl Exams {
    fn live(&self) -> Vec<Arc<LiveExam>> {
        self.by_name
            .values()
            .filter_map(|known| known.live.clone())
            .collect()
    }
}

fn name(exam: &wire::Exam) -> String {
    exam.spec
        .as_ref()
        .map(|spec| spec.exam_id.clone())
        .unwrap_or_default()
}

/// Reads an exam; a field that this program does not know would be lost with the next write, so it is refused.
fn decode(name: &str, stored: &StoredExam) -> Result<wire::Exam> {
    let exam = wire::Exam::decode(stored.exam.clone())
        .map_err(|error| damaged(name, &error.to_string()))?;
    if exam.encoded_len() != stored.exam.len() {
        return Err(damaged(
            name,
            "bản mới hơn đã ghi điều bản này không biết, hãy nâng cấp / a newer version has written what this one does not know, upgrade",
        ));
    }
    Ok(exam)
}

fn damaged(name: &str, what: &str) -> Error {
    Error::File(io::Error::other(format!("{name}: {what}")))
}

fn not_taken(name: &str, error: &Error) {
    tracing::error!(exam.id = name, error = %error, "exam not loaded");
}
