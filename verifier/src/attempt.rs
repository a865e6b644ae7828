//! Compares what the log says of an attempt with its redrawn paper.

use std::collections::HashMap;

use proto::{
    bank::v1::{ItemType, PaperHalf},
    exam::v1::response::Value,
};

use crate::{
    DifferenceKind, Paper,
    answer::chain_head,
    archive::{Attempt, AttemptId, StoredAnswer},
    difference::Differences,
};

/// The types of all items, by number.
pub(crate) struct ItemTypes(HashMap<u32, ItemType>);

impl ItemTypes {
    pub(crate) fn new(paper_half: &PaperHalf) -> Self {
        let items = paper_half.items.iter();
        Self(items.map(|item| (item.item_id, item.r#type())).collect())
    }
}

/// Checks paper, answers and chain of one attempt.
pub(crate) fn check(
    exam_id: &str,
    id: AttemptId,
    attempt: &Attempt,
    paper: &Paper,
    types: &ItemTypes,
    differences: &mut Differences,
) {
    check_paper(id, attempt, paper, differences);
    for answer in &attempt.answers {
        check_answer(id, answer, paper, types, differences);
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
    types: &ItemTypes,
    differences: &mut Differences,
) {
    let position = usize::try_from(answer.position).ok();
    let Some(item) = position.and_then(|position| paper.items.get(position)) else {
        let place = format!("{id} seq {}", answer.seq);
        let expected = format!("below {}", paper.items.len());
        let found = answer.position;
        return differences.push(DifferenceKind::PositionUnknown, place, expected, found);
    };
    let is_choice = matches!(
        types.0.get(&item.item_id),
        Some(ItemType::SingleChoice | ItemType::MultipleChoice | ItemType::TrueFalse)
    );
    let fault = match &answer.response.value {
        None => None,
        Some(value) if is_choice => choice_fault(value, item.option_order.len()),
        Some(value @ Value::Chosen(_)) => Some(misfit("no options", value)),
        Some(_) => None, // such items have no rule: reported with the package
    };
    if let Some((kind, expected, found)) = fault {
        let place = format_args!("{id} seq {}", answer.seq);
        differences.push(kind, place, expected, found);
    }
}

/// What is wrong, what should be, what is.
type Fault = (DifferenceKind, String, String);

fn choice_fault(value: &Value, n_options: usize) -> Option<Fault> {
    let Value::Chosen(bits) = value else {
        return Some(misfit("chosen options", value));
    };
    let is_beyond = u64::from(*bits) >> n_options.min(63) != 0;
    is_beyond.then(|| {
        let expected = format!("some of {n_options} options");
        (
            DifferenceKind::OptionUnknown,
            expected,
            format!("{bits:#b}"),
        )
    })
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
    use crate::test_exam::{check, chosen};

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
            let tamper = |exam: &mut crate::test_exam::TestExam| {
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
}
