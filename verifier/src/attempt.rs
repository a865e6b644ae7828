//! Compares what the log says of an attempt with its redrawn paper.

use std::collections::HashMap;

use proto::{
    bank::v1::{ItemType, PaperHalf, PaperItem},
    exam::v1::response::Value,
};

use crate::{
    DifferenceKind, Paper,
    answer::chain_head,
    archive::{Attempt, AttemptId, StoredAnswer},
    difference::Differences,
    score::{SEPARATOR, sequence::is_permutation},
};

/// A text has at most so many bytes.
const MAX_TEXT_LEN: usize = 2_000;

/// What responses the items allow, by number.
pub(crate) struct Forms(HashMap<u32, Form>);

/// What a response must look like.
enum Form {
    /// Some of the options.
    Choice {
        n_options: usize,
    },
    /// A byte an element, each at most so much.
    Marks {
        n: usize,
        most: usize,
    },
    Permutation {
        n: usize,
    },
    Text {
        n_blanks: usize,
    },
    Unknown,
}

impl Forms {
    pub(crate) fn new(paper_half: &PaperHalf) -> Self {
        let items = paper_half.items.iter();
        Self(items.map(|item| (item.item_id, Form::new(item))).collect())
    }
}

impl Form {
    fn new(item: &PaperItem) -> Self {
        let n = item.options.len();
        match item.r#type() {
            ItemType::SingleChoice | ItemType::MultipleChoice | ItemType::TrueFalse => {
                Self::Choice { n_options: n }
            }
            ItemType::Cluster => Self::Marks { n, most: 2 },
            ItemType::Matching => Self::Marks {
                n,
                most: item.targets.len(),
            },
            ItemType::Ordering => Self::Permutation { n },
            ItemType::Numeric | ItemType::ShortText | ItemType::Prediction => {
                Self::Text { n_blanks: 1 }
            }
            ItemType::Cloze => Self::Text {
                n_blanks: item.n_blanks as usize,
            },
            ItemType::Unspecified => Self::Unknown, // refused by the draw
        }
    }

    /// Returns what is wrong with a response.
    fn fault(&self, value: &Value) -> Option<Fault> {
        match (self, value) {
            (Self::Choice { n_options }, Value::Chosen(bits)) => {
                let is_beyond = u64::from(*bits) >> (*n_options).min(63) != 0;
                let expected = format!("some of {n_options} options");
                let found = format!("{bits:#b}");
                is_beyond.then_some((DifferenceKind::OptionUnknown, expected, found))
            }
            (Self::Marks { .. } | Self::Permutation { .. }, Value::Sequence(bytes))
                if bytes.is_empty() =>
            {
                None // a blank
            }
            (Self::Marks { n, most }, Value::Sequence(bytes)) => {
                let fits = bytes.len() == *n && bytes.iter().all(|&b| usize::from(b) <= *most);
                let expected = || format!("{n} numbers from 0 to {most}");
                (!fits).then(|| form_fault(expected(), format!("{:?}", bytes.as_ref())))
            }
            (Self::Permutation { n }, Value::Sequence(bytes)) => {
                let fits = bytes.len() == *n && is_permutation(bytes);
                let expected = || format!("a permutation of {n} elements");
                (!fits).then(|| form_fault(expected(), format!("{:?}", bytes.as_ref())))
            }
            (Self::Text { n_blanks }, Value::Text(text)) => {
                let n_found = text.split(SEPARATOR).count();
                let fits = n_found <= *n_blanks && text.len() <= MAX_TEXT_LEN;
                let expected = || format!("at most {n_blanks} blanks and {MAX_TEXT_LEN} bytes");
                let found = || format!("{n_found} blanks and {} bytes", text.len());
                (!fits).then(|| form_fault(expected(), found()))
            }
            (Self::Unknown, _) => None,
            (Self::Choice { .. }, _) => Some(misfit("chosen options", value)),
            (Self::Marks { .. } | Self::Permutation { .. }, _) => Some(misfit("a sequence", value)),
            (Self::Text { .. }, _) => Some(misfit("a text", value)),
        }
    }
}

/// Checks paper, answers and chain of one attempt.
pub(crate) fn check(
    exam_id: &str,
    id: AttemptId,
    attempt: &Attempt,
    paper: &Paper,
    forms: &Forms,
    differences: &mut Differences,
) {
    check_paper(id, attempt, paper, differences);
    for answer in &attempt.answers {
        check_answer(id, answer, paper, forms, differences);
    }
    let Some(ended) = &attempt.ended else {
        return; // reported by the log
    };
    let mut answers: Vec<&StoredAnswer> = attempt.answers.iter().collect();
    answers.sort_by_key(|answer| answer.seq);
    let head = chain_head(
        exam_id,
        &id.candidate,
        id.attempt,
        &paper.form_code,
        answers,
    );
    differences.compare_bytes(DifferenceKind::Chain, id, &head, &ended.chain);
}

fn check_paper(id: AttemptId, attempt: &Attempt, paper: &Paper, differences: &mut Differences) {
    let started = &attempt.started;
    let item_ids = paper.item_ids();
    if item_ids != started.item_ids {
        let (expected, found) = (format!("{item_ids:?}"), format!("{:?}", started.item_ids));
        differences.push(DifferenceKind::PaperItems, id, expected, found);
    }
    let kind = DifferenceKind::PaperOptions;
    differences.compare_bytes(kind, id, &paper.option_order(), &started.option_order);
    let kind = DifferenceKind::FormCode;
    differences.compare_bytes(kind, id, &paper.form_code, &started.form_code);
    differences.compare(
        DifferenceKind::Repaired,
        id,
        paper.repaired,
        started.repaired,
    );
}

fn check_answer(
    id: AttemptId,
    answer: &StoredAnswer,
    paper: &Paper,
    forms: &Forms,
    differences: &mut Differences,
) {
    let position = usize::try_from(answer.position).ok();
    let Some(item) = position.and_then(|position| paper.items.get(position)) else {
        let place = format!("{id} seq {}", answer.seq);
        let expected = format!("below {}", paper.items.len());
        let found = answer.position;
        return differences.push(DifferenceKind::PositionUnknown, place, expected, found);
    };
    let form = forms.0.get(&item.item_id);
    let value = answer.response.value.as_ref();
    let fault = form.zip(value).and_then(|(form, value)| form.fault(value));
    if let Some((kind, expected, found)) = fault {
        let place = format_args!("{id} seq {}", answer.seq);
        differences.push(kind, place, expected, found);
    }
}

/// What is wrong, what should be, what is.
type Fault = (DifferenceKind, String, String);

fn form_fault(expected: String, found: String) -> Fault {
    (DifferenceKind::ResponseForm, expected, found)
}

fn misfit(expected: &str, value: &Value) -> Fault {
    let found = match value {
        Value::Chosen(_) => "chosen options",
        Value::Text(_) => "a text",
        Value::Sequence(_) => "a sequence",
    };
    (
        DifferenceKind::ResponseKind,
        expected.to_owned(),
        found.to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use DifferenceKind as D;
    use proto::exam::v1::Response;

    use super::*;
    use crate::test_exam::{TestExam, check, chosen};

    #[test]
    fn a_flipped_answer_is_found() {
        let kinds = [D::Chain, D::RowOrder, D::Rank, D::AreaRank, D::Score];
        check(|exam| exam.answered(7, 1, 8).response = None, &kinds);
        // The first answer is replaced by the second: only the chain knows it.
        check(
            |exam| exam.answered(7, 1, 1).response = Some(chosen(0b1)),
            &[D::Chain],
        );
    }

    #[test]
    fn an_answer_moved_to_another_position_is_found() {
        check(|exam| exam.answered(7, 1, 1).position = 1, &[D::Chain]);
    }

    #[test]
    fn an_answer_to_no_position_is_found() {
        check(
            |exam| exam.answered(7, 1, 1).position = 7,
            &[D::PositionUnknown, D::Chain],
        );
    }

    #[test]
    fn an_option_that_does_not_exist_is_found() {
        let kinds = [D::OptionUnknown, D::Chain];
        check(
            |exam| exam.answered(7, 1, 1).response = Some(chosen(1 << 4)),
            &kinds,
        );
        check(
            |exam| exam.answered(7, 1, 1).response = Some(chosen(1 << 31)),
            &kinds,
        );
    }

    #[test]
    fn a_response_that_does_not_fit_is_found() {
        for value in [Value::Text("A".to_owned()), Value::Sequence(vec![0].into())] {
            let response = Response { value: Some(value) };
            let tamper = |exam: &mut TestExam| {
                exam.answered(7, 1, 1).response = Some(response);
            };
            check(tamper, &[D::ResponseKind, D::Chain]);
        }
    }

    #[test]
    fn swapped_answers_are_found() {
        check(
            |exam| {
                let all = exam.events_of(7, 1);
                exam.log.swap(all[2], all[3]);
                exam.renumber();
            },
            &[D::SeqGap],
        );
    }

    #[test]
    fn another_paper_than_the_drawn_one_is_found() {
        check(
            |exam| exam.started(7, 1).item_ids.swap(0, 1),
            &[D::PaperItems],
        );
        check(
            |exam| exam.started(7, 1).item_ids.truncate(6),
            &[D::PaperItems],
        );
        check(|exam| exam.started(7, 1).repaired = true, &[D::Repaired]);
        check(
            |exam| exam.started(7, 1).form_code = vec![0; 8].into(),
            &[D::FormCode],
        );
    }

    #[test]
    fn a_swapped_order_of_options_is_found() {
        check(
            |exam| {
                let started = exam.started(7, 1);
                let mut order = started.option_order.to_vec();
                order.swap(0, 1);
                started.option_order = order.into();
            },
            &[D::PaperOptions],
        );
    }

    #[test]
    fn another_chain_is_found() {
        check(
            |exam| exam.ended(5, 1).chain = vec![0; 32].into(),
            &[D::Chain],
        );
        check(
            |exam| exam.ended(5, 1).chain = Vec::new().into(),
            &[D::Chain],
        );
    }

    #[test]
    fn responses_that_their_item_does_not_allow_are_found() {
        let found = |item_id: u32, value: Value| {
            let mut exam = TestExam::mixed();
            let ids = exam.started(7, 1).item_ids.clone();
            let position = ids.iter().position(|id| *id == item_id).unwrap();
            exam.answered(7, 1, position + 2).response = Some(Response { value: Some(value) });
            let kinds = exam.kinds();
            assert!(kinds.contains(&D::Chain));
            let fault = |kind: &&D| matches!(kind, D::ResponseForm | D::ResponseKind);
            kinds.iter().find(fault).copied()
        };
        let sequence = |bytes: &[u8]| Value::Sequence(bytes.to_vec().into());
        let text = |text: &str| Value::Text(text.to_owned());
        let form = Some(D::ResponseForm);
        let kind = Some(D::ResponseKind);
        for (item_id, value, expected) in [
            (21, sequence(&[2, 2, 2, 0]), None),
            (21, sequence(&[]), None),
            (21, sequence(&[2, 2, 2]), form),
            (21, sequence(&[2, 2, 2, 3]), form),
            (21, text("1222"), kind),
            (22, sequence(&[3, 3, 3]), None),
            (22, sequence(&[4, 0, 0]), form),
            (22, Value::Chosen(1), kind),
            (23, sequence(&[3, 2, 1, 0]), None),
            (23, sequence(&[0, 0, 0, 0]), form),
            (23, sequence(&[0, 1, 2]), form),
            (24, text("không biết"), None),
            (24, text("1\u{1f}2"), form),
            (24, sequence(&[1]), kind),
            (25, text(&"x".repeat(2_000)), None),
            (25, text(&"x".repeat(2_001)), form),
            (26, text("a\u{1f}b"), None),
            (26, text("a\u{1f}b\u{1f}"), form),
            (27, text("nhiều"), None),
            (27, Value::Chosen(1), kind),
        ] {
            assert_eq!(
                found(item_id, value.clone()),
                expected,
                "{item_id} {value:?}"
            );
        }
    }
}
