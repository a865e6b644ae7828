//! What the analysis finds in simulated contests, and what it does not.

use std::sync::{Arc, atomic::AtomicBool};

use proto::exam::v1::LogEntry;

use super::{
    contest::{Contest, Plan},
    *,
};

const FIXED: Plan = Plan {
    seed: 1,
    n_persons: 600,
    n_bank: 40,
    n_paper: 40,
    n_copiers: 0,
    copied: 0.9,
    n_rapid: 0,
};
/// Half of a paper's items are on another one's.
const RANDOM: Plan = Plan {
    n_bank: 100,
    n_paper: 50,
    ..FIXED
};

fn collect<'a>(contest: &Contest, entries: impl Iterator<Item = &'a LogEntry>) -> Collector {
    let mut collector = Collector::new(Arc::clone(&contest.log.package), MAX_PLACES);
    for entry in entries {
        let event = entry.event.as_ref().unwrap();
        let taken = collector.apply(entry.partition, entry.position, event);
        assert_eq!(taken.unwrap(), Taken::Kept);
    }
    for &(item_id, curve) in &contest.curves {
        assert!(collector.calibrate(item_id, curve));
    }
    collector
}

fn report(contest: &Contest) -> Report {
    let collector = collect(contest, contest.log.entries.iter());
    analyse(&collector, &Limits::default(), &AtomicBool::new(false))
}

#[test]
fn probe() {
    for plan in [FIXED, RANDOM] {
        let mut n_found = 0;
        for seed in 0..10 {
            let contest = Plan { seed, n_copiers: 10, n_rapid: 10, ..plan }.run();
            let report = report(&contest);
            let mut hit = 0;
            let mut false_pairs = 0;
            for flag in report.flags.iter().filter(|f| f.kind == Kind::Similar) {
                let pair = [flag.attempts[0].candidate, flag.attempts[1].candidate];
                if contest.copiers.iter().any(|(c, s)| pair.contains(c) && pair.contains(s)) { hit += 1 } else { false_pairs += 1 }
            }
            let rapid = report.flags.iter().filter(|f| f.kind == Kind::RapidGuessing).count();
            let other = report.flags.iter().filter(|f| !matches!(f.kind, Kind::RapidGuessing | Kind::Similar)).count();
            println!("seed {seed} hit {hit} false {false_pairs} rapid {rapid} other {other} {:?}", report.families);
            n_found += hit;
        }
        println!("found {n_found}/100");
        let mut n = 0;
        for seed in 100..120 {
            let contest = Plan { seed, ..plan }.run();
            let report = report(&contest);
            n += report.flags.len();
            if !report.flags.is_empty() { println!("{}", report.to_tsv()); }
        }
        println!("honest flags in 20: {n}");
    }
}
