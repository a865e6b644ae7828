//! `exam exam archive`: the archive of a closed exam as a folder that is whole or absent.
//!
//! The files come into `FOLDER.new`, which takes its name once all are there.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    client::{self, Client},
    say,
};

pub(super) async fn run(client: &mut Client, id: &str, folder: &Path) -> anyhow::Result<()> {
    let mut new = NewFolder::beside(folder)?;
    let received = client::archive(client, id, &[], |name, data| new.append(name, data)).await;
    if let Err(error) = received.and_then(|()| new.keep(folder)) {
        new.discard();
        return Err(error);
    }
    say(format_args!("Đã lưu vào / written to {}", folder.display()));
    Ok(())
}

/// Checks that a folder is absent or empty.
pub(super) fn check_free(folder: &Path) -> anyhow::Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => anyhow::ensure!(
            entries.next().is_none(),
            "thư mục {0} đã có tệp, hãy chọn thư mục khác / the folder {0} is not empty, choose another",
            folder.display()
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| cannot_write(folder)),
    }
    Ok(())
}

/// A folder on its way.
struct NewFolder {
    path: PathBuf,
    files: BTreeMap<String, File>,
}

impl NewFolder {
    /// Makes the folder beside its later place, which must be free.
    fn beside(folder: &Path) -> anyhow::Result<Self> {
        check_free(folder)?;
        let mut name = folder
            .file_name()
            .with_context(|| cannot_write(folder))?
            .to_owned();
        name.push(".new");
        let path = folder.with_file_name(name);
        // One that an interrupted download left behind is written over.
        fs::create_dir_all(&path).with_context(|| cannot_write(&path))?;
        Ok(Self {
            path,
            files: BTreeMap::new(),
        })
    }

    fn append(&mut self, name: &str, data: &[u8]) -> anyhow::Result<()> {
        anyhow::ensure!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
                && !name.starts_with('.'),
            "tên tệp lạ / strange file name {name}"
        );
        let path = self.path.join(name);
        let mut write = || {
            let file = match self.files.entry(name.to_owned()) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(File::create(&path)?),
            };
            file.write_all(data)
        };
        write().with_context(|| cannot_write(&path))
    }

    /// Gives the folder its name, when its files are on the disk.
    fn keep(&self, folder: &Path) -> anyhow::Result<()> {
        for (name, file) in &self.files {
            file.sync_all()
                .with_context(|| cannot_write(&self.path.join(name)))?;
        }
        fs::rename(&self.path, folder).with_context(|| cannot_write(folder))
    }

    /// Removes what was written; what somebody else put there stays.
    fn discard(&self) {
        for name in self.files.keys() {
            let _ = fs::remove_file(self.path.join(name)); // the first error is the one that is told
        }
        let _ = fs::remove_dir(&self.path);
    }
}

fn cannot_write(path: &Path) -> String {
    format!("không ghi được / cannot write {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_whole_or_absent() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("archive");
        let mut failed = NewFolder::beside(&folder).unwrap();
        failed.append("exam.bin", b"half").unwrap();
        assert!(failed.append("../exam.bin", b"").is_err());
        failed.discard();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);

        fs::create_dir(&folder).unwrap(); // an empty one may stand there
        let mut new = NewFolder::beside(&folder).unwrap();
        new.append("exam.bin", b"wh").unwrap();
        new.append("exam.bin", b"ole").unwrap();
        new.keep(&folder).unwrap();
        assert_eq!(fs::read(folder.join("exam.bin")).unwrap(), b"whole");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);

        let error = NewFolder::beside(&folder).err().unwrap();
        assert!(error.to_string().contains("not empty"), "{error:#}");
    }
}
