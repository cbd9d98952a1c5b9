use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// How many characters of a secret give it away.
const CUT: usize = 12;

/// Fails if any of the secrets is in the text: as it is, in base64 at any offset, as a URL or as
/// hex has it, or cut.
///
/// # Panics
/// When one is.
#[track_caller]
pub fn assert_hushed(text: &str, secrets: &[&str]) {
    for secret in secrets {
        for form in forms(secret) {
            for start in 0..=form.len().saturating_sub(CUT) {
                let cut = &form[start..(start + CUT).min(form.len())];
                if let Some(at) = text.find(cut) {
                    let line = text[..at].rfind('\n').map_or(0, |start| start + 1);
                    panic!("a secret is in: {}", &text[line..at + cut.len()]);
                }
            }
        }
    }
}

fn forms(secret: &str) -> Vec<String> {
    let hex = |upper: bool| -> String {
        let digits = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        if upper { digits.to_uppercase() } else { digits }
    };
    let mut forms = vec![
        secret.to_owned(),
        secret.escape_debug().to_string(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        hex(false),
        hex(true),
    ];
    // Base64 of a part looks different by where it begins.
    for skip in 0..3 {
        forms.push(STANDARD.encode(&secret.as_bytes()[skip..]).trim_end_matches('=').to_owned());
        forms.push(URL_SAFE_NO_PAD.encode(&secret.as_bytes()[skip..]));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_a_secret_in_every_form() {
        let secret = "s3cr3t/canary+7f3a==very-long";
        for text in [
            "a line with s3cr3t/canary in it",
            "a line with canary%2B7f3a%3D%3D",
            "hex 733363723374 2f63616e617279",
            "hex 2F63616E6172792B",
            "basic eDpzM2NyM3QvY2FuYXJ5KzdmM2E9PXZlcnktbG9uZw==",
        ] {
            let found = std::panic::catch_unwind(|| assert_hushed(text, &[secret]));
            assert!(found.is_err(), "{text}");
        }
        assert_hushed("nothing to see here, s3cr3t or canary", &[secret]);
    }
}
