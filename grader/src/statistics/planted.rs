//! Proof of the alarms: kinds of spoilt keys are planted in simulated exams, and found.
//!
//! The kinds are the rows of [`kinds`]; a kind that the alarms cannot find stands in [`UNFOUND`], not left out.

use std::collections::BTreeSet;

use super::{
    alarm::{Alarm, Evidence, alarms},
    irt::{self, Model, Settings},
    simulation::{Candidate, DIFFICULTIES, Exam, Form, Item, MARK, Random, items},
    to_bank,
};

const N_CANDIDATES: usize = 1_000;
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
const UNFOUND: [(&str, &str); 5] = [
    (
        "one of 4, medium: two options in the key, where one can be chosen",
        "most who choose the right one guess too; two sound answers of unequal appeal look the same",
    ),
    (
        "one of 4, hard: two options in the key, where one can be chosen",
        "the same",
    ),
    (
        "one of 4, medium: a second option is right too",
        "its choosers are diluted by those who guess; the best distractors of sound items look the same",
    ),
    ("one of 4, hard: a second option is right too", "the same"),
    (
        "one of 4, hard: key wrong on the form that a quarter of the candidates have",
        "the other three quarters hide it",
    ),
];

/// A way to spoil an exam, and the items it spoils.
struct Kind {
    name: String,
    spoilt: Vec<usize>,
    spoil: Box<dyn Fn(&mut Exam)>,
}

impl Kind {
    fn new(
        name: impl Into<String>,
        spoilt: Vec<usize>,
        spoil: impl Fn(&mut Exam) + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            spoilt,
            spoil: Box::new(spoil),
        }
    }

    /// Changes the key of one item.
    fn of_key(name: String, idx: usize, change: impl Fn(u16) -> u16 + 'static) -> Self {
        Self::new(name, vec![idx], move |exam| {
            exam.keys[idx] = change(exam.keys[idx])
        })
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
        for (by, what) in [
            (1, "the most plausible option"),
            (2, "the second distractor"),
            (3, "the rarest option"),
        ] {
            let name = format!("one of 4, {level}: key moved to {what}");
            kinds.push(Kind::of_key(name, item(0, at), move |key| {
                rotate(key, by, 4)
            }));
        }
        for (by, what) in [(1, "the most plausible option"), (4, "the rarest option")] {
            let name = format!("one of 5, {level}: key moved to {what}");
            kinds.push(Kind::of_key(name, item(2, at), move |key| {
                rotate(key, by, 5)
            }));
        }
        let name = format!("true or false, {level}: flipped");
        kinds.push(Kind::of_key(name, item(1, at), |key| key ^ 0b11));
        let name = format!("one of 4, {level}: the key is an option that does not exist");
        kinds.push(Kind::of_key(name, item(0, at), |_| 1 << 7));
        let name = format!("one of 4, {level}: two options in the key, where one can be chosen");
        kinds.push(Kind::of_key(name, item(0, at), |key| {
            key | rotate(key, 1, 4)
        }));
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
        ("a right option swapped for a wrong one", |key| {
            key ^ lowest(key) ^ lowest(!key & 0b11111)
        }),
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
        let name =
            format!("text, {level}: half of the right answers are written otherwise and refused");
        kinds.push(Kind::new(name, vec![idx], move |exam| {
            for (at, candidate) in exam.candidates.iter_mut().enumerate() {
                let answer = &mut candidate.answers[idx].1;
                // the second spelling is a text of its own
                *answer = if *answer == 0 && at % 2 == 0 {
                    4
                } else {
                    *answer
                };
            }
        }));
    }
    kinds
}

/// Spoils several items at once.
fn group_kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    let mut swap = |name: &str, one: usize, other: usize| {
        kinds.push(Kind::new(name, vec![one, other], move |exam| {
            exam.keys.swap(one, other)
        }));
    };
    swap("two neighbours' keys exchanged, one of 4", 0, 1);
    swap("keys of an easy and a hard item exchanged, one of 4", 3, 2);
    swap("keys exchanged between sections", 1, item(2, 2));
    swap("two neighbours' sets exchanged", item(3, 0), item(3, 1));
    swap("two clusters' keys exchanged", item(5, 0), item(5, 1));
    for (of_section, form) in [
        (0, "one of 4"),
        (2, "one of 5"),
        (3, "sets"),
        (5, "clusters"),
    ] {
        let (first, n_items) = section(of_section);
        let all: Vec<_> = (first..first + n_items).collect();
        let range = first..first + n_items;
        let shifted = range.clone();
        kinds.push(Kind::new(
            format!("keys of a section shifted down by one item, {form}"),
            all.clone(),
            move |exam| {
                exam.keys[shifted.clone()].rotate_right(1);
            },
        ));
        kinds.push(Kind::new(
            format!("keys of a section in reverse, {form}"),
            all,
            move |exam| {
                exam.keys[range.clone()].reverse();
            },
        ));
    }
    kinds.push(Kind::new(
        "keys of the whole exam shifted down by one item",
        (0..48).collect(),
        |exam| {
            exam.keys.rotate_right(1);
        },
    ));
    kinds.push(Kind::new(
        "letters of all single answers moved by one",
        (0..24).collect(),
        |exam| {
            for (key, item) in exam.keys.iter_mut().zip(&exam.items).take(24) {
                if let Form::Single(n_options) = item.form {
                    *key = rotate(*key, 1, u32::from(n_options));
                }
            }
        },
    ));
    kinds.push(Kind::new(
        "all keys of a section are the first option",
        (0..12).collect(),
        |exam| {
            exam.keys[..12].fill(1);
        },
    ));
    kinds.push(Kind::new(
        "letters of a section counted from the end",
        (0..12).collect(),
        |exam| {
            for key in &mut exam.keys[..12] {
                *key = key.reverse_bits() >> 12;
            }
        },
    ));
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
            let name = format!(
                "one of 4, {level}: key wrong on the form that {what} of the candidates have"
            );
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
    let parts = [
        single_kinds(),
        set_kinds(),
        cluster_kinds(),
        text_kinds(),
        group_kinds(),
        answer_kinds(),
    ];
    parts.into_iter().flatten().collect()
}

fn exam(seed: u64, n_drawn: Option<usize>) -> Exam {
    let mut random = Random::new(seed);
    let items = items(&FORMS, &mut random);
    Exam::new(items, N_CANDIDATES, n_drawn, &mut random)
}

fn alarms_of(exam: &Exam) -> Vec<Alarm> {
    alarms(&exam.statistics())
}

fn items_of(alarms: &[Alarm]) -> BTreeSet<usize> {
    alarms
        .iter()
        .filter_map(|alarm| alarm.item_id)
        .map(|id| id as usize)
        .collect()
}

/// Returns the spoilt items whose key has really changed, and those of them with an alarm.
fn found(sound: &Exam, kind: &Kind) -> (usize, usize, BTreeSet<usize>) {
    let mut exam = sound.clone();
    (kind.spoil)(&mut exam);
    let same_answers = |idx: usize| {
        let both = exam.candidates.iter().zip(&sound.candidates);
        both.into_iter()
            .all(|(one, other)| one.answers[idx] == other.answers[idx])
    };
    let differs = |idx: usize| exam.keys[idx] != sound.keys[idx] || !same_answers(idx);
    let spoilt: BTreeSet<_> = kind
        .spoilt
        .iter()
        .copied()
        .filter(|&idx| differs(idx))
        .collect();
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
        println!(
            "{:3} of {:3} spoilt items found, {} others: {}",
            n_found,
            n_spoilt,
            others.len(),
            kind.name
        );
        n_caught += usize::from(n_found > 0);
        n_others += others.len();
        if n_found == 0 {
            missed.push(&*kind.name);
        }
    }
    println!(
        "{} kinds, {n_caught} found, {n_others} alarms about sound items beside them",
        kinds.len()
    );
    let unfound: Vec<_> = UNFOUND.iter().map(|&(name, _)| name).collect();
    assert_eq!(missed, unfound);
    assert!(n_caught >= 50);
    let names: BTreeSet<_> = kinds.iter().map(|kind| &kind.name).collect();
    assert_eq!(names.len(), kinds.len(), "each kind is another");
}

#[test]
fn two_answers_that_are_both_accepted_raise_none() {
    let mut random = Random::new(SEED);
    let mut items = items(&FORMS, &mut random);
    for item in &mut items[..12] {
        item.twin = Some(rotate(item.truth, 2, 4));
    }
    let mut sound = Exam::new(items, N_CANDIDATES, None, &mut random);
    for (key, item) in sound.keys.iter_mut().zip(&sound.items) {
        *key |= item.twin.unwrap_or(0);
    }
    assert_eq!(alarms_of(&sound), []);
}

#[test]
fn a_spoilt_key_is_found_among_three_hundred_candidates() {
    let mut sound = exam(SEED, None);
    sound.candidates.truncate(300);
    assert_eq!(alarms_of(&sound), []);
    for difficulty in 0..3 {
        let mut exam = sound.clone();
        let idx = item(0, difficulty);
        exam.keys[idx] = rotate(exam.keys[idx], 1, 4);
        assert_eq!(items_of(&alarms_of(&exam)), BTreeSet::from([idx]));
    }
    // so few that they cannot tell
    sound.candidates.truncate(99);
    sound.keys[item(0, 0)] = rotate(sound.keys[item(0, 0)], 1, 4);
    assert_eq!(alarms_of(&sound), []);
}

#[test]
fn a_spoilt_key_is_found_on_papers_drawn_by_random() {
    let sound = exam(SEED, Some(24));
    assert_eq!(alarms_of(&sound), []);
    for difficulty in 0..3 {
        let mut exam = sound.clone();
        let idx = item(0, difficulty);
        exam.keys[idx] = rotate(exam.keys[idx], 1, 4);
        assert_eq!(items_of(&alarms_of(&exam)), BTreeSet::from([idx]));
    }
}

/// Lets half of some candidates know the answer to an item.
fn leak(exam: &mut Exam, idx: usize, is_told: impl Fn(&Candidate) -> bool) {
    let mut random = Random::new(8);
    let truth = exam.items[idx].truth;
    let told = exam
        .candidates
        .iter_mut()
        .filter(|candidate| is_told(candidate));
    for candidate in told {
        let answer = &mut candidate.answers[idx].1;
        *answer = if random.chance(0.6) { truth } else { *answer };
    }
}

#[track_caller]
fn check_leak(is_told: impl Fn(&Candidate) -> bool, is_found: impl Fn(&Evidence) -> bool) {
    let mut exam = exam(SEED, None);
    let idx = item(0, 2);
    leak(&mut exam, idx, is_told);
    let alarms = alarms_of(&exam);
    assert_eq!(items_of(&alarms), BTreeSet::from([idx]), "{alarms:?}");
    assert!(
        alarms.iter().any(|alarm| is_found(&alarm.evidence)),
        "{alarms:?}"
    );
}

#[test]
fn an_item_that_leaks_is_found() {
    let last = 3;
    check_leak(
        |it| it.cohort >= last,
        |it| matches!(it, Evidence::EasierSince { cohort, .. } if *cohort == last),
    );
    check_leak(
        |it| it.area == 4,
        |it| matches!(it, Evidence::EasierIn { area: 4, .. }),
    );
}

#[test]
fn scores_that_cannot_occur_are_found() {
    let exam = exam(SEED, None);
    let mut statistics = exam.statistics();
    statistics.range.max_quanta = 30 * MARK;
    let found = alarms(&statistics);
    assert!(!found.is_empty() && found.len() <= 20);
    let too_high = |alarm: &Alarm| match alarm.evidence {
        Evidence::UnreachableScore { total } => total > 30 * MARK,
        _ => false,
    };
    assert!(found.iter().all(too_high));
}

#[test]
fn the_bank_gets_numbers_and_alarms_of_each_item() {
    let mut exam = exam(SEED, None);
    exam.keys[1] = rotate(exam.keys[1], 1, 4);
    let statistics = exam.statistics();
    let alarms = alarms(&statistics);
    let patterns: Vec<_> = exam.candidates.iter().map(|it| exam.pattern(it)).collect();
    let coarse = Settings {
        n_nodes: 11,
        max_rounds: 5,
        tolerance: 0.01,
    };
    let fit = irt::fit(Model::TwoParameter, exam.items.len(), &patterns, &coarse);
    let rows = to_bank(&statistics, Some(&fit), &alarms);
    assert_eq!(rows.len(), exam.items.len());
    assert!(
        !rows[1].alarms.is_empty() && rows[1].discrimination < Some(0.0) && rows[1].a < Some(0.0)
    );
    assert!(
        rows[0].alarms.is_empty() && rows[0].discrimination > Some(0.1) && rows[0].a > Some(0.3)
    );
    assert!(rows.iter().all(|row| row.n == 1_000 && row.b_se.is_some()));
    let without_fit = to_bank(&statistics, None, &[]);
    assert!(
        without_fit
            .iter()
            .all(|row| row.a.is_none() && row.alarms.is_empty())
    );
}

/// Returns how many of some sound exams raised an alarm, and all their evidence.
fn false_alarms(
    n_exams: u64,
    n_candidates: usize,
    n_drawn: Option<usize>,
    extreme: bool,
) -> (usize, Vec<Evidence>) {
    let share = 5;
    let forms = [
        (Form::Single(4), 8 * share),
        (Form::Single(2), 2 * share),
        (Form::Single(5), 2 * share),
        (Form::Set, 2 * share),
        (Form::PartialSet, 2 * share),
        (Form::Cluster, 2 * share),
        (Form::Text, 2 * share),
    ];
    let (mut n_alarmed, mut evidence) = (0, Vec::new());
    for seed in 0..n_exams {
        let mut random = Random::new(1_000 + seed);
        let mut items = items(&forms, &mut random);
        if extreme {
            make_extreme(&mut items);
        }
        let raised = alarms_of(&Exam::new(items, n_candidates, n_drawn, &mut random));
        n_alarmed += usize::from(!raised.is_empty());
        evidence.extend(raised.into_iter().map(|alarm| alarm.evidence));
    }
    println!(
        "{n_candidates} candidates, drawn {n_drawn:?}, extreme {extreme}: {n_alarmed} of {n_exams} exams: {evidence:?}"
    );
    (n_alarmed, evidence)
}

#[test]
#[ignore = "measures the rate that the module of the alarms states, for minutes"]
fn the_rate_of_false_alarms_is_measured() {
    for extreme in [false, true] {
        false_alarms(200, 200, None, extreme);
        false_alarms(200, 500, None, extreme);
        false_alarms(200, 2_000, None, extreme);
        false_alarms(20, 10_000, None, extreme);
        false_alarms(50, 5_000, Some(40), extreme);
    }
}

/// Makes items much too easy, much too hard, or nearly unrelated to ability.
fn make_extreme(items: &mut [Item]) {
    for (at, item) in items.iter_mut().enumerate() {
        match at % 5 {
            0 => item.b += 1.5,
            1 => item.b -= 1.5,
            2 => item.a = 0.3,
            _ => (),
        }
    }
}
