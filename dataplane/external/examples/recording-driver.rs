//! A dataplane driver that programs nothing: it writes each message to the file
//! `$RECORD` as a line of JSON, and says that every endpoint is up.
//!
//!     FELIX_USEINTERNALDATAPLANEDRIVER=false FELIX_DATAPLANEDRIVER=/path/to/recording-driver \
//!         RECORD=/tmp/messages caracal agent --datastore file:./manifests

use std::fs::File;
use std::io::{self, Write as _};

use caracal_external::framing;
use caracal_proto::felix::{self, FromDataplane, ToDataplane, from_dataplane, to_dataplane};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::var_os("RECORD").ok_or("RECORD must name the file to write to")?;
    let mut record = File::options().create(true).append(true).open(path)?;
    // The descriptors that the agent has put there: messages come in on 3, statuses go out on 4.
    let mut messages = File::open("/proc/self/fd/3")?;
    let mut statuses = File::options().write(true).open("/proc/self/fd/4")?;
    writeln!(record, r#"{{"started":{}}}"#, std::process::id())?;
    // The end of the stream is the end of the agent.
    while let Some(message) = framing::read::<ToDataplane>(&mut messages)? {
        // One write, so that a reader sees whole lines only.
        record.write_all(format!("{}\n", serde_json::to_string(&message)?).as_bytes())?;
        if let Some(status) = status(message) {
            tell(&mut statuses, status)?;
        }
    }
    Ok(())
}

/// What a driver says once it has done what a message asks for.
fn status(message: ToDataplane) -> Option<from_dataplane::Payload> {
    match message.payload? {
        to_dataplane::Payload::WorkloadEndpointUpdate(update) => {
            let update = felix::WorkloadEndpointStatusUpdate { id: update.id, status: up(), endpoint: None };
            Some(from_dataplane::Payload::WorkloadEndpointStatusUpdate(update))
        }
        to_dataplane::Payload::WorkloadEndpointRemove(remove) => {
            let remove = felix::WorkloadEndpointStatusRemove { id: remove.id };
            Some(from_dataplane::Payload::WorkloadEndpointStatusRemove(remove))
        }
        to_dataplane::Payload::HostEndpointUpdate(update) => {
            let update = felix::HostEndpointStatusUpdate { id: update.id, status: up() };
            Some(from_dataplane::Payload::HostEndpointStatusUpdate(update))
        }
        to_dataplane::Payload::HostEndpointRemove(remove) => {
            let remove = felix::HostEndpointStatusRemove { id: remove.id };
            Some(from_dataplane::Payload::HostEndpointStatusRemove(remove))
        }
        _ => None,
    }
}

fn up() -> Option<felix::EndpointStatus> {
    Some(felix::EndpointStatus { status: "up".to_owned() })
}

fn tell(statuses: &mut File, payload: from_dataplane::Payload) -> io::Result<()> {
    let mut bytes = Vec::new();
    framing::write(&FromDataplane { sequence_number: 0, payload: Some(payload) }, &mut bytes);
    statuses.write_all(&bytes)
}
