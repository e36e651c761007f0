//! From a tool's JSON Schema to the Cedar type of its arguments.
//!
//! The schema is read by `mcp-tools-sdk` and typed by `cedar-policy-mcp-schema-generator`. Two things are done before:
//! what Cedar has no exact type for is cut out and reported by its path (numbers with a fraction, alternatives, tuples,
//! maps, arguments whose name is no Cedar identifier), because the generator would make opaque entities of it that no
//! rule can use; and strings lose `enum` and `format`, so that an author compares them with plain strings.

use std::collections::HashMap;

use cedar_policy_mcp_schema_generator::{SchemaGenerator, SchemaGeneratorConfig};
use mcp_tools_sdk::description::{Parameters, Property, PropertyType, ToolDescription};
use serde_json::{Value as Json, json};

use super::input::{InputAttribute, InputType};
use super::open::open_ends;

/// How deep arguments may nest before rules stop seeing them; also the bound on `$ref` chains.
pub(super) const DEPTH_MAX: usize = 8;

const STUB: &str = r#"namespace Portcullis {
    @mcp_principal("User") entity User;
    @mcp_resource("Target") entity Target;
}"#;

/// Most places and names of one tool's schema that a walk looks at, the one that makes the type and the one for open
/// ends each. References fan out to the power of their depth, so that a small schema of a hostile server could
/// otherwise hold up every load of the rules, or take all memory.
pub(super) const PLACES_MAX: usize = 10_000;

/// A path costs as much as another place for each so many bytes, because reports repeat it.
const PATH_BYTES: usize = 256;

pub(super) const TOO_LARGE: &str =
    "the schema is too large to be walked whole; refer to fewer definitions";

/// What a walk may still look at.
pub(super) struct Budget {
    left: usize,
    spent: bool,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: PLACES_MAX, spent: false }
    }

    /// Pays for one place or name; none when there is not enough left, and ever after.
    pub(super) fn pay(&mut self, path: &str) -> Option<()> {
        let left = self.left.checked_sub(1 + path.len() / PATH_BYTES);
        self.spent |= left.is_none();
        self.left = left.unwrap_or(0);
        (!self.spent).then_some(())
    }
}

/// A path within the arguments that Cedar cannot type, and why.
#[derive(Debug, Clone)]
pub(crate) struct Untyped {
    pub(crate) path: String,
    pub(crate) why: String,
    /// Whether `path` ends in a `.*` of ours, for all that a schema lets in without naming it. The path alone does not
    /// tell: a server may name an argument `*`.
    pub(crate) open: bool,
}

impl Untyped {
    pub(super) fn named(path: String, why: String) -> Self {
        Self { path, why, open: false }
    }

    pub(super) fn open(path: String, why: String) -> Self {
        Self { path, why, open: true }
    }
}

/// No type and one report, for a schema of which nothing is typed.
fn nothing(why: String) -> (InputType, Vec<Untyped>) {
    (InputType::empty(), vec![Untyped::named("$".to_owned(), why)])
}

/// Types tools one by one and remembers schemas that it has seen.
pub(crate) struct Typist {
    stub: SchemaGenerator,
    seen: HashMap<String, (InputType, Vec<Untyped>)>,
}

impl Typist {
    /// # Errors
    /// Never in practice: the stub is a constant.
    pub(crate) fn new() -> Result<Self, String> {
        let config = SchemaGeneratorConfig::default().objects_as_records(true);
        let stub = SchemaGenerator::from_cedarschema_str_with_config(STUB, config)
            .map_err(|e| e.to_string())?;
        Ok(Self { stub, seen: HashMap::new() })
    }

    /// The type of the arguments, and what was left out of it.
    pub(crate) fn type_of(&mut self, input_schema: &Json) -> (InputType, Vec<Untyped>) {
        let key = input_schema.to_string();
        if let Some(known) = self.seen.get(&key) {
            return known.clone();
        }
        let typed = self.type_anew(input_schema);
        self.seen.insert(key, typed.clone());
        typed
    }

    fn type_anew(&self, input_schema: &Json) -> (InputType, Vec<Untyped>) {
        let description = json!({"name": "tool", "description": "", "inputSchema": input_schema});
        let tool = match ToolDescription::from_json_str(&description.to_string()) {
            Ok(tool) => tool,
            Err(e) => return nothing(e.to_string()),
        };
        let mut cut = Cut { tool: &tool, untyped: Vec::new(), budget: Budget::new() };
        let properties = cut.properties(tool.inputs().properties(), "$", 0);
        if cut.budget.spent {
            // Which arguments had a type would depend on their order.
            return nothing(TOO_LARGE.to_owned());
        }
        let mut attributes = Vec::new();
        for property in properties {
            match self.generate(&property) {
                Ok(ty) => attributes.push(InputAttribute {
                    name: property.name().to_owned(),
                    ty,
                    required: property.is_required(),
                }),
                Err(why) => {
                    cut.untyped.push(Untyped::named(format!("$.{}", property.name()), why));
                }
            }
        }
        attributes.sort();
        let ty = InputType::Record(attributes);
        let open = open_ends(input_schema, &ty, &cut.untyped);
        cut.untyped.extend(open);
        (ty, cut.untyped)
    }

    /// Runs the generator on one argument and reads the type off the schema that it makes.
    fn generate(&self, property: &Property) -> Result<InputType, String> {
        let none = || Parameters::new(Vec::new(), HashMap::new());
        let inputs = Parameters::new(vec![property.clone()], HashMap::new());
        let tool = ToolDescription::new("tool".into(), inputs, none(), HashMap::new(), None);
        let mut generator = self.stub.clone();
        generator.add_action_from_tool_description(&tool).map_err(|e| e.to_string())?;
        let schema = serde_json::to_value(generator.get_schema()).map_err(|e| e.to_string())?;
        let input = common_type(&schema, "Portcullis", "toolInput");
        let attribute = input.and_then(|i| i.get("attributes")?.get(property.name()));
        attribute
            .and_then(|a| read_type(&schema, "Portcullis::tool::Input", a, 0))
            .ok_or_else(|| "the schema generator gave it a type that rules cannot use".to_owned())
    }
}

/// Cuts out what Cedar cannot type and notes where it was.
struct Cut<'t> {
    tool: &'t ToolDescription,
    untyped: Vec<Untyped>,
    budget: Budget,
}

impl<'t> Cut<'t> {
    fn properties<'p>(
        &mut self,
        properties: impl Iterator<Item = &'p Property>,
        path: &str,
        depth: usize,
    ) -> Vec<Property> {
        let mut kept = Vec::new();
        for p in properties {
            let place = format!("{path}.{}", p.name());
            let (ty, nullable) = match nullable(p.property_type()) {
                Some(inner) => (inner, true),
                None => (p.property_type(), false),
            };
            match self.cut(ty, &place, depth) {
                Ok(ty) => {
                    let required = p.is_required() && !nullable;
                    kept.push(Property::new(p.name().into(), required, ty, None));
                }
                Err(_) if self.budget.spent => break,
                Err(why) => self.untyped.push(Untyped::named(place, why.to_owned())),
            }
        }
        kept
    }

    fn cut(
        &mut self,
        ty: &PropertyType,
        path: &str,
        depth: usize,
    ) -> Result<PropertyType, &'static str> {
        self.budget.pay(path).ok_or(TOO_LARGE)?;
        if depth >= DEPTH_MAX {
            return Err("it nests deeper than rules look");
        }
        match ty {
            PropertyType::Bool | PropertyType::Integer => Ok(ty.clone()),
            PropertyType::String
            | PropertyType::Decimal
            | PropertyType::Datetime
            | PropertyType::Duration
            | PropertyType::IpAddr
            | PropertyType::Enum { .. } => Ok(PropertyType::String),
            PropertyType::Array { element_ty } => {
                let element = self.cut(element_ty, &format!("{path}[]"), depth + 1)?;
                Ok(PropertyType::Array { element_ty: Box::new(element) })
            }
            PropertyType::Object { properties, additional_properties: None } => {
                let properties = self.properties(properties.iter(), path, depth + 1);
                Ok(PropertyType::Object { properties, additional_properties: None })
            }
            PropertyType::Ref { name } => match self.definition(name) {
                Some(ty) => self.cut(ty, path, depth + 1),
                None => Err("it refers to a definition that is not there"),
            },
            PropertyType::Float | PropertyType::Number => Err(
                "Cedar has no exact type for numbers with a fraction; use an integer, in cents say",
            ),
            PropertyType::Object { .. } => Err("it is a map with free keys"),
            PropertyType::Union { .. } => Err("it can be of more than one type"),
            PropertyType::Tuple { .. } => Err("it is a tuple"),
            PropertyType::Null | PropertyType::Unknown => Err("its schema does not say a type"),
        }
    }

    fn definition(&self, name: &str) -> Option<&'t PropertyType> {
        let inputs = self.tool.inputs().type_definitions();
        let mut all = inputs.chain(self.tool.type_definitions());
        all.find(|d| d.name() == name).map(|d| d.property_type())
    }
}

/// The type `T` of `T or null`, which many generators write for an optional argument.
fn nullable(ty: &PropertyType) -> Option<&PropertyType> {
    let PropertyType::Union { types } = ty else { return None };
    match types.as_slice() {
        [PropertyType::Null, t] | [t, PropertyType::Null] => Some(t),
        _ => None,
    }
}

fn common_type<'s>(schema: &'s Json, namespace: &str, name: &str) -> Option<&'s Json> {
    schema.get(namespace)?.get("commonTypes")?.get(name)
}

/// Reads a type of the generator's schema, `namespace` being where unqualified names live.
fn read_type(schema: &Json, namespace: &str, ty: &Json, depth: usize) -> Option<InputType> {
    if depth > 2 * DEPTH_MAX {
        return None;
    }
    match ty.get("type")?.as_str()? {
        "Set" => {
            let element = read_type(schema, namespace, ty.get("element")?, depth + 1)?;
            Some(InputType::Set(Box::new(element)))
        }
        "Record" => read_record(schema, namespace, ty, depth),
        "EntityOrCommon" => read_named(schema, namespace, ty.get("name")?.as_str()?, depth),
        "Boolean" => Some(InputType::Bool),
        "Long" => Some(InputType::Long),
        "String" => Some(InputType::Text),
        name => read_named(schema, namespace, name, depth),
    }
}

fn read_record(schema: &Json, namespace: &str, ty: &Json, depth: usize) -> Option<InputType> {
    let mut attributes = Vec::new();
    for (name, attribute) in ty.get("attributes")?.as_object()? {
        let required = attribute.get("required").and_then(Json::as_bool).unwrap_or(true);
        let ty = read_type(schema, namespace, attribute, depth + 1)?;
        attributes.push(InputAttribute { name: name.clone(), ty, required });
    }
    attributes.sort();
    Some(InputType::Record(attributes))
}

fn read_named(schema: &Json, namespace: &str, name: &str, depth: usize) -> Option<InputType> {
    match name.strip_prefix("__cedar::").unwrap_or(name) {
        "Bool" | "Boolean" => return Some(InputType::Bool),
        "Long" => return Some(InputType::Long),
        "String" => return Some(InputType::Text),
        _ => {}
    }
    let (home, base) = match name.rsplit_once("::") {
        Some((home, base)) if schema.get(home).is_some() => (home.to_owned(), base),
        Some((home, base)) => (format!("{namespace}::{home}"), base),
        None => (namespace.to_owned(), name),
    };
    let ty = common_type(schema, &home, base)?;
    read_type(schema, &home, ty, depth + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(properties: Json) -> (String, Vec<String>) {
        // Closed, so that only what a test is about is reported; open ends have tests of their own.
        let schema = json!({"type": "object", "properties": properties, "required": ["a"],
            "additionalProperties": false});
        let (ty, untyped) = Typist::new().unwrap().type_of(&schema);
        (ty.to_cedar(), untyped.into_iter().map(|of| of.path).collect())
    }

    #[test]
    fn plain_arguments_keep_their_types() {
        let (ty, untyped) = typed(json!({
            "a": {"type": "integer"}, "b": {"type": "boolean"}, "c": {"type": "string", "format": "date-time"},
            "d": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}},
        }));
        assert_eq!(ty, r#"{ "a": Long, "b"?: Bool, "c"?: String, "d"?: Set<String>, }"#);
        assert!(untyped.is_empty());
    }

    #[test]
    fn nested_objects_become_records() {
        let inner = json!({"type": "object", "additionalProperties": false,
            "properties": {"x": {"type": "string"}, "y": {"type": "number"},
                "z": {"type": "object", "properties": {"deep": {"type": "integer"}}, "required": ["deep"],
                    "additionalProperties": false}}});
        let (ty, untyped) = typed(json!({"a": inner}));
        assert_eq!(ty, r#"{ "a": { "x"?: String, "z"?: { "deep": Long, }, }, }"#);
        assert_eq!(untyped, ["$.a.y"]);
    }

    #[test]
    fn what_cedar_cannot_type_is_reported_by_its_path() {
        let (ty, untyped) = typed(json!({
            "a": {"type": "string"}, "price": {"type": "number"}, "either": {"type": ["string", "integer"]},
            "no-id": {"type": "string"}, "if": {"type": "string"}, "any": {},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "number"}},
        }));
        assert_eq!(ty, r#"{ "a": String, }"#);
        let mut untyped = untyped;
        untyped.sort();
        assert_eq!(untyped, ["$.any", "$.either", "$.if", "$.list", "$.map", "$.no-id", "$.price"]);
    }

    #[test]
    fn an_argument_that_may_be_null_is_optional() {
        let (ty, untyped) = typed(json!({"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}));
        assert_eq!((ty.as_str(), untyped.len()), (r#"{ "a"?: String, }"#, 0));
    }

    #[test]
    fn references_are_followed_and_endless_ones_reported() {
        let schema = json!({"type": "object",
            "properties": {"a": {"$ref": "#/$defs/A"}, "t": {"$ref": "#/$defs/T"}},
            "$defs": {"A": {"type": "object", "properties": {"n": {"type": "integer"}}},
                "T": {"type": "object", "properties": {"next": {"$ref": "#/$defs/T"}, "v": {"type": "string"}}}}});
        let (ty, untyped) = Typist::new().unwrap().type_of(&schema);
        let ty = ty.to_cedar();
        if untyped.iter().any(|of| of.path == "$") {
            return; // the reader itself refuses endless definitions: then nothing is typed, and it says so
        }
        assert!(ty.contains(r#""a"?: { "n"?: Long, }"#), "{ty}");
        assert!(untyped.iter().any(|of| of.path.starts_with("$.t.next")), "{untyped:?}");
    }

    #[test]
    fn arguments_that_the_schema_does_not_name_are_reported() {
        let schema = json!({"type": "object", "properties": {}, "additionalProperties": true});
        let (_, untyped) = Typist::new().unwrap().type_of(&schema);
        assert_eq!(untyped[0].path, "$.*");
    }

    #[test]
    fn schema_that_is_no_schema_is_reported_and_types_nothing() {
        let (ty, untyped) = Typist::new().unwrap().type_of(&json!([1, 2]));
        assert_eq!(ty, InputType::empty());
        assert_eq!(untyped[0].path, "$");
    }

    #[test]
    fn references_that_fan_out_type_nothing_and_are_reported() {
        let object = |next: &Json| {
            let named = (0..1_000).map(|at| (format!("p{at}"), next.clone()));
            json!({"type": "object", "properties": named.collect::<serde_json::Map<_, _>>()})
        };
        let to = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
        let mut schema = object(&to("A2"));
        schema["$defs"] = json!({"A2": object(&to("A3")), "A3": object(&to("A4")),
            "A4": object(&json!({"type": "string"}))});
        let (ty, untyped) = Typist::new().unwrap().type_of(&schema);
        assert_eq!(ty, InputType::empty());
        let told: Vec<_> = untyped.iter().map(|of| (of.path.as_str(), of.why.as_str())).collect();
        assert_eq!(told, [("$", TOO_LARGE)]);
    }
}
