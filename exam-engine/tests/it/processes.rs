//! The real binary as processes of a test: started, killed, ended in order, started again.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The program drains within ten seconds.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Where the log of a process with variables is.
pub(crate) const STDERR: &str = "stderr";

/// The real binary on a data folder; the kernel ends it with the thread that started it.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

impl Process {
    /// Starts `exam serve` with more arguments, on a free port unless they name one.
    pub(crate) fn start(data: &Path, args: &[&str]) -> Self {
        Self::start_with(data, args, &[])
    }

    /// The same with variables of the environment; what it logs goes to [`STDERR`] in its data folder.
    pub(crate) fn start_with(data: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_exam"), "--data"])
            .arg(data)
            .arg("serve")
            .args(args)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped());
        if !variables.is_empty() {
            let log = std::fs::File::create(data.join(STDERR)).unwrap();
            command.stderr(log).env("NO_COLOR", "1");
        }
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("not started: {line:?}"))
            .to_owned();
        Self { child, url }
    }

    /// Ends it as a crash would.
    pub(crate) fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an operator does, and waits until it has ended.
    pub(crate) fn terminate(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < END_LIMIT, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// Returns where libfaketime is, if it is installed.
pub(crate) fn faketime_library() -> Option<String> {
    let places = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    places
        .map(|place| place.path().join("faketime/libfaketime.so.1"))
        .find(|file| file.exists())
        .map(|file| file.display().to_string())
}
