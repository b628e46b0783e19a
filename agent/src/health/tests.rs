use super::*;

fn health() -> Health {
    let health = Health::default();
    health.register(GRAPH, Some(SILENCE));
    health.register(STARTUP, None);
    health
}

/// Status codes of liveness and readiness.
fn probe(health: &Health) -> [u16; 2] {
    [Quality::Liveness, Quality::Readiness].map(|quality| answer(health, quality).status)
}

#[test]
fn probes_answer_as_felix_does() {
    let health = health();
    assert_eq!(probe(&health), [204, 503], "registered: live, not ready");
    health.report(GRAPH, Ready::Yes, "");
    assert_eq!(probe(&health), [204, 503], "one is not ready");
    health.report(STARTUP, Ready::Yes, "");
    assert_eq!(probe(&health), [204, 204]);
    health.report(GRAPH, Ready::Yes, "degraded: something");
    assert_eq!(probe(&health), [200, 200]);
    let body = answer(&health, Quality::Readiness).body;
    let lines: Vec<&str> = body.lines().filter(|line| line.starts_with('|')).collect();
    let cells =
        |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect();
    let rows: Vec<Vec<String>> = lines.into_iter().map(cells).collect();
    assert_eq!(rows[0], ["COMPONENT", "TIMEOUT", "LIVENESS", "READINESS", "DETAIL"]);
    assert_eq!(rows[1], [GRAPH, "30s", "reporting live", "reporting ready", "degraded: something"]);
    assert_eq!(rows[2], [STARTUP, "-", "reporting live", "reporting ready"]);
}

#[test]
fn a_part_that_is_silent_for_too_long_is_neither_live_nor_ready() {
    let health = health();
    health.report(GRAPH, Ready::Yes, "");
    let states = |after: Duration| -> Vec<(&str, bool, bool)> {
        let components = health.components_at(Instant::now() + after);
        components.iter().map(|part| (part.name, part.is_live(), part.is_ready())).collect()
    };
    assert_eq!(states(SILENCE - Duration::from_secs(1)), [(GRAPH, true, true), (STARTUP, true, false)]);
    let late = SILENCE + Duration::from_secs(1);
    assert_eq!(states(late), [(GRAPH, false, false), (STARTUP, true, false)]);
    health.set_overrides(BTreeMap::from([(GRAPH.to_owned(), SILENCE * 2)]));
    assert_eq!(states(late)[0], (GRAPH, true, true));
    health.set_overrides(BTreeMap::from([(GRAPH.to_owned(), Duration::ZERO)]));
    assert_eq!(states(late * 100)[0], (GRAPH, true, true), "zero is for ever");
    health.set_overrides(BTreeMap::new());
    health.away(GRAPH, "not connected");
    assert_eq!(states(late)[0], (GRAPH, true, false));
    health.report(GRAPH, Ready::Yes, "");
    assert_eq!(states(late)[0], (GRAPH, false, false), "its silence counts again");
}
