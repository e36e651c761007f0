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

/// A tool as its server describes it now.
#[derive(Debug, Clone, Copy)]
pub struct SeenTool<'a> {
    /// Digest over description and schema, as the catalogue computes it.
    pub digest: [u8; 32],
    /// Its description.
    pub description: &'a str,
    /// Its input schema.
    pub input_schema: &'a serde_json::Value,
}

/// The operator's word is stronger than what was accepted before.
const REPLACE: &str = "INSERT INTO accepted_tools \
    (app, tool, digest, description, input_schema, accepted_ms, accepted_by) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (app, tool) DO UPDATE SET \
    digest = excluded.digest, description = excluded.description, \
    input_schema = excluded.input_schema, accepted_ms = excluded.accepted_ms, \
    accepted_by = excluded.accepted_by";

/// The gateway's is not.
const KEEP: &str = "INSERT INTO accepted_tools \
    (app, tool, digest, description, input_schema, accepted_ms, accepted_by) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (app, tool) DO NOTHING";

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
        let seen = SeenTool { digest, description, input_schema };
        self.accept_by(REPLACE, tool, seen, by).await.map(drop)
    }

    /// Accepts a tool that nobody accepted before; false, and nothing is changed, when somebody did.
    pub async fn accept_new_tool(
        &self,
        tool: &ToolName,
        seen: SeenTool<'_>,
        by: &Actor,
    ) -> Result<bool, DirectoryError> {
        self.accept_by(KEEP, tool, seen, by).await
    }

    async fn accept_by(
        &self,
        statement: &'static str,
        tool: &ToolName,
        seen: SeenTool<'_>,
        by: &Actor,
    ) -> Result<bool, DirectoryError> {
        let digest = hex::encode(seen.digest);
        let mut writing = self.write().await?;
        let done = sqlx::query(statement)
            .bind(tool.app().to_string())
            .bind(tool.to_string())
            .bind(digest.clone())
            .bind(seen.description)
            .bind(json_text("schema", seen.input_schema)?)
            .bind(now_ms())
            .bind(by.to_string())
            .execute(writing.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let note = Note::new(by, "tool.accept", "deployment").on(tool);
        writing.finish(self, note.with("digest", digest)).await?;
        Ok(true)
    }

    /// Accepts that a tool is gone: what was accepted of it is deleted. False when it was not
    /// accepted.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] for the last accepted tool of an app: without one the app would
    /// count as never seen, and whatever its server lists next would be accepted by itself.
    pub async fn forget_tool(&self, tool: &ToolName, by: &Actor) -> Result<bool, DirectoryError> {
        let mut writing = self.write().await?;
        let done = sqlx::query("DELETE FROM accepted_tools WHERE app = $1 AND tool = $2")
            .bind(tool.app().to_string())
            .bind(tool.to_string())
            .execute(writing.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let other = sqlx::query("SELECT tool FROM accepted_tools WHERE app = $1 LIMIT 1")
            .bind(tool.app().to_string())
            .fetch_optional(writing.connection())
            .await?;
        if other.is_none() {
            let why = "it is the last accepted tool of its app, and without one the next tools of \
                       its server would not wait for you: accept another of its tools first";
            return Err(DirectoryError::Conflict { what: "accepted tool", why });
        }
        // The same action as the acceptance that it is, so that replicas look again.
        let note = Note::new(by, "tool.accept", "deployment").on(tool);
        writing.finish(self, note.with("gone", "true")).await?;
        Ok(true)
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
