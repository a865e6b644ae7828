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
        late_sync_ms: 0,
        forward_only: false,
        sections: Vec::new(),
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
        n_targets: 0,
        n_blanks: 0,
    }
}

fn start(prior: Option<&Session>, now: u64) -> Result<Session, Error> {
    let ticket = Ticket {
        candidate: CandidateId([7; 16]),
        area: "01".to_owned(),
        unit: 0,
        accommodation: Accommodation::default(),
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
        made_at: None,
    }
}

fn save(session: &mut Session, answers: &[NewAnswer], now: u64) -> Result<(), Error> {
    save_by(&rules(), session, answers, now)
}

fn save_by(
    rules: &Rules,
    session: &mut Session,
    answers: &[NewAnswer],
    now: u64,
) -> Result<(), Error> {
    let change = session.save_answers(rules, shape, answers, None, Timestamp(now));
    session.take(change.map_err(|error| match error {
        Error::Answer { why, .. } => *why,
        other => other,
    })?);
    Ok(())
}

impl Session {
    /// Applies a change as the engine does after its commit; tells whether there was one.
    fn take(&mut self, change: Option<Change>) -> bool {
        let changes = change.is_some();
        if let Some(change) = change {
            self.apply(change, self.version + 1);
        }
        changes
    }
}

fn end(session: &mut Session, now: u64) {
    let (last_seq, chain) = (session.progress.last_seq, session.progress.chain);
    let change = session
        .submit(&rules(), last_seq, Some(chain), Timestamp(now))
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
                made_at: None,
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
    let chain = session.progress.chain;
    let submit = |seq, chain| session.submit(&rules(), seq, chain, Timestamp(OPENS + 2));
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
            .submit(&rules(), 1, Some(chain), Timestamp(OPENS + 3))
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
            .act(&rules(), Action::End, &cause("a"), Timestamp(now))
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
        accommodation: Accommodation::default(),
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

fn cause(action_id: &str) -> Arc<Cause> {
    Arc::new(Cause {
        action_id: action_id.to_owned(),
        reason: proto::exam::v1::ReasonCode::TechnicalFault,
        note: String::new(),
    })
}

fn act(session: &mut Session, action: Action, id: &str, now: u64) -> bool {
    let change = session.act(&rules(), action, &cause(id), Timestamp(now));
    session.take(change)
}

#[test]
fn an_accommodation_gives_more_time() {
    for (time_percent, extra_minutes, expected) in [
        (100, 0, DURATION),
        (150, 0, DURATION * 3 / 2),
        (125, 2, DURATION * 5 / 4 + 120_000),
    ] {
        let accommodation = Accommodation {
            time_percent,
            extra_minutes,
        };
        assert_eq!(accommodation.allotted_ms(DURATION), expected);
        assert_eq!(accommodation.stretch(DURATION / 4, DURATION), expected / 4);
    }
}

#[test]
fn an_extension_moves_the_deadline_once() {
    let mut session = start(None, OPENS).unwrap();
    let extend = Action::Extend { by_ms: 5_000 };
    assert!(act(&mut session, extend, "a", OPENS + 1));
    assert!(!act(&mut session, extend, "a", OPENS + 2)); // the same call again
    assert!(act(&mut session, extend, "b", OPENS + 3));
    assert_eq!(
        session.progress.deadline,
        Timestamp(OPENS + DURATION + 10_000)
    );
    let late = OPENS + DURATION + 10_500;
    save(&mut session, &[answer(1, 0, 1)], late).unwrap();
    assert!(save(&mut session, &[answer(2, 0, 1)], late + 1).is_err());
}

#[test]
fn a_stopped_clock_takes_nothing_and_gives_back_its_time() {
    let mut session = start(None, OPENS).unwrap();
    save(&mut session, &[answer(1, 0, 1)], OPENS + 1).unwrap();
    assert!(act(&mut session, Action::Pause, "a", OPENS + 10_000));
    assert!(!act(&mut session, Action::Pause, "b", OPENS + 11_000));
    assert_eq!(
        save(&mut session, &[answer(2, 0, 2)], OPENS + 20_000),
        Err(Error::Paused)
    );
    assert_eq!(
        session
            .submit(&rules(), 1, None, Timestamp(OPENS + 20_000))
            .unwrap_err(),
        Error::Paused
    );
    // a message that is stored already is known to be
    save(&mut session, &[answer(1, 0, 1)], OPENS + 20_000).unwrap();
    assert!(
        session
            .expire(&rules(), Timestamp(OPENS + DURATION * 9))
            .is_none()
    );
    assert!(act(&mut session, Action::Resume, "c", OPENS + 40_000));
    assert_eq!(
        session.progress.deadline,
        Timestamp(OPENS + DURATION + 30_000)
    );
    save(&mut session, &[answer(2, 0, 2)], OPENS + DURATION + 30_000).unwrap();
}

#[test]
fn a_paused_attempt_that_is_ended_counts_until_its_clock_stopped() {
    let mut session = start(None, OPENS).unwrap();
    act(&mut session, Action::Pause, "a", OPENS + 10_000);
    act(&mut session, Action::End, "b", OPENS + DURATION * 3);
    assert_eq!(
        session.progress.ended,
        Some((EndedBy::Organizer, Timestamp(OPENS + 10_000)))
    );
}

#[test]
fn a_voided_attempt_may_be_taken_again_if_the_organizer_says_so() {
    for may_retake in [false, true] {
        let mut session = start(None, OPENS).unwrap();
        end(&mut session, OPENS + 1);
        let mut session = start(Some(&session), OPENS + 2).unwrap();
        assert!(act(
            &mut session,
            Action::Void { may_retake },
            "a",
            OPENS + 3
        )); // ends it too
        assert!(session.progress.voided && !session.running());
        assert!(!act(
            &mut session,
            Action::Reopen { time_ms: 1_000 },
            "b",
            OPENS + 4
        ));
        let next = start(Some(&session), OPENS + 5);
        assert_eq!(next.is_ok(), may_retake, "two attempts in a round");
        assert!(act(&mut session, Action::Restore, "c", OPENS + 6));
        assert_eq!(
            start(Some(&session), OPENS + 7).unwrap_err(),
            Error::AttemptsExhausted { limit: 2 }
        );
    }
}

#[test]
fn a_reopened_attempt_goes_on_with_its_answers() {
    let mut session = start(None, OPENS).unwrap();
    save(&mut session, &[answer(1, 0, 1)], OPENS + 1).unwrap();
    end(&mut session, OPENS + 2);
    assert!(act(
        &mut session,
        Action::Reopen { time_ms: 1_000 },
        "a",
        OPENS + 5_000
    ));
    assert_eq!(session.progress.deadline, Timestamp(OPENS + DURATION)); // never earlier
    save(&mut session, &[answer(2, 1, 1)], OPENS + 5_001).unwrap();
    end(&mut session, OPENS + 5_002);
    let late = OPENS + DURATION * 2;
    assert!(act(
        &mut session,
        Action::Reopen { time_ms: 1_000 },
        "b",
        late
    ));
    assert_eq!(session.progress.deadline, Timestamp(late + 1_000));
    assert!(
        !act(&mut session, Action::Reopen { time_ms: 1_000 }, "c", late),
        "it runs"
    );
}

#[test]
fn answers_behind_the_deadline_are_flagged_and_only_those_made_in_time_are_taken_late() {
    let rules = Rules {
        late_sync_ms: 10_000,
        ..rules()
    };
    let deadline = OPENS + DURATION;
    let made = |seq, at| NewAnswer {
        made_at: Some(Timestamp(at)),
        ..answer(seq, 0, 1)
    };
    #[track_caller]
    fn check(rules: &Rules, answer: NewAnswer, now: u64, expected: Option<Option<Lateness>>) {
        let session = start(None, OPENS).unwrap();
        let change = session
            .save_answers(rules, shape, &[answer], None, Timestamp(now))
            .ok()
            .flatten();
        let late = change.map(|change| match &change.happenings[..] {
            [Happening::Answered { late, .. }] => late.map(|(late, _)| late),
            other => panic!("{other:?}"),
        });
        assert_eq!(late, expected);
    }
    check(&rules, made(1, deadline), deadline, Some(None));
    check(
        &rules,
        answer(1, 0, 1),
        deadline + 500,
        Some(Some(Lateness::Grace)),
    );
    check(
        &rules,
        made(1, deadline),
        deadline + 10_000,
        Some(Some(Lateness::LateSync)),
    );
    check(&rules, made(1, deadline), deadline + 10_001, None);
    check(&rules, made(1, deadline + 1), deadline + 1_000, None);
    check(&rules, made(1, OPENS - 1), deadline + 1_000, None); // made before the start
    check(&rules, answer(1, 0, 1), deadline + 501, None);
    let mut session = start(None, OPENS).unwrap();
    let submitted = session
        .submit(&rules, 0, None, Timestamp(deadline + 9_000))
        .unwrap();
    session.take(submitted);
    assert_eq!(
        session.progress.ended,
        Some((EndedBy::Candidate, Timestamp(deadline + 500)))
    );
}

#[test]
fn forward_only_closes_what_lies_behind() {
    let rules = Rules {
        forward_only: true,
        ..rules()
    };
    let mut session = start(None, OPENS).unwrap();
    save_by(
        &rules,
        &mut session,
        &[answer(1, 0, 1), answer(2, 1, 1), answer(3, 1, 2)],
        OPENS + 1,
    )
    .unwrap();
    let back = save_by(&rules, &mut session, &[answer(4, 0, 2)], OPENS + 2);
    assert_eq!(back, Err(Error::ForwardOnly { furthest: 1 }));
    save_by(&rules, &mut session, &[answer(4, 2, 0b11)], OPENS + 3).unwrap();
}

fn timed_rules() -> Rules {
    let section = |end, time_ms| SectionRule { end, time_ms };
    Rules {
        sections: vec![section(1, 10_000), section(2, 20_000), section(3, 30_000)],
        ..rules()
    }
}

fn start_timed() -> Session {
    let ticket = Ticket {
        candidate: CandidateId([7; 16]),
        area: "01".to_owned(),
        unit: 0,
        accommodation: Accommodation::default(),
    };
    let (mut session, change) = Session::start(
        &exam(),
        &timed_rules(),
        None,
        &ticket,
        Timestamp(OPENS),
        paper,
    )
    .unwrap();
    session.apply(change, 1);
    session
}

#[test]
fn sections_follow_each_other_in_their_own_time() {
    let rules = timed_rules();
    let mut session = start_timed();
    assert_eq!(
        session.section_at(&rules, Timestamp(OPENS + 10_000)),
        (0, Some(Timestamp(OPENS + 10_000)))
    );
    assert_eq!(
        session.section_at(&rules, Timestamp(OPENS + 10_001)),
        (1, Some(Timestamp(OPENS + 30_000)))
    );
    assert_eq!(
        session.section_at(&rules, Timestamp(OPENS + 30_001)),
        (2, Some(Timestamp(OPENS + 60_000)))
    );
    save_by(&rules, &mut session, &[answer(1, 0, 1)], OPENS + 10_500).unwrap(); // within its grace
    let ahead = save_by(&rules, &mut session, &[answer(2, 2, 1)], OPENS + 11_000);
    assert_eq!(ahead, Err(Error::SectionClosed { section: 1 }));
    save_by(&rules, &mut session, &[answer(2, 1, 1)], OPENS + 11_000).unwrap(); // time went on by itself
    let behind = save_by(&rules, &mut session, &[answer(3, 0, 1)], OPENS + 11_001);
    assert_eq!(behind, Err(Error::SectionClosed { section: 1 }));
}

#[test]
fn a_section_is_left_with_all_its_answers_and_never_comes_back() {
    let rules = timed_rules();
    let mut session = start_timed();
    save_by(&rules, &mut session, &[answer(1, 0, 1)], OPENS + 1).unwrap();
    let enter = |session: &Session, section, last_seq| {
        session.enter_section(&rules, section, last_seq, None, Timestamp(OPENS + 2))
    };
    assert_eq!(
        enter(&session, 1, 2).unwrap_err(),
        Error::SubmitMismatch { expected_seq: 2 }
    );
    assert_eq!(
        enter(&session, 2, 1).unwrap_err(),
        Error::SectionClosed { section: 0 }
    );
    let change = enter(&session, 1, 1).unwrap();
    assert!(session.take(change));
    assert!(enter(&session, 1, 1).unwrap().is_none()); // the same call again
    assert_eq!(
        session.section_at(&rules, Timestamp(OPENS + 3)),
        (1, Some(Timestamp(OPENS + 20_002)))
    );
    assert!(save_by(&rules, &mut session, &[answer(2, 0, 2)], OPENS + 3).is_err());
}

#[test]
fn more_time_and_pauses_count_for_the_section_too() {
    let rules = timed_rules();
    let mut session = start_timed();
    let take = |session: &mut Session, action, id: &str, now| {
        let change = session.act(&rules, action, &cause(id), Timestamp(now));
        assert!(session.take(change));
    };
    take(
        &mut session,
        Action::Extend { by_ms: 5_000 },
        "a",
        OPENS + 12_000,
    ); // in the second section
    take(&mut session, Action::Pause, "b", OPENS + 13_000);
    assert_eq!(session.section_at(&rules, Timestamp(OPENS + 99_000)).0, 1);
    take(&mut session, Action::Resume, "c", OPENS + 20_000);
    let over = OPENS + 30_000 + 5_000 + 7_000;
    assert_eq!(
        session.section_at(&rules, Timestamp(over)),
        (1, Some(Timestamp(over)))
    );
}

#[test]
fn marks_for_review_are_kept_and_cost_nothing_when_they_do_not_change() {
    let mut session = start(None, OPENS).unwrap();
    let flag = |session: &Session, flags: &[u8]| {
        session.save_answers(&rules(), shape, &[], Some(flags), Timestamp(OPENS + 1))
    };
    let change = flag(&session, &[0b101]).unwrap();
    assert!(session.take(change));
    assert_eq!(session.progress.flags, [0b101]);
    assert!(flag(&session, &[0b101]).unwrap().is_none());
    assert!(
        flag(&session, &[0, 0]).is_err(),
        "three positions fit one byte"
    );
}

#[test]
fn an_action_that_is_called_again_does_not_reach_the_retake() {
    let mut session = start(None, OPENS).unwrap();
    let void = Action::Void { may_retake: true };
    assert!(act(&mut session, void, "a", OPENS + 1));
    let mut retake = start(Some(&session), OPENS + 2).unwrap();
    assert!(
        !act(&mut retake, void, "a", OPENS + 3),
        "the same call again"
    );
    assert!(retake.running());
}

#[test]
fn more_time_behind_the_deadline_begins_now() {
    let rules = Rules {
        late_sync_ms: 100_000,
        ..rules()
    };
    let mut session = start(None, OPENS).unwrap();
    let now = OPENS + DURATION + 50_000;
    let extend = Action::Extend { by_ms: 5_000 };
    let change = session.act(&rules, extend, &cause("a"), Timestamp(now));
    assert!(session.take(change));
    assert_eq!(session.progress.deadline, Timestamp(now + 5_000));
}

#[test]
fn late_answers_of_sections_that_time_has_closed_are_taken() {
    let rules = Rules {
        late_sync_ms: 40_000,
        ..timed_rules()
    };
    let made = |seq, position, at| NewAnswer {
        made_at: Some(Timestamp(OPENS + at)),
        ..answer(seq, position, 1)
    };
    // a tunnel from the first section into the third: sections end at 10, 30 and 60 s
    let mut session = start_timed();
    let extend = Action::Extend { by_ms: 1_000 };
    let change = session.act(&rules, extend, &cause("a"), Timestamp(OPENS + 35_000));
    assert!(
        session.take(change),
        "an organizer's action closes nothing either"
    );
    let now = OPENS + 40_000;
    let all = [made(1, 0, 5_000), made(2, 1, 20_000), made(3, 2, 39_000)];
    save_by(&rules, &mut session, &all, now).unwrap();
    for (position, at) in [(0, 10_001), (1, 9_999), (1, 30_001)] {
        let mut session = start_timed();
        let outside = save_by(&rules, &mut session, &[made(1, position, at)], now);
        assert_eq!(
            outside,
            Err(Error::SectionClosed { section: 2 }),
            "{position} {at}"
        );
    }
    // one that its candidate has left is closed for good
    let mut session = start_timed();
    let entered = session.enter_section(&rules, 1, 0, None, Timestamp(OPENS + 6_000));
    session.take(entered.unwrap());
    let back = save_by(&rules, &mut session, &[made(1, 0, 5_000)], OPENS + 7_000);
    assert_eq!(back, Err(Error::SectionClosed { section: 1 }));
}

#[test]
fn nothing_begins_behind_the_deadline() {
    let mut rules = timed_rules();
    rules.late_sync_ms = 40_000;
    rules.sections[1].time_ms = 0; // lasts until its candidate goes on
    let session = start_timed();
    let enter = |now: u64| session.enter_section(&rules, 2, 0, None, Timestamp(now));
    let deadline = session.progress.deadline;
    assert!(enter(deadline.0).is_ok());
    assert_eq!(
        enter(deadline.0 + 1).unwrap_err(),
        Error::DeadlinePassed { deadline }
    );
}

#[test]
fn a_reopened_attempt_goes_on_in_the_section_that_was_present_at_its_end() {
    let rules = timed_rules();
    let mut session = start_timed();
    let submitted = session
        .submit(&rules, 0, None, Timestamp(OPENS + 15_000))
        .unwrap();
    session.take(submitted); // 15 s before the end of the second section, of which nothing was written
    assert_eq!(session.section_at(&rules, Timestamp(OPENS + 99_000)).0, 1);
    let reopen = Action::Reopen { time_ms: 1_000 };
    let change = session.act(&rules, reopen, &cause("a"), Timestamp(OPENS + 70_000));
    assert!(session.take(change));
    let (section, over) = session.section_at(&rules, Timestamp(OPENS + 70_000));
    assert_eq!((section, over), (1, Some(Timestamp(OPENS + 85_000))));
}
