//! A disk whose syncs take 0.1 to 2 seconds, and a kill -9 while one is under way.
//!
//! Predicate (P1): an answer that was still waiting for its sync was not acknowledged, so a kill may take it; whatever
//! was acknowledged is there. What is written is not yet synced, so the kill is followed by a power cut.

use std::time::Duration;

use anyhow::Result;

use super::{
    contest::hold,
    round::{Outcome, Round},
    site::{Setup, Site},
};

/// The embedded store.
pub(super) async fn embedded(round: &mut Round) -> Result<Outcome> {
    let power = round.power().await?;
    let setup = Setup {
        environment: power.environment()?,
        ..Setup::embedded()
    };
    let mut site = Site::open(&round.tools, setup).await?;
    hold(round, &mut site, async |round, site| {
        for _ in 0..round.times() {
            let delay = round.dice_ms(100..2_000);
            power.delay_syncs(delay)?;
            let up = round.wait_ms(1_000..4_000).await;
            site.kill_engine().await?;
            let lost = power.cut_journals(&site.live_dir())?;
            power.delay_syncs(Duration::ZERO)?;
            site.start_engine().await?;
            round.note(format!(
                "syncs of {delay:.1?}, cut after {up:.1?}, {lost} bytes unsynced"
            ));
            round.wait_ms(200..600).await;
        }
        Ok(())
    })
    .await
}

/// Redis, whose whole event loop waits for each sync.
pub(super) async fn redis(round: &mut Round) -> Result<Outcome> {
    let power = round.power().await?;
    let setup = Setup {
        environment: power.environment()?,
        ..Setup::redis()
    };
    let mut site = Site::open(&round.tools, setup).await?;
    hold(round, &mut site, async |round, site| {
        for _ in 0..round.times() {
            let delay = round.dice_ms(100..2_000);
            power.delay_syncs(delay)?;
            let up = round.wait_ms(1_000..4_000).await;
            let redis = site.redis()?;
            redis.kill9().await?;
            let lost = power.cut_redis(&redis.append_only_dir())?;
            power.delay_syncs(Duration::ZERO)?;
            redis.restart().await?;
            round.note(format!(
                "syncs of {delay:.1?}, cut after {up:.1?}, {lost} bytes unsynced"
            ));
            round.wait_ms(200..600).await;
        }
        Ok(())
    })
    .await
}
