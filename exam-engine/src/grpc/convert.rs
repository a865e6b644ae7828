//! Between the shapes on the wire and those of the domain.

use proto::exam::v1 as wire;
use question_bank::item::clean_text;

use crate::{
    clock::Timestamp,
    engine::{Error, LiveExam, PaperView, Receipt, Result, Scope, SessionState},
    id::CandidateId,
    session::{Accommodation, Action, Cause, Chain, NewAnswer, Outage, Response, Session, Ticket},
    store::{Durability, ended_by_to_wire, response_from_wire, response_to_wire},
};

/// Accommodations beyond four times the time are another exam.
const PERCENT: std::ops::RangeInclusive<u32> = 100..=400;
const MAX_EXTRA_MINUTES: u32 = 240;
const MAX_ACTION_ID_CHARS: usize = 40;
/// A note stands in the log of every attempt it touches.
const MAX_NOTE_BYTES: usize = 200;
/// Most people answer an item in less; longer silences are told from thinking by nobody.
const LEAST_SILENCE_MS: u64 = 20_000;

pub(super) fn new_answer(answer: wire::Answer) -> NewAnswer {
    let response = match response_from_wire(answer.response) {
        Response::Text(text) => Response::Text(clean_text(&text)),
        other => other,
    };
    NewAnswer {
        seq: answer.seq,
        position: answer.position,
        response,
        made_at: (answer.made_at_ms > 0).then_some(Timestamp(answer.made_at_ms)),
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
                made_at_ms: 0,
            })
        })
        .collect()
}

pub(super) fn state(state: &SessionState) -> wire::SessionState {
    wire::SessionState {
        deadline_ms: state.deadline.0,
        paused: state.paused,
        ended: state.ended_by.is_some(),
        ended_by: state
            .ended_by
            .map_or(wire::EndedBy::Unspecified, ended_by_to_wire)
            .into(),
        voided: state.voided,
        section: u32::from(state.section),
        section_deadline_ms: state.section_deadline.map_or(0, |at| at.0),
    }
}

pub(super) fn session_info(
    exam: &LiveExam,
    session: &Session,
    now: &SessionState,
    now_ms: u64,
) -> wire::SessionInfo {
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
        state: Some(state(now)),
        navigation: if exam.rules.forward_only {
            wire::Navigation::ForwardOnly
        } else {
            wire::Navigation::Free
        }
        .into(),
        flags: progress.flags.clone().into(),
        late_sync_ms: exam.rules.late_sync_ms,
        grace_ms: exam.rules.grace_ms,
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
            n_items: u32::try_from(section.n_items).expect("papers have at most 200 items"),
            time_ms: section.time_ms,
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
                        .map(|index| shown_option(&item.options[usize::from(*index)]))
                        .collect(),
                    mark: section.mark.to_owned(),
                    targets: item.targets.iter().map(shown_option).collect(),
                    n_blanks: item.n_blanks,
                })
                .collect(),
        })
        .collect();
    wire::GetPaperResponse {
        sections,
        form_code: hex::encode(session.head.form_code),
    }
}

fn shown_option(option: &proto::bank::v1::Option) -> wire::ShownOption {
    wire::ShownOption {
        text: option.text.clone(),
    }
}

/// What a device calls itself: a random id, no story.
const MAX_DEVICE_ID_BYTES: usize = 64;

pub(super) fn check_device_id(id: &str) -> Result<()> {
    if id.len() <= MAX_DEVICE_ID_BYTES {
        return Ok(());
    }
    Err(invalid("device_id", "tối đa 64 byte / at most 64 bytes"))
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
    let time_percent = if person.time_percent == 0 {
        100
    } else {
        person.time_percent
    };
    let range = |field, holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(invalid(field, what))
        }
    };
    range(
        "persons.time_percent",
        PERCENT.contains(&time_percent),
        "100 đến 400 / 100 to 400",
    )?;
    range(
        "persons.extra_minutes",
        person.extra_minutes <= MAX_EXTRA_MINUTES,
        "tối đa 240 / at most 240",
    )?;
    let short = |number: u32| u16::try_from(number).expect("the range was checked");
    Ok(Ticket {
        candidate,
        area: person.area,
        unit: person.unit,
        accommodation: Accommodation {
            time_percent: short(time_percent),
            extra_minutes: short(person.extra_minutes),
        },
    })
}

pub(super) fn scope(scope: Option<wire::ActionScope>) -> Result<Scope> {
    use wire::action_scope::Who;
    match scope.and_then(|scope| scope.who) {
        Some(Who::Candidate(candidate)) => CandidateId::from_slice(&candidate)
            .map(Scope::Candidate)
            .ok_or_else(|| invalid("scope.candidate", "16 byte / 16 bytes")),
        Some(Who::Unit(unit)) => Ok(Scope::Unit(unit)),
        Some(Who::Area(area)) => Ok(Scope::Area(area)),
        Some(Who::Everybody(true)) => Ok(Scope::Everybody),
        Some(Who::Everybody(false)) | None => Err(invalid(
            "scope",
            "một thí sinh, một đơn vị, một tỉnh hoặc tất cả / one candidate, one unit, one area or everybody",
        )),
    }
}

/// Time that one action gives; more than a day is a slip of the keyboard.
const ACTION_MS: std::ops::RangeInclusive<u64> = 1_000..=86_400_000;

pub(super) fn action(
    action: Option<wire::act_on_attempts_request::Action>,
    state: wire::ExamState,
) -> Result<Action> {
    use wire::act_on_attempts_request::Action as Wanted;
    let time = |field, ms: u64| {
        let fits = ACTION_MS.contains(&ms);
        fits.then_some(ms)
            .ok_or_else(|| invalid(field, "1 giây đến 24 giờ / 1 second to 24 hours"))
    };
    Ok(match action {
        Some(Wanted::Extend(extend)) => Action::Extend {
            by_ms: time("extend.by_ms", extend.by_ms)?,
        },
        Some(Wanted::Pause(_)) => Action::Pause,
        Some(Wanted::Resume(_)) => Action::Resume,
        Some(Wanted::End(_)) => Action::End,
        Some(Wanted::Void(void)) => Action::Void {
            may_retake: void.may_retake,
        },
        Some(Wanted::Restore(_)) => Action::Restore,
        Some(Wanted::Reopen(reopen)) if state == wire::ExamState::Closed && !reopen.after_close => {
            return Err(invalid(
                "reopen.after_close",
                "kỳ thi đã đóng, đáp án có thể đã công bố; cần xác nhận / the exam is closed and its keys may be out; must be confirmed",
            ));
        }
        Some(Wanted::Reopen(reopen)) => Action::Reopen {
            time_ms: time("reopen.time_ms", reopen.time_ms)?,
        },
        None => {
            return Err(invalid(
                "action",
                "thiếu việc cần làm / what is to be done is missing",
            ));
        }
    })
}

pub(super) fn cause(cause: Option<wire::Cause>) -> Result<Cause> {
    let cause = cause.unwrap_or_default();
    let reason = cause.reason();
    let n_id = cause.action_id.chars().count();
    let note = clean_text(&cause.note);
    if !(1..=MAX_ACTION_ID_CHARS).contains(&n_id) {
        return Err(invalid(
            "cause.action_id",
            "1 đến 40 ký tự / 1 to 40 characters",
        ));
    }
    if reason == wire::ReasonCode::Unspecified {
        return Err(invalid(
            "cause.reason",
            "thiếu lý do / the reason is missing",
        ));
    }
    let is_missing = reason == wire::ReasonCode::Other && note.is_empty();
    if is_missing || note.len() > MAX_NOTE_BYTES {
        return Err(invalid(
            "cause.note",
            "tối đa 200 byte, bắt buộc khi lý do là khác / at most 200 bytes, required with the reason other",
        ));
    }
    Ok(Cause {
        action_id: cause.action_id,
        reason,
        note,
    })
}

/// An outage is declared once it is over; longer ones are another day's exam.
pub(super) fn outage(
    from_ms: u64,
    to_ms: u64,
    least_silence_ms: u64,
    now: Timestamp,
) -> Result<Outage> {
    let fits = from_ms < to_ms && to_ms - from_ms <= *ACTION_MS.end() && to_ms <= now.0;
    if !fits {
        return Err(invalid(
            "from_ms",
            "bắt đầu trước kết thúc, dài tối đa 24 giờ, đã qua / begins before its end, at most 24 hours, in the past",
        ));
    }
    Ok(Outage {
        from: Timestamp(from_ms),
        to: Timestamp(to_ms),
        least_silence_ms: if least_silence_ms == 0 {
            LEAST_SILENCE_MS
        } else {
            least_silence_ms
        },
    })
}

fn invalid(field: &'static str, what: &str) -> Error {
    Error::Invalid {
        field,
        what: what.to_owned(),
    }
}
