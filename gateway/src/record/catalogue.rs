//! Records about the catalogue: what the operator's word changed, and which tools wait for it.

use portcullis_audit::Ledger;
use portcullis_kernel_adapter::catalogue::overrides::Overridden;
use portcullis_kernel_adapter::{Catalogue, ToolState};

use super::policies::admin;

/// Records every override and every quarantined tool; durable when it returns.
///
/// # Errors
/// What the ledger said.
pub async fn catalogue(
    ledger: &Ledger,
    catalogue: &Catalogue,
    overridden: &[Overridden],
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
    for tool in catalogue.tools() {
        let ToolState::Quarantined { difference } = &tool.state else { continue };
        let name = tool.spec.name.to_string();
        let note = [
            ("action", "tool_quarantined"),
            ("subject", name.as_str()),
            ("difference", difference),
        ];
        admin(ledger, None, note).await?;
    }
    Ok(())
}
