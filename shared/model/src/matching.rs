use proptest::strategy::Strategy;

/// Makes texts that a pattern of ours matches. (proptest does not know `^` and `$`.)
pub(crate) fn matching(pattern: &'static str) -> impl Strategy<Value = String> {
    let anchored = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    anchored.expect("patterns match whole texts")
}
