//! Control candidates: three made-up persons who sit every exam, so that the whole way from answer to score is proven.
//!
//! One answers everything right, one nothing, one everything wrong (docs/FORMATS.md section 11). They use the calls that
//! everybody uses, with the key that the control role holds; graders leave them out of every number, and the auditor
//! compares their scores with what they must be.

mod answer;

use std::{sync::Arc, time::Duration};

use directory::area::Edition;
use prost::Message;
use proto::{
    exam::v1::ExamState,
    key::v1::{ItemKey, KeyHalf},
};

use super::{
    Engine, Error, LiveExam, Result, key_halves, save_answers::MAX_ANSWERS, start_attempt::Origin,
};
use crate::{
    id::CandidateId,
    session::{Accommodation, NewAnswer, Response, Session, Ticket},
    token::SessionRef,
};

/// How often is looked whether an exam can be sat.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a failed attempt rests before it goes on.
const PAUSE: Duration = Duration::from_secs(5);
/// Control candidates' codes are for the three attempts right after they are made.
const CODE_LIFE_S: u64 = 24 * 3_600;

/// What a control candidate does with every item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Right,
    Blank,
    Wrong,
}

/// By number of the candidate.
const MANNERS: [Manner; 3] = [Manner::Right, Manner::Blank, Manner::Wrong];

impl Engine {
    /// Sits an exam in the name of its control candidates, as soon as it can be sat.
    pub async fn sit_controls(self: Arc<Self>, exam: Arc<LiveExam>) {
        while exam.state() != ExamState::Closed {
            let now = self.clock.now();
            let mut rounds = exam.rules.rounds.iter();
            let is_round = rounds.any(|round| (round.opens_at..round.closes_at).contains(&now));
            if exam.state() == ExamState::Open && is_round {
                match self.sit_all(&exam).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(exam = exam.id.as_str(), %error, "a control candidate did not come through");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn sit_all(&self, exam: &Arc<LiveExam>) -> Result<()> {
        let halves = key_halves(&self.data, &exam.exam())?;
        let half = KeyHalf::decode(halves.last().map_or(&[][..], |half| half));
        let keys = half.map_err(std::io::Error::other)?.keys;
        for (number, manner) in (0..).zip(MANNERS) {
            let id = grader::control_candidate(exam.id.as_str(), number);
            self.sit(exam, CandidateId(*id.as_bytes()), manner, &keys)
                .await?;
        }
        Ok(())
    }

    async fn sit(
        &self,
        exam: &Arc<LiveExam>,
        candidate: CandidateId,
        manner: Manner,
        keys: &[ItemKey],
    ) -> Result<()> {
        let prior = self.load(exam, &exam.key(candidate)).await?;
        if prior.is_some_and(|session| !session.running()) {
            return Ok(()); // sat before this process started
        }
        let (caller, session) = self.begin(exam, candidate).await?;
        let mut seq = session.progress.last_seq;
        let mut chain = session.progress.chain;
        let mut begin = 0;
        for (number, section) in (0u32..).zip(&exam.rules.sections) {
            let positions = begin..u32::from(section.end);
            begin = positions.end;
            let (present, _) = session.section_at(&exam.rules, self.clock.now());
            if exam.rules.has_timed_sections() && number > u32::from(present) {
                self.enter_section(&caller, number, seq, Some(chain))
                    .await?;
            }
            let answers: Vec<NewAnswer> = positions
                .filter(|position| session.answers[*position as usize].is_none())
                .filter_map(|position| {
                    let response = response(exam, &session, position, manner, keys)?;
                    Some((position, response))
                })
                .zip(seq + 1..)
                .map(|((position, response), seq)| NewAnswer {
                    seq,
                    position,
                    response,
                    made_at: Some(self.clock.now()),
                })
                .collect();
            for part in answers.chunks(MAX_ANSWERS) {
                let (receipt, _) = self.save_answers(&caller, part, None).await?;
                (seq, chain) = (receipt.seq, receipt.chain);
            }
        }
        self.submit_attempt(&caller, seq, Some(chain)).await?;
        Ok(())
    }

    /// Starts an attempt as everybody does, with a code and in the order of starts.
    async fn begin(
        &self,
        exam: &Arc<LiveExam>,
        candidate: CandidateId,
    ) -> Result<(SessionRef, Session)> {
        let exam_now = exam.exam();
        let rules = exam_now.spec.as_ref().and_then(|spec| spec.rules.as_ref());
        let edition = rules.and_then(|rules| Edition::parse(&rules.map_edition));
        let area = edition.and_then(|edition| edition.areas().first());
        let ticket = Ticket {
            candidate,
            area: area.map_or_else(String::new, |area| area.code.clone()),
            unit: 0,
            accommodation: Accommodation::default(),
        };
        let last_second = u32::try_from(self.clock.now().0 / 1_000 + CODE_LIFE_S);
        let last_second = last_second.expect("the clock stands before the year 2100");
        let code = self.signer.issue_code(exam.id.tag(), &ticket, last_second);
        let mut slot_token = String::new();
        loop {
            match self
                .start_attempt(&code, &slot_token, &Origin::default())
                .await
            {
                Ok(started) => {
                    let caller = self.check_token(&started.token)?;
                    return Ok((caller, started.session));
                }
                Err(Error::NotYet(wait)) => {
                    tokio::time::sleep(Duration::from_millis(wait.retry_after_ms)).await;
                    slot_token = wait.slot_token;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn response(
    exam: &LiveExam,
    session: &Session,
    position: u32,
    manner: Manner,
    keys: &[ItemKey],
) -> Option<Response> {
    let (entry, order) = session.paper.shown().nth(position as usize)?;
    let item = &exam.half.items[entry.index as usize];
    let key = keys.iter().find(|key| key.item_id == item.item_id)?;
    match manner {
        Manner::Blank => None,
        Manner::Right => answer::right(item, key, order),
        Manner::Wrong => {
            answer::wrong(item, key, order).or_else(|| answer::right(item, key, order))
        }
    }
}
