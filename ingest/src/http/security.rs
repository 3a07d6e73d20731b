//! What the description says of access tokens: a scheme, who needs which role, and how a request without is answered.

use http::Method;
use tidewheel_api::auth::{Need, need};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, ResponseBuilder};

const SCHEME: &str = "token";

/// Adds to every route what it needs.
pub(super) fn describe(document: &mut OpenApi) {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("twk_…")
        .description(Some("An access token. `tidewheel dev` needs none; `tidewheel serve` does."));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(scheme.build()));
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            if let Some(operation) = operation {
                annotate(operation, need(&method, path));
            }
        }
    }
}

fn operations(item: &mut PathItem) -> [(Method, &mut Option<Operation>); 4] {
    [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PUT, &mut item.put),
        (Method::DELETE, &mut item.delete),
    ]
}

fn annotate(operation: &mut Operation, need: Need) {
    let (roles, place) = match need {
        Need::Nothing => {
            operation.security = Some(Vec::new());
            return;
        }
        Need::Role(roles) => (roles, ""),
        Need::Everywhere(roles) => (roles, " in every namespace"),
    };
    let mut words: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    if !words.contains(&"admin") {
        words.push("admin");
    }
    let needed = format!("{}{place}", words.join(" or "));
    operation.security = Some(vec![SecurityRequirement::new(SCHEME, words)]);
    for (status, description) in [
        ("401", "Without a valid access token, where one is required".to_owned()),
        ("403", format!("The access token needs the role {needed}")),
    ] {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let response =
            ResponseBuilder::new().description(description).content("application/problem+json", problem);
        operation.responses.responses.insert(status.to_owned(), response.build().into());
    }
}
