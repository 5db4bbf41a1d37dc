"""Puts a model folder behind HTTP on the connected Ray cluster, and vouches for it before anybody uses it."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from cluster.config import ServeConfig
from cluster.exceptions import DeployError, ResourceError
from serving.app import build_app
from serving.parity import check, check_as_trained, endpoint_tokenizer
from trainers.folder import ModelFolder

logger = logging.getLogger(__name__)
POLL_S = 0.25


@dataclass
class Endpoint:
    """A model that answers, at `url` under `model_name`."""

    url: str
    model_name: str
    kind: str
    app_name: str
    probes: int
    owns_serve: bool

    @property
    def api_url(self) -> str:
        """The `base_url` for an `openai` client."""
        return f"{self.url}/v1"

    def healthy(self) -> str | None:
        """None while the application runs, else what is wrong with it."""
        from ray import serve as ray_serve

        state = ray_serve.status().applications.get(self.app_name)
        if state is None:
            return "the application was deleted"
        return None if state.status in ("RUNNING", "DEPLOYING") else f"{state.status.value}: {state.message}"

    def shutdown(self) -> None:
        """Take the model down, and Serve with it where this endpoint started it."""
        from ray import serve as ray_serve

        ray_serve.delete(self.app_name)
        if self.owns_serve:
            stop_serve()


def deploy(
    folder: ModelFolder,
    serve: ServeConfig,
    name: str,
    *,
    engine: type | None = None,
    on_progress: Callable[[str], None] = logger.info,
) -> Endpoint:
    """Serve `folder` and return once it answers and sees what training saw.

    Args:
        name: model name unless `serve.model_name` says another.
        engine: what computes the answers, in place of vLLM or the folder's classifier.
        on_progress: told what happens next.

    Raises:
        ResourceError: if the port is taken or the cluster is too small.
        DeployError: if the model does not come up.
        ParityError: if the folder or the endpoint turns messages into other tokens than training. Nothing is left
            running then.
    """
    from ray import serve as ray_serve

    for chatty in ("ray.serve", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    model = serve.model_name or name
    check_as_trained(folder)
    gpu = check_room(serve)
    owns_serve = start_serve(serve)
    endpoint = Endpoint(url_of(serve), model, folder.kind, f"mobula-{model}", 0, owns_serve)
    try:
        on_progress(f"starting {model} ({folder.kind}, {'GPU' if gpu else 'CPU'})")
        with own_logging():
            app = build_app(folder, serve, model, gpu=gpu, engine=engine)
        target = ray_serve.RunTarget(app, name=endpoint.app_name, route_prefix="/")
        ray_serve.run_many([target], wait_for_applications_running=False)
        wait_until_ready(endpoint, serve.startup_timeout_s)
        on_progress("comparing the endpoint's tokens with training's")
        endpoint.probes = check(folder, endpoint_tokenizer(endpoint.url, model))
    except BaseException:  # Ctrl-C too: whatever went wrong, no half-checked endpoint stays up
        endpoint.shutdown()
        raise
    return endpoint


@contextmanager
def own_logging() -> Iterator[None]:
    """Keep the process's logging as it is: importing `ray.serve.llm` puts its own handler in its place."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


def url_of(serve: ServeConfig) -> str:
    """Where a client on this machine finds the endpoint."""
    host = "127.0.0.1" if serve.host in ("0.0.0.0", "::") else serve.host
    return f"http://[{host}]:{serve.port}" if ":" in host else f"http://{host}:{serve.port}"


def check_room(serve: ServeConfig) -> bool:
    """Whether replicas get a GPU; refuses more replicas than the cluster has room for."""
    from cluster.session import resources

    cpus, gpus = resources()
    per_replica = int(serve.engine_kwargs.get("tensor_parallel_size", 1))
    per_replica *= int(serve.engine_kwargs.get("pipeline_parallel_size", 1))
    unit, has = ("GPU", gpus) if gpus else ("CPU", cpus)
    if serve.num_replicas * per_replica > has:
        raise ResourceError(
            f"serve.num_replicas={serve.num_replicas} needs {serve.num_replicas * per_replica} {unit}s, and the cluster has "
            f"{has:g}; lower serve.num_replicas or join a larger cluster"
        )
    return bool(gpus)


def start_serve(serve: ServeConfig) -> bool:
    """Have Serve listen at the configured place; say whether it was started for that."""
    from ray import serve as ray_serve

    from cluster.preflight import check_port_free

    running = serve_address()
    if running is None:
        check_port_free(serve.host, serve.port)
        _start_listening(serve)
        return True
    if running != (serve.host, serve.port):
        raise ResourceError(
            f"Ray Serve already listens on {running[0]}:{running[1]} in this cluster, and one cluster listens in one place; "
            f"set serve.host={running[0]} serve.port={running[1]}, or stop what is served there"
        )
    taken = [name for name, app in ray_serve.status().applications.items() if app.status != "DELETING"]
    if taken:
        raise ResourceError(
            f"{', '.join(taken)} already answers on {serve.host}:{serve.port}; stop it first or use another cluster"
        )
    return False


def _start_listening(serve: ServeConfig) -> None:
    from ray import serve as ray_serve
    from ray.exceptions import RayActorError

    try:
        ray_serve.start(
            http_options={"host": serve.host, "port": serve.port},
            logging_config={"enable_access_log": False, "log_level": "WARNING"},
        )
    except (RayActorError, TimeoutError):
        # On a busy machine the controller loses patience with its first proxy and starts another; whether that one
        # answers is seen when the model must.
        logger.info("the HTTP proxy was slow to start")
    except BaseException:
        stop_serve()
        raise


def serve_address() -> tuple[str, int] | None:
    """Host and port on which Serve listens in the connected cluster, if it runs there."""
    from ray.serve.context import _check_cached_client_alive, _get_global_client

    client, _ = _check_cached_client_alive()
    client = client or _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return None
    return client.http_config.host, client.http_config.port


def stop_serve(timeout_s: float = 30.0) -> None:
    """Stop Serve and return when its port is free.

    `serve.shutdown` waits inside a call to the controller that the controller's end breaks off, about which Ray then
    complains on stdout. Here the call only asks, and the waiting is for the controller's name to go.
    """
    import ray
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
    from ray.serve.context import _get_global_client, _set_global_client

    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return
    client.shutdown_cached_handles()
    ray.get(client._controller.graceful_shutdown.remote(wait=False))
    client._shutdown = True
    _set_global_client(None)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
        except ValueError:
            return
        time.sleep(POLL_S)
    logger.warning("Ray Serve did not stop within %g s", timeout_s)


def wait_until_ready(endpoint: Endpoint, timeout_s: float) -> None:
    """Return when the model answers over HTTP.

    Raises:
        DeployError: if the application fails, or is not ready in time.
    """
    from ray import serve as ray_serve

    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        state = ray_serve.status().applications[endpoint.app_name]
        if state.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise DeployError(f"{endpoint.model_name} did not start: {_cause(state)}")
        if state.status == "RUNNING" and _answers(endpoint):
            return
        time.sleep(POLL_S)
    raise DeployError(
        f"{endpoint.model_name} was not ready after {timeout_s:g} s ({state.status.value}: {_cause(state)}); free CPUs or "
        "GPUs, or raise serve.startup_timeout_s"
    )


def _answers(endpoint: Endpoint) -> bool:
    try:
        return httpx.get(f"{endpoint.api_url}/models", timeout=5.0).is_success
    except httpx.HTTPError:  # the proxy learns of the new route a moment after the application runs
        return False


def _cause(state: Any) -> str:
    """The last line of the deepest message: Serve wraps a replica's traceback in its own words."""
    messages = [deployment.message for deployment in state.deployments.values()] + [state.message]
    text = next((message for message in messages if "Error" in message), messages[-1])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line.split(":")[0]]
    return (errors or lines or ["no reason was given"])[-1]
