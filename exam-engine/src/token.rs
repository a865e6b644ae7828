//! What candidates carry: access codes, session tokens and receipts, signed with HMAC-SHA256, and slips of submission,
//! signed with Ed25519 so that anybody can verify them.
//!
//! Codes and tokens say themselves whose they are, so that no database stands on the way in. Layouts are fixed; the
//! first byte is their version. Start at [`Signer`].

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    clock::Timestamp,
    id::{CandidateId, ExamId},
    secrets::Key,
    session::{Accommodation, Chain, Ticket},
    store::Durability,
};

type HmacSha256 = Hmac<Sha256>;

const CODE_VERSION: u8 = 1;
/// A code that also grants an accommodation.
const CODE_VERSION_WITH_TIME: u8 = 2;
const TOKEN_VERSION: u8 = 1;
/// version, exam tag, candidate, area, unit, last second.
const CODE_BODY: usize = 1 + 8 + 16 + 2 + 4 + 4;
/// percent, minutes.
const CODE_TIME: usize = 2 + 2;
/// 80 bits: a forger who tries a million codes a second for a year has one chance in 30 billion.
const CODE_MAC: usize = 10;
/// version, exam tag, candidate, attempt, epoch.
const TOKEN_BODY: usize = 1 + 8 + 16 + 4 + 4;
const TOKEN_MAC: usize = 16;
/// Keeps slot tokens apart from session tokens, which the same key signs.
const SLOT_DOMAIN: &[u8] = b"khoa-bang slot v1";
/// kind, exam tag, candidate, round, instant.
const SLOT_BODY: usize = 1 + 8 + 16 + 4 + 8;

/// Why a code was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// Damaged or forged.
    Invalid,
    /// Its time is over.
    Expired,
}

/// What a valid session token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRef {
    /// Tag of the exam.
    pub exam_tag: [u8; 8],
    /// The candidate.
    pub candidate: CandidateId,
    /// Number of the attempt.
    pub attempt: u32,
    /// Number of the device.
    pub epoch: u32,
}

/// What gave a place in the order of starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// The start window: not before this instant.
    Slot = 1,
    /// The lobby: a start is kept from this instant on.
    Place = 2,
}

/// What a valid slot token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRef {
    /// What gave it.
    pub kind: SlotKind,
    /// Tag of the exam.
    pub exam_tag: [u8; 8],
    /// The candidate.
    pub candidate: CandidateId,
    /// Number of the round.
    pub round: u32,
    /// From then on.
    pub at: Timestamp,
}

/// What a receipt proves.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptFacts<'a> {
    /// The exam.
    pub exam: &'a ExamId,
    /// The candidate.
    pub candidate: CandidateId,
    /// Number of the attempt.
    pub attempt: u32,
    /// All answers up to this number are stored.
    pub seq: u32,
    /// Head of the chain there.
    pub chain: &'a Chain,
    /// When it was given.
    pub at: Timestamp,
    /// How durable they are.
    pub durability: Durability,
}

/// Signs and checks.
pub struct Signer {
    codes: HmacSha256,
    tokens: HmacSha256,
    slots: HmacSha256,
    receipts: HmacSha256,
    slips: SigningKey,
}

impl Signer {
    /// Takes the four keys.
    #[must_use]
    pub fn new(access_code: &Key, session_token: &Key, receipt: &Key, slip: &Key) -> Self {
        let mac =
            |key: &Key| HmacSha256::new_from_slice(&key.0).expect("HMAC takes keys of any length");
        let mut slots = mac(session_token);
        slots.update(SLOT_DOMAIN);
        Self {
            codes: mac(access_code),
            tokens: mac(session_token),
            slots,
            receipts: mac(receipt),
            slips: SigningKey::from_bytes(&slip.0),
        }
    }

    /// Signs an access code. `area` has two characters.
    #[must_use]
    pub fn issue_code(&self, exam_tag: [u8; 8], ticket: &Ticket, last_second: u32) -> String {
        let accommodation = ticket.accommodation;
        let is_plain = accommodation == Accommodation::default();
        let mut code = Vec::with_capacity(CODE_BODY + CODE_TIME + CODE_MAC);
        code.push(if is_plain {
            CODE_VERSION
        } else {
            CODE_VERSION_WITH_TIME
        });
        code.extend_from_slice(&exam_tag);
        code.extend_from_slice(&ticket.candidate.0);
        code.extend_from_slice(ticket.area.as_bytes());
        code.extend_from_slice(&ticket.unit.to_le_bytes());
        code.extend_from_slice(&last_second.to_le_bytes());
        if !is_plain {
            code.extend_from_slice(&accommodation.time_percent.to_le_bytes());
            code.extend_from_slice(&accommodation.extra_minutes.to_le_bytes());
        }
        let mac = sign(&self.codes, &code);
        code.extend_from_slice(&mac[..CODE_MAC]);
        BASE32_NOPAD.encode(&code)
    }

    /// Reads an access code as typed: any case, with blanks and hyphens.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn check_code(&self, typed: &str, now: Timestamp) -> Result<([u8; 8], Ticket), CodeError> {
        let letters: Vec<u8> = typed
            .bytes()
            .filter(|b| !b.is_ascii_whitespace() && *b != b'-')
            .map(|b| b.to_ascii_uppercase())
            .collect();
        let code = BASE32_NOPAD
            .decode(&letters)
            .map_err(|_| CodeError::Invalid)?;
        let n_body = match code.first() {
            Some(&CODE_VERSION) => CODE_BODY,
            Some(&CODE_VERSION_WITH_TIME) => CODE_BODY + CODE_TIME,
            _ => return Err(CodeError::Invalid),
        };
        let (body, mac) = code.split_at_checked(n_body).ok_or(CodeError::Invalid)?;
        if mac.len() != CODE_MAC || !verify(&self.codes, body, mac) {
            return Err(CodeError::Invalid);
        }
        let mut reader = Reader(&body[1..]);
        let exam_tag = reader.take();
        let candidate = CandidateId(reader.take());
        let area = reader.take::<2>();
        let unit = u32::from_le_bytes(reader.take());
        let last_second = u32::from_le_bytes(reader.take());
        if now.0 / 1_000 > u64::from(last_second) {
            return Err(CodeError::Expired);
        }
        let area = std::str::from_utf8(&area)
            .map_err(|_| CodeError::Invalid)?
            .to_owned();
        let mut accommodation = Accommodation::default();
        if body[0] == CODE_VERSION_WITH_TIME {
            accommodation.time_percent = u16::from_le_bytes(reader.take());
            accommodation.extra_minutes = u16::from_le_bytes(reader.take());
        }
        Ok((
            exam_tag,
            Ticket {
                candidate,
                area,
                unit,
                accommodation,
            },
        ))
    }

    /// Hashes something of a caller: equal tags of one exam mean equal things, and nothing else can be learned. Never 0.
    #[must_use]
    pub fn tag(&self, exam_tag: [u8; 8], what: &[u8]) -> u64 {
        let mut message = b"tag".to_vec();
        message.extend_from_slice(&exam_tag);
        message.extend_from_slice(what);
        let mac = sign(&self.receipts, &message);
        let (tag, _) = mac.split_first_chunk().expect("a MAC has 32 bytes");
        u64::from_le_bytes(*tag).max(1)
    }

    /// Signs a session token.
    #[must_use]
    pub fn issue_token(&self, session: &SessionRef) -> String {
        let mut token = Vec::with_capacity(TOKEN_BODY + TOKEN_MAC);
        token.push(TOKEN_VERSION);
        token.extend_from_slice(&session.exam_tag);
        token.extend_from_slice(&session.candidate.0);
        token.extend_from_slice(&session.attempt.to_le_bytes());
        token.extend_from_slice(&session.epoch.to_le_bytes());
        let mac = sign(&self.tokens, &token);
        token.extend_from_slice(&mac[..TOKEN_MAC]);
        BASE64URL_NOPAD.encode(&token)
    }

    /// Reads a session token.
    #[must_use]
    pub fn check_token(&self, token: &str) -> Option<SessionRef> {
        let mut bytes = [0; TOKEN_BODY + TOKEN_MAC];
        if BASE64URL_NOPAD.decode_len(token.len()).ok()? != bytes.len() {
            return None;
        }
        BASE64URL_NOPAD
            .decode_mut(token.as_bytes(), &mut bytes)
            .ok()?;
        let (body, mac) = bytes.split_at(TOKEN_BODY);
        if body[0] != TOKEN_VERSION || !verify(&self.tokens, body, mac) {
            return None;
        }
        let mut reader = Reader(&body[1..]);
        Some(SessionRef {
            exam_tag: reader.take(),
            candidate: CandidateId(reader.take()),
            attempt: u32::from_le_bytes(reader.take()),
            epoch: u32::from_le_bytes(reader.take()),
        })
    }

    /// Returns the key that slips are verified with.
    #[must_use]
    pub fn slip_key(&self) -> [u8; 32] {
        self.slips.verifying_key().to_bytes()
    }

    /// Signs the slip of a submission (docs/FORMATS.md, section 3), about 30 µs.
    #[must_use]
    pub fn slip(&self, form_code: &[u8; 8], facts: &ReceiptFacts<'_>) -> String {
        let exam = facts.exam.as_str().as_bytes();
        let mut signed = b"khoa-bang slip v1".to_vec();
        let n_domain = signed.len();
        signed.push(u8::try_from(exam.len()).expect("at most 40 characters"));
        signed.extend_from_slice(exam);
        signed.extend_from_slice(&facts.candidate.0);
        signed.extend_from_slice(&facts.attempt.to_le_bytes());
        signed.extend_from_slice(form_code);
        signed.extend_from_slice(&facts.seq.to_le_bytes());
        signed.extend_from_slice(facts.chain);
        signed.extend_from_slice(&facts.at.0.to_le_bytes());
        signed.push(durability_byte(facts.durability));
        let signature = self.slips.sign(&signed).to_bytes();
        let [body, signature] =
            [&signed[n_domain..], &signature[..]].map(|part| BASE64URL_NOPAD.encode(part));
        format!("KB1.{body}.{signature}")
    }

    /// Signs a slot token.
    #[must_use]
    pub fn issue_slot(&self, slot: &SlotRef) -> String {
        let mut token = Vec::with_capacity(SLOT_BODY + TOKEN_MAC);
        token.push(slot.kind as u8);
        token.extend_from_slice(&slot.exam_tag);
        token.extend_from_slice(&slot.candidate.0);
        token.extend_from_slice(&slot.round.to_le_bytes());
        token.extend_from_slice(&slot.at.0.to_le_bytes());
        let mac = sign(&self.slots, &token);
        token.extend_from_slice(&mac[..TOKEN_MAC]);
        BASE64URL_NOPAD.encode(&token)
    }

    /// Reads a slot token.
    #[must_use]
    pub fn check_slot(&self, token: &str) -> Option<SlotRef> {
        let mut bytes = [0; SLOT_BODY + TOKEN_MAC];
        if BASE64URL_NOPAD.decode_len(token.len()).ok()? != bytes.len() {
            return None;
        }
        BASE64URL_NOPAD
            .decode_mut(token.as_bytes(), &mut bytes)
            .ok()?;
        let (body, mac) = bytes.split_at(SLOT_BODY);
        if !verify(&self.slots, body, mac) {
            return None;
        }
        let kind = match body[0] {
            1 => SlotKind::Slot,
            2 => SlotKind::Place,
            _ => return None,
        };
        let mut reader = Reader(&body[1..]);
        Some(SlotRef {
            kind,
            exam_tag: reader.take(),
            candidate: CandidateId(reader.take()),
            round: u32::from_le_bytes(reader.take()),
            at: Timestamp(u64::from_le_bytes(reader.take())),
        })
    }

    /// Signs a receipt (docs/FORMATS.md, section 3).
    #[must_use]
    pub fn receipt_mac(&self, facts: &ReceiptFacts<'_>) -> [u8; 32] {
        let mut mac = self.receipts.clone();
        let exam = facts.exam.as_str().as_bytes();
        mac.update(b"khoa-bang receipt v1");
        mac.update(&[u8::try_from(exam.len()).expect("at most 40 characters")]);
        mac.update(exam);
        mac.update(&facts.candidate.0);
        mac.update(&facts.attempt.to_le_bytes());
        mac.update(&facts.seq.to_le_bytes());
        mac.update(facts.chain);
        mac.update(&facts.at.0.to_le_bytes());
        mac.update(&[durability_byte(facts.durability)]);
        mac.finalize().into_bytes().into()
    }
}

fn durability_byte(durability: Durability) -> u8 {
    match durability {
        Durability::Practice => 1,
        Durability::Single => 2,
        Durability::Replicated => 3,
    }
}

fn sign(mac: &HmacSha256, body: &[u8]) -> [u8; 32] {
    let mut mac = mac.clone();
    mac.update(body);
    mac.finalize().into_bytes().into()
}

fn verify(mac: &HmacSha256, body: &[u8], tag: &[u8]) -> bool {
    let mut mac = mac.clone();
    mac.update(body);
    mac.verify_truncated_left(tag).is_ok()
}

/// Takes fixed pieces off a slice whose length was checked.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (piece, rest) = self
            .0
            .split_first_chunk()
            .expect("the layout has a fixed length");
        self.0 = rest;
        *piece
    }
}

/// Reports whether a message was signed with a key, by the strict rules of Ed25519.
#[must_use]
pub fn is_signed(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = public.try_into().ok();
    let key = key.and_then(|key: &[u8; 32]| VerifyingKey::from_bytes(key).ok());
    let signature = Signature::from_slice(signature);
    matches!((key, signature), (Some(key), Ok(signature)) if key.verify_strict(message, &signature).is_ok())
}

/// Signs a message with an Ed25519 key.
#[must_use]
pub fn sign_message(key: &Key, message: &[u8]) -> [u8; 64] {
    SigningKey::from_bytes(&key.0).sign(message).to_bytes()
}

/// Returns the public half of an Ed25519 key.
#[must_use]
pub fn public_key(key: &Key) -> [u8; 32] {
    SigningKey::from_bytes(&key.0).verifying_key().to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(byte: u8) -> Signer {
        let key = Key([byte; 32]);
        Signer::new(&key, &key, &key, &key)
    }

    fn ticket() -> Ticket {
        Ticket {
            candidate: CandidateId([9; 16]),
            area: "79".to_owned(),
            unit: 12,
            accommodation: Accommodation::default(),
        }
    }

    #[test]
    fn a_code_says_whose_it_is_until_its_time_is_over() {
        let code = signer(1).issue_code([3; 8], &ticket(), 1_000);
        let typed = format!(" {}-{} ", code[..5].to_lowercase(), &code[5..]);
        assert_eq!(
            signer(1).check_code(&typed, Timestamp(1_000_999)),
            Ok(([3; 8], ticket()))
        );
        assert_eq!(
            signer(1).check_code(&code, Timestamp(1_001_000)),
            Err(CodeError::Expired)
        );
        assert_eq!(
            signer(2).check_code(&code, Timestamp(0)),
            Err(CodeError::Invalid)
        );
    }

    #[test]
    fn a_code_grants_an_accommodation() {
        let accommodation = Accommodation {
            time_percent: 150,
            extra_minutes: 10,
        };
        let ticket = Ticket {
            accommodation,
            ..ticket()
        };
        let code = signer(1).issue_code([3; 8], &ticket, 1_000);
        assert_eq!(
            signer(1).check_code(&code, Timestamp(0)),
            Ok(([3; 8], ticket))
        );
    }

    /// Expected values by Python's `hmac`, from docs/FORMATS.md, section 3.
    #[test]
    fn a_receipt_is_signed_as_the_format_says() {
        let exam = ExamId::parse("thi-thu").unwrap();
        let chain: Chain = std::array::from_fn(|index| 0x20 + u8::try_from(index).unwrap());
        let facts = ReceiptFacts {
            exam: &exam,
            candidate: CandidateId(std::array::from_fn(|index| u8::try_from(index).unwrap())),
            attempt: 2,
            seq: 300,
            chain: &chain,
            at: Timestamp(1_764_000_000_123),
            durability: Durability::Single,
        };
        let signer = Signer::new(&Key([7; 32]), &Key([8; 32]), &Key([1; 32]), &Key([9; 32]));
        assert_eq!(
            hex::encode(signer.receipt_mac(&facts)),
            "f8cbc2f0d91d3585ab687676c76058689f23cbd796345b89d5dd4f56f8647f3a"
        );
        let practice = ReceiptFacts {
            durability: Durability::Practice,
            ..facts
        };
        assert_eq!(
            hex::encode(signer.receipt_mac(&practice)),
            "851dbed412aeeccac114b21ace1c60f2e38f96c437b4b934ec551238dbeea344"
        );
    }

    #[test]
    fn any_changed_character_is_seen() {
        let code = signer(1).issue_code([3; 8], &ticket(), 1_000);
        let session = SessionRef {
            exam_tag: [3; 8],
            candidate: CandidateId([9; 16]),
            attempt: 1,
            epoch: 2,
        };
        let token = signer(1).issue_token(&session);
        assert_eq!(signer(1).check_token(&token), Some(session));
        let slot = SlotRef {
            kind: SlotKind::Place,
            exam_tag: [3; 8],
            candidate: CandidateId([9; 16]),
            round: 1,
            at: Timestamp(1_764_000_000_123),
        };
        let slot_token = signer(1).issue_slot(&slot);
        assert_eq!(signer(1).check_slot(&slot_token), Some(slot));
        assert_eq!(signer(1).check_slot(&token), None);
        assert_eq!(signer(1).check_token(&slot_token), None);
        let changed = |text: &str, index: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        };
        for index in 0..code.len() {
            assert!(
                signer(1)
                    .check_code(&changed(&code, index), Timestamp(0))
                    .is_err(),
                "{index}"
            );
        }
        for index in 0..token.len() {
            assert_eq!(
                signer(1).check_token(&changed(&token, index)),
                None,
                "{index}"
            );
        }
        for index in 0..slot_token.len() {
            let changed = changed(&slot_token, index);
            assert_eq!(signer(1).check_slot(&changed), None, "{index}");
        }
        for cut in ["", "AAAA", &code[..20]] {
            assert_eq!(signer(1).check_slot(cut), None);
            assert!(signer(1).check_code(cut, Timestamp(0)).is_err());
            assert_eq!(signer(1).check_token(cut), None);
        }
    }
}
