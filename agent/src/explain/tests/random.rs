//! Random clusters with policies of every kind, as manifests.

use std::fmt::Write as _;

/// A repeatable sequence (SplitMix64, Steele, Lea and Flood 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const NAMESPACES: [&str; 3] = ["red", "green", "blue"];
const APPS: [&str; 3] = ["web", "api", "db"];
/// Addresses that no workload has, some of them in sets and prefixes that policies name.
pub(super) const OUTSIDE: [&str; 5] = ["192.0.2.1", "192.0.2.77", "198.51.100.9", "203.0.113.5", "2001:db8::5"];
/// What is sent; policies name most of it.
pub(super) const SERVICES: [&str; 9] =
    ["80/tcp", "81/tcp", "8080/tcp", "5432/tcp", "53/udp", "80/udp", "9000/sctp", "icmp", "/47"];

/// A cluster, and the addresses of its pods.
pub(super) struct RandomCluster {
    pub(super) manifests: String,
    pub(super) addresses: Vec<String>,
}

/// Twelve pods, replicas among them, on two nodes, and about fourteen policies. Every other
/// cluster has host endpoints with policies of their own.
pub(super) fn cluster(random: &mut Random, seed: u64) -> RandomCluster {
    let mut out = String::new();
    let mut addresses = Vec::new();
    for (i, namespace) in NAMESPACES.iter().enumerate() {
        // A namespace that no manifest describes has no labels and no profile.
        if i > 0 || !random.once_in(8) {
            writeln!(
                out,
                "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{team: t{}}}}}",
                i % 2
            )
            .expect("text");
        }
    }
    for i in 0..12 {
        let (namespace, app) = (NAMESPACES[i % 3], random.pick(&APPS));
        let role = if random.once_in(2) { format!(", role: r{}", random.below(2)) } else { String::new() };
        let mut ips = vec![format!("10.0.0.{}", i + 1)];
        if i % 2 == 0 {
            ips.push(format!("fd00::{}", i + 1));
        }
        let pod_ips: Vec<String> = ips.iter().map(|ip| format!("{{ip: \"{ip}\"}}")).collect();
        write!(
            out,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{namespace: {namespace}, name: p{i}, labels: {{app: {app}{role}}}}}\n\
             spec:\n  nodeName: node{}\n  serviceAccountName: sa{}\n  containers: [{{name: c, image: i, ports: [{{name: http, containerPort: 8080}}]}}]\n\
             status: {{phase: Running, podIPs: [{}]}}\n",
            i % 2,
            random.below(2),
            pod_ips.join(", ")
        )
        .expect("text");
        addresses.extend(ips);
    }
    out.push_str("---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: partners, labels: {kind: partner}}\nspec: {nets: [192.0.2.0/26]}\n");
    out.push_str("---\napiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {name: own, namespace: red, labels: {app: web}}\nspec: {nets: [198.51.100.0/24]}\n");
    writeln!(
        out,
        "---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: strict}}\nspec: {{order: {}}}",
        500 + random.below(2) * 5000
    )
    .expect("text");
    out.push_str("---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: lax}\nspec: {order: 200, defaultAction: Pass}\n");
    for i in 0..10 + random.below(8) {
        out.push_str("---\n");
        out.push_str(&policy(random, i));
    }
    if random.once_in(3) {
        write!(
            out,
            "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {{name: default}}\n\
             spec:\n  subject: {}\n  ingress: [{}]\n",
            subject(random),
            admin_rule(random, "from", "ports", "Deny")
        )
        .expect("text");
    }
    if seed % 2 == 1 {
        hosts(random, &mut out);
        // Their own addresses are about as many as those of pods.
        for _ in 0..4 {
            addresses.extend(NODES.map(str::to_owned));
        }
    }
    RandomCluster { manifests: out, addresses }
}

/// The addresses of the nodes.
const NODES: [&str; 2] = ["192.168.0.10", "192.168.0.11"];

/// Two nodes: one with an endpoint of one interface and maybe one of all others,
/// the other with one of all.
fn hosts(random: &mut Random, out: &mut String) {
    for (i, address) in NODES.iter().enumerate() {
        write!(
            out,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: node{i}}}\n\
             status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n"
        )
        .expect("text");
    }
    out.push_str(
        "---\napiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\n\
         spec: {defaultEndpointToHostAction: Return}\n",
    );
    let mut host = |name: &str, labels: &str, spec: &str| {
        write!(
            out,
            "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {{name: {name}, labels: {{{labels}}}}}\nspec: {{{spec}}}\n"
        )
        .expect("text");
    };
    host("n0-eth0", "host: n0", &format!("node: node0, interfaceName: eth0, expectedIPs: [{}]", NODES[0]));
    if random.once_in(2) {
        host("n0-all", "host: n0, role: r1", "node: node0, interfaceName: '*'");
    }
    let labels = random.pick(&["host: n1", "host: n1, app: web", ""]);
    host("n1-all", labels, "node: node1, interfaceName: '*'");
    for i in 0..4 + random.below(5) {
        out.push_str("---\n");
        out.push_str(&host_policy(random, i));
    }
}

fn host_policy(random: &mut Random, i: usize) -> String {
    let tier = random.pick(&["default", "default", "strict", "lax"]);
    let selector = random.pick(&["has(host)", "host == 'n0'", "host == 'n1'", "all()"]);
    let (flags, types) = random.pick(&[
        ("", "[Ingress, Egress]"),
        ("applyOnForward: true", "[Ingress, Egress]"),
        ("applyOnForward: true", "[Ingress]"),
        ("applyOnForward: true, preDNAT: true", "[Ingress]"),
        ("applyOnForward: true, doNotTrack: true", "[Ingress, Egress]"),
    ]);
    let rules = |random: &mut Random| {
        let rules: Vec<String> = (0..random.below(4)).map(|_| calico_rule(random)).collect();
        format!("[{}]", rules.join(", "))
    };
    let (ingress, egress) = (rules(random), rules(random));
    let lists = if types.contains("Egress") {
        format!("ingress: {ingress}, egress: {egress}")
    } else {
        format!("ingress: {ingress}")
    };
    let flags = if flags.is_empty() { String::new() } else { format!(", {flags}") };
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: h{i}}}\n\
         spec: {{tier: {tier}, order: {}, selector: \"{selector}\", types: {types}, {lists}{flags}}}\n",
        random.below(4) * 500
    )
}

fn policy(random: &mut Random, i: usize) -> String {
    match random.below(9) {
        0..=2 => kubernetes(random, i, "networking.k8s.io/v1", "NetworkPolicy"),
        3 | 4 => calico(random, i, "NetworkPolicy"),
        5 => calico(random, i, "GlobalNetworkPolicy"),
        6 => {
            let kind = random.pick(&["StagedNetworkPolicy", "StagedGlobalNetworkPolicy"]);
            if random.once_in(3) {
                kubernetes(random, i, "projectcalico.org/v3", "StagedKubernetesNetworkPolicy")
            } else {
                calico(random, i, kind)
            }
        }
        7 => {
            let (tier, list) = (random.pick(&["Admin", "Baseline"]), random.pick(&["ingress", "egress"]));
            let action = random.pick(&["Accept", "Deny", "Pass"]);
            format!(
                "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: c{i}}}\n\
                 spec:\n  tier: {tier}\n  priority: {}\n  subject: {}\n  {list}: [{}]\n",
                random.below(30),
                subject(random),
                admin_rule(random, if list == "ingress" { "from" } else { "to" }, "protocols", action)
            )
        }
        _ => {
            let list = random.pick(&["ingress", "egress"]);
            let action = random.pick(&["Allow", "Deny", "Pass"]);
            format!(
                "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {{name: a{i}}}\n\
                 spec:\n  priority: {}\n  subject: {}\n  {list}: [{}]\n",
                random.below(30),
                subject(random),
                admin_rule(random, if list == "ingress" { "from" } else { "to" }, "ports", action)
            )
        }
    }
}

fn subject(random: &mut Random) -> String {
    match random.below(3) {
        0 => "{namespaces: {}}".to_owned(),
        1 => format!("{{namespaces: {{matchLabels: {{team: t{}}}}}}}", random.below(2)),
        _ => format!(
            "{{pods: {{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: {}}}}}}}}}",
            random.pick(&APPS)
        ),
    }
}

fn admin_rule(random: &mut Random, peers: &str, ports: &str, action: &str) -> String {
    let peer = match random.below(3) {
        0 => "{namespaces: {}}".to_owned(),
        1 => format!(
            "{{pods: {{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: {}}}}}}}}}",
            random.pick(&APPS)
        ),
        _ if peers == "to" => "{networks: [192.0.2.0/24, 203.0.113.0/24]}".to_owned(),
        _ => format!("{{namespaces: {{matchLabels: {{kubernetes.io/metadata.name: {}}}}}}}", random.pick(&NAMESPACES)),
    };
    let port = random.pick(&[80, 8080, 5432]);
    let ports = match (random.below(3), ports) {
        (0, _) => String::new(),
        (_, "ports") => format!(", ports: [{{portNumber: {{protocol: TCP, port: {port}}}}}]"),
        _ => format!(", protocols: [{{tcp: {{destinationPort: {{number: {port}}}}}}}]"),
    };
    format!("{{action: {action}, {peers}: [{peer}]{ports}}}")
}

fn kubernetes(random: &mut Random, i: usize, api_version: &str, kind: &str) -> String {
    let namespace = random.pick(&NAMESPACES);
    let pods = match random.below(3) {
        0 => "{}".to_owned(),
        _ => format!("{{matchLabels: {{app: {}}}}}", random.pick(&APPS)),
    };
    let types = random.pick(&["[Ingress]", "[Egress]", "[Ingress, Egress]"]);
    let mut rule = |peers: &str| {
        if random.once_in(3) {
            return "[]".to_owned();
        }
        let peer = match random.below(4) {
            0 => "{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.64/26]}}".to_owned(),
            1 => format!("{{podSelector: {{matchLabels: {{app: {}}}}}}}", random.pick(&APPS)),
            2 => format!("{{namespaceSelector: {{matchLabels: {{team: t{}}}}}}}", random.below(2)),
            _ => format!("{{namespaceSelector: {{}}, podSelector: {{matchLabels: {{role: r{}}}}}}}", random.below(2)),
        };
        let ports =
            random.pick(&["{port: 80}", "{port: http}", "{port: 53, protocol: UDP}", "{port: 80, endPort: 90}"]);
        format!("[{{{peers}: [{peer}], ports: [{ports}]}}]")
    };
    let (ingress, egress) = (rule("from"), rule("to"));
    format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{namespace: {namespace}, name: k{i}}}\n\
         spec:\n  podSelector: {pods}\n  policyTypes: {types}\n  ingress: {ingress}\n  egress: {egress}\n"
    )
}

fn calico(random: &mut Random, i: usize, kind: &str) -> String {
    let metadata = if kind.contains("Global") {
        format!("{{name: g{i}}}")
    } else {
        format!("{{namespace: {}, name: n{i}}}", random.pick(&NAMESPACES))
    };
    let tier = random.pick(&["default", "default", "strict", "lax"]);
    let order = if random.once_in(4) { String::new() } else { format!("\n  order: {}", random.below(4) * 500) };
    let selector = random.pick(&["all()", "app == 'web'", "app in {'db', 'api'}", "has(role)", "role == 'r1'"]);
    let types = random.pick(&["[Ingress]", "[Egress]", "[Ingress, Egress]"]);
    let rules = |random: &mut Random| {
        let rules: Vec<String> = (0..random.below(4)).map(|_| calico_rule(random)).collect();
        format!("[{}]", rules.join(", "))
    };
    let (ingress, egress) = (rules(random), rules(random));
    let lists = match types {
        "[Ingress]" => format!("ingress: {ingress}"),
        "[Egress]" => format!("egress: {egress}"),
        _ => format!("ingress: {ingress}\n  egress: {egress}"),
    };
    format!(
        "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {metadata}\n\
         spec:\n  tier: {tier}{order}\n  selector: \"{selector}\"\n  types: {types}\n  {lists}\n"
    )
}

fn calico_rule(random: &mut Random) -> String {
    let action = random.pick(&["Allow", "Allow", "Deny", "Deny", "Pass", "Log"]);
    let side = |random: &mut Random| match random.below(7) {
        0 => "selector: \"app == 'web'\"".to_owned(),
        1 => "selector: \"role == 'r0'\", namespaceSelector: \"all()\"".to_owned(),
        2 => "nets: [192.0.2.0/24, 10.0.0.0/29]".to_owned(),
        3 => "notNets: [10.0.0.0/30]".to_owned(),
        4 => "selector: \"kind == 'partner'\", namespaceSelector: \"global()\"".to_owned(),
        5 => "serviceAccounts: {names: [sa0]}".to_owned(),
        _ => String::new(),
    };
    let source = side(random);
    let mut destination = side(random);
    let protocol = match random.below(5) {
        0 => ", protocol: ICMP, icmp: {type: 8}".to_owned(),
        1 => ", notProtocol: UDP".to_owned(),
        2 => String::new(),
        n => {
            let ports = random.pick(&["[80]", "[\"80:90\"]", "[http]", "[53, 5432]"]);
            let separator = if destination.is_empty() { "" } else { ", " };
            write!(destination, "{separator}{}: {ports}", random.pick(&["ports", "ports", "notPorts"])).expect("text");
            format!(", protocol: {}", if n == 3 { "TCP" } else { "UDP" })
        }
    };
    format!("{{action: {action}{protocol}, source: {{{source}}}, destination: {{{destination}}}}}")
}
