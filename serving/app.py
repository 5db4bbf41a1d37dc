"""Which Serve application stands behind which kind of model folder."""

from typing import Any

from cluster.config import ServeConfig
from trainers.ensembles.folder import EnsembleFolder
from trainers.folder import ModelFolder


def _causal(folder: ModelFolder, serve: ServeConfig, name: str, gpu: bool, engine: type | None) -> Any:
    from serving import causal

    return causal.build(folder, serve, name, gpu, engine)


def _classification(folder: ModelFolder, serve: ServeConfig, name: str, gpu: bool, engine: type | None) -> Any:
    from serving import classify

    return classify.build(folder, serve, name, gpu, engine)


BUILDERS = {"causal_lm": _causal, "classification": _classification}
"""Kind of folder -> builder of its application."""


def build_app(folder: ModelFolder, serve: ServeConfig, name: str, *, gpu: bool, engine: type | None = None) -> Any:
    """The Serve application that answers for `folder` under the model name `name`.

    Args:
        gpu: give each replica a GPU.
        engine: what computes the answers, in place of vLLM or the folder's classifier.
    """
    if isinstance(folder, EnsembleFolder):
        from serving import ensemble

        return ensemble.build(folder, serve, name, gpu, engine)
    return BUILDERS[folder.kind](folder, serve, name, gpu, engine)
