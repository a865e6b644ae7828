"""Builds the four sample documents from items.txt and explanations.txt.

    python3.11 -m venv .venv && .venv/bin/pip install python-docx==1.2.0 openpyxl==3.1.5
    .venv/bin/python question-bank/sample/build.py

Running it again gives the same bytes: zip times and core properties are fixed
and the "human" irregularities come from a seeded generator.
"""

import datetime
import io
import random
import re
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import docx
import openpyxl
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Pt
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter

HERE = Path(__file__).resolve().parent
SEED = 20261125
NBSP = "\u00a0"
BUILT_AT = datetime.datetime(2026, 11, 25)
TITLE = "NGÂN HÀNG CÂU HỎI TÌM HIỂU KIẾN THỨC CHUNG"
INSTRUCTION = (
    "Thí sinh đọc kỹ từng câu và chọn một phương án đúng. "
    "Với câu có ghi “chọn các đáp án đúng”, hãy chọn đủ các phương án đúng."
)


@dataclass
class Item:
    number: int
    band: str
    topic: str
    stem: str
    options: list[str] = field(default_factory=list)
    right: list[str] = field(default_factory=list)


# Reading


def read_items(path):
    items, topic = [], None
    for line_no, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line:
            continue
        if line != unicodedata.normalize("NFC", line):
            raise ValueError(f"line {line_no}: not NFC")
        if m := re.fullmatch(r"# (.+)", line):
            topic = m[1]
        elif m := re.fullmatch(r"Câu (\d+) \[(NB|TH|VD)\]: (.+)", line):
            items.append(Item(int(m[1]), m[2], topic, m[3]))
        elif m := re.fullmatch(r"(\*?)([A-D])\. (.+)", line):
            item = items[-1]
            if m[2] != "ABCD"[len(item.options)]:
                raise ValueError(f"line {line_no}: option {m[2]} out of order")
            item.options.append(m[3])
            if m[1]:
                item.right.append(m[2])
        else:
            raise ValueError(f"line {line_no}: not understood: {line}")
    for n, item in enumerate(items, 1):
        if item.number != n or len(item.options) < 3 or not item.right:
            raise ValueError(f"item {item.number}: bad number, options or key")
    return items


def read_explanations(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (re.fullmatch(r"Câu (\d+): (.+)", line) for line in lines)
    return {int(m[1]): m[2] for m in pairs}


# Writing the same bytes every time


def fixed_zip(data, path):
    """Rewrites an OOXML package with fixed times, so that it can be compared."""
    stamp = BUILT_AT.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    source = zipfile.ZipFile(io.BytesIO(data))
    with zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            body = source.read(name)
            if name == "docProps/core.xml":
                body = re.sub(rb"(<dcterms:(created|modified)[^>]*>)[^<]*", rb"\g<1>" + stamp, body)
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            target.writestr(info, body, compresslevel=9)


def save(document, path):
    buffer = io.BytesIO()
    document.save(buffer)
    fixed_zip(buffer.getvalue(), path)


# Word


def new_word(title):
    doc = docx.Document()
    for name in ("Normal", "Heading 1"):
        style = doc.styles[name]
        style.font.name = "Times New Roman"
        fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
        for attribute in ("w:asciiTheme", "w:hAnsiTheme", "w:eastAsiaTheme", "w:cstheme"):
            fonts.attrib.pop(qn(attribute), None)
        fonts.set(qn("w:eastAsia"), "Times New Roman")
        fonts.set(qn("w:cs"), "Times New Roman")
        style.font.size = Pt(13)
    lang = OxmlElement("w:lang")
    lang.set(qn("w:val"), "vi-VN")
    doc.styles["Normal"].element.get_or_add_rPr().append(lang)
    doc.styles["Normal"].paragraph_format.space_after = Pt(3)
    core = doc.core_properties
    core.title, core.author, core.last_modified_by = title, "Khoa Bảng", "Khoa Bảng"
    core.comments, core.keywords, core.language, core.revision = "", "", "vi-VN", 1
    core.created = core.modified = BUILT_AT
    return doc


def add_title(doc, text):
    paragraph = doc.add_paragraph()
    paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
    paragraph.add_run(text).bold = True
    return paragraph


def add_text(paragraph, text, rng, p_split=0.3):
    """Adds text in one run or, as Word does after edits, in two or three."""
    n_cuts = rng.choice((1, 1, 2)) if len(text) > 8 and rng.random() < p_split else 0
    cuts = sorted(rng.sample(range(1, len(text)), n_cuts))
    for start, end in zip([0, *cuts], [*cuts, len(text)]):
        paragraph.add_run(text[start:end])


def add_question(doc, item, rng, marked):
    paragraph = doc.add_paragraph()
    gap = NBSP if rng.random() < 0.2 else " "
    if rng.random() < 0.15:
        label = ["Câu" + (NBSP if rng.random() < 0.5 else " "), f"{item.number}:"]
    else:
        label = [f"Câu {item.number}:"]
    for part in label:
        run = paragraph.add_run(part)
        if marked:
            run.bold = True
    add_text(paragraph, gap + item.stem, rng)
    for letter, option in zip("ABCD", item.options):
        paragraph = doc.add_paragraph()
        with_dot = rng.random() < 0.6
        run = paragraph.add_run(letter + ("." if with_dot else ""))
        if marked and letter in item.right:
            run.bold = run.underline = True
        gap = NBSP if rng.random() < 0.08 else " "
        add_text(paragraph, ("" if with_dot else ".") + gap + option, rng)


def questions_document(items, marked):
    rng = random.Random(SEED)
    doc = new_word("Ngân hàng câu hỏi tìm hiểu kiến thức chung")
    add_title(doc, TITLE)
    doc.add_paragraph(INSTRUCTION)
    doc.add_paragraph()
    topics = list(dict.fromkeys(item.topic for item in items))
    for part, topic in enumerate(topics, 1):
        doc.add_heading(f"Phần {part}: {topic}", level=1)
        for item in items:
            if item.topic == topic:
                add_question(doc, item, rng, marked)
    doc.add_paragraph()
    end = doc.add_paragraph("HẾT")
    end.alignment = WD_ALIGN_PARAGRAPH.CENTER
    return doc


def key_table(doc, keys):
    """One table, three column pairs Câu / Đáp án, blank columns between them."""
    n_rows = -(-len(keys) // 3)
    table = doc.add_table(rows=n_rows + 1, cols=8, style="Table Grid")
    grid = [list(row.cells) for row in table.rows]
    for pair in range(3):
        left = pair * 3
        grid[0][left].text, grid[0][left + 1].text = "Câu", "Đáp án"
        for row, (number, key) in enumerate(keys[pair * n_rows : (pair + 1) * n_rows], 1):
            grid[row][left].text, grid[row][left + 1].text = str(number), key
    return table


def key_document(title, keys):
    doc = new_word(title)
    add_title(doc, "ĐÁP ÁN")
    key_table(doc, keys)
    doc.add_paragraph()
    return doc


# Excel


def new_workbook(title, sheet_name):
    book = openpyxl.Workbook()
    book.active.title = sheet_name
    book.properties.title = title
    book.properties.creator = book.properties.lastModifiedBy = "Khoa Bảng"
    book.properties.created = BUILT_AT
    return book, book.active


def put_row(sheet, row, values, bold=False):
    for column, value in enumerate(values, 1):
        if value is None:
            continue
        cell = sheet.cell(row, column, value)
        if isinstance(value, str):
            cell.data_type = "s"
            cell.number_format = "@"
        cell.alignment = Alignment(wrap_text=True, vertical="top")
        cell.font = Font(name="Times New Roman", size=12, bold=bold)


def put_titles(sheet, titles, n_columns):
    for row, title in enumerate(titles, 1):
        put_row(sheet, row, [title], bold=row == 1)
        sheet.cell(row, 1).alignment = Alignment(horizontal="center")
        sheet.merge_cells(start_row=row, start_column=1, end_row=row, end_column=n_columns)


def set_widths(sheet, widths):
    for column, width in enumerate(widths, 1):
        sheet.column_dimensions[get_column_letter(column)].width = width


COLUMNS = ["STT", "Chủ đề", "Mức độ", "Câu hỏi", "Đáp án A", "Đáp án B", "Đáp án C", "Đáp án D"]
COLUMNS += ["Đáp án đúng", "Giải thích"]
WIDTHS = [6, 20, 9, 60, 28, 28, 28, 28, 12, 50]


def workbook(items, explanations):
    book, sheet = new_workbook("Ngân hàng câu hỏi tìm hiểu kiến thức chung", "Câu hỏi")
    subtitle = f"{len(items)} câu, 4 chủ đề; mức độ: NB nhận biết, TH thông hiểu, VD vận dụng"
    put_titles(sheet, [TITLE, subtitle], len(COLUMNS))
    put_row(sheet, 3, COLUMNS, bold=True)
    for row, item in enumerate(items, 4):
        options = item.options + [None] * (4 - len(item.options))
        key = ",".join(item.right)
        texts = [item.topic, item.band, item.stem, *options, key]
        put_row(sheet, row, [item.number, *texts, explanations.get(item.number)])
    set_widths(sheet, WIDTHS)
    sheet.freeze_panes = "A4"
    return book


def main():
    items = read_items(HERE / "items.txt")
    explanations = read_explanations(HERE / "explanations.txt")
    keys = [(item.number, ", ".join(item.right)) for item in items]
    save(questions_document(items, marked=True), HERE / "vietnam-knowledge.docx")
    save(questions_document(items, marked=False), HERE / "vietnam-knowledge-questions.docx")
    key = key_document("Đáp án ngân hàng câu hỏi tìm hiểu kiến thức chung", keys)
    save(key, HERE / "vietnam-knowledge-key.docx")
    save(workbook(items, explanations), HERE / "vietnam-knowledge.xlsx")


if __name__ == "__main__":
    main()
