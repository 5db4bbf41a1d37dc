"""Claims about the registry and its page."""

import inspect

import pytest

from trainers.evaluation.metrics import METRICS
from trainers.evaluation.metrics.page import PAGE, metrics_page


def test_the_page_of_metrics_is_what_the_code_says_now():
    assert PAGE.read_text(encoding="utf-8") == metrics_page(), "write it again with `make docs`"


def test_every_metric_is_on_the_page():
    assert all(f"| `{name}` | " in metrics_page() for name in METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_what_it_is_and_annotates_with_its_own_arguments(name):
    metric = METRICS[name]
    assert inspect.getdoc(metric.function)
    if metric.annotate is not None:
        own, noted = (list(inspect.signature(one).parameters)[1:] for one in (metric.function, metric.annotate))
        assert own == noted
