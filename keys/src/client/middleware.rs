//! Puts a token on each request.

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Extensions, StatusCode};
use reqwest::{Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next};

use crate::client::{AccessToken, TokenSource};

impl TokenSource {
    /// A client whose every request carries a token. Use it for the one service that the tokens are for: they go to
    /// whatever host is asked. A redirect to another host is followed without the token.
    #[must_use]
    pub fn client(&self) -> ClientWithMiddleware {
        ClientBuilder::new(self.0.http.client_for_services()).with(self.clone()).build()
    }
}

/// For a client of your own: `reqwest_middleware::ClientBuilder::new(client).with(tokens)`.
///
/// A request that is refused with 401 is sent once more with a new token, if its body can be sent twice.
#[async_trait::async_trait]
impl Middleware for TokenSource {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let again = request.try_clone();
        let token = self.token().await.map_err(Error::middleware)?;
        authorize(&mut request, &token)?;
        let response = next.clone().run(request, extensions).await?;
        let Some(mut again) = again.filter(|_| response.status() == StatusCode::UNAUTHORIZED) else {
            return Ok(response);
        };
        self.invalidate(&token);
        match self.token().await {
            Ok(newer) if newer != token => {
                authorize(&mut again, &newer)?;
                next.run(again, extensions).await
            }
            // There is none that could do better.
            _ => Ok(response),
        }
    }
}

fn authorize(request: &mut Request, token: &AccessToken) -> reqwest_middleware::Result<()> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(Error::middleware)?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}
