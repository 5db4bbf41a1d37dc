"""Writes docs/metrics.md, which says what METRICS says: `python -m trainers.evaluation.metrics.page`, or `make docs`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from trainers.evaluation.metrics import METRICS, Metric

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
_SECTIONS = re.compile(r"^(Args|Raises|Source):", re.MULTILINE)
_ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n        .*)*)", re.MULTILINE)

_HEAD = """\
# Metrics

What `evaluate.metrics` can name. This page is written from the code by `make docs`.

```yaml
evaluate:
  metrics:
    - mcc                                    # a name
    - name: bleu                             # or a name with arguments,
      label: bleu_zh                         #   shown under another name
      args: {tokenize: zh}
    - my_package.scores:politeness           # or a function of yours
```

Every evaluation has the metrics marked *always*; the others are asked for. A metric that gives several values shows each as
`metric.value`. Where a metric is not defined over the rows (the area under a curve of one class only, a slice without
answers), it is left out and the reason shown.

A function of yours takes `trainers.evaluation.rows.Rows` and returns one value a row, a number, or several of these by name:

```python
def politeness(rows, words=("please", "thank")):
    return [float(any(word in (answer or "") for word in words)) for answer in rows.outputs]
```

Its mean gets intervals and tests like any other. Wrap it in `trainers.evaluation.metrics.Metric` to say that lower is better,
or that notes are to be taken while predictions are made.

Generated code runs as a program of a stranger: limits on time, memory, files and processes, no network, none of your files or
environment, in namespaces where the kernel allows them, else behind Landlock and seccomp. Where neither is there, nothing is run.
Each row's note `code_held_by` says which it was.
"""


def metrics_page() -> str:
    """Every metric with its meaning and arguments, by family."""
    families: dict[str, list[str]] = {}
    for name, metric in METRICS.items():
        families.setdefault(metric.function.__module__, []).append(name)
    return "\n".join([_HEAD, *(line for module, names in families.items() for line in _family(module, names))])


def _family(module: str, names: list[str]) -> Iterator[str]:
    first = (sys.modules[module].__doc__ or "").split("\n\n")[0]
    yield f"## {module.rpartition('.')[2].replace('_', ' ').capitalize()}\n"
    yield f"{_in_one_line(first)}\n"
    yield "| metric | what it says | arguments |\n| --- | --- | --- |"
    for name in names:
        yield f"| `{name}` | {_meaning(METRICS[name])} | {_arguments(METRICS[name])} |"
    yield ""


def _meaning(metric: Metric) -> str:
    said = _SECTIONS.split(inspect.getdoc(metric.function) or "")[0]
    better = {False: " Lower is better.", None: " Neither more nor less is better."}.get(metric.higher_is_better, "")
    kinds = {"classification": "classifiers", "causal_lm": "causal models"}
    always = " and ".join(kinds[kind] for kind in metric.default_for)
    return _in_one_line(said) + better + (f" *Always, for {always}.*" if always else "")


def _arguments(metric: Metric) -> str:
    parts = _SECTIONS.split(inspect.getdoc(metric.function) or "")
    written = parts[parts.index("Args") + 1] if "Args" in parts else ""
    meanings = {name: _in_one_line(said) for name, said in _ARGUMENT.findall(written)}
    found = []
    for name, one in list(inspect.signature(metric.function).parameters.items())[1:]:
        default = "" if one.default in (one.empty, None) else f" ({_spelled(one.default)})"
        found.append(f"`{name}`{default}" + (f": {meanings[name]}" if name in meanings else ""))
    return "<br>".join(found)


def _spelled(default: object) -> str:
    listed = list(default) if isinstance(default, tuple | dict) else default
    return f"`{str(listed).lower() if isinstance(listed, bool) else listed}`"


def _in_one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(metrics_page(), encoding="utf-8")
