//! Writes a draft: every rule is checked here, once, so that nothing is refused on the day.

use std::collections::HashSet;

use directory::area::Edition;
use proto::exam::v1::{Exam, ExamRules, ExamSpec, ExamState, Navigation, RankingKey, Round};

use super::{Engine, Error, Result, exam_id};

/// Partitions of an exam unless asked for: enough for a few engines, few enough to poll.
const DEFAULT_PARTITIONS: u32 = 16;
/// Most partitions: a reader keeps a position for each.
const MAX_PARTITIONS: u32 = 256;
/// 2100-01-01: a later close is a slip of the keyboard, and access codes count seconds in 32 bits.
const LATEST_CLOSE_MS: u64 = 4_102_444_800_000;
const MAX_TITLE_CHARS: usize = 200;
/// A sitting longer than a day is a course, not an exam; net times fit 30 bits of the ranking.
const DURATION_MS: std::ops::RangeInclusive<u64> = 1_000..=86_400_000;
/// Grace covers a bad line, not more thinking.
const MAX_GRACE_MS: u64 = 60_000;
/// A window longer than this is another round.
const MAX_START_WINDOW_MS: u64 = 3_600_000;

/// Behind a tunnel or a ferry, not behind a weekend: standings wait this long for silent devices.
const MAX_LATE_SYNC_MS: u64 = 3_600_000;
/// A section that is over before it can be read is a slip.
const LEAST_SECTION_MS: u64 = 1_000;

impl Engine {
    /// Writes a draft; replaces a draft of the same name.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field; [`Error::ExamExists`] if the name is taken by a published exam.
    pub async fn create_exam(&self, mut spec: ExamSpec) -> Result<Exam> {
        exam_id(&spec.exam_id)?;
        let _writing = self.exams.begin_write().await?;
        if self
            .exams
            .get(&spec.exam_id)
            .is_some_and(|exam| exam.state() != ExamState::Draft)
        {
            return Err(Error::ExamExists);
        }
        if spec.n_partitions == 0 {
            spec.n_partitions = DEFAULT_PARTITIONS;
        }
        check(&spec)?;
        let exam = Exam {
            spec: Some(spec),
            state: ExamState::Draft.into(),
            ..Exam::default()
        };
        self.exams.save(&exam, None).await?;
        Ok(exam)
    }
}

fn check(spec: &ExamSpec) -> Result<()> {
    let n_chars = spec.title.chars().count();
    require(
        "title",
        (1..=MAX_TITLE_CHARS).contains(&n_chars),
        "1 đến 200 ký tự / 1 to 200 characters",
    )?;
    let partitions = spec.n_partitions;
    let fits = partitions.is_power_of_two() && partitions <= MAX_PARTITIONS;
    require(
        "n_partitions",
        fits,
        "lũy thừa của hai, tối đa 256 / a power of two, at most 256",
    )?;
    require(
        "blueprint",
        spec.blueprint.is_some(),
        "thiếu ma trận đề / the blueprint is missing",
    )?;
    let rules = spec
        .rules
        .as_ref()
        .ok_or_else(|| invalid("rules", "thiếu thể lệ / the rules are missing"))?;
    check_rules(rules)?;
    let n_sections = spec
        .blueprint
        .as_ref()
        .map_or(0, |blueprint| blueprint.sections.len());
    check_sections(rules, n_sections)
}

/// The sum of the sections' times must fit into the attempt, else the last ones would be cut short.
fn check_sections(rules: &ExamRules, n_sections: usize) -> Result<()> {
    let times = &rules.section_times;
    let known = times
        .iter()
        .all(|time| (time.section as usize) < n_sections && time.time_ms >= LEAST_SECTION_MS);
    let once = times
        .iter()
        .map(|time| time.section)
        .collect::<HashSet<_>>()
        .len()
        == times.len();
    let sum = times
        .iter()
        .fold(0u64, |sum, time| sum.saturating_add(time.time_ms));
    require(
        "rules.section_times",
        known && once && sum <= rules.duration_ms,
        "mỗi phần một lần, ít nhất 1 giây, tổng không quá thời gian làm bài / each section once, at least 1 second, in all at most the duration",
    )
}

fn check_rules(rules: &ExamRules) -> Result<()> {
    require(
        "rules.duration_ms",
        DURATION_MS.contains(&rules.duration_ms),
        "1 giây đến 24 giờ / 1 second to 24 hours",
    )?;
    require(
        "rules.grace_ms",
        rules.grace_ms <= MAX_GRACE_MS,
        "tối đa 60 giây / at most 60 seconds",
    )?;
    require(
        "rules.late_sync_ms",
        rules.late_sync_ms <= MAX_LATE_SYNC_MS,
        "tối đa 1 giờ / at most 1 hour",
    )?;
    require(
        "rules.navigation",
        Navigation::try_from(rules.navigation).is_ok(),
        "tự do hoặc chỉ đi tới / free or forward only",
    )?;
    require(
        "rules.score_decimals",
        rules.score_decimals <= 4,
        "0 đến 4 / 0 to 4",
    )?;
    check_rounds(rules)?;
    check_window(rules)?;
    let keys: HashSet<i32> = rules.ranking.iter().copied().collect();
    let known = rules
        .ranking
        .iter()
        .all(|key| RankingKey::try_from(*key).is_ok_and(|key| key != RankingKey::Unspecified));
    let once = known && !keys.is_empty() && keys.len() == rules.ranking.len();
    require(
        "rules.ranking",
        once,
        "ít nhất một tiêu chí, không lặp lại / at least one key, none twice",
    )?;
    let edition = Edition::parse(&rules.map_edition)
        .ok_or_else(|| invalid("rules.map_edition", "vn-63 hoặc vn-34 / vn-63 or vn-34"))?;
    let mut seen = HashSet::new();
    for count in &rules.registered {
        if edition.area(&count.area).is_none() {
            return Err(Error::AreaUnknown {
                area: count.area.clone(),
            });
        }
        require(
            "rules.registered",
            seen.insert(&count.area),
            "mỗi tỉnh một lần / each area once",
        )?;
    }
    Ok(())
}

fn check_rounds(rules: &ExamRules) -> Result<()> {
    let ordered = rules.rounds.iter().all(|round| {
        round.round > 0
            && round.opens_at_ms < round.closes_at_ms
            && round.closes_at_ms <= LATEST_CLOSE_MS
    }) && rules
        .rounds
        .is_sorted_by(|a, b| a.round < b.round && a.closes_at_ms <= b.opens_at_ms)
        && !rules.rounds.is_empty();
    require(
        "rules.rounds",
        ordered,
        "ít nhất một vòng, đánh số tăng dần, mở trước khi đóng, không chồng nhau, trước năm 2100 / at least one, rising numbers, opening before closing, not overlapping, before 2100",
    )
}

fn check_window(rules: &ExamRules) -> Result<()> {
    let fits = |round: &Round| rules.start_window_ms < round.closes_at_ms - round.opens_at_ms;
    let is_short = rules.start_window_ms <= MAX_START_WINDOW_MS && rules.rounds.iter().all(fits);
    require(
        "rules.start_window_ms",
        is_short,
        "tối đa 1 giờ và ngắn hơn mỗi vòng / at most 1 hour and shorter than each round",
    )
}

fn require(field: &'static str, holds: bool, what: &str) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(invalid(field, what))
    }
}

fn invalid(field: &'static str, what: &str) -> Error {
    Error::Invalid {
        field,
        what: what.to_owned(),
    }
}
