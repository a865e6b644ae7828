//! Rank query and move in one counted order by number of persons.

use benches::standing::Ranking;
use criterion::{BenchmarkId, Criterion};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("standing");
    for n_persons in [10_000, 100_000, 1_000_000] {
        let mut ranking = Ranking::new(n_persons, 1);
        group.bench_function(BenchmarkId::new("rank", n_persons), |bencher| {
            bencher.iter(|| ranking.rank_of_someone());
        });
        group.bench_function(BenchmarkId::new("move", n_persons), |bencher| {
            bencher.iter(|| ranking.move_someone());
        });
    }
    group.finish();
    criterion.final_summary();
}
