//! What the analysis finds in simulated contests, and what it does not.

use std::sync::Arc;

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
    let mut collector = Collector::new(
        Arc::clone(&contest.log.package),
        Limits::default().max_places,
    );
    for entry in entries {
        let taken = collector.apply_entry(entry);
        assert_eq!(taken.unwrap(), Taken::Kept);
    }
    for &(item_id, curve) in &contest.curves {
        assert!(collector.calibrate(item_id, curve));
    }
    collector
}

fn report(contest: &Contest) -> Report {
    let collector = collect(contest, contest.log.entries.iter());
    analyse(&collector, &Limits::default(), &|| false)
}

#[test]
fn probe() {
    for plan in [FIXED, RANDOM] {
        let mut levels = [0usize; 4];
        let mut m = [0usize; 4];
        let (mut n, mut nm) = (0, 0);
        for seed in 200..210 {
            let contest = Plan { seed, ..plan }.run();
            let collector = collect(&contest, contest.log.entries.iter());
            let cancel = || false;
            let sheets = Sheets::new(&collector);
            let model = Model::new(&sheets, Stop(&cancel));
            for a in (0..600).step_by(7) {
                for b in a + 1..600 {
                    let p = copying::p_value(&sheets, &model, a, b);
                    n += 1;
                    for (at, level) in [1e-1, 1e-2, 1e-3, 1e-4].into_iter().enumerate() {
                        if p <= level {
                            levels[at] += 1;
                        }
                    }
                }
            }
            let report = analyse(
                &collector,
                &Limits {
                    alpha: 600.0,
                    max_flags: 100_000,
                    ..Limits::default()
                },
                &cancel,
            );
            for f in &report.flags {
                if f.kind == Kind::Misfit {
                    nm += 1;
                    for (at, level) in [1e-1, 1e-2, 1e-3, 1e-4].into_iter().enumerate() {
                        if f.p_value.unwrap() <= level {
                            m[at] += 1;
                        }
                    }
                }
            }
        }
        println!("pairs {n} {levels:?} misfit {nm} {m:?}");
    }
}
