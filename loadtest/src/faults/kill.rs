//! kill -9 of the engine, of Redis, or of both, while candidates work.
//!
//! Predicate (P1): the page cache survives a kill, so whatever was acknowledged is there, and candidates go on.

use anyhow::Result;

use super::{
    contest::hold,
    round::{Outcome, Round},
    site::{Setup, Site},
};

/// The engine on its own store.
pub(super) async fn engine_embedded(round: &mut Round) -> Result<Outcome> {
    engine(round, Setup::embedded()).await
}

/// The engine over Redis.
pub(super) async fn engine_redis(round: &mut Round) -> Result<Outcome> {
    engine(round, Setup::redis()).await
}

async fn engine(round: &mut Round, setup: Setup) -> Result<Outcome> {
    let mut site = Site::open(&round.tools, setup).await?;
    hold(round, &mut site, async |round, site| {
        for _ in 0..round.times() {
            let up = round.wait_ms(300..1_800).await;
            site.kill_engine().await?;
            let down = round.wait_ms(0..1_000).await;
            site.start_engine().await?;
            round.note(format!("engine killed after {up:.1?}, down {down:.1?}"));
        }
        Ok(())
    })
    .await
}

/// Redis alone; the engine must find it again.
pub(super) async fn redis(round: &mut Round) -> Result<Outcome> {
    let mut site = Site::open(&round.tools, Setup::redis()).await?;
    hold(round, &mut site, async |round, site| {
        for _ in 0..round.times() {
            let up = round.wait_ms(300..1_800).await;
            site.redis()?.kill9().await?;
            let down = round.wait_ms(0..2_000).await;
            site.redis()?.restart().await?;
            round.note(format!("Redis killed after {up:.1?}, down {down:.1?}"));
        }
        Ok(())
    })
    .await
}

/// Both at once.
pub(super) async fn both(round: &mut Round) -> Result<Outcome> {
    let mut site = Site::open(&round.tools, Setup::redis()).await?;
    hold(round, &mut site, async |round, site| {
        for _ in 0..round.times() {
            let up = round.wait_ms(300..1_800).await;
            site.kill_engine().await?;
            site.redis()?.kill9().await?;
            let down = round.wait_ms(0..1_000).await;
            site.redis()?.restart().await?;
            site.start_engine().await?;
            round.note(format!("both killed after {up:.1?}, down {down:.1?}"));
        }
        Ok(())
    })
    .await
}
