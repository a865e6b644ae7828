//! Between the shapes on the wire and those of the domain.

use proto::exam::v1 as wire;
use question_bank::item::clean_text;

use crate::{
    engine::{Error, LiveExam, PaperView, Receipt, Result},
    id::CandidateId,
    session::{Chain, NewAnswer, Response, Session, Ticket},
    store::{Durability, ended_by_to_wire, response_from_wire, response_to_wire},
};

pub(super) fn new_answer(answer: wire::Answer) -> NewAnswer {
    let response = match response_from_wire(answer.response) {
        Response::Text(text) => Response::Text(clean_text(&text)),
        other => other,
    };
    NewAnswer {
        seq: answer.seq,
        position: answer.position,
        response,
    }
}

pub(super) fn stored_answers(session: &Session) -> Vec<wire::Answer> {
    (0u32..)
        .zip(&session.answers)
        .filter_map(|(position, answer)| {
            let answer = answer.as_ref()?;
            Some(wire::Answer {
                seq: answer.seq,
                position,
                response: Some(response_to_wire(&answer.response)),
            })
        })
        .collect()
}

pub(super) fn session_info(exam: &LiveExam, session: &Session, now_ms: u64) -> wire::SessionInfo {
    let progress = &session.progress;
    wire::SessionInfo {
        exam_id: exam.id.as_str().to_owned(),
        title: exam.title(),
        attempt: session.head.attempt,
        epoch: progress.epoch,
        started_at_ms: session.head.started_at.0,
        deadline_ms: progress.deadline.0,
        now_ms,
        next_seq: progress.last_seq + 1,
        n_items: u32::try_from(session.answers.len()).expect("papers have at most 200 items"),
        form_code: hex::encode(session.head.form_code),
        ended: progress.ended.is_some(),
        ended_by: progress
            .ended
            .map_or(wire::EndedBy::Unspecified, |(by, _)| ended_by_to_wire(by))
            .into(),
        chain: progress.chain.to_vec().into(),
    }
}

pub(super) fn receipt(receipt: &Receipt) -> wire::Receipt {
    let durability = match receipt.durability {
        Durability::Practice => wire::DurabilityClass::Practice,
        Durability::Single => wire::DurabilityClass::Single,
        Durability::Replicated => wire::DurabilityClass::Replicated,
    };
    wire::Receipt {
        seq: receipt.seq,
        chain: receipt.chain.to_vec().into(),
        at_ms: receipt.at.0,
        durability: durability.into(),
        mac: receipt.mac.to_vec().into(),
    }
}

/// Texts in the order shown; canonical order, topics and bands stay here.
pub(super) fn paper(session: &Session, view: PaperView<'_>) -> wire::GetPaperResponse {
    let mut positions = 0u32..;
    let sections = view
        .sections
        .into_iter()
        .map(|section| wire::ShownSection {
            title: section.title.to_owned(),
            items: section
                .items
                .iter()
                .zip(&mut positions)
                .map(|((item, order), position)| wire::ShownItem {
                    position,
                    r#type: item.r#type,
                    text: item.text.clone(),
                    options: order
                        .iter()
                        .map(|index| wire::ShownOption {
                            text: item.options[usize::from(*index)].text.clone(),
                        })
                        .collect(),
                    mark: section.mark.to_owned(),
                })
                .collect(),
        })
        .collect();
    wire::GetPaperResponse {
        sections,
        form_code: hex::encode(session.head.form_code),
    }
}

pub(super) fn chain(bytes: &[u8]) -> Result<Option<Chain>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let chain = bytes
        .try_into()
        .map_err(|_| invalid("chain", "32 byte / 32 bytes"))?;
    Ok(Some(chain))
}

pub(super) fn ticket(person: wire::CodeRequest) -> Result<Ticket> {
    let candidate = CandidateId::from_slice(&person.candidate)
        .ok_or_else(|| invalid("persons.candidate", "16 byte / 16 bytes"))?;
    Ok(Ticket {
        candidate,
        area: person.area,
        unit: person.unit,
    })
}

fn invalid(field: &'static str, what: &str) -> Error {
    Error::Invalid {
        field,
        what: what.to_owned(),
    }
}
