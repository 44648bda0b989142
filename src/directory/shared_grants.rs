//! What clients may ask for, once for all that may ask for the same: a million clients may share a handful.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::names::split_scopes;
use crate::model::{Audience, Grants, ScopePattern};
use crate::store::clients::{self, IssuingRow};
use crate::store::{Result, StoreError};

/// Every distinct set of grants, by the text it was parsed from.
#[derive(Default)]
pub struct SharedGrants {
    known: HashMap<Box<str>, Arc<Grants>, foldhash::quality::RandomState>,
    prune_at: usize,
    /// Where such texts are put together.
    text: String,
}

impl SharedGrants {
    /// Those of a client.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when they are not what m2mint writes.
    pub fn of(&mut self, row: &IssuingRow<'_>) -> Result<Arc<Grants>> {
        self.text.clear();
        for part in [row.scope, "\n", row.audience, "\n", row.audience_scopes.unwrap_or_default()] {
            self.text.push_str(part);
        }
        if let Some(known) = self.known.get(self.text.as_str()) {
            return Ok(Arc::clone(known));
        }
        if self.known.len() >= self.prune_at.max(1024) {
            self.known.retain(|_, grants| Arc::strong_count(grants) > 1);
            self.prune_at = self.known.len() * 2;
        }
        let grants = Arc::new(parse(row)?);
        self.known.insert(self.text.as_str().into(), Arc::clone(&grants));
        Ok(grants)
    }
}

fn parse(row: &IssuingRow<'_>) -> Result<Grants> {
    let scopes = split_scopes(row.scope).map(ScopePattern::parse).collect::<std::result::Result<Vec<_>, _>>();
    let audiences =
        split_scopes(row.audience).map(Audience::parse).collect::<std::result::Result<Vec<_>, _>>();
    let by_audience = row.audience_scopes.map(clients::parse_audience_scopes).transpose()?;
    Grants::new(
        &scopes.map_err(StoreError::corrupt)?,
        &audiences.map_err(StoreError::corrupt)?,
        by_audience.as_ref(),
    )
    .map_err(StoreError::corrupt)
}
