//! Durable commits to the embedded store by number of sessions that answer at once.

use benches::store::Sessions;
use criterion::{BenchmarkId, Criterion, Throughput};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime needs nothing but memory");
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("store");
    group.sample_size(20);
    for n_sessions in [1, 64, 1_024] {
        let mut sessions = Sessions::new(n_sessions, 1);
        group.throughput(Throughput::Elements(n_sessions as u64));
        group.bench_function(BenchmarkId::new("commit", n_sessions), |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(sessions.save_answers())
                    .expect("the disk takes it");
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
