//! The calculation graph's state against Calico Felix's, on the same manifests.

use caracal_fv_tests::oracle::calc::Scenario;
use caracal_fv_tests::oracle::data;

/// Runs those that are chosen, which are so many with so many steps: none is left out unnoticed.
fn check(
    (count, steps): (usize, usize),
    choose: impl Fn(&Scenario) -> bool,
    run: impl Fn(&Scenario) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let scenarios = Scenario::read_all(&data("calc"))?;
    let chosen: Vec<_> = scenarios.iter().filter(|scenario| choose(scenario)).collect();
    assert_eq!((chosen.len(), chosen.iter().map(|scenario| scenario.steps()).sum()), (count, steps));
    let failed: Vec<_> = chosen
        .iter()
        .filter_map(|scenario| run(scenario).err().map(|error| format!("{}: {error:#}", scenario.name)))
        .collect();
    assert!(failed.is_empty(), "{} of {} scenarios differ:\n{}", failed.len(), chosen.len(), failed.join("\n"));
    Ok(())
}

#[test]
fn every_state_from_scratch() -> anyhow::Result<()> {
    check((66, 118), |_| true, Scenario::check_fresh)
}

#[test]
fn every_step_followed() -> anyhow::Result<()> {
    check((14, 66), Scenario::is_multi, Scenario::check_followed)
}
