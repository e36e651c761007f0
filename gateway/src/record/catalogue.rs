//! Records about the catalogue: what the operator's word changed, and which tools wait for it.

use portcullis_audit::Ledger;
use portcullis_kernel_adapter::catalogue::overrides::Overridden;
use portcullis_policies::ToolName;

use super::policies::admin;

/// Records these overrides, and these quarantined tools with their differences; durable when it
/// returns.
///
/// # Errors
/// What the ledger said.
pub async fn catalogue(
    ledger: &Ledger,
    overridden: &[Overridden],
    quarantined: &[(ToolName, String)],
) -> Result<(), String> {
    for word in overridden {
        let note = [
            ("action", "tool_overridden"),
            ("subject", word.subject.as_str()),
            ("field", word.field),
            ("from", word.from.as_str()),
            ("to", word.to.as_str()),
        ];
        admin(ledger, None, note).await?;
    }
    for (name, difference) in quarantined {
        let name = name.to_string();
        let note = [
            ("action", "tool_quarantined"),
            ("subject", name.as_str()),
            ("difference", difference.as_str()),
        ];
        admin(ledger, None, note).await?;
    }
    Ok(())
}
