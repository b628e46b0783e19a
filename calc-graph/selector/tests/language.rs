//! The language, case by case.

use caracal_selector::{MAX_DEPTH, MAX_LABEL_BYTES, Selector, SelectorError};

type Labels<'l> = &'l [(&'l str, &'l str)];

const NONE: Labels<'_> = &[];

fn parse(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn parse_error(text: &str) -> SelectorError {
    match Selector::parse(text) {
        Ok(selector) => panic!("{text:?} is taken for {selector}"),
        Err(error) => error,
    }
}

#[test]
fn canonical_texts() {
    for (text, canonical) in [
        ("", "all()"),
        (" \t ", "all()"),
        (" (all( ) )", "all()"),
        ("global()", "global()"),
        ("a!='b'", r#"a != "b""#),
        (r#"a in {"d","a","b","a"}"#, r#"a in {"a", "b", "d"}"#),
        ("a notin {'x',}", r#"a not in {"x"}"#),
        ("a not \t in{}", "a not in {}"),
        ("has(\tb )", "has(b)"),
        ("!!! has(a)", "!has(a)"),
        ("! !has(a)", "has(a)"),
        ("! (has( b)|| ! has(a ))", "!(has(b) || !has(a))"),
        ("a startswith '\"'", "a starts with '\"'"),
        ("a starts\twith'it'", r#"a starts with "it""#),
        ("a endswith \"it's\"", "a ends with \"it's\""),
        ("a ends  with ''", r#"a ends with """#),
        ("a contains'\n'", "a contains \"\n\""),
        ("a == 'x' || b == 'y' && c == 'z'", r#"(a == "x" || (b == "y" && c == "z"))"#),
        ("(has(a) && has(b)) && has(c)", "((has(a) && has(b)) && has(c))"),
        ("((has(a)) && (has(b) && has(c)))", "(has(a) && (has(b) && has(c)))"),
        ("!a == 'b'", r#"!a == "b""#),
        ("!(!(!(has(a))))", "!!!has(a)"),
        ("all == 'x'", r#"all == "x""#),
        ("has == 'x'", r#"has == "x""#),
        ("in in {'x'}", r#"in in {"x"}"#),
        ("not not in {'x'}", r#"not not in {"x"}"#),
        ("contains contains 'contains'", r#"contains contains "contains""#),
        ("xall == 'x'", r#"xall == "x""#),
        ("9-x == '1'", r#"9-x == "1""#),
        ("projectcalico.org/namespace in {'a'}", r#"projectcalico.org/namespace in {"a"}"#),
    ] {
        assert_eq!(parse(text).canonical(), canonical, "{text:?}");
    }
}

#[test]
fn ids_of_canonical_texts() {
    for (text, id) in [
        ("", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
        ("!all()", "s:Z9zLaL1EHxF9kgXz1JwBD_e-AJbeJyFDpG-oKw"),
        ("a == 'b'", "s:flMh0m0X_BowkAK_W3j3MgH8oQOsj3WxGDoXCQ"),
        ("b == 'b'", "s:8Fb8HeM2GAxsfgNYVjbNrgSZ2H4cZJI8ODNBVg"),
        ("has(a)", "s:JpRGrxZ4kdS6g7WoF-uG_g7qlh2ipw2zGYBMpQ"),
        ("!has(a)", "s:o54_r2fLf2o-LJfoAaKVj8JvPRHKmJA2mXVR7g"),
        ("a in {'d','a','b'}", "s:47Z8J8dfSg-rF2l7gb0UoCWC8HcdwnHgIX8-wA"),
        ("!(has(b) || !has(a))", "s:Iss0uCleLYv1GSv_pNm7hAO58kE9jAx1NKyG3Q"),
        ("all() && !foo == 'bar'", "s:EeWw3YaQcA00fIPOgHiOeeTIYsqHTNsDBYLdDw"),
        ("projectcalico.org/namespace == 'default'", "s:4g010_DunYvItGg3dv2MxnaJYxWEVRwn0exiaA"),
    ] {
        assert_eq!(parse(text).id(), id, "{text:?}");
    }
}

#[test]
fn equal_when_the_canonical_texts_are() {
    assert_eq!(parse("a in {'x','y'}"), parse("( a in{\"y\" , \"x\",} )"));
    assert_ne!(parse("has(a) && has(b) && has(c)"), parse("(has(a) && has(b)) && has(c)"));
}

#[test]
fn matching() {
    let b: Labels<'_> = &[("a", "b")];
    let c: Labels<'_> = &[("a", "c")];
    let empty: Labels<'_> = &[("a", "")];
    for (text, selected, left_out) in [
        ("", &[NONE, b] as &[Labels<'_>], &[] as &[Labels<'_>]),
        ("global()", &[NONE, b], &[]),
        ("a == 'b'", &[b], &[NONE, c, empty]),
        ("a == 'B'", &[], &[b]),
        ("a != 'b'", &[NONE, c, empty], &[b]),
        ("!a == 'b'", &[NONE, c, empty], &[b]),
        ("a in {'b', ''}", &[b, empty], &[NONE, c]),
        ("a in {}", &[], &[NONE, b, empty]),
        ("a not in {'b'}", &[NONE, c, empty], &[b]),
        ("a not in {}", &[NONE, b, empty], &[]),
        ("has(a)", &[b, empty], &[NONE]),
        ("a contains ''", &[b, empty], &[NONE]),
        ("a starts with ''", &[b, empty], &[NONE]),
        ("a ends with 'b'", &[b, &[("a", "bb")]], &[NONE, c, &[("a", "ba")]]),
        ("a starts with 'b'", &[b, &[("a", "ba")]], &[c, &[("a", "ab")]]),
        ("a contains 'b'", &[b, &[("a", "xbx")]], &[c]),
        ("has(a) && has(x) || has(y)", &[&[("y", "")]], &[b, &[("x", "")]]),
        ("has(a) && (has(x) || has(y))", &[&[("a", ""), ("y", "")]], &[b]),
    ] {
        let selector = parse(text);
        for labels in selected {
            assert!(selector.matches(*labels), "{text:?} on {labels:?}");
        }
        for labels in left_out {
            assert!(!selector.matches(*labels), "{text:?} on {labels:?}");
        }
    }
}

#[test]
fn errors_name_the_column() {
    const OPERAND: &str = r#"expected a label, "!", "(", has(…), all() or global(), found"#;
    for (text, column, message) in [
        ("a", 2, "expected an operator, found the end"),
        ("a ", 3, "expected an operator, found the end"),
        ("a b == 'x'", 3, "expected an operator, found the label b"),
        ("b == b", 6, "expected a string in quotes, found the label b"),
        ("a = \"b\"", 3, "a single '=', write \"==\""),
        ("a == 'x' & b == 'y'", 10, "a single '&', write \"&&\""),
        ("a == 'x' | b == 'y'", 10, "a single '|', write \"||\""),
        ("a in \"b\"", 6, "expected \"{\", found a string"),
        ("a in {,}", 7, "expected a string in quotes or \"}\", found \",\""),
        ("a in {'x' 'y'}", 11, "expected \",\" or \"}\", found a string"),
        ("a in {'x'", 10, "expected \",\" or \"}\", found the end"),
        ("a not 'b'", 3, "expected an operator, found the label not"),
        ("a Contains 'b'", 3, "expected an operator, found the label Contains"),
        ("a notIn {}", 3, "expected an operator, found the label notIn"),
        ("has()", 5, "expected a label, found ')'"),
        ("has(", 5, "expected a label, found the end"),
        ("has(a b)", 7, "expected \")\", found 'b'"),
        ("all(x)", 5, "expected \")\", found 'x'"),
        ("has (a)", 5, "expected an operator, found \"(\""),
        ("xall()", 5, "expected an operator, found \"(\""),
        ("()", 2, &format!("{OPERAND} \")\"")),
        ("'a' == 'b'", 1, &format!("{OPERAND} a string")),
        ("!", 2, &format!("{OPERAND} the end")),
        ("has(a) &&", 10, &format!("{OPERAND} the end")),
        ("(has(a)", 8, "expected \"&&\", \"||\" or \")\", found the end"),
        ("has(a))", 7, "expected \"&&\", \"||\" or the end, found \")\""),
        ("has(a) has(b)", 8, "expected \"&&\", \"||\" or the end, found has(b)"),
        ("%", 1, "unexpected character '%'"),
        ("has(a)\n&& has(b)", 7, "unexpected character '\\n'"),
        ("a == '日本' && ü == 'x'", 14, "unexpected character 'ü'"),
        ("a == 'b\"", 6, "a string without its closing '"),
    ] {
        let error = parse_error(text);
        assert_eq!((error.column(), &*error.message()), (column, message), "{text:?}");
        assert_eq!(error.to_string(), format!("column {column}: {message}"));
    }
}

#[test]
fn label_names_have_a_longest() {
    let longest = "x".repeat(MAX_LABEL_BYTES);
    for (before, after) in [("", " == 'v'"), ("has(", ")")] {
        parse(&format!("{before}{longest}{after}"));
        let error = parse_error(&format!("{before}{longest}x{after}"));
        assert_eq!(error.column(), before.len() + 1);
        assert!(error.message().contains("513 bytes"), "{error}");
    }
}

#[test]
fn prefixes_reach_every_label_name() {
    let text = "has(a) && !(b == 'a' || b != 'a') && c in {'a'} && c not in {'a'} || \
                (d contains 'a' && d starts with 'a' && d ends with 'a' && all() && global())";
    assert_eq!(
        parse(text).prefixed("pcns.").canonical(),
        "((has(pcns.a) && !(pcns.b == \"a\" || pcns.b != \"a\") && pcns.c in {\"a\"} && pcns.c not in {\"a\"}) || \
         (pcns.d contains \"a\" && pcns.d starts with \"a\" && pcns.d ends with \"a\" && all() && global()))"
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize, open: &str, close: &str| open.repeat(levels) + "has(a)" + &close.repeat(levels);
    for (open, close) in
        [("(", ")"), ("!(", ")"), ("(has(b) || ", ")"), ("has(b) && (", ")"), ("(has(b) || has(c) && ", ")")]
    {
        for levels in [MAX_DEPTH + 1, 100_000] {
            let error = parse_error(&nested(levels, open, close));
            assert!(error.message().contains("nested more than"), "{open}: {error}");
        }
    }
    let deepest = parse(&nested(MAX_DEPTH, "!(", ")"));
    assert!(!deepest.matches(NONE));
    let deepest = parse(&nested(MAX_DEPTH, "(has(b) || ", ")"));
    assert_eq!(parse(deepest.canonical()), deepest);
    assert!(deepest.prefixed("p.").matches(&[("p.a", "")]));
}

#[test]
fn length_is_not_bounded() {
    let long = 100_000;
    let negated = parse(&("!".repeat(long + 1) + "has(a)"));
    assert_eq!(negated.canonical(), "!has(a)");
    for between in ["&&", "||"] {
        let chain = parse(&vec!["has(a)"; long].join(between));
        assert!(chain.matches(&[("a", "")]));
        assert!(!chain.matches(NONE));
        assert_eq!(parse(chain.canonical()), chain);
    }
}
