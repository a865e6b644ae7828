//! A power cut: processes end, and what was written but never synced is gone.
//!
//! Predicate (P1): whatever was acknowledged was synced before, so it is there. Control: a Redis that syncs once a second,
//! which only a rehearsal may use, must be found to lose acknowledged answers.

use anyhow::{Result, ensure};

use super::{
    contest::hold,
    round::{Outcome, Round},
    site::{Setup, Site},
};

/// The engine with its own store.
pub(super) async fn embedded(round: &mut Round) -> Result<Outcome> {
    let power = round.power().await?;
    let setup = Setup {
        environment: power.environment()?,
        ..Setup::embedded()
    };
    let mut site = Site::open(&round.tools, setup).await?;
    hold(round, &mut site, async |round, site| {
        for _ in 0..round.times() {
            let up = round.wait_ms(300..1_800).await;
            site.kill_engine().await?;
            let lost = power.cut_journals(&site.live_dir())?;
            site.start_engine().await?;
            round.note(format!("power cut after {up:.1?}, {lost} bytes unsynced"));
        }
        Ok(())
    })
    .await
}

/// Engine and Redis on one machine.
pub(super) async fn redis(round: &mut Round) -> Result<Outcome> {
    let times = round.times();
    on_redis(round, Setup::redis(), times).await
}

/// The control: acknowledged before it is synced.
pub(super) async fn control_everysec(round: &mut Round) -> Result<Outcome> {
    let setup = Setup {
        redis: Some(vec!["--appendfsync", "everysec"]),
        flags: vec!["--practice".to_owned()],
        ..Setup::default()
    };
    on_redis(round, setup, 1).await
}

async fn on_redis(round: &mut Round, setup: Setup, times: u32) -> Result<Outcome> {
    let power = round.power().await?;
    let setup = Setup {
        environment: power.environment()?,
        ..setup
    };
    let mut site = Site::open(&round.tools, setup).await?;
    let outcome = hold(round, &mut site, async |round, site| {
        for _ in 0..times {
            let up = round.wait_ms(1_200..2_600).await;
            site.kill_engine().await?;
            let redis = site.redis()?;
            redis.kill9().await?;
            let lost = power.cut_redis(&redis.append_only_dir())?;
            redis.restart().await?;
            site.start_engine().await?;
            round.note(format!("power cut after {up:.1?}, {lost} bytes unsynced"));
        }
        Ok(())
    })
    .await?;
    ensure!(!round.faults.is_empty(), "nothing was cut");
    Ok(outcome)
}
