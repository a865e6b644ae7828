//! Several Redis servers that take over from each other: under sentinels, or as a cluster.
//!
//! These need ports, on 127.0.0.1, taken free just before. Timings are short, so that a round is; the client must bear
//! with any. Invariant: every process goes away with the value.

use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rand::{Rng, RngExt};
use tempfile::TempDir;
use tokio::{
    process::Child as Process,
    time::{Instant, sleep},
};

use crate::{
    child::{Environment, command, run},
    redis_server::Redis,
};

/// Sentinels call the group so.
const NAME: &str = "exam";
/// A silent primary is given up after so many milliseconds.
const GIVEN_UP_MS: &str = "1500";
/// A takeover has happened by then, or never does.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// A cluster just made needs a moment until its nodes agree who would take over from whom.
const AGREE: Duration = Duration::from_secs(4);
/// Sentinels find each other within it.
const N_SENTINELS: usize = 3;

/// The servers.
pub(super) struct Group {
    /// What the engine calls.
    pub(super) url: String,
    servers: Vec<Redis>,
    sentinels: Vec<(Process, TempDir)>,
    sentinel_ports: Vec<u16>,
}

impl Group {
    /// A primary, two replicas, three sentinels.
    pub(super) async fn sentinel() -> Result<Self> {
        let ports = free_ports(3 + N_SENTINELS)?;
        let (ports, sentinel_ports) = ports.split_at(3);
        let primary = ports[0].to_string();
        let mut servers = vec![server(ports[0], &[]).await?];
        for port in &ports[1..] {
            let replica = server(*port, &["--replicaof", "127.0.0.1", &primary]).await?;
            await_link(&replica).await?;
            servers.push(replica);
        }
        let mut sentinels = Vec::new();
        for port in sentinel_ports {
            sentinels.push(sentinel(*port, &primary)?);
        }
        let hosts = hosts(sentinel_ports);
        let group = Self {
            url: format!("redis-sentinel://{hosts}/{NAME}"),
            servers,
            sentinels,
            sentinel_ports: sentinel_ports.to_vec(),
        };
        group.await_sentinels().await?;
        Ok(group)
    }

    /// Three primaries, three replicas.
    pub(super) async fn cluster() -> Result<Self> {
        let ports = free_ports(12)?;
        let (ports, buses) = ports.split_at(6);
        let mut servers = Vec::new();
        for (port, bus) in ports.iter().zip(buses) {
            let bus = bus.to_string();
            let settings = [
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                GIVEN_UP_MS,
                "--cluster-require-full-coverage",
                "no",
            ];
            servers.push(server(*port, &settings).await?);
        }
        let nodes: Vec<String> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let mut args = vec!["--cluster", "create"];
        args.extend(nodes.iter().map(String::as_str));
        args.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        run(Path::new("redis-cli"), &args).await?;
        let mut n_replicas = 0;
        for redis in &servers {
            if info(redis, "role").await? == "slave" {
                await_link(redis).await?;
                n_replicas += 1;
            }
        }
        ensure!(n_replicas == 3, "the cluster has {n_replicas} replicas");
        sleep(AGREE).await;
        Ok(Self {
            url: format!("redis-cluster://{}", hosts(ports)),
            servers,
            sentinels: Vec::new(),
            sentinel_ports: Vec::new(),
        })
    }

    /// Kills a primary and waits until another server has its place.
    ///
    /// In a cluster the dead one then comes back, or the new primary had no other server to prove answers by; it takes no
    /// writes before it has heard of the new one. Under Sentinels it stays away: started again before all of them know of
    /// the new primary, it would be taken for one, together with the replica that has not moved yet (docs/TESTING.md).
    pub(super) async fn fail_over(&mut self, rng: &mut impl Rng) -> Result<Duration> {
        let mut primaries = Vec::new();
        for (index, redis) in self.servers.iter().enumerate() {
            if info(redis, "role").await? == "master" {
                primaries.push(index);
            }
        }
        let killed = primaries[rng.random_range(0..primaries.len())];
        let n_primaries = primaries.len();
        self.servers[killed].kill9().await?;
        let begun = Instant::now();
        while self.n_primaries(killed).await < n_primaries {
            ensure!(begun.elapsed() < TAKEOVER_LIMIT, "nobody took over");
            sleep(LOOK).await;
        }
        let took = begun.elapsed();
        if self.sentinels.is_empty() {
            self.servers[killed].restart().await?;
        }
        Ok(took)
    }

    async fn n_primaries(&self, killed: usize) -> usize {
        let mut n = 0;
        for (index, redis) in self.servers.iter().enumerate() {
            let is_up = index != killed;
            if is_up && info(redis, "role").await.is_ok_and(|role| role == "master") {
                n += 1;
            }
        }
        n
    }

    /// Waits until every sentinel knows the others and the replicas.
    async fn await_sentinels(&self) -> Result<()> {
        let begun = Instant::now();
        for port in &self.sentinel_ports {
            while !knows_all(*port).await {
                ensure!(
                    begun.elapsed() < TAKEOVER_LIMIT,
                    "the sentinels do not agree"
                );
                sleep(LOOK).await;
            }
        }
        Ok(())
    }
}

async fn server(port: u16, further: &[&str]) -> Result<Redis> {
    let port = port.to_string();
    let mut settings = vec![
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--appendfsync",
        "always",
        "--repl-diskless-sync-delay",
        "0",
    ];
    settings.extend(further);
    Redis::start_with(&settings, Environment::new()).await
}

fn sentinel(port: u16, primary: &str) -> Result<(Process, TempDir)> {
    let dir = tempfile::tempdir().context("make a temporary folder")?;
    let file = dir.path().join("sentinel.conf");
    let place = dir.path().display();
    let words = format!(
        "port {port}\nbind 127.0.0.1\ndir {place}\n\
         sentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds {NAME} {GIVEN_UP_MS}\n\
         sentinel failover-timeout {NAME} 6000\n"
    );
    std::fs::write(&file, words).context("write sentinel.conf")?;
    let file = file.to_str().context("the temporary folder's name")?;
    let log = dir.path().join("log");
    let process = command(
        Path::new("redis-server"),
        &[file, "--sentinel"],
        &Environment::new(),
        &log,
    )?
    .stdout(Stdio::null())
    .spawn()
    .context("start a sentinel")?;
    Ok((process, dir))
}

async fn knows_all(port: u16) -> bool {
    let asked = async {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("INFO")
            .arg("sentinel")
            .query_async::<String>(&mut connection)
            .await
    };
    asked
        .await
        .is_ok_and(|info| info.contains(&format!("slaves=2,sentinels={N_SENTINELS}")))
}

/// Waits until a replica follows its primary.
pub(super) async fn await_link(replica: &Redis) -> Result<()> {
    let begun = Instant::now();
    while info(replica, "master_link_status").await? != "up" {
        ensure!(
            begun.elapsed() < TAKEOVER_LIMIT,
            "a replica does not follow"
        );
        sleep(LOOK).await;
    }
    Ok(())
}

/// Returns a line of what a server says of its replication.
async fn info(redis: &Redis, name: &str) -> Result<String> {
    let mut connection = redis.connect().await?;
    let info: String = redis::cmd("INFO")
        .arg("replication")
        .query_async(&mut connection)
        .await
        .context("INFO replication")?;
    let found = info
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    match found {
        Some(value) => Ok(value.trim().to_owned()),
        None => bail!("a server says nothing of {name}"),
    }
}

fn hosts(ports: &[u16]) -> String {
    let hosts: Vec<String> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    hosts.join(",")
}

/// Takes ports that are free now.
fn free_ports(n: usize) -> Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..n)
        .map(|_| TcpListener::bind("127.0.0.1:0").context("take a port"))
        .collect::<Result<_>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr().context("a port's number")?.port()))
        .collect()
}
