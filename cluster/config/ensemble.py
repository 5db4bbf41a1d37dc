"""`ensemble:` which models answer together, how they are made, and how their answers become one."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from cluster.config.base import Config, with_default_kind
from cluster.config.source import Entries


class Seeds(Config):
    """The run of this file several times, `train.seed` counted up: another order of rows, another dropout, another head."""

    kind: Literal["seeds"] = "seeds"
    count: int = Field(default=5, ge=2)
    """Members to train."""


class Bagging(Config):
    """The run of this file on rows drawn with replacement for each member (Breiman 1996)."""

    kind: Literal["bagging"] = "bagging"
    count: int = Field(default=5, ge=2)
    """Members to train."""
    share: float = Field(default=1.0, gt=0.0, le=1.0)
    """Rows drawn for a member, as a share of all."""


class Boosting(Config):
    """One run after the other, each on rows weighted by what those before it got wrong (AdaBoost SAMME, Zhu et al. 2009).

    For classifiers. It ends early where a member is no better than chance, or right on every training row.
    """

    kind: Literal["boosting"] = "boosting"
    count: int = Field(default=5, ge=2)
    """Members to train at most."""


class Folds(Config):
    """The run of this file once for each fold, which it does not learn from (cross-validation committee).

    Each training row then has predictions of a model that never saw it, which `stacking` learns from.
    """

    kind: Literal["folds"] = "folds"
    count: int = Field(default=5, ge=2)
    """Folds, and so members."""


class Snapshots(Config):
    """One run of this file, whose last checkpoints are the members (Huang et al. 2017)."""

    kind: Literal["snapshots"] = "snapshots"
    count: int = Field(default=3, ge=2)
    """Checkpoints, the latest ones; they lie `train.save_steps` apart."""


Trained = Annotated[
    Annotated[Seeds | Bagging | Boosting | Folds | Snapshots, Field(discriminator="kind")],
    BeforeValidator(with_default_kind("seeds")),
]


class Automatic(Config):
    """Whichever of soft and logarithmic votes, learned weights, greedy selection and logistic stacking has the best score in
    cross-validation over the validation rows. Causal models: `token_mean`."""

    kind: Literal["auto"] = "auto"
    metric: Literal["accuracy", "loss"] = "accuracy"
    """What the best one is best at; ties are settled by the loss."""


class SoftVote(Config):
    """The weighted mean of the members' probabilities."""

    kind: Literal["soft_vote"] = "soft_vote"
    weights: Literal["uniform", "score", "learned"] = "uniform"
    """The same for all, by how far each is above chance on the validation rows, or those with the lowest loss there."""
    space: Literal["probabilities", "log_probabilities"] = "probabilities"
    """What the mean is of."""


class MajorityVote(Config):
    """The class that most members put first."""

    kind: Literal["majority_vote"] = "majority_vote"
    weights: Literal["uniform", "score"] = "uniform"
    """One vote each, or votes that weigh the log-odds of the member's accuracy on the validation rows."""


class Greedy(Config):
    """Members are added one by one, with repetition, whichever helps most on the validation rows (Caruana et al. 2004)."""

    kind: Literal["greedy"] = "greedy"
    rounds: int = Field(default=25, ge=1)
    """Additions; the best prefix is taken."""
    metric: Literal["accuracy", "loss"] = "loss"
    """What an addition is to help; accuracy is settled by loss where it ties."""
    bags: int = Field(default=10, ge=1)
    """Selections over random halves of the members, whose counts are added up, against over-fitting; 1 selects from all once."""


class Stacking(Config):
    """A second model over the members' answers (Wolpert 1992), fitted on rows that the members did not learn from."""

    kind: Literal["stacking"] = "stacking"
    model: Literal["logistic", "boosted"] = "logistic"
    """Multinomial logistic regression, or gradient-boosted trees over what members say of a class."""
    folds: int = Field(default=5, ge=2)
    """Folds in which strength is chosen and the score is measured."""


class RouterRule(Config):
    """One member answers each text: the one that was best at texts like it on the validation rows."""

    kind: Literal["router"] = "router"
    by: Literal["centroid", "classifier"] = "centroid"
    """The member whose texts lie nearest on average, or a logistic regression over words."""
    dimensions: int = Field(default=1024, ge=16)
    """Numbers that the words of a text are hashed into."""


class Soup(Config):
    """One model whose weights are a mean of the members' (Wortsman et al. 2022): no slower than a single one.

    For members of one architecture that were fine-tuned from the same weights.
    """

    kind: Literal["soup"] = "soup"
    how: Literal["uniform", "greedy", "learned"] = "greedy"
    """All alike; those that help on the validation rows, tried from the best on; or shares with the lowest loss there."""


class LoraMerge(Config):
    """One LoRA adapter out of several on the same base, by PEFT's `add_weighted_adapter`."""

    kind: Literal["lora_merge"] = "lora_merge"
    how: Literal[
        "linear", "cat", "svd", "ties", "ties_svd", "dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd"
    ] = "linear"
    """PEFT's `combination_type`. `cat` keeps each update whole, and its rank is the sum of theirs."""
    weights: list[float] | None = None
    """Of each member. Default: the same for all, 1 in sum."""
    density: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of the entries that `ties` and `dare` keep."""


class TokenMean(Config):
    """Causal models of one tokenizer write together: each token is drawn from the mean of their distributions."""

    kind: Literal["token_mean"] = "token_mean"
    space: Literal["probabilities", "log_probabilities"] = "probabilities"
    """What the mean is of."""


class BestOfN(Config):
    """A causal model writes several answers, and a reward says which is given."""

    kind: Literal["best_of_n"] = "best_of_n"
    n: int = Field(default=4, ge=2)
    """Answers to each question, over all members."""
    temperature: float = Field(default=0.8, gt=0.0)
    """How freely they are drawn."""
    reward: str = Field(min_length=1)
    """Folder of a classifier that reads question and answer, or `package.module:function` from a list of questions and a
    list of answers to a list of numbers."""
    good_label: str | None = None
    """Label of the reward model whose probability is the reward. Default: the last one."""


class McDropout(Config):
    """One model several times with dropout on (Gal and Ghahramani 2016): how far its answers spread tells what it does not know."""

    kind: Literal["mc_dropout"] = "mc_dropout"
    passes: int = Field(default=10, ge=2)
    """Forward passes for each text."""


Rule = Annotated[
    Annotated[
        Automatic
        | SoftVote
        | MajorityVote
        | Greedy
        | Stacking
        | RouterRule
        | Soup
        | LoraMerge
        | TokenMean
        | BestOfN
        | McDropout,
        Field(discriminator="kind"),
    ],
    BeforeValidator(with_default_kind("auto")),
]


class EnsembleConfig(Config):
    name: str | None = Field(default=None, max_length=63)
    """Name of the ensemble's run directory and in the registry. Default: the name of this file's run with `-ensemble`."""
    members: list[str] = Field(default_factory=list)
    """Run directories, model folders, versions (`models:/NAME@ALIAS`), or study folders. Default: what `train` makes, or
    the study of this file's `tune` section."""
    top: int = Field(default=5, ge=1)
    """Of a study so many of its best trials; their checkpoints are there if `tune.keep` was as many."""
    train: Trained | None = None
    """Members to be trained first from this file."""
    combine: Rule = Automatic()
    """How answers become one."""
    validation: Entries | None = None
    """Rows that weights and members are chosen on. Default: the validation rows of this file's run."""
    copy_members: bool = True
    """Put the members' files into the ensemble's folder, so that it can be moved; else it names where they lie."""

    @model_validator(mode="after")
    def boosting_votes(self) -> Self:
        if isinstance(self.train, Boosting) and self.combine.kind not in ("auto", "majority_vote", "soft_vote"):
            raise ValueError(
                f"combine={self.combine.kind} and train=boosting: boosting weighs votes by its own weights; leave combine out"
            )
        return self
