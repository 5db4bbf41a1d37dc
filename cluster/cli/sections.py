"""Sections of a config that a command line changes, where the rest of the config is settled."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from cluster.config.base import Config
from cluster.exceptions import ConfigError

AnySection = TypeVar("AnySection", bound=Config)


def overridden(
    name: str, base: AnySection, overrides: Sequence[str] = (), chosen: Mapping[str, Any] | None = None
) -> AnySection:
    """A section with overrides (`evaluate.num_samples=5`) and what options say in place of its own values.

    Args:
        overrides: those of other sections are left alone.
        chosen: key -> value, above the overrides.

    Raises:
        ConfigError: naming the key that is wrong.
    """
    from cluster.config.load import Source, nearest

    source = Source(Path("overrides"), {name: base.model_dump(mode="json")}, {})
    for override in overrides:
        if override.startswith(f"{name}."):
            source.override(override)
    try:
        return type(base).model_validate(source.values[name] | dict(chosen or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([name, *map(str, first["loc"])])
        guess = nearest(str(first["loc"][-1]), type(base).model_fields) if first["loc"] else None
        hint = f"unknown key{f'; did you mean {guess}?' if guess else ''}"
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{key}: {hint if first['type'] == 'extra_forbidden' else reason}") from error
