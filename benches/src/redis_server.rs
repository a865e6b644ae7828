//! A Redis for figures: on a unix socket in a temporary folder, gone with its owner.

use std::{
    io,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// It is up within milliseconds, or something is wrong.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running server that writes every command to stable storage before it answers.
pub(crate) struct RedisServer {
    child: Child,
    folder: TempDir,
}

impl RedisServer {
    /// Starts one, from the thread that will outlive it; `EXAM_REDIS_BIN` names another program.
    ///
    /// # Errors
    /// Without setpriv or redis-server, or if it does not come up.
    pub(crate) fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = std::env::var("EXAM_REDIS_BIN").unwrap_or_else(|_| "redis-server".to_owned());
        let settings = "--port 0 --unixsocket s.sock --save --appendonly yes --appendfsync always";
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", &program])
            .args(settings.split(' '))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { child, folder };
        let begun = Instant::now();
        while server.info("server").is_err() {
            if begun.elapsed() > START_LIMIT {
                return Err(io::Error::other("redis-server does not come up"));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Returns its address.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}/s.sock", self.folder.path().display())
    }

    /// Returns a section of `INFO`.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) fn info(&self, section: &str) -> redis::RedisResult<String> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        redis::cmd("INFO").arg(section).query(&mut connection)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}
