"""A judge in the cluster: a model of random weights, held to the form of its answer, on vLLM. Its start takes a minute."""

import pytest

from cluster.config import JudgeConfig
from tests.serving.tiny_models import tiny_causal_folder
from trainers.evaluation import Prediction
from trainers.evaluation.judge import annotate

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_a_model_in_the_cluster_judges_in_the_form_that_it_is_held_to(tmp_path):
    folder = tiny_causal_folder(tmp_path / "judge", max_position_embeddings=4096)
    engine = {"kind": "vllm", "model": str(folder), "kv_cache_gib": 0.1, "max_model_len": 4096}
    engine["engine_kwargs"] = {"enforce_eager": True}  # compiling takes longer than all the rest
    rubric = {"criteria": [{"name": "help", "description": "Does it help?"}]}
    config = JudgeConfig.model_validate({"engine": engine, "rubric": rubric, "pairwise": {}, "reasons": False})
    rows = [Prediction(f"rows:{at}", "refund", output, prompt="?") for at, output in enumerate(["refund", "order"])]
    notes = annotate(rows, config)
    assert [note["judge_asked"] for note in notes] == [3, 3]
    assert [note["judge_nonsense"] + note["judge_missing"] for note in notes] == [0, 0]
    assert all(note["judge.help"] in range(1, 6) and note["judge_win"] in (0.0, 0.5, 1.0) for note in notes)
