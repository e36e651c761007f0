//! `portcullis tenant`: tenants of the directory.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_policies::TenantId;

use super::Deployment;
use super::records::{CommandError, Shown, activity, with_directory};
use crate::directory::{Actor, Directory, Tenant, fresh_tenant_id};

/// Arguments of `portcullis tenant`.
#[derive(Debug, Args)]
pub struct TenantArgs {
    #[command(flatten)]
    deployment: Deployment,
    /// Print one JSON value
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All tenants
    List,
    /// Make a tenant, with the roles `admin` (every scope) and `user` (none)
    Create {
        /// Name for people
        name: String,
        /// `default`, or `imp_t_` and letters, digits or `_`; made up when left out
        #[arg(long)]
        id: Option<TenantId>,
    },
    /// One tenant
    Show {
        /// Its id
        id: TenantId,
    },
    /// Refuse all users and keys of a tenant from the next call on
    Deactivate {
        /// Its id
        id: TenantId,
    },
    /// Let a deactivated tenant act again
    Activate {
        /// Its id
        id: TenantId,
    },
}

/// Runs `portcullis tenant`.
#[must_use]
pub fn run(args: TenantArgs) -> ExitCode {
    with_directory(&args.deployment, args.json, async |directory, by| {
        answer(args.verb, directory, by).await
    })
}

async fn answer(verb: Verb, directory: &Directory, by: &Actor) -> Result<Shown, CommandError> {
    match verb {
        Verb::List => tenants(&directory.tenants().await?),
        Verb::Create { name, id } => {
            let id = id.map_or_else(fresh_tenant_id, Ok)?;
            tenants(&[directory.create_tenant(&id, &name, by).await?])
        }
        Verb::Show { id } => tenants(&[directory.tenant(&id).await?]),
        Verb::Deactivate { id } => set_active(directory, &id, false, by).await,
        Verb::Activate { id } => set_active(directory, &id, true, by).await,
    }
}

async fn set_active(
    directory: &Directory,
    id: &TenantId,
    active: bool,
    by: &Actor,
) -> Result<Shown, CommandError> {
    directory.set_tenant_active(id, active, by).await?;
    tenants(&[directory.tenant(id).await?])
}

fn tenants(tenants: &[Tenant]) -> Result<Shown, CommandError> {
    Shown::table(&["TENANT", "NAME", "STATE"], tenants, |tenant| {
        vec![tenant.id.to_string(), tenant.name.clone(), activity(tenant.active)]
    })
}
