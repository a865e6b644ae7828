//! A random exam: everything that its organizers decide.

use prost::Message;
use proto::{
    bank::v1::{Blueprint, ItemType, PaperHalf, PaperItem},
    exam::v1::{
        BoardRuling, BoardState, Exam, ExamRules, ExamSpec, ExamState, ExamUnit, ExclusionRuling,
        PredictionRuling, Round, Ruling, ruling::Kind,
    },
    key::v1::{ItemKey, KeyHalf, Treatment},
};
use rand::{RngExt, rngs::StdRng};

use crate::{blueprint::Parts, item::bytes, pick};

pub(crate) const EXAM_ID: &str = "doi-chieu";
pub(crate) const T0_MS: u64 = 1_700_000_000_000;
const PASS_MARKS: [&str; 10] = ["", "", "", "1", "0.5", "0", "2.25", "5", "-0.5", "100"];

/// An exam and its halves, before they are encoded and hashed.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) exam: Exam,
    pub(crate) blueprint: Blueprint,
    pub(crate) paper: PaperHalf,
    pub(crate) key: KeyHalf,
    pub(crate) secret: [u8; 32],
    /// Who may be left out.
    pub(crate) known: Vec<[u8; 16]>,
}

impl Policy {
    pub(crate) fn random(rng: &mut StdRng) -> Self {
        let parts = Parts::random(rng);
        let secret: [u8; 32] = rng.random();
        let known: Vec<[u8; 16]> = (0..rng.random_range(0..4)).map(|_| rng.random()).collect();
        let mut exam = Exam {
            spec: Some(ExamSpec {
                exam_id: EXAM_ID.to_owned(),
                rules: Some(rules(rng)),
                n_partitions: pick(rng, &[1, 4, 16]),
                ..ExamSpec::default()
            }),
            state: ExamState::Open.into(),
            ..Exam::default()
        };
        decide(&mut exam, &known, rng);
        Self {
            exam,
            blueprint: Blueprint {
                sections: parts.sections,
                window: None,
                floor_zero: rng.random_bool(0.3),
            },
            paper: PaperHalf {
                format: 1,
                exam_id: EXAM_ID.to_owned(),
                release_hash: bytes(&[7; 32]),
                items: parts.items,
                draw_algorithm: 1,
                ..PaperHalf::default()
            },
            key: KeyHalf {
                format: 1,
                exam_id: EXAM_ID.to_owned(),
                key_version: 1,
                keys: parts.keys,
                ..KeyHalf::default()
            },
            secret,
            known,
        }
    }

    pub(crate) fn rules(&self) -> &ExamRules {
        let spec = self.exam.spec.as_ref().expect("set above");
        spec.rules.as_ref().expect("set above")
    }

    pub(crate) fn rules_mut(&mut self) -> &mut ExamRules {
        let spec = self.exam.spec.as_mut().expect("set above");
        spec.rules.as_mut().expect("set above")
    }

    /// Makes every option of a single choice wrong that was right, and the other way round; tells of how many.
    pub(crate) fn invert_single_choices(&mut self) -> usize {
        let keys = self.key.keys.iter_mut().zip(&self.paper.items);
        let single = keys.filter(|(key, item)| {
            item.r#type() == ItemType::SingleChoice && key.treatment() == Treatment::Unspecified
        });
        let invert = |(key, item): (&mut ItemKey, &PaperItem)| {
            key.right_options = ((1 << item.options.len()) - 1) & !key.right_options;
            key.accepted.clear();
        };
        single.map(invert).count()
    }

    /// Returns exam, paper half and key half as they are published.
    pub(crate) fn publish(&self) -> (Exam, PaperHalf, KeyHalf) {
        let (mut exam, mut paper, mut key) =
            (self.exam.clone(), self.paper.clone(), self.key.clone());
        paper.blueprint = self.blueprint.encode_to_vec().into();
        let hash = |half: &[u8]| bytes(blake3::hash(half).as_bytes());
        exam.paper_hash = hash(&paper.encode_to_vec());
        key.paper_hash = exam.paper_hash.clone();
        exam.key_hash = hash(&key.encode_to_vec());
        (exam, paper, key)
    }

    /// What the newest ruling says was to be predicted.
    pub(crate) fn quantity(&self) -> Option<u64> {
        let quantities = self
            .exam
            .rulings
            .iter()
            .filter_map(|ruling| match &ruling.kind {
                Some(Kind::Prediction(prediction)) => Some(prediction.quantity),
                _ => None,
            });
        quantities.last()
    }

    /// Who is left out by the newest ruling.
    pub(crate) fn excluded(&self) -> Vec<[u8; 16]> {
        let lists = self
            .exam
            .rulings
            .iter()
            .filter_map(|ruling| match &ruling.kind {
                Some(Kind::Exclusion(exclusion)) => Some(&exclusion.candidates),
                _ => None,
            });
        let ids = lists.last().into_iter().flatten();
        ids.filter_map(|id| <[u8; 16]>::try_from(id.as_ref()).ok())
            .collect()
    }

    /// Where the public stands still.
    pub(crate) fn cutoff_ms(&self) -> Option<u64> {
        let boards = self
            .exam
            .rulings
            .iter()
            .filter_map(|ruling| match &ruling.kind {
                Some(Kind::Board(board)) => Some(board),
                _ => None,
            });
        let frozen = boards
            .last()
            .filter(|board| board.state() == BoardState::Frozen);
        frozen.map(|board| board.cutoff_ms)
    }
}

fn rules(rng: &mut StdRng) -> ExamRules {
    let n_rounds = pick(rng, &[1, 1, 2, 3]);
    let round = |round| Round {
        round,
        opens_at_ms: T0_MS,
        closes_at_ms: T0_MS + 3_600_000,
    };
    let mut keys: Vec<i32> = (1..8).collect();
    for at in (1..keys.len()).rev() {
        keys.swap(at, rng.random_range(0..=at));
    }
    keys.truncate(pick(rng, &[1, 1, 2, 2, 3, 4]));
    if rng.random_bool(0.7) {
        keys.retain(|key| *key != 1);
        keys.insert(0, 1);
    }
    ExamRules {
        duration_ms: 3_600_000,
        rounds: [1, 2, 5][..n_rounds]
            .iter()
            .map(|&number| round(number))
            .collect(),
        counted_attempt: rng.random_range(0..4),
        ranking: keys,
        score_decimals: rng.random_range(0..5),
        score_rounding: rng.random_range(0..4),
        pass_mark: pick(rng, &PASS_MARKS).to_owned(),
        units: units(rng),
        ..ExamRules::default()
    }
}

/// A tree in which groups lie within groups; now and then so wide that it takes orders of blocks.
fn units(rng: &mut StdRng) -> Vec<ExamUnit> {
    let n_units = pick(rng, &[0, 1, 4, 10, 10, 90]);
    let mut units: Vec<ExamUnit> = Vec::new();
    for number in 1..=n_units {
        let parent = match units.len() {
            0 => 0,
            n => {
                let any = units[rng.random_range(0..n)].unit;
                pick(rng, &[0, units[0].unit, any])
            }
        };
        units.push(ExamUnit {
            unit: number * 3,
            parent,
            name: String::new(),
            head_count: rng.random_range(0..5),
            group: pick(rng, &["", "", "A", "B"]).to_owned(),
        });
    }
    units
}

/// Rulings that concern standings.
fn decide(exam: &mut Exam, known: &[[u8; 16]], rng: &mut StdRng) {
    let mut rule = |kind| {
        let ruling = Ruling {
            kind: Some(kind),
            ..Ruling::default()
        };
        grader::ruling::append(exam, ruling);
    };
    for _ in 0..pick(rng, &[0, 1, 1, 2]) {
        rule(Kind::Prediction(PredictionRuling {
            quantity: pick(
                rng,
                &[0, 17, 1_000, 1_500, 4_294_967_295, 4_294_967_296, u64::MAX],
            ),
            definition: "người".to_owned(),
        }));
    }
    if rng.random() {
        let mut ids = known.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let candidates = ids.iter().map(|id| bytes(id)).collect();
        rule(Kind::Exclusion(ExclusionRuling { candidates }));
    }
    if rng.random_bool(0.4) {
        rule(Kind::Board(BoardRuling {
            state: pick(
                rng,
                &[BoardState::Frozen, BoardState::Frozen, BoardState::Live],
            )
            .into(),
            cutoff_ms: T0_MS + rng.random_range(0..20) * 1_000,
            ..BoardRuling::default()
        }));
    }
}
