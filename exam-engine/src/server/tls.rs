//! TLS by rustls: versions 1.2 and 1.3, certificates that are read again when their files change, and certificates by
//! which roles know each other.
//!
//! A pair of files that does not fit is reported and the last good one kept. Start at `Tls::load`; a role that calls
//! another begins at [`channel`].

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::settings::TlsFiles;

/// Files are looked at so often: a new certificate is used within a minute of its arrival.
const LOOK_PERIOD: Duration = Duration::from_secs(5);
/// Where the URL names no port.
const HTTPS_PORT: u16 = 443;
/// Certificates and keys are small; a wrong file is not read into memory.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The server's side of TLS.
pub(super) struct Tls {
    files: TlsFiles,
    current: RwLock<Current>,
}

struct Current {
    read: Vec<Vec<u8>>,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// With the file and what is wrong with it.
    pub(super) fn load(files: TlsFiles) -> io::Result<Arc<Self>> {
        let read = read_all(&files)?;
        let acceptor = acceptor(&read)?;
        let current = RwLock::new(Current { read, acceptor });
        Ok(Arc::new(Self { files, current }))
    }

    /// Returns the acceptor of the newest good files.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().expect("no panic under this lock");
        current.acceptor.clone()
    }

    /// Reads the files again and again until `stop`.
    pub(super) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut last_refused = None;
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK_PERIOD))
            .await
            .is_some()
        {
            match self.refresh() {
                Ok(true) => tracing::info!("certificates were read anew"),
                Ok(false) => last_refused = None,
                Err(error) => {
                    let error = error.to_string();
                    if last_refused.as_ref() != Some(&error) {
                        tracing::error!(error = %error, "the new certificates are not usable, the old ones stay");
                    }
                    last_refused = Some(error);
                }
            }
        }
    }

    /// Reads the files; tells whether they have changed.
    fn refresh(&self) -> io::Result<bool> {
        let read = read_all(&self.files)?;
        if read == self.current.read().expect("no panic under this lock").read {
            return Ok(false);
        }
        let acceptor = acceptor(&read)?;
        *self.current.write().expect("no panic under this lock") = Current { read, acceptor };
        Ok(true)
    }
}

fn read_all(files: &TlsFiles) -> io::Result<Vec<Vec<u8>>> {
    [
        Some(&files.cert),
        Some(&files.key),
        files.client_ca.as_ref(),
    ]
    .into_iter()
    .flatten()
    .map(|file| read(file))
    .collect()
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let name =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    if fs::metadata(file).map_err(name)?.len() > MAX_FILE_BYTES {
        return Err(name(io::Error::other(
            "tệp quá lớn / the file is too large",
        )));
    }
    fs::read(file).map_err(name)
}

/// Takes certificate, key and, if roles are to be known, their authority.
fn acceptor(read: &[Vec<u8>]) -> io::Result<TlsAcceptor> {
    let [cert, key, rest @ ..] = read else {
        return Err(io::Error::other("a certificate and its key are needed"));
    };
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| io::Error::other(format!("khóa riêng / private key: {error}")))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(io::Error::other)?;
    let builder = match rest {
        [] => builder.with_no_client_auth(),
        [ca, ..] => {
            let roots = roots(ca)?;
            let provider = Arc::new(ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated() // candidates have none; whoever shows one must show a right one
                .build()
                .map_err(io::Error::other)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(certificates(cert)?, key)
        .map_err(|error| io::Error::other(format!("chứng chỉ / certificate: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| io::Error::other(format!("chứng chỉ / certificate: {error}")))?;
    if all.is_empty() {
        return Err(io::Error::other(
            "tệp không có chứng chỉ nào / the file holds no certificate",
        ));
    }
    Ok(all)
}

/// Returns a channel of one role to another: the other's certificate is checked against `ca`, `cert` and `key` are shown to
/// it. The endpoint's URL is one of http, since TLS is put beneath it here. The files are read for each connection, and none lasts for ever, so new ones need no restart.
///
/// # Errors
/// When a file cannot be read or used, or the address is none.
pub fn channel(endpoint: &Endpoint, ca: &Path, cert: &Path, key: &Path) -> io::Result<Channel> {
    let files = [cert, key, ca].map(Path::to_path_buf);
    connector(&files)?; // what is wrong from the start is told at the start
    let server = endpoint.uri().clone();
    let connect = service_fn(move |_: Uri| {
        let (files, server) = (files.clone(), server.clone());
        async move { connect(&files, &server).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector_lazy(connect))
}

async fn connect(files: &[PathBuf; 3], server: &Uri) -> io::Result<TlsStream<TcpStream>> {
    let host = server.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']'); // as addresses of version 6 stand in URLs
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TcpStream::connect((host, server.port_u16().unwrap_or(HTTPS_PORT))).await?;
    stream.set_nodelay(true)?;
    connector(files)?.connect(name, stream).await
}

fn connector([cert, key, ca]: &[PathBuf; 3]) -> io::Result<TlsConnector> {
    let key = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| io::Error::other(format!("khóa riêng / private key: {error}")))?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(io::Error::other)?
        .with_root_certificates(roots(&read(ca)?)?)
        .with_client_auth_cert(certificates(&read(cert)?)?, key)
        .map_err(|error| io::Error::other(format!("chứng chỉ / certificate: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(ca: &[u8]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in certificates(ca)? {
        roots.add(root).map_err(io::Error::other)?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn new_files_are_used_and_bad_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles {
            cert: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
            client_ca: None,
        };
        let write = |cert: &str, key: &str| {
            fs::write(&files.cert, cert).unwrap();
            fs::write(&files.key, key).unwrap();
        };
        let (first, second) = (pair("one.test"), pair("two.test"));
        write(&first.0, &first.1);
        let tls = Tls::load(files.clone()).unwrap();
        assert!(!tls.refresh().unwrap());
        write(&second.0, &second.1);
        assert!(tls.refresh().unwrap());
        write(&second.0, &first.1);
        assert!(tls.refresh().is_err(), "another's key");
        write("", &second.1);
        assert!(tls.refresh().is_err());
        assert_eq!(tls.current.read().unwrap().read[0], second.0.as_bytes());
        fs::remove_file(&files.key).unwrap();
        let error = tls.refresh().unwrap_err().to_string();
        assert!(error.contains("key.pem"), "{error}");
    }
}
