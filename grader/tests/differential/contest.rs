//! Random sittings of an exam, and the log that they leave.

use std::collections::BTreeMap;

use grader::{CandidateId, control_candidate, partition_of};
use proto::{
    exam::v1::{
        Answered, Ended, EndedBy, Event, LogEntry, Paused, Response, Restored, Resumed, Started,
        Voided, event::Kind,
    },
    key::v1::ItemKey,
};
use rand::{RngExt, rngs::StdRng};
use verifier::{Paper, Scorer, StoredAnswer, rebuild_paper};

use crate::{
    item::bytes,
    pick,
    policy::{EXAM_ID, Policy, T0_MS},
    response,
};

pub(crate) const AREAS: [&str; 4] = ["01", "04", "79", "vn-x"];

/// One attempt, ended.
#[derive(Clone)]
pub(crate) struct Sitting {
    pub(crate) candidate: [u8; 16],
    pub(crate) attempt: u32,
    pub(crate) round: u32,
    pub(crate) area: &'static str,
    pub(crate) unit: u32,
    pub(crate) started_at_ms: u64,
    pub(crate) ended_at_ms: u64,
    pub(crate) idle_ms: u64,
    pub(crate) voided: bool,
    pub(crate) paper: Paper,
    pub(crate) answers: Vec<StoredAnswer>,
}

/// All attempts at an exam, those of a person by rising number.
#[derive(Clone)]
pub(crate) struct Contest {
    pub(crate) sittings: Vec<Sitting>,
}

impl Contest {
    pub(crate) fn random(policy: &Policy, n_candidates: u64, rng: &mut StdRng) -> Self {
        let (_, paper, _) = policy.publish();
        let mut candidates: Vec<[u8; 16]> = (0..n_candidates).map(|_| rng.random()).collect();
        let controls = (0..3).map(|number| *control_candidate(EXAM_ID, number).as_bytes());
        candidates.extend(controls.chain(policy.known.iter().copied()));
        let mut sittings = Vec::new();
        for candidate in candidates {
            for attempt in 1..=pick(rng, &[1, 1, 1, 2, 3]) {
                let paper = rebuild_paper(&paper, &policy.secret, EXAM_ID, &candidate, attempt)
                    .expect("the pools are large enough");
                sittings.push(Sitting::random(policy, candidate, attempt, paper, rng));
            }
        }
        Self { sittings }
    }

    /// Writes the log; partitions are mixed as their persons are.
    pub(crate) fn log(&self, n_partitions: u32) -> Vec<LogEntry> {
        let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
        let mut log = Vec::new();
        for sitting in &self.sittings {
            let partition = partition_of(&CandidateId::from(sitting.candidate), n_partitions);
            for (at_ms, kind) in sitting.events() {
                let position = ends.entry(partition).or_default();
                *position += 1;
                log.push(LogEntry {
                    partition,
                    position: *position,
                    event: Some(Event {
                        candidate: bytes(&sitting.candidate),
                        attempt: sitting.attempt,
                        epoch: 1,
                        at_ms,
                        kind: Some(kind),
                    }),
                });
            }
        }
        log
    }
}

impl Sitting {
    fn random(
        policy: &Policy,
        candidate: [u8; 16],
        attempt: u32,
        paper: Paper,
        rng: &mut StdRng,
    ) -> Self {
        let rules = policy.rules();
        let mut units: Vec<u32> = rules.units.iter().map(|unit| unit.unit).collect();
        units.extend([0, 1_000]);
        let started_at_ms = T0_MS + rng.random_range(0..4) * 1_000;
        let idle_ms = pick(rng, &[0, 0, 500, 1_000]);
        let answers = answers(policy, &paper, rng);
        Self {
            candidate,
            attempt,
            round: pick(rng, &rules.rounds).round,
            area: pick(rng, &AREAS),
            unit: pick(rng, &units),
            started_at_ms,
            ended_at_ms: started_at_ms + idle_ms + rng.random_range(0..16) * 1_000,
            idle_ms,
            voided: rng.random_bool(0.05),
            paper,
            answers,
        }
    }

    pub(crate) fn net_time_ms(&self) -> u64 {
        self.ended_at_ms - self.started_at_ms - self.idle_ms
    }

    fn events(&self) -> Vec<(u64, Kind)> {
        let mut events = vec![(self.started_at_ms, Kind::Started(self.started()))];
        let answers = self.answers.iter().map(|answer| Answered {
            seq: answer.seq,
            position: answer.position,
            response: Some(answer.response.clone()),
            ..Answered::default()
        });
        events.extend(answers.map(|answer| (self.started_at_ms, Kind::Answered(answer))));
        if self.idle_ms > 0 {
            let resumed = Resumed {
                paused_ms: self.idle_ms,
                ..Resumed::default()
            };
            events.push((self.started_at_ms, Kind::Paused(Paused::default())));
            events.push((self.started_at_ms + self.idle_ms, Kind::Resumed(resumed)));
        }
        let ended = Ended {
            by: EndedBy::Candidate.into(),
            last_seq: self.answers.last().map_or(0, |answer| answer.seq),
            chain: bytes(&[0; 32]),
            ended_at_ms: self.ended_at_ms,
            cause: None,
        };
        events.push((self.ended_at_ms, Kind::Ended(ended)));
        if self.voided || self.idle_ms == 500 {
            events.push((self.ended_at_ms, Kind::Voided(Voided::default())));
        }
        if !self.voided && self.idle_ms == 500 {
            events.push((self.ended_at_ms, Kind::Restored(Restored::default())));
        }
        events
    }

    fn started(&self) -> Started {
        Started {
            round: self.round,
            area: self.area.to_owned(),
            unit: self.unit,
            deadline_ms: self.started_at_ms + 3_600_000,
            item_ids: self.paper.item_ids(),
            option_order: self.paper.option_order().into(),
            form_code: bytes(&self.paper.form_code),
            repaired: self.paper.repaired,
            ..Started::default()
        }
    }

    /// Clears the answers to one position that matters to the score; false if none does.
    pub(crate) fn lose_a_point(&mut self, scorer: &Scorer) -> bool {
        let score = |answers: &[StoredAnswer]| {
            scorer
                .score(&self.paper, answers)
                .expect("a paper of this exam")
        };
        let before = score(&self.answers);
        for position in (0..).take(self.paper.items.len()) {
            let mut answers = self.answers.clone();
            for answer in answers
                .iter_mut()
                .filter(|answer| answer.position == position)
            {
                answer.response.value = None;
            }
            if score(&answers) != before {
                self.answers = answers;
                return true;
            }
        }
        false
    }
}

fn answers(policy: &Policy, paper: &Paper, rng: &mut StdRng) -> Vec<StoredAnswer> {
    let mut positions: Vec<u32> = (0..).take(paper.items.len()).collect();
    positions.retain(|_| rng.random_bool(0.93));
    for _ in 0..positions.len() / 6 {
        positions.push(pick(rng, &positions)); // answered again
    }
    let answer = |(seq, position): (u32, u32)| {
        let drawn = &paper.items[position as usize];
        let (item, key) = policy.item(drawn.item_id);
        StoredAnswer {
            seq,
            position,
            response: Response {
                value: response::random(item, key, &drawn.option_order, rng),
            },
        }
    };
    (1..).zip(positions).map(answer).collect()
}

impl Policy {
    fn item(&self, item_id: u32) -> (&proto::bank::v1::PaperItem, &ItemKey) {
        let at = self
            .paper
            .items
            .binary_search_by_key(&item_id, |item| item.item_id);
        let at = at.expect("papers are drawn from these items");
        (&self.paper.items[at], &self.key.keys[at])
    }
}
