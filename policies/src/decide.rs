//! The pure decision, and the only maker of [`Permit`].

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::capsule::CapsuleText;
use crate::derive::{Derived, derive};
use crate::question::Frame;
use crate::rulebook::{PreparedPrincipal, Rulebook, Slice};
use crate::verdict::{
    AskFirst, Confirmation, Decision, Explanation, Question, Refusal, ShadowFlip, Verdict,
    VerdictKind, Wants,
};
use crate::vocabulary::{TenantId, ToolName};

/// Leave to do one call, once.
///
/// Only [`Rulebook::decide`] makes it. It cannot be copied, made up or stored: whoever holds it was just allowed this call.
#[derive(Debug)]
#[must_use = "a permit that is not spent means that an allowed call was dropped"]
pub struct Permit {
    op: Uuid,
    call_digest: [u8; 32],
}

impl Permit {
    /// The operation.
    pub fn op(&self) -> Uuid {
        self.op
    }

    /// Digest of tool name and argument bytes.
    pub fn call_digest(&self) -> &[u8; 32] {
        &self.call_digest
    }
}

impl Rulebook {
    /// Decides one call. Pure: no I/O, no clock.
    ///
    /// Whatever cannot be asked or evaluated is a refusal with `errored` set.
    pub fn decide(&self, q: &Question<'_>) -> Decision {
        match Frame::of(self, q) {
            Ok(frame) => self.decide_framed(q, &frame),
            Err(why) => self.refuse_unasked(why),
        }
    }

    /// As [`Rulebook::decide`], with everything that is needed to run the decision again: the text of
    /// [`Rulebook::capsule`], made from the very request that was decided.
    pub fn decide_recorded(&self, q: &Question<'_>) -> (Decision, Option<CapsuleText>) {
        match Frame::of(self, q) {
            Ok(frame) => (self.decide_framed(q, &frame), self.capsule_text(q, &frame)),
            Err(why) => (self.refuse_unasked(why), None),
        }
    }

    fn decide_framed(&self, q: &Question<'_>, frame: &Frame<'_>) -> Decision {
        let slices = self.slices_of(q.tool, frame, q.target_tenant);
        let roles = self.approver_roles(q.target_tenant);
        let derived = self.derive(frame, slices.clone(), q.confirmation, &roles);
        let explanation = Explanation {
            rules: derived.ruling.determining().to_vec(),
            errors: errors(&derived),
            shadow: self.flips(q, frame, slices, derived.kind),
            policy_set: *self.digest(),
        };
        Decision { verdict: self.verdict(q, frame, derived), explanation }
    }

    /// Says whether some input could be permitted or asked about: what `tools/list` shows.
    ///
    /// The same rules as in [`Rulebook::decide`]. Only where a rule reads what comes with a call (arguments, request,
    /// single target) the answer leans to yes.
    pub fn may_ever(
        &self,
        principal: &PreparedPrincipal,
        tool: &ToolName,
        target_tenant: &TenantId,
    ) -> bool {
        let Ok(frame) = Frame::outline(self, principal, tool, (target_tenant, None, None)) else {
            return false;
        };
        let slices = self.slices_of(tool, &frame, target_tenant);
        let roles = self.approver_roles(target_tenant);
        let derived = derive(Confirmation::none(), &roles, |confirmation| {
            let request = frame.request(&self.engine, confirmation);
            self.engine.ask_all(slices.clone().map(|s| &s.outline), request, &frame.entities)
        });
        derived.kind != VerdictKind::Refuse
    }

    pub(crate) fn slices_of<'r>(
        &'r self,
        tool: &ToolName,
        frame: &Frame<'r>,
        target_tenant: &TenantId,
    ) -> impl Iterator<Item = &'r Slice> + Clone + use<'r> {
        let action: &str = frame.tool.action.eid().as_ref();
        debug_assert_eq!(action, tool.to_string());
        self.slices(action, frame.tool.group, target_tenant)
    }

    pub(crate) fn derive<'r>(
        &'r self,
        frame: &Frame<'r>,
        slices: impl Iterator<Item = &'r Slice> + Clone,
        stands: &Confirmation,
        roles: &BTreeSet<String>,
    ) -> Derived {
        derive(stands, roles, |confirmation| {
            let request = frame.request(&self.engine, confirmation);
            self.engine.ask_all(slices.clone().map(|s| &s.rules), request, &frame.entities)
        })
    }

    fn verdict(&self, q: &Question<'_>, frame: &Frame<'_>, derived: Derived) -> Verdict {
        let wants = match derived.kind {
            VerdictKind::Permit => {
                return Verdict::Permit(Permit { op: q.op, call_digest: q.call_digest });
            }
            VerdictKind::AskFirst => Wants::Confirmation,
            VerdictKind::AskOther => Wants::ConfirmationByOther,
            VerdictKind::Refuse => return self.refusal(q, frame, &derived),
        };
        let (rules, approvals) = (derived.ruling.forbids, derived.approvals);
        let reasons = self.reasons(&rules);
        Verdict::AskFirst(AskFirst { op: q.op, wants, approvals, reasons, rules })
    }

    fn refusal(&self, q: &Question<'_>, frame: &Frame<'_>, derived: &Derived) -> Verdict {
        let errored = !derived.ruling.errors.is_empty();
        let rules = derived.ruling.forbids.clone();
        let mut reasons = self.reasons(&rules);
        if errored {
            reasons.push("a rule could not be evaluated for this call".to_owned());
        } else if rules.is_empty() {
            reasons.push("no rule permits this call".to_owned());
        }
        let step_up = if errored { None } else { self.step_up(q, frame) };
        Verdict::Refusal(Refusal { rules, reasons, errored, step_up })
    }

    fn refuse_unasked(&self, why: String) -> Decision {
        let explanation = Explanation {
            rules: Vec::new(),
            errors: vec![why.clone()],
            shadow: Vec::new(),
            policy_set: *self.digest(),
        };
        let (rules, reasons) = (Vec::new(), vec![why]);
        let refusal = Refusal { rules, reasons, errored: true, step_up: None };
        Decision { verdict: Verdict::Refusal(refusal), explanation }
    }

    /// What rules in shadow, each alone, and a whole set in shadow would have changed.
    fn flips<'r>(
        &'r self,
        q: &Question<'_>,
        frame: &Frame<'r>,
        slices: impl Iterator<Item = &'r Slice> + Clone,
        live: VerdictKind,
    ) -> Vec<ShadowFlip> {
        let mut flips = Vec::new();
        for (id, shadow) in slices.clone().flat_map(|s| &s.shadows) {
            let roles = self.approver_roles(q.target_tenant);
            let would = derive(q.confirmation, &roles, |confirmation| {
                let request = frame.request(&self.engine, confirmation);
                let sets = slices.clone().map(|s| &s.rules).chain([shadow]);
                self.engine.ask_all(sets, request, &frame.entities)
            });
            push_flip(&mut flips, id.clone(), would.kind, live);
        }
        if let Some(candidate) = self.shadow() {
            let principal = candidate.prepare(q.principal.principal());
            let asked = Question { principal: &principal, ..*q };
            let would = candidate.decide(&asked).verdict.kind();
            push_flip(&mut flips, format!("set:{}", candidate.digest()), would, live);
        }
        flips
    }
}

fn push_flip(flips: &mut Vec<ShadowFlip>, policy: String, would: VerdictKind, live: VerdictKind) {
    if would != live {
        flips.push(ShadowFlip { policy, would: would.as_str() });
    }
}

fn errors(derived: &Derived) -> Vec<String> {
    let all = derived.ruling.errors.iter().chain(&derived.errors_when_confirmed);
    all.map(|(id, cause)| format!("{id}: {cause}")).collect()
}
