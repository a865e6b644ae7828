//! The primaries that there are, and which of them has a key.
//!
//! One server and one behind Sentinels are one [`Node`]; in a cluster each primary is one, found by `CLUSTER SLOTS` and found
//! again when a server says that it is not (or no longer) the right one. Start at [`Nodes::call`].
//! Invariant: a call is repeated only if the server certainly did nothing. Who cannot know is told so and loads again.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use redis::{Cmd, ConnectionInfo, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::{sync::Mutex, time::Instant};

use super::{
    address::{Address, beside, endpoint},
    dial::{Dial, open},
    lane::{Failure, Lane},
    slot::Slot,
};
use crate::store::{Error, Result};

/// A call that finds no primary is tried again for so long: a restart or a planned change of primaries is shorter, a
/// failover is not, and then the device's next try comes from outside. Far below the engine's own limit for one operation.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(25);
/// A cluster is asked about its nodes at most this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Workers of a primary's commits: while one group is synced and replicated, the next ones are on their way (decision 0013).
const N_COMMITTERS: usize = 4;
/// Workers of its reads: long ones do not stand in the way of commits, nor one of another.
const N_READERS: usize = 2;

/// What a call does, and so which lane it takes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A commit: proven.
    Commit,
    /// A read whose answer leads to a receipt or a score: proven.
    ProvenRead,
    /// Anything else.
    Read,
}

/// A primary.
pub(super) struct Node {
    pub(super) endpoint: String,
    pub(super) dial: Dial,
    commits: Lane,
    reads: Lane,
}

impl Node {
    fn start(endpoint: String, dial: Dial, replicated: bool) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            commits: Lane::start(&dial, N_COMMITTERS, replicated),
            reads: Lane::start(&dial, N_READERS, replicated),
            dial,
        })
    }

    /// Asks the server itself; errors of the server are among the values.
    pub(super) async fn ask(&self, commands: Vec<Cmd>) -> std::result::Result<Vec<Value>, Failure> {
        self.send(Kind::Read, commands).await
    }

    async fn send(
        &self,
        kind: Kind,
        commands: Vec<Cmd>,
    ) -> std::result::Result<Vec<Value>, Failure> {
        match kind {
            Kind::Commit => self.commits.send(commands, true).await,
            Kind::ProvenRead => self.reads.send(commands, true).await,
            Kind::Read => self.reads.send(commands, false).await,
        }
    }
}

/// All primaries.
pub(super) struct Nodes {
    /// Whom to ask about the cluster; empty if there is none.
    seeds: Vec<ConnectionInfo>,
    replicated: bool,
    map: RwLock<Arc<Map>>,
    looked_at: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Map {
    /// Last slot of each range, rising, with its primary if it has one.
    ranges: Vec<(Slot, Option<Arc<Node>>)>,
    /// By endpoint; those that only ASK has named are among them.
    nodes: HashMap<String, Arc<Node>>,
}

impl Nodes {
    /// Finds the primaries.
    pub(super) async fn find(address: Address, replicated: bool) -> Result<Self> {
        let mut map = Map::default();
        let mut only = |endpoint: String, dial| {
            let node = Node::start(endpoint.clone(), dial, replicated);
            map.ranges = vec![(Slot::MAX, Some(Arc::clone(&node)))];
            map.nodes.insert(endpoint, node);
        };
        let seeds = match address {
            Address::Server(info) => {
                only(endpoint(&info), Dial::Server(info));
                vec![]
            }
            Address::Sentinels { sentinels, name } => {
                only(name.clone(), Dial::Sentinels { sentinels, name });
                vec![]
            }
            Address::Cluster(seeds) => seeds,
        };
        let nodes = Self {
            seeds,
            replicated,
            map: RwLock::new(Arc::new(map)),
            looked_at: Mutex::new(None),
        };
        nodes
            .look()
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(nodes)
    }

    /// Returns all primaries that hold slots.
    pub(super) fn primaries(&self) -> Vec<Arc<Node>> {
        let map = self.map();
        let mut primaries: Vec<Arc<Node>> = Vec::new();
        for node in map.ranges.iter().filter_map(|(_, node)| node.as_ref()) {
            if !primaries.iter().any(|known| Arc::ptr_eq(known, node)) {
                primaries.push(Arc::clone(node));
            }
        }
        primaries
    }

    /// Reports whether it is a cluster with slots that nobody serves.
    pub(super) fn has_holes(&self) -> bool {
        self.map().ranges.iter().any(|(_, node)| node.is_none())
    }

    /// Sends commands of one slot to its primary, again while it certainly did nothing; `commands` makes them anew.
    pub(super) async fn call(
        &self,
        slot: Slot,
        kind: Kind,
        commands: impl Fn() -> Vec<Cmd>,
    ) -> Result<Vec<Value>> {
        let begun = Instant::now();
        let mut asked: Option<Arc<Node>> = None;
        loop {
            let outcome = match asked.take() {
                Some(node) => self.ask(&node, kind, commands()).await,
                None => match self.map().of(slot) {
                    Some(node) => match node.send(kind, commands()).await {
                        Ok(values) => verdict(values),
                        Err(failure) => Err(failure.into()),
                    },
                    None => Err(Trouble::Elsewhere("nobody serves the slot".to_owned())),
                },
            };
            let why = match outcome {
                Ok(values) => return Ok(values),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Ask(host, port)) => {
                    asked = Some(self.guest(&host, port));
                    continue;
                }
                Err(Trouble::Later(why)) => why,
                Err(Trouble::Elsewhere(why)) => {
                    let _ = self.look().await; // the next try tells what is wrong
                    why
                }
            };
            if begun.elapsed() > PATIENCE {
                return Err(Error::Unavailable(why));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends to a node that a slot is just moving to.
    async fn ask(
        &self,
        node: &Node,
        kind: Kind,
        commands: Vec<Cmd>,
    ) -> std::result::Result<Vec<Value>, Trouble> {
        let pairs = commands
            .into_iter()
            .flat_map(|command| [redis::cmd("ASKING"), command]);
        let values = verdict(node.send(kind, pairs.collect()).await?)?;
        Ok(values.into_iter().skip(1).step_by(2).collect())
    }

    /// Returns the node at an endpoint, which may be new to the cluster.
    fn guest(&self, host: &str, port: u16) -> Arc<Node> {
        let map = self.map();
        let sample = self.seeds.first().map(|seed| beside(seed, host, port));
        let Some(info) = sample else {
            // Only a cluster says ASK; a server that lies is asked again itself.
            return Arc::clone(map.nodes.values().next().expect("there is one server"));
        };
        let name = endpoint(&info);
        if let Some(node) = map.nodes.get(&name) {
            return Arc::clone(node);
        }
        let node = Node::start(name.clone(), Dial::Server(info), self.replicated);
        let mut nodes = map.nodes.clone();
        nodes.insert(name, Arc::clone(&node));
        self.set_map(Map {
            ranges: map.ranges.clone(),
            nodes,
        });
        node
    }

    /// Asks the cluster who has which slots now. The first node that answers is believed: if it is behind, the server that
    /// it names says MOVED, and the next look begins with another node.
    async fn look(&self) -> RedisResult<()> {
        let mut looked_at = self.looked_at.lock().await; // one looks, the others wait for what it finds
        if self.seeds.is_empty() || looked_at.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        let known = self.map();
        let mut whom: Vec<ConnectionInfo> = known
            .nodes
            .values()
            .filter_map(|node| node.dial.sample().cloned())
            .collect(); // a map's order is random
        whom.extend(self.seeds.iter().cloned());
        let mut outcome = Ok(());
        for info in whom {
            match slots(&info).await {
                Ok(found) => {
                    self.set_map(self.arrange(&known, found));
                    outcome = Ok(());
                    break;
                }
                Err(error) => outcome = Err(error),
            }
        }
        *looked_at = Some(Instant::now());
        outcome
    }

    /// Keeps the nodes that are still there, with their connections.
    fn arrange(&self, known: &Map, mut found: Vec<SlotRange>) -> Map {
        found.sort_by_key(|range| range.first);
        let mut map = Map::default();
        let mut next = 0;
        for SlotRange { first, last, info } in found {
            if first > next {
                map.ranges.push((first - 1, None));
            }
            let name = endpoint(&info);
            let node = map.nodes.entry(name.clone()).or_insert_with(|| {
                let known = known.nodes.get(&name).cloned();
                known.unwrap_or_else(|| Node::start(name, Dial::Server(info), self.replicated))
            });
            map.ranges.push((last, Some(Arc::clone(node))));
            next = last + 1;
        }
        if next < super::slot::N_SLOTS {
            map.ranges.push((Slot::MAX, None));
        }
        map
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_map(&self, map: Map) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }
}

impl Map {
    fn of(&self, slot: Slot) -> Option<&Arc<Node>> {
        let index = self.ranges.partition_point(|(last, _)| *last < slot);
        self.ranges.get(index)?.1.as_ref()
    }
}

/// A range of slots and its primary.
struct SlotRange {
    first: Slot,
    last: Slot,
    info: ConnectionInfo,
}

/// Asks a node who has which slots.
async fn slots(whom: &ConnectionInfo) -> RedisResult<Vec<SlotRange>> {
    let mut connection = open(whom).await?;
    let reply: Vec<Vec<Value>> = redis::cmd("CLUSTER")
        .arg("SLOTS")
        .query_async(&mut connection)
        .await?;
    let unreadable = || RedisError::from((ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS"));
    let read = |range: Vec<Value>| {
        let [
            Value::Int(first),
            Value::Int(last),
            Value::Array(primary),
            ..,
        ] = &range[..]
        else {
            return Err(unreadable());
        };
        let [host, Value::Int(port), ..] = &primary[..] else {
            return Err(unreadable());
        };
        let slot = |number: &i64| Slot::try_from(*number).map_err(|_| unreadable());
        let port = slot(port)?;
        // A node that does not know its own name leaves it out: it is the one that was asked.
        let host: Option<String> = redis::from_redis_value_ref(host)?;
        let info = match host.filter(|host| !host.is_empty()) {
            Some(host) => beside(whom, &host, port),
            None => whom.clone(),
        };
        Ok(SlotRange {
            first: slot(first)?,
            last: slot(last)?,
            info,
        })
    };
    reply.into_iter().map(read).collect()
}

/// Why a call has no values yet, or never will.
enum Trouble {
    /// Nothing was done: another server is the right one, or will be.
    Elsewhere(String),
    /// Nothing was done: this one for now, by `ASKING`.
    Ask(String, u16),
    /// Nothing was done: the same server, in a moment.
    Later(String),
    Final(Error),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Busy => Self::Final(Error::Busy),
            Failure::NotSent(why) => Self::Elsewhere(why),
            Failure::Uncertain(why) => Self::Final(Error::Unavailable(why)),
        }
    }
}

/// What XINFO says of a log that was never written to: an answer, no trouble.
const NO_SUCH_KEY: &str = "no such key";

/// Looks for errors of the server among the values.
fn verdict(values: Vec<Value>) -> std::result::Result<Vec<Value>, Trouble> {
    let error = values.iter().find_map(|value| match value {
        Value::ServerError(error) if error.details() != Some(NO_SUCH_KEY) => Some(error),
        _ => None,
    });
    let Some(error) = error else {
        return Ok(values);
    };
    let why = format!("{} {}", error.code(), error.details().unwrap_or(""));
    Err(match error.kind() {
        Some(ServerErrorKind::Ask) => match redirect(error.details()) {
            Some((host, port)) => Trouble::Ask(host, port),
            None => Trouble::Later(why),
        },
        Some(
            ServerErrorKind::Moved
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => Trouble::Elsewhere(why),
        Some(
            ServerErrorKind::NoScript | ServerErrorKind::TryAgain | ServerErrorKind::BusyLoading,
        ) => Trouble::Later(why),
        _ => Trouble::Final(Error::Unavailable(why)),
    })
}

/// Reads "3999 127.0.0.1:6381".
fn redirect(details: Option<&str>) -> Option<(String, u16)> {
    let (_, endpoint) = details?.split_once(' ')?;
    let (host, port) = endpoint.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}
