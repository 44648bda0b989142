//! What pages fetch besides themselves: a stylesheet, a script and an icon, out of the binary.
//!
//! Their names change with what is in them, so that browsers keep them for good.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Path;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2mint_keys::crypto;

use crate::http::dashboard::error::DashboardError;
use crate::http::dashboard::layout;

/// One file.
pub struct Asset {
    /// Its name, with a hash of what is in it.
    name: String,
    content_type: &'static str,
    text: &'static str,
}

/// The stylesheet.
pub static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_str!("assets/dashboard.css")));
/// The script: comfort only.
pub static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript; charset=utf-8", include_str!("assets/dashboard.js")));
/// The icon.
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", include_str!("assets/icon.svg")));

impl Asset {
    fn new(extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let mut hash = URL_SAFE_NO_PAD.encode(crypto::sha256(text.as_bytes()));
        hash.truncate(16);
        Self { name: format!("{hash}.{extension}"), content_type, text }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/admin/assets/{}", self.name)
    }
}

/// `GET /admin/assets/{name}`
///
/// # Errors
/// When there is none of this name.
pub async fn get(name: Path<String>) -> Result<HttpResponse, DashboardError> {
    let all: [&Asset; 3] = [&STYLE, &SCRIPT, &ICON];
    let found = all.into_iter().find(|asset| asset.name == *name).ok_or(DashboardError::NotFound("file"))?;
    let mut response = layout::plain(StatusCode::OK);
    response.insert_header((CONTENT_TYPE, found.content_type));
    response.insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"));
    Ok(response.body(found.text))
}
