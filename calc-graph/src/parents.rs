//! Lists of profiles that items inherit labels from, and the profiles' labels.
//!
//! Input: the profile lists of items, the labels of profiles. Output: an id per
//! distinct list. Memory: 4 bytes per profile; a list and about 40 bytes per
//! distinct list that is not of one profile.

use crate::ids::{LabelsIx, ParentsIx, Place, ProfileIx};
use crate::label_store::LabelStore;
use crate::short_lists::{List, ShortLists};

/// Stands for no labels.
const NONE: LabelsIx = LabelsIx(u32::MAX);

#[derive(Debug, Default)]
pub(crate) struct Parents {
    lists: ShortLists<ProfileIx>,
    /// By profile; [`NONE`] for a profile that does not exist.
    labels: Vec<LabelsIx>,
}

impl Parents {
    /// Takes a reference to a list; tells whether it marks its profiles once more.
    pub(crate) fn acquire(&mut self, profiles: &[ProfileIx]) -> (ParentsIx, bool) {
        let (at, new) = self.lists.acquire(profiles);
        (ParentsIx(at), new)
    }

    /// Gives a reference back; gives the list out if its profiles lose a mark.
    pub(crate) fn release(&mut self, list: ParentsIx) -> Option<Box<[ProfileIx]>> {
        self.lists.release(list.0)
    }

    pub(crate) fn list(&self, list: ParentsIx) -> List<'_, ProfileIx> {
        self.lists.get(list.0)
    }

    pub(crate) fn labels(&self, profile: ProfileIx) -> Option<LabelsIx> {
        self.labels.get(profile.ix()).copied().filter(|labels| *labels != NONE)
    }

    /// Sets a profile's labels and gives the former ones out.
    pub(crate) fn set_labels(&mut self, profile: ProfileIx, labels: Option<LabelsIx>) -> Option<LabelsIx> {
        if self.labels.len() <= profile.ix() {
            self.labels.resize(profile.ix() + 1, NONE);
        }
        let former = std::mem::replace(&mut self.labels[profile.ix()], labels.unwrap_or(NONE));
        Some(former).filter(|former| *former != NONE)
    }
}

/// What a class space looks labels up in.
#[derive(Clone, Copy)]
pub(crate) struct Inheritance<'a> {
    pub(crate) labels: &'a LabelStore,
    pub(crate) parents: &'a Parents,
}
