//! Whole files: what an import makes of documents as people have them, and of files that are none.

#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::{
    fs,
    io::{Cursor, Read, Write},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use question_bank::{
    Error,
    import::{Import, ImportedItem, import},
    item::{Band, ItemType},
};
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

/// Two documents of one form each, with what they must give.
struct Corpus {
    questions: Vec<u8>,
    key: Vec<u8>,
    n_items: usize,
    /// Numbers whose marks are not clear: reported with the key file, held back without it.
    unclear: &'static [u32],
    n_true_false: usize,
    workbook: Vec<u8>,
    n_rows: usize,
}

/// Files that organizers really used, where they lie beside the project; else our own of the same form.
fn corpus() -> Corpus {
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/questions");
    let read = |folder: &Path, name: &str| fs::read(folder.join(name)).unwrap();
    if real.is_dir() {
        return Corpus {
            questions: read(&real, "cybersecurity-law-questions.docx"),
            key: read(&real, "cybersecurity-law-key.docx"),
            n_items: 97,
            unclear: &[27, 30, 31],
            n_true_false: 1,
            workbook: read(&real, "bidding-law-390.xlsx"),
            n_rows: 390,
        };
    }
    let own = folder("testdata");
    Corpus {
        questions: read(&own, "word-two-file-questions.docx"),
        key: read(&own, "word-two-file-key.docx"),
        n_items: 12,
        unclear: &[5, 8, 9],
        n_true_false: 1,
        workbook: read(&own, "excel-options-in-cell.xlsx"),
        n_rows: 8,
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn file(name: &str) -> Vec<u8> {
    fs::read(folder(name)).unwrap()
}

fn import_file(name: &str) -> Import {
    import(name, &file(name), None).unwrap()
}

fn with_problems(import: &Import) -> Vec<u32> {
    import
        .items
        .iter()
        .filter(|i| !i.problems.is_empty())
        .map(|i| i.number)
        .collect()
}

fn held_back(import: &Import) -> Vec<u32> {
    import
        .items
        .iter()
        .filter(|i| i.held_back())
        .map(|i| i.number)
        .collect()
}

fn key(item: &ImportedItem) -> String {
    item.item.key.iter().map(|i| char::from(b'A' + i)).collect()
}

/// Keys of all items, "-" for those held back.
fn keys(import: &Import) -> String {
    let keys: Vec<String> = import
        .items
        .iter()
        .map(|item| {
            if item.held_back() {
                "-".to_owned()
            } else {
                key(item)
            }
        })
        .collect();
    keys.join(" ")
}

/// Number and code of every problem of an item; number 0 for those of the document.
fn problems(import: &Import) -> Vec<(u32, &'static str)> {
    let of_items = import
        .items
        .iter()
        .flat_map(|i| i.problems.iter().map(|p| (i.number, p.code)));
    of_items
        .chain(import.problems.iter().map(|p| (0, p.code)))
        .collect()
}

#[track_caller]
fn check_messages(import: &Import) {
    let of_items = import.items.iter().flat_map(|i| &i.problems);
    for problem in of_items.chain(&import.problems) {
        assert_eq!(
            problem.message.matches(" / ").count(),
            1,
            "{}",
            problem.message
        );
        assert!(problem.line > 0, "{}", problem.message);
    }
}

#[test]
fn the_key_table_decides_and_unclear_marks_are_reported() {
    let corpus = corpus();
    let import = import(
        "questions.docx",
        &corpus.questions,
        Some(("key.docx", &corpus.key)),
    )
    .unwrap();
    assert_eq!(import.items.len(), corpus.n_items);
    assert_eq!(with_problems(&import), corpus.unclear);
    assert!(held_back(&import).is_empty());
    assert!(
        import
            .items
            .iter()
            .all(|i| i.item.key.len() == 1 && i.item.options.len() > 1)
    );
    let codes = import
        .items
        .iter()
        .flat_map(|i| &i.problems)
        .map(|p| p.code);
    assert!(codes.eq(corpus.unclear.iter().map(|_| "marks_unclear")));
    let of_type = |t| {
        import
            .items
            .iter()
            .filter(|i| i.item.item_type == t)
            .count()
    };
    assert_eq!(of_type(ItemType::TrueFalse), corpus.n_true_false);
    assert_eq!(
        of_type(ItemType::SingleChoice),
        corpus.n_items - corpus.n_true_false
    );
    assert!(import.problems.is_empty(), "{:?}", import.problems);
    check_messages(&import);
}

#[test]
fn without_the_key_file_unclear_items_are_held_back_and_the_others_keep_their_keys() {
    let corpus = corpus();
    let with_key = import(
        "questions.docx",
        &corpus.questions,
        Some(("key.docx", &corpus.key)),
    )
    .unwrap();
    let without = import("questions.docx", &corpus.questions, None).unwrap();
    assert_eq!(without.items.len(), corpus.n_items);
    assert_eq!(held_back(&without), corpus.unclear);
    for (item, expected) in without.items.iter().zip(&with_key.items) {
        if item.held_back() {
            assert!(item.item.key.is_empty() && !item.problems.is_empty());
        } else {
            assert_eq!(item.item, expected.item, "no. {}", item.number);
        }
    }
    check_messages(&without);
}

#[test]
fn a_workbook_with_all_options_in_one_cell_gives_all_items_with_topic_and_key() {
    let corpus = corpus();
    let import = import("bank.xlsx", &corpus.workbook, None).unwrap();
    assert_eq!(import.items.len(), corpus.n_rows);
    assert!(held_back(&import).is_empty(), "{:?}", problems(&import));
    for item in &import.items {
        assert_eq!(item.item.key.len(), 1, "no. {}", item.number);
        for option in &item.item.options {
            let speaks_of_others =
                option.text.contains("trên đều đúng") || option.text.contains("trên đều sai");
            assert!(
                option.pinned || !speaks_of_others,
                "no. {}: {}",
                item.number,
                option.text
            );
        }
        assert!(!item.item.topic.is_empty(), "no. {}", item.number);
        let texts = item
            .item
            .options
            .iter()
            .map(|o| &o.text)
            .chain([&item.item.text, &item.item.topic]);
        assert!(
            texts
                .clone()
                .all(|t| !t.is_empty() && !t.contains(['\n', '\u{a0}'])),
            "no. {}",
            item.number
        );
    }
    check_messages(&import);
}

#[test]
fn word_questions_and_keys_in_two_files() {
    let key = file("testdata/word-two-file-key.docx");
    let questions = file("testdata/word-two-file-questions.docx");
    let both = import("q.docx", &questions, Some(("k.docx", &key))).unwrap();
    assert_eq!(keys(&both), "C A B A B D C D A B A D");
    assert_eq!(problems(&both), [5, 8, 9].map(|n| (n, "marks_unclear")));
    let n_options: Vec<usize> = both.items.iter().map(|i| i.item.options.len()).collect();
    assert_eq!(n_options, [4, 3, 4, 2, 4, 4, 4, 4, 4, 4, 4, 4]);
    assert_eq!(both.items[3].item.item_type, ItemType::TrueFalse);
    assert_eq!(both.items[2].item.options[3].text, "2026");
    assert_eq!(both.items[6].item.text, "Số nào là số nguyên tố?");
    assert!(both.items[11].item.options[3].pinned && !both.items[11].item.options[2].pinned);

    let marked = import("q.docx", &questions, None).unwrap();
    assert_eq!(keys(&marked), "C A B A - D C - - B A D");
}

#[test]
fn a_key_table_that_does_not_fit_is_reported() {
    let questions = file("testdata/word-two-file-questions.docx");
    let key = docx(
        "<w:p><w:r><w:t>1-B 2-A 3-E 4-A 5-B 6-D 7-C 8-D 9-A 10-B 11-A, 13-A</w:t></w:r></w:p>",
    );
    let found = import("q.docx", &questions, Some(("k.docx", &key))).unwrap();
    assert_eq!(
        problems(&found),
        [
            (1, "marks_disagree"),
            (3, "key_unknown_option"),
            (5, "marks_unclear"),
            (8, "marks_unclear"),
            (9, "marks_unclear"),
            (12, "item_without_key_in_table"),
            (0, "key_without_item"),
        ]
    );
    assert_eq!(held_back(&found), [3, 12]);
    assert_eq!(key_of(&found, 1), "B");

    let no_key = import("q.docx", &questions, Some(("q2.docx", &docx("<w:p/>"))));
    assert!(
        matches!(&no_key, Err(Error::NoItems { file, .. }) if file == "q2.docx"),
        "{no_key:?}"
    );
}

#[test]
fn a_key_file_is_compared_with_the_keys_that_the_questions_state() {
    let list = |text: &str| docx(&format!("<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"));
    let workbook = file("testdata/excel-options-in-cell.xlsx");
    let with = |key: &str| import("q.xlsx", &workbook, Some(("k.docx", &list(key)))).unwrap();

    let same = with("1-A 2-B 3-C 4-D 5-A 6-B 7-A 8-C");
    assert!(problems(&same).is_empty(), "{:?}", problems(&same));

    let one_differs = with("1-A 2-A 3-C 4-D 5-A 6-B 7-A 8-C");
    assert_eq!(problems(&one_differs), [(2, "key_disagrees")]);
    assert_eq!(key_of(&one_differs, 2), "A");
    check_messages(&one_differs);

    let of_others = with("1-B 2-B 3-C 11-A 12-B 13-A");
    let found = problems(&of_others);
    assert!(found.contains(&(0, "key_table_mismatch")), "{found:?}");
    assert!(
        held_back(&of_others).contains(&1),
        "a table of others decides nothing"
    );
    assert!(!held_back(&one_differs).contains(&2));
    check_messages(&of_others);

    let by_lines = file("testdata/word-one-line-options.docx");
    let other = list("1-A 2-A 3-D 4-A 5-C 6-A");
    let by_lines = import("q.docx", &by_lines, Some(("k.docx", &other))).unwrap();
    assert_eq!(problems(&by_lines), [(1, "key_disagrees")]);
}

#[test]
fn an_error_names_the_file_it_is_about_once_in_each_language() {
    let questions = file("testdata/word-two-file-questions.docx");
    let key = file("testdata/word-two-file-key.docx");
    let error = import("q.docx", &questions, Some(("k.docx", b"no zip"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "không đọc được tệp k.docx (không phải tệp Word hay Excel); hãy mở tệp bằng Word/Excel rồi lưu lại / \
         cannot read the file k.docx (not a Word or Excel file); open it in Word/Excel and save it again"
    );
    let paragraph = |text: &str| format!("<w:p><w:r><w:t>{text}</w:t></w:r></w:p>");
    let list = docx(&["1. B", "2. A", "3. D"].map(paragraph).concat());
    for (keys, other) in [
        (&key, Some(("q.docx", questions.as_slice()))),
        (&key, None),
        (&list, None),
    ] {
        let swapped = import("k.docx", keys, other).unwrap_err().to_string();
        assert!(
            swapped.starts_with("k.docx: ") && swapped.contains("looks like a key file"),
            "{swapped}"
        );
    }
}

fn key_of(import: &Import, number: u32) -> String {
    import
        .items
        .iter()
        .find(|i| i.number == number)
        .map(key)
        .unwrap()
}

#[test]
fn word_options_underlined_under_headings() {
    let import = import_file("testdata/word-marked-underline.docx");
    assert_eq!(keys(&import), "B D - A C - D A");
    assert_eq!(
        problems(&import),
        [
            (3, "several_keys"),
            (6, "marks_unclear"),
            (7, "options_alike")
        ]
    );
    let topics: Vec<&str> = import.items.iter().map(|i| i.item.topic.as_str()).collect();
    assert_eq!(topics[..4], ["Số học"; 4]);
    assert_eq!(topics[4..], ["Đời sống"; 4]);
    assert_eq!(import.items[7].item.options.len(), 3);
    check_messages(&import);
}

#[test]
fn word_options_on_one_line_with_key_lines() {
    let import = import_file("testdata/word-one-line-options.docx");
    assert_eq!(keys(&import), "B A D - C A");
    assert_eq!(problems(&import), [(4, "key_missing")]);
    assert!(import.items.iter().all(|i| i.item.options.len() == 4));
    assert_eq!(import.items[4].item.options[2].text, "ki-lô-gam");
}

#[test]
fn word_letters_by_automatic_numbering() {
    let import = import_file("testdata/word-numbered-list.docx");
    assert_eq!(keys(&import), "B A C D A C");
    assert!(problems(&import).is_empty());
    let n_options: Vec<usize> = import.items.iter().map(|i| i.item.options.len()).collect();
    assert_eq!(n_options, [4, 4, 4, 4, 3, 4]);
    assert_eq!(import.items[0].item.options[1].text, "10");
}

#[test]
fn excel_with_a_column_for_each_option() {
    let import = import_file("testdata/excel-columns.xlsx");
    assert_eq!(
        problems(&import),
        [
            (3, "key_missing"),
            (4, "key_unknown_option"),
            (5, "options_alike"),
            (6, "topic_missing"),
            (8, "duplicate_item"),
        ]
    );
    assert_eq!(keys(&import), "A B - - A A D - AC B");
    let lines: Vec<usize> = import.items.iter().map(|i| i.line).collect();
    assert_eq!(lines, [4, 5, 6, 7, 8, 9, 11, 12, 13, 14]);
    assert_eq!(import.items[8].item.item_type, ItemType::MultipleChoice);
    assert_eq!(import.items[9].item.options.len(), 3);
    assert_eq!(import.items[9].item.band, Band::Application);
    assert!(!import.items[1].item.explanation.is_empty());
    check_messages(&import);
}

#[test]
fn excel_with_all_options_in_one_cell() {
    let import = import_file("testdata/excel-options-in-cell.xlsx");
    assert_eq!(keys(&import), "A B C D A B A C");
    assert!(problems(&import).is_empty(), "{:?}", problems(&import));
    assert_eq!(
        import.items[0].item.text,
        "Muốn mượn sách về nhà, bạn đọc cần xuất trình giấy tờ nào?"
    );
    assert_eq!(
        import.items[2].item.options[1].text,
        "Đổi vài từ rồi coi là của mình"
    );
    assert_eq!(
        import.items[6].item.options[0].text,
        "Nhìn xa một lúc sau mỗi khoảng 20 phút"
    );
    assert_eq!(import.items[3].item.topic, "Thư viện & đọc sách");
}

/// One item of the sample as its source states it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Source {
    topic: String,
    band: Band,
    text: String,
    options: Vec<String>,
    key: Vec<u8>,
}

/// Reads the source by its own simple rules, which share nothing with the import.
fn sample_source() -> Vec<Source> {
    let text = fs::read_to_string(folder("sample/items.txt")).unwrap();
    let mut items: Vec<Source> = vec![];
    let mut topic = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix("# ") {
            topic = title;
        } else if line.starts_with("Câu ") {
            let (label, text) = line.split_once(": ").unwrap();
            let band = label.split(['[', ']']).nth(1).unwrap();
            items.push(Source {
                topic: topic.to_owned(),
                band: Band::parse(band).unwrap(),
                text: text.to_owned(),
                ..Source::default()
            });
        } else {
            let item = items.last_mut().unwrap();
            let (label, text) = line.split_once(". ").unwrap();
            if label.starts_with('*') {
                item.key.push(u8::try_from(item.options.len()).unwrap());
            }
            item.options.push(text.to_owned());
        }
    }
    items
}

#[track_caller]
fn check_sample(import: &Import, has_bands: bool) {
    let source = sample_source();
    assert_eq!(import.items.len(), source.len());
    assert!(problems(import).is_empty(), "{:?}", problems(import));
    for (found, mut expected) in import.items.iter().zip(source) {
        if !has_bands {
            expected.band = Band::Unstated;
        }
        let several = expected.key.len() > 1;
        let item = found.item.clone();
        assert_eq!(
            item.item_type == ItemType::MultipleChoice,
            several,
            "no. {}",
            found.number
        );
        let found = Source {
            topic: item.topic,
            band: item.band,
            text: item.text,
            options: item.options.into_iter().map(|o| o.text).collect(),
            key: item.key,
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn the_sample_is_the_same_in_all_its_forms() {
    let marked = import_file("sample/vietnam-knowledge.docx");
    check_sample(&marked, false);
    let key = file("sample/vietnam-knowledge-key.docx");
    let questions = file("sample/vietnam-knowledge-questions.docx");
    let two_files = import("q.docx", &questions, Some(("k.docx", &key))).unwrap();
    check_sample(&two_files, false);
    let workbook = import_file("sample/vietnam-knowledge.xlsx");
    check_sample(&workbook, true);
    for ((a, b), c) in marked
        .items
        .iter()
        .zip(&two_files.items)
        .zip(&workbook.items)
    {
        assert_eq!(a.item, b.item);
        assert_eq!(a.item.options, c.item.options);
        assert_eq!(a.item.item_type, c.item.item_type);
    }

    let pinned = |n: usize| -> Vec<bool> {
        marked.items[n - 1]
            .item
            .options
            .iter()
            .map(|o| o.pinned)
            .collect()
    };
    for number in [31, 32, 75, 76, 77, 112, 113, 121, 152, 162] {
        let pinned = pinned(number);
        let (last, others) = pinned.split_last().unwrap();
        assert!(*last && others.iter().all(|p| !p), "no. {number}");
    }
    assert!(pinned(163).iter().all(|p| *p));
    let n_pinned = marked
        .items
        .iter()
        .filter(|i| i.item.options.iter().any(|o| o.pinned))
        .count();
    assert_eq!(n_pinned, 11);
}

#[test]
fn a_questions_file_without_any_mark_holds_all_items_back() {
    let import = import_file("sample/vietnam-knowledge-questions.docx");
    assert!(
        import
            .items
            .iter()
            .all(|i| i.problems.iter().any(|p| p.code == "key_missing"))
    );
}

#[track_caller]
fn check_refused(name: &str, expected: &str) {
    let error = import(name, &file(&format!("testdata/{name}")), None).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(expected), "{message}");
}

#[test]
fn files_that_are_no_question_files_are_refused_with_the_reason() {
    check_refused("not-a-document.docx", "not a Word or Excel file");
    check_refused("truncated.docx", "damaged or incomplete");
    check_refused("empty.docx", "no question found");
    check_refused("foreign.xlsx", "no question found");
    let old = import(
        "de.doc",
        &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, 0, 0],
        None,
    );
    assert!(old.unwrap_err().to_string().contains("old format"));
    let other = zip(&[("a.txt", b"Cau 1: A")]);
    let error = import("a.docx", &other, None).unwrap_err().to_string();
    assert!(error.contains("no Word document"), "{error}");
}

#[test]
fn the_kind_is_told_by_content_not_by_the_ending() {
    let bytes = file("testdata/word-one-line-options.docx");
    assert_eq!(
        import("questions.xlsx", &bytes, None).unwrap().items.len(),
        6
    );
}

#[test]
fn a_file_that_unpacks_to_too_much_is_refused() {
    let bomb = vec![b' '; 65 << 20];
    let word = zip(&[("word/document.xml", &bomb)]);
    let excel = zip(&[
        ("xl/workbook.xml", b"<workbook/>"),
        ("xl/worksheets/sheet1.xml", &bomb),
    ]);
    for bytes in [word, excel] {
        assert!(bytes.len() < 1 << 20);
        let error = import("bomb", &bytes, None).unwrap_err().to_string();
        assert!(error.contains("64 MB"), "{error}");
    }
}

fn zip(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(vec![]));
    for (name, content) in parts {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn docx(body: &str) -> Vec<u8> {
    let xml = format!("<w:document><w:body>{body}</w:body></w:document>");
    zip(&[("word/document.xml", xml.as_bytes())])
}

/// A document of three questions whose right options B, A, B have some run properties.
fn marked_docx(properties: &str) -> Vec<u8> {
    let mut body = String::new();
    for (number, right) in [(1, 'B'), (2, 'A'), (3, 'B')] {
        body += &format!("<w:p><w:r><w:t>Câu {number}: Hỏi {number}?</w:t></w:r></w:p>");
        for letter in ['A', 'B', 'C'] {
            let properties = if letter == right { properties } else { "" };
            body += &format!(
                "<w:p><w:r><w:rPr>{properties}</w:rPr><w:t>{letter}. Phương án {letter}{number}</w:t></w:r></w:p>"
            );
        }
    }
    docx(&body)
}

#[test]
fn every_way_to_mark_is_understood() {
    for properties in [
        "<w:b/>",
        "<w:i/>",
        "<w:u w:val='single'/>",
        "<w:color w:val='FF0000'/>",
        "<w:highlight w:val='yellow'/>",
        "<w:shd w:fill='FFFF00'/>",
    ] {
        let found = import("m.docx", &marked_docx(properties), None).unwrap();
        assert_eq!(keys(&found), "B A B", "{properties}");
    }
    let grey = import("m.docx", &marked_docx("<w:color w:val='333333'/>"), None).unwrap();
    assert_eq!(keys(&grey), "- - -");
    let asterisks = docx(
        "<w:p><w:r><w:t>1. Hỏi?</w:t></w:r></w:p><w:p><w:r><w:t>*A. x</w:t></w:r></w:p><w:p><w:r><w:t>B. y</w:t></w:r></w:p>",
    );
    let found = import("m.docx", &asterisks, None).unwrap();
    assert_eq!(
        (
            keys(&found).as_str(),
            found.items[0].item.options[0].text.as_str()
        ),
        ("A", "x")
    );
}

#[test]
fn several_marked_options_are_a_key_only_where_the_stem_asks_for_several() {
    let question = |stem: &str| {
        let option = |bold: &str, text: &str| {
            format!("<w:p><w:r><w:rPr>{bold}</w:rPr><w:t>{text}</w:t></w:r></w:p>")
        };
        let text = [
            option("", &format!("Câu 4 (TH): {stem}")),
            option("<w:b/>", "A. x"),
            option("<w:b/>", "B. y"),
            option("", "C. z"),
        ];
        text.concat()
    };
    let marked = marked_docx("<w:b/>");
    let with = |stem: &str| {
        let xml = part(&marked, "word/document.xml")
            .replace("</w:body>", &format!("{}</w:body>", question(stem)));
        import(
            "m.docx",
            &zip(&[("word/document.xml", xml.as_bytes())]),
            None,
        )
        .unwrap()
    };
    let several = with("Những gì? (chọn các đáp án đúng)");
    assert_eq!(keys(&several), "B A B AB");
    assert_eq!(several.items[3].item.band, Band::Comprehension);
    let one = with("Cái gì?");
    assert_eq!(keys(&one), "B A B -");
    assert_eq!(problems(&one), [(4, "several_keys")]);
}

#[test]
fn pictures_hold_an_item_back() {
    let xml = part(&marked_docx("<w:b/>"), "word/document.xml");
    let xml = xml.replacen(
        "Hỏi 2?</w:t></w:r>",
        "Hỏi 2?</w:t></w:r><w:r><w:drawing/></w:r>",
        1,
    );
    let found = import(
        "m.docx",
        &zip(&[("word/document.xml", xml.as_bytes())]),
        None,
    )
    .unwrap();
    assert_eq!(problems(&found), [(2, "picture_lost")]);
    assert_eq!(held_back(&found), [2]);
}

fn part(bytes: &[u8], name: &str) -> String {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut text = String::new();
    archive
        .by_name(name)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// Files that the properties below damage: small ones, so that many cases run.
const VICTIMS: [&str; 4] = [
    "testdata/word-numbered-list.docx",
    "testdata/word-two-file-key.docx",
    "testdata/excel-columns.xlsx",
    "testdata/excel-options-in-cell.xlsx",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(
        victim in 0..VICTIMS.len(),
        cut in 0.0..1.0_f64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 0..6),
    ) {
        let mut bytes = file(VICTIMS[victim]);
        for (at, bits) in &flips {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        if cut < 0.5 {
            let whole = u32::try_from(bytes.len()).unwrap();
            bytes.retain({ let mut n = 0; move |_| { n += 1; f64::from(n) <= f64::from(whole) * cut * 2.0 } });
        }
        let as_key = import("key", &file(VICTIMS[0]), Some(("damaged", &bytes)));
        let alone = import("damaged", &bytes, None);
        if flips.is_empty() && cut < 0.45 {
            prop_assert!(alone.is_err() && as_key.is_err());
        }
    }

    /// The checksum of the package catches most damage; here the parts themselves are wrong in a sound package.
    #[test]
    fn damaged_parts_in_a_sound_package_never_panic(
        victim in 0..VICTIMS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_usize), 1..8),
    ) {
        let bytes = file(VICTIMS[victim]);
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut parts = vec![];
        for index in 0..archive.len() {
            let mut part = archive.by_index(index).unwrap();
            let mut content = vec![];
            part.read_to_end(&mut content).unwrap();
            parts.push((part.name().unwrap().into_owned(), content));
        }
        let names = ["word/document.xml", "word/styles.xml", "word/numbering.xml", "xl/worksheets/sheet1.xml", "xl/workbook.xml"];
        for (_, content) in parts.iter_mut().filter(|(name, _)| names.contains(&name.as_str())) {
            for (at, other, kind) in &edits {
                let (at, other) = (at.index(content.len()), other.index(content.len()));
                match kind {
                    0 => content[at] = content[other],
                    1 => { content.remove(at); }
                    2 => content.swap(at, other),
                    _ => content[at] = b'9',
                }
            }
        }
        let parts: Vec<(&str, &[u8])> = parts.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
        let damaged = zip(&parts);
        let alone = import("damaged", &damaged, None);
        let as_key = import("questions", &file(VICTIMS[0]), Some(("damaged", &damaged)));
        for found in [alone, as_key].into_iter().flatten() {
            prop_assert!(!found.items.is_empty());
        }
    }
}
