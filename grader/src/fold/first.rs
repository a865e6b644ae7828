//! Statistics of an exam: of each person the first attempt that was not voided, of persons who are not left out.
//!
//! Later attempts know more about the items than an item's difficulty says. Invariant: the statistics are those of
//! the first attempts counted anew, after every entry of the log.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Fold, Person};
use crate::{
    attempt::Finished,
    rule::Given,
    standing::rules::Class,
    statistics::{Alarm, Choice, ExamStatistics, Statistics, alarms, text_number},
};

/// Attempts that are read to find a frequent text: enough for anything frequent.
const MAX_READ: usize = 20_000;

impl Fold {
    /// Returns the statistics of all first attempts: counts them if nobody has asked since the state was restored or
    /// graded anew, which takes some microseconds an attempt.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        self.statistics.get_or_init(|| {
            let mut statistics = Statistics::of(&self.package);
            for (_, attempt, _) in self.first_attempts() {
                statistics.count_attempt(&self.package, attempt, 1);
            }
            statistics
        })
    }

    /// Returns the statistics with what they raise and what their numbers stand for.
    #[must_use]
    pub fn exam_statistics(&self) -> ExamStatistics {
        let statistics = self.statistics().clone();
        let alarms = alarms(&statistics);
        ExamStatistics {
            texts: self.texts_of(&alarms),
            statistics,
            alarms,
            package: Arc::clone(&self.package),
            areas: self.counts.codes().to_vec(),
        }
    }

    /// Returns the most frequent texts among the answers that alarms are about.
    fn texts_of(&self, alarms: &[Alarm]) -> HashMap<(u32, Choice), String> {
        let is_text = |choice: Choice| choice > Choice::RIGHT;
        let about: HashSet<(u32, Choice)> = alarms
            .iter()
            .filter_map(|alarm| {
                Some((
                    alarm.item_id?,
                    alarm.evidence.choice().filter(|it| is_text(*it))?,
                ))
            })
            .collect();
        let mut counts: HashMap<(u32, Choice), HashMap<&str, u32>> = HashMap::new();
        let attempts = self
            .first_attempts()
            .take(if about.is_empty() { 0 } else { MAX_READ });
        for (_, attempt, _) in attempts {
            for chosen in &attempt.answers.chosen {
                let item = &self.package.items()[usize::from(chosen.item_idx)];
                let Given::Text(text) = attempt.answers.given(item, *chosen) else {
                    continue;
                };
                let answer = (item.item_id, Choice::text(text_number(text)));
                if about.contains(&answer) {
                    *counts
                        .entry(answer)
                        .or_default()
                        .entry(text.trim())
                        .or_default() += 1;
                }
            }
        }
        let most = |counts: HashMap<&str, u32>| {
            let most = counts
                .into_iter()
                .max_by_key(|&(text, n)| (n, Reverse(text)));
            most.map(|(text, _)| text.to_owned())
        };
        counts
            .into_iter()
            .filter_map(|(answer, counts)| Some((answer, most(counts)?)))
            .collect()
    }

    /// Takes a person out of the statistics before an attempt changes; if it is later than the first, nothing changes.
    pub(super) fn leave_statistics(&mut self, who: u32, attempt: u16) {
        self.count_first(who, attempt, -1);
    }

    /// Counts a person once an attempt has changed.
    pub(super) fn enter_statistics(&mut self, who: u32, attempt: u16) {
        self.count_first(who, attempt, 1);
    }

    fn count_first(&mut self, who: u32, attempt: u16, by: i64) {
        let Some(statistics) = self.statistics.get_mut() else {
            return;
        };
        let first = first(&self.persons[who as usize]);
        if let Some(first) = first.filter(|first| first.attempt >= attempt) {
            statistics.count_attempt(&self.package, first, by);
        }
    }

    /// Returns the first attempts, with the codes of their areas.
    pub(super) fn first_attempts(&self) -> impl Iterator<Item = (&Person, &Finished, &str)> {
        self.persons.iter().filter_map(|person| {
            let first = first(person)?;
            Some((person, first, self.counts.code(first.area)))
        })
    }
}

fn first(person: &Person) -> Option<&Finished> {
    let mut attempts = person.finished.iter();
    let first = attempts.find(|attempt| !attempt.voided)?;
    (person.class == Class::Ranked).then_some(first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use proto::exam::v1::{
        EndedBy, ExclusionRuling, Restored, Ruling, Voided, event::Kind, ruling,
    };
    use proto::{bank::v1::PaperItem, key::v1::ItemKey};
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        attempt::{Answers, Chosen},
        fixture::{Log, T0_MS, candidate, parts},
        load, save,
        statistics::{ItemReport, TestReport},
    };

    /// Counts all first attempts anew.
    fn counted_anew(fold: &Fold) -> Statistics {
        let anew = fold.graded_by(fold.package()).unwrap();
        anew.statistics().clone()
    }

    /// Numbers of areas depend on which came first, so these are compared by sums that know none.
    fn reports(fold: &Fold) -> (Vec<ItemReport>, TestReport) {
        let mut items = fold.statistics().item_reports();
        for item in &mut items {
            item.areas.clear();
        }
        (items, fold.statistics().test_report())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn statistics_are_those_of_the_first_attempts_at_every_position(seed in any::<u64>()) {
            let log = Log::random(seed, 12);
            let mut fold = Fold::new(Arc::clone(&log.package));
            for entry in &log.entries {
                fold.apply_entry(entry).unwrap();
                prop_assert_eq!(fold.statistics(), &counted_anew(&fold));
            }
            let restored = load(&save(&fold), &log.package).unwrap();
            prop_assert_eq!(reports(&restored), reports(&fold));
            let mut other = log.clone();
            other.entries.sort_by_key(|entry| (entry.partition, entry.position));
            prop_assert_eq!(reports(&other.fold()), reports(&fold));
            let mut parts = parts();
            parts.rules_mut().counted_attempt = fold.package().counted().into();
            parts.key.key_version = 2;
            parts.key.keys[0].right_options = 0b0010;
            let graded = fold.graded_by(&Arc::new(parts.load().unwrap())).unwrap();
            prop_assert_ne!(graded.statistics(), fold.statistics());
        }
    }

    #[test]
    fn the_first_attempt_that_is_not_voided_enters() {
        let mut log = Log::new(&parts());
        let who = candidate(1);
        let right = [(0, 1), (1, 2), (2, 8)];
        log.sit(who, 1, "79", &[], 1_000, EndedBy::Candidate);
        log.sit(who, 2, "01", &right, 1_000, EndedBy::Candidate);
        let mean = |log: &Log| log.fold().statistics().test_report().scores.mean;
        assert_eq!(mean(&log), Some(0.0));
        log.push(who, 1, T0_MS, Kind::Voided(Voided::default()));
        assert_eq!(mean(&log), Some(45_000.0));
        log.reopen(who, 2, 500);
        assert_eq!(mean(&log), None);
        log.push(who, 1, T0_MS, Kind::Restored(Restored::default()));
        assert_eq!(mean(&log), Some(0.0));
    }

    #[test]
    fn persons_who_are_left_out_do_not_enter() {
        let mut log = Log::new(&parts());
        log.sit(candidate(1), 1, "79", &[(0, 1)], 1_000, EndedBy::Candidate);
        log.sit(candidate(2), 1, "79", &[], 1_000, EndedBy::Candidate);
        let mut parts = parts();
        parts.exam.rulings.push(Ruling {
            number: 1,
            kind: Some(ruling::Kind::Exclusion(ExclusionRuling {
                candidates: vec![candidate(1).as_bytes().to_vec().into()],
            })),
            ..Ruling::default()
        });
        let all = log.fold();
        let left = all.graded_by(&Arc::new(parts.load().unwrap())).unwrap();
        let n = |fold: &Fold| fold.statistics().test_report().scores.n;
        assert_eq!((n(&all), n(&left)), (2, 1));
    }

    /// Prints what an ended attempt of 30 items costs the statistics, of a bank of so many.
    fn measure(n_items: u16) {
        let mut parts = parts();
        let (item, key) = (parts.paper.items[0].clone(), parts.key.keys[0].clone());
        parts.blueprint.sections.truncate(1);
        parts.blueprint.sections[0].strata[0].quota = 30;
        let ids = 1..=u32::from(n_items);
        let items = ids.clone().map(|item_id| PaperItem {
            item_id,
            ..item.clone()
        });
        parts.paper.items = items.collect();
        let keys = ids.map(|item_id| ItemKey {
            item_id,
            ..key.clone()
        });
        parts.key.keys = keys.collect();
        let package = parts.load().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let mut attempt = |n: u64| {
            let first = rng.random_range(0..n_items);
            let chosen = (0..30).map(|at| Chosen {
                item_idx: (first + at * 131) % n_items,
                options: [0b0001, 0b0001, 0b0010, 0b0100, 0][rng.random_range(0..5)],
            });
            let answers = Answers {
                chosen: chosen.collect(),
                ..Answers::default()
            };
            Finished {
                attempt: 1,
                area: rng.random_range(0..34),
                unit: 0,
                round: 1,
                ended_by: EndedBy::Candidate,
                score: package.score(&answers),
                prediction: None,
                started_at_ms: T0_MS + n * 100,
                ended_at_ms: T0_MS + n * 100 + 1,
                idle_ms: 0,
                voided: false,
                form_code: [0; 8],
                answers,
            }
        };
        let attempts: Vec<Finished> = (0..200_000).map(&mut attempt).collect();
        let mut statistics = Statistics::of(&package);
        for half in attempts.chunks(attempts.len() / 2) {
            let began = std::time::Instant::now();
            for attempt in half {
                statistics.count_attempt(&package, attempt, 1);
            }
            let ns = began.elapsed().as_nanos() / half.len() as u128;
            println!("{n_items} items: {ns} ns an attempt of 30");
        }
        let began = std::time::Instant::now();
        let n_reports = statistics.item_reports().len();
        println!("{n_reports} item reports in {:?}", began.elapsed());
        let began = std::time::Instant::now();
        let n_alarms = alarms(&statistics).len();
        println!("{n_alarms} alarms in {:?}", began.elapsed());
    }

    #[test]
    #[ignore = "prints how long counting takes; run it in a release build"]
    fn counting_is_measured() {
        measure(30);
        measure(5_000);
    }
}
