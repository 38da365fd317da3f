"""API keys: from a file or the environment, when an Ingress replica starts, to who may call what.

Only digests are kept, so that no log, traceback or pickle can show a key.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from starlette.datastructures import Headers

from serve_app.errors import AuthenticationError, PermissionDeniedError
from serve_app.settings import ApiSettings


class Role(StrEnum):
    """What a key may do; each role includes the ones before it."""

    USE = "use"  # everything that changes nothing
    ADMIN = "admin"  # load and delete models


@dataclass(frozen=True)
class Keys:
    """The keys that are known, and the role of each; none at all: everybody may do everything."""

    roles: tuple[tuple[bytes, Role], ...] = ()  # SHA-256 of a key, and its role

    def __bool__(self) -> bool:
        return bool(self.roles)

    def check(self, headers: Headers, needed: Role) -> None:
        """Check that a request carries a key with that role.

        Raises:
            AuthenticationError: it carries no key, or one that is not known.
            PermissionDeniedError: the key may not do this.
        """
        if not self:
            return
        sent = _digest(_sent_key(headers))
        # All are compared, whichever matches, so that the time taken tells nothing.
        found = {role for digest, role in self.roles if hmac.compare_digest(digest, sent)}
        if not found:
            raise AuthenticationError
        if needed is Role.ADMIN and Role.ADMIN not in found:
            raise PermissionDeniedError(needed)


def read_keys(settings: ApiSettings, environment: Mapping[str, str]) -> Keys:
    """Read the keys that the settings name; none where they name no place.

    Raises:
        ValueError: the file or the variable cannot be read, holds no key, or holds a line that is
            not one. The message never shows a key.
    """
    roles: list[tuple[bytes, Role]] = []
    if settings.keys_file is not None:
        try:
            content = Path(settings.keys_file).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = type(error).__name__
            raise ValueError(
                f"api.keys_file: {settings.keys_file} cannot be read: {reason}"
            ) from None
        roles += _parse(content.splitlines(), f"api.keys_file ({settings.keys_file})")
    if settings.keys_env is not None:
        lines = re.split(r"[,\n]", environment.get(settings.keys_env, ""))
        roles += _parse(lines, f"api.keys_env (the variable {settings.keys_env})")
    return Keys(roles=tuple(roles))


def _parse(lines: list[str], where: str) -> list[tuple[bytes, Role]]:
    """Return the digest and the role of each key. Raises ValueError."""
    found = []
    for i, line in enumerate(lines, 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        role, colon, key = entry.partition(":")
        if not colon:
            role, key = Role.USE, entry
        # HTTP headers carry printable ASCII; anything else could never be sent.
        if role not in list(Role) or not re.fullmatch(r"[!-~]+", key):
            raise ValueError(f"{where}: entry {i} is not KEY, use:KEY or admin:KEY")
        found.append((_digest(key), Role(role)))
    if not found:
        raise ValueError(f"{where}: there is no key in it. Nobody could call the app.")
    return found


def _sent_key(headers: Headers) -> str:
    """Return the key that a request carries; empty where it carries none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return headers.get("x-api-key", "").strip()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
