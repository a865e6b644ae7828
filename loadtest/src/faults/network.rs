//! Bad networks: slow, trickling, black holes, half-open connections and cuts, between clients and engine or between
//! engine and Redis.
//!
//! Predicate (P1): a reply that never came promises nothing, and an answer that came twice counts once; when the weather
//! clears, everybody goes on by himself.

use anyhow::Result;
use rand::{RngExt, seq::SliceRandom};

use super::{
    contest::hold,
    round::{Outcome, Round},
    site::{Setup, Site},
};
use crate::proxy::{Proxy, Weather};

/// Between clients and engine, on either store.
pub(super) async fn clients(round: &mut Round) -> Result<Outcome> {
    let setup = if round.rng.random() {
        Setup::redis()
    } else {
        Setup::embedded()
    };
    let mut site = Site::open(&round.tools, setup).await?;
    hold(round, &mut site, async |round, site| {
        storm(round, &site.front).await;
        Ok(())
    })
    .await
}

/// Between engine and Redis.
pub(super) async fn redis(round: &mut Round) -> Result<Outcome> {
    let mut site = Site::open(&round.tools, Setup::redis()).await?;
    hold(round, &mut site, async |round, site| {
        storm(round, &site.back).await;
        Ok(())
    })
    .await
}

/// Every kind of weather once, in an order and a strength of the dice.
async fn storm(round: &mut Round, proxy: &Proxy) {
    let mut kinds = [
        Some(Weather::Slow(round.dice_ms(30..300))),
        Some(Weather::Trickle(round.rng.random_range(2_000..20_000))),
        Some(Weather::BlackHole),
        Some(Weather::HalfOpen),
        None, // a cut
    ];
    kinds.shuffle(&mut round.rng);
    for kind in kinds {
        round.wait_ms(200..700).await;
        match kind {
            Some(weather) => {
                proxy.set(weather);
                let lasted = round.wait_ms(500..2_500).await;
                proxy.set(Weather::Fair);
                round.note(format!("{weather:?} for {lasted:.1?}"));
            }
            None => {
                proxy.cut();
                round.note("all connections cut");
            }
        }
    }
}
