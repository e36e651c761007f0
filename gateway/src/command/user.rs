//! `portcullis user`: users of the directory. Passwords come from the terminal or from standard input,
//! never from an argument: arguments are seen by every process of the host.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_policies::TenantId;

use super::Deployment;
use super::records::{CommandError, Shown, activity, read_password, with_deployment};
use crate::config::Settings;
use crate::directory::{
    Actor, Directory, ExternalIdentity, ExternalSubject, NewUser, User, UserFilter,
};
use crate::identify::Passwords;

/// Arguments of `portcullis user`.
#[derive(Debug, Args)]
pub struct UserArgs {
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
    /// Users of one tenant or of all
    List(List),
    /// Make a user
    Create(Create),
    /// One user
    Show {
        /// Id, or email of a user of the tenant `default`
        user: String,
    },
    /// Refuse tokens and keys of a user from the next call on
    Deactivate {
        /// Id of the user
        user: String,
    },
    /// Let a deactivated user act again
    Activate {
        /// Id of the user
        user: String,
    },
    /// Replace the password; read from the terminal
    SetPassword {
        /// Id of the user
        user: String,
        /// Read the password from standard input instead
        #[arg(long)]
        password_stdin: bool,
    },
    /// Give a user another role of the tenant; in force with the next call
    SetRole {
        /// Id of the user
        user: String,
        /// Name of the role
        role: String,
    },
    /// Grant a scope beside those of the role
    GrantScope {
        /// Id of the user
        user: String,
        /// Such as `notes:read` or `notes:*`
        scope: String,
    },
    /// Say who somebody at an identity provider is here
    Link {
        /// Id of the user
        user: String,
        /// Name of the issuer in the configuration
        #[arg(long)]
        issuer: String,
        /// The subject (`sub`), as the issuer names it
        #[arg(long)]
        subject: String,
    },
    /// Forget who somebody at an identity provider is here; ends the user's sessions
    Unlink {
        /// Id of the user
        user: String,
        /// Name of the issuer in the configuration
        #[arg(long)]
        issuer: String,
    },
    /// Who the user is at identity providers
    Identities {
        /// Id of the user
        user: String,
    },
    /// Take a granted scope back
    RevokeScope {
        /// Id of the user
        user: String,
        /// The scope, as it was granted
        scope: String,
    },
}

#[derive(Debug, Args)]
struct List {
    /// Only users of this tenant
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Deactivated users too
    #[arg(long)]
    all: bool,
    /// At most so many (200 at most)
    #[arg(long, default_value_t = 200)]
    limit: u32,
    /// Skip so many
    #[arg(long, default_value_t = 0)]
    offset: u32,
}

#[derive(Debug, Args)]
struct Create {
    /// The tenant
    #[arg(long, default_value = "default")]
    tenant: TenantId,
    /// Email, by which the user signs in
    #[arg(long)]
    email: String,
    /// Name of a role of the tenant
    #[arg(long, default_value = "user")]
    role: String,
    /// A scope beside those of the role; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Read the password from standard input instead of the terminal
    #[arg(long)]
    password_stdin: bool,
    /// No password: the user acts by API keys only
    #[arg(long, conflicts_with = "password_stdin")]
    no_password: bool,
}

/// Runs `portcullis user`.
#[must_use]
pub fn run(args: UserArgs) -> ExitCode {
    with_deployment(&args.deployment, args.json, async |settings, directory, by| {
        answer(args.verb, settings, directory, by).await
    })
}

async fn answer(
    verb: Verb,
    settings: &Settings,
    directory: &Directory,
    by: &Actor,
) -> Result<Shown, CommandError> {
    let changed = match verb {
        Verb::List(list) => return users(&directory.users(&filter(list)).await?),
        Verb::Create(new) => return users(&[create(new, directory, by).await?]),
        Verb::Identities { user } => {
            return identities(&directory.external_identities(&user).await?);
        }
        Verb::Link { user, issuer, subject } => {
            let known = settings.identity.issuers.iter().find(|known| known.name == issuer);
            let url = &known.ok_or_else(|| CommandError::NoIssuer(issuer.clone()))?.url;
            let who = ExternalSubject { issuer: &issuer, url, subject: &subject };
            directory.link_external(&user, who, by).await?;
            user
        }
        Verb::Unlink { user, issuer } => {
            directory.unlink_external(&user, &issuer, by).await?;
            user
        }
        Verb::Show { user } => return users(&[find(&user, directory).await?]),
        Verb::Deactivate { user } => {
            directory.set_user_active(&user, false, by).await?;
            user
        }
        Verb::Activate { user } => {
            directory.set_user_active(&user, true, by).await?;
            user
        }
        Verb::SetPassword { user, password_stdin } => {
            directory.user(&user).await?;
            let hash = hash_of_new(password_stdin).await?;
            directory.set_password_hash(&user, &hash, by).await?;
            user
        }
        Verb::SetRole { user, role } => {
            directory.set_user_role(&user, &role, by).await?;
            user
        }
        Verb::GrantScope { user, scope } => {
            directory.grant_scope(&user, &scope, by).await?;
            user
        }
        Verb::RevokeScope { user, scope } => {
            directory.revoke_scope(&user, &scope, by).await?;
            user
        }
    };
    users(&[directory.user(&changed).await?])
}

async fn create(new: Create, directory: &Directory, by: &Actor) -> Result<User, CommandError> {
    // Before the password is asked for: nobody should type one in vain.
    directory.role(&new.tenant, &new.role).await?;
    let password_hash =
        if new.no_password { None } else { Some(hash_of_new(new.password_stdin).await?) };
    let new = NewUser {
        tenant: new.tenant,
        email: new.email,
        role: new.role,
        scopes: new.scopes,
        password_hash,
        attributes: None,
        agency_id: None,
    };
    Ok(directory.create_user(new, by).await?)
}

async fn hash_of_new(from_stdin: bool) -> Result<String, CommandError> {
    let password = read_password(from_stdin)?;
    let passwords = Passwords::new().map_err(|_| CommandError::Randomness)?;
    Ok(passwords.hash(password).await?)
}

async fn find(user: &str, directory: &Directory) -> Result<User, CommandError> {
    if !user.contains('@') {
        return Ok(directory.user(user).await?);
    }
    let tenant = "default".parse().map_err(|_| CommandError::Randomness)?;
    Ok(directory.user_by_email(&tenant, user).await?)
}

fn filter(list: List) -> UserFilter {
    UserFilter {
        tenant: list.tenant,
        include_inactive: list.all,
        limit: list.limit,
        offset: list.offset,
        ..UserFilter::default()
    }
}

fn users(users: &[User]) -> Result<Shown, CommandError> {
    Shown::table(&["USER", "TENANT", "EMAIL", "ROLE", "OWN SCOPES", "STATE"], users, |user| {
        vec![
            user.id.clone(),
            user.tenant.to_string(),
            user.email.clone(),
            user.role.clone(),
            user.scopes.join(" "),
            activity(user.active),
        ]
    })
}

fn identities(identities: &[ExternalIdentity]) -> Result<Shown, CommandError> {
    Shown::table(&["ISSUER", "SUBJECT", "USER", "MADE BY IT"], identities, |identity| {
        let made = if identity.provisioned { "yes" } else { "no" };
        vec![
            identity.issuer.clone(),
            identity.subject.clone(),
            identity.user_id.clone(),
            made.to_owned(),
        ]
    })
}
