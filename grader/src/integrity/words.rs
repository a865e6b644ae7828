//! The words of a report in Vietnamese and in English.

use super::report::{Kind, Scope};

/// The same in Vietnamese and in English.
pub(crate) type Both = [&'static str; 2];

/// What a reader must know before anything else.
pub(crate) const NOTICE: Both = [
    "Mỗi dấu hiệu là lý do để một người xem lại, không phải bằng chứng vi phạm, và không làm thay đổi điểm hay thứ hạng nào.",
    "A flag is a reason for a person to look, no proof of a breach, and changes no score and no rank.",
];

/// Title of a kind, and what explains it without a breach.
pub(crate) fn kind(kind: Kind) -> (Both, Both) {
    match kind {
        Kind::Similar => (
            [
                "Hai bài giống nhau bất thường",
                "Two attempts unusually alike",
            ],
            [
                "Số câu trả lời trùng nhau nhiều hơn hẳn mức có thể do ngẫu nhiên ở hai người cùng trình độ, cùng nơi và cùng lúc. Người học cùng thầy hay mắc lỗi giống nhau.",
                "Many more answers agree than chance gives two persons of these scores in one place at one time. Persons taught together make the same mistakes.",
            ],
        ),
        Kind::Double => (
            [
                "Các bài trùng khớp hoàn toàn",
                "Attempts that are the same answer for answer",
            ],
            [
                "Mọi câu trả lời trùng nhau, kể cả câu sai. Với người đã làm nhiều lần hay học cùng tài liệu, trùng hoàn toàn vẫn có thể xảy ra.",
                "All answers agree, wrong ones included. Persons who learnt one list by heart may agree in all.",
            ],
        ),
        Kind::SharedDevice => (
            [
                "Nhiều thí sinh trên một thiết bị",
                "Many candidates on one device",
            ],
            [
                "Phòng máy có nhiều ca thi cũng cho kết quả này.",
                "A computer room with several shifts looks the same.",
            ],
        ),
        Kind::SharedAddress => (
            [
                "Nhiều thí sinh sau một địa chỉ mạng",
                "Many candidates behind one address",
            ],
            [
                "Trường học, cơ quan dùng chung đường truyền và mạng di động cũng cho kết quả này.",
                "Schools and offices with one line, and mobile networks, look the same.",
            ],
        ),
        Kind::RapidGuessing => (
            [
                "Trả lời nhanh hơn mức đọc kịp câu hỏi",
                "Answers faster than the item can be read",
            ],
            [
                "Thường là đoán mò; đôi khi là biết trước đề. Điểm khi đó nói ít về năng lực.",
                "Guessing as a rule, now and then knowing the items before; the score says little of ability then.",
            ],
        ),
        Kind::Misfit => (
            [
                "Đúng sai không khớp với trình độ nào",
                "Right and wrong fit no ability",
            ],
            [
                "Sai câu dễ mà đúng câu khó. Có nhiều nguyên nhân: ốm, mất mạng, được giúp một phần.",
                "Easy items wrong, hard ones right. Illness, a lost line and help in a part all look like this.",
            ],
        ),
    }
}

/// Name of a scope.
pub(crate) fn scope(scope: Scope) -> Both {
    match scope {
        Scope::Address => ["cùng địa chỉ mạng", "one address"],
        Scope::Unit => ["cùng đơn vị", "one unit"],
        Scope::Area => ["cùng tỉnh/thành", "one area"],
        Scope::Exam => ["toàn kỳ thi", "whole exam"],
    }
}

/// Name of a fact; none for one that has none.
pub(crate) fn fact(name: &str) -> Option<Both> {
    Some(match name {
        "ability" => ["năng lực ước lượng", "estimated ability"],
        "alike" => ["câu trả lời trùng", "answers alike"],
        "alike_expected" => ["trùng do ngẫu nhiên, trung bình", "alike by chance, mean"],
        "alike_wrong" => ["câu sai trùng", "wrong answers alike"],
        "allowed" => ["số người cho phép", "persons allowed"],
        "answered" => ["câu đã trả lời", "items answered"],
        "at_once" => ["làm cùng lúc, nhiều nhất", "at once, at most"],
        "common_items" => ["câu chung đã trả lời", "common items answered"],
        "effort" => ["phần trả lời có suy nghĩ", "share of considered answers"],
        "k_log10_first_from_second" => [
            "log10 K, người 1 chép người 2",
            "log10 K, first from second",
        ],
        "k_log10_second_from_first" => [
            "log10 K, người 2 chép người 1",
            "log10 K, second from first",
        ],
        "lz" => ["l_z", "l_z"],
        "lz_star" => ["l_z*", "l_z*"],
        "omega" => ["ω", "ω"],
        "omega_first_from_second" => ["ω, người 1 chép người 2", "ω, first from second"],
        "omega_second_from_first" => ["ω, người 2 chép người 1", "ω, second from first"],
        "persons" => ["số người", "persons"],
        "rapid" => ["câu trả lời quá nhanh", "rapid answers"],
        "rapid_right" => ["quá nhanh mà đúng", "rapid and right"],
        "same_device" => ["cùng thiết bị (1 = có)", "same device (1 is yes)"],
        "timed" => ["câu biết thời gian", "answers with a known time"],
        "wrong" => ["câu sai", "wrong answers"],
        _ => return None,
    })
}
