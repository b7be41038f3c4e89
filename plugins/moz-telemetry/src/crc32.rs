//! CRC-32 as in IEEE 802.3 and zlib, which sample ids are made of.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

/// The checksum of bytes.
pub fn of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| TABLE[usize::from(sum as u8 ^ byte)] ^ (sum >> 8))
}

#[cfg(test)]
mod tests {
    #[test]
    fn sample_ids_are_the_original_ones() {
        assert_eq!(super::of(b"123456789"), 0xcbf4_3926);
        for (id, sample) in [("6fd3eb50-8bec-4b9c-8778-59406171312a", 50), ("7cac7c8f-6c0f-4a33-b1f9-e4c2519f53cb", 46)] {
            assert_eq!(super::of(id.as_bytes()) % 100, sample, "{id}");
        }
    }
}
