//! Who may speak to Redis: users with few commands, and TLS.

use bytes::Bytes;
use exam_engine::{
    clock::{Clock, SystemClock},
    id::{CandidateId, ExamId, SessionKey},
    store::{
        AlarmChange, Commit, Error, ExamTable, Field, RedisOptions, RedisStore, Result,
        SessionStore, StoredExam,
    },
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::{
    redis_group::{Cluster, SentinelGroup},
    redis_server::{DURABLE, RedisServer, folder, free_port, redis_program, until},
};

/// The page that operators copy the line from.
const PAGE: &str = include_str!("../../../docs/REDIS.md");

/// Returns the words of a line of the page that begins like this.
fn acl_line(begin: &str) -> Vec<&'static str> {
    let mut lines = PAGE.lines().filter(|line| line.starts_with(begin));
    let words: Vec<_> = lines.next().unwrap().split(' ').collect();
    assert!(lines.next().is_none(), "{begin} stands twice");
    words
}

/// Everything that an engine does, once.
async fn do_everything(url: &str, replicated: bool) -> Result<()> {
    let options = RedisOptions {
        replicated,
        ..RedisOptions::default()
    };
    let store = RedisStore::open(url, options).await?;
    let exam = ExamId::parse("a").unwrap();
    let key = SessionKey {
        exam: exam.clone(),
        partition: 1,
        candidate: CandidateId([1; 16]),
    };
    let now = SystemClock.now();
    let version = store.load(&key).await?.map_or(0, |record| record.version);
    let mut commit = Commit {
        expected_version: version,
        not_after: Some(now.plus_ms(60_000)),
        reset: true,
        fields: vec![(Field::Progress, Bytes::from_static(b"p"))],
        alarm: AlarmChange::Set(now),
        events: vec![Bytes::from_static(b"e")],
    };
    let version = store.commit(&key, commit.clone()).await?;
    let (due, _) = store.due(&exam, 2, now, 10).await?;
    assert_eq!(due, [key.candidate]);
    commit.expected_version = version;
    commit.alarm = AlarmChange::Clear;
    store.commit(&key, commit).await?;
    let end = store.log_ends(&exam, 2).await?[1];
    assert_eq!(store.read_log(&exam, 1, end - 2, 10).await?.len(), 2);
    assert!(store.read_log(&exam, 1, end, 10).await?.is_empty());
    store.trim_log(&exam, 1, end - 1).await?;
    assert!(store.has_moved_on(&key, version).await?);
    use_exams(store.exams().unwrap()).await?;
    store.check().await
}

/// What the list of exams is for, from the claim of the secrets to an exam that is read again.
async fn use_exams(table: &dyn ExamTable) -> Result<()> {
    assert!(table.claim_secrets("fingerprint", false).await?);
    let before = table.look().await?;
    let revision = table
        .load_exam("a")
        .await?
        .map_or(0, |(revision, _)| revision);
    let exam = StoredExam {
        min_reader: 1,
        exam: Bytes::from_static(b"exam"),
        package: None,
    };
    let written = table.put_exam("a", revision, exam.clone()).await?;
    assert_eq!(table.load_exam("a").await?, Some((written, exam)));
    assert_eq!(table.revisions().await?.get("a"), Some(&written));
    assert_ne!(table.look().await?.changes, before.changes);
    Ok(())
}

/// Makes the user without one word of its line, or with all.
fn make_user(server: &RedisServer, line: &[&str], without: Option<&str>) {
    server.tell(&["ACL", "SETUSER", "exam", "reset"]);
    let words: Vec<_> = line
        .iter()
        .copied()
        .filter(|word| Some(*word) != without)
        .collect();
    server.tell(&words);
}

fn with_user(url: &str) -> String {
    url.replace("://", "://exam:change-me@")
}

/// Sees that the line suffices and that no command of it may be left out.
async fn needs_all_of(line: &[&str], server: &RedisServer, url: &str, replicated: bool) {
    make_user(server, line, None);
    do_everything(url, replicated).await.unwrap();
    let commands: Vec<_> = line.iter().filter(|word| word.starts_with('+')).collect();
    assert!(commands.len() > 10);
    for command in commands {
        // What only clusters need is tested there.
        if command.starts_with("+cluster") || *command == "+asking" {
            continue;
        }
        make_user(server, line, Some(command));
        let outcome = do_everything(url, replicated).await;
        assert!(outcome.is_err(), "{command} is not needed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_the_page_has_the_commands_it_needs_and_no_more() {
    let line = acl_line("ACL SETUSER exam on");
    let server = RedisServer::on_port(&redis_program(), &DURABLE);
    let single: Vec<_> = line
        .iter()
        .copied()
        .filter(|word| *word != "+wait")
        .collect();
    needs_all_of(&single, &server, &with_user(&server.url()), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicated_needs_one_command_more() {
    let line = acl_line("ACL SETUSER exam on");
    let primary = RedisServer::on_port(&redis_program(), &DURABLE);
    let port = primary.port().to_string();
    let follow = [
        &DURABLE[..],
        &["--replicaof", "127.0.0.1", &port],
        &["--repl-diskless-sync-delay", "0"],
    ];
    let replica = RedisServer::on_port(&redis_program(), &follow.concat());
    until(
        "the replica follows",
        std::time::Duration::from_secs(20),
        || primary.info("replication").contains("state=online"),
    );
    make_user(&replica, &line, None);
    let url = with_user(&primary.url());
    make_user(&primary, &line, None);
    do_everything(&url, true).await.unwrap();
    make_user(&primary, &line, Some("+wait"));
    assert!(do_everything(&url, true).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_takes_the_same_user() {
    let line = acl_line("ACL SETUSER exam on");
    let cluster = Cluster::start();
    let url = with_user(&cluster.url());
    for server in &cluster.servers {
        make_user(server, &line, None);
    }
    do_everything(&url, true).await.unwrap();
    for server in &cluster.servers {
        make_user(server, &line, Some("+cluster|slots"));
    }
    assert!(do_everything(&url, true).await.is_err());
}

/// Sentinels without a password, as they often are, and Sentinels that want one.
#[tokio::test(flavor = "multi_thread")]
async fn behind_sentinels_the_user_is_that_of_the_servers() {
    let line = acl_line("ACL SETUSER exam on");
    let group = SentinelGroup::start();
    for server in &group.servers {
        make_user(server, &line, None);
    }
    do_everything(&with_user(&group.url()), true).await.unwrap();
    let wrong = group.url().replace("://", "://exam:wrong@");
    assert!(do_everything(&wrong, true).await.is_err());
    for sentinel in &group.sentinels {
        sentinel.tell(&["ACL", "SETUSER", "exam", "on", ">change-me", "+sentinel"]);
        sentinel.tell(&["ACL", "SETUSER", "default", "-sentinel"]);
    }
    do_everything(&with_user(&group.url()), true).await.unwrap();
    assert!(do_everything(&group.url(), true).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_and_not_shown() {
    let server = RedisServer::on_port(&redis_program(), &DURABLE);
    make_user(&server, &acl_line("ACL SETUSER exam on"), None);
    let url = server.url().replace("://", "://exam:secret-word@");
    let error = do_everything(&url, false).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("secret-word"), "{error}");
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }
}

/// A server that speaks TLS only; not that of `EXAM_REDIS_BIN`, which may have been built without it.
fn tls_server(authority: &Authority) -> RedisServer {
    let (folder, port) = (folder(), free_port());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.0).unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("server.pem", certificate.pem());
    write("server.key", key.serialize_pem());
    write("ca.pem", authority.0.pem());
    let text = port.to_string();
    let listen = ["--port", "0", "--tls-port", &text, "--bind", "127.0.0.1"];
    let files = "--tls-cert-file server.pem --tls-key-file server.key --tls-ca-cert-file ca.pem --tls-auth-clients no";
    // The test's own questions go by a socket.
    let arguments: Vec<_> = listen
        .into_iter()
        .chain(files.split(' '))
        .chain(["--unixsocket", "s.sock"])
        .chain(DURABLE)
        .collect();
    let url = format!("redis+unix://{}", folder.path().join("s.sock").display());
    RedisServer::launch(folder, "redis-server", &arguments, url, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_is_known_by_its_authority() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = tls_server(&authority);
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let open = async |ca: Option<Vec<u8>>| {
        let options = RedisOptions {
            ca,
            ..RedisOptions::default()
        };
        RedisStore::open(&url, options).await
    };
    let store = open(Some(authority.pem())).await.unwrap();
    store.check().await.unwrap();
    for ca in [None, Some(stranger.pem())] {
        let outcome = open(ca).await.map(|_| ());
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    }
    let unreadable = open(Some(b"-----BEGIN CERTIFICATE-----\nx".to_vec())).await;
    let unreadable = unreadable.map(|_| ());
    assert!(
        matches!(unreadable, Err(Error::BadAddress(_))),
        "{unreadable:?}"
    );
    let plain = url.replace("rediss", "redis");
    assert!(RedisStore::connect(&plain, false).await.is_err());
}
