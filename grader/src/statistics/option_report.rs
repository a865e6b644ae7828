//! How an option, or a whole choice, worked: by whom it was chosen.

use super::{
    Choice, ItemInfo,
    item_counts::Cell,
    score_groups::{N_GROUPS, ScoreGroups},
    sums::Sums,
};

/// Most choices a report lists; further ones are too rare to be read.
const MAX_CHOICES: usize = 32;

/// What a report says of an option or of a choice.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionReport {
    /// The option as a set of one, or the whole choice.
    pub choice: Choice,
    /// Whether the key has it.
    pub in_key: bool,
    /// How many chose it.
    pub n: i64,
    /// Their share.
    pub share: f64,
    /// Correlation of having chosen it with the rest score; none unless both vary.
    pub point_biserial: Option<f64>,
    /// Mean rest score of those who chose it, in quanta.
    pub mean_rest: Option<f64>,
    /// Share in each fifth of the candidates by total, the lowest first; none if the fifth is empty.
    pub group_shares: [Option<f64>; N_GROUPS],
    /// Share among the lower 27 % by total; none if many equal totals leave no such group.
    pub lower_share: Option<f64>,
    /// Share among the upper 27 %.
    pub upper_share: Option<f64>,
}

/// Reports each option of an item with options, whether chosen alone or with others.
pub(super) fn options(info: &ItemInfo, cells: &[(Cell, i64)]) -> Vec<OptionReport> {
    let Some(groups) = by_total(cells) else {
        return Vec::new();
    };
    let report = |option: u8| {
        let choice = Choice(1 << option);
        let in_key = Choice(info.key).has(option);
        report(choice, in_key, cells, &groups, |chosen| chosen.has(option))
    };
    (0..info.n_options.min(16)).map(report).collect()
}

/// Reports whole choices, the most frequent first: sets of options, blank, codes of answers.
pub(super) fn choices(info: &ItemInfo, cells: &[(Cell, i64)]) -> Vec<OptionReport> {
    let Some(groups) = by_total(cells) else {
        return Vec::new();
    };
    let report = |(choice, _): (Choice, i64)| {
        let in_key = info.is_right(choice);
        report(choice, in_key, cells, &groups, |chosen| chosen == choice)
    };
    let frequent = by_frequency(cells).into_iter().take(MAX_CHOICES);
    frequent.map(report).collect()
}

/// Returns the choices with their numbers, the most frequent first.
pub(super) fn by_frequency(cells: &[(Cell, i64)]) -> Vec<(Choice, i64)> {
    let mut choices: Vec<_> = cells.iter().map(|&(cell, n)| (cell.choice, n)).collect();
    choices.sort_unstable_by_key(|&(choice, _)| choice);
    choices.dedup_by(|later, first| {
        let same = later.0 == first.0;
        first.1 += if same { later.1 } else { 0 };
        same
    });
    choices.sort_by_key(|&(choice, n)| (-n, choice));
    choices
}

/// Returns the sums of having chosen something and of the rest score.
pub(super) fn against_rest(cells: &[(Cell, i64)], chose: impl Fn(Choice) -> bool) -> Sums {
    let mut sums = Sums::default();
    for (cell, n) in cells {
        sums.count(i64::from(chose(cell.choice)), cell.rest(), 1, *n);
    }
    sums
}

/// Returns the sums of the rest score over those who chose something.
pub(super) fn of_choosers(cells: &[(Cell, i64)], chose: impl Fn(Choice) -> bool) -> Sums {
    let mut sums = Sums::default();
    for (cell, n) in cells.iter().filter(|(cell, _)| chose(cell.choice)) {
        sums.count(1, cell.rest(), 1, *n);
    }
    sums
}

fn by_total(cells: &[(Cell, i64)]) -> Option<ScoreGroups> {
    ScoreGroups::of(cells.iter().map(|&(cell, n)| (cell.total, n)))
}

fn report(
    choice: Choice,
    in_key: bool,
    cells: &[(Cell, i64)],
    groups: &ScoreGroups,
    chose: impl Fn(Choice) -> bool,
) -> OptionReport {
    let sums = against_rest(cells, &chose);
    let share_where = |is_in: &dyn Fn(i64) -> bool| {
        let inside = cells.iter().filter(|(cell, _)| is_in(cell.total));
        share(inside, &chose)
    };
    OptionReport {
        choice,
        in_key,
        n: i64::try_from(sums.x).unwrap_or(i64::MAX),
        share: sums.facility().unwrap_or(0.0),
        point_biserial: sums.correlation(),
        mean_rest: of_choosers(cells, &chose).mean_t(),
        group_shares: std::array::from_fn(|group| {
            share_where(&|total| groups.group(total) == group)
        }),
        lower_share: share_where(&|total| groups.is_lower(total)),
        upper_share: share_where(&|total| groups.is_upper(total)),
    }
}

fn share<'a>(
    cells: impl Iterator<Item = &'a (Cell, i64)>,
    chose: impl Fn(Choice) -> bool,
) -> Option<f64> {
    let (mut n, mut n_chose) = (0, 0);
    for (cell, n_here) in cells {
        n += n_here;
        n_chose += i64::from(chose(cell.choice)) * n_here;
    }
    (n > 0).then(|| n_chose as f64 / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(choice: u16, rest: i64) -> Cell {
        let quanta = i64::from(choice == 1);
        Cell {
            total: rest + quanta,
            quanta,
            choice: Choice(choice),
        }
    }

    fn info() -> ItemInfo {
        ItemInfo {
            n_options: 3,
            key: 1,
            single: true,
            ..ItemInfo::default()
        }
    }

    #[test]
    fn a_distractor_of_the_weak_correlates_negatively() {
        let cells = [
            (cell(2, 0), 4),
            (cell(0, 1), 1),
            (cell(1, 2), 1),
            (cell(1, 4), 4),
        ];
        let reports = options(&info(), &cells);
        let numbers: Vec<_> = reports.iter().map(|it| it.n).collect();
        assert_eq!(numbers, [5, 4, 0]);
        assert!(reports[0].point_biserial.unwrap() > 0.9);
        assert!(reports[1].point_biserial.unwrap() < -0.8);
        assert_eq!(reports[2].point_biserial, None, "nobody chose it");
        assert_eq!(
            (reports[0].upper_share, reports[0].lower_share),
            (Some(1.0), Some(0.0))
        );
        assert_eq!(reports[1].mean_rest, Some(0.0));
    }

    #[test]
    fn blank_is_a_choice_and_the_most_frequent_comes_first() {
        let cells = [(cell(0, 0), 3), (cell(1, 2), 4), (cell(1, 1), 1)];
        let found: Vec<_> = choices(&info(), &cells)
            .iter()
            .map(|it| (it.choice, it.n))
            .collect();
        assert_eq!(found, [(Choice(1), 5), (Choice::BLANK, 3)]);
        assert!(choices(&info(), &[]).is_empty());
    }
}
