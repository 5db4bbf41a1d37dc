"""`card:` what the model card says that no run can know."""

from pydantic import Field

from cluster.config.base import Config


class CardConfig(Config):
    """Words for the model card (`README.md` of the model folder). What is empty is said to be unknown, or left out."""

    license: str | None = None
    """Licence of the model as the Hub names it, such as `apache-2.0`. Default: that of the base model, where its folder's
    card tells it."""
    language: list[str] = Field(default_factory=list)
    """Languages of the model, as codes such as `en`."""
    intended_use: str | None = None
    """What it is for. Default: what its task says."""
    out_of_scope: str | None = None
    """What it must not be used for, in addition to the usual."""
    limits: str | None = None
    """Known weaknesses and biases, in addition to what the scores show."""
    authors: list[str] = Field(default_factory=list)
    """Who made it, for the citation."""
    citation: str | None = None
    """How to cite it, in place of the entry that is made from name, authors and date."""
    contact: str | None = None
    """Whom to ask."""
