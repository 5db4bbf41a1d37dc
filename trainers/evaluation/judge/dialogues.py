"""Simulated users talk to the scored model, then it is judged whether each got what it wanted.

All dialogues go on side by side, message by message: first every user is asked, then the scored model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

from cluster.config import DialogueConfig, EvaluateConfig
from cluster.config.engine import OpenAIEngine
from cluster.config.judge import Persona
from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.chat_engines import Answer, Engine, Request, Sampling, build_engine
from trainers.evaluation.judge.asking import Asked, Judge, Verdict
from trainers.evaluation.judge.questions import RULES, SYSTEM
from trainers.evaluation.judge.verdicts import form
from trainers.evaluation.result import EvaluationResult, Prediction

logger = logging.getLogger(__name__)

END = "[END]"
USER_SYSTEM = """\
You play a person who writes to an assistant. Stay this person: never help, never speak as an assistant.

Who you are: {description}
What you want: {goal}

Write one message at a time, in your own words, as such a person would. Do not say all at once. When you have what you \
want, or see that you will not get it, write only {end}."""
BEGIN = "Write your first message to the assistant."
GOAL = "goal_reached"
PERSONA = "persona"
JUDGE_TOKENS = 512
_THOUGHT = re.compile(r"^.*?</think>", re.DOTALL)


@dataclasses.dataclass
class Dialogue:
    """One conversation between a simulated user and the scored model.

    Attributes:
        said: messages so far, as OpenAI's `messages` without the system message.
        ended: why it is over: `user`, `turns`, `empty` or an engine's problem; empty while it goes on.
    """

    persona: Persona
    number: int
    said: list[dict[str, str]] = dataclasses.field(default_factory=list)
    ended: str = ""

    @property
    def turns(self) -> int:
        """Messages that the user wrote."""
        return sum(one["role"] == "user" for one in self.said)

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.persona.name}#{self.number}"

    def as_text(self) -> str:
        """The conversation as people read it."""
        return "\n".join(f"{one['role']}: {one['content']}" for one in self.said)


def evaluate_dialogues(
    config: DialogueConfig,
    scored: OpenAIEngine,
    evaluate: EvaluateConfig | None = None,
    *,
    kept: Storage | None = None,
    on_progress: Callable[[int], None] = lambda turn: None,
) -> EvaluationResult:
    """Let all personas talk to a model, and score how many got what they wanted, each persona as a slice.

    Args:
        scored: the model that is scored.
        kept: folder that the judge's answers are kept in.
        on_progress: told the number of each turn when it is over.

    Raises:
        DataError: if one of the endpoints stops answering.
    """
    from trainers.evaluation.figures import summarise
    from trainers.evaluation.rows import Rows

    dialogues = talk(config, scored, on_progress)
    verdicts = judge_dialogues(config, dialogues, kept)
    predictions = [_prediction(one, verdict) for one, verdict in zip(dialogues, verdicts, strict=True)]
    metrics = [*(evaluate or EvaluateConfig()).metrics, {"name": "dialogue_success"}]
    settings = EvaluateConfig.model_validate({**(evaluate or EvaluateConfig()).model_dump(), "metrics": metrics})
    result = summarise("causal_lm", Rows(predictions), settings, [PERSONA] if len(config.personas) > 1 else [])
    ended = {how: sum(one.ended == how for one in dialogues) for how in sorted({one.ended for one in dialogues})}
    told = {"ended": ended, "unjudged": sum(one.value is None for one in verdicts), "samples": samples(predictions)}
    return dataclasses.replace(
        result,
        fingerprint=fingerprint(config, scored),
        subject=f"{scored.model} at {scored.base_url}",
        sections={"dialogues": told},
    )


def fingerprint(config: DialogueConfig, scored: OpenAIEngine) -> str:
    """Hash of who talks to whom, and how."""
    said = json.dumps([config.model_dump(mode="json"), scored.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def talk(
    config: DialogueConfig, scored: OpenAIEngine, on_progress: Callable[[int], None] = lambda turn: None
) -> list[Dialogue]:
    """The dialogues of all personas."""
    user = build_engine(config.user, Sampling(config.temperature, 1.0, config.max_tokens))
    model = build_engine(scored, Sampling(0.0, 1.0, config.max_tokens))
    dialogues = [Dialogue(persona, number) for persona in config.personas for number in range(config.repeats)]
    for turn in range(config.max_turns):
        _users_speak(dialogues, user, config.seed + turn * len(dialogues))
        _model_speaks(dialogues, model, config.system)
        on_progress(turn + 1)
        if all(one.ended for one in dialogues):
            break
    for one in dialogues:
        one.ended = one.ended or "turns"
    return dialogues


def _users_speak(dialogues: Sequence[Dialogue], engine: Engine[Any], seed: int) -> None:
    asked = []
    for one in dialogues:
        if one.ended:
            continue
        if not one.said and one.persona.opening is not None:
            one.said.append({"role": "user", "content": one.persona.opening})
        else:
            asked.append(one)
    requests = [Request(_as_user(one), seed + at) for at, one in enumerate(asked)]
    for one, answer in zip(asked, _answers(engine, requests, "the model that plays the users"), strict=True):
        said, is_over, _ = _THOUGHT.sub("", answer.text).partition(END)
        if answer.problem:
            one.ended = answer.problem
        elif is_over or not said.strip():
            one.ended = "user" if is_over else "empty"
        else:
            one.said.append({"role": "user", "content": said.strip()})


def _model_speaks(dialogues: Sequence[Dialogue], engine: Engine[Any], system: str | None) -> None:
    asked = [one for one in dialogues if not one.ended]
    before = [{"role": "system", "content": system}] if system else []
    requests = [Request([*before, *one.said]) for one in asked]
    for one, answer in zip(asked, _answers(engine, requests, "the scored model"), strict=True):
        if answer.problem:
            one.ended = answer.problem
        else:
            one.said.append({"role": "assistant", "content": _THOUGHT.sub("", answer.text).strip()})


def _as_user(dialogue: Dialogue) -> list[dict[str, str]]:
    """The conversation as the model that plays the user sees it: what it said is the assistant's part."""
    persona = dialogue.persona
    system = USER_SYSTEM.format(description=persona.description, goal=persona.goal, end=END)
    turned = {"user": "assistant", "assistant": "user"}
    said = [{"role": turned[one["role"]], "content": one["content"]} for one in dialogue.said]
    return [{"role": "system", "content": system}, {"role": "user", "content": BEGIN}, *said]


def _answers(engine: Engine[Any], requests: Sequence[Request], who: str) -> list[Answer]:
    found = []
    for answer in engine.answers(requests):
        if answer.is_engine_lost:
            raise DataError(
                f"{who} stopped answering ({answer.problem}); see that it runs, and start the dialogues again"
            )
        found.append(answer)
    return found


def judge_dialogues(config: DialogueConfig, dialogues: Sequence[Dialogue], kept: Storage | None) -> list[Verdict]:
    """Whether each user got what it wanted."""
    schema = form({GOAL: {"type": "boolean"}}, reasons=True)
    asked = [Asked(_judge_messages(one, schema), schema) for one in dialogues]
    judge = Judge(
        config.judge or config.user, Sampling(0.0, 1.0, JUDGE_TOKENS), structured=config.structured, kept=kept
    )
    return judge.verdicts(asked)


def _judge_messages(dialogue: Dialogue, schema: dict[str, Any]) -> list[dict[str, str]]:
    task = "Say whether the assistant gave the user what the user wanted. That the user was polite or gave up proves nothing."
    material = {"wanted": dialogue.persona.goal, "dialogue": dialogue.said}
    shape, said = json.dumps(schema["properties"]), json.dumps(material, ensure_ascii=False, indent=1)
    request = f"{task}\n\n{RULES}\nThe properties of that object, as JSON schema: {shape}\n\nMaterial:\n{said}"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": request}]


def _prediction(dialogue: Dialogue, verdict: Verdict) -> Prediction:
    persona = dialogue.persona
    notes: dict[str, Any] = {"turns": dialogue.turns, "ended": dialogue.ended, "dialogue": dialogue.said}
    if verdict.value is None:
        notes["judge_problem"] = verdict.problem
    else:
        notes |= {GOAL: float(verdict.value[GOAL]), "judge_reasons": [verdict.value["reason"]]}
    return Prediction(
        place=dialogue.name,
        reference=None,
        output=dialogue.as_text(),
        key=hashlib.blake2b(json.dumps([persona.model_dump(), dialogue.number]).encode(), digest_size=12).hexdigest(),
        prompt=persona.goal,
        columns={PERSONA: persona.name, "goal": persona.goal},
        notes=notes,
    )


def samples(predictions: Sequence[Prediction], most: int = 5) -> list[dict[str, Any]]:
    """A few dialogues to read, those that failed first."""
    by_success = sorted(predictions, key=lambda one: one.notes.get(GOAL, 0.0))
    return [
        {"name": one.place, GOAL: one.notes.get(GOAL), "ended": one.notes["ended"], "said": one.notes["dialogue"]}
        for one in by_success[:most]
    ]
