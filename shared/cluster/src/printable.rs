/// Text of a server, for people: on one line, without what a terminal would obey, and not longer
/// than about `most` letters. What is left out is in the middle: errors begin with what was tried
/// and end with why it failed.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let words = text.split(|letter: char| letter.is_control() || letter.is_whitespace());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let letters = line.chars().count();
    if letters <= most {
        return line;
    }
    let place = |number: usize| line.char_indices().nth(number).map_or(line.len(), |(at, _)| at);
    let (start, end) = (place(most / 2), place(letters - (most - most / 2)));
    format!("{}…{}", &line[..start], &line[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_server_is_one_bounded_line_with_its_beginning_and_its_end() {
        for (text, expected) in [
            ("as it is", "as it is"),
            (" two\nlines\r\n", "two lines"),
            ("\u{1b}[31mred", "[31mred"),
            ("1234567890", "1234567890"),
            ("12345678901", "12345…78901"),
            ("öäöäöäöäöäöäöä", "öäöäö…äöäöä"),
            ("", ""),
        ] {
            assert_eq!(printable(text, 10), expected);
        }
    }
}
