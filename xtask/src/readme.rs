//! Runs the README's walk through the program as written, so that a newcomer is not the first to try it.
//!
//! Four things differ from a terminal: what was built already is not built again, the server runs in the background,
//! the sample exam gets times of today, as the README tells its reader to do, and the port is one that is free here
//! (`EXAM_LISTEN` and `EXAM_SERVER`) instead of 7800.

use std::{fs, net::TcpListener, os::unix::fs::symlink};

use crate::{Outcome, shell};

const SERVE: &str = "exam serve ";
/// The server's address as the README names it.
const SERVER: &str = "http://127.0.0.1:7800";
const TEMPLATE: &str = "exam exam template > week1.json";

/// Runs the commands in a folder of their own.
pub(crate) fn run() -> Outcome {
    let root = shell::root();
    let readme = fs::read_to_string(root.join("README.md")).map_err(|error| error.to_string())?;
    let address = free_address().map_err(|error| error.to_string())?;
    let script = script(&commands(&readme), &address)?;
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
            &format!("EXAM_LISTEN={address}"),
            &format!("EXAM_SERVER=http://{address}"),
            "bash",
            &file.to_string_lossy(),
        ],
    )
}

/// Takes a port that is free now and releases it for the server.
fn free_address() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
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

fn script(commands: &[&str], address: &str) -> Outcome<String> {
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
        script.push_str(&line.replace(SERVER, &format!("http://{address}")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_takes_the_port_it_is_given() {
        let lines = [
            "exam serve            # http://127.0.0.1:7800, data in ./data",
            TEMPLATE,
            "loadtest run --server http://127.0.0.1:7800 --exam x",
        ];
        let script = script(&lines, "127.0.0.1:9").unwrap();
        assert!(script.contains("loadtest run --server http://127.0.0.1:9 --exam x\n"));
        assert!(!script.contains("7800"));
    }
}
