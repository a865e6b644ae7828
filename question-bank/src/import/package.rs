//! The zip package around a Word or Excel file: which of the two it is, and its parts as text within a limit.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use crate::{Error, Result};

/// Most bytes that the XML parts of one file may unpack to. A Word bank takes about 5 KB of XML an item, so 10,000 items
/// still fit; a zip bomb of a few KB that unpacks to gigabytes does not.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;

/// First bytes of the container of .doc, .xls and of files locked by a password.
const OLD_FORMAT: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];

/// Which program wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Excel,
}

impl Kind {
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Word => "Word",
            Self::Excel => "Excel",
        }
    }
}

/// An opened file.
pub(super) struct Package<'a> {
    file_name: &'a str,
    bytes: &'a [u8],
    archive: ZipArchive<Cursor<&'a [u8]>>,
    kind: Kind,
    main_part: String,
    left_bytes: u64,
}

impl<'a> Package<'a> {
    /// Opens a file and tells its kind by its parts; the ending of its name means nothing.
    pub(super) fn open(file_name: &'a str, bytes: &'a [u8]) -> Result<Self> {
        if bytes.starts_with(&OLD_FORMAT) {
            return Err(unreadable(
                file_name,
                "Word/Excel",
                "định dạng cũ .doc/.xls hoặc có mật khẩu, cần .docx hay .xlsx không mật khẩu",
                "old format .doc/.xls or locked by a password, .docx or .xlsx without password is needed",
            ));
        }
        if !bytes.starts_with(b"PK") {
            return Err(unreadable(
                file_name,
                "Word/Excel",
                "không phải tệp Word hay Excel",
                "not a Word or Excel file",
            ));
        }
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| {
            unreadable(
                file_name,
                "Word/Excel",
                "tệp hỏng hoặc tải về chưa đủ",
                "the file is damaged or incomplete",
            )
        })?;
        let (kind, main_part) = main_part(&archive).ok_or_else(|| {
            unreadable(
                file_name,
                "Word/Excel",
                "gói zip không chứa tài liệu Word hay bảng tính Excel",
                "the zip package holds no Word document and no Excel workbook",
            )
        })?;
        Ok(Self {
            file_name,
            bytes,
            archive,
            kind,
            main_part,
            left_bytes: MAX_UNPACKED_BYTES,
        })
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the text of the part with the document's body.
    pub(super) fn main_text(&mut self) -> Result<String> {
        let name = self.main_part.clone();
        self.text(&name)?
            .ok_or_else(|| self.damaged(&name, "không có", "missing"))
    }

    /// Returns a part as text; none where the package has no such part.
    pub(super) fn text(&mut self, part: &str) -> Result<Option<String>> {
        match self.archive.index_for_name(part) {
            Some(index) => {
                let bytes = self.unpack(index, part)?;
                String::from_utf8(bytes)
                    .map(Some)
                    .map_err(|_| self.damaged(part, "không phải UTF-8", "not UTF-8"))
            }
            None => Ok(None),
        }
    }

    /// Unpacks every XML part once, for a reader that opens the package itself and knows no limit.
    pub(super) fn check_unpacked_size(&mut self) -> Result<()> {
        for index in 0..self.archive.len() {
            let name = match self.archive.name_for_index(index) {
                Some(Ok(name)) => name.to_lowercase(),
                _ => return Err(self.damaged("zip", "tên phần hỏng", "damaged part name")),
            };
            if name.ends_with(".xml") || name.ends_with(".rels") {
                self.unpack(index, &name)?;
            }
        }
        Ok(())
    }

    fn unpack(&mut self, index: usize, name: &str) -> Result<Vec<u8>> {
        let mut unpacked = Vec::new();
        let read = self.archive.by_index(index).map(|part| {
            // One byte more than allowed tells a file at the limit from one beyond it.
            part.take(self.left_bytes + 1).read_to_end(&mut unpacked)
        });
        if !matches!(read, Ok(Ok(_))) {
            return Err(self.damaged(name, "hỏng", "damaged"));
        }
        let left_bytes = self.left_bytes.checked_sub(unpacked.len() as u64);
        self.left_bytes = left_bytes.ok_or_else(|| {
            self.unreadable(
                "tệp giải nén ra quá 64 MB, hãy chia thành nhiều tệp",
                "the file unpacks to more than 64 MB, divide it into several",
            )
        })?;
        Ok(unpacked)
    }

    /// Makes the error for a part that cannot be understood.
    pub(super) fn damaged(&self, part: &str, vi: &str, en: &str) -> Error {
        self.unreadable(
            &format!("phần {part} {vi}"),
            &format!("part {part} is {en}"),
        )
    }

    /// Makes the error for a file without a question; `forms` are those that are understood.
    pub(super) fn no_questions(&self, forms: &str) -> Error {
        self.no_items(
            &format!("không tìm thấy câu hỏi nào: {forms}"),
            &format!("no question found: {forms}"),
        )
    }

    /// Makes the error for a file that was given for something else.
    pub(super) fn no_items(&self, vi: &str, en: &str) -> Error {
        Error::NoItems {
            file: self.file_name.to_owned(),
            what_vi: vi.to_owned(),
            what_en: en.to_owned(),
        }
    }

    /// Makes the error for this file.
    pub(super) fn unreadable(&self, vi: &str, en: &str) -> Error {
        unreadable(self.file_name, self.kind.program(), vi, en)
    }
}

fn unreadable(file_name: &str, program: &'static str, vi: &str, en: &str) -> Error {
    Error::Unreadable {
        file: file_name.to_owned(),
        what_vi: vi.to_owned(),
        what_en: en.to_owned(),
        program,
    }
}

/// Word on the web sometimes names the body `document2.xml`.
fn main_part(archive: &ZipArchive<Cursor<&[u8]>>) -> Option<(Kind, String)> {
    let names = || archive.file_names().filter_map(std::result::Result::ok);
    if names().any(|name| name == "xl/workbook.xml") {
        return Some((Kind::Excel, "xl/workbook.xml".to_owned()));
    }
    names()
        .filter(|name| {
            name.strip_prefix("word/document")
                .and_then(|rest| rest.strip_suffix(".xml"))
                .is_some_and(|digits| digits.chars().all(|c| c.is_ascii_digit()))
        })
        .min()
        .map(|name| (Kind::Word, name.into_owned()))
}
