//! Simulated contests with planted breaches, for tests: three-parameter persons, wrong options of unequal pull,
//! log-normal times, units of forty behind one address each.

use proto::{
    bank::v1::{MultipleRule, Option as ItemOption, PaperItem, Section, Stratum},
    exam::v1::{EndedBy, Started, event::Kind, response::Value},
    key::v1::ItemKey,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::person_fit::ItemCurve;
use crate::{
    CandidateId,
    fixture::{Log, Parts, T0_MS, answered, ended, parts},
};

const N_OPTIONS: usize = 4;
pub(crate) const UNIT_SIZE: usize = 40;
const UNITS_PER_AREA: usize = 5;
/// Spread of the logarithm of one person's times on one item.
const TIME_SPREAD: f64 = 0.5;

/// What to simulate.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) n_persons: usize,
    pub(crate) n_bank: usize,
    /// Items on a paper; those of the bank make it one fixed form.
    pub(crate) n_paper: usize,
    /// Weak persons who copy from one of their unit, at most one a unit.
    pub(crate) n_copiers: usize,
    /// Share of the common items that they copy.
    pub(crate) copied: f64,
    /// Persons who guess half of their paper in a second each; the last ones.
    pub(crate) n_rapid: usize,
}

struct Item {
    curve: ItemCurve,
    key: usize,
    /// Pull of each option if the answer is not known.
    pulls: [f64; N_OPTIONS],
    time: f64,
}

/// What one person did.
#[derive(Clone)]
pub(crate) struct Doer {
    items: Vec<usize>,
    orders: Vec<[u8; N_OPTIONS]>,
    /// Canonical options, in paper order.
    chosen: Vec<usize>,
    times_ms: Vec<u64>,
    pub(crate) address_tag: u64,
    pub(crate) device_tag: u64,
}

/// A simulated contest.
pub(crate) struct Contest {
    pub(crate) log: Log,
    /// Copier and source.
    pub(crate) copiers: Vec<(CandidateId, CandidateId)>,
    pub(crate) rapid: Vec<CandidateId>,
    pub(crate) curves: Vec<(u32, ItemCurve)>,
}

pub(crate) fn id(n: usize) -> CandidateId {
    let hash = blake3::hash(&(n as u64).to_le_bytes());
    CandidateId::from(*hash.as_bytes().first_chunk::<16>().unwrap())
}

pub(crate) fn unit_of(n: usize) -> u32 {
    u32::try_from(n / UNIT_SIZE + 1).unwrap()
}

pub(crate) fn normal(rng: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn number(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap()
}

fn item(rng: &mut StdRng) -> Item {
    Item {
        curve: ItemCurve {
            a: (0.25 * normal(rng)).exp(),
            b: normal(rng),
            c: 0.15,
        },
        key: rng.random_range(0..N_OPTIONS),
        pulls: [(); N_OPTIONS].map(|()| (0.7 * normal(rng)).exp()),
        time: 3.4 + 0.3 * normal(rng),
    }
}

/// Returns the parts of an exam over a bank of single choices.
fn exam(items: &[Item], n_paper: usize) -> Parts {
    let mut parts = parts();
    let paper = (0..items.len()).map(|at| PaperItem {
        item_id: number(at),
        revision: vec![1; 32].into(),
        r#type: proto::bank::v1::ItemType::SingleChoice.into(),
        text: "?".to_owned(),
        options: vec![ItemOption::default(); N_OPTIONS],
        topic: "A".to_owned(),
        ..PaperItem::default()
    });
    parts.paper.items = paper.collect();
    let keys = items.iter().enumerate().map(|(at, item)| ItemKey {
        item_id: number(at),
        revision: vec![1; 32].into(),
        right_options: 1 << item.key,
        ..ItemKey::default()
    });
    parts.key.keys = keys.collect();
    parts.blueprint.sections = vec![Section {
        strata: vec![Stratum {
            topic: "A".to_owned(),
            any_band: true,
            quota: u32::try_from(n_paper).unwrap(),
            ..Stratum::default()
        }],
        mark: "0.25".to_owned(),
        multiple_rule: MultipleRule::Unspecified.into(),
        ..Section::default()
    }];
    parts
}

impl Item {
    fn choose(&self, theta: f64, rng: &mut StdRng) -> usize {
        if rng.random_bool(self.curve.p(theta)) {
            return self.key;
        }
        let wrong = (0..N_OPTIONS).filter(|option| *option != self.key);
        let total: f64 = wrong.clone().map(|option| self.pulls[option]).sum();
        let mut left = rng.random::<f64>() * total;
        let found = wrong.clone().find(|&option| {
            left -= self.pulls[option];
            left <= 0.0
        });
        found.or(wrong.last()).unwrap()
    }
}

impl Doer {
    fn new(items: &[Item], n_paper: usize, n: usize, theta: f64, rng: &mut StdRng) -> Self {
        let mut drawn: Vec<usize> = (0..items.len()).collect();
        drawn.shuffle(rng);
        drawn.truncate(n_paper);
        let pace = 0.2 * normal(rng);
        let mut doer = Self {
            orders: Vec::new(),
            chosen: Vec::new(),
            times_ms: Vec::new(),
            items: drawn,
            address_tag: 1_000_000 + u64::from(unit_of(n)),
            device_tag: n as u64 + 1,
        };
        for &at in &doer.items {
            let mut order = [0, 1, 2, 3];
            order.shuffle(rng);
            doer.orders.push(order);
            doer.chosen.push(items[at].choose(theta, rng));
            let time_s = (items[at].time - pace + TIME_SPREAD * normal(rng)).exp();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "short"
            )]
            doer.times_ms.push((time_s * 1_000.0) as u64);
        }
        doer
    }

    fn copy(&mut self, source: &Self, share: f64, rng: &mut StdRng) {
        for (place, item) in self.items.iter().enumerate() {
            if let Some(at) = source.items.iter().position(|other| other == item)
                && rng.random_bool(share)
            {
                self.chosen[place] = source.chosen[at];
            }
        }
    }

    fn guess_half(&mut self, rng: &mut StdRng) {
        for place in self.items.len() / 2..self.items.len() {
            self.chosen[place] = rng.random_range(0..N_OPTIONS);
            self.times_ms[place] = rng.random_range(600..1_400);
        }
    }

    fn write(&self, log: &mut Log, n: usize) {
        let (who, unit) = (id(n), unit_of(n));
        let started = Started {
            round: 1,
            area: format!("{:02}", (unit as usize - 1) / UNITS_PER_AREA),
            unit,
            deadline_ms: T0_MS + 36_000_000,
            item_ids: self.items.iter().map(|&at| number(at)).collect(),
            option_order: self.orders.concat().into(),
            form_code: vec![0; 8].into(),
            address_tag: self.address_tag,
            device_tag: self.device_tag,
            ..Started::default()
        };
        log.push(who, 1, T0_MS, Kind::Started(started));
        let mut at_ms = T0_MS;
        for (place, &chosen) in self.chosen.iter().enumerate() {
            at_ms += self.times_ms[place];
            let shown = self.orders[place]
                .iter()
                .position(|&c| usize::from(c) == chosen);
            let seq = log.next_seq(who, 1);
            let answer = answered(seq, number(place) - 1, Value::Chosen(1 << shown.unwrap()));
            log.push(who, 1, at_ms, Kind::Answered(answer));
        }
        let last_seq = number(self.chosen.len()) - 1;
        let end = ended(EndedBy::Candidate, last_seq, at_ms + 1_000);
        log.push(who, 1, at_ms + 1_000, Kind::Ended(end));
    }
}

impl Plan {
    pub(crate) fn run(self) -> Contest {
        self.run_with(|_| {})
    }

    /// Runs the contest with what persons did changed before it is written.
    pub(crate) fn run_with(self, change: impl FnOnce(&mut [Doer])) -> Contest {
        let rng = &mut StdRng::seed_from_u64(self.seed);
        let items: Vec<Item> = (0..self.n_bank).map(|_| item(rng)).collect();
        let mut log = Log::new(&exam(&items, self.n_paper));
        let mut thetas: Vec<f64> = (0..self.n_persons).map(|_| normal(rng)).collect();
        // the first of each unit copies from the second, who is above the middle
        let copiers: Vec<usize> = (0..self.n_copiers).map(|n| n * UNIT_SIZE).collect();
        for &copier in &copiers {
            thetas[copier] = -0.5;
            thetas[copier + 1] = 0.3;
        }
        let mut doers: Vec<Doer> = thetas
            .iter()
            .enumerate()
            .map(|(n, &theta)| Doer::new(&items, self.n_paper, n, theta, rng))
            .collect();
        for &copier in &copiers {
            let (before, behind) = doers.split_at_mut(copier + 1);
            before[copier].copy(&behind[0], self.copied, rng);
        }
        let rapid = self.n_persons - self.n_rapid..self.n_persons;
        for n in rapid.clone() {
            doers[n].guess_half(rng);
        }
        change(&mut doers);
        for (n, doer) in doers.iter().enumerate() {
            doer.write(&mut log, n);
        }
        Contest {
            log,
            copiers: copiers.iter().map(|&n| (id(n), id(n + 1))).collect(),
            rapid: rapid.map(id).collect(),
            curves: items
                .iter()
                .enumerate()
                .map(|(at, item)| (number(at), item.curve))
                .collect(),
        }
    }
}
