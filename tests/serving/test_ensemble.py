"""An ensemble behind `/v1/classify`."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from serving.deploy import deploy
from serving.ensemble import EnsembleClassifier
from tests.serving.tiny_models import TEXTS
from tests.trainers.ensembles.made import classifiers, ensemble_of
from trainers.ensembles.folder import EnsembleFolder, folder_fingerprint
from trainers.ensembles.spec import EnsembleSpec, Member
from trainers.folder import ModelFolder


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> EnsembleFolder:
    path = tmp_path_factory.mktemp("ensemble")
    return ensemble_of(path / "desk", classifiers(path), "soft_vote", {"weights": [0.5, 0.25, 0.25]})


def expected(ensemble: EnsembleFolder) -> list[list[float]]:
    import torch

    given = ensemble.tokenizer()(TEXTS, padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.inference_mode():
        found: list[list[float]] = ensemble.load()(**given).logits.softmax(-1).tolist()
    return found


def test_members_in_one_process_answer_as_the_mixed_module(ensemble) -> None:
    for scored, row in zip(EnsembleClassifier(ensemble.path)(TEXTS), expected(ensemble), strict=True):
        assert scored.probabilities == pytest.approx(row, abs=1e-5)
        parts = scored.uncertainty
        assert parts["entropy"] == pytest.approx(parts["aleatoric"] + parts["epistemic"])


def test_passes_of_dropout_share_one_model(tmp_path: Path) -> None:
    [one] = classifiers(tmp_path, 1)
    folder = ensemble_of(tmp_path / "e", [one], "soft_vote", {"weights": [1]})
    members = [Member(f"pass-{seed}", str(one.path), folder_fingerprint(one), 0, seed) for seed in (1, 2, 3)]
    EnsembleSpec("classification", one.labels, members, "soft_vote", {"weights": [1, 1, 1]}).write(folder.path)
    classifier = EnsembleClassifier(str(folder.path))
    assert len({id(found) for found, _ in classifier._members.classifiers}) == 1
    first, again = classifier(TEXTS), classifier(TEXTS)
    assert first == again
    assert max(row.uncertainty["epistemic"] for row in first) > 0


def test_members_answer_side_by_side_on_serve(ray_cluster, ensemble, serve_config) -> None:
    endpoint = deploy(ensemble, serve_config.model_copy(update={"engine_kwargs": {}}), "desk")
    try:
        from ray import serve

        deployments = serve.status().applications[endpoint.app_name].deployments
        assert {"Member-0", "Member-1", "Member-2", "Classify"} <= set(deployments)
        client = openai.OpenAI(base_url=endpoint.api_url, api_key="none", max_retries=0)
        answer = client.post("/classify", body={"input": TEXTS}, cast_to=object)
        for row, probabilities in zip(answer["data"], expected(ensemble), strict=True):
            assert list(row["probabilities"].values()) == pytest.approx(probabilities, abs=1e-5)
            assert set(row["uncertainty"]) == {"entropy", "aleatoric", "epistemic", "disagreement"}
    finally:
        endpoint.shutdown()


def test_an_ensemble_is_listed_as_what_it_is(ensemble) -> None:
    assert ModelFolder.open(ensemble.path).kind == "classification"
