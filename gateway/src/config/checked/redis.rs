//! The Redis that replicas share.

use super::{name, written};
use crate::config::checker::Checker;
use crate::config::document::At;
use crate::config::mistakes::Kind;
use crate::config::settings::{RedisSettings, RedisUrl};
use crate::config::written::EnvForm;
use std::time::Duration;

pub(super) fn redis(
    c: &mut Checker<'_>,
    at: &At,
    written: written::Redis,
) -> Option<Option<RedisSettings>> {
    let (timeout, prefix) = RedisSettings::DEFAULTS;
    let at_url = at.key("url");
    let Some(url) = written.url else {
        if c.is_written(at) {
            let help =
                "write `url = \"redis://host:port\"`; an address with a password by reference";
            c.warn(at, "`redis` has no `url`, so that there is none".to_owned(), help);
        }
        return Some(None);
    };
    let url = url_of(c, &at_url, url);
    let ca_file = match written.ca_file {
        None => Some(None),
        Some(text) => c.file(&at.key("ca_file"), &text).map(Some),
    };
    let bounds = Duration::from_millis(5)..=Duration::from_secs(5);
    let timeout = c.duration(&at.key("timeout"), written.timeout.as_ref(), timeout, bounds);
    let prefix = name(c, &at.key("prefix"), written.prefix, prefix.to_owned());
    Some(Some(RedisSettings { url: url?, ca_file: ca_file?, timeout: timeout?, prefix: prefix? }))
}

fn url_of(c: &mut Checker<'_>, at: &At, form: EnvForm) -> Option<RedisUrl> {
    match form {
        EnvForm::Secret(form) => super::keys::outside(c, at, &form).map(RedisUrl::Given),
        EnvForm::Plain(text) if text.contains('@') => {
            let message = format!("`{at}` must not hold a user name or password");
            let help = "give the whole address by reference: `{ file = \"path\" }` or `{ env = \"NAME\" }`";
            c.wrong(Kind::Secret, at, message, help);
            None
        }
        EnvForm::Plain(text) => {
            let known = ["redis://", "rediss://", "redis+unix://", "unix://"];
            if known.iter().any(|scheme| text.starts_with(scheme)) {
                return Some(RedisUrl::Plain(text));
            }
            let message = format!("`{at}` is not an address of a Redis that can be reached");
            let help = "write `redis://host:port`, or `rediss://host:port` over TLS";
            c.wrong(Kind::Value, at, message, help);
            None
        }
    }
}
