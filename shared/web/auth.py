"""Bearer tokens (JWT, RS256 or ES256) of any OIDC provider, and the roles they carry."""

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx
import jwt

from shared.clock import Clock
from shared.errors import BadRequest, NotFound, Unauthorized, Unavailable

log = logging.getLogger(__name__)

ALGORITHMS = ["RS256", "ES256"]
_REFETCH_SECONDS = 5.0
_FIRST_SECONDS = 0.5
_LEEWAY_SECONDS = 5
_REMEMBERED = 4096


class Role(StrEnum):
    PATIENT = "patient"
    FRONT_DESK = "front_desk"
    NURSE = "nurse"
    CLINICIAN = "clinician"
    PRESCRIBER = "prescriber"
    MEDICAL_DIRECTOR = "medical_director"
    DEVICE = "device"
    PARTNER = "partner"
    OPERATOR = "operator"


STAFF = (Role.FRONT_DESK, Role.NURSE, Role.CLINICIAN, Role.PRESCRIBER, Role.MEDICAL_DIRECTOR)
CLINICAL = (Role.NURSE, Role.CLINICIAN, Role.PRESCRIBER, Role.MEDICAL_DIRECTOR)


_RANK = (Role.PATIENT, Role.DEVICE, Role.PARTNER, Role.OPERATOR, *STAFF)


@dataclass(frozen=True)
class Principal:
    """Whom the token names: ids only. `expires_at`: when the token does, in seconds since 1970."""

    subject: str
    roles: frozenset[Role]
    clinics: frozenset[str]
    patient_id: str | None = None
    expires_at: float = math.inf

    def role(self, admitted: frozenset[Role]) -> Role | None:
        """In which role somebody of several acts where these are admitted: the one that may do most."""
        return max(self.roles & admitted, key=_RANK.index, default=None)

    def clinic(self, asked: str | None) -> str:
        """The clinic of this request; `Clinic-Id` chooses where the token has several. Raises BadRequest, NotFound."""
        if asked is not None:
            if asked not in self.clinics:
                raise NotFound
            return asked
        if len(self.clinics) != 1:
            raise BadRequest("Your token has several clinics: send Clinic-Id.")
        return next(iter(self.clinics))


class Tokens:
    """Checks tokens against the provider's keys: cached, fetched again on an unknown `kid`, the last good set kept.

    A token that was found good is remembered until it expires or the keys are fetched again.
    """

    def __init__(self, issuer: str, audience: str, jwks_url: str, clock: Clock) -> None:
        self._issuer, self._audience, self._url, self._clock = issuer, audience, jwks_url, clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._good: dict[str, tuple[float, Principal]] = {}

    async def principal(self, authorization: str | None) -> Principal:
        """Raises Unauthorized for every fault of the token, and Unavailable when no keys could be had yet."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized
        expires_at, known = self._good.get(token, (0.0, None))
        if known is not None and self._clock.system_now().timestamp() < expires_at:
            return known
        claims = await self._claims(token)
        if len(self._good) >= _REMEMBERED:
            self._good.clear()
        found = _principal(claims)
        self._good[token] = (found.expires_at, found)
        return found

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Unauthorized from None
        key = await self._key(str(header.get("kid")))
        if key is None or header.get("alg") not in ALGORITHMS:
            raise Unauthorized
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Unauthorized from None
        return claims

    async def _key(self, kid: str) -> jwt.PyJWK | None:
        """Whoever comes while the keys are being fetched waits for them: a fresh process refuses no good token."""
        if kid not in self._keys:
            async with self._fetching:
                pause = _REFETCH_SECONDS if self._keys else _FIRST_SECONDS
                if kid not in self._keys and self._clock.monotonic() - self._fetched_at > pause:
                    await self._fetch()
        if not self._keys:
            raise Unavailable("The token issuer's keys cannot be read yet.")
        return self._keys.get(kid)

    async def _fetch(self) -> None:
        """Counted from its end: those who waited for a fetch that failed do not wait for one each."""
        try:
            async with httpx.AsyncClient(timeout=3) as client:
                rows = (await client.get(self._url)).raise_for_status().json()["keys"]
            self._keys = _usable(rows) or self._keys
            self._good.clear()
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            log.warning("auth.jwks", extra={"error": type(error).__name__})
        self._fetched_at = self._clock.monotonic()


def _usable(rows: list[dict[str, Any]]) -> dict[str, jwt.PyJWK]:
    """By `kid`; providers publish keys for other uses and algorithms beside those that sign tokens."""
    keys = {}
    for row in rows:
        with contextlib.suppress(jwt.PyJWTError, ValueError, TypeError):
            key = jwt.PyJWK(row)
            if key.key_id is not None and key.algorithm_name in ALGORITHMS:
                keys[key.key_id] = key
    return keys


def _principal(claims: dict[str, Any]) -> Principal:
    known = {role.value for role in Role}
    roles, clinics = claims.get("roles"), claims.get("clinics")
    if not isinstance(roles, list) or not isinstance(clinics, list):
        raise Unauthorized
    patient = claims.get("patient_id")
    if Role.PATIENT.value in roles and not patient:
        raise Unauthorized  # a patient's token that names no patient would be nobody's, and so everybody's
    return Principal(
        subject=str(claims["sub"]),
        roles=frozenset(Role(role) for role in roles if role in known),
        clinics=frozenset(str(clinic) for clinic in clinics),
        patient_id=str(patient) if patient else None,
        expires_at=float(claims["exp"]) + _LEEWAY_SECONDS,
    )
