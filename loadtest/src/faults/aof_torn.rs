//! The append-only file loses its end at a random byte, as a torn write or a damaged disk leaves it.
//!
//! Synced data is destroyed here, so acknowledged answers behind the cut may be gone. Predicate: Redis starts, no commit
//! is there by half, and the engine and the verifier find log and records in one state: the end of each attempt, which
//! comes from its record, names the number and the chain of the answers that the log holds. Control, within the
//! scenario: one entry taken out of a log must be found.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{
    contest::{Crowd, SETTLE_LIMIT, close_and_judge},
    power::tear,
    round::{Outcome, Round},
    site::{Setup, Site},
};
use crate::own_exam::EXAM_ID;

/// Partitions of the exam: as many as the engine makes unless asked.
const N_PARTITIONS: u32 = 16;
/// A log with a hole is never read to its end, so waiting longer shows nothing; a whole one is read within a second.
const CONTROL_SETTLES_WITHIN: Duration = Duration::from_secs(15);

/// Cuts once; candidates do not go on, since what they remember may be gone.
pub(super) async fn play(round: &mut Round) -> Result<Outcome> {
    let (mut site, torn) = torn(round).await?;
    round.note(torn);
    site.start_engine().await?;
    let (mut verdict, n_answers) = close_and_judge(&site, Vec::new(), SETTLE_LIMIT).await?;
    (verdict.n_acknowledged, verdict.n_found) = (n_answers, n_answers); // what survived; nothing is claimed of the rest

    let (mut site, _) = torn_again(round).await?;
    site.start_engine().await?;
    let control = close_and_judge(&site, Vec::new(), CONTROL_SETTLES_WITHIN).await;
    let is_found = control.map_or(true, |(verdict, _)| !verdict.ok);
    ensure!(
        is_found,
        "the control held: an entry taken out of a log was not missed"
    );
    round.note("control: an entry taken out of a log was noticed");
    Ok(Outcome::Played(verdict))
}

async fn torn(round: &mut Round) -> Result<(Site, String)> {
    let mut site = Site::open(&round.tools, Setup::redis()).await?;
    let crowd = Crowd::enter(round, &site).await?;
    let up = round.wait_ms(1_500..4_000).await;
    site.kill_engine().await?;
    crowd.send_home();
    let redis = site.redis()?;
    redis.kill9().await?;
    let lost = tear(&redis.append_only_dir(), &mut round.rng)?;
    redis.restart().await.context("start on a torn file")?;
    Ok((site, format!("file torn after {up:.1?}, {lost} bytes gone")))
}

/// The same, and then the last entry of the longest log is taken out, as if half a commit had been kept.
async fn torn_again(round: &mut Round) -> Result<(Site, String)> {
    let (mut site, torn) = torn(round).await?;
    let mut connection = site.redis()?.connect().await?;
    let mut longest = (0, 0);
    for partition in 0..N_PARTITIONS {
        let length = log_length(&mut connection, partition).await?;
        longest = longest.max((length, partition));
    }
    let (length, partition) = longest;
    ensure!(length > 1, "the torn log is empty");
    let () = redis::cmd("XDEL")
        .arg(log(partition))
        .arg(format!("0-{length}"))
        .query_async(&mut connection)
        .await
        .context("take an entry out")?;
    Ok((site, torn))
}

async fn log_length(
    connection: &mut redis::aio::MultiplexedConnection,
    partition: u32,
) -> Result<u64> {
    redis::cmd("XLEN")
        .arg(log(partition))
        .query_async(connection)
        .await
        .context("the length of a log")
}

fn log(partition: u32) -> String {
    format!("kb:{{{EXAM_ID}:{partition}}}:log")
}
