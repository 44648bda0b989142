use m2mint_keys::remote::{RemoteError, RemoteJwks, RemoteVerifier};
use m2mint_keys::verify::Policy;

/// What checks tokens: `verifier()?.verify(token, now).await` gives what a token that may do this here says, and an error
/// for any other. For actix-web, axum and all else on tower the crate has guards.
pub fn verifier() -> Result<RemoteVerifier, RemoteError> {
    let policy = Policy { scopes: vec!["{{scope}}".into()], ..Policy::new("{{issuer}}", "{{audience}}") };
    Ok(RemoteVerifier::new(RemoteJwks::at("{{jwks}}")?, policy))
}
