//! The committed bindings are those of the `.proto` files.
//!
//! `cargo xtask codegen` (or `UPDATE_GENERATED=1`) writes them anew.

use std::{fs, path::Path};

const FILES: [&str; 10] = [
    "bank/v1/bank.proto",
    "key/v1/key.proto",
    "exam/v1/exam.proto",
    "exam/v1/log.proto",
    "exam/v1/candidate.proto",
    "exam/v1/operator.proto",
    "exam/v1/organizer.proto",
    "grader/v1/grader.proto",
    "grader/v1/package.proto",
    "key/v1/ruling.proto",
];

#[test]
fn bindings_are_those_of_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([root]).expect("the folder exists");
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files(FILES)
        .expect("the files are valid");
    let out = tempfile::tempdir().expect("a temporary folder");
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(out.path())
        .compile_fds(compiler.file_descriptor_set())
        .expect("bindings");
    fs::write(
        out.path().join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )
    .expect("descriptors");

    let committed = root.join("src/generated");
    let update = std::env::var_os("UPDATE_GENERATED").is_some();
    for entry in fs::read_dir(out.path()).expect("the folder exists") {
        let name = entry.expect("an entry").file_name();
        let fresh = fs::read(out.path().join(&name)).expect("a file");
        let file = committed.join(&name);
        if update {
            fs::write(&file, &fresh).expect("written");
        }
        assert!(
            fs::read(&file).is_ok_and(|old| old == fresh),
            "{} differs: run `cargo xtask codegen`",
            file.display()
        );
    }
}
