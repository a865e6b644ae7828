//! Files that are whole or absent, and for their owner alone: written beside their place, synced, then renamed.
//!
//! The bank holds keys and papers hold questions, so nothing in a data folder is for others to read.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Makes a folder, and those above it, for the owner alone.
///
/// # Errors
/// When it cannot be made; the message names it.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| named(folder, &error))
}

/// Takes a data folder for this process, as long as the file is held: two processes would not know of each other's writes.
///
/// # Errors
/// When another process has it, or the file cannot be made.
pub fn lock(data: &Path) -> io::Result<File> {
    make_folder(data)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(data.join("lock"))?;
    file.try_lock().map_err(|_| {
        io::Error::other(format!(
            "thư mục {0} đang được một tiến trình khác dùng, hãy dừng nó trước / another process uses the folder {0}, stop it first",
            data.display()
        ))
    })?;
    Ok(file)
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read; the message names it.
pub fn read(file: &Path) -> io::Result<Vec<u8>> {
    fs::read(file).map_err(|error| named(file, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Writes a file.
///
/// # Errors
/// Whatever the disk refuses; then the old file stands. The message names the file.
pub fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(file, bytes).map_err(|error| named(file, &error))
}

fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file
        .parent()
        .ok_or_else(|| io::Error::other("a file stands in a folder"))?;
    make_folder(folder)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = folder.join(name);
    let mut new = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    new.write_all(bytes)?;
    new.sync_all()?;
    fs::rename(&beside, file)?;
    File::open(folder)?.sync_all() // the rename itself must survive a power cut
}
