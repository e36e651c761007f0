//! The configuration: one TOML file, in two stages.
//!
//! `Written` (module `written`) is the file as typed. [`Settings`] is what the gateway uses: checked, complete, built
//! once. Nobody else reads files or environment variables to find out how to behave.

mod settings;

pub use settings::{
    App, Confirmation, Credential, Data, EnvValue, Identity, KeyProvider, Ledger, Limits,
    MAX_TIMEOUT, NewTools, Policies, Route, Routes, Server, Settings, Tls, ToolOverride, Upstream,
};
