//! A Redis or Valkey of a test's own: on a unix socket or a loopback port, in a folder of its own, gone with the test.
//!
//! The kernel ends the server when the thread that started it ends, so start it from the test's own thread.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use redis::FromRedisValue;

const START_LIMIT: Duration = Duration::from_secs(10);

/// What official exams ask for.
pub(crate) const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

pub(crate) struct RedisServer {
    child: Child,
    folder: tempfile::TempDir,
    program: String,
    arguments: Vec<String>,
    url: String,
    port: u16,
}

impl RedisServer {
    /// Starts one that official exams may use.
    pub(crate) fn start() -> Self {
        Self::with_settings(&DURABLE)
    }

    pub(crate) fn with_settings(settings: &[&str]) -> Self {
        Self::on_socket(&redis_program(), settings)
    }

    /// Starts a given program on a unix socket.
    pub(crate) fn on_socket(program: &str, settings: &[&str]) -> Self {
        let folder = folder();
        let url = format!("redis+unix://{}", folder.path().join("s.sock").display());
        let listen = ["--port", "0", "--unixsocket", "s.sock"];
        let arguments = [&listen, settings].concat();
        Self::launch(folder, program, &arguments, url, 0)
    }

    /// Starts a given program on a free port of the loopback.
    pub(crate) fn on_port(program: &str, settings: &[&str]) -> Self {
        let port = free_port();
        let text = port.to_string();
        let arguments = [&["--port", &text, "--bind", "127.0.0.1"], settings].concat();
        let url = format!("redis://127.0.0.1:{port}");
        Self::launch(folder(), program, &arguments, url, port)
    }

    /// Starts one in a folder that may hold files for it; the address is that at which it answers.
    pub(crate) fn launch(
        folder: tempfile::TempDir,
        program: &str,
        arguments: &[&str],
        url: String,
        port: u16,
    ) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let mut server = Self {
            child: spawn(folder.path(), program, &arguments),
            folder,
            program: program.to_owned(),
            arguments,
            url,
            port,
        };
        server.wait_until_up();
        server
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the server as a crash would.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let _ = std::fs::remove_file(self.folder.path().join("s.sock")); // what a crash leaves behind would look like a server
    }

    /// Starts it again on the same files.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.folder.path(), &self.program, &self.arguments);
        self.wait_until_up();
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends one command on a connection of its own.
    pub(crate) fn query<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    /// Sends one command that must succeed.
    #[track_caller]
    pub(crate) fn tell(&self, words: &[&str]) {
        let _: redis::Value = self.query(words).unwrap();
    }

    /// Returns `INFO` of a section.
    pub(crate) fn info(&self, section: &str) -> String {
        self.query(&["INFO", section]).unwrap_or_default()
    }

    fn wait_until_up(&mut self) {
        let begun = Instant::now();
        // A server that wants a password or a certificate is up, too.
        let answers = |server: &Self| match server.query::<redis::Value>(&["PING"]) {
            Ok(_) => true,
            Err(error) => error.code().is_some_and(|code| code != "LOADING"),
        };
        while !answers(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                begun.elapsed() < START_LIMIT && ended.is_none(),
                "{} did not come up: {ended:?}",
                self.program
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

/// The server that tests run with: `EXAM_REDIS_BIN`, else what is installed.
pub(crate) fn redis_program() -> String {
    std::env::var("EXAM_REDIS_BIN").unwrap_or_else(|_| "redis-server".to_owned())
}

/// The Valkey that `cargo xtask test` fetches. Without it a test says so and passes, unless it runs in CI.
pub(crate) fn valkey_program() -> Option<String> {
    let found = std::env::var("EXAM_VALKEY_BIN").ok();
    if found.is_none() {
        let said = "EXAM_VALKEY_BIN names no valkey-server: `cargo xtask test` fetches one";
        assert!(std::env::var_os("CI").is_none(), "{said}");
        eprintln!("skipped: {said}");
    }
    found
}

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("exam-redis")
        .tempdir()
        .unwrap()
}

/// A port that nobody listens on, below those that the system gives to outgoing connections, so that it stays free.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(20));
    }
}

fn spawn(folder: &Path, program: &str, arguments: &[String]) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", program])
        .args(arguments)
        .args(if arguments.iter().any(|word| word == "--sentinel") {
            &[][..]
        } else {
            &["--save", "", "--loglevel", "warning"]
        })
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("setpriv and redis-server are installed: `cargo xtask test` does it")
}
