//! Names of provinces, and how candidates are spread over them.

use std::sync::Arc;

use proto::exam::v1::AreaCount;

const VN_63: &str = include_str!("../../directory/data/vn-63.csv");
const VN_34: &str = include_str!("../../directory/data/vn-34.csv");

/// Returns `(code, short name)` of every area of a map edition, in the file's order; none if the edition is unknown.
pub(crate) fn areas_of(map_edition: &str) -> Vec<(&'static str, &'static str)> {
    let text = match map_edition {
        "vn-63" => VN_63,
        "vn-34" => VN_34,
        _ => return Vec::new(),
    };
    text.lines()
        .skip(1) // the names of the columns
        .filter_map(|line| {
            let mut fields = line.split(',');
            Some((fields.next()?, fields.nth(1)?))
        })
        .collect()
}

/// Areas with the number of persons expected in each.
pub(crate) struct Weights {
    areas: Vec<Arc<str>>,
    /// Sum of the counts up to and with each area.
    ends: Vec<u64>,
}

impl Weights {
    /// Takes the exam's expected persons; without any, every area of the edition weighs the same.
    pub(crate) fn new(registered: &[AreaCount], map_edition: &str) -> Self {
        let mut counts: Vec<(Arc<str>, u64)> = registered
            .iter()
            .filter(|a| a.registered > 0)
            .map(|a| (Arc::from(a.area.as_str()), a.registered))
            .collect();
        if counts.is_empty() {
            let all = areas_of(map_edition);
            counts = all.iter().map(|(code, _)| (Arc::from(*code), 1)).collect();
        }
        let mut sum = 0_u64;
        let ends = counts.iter().map(|(_, n)| {
            sum = sum.saturating_add(*n);
            sum
        });
        Self {
            ends: ends.collect(),
            areas: counts.into_iter().map(|(area, _)| area).collect(),
        }
    }

    /// Tells whether there is no area at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// Returns the area that a number from 0 to below 1 falls into.
    pub(crate) fn pick(&self, share: f64) -> Arc<str> {
        let sum = *self.ends.last().expect("areas were checked at the start");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a sum of persons; one person more or less does not matter"
        )]
        let at = ((sum as f64 * share) as u64).min(sum - 1);
        self.areas[self.ends.partition_point(|&end| end <= at)].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_map_editions_are_read() {
        assert_eq!(areas_of("vn-63").len(), 63);
        assert_eq!(areas_of("vn-34").len(), 34);
        assert_eq!(areas_of("vn-63")[0], ("01", "Hà Nội"));
        assert!(areas_of("elsewhere").is_empty());
    }

    #[test]
    fn areas_are_picked_by_their_weight() {
        let count = |area: &str, registered| AreaCount {
            area: area.to_owned(),
            registered,
        };
        let registered = [count("01", 3), count("79", 1), count("04", 0)];
        let weights = Weights::new(&registered, "vn-63");
        let picks = [0.0, 0.25, 0.74, 0.75, 0.999].map(|share| weights.pick(share));
        assert_eq!(
            picks.each_ref().map(|a| &**a),
            ["01", "01", "01", "79", "79"]
        );
    }

    #[test]
    fn without_expected_persons_all_areas_weigh_the_same() {
        let weights = Weights::new(&[], "vn-34");
        assert_eq!(&*weights.pick(0.0), "01");
        assert_eq!(weights.areas.len(), 34);
        assert!(Weights::new(&[], "elsewhere").is_empty());
    }
}
