//! Dense ids. Each names a place in the table of one owner, which may give it
//! to something else after a removal; whoever keeps an id holds a reference.

/// An id that is a place in a table.
pub(crate) trait Place {
    /// The place.
    fn ix(self) -> usize;

    /// The id of a place.
    fn at(place: u32) -> Self;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) u32);

        impl Place for $name {
            fn ix(self) -> usize {
                self.0 as usize
            }

            fn at(place: u32) -> Self {
                Self(place)
            }
        }
    )+};
}

ids! {
    /// A label key. Owner: `LabelStore`.
    KeyIx;
    /// A sorted list of label keys. Owner: `LabelStore`.
    ShapeIx;
    /// A set of labels. Owner: `LabelStore`.
    LabelsIx;
    /// A profile name. Owner: `Profiles`.
    ProfileIx;
    /// A list of profiles. Owner: `Parents`.
    ParentsIx;
    /// A list of named ports. Owner: `PortLists`.
    PortsIx;
    /// An endpoint or network set of the cluster. Owner: `Items`.
    ItemIx;
    /// An endpoint that is calculated for. Owner: `LocalEndpoints`.
    LocalIx;
    /// What labels a class space is about: an `ItemIx` or a `LocalIx`.
    MemberIx;
    /// A test of one label. Owner: `Atoms`.
    AtomIx;
    /// A value of a label that selectors mention. Owner: `Values`.
    ValueIx;
    /// A list of values: what selectors can see of one label set. Owner: a class space.
    OwnIx;
    /// Members with equal own values, parents and tag. Owner: `Groups`.
    GroupIx;
    /// A set of atoms that are true together. Owner: `Classes`.
    ClassIx;
    /// A selector. Owner: a class space.
    SelectorIx;
    /// An IP set. Owner: `IpSets`.
    SetIx;
    /// A policy. Owner: `Policies`.
    PolicyIx;
    /// A tier name. Owner: `Tiers`.
    TierIx;
}
