//! A backup as a folder: the files of a data folder, a dump of the live store, and a manifest of hashes.
//!
//! Invariant: a backup and a restored data folder are whole or absent; both come into a folder beside their place, which
//! is renamed once everything is on the disk. Whatever differs from the manifest is refused, by name. Keys and secrets
//! are inside, so everything is for the owner alone. Start at [`Backup::begin`] and [`restore`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{files, store::EmbeddedStore};

/// Folders of a data folder that are copied as they are. `grader/` is left out: it is folded again from the log.
const FOLDERS: [&str; 4] = ["bank", "exams", "keys", "secrets"];
/// The dump of the live store.
pub const DUMP: &str = "live.dump";
const MANIFEST: &str = "manifest.json";
const MANIFEST_HASH: &str = "manifest.blake3";
const FORMAT: u32 = 1;

/// What is in a backup.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    blake3: String,
}

/// A backup on its way.
pub struct Backup {
    target: PathBuf,
    new: PathBuf,
}

impl Backup {
    /// Makes the folder beside its later place, which must be free.
    ///
    /// # Errors
    /// Says which folder is in the way, or cannot be written.
    pub fn begin(target: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            target: target.to_owned(),
            new: new_beside(target)?,
        })
    }

    /// Makes a file of it.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn create(&self, name: &str) -> anyhow::Result<File> {
        create(&self.new.join(name))
    }

    /// Returns where a file of it stands now.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.new.join(name)
    }

    /// Copies the files of a data folder. They are written whole and renamed, so each is read as it was at some moment;
    /// after the dump, so that no session is without its exam.
    ///
    /// # Errors
    /// Names the file that cannot be read or written.
    pub fn copy_files(&self, data: &Path) -> anyhow::Result<()> {
        for folder in FOLDERS {
            if data.join(folder).exists() {
                copy_folder(&data.join(folder), &self.new.join(folder))?;
            }
        }
        Ok(())
    }

    /// Writes the manifest, syncs everything and gives the folder its name; returns files and bytes.
    ///
    /// # Errors
    /// Names the file that cannot be read or written.
    pub fn keep(self) -> anyhow::Result<(usize, u64)> {
        let files = list(&self.new)?;
        let manifest = Manifest {
            format: FORMAT,
            files,
        };
        let text = serde_json::to_vec_pretty(&manifest)?;
        files::write(&self.new.join(MANIFEST), &text)?;
        let hash = format!("{}\n", blake3::hash(&text));
        files::write(&self.new.join(MANIFEST_HASH), hash.as_bytes())?;
        rename_whole(&self.new, &self.target)?;
        let n_bytes = manifest.files.values().map(|entry| entry.bytes).sum();
        Ok((manifest.files.len(), n_bytes))
    }

    /// Removes what was written.
    pub fn discard(self) {
        let _ = fs::remove_dir_all(&self.new); // the first error is the one that is told
    }
}

/// Makes a data folder from a backup; returns the number of files.
///
/// # Errors
/// Names every file that is missing, changed or foreign; then nothing was made.
pub fn restore(backup: &Path, data: &Path) -> anyhow::Result<usize> {
    let manifest = verify(backup)?;
    let new = new_beside(data)?;
    let made = fill(backup, &manifest, &new).and_then(|()| rename_whole(&new, data));
    if let Err(error) = made {
        let _ = fs::remove_dir_all(&new); // the first error is the one that is told
        return Err(error);
    }
    Ok(manifest.files.len())
}

fn fill(backup: &Path, manifest: &Manifest, new: &Path) -> anyhow::Result<()> {
    for name in manifest.files.keys().filter(|name| *name != DUMP) {
        copy_file(&backup.join(name), &new.join(name))?;
    }
    let dump = File::open(backup.join(DUMP)).with_context(|| cannot_read(&backup.join(DUMP)))?;
    EmbeddedStore::restore(&new.join("live"), &mut BufReader::new(dump))?;
    Ok(())
}

/// Compares a backup with its manifest.
fn verify(backup: &Path) -> anyhow::Result<Manifest> {
    let read = |name: &str| {
        let path = backup.join(name);
        fs::read(&path).with_context(|| {
            format!(
                "bản sao lưu thiếu {0} / the backup lacks {0}",
                path.display()
            )
        })
    };
    let text = read(MANIFEST)?;
    let hash = format!("{}\n", blake3::hash(&text));
    ensure!(
        read(MANIFEST_HASH)? == hash.as_bytes(),
        "{MANIFEST} đã bị sửa hoặc hỏng / {MANIFEST} was changed or is damaged"
    );
    let manifest: Manifest = serde_json::from_slice(&text).context(MANIFEST)?;
    ensure!(
        manifest.format == FORMAT,
        "bản sao lưu có định dạng {0}, chương trình này đọc {FORMAT} / the backup has format {0}, this program reads {FORMAT}",
        manifest.format
    );
    let mut found = list(backup)?;
    found.retain(|name, _| name != MANIFEST && name != MANIFEST_HASH);
    let names: BTreeSet<&String> = manifest.files.keys().chain(found.keys()).collect();
    let problem = |name: &String| match (manifest.files.get(name), found.get(name)) {
        (Some(_), None) => Some(format!("{name}: thiếu / missing")),
        (None, _) => Some(format!(
            "{name}: không có trong danh mục / not in the manifest"
        )),
        (Some(wanted), Some(there)) if wanted != there => {
            Some(format!("{name}: nội dung khác / content differs"))
        }
        _ => None,
    };
    let problems: Vec<String> = names.into_iter().filter_map(problem).collect();
    if !problems.is_empty() {
        bail!(
            "bản sao lưu hỏng, chưa dựng gì / the backup is damaged, nothing was made: {}",
            problems.join("; ")
        );
    }
    ensure!(
        manifest.files.contains_key(DUMP),
        "bản sao lưu thiếu {DUMP} / the backup lacks {DUMP}"
    );
    Ok(manifest)
}

/// Lists all files below a folder, with size and hash, by their path from it.
fn list(root: &Path) -> anyhow::Result<BTreeMap<String, Entry>> {
    let mut entries = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| cannot_read(&folder))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).context("below the root")?;
            let name = name
                .to_str()
                .with_context(|| cannot_read(&path))?
                .to_owned();
            entries.insert(name, hash(&path).with_context(|| cannot_read(&path))?);
        }
    }
    Ok(entries)
}

fn hash(path: &Path) -> io::Result<Entry> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        bytes += n as u64;
    }
    Ok(Entry {
        bytes,
        blake3: hasher.finalize().to_string(),
    })
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    files::make_folder(to)?;
    for entry in fs::read_dir(from).with_context(|| cannot_read(from))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if entry.path().extension().is_none_or(|end| end != "new") {
            // one that ends in ".new" is being written, or was left by a crash
            copy_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut source = File::open(from).with_context(|| cannot_read(from))?;
    let mut target = create(to)?;
    io::copy(&mut source, &mut target).with_context(|| cannot_write(to))?;
    target.sync_all().with_context(|| cannot_write(to))
}

fn create(path: &Path) -> anyhow::Result<File> {
    files::make_folder(path.parent().context("a file stands in a folder")?)?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.with_context(|| cannot_write(path))
}

/// Makes `FOLDER.new` for a folder that is absent or empty.
fn new_beside(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut name = folder
        .file_name()
        .with_context(|| cannot_write(folder))?
        .to_owned();
    name.push(".new");
    let new = folder.with_file_name(name);
    for place in [folder, &new] {
        match fs::read_dir(place) {
            Ok(mut entries) => ensure!(
                entries.next().is_none(),
                "thư mục {0} đã có tệp, hãy chọn thư mục khác hoặc xóa nó / the folder {0} is not empty, choose another or remove it",
                place.display()
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| cannot_write(place)),
        }
    }
    files::make_folder(&new)?;
    Ok(new)
}

/// Syncs all folders, then gives the topmost its name.
fn rename_whole(new: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut folders = vec![new.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| cannot_read(&folder))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        File::open(&folder)?.sync_all()?;
    }
    fs::rename(new, folder).with_context(|| cannot_write(folder))?;
    let parent = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

/// Writes a piece to a file.
///
/// # Errors
/// Names the file.
pub fn append(file: &mut File, path: &Path, data: &[u8]) -> anyhow::Result<()> {
    file.write_all(data).with_context(|| cannot_write(path))
}

fn cannot_read(path: &Path) -> String {
    format!("không đọc được / cannot read {}", path.display())
}

fn cannot_write(path: &Path) -> String {
    format!("không ghi được / cannot write {}", path.display())
}
