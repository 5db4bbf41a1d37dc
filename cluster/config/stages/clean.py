"""Stages that mend texts and leave out rows that nobody should learn from."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from cluster.config.base import Config
from cluster.config.stages.base import Role, StageConfig

PiiKind = Literal["email", "phone", "credit_card", "iban", "ip_address", "us_ssn", "url_credentials", "api_key"]
QualityRule = Literal[
    "words",
    "word_length",
    "symbols",
    "alphabetic_words",
    "stop_words",
    "bullet_lines",
    "ellipsis_lines",
    "short_lines",
    "line_endings",
    "repeated_lines",
    "top_ngram",
    "repeated_ngrams",
]


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error})") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_regular_expression)]
_LEARNT: list[Role] = ["assistant", "completion", "chosen"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Clean(StageConfig):
    """A stage that looks at the texts of a row."""

    roles: list[Role] | None = Field(default=None, min_length=1)
    """Texts of which roles it looks at, such as `[assistant]`. Empty: all."""


class UnicodeStage(Clean):
    """Repairs characters: mojibake (`cafÃ©`), letters of another script that look the same, several ways to write one letter.

    Texts in other scripts stay as they are: a look-alike is replaced only inside a word that mixes two scripts, and only
    if that leaves the word in one script.
    """

    kind: Literal["unicode"] = "unicode"
    mojibake: bool = True
    """Undo UTF-8 that was read as another encoding."""
    look_alikes: bool = True
    """Replace look-alike letters, such as a Cyrillic `а` in `pаypal`."""
    form: Literal["NFC", "NFKC"] | None = "NFC"
    """Normal form of Unicode; NFKC also replaces ligatures, full-width letters and superscripts. Empty: leave as it is."""


class WhitespaceStage(Clean):
    """Removes what is not seen: control and zero-width characters, runs of spaces, odd line ends, spaces at line ends.

    Indented lines and code between ``` fences keep their spaces; joiners that emoji and scripts need stay.
    """

    kind: Literal["whitespace"] = "whitespace"
    keep_indentation: bool = True
    """Keep the spaces of indented lines and fenced code."""
    max_blank_lines: int = Field(default=2, ge=0)
    """Blank lines in a row that stay."""


class BoilerplateStage(Clean):
    """Removes lines that websites and mailers put around a text: cookie notices, navigation, unsubscribe links, spam links.

    Only whole lines go. A row of which little is left is rejected.
    """

    kind: Literal["boilerplate"] = "boilerplate"
    patterns: list[Pattern] = Field(default_factory=list)
    """Regular expressions of more lines to remove; each must match a whole line, whatever its case."""
    builtin: bool = True
    """Use the built-in list as well."""
    min_share_left: Share = 0.3
    """Reject a row of whose text less than this share is left."""

    @model_validator(mode="after")
    def there_is_something_to_remove(self) -> Self:
        if not self.builtin and not self.patterns:
            raise ValueError("builtin=false and no patterns, so no line would be removed; give patterns")
        return self


class TruncatedStage(Clean):
    """Finds answers that break off: an open code fence, bracket or quotation, a last word that nothing may end on, no full stop."""

    kind: Literal["truncated"] = "truncated"
    roles: list[Role] | None = Field(default=_LEARNT, min_length=1)
    """Which texts are looked at. Rejected answers of preference pairs may break off: that may be why they were rejected."""
    checks: list[Literal["fence", "bracket", "quotation", "last_word", "ending"]] = Field(
        default=["fence", "bracket", "quotation", "last_word", "ending"], min_length=1
    )
    """What counts: an open code fence; an open bracket or quotation in the last paragraph; an end on a comma or on a
    word such as `and` or `because`; a long text without a final punctuation mark."""
    min_characters: int = Field(default=200, ge=0)
    """Shorter texts may end without punctuation."""
    action: Literal["reject", "note"] = "reject"
    """Reject the row, or only note `truncated`."""


class MissingStage(Clean):
    """Finds texts, labels and columns that are empty or hold a placeholder such as `N/A`: the row is rejected, or the gap filled.

    An empty text beside tool calls is none missing.
    """

    kind: Literal["missing"] = "missing"
    columns: list[str] = Field(default_factory=list)
    """Other columns of the source rows that must hold something."""
    placeholders: list[str] = Field(
        default=["n/a", "#n/a", "nan", "null", "nil", "undefined", "todo", "tbd", "fixme", "xxx", "???",
                 "[deleted]", "[removed]", "<no input>", "<noinput>", "<no output>", "<nooutput>"]
    )  # fmt: skip
    """Texts that stand for nothing, whatever their case and the punctuation around them. `none`, `-` and `...` are not
    among them, since they may be answers."""
    contains: list[str] = Field(default=["lorem ipsum dolor"])
    """A text with one of these in it counts as missing."""
    fill: dict[str, str] = Field(default_factory=dict)
    """What to put where something is missing, as `role: text` or `column: value`; rows lacking anything else are rejected."""


class LanguageStage(Clean):
    """Tells the language of each row, notes it as `language`, and rejects rows in other languages than those to keep.

    py3langid knows 140 languages by their ISO 639 codes; its model lies in the package. Code, links and numbers are not
    looked at. Short texts and doubtful ones are noted as `und` (undetermined) and kept.
    """

    kind: Literal["language"] = "language"
    keep: list[str] | None = Field(default=None, min_length=1)
    """Codes of the languages to keep, such as `[en, de]`. Empty: reject none."""
    candidates: list[str] | None = Field(default=None, min_length=2)
    """Tell only these languages apart, which is surer for short texts when no others occur. Empty: all."""
    min_confidence: Share = 0.6
    """Below this the language is undetermined."""
    min_characters: int = Field(default=20, ge=0)
    """Shorter texts are undetermined."""

    @model_validator(mode="after")
    def kept_languages_can_be_found(self) -> Self:
        lost = set(self.keep or ()) - set(self.candidates or self.keep or ())
        if lost:
            raise ValueError(f"keep names {', '.join(sorted(lost))}, which candidates does not; add them there")
        return self


class QualityStage(Clean):
    """Rules of thumb for texts worth learning from, in the style of Gopher and FineWeb; notes `quality`.

    The note holds `score`, the share of rules that the row passes, and `failed`, the rules that it does not. A row that
    fails any is rejected. Thresholds that are not set are those of the preset.
    """

    kind: Literal["quality"] = "quality"
    preset: Literal["auto", "document", "chat"] = "auto"
    """`document`: the thresholds of the papers. `chat`: what a short answer can meet as well. `auto`: `document` for rows
    that are one unlabelled text, `chat` for others, of which the answers are looked at."""
    action: Literal["reject", "note"] = "reject"
    """Reject rows that fail a rule, or only note them."""
    skip: list[QualityRule] = Field(default_factory=list)
    """Rules that do not count."""
    min_words: int | None = Field(default=None, ge=0)
    """Fewest words (document 50, chat 1)."""
    max_words: int | None = Field(default=None, ge=1)
    """Most words (document 100,000, chat 20,000)."""
    min_word_length: float | None = Field(default=None, ge=0)
    """Least mean length of words (document 3, chat 1)."""
    max_word_length: float | None = Field(default=None, ge=0)
    """Greatest mean length of words (document 10, chat 15)."""
    max_symbols: Share | None = None
    """Most `#`, `##`, ... and ellipses for each word (document 0.1, chat 0.3)."""
    min_alphabetic_words: Share | None = None
    """Least share of words with a letter in them (document 0.8, chat 0)."""
    min_stop_words: int | None = Field(default=None, ge=0)
    """Fewest different stop words (document 2, chat 0), of the language that the stage `language` noted, else English."""
    max_bullet_lines: Share | None = None
    """Most lines that start with a bullet (document 0.9, chat 1)."""
    max_ellipsis_lines: Share | None = None
    """Most lines that end with an ellipsis (document 0.3, chat 1)."""
    max_short_lines: Share | None = None
    """Most lines of 30 characters or fewer (document 0.67, chat 1)."""
    min_line_endings: Share | None = None
    """Least share of lines that end with a punctuation mark (document 0.12, chat 0)."""
    max_repeated_lines: Share | None = None
    """Most lines that were there before, and also most characters in them times 1.5 (document 0.3, chat 0.5)."""
    max_top_ngram: dict[int, Share] | None = None
    """Words in a sequence -> most characters that the one that comes most often, three times or more, may cover (document 2: 0.2, 3: 0.18,
    4: 0.16; chat twice that)."""
    max_repeated_ngrams: dict[int, Share] | None = None
    """Words in a sequence -> most characters that all repeated ones may cover (document 5: 0.15 down to 10: 0.1; chat
    5: 0.5)."""


class Presidio(Config):
    """Microsoft's Presidio, installed with `pip install presidio-analyzer`; it works offline."""

    entities: list[str] = Field(default=["CRYPTO", "MAC_ADDRESS", "US_ITIN", "UK_NINO", "UK_NHS", "ES_NIF", "IT_FISCAL_CODE",
                                         "PL_PESEL", "IN_AADHAAR"], min_length=1)  # fmt: skip
    """What it looks for, by its names; those for which it has a pattern need no model."""
    spacy_model: str | None = None
    """Installed spaCy model, such as `en_core_web_sm`, which adds PERSON and LOCATION when `entities` names them."""
    min_score: Share = 0.5
    """Least confidence of a find."""

    @model_validator(mode="after")
    def names_need_a_model(self) -> Self:
        named = {"PERSON", "LOCATION", "NRP", "ORGANIZATION"} & set(self.entities)
        if named and self.spacy_model is None:
            raise ValueError(f"{', '.join(sorted(named))}: found by a language model only; set spacy_model")
        return self


class PiiStage(Clean):
    """Finds personal data and secrets, and masks them: e-mail addresses, phone and card numbers, IBANs, IP addresses, US
    social security numbers, passwords in links, API keys. Notes their number by kind as `pii`, never the values.

    Card numbers and IBANs count only if their check digits are right. Names and places need Presidio with a model. What
    is kept of a changed or rejected row is the masked row. This lowers the risk; it proves nothing to be free of
    personal data.
    """

    kind: Literal["pii"] = "pii"
    action: Literal["mask", "reject", "note"] = "mask"
    """Mask what was found, reject the row (what is kept of it is masked), or only note it."""
    mask: Literal["kind", "hash"] = "kind"
    """`<EMAIL>`, or `<EMAIL_1f0c2a9b>` with a hash that is the same wherever the value is and differs by `data.seed`.
    Whoever has the seed can find short values such as phone numbers by trying all, so a hash is a pseudonym and no secret."""
    kinds: list[PiiKind] = Field(
        default=["email", "phone", "credit_card", "iban", "ip_address", "us_ssn", "url_credentials", "api_key"],
        min_length=1,
    )
    """What the patterns look for."""
    columns: bool = True
    """Look also at the other columns of the row, which are kept beside it. Choose `mask: hash` where a later stage groups
    rows by such a column."""
    presidio: Presidio | None = None
    """Use Presidio's recognisers beside the patterns: `presidio: {}`."""


class Toxicity(Config):
    """A text classifier that scores how toxic a text is."""

    model: str = Field(min_length=1)
    """Folder, `pkg://` or Hub id of a sequence classification model."""
    labels: list[str] = Field(min_length=1)
    """Classes of the model that count as toxic; the highest of their probabilities is the score."""
    threshold: Share = 0.5
    """A row with a text of at least this score is treated as the action says."""


class BlocklistStage(Clean):
    """Finds slurs and obscene words, of a packaged list and of one's own, also spelt as `sh1t`, `s.h.i.t` or `shiiit`.

    A list of words is no toxicity classifier: it misses threats in plain words, and finds words that are quoted or
    harmless where they stand. `toxicity` adds a classifier.
    """

    kind: Literal["blocklist"] = "blocklist"
    action: Literal["reject", "note", "mask"] = "reject"
    """Reject the row, only note the words as `blocklist` and the model's score as `toxicity`, or put `***` for each
    word found. Masking removes no text that only the model objects to."""
    languages: list[str] = Field(default=["english"])
    """Languages of the packaged lists (glin-profanity: `english`, `german`, `french`, ...); `[]` for none."""
    words: list[str] = Field(default_factory=list)
    """More words and phrases."""
    words_file: str | None = None
    """Text file with more, one to a line; `#` starts a comment."""
    patterns: list[Pattern] = Field(default_factory=list)
    """Regular expressions, searched as they are, whatever the case."""
    allow: list[str] = Field(default_factory=list)
    """Words of the lists that are fine here."""
    toxicity: Toxicity | None = None
    """Also score each text with a model, on the CPU."""


class LicenceStage(StageConfig):
    """Rejects rows by the licence and the consent that their columns name, and notes the `licence` of the others.

    Names are compared whatever their case, blanks and underscores, so that `CC BY-NC 4.0` is `cc-by-nc-4.0`; `*` stands
    for anything.
    """

    kind: Literal["licence"] = "licence"
    columns: list[str] = Field(default=["license", "licence"], min_length=1)
    """Columns that may name the licence; the first that is there counts. Several licences in a list must all be fine."""
    refuse: list[str] = Field(
        default=["*-nc", "*-nc-*", "*-nd", "*-nd-*", "proprietary*", "commercial*", "all-rights-reserved*", "unlicensed", "unknown",
                 "none", "*no-derivatives*", "*non-commercial*", "*noncommercial*"]
    )  # fmt: skip
    """Licences that are refused."""
    allow: list[str] = Field(default_factory=list)
    """If there are any, all other licences are refused."""
    missing: Literal["reject", "accept"] = "reject"
    """What happens to a row that names no licence."""
    require_consent: bool = False
    """Reject rows whose consent column does not say yes."""
    consent_column: str = "consent"
    """Column that holds the consent: true, `yes`, `granted`, `given`, `opt-in` or 1 say yes."""


class NormaliseStage(Clean):
    """Lower case, no punctuation, word stems, no stop words: for classical models. Everything is off until switched on.

    It destroys what a language model learns to say, so it is refused for anything but classification.
    """

    kind: Literal["normalise"] = "normalise"
    lower_case: bool = False
    """Write everything in lower case."""
    punctuation: bool = False
    """Remove punctuation."""
    stop_words: bool = False
    """Remove words such as `the` and `of`."""
    stem: bool = False
    """Replace words by their stems (Snowball), in lower case."""
    keep: list[str] = Field(default=["not", "no", "nor", "never", "cannot", "without"])
    """Stop words that stay: without negations a text may say the opposite."""
    language: str = "english"
    """Language of stems and stop words. English stop words are scikit-learn's, which are fewer, others those of stop-words."""
    force: bool = False
    """Use it on generative rows all the same."""

    @model_validator(mode="after")
    def something_is_switched_on(self) -> Self:
        if not (self.lower_case or self.punctuation or self.stop_words or self.stem):
            raise ValueError("nothing is switched on; set lower_case, punctuation, stop_words or stem to true")
        return self


CleanStage = (
    UnicodeStage
    | WhitespaceStage
    | BoilerplateStage
    | TruncatedStage
    | MissingStage
    | LanguageStage
    | QualityStage
    | PiiStage
    | BlocklistStage
    | LicenceStage
    | NormaliseStage
)
"""The kinds that clean."""
