use caracal_sys::nflog::Key as Ends;

use super::*;

fn tuple(port: u16) -> Tuple {
    let addr = |text: &str| text.parse().expect("an address");
    let key = Ends::Ports { source: port, destination: 80 };
    Tuple { source: addr("10.0.0.1"), destination: addr("10.0.0.2"), protocol: 6, key }
}

/// An aggregator with a clock that the test sets.
struct Timed {
    aggregator: Aggregator,
    start: Instant,
}

impl Timed {
    fn new() -> Self {
        Self { aggregator: Aggregator::default(), start: Instant::now() }
    }

    fn note(&mut self, millis: u64, port: u16, prefix: &str) {
        let after = Duration::from_millis(millis);
        let logged = Logged { prefix: prefix.into(), tuple: tuple(port), called: None };
        self.aggregator.note(self.start + after, after, logged);
    }

    /// Number, port, what decided and how many packets of what is taken.
    fn take(&mut self, millis: u64, most: usize) -> Vec<(u64, u16, String, u64)> {
        let records = self.aggregator.take(self.start + Duration::from_millis(millis), most);
        let of = |record: Record| {
            let Ends::Ports { source, .. } = record.tuple.key else { panic!("ports") };
            (record.number, source, record.prefix.to_string(), record.packets)
        };
        records.into_iter().map(of).collect()
    }
}

fn record(number: u64, port: u16, prefix: &str, packets: u64) -> (u64, u16, String, u64) {
    (number, port, prefix.to_owned(), packets)
}

#[test]
fn a_flow_is_told_when_it_is_new_and_again_if_it_has_grown() {
    let mut flows = Timed::new();
    flows.note(0, 1, "DPI|default");
    flows.note(10, 2, "API0|np/a/b");
    assert_eq!(flows.take(20, 9), [record(0, 1, "DPI|default", 1), record(1, 2, "API0|np/a/b", 1)]);
    flows.note(1_000, 1, "DPI|default");
    flows.note(3_000, 1, "DPI|default");
    assert_eq!(flows.take(14_999, 9), []);
    assert_eq!(flows.take(15_010, 9), [record(0, 1, "DPI|default", 3)], "the other one is as it was told");
    flows.note(15_020, 1, "DPI|default");
    assert_eq!(flows.take(15_030, 9), [record(2, 1, "DPI|default", 1)], "after its time it is another one");
    assert_eq!(flows.aggregator.counts(), Counts { created: 3, finished: 2, dropped: 0 });
}

#[test]
fn what_decides_otherwise_makes_another_record() {
    let mut flows = Timed::new();
    flows.note(0, 1, "DPI|default");
    flows.note(5, 1, "API3|np/a/b");
    assert_eq!(flows.take(10, 9), [record(0, 1, "DPI|default", 1), record(1, 1, "API3|np/a/b", 1)]);
}

#[test]
fn what_a_packet_passed_belongs_to_its_verdict() {
    let mut flows = Timed::new();
    flows.note(0, 1, "PPI0|gnp/admin");
    flows.note(0, 2, "PPI|other");
    flows.note(0, 1, "PPI|second");
    flows.note(0, 1, "DRI");
    flows.note(1, 1, "DRI");
    let records = flows.aggregator.take(flows.start, 9);
    let told: Vec<_> =
        records.iter().map(|record| (record.prefix.as_str(), record.packets, &record.passed[..])).collect();
    assert_eq!(told, [("DRI", 2, &["PPI0|gnp/admin".into(), "PPI|second".into()][..])]);
}

#[test]
fn everything_is_bounded_and_what_is_dropped_is_counted() {
    let mut flows = Timed::new();
    let ports = u16::try_from(MOST_OPEN + MOST_WAITING + 10).expect("there are as many ports");
    for port in 0..ports {
        flows.note(0, port, "DRI");
        flows.note(0, port, "PPI|passes-only");
    }
    assert_eq!((flows.aggregator.open.len(), flows.aggregator.waiting.len()), (MOST_OPEN, MOST_WAITING));
    assert!(flows.aggregator.passing.len() <= MOST_PASSING);
    assert_eq!(flows.aggregator.counts(), Counts { created: u64::from(ports), finished: 8202, dropped: 10 });
    let mut taken = Vec::new();
    loop {
        let batch = flows.take(1, 1000);
        assert!(batch.len() <= 1000);
        if batch.is_empty() {
            break;
        }
        taken.extend(batch.into_iter().map(|(number, ..)| number));
    }
    assert_eq!(taken, (0..u64::from(ports)).filter(|number| !(8192..8202).contains(number)).collect::<Vec<_>>());
}

#[test]
fn a_tuple_that_passes_forever_is_kept_short() {
    let mut flows = Timed::new();
    for _ in 0..100 {
        flows.note(0, 1, "PPI|tier");
    }
    flows.note(0, 1, "DRI");
    assert_eq!(flows.aggregator.take(flows.start, 1)[0].passed.len(), MOST_PASSED);
}
