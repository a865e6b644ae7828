//! Runs every workload small and compares what comes out with a plain model.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

use benches::{
    bank::{DURATION_MS, N_PARTITIONS, OPENS_AT_MS, Shape},
    draw::Workload,
    figures::{KNOWN, Scale, measure},
    fold::Log,
    redis_commits, redis_memory,
    standing::{Crowd, Ranking},
    store::{N_PLACES, Sessions},
};
use exam_engine::{
    clock::Timestamp,
    store::{Field, SessionStore},
};
use grader::{CandidateId, Fold, state_hash};
use prost::Message;
use proto::{
    bank::v1::{Blueprint, PaperHalf},
    exam::v1::{Event, event::Kind, response::Value},
};
use question_bank::{
    draw::{Drawer, Scratch},
    item::ItemType,
    paper::Paper,
};

const SHAPE: Shape = Shape {
    n_items: 400,
    n_strata: 8,
    n_paper_items: 20,
};

#[test]
fn papers_keep_quotas_enemies_window_and_pins() {
    let mut workload = Workload::new(SHAPE, 5);
    let half = workload.half().clone();
    let blueprint = Blueprint::decode(half.blueprint.clone()).unwrap();
    let window = blueprint.window.unwrap();
    for _ in 0..300 {
        let paper = workload.draw();
        assert_eq!(paper.entries.len(), SHAPE.n_paper_items as usize);
        let mut left: HashMap<(&str, i32), u32> = blueprint.sections[0]
            .strata
            .iter()
            .map(|stratum| ((stratum.topic.as_str(), stratum.band), stratum.quota))
            .collect();
        for (entry, order) in paper.shown() {
            let item = &half.items[entry.index as usize];
            *left.get_mut(&(item.topic.as_str(), item.band)).unwrap() -= 1;
            let distinct: HashSet<&u8> = order.iter().collect();
            assert_eq!(distinct.len(), item.options.len());
            for (slot, canonical) in order.iter().enumerate() {
                let option = &item.options[usize::from(*canonical)];
                assert!(!option.pinned || slot == usize::from(*canonical));
            }
        }
        assert!(left.values().all(|n| *n == 0));
        assert!(!paper.repaired && !has_enemies(&half, &paper));
        assert!(sum_milli(&half, &paper).abs_diff(window.target_milli) <= window.tolerance_milli);
    }
}

#[test]
fn a_plain_draw_misses_the_window_and_mixes_enemies() {
    let half = Workload::new(Shape::LARGE, 5).half().clone();
    let mut blueprint = Blueprint::decode(half.blueprint.clone()).unwrap();
    let window = blueprint.window.take().unwrap();
    let mut plain = half.clone();
    plain.blueprint = blueprint.encode_to_vec().into();
    plain
        .items
        .iter_mut()
        .for_each(|item| item.exclusion_sets.clear());
    let drawer = Drawer::new(&plain, &[7; 32]).unwrap();
    let mut scratch = Scratch::default();
    let papers: Vec<Paper> = (1..=1_000)
        .map(|attempt| drawer.draw(&[1; 16], attempt, &mut scratch).unwrap())
        .collect();
    let count = |wrong: &dyn Fn(&Paper) -> bool| papers.iter().filter(|paper| wrong(paper)).count();
    let n_outside = count(&|paper| {
        sum_milli(&half, paper).abs_diff(window.target_milli) > window.tolerance_milli
    });
    assert!((600..900).contains(&n_outside), "{n_outside} of 1,000");
    let n_mixed = count(&|paper| has_enemies(&half, paper));
    assert!((50..400).contains(&n_mixed), "{n_mixed} of 1,000");
}

fn sum_milli(half: &PaperHalf, paper: &Paper) -> u32 {
    let entries = paper.entries.iter();
    entries
        .map(|entry| half.items[entry.index as usize].facility_milli)
        .sum()
}

fn has_enemies(half: &PaperHalf, paper: &Paper) -> bool {
    let mut seen = HashSet::new();
    let entries = paper.entries.iter();
    !entries
        .flat_map(|entry| &half.items[entry.index as usize].exclusion_sets)
        .all(|set| seen.insert(set))
}

#[test]
fn a_seed_gives_one_workload_and_another_seed_another() {
    let papers = |seed| {
        let mut workload = Workload::new(SHAPE, seed);
        [(); 3].map(|()| workload.draw())
    };
    assert_eq!(papers(1), papers(1));
    assert_ne!(papers(1), papers(2));
    let entries = |seed| Log::new(3, seed).entries;
    assert_eq!(entries(1), entries(1));
    assert_ne!(entries(1), entries(2));
}

/// An attempt as a plain reading of the log has it.
#[derive(Default)]
struct Sat {
    area: String,
    item_ids: Vec<u32>,
    orders: Vec<Vec<u8>>,
    chosen: BTreeMap<u32, u32>,
    started_at_ms: u64,
    net_time_ms: u64,
}

/// Score in eighths of a point: a mark is a quarter, a key has one or two options.
type Tuple = (Reverse<u32>, u64);

#[test]
fn a_fold_equals_a_plain_reading_of_the_log() {
    let log = Log::new(60, 9);
    let fold = log.fold();
    let attempts = read(&log);
    assert!(attempts.len() > 60, "somebody sits twice");
    assert_eq!(fold.n_persons(), 60);
    assert_eq!((fold.n_answers(), fold.n_quarantined()), (log.n_answers, 0));
    let n_items = attempts
        .values()
        .map(|sat| sat.item_ids.len() as u64)
        .sum::<u64>();
    assert!((n_items + 1..n_items * 5 / 4).contains(&log.n_answers));

    let mut counted: HashMap<CandidateId, (Tuple, &str)> = HashMap::new();
    for ((id, number), sat) in &attempts {
        let (eighths, n_correct) = score(&log, sat);
        let finished = fold.attempt(id, *number).unwrap();
        assert_eq!(
            finished.score.quanta * 8,
            i64::from(eighths) * log.package.quanta_per_point()
        );
        assert_eq!(finished.score.n_correct, n_correct);
        let tuple = (Reverse(eighths), sat.net_time_ms);
        let best = counted.entry(*id).or_insert((tuple, &sat.area));
        if tuple < best.0 {
            *best = (tuple, &sat.area);
        }
    }
    let scores: HashSet<Tuple> = counted.values().map(|(tuple, _)| *tuple).collect();
    assert!(scores.len() > 30, "skills differ");
    for (id, (tuple, area)) in &counted {
        let better = |same: &dyn Fn(&str) -> bool| {
            let others = counted.values();
            1 + others
                .filter(|other| other.0 < *tuple && same(other.1))
                .count() as u64
        };
        let expected = (better(&|_| true), better(&|other| other == *area));
        assert_eq!(fold.ranks(id), Some(expected));
    }
}

fn read(log: &Log) -> HashMap<(CandidateId, u32), Sat> {
    let mut attempts: HashMap<(CandidateId, u32), Sat> = HashMap::new();
    for entry in &log.entries {
        let event = entry.event.as_ref().expect("every entry has an event");
        let id = CandidateId::try_from(&*event.candidate).expect("ids have 16 bytes");
        let sat = attempts.entry((id, event.attempt)).or_default();
        match event.kind.as_ref().expect("every event has a kind") {
            Kind::Started(started) => {
                sat.area.clone_from(&started.area);
                sat.item_ids.clone_from(&started.item_ids);
                sat.orders = started.option_order.chunks(4).map(<[u8]>::to_vec).collect();
                sat.started_at_ms = event.at_ms;
            }
            Kind::Answered(answer) => {
                let response = answer.response.as_ref().expect("no answer is blank");
                let Some(Value::Chosen(bits)) = response.value else {
                    panic!("all items are choices");
                };
                sat.chosen.insert(answer.position, bits);
            }
            Kind::Ended(ended) => sat.net_time_ms = ended.ended_at_ms - sat.started_at_ms,
            _ => panic!("nobody does anything else"),
        }
    }
    attempts
}

fn score(log: &Log, sat: &Sat) -> (u32, u16) {
    let (mut eighths, mut n_correct) = (0, 0);
    for (position, bits) in &sat.chosen {
        let at = *position as usize;
        let item = &log.release.items[sat.item_ids[at] as usize - 1].item;
        let chosen: HashSet<u8> = (0..4)
            .filter(|slot| bits >> slot & 1 == 1)
            .map(|slot| sat.orders[at][slot])
            .collect();
        let right = item
            .key
            .iter()
            .filter(|index| chosen.contains(index))
            .count();
        assert_eq!(
            chosen.len(),
            item.key.len(),
            "as many are chosen as are right"
        );
        assert_eq!(
            item.item_type == ItemType::MultipleChoice,
            item.key.len() == 2
        );
        eighths += u32::try_from(2 * right / item.key.len()).expect("at most 2");
        n_correct += u16::from(right == item.key.len());
    }
    (eighths, n_correct)
}

#[test]
fn messages_hold_the_log() {
    let log = Log::new(40, 3);
    let messages = log.messages();
    assert!(messages.len() > 1, "more than one message is needed");
    let state = |fold: &Fold| state_hash(fold);
    assert_eq!(state(&log.fold_messages(&messages)), state(&log.fold()));
    assert_ne!(
        state(&log.fold_messages(&messages[..1])),
        state(&log.fold())
    );
}

#[test]
fn ranks_equal_a_full_sort_while_persons_move() {
    let mut ranking = Ranking::new(2_000, 4);
    let before: Vec<u64> = (0..2_000).map(|who| ranking.rank(who)).collect();
    for _ in 0..3_000 {
        ranking.move_someone();
    }
    let after: Vec<u64> = (0..2_000).map(|who| ranking.rank(who)).collect();
    assert_ne!(before, after);
    let tuple = |who: usize| {
        let facts = &ranking.facts()[who];
        (Reverse(facts.quanta), facts.net_time_ms)
    };
    for (who, rank) in after.iter().enumerate() {
        let n_better = (0..2_000)
            .filter(|other| tuple(*other) < tuple(who))
            .count() as u64;
        assert_eq!(*rank, 1 + n_better);
    }
    assert!((1..=2_000).contains(&ranking.rank_of_someone()));
}

#[test]
fn a_crowd_is_ranked_and_moves() {
    let mut crowd = Crowd::new(200, 6);
    let places = |crowd: &Crowd| (0..200).map(|who| crowd.ranks(who).0).collect::<Vec<_>>();
    let before = places(&crowd);
    let end = crowd.sit(17);
    assert_eq!(places(&crowd), before, "only an ended attempt is ranked");
    crowd.apply(&end);
    let after = places(&crowd);
    assert_ne!(after, before);
    let mut sorted = after;
    sorted.sort_unstable();
    let fold = crowd.fold();
    let page: Vec<u64> = fold.page(None, 0, 200).iter().map(|row| row.rank).collect();
    assert_eq!(sorted, page);
    assert_eq!((fold.n_ranked(None), fold.n_quarantined()), (200, 0));
}

#[tokio::test]
async fn the_store_holds_what_was_committed() {
    let n_rounds = u64::from(N_PLACES) + 2;
    let mut sessions = Sessions::new(40, 8);
    for _ in 0..n_rounds {
        sessions.save_answers().await.unwrap();
    }
    let store = sessions.store();
    let exam = &sessions.keys()[0].exam;
    let mut n_entries = 0;
    let mut last_seqs: HashMap<Vec<u8>, u32> = HashMap::new();
    for partition in 0..N_PARTITIONS {
        for bytes in store
            .read_log(exam, partition, 0, usize::MAX)
            .await
            .unwrap()
        {
            let event = Event::decode(bytes).unwrap();
            let Some(Kind::Answered(answer)) = event.kind else {
                panic!("only answers are written");
            };
            let last_seq = last_seqs.entry(event.candidate.to_vec()).or_default();
            assert_eq!(answer.seq, *last_seq + 1);
            *last_seq = answer.seq;
            n_entries += 1;
        }
    }
    assert_eq!(n_entries, 40 * n_rounds);
    for key in sessions.keys() {
        let record = store.load(key).await.unwrap().unwrap();
        assert_eq!(record.version, n_rounds);
        let fields: BTreeMap<Field, _> = record.fields.into_iter().collect();
        assert_eq!(fields.len(), 2 + usize::from(N_PLACES));
        let newest = u32::from(N_PLACES) + 1;
        assert_eq!(fields[&Field::Answer(0)].as_ref(), newest.to_le_bytes());
    }
    let end = Timestamp(OPENS_AT_MS + DURATION_MS);
    let (due, _) = store.due(exam, N_PARTITIONS, end, 100).await.unwrap();
    assert_eq!(due.len(), 40);
}

#[test]
fn every_figure_is_measured() {
    for name in KNOWN {
        let figure = measure(name, &Scale::SMALL).unwrap();
        for measure in [&figure.first, &figure.second] {
            assert!(measure.value > 0.0 && measure.value.is_finite(), "{figure}");
        }
        let line = figure.to_string();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], name);
        assert!(words[1..3].iter().all(|word| word.parse::<f64>().is_ok()));
        assert!(matches!(words[3], "ok" | "miss"), "{line}");
    }
    assert!(measure("F1", &Scale::SMALL).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_redis_are_counted_in_bytes() {
    let memory = redis_memory::measure(500, 1).await.unwrap();
    // Its answers alone need 30 events of 30 bytes; F8 allows 5 KiB.
    let bytes = memory.bytes_per_session();
    assert!((900..5_120).contains(&bytes), "{bytes} bytes a session");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_to_redis_commit() {
    let turn = std::time::Duration::from_millis(50);
    let rates = redis_commits::measure(8, 1, turn).await.unwrap();
    assert_eq!(rates.len(), 2);
    assert!(rates.iter().all(|rate| rate.per_second > 0.0), "{rates:?}");
}
