//! Named policy states with the cells that a reader can check by eye.

/// A policy state: the manifests, and some verdicts written by hand. The
/// reference evaluator gives all the others; these keep it honest.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is about.
    pub name: &'static str,
    /// Manifests, beside the cluster's namespaces and pods.
    pub manifests: &'static str,
    /// `FROM -> TO PORT` lines that must be allowed in both families.
    pub allowed: &'static [&'static str],
    /// `FROM -> TO PORT` lines that must be denied in both families.
    pub denied: &'static [&'static str],
}

/// The states that the connectivity test moves through. Pods: `shop/web` (role=web), `shop/db`
/// (role=db, port `sql` 81), `lab/client` (role=client), `lab/tool`; namespaces `shop` (team=a), `lab` (team=b).
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "without policy everything is allowed",
        manifests: "",
        allowed: &["shop/web -> shop/db 80/tcp", "lab/tool -> outside 53/udp", "outside -> shop/web 81/tcp"],
        denied: &[],
    },
    Scenario {
        name: "default deny towards a namespace",
        manifests: r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
",
        allowed: &["shop/web -> lab/client 80/tcp", "shop/db -> outside 80/tcp"],
        denied: &["lab/client -> shop/web 80/tcp", "shop/web -> shop/db 53/udp", "outside -> shop/db 80/tcp"],
    },
    Scenario {
        name: "default deny from a namespace",
        manifests: r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Egress]}
",
        allowed: &["lab/client -> shop/web 80/tcp", "outside -> shop/web 53/udp"],
        denied: &["shop/web -> shop/db 80/tcp", "shop/web -> outside 80/tcp", "shop/db -> lab/tool 53/udp"],
    },
    Scenario {
        name: "one port from one pod",
        manifests: r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web-to-db, namespace: shop}
spec:
  podSelector: {matchLabels: {role: db}}
  ingress:
    - from: [{podSelector: {matchLabels: {role: web}}}]
      ports: [{port: 80}]
",
        allowed: &["shop/web -> shop/db 80/tcp", "lab/client -> shop/web 80/tcp"],
        denied: &["shop/web -> shop/db 81/tcp", "shop/web -> shop/db 53/udp", "lab/client -> shop/db 80/tcp"],
    },
    Scenario {
        name: "a namespace selector, and both selectors together",
        manifests: r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-lab, namespace: shop}
spec:
  podSelector: {matchLabels: {role: web}}
  ingress:
    - from: [{namespaceSelector: {matchLabels: {team: b}}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-lab-client, namespace: shop}
spec:
  podSelector: {matchLabels: {role: db}}
  ingress:
    - from:
        - namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [b, c]}]}
          podSelector: {matchLabels: {role: client}}
",
        allowed: &["lab/tool -> shop/web 80/tcp", "lab/client -> shop/db 53/udp"],
        denied: &["shop/db -> shop/web 80/tcp", "lab/tool -> shop/db 80/tcp", "outside -> shop/web 80/tcp"],
    },
    Scenario {
        name: "an address block with an exception, both families",
        manifests: r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: blocks, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}
        - ipBlock: {cidr: '2001:db8::/64'}
  egress:
    - to:
        - ipBlock: {cidr: 0.0.0.0/0, except: [192.0.2.0/30]}
        - ipBlock: {cidr: '::/0', except: ['2001:db8::/126']}
",
        allowed: &["outside -> shop/web 80/tcp", "shop/web -> lab/client 80/tcp"],
        denied: &["shop/web -> outside 80/tcp", "lab/client -> shop/web 80/tcp", "shop/web -> shop/db 53/udp"],
    },
    Scenario {
        name: "a named port and a range of ports",
        manifests: r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: sql, namespace: shop}
spec:
  podSelector: {matchLabels: {role: db}}
  ingress: [{ports: [{port: sql}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: range, namespace: shop}
spec:
  podSelector: {matchLabels: {role: web}}
  ingress: [{ports: [{port: 50, endPort: 60, protocol: UDP}, {port: 81, endPort: 90}]}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: egress-by-name, namespace: lab}
spec:
  selector: role == 'client'
  types: [Egress]
  egress: [{action: Allow, protocol: TCP, destination: {ports: [sql]}}, {action: Allow, protocol: UDP}]
",
        allowed: &[
            "lab/tool -> shop/db 81/tcp",
            "lab/client -> shop/db 81/tcp",
            "outside -> shop/web 53/udp",
            "outside -> shop/web 81/tcp",
        ],
        denied: &[
            "lab/tool -> shop/db 80/tcp",
            "lab/client -> shop/web 81/tcp",
            "outside -> shop/web 80/tcp",
            "lab/client -> outside 80/tcp",
        ],
    },
    Scenario {
        name: "tiers: pass, deny at the end, order among tiers",
        manifests: r"
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 10}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: platform}
spec: {order: 20, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: security.quarantine}
spec:
  tier: security
  selector: role == 'web'
  types: [Ingress]
  ingress:
    - {action: Pass, protocol: TCP}
    - {action: Deny, protocol: UDP}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: platform.no-tools}
spec:
  tier: platform
  namespaceSelector: team == 'a'
  types: [Ingress]
  ingress: [{action: Deny, source: {namespaceSelector: team == 'b', notSelector: role == 'client'}}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web-80, namespace: shop}
spec:
  selector: role == 'web'
  types: [Ingress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
",
        allowed: &["lab/client -> shop/web 80/tcp", "outside -> shop/web 80/tcp", "lab/client -> shop/db 81/tcp"],
        denied: &[
            "lab/client -> shop/web 53/udp",
            "lab/tool -> shop/web 80/tcp",
            "lab/tool -> shop/db 80/tcp",
            "lab/client -> shop/web 81/tcp",
        ],
    },
    Scenario {
        name: "order of global policies decides, log goes on, negated ports",
        manifests: r"
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: b-allow-client}
spec:
  order: 10
  selector: has(role)
  types: [Ingress]
  ingress:
    - {action: Log, source: {selector: role == 'client'}}
    - {action: Allow, source: {selector: role == 'client'}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: a-deny-lab}
spec:
  order: 20
  selector: has(role)
  types: [Ingress]
  ingress:
    - {action: Deny, source: {namespaceSelector: team == 'b'}}
    - {action: Allow, protocol: TCP, destination: {notPorts: [81]}}
",
        allowed: &["lab/client -> shop/web 53/udp", "shop/web -> shop/db 80/tcp", "outside -> shop/db 80/tcp"],
        denied: &["lab/tool -> shop/web 80/tcp", "shop/web -> shop/db 81/tcp", "shop/web -> shop/db 53/udp"],
    },
    Scenario {
        name: "network sets, of a namespace and global",
        manifests: r"
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: partners, labels: {partner: 'yes'}}
spec: {nets: [192.0.2.2/32, 198.51.100.0/24, '2001:db8::2/128']}
---
apiVersion: projectcalico.org/v3
kind: NetworkSet
metadata: {name: tools, namespace: shop, labels: {kind: tools}}
spec: {nets: [10.65.0.4/32, 'fd00:65::4/128']}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: sets, namespace: shop}
spec:
  types: [Ingress]
  ingress:
    - {action: Allow, protocol: TCP, source: {selector: partner == 'yes', namespaceSelector: global()}}
    - {action: Allow, protocol: UDP, source: {selector: kind == 'tools'}}
",
        allowed: &["outside -> shop/web 80/tcp", "lab/tool -> shop/db 53/udp"],
        denied: &["outside -> shop/web 53/udp", "lab/tool -> shop/db 80/tcp", "shop/web -> shop/db 80/tcp"],
    },
];
