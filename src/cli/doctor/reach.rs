//! The server, the issuer under its public URL, certificates.

use std::time::{Duration, UNIX_EPOCH};

use m2mint_keys::json;
use m2mint_keys::jwk::{Jwk, JwkSet};
use m2mint_keys::key_ring::State;
use m2mint_keys::time::UnixTime;
use serde_json::Value;
use url::Url;

use super::surroundings::unit;
use super::{Finding, Found, Patient, unreadable};
use crate::cli::config;
use crate::cli::web::{self, Answer};
use crate::config::Listen;
use crate::model::host::is_on_this_machine;
use crate::rotation::keeper::in_words;
use crate::store::keys;
use crate::tls::{self, Contents};

/// How far clocks may be apart that are both right.
const SKEW: i64 = 5_000;

/// Whether a server works on the database, and is ready.
pub fn server(patient: &Patient) -> Found {
    if !patient.is_served {
        let fix = if unit().is_some() { "systemctl start m2mint" } else { "m2mint serve" };
        return Ok(vec![Finding::failure("no server works on the database", fix)]);
    }
    let config = patient.config();
    // Over TLS its name is the issuer's, which is asked below.
    let (Some(web), Listen::Tcp(address), None) = (&patient.web, &config.listen, &config.tls) else {
        return Ok(vec![Finding::good("one works on the database")]);
    };
    if address.port() == 0 || address.ip().is_unspecified() {
        return Ok(vec![Finding::good("one works on the database")]);
    }
    let url = format!("http://{address}/health/ready");
    let answer = match web.get(&url) {
        Ok(answer) => answer,
        Err(error) => {
            return Ok(vec![Finding::failure(
                format!("one works on the database, but {url} cannot be asked: {error}"),
                "m2mint config show: is `listen` what it was when the server started?",
            )]);
        }
    };
    let body = json::object(&answer.body).unwrap_or_default();
    let parts = body.get("parts").and_then(Value::as_object).into_iter().flatten();
    let troubles: Vec<_> = parts
        .filter_map(|(part, says)| Some((part, says.as_str().filter(|says| *says != "ok")?)))
        .map(|(part, says)| Finding::failure(format!("{part}: {says}"), "look at the server's log"))
        .collect();
    Ok(match (troubles.is_empty(), answer.status) {
        (false, _) => troubles,
        (true, 200) => vec![Finding::good(format!("the one at {address} is ready"))],
        (true, status) => vec![Finding::failure(
            format!("{url} answers with status {status}: is that m2mint?"),
            "m2mint config show: is `listen` what it was when the server started?",
        )],
    })
}

/// Whether clients and verifiers find the issuer where its tokens say, with the keys of this file.
pub fn issuer(patient: &Patient) -> Found {
    let Some(web) = &patient.web else { return Ok(vec![Finding::skipped("--offline: it was not asked")]) };
    if !patient.is_served {
        return Ok(vec![Finding::skipped("no server works on the database: it was not asked")]);
    }
    let Ok(issuer) = config::issuer(patient.config()) else {
        return Ok(vec![Finding::skipped("its URL follows from a port that only the server knows")]);
    };
    let fix = "look at the proxy that stands before the server; deploy/README.md has tried recipes";
    let url = format!("{issuer}/.well-known/openid-configuration");
    let document = match web.get(&url) {
        Err(error) => {
            return Ok(vec![Finding::failure(
                format!("{url} cannot be asked: {error}"),
                format!("curl -v {url}, and `issuer` in the configuration"),
            )]);
        }
        Ok(answer) if answer.status != 200 => {
            return Ok(vec![Finding::failure(format!("{url} answers with status {}", answer.status), fix)]);
        }
        Ok(answer) => answer,
    };
    let mut found = Vec::new();
    let body = json::object(&document.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("issuer") != issuer {
        return Ok(vec![Finding::failure(
            format!("{url} is the document of another issuer, {:?}", text("issuer")),
            "set `issuer` to what verifiers expect, or let the proxy pass to this server",
        )]);
    }
    found.extend(skew(&document, patient.now));
    found.extend(key_set(patient, text("jwks_uri"))?);
    let is_public = Url::parse(&issuer)
        .is_ok_and(|url| url.scheme() == "https" || url.has_host() && !is_on_this_machine(&url));
    let origin = Url::parse(&issuer).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    let admin = format!("{origin}/apiversion");
    // It asks for an admin key before it says anything.
    if is_public && web.get(&admin).is_ok_and(|answer| matches!(answer.status, 200 | 401)) {
        found.push(Finding::warning(
            format!("whoever reaches the issuer reaches the admin API too: {admin} answers"),
            "let the proxy pass /auth/ and /.well-known/ only, or give the admin API a listener of its own: admin.listen",
        ));
    }
    if found.is_empty() {
        found.push(Finding::good(format!(
            "{issuer} is this one, and its key set has the keys of the database"
        )));
    }
    Ok(found)
}

/// Whether whoever answers goes by another clock.
fn skew(answer: &Answer, now: UnixTime) -> Option<Finding> {
    let date = httpdate::parse_http_date(answer.header("date")?).ok()?;
    let date = i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
    let apart = (date - now.millis()).abs();
    // The header tells whole seconds.
    (apart > SKEW + 1000).then(|| {
        Finding::warning(
            format!("the clock of whoever answers there is {} apart from this one", in_words(Some(apart))),
            "timedatectl set-ntp true, on both machines",
        )
    })
}

fn key_set(patient: &Patient, url: &str) -> Found {
    let (Some(web), Ok(store)) = (&patient.web, &patient.store) else { return Ok(Vec::new()) };
    let failed = |what: String| {
        Ok(vec![Finding::failure(
            what,
            "let the proxy pass it on, and keep it no longer than its Cache-Control says",
        )])
    };
    let answer = match web.get(url) {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => return failed(format!("the key set {url} answers with status {}", answer.status)),
        Err(error) => return failed(format!("the key set {url} cannot be asked: {error}")),
    };
    let Ok(served) = JwkSet::parse(&answer.body) else {
        return failed(format!("what {url} answers is no key set"));
    };
    let rings = store.read(keys::rings).map_err(|error| unreadable(&error))?;
    let published: Vec<_> = rings.iter().flat_map(|ring| ring.keys.published()).collect();
    let missing: Vec<_> =
        published.iter().filter(|key| !served.keys.iter().any(|jwk| jwk.kid == key.kid.as_str())).collect();
    if let Some(key) = missing.first() {
        return failed(format!(
            "the key set at {url} lacks the {} key {}: somebody on the way keeps an old copy, or it is another server's",
            key.state().name(),
            key.kid
        ));
    }
    let extra: Vec<_> =
        served.keys.iter().filter(|jwk| !published.iter().any(|key| key.kid.as_str() == jwk.kid)).collect();
    let revoked = |jwk: &&&Jwk| {
        let mut records = rings.iter().flat_map(|ring| ring.keys.records());
        records.any(|key| key.kid.as_str() == jwk.kid && key.state() == State::Revoked)
    };
    if let Some(jwk) = extra.iter().find(revoked) {
        return Ok(vec![Finding::failure(
            format!("the key set at {url} still has the key {}, which is revoked", jwk.kid),
            "purge the copy that the proxy keeps",
        )]);
    }
    let others = &patient.config().also;
    let expects_others = !others.sources.is_empty() && others.until.is_some_and(|until| patient.now < until);
    Ok(extra
        .first()
        .filter(|_| !expects_others)
        .map(|jwk| {
            Finding::warning(
                format!("the key set at {url} has a key that the database does not publish, {}", jwk.kid),
                "purge the copy that the proxy keeps, if it is not there on purpose",
            )
        })
        .into_iter()
        .collect())
}

/// Certificates: those of the configuration, and the one that the issuer shows.
pub fn certificates(patient: &Patient) -> Found {
    let mut found = Vec::new();
    if let Some(files) = &patient.config().tls {
        match Contents::read(files) {
            Ok(contents) => {
                found.extend(contents.warnings.into_iter().map(|warning| judged(&warning, &warning)))
            }
            Err(error) => found.push(Finding::failure(error.to_string(), "m2mint config check")),
        }
        if found.is_empty() {
            found.push(Finding::good(format!("the one in {} is good", files.certificate.display())));
        }
    }
    let issuer = config::issuer(patient.config()).ok();
    if let Some(issuer) = issuer.filter(|url| url.starts_with("https://"))
        && patient.web.is_some()
    {
        found.push(match web::certificate(&issuer) {
            Err(error) => Finding::failure(
                format!("the one of {issuer} cannot be had: {error}"),
                format!("curl -v {issuer}"),
            ),
            Ok(der) => match tls::outdated(&der, &tls::provider(), UNIX_EPOCH + wall(patient.now)) {
                None => Finding::good(format!("{issuer} shows one that is good for more than a week")),
                Some(what) => judged(&what, &format!("the certificate of {issuer} {what}")),
            },
        });
    }
    if found.is_empty() {
        found.push(Finding::skipped("none is in use here"));
    }
    Ok(found)
}

fn wall(now: UnixTime) -> Duration {
    Duration::from_millis(now.millis().max(0).unsigned_abs())
}

/// A certificate that is refused already, or will be.
fn judged(what: &str, told: &str) -> Finding {
    let fix = "renew it: a new file is taken in by itself";
    if what.contains("clients refuse it") { Finding::failure(told, fix) } else { Finding::warning(told, fix) }
}
