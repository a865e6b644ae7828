//! A Redis or Valkey of a test's own: on a unix socket, in a folder of its own, gone with the test.
//!
//! The kernel ends the server when the thread that started it ends, so start it from the test's own thread.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const START_LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct RedisServer {
    child: Child,
    folder: tempfile::TempDir,
    settings: Vec<&'static str>,
}

impl RedisServer {
    /// Starts one that official exams may use.
    pub(crate) fn start() -> Self {
        Self::with_settings(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(crate) fn with_settings(settings: &[&'static str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("exam-redis")
            .tempdir()
            .unwrap();
        let child = spawn(&folder, settings);
        let server = Self {
            child,
            folder,
            settings: settings.to_vec(),
        };
        server.wait_until_up();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Ends the server as a crash would.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let _ = std::fs::remove_file(self.socket()); // what a crash leaves behind would look like a server
    }

    /// Starts it again on the same files.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.folder, &self.settings);
        self.wait_until_up();
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s.sock")
    }

    fn wait_until_up(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let begun = Instant::now();
        let answers = || {
            let mut connection = client.get_connection().ok()?;
            redis::cmd("PING").query::<String>(&mut connection).ok()
        };
        while answers().is_none() {
            assert!(
                begun.elapsed() < START_LIMIT,
                "redis-server did not come up"
            );
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may be dead already
        let _ = self.child.wait();
    }
}

fn spawn(folder: &tempfile::TempDir, settings: &[&str]) -> Child {
    let program = std::env::var("EXAM_REDIS_BIN").unwrap_or_else(|_| "redis-server".to_owned());
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", &program])
        .args([
            "--port",
            "0",
            "--unixsocket",
            "s.sock",
            "--save",
            "",
            "--loglevel",
            "warning",
        ])
        .args(settings)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("setpriv and redis-server are installed: `cargo xtask test` does it")
}
