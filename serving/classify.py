"""Classification models at `/v1/classify`: one text or many, scored together with the texts of other requests.

One deployment holds both HTTP and model, so a text takes a single hop. The forward pass runs in a thread: requests are
read and the next batch fills while it computes.

Where the folder holds a `calibration.json`, probabilities are calibrated by it, and each answer carries the labels that
hold the right one as often as was promised. The label itself is the model's own choice, calibrated or not.
"""

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve as ray_serve

from cluster.config import ServeConfig
from serving.errors import ApiError, speak_openai, unknown_model
from serving.parts import model_card
from trainers.evaluation.confidence.calibration import Calibration, load_calibration
from trainers.evaluation.confidence.calibrators import softmax
from trainers.folder import ModelFolder

MAX_INPUTS = 2048
"""Texts in one request."""


@dataclass(frozen=True)
class Scored:
    """A text's class probabilities in label order, and how much of the text was seen.

    Attributes:
        best: the class that the model's own scores put first.
        label_set: classes that hold the right one with the guarantee of the folder's calibration; None without one.
        uncertainty: of an ensemble, its entropy and what of it is aleatoric and epistemic, in nats; None of a single model.
    """

    probabilities: list[float]
    num_tokens: int
    truncated: bool
    best: int
    label_set: list[int] | None = None
    uncertainty: dict[str, float] | None = None


class Classifier:
    """A classification folder that scores texts as training saw them: same tokenizer, cut at the same length."""

    def __init__(self, path: str | ModelFolder, device: str = "cpu") -> None:
        folder = path if isinstance(path, ModelFolder) else ModelFolder.open(path)
        self.labels = folder.labels
        self.calibration = load_calibration(folder.path, folder.labels)
        self._tokenizer = folder.tokenizer()
        self._model = folder.load(device)
        self._device = device
        self.max_length = max_length(folder)

    def tokenize(self, text: str) -> list[int]:
        """Token ids that the model sees."""
        return list(self._tokenizer(text, truncation=True, max_length=self.max_length)["input_ids"])

    def __call__(self, texts: list[str]) -> list[Scored]:
        """Score a batch."""
        return self.scored(*self.logits(texts))

    def logits(self, texts: list[str]) -> tuple[np.ndarray, list[int], list[int]]:
        """Scores of the classes, shape (texts, classes), the tokens that were seen of each text, and those it has."""
        import torch

        lengths = [len(ids) for ids in self._tokenizer(texts, verbose=False)["input_ids"]]
        batch = self._tokenizer(
            texts, truncation=True, max_length=self.max_length, padding=True, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            logits = self._model(**batch).logits.double().cpu().numpy()
        return logits, [min(length, self.max_length) for length in lengths], lengths

    def scored(self, logits: np.ndarray, seen: list[int], lengths: list[int]) -> list[Scored]:
        """What `logits` gave, as answers."""
        calibrate = self.calibration or softmax
        rows = zip(calibrate(logits).tolist(), logits.argmax(-1).tolist(), self._label_sets(logits), strict=True)
        return [
            Scored(probabilities, count, count < length, best, label_set)
            for (probabilities, best, label_set), count, length in zip(rows, seen, lengths, strict=True)
        ]

    def _label_sets(self, logits: np.ndarray) -> list[list[int]] | list[None]:
        conformal = self.calibration.conformal if self.calibration else None
        if conformal is None:
            return [None] * len(logits)
        return [np.flatnonzero(inside).tolist() for inside in conformal.sets(softmax(logits))]


def max_length(folder: ModelFolder) -> int:
    """Where texts are cut: as in training, else where the model's positions end."""
    from transformers import AutoConfig

    shape = AutoConfig.from_pretrained(folder.base or folder.path).get_text_config()
    limits = [folder.tokenizer().model_max_length, getattr(shape, "max_position_embeddings", None)]
    limits.append(folder.config.data.max_length if folder.config else None)
    return int(min(limit for limit in limits if limit))


class ClassifyRequest(BaseModel):
    """Body of `POST /v1/classify`."""

    input: str | list[str]
    """One text or several."""
    model: str | None = None
    """Model name; the one that is served if left out."""


class TokenizeRequest(BaseModel):
    """Body of `POST /tokenize`."""

    prompt: str
    model: str | None = None


def checked_texts(given: str | list[str]) -> list[str]:
    """The texts of a request, refused if there are none, too many, or one is empty."""
    texts = [given] if isinstance(given, str) else given
    if not 1 <= len(texts) <= MAX_INPUTS:
        raise ApiError(400, f"input holds {len(texts)} texts; send 1 to {MAX_INPUTS} at once", param="input")
    empty = next((index for index, text in enumerate(texts) if not text.strip()), None)
    if empty is not None:
        raise ApiError(400, f"input[{empty}] is empty; every text needs at least one character", param="input")
    return texts


def answer(index: int, scored: Scored, labels: list[str]) -> dict[str, Any]:
    """One element of the answer's `data`."""
    found = {
        "index": index,
        "label": labels[scored.best],
        "probability": scored.probabilities[scored.best],
        "confidence": scored.probabilities[scored.best],
        "probabilities": dict(zip(labels, scored.probabilities, strict=True)),
        "truncated": scored.truncated,
    }
    if scored.label_set is not None:
        found["label_set"] = [labels[at] for at in scored.label_set]
    if scored.uncertainty is not None:
        found["uncertainty"] = scored.uncertainty
    return found


def described(calibration: Calibration | None) -> dict[str, Any]:
    """What an answer says of its confidence: whether it is calibrated, by what, and what its label sets promise."""
    if calibration is None:
        return {"calibrated": False}
    sets = calibration.conformal
    return {
        "calibrated": calibration.calibrator.kind != "none",
        "method": calibration.calibrator.kind,
        "rows": calibration.n,
        "fitted_on": calibration.fingerprint,
        "label_sets": {"method": sets.kind, "coverage": 1 - sets.alpha} if sets else None,
    }


# Below its helpers: `ingress` copies the class with what it finds in the module at this point.
api = speak_openai(FastAPI(title="Mobula", openapi_url=None))


@ray_serve.ingress(api)
class ClassifyServer:
    """Turns requests into texts and scores into answers. Knows nothing of torch."""

    def __init__(
        self, path: str, card: dict[str, Any], serve: ServeConfig, device: str, engine: type = Classifier
    ) -> None:
        self._classifier = engine(path, device)
        self._card, self._timeout_s = card, serve.request_timeout_s
        self._calibration = described(getattr(self._classifier, "calibration", None))
        batching: Any = self._score
        batching.set_max_batch_size(serve.max_batch_size)
        batching.set_batch_wait_timeout_s(serve.batch_wait_timeout_s)

    @api.get("/v1/models")
    async def models(self) -> dict[str, Any]:
        """What is served here."""
        return {"object": "list", "data": [self._card]}

    @api.get("/v1/models/{model:path}")
    async def model(self, model: str) -> dict[str, Any]:
        """The card of the model."""
        self._check_model(model)
        return self._card

    @api.post("/v1/classify")
    async def classify(self, body: ClassifyRequest) -> dict[str, Any]:
        """Label and probabilities of each text, in the order of the request."""
        self._check_model(body.model)
        texts = checked_texts(body.input)
        scored = await asyncio.gather(*(self._score(text) for text in texts))
        return {
            "id": f"classify-{uuid.uuid4().hex}",
            "object": "list",
            "created": int(time.time()),
            "model": self._card["id"],
            "data": [answer(index, row, self._classifier.labels) for index, row in enumerate(scored)],
            "calibration": self._calibration,
            "usage": {"prompt_tokens": (total := sum(row.num_tokens for row in scored)), "total_tokens": total},
        }

    @api.post("/tokenize")
    async def tokenize(self, body: TokenizeRequest) -> dict[str, Any]:
        """Token ids that the model sees for a text."""
        self._check_model(body.model)
        tokens = self._classifier.tokenize(body.prompt)
        return {"tokens": tokens, "count": len(tokens), "max_model_len": self._classifier.max_length}

    @ray_serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def _score(self, texts: list[str]) -> list[Scored]:
        return await asyncio.to_thread(self._classifier, texts)

    def _check_model(self, model: str | None) -> None:
        if model not in (None, self._card["id"]):
            raise unknown_model(model, [self._card["id"]])


def build(folder: ModelFolder, serve: ServeConfig, name: str, gpu: bool, engine: type | None = None) -> Any:
    """The Serve application for `folder` under the model name `name`.

    Args:
        engine: class with the classifier's interface, in place of the folder's own model.
    """
    card = model_card(folder, name, {"kind": folder.kind, "labels": folder.labels})
    deployment: Any = ray_serve.deployment(
        ClassifyServer,
        name="Classify",
        num_replicas=serve.num_replicas,
        max_ongoing_requests=1000,
        max_surge_percent=100,  # an update starts the new replica before it stops the old one
        max_constructor_retry_count=1,  # a model that cannot load says so at once
        ray_actor_options={"num_cpus": 1, "num_gpus": 1 if gpu else 0},
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    device = "cuda" if gpu else "cpu"
    return deployment.bind(str(folder.path.absolute()), card, serve, device, engine or Classifier)
