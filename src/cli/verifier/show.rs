//! `m2mint verifier NAME` and `list`: settings that were tried.

use clap::Args;
use m2mint_keys::signing_key::Algorithm;
use serde_json::{Map, Value};

use super::recipes::{self, ALL, Cache, UnknownKid, Values};
use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, config, keys, table};
use crate::config::Config;
use crate::rotation::keeper::in_words;
use crate::rotation::published::MAX_AGE;

/// What is printed for whom.
#[derive(Debug, Args)]
pub struct Recipe {
    /// The library, as `m2mint verifier list` names it
    #[arg(value_name = "NAME", required = true)]
    name: Option<String>,
    /// The audience of the service
    #[arg(long, value_name = "NAME", default_value = "event")]
    audience: String,
    /// The scope that its action takes
    #[arg(long, default_value = "event.create")]
    scope: String,
    /// What tokens for the audience are signed with: EdDSA or ES256 [default: EdDSA where the library can]
    #[arg(long, value_parser = keys::algorithm)]
    alg: Option<Algorithm>,
    /// For how long the service may keep the key set
    #[arg(long, value_name = "SECONDS")]
    cache: Option<u32>,
    /// How long it waits before it fetches the key set again for a key that it does not know
    #[arg(long, value_name = "SECONDS")]
    cooldown: Option<u32>,
    /// How far its clock may be off
    #[arg(long, value_name = "SECONDS")]
    leeway: Option<u32>,
    /// Print the code and nothing else
    #[arg(long)]
    code: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "code")]
    json: bool,
}

/// Prints a recipe.
///
/// # Errors
/// When there is none of that name, or the library does not have what is asked for.
pub fn run(settings: &Settings, asked: &Recipe) -> Result {
    let name = asked.name.as_deref().unwrap_or_default();
    let recipe = recipes::find(name).ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|recipe| recipe.name).collect();
        let meant = output::did_you_mean(name, names.iter().copied());
        let names = names.join(", ");
        CliError::Usage(format!("there are no settings for {name}{meant}; there are some for {names}"))
    })?;
    let config = config::load(settings)?;
    let values = values(recipe, asked, &config)?;
    let code = recipe.code(&values);
    if asked.code {
        output::line(code.trim_end());
        return Ok(());
    }
    let tried =
        if recipe.is_run { "run by m2mint's tests, across rotations" } else { "not run by m2mint's tests" };
    let seconds = |seconds: u32| in_words(Some(i64::from(seconds) * 1000));
    let max_age = seconds(MAX_AGE);
    let (cache, revoked) = match (recipe.cache, values.cache) {
        (Cache::Seconds(own), cache) => {
            let cache = seconds(cache.unwrap_or(own));
            (cache.clone(), format!("trusted for {cache} more, at most"))
        }
        (Cache::EachKey(own), cache) => {
            let cache = seconds(cache.unwrap_or(own));
            (format!("each key by itself, {cache}"), format!("trusted for {cache} more, at most"))
        }
        (Cache::MaxAge, _) => (
            format!("as Cache-Control says, {max_age} at most"),
            format!("trusted for {max_age} more, at most"),
        ),
        (Cache::UntilUnknownKid, _) => {
            let until = format!("until a token names an unknown key, and {max_age} have passed");
            (until.clone(), format!("trusted {until}: restart the service"))
        }
    };
    let unknown_kid = match recipe.unknown_kid {
        UnknownKid::Fetches(own) => {
            format!("fetches the key set at once, every {} at most", seconds(values.cooldown.unwrap_or(own)))
        }
        UnknownKid::FetchesEachTime => "fetches the key set at once, each time".into(),
        UnknownKid::FetchesTenAMinute => "fetches the key set at once, ten times a minute at most".into(),
        UnknownKid::Refuses => "refused until the cached key set is old".into(),
    };
    let others: Vec<_> = recipe.algorithms.iter().filter(|&&other| other != values.algorithm).collect();
    let algorithm = match others.as_slice() {
        [] if values.algorithm == Algorithm::Es256 => {
            format!("ES256, and no EdDSA: m2mint audiences set {} --alg ES256", values.audience)
        }
        [] => values.algorithm.name().to_owned(),
        others => {
            let others: Vec<_> = others.iter().map(|other| format!("--alg {}", other.name())).collect();
            format!(
                "{}, as m2mint signs for {}; or {}",
                values.algorithm.name(),
                values.audience,
                others.join(", ")
            )
        }
    };
    let leeway = seconds(values.leeway.unwrap_or(recipe.leeway));
    let lets_in = match recipe.lets_in {
        None => "not tried".to_owned(),
        Some([]) => "no bad token of the pack".to_owned(),
        Some(names) => names.join(", "),
    };
    let rows = [
        ("algorithm", algorithm),
        ("issuer", values.issuer.clone()),
        ("audience", values.audience.clone()),
        ("scope", values.scope.clone()),
        ("leeway", leeway),
        ("key set cached", cache),
        ("unknown key", unknown_kid),
        ("revoked key", revoked),
        ("lets in", lets_in),
        ("note", recipe.notes.to_owned()),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    if asked.json {
        let mut json: Map<String, Value> =
            rows.map(|(name, value)| (name.replace(' ', "_"), value.into())).collect();
        json.insert("library".into(), recipe.library.into());
        json.insert("run_by_tests".into(), recipe.is_run.into());
        json.insert("code".into(), code.into());
        return output::json(&Value::Object(json));
    }
    output::line(&format!("{}: {tried}\n", recipe.library));
    for (name, value) in rows {
        output::line(&format!("  {name:<15} {value}"));
    }
    output::line("");
    output::line(code.trim_end());
    Ok(())
}

fn values(recipe: &recipes::Recipe, asked: &Recipe, config: &Config) -> Result<Values> {
    let algorithm = asked.alg.or(recipe.algorithms.first().copied()).unwrap_or(Algorithm::EdDsa);
    if !recipe.algorithms.contains(&algorithm) {
        return Err(CliError::Refused(format!("{} cannot check {}", recipe.library, algorithm.name())));
    }
    let propagation = config.rotation.propagation;
    let longest_cache = u32::try_from(propagation.as_secs()).unwrap_or(u32::MAX);
    let values = Values {
        issuer: plain("issuer", &config::issuer(config)?)?,
        audience: plain("audience", &asked.audience)?,
        scope: plain("scope", &asked.scope)?,
        algorithm,
        // What keeps the key set for longer would refuse good tokens after a rotation.
        cache: asked.cache.or_else(|| recipe.cache.seconds().map(|own| own.min(longest_cache))),
        cooldown: asked.cooldown,
        leeway: asked.leeway,
    };
    for (flag, given) in [("cache", asked.cache), ("cooldown", asked.cooldown), ("leeway", asked.leeway)] {
        if given.is_some() && !recipe.has(flag) {
            return Err(CliError::Refused(format!("{} has no setting for --{flag}", recipe.library)));
        }
    }
    if let Some(cache) = asked.cache.filter(|&cache| cache > longest_cache) {
        return Err(CliError::Refused(format!(
            "--cache {cache} is longer than rotation.propagation, {}: a service that keeps the key set for so long \
             would refuse good tokens after a rotation",
            in_words(i64::try_from(propagation.as_millis()).ok())
        )));
    }
    Ok(values)
}

/// What is written into code of any language has to be a text there too.
fn plain(what: &str, text: &str) -> Result<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(CliError::Usage(format!(
        "the {what} {text:?} has characters that do not go into code: write it there yourself"
    )))
}

/// Prints which recipes there are.
///
/// # Errors
/// When they cannot be written.
pub fn list(as_json: bool) -> Result {
    if as_json {
        return output::json(&Value::from_iter(ALL.iter().map(recipes::Recipe::to_json)));
    }
    let rows: Vec<_> = ALL
        .iter()
        .map(|recipe| {
            let algorithms: Vec<_> = recipe.algorithms.iter().map(|algorithm| algorithm.name()).collect();
            let run = if recipe.is_run { "yes" } else { "no" };
            vec![recipe.name.into(), recipe.library.into(), algorithms.join(", "), run.into()]
        })
        .collect();
    table::print(&["NAME", "LIBRARY", "ALGORITHMS", "RUN BY TESTS"], &rows);
    Ok(())
}
