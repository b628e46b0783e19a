//! Finding the line of a field, once something is wrong with it.

use granit_parser::{Event, Parser};

use super::{FieldPath, Step, yaml};

/// The line, counted from 1, of the node that a path leads to in a document, or
/// of the last node on the way to it that is there. `None` if the way leads
/// nowhere from the start.
pub(super) fn line_of(text: &str, path: &FieldPath) -> Option<usize> {
    let mut search = Search { steps: path.steps(), open: Vec::new(), matched: 0, best: None };
    for next in Parser::new_from_str_with_options(text, yaml::options()) {
        let Ok((event, span)) = next else {
            break;
        };
        search.event(&event, span.start.line());
        if search.is_over() {
            break;
        }
    }
    search.best.map(|(_, line)| line)
}

struct Search<'p> {
    steps: &'p [Step],
    /// The collections around the next node.
    open: Vec<Place>,
    /// How many steps down the path the innermost matching node is, among those
    /// that have not ended.
    matched: usize,
    /// How many steps down the path the furthest node was, and its line.
    best: Option<(usize, usize)>,
}

/// Where in a collection the next node is.
enum Place {
    Element(usize),
    Key,
    Value { matches: bool, key_line: usize },
}

impl Search<'_> {
    fn event(&mut self, event: &Event<'_>, line: usize) {
        match event {
            Event::Scalar(text, ..) if matches!(self.open.last(), Some(Place::Key)) => {
                let depth = self.open.len();
                let matches = matches!(self.steps.get(depth - 1), Some(Step::Field(name)) if name == text);
                self.open.pop();
                self.open.push(Place::Value { matches, key_line: line });
            }
            Event::Scalar(..) | Event::Alias(_) => {
                self.node(line);
                self.node_ends();
            }
            Event::SequenceStart(..) => {
                self.node(line);
                self.open.push(Place::Element(0));
            }
            Event::MappingStart(..) => {
                self.node(line);
                self.open.push(Place::Key);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                self.node_ends();
            }
            _ => {}
        }
    }

    /// A node begins: it matches if all around it match and it is where the
    /// path leads next. A key's line stands for its value's.
    fn node(&mut self, line: usize) {
        let depth = self.open.len();
        let line = match self.open.last() {
            None => line,
            Some(_) if self.matched + 1 != depth => return,
            Some(Place::Value { matches: true, key_line }) => *key_line,
            Some(Place::Element(index)) if self.steps.get(depth - 1) == Some(&Step::Item(*index)) => line,
            Some(_) => return,
        };
        self.matched = depth;
        if self.best.is_none_or(|(furthest, _)| depth > furthest) {
            self.best = Some((depth, line));
        }
    }

    fn node_ends(&mut self) {
        self.matched = self.matched.min(self.open.len().saturating_sub(1));
        match self.open.last_mut() {
            Some(Place::Element(index)) => *index += 1,
            Some(place @ Place::Value { .. }) => *place = Place::Key,
            Some(Place::Key) | None => {}
        }
    }

    fn is_over(&self) -> bool {
        self.best.is_some_and(|(furthest, _)| furthest == self.steps.len())
    }
}
