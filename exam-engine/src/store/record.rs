//! How sessions and events are written as bytes.
//!
//! Invariant: bytes written by any earlier version are read; numbers of fields are never used again, and a test reads
//! yesterday's bytes.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use proto::exam::v1::{self as wire, event};
use question_bank::paper::Paper;

use super::{AlarmChange, Commit, Field, Record};
use crate::{
    clock::Timestamp,
    id::CandidateId,
    session::{
        Accommodation, Alarm, Cause, Chain, Change, Closed, EndedBy, Happening, Head, Lateness,
        Origin, Progress, Response, Session, StoredAnswer,
    },
};

/// What is wrong with stored bytes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(pub String);

#[derive(Clone, PartialEq, Message)]
struct HeadRecord {
    #[prost(uint32, tag = "1")]
    attempt: u32,
    #[prost(uint32, tag = "2")]
    round: u32,
    #[prost(uint32, tag = "3")]
    attempts_in_round: u32,
    #[prost(string, tag = "4")]
    area: String,
    #[prost(uint32, tag = "5")]
    unit: u32,
    #[prost(uint64, tag = "6")]
    started_at_ms: u64,
    #[prost(fixed64, tag = "7")]
    form_code: u64,
    /// 0 is 100.
    #[prost(uint32, tag = "8")]
    time_percent: u32,
    #[prost(uint32, tag = "9")]
    extra_minutes: u32,
    #[prost(uint32, tag = "10")]
    retakes_in_all: u32,
    #[prost(uint32, tag = "11")]
    retakes_in_round: u32,
}

#[derive(Clone, PartialEq, Message)]
struct ProgressRecord {
    #[prost(uint32, tag = "1")]
    epoch: u32,
    #[prost(uint64, tag = "2")]
    deadline_ms: u64,
    #[prost(uint32, tag = "3")]
    last_seq: u32,
    #[prost(bytes = "bytes", tag = "4")]
    chain: Bytes,
    #[prost(enumeration = "wire::EndedBy", tag = "5")]
    ended_by: i32,
    #[prost(uint64, tag = "6")]
    ended_at_ms: u64,
    #[prost(uint64, optional, tag = "7")]
    paused_at_ms: Option<u64>,
    #[prost(uint32, tag = "8")]
    section: u32,
    #[prost(uint64, optional, tag = "9")]
    section_deadline_ms: Option<u64>,
    #[prost(uint32, tag = "10")]
    furthest: u32,
    #[prost(bytes = "vec", tag = "11")]
    flags: Vec<u8>,
    #[prost(bool, tag = "12")]
    voided: bool,
    #[prost(bool, tag = "13")]
    may_retake: bool,
    #[prost(fixed64, repeated, tag = "14")]
    actions: Vec<u64>,
    /// 0 is the start of the attempt.
    #[prost(uint64, tag = "15")]
    section_began_ms: u64,
    /// Three numbers a section: its own, begin, end.
    #[prost(uint64, repeated, tag = "16")]
    closed: Vec<u64>,
    #[prost(uint32, tag = "17")]
    n_flaggings: u32,
}

#[derive(Clone, PartialEq, Message)]
struct AnswerRecord {
    #[prost(uint32, tag = "1")]
    seq: u32,
    #[prost(message, optional, tag = "2")]
    response: Option<wire::Response>,
}

/// Returns a response as it travels and as it is stored.
#[must_use]
pub(crate) fn response_to_wire(response: &Response) -> wire::Response {
    use wire::response::Value;
    let value = match response {
        Response::Blank => None,
        Response::Chosen(bits) => Some(Value::Chosen(*bits)),
        Response::Text(text) => Some(Value::Text(text.clone())),
        Response::Sequence(order) => Some(Value::Sequence(order.clone().into())),
    };
    wire::Response { value }
}

/// Reads a response as it travels and as it is stored.
#[must_use]
pub(crate) fn response_from_wire(response: Option<wire::Response>) -> Response {
    use wire::response::Value;
    match response.and_then(|response| response.value) {
        None => Response::Blank,
        Some(Value::Chosen(bits)) => Response::Chosen(bits),
        Some(Value::Text(text)) => Response::Text(text),
        Some(Value::Sequence(order)) => Response::Sequence(order.to_vec()),
    }
}

/// Returns the public word for who ended an attempt.
#[must_use]
pub(crate) fn ended_by_to_wire(by: EndedBy) -> wire::EndedBy {
    match by {
        EndedBy::Candidate => wire::EndedBy::Candidate,
        EndedBy::Deadline => wire::EndedBy::Deadline,
        EndedBy::Organizer => wire::EndedBy::Organizer,
    }
}

/// Turns a change into the step that the store takes.
#[must_use]
pub fn encode_change(session: &Session, change: &Change) -> Commit {
    let progress = encode_progress(&change.progress);
    let mut fields = vec![(Field::Progress, progress.encode_to_vec().into())];
    if let Some(head) = &change.new_head {
        fields.push((Field::Head, encode_head(head)));
    }
    for (position, answer) in &change.answers {
        let record = AnswerRecord {
            seq: answer.seq,
            response: Some(response_to_wire(&answer.response)),
        };
        let field = Field::Answer(*position);
        let bytes: Bytes = record.encode_to_vec().into();
        // The same position twice in one message: the later answer stands.
        match fields.iter_mut().find(|(known, _)| *known == field) {
            Some(known) => known.1 = bytes,
            None => fields.push((field, bytes)),
        }
    }
    Commit {
        expected_version: change.expected_version,
        not_after: change.not_after,
        reset: change.new_head.is_some(),
        fields,
        alarm: match change.alarm {
            Alarm::Keep => AlarmChange::Keep,
            Alarm::Set(at) => AlarmChange::Set(at),
            Alarm::Clear => AlarmChange::Clear,
        },
        events: change
            .happenings
            .iter()
            .map(|happening| encode_event(session, change, happening))
            .collect(),
    }
}

fn encode_progress(progress: &Progress) -> ProgressRecord {
    ProgressRecord {
        epoch: progress.epoch,
        deadline_ms: progress.deadline.0,
        last_seq: progress.last_seq,
        chain: Bytes::copy_from_slice(&progress.chain),
        ended_by: progress
            .ended
            .map_or(wire::EndedBy::Unspecified, |(by, _)| ended_by_to_wire(by))
            .into(),
        ended_at_ms: progress.ended.map_or(0, |(_, at)| at.0),
        paused_at_ms: progress.paused_at.map(|at| at.0),
        section: u32::from(progress.section),
        section_deadline_ms: progress.section_deadline.map(|at| at.0),
        furthest: u32::from(progress.furthest),
        flags: progress.flags.clone(),
        voided: progress.voided,
        may_retake: progress.may_retake,
        actions: progress.actions.clone(),
        section_began_ms: match progress.section {
            0 => 0,
            _ => progress.section_began.0,
        },
        closed: progress
            .closed
            .iter()
            .flat_map(|closed| [u64::from(closed.section), closed.began.0, closed.ended.0])
            .collect(),
        n_flaggings: progress.n_flaggings,
    }
}

fn encode_head(head: &Head) -> Bytes {
    HeadRecord {
        attempt: head.attempt,
        round: head.round,
        attempts_in_round: head.attempts_in_round,
        area: head.area.clone(),
        unit: head.unit,
        started_at_ms: head.started_at.0,
        form_code: u64::from_le_bytes(head.form_code),
        time_percent: percent_to_wire(head.accommodation),
        extra_minutes: u32::from(head.accommodation.extra_minutes),
        retakes_in_all: head.retakes.0,
        retakes_in_round: head.retakes.1,
    }
    .encode_to_vec()
    .into()
}

/// 100 is not written: almost everybody has it.
fn percent_to_wire(accommodation: Accommodation) -> u32 {
    match accommodation.time_percent {
        100 => 0,
        percent => u32::from(percent),
    }
}

fn encode_event(session: &Session, change: &Change, happening: &Happening) -> Bytes {
    let head = change.new_head.as_ref().unwrap_or(&session.head);
    wire::Event {
        candidate: Bytes::copy_from_slice(&session.candidate.0),
        attempt: head.attempt,
        epoch: change.progress.epoch,
        at_ms: change.at.0,
        kind: Some(event_kind(session, head, &change.progress, happening)),
    }
    .encode_to_vec()
    .into()
}

fn event_kind(
    session: &Session,
    head: &Head,
    progress: &Progress,
    happening: &Happening,
) -> event::Kind {
    let deadline_ms = progress.deadline.0;
    let section_deadline_ms = progress.section_deadline.map_or(0, |at| at.0);
    match happening {
        Happening::Started(origin) => {
            event::Kind::Started(started(session, head, progress, *origin))
        }
        Happening::Answered {
            seq,
            position,
            response,
            late,
        } => event::Kind::Answered(wire::Answered {
            seq: *seq,
            position: u32::from(*position),
            response: Some(response_to_wire(response)),
            lateness: late
                .map_or(wire::Lateness::Unspecified, |(late, _)| {
                    lateness_to_wire(late)
                })
                .into(),
            made_at_ms: late.map_or(0, |(_, made_at)| made_at.0),
        }),
        Happening::TakenOver => event::Kind::TakenOver(wire::TakenOver {
            epoch: progress.epoch,
        }),
        Happening::SectionEntered {
            section,
            entered_at,
            deadline,
        } => event::Kind::SectionEntered(wire::SectionEntered {
            section: u32::from(*section),
            entered_at_ms: entered_at.0,
            deadline_ms: deadline.map_or(0, |at| at.0),
        }),
        Happening::Flagged => event::Kind::Flagged(wire::Flagged {
            flags: progress.flags.clone().into(),
        }),
        Happening::Ended(cause) => {
            let (by, at) = progress.ended.expect("an ended attempt says by whom");
            event::Kind::Ended(wire::Ended {
                by: ended_by_to_wire(by).into(),
                last_seq: progress.last_seq,
                chain: Bytes::copy_from_slice(&progress.chain),
                ended_at_ms: at.0,
                cause: cause.as_deref().map(cause_to_wire),
            })
        }
        Happening::Extended { by_ms, cause } => event::Kind::Extended(wire::Extended {
            by_ms: *by_ms,
            deadline_ms,
            section_deadline_ms,
            cause: Some(cause_to_wire(cause)),
        }),
        Happening::Paused(cause) => event::Kind::Paused(wire::Paused {
            cause: Some(cause_to_wire(cause)),
        }),
        Happening::Resumed { paused_ms, cause } => event::Kind::Resumed(wire::Resumed {
            paused_ms: *paused_ms,
            deadline_ms,
            section_deadline_ms,
            cause: Some(cause_to_wire(cause)),
        }),
        Happening::Voided(cause) => event::Kind::Voided(wire::Voided {
            may_retake: progress.may_retake,
            cause: Some(cause_to_wire(cause)),
        }),
        Happening::Restored(cause) => event::Kind::Restored(wire::Restored {
            cause: Some(cause_to_wire(cause)),
        }),
        Happening::Reopened { idle_ms, cause } => event::Kind::Reopened(wire::Reopened {
            deadline_ms,
            section_deadline_ms,
            idle_ms: *idle_ms,
            section: u32::from(progress.section),
            last_seq: progress.last_seq,
            option_order: session.paper.option_order.clone(),
            cause: Some(cause_to_wire(cause)),
        }),
    }
}

fn started(session: &Session, head: &Head, progress: &Progress, origin: Origin) -> wire::Started {
    wire::Started {
        round: head.round,
        area: head.area.clone(),
        unit: head.unit,
        deadline_ms: progress.deadline.0,
        item_ids: session
            .paper
            .entries
            .iter()
            .map(|entry| entry.item_id)
            .collect(),
        option_order: session.paper.option_order.clone(),
        form_code: Bytes::copy_from_slice(&head.form_code),
        repaired: session.paper.repaired,
        time_percent: percent_to_wire(head.accommodation),
        extra_minutes: u32::from(head.accommodation.extra_minutes),
        address_tag: origin.address_tag,
        device_tag: origin.device_tag,
    }
}

fn lateness_to_wire(late: Lateness) -> wire::Lateness {
    match late {
        Lateness::Grace => wire::Lateness::Grace,
        Lateness::LateSync => wire::Lateness::LateSync,
    }
}

fn cause_to_wire(cause: &Cause) -> wire::Cause {
    wire::Cause {
        action_id: cause.action_id.clone(),
        reason: cause.reason.into(),
        note: cause.note.clone(),
    }
}

/// Reads a message of which every byte is understood. Prost drops fields that it does not know: the next write would
/// lose what a newer version has stored, so such a record is left to newer engines.
fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Corrupt> {
    let n_bytes = bytes.len();
    let message = M::decode(bytes).map_err(|error| Corrupt(error.to_string()))?;
    if message.encoded_len() == n_bytes {
        return Ok(message);
    }
    Err(Corrupt(
        "a newer version has written what this one does not know".to_owned(),
    ))
}

/// Reads a session; `draw` makes the paper of an attempt anew.
///
/// # Errors
/// [`Corrupt`] if bytes cannot be read, or the paper drawn is not the one that was started.
pub fn decode_session(
    candidate: CandidateId,
    record: Record,
    draw: impl FnOnce(u32) -> Result<Paper, String>,
) -> Result<Session, Corrupt> {
    let (mut head, mut progress, mut answers) = (None, None, Vec::new());
    for (field, bytes) in record.fields {
        match field {
            Field::Head => head = Some(decode::<HeadRecord>(bytes)?),
            Field::Progress => progress = Some(decode::<ProgressRecord>(bytes)?),
            Field::Answer(position) => answers.push((position, decode::<AnswerRecord>(bytes)?)),
        }
    }
    let (Some(head), Some(progress)) = (head, progress) else {
        return Err(Corrupt("head or progress is missing".to_owned()));
    };
    let paper = draw(head.attempt).map_err(Corrupt)?;
    let form_code = head.form_code.to_le_bytes();
    if paper.form_code != form_code {
        return Err(Corrupt(format!(
            "the paper of {candidate} attempt {} is another one",
            head.attempt
        )));
    }
    let mut session = Session {
        candidate,
        version: record.version,
        answers: vec![None; paper.entries.len()],
        paper: Arc::new(paper),
        progress: decode_progress(&progress, Timestamp(head.started_at_ms))?,
        head: Head {
            attempt: head.attempt,
            round: head.round,
            attempts_in_round: head.attempts_in_round,
            area: head.area,
            unit: head.unit,
            started_at: Timestamp(head.started_at_ms),
            form_code,
            accommodation: Accommodation {
                time_percent: small(if head.time_percent == 0 {
                    100
                } else {
                    head.time_percent
                })?,
                extra_minutes: small(head.extra_minutes)?,
            },
            retakes: (head.retakes_in_all, head.retakes_in_round),
        },
    };
    for (position, answer) in answers {
        let slot = session
            .answers
            .get_mut(usize::from(position))
            .ok_or_else(|| Corrupt(format!("position {position} is not on the paper")))?;
        *slot = Some(StoredAnswer {
            seq: answer.seq,
            response: response_from_wire(answer.response),
        });
    }
    Ok(session)
}

fn decode_progress(record: &ProgressRecord, started_at: Timestamp) -> Result<Progress, Corrupt> {
    let chain: Chain = record
        .chain
        .as_ref()
        .try_into()
        .map_err(|_| Corrupt("the chain has no 32 bytes".to_owned()))?;
    let ended_at = Timestamp(record.ended_at_ms);
    let ended = match record.ended_by() {
        wire::EndedBy::Unspecified => None,
        wire::EndedBy::Candidate => Some((EndedBy::Candidate, ended_at)),
        wire::EndedBy::Deadline => Some((EndedBy::Deadline, ended_at)),
        wire::EndedBy::Organizer => Some((EndedBy::Organizer, ended_at)),
    };
    Ok(Progress {
        epoch: record.epoch,
        deadline: Timestamp(record.deadline_ms),
        last_seq: record.last_seq,
        chain,
        ended,
        paused_at: record.paused_at_ms.map(Timestamp),
        section: small(record.section)?,
        section_deadline: record.section_deadline_ms.map(Timestamp),
        furthest: small(record.furthest)?,
        flags: record.flags.clone(),
        voided: record.voided,
        may_retake: record.may_retake,
        actions: record.actions.clone(),
        section_began: match record.section_began_ms {
            0 => started_at,
            began => Timestamp(began),
        },
        closed: record
            .closed
            .chunks(3)
            .map(closed)
            .collect::<Result<_, Corrupt>>()?,
        n_flaggings: record.n_flaggings,
    })
}

fn closed(numbers: &[u64]) -> Result<Closed, Corrupt> {
    let [section, began, ended] = numbers else {
        return Err(Corrupt("a closed section has no three numbers".to_owned()));
    };
    Ok(Closed {
        section: small(u32::try_from(*section).unwrap_or(u32::MAX))?,
        began: Timestamp(*began),
        ended: Timestamp(*ended),
    })
}

fn small(number: u32) -> Result<u16, Corrupt> {
    u16::try_from(number).map_err(|_| Corrupt(format!("{number} is out of range")))
}

#[cfg(test)]
mod tests {
    use question_bank::paper::PaperEntry;

    use super::*;

    fn paper() -> Paper {
        Paper::new(
            vec![
                PaperEntry {
                    index: 0,
                    item_id: 9,
                    n_options: 2
                };
                2
            ],
            vec![1, 0, 0, 1],
            false,
        )
    }

    /// Written by version 0.1.0: what is stored today is read tomorrow.
    #[test]
    fn yesterdays_bytes_are_read() {
        let bytes = |text: &str| -> Bytes { hex::decode(text).unwrap().into() };
        let form = hex::encode(paper().form_code);
        let record = Record {
            version: 3,
            fields: vec![
                (
                    Field::Head,
                    bytes(&["0801100118012202303130e80739", &form].concat()),
                ),
                (
                    Field::Progress,
                    bytes(&format!("080110d00f18012220{}", "ab".repeat(32))),
                ),
                (Field::Answer(1), bytes("080112020802")),
            ],
        };
        let session = decode_session(CandidateId([1; 16]), record, |_| Ok(paper())).unwrap();
        assert_eq!(
            (
                session.version,
                session.head.attempt,
                session.head.area.as_str()
            ),
            (3, 1, "01")
        );
        assert_eq!(
            (session.head.started_at, session.progress.deadline),
            (Timestamp(1000), Timestamp(2000))
        );
        assert_eq!(
            session.answers,
            [
                None,
                Some(StoredAnswer {
                    seq: 1,
                    response: Response::Chosen(2)
                })
            ]
        );
    }

    /// Each kind of record with a field that this version does not know, as a newer one may write it.
    #[test]
    fn a_field_of_a_newer_version_is_refused_and_never_dropped() {
        let field_99: &[u8] = &[0x98, 0x06, 0x01];
        let newer = |bytes: Vec<u8>| Bytes::from([&bytes, field_99].concat());
        let head = HeadRecord {
            attempt: 1,
            ..HeadRecord::default()
        };
        let answer = AnswerRecord {
            seq: 1,
            response: Some(response_to_wire(&Response::Chosen(2))),
        };
        let (head, answer) = (head.encode_to_vec(), answer.encode_to_vec());
        assert!(decode::<HeadRecord>(head.clone().into()).is_ok());
        assert!(decode::<AnswerRecord>(answer.clone().into()).is_ok());
        assert!(decode::<HeadRecord>(newer(head)).is_err());
        assert!(decode::<AnswerRecord>(newer(answer)).is_err());
        assert!(decode::<ProgressRecord>(newer(Vec::new())).is_err());
        // A kind of response that is not known yet stands inside the answer.
        let unknown_kind = Bytes::from(vec![0x08, 0x01, 0x12, 0x03, 0x98, 0x06, 0x01]);
        assert!(decode::<AnswerRecord>(unknown_kind).is_err());
        // Negative control: without the check the field would be gone.
        let dropped = ProgressRecord::decode(newer(Vec::new())).unwrap();
        assert_eq!(dropped.encoded_len(), 0);
    }

    #[test]
    fn another_paper_or_broken_bytes_are_refused() {
        let record = |head: &[u8]| Record {
            version: 1,
            fields: vec![
                (Field::Head, Bytes::copy_from_slice(head)),
                (Field::Progress, Bytes::new()),
            ],
        };
        for head in [b"".as_slice(), b"\xff\xff"] {
            assert!(decode_session(CandidateId([1; 16]), record(head), |_| Ok(paper())).is_err());
        }
    }
}
