"""Stages that make more training rows out of those there are. Validation and test rows pass by, by type."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from cluster.config.engine import EngineConfig
from cluster.config.stages.base import Role, TrainOnlyStage


class Augment(TrainOnlyStage):
    """What every augmenting stage has: the original row stays, and changed copies of it follow.

    A copy that equals the original or another copy of it is drawn again a few times and then left out.
    """

    copies: int = Field(default=1, ge=1)
    """Rows made of each chosen row."""
    share: float = Field(default=1.0, gt=0.0, le=1.0)
    """Probability that a row is chosen."""
    labels: list[str] = Field(default_factory=list)
    """Choose only rows of these classes."""
    where: dict[str, Any] = Field(default_factory=dict)
    """Choose only rows with these values, as `column: value` or `column: [values]`; notes of earlier stages count as columns."""
    roles: list[Role] = Field(default=["user", "text", "prompt"], min_length=1)
    """Which texts of a row are changed. Answers stay as they are unless `assistant` or `completion` is named."""
    chain: bool = False
    """Choose also rows that an earlier stage made by augmentation; otherwise several stages each start from the originals."""


class NoiseStage(Augment):
    """Random mistakes: words left out, moved or repeated (EDA, Wei and Zou 2019), typing and scanning errors, other case and format.

    Negations (`not`, `never`, ...) are neither left out nor misspelt, since without them a text says the opposite.
    """

    kind: Literal["noise"] = "noise"
    delete: float = Field(default=0.05, ge=0.0, lt=1.0)
    """Share of words that are left out."""
    swap: float = Field(default=0.05, ge=0.0, le=1.0)
    """Share of words that change places with the next one."""
    insert: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of words after which another word of the text is said again."""
    typos: float = Field(default=0.02, ge=0.0, le=1.0)
    """Share of letters mistyped: the neighbour on a QWERTY keyboard, a letter left out, doubled or in the wrong order."""
    ocr: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of characters that a scanner confuses, such as `l` and `1` or `rn` and `m`."""
    case: float = Field(default=0.0, ge=0.0, le=1.0)
    """Probability that a text becomes lower case, upper case or begins without a capital."""
    format: float = Field(default=0.0, ge=0.0, le=1.0)
    """Probability that a text loses or changes its final punctuation, its commas or its spacing."""
    truncate: float = Field(default=0.0, ge=0.0, le=1.0)
    """Probability that a text breaks off in its second half."""

    @model_validator(mode="after")
    def something_is_changed(self) -> Self:
        rates = ("delete", "swap", "insert", "typos", "ocr", "case", "format", "truncate")
        if not any(getattr(self, name) for name in rates):
            raise ValueError(f"all rates are 0, so nothing would be changed; set one of {', '.join(rates)}")
        return self


class SynonymsStage(Augment):
    """Some words replaced by others that mean much the same: from a thesaurus, or near in a model's space of words.

    Function words (`the`, `would`, ...), numbers and negations stay.
    """

    kind: Literal["synonyms"] = "synonyms"
    thesaurus: str | None = None
    """File with the columns `word` and `synonyms` (a list, or text parted by `|`), or a folder with the database files of
    WordNet (`index.noun` and so on), whose first sense of a word counts."""
    model: str | None = None
    """Folder, `pkg://` or Hub id of an encoder: the words nearest to a word in its table of token embeddings are taken."""
    rate: float = Field(default=0.15, ge=0.0, le=1.0)
    """Share of words that are replaced."""
    insert: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of words before which a synonym of them is said as well."""
    neighbours: int = Field(default=5, ge=1)
    """With `model`: how many of the nearest words may be drawn."""
    min_similarity: float = Field(default=0.5, ge=0.0, lt=1.0)
    """With `model`: least cosine between a word and what replaces it."""

    @model_validator(mode="after")
    def one_source_of_synonyms(self) -> Self:
        if (self.thesaurus is None) == (self.model is None):
            raise ValueError("synonyms come from one source; set either thesaurus or model")
        if not self.rate and not self.insert:
            raise ValueError("rate and insert are both 0, so nothing would be changed; set one of them")
        return self


class EntitySwapStage(Augment):
    """Names replaced by other names of their type, from a table: the same other name wherever a name stands in the row.

    A name that also stands in a text of another role is left alone, so that question and answer go on agreeing.
    """

    kind: Literal["entity_swap"] = "entity_swap"
    table: str = Field(min_length=1)
    """File with the columns `entity` and `type`."""
    rate: float = Field(default=1.0, gt=0.0, le=1.0)
    """Share of the names found that are replaced."""


class FactsStage(Augment):
    """What is known of an entity said beside the text that mentions it: fact injection."""

    kind: Literal["facts"] = "facts"
    table: str = Field(min_length=1)
    """File with the columns `entity` and `fact`, one fact a row."""
    position: Literal["before", "after"] = "after"
    """Where facts stand: before the text or after it."""
    most: int = Field(default=1, ge=1)
    """Most facts in one text; of more, some are drawn."""
    separator: str = " "
    """What stands between text and facts."""


class ContextStage(Augment):
    """A related sentence put beside a text: one of those that share most with it, by TF-IDF of their words."""

    kind: Literal["context"] = "context"
    sentences: str = Field(min_length=1)
    """Text file with one sentence a line, or a table with the column `text`. With a column `label` too, a row only gets
    sentences of its own class."""
    position: Literal["before", "after"] = "before"
    """Where the sentence stands: before the text or after it."""
    neighbours: int = Field(default=5, ge=1)
    """How many of the nearest sentences may be drawn."""
    min_similarity: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Least cosine between text and sentence."""
    separator: str = " "
    """What stands between text and sentence."""


class MaskedLmStage(Augment):
    """Some words replaced by what a masked language model, such as BERT, expects in their place: contextual replacement.

    Function words, numbers and negations stay. A model that does not know the label may well say the opposite: put a
    `meaning_guard` behind it.
    """

    kind: Literal["masked_lm"] = "masked_lm"
    model: str = Field(min_length=1)
    """Folder, `pkg://` or Hub id of a masked language model."""
    rate: float = Field(default=0.15, gt=0.0, le=1.0)
    """Share of words that are replaced; at least one is."""
    top_k: int = Field(default=10, ge=1)
    """So many of the likeliest words may be drawn, each with its probability."""


TextStage = NoiseStage | SynonymsStage | EntitySwapStage | FactsStage | ContextStage | MaskedLmStage
"""The kinds that change a copy's texts."""


class PolicyStage(Augment):
    """A mix of augmenting stages as one: each copy is made by one of them, by some, or by all in turn."""

    kind: Literal["policy"] = "policy"
    choose: Literal["one", "some", "all"] = "one"
    """Who makes a copy: `one` stage, drawn with the stages' `share` as weights; `some`, each with its `share` as
    probability, in the order of the list; or `all`."""
    stages: list[Annotated[TextStage, Field(discriminator="kind")]] = Field(min_length=1)
    """The stages to choose from. Their `labels`, `where` and `roles` hold; `copies` and `chain` are said here, outside."""

    @model_validator(mode="after")
    def copies_are_said_once(self) -> Self:
        for stage in self.stages:
            if stage.copies != 1 or stage.chain:
                raise ValueError(
                    f"copies or chain of {stage.kind} inside the policy has no meaning; set it on the policy"
                )
            if self.choose == "all" and stage.share != 1.0:
                raise ValueError(
                    f"choose=all leaves no choice, and {stage.kind} has share={stage.share:g}; use choose: some"
                )
        return self


class GenerateStage(Augment):
    """New rows written by a language model: paraphrases, translations there and back, made-up rows of the same class.

    For each copy one of the row's texts is drawn and rewritten. Empty answers and copies of what is there already are
    rejected and counted.
    """

    kind: Literal["generate"] = "generate"
    mode: Literal["paraphrase", "back_translation", "synthesise", "template"] = "paraphrase"
    """What the model is asked for: the same in other words; the text in `language` and then back; another text of the
    same class, with this one as its example; or what `prompt` says."""
    prompt: str | None = None
    """With `mode: template`: the request, in which `{text}` and `{label}` stand for the row's own."""
    language: str = "German"
    """With `mode: back_translation`: the language in between."""
    from_language: str = "English"
    """With `mode: back_translation`: the language of the rows."""
    system: str | None = None
    """System message of each request."""
    engine: EngineConfig
    """Who writes."""
    temperature: float = Field(default=0.8, ge=0.0)
    """Spread of what is drawn; at 0 every copy of a row would be the same."""
    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    """Draw from the likeliest words that make up so much of the probability."""
    max_tokens: int = Field(default=256, ge=1)
    """Longest answer, in tokens."""

    @model_validator(mode="after")
    def requests_make_sense(self) -> Self:
        if (self.mode == "template") != (self.prompt is not None):
            raise ValueError(f"prompt is for mode=template, and mode is {self.mode}; set both or neither")
        if not self.temperature and self.copies > 1:
            raise ValueError(
                f"temperature=0 makes all copies of a row the same, and copies is {self.copies}; raise temperature"
            )
        if self.prompt is not None and "{text}" not in self.prompt:
            raise ValueError(
                "prompt has no {text}, so every row would be asked the same; put {text} where its text belongs"
            )
        return self


class MeaningGuardStage(TrainOnlyStage):
    """Rejects augmented rows that no longer say what their original says, or are of another class. Originals pass by."""

    kind: Literal["meaning_guard"] = "meaning_guard"
    min_similarity: float = Field(default=0.5, ge=0.0, le=1.0)
    """Least cosine between a row and its original; 0 leaves this check out. Rows that a model made up are compared with nothing."""
    model: str | None = None
    """Folder, `pkg://` or Hub id of a sentence encoder, whose token vectors are averaged. Empty: counts of the letters
    that stand together (2 to 4), which see misspellings and missing words, but not that two words mean the same."""
    classifier: str | None = None
    """Folder of a classification model of ours: rows that it puts into another class than their label are rejected."""
    min_probability: float = Field(default=0.0, ge=0.0, lt=1.0)
    """With `classifier`: least probability that it gives to the label."""
    roles: list[Role] = Field(default=["user", "text", "prompt"], min_length=1)
    """Which texts of a row are compared."""

    @model_validator(mode="after")
    def something_is_checked(self) -> Self:
        if not self.min_similarity and self.classifier is None:
            raise ValueError(
                "min_similarity is 0 and no classifier is named, so nothing would be checked; set one of them"
            )
        return self


AugmentStage = TextStage | PolicyStage | GenerateStage | MeaningGuardStage
"""The kinds that make rows, and the guard over what they made."""
