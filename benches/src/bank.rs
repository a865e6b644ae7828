//! Made-up banks, blueprints and exams of any size.
//!
//! Items lie evenly in strata of topic and band; one in five belongs to an exclusion set, one in ten has its last
//! option pinned, one in four has two keys. Start at [`Shape`].

use prost::Message;
use proto::{
    bank::v1::{Blueprint, MultipleRule, PaperHalf, Section, Stratum},
    exam::v1::{
        AreaCount, CountedAttempt, Exam, ExamRules, ExamSpec, ExamState, RankingKey, Round,
    },
};
use question_bank::{
    item::{Band, Item, ItemId, ItemOption, ItemType},
    release::{NumberedItem, Package, Release},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Name of the made-up exam.
pub const EXAM_ID: &str = "do-luong";
/// Provinces of Vietnam since July 2025.
pub const N_AREAS: u32 = 34;
/// Log partitions of the made-up exam.
pub const N_PARTITIONS: u32 = 64;
/// When its only round opens, Unix milliseconds.
pub const OPENS_AT_MS: u64 = 1_800_000_000_000;
/// Time for one attempt, milliseconds.
pub const DURATION_MS: u64 = 3_600_000;

const BANDS: [Band; 3] = [Band::Recognition, Band::Comprehension, Band::Application];
const N_OPTIONS: u8 = 4;
/// Mean number of items in an exclusion set.
const ITEMS_PER_SET: u32 = 4;

/// How large a bank and its papers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Items in the bank.
    pub n_items: u32,
    /// Cells of topic and band, each drawn from.
    pub n_strata: u32,
    /// Items on a paper, at least one a stratum.
    pub n_paper_items: u32,
}

impl Shape {
    /// The bank and the paper that figure F3 names.
    pub const LARGE: Self = Self {
        n_items: 5_000,
        n_strata: 30,
        n_paper_items: 50,
    };

    /// The bank and the paper of the log that figure F4 folds.
    pub const CONTEST: Self = Self {
        n_items: 1_000,
        n_strata: 15,
        n_paper_items: 30,
    };

    /// Returns the release of a bank of this shape.
    #[must_use]
    pub fn release(self, seed: u64) -> Release {
        let mut rng = StdRng::seed_from_u64(seed);
        let items = (0..self.n_items)
            .map(|n| NumberedItem {
                id: ItemId(n + 1),
                item: self.item(n, &mut rng),
            })
            .collect();
        Release::new(1, None, items).expect("item numbers differ")
    }

    /// Returns the blueprint: one section, quotas as even as they can be, everything shuffled, no window.
    #[must_use]
    pub fn blueprint(self) -> Blueprint {
        let (quota, n_larger) = (
            self.n_paper_items / self.n_strata,
            self.n_paper_items % self.n_strata,
        );
        let strata = (0..self.n_strata).map(|stratum| {
            let (topic, band) = cell(stratum);
            Stratum {
                topic,
                band: proto::bank::v1::Band::from(band).into(),
                any_band: false,
                quota: quota + u32::from(stratum < n_larger),
            }
        });
        Blueprint {
            sections: vec![Section {
                title: String::new(),
                strata: strata.collect(),
                mark: "0.25".to_owned(),
                shuffle_items: true,
                shuffle_options: true,
                multiple_rule: MultipleRule::Ripkey.into(),
                ..Section::default()
            }],
            ..Blueprint::default()
        }
    }

    /// Returns the package of the made-up exam over a release of this shape.
    #[must_use]
    pub fn package(self, release: &Release) -> Package {
        release
            .package(EXAM_ID, &self.blueprint(), [0; 32])
            .expect("every stratum holds more items than its quota")
    }

    fn item(self, n: u32, rng: &mut StdRng) -> Item {
        let (topic, band) = cell(n % self.n_strata);
        let n_sets = self.n_items.div_ceil(5 * ITEMS_PER_SET);
        let first_key = rng.random_range(0..N_OPTIONS);
        let multiple = rng.random_bool(0.25);
        let mut key = vec![first_key];
        if multiple {
            key.push((first_key + rng.random_range(1..N_OPTIONS)) % N_OPTIONS);
            key.sort_unstable();
        }
        let exclusion_sets = if rng.random_bool(0.2) {
            vec![format!("nhóm {}", rng.random_range(0..n_sets))]
        } else {
            Vec::new()
        };
        let last_is_pinned = rng.random_bool(0.1);
        Item {
            item_type: if multiple {
                ItemType::MultipleChoice
            } else {
                ItemType::SingleChoice
            },
            text: format!("Câu hỏi số {n}"),
            options: (0..N_OPTIONS)
                .map(|index| ItemOption {
                    text: format!("lựa chọn {index} của câu {n}"),
                    pinned: last_is_pinned && index + 1 == N_OPTIONS,
                })
                .collect(),
            key,
            topic,
            band,
            explanation: String::new(),
            exclusion_sets,
        }
    }
}

fn cell(stratum: u32) -> (String, Band) {
    let n_bands = u32::try_from(BANDS.len()).expect("three bands");
    (
        format!("chủ đề {}", stratum / n_bands),
        BANDS[(stratum % n_bands) as usize],
    )
}

/// Returns the area code with this number, from 0.
#[must_use]
pub fn area(number: u32) -> String {
    format!("{:02}", number + 1)
}

/// Returns the open exam that a package belongs to: ranked by score, then net time.
#[must_use]
pub fn exam(package: &Package, counted: CountedAttempt) -> Exam {
    let registered = (0..N_AREAS).map(|number| AreaCount {
        area: area(number),
        registered: 1_000,
    });
    let hash = |bytes: &[u8]| blake3::hash(bytes).as_bytes().to_vec().into();
    Exam {
        spec: Some(ExamSpec {
            exam_id: EXAM_ID.to_owned(),
            rules: Some(ExamRules {
                duration_ms: DURATION_MS,
                rounds: vec![Round {
                    round: 1,
                    opens_at_ms: OPENS_AT_MS,
                    closes_at_ms: OPENS_AT_MS + 7 * 86_400_000,
                }],
                counted_attempt: counted.into(),
                ranking: vec![RankingKey::Score.into(), RankingKey::NetTime.into()],
                score_decimals: 2,
                map_edition: "vn-34".to_owned(),
                registered: registered.collect(),
                ..ExamRules::default()
            }),
            n_partitions: N_PARTITIONS,
            ..ExamSpec::default()
        }),
        state: ExamState::Open.into(),
        paper_hash: hash(&package.paper_half),
        key_hash: hash(&package.key_half),
        ..Exam::default()
    }
}

/// Reads the paper half of a package made here.
#[must_use]
pub fn paper_half(package: &Package) -> PaperHalf {
    PaperHalf::decode(package.paper_half.as_slice()).expect("it was encoded a moment ago")
}
