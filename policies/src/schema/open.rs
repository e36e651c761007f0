//! What a tool's JSON Schema lets in although the Cedar type of its arguments does not have it.
//!
//! A JSON Schema is open unless it says `additionalProperties: false`: arguments that it does not name are valid and
//! reach the tool, and no rule sees them. This walk goes through the schema and the type side by side, so it looks
//! exactly where rules can look and ends where the type ends. In doubt it reports too much: `unevaluatedProperties`
//! closes a schema in some drafts only, and so it is not believed here.

use std::collections::{HashSet, VecDeque};
use std::ptr;

use serde_json::{Map, Value as Json};

use super::input::{InputAttribute, InputType};
use super::typing::{Budget, DEPTH_MAX, TOO_LARGE, Untyped};

/// Keywords that hold a list of subschemas, one subschema, or subschemas by name, for the object that they stand in.
const LISTS: [&str; 3] = ["oneOf", "anyOf", "allOf"];
const SINGLES: [&str; 3] = ["if", "then", "else"];
const BY_NAME: [&str; 2] = ["dependentSchemas", "dependencies"];

/// The open ends of a schema whose arguments have a type: `<path>.*` for what an object lets in without naming it,
/// and `<path>.<name>` for what only a subschema beside `properties` names. Places that are `known` already are left
/// out. A schema that is too large to be walked whole has one more report, `$.*`, for all that was not reached.
pub(super) fn open_ends(schema: &Json, ty: &InputType, known: &[Untyped]) -> Vec<Untyped> {
    let known = known.iter().map(|of| (of.open, of.path.clone())).collect();
    let mut walk = Walk { root: schema, known, found: Vec::new(), budget: Budget::new() };
    if walk.place(schema, ty, "$").is_none() {
        // No open end, of which schemas are full and nobody is warned: arguments may be named that are not here.
        let (path, why) = ("$.*".to_owned(), TOO_LARGE.to_owned());
        walk.found.push(Untyped { path, why, open: false });
    }
    walk.found
}

struct Walk<'s> {
    root: &'s Json,
    /// Whether it is an open end, and its path: an argument may be named `*`.
    known: HashSet<(bool, String)>,
    found: Vec<Untyped>,
    budget: Budget,
}

/// Every step is none once the budget is spent, which ends the walk.
impl<'s> Walk<'s> {
    fn add(&mut self, of: Untyped) {
        if self.known.insert((of.open, of.path.clone())) {
            self.found.push(of);
        }
    }

    fn place(&mut self, schema: &'s Json, ty: &InputType, path: &str) -> Option<()> {
        self.budget.pay(path)?;
        match ty {
            InputType::Record(attributes) => self.object(schema, attributes, path),
            InputType::Set(element) => self.items(schema, element, path),
            InputType::Bool | InputType::Long | InputType::Text => Some(()),
        }
    }

    fn items(&mut self, schema: &'s Json, element: &InputType, path: &str) -> Option<()> {
        let place = format!("{path}[]");
        let first = schema.get("prefixItems").and_then(Json::as_array);
        // The reader makes one type of first items that are alike, most of them references to one definition.
        let mut visited = HashSet::new();
        for item in first.into_iter().flatten().chain(schema.get("items")) {
            self.budget.pay(&place)?;
            let item = self.typed_from(item);
            if visited.insert(ptr::from_ref(item)) {
                self.place(item, element, &place)?;
            }
        }
        Some(())
    }

    fn object(
        &mut self,
        schema: &'s Json,
        attributes: &[InputAttribute],
        path: &str,
    ) -> Option<()> {
        let named = schema.get("properties").and_then(Json::as_object);
        for (name, inner) in named.into_iter().flatten() {
            let place = format!("{path}.{name}");
            // Attributes are sorted by name wherever they are made.
            let at = attributes.binary_search_by(|a| a.name.as_str().cmp(name));
            match at.ok().and_then(|at| attributes.get(at)) {
                Some(attribute) => self.place(self.typed_from(inner), &attribute.ty, &place)?,
                None => {
                    self.budget.pay(&place)?;
                    self.add(Untyped::named(place, "no type was made for it".to_owned()));
                }
            }
        }
        if let Some(opening) = opening(schema) {
            self.named_elsewhere(schema, path)?;
            let why = format!("arguments that the schema does not name are not typed ({opening})");
            self.add(Untyped::open(format!("{path}.*"), why));
        }
        Some(())
    }

    /// Reports the names that stand only in subschemas beside `properties`, from which no type is made.
    fn named_elsewhere(&mut self, schema: &'s Json, path: &str) -> Option<()> {
        let here = schema.get("properties").and_then(Json::as_object);
        let mut visited = HashSet::from([ptr::from_ref(schema)]);
        let mut waiting = VecDeque::from([(None, schema)]);
        while let Some((outermost, next)) = waiting.pop_front() {
            if let Some(keyword) = outermost {
                self.names(next, keyword, here, path)?;
            }
            for (keyword, inner) in beside(self.root, next) {
                // Paid before it waits, so that those who wait are bounded too.
                self.budget.pay(path)?;
                if visited.insert(ptr::from_ref(inner)) {
                    // The keyword of the outermost subschema is the one that the author looks for.
                    waiting.push_back((Some(outermost.unwrap_or(keyword)), inner));
                }
            }
        }
        Some(())
    }

    /// Reports the names in one subschema that are not `here`, in the object's own `properties`.
    fn names(
        &mut self,
        subschema: &Json,
        keyword: &str,
        here: Option<&Map<String, Json>>,
        path: &str,
    ) -> Option<()> {
        let named = subschema.get("properties").and_then(Json::as_object);
        for (name, _) in named.into_iter().flatten() {
            let place = format!("{path}.{name}");
            self.budget.pay(&place)?;
            if !here.is_some_and(|here| here.contains_key(name)) {
                let why = format!("only `{keyword}` names it, and types are made of `properties`");
                self.add(Untyped::named(place, why));
            }
        }
        Some(())
    }

    /// The schema that the type of a place was made from: behind references and the `T` of `T or null`, in the order
    /// in which the reader of schemas looks.
    fn typed_from(&self, schema: &'s Json) -> &'s Json {
        let mut schema = schema;
        for _ in 0..=DEPTH_MAX {
            if schema.get("type").is_some() {
                break;
            }
            match not_null(schema).or_else(|| self.definition(schema)) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    fn definition(&self, schema: &Json) -> Option<&'s Json> {
        let name = schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
        // Validation decodes such a name and the reader does not, so the two may mean different definitions.
        let plain = !name.contains(['~', '%', '/']);
        self.root.get("$defs")?.get(name).filter(|_| plain)
    }
}

/// The subschemas that apply to the same object, each with its keyword.
fn beside<'s>(
    root: &'s Json,
    schema: &'s Json,
) -> impl Iterator<Item = (&'static str, &'s Json)> + use<'s> {
    let lists = LISTS.iter().flat_map(move |key| {
        let list = schema.get(key).and_then(Json::as_array);
        list.into_iter().flatten().map(move |s| (*key, s))
    });
    let singles = SINGLES.iter().filter_map(move |key| Some((*key, schema.get(key)?)));
    let by_name = BY_NAME.iter().flat_map(move |key| {
        let map = schema.get(key).and_then(Json::as_object);
        map.into_iter().flatten().map(move |(_, s)| (*key, s))
    });
    let reference = schema.get("$ref").and_then(Json::as_str);
    let target = reference.and_then(|r| root.pointer(r.strip_prefix('#')?));
    lists.chain(singles).chain(by_name).chain(target.map(|s| ("$ref", s)))
}

/// The `T` of `anyOf` or `oneOf` with `T` and null.
fn not_null(schema: &Json) -> Option<&Json> {
    let either = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    let is_null = |s: &Json| s.get("type").and_then(Json::as_str) == Some("null");
    match either.as_slice() {
        [null, t] | [t, null] if is_null(null) && !is_null(t) => Some(t),
        _ => None,
    }
}

/// What lets an object have members that its schema does not name; none when it is closed.
fn opening(schema: &Json) -> Option<&'static str> {
    let patterns = schema.get("patternProperties").and_then(Json::as_object);
    if patterns.is_some_and(|p| !p.is_empty()) {
        return Some("`patternProperties`");
    }
    // Up to draft 7 whatever stands beside a reference is ignored, `additionalProperties` too.
    if schema.get("$ref").is_some() {
        return Some("`$ref`");
    }
    match schema.get("additionalProperties") {
        Some(Json::Bool(false)) => None,
        Some(_) => Some("`additionalProperties`"),
        None => Some("no `additionalProperties: false`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::typing::{PLACES_MAX, Typist};
    use super::*;

    fn paths(schema: &Json) -> Vec<String> {
        let (_, untyped) = Typist::new().unwrap().type_of(schema);
        untyped.into_iter().map(|of| of.path).collect()
    }

    /// A closed object whose only argument is `a`.
    fn with(a: Json) -> Json {
        json!({"type": "object", "properties": {"a": a}, "additionalProperties": false})
    }

    #[test]
    fn whatever_a_schema_lets_in_without_a_type_is_reported_at_its_place() {
        let text = json!({"type": "string"});
        let one = json!({"type": "object", "properties": {"x": text}});
        let closed =
            json!({"type": "object", "properties": {"x": text}, "additionalProperties": false});
        let list = |items: &Json| json!({"type": "array", "items": items});
        let map = |members: &Json| json!({"type": "object", "additionalProperties": members});
        let first = json!({"type": "array", "prefixItems": [one], "items": closed});
        let mut patterns = with(text.clone());
        patterns["patternProperties"] = json!({"^x-": text});
        let cases: [(&str, Json, &[&str]); 14] = [
            ("closed", with(closed.clone()), &[]),
            ("open by default", one.clone(), &["$.*"]),
            ("open as written", map(&text), &["$.*"]),
            ("no words at all", json!({}), &["$.*"]),
            ("nested, open by default", with(one.clone()), &["$.a.*"]),
            ("nested, open as written", with(map(&json!(true))), &["$.a.*"]),
            ("nested twice", with(with(one.clone())), &["$.a.a.*"]),
            ("array of closed objects", with(list(&closed)), &[]),
            ("array of open objects", with(list(&one)), &["$.a[].*"]),
            ("array whose first object is open", with(first), &["$.a[].*"]),
            ("patterns in a closed object", patterns, &["$.*"]),
            ("open or null", with(json!({"anyOf": [{"type": "null"}, one]})), &["$.a.*"]),
            ("closed or null", with(json!({"oneOf": [closed, {"type": "null"}]})), &[]),
            ("an untyped place, once", with(map(&one)), &["$.a"]),
        ];
        for (name, schema, expected) in cases {
            assert_eq!(paths(&schema), expected, "{name}: {schema}");
        }
    }

    #[test]
    fn arguments_that_only_a_subschema_names_are_reported_by_name() {
        let names = |name: &str| json!({"properties": {"a": {}, name: {"type": "string"}}});
        let cases = [
            ("oneOf", json!([names("b"), names("c")]), vec!["$.b", "$.c", "$.*"]),
            ("anyOf", json!([names("b"), {"required": ["a"]}]), vec!["$.b", "$.*"]),
            ("allOf", json!([{"oneOf": [names("b")]}]), vec!["$.b", "$.*"]),
            ("then", names("b"), vec!["$.b", "$.*"]),
            ("dependentSchemas", json!({"a": names("b")}), vec!["$.b", "$.*"]),
            ("$ref", json!("#/$defs/D"), vec!["$.b", "$.*"]),
            ("allOf", json!([{"$ref": "#/$defs/D"}, {"$ref": "#"}]), vec!["$.b", "$.*"]),
        ];
        for (keyword, value, expected) in cases {
            let mut schema = json!({"type": "object", "properties": {"a": {"type": "string"}},
                "$defs": {"D": names("b")}});
            schema[keyword] = value;
            assert_eq!(paths(&schema), expected, "{schema}");
            schema["additionalProperties"] = json!(false);
            let closed = if keyword == "$ref" { expected } else { vec![] };
            assert_eq!(paths(&schema), closed, "closed: {schema}");
        }
    }

    #[test]
    fn an_alternative_beside_nested_properties_is_reported_at_its_place() {
        let inner = json!({"type": "object", "properties": {"x": {"type": "string"}},
            "oneOf": [{"properties": {"y": {"type": "string"}}}]});
        assert_eq!(paths(&with(inner)), ["$.a.y", "$.a.*"]);
    }

    #[test]
    fn references_to_open_definitions_are_reported_where_they_are_used() {
        let mut schema = with(json!({"$ref": "#/$defs/Open"}));
        schema["properties"]["b"] = json!({"$ref": "#/$defs/Closed"});
        schema["$defs"] =
            json!({"Open": {"type": "object"}, "Closed": with(json!({"type": "string"}))});
        assert_eq!(paths(&schema), ["$.a.*"]);
    }

    #[test]
    fn arguments_beside_the_schema_that_the_reader_unwraps_are_reported() {
        let mut schema = with(json!({"type": "string"}));
        schema["json"] = json!({"type": "object", "properties": {}});
        assert_eq!(paths(&schema), ["$.a"]);
    }

    #[test]
    fn references_in_a_circle_end_and_so_does_a_schema_of_very_many_subschemas() {
        let circle = |at: usize| json!({"$ref": format!("#/allOf/{}", (at + 1) % 200)});
        let mut schema =
            json!({"type": "object", "allOf": (0..200).map(circle).collect::<Vec<_>>()});
        assert_eq!(paths(&schema), ["$.*"]);
        // All of them and the object itself are paid for before the first name is.
        let mut many = vec![json!({}); PLACES_MAX - 4];
        many.extend(["last", "late"].map(|name| json!({"properties": {name: {}}})));
        schema["allOf"] = json!(many);
        assert_eq!(paths(&schema), ["$.last", "$.*"]);
        assert!(is_cut(&schema));
    }

    fn is_cut(schema: &Json) -> bool {
        let (_, untyped) = Typist::new().unwrap().type_of(schema);
        tells_of_cut(&untyped)
    }

    /// Whether the last report is that of all that the walk did not reach.
    fn tells_of_cut(untyped: &[Untyped]) -> bool {
        untyped.last().is_some_and(|of| !of.open && of.path == "$.*" && of.why == TOO_LARGE)
    }

    /// Three definitions of arrays, each of whose first items are 1,000 arrays of the next one's.
    fn nested(first: impl Fn(usize, &str) -> Json) -> Json {
        let array = |next: &str| {
            let prefix: Vec<_> = (0..1_000).map(|at| first(at, next)).collect();
            json!({"type": "array", "prefixItems": prefix, "items": first(0, next)})
        };
        let mut schema = with(array("A2"));
        schema["$defs"] = json!({"A2": array("A3"), "A3": array("A4"), "A4": {"type": "object"}});
        schema
    }

    #[test]
    fn first_items_that_refer_to_one_definition_are_walked_once() {
        let schema = nested(|_, next| json!({"$ref": format!("#/$defs/{next}")}));
        assert_eq!(paths(&schema), ["$.a[][][].*"]);
        assert!(!is_cut(&schema));
    }

    #[test]
    fn first_items_that_fan_out_end_the_walk_and_are_reported_as_cut() {
        let mut schema = nested(|at, next| {
            json!({"type": "array", "title": at.to_string(),
                "items": {"$ref": format!("#/$defs/{next}")}})
        });
        // One level less, because rules look no deeper.
        schema["$defs"]["A3"] = json!({"type": "object"});
        assert!(is_cut(&schema));
    }

    #[test]
    fn names_that_very_many_arguments_share_end_the_walk_and_are_reported_as_cut() {
        let names: Map<_, _> = (0..20_000).map(|at| (format!("n{at}"), json!({}))).collect();
        let big = json!({"type": "object", "allOf": [{"$ref": "#/$defs/Big"}]});
        let arguments: Map<_, _> = (0..500).map(|at| (format!("a{at}"), big.clone())).collect();
        let schema = json!({"type": "object", "properties": arguments,
            "$defs": {"Big": {"type": "object", "properties": names}}});
        let (_, untyped) = Typist::new().unwrap().type_of(&schema);
        assert!(untyped.len() <= PLACES_MAX, "{}", untyped.len());
        assert!(tells_of_cut(&untyped));
    }

    #[test]
    fn an_argument_named_as_an_open_end_does_not_stand_for_it() {
        let schema = json!({"type": "object", "properties": {"*": {}, "x.*": {}}});
        let (_, untyped) = Typist::new().unwrap().type_of(&schema);
        let mut found: Vec<_> = untyped.iter().map(|of| (of.path.as_str(), of.open)).collect();
        found.sort_unstable();
        assert_eq!(found, [("$.*", false), ("$.*", true), ("$.x.*", false)]);
    }
}
