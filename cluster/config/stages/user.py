"""A user's own stage."""

from typing import Any, Literal

from pydantic import Field, field_validator

from cluster.config.stages.base import StageConfig


class PythonStage(StageConfig):
    """A Python function of one's own, called with every row.

    It gets the row as a dict (`messages`, or `text` and `label`, ...) and the keyword `arguments`, and returns the row,
    changed or not, a list of rows in its place, or None to reject it.
    """

    kind: Literal["python"] = "python"
    function: str
    """Import path, as `package.module:function`; the module must be importable where Ray's workers run."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the function."""
    version: str = ""
    """Goes into the fingerprint of the prepared data: change it when the function changes."""

    @property
    def name(self) -> str:
        return self.function

    @field_validator("function")
    @classmethod
    def function_is_an_import_path(cls, path: str) -> str:
        module, colon, name = path.partition(":")
        if not colon or not all(part.isidentifier() for part in [*module.split("."), name]):
            raise ValueError(f"function={path!r} is not an import path, expected package.module:function")
        return path
