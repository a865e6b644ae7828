//! Does an analysis of a whole archive, at full speed beside the server, slow down the saving of answers (P9)?
//!
//! The same contest is played with the analysis running all the time and without, in turns, so that a busy machine
//! disturbs both alike.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    Outcome,
    demo::{Exam, exam_file, release_program},
    figures::number,
    shell,
};

const CANDIDATES: u32 = 4_000;
/// Turns of each kind.
const N_TURNS: u32 = 3;
/// Most that the analysis may add.
const MAX_RATIO: f64 = 1.2;

/// Plays the contests; returns the figure's line.
pub(crate) fn measure() -> Outcome<String> {
    let folder = shell::root().join("target/quiet");
    let _ = fs::remove_dir_all(&folder); // there may be none
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let exam = Exam {
        program: release_program("exam"),
        data: folder.join("data"),
    };
    let sample = shell::root().join("question-bank/sample/vietnam-knowledge.xlsx");
    exam.run(&["bank", "import", &sample.to_string_lossy()])?;
    exam.run(&["bank", "release"])?;
    let (_server, url) = exam.serve(None)?;
    let archive = folder.join("archive");
    contest(&exam, &url, &folder, "warm", Some(&archive))?; // what is analysed, and a warm server
    let (mut alone, mut beside, mut n_analyses) = (Vec::new(), Vec::new(), 0);
    for turn in 0..N_TURNS {
        alone.push(contest(
            &exam,
            &url,
            &folder,
            &format!("alone-{turn}"),
            None,
        )?);
        let is_over = AtomicBool::new(false);
        let p99 = std::thread::scope(|scope| {
            let analyses = scope.spawn(|| analyse(&exam, &archive, &folder, &is_over));
            let p99 = contest(&exam, &url, &folder, &format!("beside-{turn}"), None);
            is_over.store(true, Ordering::Relaxed);
            let n = analyses.join().map_err(|_| "the analysis broke off")??;
            p99.map(|p99| (p99, n))
        });
        let (p99, n) = p99?;
        beside.push(p99);
        n_analyses += n;
    }
    let (alone, beside) = (median(&mut alone), median(&mut beside));
    let ratio = beside / alone;
    let word = if ratio <= MAX_RATIO && n_analyses > 0 {
        "ok"
    } else {
        "miss"
    };
    Ok(format!(
        "P9 {ratio:.3} {MAX_RATIO} {word} p99 of saving an answer with {n_analyses} analyses of {CANDIDATES} attempts beside it against none, at most; \
         {beside:.1} ms against {alone:.1} ms, medians of {N_TURNS} contests"
    ))
}

/// Analyses the archive again and again; returns how often.
fn analyse(exam: &Exam, archive: &Path, folder: &Path, is_over: &AtomicBool) -> Outcome<u32> {
    let json = folder.join("integrity.json");
    let mut n = 0;
    while !is_over.load(Ordering::Relaxed) {
        let words = [
            "integrity",
            &archive.to_string_lossy(),
            "--json",
            &json.to_string_lossy(),
        ];
        shell::output(&exam.program, &words)?;
        n += 1;
    }
    Ok(n)
}

/// Plays one contest; returns the 99th percentile of saving an answer, milliseconds.
fn contest(
    exam: &Exam,
    url: &str,
    folder: &Path,
    id: &str,
    archive: Option<&Path>,
) -> Outcome<f64> {
    let spec = folder.join("exam.json");
    fs::write(&spec, exam_file(id, CANDIDATES)).map_err(|error| error.to_string())?;
    exam.run(&["exam", "--server", url, "create", &spec.to_string_lossy()])?;
    exam.run(&["exam", "--server", url, "open", id])?;
    let token = exam.data.join("secrets/organizer.token");
    let report = folder.join(format!("{id}.json"));
    let (token, report, candidates) = (
        token.to_string_lossy(),
        report.to_string_lossy(),
        CANDIDATES.to_string(),
    );
    let mut words = vec![
        "run",
        "--server",
        url,
        "--organizer-token-file",
        &token,
        "--exam",
        id,
        "--candidates",
        &candidates,
        "--json",
        &report,
    ];
    let place = archive.map(Path::to_string_lossy);
    if let Some(place) = &place {
        words.extend(["--archive-dir", place]);
    }
    shell::output(&release_program("loadtest"), &words)?;
    let text = fs::read_to_string(&*report).map_err(|error| error.to_string())?;
    let (_, saving) = text
        .split_once("\"SaveAnswers\"")
        .ok_or("the report tells nothing of SaveAnswers")?;
    number(saving, "latency_ms_p99")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
