"""The model registry: numbered versions of model folders, with the aliases `champion` and `challenger`.

It is MLflow's, so its web page and its clients see the same versions. A version is a pointer to a model folder in
storage; the files stay where the run left them. The first version of a name becomes its champion; later
ones become the challenger until somebody (or the loop) moves the alias.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.config.load import nearest
from cluster.exceptions import RegistryError
from cluster.tracking import has_records, mlflow_client

CHAMPION, CHALLENGER = "champion", "challenger"
_REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class Version:
    """One registered model folder."""

    name: str
    version: int
    folder: str
    created_unix_s: float
    aliases: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


def is_reference(text: str) -> bool:
    """Whether text names a registered version (`models:/...`) rather than a folder or run."""
    return text.startswith("models:/")


class Registry:
    """Versions recorded beside the runs of one storage folder, or at MLFLOW_TRACKING_URI."""

    def __init__(self, storage_url: str) -> None:
        self.storage_url = storage_url

    @property
    def _client(self) -> Any:
        return mlflow_client(self.storage_url)

    def register(
        self,
        name: str,
        folder: str,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        run_id: str | None = None,
    ) -> int:
        """Record a model folder as the next version and return its number."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        all_tags = {f"metric.{key}": repr(float(value)) for key, value in (metrics or {}).items()}
        all_tags |= {key: str(value) for key, value in (tags or {}).items()}
        created = self._client.create_model_version(name, folder, run_id=run_id, tags=all_tags)
        number = int(created.version)
        alias = CHALLENGER if CHAMPION in self._client.get_registered_model(name).aliases else CHAMPION
        self._client.set_registered_model_alias(name, alias, str(number))
        return number

    def resolve(self, reference: str) -> str:
        """The folder behind `models:/NAME@ALIAS` or `models:/NAME/VERSION`."""
        return self.version(reference).folder

    def version(self, reference: str) -> Version:
        """The version behind a reference; an unknown one is answered with what there is."""
        match = _REFERENCE.fullmatch(reference)
        if not match:
            raise RegistryError(
                f"{reference!r} names no version; write models:/NAME@champion, models:/NAME@ALIAS or models:/NAME/3"
            )
        name, alias, number = match["name"], match["alias"], match["version"]
        for version in self.versions(name):
            if version.version == int(number or -1) or (alias and alias in version.aliases):
                return version
        raise RegistryError(
            f"{name} has no {f'alias {alias!r}' if alias else f'version {number}'}; {self._inventory(name)}"
        )

    def names(self) -> list[str]:
        """Registered model names."""
        if not has_records(self.storage_url):
            return []  # looking is no reason to make a database
        return [model.name for model in self._client.search_registered_models(max_results=1000)]

    def versions(self, name: str) -> list[Version]:
        """All versions of a name, oldest first."""
        known = self.names()
        if name not in known:
            guess = nearest(name, known)
            listed = f"registered are {', '.join(known[:8])}" if known else "nothing is registered yet"
            raise RegistryError(
                f"no model {name!r} in the registry of {self.storage_url} ({listed})"
                f"{f'; did you mean {guess}?' if guess else '; train one, or give another --storage-path'}"
            )
        aliases = self._client.get_registered_model(name).aliases
        found = self._client.search_model_versions(f"name='{name}'", max_results=10_000)
        return sorted((_version(one, aliases) for one in found), key=lambda version: version.version)

    def set_alias(self, name: str, version: int, alias: str) -> None:
        """Point an alias at a version, moving it away from the one that had it. A new champion challenges no more."""
        known = {one.version: one for one in self.versions(name)}
        if version not in known:
            raise RegistryError(f"{name} has no version {version}; {self._inventory(name)}")
        if not re.fullmatch(r"[A-Za-z][\w-]*", alias) or re.fullmatch(r"v\d+", alias, re.IGNORECASE):
            raise RegistryError(
                f"alias {alias!r} must be a word that starts with a letter and is not like v3; "
                "champion takes traffic, challenger may"
            )
        self._client.set_registered_model_alias(name, alias, str(version))
        if alias == CHAMPION and CHALLENGER in known[version].aliases:
            self._client.delete_registered_model_alias(name, CHALLENGER)

    def _inventory(self, name: str) -> str:
        described = [
            " ".join([str(one.version), *(f"({alias})" for alias in one.aliases)]) for one in self.versions(name)
        ]
        return f"it has versions {', '.join(described[-8:])}"


def _version(found: Any, aliases: Mapping[str, str]) -> Version:
    metrics = {
        key.removeprefix("metric."): float(value) for key, value in found.tags.items() if key.startswith("metric.")
    }
    return Version(
        name=found.name,
        version=int(found.version),
        folder=found.source,
        created_unix_s=found.creation_timestamp / 1000,
        aliases=sorted(alias for alias, version in aliases.items() if int(version) == int(found.version)),
        tags={key: value for key, value in found.tags.items() if not key.startswith("metric.")},
        metrics=metrics,
    )
