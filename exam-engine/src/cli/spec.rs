//! The exam file: what an organizer writes down, with words instead of numbers.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use proto::{
    bank::v1::{Blueprint, DifficultyWindow, MultipleRule, OrderingRule, Section, Stratum},
    exam::v1::{
        AreaCount, CountedAttempt, ExamRules, ExamSpec, ExamUnit, Navigation, Prize, RankingKey,
        ResultPolicy, Round, ScoreRounding, SectionTime, UnitRankingKey,
    },
};
use question_bank::item::Band;
use serde::Deserialize;

/// A sample, printed by `exam exam template`; a test parses it.
pub(super) const TEMPLATE: &str = r#"{
  "id": "tim-hieu-viet-nam",
  "title": "Tìm hiểu Việt Nam, tuần 1",
  "sections": [
    {
      "title": "Phần chung",
      "mark": "0.5",
      "strata": [
        {"topic": "Địa lý Việt Nam", "band": "NB", "quota": 3},
        {"topic": "Địa lý Việt Nam", "band": "TH", "quota": 2},
        {"topic": "Lịch sử Việt Nam", "quota": 5},
        {"topic": "An toàn giao thông", "quota": 5},
        {"topic": "Kỹ năng số", "quota": 5}
      ]
    }
  ],
  "duration_s": 1200,
  "grace_s": 5,
  "late_sync_s": 300,
  "navigation": "free",
  "rounds": [{"opens": "2026-12-01T08:00", "closes": "2026-12-08T08:00"}],
  "attempts_per_round": 3,
  "counted": "best",
  "ranking": ["score", "net_time", "submitted_at"],
  "result": "at_end",
  "pass_mark": "5",
  "units": [
    {"number": 1, "name": "Sở Giáo dục", "head_count": 40, "group": "cơ quan"},
    {"number": 2, "name": "Trường số 1", "parent": 1, "head_count": 120}
  ],
  "unit_ranking": ["turnout", "mean_score"],
  "unit_threshold_percent": 30,
  "prizes": [{"name": "Giải nhất tuần", "count": 1, "round": 1}, {"name": "Giải nhì tuần", "count": 2, "round": 1}],
  "prize_cap": 1,
  "map": "vn-34",
  "registered": {"01": 1000, "79": 1500}
}"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    title: String,
    #[serde(default)]
    release: u32,
    sections: Vec<FileSection>,
    window: Option<FileWindow>,
    duration_s: u64,
    #[serde(default)]
    grace_s: u64,
    #[serde(default)]
    late_sync_s: u64,
    #[serde(default)]
    navigation: Going,
    rounds: Vec<FileRound>,
    #[serde(default)]
    attempts_per_round: u32,
    #[serde(default)]
    attempts_in_all: u32,
    #[serde(default)]
    counted: Counted,
    ranking: Vec<Ranking>,
    #[serde(default = "two")]
    score_decimals: u32,
    #[serde(default)]
    result: ResultWhen,
    map: String,
    #[serde(default)]
    start_window_s: u64,
    #[serde(default)]
    registered: BTreeMap<String, u64>,
    #[serde(default)]
    partitions: u32,
    /// The score is never below 0.
    #[serde(default)]
    floor_zero: bool,
    /// From which score an attempt passes; empty for none.
    #[serde(default)]
    pass_mark: String,
    #[serde(default)]
    rounding: Rounding,
    #[serde(default)]
    units: Vec<FileUnit>,
    #[serde(default)]
    unit_ranking: Vec<UnitRanking>,
    #[serde(default)]
    unit_threshold_percent: u32,
    #[serde(default)]
    prizes: Vec<FilePrize>,
    #[serde(default)]
    prize_cap: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSection {
    #[serde(default)]
    title: String,
    mark: String,
    /// Time of its own; sections are then taken in order.
    #[serde(default)]
    time_s: u64,
    strata: Vec<FileStratum>,
    #[serde(default = "yes")]
    shuffle_items: bool,
    #[serde(default = "yes")]
    shuffle_options: bool,
    #[serde(default)]
    multiple: Multiple,
    /// Taken off for a wrong answer; empty for nothing.
    #[serde(default)]
    wrong_mark: String,
    #[serde(default)]
    floor_zero: bool,
    /// By statements right, from 0 on; empty for 0, 10, 25, 50, 100.
    #[serde(default)]
    cluster_percent: Vec<u32>,
    #[serde(default)]
    ordering: Ordering,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileStratum {
    topic: String,
    band: Option<String>,
    quota: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileWindow {
    target_milli: u32,
    tolerance_milli: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRound {
    opens: String,
    closes: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileUnit {
    number: u32,
    #[serde(default)]
    parent: u32,
    name: String,
    #[serde(default)]
    head_count: u64,
    #[serde(default)]
    group: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePrize {
    name: String,
    count: u32,
    #[serde(default)]
    round: u32,
    #[serde(default)]
    group: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Going {
    #[default]
    Free,
    ForwardOnly,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Counted {
    #[default]
    Best,
    Last,
    First,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResultWhen {
    #[default]
    AtEnd,
    AfterClose,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Multiple {
    #[default]
    AllOrNothing,
    Ripkey,
    PlusMinus,
    Balanced,
    EachOption,
    Half,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ordering {
    #[default]
    Exact,
    Positions,
    Adjacent,
    Inversions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rounding {
    #[default]
    HalfUp,
    HalfEven,
    Down,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum UnitRanking {
    Turnout,
    MeanScore,
    Persons,
    Attempts,
    Passed,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ranking {
    Score,
    CorrectCount,
    NetTime,
    SubmittedAt,
    FewestAttempts,
    Prediction,
    PredictionNotAbove,
}

fn yes() -> bool {
    true
}

fn two() -> u32 {
    2
}

/// Reads an exam file; `now` is what "+2h" counts from.
pub(super) fn parse(text: &str, now: Timestamp) -> anyhow::Result<ExamSpec> {
    let file: File = serde_json::from_str(text).context(
        "tệp mô tả kỳ thi sai; xem `exam exam template` / bad exam file; see `exam exam template`",
    )?;
    let rounds = (1..)
        .zip(&file.rounds)
        .map(|(number, round)| parse_round(number, round, now))
        .collect::<anyhow::Result<_>>()?;
    let section_times = (0..)
        .zip(&file.sections)
        .filter(|(_, section)| section.time_s > 0)
        .map(|(section, file)| {
            let time_ms = milliseconds("time_s", file.time_s)?;
            Ok(SectionTime { section, time_ms })
        })
        .collect::<anyhow::Result<_>>()?;
    let sections = file
        .sections
        .into_iter()
        .map(section)
        .collect::<anyhow::Result<_>>()?;
    let window = file.window.map(|window| DifficultyWindow {
        target_milli: window.target_milli,
        tolerance_milli: window.tolerance_milli,
    });
    let rules = ExamRules {
        duration_ms: milliseconds("duration_s", file.duration_s)?,
        grace_ms: milliseconds("grace_s", file.grace_s)?,
        late_sync_ms: milliseconds("late_sync_s", file.late_sync_s)?,
        navigation: match file.navigation {
            Going::Free => Navigation::Free,
            Going::ForwardOnly => Navigation::ForwardOnly,
        }
        .into(),
        section_times,
        rounds,
        attempts_per_round: file.attempts_per_round,
        attempts_in_all: file.attempts_in_all,
        counted_attempt: match file.counted {
            Counted::Best => CountedAttempt::Best,
            Counted::Last => CountedAttempt::Last,
            Counted::First => CountedAttempt::First,
        }
        .into(),
        ranking: file
            .ranking
            .into_iter()
            .map(|key| ranking(&key).into())
            .collect(),
        score_decimals: file.score_decimals,
        result_policy: match file.result {
            ResultWhen::AtEnd => ResultPolicy::AtEnd,
            ResultWhen::AfterClose => ResultPolicy::AfterClose,
        }
        .into(),
        map_edition: file.map,
        start_window_ms: milliseconds("start_window_s", file.start_window_s)?,
        registered: file
            .registered
            .into_iter()
            .map(|(area, registered)| AreaCount { area, registered })
            .collect(),
        pass_mark: file.pass_mark,
        score_rounding: match file.rounding {
            Rounding::HalfUp => ScoreRounding::HalfAwayFromZero,
            Rounding::HalfEven => ScoreRounding::HalfEven,
            Rounding::Down => ScoreRounding::TowardZero,
        }
        .into(),
        units: file.units.into_iter().map(unit).collect(),
        unit_ranking: file
            .unit_ranking
            .iter()
            .map(|key| unit_ranking(key).into())
            .collect(),
        unit_threshold_percent: file.unit_threshold_percent,
        prizes: file.prizes.into_iter().map(prize).collect(),
        prize_cap: file.prize_cap,
    };
    Ok(ExamSpec {
        exam_id: file.id,
        title: file.title,
        release_no: file.release,
        blueprint: Some(Blueprint {
            sections,
            window,
            floor_zero: file.floor_zero,
        }),
        rules: Some(rules),
        n_partitions: file.partitions,
    })
}

fn milliseconds(field: &str, seconds: u64) -> anyhow::Result<u64> {
    seconds.checked_mul(1_000).with_context(|| {
        format!("{field}: {seconds} giây là quá lớn / {field}: {seconds} seconds are too many")
    })
}

fn section(section: FileSection) -> anyhow::Result<Section> {
    let strata = section.strata.into_iter().map(|stratum| {
        let band = stratum.band.as_deref().map(|text| {
            Band::parse(text).with_context(|| {
                format!(
                    "mức độ «{text}»: dùng NB, TH, VD, VDC / band «{text}»: use NB, TH, VD, VDC"
                )
            })
        });
        let band = band.transpose()?;
        Ok(Stratum {
            topic: question_bank::item::clean_text(&stratum.topic),
            band: proto::bank::v1::Band::from(band.unwrap_or_default()).into(),
            any_band: band.is_none(),
            quota: stratum.quota,
        })
    });
    let strata = strata.collect::<anyhow::Result<_>>()?;
    Ok(Section {
        title: section.title,
        strata,
        mark: section.mark,
        shuffle_items: section.shuffle_items,
        shuffle_options: section.shuffle_options,
        multiple_rule: match section.multiple {
            Multiple::AllOrNothing => MultipleRule::AllOrNothing,
            Multiple::Ripkey => MultipleRule::Ripkey,
            Multiple::PlusMinus => MultipleRule::PlusMinus,
            Multiple::Balanced => MultipleRule::Balanced,
            Multiple::EachOption => MultipleRule::EachOption,
            Multiple::Half => MultipleRule::Half,
        }
        .into(),
        wrong_mark: section.wrong_mark,
        floor_zero: section.floor_zero,
        cluster_percent: section.cluster_percent,
        ordering_rule: match section.ordering {
            Ordering::Exact => OrderingRule::Exact,
            Ordering::Positions => OrderingRule::Positions,
            Ordering::Adjacent => OrderingRule::Adjacent,
            Ordering::Inversions => OrderingRule::Inversions,
        }
        .into(),
    })
}

fn unit(unit: FileUnit) -> ExamUnit {
    ExamUnit {
        unit: unit.number,
        parent: unit.parent,
        name: unit.name,
        head_count: unit.head_count,
        group: unit.group,
    }
}

fn prize(prize: FilePrize) -> Prize {
    Prize {
        name: prize.name,
        count: prize.count,
        round: prize.round,
        group: prize.group,
    }
}

fn unit_ranking(key: &UnitRanking) -> UnitRankingKey {
    match key {
        UnitRanking::Turnout => UnitRankingKey::Turnout,
        UnitRanking::MeanScore => UnitRankingKey::MeanScore,
        UnitRanking::Persons => UnitRankingKey::Persons,
        UnitRanking::Attempts => UnitRankingKey::Attempts,
        UnitRanking::Passed => UnitRankingKey::Passed,
    }
}

fn ranking(key: &Ranking) -> RankingKey {
    match key {
        Ranking::Score => RankingKey::Score,
        Ranking::CorrectCount => RankingKey::CorrectCount,
        Ranking::NetTime => RankingKey::NetTime,
        Ranking::SubmittedAt => RankingKey::SubmittedAt,
        Ranking::FewestAttempts => RankingKey::FewestAttempts,
        Ranking::Prediction => RankingKey::Prediction,
        Ranking::PredictionNotAbove => RankingKey::PredictionNotAbove,
    }
}

fn parse_round(number: u32, round: &FileRound, now: Timestamp) -> anyhow::Result<Round> {
    Ok(Round {
        round: number,
        opens_at_ms: instant(&round.opens, now)?,
        closes_at_ms: instant(&round.closes, now)?,
    })
}

/// Reads "2026-12-01T08:00" as Vietnam's time, an instant with its own zone, or "+2h" from now.
fn instant(text: &str, now: Timestamp) -> anyhow::Result<u64> {
    let instant = if let Some(span) = text.strip_prefix(['+', '-']) {
        let span: jiff::Span = span
            .parse()
            .with_context(|| format!("khoảng thời gian / span «{text}»"))?;
        if text.starts_with('-') {
            now.checked_sub(span)?
        } else {
            now.checked_add(span)?
        }
    } else if let Ok(instant) = text.parse::<Timestamp>() {
        instant
    } else {
        let local: DateTime = text.parse().with_context(|| format!("thời điểm «{text}»: dùng dạng 2026-12-01T08:00 / instant «{text}»: write it like 2026-12-01T08:00"))?;
        local
            .to_zoned(TimeZone::get("Asia/Ho_Chi_Minh")?)?
            .timestamp()
    };
    u64::try_from(instant.as_millisecond()).context("thời điểm trước 1970 / an instant before 1970")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_an_exam() {
        let spec = parse(TEMPLATE, Timestamp::UNIX_EPOCH).unwrap();
        let rules = spec.rules.unwrap();
        // 08:00 in Vietnam is 01:00 UTC.
        let opens =
            Timestamp::from_millisecond(i64::try_from(rules.rounds[0].opens_at_ms).unwrap())
                .unwrap();
        assert_eq!(opens.to_string(), "2026-12-01T01:00:00Z");
        assert_eq!(spec.blueprint.unwrap().sections[0].strata.len(), 5);
    }

    #[test]
    fn relative_times_count_from_now() {
        assert_eq!(instant("+2h", Timestamp::UNIX_EPOCH).unwrap(), 7_200_000);
        assert_eq!(instant("+90s", Timestamp::UNIX_EPOCH).unwrap(), 90_000);
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, word) in [
            ("\"NB\"", "\"XX\"", "XX"),
            ("2026-12-01T08:00", "sáng mai", "sáng mai"),
            ("\"net_time\"", "\"luck\"", "luck"),
            ("\"duration_s\": 1200,", "", "duration_s"),
            (
                "\"duration_s\": 1200",
                "\"duration_s\": 18446744073709551615",
                "duration_s: 18446744073709551615 seconds are too many",
            ),
            (
                "\"grace_s\": 5",
                "\"grace_s\": 18446744073709552",
                "grace_s: ",
            ),
        ] {
            let error = parse(&TEMPLATE.replace(from, to), Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(format!("{error:#}").contains(word), "{error:#}");
        }
    }
}
