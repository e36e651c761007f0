//! The Redis that replicas share, as typed.

use crate::config::units::TimeSpan;
use crate::config::written::EnvForm;
use schemars::JsonSchema;
use serde::Deserialize;

/// One Redis for all replicas of the deployment.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redis {
    /// Its address, such as `redis://127.0.0.1:6379`, or `rediss://redis.example.org:6379` over TLS; one with a password
    /// by reference.
    pub(crate) url: Option<EnvForm>,
    /// PEM file with the only authorities that may vouch for a Redis over TLS. Those of the system by default.
    pub(crate) ca_file: Option<String>,
    /// How long one answer may take; after that each replica counts by itself.
    #[schemars(extend("default" = "100ms"))]
    pub(crate) timeout: Option<TimeSpan>,
    /// First part of every name in it. Deployments that share a Redis need one each.
    #[schemars(extend("default" = "portcullis"))]
    pub(crate) prefix: Option<String>,
}
