"""Claims about simulated users: they talk to the scored model until they are done, and success is judged."""

import json

import pytest

from cluster.config import DialogueConfig
from cluster.config.engine import OpenAIEngine
from cluster.exceptions import DataError
from tests.trainers.evaluation.judge import endpoint
from trainers.evaluation.judge.dialogues import END, GOAL, evaluate_dialogues, talk

PERSONAS = [
    {"name": "brisk", "description": "Short of time.", "goal": "a refund", "opening": "Refund, please."},
    {"name": "polite", "description": "Patient.", "goal": "a rocket"},
]


def user_and_judge(messages: list[dict[str, str]], number: int) -> str:
    """Asks for what it wants until it is granted or asked thrice; as a judge looks whether it was granted."""
    if "Material:" in messages[-1]["content"]:
        granted = "granted" in endpoint.material(messages)["dialogue"][-1]["content"]
        return json.dumps({"reason": "read", GOAL: granted})
    if "granted" in messages[-1]["content"]:
        return f"<think>Good.</think>{END}"
    goal = messages[0]["content"].partition("What you want: ")[2].splitlines()[0]
    return f"I want {goal}!"


def shop(messages: list[dict[str, str]], number: int) -> str:
    """Grants refunds, at the second asking."""
    asked = [one["content"] for one in messages if one["role"] == "user"]
    return "Your refund is granted." if len(asked) > 1 and "refund" in asked[-1] else "I am sorry to hear that."


def config(user: endpoint.Endpoint, **more) -> DialogueConfig:
    return DialogueConfig.model_validate({"personas": PERSONAS, "user": user.engine(), "max_turns": 3, **more})


def test_users_talk_until_they_are_served_or_out_of_turns():
    with endpoint.serving(user_and_judge) as user, endpoint.serving(shop) as model:
        scored = OpenAIEngine.model_validate(model.engine())
        result = evaluate_dialogues(config(user, repeats=2, system="Be kind."), scored)
        told = model.requests[0]["messages"][0]
    assert told == {"role": "system", "content": "Be kind."}
    assert result.metrics["dialogue_success"] == 0.5
    by_persona = {name: scores["dialogue_success"] for name, scores in result.slices["persona"].items()}
    assert by_persona == {"brisk": 1.0, "polite": 0.0}
    assert result.intervals["dialogue_success"][0] < 0.5 < result.intervals["dialogue_success"][1]
    brisk, polite = result.predictions[0], result.predictions[2]
    assert brisk.output.splitlines() == [
        "user: Refund, please.",
        "assistant: I am sorry to hear that.",
        "user: I want a refund!",
        "assistant: Your refund is granted.",
    ]
    assert (brisk.notes["ended"], polite.notes["ended"], polite.notes["turns"]) == ("user", "turns", 3)
    assert result.sections["dialogues"]["ended"] == {"turns": 2, "user": 2}
    assert result.sections["dialogues"]["samples"][0]["name"] == "polite#0"


def test_repeats_are_drawn_with_seeds_of_their_own():
    with endpoint.serving(user_and_judge) as user, endpoint.serving(shop) as model:
        talk(config(user, repeats=3, max_turns=2), OpenAIEngine.model_validate(model.engine()))
        seeds = [one["seed"] for one in user.requests]
    assert len(set(seeds)) == len(seeds)


def test_a_dialogue_that_nobody_could_judge_has_no_score():
    def unjudged(messages: list[dict[str, str]], number: int) -> str:
        return "hm" if "Material:" in str(messages) else user_and_judge(messages, number)

    with endpoint.serving(unjudged) as user, endpoint.serving(shop) as model:
        result = evaluate_dialogues(config(user), OpenAIEngine.model_validate(model.engine()))
    assert "dialogue_success" not in result.metrics
    assert result.sections["dialogues"]["unjudged"] == 2


def test_a_model_that_goes_away_is_named():
    gone = r"the scored model stopped answering \(http://127.*InternalServerError"
    with (
        endpoint.serving(user_and_judge) as user,
        endpoint.serving(endpoint.dying_after(0)) as model,
        pytest.raises(DataError, match=gone),
    ):
        talk(config(user), OpenAIEngine.model_validate(model.engine()))
