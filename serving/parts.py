"""What an engine deployment says to its ingress, piece by piece, and of its model."""

import time
from typing import Any, Literal, NamedTuple

from serving.errors import ApiError
from trainers.folder import ModelFolder


def model_card(folder: ModelFolder, name: str, metadata: dict[str, Any], parent: str | None = None) -> dict[str, Any]:
    """An entry of `/v1/models` in OpenAI's form, with what we know beside it."""
    return {
        "id": name,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "mobula",
        "root": folder.path.name,
        "parent": parent,
        "metadata": metadata,
    }


class Part(NamedTuple):
    """One piece of an answer."""

    kind: Literal["json", "events", "error"]
    text: str
    status: int = 200
    code: str | None = None
    param: str | None = None

    @classmethod
    def refusal(cls, error: ApiError) -> "Part":
        """The whole answer to a request that is refused."""
        return cls("error", error.message, error.status, error.code, error.param)

    def error(self) -> ApiError:
        """The refusal as an exception again."""
        return ApiError(self.status, self.text, code=self.code, param=self.param)
