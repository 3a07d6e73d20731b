//! The guard: middleware that lets a request through to its route, or says why not. No route checks anything itself but
//! what depends on its body.

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::access::{Need, need};
use super::{Auth, Identity, Shown, stream};
use crate::code::Code;
use crate::problem::Problem;
use crate::token::Secret;

const REALM: &str = "Bearer realm=\"tidewheel\"";
const REALM_REFUSED: &str = "Bearer realm=\"tidewheel\", error=\"invalid_token\"";

/// Lets a request through if it needs no token, or if its token allows it; for `Router::route_layer`. Its route finds
/// who asks in the request's extensions. When the token is revoked meanwhile, an answer that is not there yet becomes
/// a problem, and one that stays open ends with a problem.
pub async fn guard(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    let need = need(request.method(), path);
    if need == Need::Nothing {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let shown = match auth.admit(&mut parts, need).await {
        Ok(shown) => shown,
        Err(problem) => return refuse(problem),
    };
    let request = Request::from_parts(parts, body);
    let Some(shown) = shown else { return next.run(request).await };
    let mut over: stream::Over = Box::pin(auth.over(shown));
    let response = tokio::select! {
        biased;
        response = next.run(request) => response,
        () = &mut over => return refuse(cut_off()),
    };
    stream::guarded(response, over, &cut_off())
}

impl Auth {
    /// The token that was shown, if one was and it allows the request; who asks goes to the extensions.
    async fn admit(&self, parts: &mut Parts, need: Need) -> Result<Option<Shown>, Problem> {
        let Some(text) = bearer(&parts.headers)? else {
            if !self.0.is_required {
                return Ok(None);
            }
            return Err(Problem::new(
                Code::TokenMissing,
                "the request needs an access token; send it as `Authorization: Bearer twk_…`",
            )
            .field("Authorization"));
        };
        let secret = Secret::parse(text).map_err(|why| {
            refused(format!("the access token cannot be read: {why}; send one that was created here"))
        })?;
        // What was read so far may lack that the token was revoked.
        if !self.is_complete() {
            let detail = "the node has not read the access tokens yet; try again";
            return Err(Problem::new(Code::NotReady, detail).retry_after_ms(1_000));
        }
        let shown = self.check(&secret).ok_or_else(|| {
            refused(
                "the access token is not known here, was rotated or revoked, or its secret is wrong; ask for another"
                    .to_owned(),
            )
        })?;
        let identity = Identity::of(&shown.token);
        // Of a path that cannot be read no namespace is known; its route refuses it.
        let parameters = RawPathParams::from_request_parts(parts, &()).await.ok();
        let namespace = parameters
            .as_ref()
            .and_then(|parameters| parameters.iter().find(|(name, _)| *name == "ns"))
            .map(|(_, namespace)| namespace);
        allow(&identity, need, namespace)?;
        parts.extensions.insert(identity.principal.clone());
        parts.extensions.insert(identity);
        Ok(Some(shown))
    }
}

fn allow(identity: &Identity, need: Need, namespace: Option<&str>) -> Result<(), Problem> {
    let (roles, is_everywhere) = match need {
        Need::Nothing => return Ok(()),
        Need::Role(roles) => (roles, false),
        Need::Everywhere(roles) => (roles, true),
    };
    if !identity.is_any_of(roles) {
        let roles: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
        let detail = format!("the access token lacks the role this needs: {}", roles.join(" or "));
        return Err(
            Problem::new(Code::Forbidden, detail).known(roles.into_iter().map(str::to_owned).collect())
        );
    }
    if let Some(namespace) = namespace
        && !identity.is_in(namespace)
    {
        let shown: String = namespace.chars().take(160).collect();
        let detail = format!("the access token does not hold in the namespace `{shown}`");
        return Err(Problem::new(Code::Forbidden, detail).field("ns"));
    }
    if is_everywhere && !identity.is_everywhere() {
        return Err(Problem::new(
            Code::Forbidden,
            "this needs an access token that holds in every namespace; this one holds in some",
        ));
    }
    Ok(())
}

/// The text of the bearer token, if there is one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed = || {
        refused("the Authorization header cannot be read; send one `Authorization: Bearer twk_…`".to_owned())
    };
    if values.next().is_some() {
        return Err(malformed());
    }
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(malformed()) }
}

fn refused(detail: String) -> Problem {
    Problem::new(Code::TokenRefused, detail).field("Authorization")
}

fn cut_off() -> Problem {
    refused(
        "the access token was revoked, or its time is over, before all was answered; what was asked for may have \
         happened"
            .to_owned(),
    )
}

fn refuse(problem: Problem) -> Response {
    let code = problem.code();
    metrics::counter!("tidewheel_auth_refused_total", "code" => code.as_str()).increment(1);
    let mut response = problem.into_response();
    let challenge = match code {
        Code::TokenMissing => REALM,
        Code::TokenRefused => REALM_REFUSED,
        _ => return response,
    };
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}
