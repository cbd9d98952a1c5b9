/// The beginning of it: at most so many bytes, in whole characters.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The end of it, where an error is usually said: at most so many bytes, in whole characters.
pub fn tail(text: &str, most: usize) -> &str {
    let mut start = text.len().saturating_sub(most);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_end_is_whole_characters_and_no_longer_than_asked() {
        for (text, most, beginning, end) in [
            ("", 0, "", ""),
            ("", 5, "", ""),
            ("abc", 0, "", ""),
            ("abc", 2, "ab", "bc"),
            ("abc", 3, "abc", "abc"),
            ("abc", usize::MAX, "abc", "abc"),
            ("aö", 1, "a", ""),
            ("aö", 2, "a", "ö"),
            ("öa", 1, "", "a"),
            ("öa", 2, "ö", "a"),
            ("😀b😀", 3, "", ""),
            ("😀b😀", 5, "😀b", "b😀"),
        ] {
            assert_eq!((cut(text, most), tail(text, most)), (beginning, end), "{text:?}, {most}");
        }
    }
}
