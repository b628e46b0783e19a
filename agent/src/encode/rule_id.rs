//! Ids of rules, as Felix derives them: a chain of hashes over the rules of one list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_proto::felix;
use prost::Message as _;
use sha2::{Digest as _, Sha224};

/// Characters of the hash that an id keeps.
const ID_LEN: usize = 16;

/// Gives each rule its id: the hash of the rule before it and of its own bytes.
pub(super) fn assign(rules: &mut [felix::Rule], seed: &str) {
    let mut hash = Sha224::digest(seed);
    for rule in rules {
        rule.rule_id.clear();
        hash = Sha224::new().chain_update(hash).chain_update(rule.encode_to_vec()).finalize();
        let mut id = URL_SAFE_NO_PAD.encode(hash);
        id.truncate(ID_LEN);
        rule.rule_id = id;
    }
}
