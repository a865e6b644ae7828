//! Processor time of other processes, as the kernel counts it.
//!
//! Source: proc(5), `/proc/PID/stat`: fields 14 and 15, in ticks of a hundredth of a second.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use anyhow::{Context, Result};

/// Ticks of `/proc` a second: 100 on every Linux that Debian builds.
const TICKS_PER_S: u64 = 100;

/// Processor time used by some processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime(Duration);

impl CpuTime {
    /// Reads what these processes have used so far, in user mode and in the kernel.
    pub(crate) fn of(pids: &[u32]) -> Result<Self> {
        let mut ticks = 0;
        for pid in pids {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .with_context(|| format!("look at process {pid}"))?;
            ticks += parse(&stat).with_context(|| format!("read the times of process {pid}"))?;
        }
        Ok(Self(Duration::from_millis(ticks * 1_000 / TICKS_PER_S)))
    }

    /// Returns it in seconds.
    pub(crate) fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Add for CpuTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

/// The program's name, in brackets, may hold anything; behind the last bracket stand plain fields.
fn parse(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11); // the first one is field 3
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

/// Describes the machine for a report: processors and the load of the last minute.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("?", |rest| rest.trim_start_matches([' ', '\t', ':']));
    format!("{cores} × {model}, load before {load}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_kernel_time_are_added() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 111 22 5 5 20 0 1 0 9 9 9";
        assert_eq!(parse(stat), Some(133));
        assert_eq!(parse("42 (a) S 1 2"), None);
    }

    #[test]
    fn work_is_seen() {
        let own = [std::process::id()];
        let before = CpuTime::of(&own).unwrap();
        let mut sum = 0_u64;
        while (CpuTime::of(&own).unwrap() - before).seconds() < 0.05 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(sum > 0);
    }
}
