//! The rules, one behaviour a test.

use proto::bank::v1::ItemType;
use question_bank::paper::PaperEntry;

use super::*;
use crate::id::ExamId;

const OPENS: u64 = 1_000_000;
const CLOSES: u64 = 2_000_000;
const DURATION: u64 = 60_000;

fn rules() -> Rules {
    let round = |round, opens_at, closes_at| Round {
        round,
        opens_at: Timestamp(opens_at),
        closes_at: Timestamp(closes_at),
    };
    Rules {
        duration_ms: DURATION,
        grace_ms: 500,
        rounds: vec![
            round(1, OPENS, CLOSES),
            round(2, CLOSES + 1_000, CLOSES * 2),
        ],
        attempts_per_round: 2,
        attempts_in_all: 3,
    }
}

fn exam() -> ExamId {
    ExamId::parse("thi-thu").unwrap()
}

fn paper(attempt: u32) -> Result<Paper, Error> {
    let entries = (0..3)
        .map(|index| PaperEntry {
            index,
            item_id: index + attempt,
            n_options: 4,
        })
        .collect();
    Ok(Paper::new(entries, [0, 1, 2, 3].repeat(3), false))
}

fn shape(index: u32) -> ItemShape {
    let item_type = if index == 2 {
        ItemType::MultipleChoice
    } else {
        ItemType::SingleChoice
    };
    ItemShape {
        item_type,
        n_options: 4,
    }
}

fn start(prior: Option<&Session>, now: u64) -> Result<Session, Error> {
    let ticket = Ticket {
        candidate: CandidateId([7; 16]),
        area: "01".to_owned(),
        unit: 0,
    };
    let (mut session, change) =
        Session::start(&exam(), &rules(), prior, &ticket, Timestamp(now), paper)?;
    let version = session.version + 1;
    session.apply(change, version);
    Ok(session)
}

fn answer(seq: u32, position: u32, bits: u32) -> NewAnswer {
    NewAnswer {
        seq,
        position,
        response: Response::Chosen(bits),
    }
}

fn save(session: &mut Session, answers: &[NewAnswer], now: u64) -> Result<(), Error> {
    if let Some(change) = session.save_answers(&rules(), shape, answers, Timestamp(now))? {
        let version = session.version + 1;
        session.apply(change, version);
    }
    Ok(())
}

fn end(session: &mut Session, now: u64) {
    let (last_seq, chain) = (session.progress.last_seq, session.progress.chain);
    let change = session
        .submit(
            last_seq,
            Some(chain),
            session.alarm_at(&rules()),
            Timestamp(now),
        )
        .unwrap();
    session.apply(change.unwrap(), session.version + 1);
}

#[test]
fn an_attempt_starts_only_within_a_round_and_keeps_its_full_time() {
    assert_eq!(
        start(None, OPENS - 1).unwrap_err(),
        Error::NotOpen {
            next_opens_at: Some(Timestamp(OPENS))
        }
    );
    assert_eq!(
        start(None, CLOSES).unwrap_err(),
        Error::NotOpen {
            next_opens_at: Some(Timestamp(CLOSES + 1_000))
        }
    );
    let last = start(None, CLOSES - 1).unwrap();
    assert_eq!(last.progress.deadline, Timestamp(CLOSES - 1 + DURATION));
}

#[test]
fn attempts_are_counted_in_the_round_and_in_all() {
    let mut session = start(None, OPENS).unwrap();
    end(&mut session, OPENS + 1);
    let mut session = start(Some(&session), OPENS + 2).unwrap();
    assert_eq!(
        (session.head.attempt, session.head.attempts_in_round),
        (2, 2)
    );
    end(&mut session, OPENS + 3);
    assert_eq!(
        start(Some(&session), OPENS + 4).unwrap_err(),
        Error::AttemptsExhausted { limit: 2 }
    );
    let mut session = start(Some(&session), CLOSES + 1_000).unwrap();
    assert_eq!(
        (session.head.attempt, session.head.attempts_in_round),
        (3, 1)
    );
    end(&mut session, CLOSES + 1_001);
    assert_eq!(
        start(Some(&session), CLOSES + 1_002).unwrap_err(),
        Error::AttemptsExhausted { limit: 3 }
    );
}

#[test]
fn answers_are_stored_in_order_and_once() {
    let mut session = start(None, OPENS).unwrap();
    save(&mut session, &[answer(1, 0, 1), answer(2, 1, 2)], OPENS + 1).unwrap();
    let chain = session.progress.chain;
    save(&mut session, &[answer(1, 0, 1), answer(2, 1, 2)], OPENS + 2).unwrap();
    assert_eq!(
        (session.progress.last_seq, session.progress.chain),
        (2, chain)
    );
    let gap = save(&mut session, &[answer(4, 0, 1)], OPENS + 3);
    assert_eq!(gap, Err(Error::AnswerGap { expected_seq: 3 }));
    let reused = save(&mut session, &[answer(2, 1, 4)], OPENS + 3);
    assert_eq!(reused, Err(Error::SeqReused { seq: 2 }));
    save(&mut session, &[answer(2, 1, 2), answer(3, 1, 8)], OPENS + 4).unwrap();
    assert_eq!(
        session.answers[1],
        Some(StoredAnswer {
            seq: 3,
            response: Response::Chosen(8)
        })
    );
}

#[test]
fn a_message_with_one_bad_answer_stores_nothing() {
    let mut session = start(None, OPENS).unwrap();
    for (bad, refusal) in [
        (answer(2, 3, 1), Error::PositionUnknown { position: 3 }),
        (answer(2, 0, 16), Error::OptionOutOfRange { position: 0 }),
        (answer(2, 0, 3), Error::TypeMismatch { position: 0 }),
        (
            NewAnswer {
                seq: 2,
                position: 0,
                response: Response::Text("A".to_owned()),
            },
            Error::TypeMismatch { position: 0 },
        ),
    ] {
        assert_eq!(
            save(&mut session, &[answer(1, 0, 1), bad], OPENS + 1),
            Err(refusal)
        );
        assert_eq!(session.progress.last_seq, 0);
    }
    save(&mut session, &[answer(1, 2, 0b1010)], OPENS + 1).unwrap();
}

#[test]
fn an_answer_after_the_deadline_and_its_grace_is_refused() {
    let mut session = start(None, OPENS).unwrap();
    let deadline = OPENS + DURATION;
    save(&mut session, &[answer(1, 0, 1)], deadline + 500).unwrap();
    let late = save(&mut session, &[answer(2, 0, 1)], deadline + 501);
    assert_eq!(
        late,
        Err(Error::DeadlinePassed {
            deadline: Timestamp(deadline)
        })
    );
}

#[test]
fn the_deadline_ends_an_attempt_at_its_instant_and_only_once() {
    let mut session = start(None, OPENS).unwrap();
    let deadline = OPENS + DURATION;
    assert!(
        session
            .expire(&rules(), Timestamp(deadline + 500))
            .is_none()
    );
    let change = session.expire(&rules(), Timestamp(deadline + 900)).unwrap();
    session.apply(change, session.version + 1);
    assert_eq!(
        session.progress.ended,
        Some((EndedBy::Deadline, Timestamp(deadline)))
    );
    assert!(
        session
            .expire(&rules(), Timestamp(deadline + 901))
            .is_none()
    );
    let late = save(&mut session, &[answer(1, 0, 1)], deadline + 901);
    assert_eq!(
        late,
        Err(Error::Ended {
            by: EndedBy::Deadline
        })
    );
}

#[test]
fn a_submission_must_name_the_answers_that_are_stored() {
    let mut session = start(None, OPENS).unwrap();
    save(&mut session, &[answer(1, 0, 1)], OPENS + 1).unwrap();
    let latest = session.alarm_at(&rules());
    let chain = session.progress.chain;
    let submit = |seq, chain| session.submit(seq, chain, latest, Timestamp(OPENS + 2));
    assert_eq!(
        submit(3, None).unwrap_err(),
        Error::SubmitMismatch { expected_seq: 2 }
    );
    assert_eq!(
        submit(1, Some([0; 32])).unwrap_err(),
        Error::SubmitMismatch { expected_seq: 1 }
    );
    let change = submit(1, Some(chain)).unwrap().unwrap();
    session.apply(change, session.version + 1);
    assert!(
        session
            .submit(1, Some(chain), latest, Timestamp(OPENS + 3))
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_newer_device_fences_the_older_one() {
    let mut session = start(None, OPENS).unwrap();
    session.check_writer(1, 1).unwrap();
    let change = session.take_over(&rules(), Timestamp(OPENS + 1)).unwrap();
    session.apply(change, session.version + 1);
    assert_eq!(
        session.check_writer(1, 1),
        Err(Error::TakenOver { epoch: 2 })
    );
    session.check_writer(1, 2).unwrap();
    assert_eq!(session.check_writer(2, 1), Err(Error::OlderAttempt));
}

#[test]
fn changes_that_break_a_promise_are_seen() {
    let session = start(None, OPENS).unwrap();
    let fine = session.change(Timestamp(OPENS));
    assert_eq!(invariants::broken_by(&session.progress, &fine), None);
    let mut earlier = fine.clone();
    earlier.progress.deadline = Timestamp(0);
    let mut skipped = fine.clone();
    skipped.progress.last_seq = 1;
    let mut older = fine;
    older.progress.epoch = 0;
    for broken in [earlier, skipped, older] {
        assert!(invariants::broken_by(&session.progress, &broken).is_some());
    }
}

#[test]
fn an_organizer_gives_nobody_more_time() {
    let session = start(None, OPENS).unwrap();
    let ended = |now: u64| {
        session
            .end_by_organizer(&rules(), Timestamp(now))
            .unwrap()
            .progress
            .ended
    };
    assert_eq!(
        ended(OPENS + 9),
        Some((EndedBy::Organizer, Timestamp(OPENS + 9)))
    );
    let deadline = OPENS + DURATION;
    assert_eq!(
        ended(deadline + 5_000),
        Some((EndedBy::Deadline, Timestamp(deadline)))
    );
}

#[test]
fn attempts_and_devices_without_end_are_refused() {
    let mut session = start(None, OPENS).unwrap();
    session.progress.epoch = 1_000;
    assert_eq!(
        session.take_over(&rules(), Timestamp(OPENS)).unwrap_err(),
        Error::AttemptsExhausted { limit: 1_000 }
    );
    end(&mut session, OPENS + 1);
    session.head.attempt = 65_535;
    let endless = Rules {
        attempts_per_round: 0,
        attempts_in_all: 0,
        ..rules()
    };
    let ticket = Ticket {
        candidate: session.candidate,
        area: "01".to_owned(),
        unit: 0,
    };
    let next = Session::start(
        &exam(),
        &endless,
        Some(&session),
        &ticket,
        Timestamp(OPENS + 2),
        paper,
    );
    assert_eq!(
        next.unwrap_err(),
        Error::AttemptsExhausted { limit: 65_535 }
    );
}
