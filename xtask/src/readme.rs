//! Runs the README's walk through the program as written, so that a newcomer is not the first to try it.
//!
//! Three things differ from a terminal: what was built already is not built again, the server runs in the background,
//! and the sample exam gets times of today, as the README tells its reader to do.

use std::{fs, os::unix::fs::symlink};

use crate::{Outcome, shell};

const SERVE: &str = "exam serve ";
const TEMPLATE: &str = "exam exam template > week1.json";

/// Runs the commands in a folder of their own.
pub(crate) fn run() -> Outcome {
    let root = shell::root();
    let readme = fs::read_to_string(root.join("README.md")).map_err(|error| error.to_string())?;
    let script = script(&commands(&readme))?;
    let folder = root.join("target/readme");
    let _ = fs::remove_dir_all(&folder); // there may be none
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    symlink(root.join("question-bank"), folder.join("question-bank"))
        .map_err(|error| error.to_string())?;
    let file = folder.join("readme.sh");
    fs::write(&file, script).map_err(|error| error.to_string())?;
    let path = format!(
        "PATH={}:{}",
        root.join("target/release").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    shell::run(
        "env",
        &[
            "-C",
            &folder.to_string_lossy(),
            &path,
            "bash",
            &file.to_string_lossy(),
        ],
    )
}

/// Returns the lines of all shell blocks.
fn commands(readme: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            lines.push(line);
        }
    }
    lines
}

fn script(commands: &[&str]) -> Outcome<String> {
    let mut script = String::from("set -euxo pipefail\n");
    let (mut serves, mut has_template) = (false, false);
    for line in commands {
        if line.starts_with("cargo ") || line.starts_with("export PATH") {
            continue;
        }
        if line.starts_with(SERVE) {
            serves = true;
            script.push_str("exam serve & server=$!\ntrap 'kill $server' EXIT\n");
            script.push_str("for _ in $(seq 100); do [ -f data/secrets/organizer.token ] && break; sleep 0.1; done; sleep 1\n");
            continue;
        }
        script.push_str(line);
        script.push('\n');
        if *line == TEMPLATE {
            has_template = true;
            script.push_str("sed -i 's/\"opens\": \"[^\"]*\"/\"opens\": \"-1m\"/; s/\"closes\": \"[^\"]*\"/\"closes\": \"+2h\"/' week1.json\n");
        }
    }
    if serves && has_template {
        Ok(script)
    } else {
        Err(format!(
            "README.md: thiếu lệnh / lacks the commands `{SERVE}` and `{TEMPLATE}`"
        ))
    }
}
