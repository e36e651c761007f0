//! Under construction.
pub mod config;
pub mod directory;
pub mod edge;
pub mod identify;
