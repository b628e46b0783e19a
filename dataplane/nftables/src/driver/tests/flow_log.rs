//! Rules that tell of the flows that they decide about.

use super::*;
use crate::settings::FlowLogs;

/// The driver's settings with or without flow records.
fn settings(flow_logs: FlowLogs) -> Settings {
    let mut settings = Settings::default();
    settings.ownership = Ownership::Shared;
    settings.flow_logs = flow_logs;
    settings
}

#[test]
fn telling_begins_and_ends_while_the_driver_runs() {
    let mut world = small();
    let (silent, telling, silent_again) = in_namespace(|| {
        let mut driver = driver();
        apply(&mut driver, &mut world);
        let silent = listing();
        driver.set_settings(settings(FlowLogs::On));
        let receipt = driver.apply(&world.store, &[]).expect("the kernel takes it");
        assert_eq!(receipt.transactions, 1);
        assert_eq!(driver.look_at_everything(), None);
        let telling = listing();
        // What the kernel lists is what is wanted: nothing is left to do.
        let again = driver_with(|chosen| *chosen = settings(FlowLogs::On)).resync(&world.store, Sweep::Remove);
        assert_eq!(again.expect("the kernel answers").messages, 0);
        driver.set_settings(settings(FlowLogs::Off));
        driver.apply(&world.store, &[]).expect("the kernel takes it");
        (silent, telling, listing())
    });
    assert_eq!(telling, loaded_by(&world, &settings(FlowLogs::On)));
    assert_eq!(silent, silent_again);
    assert!(
        !silent.contains("group") && telling.contains(r#"log prefix "API0|np/default/web" group 1 snaplen 80 accept"#)
    );
}

#[test]
fn a_rule_that_was_made_silent_by_somebody_else_tells_again() {
    let world = small();
    in_namespace(|| {
        let mut driver = driver_with(|chosen| *chosen = settings(FlowLogs::On));
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        let telling = listing();
        let chain = "inet caracal policy-ingress/NetworkPolicy/default/web";
        nft(&["flush", "chain", "inet", "caracal", "policy-ingress/NetworkPolicy/default/web"], "")
            .expect("the chain is there");
        nft(&["-f", "-"], &format!("add rule {chain} tcp dport 80 ip saddr @aclients counter accept\n"))
            .expect("a rule");
        poll_until_healed(&mut driver, &world, "a rule without its statement");
        assert_eq!(listing(), telling);
    });
}
