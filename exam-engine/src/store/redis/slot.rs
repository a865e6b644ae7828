//! Which of a cluster's 16,384 slots a key belongs to. Source: Redis Cluster specification, "Key distribution model".

/// A slot of a cluster.
pub(super) type Slot = u16;

/// Slots of every cluster.
pub(super) const N_SLOTS: u16 = 16_384;

/// Returns the slot of all keys with this hash tag (what stands between the braces).
pub(super) fn slot_of(tag: &str) -> Slot {
    crc16(tag.as_bytes()) % N_SLOTS
}

/// CRC-16/XMODEM: polynomial 0x1021, begins with 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        // As CLUSTER KEYSLOT answers.
        assert_eq!((slot_of("foo"), slot_of("somekey")), (12_182, 11_058));
    }
}
