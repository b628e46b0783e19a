//! Random selectors in random spellings, against an evaluator that knows only
//! the meaning of the operators.

use std::collections::BTreeMap;

use caracal_selector::Selector;
use proptest::prelude::*;

const LABELS: [&str; 8] = ["a", "b", "in", "not", "has", "all", "starts", "x.y/z-1_2"];
const VALUES: [&str; 8] = ["", "b", "bb", "ab", "it's", "say \"hi\"", "} && (", "日本"];

/// What a selector says, apart from how.
#[derive(Clone, Debug)]
enum Meaning {
    Everything,
    Present(&'static str),
    /// The label's value passes the test with the given value.
    Value(&'static str, Test, &'static str),
    Listed(&'static str, Vec<&'static str>),
    NotListed(&'static str, Vec<&'static str>),
    Negation(Box<Meaning>),
    Every(Vec<Meaning>),
    Some(Vec<Meaning>),
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Equal,
    Unequal,
    Contains,
    Starts,
    Ends,
}

impl Meaning {
    fn holds(&self, labels: &BTreeMap<&str, &str>) -> bool {
        match self {
            Meaning::Everything => true,
            Meaning::Present(label) => labels.contains_key(label),
            Meaning::Value(label, test, wanted) => match (labels.get(label), test) {
                (None, Test::Unequal) => true,
                (None, _) => false,
                (Some(value), Test::Equal) => value == wanted,
                (Some(value), Test::Unequal) => value != wanted,
                (Some(value), Test::Contains) => value.split(wanted).count() > 1,
                (Some(value), Test::Starts) => {
                    value.bytes().zip(wanted.bytes()).filter(|(v, w)| v == w).count() == wanted.len()
                }
                (Some(value), Test::Ends) => {
                    let pairs = value.bytes().rev().zip(wanted.bytes().rev());
                    pairs.filter(|(v, w)| v == w).count() == wanted.len()
                }
            },
            Meaning::Listed(label, values) => labels.get(label).is_some_and(|v| values.contains(v)),
            Meaning::NotListed(label, values) => labels.get(label).is_none_or(|v| !values.contains(v)),
            Meaning::Negation(operand) => !operand.holds(labels),
            Meaning::Every(operands) => operands.iter().filter(|o| !o.holds(labels)).count() == 0,
            Meaning::Some(operands) => operands.iter().filter(|o| o.holds(labels)).count() > 0,
        }
    }

    fn negates_a_negation(&self) -> bool {
        match self {
            Meaning::Negation(operand) => matches!(**operand, Meaning::Negation(_)) || operand.negates_a_negation(),
            Meaning::Every(operands) | Meaning::Some(operands) => operands.iter().any(Meaning::negates_a_negation),
            _ => false,
        }
    }
}

/// Writes a meaning in one of its spellings; the tape decides which.
struct Writer<'t> {
    out: String,
    tape: std::iter::Cycle<std::slice::Iter<'t, u8>>,
}

impl Writer<'_> {
    fn spell(meaning: &Meaning, tape: &[u8]) -> String {
        let mut writer = Writer { out: String::new(), tape: tape.iter().cycle() };
        writer.blank();
        writer.write(meaning);
        writer.blank();
        writer.out
    }

    fn choose<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let byte = *self.tape.next().expect("a tape is not empty");
        choices[usize::from(byte) % choices.len()]
    }

    fn one_of(&mut self, choices: &[&str]) {
        let chosen = self.choose(choices);
        self.out.push_str(chosen);
    }

    fn blank(&mut self) {
        self.one_of(&["", "", " ", "\t", " \t "]);
    }

    fn gap(&mut self) {
        self.one_of(&[" ", "\t", "  "]);
    }

    fn value(&mut self, value: &str) {
        let quotes: &[&str] = match (value.contains('\''), value.contains('"')) {
            (true, _) => &["\""],
            (_, true) => &["'"],
            _ => &["'", "\""],
        };
        let quote = self.choose(quotes);
        self.out += &format!("{quote}{value}{quote}");
    }

    fn list(&mut self, values: &[&str]) {
        self.out.push('{');
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.blank();
            self.value(value);
            self.blank();
        }
        if !values.is_empty() {
            self.one_of(&["", ", "]);
        }
        self.out.push('}');
    }

    fn write(&mut self, meaning: &Meaning) {
        self.one_of(&["", "", "", "!!", "! \t!"]);
        if self.choose(&["bare", "bare", "bare", "wrapped"]) == "wrapped" || is_chain(meaning) {
            self.out.push('(');
            self.blank();
            self.write_bare(meaning);
            self.blank();
            self.out.push(')');
        } else {
            self.write_bare(meaning);
        }
    }

    fn write_bare(&mut self, meaning: &Meaning) {
        match meaning {
            Meaning::Everything => self.one_of(&["all()", "all( )"]),
            Meaning::Present(label) => {
                self.out.push_str("has(");
                self.blank();
                self.out.push_str(label);
                self.blank();
                self.out.push(')');
            }
            Meaning::Value(label, test, value) => {
                self.out.push_str(label);
                self.gap();
                match test {
                    Test::Equal => self.one_of(&["=="]),
                    Test::Unequal => self.one_of(&["!="]),
                    Test::Contains => self.one_of(&["contains"]),
                    Test::Starts => self.one_of(&["starts with", "startswith", "starts \twith"]),
                    Test::Ends => self.one_of(&["ends with", "endswith", "ends\twith"]),
                }
                self.blank();
                self.value(value);
            }
            Meaning::Listed(label, values) => {
                self.out.push_str(label);
                self.gap();
                self.out.push_str("in");
                self.blank();
                self.list(values);
            }
            Meaning::NotListed(label, values) => {
                self.out.push_str(label);
                self.gap();
                self.one_of(&["not in", "notin", "not \tin"]);
                self.blank();
                self.list(values);
            }
            Meaning::Negation(operand) => {
                self.out.push('!');
                // Without the parenthesis the two negations would be no node at all.
                if matches!(**operand, Meaning::Negation(_)) {
                    self.out.push('(');
                    self.write(operand);
                    self.out.push(')');
                } else {
                    self.write(operand);
                }
            }
            Meaning::Every(operands) => self.chain(operands, "&&"),
            Meaning::Some(operands) => self.chain(operands, "||"),
        }
    }

    fn chain(&mut self, operands: &[Meaning], between: &str) {
        for (i, operand) in operands.iter().enumerate() {
            if i > 0 {
                self.blank();
                self.out.push_str(between);
                self.blank();
            }
            self.write(operand);
        }
    }
}

fn is_chain(meaning: &Meaning) -> bool {
    matches!(meaning, Meaning::Every(_) | Meaning::Some(_))
}

fn meanings() -> impl Strategy<Value = Meaning> {
    let label = || prop::sample::select(&LABELS[..]);
    let value = || prop::sample::select(&VALUES[..]);
    let values = || prop::collection::vec(value(), 0..4);
    let test = prop::sample::select(vec![Test::Equal, Test::Unequal, Test::Contains, Test::Starts, Test::Ends]);
    let leaf = prop_oneof![
        1 => Just(Meaning::Everything),
        2 => label().prop_map(Meaning::Present),
        6 => (label(), test, value()).prop_map(|(l, t, v)| Meaning::Value(l, t, v)),
        2 => (label(), values()).prop_map(|(l, v)| Meaning::Listed(l, v)),
        2 => (label(), values()).prop_map(|(l, v)| Meaning::NotListed(l, v)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|m| Meaning::Negation(Box::new(m))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Meaning::Every),
            prop::collection::vec(inner, 2..4).prop_map(Meaning::Some),
        ]
    })
}

fn labels() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    prop::collection::btree_map(prop::sample::select(&LABELS[..]), prop::sample::select(&VALUES[..]), 0..6)
}

fn tapes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..50)
}

fn parse(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_spelling_means_the_same(
        meaning in meanings(),
        tapes in (tapes(), tapes()),
        labels in prop::collection::vec(labels(), 1..5),
    ) {
        let selector = parse(&Writer::spell(&meaning, &tapes.0));
        prop_assert_eq!(&parse(&Writer::spell(&meaning, &tapes.1)), &selector);
        for labels in &labels {
            prop_assert_eq!(selector.matches(labels), meaning.holds(labels), "{} on {:?}", selector, labels);
        }
        let reparsed = parse(selector.canonical());
        for labels in &labels {
            prop_assert_eq!(reparsed.matches(labels), selector.matches(labels));
        }
        if !meaning.negates_a_negation() {
            prop_assert_eq!(reparsed.canonical(), selector.canonical());
        }
    }

    #[test]
    fn a_prefix_moves_the_labels(meaning in meanings(), tape in tapes(), labels in labels()) {
        let selector = parse(&Writer::spell(&meaning, &tape));
        let moved: BTreeMap<String, &str> = labels.iter().map(|(k, v)| (format!("pcns.{k}"), *v)).collect();
        prop_assert_eq!(selector.prefixed("pcns.").matches(&moved), selector.matches(&labels));
    }

    #[test]
    fn any_text_is_taken_or_refused(text in r#"([a-c!&|=(){},'" \t]|has\(|all\(| in | not in |\PC){0,30}"#) {
        caracal_selector::fuzz::fuzz_one(text.as_bytes());
    }
}
