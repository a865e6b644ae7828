//! Proof of the alarms: kinds of spoilt keys are planted in simulated exams, and found.
//!
//! The kinds are the rows of [`kinds`]; a kind that the alarms cannot find stands in [`UNFOUND`], not left out.

use std::collections::BTreeSet;

use super::{
    Statistics,
    alarm::{Alarm, Evidence, alarms},
    simulation::{DIFFICULTIES, Exam, Form, MARK, Random, items},
};

const N_CANDIDATES: usize = 2_000;
const SEED: u64 = 20;

const FORMS: [(Form, usize); 7] = [
    (Form::Single(4), 12),
    (Form::Single(2), 6),
    (Form::Single(5), 6),
    (Form::Set, 6),
    (Form::PartialSet, 6),
    (Form::Cluster, 6),
    (Form::Text, 6),
];

/// Kinds that raise no alarm about a spoilt item, each with the reason.
const UNFOUND: &[(&str, &str)] = &[];

/// A way to spoil an exam, and the items it spoils.
struct Kind {
    name: String,
    spoilt: Vec<usize>,
    spoil: Box<dyn Fn(&mut Exam)>,
}

impl Kind {
    fn new(name: impl Into<String>, spoilt: Vec<usize>, spoil: impl Fn(&mut Exam) + 'static) -> Self {
        Self { name: name.into(), spoilt, spoil: Box::new(spoil) }
    }

    /// Changes the key of one item.
    fn of_key(name: String, idx: usize, change: impl Fn(u16) -> u16 + 'static) -> Self {
        Self::new(name, vec![idx], move |exam| exam.keys[idx] = change(exam.keys[idx]))
    }
}

/// Returns the first item of a section, and the number of its items.
fn section(section: usize) -> (usize, usize) {
    let first = FORMS[..section].iter().map(|&(_, n_items)| n_items).sum();
    (first, FORMS[section].1)
}

/// Returns an item of a section by difficulty: 0 easy, 1 medium, 2 hard.
fn item(of_section: usize, difficulty: usize) -> usize {
    section(of_section).0 + difficulty
}

fn rotate(key: u16, by: u32, n_options: u32) -> u16 {
    let all = (1 << n_options) - 1;
    (key << by | key >> (n_options - by)) & all
}

/// Moves keys of items with one option to be chosen.
fn single_kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (at, (level, _)) in DIFFICULTIES.iter().enumerate() {
        for (by, what) in [(1, "the most plausible option"), (2, "the second distractor"), (3, "the rarest option")] {
            let name = format!("one of 4, {level}: key moved to {what}");
            kinds.push(Kind::of_key(name, item(0, at), move |key| rotate(key, by, 4)));
        }
        for (by, what) in [(1, "the most plausible option"), (4, "the rarest option")] {
            let name = format!("one of 5, {level}: key moved to {what}");
            kinds.push(Kind::of_key(name, item(2, at), move |key| rotate(key, by, 5)));
        }
        let name = format!("true or false, {level}: flipped");
        kinds.push(Kind::of_key(name, item(1, at), |key| key ^ 0b11));
        let name = format!("one of 4, {level}: the key is an option that does not exist");
        kinds.push(Kind::of_key(name, item(0, at), |_| 1 << 7));
        let name = format!("one of 4, {level}: two options in the key, where one can be chosen");
        kinds.push(Kind::of_key(name, item(0, at), |key| key | rotate(key, 1, 4)));
    }
    kinds
}

fn lowest(set: u16) -> u16 {
    set & set.wrapping_neg()
}

/// Spoils sets of right options.
fn set_kinds() -> Vec<Kind> {
    type Change = fn(u16) -> u16;
    let changes: [(&str, Change); 5] = [
        ("one right option missing", |key| key ^ lowest(key)),
        ("one wrong option more", |key| key | lowest(!key & 0b11111)),
        ("a right option swapped for a wrong one", |key| key ^ lowest(key) ^ lowest(!key & 0b11111)),
        ("the complement", |key| !key & 0b11111),
        ("shifted by one option", |key| rotate(key, 1, 5)),
    ];
    let mut kinds = Vec::new();
    for (of_section, form) in [(3, "set, all or nothing"), (4, "set, partial marks")] {
        for (at, (level, _)) in DIFFICULTIES.iter().enumerate() {
            for (what, change) in changes {
                let name = format!("{form}, {level}: {what}");
                kinds.push(Kind::of_key(name, item(of_section, at), change));
            }
        }
    }
    kinds
}

/// Spoils the judgements of four statements.
fn cluster_kinds() -> Vec<Kind> {
    type Change = fn(u16) -> u16;
    let changes: [(&str, Change); 4] = [
        ("first statement flipped", |key| key ^ 0b0001),
        ("last two statements flipped", |key| key ^ 0b1100),
        ("all statements flipped", |key| key ^ 0b1111),
        ("statements in reverse", |key| key.reverse_bits() >> 12),
    ];
    let mut kinds = Vec::new();
    for (at, (level, _)) in DIFFICULTIES.iter().enumerate() {
        for (what, change) in changes {
            let name = format!("four statements, {level}: {what}");
            kinds.push(Kind::of_key(name, item(5, at), change));
        }
    }
    kinds
}

/// Spoils accepted answers: 0 is the true one, 1 and 2 are frequent mistakes, 3 is all others.
fn text_kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (at, (level, _)) in DIFFICULTIES.iter().enumerate() {
        for (accepted, what) in [
            (1 << 1, "a frequent mistake is the key"),
            (1 << 2, "a rarer mistake is the key"),
            (1 << 9, "an answer that nobody gives is the key"),
            (0b1111, "the tolerance accepts everything"),
        ] {
            let name = format!("text, {level}: {what}");
            kinds.push(Kind::of_key(name, item(6, at), move |_| accepted));
        }
        let idx = item(6, at);
        let name = format!("text, {level}: half of the right answers are written otherwise and refused");
        kinds.push(Kind::new(name, vec![idx], move |exam| {
            for (at, candidate) in exam.candidates.iter_mut().enumerate() {
                let answer = &mut candidate.answers[idx].1;
                // the second spelling is a text of its own
                *answer = if *answer == 0 && at % 2 == 0 { 4 } else { *answer };
            }
        }));
    }
    kinds
}

/// Spoils several items at once.
fn group_kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    let mut swap = |name: &str, one: usize, other: usize| {
        kinds.push(Kind::new(name, vec![one, other], move |exam| exam.keys.swap(one, other)));
    };
    swap("two neighbours' keys exchanged, one of 4", 0, 1);
    swap("keys of an easy and a hard item exchanged, one of 4", 3, 2);
    swap("keys exchanged between sections", 1, item(2, 2));
    swap("two neighbours' sets exchanged", item(3, 0), item(3, 1));
    swap("two clusters' keys exchanged", item(5, 0), item(5, 1));
    for (of_section, form) in [(0, "one of 4"), (2, "one of 5"), (3, "sets"), (5, "clusters")] {
        let (first, n_items) = section(of_section);
        let all: Vec<_> = (first..first + n_items).collect();
        let range = first..first + n_items;
        let shifted = range.clone();
        kinds.push(Kind::new(format!("keys of a section shifted down by one item, {form}"), all.clone(), move |exam| {
            exam.keys[shifted.clone()].rotate_right(1);
        }));
        kinds.push(Kind::new(format!("keys of a section in reverse, {form}"), all, move |exam| {
            exam.keys[range.clone()].reverse();
        }));
    }
    kinds.push(Kind::new("all keys of a section are the first option", (0..12).collect(), |exam| {
        exam.keys[..12].fill(1);
    }));
    kinds.push(Kind::new("letters of a section counted from the end", (0..12).collect(), |exam| {
        for key in &mut exam.keys[..12] {
            *key = key.reverse_bits() >> 12;
        }
    }));
    kinds
}

/// Spoils what candidates can answer, or how a part of the answers is read.
fn answer_kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (at, (level, _)) in DIFFICULTIES.iter().enumerate() {
        let idx = item(0, at);
        let name = format!("one of 4, {level}: a second option is right too");
        kinds.push(Kind::new(name, vec![idx], move |exam| {
            let twin = rotate(exam.items[idx].truth, 2, 4);
            let mut random = Random::new(99);
            for candidate in &mut exam.candidates {
                let answer = &mut candidate.answers[idx].1;
                let moves = *answer == exam.items[idx].truth && random.chance(0.5);
                *answer = if moves { twin } else { *answer };
            }
        }));
        for (share, what) in [(2, "half"), (4, "a quarter")] {
            let name = format!("one of 4, {level}: key wrong on the form that {what} of the candidates have");
            kinds.push(Kind::new(name, vec![idx], move |exam| {
                for candidate in exam.candidates.iter_mut().step_by(share) {
                    // their options stand in another order than the key supposes
                    let answer = &mut candidate.answers[idx].1;
                    *answer = rotate(*answer, 1, 4);
                }
            }));
        }
    }
    kinds
}

fn kinds() -> Vec<Kind> {
    let parts = [single_kinds(), set_kinds(), cluster_kinds(), text_kinds(), group_kinds(), answer_kinds()];
    parts.into_iter().flatten().collect()
}

fn exam(seed: u64, n_drawn: Option<usize>) -> Exam {
    let mut random = Random::new(seed);
    let items = items(&FORMS, &mut random);
    Exam::new(items, N_CANDIDATES, n_drawn, &mut random)
}

fn alarms_of(exam: &Exam) -> Vec<Alarm> {
    alarms(&exam.statistics(), exam.range())
}

fn items_of(alarms: &[Alarm]) -> BTreeSet<usize> {
    alarms.iter().filter_map(|alarm| alarm.item_id).map(|id| id as usize).collect()
}

/// Returns the spoilt items whose key has really changed, and those of them with an alarm.
fn found(sound: &Exam, kind: &Kind) -> (usize, usize, BTreeSet<usize>) {
    let mut exam = sound.clone();
    (kind.spoil)(&mut exam);
    let same_answers = |idx: usize| {
        let both = exam.candidates.iter().zip(&sound.candidates);
        both.into_iter().all(|(one, other)| one.answers[idx] == other.answers[idx])
    };
    let differs = |idx: usize| exam.keys[idx] != sound.keys[idx] || !same_answers(idx);
    let spoilt: BTreeSet<_> = kind.spoilt.iter().copied().filter(|&idx| differs(idx)).collect();
    let alarmed = items_of(&alarms_of(&exam));
    let others = alarmed.difference(&spoilt).copied().collect();
    (spoilt.len(), alarmed.intersection(&spoilt).count(), others)
}

#[test]
fn spoilt_keys_raise_alarms() {
    let sound = exam(SEED, None);
    assert_eq!(alarms_of(&sound), [], "a sound exam raises none");
    let (mut n_caught, mut n_others) = (0, 0);
    let mut missed = Vec::new();
    let kinds = kinds();
    for kind in &kinds {
        let (n_spoilt, n_found, others) = found(&sound, kind);
        assert!(n_spoilt > 0, "{} changes nothing", kind.name);
        println!("{:3} of {:3} spoilt items found, {} others: {}", n_found, n_spoilt, others.len(), kind.name);
        n_caught += usize::from(n_found > 0);
        n_others += others.len();
        if n_found == 0 {
            missed.push(&*kind.name);
        }
    }
    println!("{} kinds, {n_caught} found, {n_others} alarms about sound items beside them", kinds.len());
    let unfound: Vec<_> = UNFOUND.iter().map(|&(name, _)| name).collect();
    assert_eq!(missed, unfound);
    assert!(n_caught >= 50);
    let names: BTreeSet<_> = kinds.iter().map(|kind| &kind.name).collect();
    assert_eq!(names.len(), kinds.len(), "each kind is another");
}
