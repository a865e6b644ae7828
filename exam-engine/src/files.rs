//! Files that are whole or absent: written beside their place, synced, then renamed.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Writes a file that others may read.
///
/// # Errors
/// Whatever the disk refuses; then the old file stands.
pub fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with_mode(file, bytes, 0o644)
}

/// Writes a file for the owner alone.
///
/// # Errors
/// Whatever the disk refuses; then the old file stands.
pub fn write_secret(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    write_with_mode(file, bytes, 0o600)
}

fn write_with_mode(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = file
        .parent()
        .ok_or_else(|| io::Error::other("a file stands in a folder"))?;
    fs::create_dir_all(folder)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = folder.join(name);
    let mut new = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)?;
    new.write_all(bytes)?;
    new.sync_all()?;
    fs::rename(&beside, file)?;
    File::open(folder)?.sync_all() // the rename itself must survive a power cut
}
