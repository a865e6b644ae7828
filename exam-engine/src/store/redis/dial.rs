//! How a connection to a primary is made: whom to ask, and what must be so before it is used.
//!
//! Invariant: a connection that [`Dial::connect`] returns belongs to a server that called itself primary, and that server
//! knows the commit script. Whether it still is one tells each reply (READONLY, MOVED).

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, RedisConnectionInfo, RedisError, RedisResult,
    Value,
    aio::{ConnectionLike, MultiplexedConnection},
};

use super::address::beside;

/// A command unanswered for this long counts as lost; the rpc's own limit is longer, WAIT's is shorter.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that does not take a connection within this is down: on one network it takes a millisecond, TLS ten.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The one step that writes; sent by its hash.
pub(super) const SCRIPT: &str = include_str!("../commit.lua");

/// The way to one primary.
#[derive(Clone)]
pub(super) enum Dial {
    /// Always this server.
    Server(ConnectionInfo),
    /// Whoever is the primary of that name by what the Sentinels say now.
    Sentinels {
        sentinels: Vec<ConnectionInfo>,
        name: String,
    },
}

impl Dial {
    /// Connects to the primary.
    pub(super) async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        match self {
            Self::Server(info) => ready(info).await,
            Self::Sentinels { sentinels, name } => {
                let mut last = refused("no Sentinel is named");
                for sentinel in sentinels {
                    // One that was cut off may name a primary of the past: the next one is asked.
                    let attempt = async { ready(&primary(sentinel, name).await?).await };
                    match attempt.await {
                        Ok(connection) => return Ok(connection),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    /// Returns how servers beside the primary are reached.
    pub(super) fn sample(&self) -> Option<&ConnectionInfo> {
        match self {
            Self::Server(info) => Some(info),
            Self::Sentinels { sentinels, .. } => sentinels.first(),
        }
    }
}

fn refused(why: &str) -> RedisError {
    RedisError::from((redis::ErrorKind::Io, "no primary", why.to_owned()))
}

/// Connects and asks nothing.
pub(super) async fn open(info: &ConnectionInfo) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    let client = Client::open(info.clone())?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// Connects to a server that must be a primary, and gives it the script.
async fn ready(info: &ConnectionInfo) -> RedisResult<MultiplexedConnection> {
    let mut connection = open(info).await?;
    let replication: String = redis::cmd("INFO")
        .arg("replication")
        .query_async(&mut connection)
        .await?;
    if !replication.lines().any(|line| line == "role:master") {
        return Err(refused("the server is a replica"));
    }
    load_script(&mut connection).await?;
    Ok(connection)
}

/// Gives the server the script: it forgets it at a restart and never had it as a replica.
pub(super) async fn load_script(connection: &mut impl ConnectionLike) -> RedisResult<()> {
    redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg(SCRIPT)
        .query_async(connection)
        .await
}

/// Asks a Sentinel who the primary is.
async fn primary(sentinel: &ConnectionInfo, name: &str) -> RedisResult<ConnectionInfo> {
    let ask = async |info: &ConnectionInfo| {
        let mut connection = open(info).await?;
        redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(name)
            .query_async::<Value>(&mut connection)
            .await
    };
    // Sentinels often have no password where the servers have one, and then refuse to be given it.
    let stranger = sentinel
        .clone()
        .set_redis_settings(RedisConnectionInfo::default());
    let reply = match ask(&stranger).await {
        Ok(reply) => reply,
        Err(error) if error.is_io_error() => return Err(error),
        Err(_) => ask(sentinel).await?,
    };
    let found: Option<(String, u16)> = redis::from_redis_value(reply)?;
    let (host, port) =
        found.ok_or_else(|| refused("the Sentinels know no primary of that name"))?;
    Ok(beside(sentinel, &host, port))
}
