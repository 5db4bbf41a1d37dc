"""Every error that leaves the endpoint has OpenAI's shape, so that the `openai` client fills `code`, `type` and `param`.

    {"error": {"message", "type", "param", "code"}}

That holds for unknown routes and crashes too. Messages name what the caller can change; what went wrong inside stays
in the log.
"""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large", 504: "timeout"}


class ApiError(Exception):
    """A request that is refused, with what the caller is told."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.code = code or _CODES.get(status) or ("server_error" if status >= 500 else "invalid_request")

    def body(self) -> dict[str, Any]:
        """The JSON document that the caller gets."""
        kind = "server_error" if self.status >= 500 else _TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def event(self) -> str:
        """The same inside a stream that has already begun."""
        return f"data: {json.dumps(self.body())}\n\n"


def unknown_model(model: str, known: Sequence[str]) -> ApiError:
    """The request names a model that is not served here."""
    message = f"The model {model!r} is not served here; this endpoint has {', '.join(known)}."
    return ApiError(404, message, code="model_not_found", param="model")


def out_of_time(timeout_s: float) -> ApiError:
    """The answer took longer than `serve.request_timeout_s`."""
    return ApiError(
        504, f"No complete answer within {timeout_s:g} s; ask for fewer tokens or raise serve.request_timeout_s."
    )


def invalid(problems: Sequence[Any]) -> ApiError:
    """A body that pydantic refused; the first of its problems is told."""
    first = problems[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    message = f"{place}: {first['msg']}" if place else f"The request body is not valid: {first['msg']}"
    return ApiError(400, message, code="invalid_value", param=place or None)


def speak_openai(app: FastAPI) -> FastAPI:
    """Make `app` answer every failure in the shape above."""
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _crashed)
    return app


def _response(error: ApiError) -> JSONResponse:
    # The client repeats 408, 409, 429 and 5xx by itself; repeating a generation that ran out of time would only add load.
    headers = {"x-should-retry": "false"} if error.status == 504 else None
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return _response(error)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    place = f"{request.method} {request.url.path}"
    return _response(ApiError(error.status_code, f"{place}: {error.detail}"))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _response(invalid(error.errors()))


async def _crashed(request: Request, error: Exception) -> JSONResponse:
    return _response(ApiError(500, "The server failed while it worked on this request; its log has the details."))
