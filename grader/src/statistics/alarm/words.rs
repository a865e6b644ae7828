//! Alarms as sentences, for organizers: Vietnamese and English.

use super::{super::ExamStatistics, Alarm, Evidence};
use crate::statistics::Choice;

/// A sentence in two languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Vietnamese.
    pub vi: String,
    /// English.
    pub en: String,
}

impl Words {
    fn new(vi: String, en: String) -> Self {
        Self { vi, en }
    }
}

impl Alarm {
    /// Returns the kind as the wire names it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.evidence {
            Evidence::BeatsKey { .. } => "option_beats_key",
            Evidence::StrongerThanKey { .. } => "option_stronger_than_key",
            Evidence::AsGoodAsKey { .. } => "option_as_good_as_key",
            Evidence::NegativeDiscrimination { .. } => "negative_discrimination",
            Evidence::OptionAgainstKey { .. } => "option_against_key",
            Evidence::KeyOptionRare { .. } => "key_option_rare",
            Evidence::NobodyRight => "nobody_right",
            Evidence::EverybodyRight => "everybody_right",
            Evidence::EasierSince { .. } => "easier_since",
            Evidence::EasierIn { .. } => "easier_in_area",
            Evidence::UnreachableScore { .. } => "unreachable_score",
        }
    }
}

impl ExamStatistics {
    /// Says what raised an alarm.
    #[must_use]
    pub fn words(&self, alarm: &Alarm) -> Words {
        let name = |choice| self.name(alarm.item_id, choice);
        match alarm.evidence {
            Evidence::BeatsKey {
                choice,
                n_best,
                n_best_key,
                ..
            } => {
                let name = name(choice);
                Words::new(
                    format!(
                        "Trong nhóm 27 % giỏi nhất, {n_best} người trả lời {name}, chỉ {n_best_key} người theo đáp án"
                    ),
                    format!(
                        "of the best 27 %, {n_best} answered {name} and only {n_best_key} by the key"
                    ),
                )
            }
            Evidence::StrongerThanKey {
                choice,
                share,
                key_share,
                point_biserial,
                key_point_biserial,
            } => {
                let (name, share, of_key) = (name(choice), percent(share), percent(key_share));
                let (r, r_key) = (fixed(point_biserial), fixed(key_point_biserial));
                Words::new(
                    format!(
                        "{name} được chọn nhiều hơn đáp án ({share} so với {of_key}) và bởi thí sinh giỏi hơn (r = {} so với {})",
                        comma(&r),
                        comma(&r_key)
                    ),
                    format!(
                        "{name} is more frequent than the key ({share} against {of_key}), and given by better candidates (r = {r} against {r_key})"
                    ),
                )
            }
            Evidence::AsGoodAsKey {
                choice,
                share,
                point_biserial,
            } => {
                let (name, share, r) = (name(choice), percent(share), fixed(point_biserial));
                Words::new(
                    format!(
                        "{name} ({share}, r = {}) có thể cũng đúng: người chọn giỏi gần như người theo đáp án",
                        comma(&r)
                    ),
                    format!(
                        "{name} ({share}, r = {r}) may be right too: its candidates are about as good as those of the key"
                    ),
                )
            }
            Evidence::NegativeDiscrimination { r_ir, .. } => {
                let r = fixed(r_ir);
                Words::new(
                    format!(
                        "Thí sinh càng giỏi càng hay sai câu này (r = {})",
                        comma(&r)
                    ),
                    format!("the better the candidate, the less the item earns (r = {r})"),
                )
            }
            Evidence::OptionAgainstKey {
                option,
                in_key,
                point_biserial,
            } => {
                let (letter, r) = (letter(option), fixed(point_biserial));
                let (vi, en) = if in_key {
                    ("đáp án có", "is in the key")
                } else {
                    ("đáp án không có", "is not in the key")
                };
                Words::new(
                    format!(
                        "{vi} {letter}, nhưng thí sinh giỏi làm ngược lại (r = {})",
                        comma(&r)
                    ),
                    format!("{letter} {en}, but good candidates do otherwise (r = {r})"),
                )
            }
            Evidence::KeyOptionRare { option, share } => {
                let (letter, share) = (letter(option), percent(share));
                Words::new(
                    format!("Chỉ {share} chọn {letter}, dù đáp án có {letter}"),
                    format!("only {share} chose {letter}, which is in the key"),
                )
            }
            Evidence::NobodyRight => Words::new(
                "Không ai được trọn điểm".to_owned(),
                "nobody earned the full mark".to_owned(),
            ),
            Evidence::EverybodyRight => Words::new(
                "Ai trả lời cũng được trọn điểm".to_owned(),
                "everybody who answered earned the full mark".to_owned(),
            ),
            Evidence::EasierSince {
                cohort,
                before,
                since,
                ..
            } => {
                let at = self.cohort_name(cohort);
                let (before, since) = (percent(before), percent(since));
                Words::new(
                    format!(
                        "Từ {at} câu này dễ lên bất thường: {before} thành {since}; có thể đã lộ"
                    ),
                    format!("easier since {at}: {before}, then {since}; it may have leaked"),
                )
            }
            Evidence::EasierIn {
                area,
                elsewhere,
                there,
                ..
            } => {
                let area = self.area_name(area);
                let (there, elsewhere) = (percent(there), percent(elsewhere));
                Words::new(
                    format!(
                        "Ở {area} câu này dễ bất thường: {there}, nơi khác {elsewhere}; có thể đã lộ"
                    ),
                    format!("easier in {area}: {there}, elsewhere {elsewhere}; it may have leaked"),
                )
            }
            Evidence::UnreachableScore { total } => {
                let score = self.package.print(total);
                Words::new(
                    format!(
                        "{} bài có điểm {}, mà không thể có điểm này",
                        alarm.n,
                        comma(&score)
                    ),
                    format!(
                        "{} attempts have the score {score}, which cannot occur",
                        alarm.n
                    ),
                )
            }
        }
    }

    /// Names what was answered.
    fn name(&self, item_id: Option<u32>, choice: Choice) -> String {
        let text = item_id.and_then(|item_id| self.texts.get(&(item_id, choice)));
        let has_options = item_id
            .and_then(|item_id| self.package.item_idx(item_id))
            .is_some_and(|at| self.statistics.items()[usize::from(at)].n_options > 0);
        match text {
            Some(text) => format!("“{text}”"),
            None if has_options => letters(choice),
            None => format!("#{}", choice.0),
        }
    }
}

/// Returns the letter of an option.
pub(crate) fn letter(option: u8) -> char {
    char::from(b'A' + option.min(25))
}

/// Returns the letters of chosen options, or a dash.
pub(crate) fn letters(choice: Choice) -> String {
    let options = (0..15).filter(|option| choice.has(*option));
    let letters: String = options.map(letter).collect();
    if letters.is_empty() {
        "–".to_owned()
    } else {
        letters
    }
}

/// Prints a share without decimals, or with one where it is small.
pub(crate) fn percent(share: f64) -> String {
    let places = usize::from(share < 0.1);
    format!("{:.places$} %", 100.0 * share)
}

fn fixed(value: f64) -> String {
    format!("{value:.2}")
}

/// Writes a number as Vietnamese does.
pub(crate) fn comma(number: &str) -> String {
    number.replace('.', ",")
}
