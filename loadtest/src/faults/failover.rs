//! The primary Redis is killed and a replica takes its place.
//!
//! Predicate (P1, class `replicated`): an acknowledged answer had reached a replica before its receipt, so the promoted
//! one has it. Control: class `single` over the same pair, with the replica cut off in silence, must be found to lose.

mod group;

use anyhow::{Context, Result};

use self::group::Group;
use super::{
    contest::hold,
    round::{Outcome, Round},
    site::{Setup, Site},
};
use crate::{
    child::Environment,
    proxy::{Proxy, Upstream, Weather},
    redis_server::Redis,
};

/// A primary, two replicas and three sentinels.
pub(super) async fn sentinel(round: &mut Round) -> Result<Outcome> {
    if let Some(skipped) = needs_replicas(round) {
        return Ok(skipped);
    }
    play(round, Group::sentinel().await?).await
}

/// Three primaries with a replica each.
pub(super) async fn cluster(round: &mut Round) -> Result<Outcome> {
    if let Some(skipped) = needs_replicas(round) {
        return Ok(skipped);
    }
    play(round, Group::cluster().await?).await
}

fn needs_replicas(round: &Round) -> Option<Outcome> {
    let what = "this engine has no --durability";
    (!round.tools.knows_replicas).then(|| Outcome::Skipped(what.to_owned()))
}

async fn play(round: &mut Round, mut group: Group) -> Result<Outcome> {
    let flags = ["--redis", &group.url, "--durability", "replicated"];
    let setup = Setup {
        flags: flags.map(str::to_owned).to_vec(),
        ..Setup::default()
    };
    let mut site = Site::open(&round.tools, setup).await?;
    hold(round, &mut site, async |round, _site| {
        let up = round.wait_ms(800..2_500).await;
        let took = group.fail_over(&mut round.rng).await?;
        round.note(format!(
            "primary killed after {up:.1?}, another after {took:.1?}"
        ));
        round.wait_ms(500..1_500).await;
        Ok(())
    })
    .await
}

/// The control: receipts of the primary alone.
pub(super) async fn control_no_wait(round: &mut Round) -> Result<Outcome> {
    let mut site = Site::open(&round.tools, Setup::redis()).await?;
    let link = Proxy::open().await?;
    link.lead_to(Upstream::Unix(site.redis()?.socket()));
    let replica = replica_behind(&link).await?;
    hold(round, &mut site, async |round, site| {
        round.wait_ms(600..1_200).await;
        link.set(Weather::BlackHole);
        let alone = round.wait_ms(700..1_500).await;
        site.kill_engine().await?;
        site.redis()?.kill9().await?;
        promote(&replica).await?;
        site.back.lead_to(Upstream::Unix(replica.socket()));
        site.start_engine().await?;
        round.note(format!(
            "primary killed {alone:.1?} after its replica was cut off"
        ));
        Ok(())
    })
    .await
}

async fn replica_behind(link: &Proxy) -> Result<Redis> {
    let port = link.address().port().to_string();
    let settings = ["--appendfsync", "always", "--replicaof", "127.0.0.1", &port];
    let replica = Redis::start_with(&settings, Environment::new()).await?;
    group::await_link(&replica).await?;
    Ok(replica)
}

async fn promote(replica: &Redis) -> Result<()> {
    let mut connection = replica.connect().await?;
    redis::cmd("REPLICAOF")
        .arg("NO")
        .arg("ONE")
        .query_async(&mut connection)
        .await
        .context("promote the replica")
}
