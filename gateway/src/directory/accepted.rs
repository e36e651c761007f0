//! Tools as an operator last accepted them: a tool that differs upstream is quarantined.

use portcullis_policies::ToolName;

use super::change::Note;
use super::row::{Columns, json_text};
use super::{Actor, Directory, DirectoryError, now_ms};

/// A tool as it was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedTool {
    /// The tool.
    pub tool: ToolName,
    /// Digest over description and schema, as the catalogue computes it.
    pub digest: [u8; 32],
    /// Description then.
    pub description: String,
    /// Input schema then.
    pub input_schema: serde_json::Value,
    /// Unix milliseconds.
    pub accepted_ms: i64,
    /// Text form of the [`Actor`].
    pub accepted_by: String,
}

impl Directory {
    /// Accepts a tool as it is now; replaces what was accepted before.
    pub async fn accept_tool(
        &self,
        tool: &ToolName,
        digest: [u8; 32],
        description: &str,
        input_schema: &serde_json::Value,
        by: &Actor,
    ) -> Result<(), DirectoryError> {
        let mut writing = self.write().await?;
        sqlx::query(
            "INSERT INTO accepted_tools \
             (app, tool, digest, description, input_schema, accepted_ms, accepted_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (app, tool) DO UPDATE SET \
             digest = excluded.digest, description = excluded.description, \
             input_schema = excluded.input_schema, accepted_ms = excluded.accepted_ms, \
             accepted_by = excluded.accepted_by",
        )
        .bind(tool.app().to_string())
        .bind(tool.to_string())
        .bind(hex::encode(digest))
        .bind(description)
        .bind(json_text("schema", input_schema)?)
        .bind(now_ms())
        .bind(by.to_string())
        .execute(writing.connection())
        .await?;
        let note = Note::new(by, "tool.accept", "deployment").on(tool);
        writing.finish(self, note.with("digest", hex::encode(digest))).await
    }

    /// All accepted tools, by name.
    pub async fn accepted_tools(&self) -> Result<Vec<AcceptedTool>, DirectoryError> {
        let rows = sqlx::query(
            "SELECT tool, digest, description, input_schema, accepted_ms, accepted_by \
             FROM accepted_tools ORDER BY tool",
        )
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read_accepted(Columns(row))).collect()
    }
}

fn read_accepted(row: Columns<'_>) -> Result<AcceptedTool, DirectoryError> {
    Ok(AcceptedTool {
        tool: row.parsed("tool")?,
        digest: row.digest("digest")?,
        description: row.text("description")?,
        input_schema: row.json("input_schema")?,
        accepted_ms: row.int("accepted_ms")?,
        accepted_by: row.text("accepted_by")?,
    })
}
