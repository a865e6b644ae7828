//! Developer commands, std only: `cargo xtask demo | test | ci | soak | figures | bench | codegen`.

mod ci;
mod demo;
mod figures;
mod quiet;
mod readme;
mod shell;
mod soak;
mod valkey;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask demo [--candidates N] [--redis] [--exit]   cả một cuộc thi bằng một lệnh / a whole contest by one command
cargo xtask test                                       cài phần còn thiếu, chạy mọi kiểm thử / install what is missing, run every test
cargo xtask ci                                         như CI: định dạng, clippy, tài liệu, kiểm thử, demo / as CI does
cargo xtask soak [--minutes M]                         sự cố có chủ ý, hạt giống này đến hạt giống khác / faults on purpose, seed after seed
cargo xtask figures [F1 F2 ... faults sessions] [--quick]  đo các con số của thiết kế / measure the figures of the design
cargo xtask bench                                      chạy criterion / run criterion
cargo xtask codegen                                    sinh lại mã từ proto / generate the bindings anew";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["demo", options @ ..] => {
            demo::Options::parse(options).and_then(|options| demo::run(&options))
        }
        ["test"] => ci::test(),
        ["ci"] => ci::run(),
        ["soak", options @ ..] => soak::run(options),
        ["figures", names @ ..] => figures::run(names),
        ["bench", options @ ..] => shell::cargo(&["bench", "-p", "benches"], options),
        ["codegen"] => shell::codegen(),
        [] | ["help" | "--help" | "-h"] => {
            say(HELP);
            Ok(())
        }
        other => Err(format!(
            "không có lệnh / no such command: {}\n{HELP}",
            other.join(" ")
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// What a command may end with: a sentence for a person.
type Outcome<T = ()> = Result<T, String>;

#[expect(
    clippy::print_stdout,
    reason = "a developer's command speaks to its developer"
)]
fn say(line: &str) {
    println!("{line}");
}

#[expect(
    clippy::print_stderr,
    reason = "a developer's command speaks to its developer"
)]
fn complain(line: &str) {
    eprintln!("xtask: {line}");
}
