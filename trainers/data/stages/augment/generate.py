"""New rows written by a language model.

Rows are laid down in files of the scratch folder, beside each file one with the drafts of the copies to be made. The
engine answers the drafts' requests, pass by pass, into files of the same order; then the rows are taken up again, each
followed by its copies. So an engine runs only while it has something to do, and no process holds all texts.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cluster import exceptions
from cluster.config.stages.augment import GenerateStage
from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.chat_engines import Engine, Sampling, build_engine, stamp
from trainers.data.ray_data import quiet_context, rows_of
from trainers.data.record import Record, from_table, schema, to_json, to_table
from trainers.data.stages.augment.base import NOTE, is_chosen, row_rng
from trainers.data.stages.base import DatasetStage

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

PROMPTS = {
    "paraphrase": (
        "Say the following text in other words. Keep its meaning, its language and its style. "
        "Answer with the new text only.\n\n{text}",
    ),
    "back_translation": (
        "Translate the following text from {from_language} into {language}. Answer with the translation only.\n\n{text}",
        "Translate the following text from {language} into {from_language}. Answer with the translation only.\n\n{text}",
    ),
    "synthesise": (
        'The following text is an example of the class "{label}". Write another text of that class: another situation, '
        "other words, the same language and style. Answer with the new text only.\n\n{text}",
    ),
}
"""What the model is asked for, one request after the other: the answer of one is the text of the next."""

ROWS_PER_FILE = 1024
_THOUGHT = re.compile(r"^.*?</think>", re.DOTALL)


class Generate(DatasetStage[GenerateStage]):
    """Lays the rows down, has the requests answered, and takes the rows up with what was made of them."""

    @classmethod
    def inputs(cls, config: GenerateStage) -> Any:
        """Which model it is, if it lies here, and the words of the requests."""
        return [stamp(config.engine), PROMPTS]

    def apply(self, dataset: ray.data.Dataset) -> ray.data.Dataset:
        assert self.context.scratch is not None, "a stage that lays rows down needs a scratch folder"
        scratch = self.context.scratch.child(self.config.kind)
        config = self.config
        sampling = Sampling(config.temperature, config.top_p, config.max_tokens)
        engine = build_engine(config.engine, sampling)
        files = self._lay_down(dataset, scratch)
        if any(file.drafts for file in files):
            for number, prompt in enumerate(prompts(self.config)):
                self._answer(files, _Ask(scratch, self.config, prompt, number), engine)
        return _over_files(files, _TakeUp(scratch, self.config))

    def _lay_down(self, dataset: ray.data.Dataset, scratch: Storage) -> list[_File]:
        files = []
        with quiet_context():
            lay = _LayDown(scratch, self)
            results = dataset.map_batches(lay, batch_size=ROWS_PER_FILE, batch_format="pyarrow", zero_copy_batch=True)
            for row in rows_of(results):
                if row["error"]:
                    kind, message = json.loads(row["error"])
                    raise getattr(exceptions, kind)(message)
                files.append(_File(row["name"], row["drafts"]))
        return files

    def _answer(self, files: list[_File], ask: _Ask, engine: Engine[Any]) -> None:
        """One request of each draft, answered into one file beside each file of drafts."""
        import pyarrow as pa

        asked = [file for file in files if file.drafts]
        with quiet_context():
            answers = rows_of(engine.complete(_over_files(asked, ask)))
            for file in asked:
                rows = [next(answers) for _ in range(file.drafts)]
                problems = [row.get("problem") or row.get("__inference_error__") or "" for row in rows]
                self._check(problems)
                table = pa.table({"answer": [row.get("answer") or "" for row in rows], "problem": problems})
                _write(ask.storage, f"answers-{ask.number}/{file.name}", table)

    def _check(self, problems: list[str]) -> None:
        found = next(filter(None, problems), None)
        if found is not None and self.config.on_error == "fail":
            raise DataError(
                f"the stage {self.config.name} got no answer ({found}); mend it, or set on_error: reject to do without such rows"
            )

    def drafts(self, record: Record, number: int) -> Iterator[Draft]:
        """The copies to be made of a row, which is the `number`th of its file, as they are before they are written anew."""
        if not self.wants(record) or not is_chosen(record, self.config, self.context):
            return
        texts = record.texts(self.config.roles)
        for copy in range(self.config.copies if texts else 0):
            rng = row_rng(record, self.context, str(copy))
            slot = rng.randrange(len(texts))
            made = record.derive()
            made.notes[NOTE], made.changes = self.config.kind, [self.config.name]
            if self.config.mode == "synthesise":
                made.before = None  # it is to say something else
            yield Draft(made, number, slot, texts[slot], rng.randrange(2**31))


@dataclasses.dataclass(frozen=True)
class Draft:
    """A copy to be made.

    Attributes:
        record: the copy, so far equal to its original.
        number: of the original in its file.
        slot: which of its texts is rewritten.
        text: that text.
        seed: for the model's draws.
    """

    record: Record
    number: int
    slot: int
    text: str
    seed: int


def prompts(config: GenerateStage) -> tuple[str, ...]:
    """The requests that a copy takes."""
    return (config.prompt,) if config.prompt is not None else PROMPTS[config.mode]


def fill(prompt: str, config: GenerateStage, text: str, label: str | None) -> str:
    """A request for one text; braces inside the text mean nothing."""
    known = {"text": text, "label": label or "", "language": config.language, "from_language": config.from_language}
    return re.sub(r"\{(text|label|language|from_language)\}", lambda found: known[found[1]], prompt)


def clean_answer(answer: str) -> str:
    """The text alone: without what a model thought aloud, and without quotes around it."""
    text = _THOUGHT.sub("", answer).strip()
    for opening, closing in ('""', "''", "“”", "«»"):
        if len(text) > 2 and text[0] == opening and text[-1] == closing and opening not in text[1:-1]:
            return text[1:-1].strip()
    return text


def finish(copy: Record, slot: int, roles: Sequence[str], answer: str, problem: str) -> None:
    """Put an answer in the place of one of the copy's texts, or say why there is none to use."""
    text = clean_answer(answer)
    numbers = iter(range(len(copy.texts(roles))))
    copy.map_texts(lambda old: text if next(numbers) == slot else old, roles)
    if problem:
        copy.reject(f"no answer ({problem})")
    elif not text:
        copy.reject("an empty answer")


@dataclasses.dataclass(frozen=True)
class _File:
    """Rows in the scratch folder, and how many drafts lie beside them."""

    name: str
    drafts: int


def _over_files(files: Iterable[_File], act: Any) -> ray.data.Dataset:
    """What `act` makes of each file, in their order."""
    import pyarrow as pa
    import ray.data

    blocks = [pa.table({"name": [file.name]}) for file in files]
    if not blocks:
        return ray.data.from_arrow(schema().empty_table())
    with quiet_context():
        return ray.data.from_arrow(blocks).map_batches(act, batch_size=1, batch_format="pyarrow", num_cpus=0.25)


@dataclasses.dataclass(frozen=True)
class _LayDown:
    """Writes a block of records to a file, and the drafts of their copies to another. Runs inside the tasks of Ray Data."""

    storage: Storage
    stage: Generate

    def __call__(self, block: pa.Table) -> pa.Table:
        import pyarrow as pa

        name, drafts, error = f"{uuid.uuid4().hex}.parquet", [], ""
        records = from_table(block)
        mistake = next(filter(None, (record.failure() for record in records)), None)
        if mistake is not None:
            error = json.dumps([type(mistake).__name__, str(mistake)])
        else:
            drafts = [draft for number, record in enumerate(records) for draft in self.stage.drafts(record, number)]
            _write(self.storage, f"rows/{name}", block)
            _write(self.storage, f"drafts/{name}", _draft_table(drafts))
        return pa.table({"name": [name], "drafts": [len(drafts)], "error": [error]})


def _draft_table(drafts: list[Draft]) -> pa.Table:
    import pyarrow as pa

    table = to_table([draft.record for draft in drafts])
    table = table.append_column("number", pa.array([draft.number for draft in drafts], pa.int32()))
    table = table.append_column("slot", pa.array([draft.slot for draft in drafts], pa.int32()))
    table = table.append_column("text", pa.array([draft.text for draft in drafts], pa.string()))
    return table.append_column("seed", pa.array([draft.seed for draft in drafts], pa.int64()))


@dataclasses.dataclass(frozen=True)
class _Ask:
    """The requests of a file of drafts. Runs inside the tasks of Ray Data."""

    storage: Storage
    config: GenerateStage
    prompt: str
    number: int
    """Of the pass; after the first, the text is the answer of the one before."""

    def __call__(self, block: pa.Table) -> pa.Table:
        import pyarrow as pa

        [name] = block["name"].to_pylist()
        drafts = _read(self.storage, f"drafts/{name}")
        texts = drafts["text"].to_pylist()
        if self.number:
            answers = _read(self.storage, f"answers-{self.number - 1}/{name}")["answer"].to_pylist()
            texts = [clean_answer(answer) for answer in answers]
        labels = [record.label for record in from_table(drafts.select(schema().names))]
        requests = [to_json(self._messages(*one)) for one in zip(texts, labels, strict=True)]
        return pa.table({"messages": requests, "seed": drafts["seed"]})

    def _messages(self, text: str, label: str | None) -> list[dict[str, str]]:
        system = [{"role": "system", "content": self.config.system}] if self.config.system else []
        return [*system, {"role": "user", "content": fill(self.prompt, self.config, text, label)}]


@dataclasses.dataclass(frozen=True)
class _TakeUp:
    """A file of records again, each followed by its copies. Runs inside the tasks of Ray Data."""

    storage: Storage
    config: GenerateStage

    def __call__(self, block: pa.Table) -> pa.Table:
        [name] = block["name"].to_pylist()
        copies = self._copies(name)
        records = enumerate(from_table(_read(self.storage, f"rows/{name}")))
        return to_table([one for number, record in records for one in (record, *_distinct(record, copies[number]))])

    def _copies(self, name: str) -> dict[int, list[Record]]:
        """The finished copies, by the number of their original in the file."""
        drafts = _read(self.storage, f"drafts/{name}")
        found: dict[int, list[Record]] = collections.defaultdict(list)
        if drafts.num_rows:
            answers = _read(self.storage, f"answers-{len(prompts(self.config)) - 1}/{name}")
            copies = from_table(drafts.select(schema().names))
            columns = (drafts["number"], drafts["slot"], answers["answer"], answers["problem"])
            for copy, number, *rest in zip(copies, *(column.to_pylist() for column in columns), strict=True):
                slot, answer, problem = rest
                finish(copy, slot, self.config.roles, answer, problem)
                found[number].append(copy)
        return found


def _distinct(record: Record, copies: list[Record]) -> list[Record]:
    """The copies of a row, those that say what it or another copy says rejected."""
    known = {to_json(record.row)}
    for copy in copies:
        row = to_json(copy.row)
        if copy.rejected is None and row in known:
            copy.reject("the model said what is there already")
        if copy.rejected is not None:
            copy.rejected = f"{copy.changes[0]}: {copy.rejected}"
        known.add(row)
    return copies


def _write(storage: Storage, name: str, table: pa.Table) -> None:
    from pyarrow import parquet

    with storage.open_output(name) as stream:
        parquet.write_table(table, stream, compression="zstd")


def _read(storage: Storage, name: str) -> pa.Table:
    from pyarrow import parquet

    return parquet.read_table(storage.open_input(name))
