//! Every rpc refuses strangers and wrong roles; a new rpc without a row here fails. And no rpc of a candidate reaches a key.

use std::collections::{BTreeMap, BTreeSet};

use http::uri::PathAndQuery;
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::{Code, Request, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::harness::{Backend, TestServer, bearer};

/// Which token opens a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    Stranger,
    Candidate,
    Organizer,
    Service,
    Approver,
}

use Caller::{Approver, Candidate, Organizer, Service, Stranger};

const ALL: [Caller; 5] = [Stranger, Candidate, Organizer, Service, Approver];

fn allowed(method: &str) -> &'static [Caller] {
    match method {
        "/exam.v1.CandidateService/GetServerTime"
        | "/exam.v1.CandidateService/CheckIn"
        | "/exam.v1.CandidateService/StartAttempt" => &ALL,
        "/exam.v1.CandidateService/GetPaper"
        | "/exam.v1.CandidateService/SaveAnswers"
        | "/exam.v1.CandidateService/SubmitAttempt"
        | "/exam.v1.CandidateService/PollSession"
        | "/exam.v1.CandidateService/EnterSection"
        | "/exam.v1.CandidateService/GetSession"
        | "/exam.v1.CandidateService/GetResult" => &[Candidate],
        "/exam.v1.OrganizerService/CreateExam"
        | "/exam.v1.OrganizerService/PublishExam"
        | "/exam.v1.OrganizerService/OpenExam"
        | "/exam.v1.OrganizerService/CloseExam"
        | "/exam.v1.OrganizerService/GetExam"
        | "/exam.v1.OrganizerService/ListExams"
        | "/exam.v1.OrganizerService/IssueCodes"
        | "/exam.v1.OrganizerService/ActOnAttempts"
        | "/exam.v1.OrganizerService/CompensateOutage"
        | "/exam.v1.OrganizerService/WatchExam"
        | "/exam.v1.OrganizerService/GetStandings"
        | "/exam.v1.OrganizerService/ExportExam"
        | "/key.v1.RulingService/ProposeRuling"
        | "/exam.v1.OperatorService/DumpStore" => &[Organizer],
        "/key.v1.RulingService/ApproveRuling" => &[Approver],
        "/key.v1.RulingService/ListProposals" => &[Organizer, Approver],
        "/exam.v1.LogService/TailLog"
        | "/grader.v1.PackageService/AddExam"
        | "/grader.v1.GraderService/DryRun"
        | "/grader.v1.GraderService/ExportResult" => &[Service],
        "/grader.v1.GraderService/GetStandings"
        | "/grader.v1.GraderService/GetStanding"
        | "/grader.v1.GraderService/WatchStandings"
        | "/grader.v1.GraderService/RankScore"
        | "/grader.v1.GraderService/GetUnitStandings"
        | "/grader.v1.GraderService/GetWinners"
        | "/grader.v1.GraderService/GetStatistics"
        | "/grader.v1.GraderService/GetReport"
        | "/grader.v1.GraderService/GetGraderState"
        | "/grader.v1.GraderService/GetCounts"
        | "/grader.v1.GraderService/WatchExam" => &[Organizer, Service],
        unknown => panic!("{unknown} has no row: say who may call it"),
    }
}

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap()
}

fn methods() -> Vec<String> {
    let mut methods = Vec::new();
    for file in &descriptors().file {
        for service in &file.service {
            for method in &service.method {
                methods.push(format!(
                    "/{}.{}/{}",
                    file.package(),
                    service.name(),
                    method.name()
                ));
            }
        }
    }
    methods
}

/// Calls a method with an empty message; a server stream's first message counts as its answer.
async fn call(channel: &Channel, method: &str, token: Option<&str>) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let request = token.map_or_else(|| Request::new(()), |token| bearer((), token));
    let path: PathAndQuery = method.parse().unwrap();
    let mut replies = grpc
        .server_streaming(request, path, ProstCodec::<(), ()>::default())
        .await?
        .into_inner();
    replies.message().await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_strangers_and_wrong_roles() {
    let server = TestServer::start(Backend::Embedded).await;
    server.open_exam().await;
    let sitting = server.sit(1).await;
    let approver = server.approver();
    let tokens = BTreeMap::from([
        (Candidate, sitting.token.as_str()),
        (Organizer, server.secrets.organizer.reveal()),
        (Service, server.secrets.service.reveal()),
        (Approver, approver.as_str()),
    ]);
    let channel = server.channel().await;
    let methods = methods();
    assert!(methods.len() >= 33, "{methods:?}");
    for method in &methods {
        for caller in ALL {
            let outcome = call(&channel, method, tokens.get(&caller).copied()).await;
            let is_refused = outcome.as_ref().is_err_and(|status| {
                matches!(
                    status.code(),
                    Code::Unauthenticated | Code::PermissionDenied
                )
            });
            // These let everybody in to have the code checked, and refuse the empty one.
            let asks_for_code = method.ends_with("/StartAttempt") || method.ends_with("/CheckIn");
            let is_allowed = allowed(method).contains(&caller) && !asks_for_code;
            assert_eq!(
                is_refused, !is_allowed,
                "{method} by {caller:?}: {outcome:?}"
            );
        }
    }
}

/// All message types that a type reaches, itself included.
fn reachable(files: &FileDescriptorSet, from: &str) -> BTreeSet<String> {
    fn collect<'a>(
        prefix: &str,
        message: &'a DescriptorProto,
        all: &mut BTreeMap<String, &'a DescriptorProto>,
    ) {
        let name = format!("{prefix}.{}", message.name());
        for nested in &message.nested_type {
            collect(&name, nested, all);
        }
        all.insert(name, message);
    }
    let mut all = BTreeMap::new();
    for file in &files.file {
        for message in &file.message_type {
            collect(&format!(".{}", file.package()), message, &mut all);
        }
    }
    let mut seen = BTreeSet::new();
    let mut waiting = vec![from.to_owned()];
    while let Some(name) = waiting.pop() {
        if let Some(message) = all.get(&name)
            && seen.insert(name)
        {
            waiting.extend(
                message
                    .field
                    .iter()
                    .filter_map(|field| field.type_name.clone()),
            );
        }
    }
    seen
}

fn reaches_a_key(types: &BTreeSet<String>) -> bool {
    types.iter().any(|name| name.starts_with(".key."))
}

#[test]
fn nothing_that_engines_send_reaches_a_key() {
    let files = descriptors();
    let mut n_types = 0;
    for file in files.file.iter().filter(|file| file.package() == "exam.v1") {
        for method in file.service.iter().flat_map(|service| &service.method) {
            let types = reachable(&files, method.output_type());
            n_types += types.len();
            assert!(!reaches_a_key(&types), "{} reaches a key", method.name());
        }
    }
    assert!(n_types > 50);
    // Negative control: a type that holds keys is seen.
    assert!(reaches_a_key(&reachable(&files, ".key.v1.KeyHalf")));
}

/// Only what the control role and its command do with keys names the key package; a candidate's call never does.
const OF_CONTROL: [&str; 6] = [
    "cli/decide.rs",
    "engine/controls.rs",
    "engine/controls/answer.rs",
    "engine/rulings.rs",
    "grpc/ruling.rs",
    "server/routes.rs",
];

#[test]
fn only_decisions_name_the_key_package() {
    fn walk(folder: &std::path::Path, found: &mut Vec<String>, n_files: &mut usize) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found, n_files);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                *n_files += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                if text.contains("key::v1") || text.contains("KeyHalf") || text.contains("ItemKey")
                {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    let (mut found, mut n_files) = (Vec::new(), 0);
    walk(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
        &mut n_files,
    );
    let is_known = |path: &String| OF_CONTROL.iter().any(|known| path.ends_with(known));
    assert!(found.iter().all(is_known) && n_files > 30, "{found:?}");
    assert_eq!(
        found.len(),
        OF_CONTROL.len(),
        "the search sees them: {found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_every_service() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = TestServer::start(Backend::Embedded).await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(server.channel().await);
    let replies = client
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .unwrap();
    let reply = replies.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("{reply:?}");
    };
    let listed: BTreeSet<String> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for method in methods() {
        let service = method.trim_start_matches('/').split('/').next().unwrap();
        assert!(listed.contains(service), "{service} is not in {listed:?}");
    }
}
