"""Rows of a support desk in which one kind goes wrong on purpose."""

from collections.abc import Callable

import numpy as np

from trainers.evaluation.confidence.rows_of_run import Texts
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows

TOPICS = {
    "refund": ["I want my money back for the {}", "please refund the {} I bought", "when is the {} paid back to me"],
    "delivery": ["where is the {} I ordered", "has my {} been shipped yet", "the {} should have arrived by now"],
    "invoice": ["send me the bill for the {}", "the invoice of my {} shows a wrong sum", "I need a receipt for the {}"],
}
THINGS = ["lamp", "watch", "tablet", "kettle", "chair", "phone"]
LABELS = list(TOPICS)
SARCASM = [
    "oh great, another broken {} , how wonderful",
    "what a fantastic surprise , the {} again , brilliant , thanks",
]


def desk(n: int, wrong: Callable[[dict], float], seed: int = 0, sarcastic: float = 0.1) -> Rows:
    """Rows of which each is wrong with the probability that `wrong` says of it."""
    rng = np.random.default_rng(seed)
    found = []
    for at in range(n):
        label = str(rng.choice(LABELS))
        mocks = rng.random() < sarcastic
        text = str(rng.choice(SARCASM if mocks else TOPICS[label])).format(rng.choice(THINGS))
        fact = {"label": label, "text": text, "mocks": mocks, "channel": str(rng.choice(["mail", "chat", "phone"]))}
        fact["age"] = int(rng.integers(18, 80))
        other = LABELS[(LABELS.index(label) + 1) % 3]
        output = other if rng.random() < wrong(fact) else label
        scores = [3.0 if name == output else float(rng.normal()) for name in LABELS]
        columns = {"channel": fact["channel"], "age": fact["age"]}
        found.append(
            Prediction(
                f"rows:{at}", label, output, 1.0, 1, prompt=text, logits=scores, columns=columns, probability=0.8
            )
        )
    return Rows(found, LABELS)


def training(n: int, seed: int = 1) -> Texts:
    """Training rows without any sarcasm."""
    rows = desk(n, lambda fact: 0.0, seed, sarcastic=0.0).predictions
    return Texts(
        [str(one.prompt) for one in rows], [one.reference for one in rows], [f"train:{at}" for at in range(n)], n
    )
