//! Logs of whole attempts, as engines write them, and their fold.
//!
//! Papers are drawn from a real package and answered by persons of differing skill; some answers are changed later,
//! some persons sit twice, and the entries of all persons lie mixed in order of time. Start at [`Log::new`].

use std::sync::Arc;

use bytes::Bytes;
use grader::{CandidateId, Fold, Package, partition_of};
use prost::Message;
use proto::exam::v1::{
    Answered, CountedAttempt, Ended, EndedBy, Event, LogEntry, Response, Started, TailLogResponse,
    event::Kind, response::Value,
};
use question_bank::{
    draw::{Drawer, Scratch},
    paper::{Paper, PaperEntry},
    release::Release,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::bank::{DURATION_MS, N_AREAS, N_PARTITIONS, OPENS_AT_MS, Shape, area, exam, paper_half};

/// Entries in one message of the log service.
pub const MESSAGE_ENTRIES: usize = 1_024;
/// Persons start within this time, and attempts take about as long: about half of the persons work at once.
const STARTS_WITHIN_MS: u64 = 600_000;

/// A person who sits the exam.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who.
    pub id: CandidateId,
    /// Number of the area, from 0.
    pub area: u32,
    /// Share of items known.
    pub skill: f64,
}

/// Writes attempts of one exam.
pub struct Author {
    /// The bank's release, with keys.
    pub release: Release,
    /// The package as the grader holds it.
    pub package: Arc<Package>,
    drawer: Drawer,
    scratch: Scratch,
    /// Key bits by index into the paper half's items.
    keys: Vec<u32>,
    positions: Vec<u64>,
    rng: StdRng,
}

impl Author {
    /// Makes an exam of this shape.
    #[must_use]
    pub fn new(shape: Shape, counted: CountedAttempt, seed: u64) -> Self {
        let release = shape.release(seed);
        let halves = shape.package(&release);
        let package = Package::load(
            &exam(&halves, counted),
            &halves.paper_half,
            &halves.key_half,
        )
        .expect("both halves are the exam's");
        Self {
            package: Arc::new(package),
            drawer: Drawer::new(&paper_half(&halves), &[7; 32])
                .expect("the package was made for draws"),
            scratch: Scratch::default(),
            // every topic is in the blueprint, so the paper half holds the release's items one to one
            keys: release
                .items
                .iter()
                .map(|entry| entry.item.key_bits())
                .collect(),
            positions: vec![0; N_PARTITIONS as usize],
            rng: StdRng::seed_from_u64(seed),
            release,
        }
    }

    /// Makes a person up.
    pub fn person(&mut self) -> Person {
        Person {
            id: CandidateId::from(self.rng.random::<[u8; 16]>()),
            area: self.rng.random_range(0..N_AREAS),
            skill: self.rng.random_range(0.2..0.95),
        }
    }

    /// Writes one attempt that answers the first `n_answered` places and changes some of these answers later; its
    /// events come by rising time, all different.
    pub fn sit(
        &mut self,
        person: &Person,
        attempt: u32,
        started_at_ms: u64,
        n_answered: usize,
    ) -> Vec<Event> {
        let paper = self
            .drawer
            .draw(person.id.as_bytes(), attempt, &mut self.scratch)
            .expect("the package was proven feasible");
        let shown: Vec<(PaperEntry, &[u8])> = paper.shown().take(n_answered).collect();
        let mut events = Vec::with_capacity(n_answered * 5 / 4 + 2);
        let event = |at_ms: u64, kind: Kind| Event {
            candidate: Bytes::copy_from_slice(person.id.as_bytes()),
            attempt,
            epoch: 1,
            at_ms,
            kind: Some(kind),
        };
        let mut at_ms = started_at_ms;
        events.push(event(at_ms, Kind::Started(started(&paper, person, at_ms))));
        let mut places: Vec<usize> = (0..shown.len()).collect();
        places.extend((0..shown.len()).filter(|_| self.rng.random_bool(0.15)));
        for (seq, place) in (1..).zip(&places) {
            let (entry, order) = shown[*place];
            let chosen = self.choose(person, entry, order);
            at_ms += self.rng.random_range(5_000..30_000);
            let answered = Answered {
                seq,
                position: u32::try_from(*place).expect("papers are short"),
                response: Some(Response {
                    value: Some(Value::Chosen(chosen)),
                }),
                ..Answered::default()
            };
            events.push(event(at_ms, Kind::Answered(answered)));
        }
        at_ms += self.rng.random_range(1_000..10_000);
        let ended = Ended {
            by: EndedBy::Candidate.into(),
            last_seq: u32::try_from(places.len()).expect("papers are short"),
            chain: Bytes::copy_from_slice(&self.rng.random::<[u8; 32]>()),
            ended_at_ms: at_ms,
            cause: None,
        };
        events.push(event(at_ms, Kind::Ended(ended)));
        events
    }

    /// Puts an event at the end of its partition.
    pub fn append(&mut self, event: Event) -> LogEntry {
        let id = CandidateId::try_from(&*event.candidate).expect("made from 16 bytes");
        let partition = partition_of(&id, N_PARTITIONS);
        let position = &mut self.positions[partition as usize];
        *position += 1;
        LogEntry {
            partition,
            position: *position,
            event: Some(event),
        }
    }

    /// Returns the shown options that a person chooses: the key, or as many options at random.
    fn choose(&mut self, person: &Person, entry: PaperEntry, order: &[u8]) -> u32 {
        let key = self.keys[entry.index as usize];
        let mut canonical = key;
        if !self.rng.random_bool(person.skill) {
            canonical = 0;
            while canonical.count_ones() < key.count_ones() {
                canonical |= 1 << self.rng.random_range(0..entry.n_options);
            }
        }
        (0..)
            .zip(order)
            .filter(|(_, index)| canonical >> **index & 1 == 1)
            .fold(0, |bits, (slot, _)| bits | 1u32 << slot)
    }
}

fn started(paper: &Paper, person: &Person, at_ms: u64) -> Started {
    Started {
        round: 1,
        area: area(person.area),
        unit: 0,
        deadline_ms: at_ms + DURATION_MS,
        item_ids: paper.entries.iter().map(|entry| entry.item_id).collect(),
        option_order: paper.option_order.clone(),
        form_code: Bytes::copy_from_slice(&paper.form_code),
        repaired: paper.repaired,
        ..Started::default()
    }
}

/// The log of an exam that many persons sat at the same time.
pub struct Log {
    /// The bank's release, with keys.
    pub release: Release,
    /// The package as the grader holds it.
    pub package: Arc<Package>,
    /// In order of time.
    pub entries: Vec<LogEntry>,
    /// How many entries are answers.
    pub n_answers: u64,
}

impl Log {
    /// Lets persons sit papers of 30 items, one in five twice; the best attempt counts.
    #[must_use]
    pub fn new(n_persons: u32, seed: u64) -> Self {
        let shape = Shape::CONTEST;
        let mut author = Author::new(shape, CountedAttempt::Best, seed);
        let n_items = shape.n_paper_items as usize;
        let mut events = Vec::new();
        for _ in 0..n_persons {
            let person = author.person();
            let started_at_ms = OPENS_AT_MS + author.rng.random_range(0..STARTS_WITHIN_MS);
            events.extend(author.sit(&person, 1, started_at_ms, n_items));
            if author.rng.random_bool(0.2) {
                let ended_at_ms = events.last().map_or(started_at_ms, |event| event.at_ms);
                events.extend(author.sit(&person, 2, ended_at_ms + 60_000, n_items));
            }
        }
        events.sort_by_key(|event| event.at_ms);
        let is_answer = |event: &&Event| matches!(event.kind, Some(Kind::Answered(_)));
        Self {
            n_answers: events.iter().filter(is_answer).count() as u64,
            entries: events
                .into_iter()
                .map(|event| author.append(event))
                .collect(),
            release: author.release,
            package: author.package,
        }
    }

    /// Folds the entries as they are.
    #[must_use]
    pub fn fold(&self) -> Fold {
        let mut fold = Fold::new(Arc::clone(&self.package));
        for entry in &self.entries {
            fold.apply_entry(entry).expect("the log is whole");
        }
        fold
    }

    /// Returns the log as the log service sends it.
    #[must_use]
    pub fn messages(&self) -> Vec<Bytes> {
        self.entries
            .chunks(MESSAGE_ENTRIES)
            .map(|entries| {
                let message = TailLogResponse {
                    entries: entries.to_vec(),
                    ends: Vec::new(),
                };
                message.encode_to_vec().into()
            })
            .collect()
    }

    /// Decodes messages of this log and folds what they hold.
    #[must_use]
    pub fn fold_messages(&self, messages: &[Bytes]) -> Fold {
        let mut fold = Fold::new(Arc::clone(&self.package));
        for message in messages {
            let message = TailLogResponse::decode(message.clone()).expect("encoded by `messages`");
            for entry in &message.entries {
                fold.apply_entry(entry).expect("the log is whole");
            }
        }
        fold
    }
}
