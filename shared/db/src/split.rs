/// The statements of a script, each with the line it starts in. Knows quotes, dollar quotes and
/// comments; not the bodies of `begin atomic`.
pub(crate) fn split(script: &str) -> Vec<(usize, &str)> {
    let mut statements = Vec::new();
    let mut rest = script;
    let mut line = 1;
    while !rest.is_empty() {
        let start = blank(rest);
        line += lines(&rest[..start]);
        rest = &rest[start..];
        let end = statement(rest);
        let text = rest[..end].trim_end_matches(|mark: char| mark.is_whitespace() || mark == ';');
        if !text.is_empty() {
            statements.push((line, text));
        }
        line += lines(&rest[..end]);
        rest = &rest[end..];
    }
    statements
}

fn lines(text: &str) -> usize {
    text.matches('\n').count()
}

/// How many bytes of white space and comments `text` starts with.
fn blank(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        at += match comment(rest) {
            Some(length) => length,
            None => match rest.chars().next() {
                Some(mark) if mark.is_whitespace() => mark.len_utf8(),
                _ => return at,
            },
        };
    }
}

/// How many bytes the first statement has, with its semicolon.
fn statement(text: &str) -> usize {
    let mut at = 0;
    while let Some(mark) = text[at..].chars().next() {
        let rest = &text[at..];
        at += comment(rest).or_else(|| quoted(rest, &text[..at])).unwrap_or(mark.len_utf8());
        if mark == ';' {
            break;
        }
    }
    at
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(text.len())
}

/// `before` tells `$1` and `a$b$c` from a dollar quote, and `e'\''` from a plain string.
fn quoted(text: &str, before: &str) -> Option<usize> {
    let previous = before.chars().next_back().unwrap_or(' ');
    let word = |mark: char| mark.is_alphanumeric() || mark == '_';
    if text.starts_with('\'') {
        return Some(string(text, '\'', matches!(previous, 'e' | 'E')));
    }
    if text.starts_with('"') {
        return Some(string(text, '"', false));
    }
    if !text.starts_with('$') || word(previous) || previous == '$' {
        return None;
    }
    let end = 1 + text[1..].find('$')?;
    let tag = &text[..=end];
    let named =
        tag[1..end].chars().all(word) && !tag[1..].starts_with(|mark: char| mark.is_ascii_digit());
    let close = text[tag.len()..].find(tag);
    named.then(|| close.map_or(text.len(), |close| close + 2 * tag.len()))
}

fn string(text: &str, quote: char, escapes: bool) -> usize {
    let mut marks = text.char_indices().skip(1);
    while let Some((at, mark)) = marks.next() {
        if escapes && mark == '\\' {
            marks.next();
        } else if mark == quote {
            // A doubled quote only starts the next string at once, which comes to the same.
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_split_where_its_statements_end() {
        for (script, statements) in [
            ("", vec![]),
            ("-- nothing\n;;\n", vec![]),
            ("select 1; select 2", vec![(1, "select 1"), (1, "select 2")]),
            ("\n-- a;\nselect ';' -- b;\n, 2;\n", vec![(3, "select ';' -- b;\n, 2")]),
            ("select 'it''s;';\nselect 2", vec![(1, "select 'it''s;'"), (2, "select 2")]),
            (r"select e'\';';select 2", vec![(1, r"select e'\';'"), (1, "select 2")]),
            (
                "do $$ a; $x$ b; $x$ $$;\nselect $1;",
                vec![(1, "do $$ a; $x$ b; $x$ $$"), (2, "select $1")],
            ),
            ("do $x$ a; $$ b; $x$; s", vec![(1, "do $x$ a; $$ b; $x$"), (1, "s")]),
            ("/* a; /* b; */ c; */ select \";\";", vec![(1, "select \";\"")]),
            ("select 'ü;' ; s", vec![(1, "select 'ü;'"), (1, "s")]),
            ("select 'open; s", vec![(1, "select 'open; s")]),
        ] {
            assert_eq!(split(script), statements, "{script}");
        }
    }
}
