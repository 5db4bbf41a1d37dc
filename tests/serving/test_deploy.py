"""What happens when a model does not come up: its own words, and nothing left behind."""

import time

import pytest

from cluster.config import ServeConfig
from cluster.exceptions import DeployError
from serving.deploy import deploy, serve_address, url_of
from tests.serving.conftest import free_port


class Broken:
    """A classifier that cannot load."""

    def __init__(self, path, device):
        raise ValueError("the weights are of another shape")


class Endless:
    """A classifier that takes for ever to load."""

    def __init__(self, path, device):
        time.sleep(3600)


def test_a_model_that_cannot_load_fails_with_its_own_words(ray_cluster, classifier_folder):
    with pytest.raises(DeployError, match="desk did not start: ValueError: the weights are of another shape"):
        deploy(classifier_folder, ServeConfig(port=free_port()), "desk", engine=Broken)
    assert serve_address() is None


def test_a_model_that_takes_too_long_is_given_up(ray_cluster, classifier_folder):
    serve = ServeConfig(port=free_port(), startup_timeout_s=2)
    with pytest.raises(DeployError, match=r"not ready after 2 s .* serve.startup_timeout_s"):
        deploy(classifier_folder, serve, "desk", engine=Endless)
    assert serve_address() is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("::", "http://127.0.0.1:8000"),
        ("node-1", "http://node-1:8000"),
    ],
)
def test_the_url_is_one_that_a_client_on_this_machine_can_use(host, url):
    assert url_of(ServeConfig(host=host)) == url
