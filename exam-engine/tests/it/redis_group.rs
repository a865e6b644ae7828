//! Servers that belong together: a primary with replicas and Sentinels, and a cluster. All on loopback ports.

use std::time::Duration;

use crate::redis_server::{DURABLE, RedisServer, folder, free_port, redis_program, until};

/// Six processes come up, shake hands and synchronise on a machine that runs other tests.
const PATIENCE: Duration = Duration::from_secs(40);
/// Replication begins at once instead of after five seconds.
const REPLICATION: [&str; 2] = ["--repl-diskless-sync-delay", "0"];
/// A cluster notices a dead primary soon, and goes on with the slots that are served.
const CLUSTER: [&str; 8] = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "1500",
    "--cluster-require-full-coverage",
    "no",
    "--cluster-config-file",
    "nodes.conf",
];

/// One primary, two replicas, three Sentinels.
pub(crate) struct SentinelGroup {
    pub(crate) servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl SentinelGroup {
    pub(crate) fn start() -> Self {
        let program = redis_program();
        let settings = [&DURABLE[..], &REPLICATION].concat();
        let primary = RedisServer::on_port(&program, &settings);
        let port = primary.port().to_string();
        let follow = [&settings[..], &["--replicaof", "127.0.0.1", &port]].concat();
        let mut servers = vec![primary];
        servers.extend((0..2).map(|_| RedisServer::on_port(&program, &follow)));
        let sentinels: Vec<_> = (0..3).map(|_| start_sentinel(&program, &port)).collect();
        let group = Self { servers, sentinels };
        until("replicas and Sentinels know each other", PATIENCE, || {
            let replicas = group.servers[0].info("replication");
            let knows = |sentinel: &RedisServer| {
                let line = sentinel.info("sentinel");
                line.contains("status=ok,") && line.contains("slaves=2,sentinels=3")
            };
            replicas.matches("state=online").count() == 2 && group.sentinels.iter().all(knows)
        });
        group
    }

    pub(crate) fn url(&self) -> String {
        let ports = self.sentinels.iter().map(RedisServer::port);
        let hosts: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis-sentinel://{}/kb", hosts.join(","))
    }

    /// The servers that call themselves primary.
    pub(crate) fn primaries(&self) -> Vec<usize> {
        primaries(&self.servers)
    }
}

fn start_sentinel(program: &str, port_of_primary: &str) -> RedisServer {
    let (port, folder) = (free_port(), folder());
    let text = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor kb 127.0.0.1 {port_of_primary} 2\n\
         sentinel down-after-milliseconds kb 1000\nsentinel failover-timeout kb 6000\nsentinel parallel-syncs kb 2\n"
    );
    std::fs::write(folder.path().join("sentinel.conf"), text).unwrap();
    let url = format!("redis://127.0.0.1:{port}");
    RedisServer::launch(folder, program, &["sentinel.conf", "--sentinel"], url, port)
}

fn primaries(servers: &[RedisServer]) -> Vec<usize> {
    let is_primary = |server: &RedisServer| server.info("replication").contains("role:master");
    let indexed = servers.iter().enumerate();
    indexed
        .filter(|(_, server)| is_primary(server))
        .map(|(index, _)| index)
        .collect()
}

/// Three primaries, and behind each its replica: server 3 follows server 0, and so on.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<RedisServer>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::with_settings(&[])
    }

    pub(crate) fn with_settings(more: &[&str]) -> Self {
        let program = redis_program();
        let mut buses = Vec::new();
        let mut start = || {
            let bus = free_port().to_string();
            let settings = [
                &DURABLE[..],
                &REPLICATION,
                &CLUSTER,
                &["--cluster-port", &bus],
                more,
            ]
            .concat();
            let server = RedisServer::on_port(&program, &settings);
            buses.push(bus);
            server
        };
        let servers: Vec<_> = (0..6).map(|_| start()).collect();
        for (index, range) in [["0", "5460"], ["5461", "10922"], ["10923", "16383"]]
            .iter()
            .enumerate()
        {
            servers[index].tell(&["CLUSTER", "ADDSLOTSRANGE", range[0], range[1]]);
        }
        for (index, server) in servers.iter().enumerate() {
            server.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for (server, bus) in servers.iter().zip(&buses).skip(1) {
            let port = server.port().to_string();
            servers[0].tell(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        }
        let cluster = Self { servers };
        cluster.until_all("six nodes know each other", |server| {
            server.cluster_nodes().lines().count() == 6
                && !server.cluster_nodes().contains("handshake")
        });
        for (primary, replica) in cluster.servers[..3].iter().zip(&cluster.servers[3..]) {
            let id: String = primary.query(&["CLUSTER", "MYID"]).unwrap();
            until("the replica knows its primary", PATIENCE, || {
                let told = replica.query::<String>(&["CLUSTER", "REPLICATE", &id]);
                told.is_ok()
            });
        }
        cluster.until_whole();
        cluster
    }

    /// Waits until every slot is served, every primary has its replica, and all know it.
    pub(crate) fn until_whole(&self) {
        self.until_all("the cluster is whole", |server| {
            let state: String = server.query(&["CLUSTER", "INFO"]).unwrap_or_default();
            let replication = server.info("replication");
            let follows = replication.contains("master_link_status:up");
            let is_followed = replication.contains("state=online");
            let nodes = server.cluster_nodes();
            state.contains("cluster_state:ok")
                && state.contains("cluster_slots_ok:16384")
                && (follows || is_followed)
                && nodes.matches("slave ").count() == 3
                && !nodes.contains("fail")
        });
    }

    fn until_all(&self, what: &str, is_so: impl Fn(&RedisServer) -> bool) {
        until(what, PATIENCE, || self.servers.iter().all(&is_so));
    }

    /// The way to it by one node: the others are found.
    pub(crate) fn url(&self) -> String {
        let ports = self.servers[1..3].iter().map(RedisServer::port);
        let hosts: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// The servers that call themselves primary.
    pub(crate) fn primaries(&self) -> Vec<usize> {
        primaries(&self.servers)
    }
}

impl RedisServer {
    fn cluster_nodes(&self) -> String {
        self.query(&["CLUSTER", "NODES"]).unwrap_or_default()
    }
}
