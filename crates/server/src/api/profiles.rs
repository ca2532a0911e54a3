//! `/profiles`

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::Power;
use domain::profile::Joining;
use engine::Registry;
use engine::registry::{
    Limits, LimitsChange, NewProfile, Operator, ProfileChange, RegistryError, Rotation, To,
};
use wire::admin::{
    Change, Page, Profile, ProfileCreate, ProfileCreated, ProfileSet, SecretLimits, SecretLimitsSet,
};

use super::extract::{Ask, Body, InTenant, Named, blocking};
use super::problem::No;
use super::shapes;
use super::tagged::{IfMatch, Tagged};

/// `GET /profiles`
pub(super) async fn list(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
) -> Result<Json<Page<Profile>>, No> {
    let profiles = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.profiles(&tenant)
    })
    .await?;
    Ok(Json(shapes::whole(profiles, shapes::profile)))
}

/// `POST /profiles`
pub(super) async fn create(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<ProfileCreate>,
) -> Result<(StatusCode, Json<ProfileCreated>), No> {
    let (secret, profile) = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, asked.tenant.as_deref())?;
        registry.create_profile(&operator, &tenant, new_profile(asked)?)
    })
    .await?;
    let provision_secret = wire::Secret::new(secret.expose());
    Ok((StatusCode::CREATED, Json(ProfileCreated { provision_secret, profile: shapes::profile(profile) })))
}

/// `GET /profiles/{name}`
pub(super) async fn show(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(name): Named,
) -> Result<Tagged<Profile>, No> {
    let profile = blocking(&registry, move |registry| {
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.profile(&tenant, &name)
    })
    .await?;
    Ok(tagged(shapes::profile(profile)))
}

/// `PATCH /profiles/{name}`: the answer carries the new secret where it was rotated.
pub(super) async fn set(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    Named(name): Named,
    expected: IfMatch,
    Body(asked): Body<ProfileSet>,
) -> Result<Response, No> {
    let (secret, profile) = blocking(&expected.of(registry), move |registry| {
        if !asked.is_of_the_secret_only() {
            operator.require(Power::Operate)?;
        }
        let tenant = registry.tenant(&operator, within.tenant.as_deref())?;
        registry.set_profile(&operator, &tenant, &name, &profile_change(asked)?)
    })
    .await?;
    let profile = shapes::profile(profile);
    Ok(match secret {
        Some(secret) => {
            let provision_secret = wire::Secret::new(secret.expose());
            Json(ProfileCreated { provision_secret, profile }).into_response()
        }
        None => tagged(profile).into_response(),
    })
}

fn tagged(profile: Profile) -> Tagged<Profile> {
    Tagged { stand: profile.version.to_string(), body: profile }
}

fn new_profile(asked: ProfileCreate) -> Result<NewProfile, RegistryError> {
    let plain = NewProfile::default();
    Ok(NewProfile {
        name: asked.name,
        strategy: shapes::strategy_asked(asked.strategy),
        reprovision: asked.reprovision.map_or(plain.reprovision, shapes::reprovision_asked),
        redelivery_window_ms: asked.redelivery_window_s.map_or(plain.redelivery_window_ms, milliseconds),
        pre_provisioned_credentials: asked
            .pre_provisioned_credentials
            .map_or(plain.pre_provisioned_credentials, shapes::bringing_asked),
        provision_key: asked.provision_key,
        provision_secret: asked.provision_secret.as_ref().map(shapes::secret_asked),
        joining: Joining {
            hook: asked.hook,
            approval: asked.approval,
            steps: asked.steps.into_iter().map(shapes::step_asked).collect(),
            initial_attributes: asked.initial_attributes.map(|object| object.to_string()),
        },
        grace_period_ms: asked.grace_period_s.map_or(plain.grace_period_ms, milliseconds),
        limits: limits(&asked.limits)?,
    })
}

fn limits(asked: &SecretLimits) -> Result<Limits, RegistryError> {
    Ok(Limits {
        expires_at: asked.expires_at.as_deref().map(shapes::instant_asked).transpose()?,
        uses: asked.uses,
        networks: shapes::networks_asked(&asked.networks)?,
        name_pattern: asked.name_pattern.as_deref().map(shapes::pattern_asked).transpose()?,
    })
}

fn profile_change(asked: ProfileSet) -> Result<ProfileChange, RegistryError> {
    Ok(ProfileChange {
        version: asked.version,
        strategy: asked.strategy.map(shapes::strategy_asked),
        reprovision: asked.reprovision.map(shapes::reprovision_asked),
        redelivery_window_ms: asked.redelivery_window_s.map(milliseconds),
        pre_provisioned_credentials: asked.pre_provisioned_credentials.map(shapes::bringing_asked),
        rotation: asked.rotate_secret.map(|asked| Rotation {
            secret: asked.secret.as_ref().map(shapes::secret_asked),
            overlap_ms: milliseconds(asked.overlap_s),
        }),
        hook: to(asked.hook, Ok)?,
        approval: asked.approval,
        steps: asked.steps.map(|steps| steps.into_iter().map(shapes::step_asked).collect()),
        initial_attributes: to(asked.initial_attributes, |object| Ok(object.to_string()))?,
        grace_period_ms: asked.grace_period_s.map(milliseconds),
        limits: limits_change(asked.limits)?,
    })
}

fn limits_change(asked: SecretLimitsSet) -> Result<LimitsChange, RegistryError> {
    Ok(LimitsChange {
        expires_at: to(asked.expires_at, |at| shapes::instant_asked(&at))?,
        uses: to(asked.uses, Ok)?,
        networks: to(asked.networks, |networks| shapes::networks_asked(&networks))?,
        name_pattern: to(asked.name_pattern, |pattern| shapes::pattern_asked(&pattern))?,
    })
}

fn to<A, T>(
    change: Change<A>,
    read: impl FnOnce(A) -> Result<T, RegistryError>,
) -> Result<To<T>, RegistryError> {
    Ok(match change {
        Change::Keep => To::Keep,
        Change::Clear => To::Clear,
        Change::Set(value) => To::Set(read(value)?),
    })
}

fn milliseconds(seconds: u64) -> u64 {
    seconds.saturating_mul(1000)
}
