"""Requests to a judge: nonsense is asked again once, and every answer is kept as it comes, so that none is paid for twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from cluster.config.engine import OpenAIEngine, VllmEngine
from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.chat_engines import Request, Sampling, build_engine, stamp
from trainers.evaluation.judge.verdicts import Nonsense, read_verdict

logger = logging.getLogger(__name__)

ANSWERS_PER_FILE = 128
"""Answers that a kill can cost at most."""
ATTEMPTS = 2
LOGGED_CHARS = 200
NONSENSE_PROBLEM = "nonsense: "
"""How the problem of a request begins whose answers were not of the form asked for."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of one request.

    Attributes:
        value: the answer's object; None where there is none.
        nonsense: how many answers were not of the form asked for.
        problem: why there is none.
    """

    value: dict[str, Any] | None
    nonsense: int = 0
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Asked:
    """One request for a verdict: the judge's messages, and the form of its answer."""

    messages: list[dict[str, str]]
    schema: dict[str, Any]


class Judge:
    """Asks one model for verdicts.

    Args:
        kept: folder that answers are kept in, those of an interrupted evaluation taken from there.
        structured: have the engine hold answers to their form.
    """

    def __init__(
        self,
        engine: VllmEngine | OpenAIEngine,
        sampling: Sampling,
        *,
        structured: bool = True,
        kept: Storage | None = None,
    ) -> None:
        self._config, self._sampling, self._structured = engine, sampling, structured
        self._kept = _Kept(kept)

    def verdicts(self, asked: Sequence[Asked]) -> list[Verdict]:
        """One verdict for each request, in order. Nonsense is answered with what is wrong about it, once.

        Raises:
            DataError: if the engine stopped answering; what it said so far is kept.
        """
        found = [Verdict(None) for _ in asked]
        open_: list[tuple[int, list[dict[str, str]]]] = [(at, one.messages) for at, one in enumerate(asked)]
        for _ in range(ATTEMPTS):
            requests = [Request(messages, json_schema=self._schema(asked[at])) for at, messages in open_]
            again: list[tuple[int, list[dict[str, str]]]] = []
            for (at, messages), (text, problem) in zip(open_, self._answers(requests), strict=True):
                found[at], more = self._read(asked[at], messages, text, problem, found[at].nonsense)
                again += [(at, more)] if more else []
            open_ = again
        missing = [one.problem for one in found if one.value is None]
        if missing:
            logger.warning("the judge gave no verdict to %d of %d requests: %s", len(missing), len(found), missing[0])
        return found

    def _schema(self, asked: Asked) -> str:
        return json.dumps(asked.schema) if self._structured else ""

    @staticmethod
    def _read(
        asked: Asked, messages: list[dict[str, str]], text: str, problem: str, nonsense: int
    ) -> tuple[Verdict, list[dict[str, str]]]:
        """The verdict so far, and with which messages to ask again, if that makes sense."""
        if problem:
            return Verdict(None, nonsense, problem), []
        try:
            return Verdict(read_verdict(text, asked.schema), nonsense), []
        except Nonsense as error:
            reply = f"That was not what was asked for ({error}). Answer again, with the JSON object and nothing else."
            more = [{"role": "assistant", "content": text[:LOGGED_CHARS]}, {"role": "user", "content": reply}]
            return Verdict(None, nonsense + 1, f"{NONSENSE_PROBLEM}{error}"), [*messages, *more]

    def _answers(self, requests: Sequence[Request]) -> Iterator[tuple[str, str]]:
        """Text and problem of each answer: those kept from before, and those asked for now, kept as they come."""
        names = [self._name(one) for one in requests]
        first_of = dict(zip(reversed(names), reversed(requests), strict=True))
        wanted = [name for name in dict.fromkeys(names) if name not in self._kept.texts]
        problems: dict[str, str] = {}
        if wanted:
            engine = build_engine(self._config, self._sampling)
            try:
                for name, answer in zip(wanted, engine.answers([first_of[name] for name in wanted]), strict=True):
                    if answer.is_engine_lost:
                        raise DataError(self._lost(answer.problem, len(self._kept.texts)))
                    if answer.problem:
                        problems[name] = answer.problem
                    else:
                        self._kept.add(name, answer.text)
            finally:
                self._kept.flush()
        for name in names:
            yield self._kept.texts.get(name, ""), problems.get(name, "")

    def _name(self, request: Request) -> str:
        """What tells a request to this judge from every other."""
        model = [self._config.model_dump(mode="json"), stamp(self._config), dataclasses.asdict(self._sampling)]
        said = json.dumps([model, dataclasses.asdict(request)], sort_keys=True, default=str)
        return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()

    def _lost(self, problem: str, answered: int) -> str:
        again = (
            "; what it said is kept, so that running the evaluation again goes on from there"
            if self._kept.lasts
            else ""
        )
        return f"the judge stopped answering after {answered} answers ({problem}){again}; see that it runs and that engine names it rightly"


class _Kept:
    """Answers by the name of their request, in files of a folder; without a folder, in memory."""

    def __init__(self, storage: Storage | None) -> None:
        self._storage = storage
        self._new: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        for name in storage.list() if storage is not None else []:
            assert storage is not None
            self.texts |= storage.read_json(name)

    @property
    def lasts(self) -> bool:
        return self._storage is not None

    def add(self, name: str, text: str) -> None:
        self.texts[name] = self._new[name] = text
        if len(self._new) >= ANSWERS_PER_FILE:
            self.flush()

    def flush(self) -> None:
        if self._storage is not None and self._new:
            self._storage.write_text(
                f"answers-{uuid.uuid4().hex}.json", json.dumps(self._new)
            )  # in ASCII: models say anything
        self._new = {}
