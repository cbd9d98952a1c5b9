use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::App;
use crate::{events, following, probes, publishing, registry_api};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Cogo",
        description = "Ask for work, follow it, stop it. Errors are always \
            `{\"error\": {\"code\", \"message\", \"help\"}}`.",
    ),
    tags(
        (name = "intents", description = "Ask for something to be done, by name."),
        (name = "messages", description = "The bus itself."),
        (name = "traces", description = "All that follows from one intent."),
        (name = "events", description = "What happens."),
        (name = "registry", description = "What runs, and what should. For servers only."),
        (name = "operations", description = "For those who run it."),
    ),
)]
struct Description;

/// Every operation, and the document that is made from them: an operation that is not described
/// cannot be reached.
pub(crate) fn api() -> (axum::Router<App>, OpenApi) {
    let (router, mut api) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(publishing::publish_intent))
        .routes(routes!(publishing::publish_message))
        .routes(routes!(following::show_message))
        .routes(routes!(following::cancel_message))
        .routes(routes!(following::replay_message))
        .routes(routes!(following::show_trace))
        .routes(routes!(following::cancel_trace))
        .routes(routes!(events::follow_trace))
        .routes(routes!(events::follow_events))
        .routes(routes!(registry_api::list_agents))
        .routes(routes!(registry_api::list_images, registry_api::record_image))
        .routes(routes!(registry_api::promote_image))
        .routes(routes!(registry_api::rollback_image))
        .routes(routes!(registry_api::show_release))
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::metrics))
        .routes(routes!(document))
        .split_for_parts();
    let components = api.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("A user's token, or a secret key."))
        .build();
    let apikey = ApiKeyValue::with_description("apikey", "A server's secret key.");
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("apikey", SecurityScheme::ApiKey(ApiKey::Header(apikey)));
    (router, api)
}

/// The document, as it is committed.
pub fn openapi_json() -> String {
    let mut text = api().1.to_pretty_json().expect("the document can be written");
    text.push('\n');
    text
}

/// By method and path, what each operation is called.
pub(crate) fn operations(api: &OpenApi) -> HashMap<(String, String), String> {
    let document = serde_json::to_value(api).expect("the document can be written");
    let mut operations = HashMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            if let Some(id) = operation["operationId"].as_str() {
                operations.insert((method.to_uppercase(), path.clone()), id.to_owned());
            }
        }
    }
    operations
}

/// This document
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value)))]
pub(crate) async fn document(State(app): State<App>) -> Json<OpenApi> {
    Json(OpenApi::clone(&app.api))
}
