"""Files behind http and https addresses, through fsspec. Whoever falls silent is given up after a stated time."""

from __future__ import annotations

import dataclasses
from typing import Any

from cluster.exceptions import DataError

SCHEMES = ("http", "https")


@dataclasses.dataclass(frozen=True)
class WebFile:
    """What a server says of a file before it is read; the size is unknown where the server does not say."""

    size: int | None
    stamp: str


def web(timeout_s: float) -> Any:
    """fsspec's view of addresses, which gives up where nothing comes for a while."""
    import aiohttp
    import fsspec

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
    return fsspec.filesystem("https", client_kwargs={"timeout": timeout, "trust_env": True})


def look_up(url: str, timeout_s: float) -> WebFile:
    """Ask the server for size and version of a file.

    Raises:
        DataError: if there is none, or the server does not answer.
    """
    try:
        info = web(timeout_s).info(url)
    except FileNotFoundError as error:  # which fsspec raises whatever happened; the cause tells
        raise DataError(f"{url}: {_why(error.__cause__ or error, timeout_s)}") from error
    except TimeoutError as error:
        raise DataError(f"{url}: {_why(error, timeout_s)}") from error
    known = [str(info[key]) for key in ("ETag", "etag", "size") if info.get(key)]
    return WebFile(info.get("size"), ":".join(known))


def _why(error: BaseException, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return silence(timeout_s)
    status = getattr(error, "status", None)
    if status is not None:
        return (
            f"the server answers {status} {getattr(error, 'message', '')}".rstrip()
            + "; check the address and the rights"
        )
    if isinstance(error, FileNotFoundError):
        return "the server answers 404 Not Found; check the address"
    return f"the server cannot be reached ({str(error).splitlines()[0]}); check the address and the network"


def silence(timeout_s: float) -> str:
    """What is said of a server that stalls."""
    return (
        f"nothing came for data.timeout_s={timeout_s:g} seconds; try again, raise data.timeout_s, or fetch the file and "
        "name it instead"
    )


def read_errors(scheme: str) -> tuple[type[Exception], ...]:
    """What reading a file of some file system may raise where the file or the way to it is broken."""
    from pyarrow import ArrowException

    errors: tuple[type[Exception], ...] = (OSError, EOFError, UnicodeDecodeError, ArrowException)
    if scheme in SCHEMES:
        from aiohttp import ClientError

        errors += (ClientError,)
    return errors
