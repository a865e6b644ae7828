//! A bad network in user space: a TCP proxy whose weather a scenario changes while connections are open.
//!
//! Invariant: bytes pass in order or not at all; whoever is cut off in silence hears nothing, as behind a firewall that
//! forgot a connection. Start at [`Weather`].

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::AbortHandle,
};

/// Bytes passed on at once.
const PIECE: usize = 16 << 10;
/// Writes a second on a trickling line: small enough pieces to split every message.
const TRICKLES_PER_S: u32 = 50;

/// What the network does to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything passes at once.
    Fair,
    /// Each piece is held back so long, both ways.
    Slow(Duration),
    /// So many bytes a second pass, both ways: a reader who takes his time.
    Trickle(u32),
    /// Nothing passes and nobody is told; what waits passes when it ends, as packets are sent again.
    BlackHole,
    /// What callers say arrives, the replies are lost for good, and nobody is told.
    HalfOpen,
}

/// Where connections lead.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    /// Nowhere: the server is not there.
    Nowhere,
    /// A server on this machine.
    Tcp(SocketAddr),
    /// A socket in a folder.
    Unix(PathBuf),
}

/// A port on 127.0.0.1 behind which a server may come and go.
pub(crate) struct Proxy {
    address: SocketAddr,
    road: Road,
    listening: AbortHandle,
}

/// What all connections of a proxy look at.
#[derive(Clone)]
struct Road {
    upstream: Arc<Mutex<Upstream>>,
    weather: watch::Sender<Weather>,
    /// Counts cuts; a connection ends when it changes.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// Opens a port that leads nowhere yet.
    pub(crate) async fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("open a port for the proxy")?;
        let address = listener.local_addr().context("the proxy's address")?;
        let road = Road {
            upstream: Arc::new(Mutex::new(Upstream::Nowhere)),
            weather: watch::Sender::new(Weather::Fair),
            cuts: watch::Sender::new(0),
        };
        let listening = tokio::spawn(listen(listener, road.clone())).abort_handle();
        Ok(Self {
            address,
            road,
            listening,
        })
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads connections made from now on elsewhere.
    pub(crate) fn lead_to(&self, upstream: Upstream) {
        let mut place = self
            .road
            .upstream
            .lock()
            .unwrap_or_else(PoisonError::into_inner); // a value is replaced whole
        *place = upstream;
    }

    /// Changes the weather for all connections, open ones too.
    pub(crate) fn set(&self, weather: Weather) {
        self.road.weather.send_replace(weather);
    }

    /// Ends every open connection, so that both sides notice.
    pub(crate) fn cut(&self) {
        self.road.cuts.send_modify(|n| *n += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

async fn listen(listener: TcpListener, road: Road) {
    loop {
        if let Ok((caller, _)) = listener.accept().await {
            tokio::spawn(connect(caller, road.clone()));
        }
    }
}

async fn connect(caller: TcpStream, road: Road) {
    let mut cuts = road.cuts.subscribe();
    let mut weather = road.weather.subscribe();
    let connection = async {
        let _ = weather
            .wait_for(|weather| *weather != Weather::BlackHole)
            .await; // the road outlives its connections
        let upstream = road
            .upstream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let _ = caller.set_nodelay(true); // fails only on a socket that is gone
        match upstream {
            Upstream::Nowhere => {}
            Upstream::Tcp(address) => {
                if let Ok(server) = TcpStream::connect(address).await {
                    let _ = server.set_nodelay(true); // as above
                    join(caller, server, weather).await;
                }
            }
            Upstream::Unix(socket) => {
                if let Ok(server) = UnixStream::connect(socket).await {
                    join(caller, server, weather).await;
                }
            }
        }
    };
    tokio::select! {
        () = connection => {}
        _ = cuts.changed() => {}
    }
}

/// Passes bytes both ways until one side ends.
async fn join(
    caller: TcpStream,
    server: impl AsyncRead + AsyncWrite,
    weather: watch::Receiver<Weather>,
) {
    let (from_caller, to_caller) = tokio::io::split(caller);
    let (from_server, to_server) = tokio::io::split(server);
    tokio::select! {
        () = pump(from_caller, to_server, weather.clone(), Way::Calls) => {}
        () = pump(from_server, to_caller, weather, Way::Replies) => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Calls,
    Replies,
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
    way: Way,
) {
    let mut piece = vec![0; PIECE];
    let mut is_forgotten = false;
    loop {
        let read = from.read(&mut piece).await;
        let now = weather
            .wait_for(|weather| *weather != Weather::BlackHole)
            .await;
        let Ok(now) = now.map(|now| *now) else { return };
        let Ok(n @ 1..) = read else { return };
        // Once a piece is gone the rest would be noise: the connection is dead, and nobody says so.
        is_forgotten |= now == Weather::HalfOpen && way == Way::Replies;
        if is_forgotten {
            continue;
        }
        if pass(&piece[..n], &mut to, now).await.is_err() {
            return;
        }
    }
}

async fn pass(
    piece: &[u8],
    to: &mut (impl AsyncWrite + Unpin),
    weather: Weather,
) -> std::io::Result<()> {
    match weather {
        Weather::Slow(delay) => tokio::time::sleep(delay).await,
        Weather::Trickle(bytes_per_s) => {
            let drop_size = (bytes_per_s / TRICKLES_PER_S).max(1) as usize;
            for drop in piece.chunks(drop_size) {
                to.write_all(drop).await?;
                tokio::time::sleep(Duration::from_secs(1) / TRICKLES_PER_S).await;
            }
            return Ok(());
        }
        Weather::Fair | Weather::BlackHole | Weather::HalfOpen => {}
    }
    to.write_all(piece).await
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Long enough for a reply on loopback, however busy the machine.
    const SOON: Duration = Duration::from_secs(20);
    /// A reply that has not come by then is taken to be held back.
    const A_WHILE: Duration = Duration::from_millis(300);

    /// A server that sends back what it hears, behind a proxy.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        let proxy = Proxy::open().await.unwrap();
        proxy.lead_to(Upstream::Tcp(address));
        proxy
    }

    async fn ask(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(word).await?;
        let mut reply = vec![0; word.len()];
        stream.read_exact(&mut reply).await?;
        Ok(reply)
    }

    #[tokio::test]
    async fn a_black_hole_gives_back_what_it_swallowed() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream, b"one").await.unwrap(), b"one");
        proxy.set(Weather::BlackHole);
        assert!(timeout(A_WHILE, ask(&mut stream, b"two")).await.is_err());
        proxy.set(Weather::Fair);
        let mut reply = [0; 3];
        timeout(SOON, stream.read_exact(&mut reply))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&reply, b"two");
    }

    #[tokio::test]
    async fn a_half_open_connection_stays_dead_and_a_new_one_lives() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream, b"one").await.unwrap(), b"one");
        proxy.set(Weather::HalfOpen);
        assert!(timeout(A_WHILE, ask(&mut stream, b"two")).await.is_err());
        proxy.set(Weather::Fair);
        assert!(timeout(A_WHILE, ask(&mut stream, b"six")).await.is_err());
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let reply = timeout(SOON, ask(&mut stream, b"ten")).await.unwrap();
        assert_eq!(reply.unwrap(), b"ten");
    }

    #[tokio::test]
    async fn a_cut_and_a_road_to_nowhere_are_told() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream, b"one").await.unwrap(), b"one");
        proxy.cut();
        assert!(
            timeout(SOON, ask(&mut stream, b"two"))
                .await
                .unwrap()
                .is_err()
        );
        proxy.lead_to(Upstream::Nowhere);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(
            timeout(SOON, ask(&mut stream, b"six"))
                .await
                .unwrap()
                .is_err()
        );
    }

    #[tokio::test]
    async fn slow_lines_pass_everything_in_order() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        for weather in [
            Weather::Slow(Duration::from_millis(5)),
            Weather::Trickle(400),
        ] {
            proxy.set(weather);
            let words = b"a longer sentence";
            assert_eq!(ask(&mut stream, words).await.unwrap(), words, "{weather:?}");
        }
    }
}
