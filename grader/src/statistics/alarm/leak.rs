//! Items that became easier while the exam ran, or were easier in one area: a leak?
//!
//! Marks of two parts of the candidates are compared at equal rest scores: the difference that the rest scores
//! explain is taken off, by the regression within both parts, divided by the reliability of the test since groups
//! differ in true scores. Source: analysis of covariance with a fallible covariate (Lord 1960).

use super::{
    super::{
        item_counts::{ItemCounts, OTHER_AREAS},
        normal::upper_tail,
        sums::Sums,
    },
    Evidence, MIN_RESPONSES,
};

/// Least rise of the facility: below it, a leak would not matter, and unequal cohorts may differ so.
const MIN_RISE: f64 = 0.1;
/// The same for an area: areas differ more in ability and in teaching than hours do.
const MIN_RISE_OF_AREA: f64 = 0.15;
/// Least reliability that is believed; below, the rest score explains too little to be divided by it.
const MIN_RELIABILITY: f64 = 0.3;

pub(super) fn evidence(counts: &ItemCounts, reliability: f64, chance: f64) -> Vec<Evidence> {
    let reliability = reliability.clamp(MIN_RELIABILITY, 1.0);
    since(&counts.cohorts(), reliability, chance)
        .into_iter()
        .chain(areas(&counts.areas(), reliability, chance))
        .collect()
}

/// Returns the cohort whose split shows the clearest rise.
fn since(cohorts: &[(u16, Sums)], reliability: f64, chance: f64) -> Option<Evidence> {
    let limit = chance / cohorts.len().max(2) as f64;
    let rises = (1..cohorts.len()).filter_map(|at| {
        let (before, since) = (sum(&cohorts[..at]), sum(&cohorts[at..]));
        let rise = Rise::new(before, since, reliability)?;
        let evidence = Evidence::EasierSince {
            cohort: cohorts[at].0,
            before: before.facility()?,
            since: since.facility()?,
            rise: rise.part,
            z: rise.z,
        };
        rise.counts(MIN_RISE, limit).then_some((rise.z, evidence))
    });
    let clearest = rises.max_by(|(a, _), (b, _)| a.total_cmp(b));
    clearest.map(|(_, evidence)| evidence)
}

fn areas(areas: &[(u16, Sums)], reliability: f64, chance: f64) -> Vec<Evidence> {
    let limit = chance / areas.len().max(2) as f64;
    let all = sum(areas);
    let rise = |&(area, there): &(u16, Sums)| {
        let elsewhere = all.without(there);
        let rise = Rise::new(elsewhere, there, reliability)
            .filter(|it| it.counts(MIN_RISE_OF_AREA, limit))?;
        Some(Evidence::EasierIn {
            area,
            elsewhere: elsewhere.facility()?,
            there: there.facility()?,
            rise: rise.part,
            z: rise.z,
        })
    };
    let told_apart = areas.iter().filter(|(area, _)| *area != OTHER_AREAS);
    told_apart.filter_map(rise).collect()
}

fn sum(parts: &[(u16, Sums)]) -> Sums {
    let mut sum = Sums::default();
    for (_, part) in parts {
        sum.merge(*part);
    }
    sum
}

/// How much easier the item was for the second of two parts of the candidates.
struct Rise {
    part: f64,
    z: f64,
}

impl Rise {
    fn new(first: Sums, second: Sums, reliability: f64) -> Option<Self> {
        if first.n < MIN_RESPONSES || second.n < MIN_RESPONSES {
            return None;
        }
        let (first, second) = (first.against_rest(), second.against_rest());
        let (x1, t1, xt1) = first.about_means();
        let (x2, t2, xt2) = second.about_means();
        let (x, t, xt) = (x1 + x2, t1 + t2, xt1 + xt2);
        if t <= 0.0 {
            return None;
        }
        let slope = xt / t;
        let (n1, n2) = (first.n as f64, second.n as f64);
        let residual = (x - slope * xt) / (n1 + n2 - 3.0);
        let apart = second.mean_t()? - first.mean_t()?;
        let rise = second.mean_x()? - first.mean_x()? - slope / reliability * apart;
        let variance =
            residual * (1.0 / n1 + 1.0 / n2 + apart * apart / (t * reliability * reliability));
        let mark = (first.mark + second.mark) as f64 / (n1 + n2);
        (variance > 0.0 && mark > 0.0).then(|| Self {
            part: rise / mark,
            z: rise / variance.sqrt(),
        })
    }

    fn counts(&self, least: f64, limit: f64) -> bool {
        self.part >= least && upper_tail(self.z) < limit
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::simulation::Random, *};

    /// Counts 1,000 candidates an hour, in which the item is easier by `rise`, and who are better by `better`.
    fn hours(seed: u64, hours: &[(f64, f64)]) -> Vec<(u16, Sums)> {
        let mut random = Random::new(seed);
        let hour = |(hour, &(rise, better)): (u16, &(f64, f64))| {
            let mut sums = Sums::default();
            for _ in 0..1_000 {
                let theta = random.normal() + better;
                let curve = |b: f64| 1.0 / (1.0 + (b - theta).exp());
                let rest: i64 = (0..40)
                    .map(|at| i64::from(random.chance(curve(f64::from(at % 5 - 2)))))
                    .sum();
                let right = i64::from(random.chance((curve(0.0) + rise).min(1.0)));
                sums.count(right, rest + right, 1, 1);
            }
            (hour, sums)
        };
        (0..).zip(hours).map(hour).collect()
    }

    #[track_caller]
    fn check(parts: &[(f64, f64)], expected: Option<u16>) {
        let found = since(&hours(3, parts), 0.88, 0.0001).map(|evidence| match evidence {
            Evidence::EasierSince { cohort, .. } => cohort,
            other => panic!("{other:?}"),
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn an_item_that_leaks_is_found_with_its_hour() {
        check(&[(0.0, 0.0), (0.0, 0.0), (0.25, 0.0), (0.25, 0.0)], Some(2));
        check(&[(0.0, 0.5), (0.2, -0.5), (0.2, -0.5)], Some(1));
    }

    #[test]
    fn better_candidates_are_no_leak() {
        check(&[(0.0, 0.0); 6], None);
        check(&[(0.0, -0.5), (0.0, 0.0), (0.0, 0.5), (0.0, 1.0)], None);
        check(&[(0.25, 0.0), (0.0, 0.0)], None);
    }

    #[test]
    fn an_item_that_leaks_in_one_area_is_found_there() {
        let parts = [(0.0, 0.0), (0.0, 1.0), (0.25, -0.5), (0.0, 0.0)];
        let parts: Vec<_> = (0..)
            .zip(hours(5, &parts))
            .map(|(area, (_, sums))| (area, sums))
            .collect();
        let found: Vec<_> = areas(&parts, 0.88, 0.0001);
        assert!(
            matches!(*found, [Evidence::EasierIn { area: 2, .. }]),
            "{found:?}"
        );
    }
}
