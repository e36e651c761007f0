//! The `routes` of a proxied app: each by itself, then all of them as the start makes its table.

use super::apps::{FUNCTION, is_function};
use crate::config::checker::Checker;
use crate::config::document::At;
use crate::config::mistakes::Kind;
use crate::config::settings::Route;
use crate::config::written::{MethodForm, RouteForm};
use http::Method;
use portcullis_kernel_adapter::catalogue::routes::{RouteError, RouteSpec, RouteTable};
use std::collections::BTreeSet;

pub(super) fn routes(c: &mut Checker<'_>, at: &At, forms: Vec<RouteForm>) -> Option<Vec<Route>> {
    let (mut names, mut requests) = (BTreeSet::new(), BTreeSet::new());
    let mut specs = Vec::new();
    for (index, form) in forms.iter().enumerate() {
        let at = at.item(index);
        let is_new_name = names.insert(form.name.clone());
        if !is_new_name {
            let message = format!("there is another route with the name `{}`", form.name);
            c.wrong(Kind::Conflict, &at.key("name"), message, "every tool needs a name of its own");
        }
        let is_new_request = requests.insert((form.method as u8, form.path.clone()));
        if !is_new_request {
            let message = "there is another route with this method and path".to_owned();
            c.wrong(Kind::Conflict, &at.key("path"), message, "remove one of them");
        }
        // What was reported already is not reported again by the table.
        if is_new_request && is_plain(&form.path) {
            specs.push(spec(index, form));
        }
    }
    for fault in RouteTable::new(specs).err().unwrap_or_default() {
        refused(c, at, &forms, &fault);
    }
    let routes: Vec<_> = forms
        .into_iter()
        .enumerate()
        .map(|(index, form)| route(c, &at.item(index), form))
        .collect();
    routes.into_iter().collect()
}

/// Notes what the table of the start says about one route, at the key that it is about.
fn refused(c: &mut Checker<'_>, at: &At, forms: &[RouteForm], fault: &RouteError) {
    let is_meant = |form: &RouteForm| {
        fault.route.split_once(' ') == Some((method(form.method).as_str(), form.path.as_str()))
    };
    // Of two routes with one method and path only the first came into the table.
    let meant = forms.iter().enumerate().find(|(_, form)| is_meant(form));
    let (at, help) = match meant {
        Some((index, form)) if matches!(form.method, MethodForm::Head | MethodForm::Options) => {
            (at.item(index).key("method"), "remove the route; HEAD requests use that of GET")
        }
        Some((index, _)) => {
            let help = "write a path such as `/notes/{id}` or `/files/{*rest}`: every name once, \
                        and one route for the same requests";
            (at.item(index).key("path"), help)
        }
        None => (at.clone(), "split the service into several apps"),
    };
    c.wrong(Kind::Value, &at, format!("`{at}`: {}", fault.message), help);
}

/// What the table checks of a route. The name stands for itself: names are compared before.
fn spec(index: usize, form: &RouteForm) -> RouteSpec {
    RouteSpec {
        method: method(form.method).to_string(),
        path: form.path.clone(),
        name: Some(index.to_string()),
        description: String::new(),
        action_type: None,
        scopes: Vec::new(),
        path_params: Vec::new(),
        query: None,
    }
}

fn is_plain(path: &str) -> bool {
    let odd = |segment: &str| matches!(segment, "." | "..");
    !path.contains("//") && !path.contains(['?', '#']) && !path.split('/').any(odd)
}

fn route(c: &mut Checker<'_>, at: &At, form: RouteForm) -> Option<Route> {
    let is_plain = is_plain(&form.path);
    if !is_plain {
        let help = "a path has no query, no `//` and no `.` or `..` between slashes";
        let message = format!("`{at}.path` is not a plain path");
        c.wrong(Kind::Value, &at.key("path"), message, help);
    }
    if !is_function(&form.name) {
        c.wrong(Kind::Value, &at.key("name"), format!("`{at}.name` cannot name a tool"), FUNCTION);
        return None;
    }
    is_plain.then(|| Route {
        name: form.name,
        method: method(form.method),
        path: form.path,
        action: form.action.map(Into::into),
        scopes: form.scopes,
    })
}

fn method(form: MethodForm) -> Method {
    match form {
        MethodForm::Get => Method::GET,
        MethodForm::Head => Method::HEAD,
        MethodForm::Post => Method::POST,
        MethodForm::Put => Method::PUT,
        MethodForm::Patch => Method::PATCH,
        MethodForm::Delete => Method::DELETE,
        MethodForm::Options => Method::OPTIONS,
    }
}
