//! Tables that belong to a socket.

use caracal_sys::nft::{CommitError, NftSocket, Ownership, Table};
use nix::errno::Errno;

use crate::sandbox::{Operations, Sandbox};

const OWNED: Table = Table { ownership: Ownership::OwnedPersistent, comment: None };

/// Makes the sandbox's table anew as one that belongs to the socket. On a kernel
/// that has no such tables, the probe must say so.
fn own(sandbox: &mut Sandbox) -> bool {
    let features = sandbox.socket.features().expect("an answer");
    let made = sandbox.try_commit(|batch| {
        batch.delete_table().expect("short");
        batch.add_table(&OWNED).expect("short");
        batch.chain("ours");
    });
    assert_eq!(made.is_ok(), features.owned_persistent, "{made:?}");
    assert_eq!(features.owned_persistent, release() >= (6, 9), "both flags are there from Linux 6.9 on");
    features.owned_persistent
}

/// Version and patch level of the kernel that runs.
fn release() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    let mut numbers = text.split(['.', '-']).map(|number| number.parse().expect("a number"));
    (numbers.next().expect("a version"), numbers.next().expect("a patch level"))
}

#[test]
fn features_are_probed_without_a_trace() {
    Sandbox::run(|sandbox| {
        let before = sandbox.socket.generation().expect("an answer");
        let features = sandbox.socket.features().expect("an answer");
        assert_eq!(sandbox.socket.generation().expect("an answer"), before);
        assert_eq!(sandbox.socket.tables(sandbox.table.family).expect("a listing").len(), 1);
        let header = sandbox.header("s");
        let destroyed = sandbox.try_commit(|batch| {
            batch.set(&crate::sandbox::addresses("s"));
            batch.destroy_elements(&header, [crate::sandbox::ip(1)]).expect("short");
        });
        assert_eq!(destroyed.is_ok(), features.destroy);
    });
}

#[test]
fn an_owned_table_is_closed_to_other_sockets() {
    Sandbox::run(|sandbox| {
        if !own(sandbox) {
            return;
        }
        let mut batch = sandbox.batch(|batch| {
            batch.chain("theirs");
        });
        let mut stranger = NftSocket::open().expect("a socket");
        let outcome = stranger.commit(&mut batch);
        assert!(
            matches!(&outcome, Err(CommitError::Refused(refused)) if refused[0].errno == Errno::EPERM),
            "{outcome:?}"
        );
        sandbox.nft(&["flush", "ruleset"]);
        assert_eq!(sandbox.chain_names(), ["ours"]);
        assert!(sandbox.nft(&["list", "ruleset"]).contains("flags owner"));
    });
}

#[test]
fn an_owned_table_outlives_its_socket_and_is_taken_over() {
    Sandbox::run(|sandbox| {
        if !own(sandbox) {
            return;
        }
        let owner =
            |sandbox: &mut Sandbox| sandbox.socket.table(&sandbox.table).expect("an answer").expect("the table").owner;
        let first = owner(sandbox).expect("the socket's port");
        sandbox.socket = NftSocket::open().expect("a socket");
        // A program that another test starts holds the old socket until it runs.
        for _ in 0..200 {
            if owner(sandbox).is_none() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(owner(sandbox), None);
        assert_eq!(sandbox.chain_names(), ["ours"]);
        sandbox.must(|batch| {
            batch.add_table(&OWNED).expect("short");
            batch.chain("more");
        });
        assert!(owner(sandbox).is_some_and(|second| second != first));
        assert_eq!(sandbox.chain_names(), ["ours", "more"]);
    });
}
