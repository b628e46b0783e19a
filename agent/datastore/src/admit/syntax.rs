//! The forms of names and labels, as the Kubernetes API documents them
//! ("Object Names and IDs", "Labels and Selectors"), RFC 1123 and RFC 6335.
//!
//! Each function says what is wrong, in words that follow the quoted text.

/// Why a text is not of a form.
pub(super) type Fault = &'static str;

/// A DNS label: a namespace's name, a tier's.
pub(super) fn dns_label(text: &str) -> Result<(), Fault> {
    if text.len() > 63 {
        return Err("is longer than 63 characters");
    }
    if !is_label(text) {
        return Err("is not a DNS label: lower case letters, digits and '-', with a letter or digit at each end");
    }
    Ok(())
}

/// A DNS label that begins with a letter (RFC 1035 §2.3.1): a service's name.
pub(super) fn dns_1035_label(text: &str) -> Result<(), Fault> {
    dns_label(text)?;
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return Err("does not begin with a letter");
    }
    Ok(())
}

/// DNS labels with dots between them: most objects' names.
pub(super) fn dns_subdomain(text: &str) -> Result<(), Fault> {
    if text.len() > 253 {
        return Err("is longer than 253 characters");
    }
    if !text.split('.').all(is_label) {
        return Err(
            "is not a DNS subdomain: lower case letters, digits, '-' and '.', with a letter or digit at each end",
        );
    }
    Ok(())
}

/// What any label of a DNS name is, but for its length.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    has_ends(text, inner) && text.bytes().all(|byte| inner(byte) || byte == b'-')
}

/// A label's or annotation's key: `name` or `dns.subdomain/name`.
pub(super) fn qualified_name(text: &str) -> Result<(), Fault> {
    let name = match text.split_once('/') {
        Some((prefix, name)) => {
            dns_subdomain(prefix).map_err(|_| "has something other than a DNS subdomain before its '/'")?;
            name
        }
        None => text,
    };
    if name.is_empty() {
        return Err("has no name");
    }
    if name.len() > 63 {
        return Err("has a name longer than 63 characters");
    }
    if !is_name(name) {
        return Err("is not a qualified name: letters, digits, '-', '_' and '.', with a letter or digit at each end");
    }
    Ok(())
}

/// A label's value, which may be empty.
pub(super) fn label_value(text: &str) -> Result<(), Fault> {
    if text.len() > 63 {
        return Err("is longer than 63 characters");
    }
    if !text.is_empty() && !is_name(text) {
        return Err("is not a label value: letters, digits, '-', '_' and '.', with a letter or digit at each end");
    }
    Ok(())
}

/// A port's name (an IANA service name, RFC 6335 §5.1).
pub(super) fn port_name(text: &str) -> Result<(), Fault> {
    if text.is_empty() || text.len() > 15 {
        return Err("is not a port name: it has 1 to 15 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err("is not a port name: it has lower case letters, digits and '-' only");
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err("is not a port name: it has at least one letter");
    }
    if text.contains("--") || text.starts_with('-') || text.ends_with('-') {
        return Err("is not a port name: '-' stands single and between other characters");
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric();
    has_ends(text, inner) && text.bytes().all(|byte| inner(byte) || b"-_.".contains(&byte))
}

/// Whether a text is not empty and its first and last byte are as they should be.
fn has_ends(text: &str, is_end: impl Fn(u8) -> bool) -> bool {
    matches!((text.bytes().next(), text.bytes().next_back()), (Some(first), Some(last)) if is_end(first) && is_end(last))
}
