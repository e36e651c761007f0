//! From an external identity to a user of the directory.

use super::{ExternalClaims, ExternalIssuer};
use crate::directory::{Actor, DirectoryError, ExternalIdentity, ExternalSubject, NewUser};
use crate::identify::{Identity, Unidentified};

impl Identity {
    /// The user who is linked to this subject; made at first sight where the configuration says so. Whom the gateway
    /// made gets the role that the mapping gives to the newest token: a claim that is gone takes its role along, and an
    /// older token does not bring it back.
    pub(crate) async fn linked_user(
        &self,
        issuer: &ExternalIssuer,
        claims: &ExternalClaims,
    ) -> Result<String, Unidentified> {
        let found = self.directory.external_identity(&issuer.name, &claims.sub).await?;
        let identity = match (found, &issuer.provision) {
            (Some(identity), _) => identity,
            (None, Some(role)) => self.provision(issuer, role, claims).await?,
            (None, None) => return Err(Unidentified::NotLinked),
        };
        // The name may stand for another provider by now, whose subjects are other people.
        if identity.issuer_url != issuer.url {
            return Err(Unidentified::NotLinked);
        }
        let user = self.directory.present_user(&identity.user_id).await?;
        // The issuer vouches for its own tenant's people, whatever was linked by hand or before the mapping changed.
        let tenant = issuer.mapping.tenant(&claims.all).unwrap_or(&issuer.tenant);
        if user.tenant != *tenant {
            return Err(Unidentified::NotLinked);
        }
        if let (true, Some(role), Some(iat)) = (identity.provisioned, &issuer.provision, claims.iat)
            && iat > identity.role_iat
        {
            let role = issuer.mapping.role(&claims.all, &issuer.tenant, tenant).unwrap_or(role);
            let by = Actor::issuer(&issuer.name);
            self.directory.follow_role(&identity, (role, iat), &by).await.map_err(unmapped)?;
        }
        Ok(identity.user_id)
    }

    async fn provision(
        &self,
        issuer: &ExternalIssuer,
        role: &str,
        claims: &ExternalClaims,
    ) -> Result<ExternalIdentity, Unidentified> {
        // An address that the provider did not verify could be somebody else's.
        let email = claims.verified_email().map_or_else(
            || format!("{}@{}.external.invalid", short_digest(&claims.sub), issuer.name),
            str::to_owned,
        );
        let tenant = issuer.mapping.tenant(&claims.all).unwrap_or(&issuer.tenant);
        let role = issuer.mapping.role(&claims.all, &issuer.tenant, tenant).unwrap_or(role);
        let new = NewUser {
            tenant: tenant.clone(),
            email,
            role: role.to_owned(),
            scopes: Vec::new(),
            password_hash: None,
            attributes: None,
            agency_id: None,
        };
        let by = Actor::issuer(&issuer.name);
        let who = ExternalSubject { issuer: &issuer.name, url: &issuer.url, subject: &claims.sub };
        let iat = claims.iat.unwrap_or_default();
        match self.directory.create_external_user(new, who, iat, &by).await {
            Ok(identity) => Ok(identity),
            // Another replica made them a moment ago; or the address is taken, and an address links nobody.
            Err(DirectoryError::Conflict { .. }) => {
                let found = self.directory.external_identity(&issuer.name, &claims.sub).await?;
                found.ok_or(Unidentified::NotLinked)
            }
            Err(fault) => Err(unmapped(fault)),
        }
    }
}

/// A role or a tenant that the mapping names and that is not there is the operator's to mend.
fn unmapped(fault: DirectoryError) -> Unidentified {
    match fault {
        DirectoryError::NotFound { what } | DirectoryError::Invalid { what, .. } => {
            tracing::error!(what, "an issuer's people are mapped to what is not in the directory");
            Unidentified::NotLinked
        }
        other => other.into(),
    }
}

pub(super) fn short_digest(subject: &str) -> String {
    let digest = hex::encode(crate::identify::api_key::sha256(subject.as_bytes()));
    digest.chars().take(32).collect()
}
