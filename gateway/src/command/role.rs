//! `portcullis role`: roles of a tenant and their scopes.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_policies::TenantId;

use super::Deployment;
use super::records::{CommandError, Shown, with_directory};
use crate::directory::{
    Actor, Cascade, ConfirmationPolicy, Directory, NewRole, Role, RoleFacts, RolePatch,
};

/// Arguments of `portcullis role`.
#[derive(Debug, Args)]
pub struct RoleArgs {
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
    /// All roles of a tenant
    List {
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: TenantId,
    },
    /// Make a role
    Create(Create),
    /// Change scopes or confirmation policy; in force with the next call
    Set(Set),
    /// Delete a role that nobody holds
    Delete {
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: TenantId,
        /// Name of the role
        name: String,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The tenant
    #[arg(long, default_value = "default")]
    tenant: TenantId,
    /// Name of the role: lowercase letters, digits, `_` or `-`
    name: String,
    /// A scope of everyone in the role, such as `notes:read`; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// default_off, default_on or always_on: whether writes ask first
    #[arg(long, default_value = "default_off", value_name = "POLICY")]
    confirmation: ConfirmationPolicy,
}

#[derive(Debug, Args)]
struct Set {
    /// The tenant
    #[arg(long, default_value = "default")]
    tenant: TenantId,
    /// Name of the role
    name: String,
    /// The scopes from now on, instead of those of before; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// No scopes from now on
    #[arg(long, conflicts_with = "scopes")]
    no_scopes: bool,
    /// default_off, default_on or always_on: whether writes ask first
    #[arg(long, value_name = "POLICY")]
    confirmation: Option<ConfirmationPolicy>,
    /// Who holds the role keeps the scopes of before; only new holders get the new ones
    #[arg(long)]
    new_holders_only: bool,
}

/// Runs `portcullis role`.
#[must_use]
pub fn run(args: RoleArgs) -> ExitCode {
    with_directory(&args.deployment, args.json, async |directory, by| {
        answer(args.verb, directory, by).await
    })
}

async fn answer(verb: Verb, directory: &Directory, by: &Actor) -> Result<Shown, CommandError> {
    match verb {
        Verb::List { tenant } => {
            directory.tenant(&tenant).await?;
            roles(&directory.roles(&tenant).await?)
        }
        Verb::Create(new) => {
            let new = NewRole {
                tenant: new.tenant,
                display_name: new.name.clone(),
                name: new.name,
                default_scopes: new.scopes,
                confirmation_policy: new.confirmation,
                facts: RoleFacts::default(),
            };
            roles(&[directory.create_role(new, by).await?])
        }
        Verb::Delete { tenant, name } => {
            let role = directory.role(&tenant, &name).await?;
            directory.delete_role(&role.id, by).await?;
            roles(&[role])
        }
        Verb::Set(set) => {
            let scopes = (set.no_scopes || !set.scopes.is_empty()).then_some(set.scopes);
            let patch = RolePatch {
                display_name: None,
                default_scopes: scopes,
                confirmation_policy: set.confirmation,
                facts: None,
            };
            let cascade = if set.new_holders_only { Cascade::NewHolders } else { Cascade::Holders };
            let role = directory.role(&set.tenant, &set.name).await?;
            roles(&[directory.update_role(&role.id, patch, cascade, by).await?])
        }
    }
}

fn roles(roles: &[Role]) -> Result<Shown, CommandError> {
    Shown::table(&["TENANT", "ROLE", "SCOPES", "CONFIRMATION"], roles, |role| {
        vec![
            role.tenant.to_string(),
            role.name.clone(),
            role.default_scopes.join(" "),
            role.confirmation_policy.to_string(),
        ]
    })
}
