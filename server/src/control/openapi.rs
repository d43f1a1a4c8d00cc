//! The server's description of itself: OpenAPI 3.1 at `/openapi.json`.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{admin_routes, auth_routes, routes};

/// All routes but `/control`, which is a WebSocket (docs/control-protocol.md).
#[derive(OpenApi)]
#[openapi(
    info(title = "Voice server", description = "Accounts and administration. Errors have a code for programs and a sentence for people."),
    paths(
        auth_routes::register, auth_routes::login, auth_routes::refresh, auth_routes::logout,
        auth_routes::password, auth_routes::me, auth_routes::sessions, auth_routes::revoke,
        admin_routes::users, admin_routes::create_user, admin_routes::change_user,
        admin_routes::reset_password, admin_routes::export_users, admin_routes::import_users,
        admin_routes::roles, admin_routes::audit,
        routes::health, routes::metrics,
    ),
    modifiers(&Bearer),
)]
pub(super) struct Description;

/// Every route wants a token, but for those that say otherwise.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(bearer));
        document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    }
}
