//! `GET /v1/confirmations/events`: a person's confirmations, live, as server-sent events.
//!
//! First comes `snapshot` with all that waits, so that nobody has to say what they saw before: a client that lost its
//! connection compares. Then `asked` with the whole question, and `decided`, `executed`, `expired` or `unknown` with where
//! it is now. The stream looks into the database once a second, whichever replica changed something there, and asks each
//! time whether its caller may still look: it ends with the token, with the person's standing, and with the gateway.
//!
//! INVARIANT: nobody sees more than `/v1/confirmations/active` and `/v1/confirmations/{id}` show them
//! (`confirm_events::of_nobody_else`), and nobody for longer (`confirm_events::end_with_the_standing_of_who_looks`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::routing::{MethodRouter, get};
use http::Response;
use serde_json::{Value, json};

use super::entry::AtDoor;
use super::sse::{self, Events, Gone};
use crate::answer::refusal_response;
use crate::confirm;
use crate::directory::{ConfirmationPlace, ConfirmationState};
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::knock::Knock;
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// How often a stream looks.
const LOOK: Duration = Duration::from_secs(1);
/// Streams at once, of one user, of one tenant and of all, on one replica: no tenant takes the places of the others.
const OF_A_USER: usize = 4;
const OF_A_TENANT: usize = 128;
const OF_ALL: usize = 512;

/// The route.
pub fn service() -> MethodRouter<Arc<Gateway>> {
    let all = Arc::new(Streams::default());
    get(move |state, at| follow(state, at, all))
}

/// How many streams each user has.
#[derive(Debug, Default)]
struct Streams(Mutex<HashMap<String, usize>>);

/// One of them; dropping it makes room.
#[derive(Debug)]
struct Place {
    all: Arc<Streams>,
    user: String,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, caller: &Caller) -> Result<Place, Refusal> {
        self.of(caller.tenant().as_str(), caller.user_id())
            .ok_or(Refusal::TooManyRequests { retry_after: LOOK })
    }

    /// A place for one more stream of a user; none when there is none.
    fn of(self: &Arc<Self>, tenant: &str, user: &str) -> Option<Place> {
        // No tenant's id holds a stroke.
        let tenant = format!("{tenant}/");
        let user = format!("{tenant}{user}");
        let mut streams = self.lock();
        let own = streams.get(&user).copied().unwrap_or_default();
        let of_tenant = streams.iter().filter(|(user, _)| user.starts_with(&tenant));
        let of_tenant: usize = of_tenant.map(|(_, count)| count).sum();
        let all: usize = streams.values().sum();
        if own >= OF_A_USER || of_tenant >= OF_A_TENANT || all >= OF_ALL {
            return None;
        }
        streams.insert(user.clone(), own + 1);
        drop(streams);
        Some(Place { all: Arc::clone(self), user })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.all.lock();
        if let Some(own) = streams.get_mut(&self.user) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                streams.remove(&self.user);
            }
        }
    }
}

async fn follow(
    State(gateway): State<Arc<Gateway>>,
    at: AtDoor,
    all: Arc<Streams>,
) -> Response<Body> {
    let AtDoor { knock, .. } = at;
    let visit = match Visit::begin(&gateway, &knock).await {
        Ok(visit) => visit,
        Err(refusal) => return refusal_response(&refusal),
    };
    let caller = visit.caller.clone();
    let begun = async {
        let known = states(&places(&gateway, &caller).await?);
        let waiting = confirm::pending(&gateway, &caller).await?;
        Ok((known, json!({ "confirmations": waiting }), all.enter(&caller)?))
    };
    let begun = begun.await;
    match visit.end(&gateway, begun).await {
        Ok((known, snapshot, place)) => {
            let (events, response) = sse::response();
            let watch = Watch { gateway, knock, caller, known, _place: place };
            tokio::spawn(async move {
                tokio::select! {
                    () = events.gone() => {}
                    _ = watch.tell(&events, snapshot) => {}
                }
            });
            response
        }
        Err(refusal) => refusal_response(&refusal),
    }
}

/// One person who looks.
struct Watch {
    gateway: Arc<Gateway>,
    knock: Knock,
    caller: Caller,
    known: HashMap<String, ConfirmationState>,
    _place: Place,
}

impl Watch {
    /// Tells what changes, as long as its caller may look.
    async fn tell(mut self, events: &Events, snapshot: Value) -> Result<(), Gone> {
        events.send("snapshot", None, &snapshot).await?;
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if self.gateway.tasks.is_closed() {
                return Ok(());
            }
            match self.gateway.identify_again(&self.knock, &self.caller).await {
                Ok(caller) if confirm::is_a_person(&caller) => self.caller = caller,
                _ => return Ok(()),
            }
            // What can't be looked at now is looked at the next time.
            let Ok(now) = places(&self.gateway, &self.caller).await else { continue };
            for place in &now {
                if self.known.get(&place.id) != Some(&place.state) {
                    self.tell_one(events, place).await?;
                }
            }
            self.known = states(&now);
        }
    }

    async fn tell_one(&self, events: &Events, place: &ConfirmationPlace) -> Result<(), Gone> {
        let name = match place.state {
            ConfirmationState::Pending => {
                let asked = confirm::own_one(&self.gateway, &self.caller, &place.id).await;
                // One whose stored bytes were changed is shown by nobody.
                let Ok(asked) = asked else { return Ok(()) };
                let asked = serde_json::to_value(asked).unwrap_or_default();
                return events.send("asked", None, &asked).await;
            }
            ConfirmationState::Executed => "executed",
            ConfirmationState::Expired => "expired",
            ConfirmationState::Unknown => "unknown",
            ConfirmationState::Executing
            | ConfirmationState::Cancelled
            | ConfirmationState::Declined
            | ConfirmationState::Refused
            | ConfirmationState::Superseded => "decided",
        };
        let told = json!({
            "confirmation_id": place.id,
            "state": place.state,
            "changed_at": jiff::Timestamp::from_millisecond(place.changed_ms)
                .map(|at| at.to_string())
                .unwrap_or_default(),
            "trace_id": place.op,
        });
        events.send(name, None, &told).await
    }
}

async fn places(gateway: &Gateway, caller: &Caller) -> Result<Vec<ConfirmationPlace>, Refusal> {
    let found = gateway.directory.confirmation_places(caller.tenant(), caller.user_id()).await;
    found.map_err(|fault| Refusal::Unavailable(fault.to_string()))
}

fn states(places: &[ConfirmationPlace]) -> HashMap<String, ConfirmationState> {
    places.iter().map(|place| (place.id.clone(), place.state)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_and_no_tenant_takes_the_places_of_others() {
        let all = Arc::new(Streams::default());
        let mut places: Vec<Place> = (0..OF_A_USER).filter_map(|_| all.of("one", "ann")).collect();
        assert!(all.of("one", "ann").is_none(), "of one user");
        places.extend((0..1_000).filter_map(|user| all.of("one", &user.to_string())));
        assert_eq!(places.len(), OF_A_TENANT);
        assert!(all.of("one", "bob").is_none(), "of one tenant");
        assert!(all.of("on", "ann").is_some(), "a name that begins alike is another tenant");
        places.pop();
        assert!(all.of("one", "bob").is_some(), "who goes makes room");
    }
}
