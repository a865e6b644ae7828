//! Measures the design's figures that need no server, in release mode: `figures F3 F4`, or all of them.

use std::process::ExitCode;

use benches::figures::{KNOWN, Scale, measure};

#[expect(clippy::print_stdout, reason = "the figures are its output")]
fn main() -> ExitCode {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        names.extend(KNOWN.map(str::to_owned));
    }
    for name in names {
        let Some(figure) = measure(&name, &Scale::FULL) else {
            eprintln!(
                "không đo được {name}; có: {} / {name} is not measured here",
                KNOWN.join(" ")
            );
            return ExitCode::FAILURE;
        };
        println!("{figure}");
    }
    ExitCode::SUCCESS
}
