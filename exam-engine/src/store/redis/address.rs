//! Where the store is: one server, one that Sentinels name, or a cluster.
//!
//! Start at [`Address::parse`]. What an address says once (user, password, TLS) holds for every server found by it.

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates,
    io::tcp::TcpSettings,
};

use crate::store::{Error, Result};

/// The forms there are, for whoever wrote another.
const FORMS: &str = "redis://[user:password@]host:port, rediss://… (TLS), redis+unix:///path, \
    redis-sentinel://[user:password@]host:port,host:port,…/name, redis-cluster://[user:password@]host:port,host:port,…, \
    rediss-sentinel://…, rediss-cluster://…";

/// Port of a Redis for whom none is named, and of a Sentinel.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where the store is.
pub(super) enum Address {
    /// One server, always the same.
    Server(ConnectionInfo),
    /// Whatever server these Sentinels call the primary of that name.
    Sentinels {
        sentinels: Vec<ConnectionInfo>,
        name: String,
    },
    /// A cluster that some of its nodes are asked about.
    Cluster(Vec<ConnectionInfo>),
}

impl Address {
    /// Reads an address; `ca` is the PEM of the authority that signed the servers' certificates, if not a public one.
    ///
    /// # Errors
    /// [`Error::BadAddress`] says what forms there are, and nothing that could hold the password.
    pub(super) fn parse(text: &str, ca: Option<&[u8]>) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let (tls, kind) = match scheme {
            "redis-sentinel" => ("redis", Kind::Sentinels),
            "rediss-sentinel" => ("rediss", Kind::Sentinels),
            "redis-cluster" => ("redis", Kind::Cluster),
            "rediss-cluster" => ("rediss", Kind::Cluster),
            "redis" | "rediss" | "redis+unix" | "unix" => return Ok(Self::Server(one(text, ca)?)),
            _ => return Err(bad()),
        };
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (format!("{credentials}@"), rest),
            None => (String::new(), rest),
        };
        let (hosts, name) = rest.split_once('/').unwrap_or((rest, ""));
        let port = match kind {
            Kind::Sentinels => SENTINEL_PORT,
            Kind::Cluster => PORT,
        };
        let servers = hosts
            .split(',')
            .map(|host| one(&with_port(tls, &credentials, host, port), ca))
            .collect::<Result<Vec<_>>>()?;
        match kind {
            Kind::Sentinels if name.is_empty() || name.contains('/') => Err(bad()),
            Kind::Sentinels => Ok(Self::Sentinels {
                sentinels: servers,
                name: name.to_owned(),
            }),
            Kind::Cluster if name.is_empty() => Ok(Self::Cluster(servers)),
            Kind::Cluster => Err(bad()), // a cluster has no numbered databases
        }
    }
}

enum Kind {
    Sentinels,
    Cluster,
}

fn bad() -> Error {
    Error::BadAddress(format!(
        "địa chỉ Redis không đúng dạng; các dạng dùng được: {FORMS} / \
         the address of Redis has none of these forms: {FORMS}"
    ))
}

fn with_port(scheme: &str, credentials: &str, host: &str, port: u16) -> String {
    // A colon behind the last bracket: "[::1]:6379" names a port, "[::1]" does not.
    let named = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
    if named || host.is_empty() {
        format!("{scheme}://{credentials}{host}")
    } else {
        format!("{scheme}://{credentials}{host}:{port}")
    }
}

fn one(url: &str, ca: Option<&[u8]>) -> Result<ConnectionInfo> {
    let info = url.into_connection_info().map_err(|_| bad())?;
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true)); // off by default in redis 1.x
    let (ConnectionAddr::TcpTls { .. }, Some(ca)) = (info.addr(), ca) else {
        return Ok(info);
    };
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(ca.to_vec()),
    };
    let client = Client::build_with_tls(info, certificates).map_err(|error| {
        Error::BadAddress(format!(
            "tệp chứng thực gốc của Redis không đọc được / the file of --redis-ca cannot be read: {error}"
        ))
    })?;
    Ok(client.get_connection_info().clone())
}

/// Returns the way to another server that is reached as this one is.
pub(super) fn beside(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = host.to_owned();
    let addr = match info.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(addr)
}

/// Returns the server's name and port.
pub(super) fn endpoint(info: &ConnectionInfo) -> String {
    info.addr().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(text: &str) -> String {
        let list =
            |servers: &[ConnectionInfo]| servers.iter().map(endpoint).collect::<Vec<_>>().join(" ");
        match Address::parse(text, None) {
            Ok(Address::Server(info)) => format!("server {}", endpoint(&info)),
            Ok(Address::Sentinels { sentinels, name }) => {
                format!("{name} by {}", list(&sentinels))
            }
            Ok(Address::Cluster(nodes)) => format!("cluster {}", list(&nodes)),
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(describe(text), expected);
    }

    #[test]
    fn each_form_is_read() {
        check("redis://db", "server db:6379");
        check("rediss://u:p@db:7000", "server db:7000");
        check("redis+unix:///run/r.sock", "server /run/r.sock");
        check("redis-sentinel://a,b:7,c/kb", "kb by a:26379 b:7 c:26379");
        check("redis-cluster://u:p%40@a:1,[::1]", "cluster a:1 ::1:6379");
        check("rediss-cluster://a", "cluster a:6379");
    }

    #[test]
    fn user_and_password_hold_for_every_server() {
        let Ok(Address::Cluster(nodes)) = Address::parse("redis-cluster://u:p%40ss@a:1,b:2", None)
        else {
            panic!("it is a cluster");
        };
        let other = beside(&nodes[1], "c", 3);
        for info in [&nodes[0], &nodes[1], &other] {
            let settings = info.redis_settings();
            assert_eq!(
                (settings.username(), settings.password()),
                (Some("u"), Some("p@ss"))
            );
        }
        assert_eq!(endpoint(&other), "c:3");
    }

    #[test]
    fn other_forms_are_refused_with_those_there_are() {
        for text in [
            "db:6379",
            "http://u:secret@db",
            "redis-sentinel://u:secret@a,b",
            "redis-sentinel://a/b/c",
            "redis-cluster://a/1",
            "redis-cluster://",
            "redis-cluster://a:port",
        ] {
            let said = describe(text);
            assert!(said.contains("redis-sentinel://"), "{text}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
