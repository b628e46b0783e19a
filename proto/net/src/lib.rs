//! Value types of the network, used on both sides of the sync API.
//!
//! Every type is parsed once at the edge: code that holds a [`Cidr`] cannot
//! meet host bits, and code that holds a [`PortRange`] cannot meet an inverted
//! one. Nothing here depends on another crate of the project.

mod cidr;
mod mark;
mod port;
mod protocol;
mod protocol_port;

pub use cidr::{Cidr, CidrError, Family};
pub use mark::{IfIndex, Mark, MarkMask, MarkMaskError, Priority};
pub use port::{Port, PortError, PortRange};
pub use protocol::{Protocol, ProtocolError};
pub use protocol_port::{ProtocolPort, ProtocolPortError};
