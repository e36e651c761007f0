//! The functions of the gateway's own apps `directory` and `account`.

use std::str::FromStr;

use http::StatusCode;
use portcullis_policies::{ACCOUNT_APP, DIRECTORY_APP};

/// One function, by the name that rules and records know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described in policies/src/own/directory.json")]
pub enum Verb {
    ListUsers,
    ReadUser,
    CreateUser,
    UpdateUser,
    RemoveUser,
    ResetTotp,
    EffectiveScopes,
    ReadSettings,
    UpdateSettings,
    ListExtensions,
    DisableExtension,
    EnableExtension,
    ListRoles,
    CreateRole,
    UpdateRole,
    DeleteRole,
    ListScopes,
    CreateScope,
    UpdateScope,
    DeleteScope,
    ListAgencies,
    ReadAgency,
    CreateAgency,
    UpdateAgency,
    ListServiceTokens,
    CreateServiceToken,
    RevokeServiceToken,
    ListTenants,
    ReadTenant,
    CreateTenant,
    UpdateTenant,
    ListKeys,
    CreateKey,
    RevokeKey,
    ListGrants,
    RevokeGrant,
    ReadNickname,
    SetNickname,
}

/// Every verb with the name of its function.
const NAMES: [(Verb, &str); 38] = [
    (Verb::ListUsers, "list_users"),
    (Verb::ReadUser, "read_user"),
    (Verb::CreateUser, "create_user"),
    (Verb::UpdateUser, "update_user"),
    (Verb::RemoveUser, "remove_user"),
    (Verb::ResetTotp, "reset_totp"),
    (Verb::EffectiveScopes, "effective_scopes"),
    (Verb::ReadSettings, "read_settings"),
    (Verb::UpdateSettings, "update_settings"),
    (Verb::ListExtensions, "list_extensions"),
    (Verb::DisableExtension, "disable_extension"),
    (Verb::EnableExtension, "enable_extension"),
    (Verb::ListRoles, "list_roles"),
    (Verb::CreateRole, "create_role"),
    (Verb::UpdateRole, "update_role"),
    (Verb::DeleteRole, "delete_role"),
    (Verb::ListScopes, "list_scopes"),
    (Verb::CreateScope, "create_scope"),
    (Verb::UpdateScope, "update_scope"),
    (Verb::DeleteScope, "delete_scope"),
    (Verb::ListAgencies, "list_agencies"),
    (Verb::ReadAgency, "read_agency"),
    (Verb::CreateAgency, "create_agency"),
    (Verb::UpdateAgency, "update_agency"),
    (Verb::ListServiceTokens, "list_service_tokens"),
    (Verb::CreateServiceToken, "create_service_token"),
    (Verb::RevokeServiceToken, "revoke_service_token"),
    (Verb::ListTenants, "list_tenants"),
    (Verb::ReadTenant, "read_tenant"),
    (Verb::CreateTenant, "create_tenant"),
    (Verb::UpdateTenant, "update_tenant"),
    (Verb::ListKeys, "list_keys"),
    (Verb::CreateKey, "create_key"),
    (Verb::RevokeKey, "revoke_key"),
    (Verb::ListGrants, "list_grants"),
    (Verb::RevokeGrant, "revoke_grant"),
    (Verb::ReadNickname, "read_nickname"),
    (Verb::SetNickname, "set_nickname"),
];

impl Verb {
    /// The name of the function.
    #[must_use]
    pub fn function(self) -> &'static str {
        NAMES.iter().find(|(verb, _)| *verb == self).map_or("", |(_, name)| name)
    }

    /// The app under which the rules see it: what a person does to their own account needs no scope, and everything
    /// else does.
    #[must_use]
    pub fn app(self, own_account: bool) -> &'static str {
        match self {
            Self::ListKeys
            | Self::CreateKey
            | Self::RevokeKey
            | Self::ListGrants
            | Self::RevokeGrant
            | Self::ReadNickname
            | Self::SetNickname => ACCOUNT_APP,
            Self::EffectiveScopes
            | Self::ReadSettings
            | Self::UpdateSettings
            | Self::ListExtensions
            | Self::DisableExtension
            | Self::EnableExtension
            | Self::ReadAgency
            | Self::ListRoles
            | Self::ListScopes
                if own_account =>
            {
                ACCOUNT_APP
            }
            _ => DIRECTORY_APP,
        }
    }

    /// What it looks up by an id that somebody may have guessed, in the words of one that is not there; none where the
    /// answer is the same whether it is there or not.
    #[must_use]
    pub fn thing(self) -> Option<&'static str> {
        match self {
            Self::ReadUser
            | Self::ResetTotp
            | Self::UpdateUser
            | Self::RemoveUser
            | Self::EffectiveScopes
            | Self::ReadSettings
            | Self::UpdateSettings
            | Self::ListExtensions
            | Self::DisableExtension
            | Self::EnableExtension
            | Self::CreateServiceToken => Some("user"),
            Self::UpdateRole | Self::DeleteRole => Some("role"),
            Self::UpdateScope | Self::DeleteScope => Some("scope"),
            _ => None,
        }
    }

    /// Whether it is about one person, whose own it is when nobody is named.
    #[must_use]
    pub fn is_of_one_person(self) -> bool {
        matches!(
            self,
            Self::ReadSettings
                | Self::UpdateSettings
                | Self::ListExtensions
                | Self::DisableExtension
                | Self::EnableExtension
        )
    }

    /// Whether the whole tenant may see it: then it is everybody's own.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, Self::ListRoles | Self::ListScopes)
    }

    /// The status of a success: new things are 201 (wire-contract.md 1.3).
    #[must_use]
    pub fn success(self) -> StatusCode {
        match self {
            Self::CreateUser
            | Self::CreateRole
            | Self::CreateScope
            | Self::CreateAgency
            | Self::CreateServiceToken
            | Self::CreateTenant
            | Self::CreateKey => StatusCode::CREATED,
            _ => StatusCode::OK,
        }
    }
}

impl FromStr for Verb {
    type Err = ();

    fn from_str(function: &str) -> Result<Self, ()> {
        NAMES.iter().find(|(_, name)| *name == function).map(|(verb, _)| *verb).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_tool_of_these_apps_has_a_verb_and_every_verb_a_tool() {
        let tools = portcullis_policies::own_tools().unwrap();
        let tools: BTreeSet<String> = tools.iter().map(|tool| tool.name.to_string()).collect();
        for own in [true, false] {
            for (verb, name) in NAMES {
                let tool = format!("{}/{name}", verb.app(own));
                assert!(tools.contains(&tool), "{tool}");
            }
        }
        let others = ["cache/", "confirmations/", "secrets/"];
        for tool in tools.iter().filter(|tool| !others.iter().any(|app| tool.starts_with(app))) {
            let function = tool.split_once('/').unwrap().1;
            assert!(function.parse::<Verb>().is_ok(), "{tool}");
        }
    }
}
