"""A judge's answer read strictly: one JSON object of the form that was asked for, or nonsense."""

from __future__ import annotations

import json
import re
from typing import Any

_THOUGHT = re.compile(r"^.*?</think>", re.DOTALL)
_FENCED = re.compile(r"^```(?:json)?\s*\n(.*)\n```$", re.DOTALL)


class Nonsense(Exception):
    """An answer that is not of the form asked for; the message says what was found."""


def form(properties: dict[str, Any], reasons: bool) -> dict[str, Any]:
    """The JSON schema of an answer: these properties, the judge's reasons before them where they are wanted."""
    shown = {"reason": {"type": "string"}, **properties} if reasons else properties
    return closed(shown)


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object with these properties and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_verdict(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The object that an answer is. What a model thought aloud before it and a fence around it do not count.

    Raises:
        Nonsense: if it is no JSON, or not of the form of `schema`.
    """
    import jsonschema

    bare = _THOUGHT.sub("", text).strip()
    fenced = _FENCED.match(bare)
    try:
        value = json.loads(fenced[1] if fenced else bare)
    except (json.JSONDecodeError, RecursionError) as error:
        raise Nonsense(f"no JSON object ({str(error)[:100]}): {bare[:100]!r}") from error
    try:
        jsonschema.validate(value, schema)
    except jsonschema.ValidationError as error:
        at = ".".join(str(part) for part in error.absolute_path) or "the object"
        raise Nonsense(f"{at}: {error.message[:160]}") from error
    assert isinstance(value, dict)  # every form is one of an object
    return value
