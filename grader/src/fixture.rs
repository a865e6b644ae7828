//! A small exam and logs of it, for the tests of this crate.

use std::{collections::HashMap, sync::Arc};

use prost::Message;
use proto::{
    bank::v1::{
        Blueprint, ItemType, MultipleRule, Option as ItemOption, PaperHalf, PaperItem, Section,
        Stratum,
    },
    exam::v1::{
        Answered, AreaCount, CountedAttempt, Ended, EndedBy, Event, Exam, ExamRules, ExamSpec,
        ExamState, LogEntry, Paused, RankingKey, Reopened, Response, Restored, Resumed, Round,
        Started, TakenOver, Voided, event::Kind, response::Value,
    },
    key::v1::{ItemKey, KeyHalf},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{Answers, CandidateId, Chosen, Finished, Fold, Package, Result, partition_of};

pub(crate) const T0_MS: u64 = 1_700_000_000_000;
/// Three single choices of four options, then three multiple choices of five.
pub(crate) const PAPER: [u32; 6] = [101, 102, 103, 201, 202, 203];
pub(crate) const KEYS: [u32; 6] = [0b0001, 0b0010, 0b1000, 0b00111, 0b00011, 0b10100];

/// The parts of a package before they are hashed.
pub(crate) struct Parts {
    pub(crate) exam: Exam,
    pub(crate) paper: PaperHalf,
    pub(crate) blueprint: Blueprint,
    pub(crate) key: KeyHalf,
    pub(crate) foreign_key: bool,
}

pub(crate) fn candidate(n: u8) -> CandidateId {
    CandidateId::from([n; 16])
}

fn n_options(position: usize) -> u32 {
    if position < 3 { 4 } else { 5 }
}

fn section(mark: &str, topic: &str, rule: MultipleRule) -> Section {
    Section {
        title: String::new(),
        strata: vec![Stratum {
            topic: topic.to_owned(),
            any_band: true,
            quota: 3,
            ..Stratum::default()
        }],
        mark: mark.to_owned(),
        shuffle_items: true,
        shuffle_options: true,
        multiple_rule: rule.into(),
        ..Section::default()
    }
}

fn item(position: usize) -> PaperItem {
    let multiple = position >= 3;
    PaperItem {
        item_id: PAPER[position],
        revision: blake3::hash(&PAPER[position].to_le_bytes())
            .as_bytes()
            .to_vec()
            .into(),
        r#type: if multiple {
            ItemType::MultipleChoice
        } else {
            ItemType::SingleChoice
        }
        .into(),
        text: "?".to_owned(),
        options: (0..n_options(position))
            .map(|n| ItemOption {
                text: n.to_string(),
                pinned: false,
            })
            .collect(),
        topic: if multiple { "B" } else { "A" }.to_owned(),
        ..PaperItem::default()
    }
}

/// Returns the parts of the exam `thi-thu`.
pub(crate) fn parts() -> Parts {
    let exam_id = "thi-thu".to_owned();
    let items: Vec<PaperItem> = (0..PAPER.len()).map(item).collect();
    let keys = items
        .iter()
        .zip(KEYS)
        .map(|(item, right_options)| ItemKey {
            item_id: item.item_id,
            revision: item.revision.clone(),
            right_options,
            ..ItemKey::default()
        })
        .collect();
    Parts {
        exam: Exam {
            spec: Some(ExamSpec {
                exam_id: exam_id.clone(),
                rules: Some(rules()),
                n_partitions: 4,
                ..ExamSpec::default()
            }),
            state: ExamState::Open.into(),
            ..Exam::default()
        },
        paper: PaperHalf {
            format: 1,
            exam_id: exam_id.clone(),
            items,
            draw_algorithm: 1,
            ..PaperHalf::default()
        },
        blueprint: Blueprint {
            sections: vec![
                section("0.25", "A", MultipleRule::Unspecified),
                section("0.5", "B", MultipleRule::Ripkey),
            ],
            ..Blueprint::default()
        },
        key: KeyHalf {
            format: 1,
            exam_id,
            key_version: 1,
            keys,
            ..KeyHalf::default()
        },
        foreign_key: false,
    }
}

/// Returns the parts of an exam of single choices of four, A right, of which a paper has so many.
pub(crate) fn wide(n_items: u32, quota: u32) -> Parts {
    let mut parts = parts();
    let (item, key) = (parts.paper.items[0].clone(), parts.key.keys[0].clone());
    parts.blueprint.sections.truncate(1);
    parts.blueprint.sections[0].strata[0].quota = quota;
    let items = (1..=n_items).map(|item_id| PaperItem {
        item_id,
        ..item.clone()
    });
    parts.paper.items = items.collect();
    let keys = (1..=n_items).map(|item_id| ItemKey {
        item_id,
        ..key.clone()
    });
    parts.key.keys = keys.collect();
    parts
}

/// Returns an attempt that has ended.
pub(crate) fn finished(
    package: &Package,
    area: u16,
    started_at_ms: u64,
    chosen: Box<[Chosen]>,
) -> Finished {
    let answers = Answers {
        chosen,
        ..Answers::default()
    };
    Finished {
        attempt: 1,
        area,
        unit: 0,
        round: 1,
        ended_by: EndedBy::Candidate,
        score: package.score(&answers),
        prediction: None,
        started_at_ms,
        ended_at_ms: started_at_ms + 1,
        idle_ms: 0,
        voided: false,
        form_code: [0; 8],
        answers,
    }
}

fn rules() -> ExamRules {
    let area = |area: &str, registered| AreaCount {
        area: area.to_owned(),
        registered,
    };
    ExamRules {
        duration_ms: 600_000,
        rounds: vec![Round {
            round: 1,
            opens_at_ms: T0_MS,
            closes_at_ms: T0_MS + 3_600_000,
        }],
        counted_attempt: CountedAttempt::Best.into(),
        ranking: vec![RankingKey::Score.into(), RankingKey::NetTime.into()],
        score_decimals: 2,
        map_edition: "vn-34".to_owned(),
        registered: vec![area("79", 10), area("01", 5)],
        ..ExamRules::default()
    }
}

impl Parts {
    pub(crate) fn spec_mut(&mut self) -> &mut ExamSpec {
        self.exam.spec.as_mut().expect("set above")
    }

    pub(crate) fn rules_mut(&mut self) -> &mut ExamRules {
        self.spec_mut().rules.as_mut().expect("set above")
    }

    /// Returns the exam and the bytes of its halves, with all hashes set.
    pub(crate) fn encode(&self) -> (Exam, Vec<u8>, Vec<u8>) {
        let mut paper = self.paper.clone();
        paper.blueprint = self.blueprint.encode_to_vec().into();
        let paper = paper.encode_to_vec();
        let mut key = self.key.clone();
        let of: &[u8] = if self.foreign_key { b"another" } else { &paper };
        key.paper_hash = blake3::hash(of).as_bytes().to_vec().into();
        let key = key.encode_to_vec();
        let mut exam = self.exam.clone();
        exam.paper_hash = blake3::hash(&paper).as_bytes().to_vec().into();
        exam.key_hash = blake3::hash(&key).as_bytes().to_vec().into();
        (exam, paper, key)
    }

    pub(crate) fn load(&self) -> Result<Package> {
        let (exam, paper, key) = self.encode();
        Package::load(&exam, &paper, &key)
    }
}

/// A log being written.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) package: Arc<Package>,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) positions: Vec<u64>,
    seqs: HashMap<(CandidateId, u32), u32>,
}

impl Log {
    pub(crate) fn new(parts: &Parts) -> Self {
        let package = Arc::new(parts.load().expect("the parts are whole"));
        Self {
            positions: vec![0; package.n_partitions() as usize],
            package,
            entries: Vec::new(),
            seqs: HashMap::new(),
        }
    }

    pub(crate) fn push(&mut self, who: CandidateId, attempt: u32, at_ms: u64, kind: Kind) {
        let partition = partition_of(&who, self.package.n_partitions());
        self.push_to(partition, who, attempt, at_ms, kind);
    }

    pub(crate) fn push_to(
        &mut self,
        partition: u32,
        who: CandidateId,
        attempt: u32,
        at_ms: u64,
        kind: Kind,
    ) {
        let position = &mut self.positions[partition as usize];
        *position += 1;
        self.entries.push(LogEntry {
            partition,
            position: *position,
            event: Some(Event {
                candidate: who.as_bytes().to_vec().into(),
                attempt,
                epoch: 1,
                at_ms,
                kind: Some(kind),
            }),
        });
    }

    pub(crate) fn start(&mut self, who: CandidateId, attempt: u32, area: &str) {
        self.push(who, attempt, T0_MS, Kind::Started(started(area)));
    }

    /// Answers with canonical options; the paper shows them turned by one.
    pub(crate) fn answer(&mut self, who: CandidateId, attempt: u32, position: u32, options: u32) {
        let n = n_options(position as usize);
        let shown = (0..n)
            .filter(|c| options >> c & 1 == 1)
            .fold(0, |bits, c| bits | 1 << ((c + n - 1) % n));
        let seq = self.next_seq(who, attempt);
        self.push(
            who,
            attempt,
            T0_MS + 1,
            Kind::Answered(answered(seq, position, Value::Chosen(shown))),
        );
    }

    pub(crate) fn next_seq(&mut self, who: CandidateId, attempt: u32) -> u32 {
        let seq = self.seqs.entry((who, attempt)).or_default();
        *seq += 1;
        *seq
    }

    pub(crate) fn end(&mut self, who: CandidateId, attempt: u32, net_ms: u64, by: EndedBy) {
        let last_seq = self.seqs.get(&(who, attempt)).copied().unwrap_or(0);
        let kind = Kind::Ended(ended(by, last_seq, T0_MS + net_ms));
        self.push(who, attempt, T0_MS + net_ms, kind);
    }

    pub(crate) fn reopen(&mut self, who: CandidateId, attempt: u32, idle_ms: u64) {
        let reopened = Reopened {
            idle_ms,
            last_seq: self.seqs.get(&(who, attempt)).copied().unwrap_or(0),
            option_order: started("").option_order,
            ..Reopened::default()
        };
        self.push(who, attempt, T0_MS, Kind::Reopened(reopened));
    }

    pub(crate) fn sit(
        &mut self,
        who: CandidateId,
        attempt: u32,
        area: &str,
        answers: &[(u32, u32)],
        net_ms: u64,
        by: EndedBy,
    ) {
        self.start(who, attempt, area);
        for &(position, options) in answers {
            self.answer(who, attempt, position, options);
        }
        self.end(who, attempt, net_ms, by);
    }

    pub(crate) fn fold(&self) -> Fold {
        let mut fold = Fold::new(Arc::clone(&self.package));
        for entry in &self.entries {
            fold.apply_entry(entry).expect("the log is whole");
        }
        fold
    }

    /// Returns a log in which everything happens: ties, several attempts, takeovers, entries that cannot be true,
    /// attempts that go on.
    pub(crate) fn random(seed: u64, n_persons: u32) -> Self {
        let mut parts = parts();
        let counted = [
            CountedAttempt::Best,
            CountedAttempt::Last,
            CountedAttempt::First,
        ];
        let mut rng = StdRng::seed_from_u64(seed);
        parts.rules_mut().counted_attempt = counted[rng.random_range(0..3)].into();
        let mut log = Self::new(&parts);
        let mut persons: Vec<Sitting> = (0..n_persons).map(|_| Sitting::new(&mut rng)).collect();
        for _ in 0..n_persons * 12 {
            let at = rng.random_range(0..persons.len());
            persons[at].step(&mut log, &mut rng);
        }
        log
    }
}

/// A person of a random log.
struct Sitting {
    who: CandidateId,
    attempt: u32,
    running: bool,
}

impl Sitting {
    fn new(rng: &mut StdRng) -> Self {
        Self {
            who: CandidateId::from(rng.random::<[u8; 16]>()),
            attempt: 0,
            running: false,
        }
    }

    fn step(&mut self, log: &mut Log, rng: &mut StdRng) {
        let what = rng.random_range(0..20);
        if !self.running && self.attempt > 0 && what < 9 {
            let attempt = rng.random_range(1..=self.attempt);
            match what {
                0..3 => log.push(self.who, attempt, T0_MS, Kind::Voided(Voided::default())),
                3..6 => log.push(
                    self.who,
                    attempt,
                    T0_MS,
                    Kind::Restored(Restored::default()),
                ),
                _ => {
                    log.reopen(self.who, self.attempt, 500);
                    self.running = true;
                }
            }
        } else if !self.running {
            self.attempt += 1;
            self.running = true;
            log.start(
                self.who,
                self.attempt,
                ["01", "79", "99"][rng.random_range(0..3)],
            );
        } else if what < 5 {
            self.running = false;
            let by =
                [EndedBy::Candidate, EndedBy::Deadline, EndedBy::Organizer][rng.random_range(0..3)];
            log.end(self.who, self.attempt, rng.random_range(1..4) * 1_000, by);
        } else if what == 5 {
            let seq = log.next_seq(self.who, self.attempt);
            let answer = answered(seq, 77, Value::Chosen(1));
            log.push(self.who, self.attempt, T0_MS, Kind::Answered(answer));
        } else if what == 7 {
            let paused_ms = 10;
            let resumed = Resumed {
                paused_ms,
                ..Resumed::default()
            };
            log.push(
                self.who,
                self.attempt,
                T0_MS,
                Kind::Paused(Paused::default()),
            );
            log.push(self.who, self.attempt, T0_MS, Kind::Resumed(resumed));
        } else if what == 6 {
            log.push(
                self.who,
                self.attempt,
                T0_MS,
                Kind::TakenOver(TakenOver { epoch: 2 }),
            );
        } else {
            let position = rng.random_range(0..6u32);
            let n = n_options(position as usize);
            let right = KEYS[position as usize];
            let options = if rng.random_bool(0.5) {
                right
            } else {
                rng.random_range(0..1 << n)
            };
            log.answer(self.who, self.attempt, position, options);
        }
    }
}

pub(crate) fn started(area: &str) -> Started {
    let order: Vec<u8> = (0..PAPER.len())
        .flat_map(|position| {
            let n = u8::try_from(n_options(position)).expect("small");
            (0..n).map(move |shown| (shown + 1) % n)
        })
        .collect();
    Started {
        round: 1,
        area: area.to_owned(),
        unit: 0,
        deadline_ms: T0_MS + 600_000,
        item_ids: PAPER.to_vec(),
        option_order: order.into(),
        form_code: vec![1, 2, 3, 4, 5, 6, 7, 8].into(),
        repaired: false,
        ..Started::default()
    }
}

pub(crate) fn answered(seq: u32, position: u32, value: Value) -> Answered {
    Answered {
        seq,
        position,
        response: Some(Response { value: Some(value) }),
        ..Answered::default()
    }
}

pub(crate) fn ended(by: EndedBy, last_seq: u32, ended_at_ms: u64) -> Ended {
    Ended {
        by: by.into(),
        last_seq,
        chain: vec![0; 32].into(),
        ended_at_ms,
        cause: None,
    }
}
