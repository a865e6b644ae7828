//! Simulated contests, for tests: three-parameter persons, wrong options of unequal pull, log-normal times, units of
//! forty behind one address each. Tests plant breaches before the log is written.

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
/// Spread of the logarithm of one person's times on one item.
const TIME_SPREAD: f64 = 0.5;

/// What to simulate.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) n_persons: usize,
    pub(crate) units_per_area: usize,
    pub(crate) n_bank: usize,
    /// Items on a paper; those of the bank make it one fixed form.
    pub(crate) n_paper: usize,
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
    /// Indices in the bank, in paper order.
    pub(crate) items: Vec<usize>,
    orders: Vec<[u8; N_OPTIONS]>,
    /// Canonical options, in paper order.
    pub(crate) chosen: Vec<usize>,
    n_right: usize,
    pub(crate) times_ms: Vec<u64>,
    pub(crate) address_tag: u64,
    pub(crate) device_tag: u64,
    pub(crate) area: usize,
    pub(crate) unit: u32,
}

/// A simulated contest.
pub(crate) struct Contest {
    pub(crate) rng: StdRng,
    pub(crate) doers: Vec<Doer>,
    pub(crate) log: Log,
    items: Vec<Item>,
}

pub(crate) fn id(n: usize) -> CandidateId {
    let hash = blake3::hash(&(n as u64).to_le_bytes());
    CandidateId::from(*hash.as_bytes().first_chunk::<16>().unwrap())
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
        found.unwrap_or((self.key + 1) % N_OPTIONS)
    }
}

impl Doer {
    fn new(plan: &Plan, items: &[Item], n: usize, rng: &mut StdRng) -> Self {
        let mut drawn: Vec<usize> = (0..items.len()).collect();
        drawn.shuffle(rng);
        drawn.truncate(plan.n_paper);
        let (theta, pace) = (normal(rng), 0.2 * normal(rng));
        let unit = n / UNIT_SIZE;
        let mut doer = Self {
            orders: Vec::new(),
            chosen: Vec::new(),
            n_right: 0,
            times_ms: Vec::new(),
            items: drawn,
            address_tag: 1_000_000 + unit as u64,
            device_tag: n as u64 + 1,
            area: unit / plan.units_per_area,
            unit: number(unit),
        };
        for &at in &doer.items {
            let mut order = [0, 1, 2, 3];
            order.shuffle(rng);
            doer.orders.push(order);
            let chosen = items[at].choose(theta, rng);
            doer.chosen.push(chosen);
            doer.n_right += usize::from(chosen == items[at].key);
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

    /// Copies a share of the items that are on both papers.
    pub(crate) fn copy(&mut self, source: &Self, share: f64, rng: &mut StdRng) {
        for (place, item) in self.items.iter().enumerate() {
            if let Some(at) = source.items.iter().position(|other| other == item)
                && rng.random_bool(share)
            {
                self.chosen[place] = source.chosen[at];
            }
        }
    }

    /// Guesses the second half in a second an item.
    pub(crate) fn guess_half(&mut self, rng: &mut StdRng) {
        for place in self.items.len() / 2..self.items.len() {
            self.chosen[place] = rng.random_range(0..N_OPTIONS);
            self.times_ms[place] = rng.random_range(600..1_400);
        }
    }

    fn write(&self, log: &mut Log, n: usize) {
        let who = id(n);
        let started = Started {
            round: 1,
            area: format!("{:02}", self.area),
            unit: self.unit,
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

impl Contest {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut rng = StdRng::seed_from_u64(plan.seed);
        let items: Vec<Item> = (0..plan.n_bank).map(|_| item(&mut rng)).collect();
        let doers = (0..plan.n_persons).map(|n| Doer::new(plan, &items, n, &mut rng));
        Self {
            doers: doers.collect(),
            log: Log::new(&exam(&items, plan.n_paper)),
            items,
            rng,
        }
    }

    /// Returns a weak person of a unit, and one above the middle.
    pub(crate) fn weak_and_fair(&self, unit: usize) -> (usize, usize) {
        let mut members: Vec<usize> = (unit * UNIT_SIZE..(unit + 1) * UNIT_SIZE).collect();
        members.sort_by_key(|&n| self.doers[n].n_right);
        (members[UNIT_SIZE / 5], members[UNIT_SIZE * 3 / 5])
    }

    /// Lets one person copy from another.
    pub(crate) fn copy(&mut self, copier: usize, source: usize, share: f64) {
        let source = self.doers[source].clone();
        self.doers[copier].copy(&source, share, &mut self.rng);
    }

    /// Puts right on the hard half of a person's items and wrong on the easy half.
    pub(crate) fn turn_upside_down(&mut self, n: usize) {
        let doer = &mut self.doers[n];
        let mut places: Vec<usize> = (0..doer.items.len()).collect();
        let difficulty = |place: &usize| self.items[doer.items[*place]].curve.b;
        places.sort_by(|x, y| difficulty(x).total_cmp(&difficulty(y)));
        for (rank, &place) in places.iter().enumerate() {
            let wrong = usize::from(rank < places.len() / 2);
            doer.chosen[place] = (self.items[doer.items[place]].key + wrong) % N_OPTIONS;
        }
    }

    /// Writes what everybody did; `sink` is called behind each person and may take the entries away.
    pub(crate) fn write(&mut self, mut sink: impl FnMut(&mut Log)) {
        for (n, doer) in self.doers.iter().enumerate() {
            doer.write(&mut self.log, n);
            sink(&mut self.log);
        }
    }

    pub(crate) fn curves(&self) -> impl Iterator<Item = (u32, ItemCurve)> {
        let items = self.items.iter().enumerate();
        items.map(|(at, item)| (number(at), item.curve))
    }
}
