use rand::RngExt;

/// Without vowels and what looks alike, so that no name is a word.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The five letters at the end of a generated name.
pub(crate) fn suffix() -> String {
    let mut random = rand::rng();
    (0..5).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

/// Ten letters or fewer that stand for a text: FNV-1a, as the real controller does it.
pub(crate) fn hash(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let digits = hash.to_string();
    digits.bytes().map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}
