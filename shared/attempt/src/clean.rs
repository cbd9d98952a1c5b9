/// What a program wrote, fit for a log, an event and a terminal: no colours, and nothing that moves
/// a cursor or that Postgres cannot keep.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' if letters.peek() == Some(&'[') => {
                letters.next();
                // Up to the letter that ends it.
                while letters.next().is_some_and(|part| !('@'..='~').contains(&part)) {}
            }
            '\n' | '\t' => out.push(letter),
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_control_characters_are_taken_out() {
        assert_eq!(clean("\u{1b}[1;31mred\u{1b}[0m\tand\0 \u{7}plain\r\n"), "red\tand plain\n");
        assert_eq!(clean("cut \u{1b}["), "cut ");
    }
}
