//! What the analysis finds in simulated contests, and what it does not.

use std::{
    cell::Cell,
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use proto::exam::v1::{LogEntry, event};

use super::{
    contest::{Contest, Plan, UNIT_SIZE, id},
    *,
};
use crate::{CandidateId, Error, control_candidate};

/// Everybody has the same 40 items.
const FIXED: Plan = Plan {
    seed: 1,
    n_persons: 400,
    units_per_area: 5,
    n_bank: 40,
    n_paper: 40,
};
/// Two thirds of a paper's items are on another one's.
const RANDOM: Plan = Plan {
    n_bank: 75,
    n_paper: 50,
    ..FIXED
};

fn collect<'a>(
    contest: &Contest,
    entries: impl IntoIterator<Item = &'a LogEntry>,
    max_places: usize,
) -> Collector {
    let mut collector = Collector::new(Arc::clone(&contest.log.package), max_places);
    for entry in entries {
        collector.apply_entry(entry).unwrap();
    }
    for (item_id, curve) in contest.curves() {
        assert!(collector.calibrate(item_id, curve));
    }
    collector
}

fn report_with(mut contest: Contest, limits: &Limits) -> Report {
    contest.write(|_| {});
    let collector = collect(&contest, &contest.log.entries, limits.max_places);
    analyse(&collector, limits, &|| false)
}

fn report(contest: Contest) -> Report {
    report_with(contest, &Limits::default())
}

/// Returns the persons of each flag of a kind.
fn found(report: &Report, kind: Kind) -> BTreeSet<Vec<CandidateId>> {
    let flags = report.flags.iter().filter(|flag| flag.kind == kind);
    flags
        .map(|flag| flag.attempts.iter().map(|id| id.candidate).collect())
        .collect()
}

fn group(persons: impl IntoIterator<Item = usize>) -> Vec<CandidateId> {
    let mut ids: Vec<CandidateId> = persons.into_iter().map(id).collect();
    ids.sort_unstable();
    ids
}

fn chosen_in(report: &Report, kind: Kind) -> BTreeSet<Scope> {
    let flags = report.flags.iter().filter(|flag| flag.kind == kind);
    flags.map(|flag| flag.scope).collect()
}

/// Each kind may flag an honest contest with the chance that was asked for; the bound is three standard deviations
/// above it.
#[test]
fn honest_contests_are_flagged_no_more_often_than_stated() {
    const N_CONTESTS: u32 = 40;
    let alphas = [0.2, Limits::default().alpha];
    let mut n_flagged = [[0u32; 6]; 2];
    for seed in 0..N_CONTESTS {
        let plan = if seed % 2 == 0 { FIXED } else { RANDOM };
        let seed = 100 + u64::from(seed);
        let mut contest = Contest::new(&Plan { seed, ..plan });
        contest.write(|_| {});
        let collector = collect(&contest, &contest.log.entries, usize::MAX);
        for (alpha, n_flagged) in alphas.into_iter().zip(&mut n_flagged) {
            let limits = Limits {
                alpha,
                ..Limits::default()
            };
            let report = analyse(&collector, &limits, &|| false);
            assert!(report.is_complete && report.n_cut_blocks == 0);
            for kind in Kind::ALL {
                n_flagged[kind as usize] += u32::from(!found(&report, kind).is_empty());
            }
        }
    }
    for (alpha, n_flagged) in alphas.into_iter().zip(n_flagged) {
        println!("flagged of {N_CONTESTS} honest contests at {alpha}, by kind: {n_flagged:?}");
        let expected = alpha * f64::from(N_CONTESTS);
        let bound = expected + 3.0 * (expected * (1.0 - alpha)).sqrt();
        for (kind, n) in Kind::ALL.iter().zip(n_flagged) {
            assert!(f64::from(n) <= bound, "{kind:?}: {n} of at most {bound}");
        }
    }
}

#[test]
fn honest_pairs_are_no_more_alike_than_their_p_values_say() {
    for plan in [FIXED, RANDOM] {
        let mut contest = Contest::new(&plan);
        contest.write(|_| {});
        let collector = collect(&contest, &contest.log.entries, usize::MAX);
        let sheets = Sheets::new(&collector);
        let model = Model::new(&sheets, Stop(&|| false));
        let n = u32::try_from(plan.n_persons).unwrap();
        let pairs = (0..n)
            .step_by(7)
            .flat_map(|a| (a + 1..n).map(move |b| (a, b)));
        let mut p_values: Vec<f64> = pairs
            .map(|(a, b)| copying::p_value(&sheets, &model, a, b))
            .collect();
        p_values.sort_by(f64::total_cmp);
        for level in [1e-1, 1e-2, 1e-3] {
            let n_below = p_values.partition_point(|p| *p <= level);
            let share = n_below as f64 / p_values.len() as f64;
            println!("{share:.5} of {} honest pairs at {level}", p_values.len());
            assert!(share <= level, "{share} at {level}");
        }
    }
}

/// Copiers next to their source, in its unit and in its area are found, each in the narrowest place, and nobody else.
#[track_caller]
fn check_copiers(plan: Plan, share: f64) {
    let mut contest = Contest::new(&plan);
    let mut expected = BTreeSet::new();
    for unit in 0..3 {
        let (copier, source) = contest.weak_and_fair(unit);
        contest.copy(copier, source, share);
        if unit > 0 {
            contest.doers[copier].address_tag = 0;
        }
        if unit > 1 {
            contest.doers[copier].unit = 0;
        }
        expected.insert(group([copier, source]));
    }
    let report = report(contest);
    assert_eq!(found(&report, Kind::Similar), expected);
    let scopes = BTreeSet::from([Scope::Address, Scope::Unit, Scope::Area]);
    assert_eq!(chosen_in(&report, Kind::Similar), scopes);
    for flag in report
        .flags
        .iter()
        .filter(|flag| flag.kind == Kind::Similar)
    {
        assert!(flag.p_any.unwrap() <= 0.01 && !flag.shared.is_empty());
        assert!(
            flag.facts
                .iter()
                .any(|fact| fact.name == "omega" && fact.value > 4.0)
        );
    }
}

#[test]
fn copiers_of_one_form_are_found() {
    check_copiers(FIXED, 0.9);
}

#[test]
fn copiers_on_random_papers_are_found() {
    check_copiers(RANDOM, 1.0);
}

#[test]
fn equal_sheets_are_found_wherever_they_are() {
    let mut contest = Contest::new(&FIXED);
    let (_, source) = contest.weak_and_fair(0);
    let ring = [source, 5 * UNIT_SIZE, 9 * UNIT_SIZE + 1];
    for copier in &ring[1..] {
        contest.copy(*copier, source, 1.0);
    }
    let report = report(contest);
    assert_eq!(found(&report, Kind::Double), BTreeSet::from([group(ring)]));
}

#[test]
fn rapid_guessers_are_found() {
    let mut contest = Contest::new(&RANDOM);
    let guessers = [3, 77, 200, 399];
    for n in guessers {
        contest.doers[n].guess_half(&mut contest.rng);
    }
    let report = report(contest);
    let expected = guessers.iter().map(|&n| group([n])).collect();
    assert_eq!(found(&report, Kind::RapidGuessing), expected);
}

#[test]
fn devices_and_addresses_with_too_many_persons_are_found() {
    let mut contest = Contest::new(&FIXED);
    for n in [1, 100, 300] {
        contest.doers[n].device_tag = 999_999;
        contest.doers[n + 1].device_tag = 9_000 + n as u64 / 200; // two of a family
    }
    for n in 0..100 {
        contest.doers[n].address_tag = 7;
    }
    let report = report(contest);
    let devices = found(&report, Kind::SharedDevice);
    assert_eq!(devices, BTreeSet::from([group([1, 100, 300])]));
    let addresses = found(&report, Kind::SharedAddress);
    assert_eq!(addresses, BTreeSet::from([group(0..100)]));
}

#[test]
fn a_known_address_may_have_more_persons() {
    let mut contest = Contest::new(&FIXED);
    for n in 0..100 {
        contest.doers[n].address_tag = 7;
    }
    let limits = Limits {
        known_addresses: [(7, 100)].into(),
        ..Limits::default()
    };
    assert!(found(&report_with(contest, &limits), Kind::SharedAddress).is_empty());
}

#[test]
fn answers_that_fit_no_ability_are_found() {
    let mut contest = Contest::new(&FIXED);
    contest.turn_upside_down(123);
    let misfits = found(&report(contest), Kind::Misfit);
    assert_eq!(misfits, BTreeSet::from([group([123])]));
}

/// Returns a contest with something of every kind.
fn mixed() -> Contest {
    let mut contest = Contest::new(&FIXED);
    let (copier, source) = contest.weak_and_fair(0);
    contest.copy(copier, source, 0.9);
    contest.copy(399, source, 1.0);
    contest.turn_upside_down(123);
    for n in 50..56 {
        contest.doers[n].device_tag = 999_999;
        contest.doers[n].guess_half(&mut contest.rng);
    }
    for n in 100..200 {
        contest.doers[n].address_tag = 7;
    }
    contest.write(|_| {});
    contest
}

#[test]
fn any_interleaving_of_partitions_gives_the_same_report() {
    let contest = mixed();
    let mut by_partition: Vec<&LogEntry> = contest.log.entries.iter().collect();
    by_partition.sort_by_key(|entry| entry.partition);
    for max_places in [usize::MAX, 5_000] {
        let limits = Limits {
            max_places,
            ..Limits::default()
        };
        let told = |entries: &mut dyn Iterator<Item = &LogEntry>| {
            let collector = collect(&contest, entries, max_places);
            assert!(collector.n_places() <= max_places);
            analyse(&collector, &limits, &|| false)
        };
        let report = told(&mut contest.log.entries.iter());
        assert_eq!(report, told(&mut by_partition.iter().copied()));
        assert_eq!(report.n_halvings > 0, max_places < usize::MAX);
        assert!(
            max_places < usize::MAX
                || Kind::ALL
                    .iter()
                    .all(|kind| !found(&report, *kind).is_empty())
        );
    }
}

#[test]
fn places_are_cut_when_their_steps_are_used_up_and_it_is_told() {
    let contest = mixed();
    let collector = collect(&contest, &contest.log.entries, usize::MAX);
    let limits = Limits {
        total_steps: 1_000,
        ..Limits::default()
    };
    let report = analyse(&collector, &limits, &|| false);
    assert!(report.is_complete && report.n_cut_blocks > 0);
    assert!(report.cut_blocks.iter().all(|block| block.n_left_out > 0));
}

#[test]
fn flags_beyond_the_limit_are_counted() {
    let contest = mixed();
    let collector = collect(&contest, &contest.log.entries, usize::MAX);
    let limits = Limits {
        max_flags: 1,
        ..Limits::default()
    };
    let report = analyse(&collector, &limits, &|| false);
    assert_eq!(report.flags.len(), 6);
    let all = analyse(&collector, &Limits::default(), &|| false);
    assert_eq!(report.n_flags_left_out + 6, all.flags.len() as u64);
}

#[test]
fn an_analysis_that_was_stopped_tells_nothing() {
    let contest = mixed();
    let collector = collect(&contest, &contest.log.entries, usize::MAX);
    let n_looks = Cell::new(0);
    let count = |stop_at: u32| {
        n_looks.set(0);
        analyse(&collector, &Limits::default(), &|| {
            n_looks.set(n_looks.get() + 1);
            n_looks.get() >= stop_at
        })
    };
    assert!(count(u32::MAX).is_complete);
    let n_all = n_looks.get();
    for stop_at in [1, 2, n_all / 2, n_all] {
        let report = count(stop_at);
        assert!(
            !report.is_complete && report.flags.is_empty(),
            "at {stop_at}"
        );
    }
}

#[test]
fn a_log_is_read_to_its_end_or_to_its_first_fault() {
    let contest = mixed();
    let (package, limits) = (&contest.log.package, Limits::default());
    let entries = || contest.log.entries.iter().cloned().map(Ok::<_, Error>);
    let report = analyse_log(package, entries(), &limits, &|| false).unwrap();
    assert!(!found(&report, Kind::Similar).is_empty());
    let gap = analyse_log(package, entries().skip(1), &limits, &|| false);
    assert!(matches!(gap, Err(Error::PositionGap { .. })));
    let stopped = analyse_log(package, entries(), &limits, &|| true).unwrap();
    assert!(!stopped.is_complete);
}

#[test]
fn made_up_candidates_of_a_control_are_left_out() {
    let mut contest = mixed();
    let n_before = report_of(&contest).n_attempts;
    let of_source = |entry: &&LogEntry| {
        let candidate = &entry.event.as_ref().unwrap().candidate;
        **candidate == *id(0).as_bytes()
    };
    let copied: Vec<LogEntry> = contest
        .log
        .entries
        .iter()
        .filter(of_source)
        .cloned()
        .collect();
    for candidate in [
        control_candidate("thi-thu", 2),
        control_candidate("khac", 2),
    ] {
        for entry in &copied {
            let event = entry.event.clone().unwrap();
            let kind: event::Kind = event.kind.unwrap();
            contest.log.push(candidate, 1, event.at_ms, kind);
        }
    }
    assert_eq!(report_of(&contest).n_attempts, n_before + 1);
}

fn report_of(contest: &Contest) -> Report {
    let collector = collect(contest, &contest.log.entries, usize::MAX);
    analyse(&collector, &Limits::default(), &|| false)
}

#[test]
fn the_report_says_what_a_flag_is_not_and_names_its_persons() {
    let report = report_of(&mixed());
    let page = report.to_html();
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    for notice in words::NOTICE {
        assert!(page.contains(notice) && report.to_json().contains(notice));
    }
    assert_eq!(json["flags"].as_array().unwrap().len(), report.flags.len());
    assert_eq!(json["flags"][0]["kind"], "similar");
    for flag in &report.flags {
        assert!(page.contains(&format!("{:?}", flag.attempts[0].candidate)));
        for fact in &flag.facts {
            assert!(words::fact(fact.name).is_some(), "{}", fact.name);
        }
    }
    for fetched in ["src=", "href=", "url(", "<script", "@import"] {
        assert!(!page.contains(fetched), "{fetched}");
    }
}

/// `cargo test --release -p grader integrity::tests::speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for builds with optimisation"]
fn speed_of_a_hundred_thousand_attempts() {
    for n_bank in [300, 30] {
        println!("papers of 30 items out of {n_bank}");
        measure(&Plan {
            n_persons: 100_000,
            units_per_area: 74,
            n_bank,
            n_paper: 30,
            ..FIXED
        });
    }
}

fn measure(plan: &Plan) {
    const N_COPIERS: usize = 20;
    let mut contest = Contest::new(plan);
    let mut planted = BTreeSet::new();
    for unit in 0..N_COPIERS {
        let (copier, source) = contest.weak_and_fair(unit);
        contest.copy(copier, source, 0.95);
        planted.insert(group([copier, source]));
    }
    let limits = Limits::default();
    let mut collector = Collector::new(Arc::clone(&contest.log.package), limits.max_places);
    let (mut took, mut n_entries) = (Duration::ZERO, 0);
    contest.write(|log| {
        let begin = Instant::now();
        for entry in &log.entries {
            collector.apply_entry(entry).unwrap();
        }
        took += begin.elapsed();
        n_entries += log.entries.len();
        log.entries.clear();
    });
    println!("{n_entries} entries collected in {took:?}");
    for (item_id, curve) in contest.curves() {
        collector.calibrate(item_id, curve);
    }
    let (looked_at, longest) = (Cell::new(Instant::now()), Cell::new(Duration::ZERO));
    let begin = Instant::now();
    let report = analyse(&collector, &limits, &|| {
        let since = looked_at.replace(Instant::now()).elapsed();
        longest.set(longest.get().max(since));
        false
    });
    let (took, longest) = (begin.elapsed(), longest.get());
    println!("analysed in {took:?}, at most {longest:?} between two looks");
    println!("{:?}, {} places cut", report.families, report.n_cut_blocks);
    for kind in Kind::ALL {
        let found = found(&report, kind);
        let n_planted = found.intersection(&planted).count();
        println!(
            "{kind:?}: {} flags, {n_planted} of {N_COPIERS} planted pairs",
            found.len()
        );
    }
}
