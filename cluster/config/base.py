"""What every section of `run.yaml` has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Closed and frozen: a config that exists is a config that works.

    The words under a field are its documentation: they become the field's description in
    `mobula schema` and in docs/run-yaml.md.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


def with_default_kind(kind: str) -> Any:
    """Let a discriminated union be written without its `kind` when one variant is the usual one."""

    def add_kind(value: Any) -> Any:
        if isinstance(value, dict) and "kind" not in value:
            return {"kind": kind, **value}
        return value

    return add_kind
