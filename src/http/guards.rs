//! What keeps web pages away from the admin API. A page in the browser of somebody who can reach the server can send
//! requests there, from any site, and under a name of its own that it has pointed here (DNS rebinding).

use std::net::SocketAddr;

use actix_web::HttpRequest;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN, TRANSFER_ENCODING,
};
use actix_web::http::{Method, Uri, Version};
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::config::Config;
use crate::http::State;
use crate::http::error::AdminError;
use crate::http::error::problem::Problem;
use crate::http::request::{content_type, is_media_type};
use crate::listeners::{Listener, Listeners, Socket};
use crate::model::Host;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The addresses at which the server listens. They stay as they are.
#[must_use]
pub fn addresses(listeners: &Listeners) -> Vec<SocketAddr> {
    let address = |listener: &Listener| match &listener.socket {
        Socket::Tcp(socket) => socket.local_addr().ok(),
        Socket::Unix(_) => None,
    };
    listeners.sockets.iter().filter_map(address).collect()
}

/// The names that the admin API has besides those of its addresses.
#[must_use]
pub fn hosts(config: &Config, issuer: &str) -> Vec<Host> {
    Host::of_url(issuer).into_iter().chain(config.admin_hosts.iter().cloned()).collect()
}

/// The middleware around the admin API. It looks before any key is.
///
/// # Errors
/// Those of the handler.
pub async fn keep_web_pages_out<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    match check(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => Ok(request.error_response(error).map_into_right_body()),
    }
}

/// The same around `/admin/v1`, whose errors have another form.
///
/// # Errors
/// Those of the handler.
pub async fn keep_web_pages_out_of_v1<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    match check(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => Ok(request.error_response(Problem::from(error)).map_into_right_body()),
    }
}

fn check(request: &ServiceRequest) -> Result<(), AdminError> {
    check_host(request)?;
    check_site(request)
}

/// Whether a request is meant for this server, under a name that it has.
///
/// # Errors
/// [`AdminError::NoHost`], [`AdminError::WrongHost`]
pub fn check_host(request: &ServiceRequest) -> Result<(), AdminError> {
    let host = named_host(request.headers(), request.uri());
    // A Unix socket has no name that anybody could point elsewhere, and no browser reaches it.
    if let Some(state) = request.app_data::<Data<State>>().filter(|_| request.peer_addr().is_some()) {
        let host = host.ok_or(AdminError::NoHost)?;
        let is_address = state.addresses.iter().any(|address| is_here(&host, *address));
        if !is_address && !state.admin_hosts.load().iter().any(|known| known.covers(&host)) {
            return Err(AdminError::WrongHost(host));
        }
    }
    Ok(())
}

/// Whether a request comes from a page of this server, or from no page at all.
///
/// # Errors
/// [`AdminError::CrossSite`]
pub fn check_site(request: &ServiceRequest) -> Result<(), AdminError> {
    let host = named_host(request.headers(), request.uri());
    if is_from_elsewhere(request.headers(), host.as_ref()) { Err(AdminError::CrossSite) } else { Ok(()) }
}

/// The host that a request names, if it is one, and the same wherever it is named.
fn named_host(headers: &HeaderMap, uri: &Uri) -> Option<Host> {
    let authority = uri.authority().map(|authority| Some(authority.as_str()));
    let named = headers.get_all(HOST).map(|value| value.to_str().ok()).chain(authority);
    let mut hosts = named.map(|text| text.and_then(|text| Host::parse(text).ok()));
    let first = hosts.next()??;
    let headers = headers.get_all(HOST).count();
    (headers <= 1 && hosts.all(|other| other.as_ref() == Some(&first))).then_some(first)
}

/// Whether a host is the address at which the server listens, or this machine to itself.
///
/// Where it listens at every address of the machine, any of them will do: what a page points elsewhere is a name.
fn is_here(host: &Host, local: SocketAddr) -> bool {
    let port = local.port();
    let at_port = host.port().map_or(matches!(port, 80 | 443), |named| named == port);
    let is_address = |address| address == local.ip() || local.ip().is_unspecified();
    at_port && (host.is_loopback() || host.address().is_some_and(is_address))
}

/// Whether a browser says that the page of another site sends the request.
fn is_from_elsewhere(headers: &HeaderMap, host: Option<&Host>) -> bool {
    let is_own = |origin: Host| host.is_some_and(|host| origin.is_origin_of(host));
    let mut origins = headers.get_all(ORIGIN);
    let mut sites = headers.get_all(SEC_FETCH_SITE);
    origins
        .any(|origin| !origin.to_str().ok().and_then(|text| Host::of_origin(text).ok()).is_some_and(is_own))
        || sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Refuses a body of another type than JSON. A page can send the types of forms anywhere without asking, but not this one.
///
/// # Errors
/// [`AdminError::NotJson`]
pub fn demand_json(request: &HttpRequest) -> Result<(), AdminError> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH).map(|length| length.as_bytes() != b"0");
    // From HTTP/2 on a body needs no header that announces it.
    let has_body =
        length.unwrap_or(request.version() > Version::HTTP_11) || headers.contains_key(TRANSFER_ENCODING);
    let types = headers.get_all(CONTENT_TYPE).count();
    let is_json = types == 1 && is_media_type(content_type(request), "application/json");
    if is_json || (types == 0 && !has_body) { Ok(()) } else { Err(AdminError::NotJson) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn the_address_that_listens_and_loopback_at_its_port_are_here() {
        let here = |named: &str, local: &str| is_here(&host(named), local.parse().unwrap());
        for named in ["127.0.0.1:3567", "localhost:3567", "[::1]:3567", "LOCALHOST:3567"] {
            assert!(here(named, "127.0.0.1:3567"), "{named}");
        }
        for named in [
            "127.0.0.1",
            "localhost:3568",
            "192.0.2.7:3567",
            "evil.example:3567",
            "localhost.evil.example:3567",
        ] {
            assert!(!here(named, "127.0.0.1:3567"), "{named}");
        }
        assert!(here("192.0.2.7:3567", "192.0.2.7:3567") && !here("192.0.2.8:3567", "192.0.2.7:3567"));
        assert!(here("192.0.2.7:3567", "0.0.0.0:3567") && here("[2001:db8::1]:3567", "[::]:3567"));
        assert!(!here("evil.example:3567", "0.0.0.0:3567") && !here("192.0.2.7:80", "0.0.0.0:3567"));
        assert!(here("localhost", "127.0.0.1:80"));
    }

    #[test]
    fn a_host_is_named_once_or_every_time_the_same() {
        let named = |hosts: &[&'static str], uri: &'static str| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, actix_web::http::header::HeaderValue::from_static(host));
            }
            named_host(&headers, &Uri::from_static(uri)).map(|host| host.to_string())
        };
        assert_eq!(named(&["a:1"], "/x").as_deref(), Some("a:1"));
        assert_eq!(named(&[], "http://a:1/x").as_deref(), Some("a:1"));
        assert_eq!(named(&["a:1"], "http://a:1/x").as_deref(), Some("a:1"));
        for (hosts, uri) in
            [(&[][..], "/x"), (&["a", "a"], "/x"), (&["a"], "http://b/x"), (&[""], "/x"), (&["u@a"], "/x")]
        {
            assert_eq!(named(hosts, uri), None, "{hosts:?} {uri}");
        }
    }
}
