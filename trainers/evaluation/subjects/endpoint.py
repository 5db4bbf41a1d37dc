"""A model behind an endpoint that speaks OpenAI's API, or our `/v1/classify`, as what is scored.

Rows are read and parsed by Ray Data; the driver asks, some requests in flight at a time. So the key stays in this process,
no request waits for the slowest of a batch, and each answer is handed on as it comes.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cluster.config import DataConfig, EvaluateConfig
from cluster.config.data import AnySource
from cluster.config.endpoint import EndpointConfig
from cluster.exceptions import ConfigError, DataError, ResourceError, UserError, mobula_cause
from trainers.data.ray_data import quiet_context
from trainers.data.shapes import LabelledText
from trainers.evaluation.exchange import described, exchange, read_row
from trainers.evaluation.result import Prediction, from_table, to_table
from trainers.evaluation.store import ORDER, Part
from trainers.evaluation.subjects.base import Job, Subject, orders
from trainers.evaluation.subjects.client import Client, Failed, Reply

if TYPE_CHECKING:
    import pyarrow as pa

ASKED = "asked"
ROWS_PER_BLOCK = 256
WAITING_PER_REQUEST = 2
"""Rows read ahead for each request in flight."""
HOPELESS = 3
"""Failures in a row for each request in flight after which no row is asked any more."""


class EndpointSubject(Subject):
    """Scores what an endpoint answers.

    Args:
        url: up to and with `/v1`.
        model: its name there. Default: the only one there is.
        settings: how it is asked.
        data: how rows are read. Default: by their own looks.

    Raises:
        ResourceError: if nobody answers there.
        ConfigError: if what answers is no such endpoint, refuses the key, or does not have the model.
    """

    is_same_next_time = False

    def __init__(self, url: str, model: str | None, settings: EndpointConfig, data: DataConfig | None = None) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ConfigError(f"{url!r} is no endpoint; expected such as http://127.0.0.1:8000/v1")
        self.url, self.settings = url.rstrip("/"), settings
        self.data = data
        self.client = Client(self.url, settings)
        self.card = self.client.card(model)
        self.model = str(self.card["id"])
        known = self.card.get("metadata") or {}
        self.kind = known.get("kind", "causal_lm")
        self.labels = list(known.get("labels") or [])
        self.name = f"{self.model} at {self.url}"

    def data_config(self, data: Sequence[str | AnySource]) -> DataConfig:
        """As told; an endpoint does not say how it was trained."""
        if self.data is None:
            return DataConfig(train=list(data))
        said = self.data.model_dump(include={"shape", "columns", "system", "max_row_bytes", "timeout_s"})
        return DataConfig(train=list(data), **said)

    def stamp(self, evaluate: EvaluateConfig) -> Any:
        """What the endpoint says of the model, less the times at which it says it."""
        said = {name: value for name, value in self.card.items() if name not in ("created", "permission")}
        return {"url": self.url, "card": said}

    def check(self, job: Job) -> None:
        self.client.check_key()

    def predict(self, job: Job) -> Iterator[Part]:
        asker = _Asker(self, job)
        with concurrent.futures.ThreadPoolExecutor(self.settings.concurrency) as pool:
            try:
                yield from asker.parts(pool)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def ask(self, asked: dict[str, Any], evaluate: EvaluateConfig) -> Reply:
        """The answer to one question; raises `Failed`."""
        if self.kind == "classification":
            return self.client.classify(self.model, asked["text"], self.labels)
        return self.client.generate(self.model, asked, evaluate)


class _Asker:
    """Asks for the rows of a job, a few at a time, and knows when to give up."""

    def __init__(self, subject: EndpointSubject, job: Job) -> None:
        self.subject, self.job = subject, job
        self.at_once = subject.settings.concurrency
        self.done = 0
        self.failures = 0

    def parts(self, pool: concurrent.futures.Executor) -> Iterator[Part]:
        """Each row as its answer comes; after a problem of the endpoint the answers that are under way, then the problem."""
        rows = self._rows()
        pending: dict[concurrent.futures.Future[Reply], tuple[int, Prediction]] = {}
        problem: UserError | None = None
        is_over = False
        while pending or not is_over:
            while not is_over and len(pending) < self.at_once * WAITING_PER_REQUEST:
                row = next(rows, None)
                if row is None:
                    is_over = True
                elif row[2] is None:
                    yield Part([row[0]], [row[1]])
                else:
                    pending[pool.submit(self.subject.ask, row[2], self.job.evaluate)] = row[:2]
            done, _ = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                found = self._settled(future, *pending.pop(future))
                if isinstance(found, Part):
                    yield found
                elif found is not None and problem is None:
                    problem, is_over = found, True
                    pending = {one: row for one, row in pending.items() if not one.cancel()}
        if problem is not None:
            raise type(problem)(f"{problem}{self._what_is_kept()}")

    def _settled(
        self, future: concurrent.futures.Future[Reply], order: int, row: Prediction
    ) -> Part | UserError | None:
        """What became of a row: its prediction, or why nothing more is asked; None where it is left for the next call."""
        try:
            reply = future.result()
        except Failed as failed:
            return self._failed(failed, order, row)
        self.done, self.failures = self.done + 1, 0
        answered = dataclasses.replace(row, **reply.fields)
        return Part([order], [_with_loss(answered, self.subject.labels)], [reply.facts])

    def _failed(self, failed: Failed, order: int, row: Prediction) -> Part | UserError | None:
        self.failures += 1
        if failed.is_fatal:
            return failed.problem
        if self.failures > HOPELESS * self.at_once:
            return ResourceError(f"{self.subject.url}: the last {self.failures} requests failed ({failed})")
        return Part([order], [dataclasses.replace(row, error=str(failed))])

    def _what_is_kept(self) -> str:
        if self.job.directory is None:
            return ""
        return f"; {self.done} rows answered in this call are kept, and the same command goes on from there"

    def _rows(self) -> Iterator[tuple[int, Prediction, dict[str, Any] | None]]:
        """Rank, what is known of the row, and what is asked (None: nothing)."""
        import pyarrow as pa

        asked = AskedRows(self.job, self.subject.kind, tuple(self.subject.labels))
        has_question = False
        try:
            with quiet_context(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = self.job.rows().map_batches(asked, batch_size=ROWS_PER_BLOCK, batch_format="pyarrow")
                for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                    table = pa.table(batch)
                    questions = [json.loads(text) if text else None for text in table[ASKED].to_pylist()]
                    has_question |= any(questions)
                    predictions = from_table(table.drop_columns([ORDER, ASKED]))
                    yield from zip(table[ORDER].to_pylist(), predictions, questions, strict=True)
        except Exception as error:  # Ray Data wraps what a task raised; the user is told of his own mistake only
            mistake = mobula_cause(error)
            if mistake is None:
                raise
            raise mistake from None
        if not has_question:
            names = ", ".join(dict.fromkeys(file.source for file in self.job.sources.files))
            raise DataError(
                f"{names}: no row asks anything (plain text has no question); an endpoint can only be asked"
            )


def _with_loss(row: Prediction, labels: Sequence[str]) -> Prediction:
    """With the loss of the label, where the endpoint gives the probabilities of all."""
    if row.logits is None or row.reference not in labels:
        return row
    return dataclasses.replace(row, loss_sum=-row.logits[labels.index(row.reference)], loss_units=1)


@dataclasses.dataclass(frozen=True, eq=False)
class AskedRows:
    """Rows of the data as questions to an endpoint. Runs inside the tasks of Ray Data."""

    job: Job
    kind: str
    labels: tuple[str, ...]

    def __call__(self, window: pa.Table) -> pa.Table:
        import pyarrow as pa

        places = zip(window["file"].to_pylist(), window["position"].to_pylist(), strict=True)
        found = [self.row(place, row) for place, row in zip(places, window["row"].to_pylist(), strict=True)]
        table = to_table([one for one, _ in found])
        asked = pa.array([json.dumps(question) if question else None for _, question in found], pa.string())
        return table.append_column(ORDER, pa.array(orders(window))).append_column(ASKED, asked)

    def row(self, place: tuple[int, int], text: str) -> tuple[Prediction, dict[str, Any] | None]:
        """What is known of a row, and what is asked."""
        job = self.job
        parsed = read_row(job.sources, place, text, job.data, self.kind, to_learn=False)
        where = job.sources.where(*place)
        if isinstance(parsed.example, LabelledText):
            self._check_label(parsed.example.label, parsed.place or where)
            known = Prediction("", parsed.example.label, None)
            return described(known, parsed, where), {"text": parsed.example.text}
        question = exchange(parsed.example)
        known = described(Prediction("", question.reference if question else None, None), parsed, where)
        if question is None:
            return known, None
        name = "prompt" if isinstance(question.asked, str) else "messages"
        return known, {name: question.asked, "tools": question.tools}

    def _check_label(self, label: str, place: str) -> None:
        if self.labels and label not in self.labels:
            known = ", ".join(self.labels[:8]) + (", ..." if len(self.labels) > 8 else "")
            raise DataError(
                f"{place}: the label {label!r} is none of the endpoint's {len(self.labels)} ({known}); correct it or leave the row out"
            )
