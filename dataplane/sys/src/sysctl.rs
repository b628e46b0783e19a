//! Sysctls that make a host route for its workloads, below `/proc/sys/net` of
//! the calling thread's network namespace.
//!
//! A value is written only if another one is there: writing `ip_forward` resets
//! what is set per interface, and some hosts have `/proc/sys` read-only but
//! right (kernel documentation, `networking/ip-sysctl`).

use std::path::{Path, PathBuf};
use std::{fs, io};

use caracal_net::Family;

use crate::IfName;

const NET: &str = "/proc/sys/net";

/// What becomes of packets whose source has no route back through the interface
/// that they come from (`rp_filter`; `conf/all` can still make it stricter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceCheck {
    /// What `conf/default` says.
    AsDefault,
    /// They pass.
    Off,
}

/// Makes the host forward packets of a family. A kernel without the family has
/// none to forward.
///
/// # Errors
/// When the kernel refuses.
pub fn enable_forwarding(family: Family) -> io::Result<()> {
    let net = Path::new(NET);
    match family {
        Family::V4 => set(&net.join("ipv4/ip_forward"), "1"),
        Family::V6 if net.join("ipv6").exists() => set(&net.join("ipv6/conf/all/forwarding"), "1"),
        Family::V6 => Ok(()),
    }
}

/// Sets what a workload's interface needs, with Felix's values: the host answers
/// for every address that the workload asks for (IPv4 at once, without the usual
/// delay), forwards what comes in, and takes no router advertisements from it.
/// Beyond Felix it tells the workload of its link-local address, the workload's
/// IPv6 gateway, as soon as no other has been found to have it (RFC 4862, 5.4).
///
/// # Errors
/// When the interface is gone, is no single interface (`all`, `default`), or
/// the kernel refuses.
pub fn prepare_interface(interface: &IfName, family: Family, check: SourceCheck) -> io::Result<()> {
    let name = interface.as_str();
    if matches!(name, "all" | "default") {
        let reason = format!("{name:?} stands for all interfaces, not for one");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    match family {
        Family::V4 => {
            let conf = PathBuf::from(NET).join("ipv4/conf");
            let rp_filter = match check {
                SourceCheck::AsDefault => get(&conf.join("default/rp_filter"))?,
                SourceCheck::Off => "0".to_owned(),
            };
            let conf = conf.join(name);
            set(&conf.join("rp_filter"), &rp_filter)?;
            // NodePorts on 127.0.0.1 are translated to a workload behind the interface.
            set(&conf.join("route_localnet"), "1")?;
            set(&Path::new(NET).join("ipv4/neigh").join(name).join("proxy_delay"), "0")?;
            set(&conf.join("proxy_arp"), "1")?;
            set(&conf.join("forwarding"), "1")
        }
        Family::V6 => {
            let conf = Path::new(NET).join("ipv6/conf").join(name);
            set(&conf.join("accept_ra"), "0")?;
            set(&conf.join("proxy_ndp"), "1")?;
            set(&conf.join("ndisc_notify"), "1")?;
            set(&conf.join("forwarding"), "1")
        }
    }
}

fn get(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path).map_err(|error| at(path, &error))?;
    Ok(text.trim_end().to_owned())
}

fn set(path: &Path, value: &str) -> io::Result<()> {
    if get(path)? == value {
        return Ok(());
    }
    fs::write(path, value).map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
