//! What the holder of an admin key may do.

use std::fmt;

/// A role of an admin key. Each one includes reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at clients, audiences and tokens.
    Read,
    /// Change clients and their secrets, and the services that they call; get and revoke tokens.
    Clients,
    /// Change what signs.
    Keys,
    /// Everything there is, and everything there will be.
    All,
}

impl Role {
    const EACH: [Self; 4] = [Self::Read, Self::Clients, Self::Keys, Self::All];

    /// The name, as people write it and as it is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Clients => "clients",
            Self::Keys => "keys",
            Self::All => "all",
        }
    }

    /// Reads a name.
    ///
    /// # Errors
    /// [`InvalidRoles::Unknown`]
    pub fn parse(text: &str) -> Result<Self, InvalidRoles> {
        Self::EACH
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| InvalidRoles::Unknown(text.to_owned()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The roles of one admin key: at least one, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(Box<[Role]>);

/// The text names no roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoles {
    /// None.
    #[error("an admin key needs a role: read, clients, keys or all")]
    None,
    /// One that does not exist.
    #[error("{0:?} is no role; use read, clients, keys or all")]
    Unknown(String),
}

impl Roles {
    /// These roles, in any order.
    ///
    /// # Errors
    /// [`InvalidRoles::None`]
    pub fn new(roles: impl IntoIterator<Item = Role>) -> Result<Self, InvalidRoles> {
        let mut roles: Vec<_> = roles.into_iter().collect();
        roles.sort_unstable();
        roles.dedup();
        if roles.is_empty() { Err(InvalidRoles::None) } else { Ok(Self(roles.into())) }
    }

    /// The roles of a key that may do everything.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self([Role::All].into())
    }

    /// Reads names with single spaces between them, as [`Roles`] are written.
    ///
    /// # Errors
    /// [`InvalidRoles`]
    pub fn parse(text: &str) -> Result<Self, InvalidRoles> {
        let names = text.split(' ').filter(|name| !name.is_empty());
        Self::new(names.map(Role::parse).collect::<Result<Vec<_>, _>>()?)
    }

    /// Whether a key with these roles may do what takes the role `needed`.
    #[must_use]
    pub fn allow(&self, needed: Role) -> bool {
        needed == Role::Read || self.0.contains(&needed) || self.0.contains(&Role::All)
    }

    /// The names of the roles.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|role| role.name())
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_includes_reading_and_none_but_all_another() {
        for held in Role::EACH {
            for needed in Role::EACH {
                let allowed = needed == Role::Read || needed == held || held == Role::All;
                assert_eq!(Roles::new([held]).unwrap().allow(needed), allowed, "{held} for {needed}");
            }
        }
        let both = Roles::new([Role::Keys, Role::Clients]).unwrap();
        assert!(both.allow(Role::Keys) && both.allow(Role::Clients) && !both.allow(Role::All));
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        for (text, written) in [("read", "read"), ("keys clients keys", "clients keys"), ("all", "all")] {
            assert_eq!(Roles::parse(text).unwrap().to_string(), written);
        }
        assert_eq!(Roles::parse(""), Err(InvalidRoles::None));
        assert_eq!(Roles::parse("read Read"), Err(InvalidRoles::Unknown("Read".into())));
    }
}
