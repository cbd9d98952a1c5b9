/// Longer texts are cut: an error about a megabyte of garbage must still fit on a line.
const LONGEST: usize = 80;

/// A text as an error message shows it: in backticks, cut short, with line breaks and the like
/// escaped, so that nobody writes a second log line by sending a strange name.
pub fn quote(text: &str) -> String {
    let cut = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text[..end].escape_debug()),
        None => text.escape_debug().to_string(),
    };
    format!("`{cut}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_on_one_short_line() {
        for (text, shown) in [
            ("codegen", "`codegen`".to_owned()),
            ("", "``".to_owned()),
            ("two\nlines", "`two\\nlines`".to_owned()),
            ("\u{1b}[31mred", "`\\u{1b}[31mred`".to_owned()),
            (&"ü".repeat(81), format!("`{}…`", "ü".repeat(80))),
        ] {
            assert_eq!(quote(text), shown);
        }
    }
}
