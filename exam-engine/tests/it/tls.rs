//! TLS at the port, and roles that know each other by certificate.

use std::{path::PathBuf, time::Duration};

use exam_engine::server::{Settings, TlsFiles, tls};
use proto::exam::v1::{
    GetServerTimeRequest, TailLogRequest, candidate_service_client::CandidateServiceClient,
    log_service_client::LogServiceClient,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::harness::{Backend, EXAM, TestServer, bearer};

const PATIENCE: Duration = Duration::from_secs(20);

/// An authority and a folder for what it makes.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            issuer,
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::write(authority.ca(), authority.issuer.pem()).unwrap();
        authority
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Makes a certificate and its key, as files.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let files =
            ["cert", "key"].map(|kind| self.folder.path().join(format!("{name}-{kind}.pem")));
        std::fs::write(&files[0], cert.pem()).unwrap();
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        files.into()
    }
}

async fn server(authority: &Authority, roles: Option<&Authority>) -> TestServer {
    let (cert, key) = authority.issue("server");
    let settings = Settings {
        tls: Some(TlsFiles {
            cert,
            key,
            client_ca: roles.map(Authority::ca),
        }),
        ..Settings::default()
    };
    TestServer::start_with(Backend::Embedded, settings, |store| store).await
}

/// The address by the name in the certificate.
fn url(server: &TestServer) -> String {
    let port = server.url.rsplit_once(':').unwrap().1;
    format!("https://localhost:{port}")
}

async fn connect(
    server: &TestServer,
    trusted: &Authority,
) -> Result<Channel, tonic::transport::Error> {
    let ca = Certificate::from_pem(trusted.issuer.pem());
    Channel::from_shared(url(server))
        .unwrap()
        .tls_config(ClientTlsConfig::new().ca_certificate(ca))?
        .connect()
        .await
}

async fn is_served(channel: Channel) -> Result<(), Status> {
    let mut client = CandidateServiceClient::new(channel);
    let asked = client.get_server_time(GetServerTimeRequest {});
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap()
        .map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_trusts_the_authority_is_served_and_another_stays_away() {
    let authority = Authority::new();
    let server = server(&authority, None).await;
    is_served(connect(&server, &authority).await.unwrap())
        .await
        .unwrap();
    // Negative control: a caller that trusts somebody else does not go in.
    assert!(connect(&server, &Authority::new()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_taken_over_tls_from_a_trusted_server() {
    let authority = Authority::new();
    let server = server(&authority, None).await;
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("backup");
    let backup = async |ca: PathBuf| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_exam"));
        command.arg("--data").arg(server.data.path());
        command.arg("backup").arg(&target);
        command.args(["--server", &url(&server), "--ca"]).arg(ca);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        output.await.unwrap()
    };
    // Negative control: a server that is not of the trusted authority gets no word.
    let stranger = Authority::new();
    let refused = backup(stranger.ca()).await;
    assert!(!refused.status.success() && !target.exists());
    let output = backup(authority.ca()).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(target.is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_at_a_tls_port_has_a_clean_end() {
    let authority = Authority::new();
    let server = server(&authority, None).await;
    let address = server.url.strip_prefix("http://").unwrap();
    let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut said = Vec::new();
    let end = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut said)).await;
    end.expect("it is left waiting").ok();
    assert!(!said.starts_with(b"HTTP"), "nothing is said in the open");
    is_served(connect(&server, &authority).await.unwrap())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_restart() {
    let (first, second) = (Authority::new(), Authority::new());
    let server = server(&first, None).await;
    let old = connect(&server, &first).await.unwrap();
    let (cert, key) = second.issue("server");
    let files = server.settings.tls.as_ref().unwrap();
    std::fs::copy(key, &files.key).unwrap();
    std::fs::copy(cert, &files.cert).unwrap();
    let begun = std::time::Instant::now();
    while connect(&server, &second).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the new one is never used");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    is_served(old).await.expect("connections go on");
    assert!(
        connect(&server, &first).await.is_err(),
        "the old one is not shown any more"
    );
}

async fn tail(server: &TestServer, channel: Channel) -> Result<(), Status> {
    let request = TailLogRequest {
        exam_id: EXAM.to_owned(),
        stop_at_end: true,
        ..TailLogRequest::default()
    };
    let request = bearer(request, server.secrets.service.reveal());
    let asked = LogServiceClient::new(channel).tail_log(request).await?;
    let mut entries = asked.into_inner();
    while tokio::time::timeout(PATIENCE, entries.message())
        .await
        .unwrap()?
        .is_some()
    {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_needs_its_word_and_its_certificate() {
    let authority = Authority::new();
    let server = server(&authority, Some(&authority)).await;
    publish(&server, &authority).await;
    let (cert, key) = authority.issue("grader");
    let endpoint = || Endpoint::from_shared(url(&server).replacen("https:", "http:", 1)).unwrap();
    let role = tls::channel(&endpoint(), &authority.ca(), &cert, &key).unwrap();
    tail(&server, role.clone()).await.unwrap();
    // The certificate alone opens nothing.
    let wordless = LogServiceClient::new(role)
        .tail_log(TailLogRequest::default())
        .await;
    assert_eq!(
        wordless.map(|_| ()).unwrap_err().code(),
        Code::Unauthenticated
    );
    // Negative controls: the word alone, and a certificate of somebody else.
    let candidate = connect(&server, &authority).await.unwrap();
    is_served(candidate.clone())
        .await
        .expect("candidates need none");
    assert_eq!(
        tail(&server, candidate).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let stranger = Authority::new();
    let (cert, key) = stranger.issue("foreign");
    let foreign = tls::channel(&endpoint(), &authority.ca(), &cert, &key).unwrap();
    assert!(tail(&server, foreign.clone()).await.is_err());
    // The right one in its place is shown with the next connection of the same channel.
    let (new_cert, new_key) = authority.issue("renewed");
    std::fs::copy(new_cert, &cert).unwrap();
    std::fs::copy(new_key, &key).unwrap();
    let begun = std::time::Instant::now();
    while let Err(status) = tail(&server, foreign.clone()).await {
        assert!(begun.elapsed() < PATIENCE, "never shown: {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Negative control: another server than the authority's is not spoken to.
    let wary = tls::channel(&endpoint(), &stranger.ca(), &cert, &key).unwrap();
    assert!(tail(&server, wary).await.is_err());
}

async fn publish(server: &TestServer, authority: &Authority) {
    use proto::exam::v1::{
        CreateExamRequest, PublishExamRequest, organizer_service_client::OrganizerServiceClient,
    };
    let mut organizer = OrganizerServiceClient::new(connect(server, authority).await.unwrap());
    let spec = Some(server.spec());
    organizer
        .create_exam(server.as_organizer(CreateExamRequest { spec }))
        .await
        .unwrap();
    let exam_id = EXAM.to_owned();
    organizer
        .publish_exam(server.as_organizer(PublishExamRequest { exam_id }))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_organizers_commands_speak_tls() {
    let authority = Authority::new();
    let server = server(&authority, None).await;
    let list = |ca: PathBuf| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_exam"));
        command
            .arg("--data")
            .arg(server.data.path())
            .args(["exam", "--server", &url(&server), "--ca"])
            .arg(ca)
            .arg("list");
        tokio::task::spawn_blocking(move || command.output().unwrap().status.success())
    };
    assert!(list(authority.ca()).await.unwrap());
    let stranger = Authority::new();
    assert!(
        !list(stranger.ca()).await.unwrap(),
        "an authority that is not trusted"
    );
}
