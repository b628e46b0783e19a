//! Lists and their items.

use serde_json::Value;

use super::FieldPath;
use super::yaml::Tree;

/// One object of a document.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) value: Value,
    /// The line that it begins in, counted from 1 within the document.
    pub(super) line: usize,
    /// The way to it from the document's top.
    pub(super) path: FieldPath,
}

/// The objects of a document: itself, or the items of a `List`, of a list of one
/// kind such as `PodList` (whose items need not say what they are), and of lists
/// in lists.
pub(super) fn expand(tree: Tree) -> Vec<Item> {
    let mut items = Vec::new();
    let top = Item { value: tree.value, line: tree.line, path: FieldPath::default() };
    expand_item(top, &tree.item_lines, &mut items);
    items
}

fn expand_item(mut item: Item, lines: &[usize], items: &mut Vec<Item>) {
    let Some(list) = List::of(&mut item.value) else {
        items.push(item);
        return;
    };
    for (i, mut value) in list.items.into_iter().enumerate() {
        if let (Some(implied), Value::Object(fields)) = (&list.implied, &mut value) {
            fields.entry("kind").or_insert_with(|| implied.kind.clone());
            fields.entry("apiVersion").or_insert_with(|| implied.api_version.clone());
        }
        let inner = Item {
            value,
            line: lines.get(i).copied().unwrap_or(item.line),
            path: item.path.clone().field("items").item(i),
        };
        expand_item(inner, &[], items);
    }
}

struct List {
    items: Vec<Value>,
    implied: Option<Implied>,
}

/// What a list of one kind says of its items.
struct Implied {
    kind: Value,
    api_version: Value,
}

impl List {
    /// Takes the items out of a value that is a list.
    fn of(value: &mut Value) -> Option<Self> {
        let fields = value.as_object_mut()?;
        let of_kind = fields.get("kind")?.as_str()?.strip_suffix("List")?;
        let implied = (!of_kind.is_empty()).then(|| Implied {
            kind: of_kind.into(),
            api_version: fields.get("apiVersion").cloned().unwrap_or_default(),
        });
        let items = match fields.get_mut("items") {
            Some(Value::Array(items)) => std::mem::take(items),
            // A list of nothing; another kind whose name happens to end so, if
            // it is not the one for any objects.
            Some(Value::Null) | None if implied.is_none() => Vec::new(),
            Some(_) | None => return None,
        };
        Some(Self { items, implied })
    }
}
