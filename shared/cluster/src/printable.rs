/// Text of a server, for people: on one line, without what a terminal would obey, and not longer
/// than `most` letters.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let words = text.split(|letter: char| letter.is_control() || letter.is_whitespace());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_server_is_one_bounded_line() {
        for (text, expected) in [
            ("as it is", "as it is"),
            (" two\nlines\r\n", "two lines"),
            ("\u{1b}[31mred", "[31mred"),
            ("öööööööööööö", "öööööööööö…"),
            ("", ""),
        ] {
            assert_eq!(printable(text, 10), expected);
        }
    }
}
