"""Builds the import fixtures described in README.md; every defect is on purpose.

    python3.11 -m venv .venv && .venv/bin/pip install python-docx==1.2.0 openpyxl==3.1.5
    .venv/bin/python question-bank/testdata/build.py

Running it again gives the same bytes.
"""

import random
import sys
from pathlib import Path

from docx.enum.style import WD_STYLE_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sample"))
sys.dont_write_bytecode = True

from build import (  # noqa: E402
    COLUMNS,
    NBSP,
    SEED,
    WIDTHS,
    add_text,
    add_title,
    key_document,
    new_word,
    new_workbook,
    put_row,
    put_titles,
    save,
    set_widths,
)

# Word, questions and key in two files

# (stem, options, key by the table, letters in bold)
TWO_FILE = [
    ("Một tuần lễ có bao nhiêu ngày?", ["5 ngày", "6 ngày", "7 ngày", "8 ngày"], "C", "C"),
    ("Nước sôi ở 100 độ C trong điều kiện áp suất nào?", ["Áp suất khí quyển ở mực nước biển", "Áp suất trên đỉnh núi cao 3000 m", "Chân không hoàn toàn"], "A", "A"),
    ("Năm nào dưới đây là năm nhuận?", ["2023", "2024", "2025", "2026"], "B", "B"),
    ("Mặt Trời là một ngôi sao.", ["Đúng", "Sai"], "A", "A"),
    ("Khí nào cần cho sự cháy?", ["Ni-tơ", "Ô-xi", "Hê-li", "Các-bo-níc"], "B", "ABCD"),
    ("Hành tinh nào gần Mặt Trời nhất?", ["Sao Kim", "Trái Đất", "Sao Hỏa", "Sao Thủy"], "D", "D"),
    ("Số nào là số nguyên tố?", ["21", "27", "29", "33"], "C", "C"),
    ("Một giờ có bao nhiêu giây?", ["360", "600", "1200", "3600"], "D", ""),
    ("Con vật nào là động vật có vú?", ["Cá voi", "Cá mập", "Cá sấu", "Cá chép"], "A", ""),
    ("Kim loại nào ở thể lỏng trong điều kiện thường?", ["Sắt", "Thủy ngân", "Nhôm", "Đồng"], "B", "B"),
    ("Vitamin C có nhiều trong loại thức ăn nào?", ["Cam, bưởi, ổi", "Mỡ lợn", "Gạo trắng", "Muối ăn"], "A", "A"),
    ("Việc nào giúp tiết kiệm điện?", ["Tắt đèn khi ra khỏi phòng", "Dùng bóng đèn LED", "Mở cửa đón ánh sáng tự nhiên", "Cả 3 đáp án trên"], "D", "D"),
]


def two_file_questions():
    rng = random.Random(SEED)
    doc = new_word("Câu hỏi tìm hiểu khoa học thường thức")
    web = doc.styles.add_style("Normal (Web)", WD_STYLE_TYPE.PARAGRAPH)
    web.base_style = doc.styles["Normal"]
    add_title(doc, "BỘ CÂU HỎI")
    add_title(doc, "TÌM HIỂU KHOA HỌC THƯỜNG THỨC")
    doc.add_paragraph()
    for number, (stem, options, _, bold) in enumerate(TWO_FILE, 1):
        style = "Normal (Web)" if number % 3 == 0 else "Normal"
        paragraph = doc.add_paragraph(style=style)
        label_is_bold = number % 4 != 0 or None
        label = f"Câu {number}"
        if number in (10, 12):
            label = f"Câu {number} "
        if number in (7, 11):
            label = f"Câu{NBSP}{number}"
        cut = len(label.rstrip()) - 1 if number >= 10 else rng.choice((2, len(label)))
        for part in (label[:cut], label[cut:], ":"):
            if part:
                paragraph.add_run(part).bold = label_is_bold
        gap = f"{NBSP} " if number in (4, 6) else NBSP if number in (2, 9) else " "
        add_text(paragraph, gap + stem, rng, p_split=1)
        for letter, option in zip("ABCD", options):
            paragraph = doc.add_paragraph(style="Normal (Web)" if rng.random() < 0.4 else style)
            is_bold = letter in bold or None
            if rng.random() < 0.5:
                paragraph.add_run(f"{letter}.").bold = is_bold
                paragraph.add_run(" ").bold = is_bold
            else:
                paragraph.add_run(letter).bold = is_bold
                paragraph.add_run(".")
                paragraph.add_run(NBSP if rng.random() < 0.4 else " ")
            half = len(option) // 2
            paragraph.add_run(option[:half]).bold = False
            paragraph.add_run(option[half:])
    for _ in range(3):
        doc.add_paragraph()
    return doc


def two_file_key():
    keys = [(number, key) for number, (_, _, key, _) in enumerate(TWO_FILE, 1)]
    return key_document("Đáp án khoa học thường thức", keys)


# Word, right option underlined

# (topic, [(stem, options, underlined letters)])
UNDERLINED = [
    ("Số học", [
        ("15 + 27 bằng bao nhiêu?", ["32", "42", "43", "52"], "B"),
        ("Số nào chia hết cho 5?", ["12", "23", "34", "45"], "D"),
        ("Số nào là số chẵn?", ["11", "18", "24", "35"], "BC"),
        ("Một nửa của 90 là số nào?", ["45", "40", "50", "35"], "A"),
    ]),
    ("Đời sống", [
        ("Màu nào có được khi trộn màu vàng với màu xanh lam?", ["Màu đỏ", "Màu tím", "Màu xanh lục", "Màu trắng"], "C"),
        ("Nhiệt kế dùng để đo đại lượng nào?", ["Khối lượng", "Nhiệt độ", "Chiều dài", "Thời gian"], ""),
        ("Mùa nào ở miền Bắc nước ta lạnh nhất?", ["Mùa hạ", "Mùa xuân", "Mùa hạ", "Mùa đông"], "D"),
        ("Kim nào của đồng hồ quay nhanh nhất?", ["Kim giây", "Kim phút", "Kim giờ"], "A"),
    ]),
]


def marked_underline():
    rng = random.Random(SEED + 1)
    doc = new_word("Đề ôn tập")
    add_title(doc, "ĐỀ ÔN TẬP")
    doc.add_paragraph("Phương án đúng được gạch chân.")
    number = 0
    for part, (topic, questions) in enumerate(UNDERLINED, 1):
        doc.add_heading(f"Phần {part}: {topic}", level=1)
        for stem, options, underlined in questions:
            number += 1
            paragraph = doc.add_paragraph()
            paragraph.add_run(f"Câu {number}:").bold = True
            add_text(paragraph, " " + stem, rng)
            for letter, option in zip("ABCD", options):
                paragraph = doc.add_paragraph()
                for text in (f"{letter}. ", option):
                    paragraph.add_run(text).underline = letter in underlined or None
    doc.add_paragraph("HẾT")
    return doc


# Word, options in one line

ONE_LINE = [
    ("Bao nhiêu phút thì bằng nửa giờ?", ["15", "30", "45", "60"], "B"),
    ("Từ nào viết đúng chính tả?", ["sẵn sàng", "sẳn sàng", "sẵn xàng", "xẵn sàng"], "A"),
    ("Hình nào có ba cạnh?", ["Hình tròn", "Hình vuông", "Hình thoi", "Hình tam giác"], "D"),
    ("Tháng nào dương lịch có ít ngày nhất?", ["Tháng Một", "Tháng Hai", "Tháng Ba", "Tháng Tư"], None),
    ("Đơn vị nào dùng để đo khối lượng?", ["mét", "lít", "ki-lô-gam", "giây"], "C"),
    ("Con vật nào biết bay?", ["Chim sẻ", "Con rùa", "Con trâu", "Con cá"], "A"),
]


def one_line_options():
    doc = new_word("Câu hỏi phương án một dòng")
    add_title(doc, "CÂU HỎI KIỂM TRA NHANH")
    for number, (stem, options, key) in enumerate(ONE_LINE, 1):
        doc.add_paragraph(f"Câu {number}: {stem}")
        paragraph = doc.add_paragraph()
        paragraph.add_run("\t".join(f"{a}. {b}" for a, b in zip("ABCD", options)))
        if key:
            doc.add_paragraph(f"Đáp án: {key}")
    return doc


# Word, letters by automatic numbering

NUMBERED = [
    ("Số La Mã X có giá trị bằng bao nhiêu?", ["5", "10", "50", "100"], "B"),
    ("Hướng Mặt Trời mọc là hướng nào?", ["Đông", "Tây", "Nam", "Bắc"], "A"),
    ("Chất nào tan được trong nước?", ["Cát", "Sỏi", "Muối ăn", "Dầu ăn"], "C"),
    ("Vật nào hút được đinh sắt?", ["Thước gỗ", "Cốc nhựa", "Bút chì", "Nam châm"], "D"),
    ("Bộ phận nào của cây hút nước từ đất?", ["Rễ", "Hoa", "Quả"], "A"),
    ("Góc vuông có số đo bằng bao nhiêu độ?", ["45", "60", "90", "180"], "C"),
]


def element(tag, **attributes):
    node = OxmlElement(f"w:{tag}")
    for name, value in attributes.items():
        node.set(qn(f"w:{name}"), str(value))
    return node


def add_letter_list(doc):
    """One abstract list `A.` `B.` ...; each call of the result starts a fresh one."""
    numbering = doc.part.numbering_part.element
    abstract = element("abstractNum", abstractNumId=90)
    level = element("lvl", ilvl=0)
    for tag, value in (("start", 1), ("numFmt", "upperLetter"), ("lvlText", "%1."), ("lvlJc", "left")):
        level.append(element(tag, val=value))
    abstract.append(element("multiLevelType", val="singleLevel"))
    abstract.append(level)
    numbering.insert(0, abstract)

    def new_list():
        num = numbering.add_num(90)
        num.add_lvlOverride(0).add_startOverride(1)
        return num.numId

    return new_list


def numbered_list():
    doc = new_word("Câu hỏi đánh chữ cái tự động")
    new_list = add_letter_list(doc)
    add_title(doc, "CÂU HỎI ĐÁNH CHỮ CÁI TỰ ĐỘNG")
    for number, (stem, options, key) in enumerate(NUMBERED, 1):
        doc.add_paragraph().add_run(f"Câu {number}: {stem}")
        num_id = new_list()
        for letter, option in zip("ABCD", options):
            paragraph = doc.add_paragraph(style="List Paragraph")
            num_pr = paragraph._p.get_or_add_pPr().get_or_add_numPr()
            num_pr.get_or_add_ilvl().val = 0
            num_pr.get_or_add_numId().val = num_id
            paragraph.add_run(option).bold = letter == key or None
    return doc


# Excel, a column for each option

NATURE, HOME = "Tự nhiên", "Gia đình"
EXCEL_COLUMNS = [
    (1, NATURE, "NB", "Hoa nào thường nở rộ ở miền Bắc vào dịp Tết?", "Hoa đào", "Hoa phượng", "Hoa sen", "Hoa sữa", "A", None),
    (2, NATURE, "NB", "Cây lúa nước sinh trưởng tốt nhất ở đâu?", "Sa mạc", "Ruộng ngập nước", "Núi đá", "Bãi cát", "B", "Lúa nước cần nhiều nước."),
    (3, NATURE, "TH", "Vì sao lá cây thường có màu xanh?", "Vì có chất diệp lục", "Vì có nhiều nước", "Vì có đường", "Vì có sắt", None, None),
    (4, NATURE, "NB", "Con vật nào đẻ trứng?", "Con mèo", "Con bò", "Con gà", "Con chó", "E", None),
    (5, NATURE, "NB", "Loài cây nào sống dưới nước?", "Cây sen", "Cây thông", "Cây thông", "Cây cà phê", "A", None),
    (6, None, "NB", "Dụng cụ nào dùng để cắt giấy?", "Cái kéo", "Cái bát", "Cái chổi", "Cái quạt", "A", None),
    None,
    (7, HOME, "TH", "Khi ngửi thấy mùi khí gas trong bếp, nên làm gì?", "Bật lửa kiểm tra", "Bật quạt điện", "Đóng kín cửa", "Khóa van, mở cửa", "D", "Tia lửa điện cũng có thể gây nổ."),
    (8, NATURE, "NB", "Hoa nào thường nở rộ ở miền Bắc vào dịp Tết?", "Hoa đào", "Hoa phượng", "Hoa sen", "Hoa sữa", "A", None),
    (9, HOME, "TH", "Những vật nào dẫn điện? (chọn các đáp án đúng)", "Dây đồng", "Đũa gỗ", "Thìa nhôm", "Cốc nhựa", "A,C", None),
    (10, HOME, "VD", "Bóng đèn 10 W thắp 5 giờ mỗi ngày thì 20 ngày dùng hết bao nhiêu điện?", "0,1 kWh", "1 kWh", "10 kWh", None, "B", "10 W x 100 giờ = 1.000 Wh."),
]


def excel_columns():
    book, sheet = new_workbook("Câu hỏi tự nhiên và gia đình", "Câu hỏi")
    put_titles(sheet, ["CÂU HỎI TỰ NHIÊN VÀ GIA ĐÌNH", "Bản nhập liệu, chưa rà soát"], len(COLUMNS))
    put_row(sheet, 3, COLUMNS, bold=True)
    for row, values in enumerate(EXCEL_COLUMNS, 4):
        put_row(sheet, row, values or [])
    set_widths(sheet, WIDTHS)
    return book


# Excel, all options in one cell

READING, WORKING = "Thư viện & đọc sách", "An toàn khi làm việc"
EXCEL_CELL = [
    (READING, "Muốn mượn sách về nhà, bạn đọc\ncần xuất trình giấy tờ nào?", "A. Thẻ bạn đọc\nB. Vé xem phim\nC. Hóa đơn tiền điện\nD. Thẻ siêu thị", "A"),
    (READING, "Mục lục của một cuốn sách cho biết điều gì?", "A. Giá bán của sách\nB. Các chương, mục và số trang\nC. Tên người đã mượn sách\nD. Nơi bán sách", "B"),
    (READING, "Khi trích dẫn ý của người khác, người viết phải làm gì?", "A. Bỏ tên tác giả\nB. Đổi vài từ rồi coi là\ncủa mình\nC. Ghi rõ tên tác giả và\nnguồn trích\nD. Viết bằng chữ in hoa", "C"),
    (READING, "Việc nào nên làm trong phòng đọc?", "A. Nghe nhạc bằng loa ngoài\nB. Ăn uống tại bàn đọc\nC. Gấp góc trang sách\nD. Giữ trật tự", "D"),
    (WORKING, "Trước khi sửa ổ điện trong nhà,\nviệc đầu tiên phải làm\nlà gì?", "A. Ngắt cầu dao điện\nB. Tháo ngay ổ điện\nC. Lau ổ điện bằng khăn ướt", "A"),
    (WORKING, "Bình chữa cháy nên đặt ở đâu?", "A. Trong kho khóa kín\nB. Nơi dễ thấy, dễ lấy\nC. Sau tủ tài liệu\nD. Trên mái nhà", "B"),
    (WORKING, "Ngồi làm việc lâu trước màn hình nên nghỉ mắt như thế nào?", "A.  Nhìn xa một lúc sau mỗi\nkhoảng 20 phút\nB.  Tăng độ sáng lên cao nhất\nC.  Đưa mắt lại gần màn hình\nD.  Tắt hết đèn trong phòng", "A"),
    (WORKING, "Khi có cháy trong tòa nhà cao tầng, không nên làm việc nào?", "A. Báo động cho mọi người\nB. Đi theo cầu thang bộ thoát nạn\nC. Dùng thang máy để xuống\nD. Gọi lực lượng chữa cháy", "C"),
]


def excel_options_in_cell():
    book, sheet = new_workbook("Câu hỏi thư viện và an toàn", "Sheet1")
    put_row(sheet, 1, ["STT", "Hạng mục", "Nội dung", "Phương án trả lời", "Đáp án"], bold=True)
    for number, values in enumerate(EXCEL_CELL, 1):
        put_row(sheet, number + 1, [number, *values])
    set_widths(sheet, [6, 24, 60, 60, 10])
    return book


# Files that hold no questions


def not_questions():
    text = "Đây là tệp văn bản thường, chỉ đổi đuôi thành .docx.\nCâu 1: Tệp này có mở được bằng Word không?\n"
    (HERE / "not-a-document.docx").write_bytes(text.encode())
    whole = (HERE / "word-marked-underline.docx").read_bytes()
    (HERE / "truncated.docx").write_bytes(whole[: len(whole) * 60 // 100])
    save(new_word(""), HERE / "empty.docx")
    book, sheet = new_workbook("Danh bạ", "Danh bạ")
    put_row(sheet, 1, ["Họ và tên", "Phòng", "Số điện thoại"], bold=True)
    offices = ["Văn thư", "Kế toán", "Kỹ thuật", "Lễ tân", "Bảo vệ"]
    for row, office in enumerate(offices, 2):
        put_row(sheet, row, [f"Nhân viên {row - 1}", office, f"0000 000 00{row - 1}"])
    save(book, HERE / "foreign.xlsx")


def main():
    save(two_file_questions(), HERE / "word-two-file-questions.docx")
    save(two_file_key(), HERE / "word-two-file-key.docx")
    save(marked_underline(), HERE / "word-marked-underline.docx")
    save(one_line_options(), HERE / "word-one-line-options.docx")
    save(numbered_list(), HERE / "word-numbered-list.docx")
    save(excel_columns(), HERE / "excel-columns.xlsx")
    save(excel_options_in_cell(), HERE / "excel-options-in-cell.xlsx")
    not_questions()


if __name__ == "__main__":
    main()
