"""Errors of the whole product, one family.

    MobulaError
    ├── UserError               what the user can mend: printed as one sentence, exit status 2
    │   ├── ConfigError         a run.yaml that cannot mean anything
    │   ├── DataError           a file or row that cannot be read
    │   ├── ModelFolderError    a model folder that lacks what its user needs
    │   ├── RegistryError       a name, version or alias that the registry does not have
    │   ├── ResourceError       more than the machine or cluster has: workers, disk, ports
    │   └── RunConflict         a run directory that belongs to another config
    ├── CheckpointError         a checkpoint that is incomplete, tampered with or of another run
    ├── DivergedError           a loss that is no number any more
    ├── WorkersOutOfSync        workers that do not compute what one would
    ├── DeployError             a model that does not come up behind its endpoint
    └── ParityError             the endpoint would not see the tokens that training saw

Every message says what was found, what was expected and what to change. They travel between Ray
processes, so each takes its message as the only argument.
"""

import re
from collections.abc import Iterator


class MobulaError(Exception):
    """Root of the family; anything else that reaches the command line is our bug."""


class UserError(MobulaError):
    """What the user can mend; the command line prints it without a traceback and exits with 2."""


class ConfigError(UserError):
    """A configuration that cannot mean anything; the message carries file and line."""


class DataError(UserError):
    """A data file or row that cannot be used; the message carries file and line."""


class ModelFolderError(UserError):
    """A model folder that lacks what its user needs (weights, tokenizer, chat template)."""


class RegistryError(UserError):
    """A name, version or alias that the registry does not have."""


class ResourceError(UserError):
    """More was asked for than there is: workers, GPUs, disk space, a port."""


class RunConflict(UserError):
    """A run directory that belongs to another configuration."""


class CheckpointError(MobulaError):
    """A checkpoint that is incomplete, altered, or belongs to another run."""


class DivergedError(MobulaError):
    """The loss is no number any more."""


class WorkersOutOfSync(MobulaError):
    """Workers whose parameters differ: they train several models instead of one."""


class DeployError(MobulaError):
    """A model that does not come up behind its endpoint."""


class ParityError(MobulaError):
    """Training and the endpoint turn the same messages into different tokens."""


def mobula_cause(error: BaseException) -> MobulaError | None:
    """Our own error inside whatever Ray wrapped around it. The user's mistake wins over what followed from it.

    What a function mapped by Ray Data raised reaches the driver as text only (Ray 2.60), whose lines name the type and
    the message; it is rebuilt from there.
    """
    found = [
        candidate
        for candidate in _carried_by(error, set())
        if isinstance(candidate, MobulaError) and not hasattr(candidate, "make_dual_exception_instance")
    ]  # Ray also raises crossings of its error with ours, whose text is a traceback; the original is inside
    found = found or _named_in(str(error))
    return next((one for one in found if isinstance(one, UserError)), found[0] if found else None)


def _carried_by(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """The error and all that it carries: Python's causes and groups, and what Ray's errors hold in their fields."""
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    carried = [*vars(error).values(), *error.args]
    carried += [one for value in carried if isinstance(value, dict) for one in value.values()]
    for one in (error.__cause__, error.__context__, *carried, *getattr(error, "exceptions", ())):
        if isinstance(one, BaseException):
            yield from _carried_by(one, seen)


def _named_in(traceback: str) -> list[MobulaError]:
    named = re.findall(rf"^{re.escape(__name__)}\.(\w+): (.+)$", traceback, re.MULTILINE)
    kinds = [(globals().get(kind), message) for kind, message in named]
    return [kind(message) for kind, message in kinds if isinstance(kind, type) and issubclass(kind, MobulaError)]
