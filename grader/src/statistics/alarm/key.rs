//! Items whose key may be wrong: candidates with a high rest score answer otherwise.

use super::{
    super::{
        Choice,
        normal::{correlation_z, upper_tail},
        option_report::{against_rest, by_frequency, of_choosers},
        sums::Sums,
    },
    Evidence, Seen,
};

/// A share below this is nearly nobody; blind guessing among twelve options gives more.
const RARE: f64 = 0.05;
/// Fewest responses among which nobody can be right only by a wrong key.
const MIN_NOBODY: i64 = 200;
/// Fewest answers that can be all right only by a key that accepts too much.
const MIN_EVERYBODY: i64 = 500;
/// Fewest who chose something, for the mean of their rest scores to say anything.
const MIN_CHOOSERS: i64 = 10;
/// Standard errors by which the choosers of something are clearly better.
const CLEARLY: f64 = 3.0;
/// How far choosers of a second right answer are above those of wrong ones, as a part of how far the key's are;
/// some are there by guessing, and a plausible distractor in a sound item reaches about 0.4.
const AS_GOOD: f64 = 0.5;
/// Least distance of a second right answer above wrong ones, or of an accepted one below the others, in standard
/// deviations of the rest score; a plausible distractor reaches about 0.4.
const MIN_GAP: f64 = 0.5;
/// Share of the best, and multiple of the key's, with which a choice beats the key whoever makes it.
const DOMINANT_SHARE: f64 = 0.6;
const DOMINANT_TIMES: i64 = 4;
/// Most choices compared with the key, the most frequent ones.
const MAX_CHOICES: usize = 16;

/// Returns what speaks against the key; `chance` is the item's part of the chance of a false alarm.
pub(super) fn evidence(item: &Seen<'_>, chance: f64) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    evidence.extend(extremes(item));
    evidence.extend(negative_discrimination(item, chance));
    let others = others(item);
    let each = chance / others.len().max(1) as f64;
    let key = Group::new(item, item.info.right(), |it| item.info.is_right(it));
    for other in &others {
        evidence.extend(beats_key(item, &key, other, each));
        evidence.extend(stronger_than_key(&key, other, each));
        evidence.extend(as_good_as_key(item, &key, other, each));
    }
    evidence.extend(against_options(item, chance));
    evidence
}

/// Those who made one choice, or one of those that the key calls right.
struct Group {
    choice: Choice,
    /// Having made it, against the rest score.
    made: Sums,
    /// Rest scores of those who made it.
    rest: Sums,
    /// How many of the best 27 % made it.
    n_best: i64,
}

impl Group {
    fn new(item: &Seen<'_>, choice: Choice, made: impl Fn(Choice) -> bool) -> Self {
        Self {
            choice,
            made: against_rest(&item.cells, &made),
            rest: of_choosers(&item.cells, &made),
            n_best: item.n_best(made),
        }
    }

    fn share(&self) -> f64 {
        self.made.x as f64 / self.made.n as f64
    }

    /// Returns by how many standard errors they are better than all.
    fn above_all(&self) -> Option<f64> {
        Some(correlation_z(self.made.correlation()?, self.made.n))
    }
}

/// Returns a weighted sum of mean rest scores in its standard errors; none if a group is too small.
fn contrast(groups: &[(f64, &Sums)]) -> Option<f64> {
    let (mut apart, mut variance) = (0.0, 0.0);
    for (weight, it) in groups {
        let of_mean = it.variance_t().filter(|_| it.n >= MIN_CHOOSERS)? / it.n as f64;
        apart += weight * it.mean_t()?;
        variance += weight * weight * of_mean;
    }
    (variance > 0.0).then(|| apart / variance.sqrt())
}

/// Returns by how many standard errors one group's rest scores are better.
fn better(one: &Sums, other: &Sums) -> Option<f64> {
    contrast(&[(1.0, one), (-1.0, other)])
}

/// Returns the most frequent choices that the key does not call right; an answer without options that is only wrong
/// or partial is many answers.
fn others(item: &Seen<'_>) -> Vec<Group> {
    let many = |choice: Choice| item.info.key == 0 && choice < Choice::RIGHT;
    let choices = by_frequency(&item.cells)
        .into_iter()
        .map(|(choice, _)| choice);
    choices
        .filter(|&choice| !item.info.is_right(choice) && choice != Choice::BLANK && !many(choice))
        .take(MAX_CHOICES)
        .map(|choice| Group::new(item, choice, |it| it == choice))
        .collect()
}

fn extremes(item: &Seen<'_>) -> Option<Evidence> {
    let full = item
        .cells
        .iter()
        .filter(|(cell, _)| i128::from(cell.quanta) * i128::from(item.n) >= item.sums.mark);
    let n_full: i64 = full.map(|&(_, n)| n).sum();
    let blank = item
        .cells
        .iter()
        .filter(|(cell, _)| cell.choice == Choice::BLANK);
    let n_answered = item.n - blank.map(|&(_, n)| n).sum::<i64>();
    match n_full {
        0 if item.n >= MIN_NOBODY => Some(Evidence::NobodyRight),
        _ if n_full >= n_answered.max(MIN_EVERYBODY) => Some(Evidence::EverybodyRight),
        _ => None,
    }
}

fn negative_discrimination(item: &Seen<'_>, chance: f64) -> Option<Evidence> {
    let r_ir = item.sums.against_rest().correlation()?;
    let z = correlation_z(r_ir, item.n);
    (upper_tail(-z) < chance).then_some(Evidence::NegativeDiscrimination { r_ir, z })
}

/// Returns by how many standard errors one of two choices is more frequent.
fn ahead(n: i64, n_key: i64) -> f64 {
    (n - n_key) as f64 / ((n + n_key).max(1) as f64).sqrt()
}

fn beats_key(item: &Seen<'_>, key: &Group, other: &Group, chance: f64) -> Option<Evidence> {
    let z = ahead(other.n_best, key.n_best);
    let dominant = other.n_best as f64 >= DOMINANT_SHARE * item.n_best(|_| true) as f64
        && other.n_best >= DOMINANT_TIMES * key.n_best;
    let beyond_key = better(&other.rest, &key.rest).or_else(|| other.above_all());
    let better = beyond_key.is_some_and(|z| z > CLEARLY);
    let beats = upper_tail(z) < chance && (better || dominant);
    beats.then_some(Evidence::BeatsKey {
        choice: other.choice,
        n_best: other.n_best,
        n_best_key: key.n_best,
        z,
    })
}

fn stronger_than_key(key: &Group, other: &Group, chance: f64) -> Option<Evidence> {
    let (point_biserial, key_point_biserial) = (other.made.correlation()?, key.made.correlation()?);
    let more = upper_tail(ahead(other.rest.n, key.rest.n)) < chance;
    let better = better(&other.rest, &key.rest).is_some_and(|z| z > CLEARLY);
    (more && better && point_biserial > key_point_biserial).then_some(Evidence::StrongerThanKey {
        choice: other.choice,
        share: other.share(),
        key_share: key.share(),
        point_biserial,
        key_point_biserial,
    })
}

/// Compares with all other wrong answers: choosers of a second right answer stand out among them.
///
/// A set of options that overlaps the key is chosen by good candidates too, so this is for single answers.
fn as_good_as_key(item: &Seen<'_>, key: &Group, other: &Group, chance: f64) -> Option<Evidence> {
    if !item.info.single && item.info.key != 0 {
        return None;
    }
    let known = [other.choice, Choice::BLANK];
    let wrong = of_choosers(&item.cells, |choice| {
        !known.contains(&choice) && !item.info.is_right(choice)
    });
    let stands_out = upper_tail(better(&other.rest, &wrong)?) < chance;
    let ahead = contrast(&[
        (1.0, &other.rest),
        (-AS_GOOD, &key.rest),
        (AS_GOOD - 1.0, &wrong),
    ]);
    let as_good = ahead? > CLEARLY;
    let gap = (other.rest.mean_t()? - wrong.mean_t()?) / other.made.variance_t()?.sqrt();
    let point_biserial = other.made.correlation()?;
    (stands_out && as_good && gap >= MIN_GAP).then_some(Evidence::AsGoodAsKey {
        choice: other.choice,
        share: other.share(),
        point_biserial,
    })
}

/// Looks at each option, whether chosen alone or with others.
fn against_options(item: &Seen<'_>, chance: f64) -> Vec<Evidence> {
    let each = chance / f64::from(item.info.n_options.max(1));
    let look = |option: u8| {
        let in_key = Choice(item.info.key).has(option);
        let chosen = against_rest(&item.cells, |choice| choice.has(option));
        let rare = key_option_rare(option, &chosen, each).filter(|_| in_key);
        let against = if item.info.single {
            weaker_than_accepted(item, option, &chosen, each).filter(|_| in_key)
        } else {
            option_against_key(option, in_key, &chosen, each)
        };
        rare.into_iter().chain(against)
    };
    let options = 0..item.info.n_options.min(16);
    options.flat_map(look).collect()
}

fn key_option_rare(option: u8, chosen: &Sums, chance: f64) -> Option<Evidence> {
    let share = chosen.facility()?;
    let z = (RARE - share) / (RARE * (1.0 - RARE) / chosen.n as f64).sqrt();
    (upper_tail(z) < chance).then_some(Evidence::KeyOptionRare { option, share })
}

fn option_against_key(option: u8, in_key: bool, chosen: &Sums, chance: f64) -> Option<Evidence> {
    let point_biserial = chosen.correlation()?;
    let z = correlation_z(point_biserial, chosen.n);
    let against = if in_key { -z } else { z };
    (upper_tail(against) < chance).then_some(Evidence::OptionAgainstKey {
        option,
        in_key,
        point_biserial,
    })
}

/// Compares one of several accepted answers with the others: those who gave it should be about as good.
fn weaker_than_accepted(
    item: &Seen<'_>,
    option: u8,
    chosen: &Sums,
    chance: f64,
) -> Option<Evidence> {
    let is_it = |choice: Choice| choice.has(option);
    let is_other = |choice: Choice| item.info.is_right(choice) && !is_it(choice);
    let this = of_choosers(&item.cells, is_it);
    let others = of_choosers(&item.cells, is_other);
    let is_weaker = upper_tail(better(&others, &this)?) < chance;
    let gap = (others.mean_t()? - this.mean_t()?) / chosen.variance_t()?.sqrt();
    (is_weaker && gap >= MIN_GAP).then_some(Evidence::OptionAgainstKey {
        option,
        in_key: true,
        point_biserial: chosen.correlation()?,
    })
}
