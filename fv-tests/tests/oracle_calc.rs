//! The calculation graph's state against Calico Felix's, on the same manifests.

use caracal_fv_tests::oracle::calc::Scenario;
use caracal_fv_tests::oracle::data;

fn check(choose: impl Fn(&Scenario) -> bool, run: impl Fn(&Scenario) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let scenarios = Scenario::read_all(&data("calc"))?;
    let chosen: Vec<_> = scenarios.iter().filter(|scenario| choose(scenario)).collect();
    assert!(chosen.len() >= 10, "{} scenarios", chosen.len());
    let failed: Vec<_> = chosen
        .iter()
        .filter_map(|scenario| run(scenario).err().map(|error| format!("{}: {error:#}", scenario.name)))
        .collect();
    assert!(failed.is_empty(), "{} of {} scenarios differ:\n{}", failed.len(), chosen.len(), failed.join("\n"));
    Ok(())
}

#[test]
fn every_state_from_scratch() -> anyhow::Result<()> {
    check(|_| true, Scenario::check_fresh)
}

#[test]
fn every_step_followed() -> anyhow::Result<()> {
    check(Scenario::is_multi, Scenario::check_followed)
}
