//! Pairs that agree more than persons of their scores do.
//!
//! The p-value is that of the generalised binomial test over the items both answered; omega and the K-index are told
//! with it. It is corrected for all pairs of the scope that sat at the same time, compared exactly or not: a pair
//! that shares too little to be compared counts as one that found nothing.

use super::{
    limits::Limits,
    model::Model,
    multiple::{bonferroni, false_discovery},
    pairs::{Candidates, blocks},
    report::{Fact, Family, Flag, Kind, MAX_CUT_LISTED, MAX_SHARED, Report, Scope, SharedAnswer},
    sheet::{Common, Sheets, Stop},
    similarity,
};

/// The scopes of pairs; each may have a third of the wrong flags.
const SCOPES: [Scope; 3] = [Scope::Address, Scope::Unit, Scope::Area];

/// A pair that was compared.
#[derive(Clone, Copy)]
struct Compared {
    p_value: f64,
    a: u32,
    b: u32,
}

/// Compares pairs scope by scope and adds what it finds to the report.
pub(crate) fn look(
    sheets: &Sheets,
    model: &Model,
    limits: &Limits,
    stop: Stop,
    report: &mut Report,
) {
    let mut steps_left = limits.total_steps;
    let mut flags = Vec::new();
    for scope in SCOPES {
        let mut family = Family {
            scope,
            n_pairs: 0,
            n_evaluated: 0,
        };
        let mut compared = Vec::new();
        for block in blocks(sheets, scope) {
            if stop.now() {
                return;
            }
            family.n_pairs += block.n_pairs(sheets, limits.overlap_slack_ms);
            let max_steps = limits.block_steps.min(steps_left);
            let found = block.search(sheets, model, limits, max_steps, stop);
            steps_left -= found.n_steps;
            family.n_evaluated += found.pairs.len() as u64;
            compare(sheets, model, limits, &found, stop, &mut compared);
            if let Some(cut) = found.cut {
                report.n_cut_blocks += 1;
                if report.cut_blocks.len() < MAX_CUT_LISTED {
                    report.cut_blocks.push(cut);
                }
            }
        }
        flags.extend(decide(sheets, model, limits, family, compared));
        report.n_pairs_tested += family.n_pairs;
        report.families.push(family);
    }
    report.add(flags, limits.max_flags);
}

/// Keeps what could be a flag: a p-value above the level cannot be one whatever the others are.
fn compare(
    sheets: &Sheets,
    model: &Model,
    limits: &Limits,
    found: &Candidates,
    stop: Stop,
    compared: &mut Vec<Compared>,
) {
    for (at, &(a, b)) in found.pairs.iter().enumerate() {
        if stop.at(at) {
            return;
        }
        let p_value = p_value(sheets, model, a, b);
        if p_value <= limits.alpha {
            compared.push(Compared { p_value, a, b });
        }
    }
}

/// Returns the probability that two persons of these scores agree in as many answers as these two.
pub(crate) fn p_value(sheets: &Sheets, model: &Model, a: u32, b: u32) -> f64 {
    let common = sheets.common(a, b);
    let probs = probs_alike(sheets, model, a, b, &common);
    similarity::gbt(n_alike(sheets, a, b, &common), &probs)
}

fn decide(
    sheets: &Sheets,
    model: &Model,
    limits: &Limits,
    family: Family,
    mut compared: Vec<Compared>,
) -> Vec<Flag> {
    #[expect(clippy::cast_precision_loss, reason = "three scopes")]
    let level = limits.alpha / SCOPES.len() as f64;
    compared.sort_unstable_by(|x, y| {
        let by_p = x.p_value.total_cmp(&y.p_value);
        by_p.then((x.a, x.b).cmp(&(y.a, y.b)))
    });
    let p_values: Vec<f64> = compared.iter().map(|pair| pair.p_value).collect();
    let false_shares = false_discovery(&p_values, family.n_pairs);
    compared
        .into_iter()
        .zip(false_shares)
        .take_while(|(_, false_share)| *false_share <= level)
        .map(|(pair, false_share)| Flag {
            kind: Kind::Similar,
            scope: family.scope,
            attempts: vec![sheets.attempt_id(pair.a), sheets.attempt_id(pair.b)],
            n_attempts: 2,
            p_value: Some(pair.p_value),
            p_any: Some(bonferroni(pair.p_value, family.n_pairs)),
            false_share: Some(false_share),
            facts: facts(sheets, model, pair.a, pair.b),
            shared: shared(sheets, model, limits, pair.a, pair.b),
        })
        .collect()
}

fn probs_alike(sheets: &Sheets, model: &Model, a: u32, b: u32, common: &[Common]) -> Vec<f64> {
    let items = common.iter().map(|place| {
        let item_idx = sheets.sitting(a).answers[usize::from(place.a)].item_idx;
        model.p_alike(a, b, item_idx)
    });
    items.collect()
}

fn n_alike(sheets: &Sheets, a: u32, b: u32, common: &[Common]) -> u32 {
    let alike = common.iter().filter(|place| is_alike(sheets, a, b, place));
    count(alike.count())
}

fn is_alike(sheets: &Sheets, a: u32, b: u32, place: &Common) -> bool {
    sheets.sitting(a).answers[usize::from(place.a)].chosen
        == sheets.sitting(b).answers[usize::from(place.b)].chosen
}

fn facts(sheets: &Sheets, model: &Model, a: u32, b: u32) -> Vec<Fact> {
    let common = sheets.common(a, b);
    let n_matches = n_alike(sheets, a, b, &common);
    let probs = probs_alike(sheets, model, a, b, &common);
    let [second, first] =
        [(a, b), (b, a)].map(|(source, copier)| copied(sheets, model, source, copier));
    let [device_a, device_b] = [a, b].map(|at| sheets.sitting(at).device_tag);
    let same_device = device_a != 0 && device_a == device_b;
    let log10 = |k: f64| k.max(f64::MIN_POSITIVE).log10();
    let fact = |name, value| Fact { name, value };
    vec![
        fact("common_items", f64::from(count(common.len()))),
        fact("alike", f64::from(n_matches)),
        fact("alike_expected", probs.iter().sum()),
        fact("alike_wrong", f64::from(second.n_alike_wrong)),
        fact("same_device", f64::from(u8::from(same_device))),
        fact("omega", similarity::omega(n_matches, &probs)),
        fact("omega_second_from_first", second.omega),
        fact("omega_first_from_second", first.omega),
        fact("k_log10_second_from_first", log10(second.k)),
        fact("k_log10_first_from_second", log10(first.k)),
    ]
}

/// How well copying in one direction explains a pair.
struct Copied {
    omega: f64,
    k: f64,
    n_alike_wrong: u32,
}

fn copied(sheets: &Sheets, model: &Model, source: u32, copier: u32) -> Copied {
    let common = sheets.common(source, copier);
    let of_source = |place: &Common| sheets.sitting(source).answers[usize::from(place.a)];
    let p = |place: &Common| model.p(copier, of_source(place).item_idx, of_source(place).chosen);
    let probs: Vec<f64> = common.iter().map(p).collect();
    let wrong = common.iter().filter(|place| of_source(place).is_wrong());
    let wrong: Vec<Common> = wrong.copied().collect();
    let n_alike_wrong = n_alike(sheets, source, copier, &wrong);
    let agreement = wrong.iter().map(p).sum::<f64>() / f64::from(count(wrong.len()).max(1));
    Copied {
        omega: similarity::omega(n_alike(sheets, source, copier, &common), &probs),
        k: similarity::k_index(count(wrong.len()), n_alike_wrong, agreement),
        n_alike_wrong,
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a paper has fewer items")
}

fn shared(sheets: &Sheets, model: &Model, limits: &Limits, a: u32, b: u32) -> Vec<SharedAnswer> {
    let [of_a, of_b] = [a, b].map(|at| sheets.sitting(at));
    let mut shared: Vec<SharedAnswer> = sheets
        .common(a, b)
        .iter()
        .filter(|place| is_alike(sheets, a, b, place))
        .map(|place| (place, of_a.answers[usize::from(place.a)]))
        .filter(|(_, answer)| answer.is_wrong())
        .map(|(place, answer)| SharedAnswer {
            item_id: sheets.item_id(answer.item_idx),
            chosen: if sheets.is_choice(answer.item_idx) {
                answer.chosen
            } else {
                0
            },
            share: model.share(answer.item_idx, answer.chosen),
            positions: [place.a, place.b],
            at_ms: [
                of_a.started_at_ms + u64::from(answer.at_s) * 1_000,
                of_b.started_at_ms + u64::from(of_b.answers[usize::from(place.b)].at_s) * 1_000,
            ],
        })
        .filter(|answer| answer.share <= limits.rare_share)
        .collect();
    shared.sort_by(|x, y| x.share.total_cmp(&y.share).then(x.item_id.cmp(&y.item_id)));
    shared.truncate(MAX_SHARED);
    shared
}
