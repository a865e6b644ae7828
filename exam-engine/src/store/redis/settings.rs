//! What a server must be set to, so that what receipts promise is true. Read at the start and again with every health check.

use redis::{Cmd, FromRedisValue, Value, aio::ConnectionLike};

use super::{
    RedisOptions,
    address::{beside, endpoint},
    dial::open,
    lane::Failure,
    nodes::{Node, Nodes},
};
use crate::store::{Durability, Error, Result};

/// Settings that decide whether an acknowledged write survives, and what they must be.
const SETTINGS: [(&str, &str); 4] = [
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    // With "yes" nothing is synced while the append-only file is rewritten.
    ("no-appendfsync-on-rewrite", "no"),
    ("maxmemory-policy", "noeviction"),
];
/// How many of them a replica needs, too: the others follow from its primary or matter once it is one.
const OF_REPLICAS: usize = 2;

/// Checks all primaries; returns how durable a commit is.
///
/// # Errors
/// [`Error::WeakSettings`] names the settings to change, unless practice allows them; [`Error::Unavailable`].
pub(super) async fn check(nodes: &Nodes, options: &RedisOptions) -> Result<Durability> {
    let mut weak = Vec::new();
    if nodes.has_holes() {
        return Err(Error::Unavailable(
            "slots of the cluster that nobody serves".to_owned(),
        ));
    }
    let primaries = nodes.primaries();
    let several = primaries.len() > 1;
    for node in primaries {
        let found = ask(&node).await?;
        check_version(&found.server)?;
        let place = several.then(|| format!(" ({})", node.endpoint));
        let place = place.as_deref().unwrap_or_default();
        for ((setting, wanted), found) in SETTINGS.iter().zip(found.settings) {
            let found = match found {
                Ok(found) => found,
                Err(_) if options.practice => "?".to_owned(), // a server that hides its settings
                Err(error) => return Err(Error::Unavailable(error)),
            };
            if found != *wanted {
                weak.push(format!("{setting} {found} -> {wanted}{place}"));
            }
        }
        if options.replicated && replicas(&found.replication).next().is_none() {
            return Err(Error::WeakSettings(format!(
                "máy chủ Redis {0} không có bản sao nào đang nối; hãy nối một bản sao, hoặc chạy với --durability single / \
                 the Redis {0} has no connected replica; connect one, or run with --durability single",
                node.endpoint
            )));
        }
    }
    judge(&weak, options)
}

/// Checks the replicas of all primaries, as far as they can be reached from here: Sentinel and Cluster may promote them.
///
/// # Errors
/// As [`check`].
pub(super) async fn check_replicas(nodes: &Nodes, options: &RedisOptions) -> Result<Durability> {
    let mut weak = Vec::new();
    for node in nodes.primaries() {
        let Some(sample) = node.dial.sample() else {
            continue;
        };
        let found = ask(&node).await?;
        for (host, port) in replicas(&found.replication) {
            let info = beside(sample, host, port);
            let place = endpoint(&info);
            let Ok(mut connection) = open(&info).await else {
                tracing::info!(replica = %place, "its settings cannot be read from here");
                continue;
            };
            for (setting, wanted) in &SETTINGS[..OF_REPLICAS] {
                let Ok(reply) = connection.req_packed_command(&config_get(setting)).await else {
                    tracing::info!(replica = %place, setting, "cannot be read");
                    continue;
                };
                let found = value_of(&reply).unwrap_or_else(|_| "?".to_owned());
                if found != *wanted {
                    weak.push(format!("{setting} {found} -> {wanted} ({place})"));
                }
            }
        }
    }
    judge(&weak, options)
}

fn judge(weak: &[String], options: &RedisOptions) -> Result<Durability> {
    match (weak.is_empty(), options.practice) {
        (true, _) if options.replicated => Ok(Durability::Replicated),
        (true, _) => Ok(Durability::Single),
        (false, true) => Ok(Durability::Practice),
        (false, false) => Err(Error::WeakSettings(format!(
            "Redis chưa đủ bền cho kỳ thi chính thức; hãy đổi trong redis.conf, hoặc CONFIG SET rồi CONFIG REWRITE: {0}; hoặc dùng --practice khi thi thử / \
             Redis is not durable enough for an official exam; change in redis.conf, or CONFIG SET and then CONFIG REWRITE: {0}; or use --practice for a rehearsal",
            weak.join(", ")
        ))),
    }
}

/// What a server says of itself.
struct Found {
    server: String,
    replication: String,
    /// In the order of [`SETTINGS`]; why not, where it does not say.
    settings: Vec<std::result::Result<String, String>>,
}

async fn ask(node: &Node) -> Result<Found> {
    let mut commands = vec![info("server"), info("replication")];
    commands.extend(SETTINGS.iter().map(|(setting, _)| config_get(setting)));
    let values = match node.ask(commands).await {
        Ok(values) => values,
        Err(Failure::Busy) => return Err(Error::Busy),
        Err(Failure::NotSent(why) | Failure::Uncertain(why)) => {
            return Err(Error::Unavailable(why));
        }
    };
    let text = |index: usize| {
        let value = values.get(index).cloned().unwrap_or(Value::Nil);
        let text = value
            .extract_error()
            .and_then(|value| Ok(String::from_redis_value(value)?));
        text.map_err(|error| Error::Unavailable(error.to_string()))
    };
    Ok(Found {
        server: text(0)?,
        replication: text(1)?,
        settings: values.iter().skip(2).map(value_of).collect(),
    })
}

fn info(section: &str) -> Cmd {
    let mut command = redis::cmd("INFO");
    command.arg(section);
    command
}

fn config_get(setting: &str) -> Cmd {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg(setting);
    command
}

/// Reads the answer to CONFIG GET of one setting.
fn value_of(reply: &Value) -> std::result::Result<String, String> {
    let pair = reply
        .clone()
        .extract_error()
        .and_then(|value| Ok(Vec::<String>::from_redis_value(value)?))
        .map_err(|error| error.to_string())?;
    Ok(pair.into_iter().nth(1).unwrap_or_else(|| "?".to_owned()))
}

/// Reads the connected replicas of `INFO replication`: `slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0`.
fn replicas(replication: &str) -> impl Iterator<Item = (&str, u16)> {
    replication.lines().filter_map(|line| {
        let (name, facts) = line.strip_prefix("slave")?.split_once(':')?;
        name.parse::<u32>().ok()?;
        let fact = |name: &str| {
            let mut facts = facts.split(',').filter_map(|fact| fact.split_once('='));
            facts
                .find(|(found, _)| *found == name)
                .map(|(_, value)| value)
        };
        let host = fact("ip")?;
        let port = fact("port")?.parse().ok()?;
        (fact("state") == Some("online")).then_some((host, port))
    })
}

/// Log ids `0-*` need Redis 7; an older server would refuse them in the middle of a script.
fn check_version(server: &str) -> Result<()> {
    let version = server
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap_or("?");
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 7) {
        return Ok(());
    }
    Err(Error::WeakSettings(format!(
        "cần Redis 7.0 trở lên hoặc Valkey, máy chủ này là {version} / Redis 7.0 or Valkey is needed, this server is {version}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replicas_that_are_there_count() {
        let text = "role:master\r\nconnected_slaves:2\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=14,lag=0\r\n\
                    slave1:ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0\r\nslave_read_only:1\r\n";
        assert_eq!(replicas(text).collect::<Vec<_>>(), [("10.0.0.2", 6379)]);
    }

    #[test]
    fn an_old_server_is_refused() {
        assert!(check_version("redis_version:7.0.15\r\n").is_ok());
        assert!(matches!(
            check_version("redis_version:6.2.14\r\n"),
            Err(Error::WeakSettings(_))
        ));
    }
}
