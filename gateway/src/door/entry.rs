//! What every HTTP door does first: a request becomes a knock and a body not yet read.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::{Method, Response};
use portcullis_policies::Channel;

use super::Edge;
use crate::answer::refusal_response;
use crate::gateway::Gateway;
use crate::knock::{Knock, Wanted};
use crate::pipeline::Visit;
use crate::refusal::Refusal;

/// A request at the HTTP API: who seems to ask, and the body.
pub struct AtDoor {
    /// The knock, for nothing yet.
    pub knock: Knock,
    /// The body, unread.
    pub body: Body,
    /// The method of the request.
    pub method: Method,
}

impl AtDoor {
    /// The knock, for this.
    #[must_use]
    pub fn for_this(self, wanted: Wanted) -> Knock {
        Knock { wanted, ..self.knock }
    }

    /// Identifies somebody who only looks.
    ///
    /// # Errors
    /// The refusal as a response; recorded.
    pub async fn visit(self, gateway: &Arc<Gateway>) -> Result<Visit, Box<Response<Body>>> {
        let Self { knock, .. } = self;
        let visit = Visit::begin(gateway, &knock).await;
        visit.map_err(|refusal| Box::new(refusal_response(&refusal)))
    }
}

impl<S: Send + Sync> FromRequest<S> for AtDoor {
    type Rejection = Response<Body>;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        match parts.extensions.get::<Edge>() {
            Some(edge) => {
                let knock = Knock::new(&parts, edge, Channel::Http, Wanted::Nothing);
                Ok(Self { knock, body, method: parts.method })
            }
            // Only a request that did not come through the edge has no facts, and none may.
            None => Err(refusal_response(&Refusal::Unavailable("edge".to_owned()))),
        }
    }
}
