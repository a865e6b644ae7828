//! The port against peers that mean no good, frame by frame: they are let go, and others are served meanwhile.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use exam_engine::{
    admission::{CallerFrom, Rate},
    server::{PortLimits, Settings},
};
use proto::exam::v1::{GetServerTimeRequest, candidate_service_client::CandidateServiceClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tonic::transport::Channel;

use crate::harness::{Backend, TestServer};

/// Whatever is waited for comes within this or never.
const PATIENCE: Duration = Duration::from_secs(20);
/// Limits so short that a test can wait for them, and so long that a slow machine does not meet them by itself.
const SHORT: Duration = Duration::from_millis(1_500);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header field, written out (RFC 7541, section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(name.len()).unwrap()];
    bytes.extend(name.bytes());
    assert!(value.len() < 127);
    bytes.push(u8::try_from(value.len()).unwrap());
    bytes.extend(value.bytes());
    bytes
}

fn head(method: &str) -> Vec<u8> {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &format!("/exam.v1.CandidateService/{method}")),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .iter()
    .flat_map(|(name, value)| field(name, value))
    .collect()
}

/// One whole call of GetServerTime.
fn call(stream: u32) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &head("GetServerTime"));
    bytes.extend(frame(DATA, END_STREAM, stream, &[0; 5]));
    bytes
}

fn address(server: &TestServer) -> SocketAddr {
    server.url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A connection that has said hello, with settings of its own.
async fn hello(server: &TestServer, settings: &[u8]) -> TcpStream {
    let mut peer = TcpStream::connect(address(server)).await.unwrap();
    peer.write_all(PREFACE).await.unwrap();
    peer.write_all(&frame(SETTINGS, 0, 0, settings))
        .await
        .unwrap();
    peer
}

/// Reads one frame; nothing at the end of the connection.
async fn read_frame(peer: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    peer.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    peer.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], payload))
}

/// Reads until the connection ends; returns the error code of the last GOAWAY.
async fn read_to_end(peer: &mut TcpStream) -> Option<u32> {
    let mut code = None;
    let read = async {
        while let Some((kind, _, payload)) = read_frame(peer).await {
            if kind == GOAWAY {
                code = payload[4..8].try_into().ok().map(u32::from_be_bytes);
            }
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the connection is never ended");
    code
}

/// Asks for a pong, which tells that the connection lives and all before it was read.
async fn answers_ping(peer: &mut TcpStream) -> bool {
    if peer.write_all(&frame(PING, 0, 0, &[7; 8])).await.is_err() {
        return false;
    }
    let read = async {
        while let Some((kind, flags, _)) = read_frame(peer).await {
            if (kind, flags & ACK) == (PING, ACK) {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or(false)
}

async fn honest(server: &TestServer) -> CandidateServiceClient<Channel> {
    let client = server.candidate().await;
    is_served(&client).await;
    client
}

async fn is_served(client: &CandidateServiceClient<Channel>) {
    let mut client = client.clone();
    tokio::time::timeout(PATIENCE, client.get_server_time(GetServerTimeRequest {}))
        .await
        .expect("an honest candidate waits")
        .unwrap();
}

async fn server_with(limits: PortLimits) -> TestServer {
    let settings = Settings {
        port: limits,
        ..Settings::default()
    };
    TestServer::start_with(Backend::Embedded, settings, |store| store).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_or_half_a_hello_is_let_go() {
    let server = server_with(PortLimits {
        first_bytes: SHORT,
        ..PortLimits::default()
    })
    .await;
    let mut speaking = hello(&server, &[]).await;
    for said in [
        &b""[..],
        &PREFACE[..12],
        b"GET / HT",
        b"POST /a HTTP/1.1\r\nhost: a\r\nx: ",
    ] {
        let mut silent = TcpStream::connect(address(&server)).await.unwrap();
        silent.write_all(said).await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest))
            .await
            .expect("it may stay")
            .ok();
    }
    assert!(
        answers_ping(&mut speaking).await,
        "one that speaks must stay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rapid_reset_ends_its_connection_and_no_other() {
    let server = TestServer::start(Backend::Embedded).await;
    let honest = honest(&server).await;
    // Negative control: now and then a caller gives up.
    let mut calm = hello(&server, &[]).await;
    for n in 0..10 {
        let mut bytes = frame(HEADERS, END_HEADERS, 2 * n + 1, &head("SaveAnswers"));
        bytes.extend(frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes()));
        calm.write_all(&bytes).await.unwrap();
        assert!(answers_ping(&mut calm).await);
    }
    let mut hostile = hello(&server, &[]).await;
    let mut flood = Vec::new();
    for n in 0..2_000 {
        flood.extend(frame(HEADERS, END_HEADERS, 2 * n + 1, &head("SaveAnswers")));
        flood.extend(frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    let _ = hostile.write_all(&flood).await; // it may end before all is said
    const ENHANCE_YOUR_CALM: u32 = 11;
    let code = read_to_end(&mut hostile).await;
    assert!(
        code.is_none_or(|code| code == ENHANCE_YOUR_CALM),
        "{code:?}"
    );
    is_served(&honest).await;
    assert!(answers_ping(&mut calm).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_end_the_connection() {
    let server = TestServer::start(Backend::Embedded).await;
    let honest = honest(&server).await;
    let mut hostile = hello(&server, &[]).await;
    let mut flood = frame(HEADERS, 0, 1, &head("SaveAnswers"));
    for n in 0..2_000 {
        let name = format!("x-{n}");
        let more: Vec<u8> = field(&name, &"a".repeat(100)).repeat(10);
        flood.extend(frame(CONTINUATION, 0, 1, &more));
    }
    let _ = hostile.write_all(&flood).await; // it may end before all is said
    read_to_end(&mut hostile).await;
    is_served(&honest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_larger_than_agreed_ends_the_connection() {
    let server = TestServer::start(Backend::Embedded).await;
    let mut hostile = hello(&server, &[]).await;
    hostile
        .write_all(&frame(HEADERS, END_HEADERS, 1, &head("SaveAnswers")))
        .await
        .unwrap();
    // Negative control: the largest that is agreed.
    hostile
        .write_all(&frame(DATA, 0, 1, &vec![0; 16 << 10]))
        .await
        .unwrap();
    assert!(answers_ping(&mut hostile).await);
    let _ = hostile
        .write_all(&frame(DATA, 0, 1, &vec![0; (16 << 10) + 1]))
        .await; // it may end before all is said
    const FRAME_SIZE_ERROR: u32 = 6;
    let code = read_to_end(&mut hostile).await;
    assert!(code.is_none_or(|code| code == FRAME_SIZE_ERROR), "{code:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_larger_than_allowed_are_refused_alone() {
    let server = TestServer::start(Backend::Embedded).await;
    let mut peer = hello(&server, &[]).await;
    let mut large = head("GetServerTime");
    for n in 0..150 {
        large.extend(field(&format!("x-{n}"), &"a".repeat(100)));
    }
    for (index, piece) in large.chunks(8_000).enumerate() {
        let is_last = (index + 1) * 8_000 >= large.len();
        let kind = if index == 0 { HEADERS } else { CONTINUATION };
        let flags = if is_last { END_HEADERS } else { 0 };
        peer.write_all(&frame(kind, flags, 1, piece)).await.unwrap();
    }
    let refused = tokio::time::timeout(PATIENCE, async {
        while let Some((kind, ..)) = read_frame(&mut peer).await {
            // An answer although the message has not come: a refusal (431), or a reset of the stream.
            if kind == RST_STREAM || kind == HEADERS {
                return true;
            }
        }
        false
    });
    assert!(refused.await.unwrap());
    assert!(answers_ping(&mut peer).await, "the connection stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_so_many_calls_at_once_and_no_more() {
    let server = TestServer::start(Backend::Embedded).await;
    let mut peer = hello(&server, &[]).await;
    let open = |n: u32| frame(HEADERS, END_HEADERS, 2 * n + 1, &head("SaveAnswers"));
    for n in 0..256 {
        peer.write_all(&open(n)).await.unwrap();
    }
    assert!(answers_ping(&mut peer).await, "256 are allowed");
    peer.write_all(&open(256)).await.unwrap();
    let refused = tokio::time::timeout(PATIENCE, async {
        while let Some((kind, _, payload)) = read_frame(&mut peer).await {
            const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
            if kind == RST_STREAM && payload == REFUSED_STREAM {
                return true;
            }
        }
        false
    });
    assert!(refused.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_message_gives_its_place_back() {
    // A call whose message never comes is ended by the server's own limit, which tests/it/deadline.rs sees.
    let server = TestServer::start(Backend::Embedded).await;
    let mut peer = hello(&server, &[]).await;
    let mut head = head("SaveAnswers");
    head.extend(field("grpc-timeout", "300m"));
    peer.write_all(&frame(HEADERS, END_HEADERS, 1, &head))
        .await
        .unwrap();
    let answered = tokio::time::timeout(PATIENCE, async {
        loop {
            let (kind, _, _) = read_frame(&mut peer).await.unwrap();
            if kind == HEADERS {
                return;
            }
        }
    });
    answered.await.expect("it keeps its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_is_asked_to_end_and_a_new_one_goes_on() {
    let server = server_with(PortLimits {
        age: SHORT,
        age_grace: Duration::from_millis(300),
        ..PortLimits::default()
    })
    .await;
    let client = honest(&server).await;
    let mut old = hello(&server, &[]).await;
    assert_eq!(
        read_to_end(&mut old).await,
        Some(0),
        "asked to go without blame"
    );
    is_served(&client).await; // over a new connection, which the caller does not notice
    // Negative control: with the usual age it stays.
    let server = TestServer::start(Backend::Embedded).await;
    let mut young = hello(&server, &[]).await;
    tokio::time::sleep(SHORT + Duration::from_millis(500)).await;
    assert!(answers_ping(&mut young).await);
}

fn impatient() -> PortLimits {
    PortLimits {
        reader: SHORT,
        first_bytes: SHORT,
        ..PortLimits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_leaves_its_replies_unread_is_let_go() {
    let server = server_with(impatient()).await;
    let honest = honest(&server).await;
    // SETTINGS_INITIAL_WINDOW_SIZE 0: every reply must wait.
    let mut hostile = hello(&server, &[0, 4, 0, 0, 0, 0]).await;
    for n in 0..50 {
        hostile.write_all(&call(2 * n + 1)).await.unwrap();
    }
    read_to_end(&mut hostile).await;
    // Negative control: one that reads stays, also when it has nothing to do.
    let mut reader = hello(&server, &[]).await;
    for n in 0..50 {
        reader.write_all(&call(2 * n + 1)).await.unwrap();
    }
    tokio::time::sleep(SHORT * 2).await;
    assert!(answers_ping(&mut reader).await);
    is_served(&honest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_no_bytes_is_let_go() {
    let server = server_with(impatient()).await;
    let honest = honest(&server).await;
    let mut hostile = hello(&server, &[]).await;
    let flood: Vec<u8> = frame(PING, 0, 0, &[1; 8]).repeat(1_000);
    let flooding = async { while hostile.write_all(&flood).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, flooding)
        .await
        .expect("it may fill our memory");
    is_served(&honest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_do_not_hold_up_the_shutdown() {
    let mut server = TestServer::start(Backend::Embedded).await;
    let mut silent = TcpStream::connect(address(&server)).await.unwrap();
    let mut idle = hello(&server, &[]).await;
    assert!(answers_ping(&mut idle).await);
    let begun = Instant::now();
    tokio::time::timeout(PATIENCE, server.stop())
        .await
        .expect("the drain waits for silent connections")
        .unwrap();
    eprintln!("stopped after {:?}", begun.elapsed());
    assert_eq!(read_to_end(&mut idle).await, Some(0));
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.ok();
    assert!(rest.is_empty());
}

/// The real program in a process of its own, with its own limit of open files.
struct Process {
    child: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Process {
    fn start() -> Self {
        use std::io::BufRead;
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_exam"), "--data"])
            .arg(data.path())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().rsplit_once("//").unwrap().1.parse().unwrap();
        Self {
            child,
            address,
            _data: data,
        }
    }

    fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        let kib = line.split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() * 1_024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// As many connections as this process may open, 50,000 at most; `PORT_IDLE=50000` asks for all of them.
#[tokio::test(flavor = "current_thread")]
async fn idle_connections_cost_little_and_an_honest_candidate_is_served() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Files that are no connections, here and in the server.
    const SPARE: u64 = 1_100;
    let wanted: u64 = std::env::var("PORT_IDLE").map_or(2_000, |n| n.parse().unwrap());
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let needed = wanted.min(50_000) + SPARE;
    let allowed = maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = Rlimit {
        current: Some(allowed.max(getrlimit(Resource::Nofile).current.unwrap_or(0))),
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised); // fewer connections then
    let n_connections = usize::try_from(allowed - SPARE).unwrap();
    let server = Process::start();
    let url = format!("http://{}", server.address);
    let before = server.rss_bytes();
    let mut idle = Vec::with_capacity(n_connections);
    let mut hello = PREFACE.to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &[]));
    for n in 0..n_connections {
        let socket = TcpSocket::new_v4().unwrap();
        // A source address has 28,000 ports of its own.
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + n / 10_000).unwrap());
        socket.bind((source, 0).into()).unwrap();
        let Ok(mut peer) = socket.connect(server.address).await else {
            break;
        };
        peer.write_all(&hello).await.unwrap();
        idle.push(peer);
    }
    for peer in &mut idle {
        let seen = tokio::time::timeout(PATIENCE, read_frame(peer)).await;
        assert_eq!(seen.unwrap().map(|(kind, ..)| kind), Some(SETTINGS));
    }
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    is_served(&CandidateServiceClient::new(channel)).await;
    let each = server.rss_bytes().saturating_sub(before) / idle.len() as u64;
    eprintln!("{} idle connections, {each} bytes each", idle.len());
    assert_eq!(idle.len(), n_connections);
    assert!(each < 64 << 10, "{each} bytes a connection");
}

/// Asks for the time over a connection that begins with `hello`; returns the gRPC status, none if the connection ends.
async fn ask(server: &TestServer, hello: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address(server)).await.unwrap();
    stream.write_all(hello).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.ok()?;
    let driver = tokio::spawn(connection);
    let path = "/exam.v1.CandidateService/GetServerTime";
    let request = http::Request::post(format!("{}{path}", server.url))
        .header("content-type", "application/grpc")
        .header("x-forwarded-for", "6.6.6.6")
        .body(())
        .unwrap();
    let asked = async {
        let (reply, mut body) = client.ready().await?.send_request(request, false)?;
        let _ = body.send_data(vec![0; 5].into(), true); // it may be refused before it is read
        let mut reply = reply.await?;
        if let Some(status) = reply.headers().get("grpc-status") {
            return Ok(status.clone());
        }
        while reply.body_mut().data().await.is_some() {}
        let trailers = reply.body_mut().trailers().await?;
        Ok::<_, h2::Error>(trailers.unwrap()["grpc-status"].clone())
    };
    let status = tokio::time::timeout(PATIENCE, asked)
        .await
        .expect("it hangs");
    driver.abort();
    Some(status.ok()?.to_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_behind_a_balancer_of_tcp_are_told_apart() {
    const SERVED: &str = "0";
    const TOO_MANY_CALLS: &str = "8";
    let mut settings = Settings::default();
    settings.callers.per_address = Rate { per_s: 1, burst: 1 };
    settings.callers.trusted_proxies = vec![Ipv4Addr::LOCALHOST.into()];
    settings.callers.caller_from = CallerFrom::ProxyProtocol;
    let server = TestServer::start_with(Backend::Embedded, settings, |store| store).await;
    let named = |last: u8| {
        let mut hello = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        hello.extend([203, 0, 113, last, 127, 0, 0, 1, 0, 1, 0, 2]);
        hello
    };
    for school in 1..=20 {
        let status = ask(&server, &named(school)).await;
        assert_eq!(status.as_deref(), Some(SERVED), "{school}");
    }
    // Negative control: calls of one candidate are counted together, and whoever names nobody does not get in.
    let again = [(); 5].map(|()| named(1));
    let mut refused = false;
    for hello in &again {
        refused |= ask(&server, hello).await.as_deref() == Some(TOO_MANY_CALLS);
    }
    assert!(refused);
    assert_eq!(ask(&server, b"").await, None);
}
