//! Packages for a grader, from the role that publishes.

use std::sync::Arc;

use proto::grader::v1::{AddExamRequest, AddExamResponse, package_service_server::PackageService};
use tonic::{Request, Response, Status, Streaming};

use super::{auth::Roles, status::to_status};
use crate::{engine::Error, packages};

/// Both halves of the largest exam: some ten thousand items with texts of a few kilobytes.
const MAX_PACKAGE_BYTES: usize = 128 << 20;

/// The service that takes packages, guarded.
#[derive(Clone)]
pub struct Packages {
    packages: Arc<packages::Packages>,
    roles: Roles,
}

impl Packages {
    /// Takes the grader's packages and the words of the roles.
    #[must_use]
    pub fn new(packages: Arc<packages::Packages>, roles: Roles) -> Self {
        Self { packages, roles }
    }
}

fn invalid(what: &str) -> Status {
    to_status(Error::Invalid {
        field: "exam",
        what: what.to_owned(),
    })
}

#[tonic::async_trait]
impl PackageService for Packages {
    async fn add_exam(
        &self,
        request: Request<Streaming<AddExamRequest>>,
    ) -> Result<Response<AddExamResponse>, Status> {
        self.roles.service(request.metadata())?; // before a byte of it is read
        let mut parts = request.into_inner();
        let exam = parts.message().await?.and_then(|message| message.exam);
        let exam = exam.ok_or_else(|| invalid("kỳ thi phải đến trước / the exam comes first"))?;
        let (mut paper, mut keys, mut n_bytes) = (Vec::new(), Vec::<Vec<u8>>::new(), 0);
        while let Some(message) = parts.message().await? {
            paper.extend_from_slice(&message.paper);
            n_bytes += message.paper.len() + message.key.len();
            if n_bytes > MAX_PACKAGE_BYTES {
                return Err(invalid("gói đề quá lớn / the package is too large"));
            }
            if message.key.is_empty() {
                continue;
            }
            let at = (message.key_version.max(1) - 1) as usize;
            if at > keys.len() {
                return Err(invalid(
                    "các bản đáp án phải theo thứ tự / versions of the key come in order",
                ));
            }
            if at == keys.len() {
                keys.push(Vec::new());
            }
            keys[at].extend_from_slice(&message.key);
        }
        let is_followed = if paper.is_empty() && keys.is_empty() {
            self.packages.tell(&exam).map_err(to_status)?
        } else {
            self.packages
                .add(&exam, &paper, &keys)
                .await
                .map_err(to_status)?;
            true
        };
        Ok(Response::new(AddExamResponse { is_followed }))
    }
}
