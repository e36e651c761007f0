//! Route tables: which HTTP requests of a proxied app are which tool.
//!
//! A route is a method and a path template: `GET /notes/{id}`, with `{*rest}` for a tail of any
//! length. The most specific template wins, segment by segment: literal, then `{name}`, then
//! `{*rest}`. What matches no route is not forwarded.
//!
//! The request becomes arguments `{"path": {...}, "query": {...}}` (two objects, so that a query
//! field can never pose as a path field), which the rules see as `context.input.path.id` and
//! `context.input.query.limit`. [`RouteMatch::target`] is made from the very values that were
//! decided over, so the upstream sees what the rules saw: a request that two parsers could read
//! differently is refused ([`RouteRefusal`]).

mod decode;
mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, uri::PathAndQuery};
use portcullis_policies::ActionType;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::schema;
use crate::tool::{ActionSource, ToolDraft};
use decode::Query;
use template::{Segment, Tree};

/// Most routes in one table.
pub const MAX_ROUTES: usize = 5_000;

/// One route as the operator or an OpenAPI file writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`; a `HEAD` request uses the `GET` route.
    pub method: String,
    /// Path template, starting with `/`.
    pub path: String,
    /// Function name; made from method and path where absent: `get/notes/:id`.
    #[serde(default)]
    pub name: Option<String>,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Said otherwise than by the method: GET is read, POST, PUT and PATCH write, DELETE
    /// destructive.
    #[serde(default)]
    pub action_type: Option<ActionType>,
    /// Scopes that are all needed.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Kinds of path parameters; those not named are texts.
    #[serde(default)]
    pub path_params: Vec<Param>,
    /// The query parameters that are let through; `None` lets every single text through, which
    /// rules cannot see by name.
    #[serde(default)]
    pub query: Option<Vec<Param>>,
}

/// One declared parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Name.
    pub name: String,
    /// Type.
    #[serde(default)]
    pub kind: ParamKind,
    /// Must be there (path parameters always are).
    #[serde(default)]
    pub required: bool,
}

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamKind {
    /// Any text.
    #[default]
    String,
    /// A whole number in its shortest decimal form.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A text that may be repeated; always a list of texts for the rules.
    List,
}

/// A mistake in a route table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route {route}: {message}")]
pub struct RouteError {
    /// Method and path as written.
    pub route: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Why a request is not one of the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteRefusal {
    /// No template matches this method and path.
    #[error("no route has this method and path")]
    NoRoute,
    /// The path could be read in two ways: `;`, `\`, an encoded `/`, dot segments, bad encoding.
    #[error("the path is ambiguous")]
    AmbiguousPath,
    /// The query could be read in two ways: `;`, a repeated name, bad encoding, `_method`.
    #[error("the query is ambiguous")]
    AmbiguousQuery,
}

/// A request that is a tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteMatch {
    /// Function name of the tool.
    pub function: Arc<str>,
    /// `{"path": {...}, "query": {...}}`.
    pub input: Value,
    /// The argument bytes: canonical JSON of `input`.
    pub args: Bytes,
    /// What the upstream is asked for, below its base; made from `input`.
    pub target: PathAndQuery,
}

/// A checked route table.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    trees: BTreeMap<String, Tree>,
}

#[derive(Debug)]
struct Route {
    spec: RouteSpec,
    function: Arc<str>,
    segments: Vec<Segment>,
}

impl RouteTable {
    /// Checks the routes.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn new(specs: Vec<RouteSpec>) -> Result<RouteTable, Vec<RouteError>> {
        let mut table = RouteTable::default();
        let mut errors = Vec::new();
        if specs.len() > MAX_ROUTES {
            let message = format!("{} routes; at most {MAX_ROUTES} are read", specs.len());
            return Err(vec![RouteError { route: "*".to_owned(), message }]);
        }
        for spec in specs {
            let route = format!("{} {}", spec.method, spec.path);
            if let Err(message) = table.insert(spec) {
                errors.push(RouteError { route, message });
            }
        }
        if errors.is_empty() { Ok(table) } else { Err(errors) }
    }

    /// Finds the route of a request. `path` and `query` are as on the wire, percent-encoded;
    /// `path` starts with `/` below the app's prefix.
    ///
    /// # Errors
    /// When no route matches, or when the request could be read in two ways.
    pub fn find(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> Result<RouteMatch, RouteRefusal> {
        let segments = decode::path(path).ok_or(RouteRefusal::AmbiguousPath)?;
        // RFC 9110 9.3.2: HEAD is GET without the body.
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        let tree = self.trees.get(method.as_str()).ok_or(RouteRefusal::NoRoute)?;
        let index = tree.find(&segments).ok_or(RouteRefusal::NoRoute)?;
        let route = self.routes.get(index).ok_or(RouteRefusal::NoRoute)?;
        let query = decode::query(query.unwrap_or_default(), |name| route.repeats(name))
            .ok_or(RouteRefusal::AmbiguousQuery)?;
        let target = decode::target(&segments, &query).ok_or(RouteRefusal::AmbiguousPath)?;
        let input = route.input(&segments, &query);
        let args = Bytes::from(schema::canonical(&input));
        Ok(RouteMatch { function: Arc::clone(&route.function), input, args, target })
    }

    pub(super) fn drafts(&self) -> Vec<ToolDraft> {
        self.routes.iter().map(Route::draft).collect()
    }

    /// The routes that the operator gave another action type than their method has: function name,
    /// action type of the method, action type by the operator.
    pub(super) fn redefined(&self) -> Vec<(Arc<str>, ActionType, ActionType)> {
        let redefined = |route: &Route| {
            let (from, to) = (route.action_by_method(), route.spec.action_type?);
            (from != to).then(|| (Arc::clone(&route.function), from, to))
        };
        self.routes.iter().filter_map(redefined).collect()
    }

    fn insert(&mut self, spec: RouteSpec) -> Result<(), String> {
        const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        if !METHODS.contains(&spec.method.as_str()) {
            return Err(format!("the method must be one of {}", METHODS.join(", ")));
        }
        let segments = template::parse(&spec.path)?;
        check_params(&spec, &segments)?;
        let function: Arc<str> = match &spec.name {
            Some(name) => name.as_str().into(),
            None => template::derived_name(&spec.method, &segments)?.into(),
        };
        if self.routes.iter().any(|r| r.function == function) {
            return Err(format!("another route is already called {function:?}"));
        }
        let tree = self.trees.entry(spec.method.clone()).or_default();
        tree.insert(&segments, self.routes.len())?;
        self.routes.push(Route { spec, function, segments });
        Ok(())
    }
}

fn check_params(spec: &RouteSpec, segments: &[Segment]) -> Result<(), String> {
    for p in &spec.path_params {
        if !segments.iter().any(|s| s.name() == Some(&p.name)) {
            return Err(format!("the path has no {{{}}}", p.name));
        }
        if p.kind == ParamKind::List {
            return Err(format!("the path parameter {:?} cannot be a list", p.name));
        }
    }
    let mut seen = std::collections::HashSet::new();
    match spec.query.iter().flatten().find(|p| !seen.insert(&p.name)) {
        Some(p) => Err(format!("the query parameter {:?} is declared twice", p.name)),
        None => Ok(()),
    }
}

impl Route {
    fn action_by_method(&self) -> ActionType {
        match self.spec.method.as_str() {
            "GET" => ActionType::Read,
            "DELETE" => ActionType::Destructive,
            _ => ActionType::Write,
        }
    }

    fn draft(&self) -> ToolDraft {
        ToolDraft {
            function: self.function.to_string(),
            description: self.spec.description.clone(),
            action_type: self.spec.action_type.unwrap_or_else(|| self.action_by_method()),
            source: match self.spec.action_type {
                Some(_) => ActionSource::Operator,
                None => ActionSource::RouteMethod,
            },
            scopes: self.spec.scopes.clone(),
            input_schema: self.input_schema(),
            long_running: false,
        }
    }

    fn input_schema(&self) -> Value {
        let names: Vec<&str> = self.segments.iter().filter_map(Segment::name).collect();
        let path: Map<String, Value> =
            names.iter().map(|n| ((*n).to_owned(), self.path_kind(n).schema())).collect();
        let declared = self.spec.query.iter().flatten();
        let query: Map<String, Value> =
            declared.clone().map(|p| (p.name.clone(), p.kind.schema())).collect();
        let required: Vec<&str> =
            declared.filter(|p| p.required).map(|p| p.name.as_str()).collect();
        let others =
            if self.spec.query.is_some() { json!(false) } else { json!({"type": "string"}) };
        json!({
            "type": "object", "required": ["path", "query"], "additionalProperties": false,
            "properties": {
                "path": {"type": "object", "properties": path, "required": names,
                         "additionalProperties": false},
                "query": {"type": "object", "properties": query, "required": required,
                          "additionalProperties": others},
            }
        })
    }

    fn path_kind(&self, name: &str) -> ParamKind {
        self.spec.path_params.iter().find(|p| p.name == name).map(|p| p.kind).unwrap_or_default()
    }

    fn query_kind(&self, name: &str) -> ParamKind {
        let mut declared = self.spec.query.iter().flatten();
        declared.find(|p| p.name == name).map(|p| p.kind).unwrap_or_default()
    }

    fn repeats(&self, name: &str) -> bool {
        self.query_kind(name) == ParamKind::List
    }

    fn input(&self, segments: &[String], query: &Query) -> Value {
        let path: Map<String, Value> = template::bind(&self.segments, segments)
            .map(|(name, text)| (name.to_owned(), self.path_kind(name).value(&text)))
            .collect();
        let query: Map<String, Value> = query
            .iter()
            .map(|(name, values)| {
                let kind = self.query_kind(name);
                let value = match (kind, values.first()) {
                    (ParamKind::List, _) | (_, None) => json!(values),
                    (kind, Some(text)) => kind.value(text),
                };
                (name.clone(), value)
            })
            .collect();
        json!({ "path": path, "query": query })
    }
}

impl ParamKind {
    fn schema(self) -> Value {
        match self {
            ParamKind::String => json!({"type": "string"}),
            ParamKind::Integer => json!({"type": "integer"}),
            ParamKind::Boolean => json!({"type": "boolean"}),
            ParamKind::List => json!({"type": "array", "items": {"type": "string"}}),
        }
    }

    /// The typed value, or the text itself where it is not in the one canonical form: that then
    /// fails the schema. "007" is not 7, because the upstream gets to see "007".
    fn value(self, text: &str) -> Value {
        match self {
            ParamKind::Integer => match text.parse::<i64>() {
                Ok(n) if n.to_string() == text => Value::from(n),
                _ => Value::from(text),
            },
            ParamKind::Boolean if text == "true" => Value::from(true),
            ParamKind::Boolean if text == "false" => Value::from(false),
            _ => Value::from(text),
        }
    }
}
