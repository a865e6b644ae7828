//! Ranks among many: the counted order by itself, and a whole fold that many persons are in.
//!
//! Start at [`Ranking`] for the order, at [`Crowd`] for what a rank costs a grader.

use std::sync::Arc;

use grader::{CandidateId, Fold, KeyLayout, Order, RankFacts, SortKey};
use proto::exam::v1::{CountedAttempt, LogEntry, RankingKey};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    bank::{OPENS_AT_MS, Shape},
    fold::{Author, Person},
};

const N_PLACES: u16 = 30;
const MARK_QUANTA: i64 = 2_500;
/// Answers of an attempt in a crowd: few, because the way to the standings is what is measured.
const CROWD_ANSWERS: usize = 4;
/// Pause between two attempts of a person in a crowd.
const PAUSE_MS: u64 = 3_600_000;

/// A counted order with one attempt of each person.
pub struct Ranking {
    layout: KeyLayout,
    order: Order,
    ids: Vec<CandidateId>,
    facts: Vec<RankFacts>,
    keys: Vec<SortKey>,
    rng: StdRng,
}

impl Ranking {
    /// Ranks made-up attempts by score, then net time.
    #[must_use]
    pub fn new(n_persons: u32, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let layout = KeyLayout::new(
            &[RankingKey::Score, RankingKey::NetTime],
            (0, i64::from(N_PLACES) * MARK_QUANTA),
            MARK_QUANTA,
            usize::from(N_PLACES),
            None,
        )
        .expect("score and net time fit");
        let ids: Vec<CandidateId> = (0..n_persons)
            .map(|_| CandidateId::from(rng.random::<[u8; 16]>()))
            .collect();
        let facts: Vec<RankFacts> = ids.iter().map(|_| attempt(&mut rng)).collect();
        let keys: Vec<SortKey> = facts
            .iter()
            .zip(&ids)
            .map(|(facts, id)| layout.pack(facts, id))
            .collect();
        let mut sorted: Vec<(SortKey, u32)> = keys.iter().copied().zip(0..).collect();
        sorted.sort_unstable_by_key(|&(key, who)| (key, ids[who as usize]));
        Self {
            order: Order::from_sorted(sorted),
            layout,
            ids,
            facts,
            keys,
            rng,
        }
    }

    /// Returns each person's attempt.
    #[must_use]
    pub fn facts(&self) -> &[RankFacts] {
        &self.facts
    }

    /// Returns the rank of a person.
    #[must_use]
    pub fn rank(&self, who: u32) -> u64 {
        self.order.rank(self.layout.floor(self.keys[who as usize]))
    }

    /// Returns the rank of a person picked at random.
    pub fn rank_of_someone(&mut self) -> u64 {
        let who = self.someone();
        self.rank(who)
    }

    /// Gives a person picked at random another attempt and moves the row.
    pub fn move_someone(&mut self) {
        let who = self.someone();
        let at = who as usize;
        let id_of = |who: u32| self.ids[who as usize];
        let was_there = self.order.remove(self.keys[at], who, &id_of);
        assert!(was_there, "every person is in the order");
        self.facts[at] = attempt(&mut self.rng);
        self.keys[at] = self.layout.pack(&self.facts[at], &self.ids[at]);
        self.order.insert(self.keys[at], who, &id_of);
    }

    fn someone(&mut self) -> u32 {
        let n_persons = u32::try_from(self.ids.len()).expect("counted by a u32");
        self.rng.random_range(0..n_persons)
    }
}

fn attempt(rng: &mut StdRng) -> RankFacts {
    let n_correct = rng.random_range(0..=N_PLACES);
    RankFacts {
        quanta: i64::from(n_correct) * MARK_QUANTA,
        n_correct,
        net_time_ms: rng.random_range(60_000..1_800_000),
        submitted_at_ms: OPENS_AT_MS,
        attempt: 1,
        prediction: None,
    }
}

/// A fold that many persons are in, each with a last attempt that counts.
pub struct Crowd {
    author: Author,
    fold: Fold,
    persons: Vec<(Person, u32)>,
}

impl Crowd {
    /// Lets persons sit once.
    #[must_use]
    pub fn new(n_persons: u32, seed: u64) -> Self {
        let author = Author::new(Shape::CONTEST, CountedAttempt::Last, seed);
        let mut crowd = Self {
            fold: Fold::new(Arc::clone(&author.package)),
            persons: Vec::with_capacity(n_persons as usize),
            author,
        };
        for who in 0..n_persons as usize {
            let person = crowd.author.person();
            crowd.persons.push((person, 0));
            let end = crowd.sit(who);
            crowd.apply(&end);
        }
        crowd
    }

    /// Returns the fold.
    #[must_use]
    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    /// Returns the ranks of a person nationwide and in the area.
    #[must_use]
    pub fn ranks(&self, who: usize) -> (u64, u64) {
        self.fold
            .ranks(&self.persons[who].0.id)
            .expect("everybody has an ended attempt")
    }

    /// Lets a person sit once more, all but the end; the entry returned ends the attempt and moves the person.
    pub fn sit(&mut self, who: usize) -> LogEntry {
        let (person, attempt) = &mut self.persons[who];
        *attempt += 1;
        let started_at_ms = OPENS_AT_MS + u64::from(*attempt) * PAUSE_MS;
        let mut events = self
            .author
            .sit(person, *attempt, started_at_ms, CROWD_ANSWERS);
        let end = events.pop().expect("an attempt has an end");
        for event in events {
            let entry = self.author.append(event);
            self.apply(&entry);
        }
        self.author.append(end)
    }

    /// Takes the end of an attempt.
    pub fn apply(&mut self, entry: &LogEntry) {
        self.fold.apply_entry(entry).expect("the log is whole");
    }
}
