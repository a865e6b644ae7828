//! Bytes of a live session in Redis (F8): the rules decide and the store commits, as an engine does.
//!
//! Start at [`measure`].

use exam_engine::{
    clock::{Clock, SystemClock, Timestamp},
    id::{CandidateId, ExamId, SessionKey},
    session::{
        Accommodation, Change, ItemShape, NewAnswer, Response, Round, Rules, Session, Ticket,
    },
    store::{RedisStore, SessionStore, encode_change},
};
use proto::bank::v1::ItemType;
use question_bank::paper::{Paper, PaperEntry};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    bank::{DURATION_MS, EXAM_ID, N_PARTITIONS},
    redis_server::RedisServer,
};

/// Items of a paper, all answered.
pub const N_ITEMS: u16 = 30;
/// Sessions that are written at once.
const AT_ONCE: usize = 256;
/// Far in the future.
const CLOSES_AT_MS: u64 = 4_000_000_000_000;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Sessions written.
    pub n_sessions: usize,
    /// `used_memory` of the server by which it grew.
    pub bytes: u64,
}

impl Memory {
    /// Returns bytes a session, log included.
    #[must_use]
    pub fn bytes_per_session(&self) -> u64 {
        self.bytes / self.n_sessions.max(1) as u64
    }
}

/// Starts a server and writes sessions of [`N_ITEMS`] answered items through the store.
///
/// # Errors
/// Without redis-server, or what the store refused.
pub async fn measure(
    n_sessions: usize,
    seed: u64,
) -> Result<Memory, Box<dyn std::error::Error + Send + Sync>> {
    let server = RedisServer::start()?;
    let store = RedisStore::connect(&server.url(), false).await?;
    let before = used_memory(&server)?;
    let exam = ExamId::parse(EXAM_ID).ok_or("the exam's name")?;
    let mut rng = StdRng::seed_from_u64(seed);
    let candidates: Vec<[u8; 16]> = (0..n_sessions).map(|_| rng.random()).collect();
    for some in candidates.chunks(AT_ONCE) {
        let sat = some
            .iter()
            .map(|candidate| sit(&store, &exam, CandidateId(*candidate)));
        futures::future::try_join_all(sat).await?;
    }
    Ok(Memory {
        n_sessions,
        bytes: used_memory(&server)?.saturating_sub(before),
    })
}

fn used_memory(server: &RedisServer) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let info = server.info("memory")?;
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    Ok(value.ok_or("INFO has no used_memory")?.parse()?)
}

/// One candidate starts and answers every item once.
async fn sit(
    store: &RedisStore,
    exam: &ExamId,
    candidate: CandidateId,
) -> exam_engine::store::Result<()> {
    let key = SessionKey {
        exam: exam.clone(),
        partition: candidate.partition(N_PARTITIONS),
        candidate,
    };
    let rules = rules();
    let ticket = Ticket {
        candidate,
        area: "79".to_owned(),
        unit: 4_321,
        accommodation: Accommodation::default(),
    };
    let draw = |_| Ok::<_, exam_engine::session::Error>(paper(candidate));
    let mut now = SystemClock.now(); // the store refuses by its own clock
    let (mut session, change) = Session::start(exam, &rules, None, &ticket, now, draw)
        .map_err(|error| exam_engine::store::Error::Corrupt(error.to_string()))?;
    commit(store, &key, &mut session, change).await?;
    for position in 0..N_ITEMS {
        now = now.plus_ms(20_000);
        let answer = NewAnswer {
            seq: u32::from(position) + 1,
            position: u32::from(position),
            response: Response::Chosen(1 << (position % 4)),
            made_at: None,
        };
        let shape = |_| ItemShape {
            item_type: ItemType::SingleChoice,
            n_options: 4,
            n_targets: 0,
            n_blanks: 0,
        };
        let change = session
            .save_answers(&rules, shape, &[answer], None, now)
            .map_err(|error| exam_engine::store::Error::Corrupt(error.to_string()))?;
        if let Some(change) = change {
            commit(store, &key, &mut session, change).await?;
        }
    }
    Ok(())
}

async fn commit(
    store: &RedisStore,
    key: &SessionKey,
    session: &mut Session,
    change: Change,
) -> exam_engine::store::Result<()> {
    let version = store.commit(key, encode_change(session, &change)).await?;
    session.apply(change, version);
    Ok(())
}

fn rules() -> Rules {
    Rules {
        duration_ms: DURATION_MS,
        grace_ms: 5_000,
        late_sync_ms: 0,
        forward_only: false,
        sections: Vec::new(),
        rounds: vec![Round {
            round: 1,
            opens_at: Timestamp(0),
            closes_at: Timestamp(CLOSES_AT_MS),
        }],
        attempts_per_round: 0,
        attempts_in_all: 0,
    }
}

/// A paper of its own for each candidate: item numbers of a large bank, options in any order.
fn paper(candidate: CandidateId) -> Paper {
    let first = u32::from(candidate.0[0]) * 17;
    let entries = (0..u32::from(N_ITEMS)).map(|index| PaperEntry {
        index,
        item_id: first + index * 31,
        n_options: 4,
    });
    let order = (0..N_ITEMS).flat_map(|_| [2, 0, 3, 1]);
    Paper::new(entries.collect(), order.collect(), false)
}
