"""What an engine deployment says to its ingress, piece by piece."""

from typing import Literal, NamedTuple

from serving.errors import ApiError


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
