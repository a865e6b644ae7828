//! Fold of a log by number of persons: events as they are, and messages of the log service.

use benches::fold::Log;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("fold");
    group.sample_size(20);
    for n_persons in [100, 1_000, 10_000] {
        let log = Log::new(n_persons, 1);
        let messages = log.messages();
        group.throughput(Throughput::Elements(log.n_answers));
        // `iter_batched` because it leaves the time to drop a fold out
        group.bench_function(BenchmarkId::new("events", n_persons), |bencher| {
            bencher.iter_batched(|| (), |()| log.fold(), BatchSize::PerIteration);
        });
        group.bench_function(BenchmarkId::new("messages", n_persons), |bencher| {
            bencher.iter_batched(
                || (),
                |()| log.fold_messages(&messages),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
