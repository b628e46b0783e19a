//! Tables of files and what is read of them.

use std::fmt::Write;

use serde_json::{Value, json};

use super::*;

fn read(text: impl AsRef<[u8]>) -> Vec<Result<Document, Refusal>> {
    read_documents(Path::new("f.yaml"), text)
}

/// Each document of a file in one line: `INDEX:LINE VALUE`, or the refusal.
fn digest(text: impl AsRef<[u8]>) -> Vec<String> {
    read(text)
        .into_iter()
        .map(|document| match document {
            Ok(document) => format!("{}:{} {}", document.index, document.line, document.value),
            Err(refusal) => format!("{}:{} refused: {}", refusal.index, refusal.line, refusal.reason),
        })
        .collect()
}

#[track_caller]
fn check(text: impl AsRef<[u8]>, documents: &[&str]) {
    let text = text.as_ref();
    assert_eq!(digest(text), documents, "{}", String::from_utf8_lossy(text));
}

/// The value of the one document of a file.
#[track_caller]
fn value(text: &str) -> Value {
    match read(text).as_slice() {
        [Ok(document)] => document.value.clone(),
        other => panic!("{text:?} was read as {other:?}"),
    }
}

/// The reason why the one document of a file is refused.
#[track_caller]
fn fault(text: impl AsRef<[u8]>) -> String {
    match read(text).as_slice() {
        [Err(refusal)] => refusal.reason.clone(),
        other => panic!("it was read as {other:?}"),
    }
}

#[test]
fn files_are_split_before_they_are_read() {
    check("", &[]);
    check("\n\n", &[]);
    check("# nothing\n---\n---\n# nothing\n...\n", &[]);
    check("a: 1", &[r#"0:1 {"a":1}"#]);
    check("---\na: 1\n---\nb: 2\n", &[r#"0:2 {"a":1}"#, r#"1:4 {"b":2}"#]);
    check("# one\n\na: 1\n---   \n\n# two\nb: 2\n", &[r#"0:3 {"a":1}"#, r#"1:7 {"b":2}"#]);
    check("a: 1\n---\n---\nb: 2\n---\n", &[r#"0:1 {"a":1}"#, r#"1:4 {"b":2}"#]);
    check("--- # one\na: 1\n--- {b: 2}\n", &[r#"0:2 {"a":1}"#, r#"1:3 {"b":2}"#]);
    check("%YAML 1.2\n---\na: 1\n...\n---\nb: 2\n", &[r#"0:3 {"a":1}"#, r#"1:6 {"b":2}"#]);
    check("a: 1\r\n---\r\nb: 2\r\n", &[r#"0:1 {"a":1}"#, r#"1:3 {"b":2}"#]);
    check("\u{feff}a: 1\n", &[r#"0:1 {"a":1}"#]);
    check("{\n\t\"a\": [\n\t\t1\n\t]\n}\n", &[r#"0:1 {"a":[1]}"#]);
    check("a: |\n  ---\n  b: 2\nc: 3\n", &[r#"0:1 {"a":"---\nb: 2\n","c":3}"#]);
    check("a: ---x\n", &[r#"0:1 {"a":"---x"}"#]);
}

#[test]
fn json_objects_may_follow_each_other() {
    check("{\"a\": 1}\n{\"b\": 2}\n", &[r#"0:1 {"a":1}"#, r#"0:2 {"b":2}"#]);
    check("\n{\n \"a\": 1\n}{\"b\": 2.0} {\"b\":\n1}\n\n", &[r#"0:2 {"a":1}"#, r#"0:4 {"b":2.0}"#, r#"0:4 {"b":1}"#]);
    check("{\"a\": 1}\n{\"b\": 2}\n---\nc: 3\n", &[r#"0:1 {"a":1}"#, r#"0:2 {"b":2}"#, r#"1:4 {"c":3}"#]);
    let list = r#"{"kind": "List", "items": [{"a": 1}, {"b": 2}]}"#;
    check(format!("{list}\n{list}"), &[r#"0:1 {"a":1}"#, r#"0:1 {"b":2}"#, r#"0:2 {"a":1}"#, r#"0:2 {"b":2}"#]);
    check("{\"a\": 1}\n{\"b\": 2\n", &[r#"0:1 {"a":1}"#, "0:2 refused: unclosed bracket '{'"]);
    check("{\"a\": 1}\n# a comment\n", &[r#"0:1 {"a":1}"#]);
    check("{\"a\": 1} 5", &["0:1 refused: did not find expected <document start>"]);
    let many = read("{\"a\": 1}\n".repeat(limits::MAX_OBJECTS));
    let last = many.last().and_then(|last| last.as_ref().ok()).expect("all are read");
    assert_eq!((many.len(), last.line), (limits::MAX_OBJECTS, limits::MAX_OBJECTS));
    let [Err(refusal)] = &read("{\"a\": 1}{\"metadata\":\n{\"name\": 1,\"name\": 2}}")[1..] else {
        panic!("one of two")
    };
    assert_eq!(refusal.line, 2, "{refusal}");
}

#[test]
fn a_broken_document_spoils_no_other() {
    check("a: 1\n---\nb: [\n---\nc: 3\n", &[r#"0:1 {"a":1}"#, "1:3 refused: unclosed bracket '['", r#"2:5 {"c":3}"#]);
    check(b"a: 1\n---\nb: x\nc: \xff\n---\nd: 4\n", &[r#"0:1 {"a":1}"#, "1:4 refused: not UTF-8", r#"2:6 {"d":4}"#]);
    check(b"\xff\xfea\0:\0 \x001\0", &["0:1 refused: UTF-16, not UTF-8: save it as UTF-8"]);
    check("a: 1\na: 2\n", &[r#"0:2 refused: the key "a" occurs twice"#]);
    check("a:\n  b: 1\n  c: 2\n  b: 3\n", &[r#"0:4 refused: the key "b" occurs twice"#]);
}

#[test]
fn what_is_not_yaml_is_refused() {
    for (text, reason) in [
        ("a: 1\n\tb: 2\n", "tab"),
        ("a: *b\n", "anchor"),
        ("a: &x [*x]\n", "an alias to the node that it is in"),
        ("a: &x 1\n*x : 2\n", "an alias as a key"),
        ("[a]: 1\n", "a key that is not a scalar"),
        ("? {a: 1}\n: 2\n", "a key that is not a scalar"),
        ("yes: 1\n", "the key yes is read as a boolean: quote it"),
        ("~: 1\n", "a key that is null"),
        ("a: .inf\n", ".inf is not a finite number"),
        ("a: 1e999\n", "1e999 is not a finite number"),
        ("a: !!int x\n", r#""x" is not a !!int"#),
        ("a: !secret x\n", "the tag !secret has no meaning here"),
        ("a: !!binary aGk=\n", "has no meaning here"),
        ("a: !!set {b}\n", "has no meaning here"),
        ("<<: 1\n", "a merge key << wants a mapping or a list of mappings"),
        ("a: 1\n...\nb: 2\n", "a second document without a --- line before it"),
        ("a: \"open\n", "quote"),
    ] {
        let found = fault(text);
        assert!(found.contains(reason), "{text:?} is refused because of {found:?}");
    }
}

#[test]
fn scalars_are_read_as_kubectl_reads_them() {
    for (scalar, expected) in [
        ("x", json!("x")),
        ("", json!(null)),
        ("~", json!(null)),
        ("Null", json!(null)),
        ("true", json!(true)),
        ("Yes", json!(true)),
        ("on", json!(true)),
        ("n", json!(false)),
        ("OFF", json!(false)),
        ("yEs", json!("yEs")),
        ("'yes'", json!("yes")),
        ("!!str yes", json!("yes")),
        ("0", json!(0)),
        ("-12", json!(-12)),
        ("+12", json!(12)),
        ("1_000", json!(1000)),
        ("0644", json!(420)),
        ("0o17", json!(15)),
        ("0x1F", json!(31)),
        ("0b11", json!(3)),
        ("09", json!(9.0)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("18446744073709551616", json!(18_446_744_073_709_551_616_f64)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("1.5", json!(1.5)),
        ("1.", json!(1.0)),
        (".5", json!(0.5)),
        ("12e4", json!(120_000.0)),
        ("1e+2", json!(100.0)),
        ("!!float 1", json!(1)),
        ("1.2.3", json!("1.2.3")),
        ("10.0.0.0/8", json!("10.0.0.0/8")),
        ("80:90", json!("80:90")),
        ("2026-01-02", json!("2026-01-02")),
        (".", json!(".")),
        ("+", json!("+")),
        ("0x", json!("0x")),
        ("0xg", json!("0xg")),
        ("1e", json!("1e")),
        ("e1", json!("e1")),
        ("|\n  a\n  b\n", json!("a\nb\n")),
        (">-\n  a\n  b\n", json!("a b")),
        (r#""\u00e9\ud83d\ude00""#, json!("é😀")),
    ] {
        assert_eq!(value(&format!("k: {scalar}\n"))["k"], expected, "{scalar}");
    }
}

#[test]
fn keys_keep_their_text() {
    assert_eq!(value("1: a\n0x10: b\n1.50: c\n'yes': d\n"), json!({"1": "a", "0x10": "b", "1.50": "c", "yes": "d"}));
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    assert_eq!(
        value("a: &x {b: 1, c: [2]}\nd: *x\ne: {<<: *x, b: 3}\nf: {<<: [{b: 4}, *x]}\n"),
        json!({
            "a": {"b": 1, "c": [2]},
            "d": {"b": 1, "c": [2]},
            "e": {"b": 3, "c": [2]},
            "f": {"b": 4, "c": [2]},
        })
    );
}

#[test]
fn bombs_do_not_go_off() {
    let mut aliases = "a0: &a0 [x]\n".to_owned();
    for i in 1..20 {
        let before = i - 1;
        writeln!(aliases, "a{i}: &a{i} [{}]", vec![format!("*a{before}"); 10].join(",")).expect("a string takes all");
    }
    assert_eq!(fault(aliases), "the aliases stand for more than 100000 nodes");

    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 100].join(","));
    assert_eq!(fault(long), "the anchors and aliases stand for more than 16777216 bytes");
    let anchored = format!("{}{}{}", "&a [".repeat(50), "x".repeat(1 << 20), "]".repeat(50));
    assert_eq!(fault(anchored), "the anchors and aliases stand for more than 16777216 bytes");

    let mut chain = "a0: &a0 [x]\n".to_owned();
    for i in 1..50 {
        writeln!(chain, "a{i}: &a{i} {}*a{}{}", "[".repeat(50), i - 1, "]".repeat(50)).expect("a string takes all");
    }
    assert_eq!(fault(chain), "nested more than 100 deep");

    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
        let deep = format!("{}x{}", open.repeat(5000), close.repeat(5000));
        assert_eq!(fault(deep), "nested more than 100 deep", "{open}");
    }
}

#[test]
fn what_is_too_large_is_refused_by_name() {
    let object =
        |length: usize| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\na: {}\n", "x".repeat(length));
    let whole = read(object(limits::MAX_OBJECT_BYTES - 100)).remove(0).expect("it is read");
    assert_eq!(limits::json_bytes(&whole.value), whole.value.to_string().len());
    let list = format!("kind: List\nitems:\n- {}- kind: B\n", object(limits::MAX_OBJECT_BYTES).replace('\n', "\n  "));
    for (text, left) in [(object(limits::MAX_OBJECT_BYTES), 0), (list.replace("  - kind: B", "- kind: B"), 1)] {
        let mut documents = read(text);
        let refusal = documents.remove(0).expect_err("it is too large");
        let named = refusal.object.as_ref().map(ToString::to_string);
        assert_eq!(named.as_deref(), Some("Pod default/p"));
        assert!(refusal.reason.ends_with(" bytes, 3145728 at most are read"), "{refusal}");
        assert_eq!(documents.iter().filter(|document| document.is_ok()).count(), left);
    }
}

#[test]
fn of_too_many_objects_the_first_are_read() {
    let list = "kind: List\nitems: [{}, {}, {}, {}]\n";
    for (text, read) in [("---\n- \n---\n- \n", 2), ("a: b\n---\na: b\n---\na: b\n", 3), (list, 3)] {
        let documents = read_some(Path::new("f.yaml"), text.as_bytes(), 3);
        let last = documents.last().expect("there is something");
        assert_eq!(documents.iter().filter(|document| document.is_ok()).count(), read, "{text}");
        assert_eq!(last.is_err(), text == list);
    }
    let documents = read_some(Path::new("f.yaml"), list.as_bytes(), 3);
    let refusal = documents.into_iter().find_map(Result::err).expect("the rest is refused");
    assert_eq!(refusal.to_string(), "f.yaml:1: the file has more than 3 objects: what follows is not read");
}

#[test]
fn a_large_file_is_read_whole() {
    let text = "x".repeat(3_000_000);
    assert_eq!(value(&format!("a: {text}\n"))["a"], json!(text));

    let mut many = String::new();
    for i in 0..20_000 {
        writeln!(many, "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{i}}}").expect("a string takes all");
    }
    let documents = read(many);
    assert_eq!(documents.len(), 20_000);
    let last = documents.last().and_then(|document| document.as_ref().ok()).expect("it is read");
    assert_eq!((last.index, last.line), (19_999, 79_998));
}

#[test]
fn lists_stand_for_their_items() {
    check(
        "apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n  apiVersion: v2\n---\nkind: C\n",
        &[r#"0:4 {"kind":"A"}"#, r#"0:5 {"apiVersion":"v2","kind":"B"}"#, r#"1:8 {"kind":"C"}"#],
    );
    check(
        "{apiVersion: v1, kind: PodList, items: [{metadata: {name: a}},\n {kind: Node}]}",
        &[
            r#"0:1 {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#,
            r#"0:2 {"apiVersion":"v1","kind":"Node"}"#,
        ],
    );
    check("apiVersion: v1\nkind: List\nitems:\n- kind: List\n  items:\n  - kind: A\n", &[r#"0:4 {"kind":"A"}"#]);
    check("{kind: List, items: []}", &[]);
    check("{kind: List}", &[]);
    check("{kind: DenyList, spec: {}}", &[r#"0:1 {"kind":"DenyList","spec":{}}"#]);
}

#[test]
fn stored_resources_are_brought_into_the_form_of_the_api() {
    let stored = |name: &str, metadata: &str, spec: &str| {
        value(&format!(
            "{{apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy, metadata: {{name: {name}{metadata}}}, spec: {spec}}}"
        ))
    };
    let name = |value: &Value| value["metadata"]["name"].clone();

    let plain = stored("default.a", "", "{}");
    assert_eq!(plain["apiVersion"], "projectcalico.org/v3");
    assert_eq!(name(&plain), "a");
    assert_eq!(name(&stored("default.a", "", "{tier: default}")), "a");
    assert_eq!(name(&stored("default.a", "", "{tier: apps}")), "default.a");
    assert_eq!(name(&stored("apps.a", "", "{tier: apps}")), "apps.a");

    let annotated = stored(
        "default.a",
        r#", labels: {x: gone}, annotations: {projectcalico.org/metadata: '{"name":"mine","labels":{"l":"v"},"uid":"u"}'}"#,
        "{}",
    );
    assert_eq!(annotated["metadata"], json!({"name": "mine", "labels": {"l": "v"}}));

    for (kind, expected) in [
        ("StagedNetworkPolicy", "a"),
        ("StagedGlobalNetworkPolicy", "a"),
        ("StagedKubernetesNetworkPolicy", "default.a"),
    ] {
        let staged = format!("{{apiVersion: crd.projectcalico.org/v1, kind: {kind}, metadata: {{name: default.a}}}}");
        assert_eq!(name(&value(&staged)), expected, "{kind}");
    }

    let set = value("{apiVersion: crd.projectcalico.org/v1, kind: NetworkSet, metadata: {name: default.a}}");
    assert_eq!(name(&set), "default.a");

    let broken = "{apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy,\n metadata: {name: a, annotations: {projectcalico.org/metadata: '{'}}}";
    let refusals = read(broken);
    let refusal = refusals[0].as_ref().expect_err("the annotation is not JSON");
    assert_eq!((refusal.layer, refusal.line), (Layer::Decode, 2));
    assert_eq!(refusal.field, "metadata.annotations.projectcalico.org/metadata");
}

#[test]
fn a_broken_document_still_names_its_object() {
    let head = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: web}\n";
    for (text, object) in [
        (format!("{head}spec: [\n"), "Pod web/p"),
        (format!("spec: {{}}\nspec: {{}}\n{head}"), "Pod web/p"),
        ("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels:\n    a: \"\n".to_owned(), "Pod default/p"),
        (
            "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkPolicy\nmetadata: {name: default.g}\nspec: *a\n"
                .to_owned(),
            "GlobalNetworkPolicy g",
        ),
    ] {
        let documents = read(&text);
        let refusal = documents[0].as_ref().expect_err("it is broken");
        assert_eq!(refusal.layer, Layer::Yaml);
        assert_eq!(refusal.object.as_ref().map(ToString::to_string).as_deref(), Some(object), "{text}");
    }
}

#[test]
fn a_field_is_found_again() {
    let text = "\
# comment
kind: X
spec:
  a: 1
  b:
  - c: &c {d: 1}
  -
    c:
      d: 2
  e: {f: 1,
    g: 2}
  h: *c
";
    for (path, line) in [
        (FieldPath::default(), 2),
        ("kind".into(), 2),
        ("spec".into(), 3),
        ("spec.a".into(), 4),
        (FieldPath::from("spec.b").item(0), 6),
        (FieldPath::from("spec.b").item(0).field("c").field("d"), 6),
        (FieldPath::from("spec.b").item(1), 8),
        (FieldPath::from("spec.b").item(1).field("c").field("d"), 9),
        ("spec.e.g".into(), 11),
        ("spec.h.d".into(), 12),
        ("spec.missing.d".into(), 3),
        ("spec.a.d".into(), 4),
        (FieldPath::from("spec.b").item(7), 5),
        ("missing".into(), 2),
    ] {
        assert_eq!(locate::line_of(text, &path), Some(line), "{path}");
    }
}

#[test]
fn a_refusal_says_where_and_what() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: p\n  spec:\n    nodeName: 7\n";
    let documents = read(format!("---\na: 1\n---\n{text}"));
    let pod = documents[1].as_ref().expect("it is read");
    assert_eq!(pod.line, 7);
    let refusal = pod.refuse(Layer::Decode, &"spec.nodeName".into(), "text is expected");
    assert_eq!(refusal.to_string(), "f.yaml:12: Pod default/p: spec.nodeName: text is expected");
    let refusal = pod.refuse(Layer::K8s, &FieldPath::default(), "no");
    assert_eq!(refusal.to_string(), "f.yaml:7: Pod default/p: no");
    let nameless = documents[0].as_ref().expect("it is read").refuse(Layer::Decode, &"kind".into(), "is missing");
    assert_eq!(nameless.to_string(), "f.yaml:2: kind: is missing");
}

/// Of a list of many faults the first are found to the line, at a cost that does not
/// grow with their number.
#[test]
fn a_list_is_not_looked_through_for_each_of_its_faults() {
    const ITEMS: usize = 20_000;
    let item = "{\n\"kind\": 1}";
    let text = format!("{{\"kind\": \"List\", \"apiVersion\": \"v1\", \"items\": [\n{}]}}", [item; ITEMS].join(",\n"));
    let documents: Vec<Document> = read(&text).into_iter().map(|read| read.expect("an object")).collect();
    assert_eq!(documents.len(), ITEMS);
    let kind = FieldPath::from("kind");
    let lines: Vec<usize> = documents.iter().map(|document| document.line_of(&kind)).collect();
    let want = (0..ITEMS).map(|at| 2 + 2 * at + usize::from(at < limits::MAX_SEARCHES));
    assert_eq!(lines, want.collect::<Vec<_>>());
}
