use caracal_program::PolicyStore;
use caracal_proto::felix;
use proptest::prelude::*;

use super::*;
use crate::fakes::{FakeHost, World, endpoint, no_endpoint};

/// Endpoints, and the networking that follows them.
struct Rig {
    store: PolicyStore,
    workloads: Workloads,
    interfaces: Interfaces,
    world: World,
    now: Instant,
}

const INTERFACES: [&str; 3] = ["cali1", "cali2", "cali3"];

impl Rig {
    fn new() -> Self {
        let settings = Settings::default();
        Self {
            store: PolicyStore::new(),
            workloads: Workloads::new(&settings),
            interfaces: Interfaces::default(),
            world: World::default(),
            now: Instant::now(),
        }
    }

    /// One revision; the addresses whose connections are to be forgotten.
    fn revise(&mut self, messages: &[felix::ToDataplane]) -> Vec<String> {
        for message in messages {
            self.store.apply(message).expect("an understood message");
        }
        let names = INTERFACES.map(SmolStr::from);
        let active = names.iter().map(|name| (name, self.store.active_on(name).map(AsRef::as_ref)));
        let departed = self.workloads.want(active);
        names.iter().for_each(|name| self.settle(name));
        departed.iter().map(ToString::to_string).collect()
    }

    fn settle(&mut self, interface: &SmolStr) {
        let state = self.interfaces.state(interface);
        self.workloads.settle(self.now, interface, state, &mut FakeHost(self.world.clone()));
    }

    fn link(&mut self, interface: &str, state: LinkState) {
        let interface = SmolStr::from(interface);
        let before = self.interfaces.state(&interface);
        if let (LinkState::Up(index), true) = (before, before != state) {
            self.world.lose_routes(|route| route.interface == index);
        }
        self.interfaces.observe(&interface, state);
        self.settle(&interface);
    }

    fn audit(&mut self) {
        let missing = self.workloads.audit(self.now, &self.interfaces, &mut FakeHost(self.world.clone()));
        for interface in missing.expect("routes can be listed") {
            self.settle(&interface);
        }
    }
}

#[test]
fn connections_are_forgotten_when_an_address_changes_hands() {
    let a = |addrs: &[&str]| endpoint("a", "cali1", addrs);
    let b = |addrs: &[&str]| endpoint("b", "cali2", addrs);
    let (x, y) = ("10.0.0.1", "10.0.0.2");
    let cases = [
        ("new", vec![], vec![a(&[x])], vec![]),
        ("gone", vec![a(&[x])], vec![no_endpoint("a")], vec![x]),
        ("another address", vec![a(&[x])], vec![a(&[y])], vec![x]),
        ("one address more", vec![a(&[x])], vec![a(&[x, y])], vec![]),
        ("the same", vec![a(&[x])], vec![a(&[x])], vec![]),
        ("another owner", vec![a(&[x])], vec![no_endpoint("a"), b(&[x])], vec![x]),
        ("a second owner", vec![a(&[x])], vec![b(&[x])], vec![x]),
        ("the first of two owners gone", vec![a(&[x]), b(&[x])], vec![no_endpoint("a")], vec![]),
        ("another endpoint on the interface", vec![endpoint("b", "cali1", &[x])], vec![a(&[x])], vec![x]),
        ("swapped", vec![a(&[x]), b(&[y])], vec![a(&[y]), b(&[x])], vec![x, y]),
    ];
    for (case, before, after, forgotten) in cases {
        let mut rig = Rig::new();
        rig.revise(&before);
        assert_eq!(rig.revise(&after), forgotten, "{case}");
    }
}

/// What an endpoint with both families and a detail more takes beside its routes.
/// Of two endpoints with one address the later has the route; when it leaves, the other has it again.
#[test]
fn who_claims_an_address_has_the_route_when_the_other_leaves() {
    type Leaving = fn(&mut Rig);
    let leavings: [(&str, Leaving); 3] = [
        ("the endpoint goes", |rig| drop(rig.revise(&[no_endpoint("b")]))),
        ("it gets another address", |rig| drop(rig.revise(&[endpoint("b", "cali2", &["10.0.0.2"])]))),
        ("the interface goes", |rig| rig.link("cali2", LinkState::Gone)),
    ];
    for (how, leave) in leavings {
        for fails in [false, true] {
            let mut rig = Rig::new();
            let [first, second] = [1, 2].map(IfIndex);
            rig.link("cali1", LinkState::Up(first));
            rig.link("cali2", LinkState::Up(second));
            rig.revise(&[endpoint("a", "cali1", &["10.0.0.1"])]);
            rig.revise(&[endpoint("b", "cali2", &["10.0.0.1"])]);
            let leads_to = |rig: &Rig| {
                let routes = FakeHost(rig.world.clone()).routes().expect("routes can be listed");
                let to = routes.into_iter().find(|route| route.destination.to_string() == "10.0.0.1/32");
                to.map(|route| route.interface)
            };
            assert_eq!(leads_to(&rig), Some(second), "{how}");
            if fails {
                rig.world.breaks("add");
            }
            leave(&mut rig);
            if fails {
                rig.world.heals();
                rig.now += Duration::from_secs(60);
                for due in rig.workloads.due(rig.now) {
                    rig.settle(&due);
                }
            }
            assert_eq!(leads_to(&rig), Some(first), "{how}");
        }
    }
}

fn calls_for(detail: impl Fn(&mut felix::WorkloadEndpoint)) -> Vec<String> {
    let mut rig = Rig::new();
    rig.link("cali1", LinkState::Up(IfIndex(5)));
    let mut message = endpoint("a", "cali1", &["10.0.0.1", "fd00::1"]);
    if let Some(felix::to_dataplane::Payload::WorkloadEndpointUpdate(update)) = &mut message.payload {
        detail(update.endpoint.as_mut().expect("an endpoint"));
    }
    rig.revise(&[message]);
    let of_each = ["add", "introduce"];
    rig.world.calls().into_iter().filter(|call| !of_each.iter().any(|word| call.starts_with(word))).collect()
}

#[test]
fn a_neighbour_entry_is_written_where_the_mac_is_known() {
    let calls = calls_for(|endpoint| endpoint.mac = "02:00:00:00:00:01".to_owned());
    let expected = ["prepare cali1 IPv4", "prepare cali1 IPv6", "neighbour 10.0.0.1 dev 5 02:00:00:00:00:01"];
    assert_eq!(calls, expected);
}

#[test]
fn sources_are_not_checked_where_others_are_allowed() {
    let calls = calls_for(|endpoint| endpoint.allow_spoofed_source_prefixes = vec!["192.0.2.0/24".to_owned()]);
    assert_eq!(calls, ["IPv4", "IPv6"].map(|family| format!("prepare cali1 {family} without source check")));
}

#[test]
fn a_workload_is_told_of_its_gateway_when_it_comes_into_service() {
    let mut rig = Rig::new();
    let up = LinkState::Up(IfIndex(5));
    let told = |rig: &Rig| -> Vec<String> {
        rig.world.calls().into_iter().filter(|call| call.starts_with("introduce")).collect()
    };
    let both = ["introduce 10.0.0.1 dev 5", "introduce fd00::1 dev 5"];
    rig.revise(&[endpoint("a", "cali1", &["10.0.0.1", "fd00::1"])]);
    assert_eq!(told(&rig), [""; 0], "there is no interface");
    rig.link("cali1", up);
    assert_eq!(told(&rig), both, "the interface is up");
    rig.revise(&[endpoint("a", "cali1", &["10.0.0.1", "fd00::1"])]);
    assert_eq!(told(&rig), [""; 0], "nothing has changed");
    rig.revise(&[endpoint("a", "cali1", &["10.0.0.1", "fd00::1", "10.0.0.2"])]);
    assert_eq!(told(&rig), ["introduce 10.0.0.2 dev 5"], "one address more");
    rig.revise(&[endpoint("a", "cali1", &["10.0.0.1", "fd00::1"])]);
    rig.link("cali1", LinkState::Down(IfIndex(5)));
    rig.world.breaks("introduce");
    rig.link("cali1", up);
    assert_eq!(told(&rig), both, "the interface is up again");
    assert_eq!(rig.workloads.deadline(), None, "what a workload is not told it learns when it asks");
}

#[test]
fn a_step_that_fails_does_not_hold_up_the_others() {
    let mut rig = Rig::new();
    rig.link("cali1", LinkState::Up(IfIndex(5)));
    rig.world.breaks("prepare");
    rig.revise(&[endpoint("a", "cali1", &["10.0.0.1", "fd00::1"])]);
    assert_eq!(rig.world.routes().len(), 2);
}

#[derive(Clone, Debug)]
enum Happening {
    Endpoint { workload: usize, interface: usize, addresses: Vec<u8> },
    NoEndpoint(usize),
    Up(usize, u32),
    Down(usize),
    Gone(usize),
    Breaks(&'static str),
    Heals,
    LosesRoutes,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::{Breaks, Down, Endpoint, Gone, Heals, LosesRoutes, NoEndpoint, Up};
    let one = || 0..INTERFACES.len();
    prop_oneof![
        4 => (one(), one(), prop::collection::vec(1..5_u8, 0..3))
            .prop_map(|(workload, interface, addresses)| Endpoint { workload, interface, addresses }),
        1 => one().prop_map(NoEndpoint),
        3 => (one(), 0..2_u32).prop_map(|(interface, generation)| Up(interface, generation)),
        1 => one().prop_map(Down),
        1 => one().prop_map(Gone),
        1 => prop_oneof![Just("add"), Just("del"), Just("prepare")].prop_map(Breaks),
        1 => Just(Heals),
        1 => Just(LosesRoutes),
    ]
}

proptest! {
    /// Whatever happened, once everything works again and time has passed, the
    /// routes are those that the endpoints want.
    #[test]
    fn routes_follow_the_endpoints(happenings in prop::collection::vec(happening(), 0..40)) {
        let mut rig = Rig::new();
        let name = |n: usize| ["a", "b", "c"][n];
        let index = |interface: usize, generation: u32| IfIndex(10 * generation + u32::try_from(interface).expect("small"));
        for happening in happenings {
            match happening {
                Happening::Endpoint { workload, interface, addresses } => {
                    let addresses: Vec<String> = addresses.iter().map(|n| format!("10.0.0.{n}")).collect();
                    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
                    rig.revise(&[endpoint(name(workload), INTERFACES[interface], &addresses)]);
                }
                Happening::NoEndpoint(workload) => drop(rig.revise(&[no_endpoint(name(workload))])),
                Happening::Up(n, generation) => rig.link(INTERFACES[n], LinkState::Up(index(n, generation))),
                Happening::Down(n) => rig.link(INTERFACES[n], LinkState::Down(index(n, 0))),
                Happening::Gone(n) => rig.link(INTERFACES[n], LinkState::Gone),
                Happening::Breaks(word) => rig.world.breaks(word),
                Happening::Heals => rig.world.heals(),
                Happening::LosesRoutes => rig.world.lose_routes(|_| true),
            }
        }
        rig.world.heals();
        for _ in 0..3 {
            rig.now += GRACE;
            for interface in rig.workloads.due(rig.now) {
                rig.settle(&interface);
            }
            rig.audit();
        }
        let mut wanted: BTreeMap<IpAddr, BTreeSet<IfIndex>> = BTreeMap::new();
        for interface in INTERFACES {
            if let (Some(active), LinkState::Up(index)) = (rig.store.active_on(interface), rig.interfaces.state(interface)) {
                for addr in &active.addresses {
                    wanted.entry(*addr).or_default().insert(index);
                }
            }
        }
        let routes = rig.world.routes();
        let led: BTreeMap<IpAddr, IfIndex> =
            routes.iter().map(|route| (route.destination.addr(), route.interface)).collect();
        prop_assert_eq!(led.len(), routes.len(), "one route to each address");
        prop_assert_eq!(led.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        for (addr, index) in led {
            prop_assert!(wanted[&addr].contains(&index), "{} leads to {}", addr, index);
        }
    }
}
