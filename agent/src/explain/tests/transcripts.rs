//! What the documentation shows is what the program prints.

use std::path::Path;

use super::{question, report};
use crate::explain::World;

const COMMAND: &str =
    "$ caracal explain --datastore file:deploy/quickstart --from shop/web --to shop/db --port 80/tcp\n";

/// The indented block that begins with the command, without its indentation.
fn transcript(document: &str) -> String {
    let from = document.find(COMMAND).expect("the document shows the command");
    let lines = document[from..].lines().skip(1);
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    let text: Vec<&str> = block.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    text.join("\n").trim_end().to_owned() + "\n"
}

#[test]
fn transcripts_are_what_is_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let mut world = World::read(&root.join("deploy/quickstart"), None).expect("manifests");
    let printed = report::report(&mut world, &question("shop/web", "shop/db", "80/tcp"), None).expect("an answer").text;
    for document in ["README.md", "docs/explain.md"] {
        let text = std::fs::read_to_string(root.join(document)).expect("a document");
        assert_eq!(transcript(&text), printed, "{document}");
    }
}
