"""The harness at work, in a task of the cluster: it changes folder, environment and logging of its process."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from cluster.config.load import nearest
from cluster.exceptions import ConfigError, DataError, ModelFolderError, ResourceError, UserError
from trainers.evaluation.harness.settings import HarnessModel, HarnessSettings

BOOTSTRAP_ITERATIONS = 1_000
"""For the standard errors of metrics that are no means."""
QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_SHOWN = 300


def run_tasks(model: HarnessModel, settings: HarnessSettings, num_threads: int, cache: str | None) -> dict[str, Any]:
    """What `lm_eval.simple_evaluate` gives, its samples included.

    Args:
        cache: file beside which answers are kept while it runs, from which a run that was killed goes on.

    Raises:
        ConfigError: for a task that there is not, or that this model cannot be asked.
        DataError: for a task whose data cannot be loaded.
        ModelFolderError, ResourceError: for a model that cannot be loaded, or an endpoint that stops answering.
    """
    import lm_eval
    import torch

    _prepare(model, num_threads)
    cuda = torch.cuda.is_available()
    names, manager = _tasks(settings)
    if settings.tasks_folder is not None:
        os.chdir(settings.tasks_folder)  # where relative paths of data start
    tasks = _loaded(manager, names)
    try:
        found = lm_eval.simple_evaluate(
            model=model.kind,
            model_args=model.args | _tokenizer_args(model, settings, tasks),
            tasks=names,
            num_fewshot=settings.num_fewshot,
            batch_size=settings.batch_size if model.kind == "hf" else 1,
            device="cuda" if cuda else "cpu",
            use_cache=cache,
            limit=settings.limit,
            bootstrap_iters=BOOTSTRAP_ITERATIONS,
            system_instruction=model.system,
            apply_chat_template=settings.chat_template,
            gen_kwargs={"max_gen_toks": settings.max_new_tokens} if settings.max_new_tokens else None,
            task_manager=manager,
        )
    except Exception as error:  # its models raise whatever their libraries do; ours pass as they are
        raise _explained(error, model) from error
    assert found is not None  # only other ranks than the first get nothing
    return dict(found)


def _prepare(model: HarnessModel, num_threads: int) -> None:
    import torch

    for name in ("lm_eval", "lm-eval", "datasets", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(num_threads)
    if model.api_key is not None:  # as an argument of the model it would be shown beside the results
        os.environ["OPENAI_API_KEY"] = model.api_key


def _tasks(settings: HarnessSettings) -> tuple[list[str], Any]:
    """Names of the tasks, and the manager that has them. Reading all that the harness has takes it half a minute, so that
    it is done only where a task is not among one's own."""
    from lm_eval.tasks import TaskManager

    folder = os.path.abspath(settings.tasks_folder) if settings.tasks_folder is not None else None
    managers = [(folder, False)] if folder is not None else []
    for include, defaults in [*managers, (folder, True)]:
        manager = TaskManager(include_path=include, include_defaults=defaults)
        found = {name: manager.match_tasks([name]) for name in settings.tasks}
        if all(found.values()):
            return list(dict.fromkeys(one for names in found.values() for one in names)), manager
    missing = next(name for name, names in found.items() if not names)
    guess = nearest(missing, manager.all_tasks)
    hint = f"; did you mean {guess}?" if guess else ""
    where = f" and {settings.tasks_folder}" if settings.tasks_folder else ""
    raise ConfigError(
        f"--harness {missing}: no such task among the harness's own{where}{hint} (`lm_eval ls tasks` lists them)"
    )


def _loaded(manager: Any, names: Sequence[str]) -> dict[str, Any]:
    """The tasks with their data; kept by the manager, so that they are loaded once."""
    try:
        loaded = manager.load(list(names))
    except Exception as error:  # data sets come from anywhere: the Hub, files, scripts
        raise DataError(
            f"--harness {','.join(names)}: the task or its data cannot be loaded ({_first_line(error)}); a task of your own "
            "names local files by paths that start in --tasks-folder, others come from the Hugging Face Hub"
        ) from error
    manager.load = lambda again: loaded
    return dict(loaded["tasks"])


def _tokenizer_args(model: HarnessModel, settings: HarnessSettings, tasks: dict[str, Any]) -> dict[str, Any]:
    """Of an endpoint: how its texts are cut into tokens, which comparing likelihoods needs."""
    if model.kind == "hf":
        return {}
    compares = [name for name, task in tasks.items() if task.get_config("output_type") != "generate_until"]
    if compares and model.kind == "local-chat-completions":
        raise ConfigError(
            f"--harness {','.join(compares)}: compares the likelihoods of given answers, which chats do not tell; leave out "
            "--chat-template"
        )
    if settings.tokenizer is not None or model.kind == "local-chat-completions":
        return {}
    if not compares:
        return {"tokenizer_backend": "none"}
    from lm_eval.utils import check_remote_tokenizer_support

    if check_remote_tokenizer_support(
        model.args["base_url"], auth_token=os.environ.get("OPENAI_API_KEY"), max_retries=1
    ):
        return {"tokenizer_backend": "remote"}
    raise ConfigError(
        f"--harness {','.join(compares)}: compares likelihoods, for which the endpoint's tokenizer is needed, and it does not "
        "give it away; name the model's folder with --tokenizer"
    )


def _explained(error: Exception, model: HarnessModel) -> UserError:
    if isinstance(error, UserError):
        return error
    said = _first_line(error)
    if model.kind == "hf":
        return ModelFolderError(f"{model.name}: the harness cannot score it ({said})")
    return ResourceError(f"{model.name}: the endpoint stopped answering or refuses what the harness asks ({said})")


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "last_attempt", None)  # tenacity tells of its attempts, not of what went wrong in them
    found = cause.exception() if cause is not None and cause.failed else error
    line = (str(found).strip().splitlines() or [""])[0]
    return f"{type(found).__name__}: {line}"[:_SHOWN]
