//! Tables of documents and what is read of them.

use super::*;

fn read(text: impl AsRef<[u8]>) -> Vec<Result<Document, Refusal>> {
    read_documents(Path::new("f.yaml"), text)
}
