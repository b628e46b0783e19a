//! libnftnl behind one safe surface: objects with attributes, and the messages
//! it makes of them.

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_void};

use nftnl_sys as sys;

/// An attribute's number and content, as libnftnl takes them.
pub(super) type Attributes<'a> = Vec<(u32, Vec<u8>)>;

/// A NUL-terminated string.
pub(super) fn text(text: &str) -> Vec<u8> {
    CString::new(text).expect("no NUL inside").into_bytes_with_nul()
}

/// A number, in the machine's byte order.
pub(super) fn word(number: u32) -> Vec<u8> {
    number.to_ne_bytes().to_vec()
}

/// The attributes of the message that `build` writes: what follows both headers.
fn built(build: impl FnOnce(*mut sys::libc::nlmsghdr)) -> Vec<u8> {
    // No message of these tests is longer; aligned as the header needs it.
    let mut buffer = vec![0u32; 32 * 1024];
    // SAFETY: the buffer is longer than both headers, which is all this writes.
    let header = unsafe { sys::nftnl_nlmsg_build_hdr(buffer.as_mut_ptr().cast::<c_char>(), 0, 0, 0, 0) };
    build(header);
    // SAFETY: the header is at the start of the buffer, and the length in it
    // counts the bytes that libnftnl has written there.
    let message = unsafe { std::slice::from_raw_parts(header.cast::<u8>(), (*header).nlmsg_len as usize) };
    message[crate::wire::HEADER + crate::wire::NFGEN..].to_vec()
}

fn pointer(content: &[u8]) -> *const c_void {
    content.as_ptr().cast()
}

fn length(content: &[u8]) -> u32 {
    u32::try_from(content.len()).expect("attributes are short")
}

/// An expression by its name.
fn expression(name: &CStr, attributes: &Attributes<'_>) -> *mut sys::nftnl_expr {
    // SAFETY: the name is a NUL-terminated string; an unknown one yields NULL, checked below.
    let expr = unsafe { sys::nftnl_expr_alloc(name.as_ptr()) };
    assert!(!expr.is_null(), "libnftnl does not know {name:?}");
    for (attribute, content) in attributes {
        let attribute = u16::try_from(*attribute).expect("attributes are small numbers");
        // SAFETY: the expression was just made; the content is copied during the call.
        let outcome = unsafe { sys::nftnl_expr_set(expr, attribute, pointer(content), length(content)) };
        assert_eq!(outcome, 0, "{name:?} takes attribute {attribute}");
    }
    expr
}

/// The message of a rule.
pub(super) fn rule(attributes: &Attributes<'_>, exprs: &[(CString, Attributes<'_>)]) -> Vec<u8> {
    // SAFETY: takes nothing; NULL only without memory, checked below.
    let rule = unsafe { sys::nftnl_rule_alloc() };
    assert!(!rule.is_null());
    for (attribute, content) in attributes {
        // SAFETY: the rule was just made; the content is copied during the call.
        unsafe { sys::nftnl_rule_set_data(rule, *attribute as u16, pointer(content), length(content)) };
    }
    for (name, attributes) in exprs {
        let expr = expression(name, attributes);
        // SAFETY: both were just made; the rule takes the expression over.
        unsafe { sys::nftnl_rule_add_expr(rule, expr) };
    }
    // SAFETY: the header is that of a buffer long enough for any rule of these tests.
    let bytes = built(|header| unsafe { sys::nftnl_rule_nlmsg_build_payload(header, rule) });
    // SAFETY: nothing refers to the rule any more.
    unsafe { sys::nftnl_rule_free(rule) };
    bytes
}

/// The message of a chain.
pub(super) fn chain(attributes: &Attributes<'_>) -> Vec<u8> {
    // SAFETY: takes nothing; NULL only without memory, checked below.
    let chain = unsafe { sys::nftnl_chain_alloc() };
    assert!(!chain.is_null());
    for (attribute, content) in attributes {
        // SAFETY: the chain was just made; the content is copied during the call.
        unsafe { sys::nftnl_chain_set_data(chain, *attribute as u16, pointer(content), length(content)) };
    }
    // SAFETY: the header is that of a buffer long enough for any chain.
    let bytes = built(|header| unsafe { sys::nftnl_chain_nlmsg_build_payload(header, chain) });
    // SAFETY: nothing refers to the chain any more.
    unsafe { sys::nftnl_chain_free(chain) };
    bytes
}

/// The message of a set, and that of its elements.
pub(super) fn set(attributes: &Attributes<'_>, elements: &[Attributes<'_>]) -> (Vec<u8>, Vec<u8>) {
    // SAFETY: takes nothing; NULL only without memory, checked below.
    let set = unsafe { sys::nftnl_set_alloc() };
    assert!(!set.is_null());
    for (attribute, content) in attributes {
        // SAFETY: the set was just made; the content is copied during the call.
        unsafe { sys::nftnl_set_set_data(set, *attribute as u16, pointer(content), length(content)) };
    }
    for attributes in elements {
        // SAFETY: takes nothing; NULL only without memory, checked below.
        let element = unsafe { sys::nftnl_set_elem_alloc() };
        assert!(!element.is_null());
        for (attribute, content) in attributes {
            // SAFETY: the element was just made; the content is copied during the call.
            unsafe { sys::nftnl_set_elem_set(element, *attribute as u16, pointer(content), length(content)) };
        }
        // SAFETY: both were just made; the set takes the element over.
        unsafe { sys::nftnl_set_elem_add(set, element) };
    }
    // SAFETY: the header is that of a buffer long enough for any set.
    let whole = built(|header| unsafe { sys::nftnl_set_nlmsg_build_payload(header, set) });
    // SAFETY: the header is that of a buffer long enough for the elements of these tests.
    let list = built(|header| unsafe { sys::nftnl_set_elems_nlmsg_build_payload(header, set) });
    // SAFETY: nothing refers to the set or its elements any more.
    unsafe { sys::nftnl_set_free(set) };
    (whole, list)
}
