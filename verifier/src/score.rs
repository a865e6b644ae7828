//! The exact score of an attempt.
//!
//! Invariant: no rounding before the printed score. Start at [`Marking::score`].
//! Source: `docs/FORMATS.md`, section 4.

mod blank;
mod choice;
mod fraction;
pub(crate) mod item;
mod number;
mod quanta;
pub(crate) mod sequence;

#[cfg(test)]
mod cases;

use std::collections::{BTreeMap, HashMap};

use proto::{
    bank::v1::{Blueprint, ItemType, MultipleRule, OrderingRule, PaperHalf, Section},
    exam::v1::{ExamRules, RankingKey, ScoreRounding, response::Value},
    key::v1::{ItemKey, KeyHalf, Treatment},
};

pub(crate) use self::{blank::SEPARATOR, fraction::Fraction};
use crate::{
    Error, Paper,
    archive::StoredAnswer,
    draw::{DrawnItem, belongs, decode_blueprint},
    score::{
        item::{Item, Key, Rules, is_blank_response},
        number::Number,
        quanta::{check_limits, check_treatments, quanta_per_point},
    },
};

/// The newest answer of each answered position.
pub(crate) type Newest<'a> = BTreeMap<u32, &'a StoredAnswer>;

/// The score of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) points: Fraction,
    pub(crate) n_correct: u32,
    /// None if nobody passes or fails.
    pub(crate) passed: Option<bool>,
}

/// Marks, rules and keys of an exam.
pub(crate) struct Marking {
    sections: Vec<SectionMarking>,
    items: HashMap<u32, Item>,
    floor_zero: bool,
    /// M of the page: the marks of all places.
    full_marks: Fraction,
    pass_mark: Option<Fraction>,
    rounding: ScoreRounding,
    decimals: u32,
    pub(crate) quanta_per_point: i128,
}

/// Marks and rules of a section.
pub(crate) struct SectionMarking {
    mark: Fraction,
    wrong_mark: Fraction,
    floor_zero: bool,
    rules: Rules,
    n_places: i128,
    /// Dropped items in its strata, drawn or not.
    n_dropped: i128,
    is_prediction: bool,
}

/// What one item does to its section's sum.
struct Outcome {
    points: Fraction,
    share: Fraction,
}

impl Marking {
    pub(crate) fn new(
        paper_half: &PaperHalf,
        key_half: &KeyHalf,
        rules: &ExamRules,
    ) -> Result<Self, Error> {
        if rules.score_decimals > 4 {
            let found = rules.score_decimals;
            return Err(Error::invalid("decimal places of the score", found));
        }
        let blueprint = decode_blueprint(paper_half)?;
        let items = items(paper_half, key_half)?;
        let in_order: Vec<&Item> = items.values().collect();
        check_treatments(&in_order)?;
        let sections = sections(&blueprint, paper_half, &items)?;
        let ranking: Vec<RankingKey> = rules.ranking().collect();
        check_limits(&sections, &in_order, &ranking)?;
        let marks = sections.iter().filter(|section| !section.is_prediction);
        let full_marks = marks.fold(Fraction::ZERO, |sum, section| {
            sum.plus(section.mark.times(Fraction::new(section.n_places, 1)))
        });
        Ok(Self {
            quanta_per_point: quanta_per_point(&sections, &in_order)?,
            sections,
            items,
            floor_zero: blueprint.floor_zero,
            full_marks,
            pass_mark: pass_mark(&rules.pass_mark)?,
            rounding: ScoreRounding::try_from(rules.score_rounding)
                .map_err(|_| Error::invalid("rounding of the score", rules.score_rounding))?,
            decimals: rules.score_decimals,
        })
    }

    /// Tells whether an item can stand on a paper of the exam.
    pub(crate) fn has(&self, drawn: &DrawnItem) -> bool {
        drawn.section < self.sections.len() && self.items.contains_key(&drawn.item_id)
    }

    /// Returns a score in quanta.
    pub(crate) fn quanta(&self, points: Fraction) -> Result<i128, Error> {
        let quanta = points.whole_times(self.quanta_per_point);
        quanta.ok_or_else(|| Error::invalid("score in quanta", points))
    }

    /// Returns a score as it is printed.
    pub(crate) fn printed(&self, points: Fraction) -> String {
        points.to_decimal(self.decimals, self.rounding)
    }

    /// Scores the newest answers of an attempt.
    pub(crate) fn score(&self, paper: &Paper, newest: &Newest<'_>) -> Score {
        let mut sums = vec![Fraction::ZERO; self.sections.len()];
        let mut n_correct = 0;
        let mut has_failed = false;
        for (drawn, item, answer) in self.places(paper, newest) {
            let outcome = self.outcome(drawn, item, answer);
            sums[drawn.section] = sums[drawn.section].plus(outcome.points);
            let is_correct = item.is_scored() && outcome.share == Fraction::ONE;
            n_correct += u32::from(is_correct);
            has_failed |= item.fatal && item.is_scored() && !is_correct;
        }
        let points = self.stretched(paper, self.sum(&sums));
        let passes = |mark: Fraction| points >= mark && !has_failed;
        Score {
            points,
            n_correct,
            passed: self.pass_mark.map(passes),
        }
    }

    /// Returns the score of an attempt that answers everything right.
    pub(crate) fn full_score(&self, paper: &Paper) -> Fraction {
        let mut sums = vec![Fraction::ZERO; self.sections.len()];
        for (drawn, item, _) in self.places(paper, &Newest::new()) {
            let section = &self.sections[drawn.section];
            let share = match item.treatment {
                _ if !item.is_scored() => Fraction::ZERO,
                Treatment::Unspecified | Treatment::Dropped => item.full_share(&section.rules),
                Treatment::FullToAll | Treatment::FullToAttempted => Fraction::ONE,
            };
            let points = section.mark.times(item.weight).times(share);
            sums[drawn.section] = sums[drawn.section].plus(points);
        }
        self.stretched(paper, self.sum(&sums))
    }

    /// Returns how many items of a paper nobody can answer wrong who answers them.
    pub(crate) fn n_never_wrong(&self, paper: &Paper) -> u32 {
        let unanswered = Newest::new();
        let places = self.places(paper, &unanswered);
        let never = places.filter(|(drawn, item, _)| {
            item.is_scored() && !item.can_be_wrong(&self.sections[drawn.section].rules)
        });
        u32::try_from(never.count()).expect("a paper has far fewer items than 2^32")
    }

    /// Returns the prediction: the newest answer to the paper's first prediction item, if it is a number that fits.
    pub(crate) fn prediction(&self, paper: &Paper, newest: &Newest<'_>) -> Option<u32> {
        let mut places = self.places(paper, newest);
        let first = places.find(|(_, item, _)| matches!(item.key, Key::Prediction));
        match first?.2 {
            Some(Value::Text(text)) => Number::from_answer(text)?.to_count(),
            _ => None,
        }
    }

    /// Returns the places of a paper with their items and newest answers. Items without a key are reported with the package.
    fn places<'a>(
        &'a self,
        paper: &'a Paper,
        newest: &'a Newest<'a>,
    ) -> impl Iterator<Item = (&'a DrawnItem, &'a Item, Option<&'a Value>)> {
        let places = (0_u32..).zip(&paper.items);
        places.filter_map(|(position, drawn)| {
            let answer = newest.get(&position);
            let value = answer.and_then(|answer| answer.response.value.as_ref());
            Some((drawn, self.items.get(&drawn.item_id)?, value))
        })
    }

    fn outcome(&self, drawn: &DrawnItem, item: &Item, answer: Option<&Value>) -> Outcome {
        if !item.is_scored() {
            return Outcome {
                points: Fraction::ZERO,
                share: Fraction::ZERO,
            };
        }
        let section = &self.sections[drawn.section];
        let answer = answer.filter(|value| !is_blank_response(&item.key, Some(value)));
        let share = match (item.treatment, answer) {
            (Treatment::FullToAll, _) | (Treatment::FullToAttempted, Some(_)) => Fraction::ONE,
            (_, None) => Fraction::ZERO,
            (_, Some(value)) => item.share(&section.rules, &drawn.option_order, value),
        };
        let is_wrong = answer.is_some() && share.is_zero();
        let mark = if is_wrong {
            Fraction::ZERO.minus(section.wrong_mark)
        } else {
            section.mark.times(share)
        };
        Outcome {
            points: mark.times(item.weight),
            share,
        }
    }

    /// Returns the sum of the sections, with their floors and the test's.
    fn sum(&self, sums: &[Fraction]) -> Fraction {
        let floored = self.sections.iter().zip(sums).map(|(section, sum)| {
            if section.floor_zero {
                sum.or_zero()
            } else {
                *sum
            }
        });
        let sum = floored.fold(Fraction::ZERO, Fraction::plus);
        if self.floor_zero { sum.or_zero() } else { sum }
    }

    /// Returns a score stretched to the paper's full scale: times M/(M - d).
    fn stretched(&self, paper: &Paper, score: Fraction) -> Fraction {
        let dropped = paper.items.iter().filter(|drawn| {
            let item = self.items.get(&drawn.item_id);
            item.is_some_and(|item| item.is_dropped())
        });
        let d = dropped.fold(Fraction::ZERO, |sum, drawn| {
            sum.plus(self.sections[drawn.section].mark)
        });
        let rest = self.full_marks.minus(d);
        match () {
            () if d.is_zero() => score,
            () if rest.is_zero() => Fraction::ZERO,
            () => score.times(self.full_marks).over(rest),
        }
    }
}

impl Item {
    fn is_dropped(&self) -> bool {
        self.treatment == Treatment::Dropped && !matches!(self.key, Key::Prediction)
    }
}

fn items(paper_half: &PaperHalf, key_half: &KeyHalf) -> Result<HashMap<u32, Item>, Error> {
    let keys: HashMap<u32, &ItemKey> = key_half.keys.iter().map(|key| (key.item_id, key)).collect();
    let mut items = HashMap::new();
    for item in &paper_half.items {
        if let Some(key) = keys.get(&item.item_id) {
            items.insert(item.item_id, Item::new(item, key)?);
        }
    }
    Ok(items)
}

fn sections(
    blueprint: &Blueprint,
    paper_half: &PaperHalf,
    items: &HashMap<u32, Item>,
) -> Result<Vec<SectionMarking>, Error> {
    let section = |section| SectionMarking::new(section, paper_half, items);
    blueprint.sections.iter().map(section).collect()
}

impl SectionMarking {
    fn new(
        section: &Section,
        paper_half: &PaperHalf,
        items: &HashMap<u32, Item>,
    ) -> Result<Self, Error> {
        let pool = paper_half
            .items
            .iter()
            .filter(|item| section.strata.iter().any(|stratum| belongs(item, stratum)));
        let pool: Vec<_> = pool.collect();
        let is_prediction = |item: &&&_| prediction(item);
        let n_predictions = pool.iter().filter(is_prediction).count();
        if n_predictions > 0 && n_predictions < pool.len() {
            let found = format!("{n_predictions} of {} items", pool.len());
            return Err(Error::invalid("predictions in a section", found));
        }
        let clusters = pool
            .iter()
            .filter(|item| item.r#type() == ItemType::Cluster);
        let longest = clusters.map(|item| item.options.len()).max();
        let percent = &section.cluster_percent;
        let rises =
            percent.is_sorted() && percent.first() == Some(&0) && percent.last() == Some(&100);
        let is_short = longest.is_some_and(|n| percent.len() <= n);
        if !percent.is_empty() && (is_short || !rises) {
            return Err(Error::invalid(
                "percent table of clusters",
                format!("{percent:?}"),
            ));
        }
        let dropped = pool.iter().filter(|item| {
            items
                .get(&item.item_id)
                .is_some_and(|item| item.is_dropped())
        });
        let n_places = section
            .strata
            .iter()
            .map(|stratum| i128::from(stratum.quota));
        Ok(Self {
            mark: mark(&section.mark)?,
            wrong_mark: wrong_mark(&section.wrong_mark)?,
            floor_zero: section.floor_zero,
            rules: rules(section)?,
            n_places: n_places.sum(),
            n_dropped: i128::try_from(dropped.count()).expect("a usize has at most 64 bits"),
            is_prediction: n_predictions > 0,
        })
    }
}

fn prediction(item: &proto::bank::v1::PaperItem) -> bool {
    item.r#type() == ItemType::Prediction
}

fn rules(section: &Section) -> Result<Rules, Error> {
    let (multiple, ordering) = (section.multiple_rule, section.ordering_rule);
    Ok(Rules {
        multiple: MultipleRule::try_from(multiple)
            .map_err(|_| Error::invalid("rule for items with several keys", multiple))?,
        ordering: OrderingRule::try_from(ordering)
            .map_err(|_| Error::invalid("rule for orderings", ordering))?,
        cluster_percent: section.cluster_percent.clone(),
    })
}

fn mark(text: &str) -> Result<Fraction, Error> {
    let mark = Fraction::from_decimal(text).filter(|mark| !mark.is_zero());
    mark.ok_or_else(|| Error::invalid("mark of a section", text))
}

fn wrong_mark(text: &str) -> Result<Fraction, Error> {
    if text.is_empty() {
        return Ok(Fraction::ZERO);
    }
    Fraction::from_decimal(text).ok_or_else(|| Error::invalid("wrong mark of a section", text))
}

/// Reads a pass mark; an exam with wrong marks may pass somebody below 0.
fn pass_mark(text: &str) -> Result<Option<Fraction>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mark = Fraction::from_decimal(digits);
    let mark = mark.ok_or_else(|| Error::invalid("pass mark", text))?;
    Ok(Some(if is_negative {
        Fraction::ZERO.minus(mark)
    } else {
        mark
    }))
}
