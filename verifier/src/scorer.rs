//! Scores of single attempts, for those who have packages and answers and no archive.
//!
//! Start at [`Scorer::new`]. Source: `docs/FORMATS.md`, section 4.

use proto::{bank::v1::PaperHalf, exam::v1::Exam, key::v1::KeyHalf};

use crate::{
    Error, Paper,
    archive::{StoredAnswer, newest_answers},
    difference::Differences,
    package::{check_items, check_keys},
    score::{Marking, Score},
};

/// Scores attempts of an exam by one version of its key.
pub struct Scorer(Marking);

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptScore {
    /// The exact score is this over [`Self::quanta_per_point`].
    pub quanta: i128,
    /// The same for all attempts under one key.
    pub quanta_per_point: i128,
    /// The score as it is printed.
    pub printed: String,
    /// Items with the full mark.
    pub n_correct: u32,
    /// None if the exam has no pass mark.
    pub passed: Option<bool>,
    /// The number that was predicted, if the paper asks for one.
    pub prediction: Option<u32>,
}

impl Scorer {
    /// Reads marks, rules and keys.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Decode`] for what the formats do not allow.
    pub fn new(exam: &Exam, paper_half: &PaperHalf, key_half: &KeyHalf) -> Result<Self, Error> {
        let rules = exam.spec.as_ref().and_then(|spec| spec.rules.as_ref());
        let rules = rules.ok_or_else(|| Error::invalid("rules of the exam", "nothing"))?;
        let mut differences = Differences::default();
        check_items(&paper_half.items, &mut differences);
        check_keys(
            &paper_half.items,
            &key_half.keys,
            "key half",
            &mut differences,
        );
        match differences.kept.first() {
            Some(difference) => Err(Error::invalid("package", difference)),
            None => Ok(Self(Marking::new(paper_half, key_half, rules)?)),
        }
    }

    /// Scores the answers to a paper, in any order: of each position, the one with the highest seq counts.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a paper of another exam.
    pub fn score(&self, paper: &Paper, answers: &[StoredAnswer]) -> Result<AttemptScore, Error> {
        let Self(marking) = self;
        if let Some(item) = paper.items.iter().find(|item| !marking.has(item)) {
            return Err(Error::invalid("item on the paper", item.item_id));
        }
        let newest = newest_answers(answers);
        let Score {
            points,
            n_correct,
            passed,
        } = marking.score(paper, &newest);
        Ok(AttemptScore {
            quanta: marking.quanta(points)?,
            quanta_per_point: marking.quanta_per_point,
            printed: marking.printed(points),
            n_correct,
            passed,
            prediction: marking.prediction(paper, &newest),
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use proto::{
        bank::v1::{Blueprint, ItemType, MultipleRule, OrderingRule, PaperItem, Section},
        exam::v1::{ExamRules, ExamSpec, Response, response::Value},
        key::v1::{BlankKey, ItemKey, Treatment},
    };

    use super::*;
    use crate::{
        DrawnItem,
        test_exam::{item, section, stratum},
    };

    const RIGHT: u32 = 0b1;
    const WRONG: u32 = 0b10;

    /// Packages before they are read.
    struct Exam {
        rules: ExamRules,
        blueprint: Blueprint,
        items: Vec<PaperItem>,
        keys: Vec<ItemKey>,
    }

    impl Exam {
        /// Four items 1 to 4 of topic "a", of which 3 are drawn, and three items 5 to 7 of topic "b", of which 2 are.
        fn new(mark_a: &str, mark_b: &str) -> Self {
            let mut exam = Self {
                rules: ExamRules::default(),
                blueprint: Blueprint::default(),
                items: Vec::new(),
                keys: Vec::new(),
            };
            exam.blueprint.sections = vec![
                section(vec![stratum("a", None, 3)], mark_a),
                section(vec![stratum("b", None, 2)], mark_b),
            ];
            for item_id in 1..=7 {
                let topic = if item_id < 5 { "a" } else { "b" };
                exam.add(item_id, ItemType::SingleChoice, topic);
                exam.key(item_id).right_options = RIGHT;
            }
            exam
        }

        /// Adds an item of 4 options.
        fn add(&mut self, item_id: u32, item_type: ItemType, topic: &str) -> &mut ItemKey {
            let n_options = match item_type {
                ItemType::Numeric | ItemType::Cloze | ItemType::Prediction => 0,
                _ => 4,
            };
            let item = item(item_id, item_type, topic, n_options);
            self.keys.push(ItemKey {
                item_id,
                revision: item.revision.clone(),
                ..ItemKey::default()
            });
            self.items.push(item);
            self.keys.last_mut().unwrap()
        }

        fn key(&mut self, item_id: u32) -> &mut ItemKey {
            let mut keys = self.keys.iter_mut();
            keys.find(|key| key.item_id == item_id).unwrap()
        }

        fn section(&mut self, number: usize) -> &mut Section {
            &mut self.blueprint.sections[number]
        }

        fn scorer(&self) -> Result<Scorer, Error> {
            let spec = ExamSpec {
                rules: Some(self.rules.clone()),
                ..ExamSpec::default()
            };
            let exam = proto::exam::v1::Exam {
                spec: Some(spec),
                ..proto::exam::v1::Exam::default()
            };
            let paper = PaperHalf {
                blueprint: self.blueprint.encode_to_vec().into(),
                items: self.items.clone(),
                ..PaperHalf::default()
            };
            let key = KeyHalf {
                keys: self.keys.clone(),
                ..KeyHalf::default()
            };
            Scorer::new(&exam, &paper, &key)
        }

        /// Scores a paper of items 1, 2, 3, 5, 6 with these options chosen.
        #[track_caller]
        fn score(&self, bits: [u32; 5]) -> AttemptScore {
            let ids = [(1, 0), (2, 0), (3, 0), (5, 1), (6, 1)];
            let answers = bits.map(|bits| Some(Value::Chosen(bits)));
            self.scorer()
                .unwrap()
                .score(&paper(&ids), &answered(&answers))
                .unwrap()
        }

        #[track_caller]
        fn check(&self, bits: [u32; 5], points: &str) {
            let score = self.score(bits);
            let found = crate::score::Fraction::new(score.quanta, score.quanta_per_point);
            assert_eq!(found.to_string(), points, "{score:?}");
        }

        #[track_caller]
        fn check_quanta(&self, per_point: i128) {
            assert_eq!(self.scorer().unwrap().0.quanta_per_point, per_point);
        }

        #[track_caller]
        fn check_refused(&self, what: &str) {
            let error = self.scorer().err().unwrap().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    /// Numbers and sections of items, options as they stand.
    fn paper(items: &[(u32, usize)]) -> Paper {
        let drawn = |&(item_id, section): &(u32, usize)| DrawnItem {
            item_id,
            section,
            option_order: vec![0, 1, 2, 3],
        };
        Paper {
            items: items.iter().map(drawn).collect(),
            form_code: [0; 8],
            repaired: false,
        }
    }

    fn answered(values: &[Option<Value>]) -> Vec<StoredAnswer> {
        let answer = |(position, value): (u32, &Option<Value>)| StoredAnswer {
            seq: position + 1,
            position,
            response: Response {
                value: value.clone(),
            },
        };
        (0..).zip(values).map(answer).collect()
    }

    #[test]
    fn a_score_is_the_sum_of_marks() {
        let exam = Exam::new("0.25", "1.5");
        exam.check([RIGHT; 5], "15/4");
        exam.check([RIGHT, WRONG, 0, RIGHT, 0], "7/4");
        let score = exam.score([RIGHT, WRONG, 0, RIGHT, 0]);
        assert_eq!((score.n_correct, score.passed), (2, None));
        assert_eq!((score.quanta, score.quanta_per_point), (17_500, 10_000));
    }

    #[test]
    fn the_newest_answer_counts_in_whatever_order_they_come() {
        let scorer = Exam::new("1", "1").scorer().unwrap();
        let mut answers = answered(&[Some(Value::Chosen(WRONG)), Some(Value::Chosen(RIGHT))]);
        answers[0].position = 1; // seq 1 to the position that seq 2 answers
        let score = |answers: &[_]| scorer.score(&paper(&[(1, 0), (2, 0)]), answers).unwrap();
        assert_eq!(score(&answers).n_correct, 1);
        answers.reverse();
        assert_eq!(score(&answers).n_correct, 1);
        answers[1].seq = 3;
        assert_eq!(score(&answers).n_correct, 0);
    }

    #[test]
    fn a_wrong_answer_loses_and_a_blank_does_not() {
        let mut exam = Exam::new("1", "2");
        exam.section(0).wrong_mark = "0.25".to_owned();
        exam.check([RIGHT, WRONG, 0, 0, 0], "3/4");
        exam.check([WRONG, WRONG, WRONG, 0, 0], "-3/4");
        exam.check([WRONG, WRONG, WRONG, RIGHT, WRONG], "5/4");
        exam.section(0).floor_zero = true;
        exam.check([WRONG, WRONG, WRONG, RIGHT, WRONG], "2");
        exam.section(0).floor_zero = false;
        exam.blueprint.floor_zero = true;
        exam.check([WRONG, WRONG, WRONG, 0, 0], "0");
        exam.check([WRONG, WRONG, WRONG, RIGHT, 0], "5/4");
    }

    #[test]
    fn a_score_below_zero_is_printed_with_its_sign() {
        let mut exam = Exam::new("1", "1");
        exam.section(0).wrong_mark = "0.125".to_owned();
        exam.rules.score_decimals = 2;
        assert_eq!(exam.score([WRONG, 0, 0, 0, 0]).printed, "-0.13");
        exam.rules.score_decimals = 0;
        assert_eq!(exam.score([WRONG, 0, 0, 0, 0]).printed, "0");
    }

    #[test]
    fn weights_stretch_what_an_item_earns_and_loses() {
        let mut exam = Exam::new("1", "1");
        exam.section(0).wrong_mark = "0.5".to_owned();
        exam.key(1).weight_percent = 150;
        exam.key(2).weight_percent = 7;
        exam.key(3).weight_percent = 100;
        exam.check([RIGHT, RIGHT, RIGHT, 0, 0], "257/100");
        exam.check([WRONG, WRONG, WRONG, 0, 0], "-257/200");
        exam.check_quanta(1_000_000);
    }

    #[test]
    fn treatments_come_before_the_key() {
        let mut exam = Exam::new("1", "1");
        exam.section(0).wrong_mark = "0.5".to_owned();
        exam.key(1).treatment = Treatment::FullToAll.into();
        exam.key(2).treatment = Treatment::FullToAttempted.into();
        exam.check([WRONG, WRONG, 0, 0, 0], "2");
        exam.check([0, 0, 0, 0, 0], "1");
        assert_eq!(exam.score([WRONG, WRONG, 0, 0, 0]).n_correct, 2);
    }

    #[test]
    fn what_is_left_is_stretched_when_an_item_is_dropped() {
        let mut exam = Exam::new("0.25", "1.5");
        exam.key(1).treatment = Treatment::Dropped.into();
        // M = 15/4, d = 1/4: everything else right is everything.
        exam.check([WRONG, RIGHT, RIGHT, RIGHT, RIGHT], "15/4");
        exam.check([RIGHT, RIGHT, 0, 0, 0], "15/56"); // 1/4 * 15/14
        assert_eq!(exam.score([RIGHT, RIGHT, 0, 0, 0]).n_correct, 1);
        for item_id in 1..=7 {
            exam.key(item_id).treatment = Treatment::Dropped.into();
        }
        exam.check([RIGHT; 5], "0");
    }

    #[test]
    fn quanta_divide_whatever_dropped_items_leave() {
        let mut exam = Exam::new("0.25", "1.5");
        exam.key(1).treatment = Treatment::Dropped.into();
        exam.key(4).treatment = Treatment::Dropped.into();
        exam.key(6).treatment = Treatment::Dropped.into();
        // T = 0.25: M = 15, d = 0, 1, 2, 6, 7, 8; U = lcm(15, 14, 13, 9, 8, 7)
        exam.check_quanta(327_600_000);
        exam.key(6).treatment = Treatment::FullToAll.into();
        exam.check_quanta(27_300_000); // U = lcm(15, 14, 13)
        exam.section(0).strata[0].quota = 1;
        exam.check_quanta(1_560_000); // one place of two dropped items: U = lcm(13, 12)
    }

    #[test]
    fn quanta_divide_the_shares_of_every_type() {
        let mut exam = Exam::new("1", "1");
        exam.check_quanta(10_000);
        exam.add(11, ItemType::MultipleChoice, "in no stratum")
            .right_options = 0b111;
        exam.check_quanta(30_000);
        exam.key(11).accepted = vec![0b11]; // of each set
        exam.check_quanta(60_000);
        exam.section(1).multiple_rule = MultipleRule::EachOption.into(); // in every section
        exam.check_quanta(120_000); // 3, 2 and 4
        exam.section(1).multiple_rule = MultipleRule::Balanced.into();
        exam.check_quanta(120_000); // 3, 2, 3 * 1 and 2 * 2
        exam.add(12, ItemType::Cluster, "c").right_options = 0b1;
        exam.check_quanta(3_000_000);
        exam.add(13, ItemType::Ordering, "c").sequences = vec![vec![3, 1, 0, 2].into()];
        exam.check_quanta(3_000_000);
        exam.section(0).ordering_rule = OrderingRule::Inversions.into();
        exam.check_quanta(3_000_000); // 6 pairs
        let blank = |weight| BlankKey {
            accepted: vec!["1".to_owned()],
            weight,
            ..BlankKey::default()
        };
        exam.add(14, ItemType::Numeric, "c").blanks = vec![BlankKey {
            numeric: true,
            ..blank(11)
        }];
        exam.check_quanta(3_000_000); // weights are for clozes
        exam.add(15, ItemType::Cloze, "c").blanks = vec![blank(4), blank(0), blank(2)];
        exam.items.last_mut().unwrap().n_blanks = 3;
        exam.check_quanta(21_000_000);
        exam.add(16, ItemType::Prediction, "c");
        exam.key(1).weight_percent = 100;
        exam.check_quanta(21_000_000);
        exam.key(1).weight_percent = 50; // on top of the cluster's hundredths
        exam.check_quanta(2_100_000_000);
    }

    #[test]
    fn every_score_is_a_whole_number_of_quanta() {
        for dropped in 0_u32..1 << 7 {
            let mut exam = Exam::new("0.3", "0.7");
            exam.section(1).wrong_mark = "0.0007".to_owned();
            for item_id in (1..=7).filter(|item_id| dropped >> (item_id - 1) & 1 == 1) {
                exam.key(item_id).treatment = Treatment::Dropped.into();
            }
            exam.score([RIGHT, WRONG, 0, RIGHT, WRONG]);
            exam.score([RIGHT, RIGHT, WRONG, WRONG, WRONG]);
        }
    }

    #[test]
    fn an_attempt_passes_at_the_mark_and_with_every_fatal_item() {
        let mut exam = Exam::new("1", "1");
        exam.rules.pass_mark = "3".to_owned();
        assert_eq!(exam.score([RIGHT, RIGHT, RIGHT, 0, 0]).passed, Some(true));
        assert_eq!(exam.score([RIGHT, RIGHT, 0, 0, 0]).passed, Some(false));
        exam.key(5).fatal = true;
        assert_eq!(
            exam.score([RIGHT, RIGHT, RIGHT, WRONG, RIGHT]).passed,
            Some(false)
        );
        assert_eq!(exam.score([RIGHT, RIGHT, 0, RIGHT, 0]).passed, Some(true));
        exam.key(5).treatment = Treatment::FullToAttempted.into();
        assert_eq!(exam.score([RIGHT, RIGHT, RIGHT, 0, 0]).passed, Some(false));
        exam.key(5).treatment = Treatment::Dropped.into();
        assert_eq!(exam.score([RIGHT, RIGHT, RIGHT, 0, 0]).passed, Some(true));
        exam.rules.pass_mark.clear();
        assert_eq!(exam.score([RIGHT; 5]).passed, None);
    }

    #[test]
    fn predictions_are_read_and_earn_nothing() {
        let mut exam = Exam::new("1", "1");
        let third = section(vec![stratum("p", None, 2)], "5");
        exam.blueprint.sections.push(third);
        exam.add(20, ItemType::Prediction, "p").fatal = true;
        exam.add(21, ItemType::Prediction, "p").treatment = Treatment::Dropped.into();
        exam.rules.pass_mark = "2".to_owned();
        exam.check_quanta(10_000); // a dropped prediction drops nothing
        exam.key(1).treatment = Treatment::Dropped.into();
        exam.check_quanta(200_000); // U = lcm(5, 4): the section has no marks
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let right = Some(Value::Chosen(RIGHT));
        let score = |first: &str| {
            let ids = [(20, 2), (1, 0), (2, 0), (21, 2)];
            let answers = [text(first), right.clone(), right.clone(), text("77")];
            let scorer = exam.scorer().unwrap();
            scorer.score(&paper(&ids), &answered(&answers)).unwrap()
        };
        let found = score("1 234");
        assert_eq!((found.prediction, found.n_correct), (Some(1_234), 1));
        assert_eq!((found.quanta, found.passed), (250_000, Some(false))); // 1 * 5/4
        assert_eq!(score("1,5").prediction, None);
        assert_eq!(score(" ").prediction, None, "only the first one counts");
    }

    #[test]
    fn packages_that_the_page_does_not_allow_are_refused() {
        let mut exam = Exam::new("1", "1");
        exam.key(1).treatment = Treatment::Dropped.into();
        exam.key(2).weight_percent = 50;
        exam.check_refused("dropped");
        let mut exam = Exam::new("1", "1");
        exam.add(8, ItemType::Prediction, "b");
        exam.check_refused("predictions in a section");
        let mut exam = Exam::new("1", "1");
        exam.add(8, ItemType::Cluster, "b").right_options = 1;
        exam.section(1).cluster_percent = vec![0, 20, 40, 60];
        exam.check_refused("percent table");
        exam.section(1).cluster_percent.push(100);
        exam.scorer().unwrap();
        for mark in ["", "0", "-1", "1,5", "0.00001"] {
            Exam::new(mark, "1").check_refused("mark of a section");
        }
        let mut exam = Exam::new("1", "1");
        exam.section(0).wrong_mark = "-1".to_owned();
        exam.check_refused("wrong mark");
        let mut exam = Exam::new("1", "1");
        exam.key(1).treatment = 9;
        exam.check_refused("treatment");
        let mut exam = Exam::new("1", "1");
        exam.rules.pass_mark = "viel".to_owned();
        exam.check_refused("pass mark");
        let mut exam = Exam::new("1", "1");
        exam.key(1).right_options = 0;
        exam.check_refused("package");
        let mut exam = Exam::new("1", "1");
        for percent in [&[10, 20, 100], &[0, 20, 90], &[0, 200, 100]] {
            exam.section(0).cluster_percent = percent.to_vec();
            exam.check_refused("percent table");
        }
    }

    #[test]
    fn scores_and_rankings_that_are_too_wide_are_refused() {
        let mut exam = Exam::new("900000000", "1");
        exam.section(0).strata[0].quota = 10_000;
        exam.key(1).weight_percent = 1_000;
        assert!(exam.scorer().is_err(), "9*10^16 * 1000 leave 63 bits");
        exam.section(0).strata[0].quota = 1_000;
        assert!(exam.scorer().is_ok(), "9*10^15 * 1000 do not");
        exam.section(0).strata[0].quota = 65_534;
        exam.section(0).mark = "1".to_owned();
        exam.check_refused("number of places");
        exam.section(0).strata[0].quota = 65_533;
        assert!(exam.scorer().is_ok());
        exam.section(0).strata[0].quota = 0;
        exam.section(1).strata[0].quota = 0;
        exam.check_refused("number of places");

        let mut exam = Exam::new("1", "1");
        // 5 places: 0 to 5 steps of a point in 3 bits, as the number of right items
        exam.rules.ranking = vec![1, 2, 3, 4, 5, 6]; // 3 + 3 + 32 + 42 + 16 + 34
        exam.check_refused("bits of a ranking tuple");
        exam.rules.ranking = vec![1, 2, 3, 4, 5]; // 96
        assert!(exam.scorer().is_ok());
        exam.rules.ranking = vec![1, 3, 5, 6, 7]; // 119
        assert!(exam.scorer().is_ok());
        exam.section(1).mark = "0.003".to_owned();
        exam.rules.ranking = vec![1, 3, 5, 6, 7]; // 3.006 points in steps of 0.001: 12 bits
        assert!(exam.scorer().is_ok(), "128 bits");
        exam.section(1).mark = "2.003".to_owned(); // 7.006 points in 13 bits
        exam.check_refused("bits of a ranking tuple");
    }

    #[test]
    fn a_paper_of_another_exam_is_refused() {
        let scorer = Exam::new("1", "1").scorer().unwrap();
        for place in [(1, 2), (99, 0)] {
            let refused = scorer.score(&paper(&[place]), &[]);
            assert!(matches!(refused, Err(Error::Invalid { .. })));
        }
    }

    #[test]
    fn shares_are_scored_with_the_sections_rule() {
        let mut exam = Exam::new("1", "2");
        exam.items[0].r#type = ItemType::MultipleChoice.into();
        exam.items[4].r#type = ItemType::MultipleChoice.into();
        exam.key(1).right_options = 0b11;
        exam.key(5).right_options = 0b11;
        exam.section(1).multiple_rule = MultipleRule::Half.into();
        exam.check([0b1, 0, 0, 0b1, 0], "1");
    }
}
