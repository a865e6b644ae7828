//! A small exam for tests: written from `docs/FORMATS.md` by slow and obvious means.
//!
//! Papers come from [`rebuild_paper`], which the golden draws pin down; chain, scores and ranks are
//! computed here once more in another way (integers, ranks by counting).

use std::{collections::BTreeMap, fs};

use prost::Message;
use proto::{
    bank::v1::{
        Band, Blueprint, ItemType, MultipleRule, Option as ItemOption, OrderingRule, PaperHalf,
        PaperItem, Section, Stratum,
    },
    exam::v1::{
        Answered, CountedAttempt, Ended, EndedBy, Event, Exam, ExamRules, ExamSpec, ExamState,
        ExamUnit, KeyRuling, LogEntry, RankingKey, Response, Round, Ruling, Started, event::Kind,
        response::Value, ruling,
    },
    key::v1::{BlankKey, ItemKey, KeyHalf},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    Archive, DifferenceKind, DrawnItem, Error, Paper, Verdict, control::Controls, rebuild_paper,
    verify_folder, write_result,
};

pub(crate) const EXAM_ID: &str = "tuan-1";
const N_PERSONS: u8 = 12;
const N_PARTITIONS: u32 = 4;
const DURATION_MS: u64 = 600_000;
/// 10^4 times the least common multiple of 1, 2 and 3.
const QUANTA_PER_POINT: u64 = 60_000;

/// All files of an archive, before they are written.
pub(crate) struct TestExam {
    pub(crate) exam: Exam,
    pub(crate) paper: PaperHalf,
    pub(crate) key: KeyHalf,
    pub(crate) secret: [u8; 32],
    /// Partition after partition.
    pub(crate) log: Vec<LogEntry>,
    pub(crate) result: String,
    /// Later versions of the key, by version.
    pub(crate) keys: Vec<KeyHalf>,
}

/// What a row of the result says of an attempt.
struct Fact {
    candidate: [u8; 16],
    attempt: u32,
    area: &'static str,
    unit: u32,
    quanta: u64,
    n_correct: u32,
    net_time_ms: u64,
    submitted_at_ms: u64,
    ended_by: EndedBy,
    form_code: [u8; 8],
}

/// Returns the id of the `n`th person.
pub(crate) fn person(n: u8) -> [u8; 16] {
    [n + 1; 16]
}

pub(crate) fn chosen(bits: u32) -> Response {
    Response {
        value: Some(Value::Chosen(bits)),
    }
}

impl TestExam {
    /// Twelve persons; every third one sits a second time; three of them are tied at the bottom.
    pub(crate) fn new() -> Self {
        Self::of(paper_half(), key_half())
    }

    /// The same persons with a third section: an item of every other type, 21 to 26, and a fourth with the prediction 27.
    pub(crate) fn mixed() -> Self {
        let (paper, key) = mixed_halves();
        let mut exam = Self::of(paper, key);
        exam.exam.n_items = 14;
        exam.write_result();
        exam
    }

    fn of(paper: PaperHalf, key: KeyHalf) -> Self {
        let secret = [0x5e; 32];
        let mut partitions: BTreeMap<u32, Vec<Event>> = BTreeMap::new();
        let mut facts = Vec::new();
        for (n, attempt) in sittings() {
            let drawn = rebuild_paper(&paper, &secret, EXAM_ID, &person(n), attempt).unwrap();
            let (events, fact) = sit(n, attempt, &drawn, &key);
            partitions
                .entry(partition(&person(n)))
                .or_default()
                .extend(events);
            facts.push(fact);
        }
        let mut test_exam = Self {
            exam: exam(&secret),
            paper,
            key,
            secret,
            log: partitions.into_iter().flat_map(number).collect(),
            result: result(&facts),
            keys: Vec::new(),
        };
        test_exam.seal();
        test_exam
    }

    /// Lets a control candidate answer the first two sections: `choose` gets the right options and the number of all, as
    /// they are shown.
    pub(crate) fn add_control(&mut self, number: usize, choose: impl Fn(u32, u32) -> u32) {
        let candidate = Controls::new(EXAM_ID).id(number);
        let paper = rebuild_paper(&self.paper, &self.secret, EXAM_ID, &candidate, 1).unwrap();
        let answer = |(position, item): (u32, &DrawnItem)| {
            let right = right_of(&self.key, item.item_id);
            let slots = (0..).zip(&item.option_order);
            let shown = slots.fold(0, |bits, (slot, option)| {
                bits | (right >> option & 1) << slot
            });
            let n_options = u32::try_from(item.option_order.len()).unwrap();
            (position, Some(chosen(choose(shown, n_options))))
        };
        let answers = numbered((0..).zip(&paper.items).map(answer));
        let started = Started {
            item_ids: paper.item_ids(),
            option_order: paper.option_order().into(),
            form_code: paper.form_code.to_vec().into(),
            ..self.started(0, 1).clone()
        };
        let ended = Ended {
            by: EndedBy::Candidate.into(),
            last_seq: u32::try_from(answers.len()).unwrap(),
            chain: chain(&candidate, 1, &paper.form_code, &answers).into(),
            ended_at_ms: 1_300_000,
            cause: None,
        };
        let answers = answers
            .into_iter()
            .map(|answer| (1_100_000, Kind::Answered(answer)));
        let first = std::iter::once((1_000_000, Kind::Started(started)));
        for (at_ms, kind) in first
            .chain(answers)
            .chain([(1_300_000, Kind::Ended(ended))])
        {
            let event = Event {
                candidate: candidate.to_vec().into(),
                attempt: 1,
                epoch: 1,
                at_ms,
                kind: Some(kind),
            };
            self.log.push(LogEntry {
                partition: partition(&candidate),
                position: 0,
                event: Some(event),
            });
        }
        self.log.sort_by_key(|entry| entry.partition); // stable: order within stays
        self.renumber();
    }

    /// Sets all hashes anew, in the exam, the key half and the result file.
    pub(crate) fn seal(&mut self) {
        let paper_hash = blake3::hash(&self.paper.encode_to_vec());
        self.key.paper_hash = paper_hash.as_bytes().to_vec().into();
        self.exam.paper_hash = self.key.paper_hash.clone();
        self.seal_key();
    }

    /// Sets all hashes of the key half anew.
    pub(crate) fn seal_key(&mut self) {
        let key_hash = blake3::hash(&self.key.encode_to_vec());
        self.exam.key_hash = key_hash.as_bytes().to_vec().into();
        let paper_hash = hex::encode(&self.exam.paper_hash);
        self.set_header("paper", &paper_hash);
        self.set_header("key", &key_hash.to_string());
    }

    /// Replaces a line at the top of the result file.
    pub(crate) fn set_header(&mut self, name: &str, value: &str) {
        let mut lines: Vec<String> = self.result.lines().map(str::to_owned).collect();
        let is_it = |line: &&mut String| line.split('\t').next() == Some(name);
        *lines.iter_mut().find(is_it).unwrap() = format!("{name}\t{value}");
        self.result = lines.join("\n") + "\n";
    }

    /// Replaces a column of a person's row in the result file.
    pub(crate) fn set_column(&mut self, n: u8, column: usize, value: &str) {
        let mut lines: Vec<String> = self.result.lines().map(str::to_owned).collect();
        let is_it = |line: &&mut String| line.contains(&hex::encode(person(n)));
        let row = lines.iter_mut().find(is_it).unwrap();
        let mut fields: Vec<&str> = row.split('\t').collect();
        assert_ne!(fields[column], value, "the test changes nothing");
        fields[column] = value;
        *row = fields.join("\t");
        self.result = lines.join("\n") + "\n";
    }

    /// Returns where the events of an attempt stand in the log.
    pub(crate) fn events_of(&self, n: u8, attempt: u32) -> Vec<usize> {
        let is_it =
            |event: &Event| event.candidate == person(n).as_slice() && event.attempt == attempt;
        let all = 0..self.log.len();
        all.filter(|&i| self.log[i].event.as_ref().is_some_and(is_it))
            .collect()
    }

    pub(crate) fn event(&mut self, index: usize) -> &mut Event {
        self.log[index].event.as_mut().unwrap()
    }

    /// Returns the start of an attempt.
    pub(crate) fn started(&mut self, n: u8, attempt: u32) -> &mut Started {
        let first = self.events_of(n, attempt)[0];
        let Some(Kind::Started(started)) = &mut self.event(first).kind else {
            panic!("an attempt begins with its start");
        };
        started
    }

    /// Returns the answer with number `seq` of an attempt.
    pub(crate) fn answered(&mut self, n: u8, attempt: u32, seq: usize) -> &mut Answered {
        let index = self.events_of(n, attempt)[seq];
        let Some(Kind::Answered(answered)) = &mut self.event(index).kind else {
            panic!("the attempt has no such answer");
        };
        answered
    }

    /// Returns the end of an attempt.
    pub(crate) fn ended(&mut self, n: u8, attempt: u32) -> &mut Ended {
        let last = *self.events_of(n, attempt).last().unwrap();
        let Some(Kind::Ended(ended)) = &mut self.event(last).kind else {
            panic!("an attempt ends with its end");
        };
        ended
    }

    /// Gives all entries the positions that they should have.
    pub(crate) fn renumber(&mut self) {
        let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
        for entry in &mut self.log {
            let end = ends.entry(entry.partition).or_default();
            *end += 1;
            entry.position = *end;
        }
    }

    /// Writes the archive's folder.
    pub(crate) fn write(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, bytes: &[u8]| fs::write(dir.path().join(file), bytes).unwrap();
        write("exam.bin", &self.exam.encode_to_vec());
        write("paper.bin", &self.paper.encode_to_vec());
        write("key.bin", &self.key.encode_to_vec());
        for key in &self.keys {
            write(
                &format!("key-{}.bin", key.key_version),
                &key.encode_to_vec(),
            );
        }
        write(
            "secret.hex",
            format!("{}\n", hex::encode(self.secret)).as_bytes(),
        );
        let log = self
            .log
            .iter()
            .flat_map(Message::encode_length_delimited_to_vec);
        write("log.bin", &log.collect::<Vec<u8>>());
        write("result.tsv", self.result.as_bytes());
        dir
    }

    pub(crate) fn archive(&self) -> Archive {
        Archive::read(self.write().path()).unwrap()
    }

    pub(crate) fn rules(&mut self) -> &mut ExamRules {
        self.exam.spec.as_mut().unwrap().rules.as_mut().unwrap()
    }

    /// Writes the result file anew, with the verifier's own means: for exams that differ from the small one.
    pub(crate) fn write_result(&mut self) {
        self.result = write_result(&self.archive()).unwrap();
    }

    /// Takes a decision at the end of the log.
    pub(crate) fn decide(&mut self, kind: ruling::Kind) {
        let mut ends = vec![0; N_PARTITIONS as usize];
        for entry in &self.log {
            ends[entry.partition as usize] = entry.position;
        }
        self.exam.rulings.push(Ruling {
            at_ms: 9_000_000,
            proposed_by: "an".to_owned(),
            approved_by: "binh".to_owned(),
            positions: ends,
            kind: Some(kind),
            ..Ruling::default()
        });
        self.seal_rulings();
    }

    /// Numbers and chains the rulings anew.
    pub(crate) fn seal_rulings(&mut self) {
        let mut previous = Vec::new();
        for (number, ruling) in (1..).zip(&mut self.exam.rulings) {
            ruling.number = number;
            ruling.previous = previous.into();
            previous = blake3::hash(&ruling.encode_to_vec()).as_bytes().to_vec();
        }
    }

    /// Puts a changed key in force.
    pub(crate) fn correct_key(&mut self, change: impl FnOnce(&mut KeyHalf), item_ids: &[u32]) {
        let mut key = self.keys.last().unwrap_or(&self.key).clone();
        key.key_version += 1;
        change(&mut key);
        let ruling = KeyRuling {
            key_version: key.key_version,
            key_hash: blake3::hash(&key.encode_to_vec())
                .as_bytes()
                .to_vec()
                .into(),
            item_ids: item_ids.to_vec(),
        };
        self.keys.push(key);
        self.decide(ruling::Kind::Key(ruling));
    }

    pub(crate) fn verify(&self) -> Result<Verdict, Error> {
        verify_folder(self.write().path())
    }

    /// Returns the kinds of all differences, each once.
    pub(crate) fn kinds(&self) -> Vec<DifferenceKind> {
        let verdict = self.verify().unwrap();
        let mut kinds: Vec<_> = verdict.differences.iter().map(|found| found.kind).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }
}

/// Persons and attempts.
fn sittings() -> Vec<(u8, u32)> {
    let first = (0..N_PERSONS).map(|n| (n, 1));
    let second = (0..N_PERSONS).step_by(3).map(|n| (n, 2));
    first.chain(second).collect()
}

pub(crate) fn item(item_id: u32, item_type: ItemType, topic: &str, n_options: u32) -> PaperItem {
    PaperItem {
        item_id,
        revision: blake3::hash(&item_id.to_le_bytes())
            .as_bytes()
            .to_vec()
            .into(),
        r#type: item_type.into(),
        text: format!("Câu {item_id}"),
        options: (1..=n_options)
            .map(|n| ItemOption {
                text: format!("Phương án {n}"),
                pinned: false,
            })
            .collect(),
        topic: topic.to_owned(),
        band: Band::Recognition.into(),
        facility_milli: 500,
        ..PaperItem::default()
    }
}

pub(crate) fn stratum(topic: &str, band: Option<Band>, quota: u32) -> Stratum {
    Stratum {
        topic: topic.to_owned(),
        band: band.unwrap_or_default().into(),
        any_band: band.is_none(),
        quota,
    }
}

pub(crate) fn section(strata: Vec<Stratum>, mark: &str) -> Section {
    Section {
        title: String::new(),
        strata,
        mark: mark.to_owned(),
        shuffle_items: true,
        shuffle_options: true,
        multiple_rule: MultipleRule::AllOrNothing.into(),
        ..Section::default()
    }
}

fn paper_half() -> PaperHalf {
    let single = |id| item(id, ItemType::SingleChoice, "su", 4);
    let mut items: Vec<PaperItem> = (1..=6).map(single).collect();
    items[0].exclusion_sets = vec![9];
    items[1].exclusion_sets = vec![9];
    items[2].options[3].pinned = true;
    items.extend((7..=8).map(|id| item(id, ItemType::TrueFalse, "dia", 2)));
    items.extend((9..=11).map(|id| item(id, ItemType::SingleChoice, "dia", 3)));
    items[8].band = Band::Application.into();
    items.extend((12..=15).map(|id| item(id, ItemType::MultipleChoice, "luat", 5)));
    let strata = vec![
        stratum("su", Some(Band::Recognition), 3),
        stratum("dia", None, 2),
    ];
    let mut multiple = section(vec![stratum("luat", Some(Band::Recognition), 2)], "1.5");
    multiple.shuffle_items = false;
    multiple.multiple_rule = MultipleRule::Ripkey.into();
    let blueprint = Blueprint {
        sections: vec![section(strata, "0.25"), multiple],
        ..Blueprint::default()
    };
    PaperHalf {
        format: 1,
        exam_id: EXAM_ID.to_owned(),
        release_no: 3,
        release_hash: vec![0x77; 32].into(),
        blueprint: blueprint.encode_to_vec().into(),
        items,
        draw_algorithm: 1,
    }
}

fn key_half() -> KeyHalf {
    let right = |item_id: u32| match item_id {
        12 | 14 => 0b1_0001,
        13 => 0b0_1110,
        15 => 0b0_0100,
        choice => 1 << (choice % 2), // every other item has at least two options
    };
    let key = |item: &PaperItem| ItemKey {
        item_id: item.item_id,
        revision: item.revision.clone(),
        right_options: right(item.item_id),
        ..ItemKey::default()
    };
    KeyHalf {
        format: 1,
        exam_id: EXAM_ID.to_owned(),
        paper_hash: Vec::new().into(), // sealed later
        key_version: 1,
        keys: paper_half().items.iter().map(key).collect(),
        salt: vec![7; 32].into(),
    }
}

fn mixed_halves() -> (PaperHalf, KeyHalf) {
    let (mut paper, mut key) = (paper_half(), key_half());
    let blank = |accepted: &str| BlankKey {
        accepted: vec![accepted.to_owned()],
        ..BlankKey::default()
    };
    let (mut pi, mut capital, mut won) = (blank("3.14"), blank("Hà Nội"), blank("Điện Biên Phủ"));
    (pi.tolerance, capital.ignore_diacritics, won.weight) = ("0.005".to_owned(), true, 3);
    let mut year = blank("1954");
    (year.numeric, pi.numeric) = (true, true);
    for (item_id, item_type, n_options, change) in [
        (
            21,
            ItemType::Cluster,
            4,
            ItemKey {
                right_options: 0b0101,
                ..ItemKey::default()
            },
        ),
        (
            22,
            ItemType::Matching,
            3,
            ItemKey {
                sequences: vec![vec![2, 0, 1].into()],
                ..ItemKey::default()
            },
        ),
        (
            23,
            ItemType::Ordering,
            4,
            ItemKey {
                sequences: vec![vec![2, 0, 3, 1].into()],
                ..ItemKey::default()
            },
        ),
        (
            24,
            ItemType::Numeric,
            0,
            ItemKey {
                blanks: vec![pi],
                ..ItemKey::default()
            },
        ),
        (
            25,
            ItemType::ShortText,
            0,
            ItemKey {
                blanks: vec![capital],
                ..ItemKey::default()
            },
        ),
        (
            26,
            ItemType::Cloze,
            0,
            ItemKey {
                blanks: vec![year, won],
                ..ItemKey::default()
            },
        ),
        (27, ItemType::Prediction, 0, ItemKey::default()),
    ] {
        let topic = if item_id == 27 { "doan" } else { "khac" };
        let mut item = item(item_id, item_type, topic, n_options);
        if item_type == ItemType::Matching {
            item.targets.clone_from(&item.options);
        }
        if item_type == ItemType::Cloze {
            item.n_blanks = u32::try_from(change.blanks.len()).unwrap();
        }
        key.keys.push(ItemKey {
            item_id,
            revision: item.revision.clone(),
            ..change
        });
        paper.items.push(item);
    }
    let mut blueprint = Blueprint::decode(paper.blueprint.as_ref()).unwrap();
    let mut other = section(vec![stratum("khac", None, 6)], "0.5");
    other.ordering_rule = OrderingRule::Positions.into();
    other.wrong_mark = "0.1".to_owned();
    blueprint.sections.push(other);
    blueprint
        .sections
        .push(section(vec![stratum("doan", None, 1)], "1"));
    paper.blueprint = blueprint.encode_to_vec().into();
    (paper, key)
}

/// Unit 1 has the units 2 and 3 below it; 3 has a group of its own.
fn units() -> Vec<ExamUnit> {
    let unit = |unit, parent, group: &str| ExamUnit {
        unit,
        parent,
        group: group.to_owned(),
        ..ExamUnit::default()
    };
    vec![unit(1, 0, "xa"), unit(2, 1, ""), unit(3, 1, "truong")]
}

fn exam(secret: &[u8; 32]) -> Exam {
    let round = |round: u32| Round {
        round,
        opens_at_ms: u64::from(round) * 1_000_000,
        closes_at_ms: u64::from(round + 1) * 1_000_000,
    };
    let rules = ExamRules {
        duration_ms: DURATION_MS,
        grace_ms: 5_000,
        rounds: vec![round(1), round(2)],
        attempts_per_round: 2,
        attempts_in_all: 3,
        counted_attempt: CountedAttempt::Best.into(),
        ranking: [
            RankingKey::Score,
            RankingKey::CorrectCount,
            RankingKey::NetTime,
        ]
        .map(i32::from)
        .to_vec(),
        score_decimals: 2,
        map_edition: "vn-34".to_owned(),
        pass_mark: "2".to_owned(),
        units: units(),
        ..ExamRules::default()
    };
    let spec = ExamSpec {
        exam_id: EXAM_ID.to_owned(),
        title: "Tuần 1".to_owned(),
        release_no: 3,
        blueprint: None,
        rules: Some(rules),
        n_partitions: N_PARTITIONS,
    };
    Exam {
        spec: Some(spec),
        state: ExamState::Closed.into(),
        secret_commitment: blake3::hash(secret).as_bytes().to_vec().into(),
        n_items: 7,
        ..Exam::default() // hashes are sealed later
    }
}

/// Persons stand in units 1 to 3; unit 0 is none.
fn unit(n: u8) -> u32 {
    u32::from(n % 4)
}

/// Plays one attempt: its events, and what the result must say of it.
fn sit(n: u8, attempt: u32, paper: &Paper, key: &KeyHalf) -> (Vec<Event>, Fact) {
    let started_at_ms = u64::from(attempt) * 1_000_000 + u64::from(n) * 1_000;
    let deadline_ms = started_at_ms + DURATION_MS;
    let area = if n.is_multiple_of(2) { "01" } else { "79" };
    let answers = answers(n, attempt, paper, key);
    let event = |at_ms, kind| Event {
        candidate: person(n).to_vec().into(),
        attempt,
        epoch: 1,
        at_ms,
        kind: Some(kind),
    };
    let started = Started {
        round: attempt,
        area: area.to_owned(),
        unit: unit(n),
        deadline_ms,
        item_ids: paper.item_ids(),
        option_order: paper.option_order().into(),
        form_code: paper.form_code.to_vec().into(),
        repaired: paper.repaired,
        ..Started::default()
    };
    let (by, ended_at_ms) = match n {
        4 | 8 => (EndedBy::Candidate, deadline_ms),
        _ if n % 4 == 1 => (EndedBy::Deadline, deadline_ms),
        _ if n % 4 == 2 => (EndedBy::Organizer, started_at_ms + 400_000),
        _ => (
            EndedBy::Candidate,
            started_at_ms + 300_000 + u64::from(n) * 7,
        ),
    };
    let ended = Ended {
        by: by.into(),
        last_seq: u32::try_from(answers.len()).unwrap(),
        chain: chain(&person(n), attempt, &paper.form_code, &answers).into(),
        ended_at_ms,
        cause: None,
    };
    let (quanta, n_correct) = score(paper, key, &answers);
    let mut events = vec![event(started_at_ms, Kind::Started(started))];
    for answer in answers {
        let at_ms = started_at_ms + u64::from(answer.seq) * 10_000;
        events.push(event(at_ms, Kind::Answered(answer)));
    }
    let waits_ms = match by {
        EndedBy::Deadline => 70_000, // behind grace and late sync
        _ => 0,
    };
    events.push(event(ended_at_ms + waits_ms, Kind::Ended(ended)));
    let fact = Fact {
        candidate: person(n),
        attempt,
        area,
        unit: unit(n),
        quanta,
        n_correct,
        net_time_ms: ended_at_ms - started_at_ms,
        submitted_at_ms: ended_at_ms,
        ended_by: by,
        form_code: paper.form_code,
    };
    (events, fact)
}

/// Persons 4, 5 and 8 answer nothing. The others answer all positions, change the first one, and
/// clear the second one again if their number is 3.
fn answers(n: u8, attempt: u32, paper: &Paper, key: &KeyHalf) -> Vec<Answered> {
    if matches!(n, 4 | 5 | 8) {
        return Vec::new();
    }
    let mut responses = vec![(0, Some(chosen(0b10)))];
    for (position, item) in (0_u32..).zip(&paper.items) {
        let luck = position + u32::from(n) + attempt;
        let response = match item.section {
            0 | 1 => chosen(choice(item, right_of(key, item.item_id), luck)),
            _ => other_response(n, item.item_id, luck),
        };
        responses.push((position, Some(response)));
    }
    if n == 3 {
        responses.push((1, Some(Response { value: None })));
    }
    numbered(responses)
}

/// Numbers responses to positions.
fn numbered(responses: impl IntoIterator<Item = (u32, Option<Response>)>) -> Vec<Answered> {
    let answered = |(seq, (position, response))| Answered {
        seq,
        position,
        response,
        ..Answered::default()
    };
    (1..).zip(responses).map(answered).collect()
}

/// The first option, the first right one or all right ones.
fn choice(item: &DrawnItem, right: u32, luck: u32) -> u32 {
    let shows_right = |slot: &usize| right >> item.option_order[*slot] & 1 == 1;
    let right_slots = (0..item.option_order.len()).filter(shows_right);
    match luck % 4 {
        0 => 0b1,
        1 => right_slots.take(1).map(|slot| 1 << slot).sum(),
        _ => right_slots.map(|slot| 1 << slot).sum(),
    }
}

/// All right, half right, or nothing right.
fn other_response(n: u8, item_id: u32, luck: u32) -> Response {
    let sequence =
        |answers: [&[u8]; 3]| Value::Sequence(answers[luck as usize % 3].to_vec().into());
    let text = |answers: [&str; 3]| Value::Text(answers[luck as usize % 3].to_owned());
    let value = match item_id {
        21 => sequence([&[1, 2, 1, 2], &[1, 2, 0, 0], &[2, 1, 2, 1]]),
        22 => sequence([&[3, 1, 2], &[3, 0, 0], &[1, 2, 3]]),
        23 => sequence([&[2, 0, 3, 1], &[2, 0, 1, 3], &[0, 3, 1, 2]]),
        24 => text(["3,14", "3.145", "3"]),
        25 => text(["ha noi", "HÀ  NỘI ", "Huế"]),
        26 => text(["1954\u{1f}điện biên phủ", "1954", "\u{1f}phủ"]),
        _ => Value::Text(format!("{}", u32::from(n) * 100)), // the prediction
    };
    Response { value: Some(value) }
}

fn right_of(key: &KeyHalf, item_id: u32) -> u32 {
    let is_it = |key: &&ItemKey| key.item_id == item_id;
    key.keys.iter().find(is_it).unwrap().right_options
}

fn chain(candidate: &[u8; 16], attempt: u32, form_code: &[u8; 8], answers: &[Answered]) -> Vec<u8> {
    let mut bytes = b"khoa-bang chain v1".to_vec();
    bytes.push(u8::try_from(EXAM_ID.len()).unwrap());
    bytes.extend(EXAM_ID.as_bytes());
    bytes.extend(candidate);
    bytes.extend(attempt.to_le_bytes());
    bytes.extend(form_code);
    for answer in answers {
        bytes = Sha256::digest(&bytes).to_vec();
        bytes.extend(answer.seq.to_le_bytes());
        bytes.extend(answer.position.to_le_bytes());
        match &answer.response.as_ref().unwrap().value {
            None => bytes.push(0),
            Some(Value::Chosen(bits)) => bytes.extend([&[1], &bits.to_le_bytes()[..]].concat()),
            Some(Value::Text(text)) => bytes.extend([&[2], text.as_bytes()].concat()),
            Some(Value::Sequence(sequence)) => bytes.extend([&[3], &sequence[..]].concat()),
        }
    }
    Sha256::digest(&bytes).to_vec()
}

/// Quanta and number of right items.
fn score(paper: &Paper, key: &KeyHalf, answers: &[Answered]) -> (u64, u32) {
    let mut quanta = 0;
    let mut n_correct = 0;
    for (position, item) in paper.items.iter().enumerate() {
        let is_here = |answer: &&Answered| answer.position == u32::try_from(position).unwrap();
        let newest = answers.iter().rev().find(is_here);
        let value = newest.and_then(|answer| answer.response.as_ref().unwrap().value.clone());
        let Some(Value::Chosen(bits)) = value else {
            continue;
        };
        let right = right_of(key, item.item_id);
        let is_right = |option: &u8| right >> option & 1 == 1;
        let slots = item.option_order.iter().enumerate();
        let chosen: Vec<u8> = slots
            .filter(|(slot, _)| bits >> slot & 1 == 1)
            .map(|(_, o)| *o)
            .collect();
        let k = u64::from(right.count_ones());
        let r = chosen.iter().filter(|option| is_right(option)).count() as u64;
        let n_chosen = chosen.len() as u64;
        let is_full = r == k && n_chosen == k;
        n_correct += u32::from(is_full);
        quanta += match item.section {
            0 if is_full => QUANTA_PER_POINT / 4,
            1 if n_chosen <= k => QUANTA_PER_POINT * 3 / 2 * r / k,
            _ => 0,
        };
    }
    (quanta, n_correct)
}

impl Fact {
    /// Less is better; attempts of one person are told apart by number.
    fn tuple(&self) -> (i64, i64, u64) {
        let down = |n: u64| -i64::try_from(n).unwrap();
        (
            down(self.quanta),
            down(self.n_correct.into()),
            self.net_time_ms,
        )
    }
}

fn result(facts: &[Fact]) -> String {
    let persons: Vec<&Fact> = (0..N_PERSONS)
        .map(|n| {
            let own = facts.iter().filter(|fact| fact.candidate == person(n));
            own.min_by_key(|fact| (fact.tuple(), fact.attempt)).unwrap()
        })
        .collect();
    let rank = |fact: &Fact, scope: &dyn Fn(&Fact) -> bool| {
        let better = |other: &&&Fact| scope(other) && other.tuple() < fact.tuple();
        1 + persons.iter().filter(better).count()
    };
    let mut rows: Vec<(usize, [u8; 16], String)> = Vec::new();
    for fact in &persons {
        let country = rank(fact, &|_| true);
        let area = rank(fact, &|other| other.area == fact.area);
        // Two places of 60,000 quanta: 600 quanta are a hundredth of a point.
        let hundredths = (fact.quanta + 300) / 600;
        let row = format!(
            "{country}\t{area}\t{}\t{}\t{}\t{}\t{}\t{}.{:02}\t{}\t{}\t{}\t-\t{}\t{}\t{}\t{}\n",
            hex::encode(fact.candidate),
            fact.area,
            fact.unit,
            fact.attempt, // the round of this exam
            fact.attempt,
            hundredths / 100,
            hundredths % 100,
            fact.quanta,
            fact.n_correct,
            if fact.quanta >= 2 * QUANTA_PER_POINT {
                "yes"
            } else {
                "no"
            },
            fact.net_time_ms,
            fact.submitted_at_ms,
            match fact.ended_by {
                EndedBy::Candidate => "candidate",
                EndedBy::Deadline => "deadline",
                _ => "organizer",
            },
            hex::encode(fact.form_code),
        );
        rows.push((country, fact.candidate, row));
    }
    rows.sort();
    let header = format!(
        "khoa-bang result\t2\nexam\t{EXAM_ID}\npaper\t-\nkey\t-\nkey_version\t1\nrulings\t0\t-\n\
         ranking\tscore,correct_count,net_time\ncounted\tbest\nprediction\t-\t-\nexcluded\t0\n\
         quanta_per_point\t{QUANTA_PER_POINT}\npersons\t{}\n\
         rank\tarea_rank\tcandidate\tarea\tunit\tround\tattempt\tscore\tquanta\tcorrect\tpassed\tprediction\t\
         net_time_ms\tsubmitted_at_ms\tended_by\tform\n",
        rows.len()
    );
    header + &rows.into_iter().map(|(_, _, row)| row).collect::<String>()
}

fn partition(candidate: &[u8; 16]) -> u32 {
    let bytes = [b"khoa-bang partition v1".as_slice(), candidate].concat();
    let hash = blake3::hash(&bytes);
    let first = hash.as_bytes()[..4].iter().rev();
    first.fold(0_u32, |n, byte| n << 8 | u32::from(*byte)) % N_PARTITIONS
}

fn number((partition, events): (u32, Vec<Event>)) -> Vec<LogEntry> {
    let entry = |(position, event): (u64, Event)| LogEntry {
        partition,
        position,
        event: Some(event),
    };
    (1..).zip(events).map(entry).collect()
}

/// Tampers with the exam and asserts that exactly these kinds of differences are found.
#[track_caller]
pub(crate) fn check(tamper: impl FnOnce(&mut TestExam), kinds: &[DifferenceKind]) {
    let mut exam = TestExam::new();
    tamper(&mut exam);
    assert_eq!(exam.kinds(), kinds);
}
