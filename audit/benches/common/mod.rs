//! What the benches of the ledger share.

#![allow(dead_code, reason = "each bench uses some of it")]

use std::time::Duration;

use portcullis_audit::{CallFields, Commitment, Entry, Kind, Ledger, PolicyRef, ToolRef, Who};
use uuid::Uuid;

pub(crate) type Failed = Box<dyn std::error::Error>;

/// A record as a gated call leaves it.
pub(crate) fn entry() -> Entry {
    let fields = CallFields {
        who: Who {
            subject: Some("p_4f1c9a7e".into()),
            session: Some("s".into()),
            ..Who::default()
        },
        tool: Some(ToolRef {
            server: "notes".into(),
            name: "delete_note".into(),
            schema: "ab".repeat(32),
        }),
        pol: Some(PolicyRef {
            decision: "permit".into(),
            rules: vec!["rbac.scope".into(), "tenant.same".into()],
            bundle: "cd".repeat(32),
        }),
        input: Commitment::of("in", br#"{"id":7}"#).ok(),
        ..CallFields::default()
    };
    let (tenant, op) = ("default".to_owned(), Uuid::now_v7());
    Entry { tenant, kind: Kind::Decision, op, reference: None, fields, body: None }
}

/// User and system time of this process.
pub(crate) fn cpu_time() -> Result<Duration, Failed> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
}

/// Appends `records`, from so many callers at a time, each of which waits for its answer.
pub(crate) async fn append(ledger: &Ledger, callers: usize, records: usize) -> Result<(), Failed> {
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let ledger = ledger.clone();
        let share = records / callers + usize::from(caller < records % callers);
        tasks.spawn(async move {
            for _ in 0..share {
                ledger.append(entry()).await?;
            }
            Ok::<(), portcullis_audit::Unavailable>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
