//! Runs other programs: says what it runs, fails with what failed.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{Outcome, say};

/// Returns the workspace's folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .map_or_else(|| here.to_owned(), Path::to_owned)
}

/// Runs a program in the workspace's folder and waits for it.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Outcome {
    say(&format!("$ {program} {}", arguments.join(" ")));
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .status()
        .map_err(|error| format!("{program}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{program} {} → {status}", arguments.join(" ")))
    }
}

/// Runs a program and shows what it prints but the last line, which is returned with how the program ended.
pub(crate) fn run_but_last_line(program: &Path, arguments: &[&str]) -> Outcome<(String, Outcome)> {
    let name = program.display();
    say(&format!("$ {name} {}", arguments.join(" ")));
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    let stdout = child.stdout.take().ok_or("the program has no output")?;
    let mut child = Started(child);
    let last = show_but_last(BufReader::new(stdout), say).map_err(|error| error.to_string())?;
    let status = child.0.wait().map_err(|error| error.to_string())?;
    let outcome = if status.success() {
        Ok(())
    } else {
        Err(format!("{name} → {status}"))
    };
    Ok((last, outcome))
}

fn show_but_last(lines: impl BufRead, mut show: impl FnMut(&str)) -> std::io::Result<String> {
    let mut last: Option<String> = None;
    for line in lines.lines() {
        if let Some(earlier) = last.replace(line?) {
            show(&earlier);
        }
    }
    Ok(last.unwrap_or_default())
}

/// Runs a program and returns what it prints; its errors go to the screen.
pub(crate) fn output(program: &Path, arguments: &[&str]) -> Outcome<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!(
            "{} {} → {}\n{text}",
            program.display(),
            arguments.join(" "),
            output.status
        ))
    }
}

/// Runs cargo with fixed and further arguments.
pub(crate) fn cargo(fixed: &[&str], further: &[&str]) -> Outcome {
    run("cargo", &[fixed, further].concat())
}

/// Writes the bindings anew.
pub(crate) fn codegen() -> Outcome {
    run(
        "env",
        &[
            "UPDATE_GENERATED=1",
            "cargo",
            "test",
            "-q",
            "-p",
            "proto",
            "--test",
            "generated",
        ],
    )
}

/// Reports whether a program is on the PATH.
pub(crate) fn exists(program: &str) -> bool {
    let found = |folder: PathBuf| folder.join(program).is_file();
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(found))
}

/// Installs a Debian package unless its program is there.
pub(crate) fn need(program: &str, package: &str) -> Outcome {
    if exists(program) {
        return Ok(());
    }
    let sudo: &[&str] = if exists("sudo") { &["sudo"] } else { &[] };
    let install = |words: &[&str]| {
        let all = [sudo, words].concat();
        run(all[0], &all[1..])
    };
    install(&["apt-get", "update", "-qq"])?;
    install(&["apt-get", "install", "-y", "-qq", "--no-install-recommends", package])
        .map_err(|error| format!("cần {program}; hãy cài gói {package} / {program} is needed; install the package {package} ({error})"))
}

/// A child that ends with its owner: only processes started here are ended, by their pid.
pub(crate) struct Started(pub(crate) Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended by itself
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &[&str], held: &str) {
        let mut lines = Vec::new();
        let last = show_but_last(text.as_bytes(), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(
            (lines, last.as_str()),
            (shown.iter().map(|line| (*line).to_owned()).collect(), held)
        );
    }

    #[test]
    fn the_last_line_is_held_back() {
        check("a\n\nverdict: ok\n", &["a", ""], "verdict: ok");
        check("verdict: ok", &[], "verdict: ok");
        check("", &[], "");
    }
}
