//! Path templates and the tree that finds the most specific one.

use std::borrow::Cow;
use std::collections::HashMap;

/// Most segments of a template or a request path.
pub(super) const MAX_SEGMENTS: usize = 64;

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    Param(String),
    Tail(String),
}

impl Segment {
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Segment::Literal(_) => None,
            Segment::Param(name) | Segment::Tail(name) => Some(name),
        }
    }
}

/// Parses `/notes/{id}/{*rest}`; the root `/` has one empty literal segment, as in requests.
pub(super) fn parse(path: &str) -> Result<Vec<Segment>, String> {
    let rest = path.strip_prefix('/').ok_or("the path must start with \"/\"")?;
    let segments = rest.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
    let last = segments.len() - 1;
    let mut names: Vec<&str> = segments.iter().filter_map(Segment::name).collect();
    names.sort_unstable();
    if segments.len() > MAX_SEGMENTS {
        return Err(format!("the path has more than {MAX_SEGMENTS} segments"));
    }
    if names.windows(2).any(|w| w.first() == w.last()) {
        return Err("a parameter name appears twice in the path".to_owned());
    }
    if segments.iter().take(last).any(|s| matches!(s, Segment::Tail(_))) {
        return Err("{*rest} may only be the last segment".to_owned());
    }
    Ok(segments)
}

fn segment(text: &str) -> Result<Segment, String> {
    let Some(inner) = text.strip_prefix('{') else {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,=:@".contains(c);
        if text == "." || text == ".." || text.starts_with(':') || !text.chars().all(plain) {
            return Err(format!("{text:?} is no plain path segment"));
        }
        return Ok(Segment::Literal(text.to_owned()));
    };
    let inner = inner.strip_suffix('}').ok_or_else(|| format!("{text:?} has no closing brace"))?;
    let (tail, name) = inner.strip_prefix('*').map_or((false, inner), |n| (true, n));
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(word) {
        return Err(format!("{text:?}: a parameter name has letters, digits, \"_\" and \"-\""));
    }
    let name = name.to_owned();
    Ok(if tail { Segment::Tail(name) } else { Segment::Param(name) })
}

/// `get/notes/:id`: injective, since no literal segment starts with `:`.
pub(super) fn derived_name(method: &str, segments: &[Segment]) -> Result<String, String> {
    let mut name = method.to_ascii_lowercase();
    for s in segments {
        match s {
            Segment::Literal(text) if text.is_empty() => continue,
            Segment::Literal(text) => name = format!("{name}/{text}"),
            Segment::Param(p) => name = format!("{name}/:{p}"),
            Segment::Tail(p) => name = format!("{name}/::{p}"),
        }
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-/".contains(c);
    if name.len() <= 128 && name.chars().all(fits) {
        Ok(name)
    } else {
        Err("no function name can be made from this path; give the route a \"name\"".to_owned())
    }
}

/// Pairs parameter names with the request's segments; a tail is joined with `/`.
pub(super) fn bind<'a>(
    template: &'a [Segment],
    request: &'a [String],
) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
    template.iter().enumerate().filter_map(|(i, s)| match s {
        Segment::Literal(_) => None,
        Segment::Param(name) => request.get(i).map(|v| (name.as_str(), Cow::from(v.as_str()))),
        Segment::Tail(name) => {
            request.get(i..).map(|rest| (name.as_str(), Cow::from(rest.join("/"))))
        }
    })
}

/// A tree over segments; a leaf is an index into the route list.
#[derive(Debug, Default)]
pub(super) struct Tree {
    literals: HashMap<String, Tree>,
    param: Option<Box<Tree>>,
    tail: Option<usize>,
    here: Option<usize>,
}

impl Tree {
    /// Adds a template.
    pub(super) fn insert(&mut self, segments: &[Segment], leaf: usize) -> Result<(), String> {
        let Some((first, rest)) = segments.split_first() else {
            return occupy(&mut self.here, leaf);
        };
        match first {
            Segment::Literal(text) => {
                self.literals.entry(text.clone()).or_default().insert(rest, leaf)
            }
            Segment::Param(_) => self.param.get_or_insert_default().insert(rest, leaf),
            Segment::Tail(_) => occupy(&mut self.tail, leaf),
        }
    }

    /// The leaf of the most specific template. Recursion is bounded by the depth of the table.
    pub(super) fn find(&self, segments: &[String]) -> Option<usize> {
        let Some((first, rest)) = segments.split_first() else { return self.here };
        let literal = self.literals.get(first.as_str()).and_then(|t| t.find(rest));
        // An empty segment is no value: `/notes/` is not `/notes/{id}` with an empty id.
        let param = || self.param.as_ref().filter(|_| !first.is_empty()).and_then(|t| t.find(rest));
        literal.or_else(param).or(self.tail)
    }
}

fn occupy(slot: &mut Option<usize>, leaf: usize) -> Result<(), String> {
    if slot.is_some() {
        return Err("another route of this method matches exactly the same paths".to_owned());
    }
    *slot = Some(leaf);
    Ok(())
}
