//! Draws of a paper by size of bank and paper; [`Shape::LARGE`] is the one of the design's figure F3.

use benches::{bank::Shape, draw::Workload};
use criterion::{BenchmarkId, Criterion, Throughput};

const SHAPES: [Shape; 4] = [
    Shape {
        n_items: 500,
        n_strata: 6,
        n_paper_items: 20,
    },
    Shape::CONTEST,
    Shape::LARGE,
    Shape {
        n_items: 20_000,
        n_strata: 60,
        n_paper_items: 100,
    },
];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("draw");
    group.throughput(Throughput::Elements(1));
    for shape in SHAPES {
        let mut workload = Workload::new(shape, 1);
        let size = format!("{}-of-{}", shape.n_paper_items, shape.n_items);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| workload.draw());
        });
    }
    group.finish();
    criterion.final_summary();
}
