//! Simulated exams: candidates of normal ability, plausible distractors, correct keys.
//!
//! A candidate who does not know guesses blindly or takes a distractor by its appeal; the strongest distractor
//! attracts the better candidates more. What was answered is kept apart from the keys, so that keys can be spoilt.

use super::{Choice, Graded, ItemInfo, Placement, ScoreRange, Sitting, Statistics, irt::Pattern};

/// Quanta of every item's mark.
pub(super) const MARK: i64 = 240;
/// An item without options that was left blank.
const NO_TEXT: u16 = u16::MAX;
/// Answers to an item without options: the true one, two frequent wrong ones, and all others.
const OTHER_TEXT: u16 = 3;

/// A generator that is the same on every machine (SplitMix64; Steele, Lea and Flood 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// Returns a number from 0 up to 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, chance: f64) -> bool {
        self.unit() < chance
    }

    pub(super) fn normal(&mut self) -> f64 {
        let (radius, turn) = (1.0 - self.unit(), self.unit());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.word() % n as u64).unwrap()
    }

    pub(super) fn shuffle<T>(&mut self, slice: &mut [T]) {
        for at in (1..slice.len()).rev() {
            slice.swap(at, self.below(at + 1));
        }
    }

    fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        let found = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        found.unwrap_or(weights.len() - 1)
    }
}

/// How an item is answered and marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One of so many options.
    Single(u8),
    /// A set of five options, all or nothing.
    Set,
    /// A set of five options; right minus wrong ones, never below 0.
    PartialSet,
    /// Four statements: 0.1, 0.25, 0.5, 1 for 1 to 4 right judgements.
    Cluster,
    /// A number or a short text.
    Text,
}

impl Form {
    fn n_options(self) -> u8 {
        match self {
            Self::Single(n_options) => n_options,
            Self::Set | Self::PartialSet => 5,
            Self::Cluster => 4,
            Self::Text => 0,
        }
    }

    /// Returns what a raw answer earns by a key; of texts the key is the set of accepted answers.
    fn grade(self, key: u16, raw: u16) -> i64 {
        let full = |right: bool| if right { MARK } else { 0 };
        match self {
            Self::Single(_) => full(raw & key != 0),
            Self::Set => full(raw == key),
            Self::Text => full(raw != NO_TEXT && key >> raw & 1 == 1),
            Self::PartialSet => {
                let hits =
                    i64::from((raw & key).count_ones()) - i64::from((raw & !key).count_ones());
                MARK * hits.max(0) / i64::from(key.count_ones().max(1))
            }
            Self::Cluster => {
                let right = 4 - (raw ^ key).count_ones() as usize;
                MARK / 20 * [0, 2, 5, 10, 20][right]
            }
        }
    }
}

/// An item with its truth.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) form: Form,
    pub(super) section: u16,
    pub(super) a: f64,
    pub(super) b: f64,
    /// Right options, or accepted answers.
    pub(super) truth: u16,
    /// A second right option, which those who know choose as often.
    pub(super) twin: Option<u16>,
}

impl Item {
    fn knows(&self, theta: f64, easier: f64, random: &mut Random) -> bool {
        random.chance(1.0 / (1.0 + (-self.a * (theta - self.b + easier)).exp()))
    }

    fn answer(&self, theta: f64, random: &mut Random) -> u16 {
        match self.form {
            Form::Single(n_options) => self.single(usize::from(n_options), theta, random),
            Form::Set | Form::PartialSet | Form::Cluster => self.set(theta, random),
            Form::Text if self.knows(theta, 0.0, random) => 0,
            Form::Text => [1, 2, OTHER_TEXT, NO_TEXT][random.weighted(&[0.35, 0.2, 0.4, 0.05])],
        }
    }

    fn single(&self, n_options: usize, theta: f64, random: &mut Random) -> u16 {
        if self.knows(theta, 0.0, random) {
            let twin = self.twin.filter(|_| random.chance(0.5));
            return twin.unwrap_or(self.truth);
        }
        if random.chance(0.03) {
            return 0;
        }
        if n_options == 2 || random.chance(0.4) {
            return 1 << random.below(n_options);
        }
        let truth = self.truth.trailing_zeros() as usize;
        let appeals = [0.55 * (0.4 * theta).exp(), 0.3, 0.1, 0.05];
        let distractor = random.weighted(&appeals[..n_options - 1]);
        1 << ((truth + 1 + distractor) % n_options)
    }

    /// Judges each option: knows, or tosses a coin.
    fn set(&self, theta: f64, random: &mut Random) -> u16 {
        (0..self.form.n_options()).fold(0, |set, option| {
            let easier = 1.0 + 0.3 * f64::from(option % 3);
            let right = self.knows(theta, easier, random) || random.chance(0.5);
            let marked = (self.truth >> option & 1 == 1) == right;
            set | u16::from(marked) << option
        })
    }
}

/// Who answered what.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) area: u16,
    pub(super) cohort: u16,
    /// Items of the paper with the raw answers.
    pub(super) answers: Vec<(u16, u16)>,
}

/// An exam with its keys and its answers.
#[derive(Clone, Debug)]
pub(super) struct Exam {
    pub(super) items: Vec<Item>,
    pub(super) keys: Vec<u16>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) drawn: bool,
}

/// Easy, medium and hard.
pub(super) const DIFFICULTIES: [(&str, f64); 3] = [("easy", -1.5), ("medium", 0.0), ("hard", 1.5)];

/// Makes items of several forms, a section a form, by turns easy, medium and hard.
pub(super) fn items(forms: &[(Form, usize)], random: &mut Random) -> Vec<Item> {
    let mut items = Vec::new();
    for (section, &(form, n_items)) in (0..).zip(forms) {
        for at in 0..n_items {
            items.push(Item {
                form,
                section,
                a: (0.3 * random.normal()).exp().clamp(0.5, 2.0),
                b: DIFFICULTIES[at % 3].1 + 0.3 * random.normal(),
                truth: truth(form, at / 3 + at),
                twin: None,
            });
        }
    }
    items
}

fn truth(form: Form, at: usize) -> u16 {
    match form {
        Form::Single(n_options) => 1 << (at % usize::from(n_options)),
        Form::Set | Form::PartialSet => [0b00011, 0b10100, 0b01110, 0b11010][at % 4],
        Form::Cluster => [0b0001, 0b0010, 0b1011, 0b1100][at % 4],
        Form::Text => 1,
    }
}

impl Exam {
    /// Lets candidates sit the items, all of them or so many drawn by random, in four hours and six areas; areas
    /// differ in ability.
    pub(super) fn new(
        items: Vec<Item>,
        n_candidates: usize,
        n_drawn: Option<usize>,
        random: &mut Random,
    ) -> Self {
        let candidates = (0..n_candidates).map(|at| {
            let area = u16::try_from(at % 6).unwrap();
            let theta = random.normal() + 0.2 * (f64::from(area) - 2.5);
            let mut paper: Vec<u16> = (0..).take(items.len()).collect();
            if let Some(n_drawn) = n_drawn {
                random.shuffle(&mut paper);
                paper.truncate(n_drawn);
            }
            let answer = |&idx: &u16| (idx, items[usize::from(idx)].answer(theta, random));
            let answers = paper.iter().map(answer).collect();
            let cohort = u16::try_from(at / 6 % 4).unwrap();
            Candidate {
                area,
                cohort,
                answers,
            }
        });
        Self {
            candidates: candidates.collect(),
            keys: items.iter().map(|item| item.truth).collect(),
            drawn: n_drawn.is_some(),
            items,
        }
    }

    /// Returns which scores can occur.
    pub(super) fn range(&self) -> ScoreRange {
        let n_items = self.candidates.first().map_or(0, |it| it.answers.len());
        ScoreRange::new((0, MARK * i64::try_from(n_items).unwrap()), 2)
    }

    /// Grades all answers by the keys.
    pub(super) fn statistics(&self) -> Statistics {
        let mut statistics = Statistics::new(self.infos(), self.range());
        self.for_each_sitting(|sitting| statistics.add(sitting));
        statistics
    }

    pub(super) fn infos(&self) -> Vec<ItemInfo> {
        let info = |(item_id, (item, &key)): (u32, (&Item, &u16))| ItemInfo {
            item_id,
            n_options: item.form.n_options(),
            key: if item.form == Form::Text { 0 } else { key },
            single: matches!(item.form, Form::Single(_)),
            section: Some(item.section),
            placement: if self.drawn {
                Placement::Drawn
            } else {
                Placement::Fixed
            },
            ..ItemInfo::default()
        };
        (0..)
            .zip(self.items.iter().zip(&self.keys))
            .map(info)
            .collect()
    }

    pub(super) fn for_each_sitting(&self, mut visit: impl FnMut(&Sitting<'_>)) {
        let n_sections = self
            .items
            .iter()
            .map(|it| usize::from(it.section) + 1)
            .max()
            .unwrap_or(0);
        for candidate in &self.candidates {
            let mut section_totals = vec![0; n_sections];
            let mut grade = |&(item_idx, raw)| {
                let graded = self.grade(item_idx, raw);
                section_totals[usize::from(graded.section)] += graded.quanta;
                graded
            };
            let responses: Vec<_> = candidate.answers.iter().map(&mut grade).collect();
            visit(&Sitting {
                total: section_totals.iter().sum(),
                area: candidate.area,
                cohort: candidate.cohort,
                section_totals: &section_totals,
                responses: &responses,
            });
        }
    }

    /// Returns which items a candidate answered right.
    pub(super) fn pattern(&self, candidate: &Candidate) -> Pattern {
        let right = |&(item_idx, raw)| (item_idx, self.grade(item_idx, raw).quanta == MARK);
        let responses = candidate.answers.iter().map(right).collect();
        Pattern { responses, n: 1 }
    }

    fn grade(&self, item_idx: u16, raw: u16) -> Graded {
        let item = &self.items[usize::from(item_idx)];
        let key = self.keys[usize::from(item_idx)];
        let quanta = item.form.grade(key, raw);
        let choice = match (item.form, raw) {
            (Form::Text, NO_TEXT) => Choice::BLANK,
            (Form::Text, _) if quanta > 0 => Choice::RIGHT,
            (Form::Text, OTHER_TEXT) => Choice::WRONG,
            (Form::Text, _) => Choice::text(raw),
            _ => Choice(raw),
        };
        Graded {
            item_idx,
            section: item.section,
            choice,
            quanta,
            mark_quanta: MARK,
        }
    }
}
