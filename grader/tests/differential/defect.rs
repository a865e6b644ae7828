//! One thing in an exam that may be wrong, so that both sides show what they refuse.

use proto::exam::v1::ExamUnit;
use rand::{RngExt, rngs::StdRng};

use crate::{item::bytes, pick, policy::Policy};

const DECIMALS: [&str; 22] = [
    "",
    "0",
    "0.0",
    "0.00000",
    "-1",
    "-0",
    "+1",
    "1.",
    ".5",
    "0.25000",
    "0.00001",
    "1e3",
    "1_0",
    "1,5",
    " 1",
    "ba",
    "999999999999999",
    "1000000000000000",
    "000001",
    "0.0001",
    "-0.5",
    "1.2.3",
];

/// Changes one thing and tells which.
pub(crate) fn break_something(policy: &mut Policy, rng: &mut StdRng) -> String {
    let decimal = pick(rng, &DECIMALS).to_owned();
    let at = rng.random_range(0..policy.blueprint.sections.len());
    let item_at = rng.random_range(0..policy.paper.items.len());
    match rng.random_range(0..9) {
        0 => {
            policy.blueprint.sections[at].mark.clone_from(&decimal);
            format!("mark {decimal:?}")
        }
        1 => {
            policy.blueprint.sections[at]
                .wrong_mark
                .clone_from(&decimal);
            format!("wrong mark {decimal:?}")
        }
        2 => {
            policy.rules_mut().pass_mark.clone_from(&decimal);
            format!("pass mark {decimal:?}")
        }
        3 => section(policy, at, rng),
        4 => rules(policy, rng),
        5 => units(policy, rng),
        6 => item(policy, item_at, rng),
        7 => key(policy, item_at, rng),
        _ => blank(policy, item_at, rng),
    }
}

fn section(policy: &mut Policy, at: usize, rng: &mut StdRng) -> String {
    let section = &mut policy.blueprint.sections[at];
    match rng.random_range(0..4) {
        0 => section.multiple_rule = 7,
        1 => section.ordering_rule = 5,
        2 => {
            let tables = [
                vec![0],
                vec![100],
                vec![0, 100],
                vec![0, 50, 40, 60, 80, 100],
                vec![10, 20, 30, 40, 50, 100],
                vec![0, 10, 20, 30, 40, 50, 60],
                vec![0, 0, 0, 0, 0, 0, 200],
                vec![0, 0, 100, 100, 100, 100, 100, 100],
            ];
            section.cluster_percent = pick(rng, &tables);
        }
        _ => policy.blueprint.sections.clear(),
    }
    format!("{:?}", policy.blueprint.sections.get(at))
}

fn rules(policy: &mut Policy, rng: &mut StdRng) -> String {
    let rules = policy.rules_mut();
    match rng.random_range(0..7) {
        0 => rules.score_decimals = rng.random_range(3..7),
        1 => rules.score_rounding = rng.random_range(3..5),
        2 => rules.counted_attempt = rng.random_range(3..5),
        3 => {
            rules.ranking = pick(
                rng,
                &[
                    vec![],
                    vec![0],
                    vec![1, 1],
                    vec![1, 8],
                    vec![6, 7, 1],
                    vec![-1],
                ],
            )
        }
        4 => {
            rules.ranking = pick(
                rng,
                &[
                    vec![1, 2, 3, 4],
                    vec![3, 4, 6],
                    vec![3, 4, 5, 6],
                    vec![1, 3, 4, 5, 2],
                    vec![1, 3, 4, 5],
                ],
            )
        }
        5 => rules.unit_ranking = pick(rng, &[vec![1, 5, 4], vec![0], vec![2, 2], vec![6]]),
        _ => rules.unit_threshold_percent = rng.random_range(99..102),
    }
    format!("{rules:?}")
}

fn units(policy: &mut Policy, rng: &mut StdRng) -> String {
    let unit = |unit, parent| ExamUnit {
        unit,
        parent,
        ..ExamUnit::default()
    };
    let units = &mut policy.rules_mut().units;
    match rng.random_range(0..7) {
        0 => units.push(unit(0, 0)),
        1 => units.push(unit(3, 0)),
        2 => units.push(unit(2_000, 2_001)),
        3 => units.push(unit(2_000, 2_000)),
        4 => units.push(ExamUnit {
            group: "ố".repeat(rng.random_range(39..43)),
            ..unit(2_000, 0)
        }),
        5 => {
            let n = rng.random_range(30..37);
            units.extend((0..n).map(|n| unit(5_000 + n, if n == 0 { 0 } else { 4_999 + n })));
        }
        _ => units.push(ExamUnit {
            head_count: u64::MAX - rng.random_range(0..3),
            ..unit(2_000, 0)
        }),
    }
    format!("{:?}", units.last())
}

fn item(policy: &mut Policy, at: usize, rng: &mut StdRng) -> String {
    let item = &mut policy.paper.items[at];
    match rng.random_range(0..7) {
        0 => item.r#type = rng.random_range(-1..12),
        1 => drop(item.options.pop()),
        2 => item.options = vec![Default::default(); rng.random_range(0..14)],
        3 => item.targets = vec![Default::default(); rng.random_range(0..14)],
        4 => item.n_blanks = rng.random_range(0..22),
        5 => drop(policy.key.keys.pop()),
        _ => item.revision = bytes(b"another"),
    }
    format!("{:?} {:?}", policy.paper.items[at], policy.key.keys.get(at))
}

fn key(policy: &mut Policy, at: usize, rng: &mut StdRng) -> String {
    let key = &mut policy.key.keys[at];
    match rng.random_range(0..9) {
        0 => key.right_options = pick(rng, &[0, 1, 3, 1 << 4, 1 << 12, 1 << 16, 1 << 31]),
        1 => key.accepted.push(pick(rng, &[0, 1, 3, 1 << 12, 1 << 31])),
        2 => key.sequences.push(bytes(&pick(
            rng,
            &[
                vec![],
                vec![0, 1],
                vec![0, 1, 2, 3],
                vec![1; 4],
                vec![200; 3],
            ],
        ))),
        3 => key.sequences.clear(),
        4 => key.blanks.clear(),
        5 => key.blanks.push(Default::default()),
        6 => key.treatment = rng.random_range(-1..5),
        7 => key.weight_percent = pick(rng, &[999, 1_000, 1_001, u32::MAX]),
        _ => key.item_id += 1,
    }
    format!("{:?} {key:?}", policy.paper.items[at])
}

fn blank(policy: &mut Policy, at: usize, rng: &mut StdRng) -> String {
    let keys = policy.key.keys.iter();
    let with_blanks = keys.enumerate().filter(|(_, key)| !key.blanks.is_empty());
    let at = with_blanks.map(|(at, _)| at).last().unwrap_or(at);
    let key = &mut policy.key.keys[at];
    if key.blanks.is_empty() {
        return "nothing".to_owned();
    }
    let blank = &mut key.blanks[0];
    let numbers = [
        "5.",
        ".5",
        "+5",
        "\u{2212}5",
        "-5",
        "1,5",
        "1.5",
        "1.2.3",
        "",
        " 5",
        "5e1",
        "1_0",
        "0000000000000001",
        "1.0000000000000",
    ];
    match rng.random_range(0..7) {
        0 => blank.accepted.clear(),
        1 => blank
            .accepted
            .push(pick(rng, &["", " ", "\u{301}", "\u{301} \u{301}", "x"]).to_owned()),
        2 => blank.accepted = vec![pick(rng, &numbers).to_owned()],
        3 => blank.tolerance = pick(rng, &numbers).to_owned(),
        4 => blank.relative_tolerance = pick(rng, &numbers).to_owned(),
        5 => blank.numeric = !blank.numeric,
        _ => blank.weight = pick(rng, &[99, 100, 101, u32::MAX]),
    }
    format!("{:?} {key:?}", policy.paper.items[at])
}
