//! Decisions on a published exam: one person proposes and sees what would change, another one approves (P8, P11).
//!
//! A proposal stands in `keys/`, since it can hold a key, until it is approved; the key half that it makes stands beside
//! it under its hash. From the approval on the exam names it, and graders grade anew. Freezing and thawing the board is one
//! person's decision; a result becomes final with the auditor's verdict.
//! Invariant: what comes into force is what the approver was shown, item by item; a proposal made before another decision
//! is refused. How much it changes is told by the log as it was then, which may have grown since.

use std::path::{Path, PathBuf};

use prost::Message;
use proto::{
    exam::v1::{
        BoardRuling, BoardState, Exam, ExamState, ExclusionRuling, KeyRuling, ReasonCode, Ruling,
        ruling::Kind,
    },
    grader::v1::{DryRunRequest, Impact},
    key::v1::{
        ChangedKey, ItemKey, KeyChange, KeyHalf, Proposal, ProposeRulingRequest,
        item_change::Change, propose_ruling_request::Kind as Wanted,
    },
};

use super::{Engine, Error, Result, key_file, key_halves, name_of};
use crate::{files, secrets::Key};

/// Longest name of a person, characters.
const MAX_NAME: usize = 100;
/// Longest note, bytes: it stands beside every result that changes.
const MAX_NOTE_BYTES: usize = 500;
/// Open proposals of one exam; more are forgotten ones.
const MAX_PROPOSALS: usize = 100;
/// Bytes of a hash that make a proposal's name.
const NAME_BYTES: usize = 8;

/// A proposal and what it would change.
pub struct Proposed {
    /// Its name; empty if it was a dry run, or is in force already.
    pub proposal_id: String,
    /// What it changes by the log as it is; empty for what changes no result.
    pub impact: Impact,
}

/// A decision as asked for, with the key half that belongs to it.
struct Draft {
    kind: Kind,
    key: Vec<u8>,
    changed: Vec<ChangedKey>,
}

impl Engine {
    /// Proposes a decision and tells what it would change. Whoever opens or closes an exam meanwhile does not wait.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field; [`Error::Ungradable`] if nothing could be graded by it; [`Error::ExamState`] for a
    /// draft, and for a final result's freeze; [`Error::VerdictInvalid`]; [`Error::ProposalOutdated`] if another decision came
    /// into force meanwhile.
    pub async fn propose_ruling(&self, request: ProposeRulingRequest) -> Result<Proposed> {
        let exam = self.published(&request.exam_id)?.exam();
        check_words(&request)?;
        let wanted = request.kind.clone();
        let wanted = wanted.ok_or_else(|| {
            invalid(
                "kind",
                "thiếu nội dung quyết định / the decision is missing",
            )
        })?;
        let draft = self.draft(&exam, wanted)?;
        let ruling = Ruling {
            at_ms: self.clock.now().0,
            proposed_by: request.by.clone(),
            reason: u32::try_from(request.reason).unwrap_or_default(),
            note: request.note.clone(),
            positions: self.ends(&exam).await?,
            kind: Some(draft.kind),
            ..Ruling::default()
        };
        let mut proposed = exam.as_ref().clone();
        grader::ruling::append(&mut proposed, ruling);
        let ruling = proposed.rulings.last().expect("appended above").clone();
        let impact = match &ruling.kind {
            Some(Kind::Board(board)) => {
                self.check_board(&exam, board).await?;
                Impact::default()
            }
            _ => self.try_out(&proposed, draft.key.clone()).await?,
        };
        if request.dry_run {
            return Ok(Proposed {
                proposal_id: String::new(),
                impact,
            });
        }
        let _writing = self.exams.begin_write().await?;
        if self.published(&request.exam_id)?.exam().rulings != exam.rulings {
            return Err(Error::ProposalOutdated);
        }
        if let Some(Kind::Board(_)) = &ruling.kind {
            self.exams.save(&proposed, None).await?;
            return Ok(Proposed {
                proposal_id: String::new(),
                impact,
            });
        }
        if self.proposals(&exam)?.len() >= MAX_PROPOSALS {
            return Err(invalid(
                "exam_id",
                "quá nhiều đề xuất chưa duyệt / too many open proposals",
            ));
        }
        if let Some(Kind::Key(key)) = &ruling.kind {
            files::write(&key_file(&self.data, &proposed, &key.key_hash), &draft.key)?;
        }
        let proposal_id = hex::encode(&grader::ruling::hash(&ruling)[..NAME_BYTES]);
        let proposal = Proposal {
            proposal_id: proposal_id.clone(),
            ruling: Some(ruling),
            impact: Some(Impact {
                listing: Vec::new(),
                ..impact.clone()
            }),
            keys: draft.changed,
        };
        files::write(
            &self.proposal_file(&exam, &proposal_id),
            &proposal.encode_to_vec(),
        )?;
        Ok(Proposed {
            proposal_id,
            impact,
        })
    }

    /// Puts a proposal into force.
    ///
    /// # Errors
    /// [`Error::ProposalNotFound`], [`Error::TwoPersonsNeeded`], [`Error::ProposalOutdated`].
    pub async fn approve_ruling(
        &self,
        exam_id: &str,
        proposal_id: &str,
        by: &str,
    ) -> Result<Ruling> {
        let _writing = self.exams.begin_write().await?;
        let mut exam = self.published(exam_id)?.exam().as_ref().clone();
        check_name(by)?;
        let proposals = self.proposals(&exam)?;
        let proposal = proposals
            .into_iter()
            .find(|proposal| proposal.proposal_id == proposal_id)
            .ok_or(Error::ProposalNotFound)?;
        let mut ruling = proposal.ruling.unwrap_or_default();
        if same_person(&ruling.proposed_by, by) {
            return Err(Error::TwoPersonsNeeded);
        }
        let file = self.proposal_file(&exam, proposal_id);
        let previous = exam.rulings.last().map(grader::ruling::hash);
        if *ruling.previous != *previous.as_ref().map_or(&[][..], |hash| hash) {
            std::fs::remove_file(&file)?;
            return Err(Error::ProposalOutdated);
        }
        ruling.approved_by = by.to_owned();
        ruling.at_ms = self.clock.now().0;
        ruling.positions = self.ends(&exam).await?;
        grader::ruling::append(&mut exam, ruling);
        grader::Rulings::read(&exam)?;
        self.exams.save(&exam, None).await?;
        std::fs::remove_file(&file)?;
        Ok(exam.rulings.pop().expect("appended above"))
    }

    /// Returns the open proposals of an exam, oldest first.
    ///
    /// # Errors
    /// [`Error::ExamNotFound`], or the disk.
    pub fn list_proposals(&self, exam_id: &str) -> Result<Vec<Proposal>> {
        self.proposals(&self.published(exam_id)?.exam())
    }

    fn proposals(&self, exam: &Exam) -> Result<Vec<Proposal>> {
        let prefix = format!("{}.proposal-", name_of(exam));
        let mut proposals = Vec::new();
        let Ok(entries) = std::fs::read_dir(self.data.join("keys")) else {
            return Ok(proposals); // nothing was published here
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            if let Some(proposal_id) = name.and_then(|name| name.strip_prefix(&prefix)) {
                let proposal = Proposal::decode(files::read(&path)?.as_slice());
                let proposal = proposal.map_err(std::io::Error::other)?;
                if proposal.proposal_id == proposal_id {
                    proposals.push(proposal);
                }
            }
        }
        proposals.sort_by_cached_key(|proposal| {
            let ruling = proposal.ruling.as_ref();
            let at_ms = ruling.map_or(0, |ruling| ruling.at_ms);
            (at_ms, proposal.proposal_id.clone())
        });
        Ok(proposals)
    }

    fn proposal_file(&self, exam: &Exam, proposal_id: &str) -> PathBuf {
        proposal_file(&self.data, exam, proposal_id)
    }

    async fn ends(&self, exam: &Exam) -> Result<Vec<u64>> {
        let live = self.published(name_of(exam))?;
        Ok(self.store.log_ends(&live.id, live.n_partitions).await?)
    }

    fn draft(&self, exam: &Exam, wanted: Wanted) -> Result<Draft> {
        let alone = |kind| Draft {
            kind,
            key: Vec::new(),
            changed: Vec::new(),
        };
        Ok(match wanted {
            Wanted::Key(change) => self.changed_key(exam, &change)?,
            Wanted::Prediction(prediction) => {
                require(
                    "prediction.definition",
                    (1..=MAX_NOTE_BYTES).contains(&prediction.definition.len()),
                    "cần định nghĩa của con số, tối đa 500 byte / the quantity needs its definition, at most 500 bytes",
                )?;
                alone(Kind::Prediction(prediction))
            }
            Wanted::Exclusion(ExclusionRuling { mut candidates }) => {
                candidates.sort_unstable();
                candidates.dedup();
                alone(Kind::Exclusion(ExclusionRuling { candidates }))
            }
            Wanted::Board(board) => {
                let cutoff_ms = match board.state() {
                    BoardState::Frozen if board.cutoff_ms == 0 => self.clock.now().0,
                    BoardState::Frozen => board.cutoff_ms,
                    _ => 0,
                };
                alone(Kind::Board(BoardRuling { cutoff_ms, ..board }))
            }
        })
    }

    /// Makes the next version of the key.
    fn changed_key(&self, exam: &Exam, change: &KeyChange) -> Result<Draft> {
        let halves = key_halves(&self.data, exam)?;
        let version_of = |at: usize| {
            halves.get(at).ok_or_else(|| {
                invalid(
                    "key.from_version",
                    "không có bản đáp án này / there is no such version of the key",
                )
            })
        };
        let base = match change.from_version {
            0 => version_of(halves.len() - 1)?,
            version => version_of(version as usize - 1)?,
        };
        let mut half = KeyHalf::decode(base.as_slice()).map_err(std::io::Error::other)?;
        require(
            "key.items",
            !change.items.is_empty() || change.from_version != 0,
            "cần ít nhất một câu / at least one item is needed",
        )?;
        for item in &change.items {
            let key = half
                .keys
                .iter_mut()
                .find(|key| key.item_id == item.item_id)
                .ok_or_else(|| {
                    invalid(
                        "key.items",
                        &format!("không có câu {0} / there is no item {0}", item.item_id),
                    )
                })?;
            let wanted = item.change.clone();
            apply(
                key,
                wanted.ok_or_else(|| {
                    invalid("key.items", "thiếu thay đổi / the change is missing")
                })?,
            )?;
        }
        half.key_version = u32::try_from(halves.len()).expect("few versions") + 1;
        half.salt = Key::generate()?.0.to_vec().into();
        let in_force =
            KeyHalf::decode(halves[halves.len() - 1].as_slice()).map_err(std::io::Error::other)?;
        let pairs = in_force.keys.iter().zip(&half.keys);
        let changed: Vec<ChangedKey> = pairs
            .filter(|(before, after)| before != after)
            .map(|(before, after)| ChangedKey {
                before: Some(before.clone()),
                after: Some(after.clone()),
            })
            .collect();
        let of = |changed: &ChangedKey| changed.after.as_ref().map(|key| key.item_id);
        let item_ids: Vec<u32> = changed.iter().filter_map(of).collect();
        require(
            "key.items",
            !item_ids.is_empty(),
            "đáp án không thay đổi / the key stays as it is",
        )?;
        let key = half.encode_to_vec();
        Ok(Draft {
            kind: Kind::Key(KeyRuling {
                key_version: half.key_version,
                key_hash: blake3::hash(&key).as_bytes().to_vec().into(),
                item_ids,
            }),
            key,
            changed,
        })
    }

    /// Asks the grader what a decision would change; nothing that cannot be graded comes so far.
    async fn try_out(&self, proposed: &Exam, key: Vec<u8>) -> Result<Impact> {
        let paper = self.exams.package(name_of(proposed)).await?.paper;
        let key = if key.is_empty() {
            key_halves(&self.data, proposed)?.pop().unwrap_or_default()
        } else {
            key
        };
        grader::Package::load(proposed, &paper, &key)?;
        let request = DryRunRequest {
            exam: Some(proposed.clone()),
            key: key.into(),
        };
        Ok(self
            .grader()
            .dry_run(self.to_grader(request))
            .await?
            .into_inner())
    }

    async fn check_board(&self, exam: &Exam, board: &BoardRuling) -> Result<()> {
        if board.state() != BoardState::Final {
            let is_final = |ruling: &Ruling| matches!(&ruling.kind, Some(Kind::Board(board)) if board.state() == BoardState::Final);
            return require(
                "board.state",
                !exam.rulings.iter().any(is_final),
                "kết quả đã là chính thức / the result is final",
            );
        }
        if exam.state() != ExamState::Closed {
            return Err(Error::ExamState {
                state: exam.state(),
            });
        }
        let hashes = self.hash_archive(name_of(exam)).await?;
        let signed = verdict_message(name_of(exam), &hashes.result, &hashes.log, &hashes.exam);
        let is_his = board.result_hash == hashes.result[..]
            && crate::token::is_signed(&exam.verdict_key, &signed, &board.verdict);
        if is_his {
            Ok(())
        } else {
            Err(Error::VerdictInvalid)
        }
    }
}

/// What an auditor signs (docs/FORMATS.md section 11).
#[must_use]
pub fn verdict_message(
    exam_id: &str,
    result: &[u8; 32],
    log: &[u8; 32],
    exam: &[u8; 32],
) -> Vec<u8> {
    let mut message = b"khoa-bang verdict v1".to_vec();
    message.push(u8::try_from(exam_id.len()).expect("names have at most 40 characters"));
    message.extend_from_slice(exam_id.as_bytes());
    for hash in [result, log, exam] {
        message.extend_from_slice(hash);
    }
    message
}

fn proposal_file(data: &Path, exam: &Exam, proposal_id: &str) -> PathBuf {
    let name = format!("{}.proposal-{proposal_id}.bin", name_of(exam));
    data.join("keys").join(name)
}

fn apply(key: &mut ItemKey, change: Change) -> Result<()> {
    match change {
        Change::RightOptions(options) => {
            key.right_options = options;
            key.accepted.clear();
        }
        Change::Accept(options) => key.accepted.push(options),
        Change::AcceptText(text) => {
            let blank = key.blanks.first_mut();
            let blank = blank.ok_or_else(|| {
                invalid(
                    "key.items",
                    "câu này không có chỗ điền / the item has no blank",
                )
            })?;
            blank.accepted.push(text);
        }
        Change::Treatment(treatment) => key.treatment = treatment,
        Change::WeightPercent(percent) => key.weight_percent = percent,
        Change::Key(other) => {
            *key = ItemKey {
                item_id: key.item_id,
                revision: key.revision.clone(),
                ..other
            };
        }
    }
    Ok(())
}

fn check_words(request: &ProposeRulingRequest) -> Result<()> {
    check_name(&request.by)?;
    let reason = ReasonCode::try_from(request.reason);
    require(
        "reason",
        reason.is_ok_and(|reason| reason != ReasonCode::Unspecified),
        "cần lý do / a reason is needed",
    )?;
    require(
        "note",
        (1..=MAX_NOTE_BYTES).contains(&request.note.trim().len()),
        "cần vài lời giải thích cho thí sinh, tối đa 500 byte / a few words for the candidates are needed, at most 500 bytes",
    )
}

fn check_name(by: &str) -> Result<()> {
    require(
        "by",
        (1..=MAX_NAME).contains(&by.trim().chars().count()),
        "cần họ tên, tối đa 100 ký tự / a name is needed, at most 100 characters",
    )
}

fn same_person(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

fn require(field: &'static str, holds: bool, what: &str) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(invalid(field, what))
    }
}

fn invalid(field: &'static str, what: &str) -> Error {
    Error::Invalid {
        field,
        what: what.to_owned(),
    }
}
