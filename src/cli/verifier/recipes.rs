//! Settings that are known to work, for what services in other languages check tokens with: one recipe a library.
//!
//! `tests/interop/verifiers/run` takes the code as it is printed and runs it across two rotations, counts how often it
//! fetches the key set, and tries the bad tokens of `m2mint verifier pack` on it: what is said here is what was seen there.

use m2mint_keys::signing_key::Algorithm::{self, EdDsa, Es256};
use serde_json::{Value, json};

/// How services check tokens with one library.
#[derive(Debug)]
pub struct Recipe {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The library, the version that was tried, and its language.
    pub library: &'static str,
    /// Algorithms that it checks, the best first.
    pub algorithms: &'static [Algorithm],
    /// For how many seconds it keeps the key set.
    pub cache: Cache,
    /// What it does with a token that names a key it does not know.
    pub unknown_kid: UnknownKid,
    /// How many seconds its clock may be off.
    pub leeway: u32,
    /// Tokens of `m2mint verifier pack` that it lets in nevertheless, where they were tried.
    pub lets_in: Option<&'static [&'static str]>,
    /// What else there is to know.
    pub notes: &'static str,
    /// Whether a test runs it.
    pub is_run: bool,
    code: &'static str,
}

/// For how long a library keeps the key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// Seconds, as the code says.
    Seconds(u32),
    /// Seconds, as the code says, for each key by itself: a key that signs for the first time is fetched then.
    EachKey(u32),
    /// As the key set's `Cache-Control` says: five minutes, or less where `rotation.propagation` is less.
    MaxAge,
    /// Until a token names a key that it does not know, and the time of `Cache-Control` has passed.
    UntilUnknownKid,
}

/// What a library does with a token that names a key it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKid {
    /// It fetches the key set at once, unless it did within so many seconds, as the code says.
    Fetches(u32),
    /// It fetches the key set at once, each time.
    FetchesEachTime,
    /// It fetches the key set at once, ten times a minute at most.
    FetchesTenAMinute,
    /// It refuses the token until the cached key set is old.
    Refuses,
}

/// What goes into the code.
#[derive(Debug)]
pub struct Values {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// The scope that is needed.
    pub scope: String,
    /// What tokens for the audience are signed with.
    pub algorithm: Algorithm,
    /// Instead of the recipe's.
    pub cache: Option<u32>,
    /// Instead of the recipe's.
    pub cooldown: Option<u32>,
    /// Instead of the recipe's.
    pub leeway: Option<u32>,
}

const BOTH: &[Algorithm] = &[EdDsa, Es256];
const ONLY_ES256: &[Algorithm] = &[Es256];
const JWKS_RSA: &str = "jwks-rsa fetches the key set for each key anew, so a rotation while m2mint is down is one that it notices.";

/// All recipes.
pub const ALL: &[Recipe] = &[
    Recipe {
        name: "m2mint-keys",
        library: "m2mint-keys, Rust",
        algorithms: BOTH,
        cache: Cache::MaxAge,
        unknown_kid: UnknownKid::Fetches(30),
        leeway: 60,
        lets_in: Some(&[]),
        notes: "Its own tests run it. It bridges an issuer that is down for 24 hours.",
        is_run: false,
        code: include_str!("recipes/m2mint-keys.rs"),
    },
    Recipe {
        name: "jose",
        library: "jose 6.2.18, Node.js",
        algorithms: BOTH,
        cache: Cache::Seconds(600),
        unknown_kid: UnknownKid::Fetches(30),
        leeway: 5,
        lets_in: Some(&[
            "aud-shared",
            "exp-huge",
            "iat-future",
            "sub-other",
            "aud-twice",
            "alg-twice",
            "padded",
            "last-character",
            "huge",
        ]),
        notes: "",
        is_run: true,
        code: include_str!("recipes/jose.mjs"),
    },
    Recipe {
        name: "express-oauth2-jwt-bearer",
        library: "express-oauth2-jwt-bearer 1.10.0, Node.js",
        algorithms: BOTH,
        cache: Cache::Seconds(600),
        unknown_kid: UnknownKid::Fetches(30),
        leeway: 5,
        lets_in: Some(&[
            "aud-shared",
            "exp-huge",
            "iat-future",
            "sub-other",
            "aud-twice",
            "alg-twice",
            "padded",
            "last-character",
        ]),
        notes: "",
        is_run: true,
        code: include_str!("recipes/express-oauth2-jwt-bearer.mjs"),
    },
    Recipe {
        name: "fast-jwt",
        library: "fast-jwt 6.3.6 with jwks-rsa 4.1.0, Node.js",
        algorithms: BOTH,
        cache: Cache::EachKey(600),
        unknown_kid: UnknownKid::FetchesTenAMinute,
        leeway: 5,
        lets_in: Some(&[
            "aud-shared",
            "exp-huge",
            "iat-future",
            "sub-other",
            "aud-twice",
            "alg-twice",
            "last-character",
            "huge",
        ]),
        notes: JWKS_RSA,
        is_run: true,
        code: include_str!("recipes/fast-jwt.mjs"),
    },
    Recipe {
        name: "jsonwebtoken",
        library: "jsonwebtoken 9.0.3 with jwks-rsa 4.1.0, Node.js",
        algorithms: ONLY_ES256,
        cache: Cache::EachKey(600),
        unknown_kid: UnknownKid::FetchesTenAMinute,
        leeway: 5,
        lets_in: Some(&[
            "aud-shared",
            "exp-huge",
            "iat-future",
            "sub-other",
            "aud-twice",
            "alg-twice",
            "last-character",
            "huge",
        ]),
        notes: JWKS_RSA,
        is_run: true,
        code: include_str!("recipes/jsonwebtoken.mjs"),
    },
    Recipe {
        name: "passport-jwt",
        library: "passport-jwt 4.0.1 with jwks-rsa 4.1.0, Node.js",
        algorithms: ONLY_ES256,
        cache: Cache::EachKey(600),
        unknown_kid: UnknownKid::FetchesTenAMinute,
        leeway: 5,
        lets_in: Some(&[
            "aud-shared",
            "exp-huge",
            "iat-future",
            "sub-other",
            "aud-twice",
            "alg-twice",
            "last-character",
        ]),
        notes: JWKS_RSA,
        is_run: true,
        code: include_str!("recipes/passport-jwt.mjs"),
    },
    Recipe {
        name: "pyjwt",
        library: "PyJWT 2.15.1, Python",
        algorithms: BOTH,
        cache: Cache::Seconds(300),
        unknown_kid: UnknownKid::Fetches(30),
        leeway: 5,
        lets_in: Some(&["exp-text", "exp-huge", "sub-other", "aud-twice", "alg-twice", "padded", "huge"]),
        notes: "",
        is_run: true,
        code: include_str!("recipes/pyjwt.py"),
    },
    Recipe {
        name: "joserfc",
        library: "joserfc 1.8.0, Python",
        algorithms: BOTH,
        cache: Cache::Seconds(300),
        unknown_kid: UnknownKid::Fetches(30),
        leeway: 5,
        lets_in: Some(&["aud-shared", "exp-huge", "sub-other", "aud-twice", "alg-twice", "huge"]),
        notes: "",
        is_run: true,
        code: include_str!("recipes/joserfc.py"),
    },
    Recipe {
        name: "authlib",
        library: "Authlib 1.9.9, Python",
        algorithms: BOTH,
        cache: Cache::Seconds(300),
        unknown_kid: UnknownKid::Fetches(30),
        leeway: 5,
        lets_in: Some(&[
            "aud-shared",
            "exp-huge",
            "sub-other",
            "aud-twice",
            "alg-twice",
            "padded",
            "last-character",
            "huge",
        ]),
        notes: "Its makers recommend joserfc for new code.",
        is_run: true,
        code: include_str!("recipes/authlib.py"),
    },
    Recipe {
        name: "python-jose",
        library: "python-jose 3.5.0, Python",
        algorithms: ONLY_ES256,
        cache: Cache::Seconds(300),
        unknown_kid: UnknownKid::Fetches(30),
        leeway: 5,
        lets_in: Some(&[
            "aud-shared",
            "exp-text",
            "exp-huge",
            "iat-future",
            "sub-other",
            "aud-twice",
            "alg-twice",
            "padded",
            "last-character",
            "huge",
        ]),
        notes: "",
        is_run: true,
        code: include_str!("recipes/python-jose.py"),
    },
    Recipe {
        name: "go-oidc",
        library: "go-oidc 2.1.0 (Debian 12), Go",
        algorithms: BOTH,
        cache: Cache::UntilUnknownKid,
        unknown_kid: UnknownKid::Refuses,
        leeway: 5,
        lets_in: Some(&["exp-text", "sub-other", "aud-twice", "last-character", "huge"]),
        notes: "A token whose signature is wrong makes it fetch the key set too, once the time of Cache-Control has passed.",
        is_run: true,
        code: include_str!("recipes/go-oidc.go"),
    },
    Recipe {
        name: "ruby-jwt",
        library: "jwt 2.5.0 (Debian 12), Ruby",
        algorithms: ONLY_ES256,
        cache: Cache::Seconds(300),
        unknown_kid: UnknownKid::Fetches(30),
        leeway: 5,
        lets_in: Some(&[
            "aud-shared",
            "exp-text",
            "exp-huge",
            "iat-future",
            "sub-other",
            "aud-twice",
            "alg-twice",
            "padded",
            "last-character",
            "huge",
        ]),
        notes: "ruby-jwt knows no Ed25519 in a key set.",
        is_run: true,
        code: include_str!("recipes/ruby-jwt.rb"),
    },
    Recipe {
        name: "crypt-jwt",
        library: "Crypt::JWT 0.034 (Debian 12), Perl",
        algorithms: BOTH,
        cache: Cache::Seconds(300),
        unknown_kid: UnknownKid::Fetches(30),
        leeway: 5,
        lets_in: Some(&[
            "exp-text",
            "exp-huge",
            "sub-other",
            "aud-twice",
            "alg-twice",
            "last-character",
            "huge",
        ]),
        notes: "",
        is_run: true,
        code: include_str!("recipes/crypt-jwt.pl"),
    },
    Recipe {
        name: "libcjose",
        library: "libcjose 0.6.2 (Debian 12) with libcurl and Jansson, C",
        algorithms: ONLY_ES256,
        cache: Cache::Seconds(300),
        unknown_kid: UnknownKid::Fetches(30),
        leeway: 5,
        lets_in: Some(&["sub-other", "alg-twice", "padded", "last-character", "huge"]),
        notes: "",
        is_run: true,
        code: include_str!("recipes/libcjose.c"),
    },
    Recipe {
        name: "spring",
        library: "Spring Security 6, Java",
        algorithms: ONLY_ES256,
        cache: Cache::Seconds(300),
        unknown_kid: UnknownKid::FetchesEachTime,
        leeway: 5,
        lets_in: None,
        notes: "By default it checks RS256 only.",
        is_run: false,
        code: include_str!("recipes/spring.java"),
    },
    Recipe {
        name: "dotnet",
        library: "Microsoft.AspNetCore.Authentication.JwtBearer 9, .NET",
        algorithms: ONLY_ES256,
        cache: Cache::Seconds(43_200),
        unknown_kid: UnknownKid::Fetches(300),
        leeway: 5,
        lets_in: None,
        notes: "It keeps the last key set that worked for an hour more when a newer one does not work.",
        is_run: false,
        code: include_str!("recipes/dotnet.cs"),
    },
];

/// The recipe of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Recipe> {
    ALL.iter().find(|recipe| recipe.name == name)
}

impl Recipe {
    /// The code, with these values in it.
    #[must_use]
    pub fn code(&self, values: &Values) -> String {
        let seconds = |given: Option<u32>, own: Option<u32>| given.or(own).unwrap_or_default().to_string();
        self.code
            .replace("{{jwks}}", &values.jwks())
            .replace("{{issuer}}", &values.issuer)
            .replace("{{audience}}", &values.audience)
            .replace("{{scope}}", &values.scope)
            .replace("{{alg}}", values.algorithm.name())
            .replace("{{cache}}", &seconds(values.cache, self.cache.seconds()))
            .replace("{{cooldown}}", &seconds(values.cooldown, self.unknown_kid.cooldown()))
            .replace("{{leeway}}", &seconds(values.leeway, Some(self.leeway)))
    }

    /// Whether the code says this: `cache`, `cooldown` or `leeway`.
    #[must_use]
    pub fn has(&self, setting: &str) -> bool {
        self.code.contains(&format!("{{{{{setting}}}}}"))
    }

    /// For scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let algorithms: Vec<_> = self.algorithms.iter().map(|algorithm| algorithm.name()).collect();
        json!({
            "name": self.name,
            "library": self.library,
            "algorithms": algorithms,
            "cacheSeconds": self.cache.seconds(),
            "cachesEachKey": matches!(self.cache, Cache::EachKey(_)),
            "unknownKid": self.unknown_kid.name(),
            "cooldownSeconds": self.unknown_kid.cooldown(),
            "leewaySeconds": self.leeway,
            "letsIn": self.lets_in,
            "notes": self.notes,
            "run": self.is_run,
        })
    }
}

impl Values {
    /// Where the keys are. Who asks for the keys of one algorithm is safe from key types that a library does not know.
    #[must_use]
    pub fn jwks(&self) -> String {
        let of_one =
            if self.algorithm == EdDsa { String::new() } else { format!("?alg={}", self.algorithm.name()) };
        format!("{}/jwt/jwks.json{of_one}", self.issuer)
    }
}

impl Cache {
    /// When it is a number that the code says.
    #[must_use]
    pub const fn seconds(self) -> Option<u32> {
        match self {
            Self::Seconds(seconds) | Self::EachKey(seconds) => Some(seconds),
            Self::MaxAge | Self::UntilUnknownKid => None,
        }
    }
}

impl UnknownKid {
    const fn cooldown(self) -> Option<u32> {
        match self {
            Self::Fetches(seconds) => Some(seconds),
            Self::FetchesEachTime | Self::FetchesTenAMinute | Self::Refuses => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Fetches(_) => "fetches",
            Self::FetchesEachTime => "fetches-each-time",
            Self::FetchesTenAMinute => "fetches-ten-a-minute",
            Self::Refuses => "refuses",
        }
    }
}
