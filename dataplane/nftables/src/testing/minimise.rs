//! The smallest program about which kernel and evaluator still disagree.

use caracal_proto::felix;

use super::random::Told;

/// Leaves out objects, rules, fields, members and tiers as long as what is left
/// is still wrong. The result is wrong, and right when any one thing more is
/// left out.
pub(crate) fn minimise(mut told: Vec<Told>, mut is_wrong: impl FnMut(&[Told]) -> bool) -> Vec<Told> {
    loop {
        let mut smaller = false;
        let mut at = told.len();
        while at > 0 {
            at -= 1;
            while let Some(less) = cuts(&told[at]).into_iter().find_map(|cut| {
                let mut less = told.clone();
                less.splice(at..=at, cut);
                is_wrong(&less).then_some(less)
            }) {
                let gone = less.len() < told.len();
                told = less;
                smaller = true;
                if gone {
                    break;
                }
            }
        }
        if !smaller {
            return told;
        }
    }
}

/// What can stand in the place of something told: nothing, or the same with less in it.
fn cuts(told: &Told) -> Vec<Option<Told>> {
    let mut cuts = vec![None];
    match told {
        Told::Set(id, members) => cuts.extend(without_one(members).map(|members| Some(Told::Set(id, members)))),
        Told::Policy(id, inbound, outbound) => {
            cuts.extend(fewer_rules(inbound).map(|rules| Some(Told::Policy(id, rules, outbound.clone()))));
            cuts.extend(fewer_rules(outbound).map(|rules| Some(Told::Policy(id, inbound.clone(), rules))));
        }
        Told::Profile(name, inbound, outbound) => {
            cuts.extend(fewer_rules(inbound).map(|rules| Some(Told::Profile(name, rules, outbound.clone()))));
            cuts.extend(fewer_rules(outbound).map(|rules| Some(Told::Profile(name, inbound.clone(), rules))));
        }
        Told::Endpoint(state, pod, interface, tiers, profiles) => {
            let with = |tiers, profiles| Some(Told::Endpoint(state, pod, interface, tiers, profiles));
            cuts.extend(without_one(tiers).map(|tiers| with(tiers, profiles.clone())));
            for (index, (name, end, ingress, egress)) in tiers.iter().enumerate() {
                let lists = without_one(ingress)
                    .map(|ingress| (ingress, egress.clone()))
                    .chain(without_one(egress).map(|egress| (ingress.clone(), egress)));
                cuts.extend(lists.map(|(ingress, egress)| {
                    let mut tiers = tiers.clone();
                    tiers[index] = (name, end, ingress, egress);
                    with(tiers, profiles.clone())
                }));
            }
            cuts.extend(without_one(profiles).map(|profiles| with(tiers.clone(), profiles)));
        }
        Told::Host(id, interface, expected, lists, profiles) => {
            let with = |lists, profiles| Some(Told::Host(id, interface, expected.clone(), lists, profiles));
            for (at, list) in lists.iter().enumerate() {
                cuts.extend(without_one(list).map(|list| {
                    let mut lists = lists.clone();
                    lists[at] = list;
                    with(lists, profiles.clone())
                }));
            }
            cuts.extend(without_one(profiles).map(|profiles| with(lists.clone(), profiles)));
        }
        Told::Members(..)
        | Told::RemoveSet(_)
        | Told::RemovePolicy(_)
        | Told::RemoveEndpoint(_)
        | Told::RemoveHost(_)
        | Told::Addresses(..)
        | Told::Sources(..)
        | Told::Tunnels => {}
    }
    cuts
}

/// The list without its first element, without its second, and so on.
fn without_one<T: Clone>(list: &[T]) -> impl Iterator<Item = Vec<T>> {
    (0..list.len()).map(|left_out| {
        let mut rest = list.to_vec();
        rest.remove(left_out);
        rest
    })
}

fn fewer_rules(rules: &[felix::Rule]) -> impl Iterator<Item = Vec<felix::Rule>> {
    let lighter = rules.iter().enumerate().flat_map(move |(index, rule)| {
        lighter(rule).into_iter().map(move |rule| {
            let mut rules = rules.to_vec();
            rules[index] = rule;
            rules
        })
    });
    without_one(rules).chain(lighter)
}

/// A rule with one field less, or one value less in a field.
fn lighter(rule: &felix::Rule) -> Vec<felix::Rule> {
    let fields: &[fn(&mut felix::Rule)] = &[
        |rule| rule.ip_version = 0,
        |rule| rule.protocol = None,
        |rule| rule.not_protocol = None,
        |rule| rule.icmp = None,
        |rule| rule.not_icmp = None,
        |rule| shorten(&mut rule.src_net),
        |rule| shorten(&mut rule.not_src_net),
        |rule| shorten(&mut rule.dst_net),
        |rule| shorten(&mut rule.not_dst_net),
        |rule| shorten(&mut rule.src_ports),
        |rule| shorten(&mut rule.not_src_ports),
        |rule| shorten(&mut rule.dst_ports),
        |rule| shorten(&mut rule.not_dst_ports),
        |rule| shorten(&mut rule.src_ip_set_ids),
        |rule| shorten(&mut rule.not_src_ip_set_ids),
        |rule| shorten(&mut rule.dst_ip_set_ids),
        |rule| shorten(&mut rule.not_dst_ip_set_ids),
        |rule| shorten(&mut rule.src_named_port_ip_set_ids),
        |rule| shorten(&mut rule.dst_named_port_ip_set_ids),
        |rule| shorten(&mut rule.not_src_named_port_ip_set_ids),
        |rule| shorten(&mut rule.not_dst_named_port_ip_set_ids),
        |rule| shorten(&mut rule.dst_ip_port_set_ids),
    ];
    let lighter = fields.iter().map(|cut| {
        let mut lighter = rule.clone();
        cut(&mut lighter);
        lighter
    });
    lighter.filter(|lighter| lighter != rule).collect()
}

fn shorten<T>(list: &mut Vec<T>) {
    list.pop();
}
