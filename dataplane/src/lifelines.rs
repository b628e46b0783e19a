//! The flows that this host must not lose, as far as it tells of them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use caracal_program::Lifeline;

/// `TCP_ESTABLISHED` of `net/tcp_states.h`.
const ESTABLISHED: &str = "01";

/// IANA's port of ssh.
const SSH: &str = "0016";

/// What this process and its network namespace tell: the API server of
/// `KUBERNETES_SERVICE_HOST` or of the file `KUBECONFIG`, the name servers of
/// `resolv.conf`, and open sessions of ssh. What cannot be read tells nothing.
pub(crate) fn of_this_host() -> Vec<Lifeline> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let mut lifelines = vec![Lifeline::Ssh];
    lifelines.extend(service(&variable("KUBERNETES_SERVICE_HOST"), &variable("KUBERNETES_SERVICE_PORT")));
    lifelines.extend(kubeconfig(&read(&variable("KUBECONFIG"))));
    lifelines.extend(name_servers(&read("/etc/resolv.conf")));
    lifelines.extend(
        ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
            .map(read)
            .iter()
            .flat_map(|table| ssh_sessions(table)),
    );
    lifelines.sort();
    lifelines.dedup();
    lifelines
}

fn service(host: &str, port: &str) -> Option<Lifeline> {
    Some(Lifeline::ApiServer(SocketAddr::new(host.parse().ok()?, port.parse().ok()?)))
}

/// The servers of a kubeconfig that are given by address, 443 if they name no port.
fn kubeconfig(text: &str) -> impl Iterator<Item = Lifeline> {
    text.lines().filter_map(|line| {
        let url = line.trim_start().trim_start_matches("- ").strip_prefix("server:")?.trim().trim_matches(['"', '\'']);
        let authority = url.strip_prefix("https://")?.split('/').next()?;
        let bare = authority.trim_start_matches('[').trim_end_matches(']');
        let addr = authority.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse().ok()?, 443)))?;
        Some(Lifeline::ApiServer(addr))
    })
}

fn name_servers(text: &str) -> impl Iterator<Item = Lifeline> {
    text.lines().filter_map(|line| {
        let addr = line.strip_prefix("nameserver")?.split_whitespace().next()?;
        addr.split('%').next()?.parse().ok().map(Lifeline::NameServer)
    })
}

/// The peers of established connections to port 22 in a table as `proc_pid_net(5)` has it.
fn ssh_sessions(table: &str) -> impl Iterator<Item = Lifeline> {
    table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
        let is_session = local.ends_with(&format!(":{SSH}")) && state == ESTABLISHED;
        let peer = is_session.then(|| remote.split(':').next().and_then(address)).flatten()?;
        Some(Lifeline::SshSession(peer))
    })
}

/// An address as words of the machine's order in hexadecimal digits.
fn address(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(digits.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: impl IntoIterator<Item = Lifeline>, wanted: &[&str]) {
        let found: Vec<String> = found.into_iter().map(|lifeline| lifeline.to_string()).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn api_servers() {
        check(service("10.96.0.1", "443"), &["the API server at 10.96.0.1:443"]);
        check(service("", ""), &[]);
        let text = "clusters:\n- cluster:\n    server: https://192.0.2.1:6443\n  name: a\n- cluster:\n    server: \
                    \"https://[2001:db8::1]:6443/path\"\n- cluster:\n    server: https://192.0.2.2\n    server: https://by.name:6443\n";
        check(
            kubeconfig(text),
            &[
                "the API server at 192.0.2.1:6443",
                "the API server at [2001:db8::1]:6443",
                "the API server at 192.0.2.2:443",
            ],
        );
    }

    #[test]
    fn servers_of_names() {
        let text = "# nameserver 192.0.2.9\nsearch example\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver nobody\n";
        check(name_servers(text), &["the name server 192.0.2.53", "the name server fe80::1"]);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn sessions_of_ssh() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
            0: 00000000:0016 00000000:0000 0A 00000000\n\
            1: 010200C0:0016 630200C0:C350 01 00000000\n\
            2: 010200C0:0050 640200C0:C350 01 00000000\n\
            3: 0000000000000000FFFF0000010200C0:0016 0000000000000000FFFF0000650200C0:C350 01 00000000\n\
            4: B80D0120000000000000000001000000:0016 B80D0120000000000000000063000000:C350 01 00000000\n\
            5: broken\n";
        check(
            ssh_sessions(table),
            &["the ssh session of 192.0.2.99", "the ssh session of 192.0.2.101", "the ssh session of 2001:db8::63"],
        );
    }
}
