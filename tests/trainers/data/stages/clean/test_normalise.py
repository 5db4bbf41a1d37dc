"""Plainer texts for classical models."""

import pytest
from pydantic import ValidationError

from cluster.config.stages import parse_stages
from cluster.exceptions import ConfigError
from tests.trainers.data.stages.clean.rows import chat, run
from trainers.data.stages import StageContext
from trainers.data.stages.clean.normalise import Normalise

TEXT = "The cards, which I've ordered,  are NOT arriving!"


def normalised(text: str = TEXT, **settings) -> str:
    [record] = run(
        {"text": text, "label": "x"}, kind="normalise", context=StageContext(classification=True), **settings
    )
    return record.row["text"]


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        ({"lower_case": True}, "the cards, which i've ordered,  are not arriving!"),
        ({"punctuation": True}, "The cards which Ive ordered are NOT arriving"),
        ({"stop_words": True}, "cards, I've ordered, NOT arriving!"),
        ({"stem": True}, "the card, which i've order,  are not arriv!"),
        ({"lower_case": True, "stop_words": True, "punctuation": True, "stem": True}, "card ive order not arriv"),
        ({"stop_words": True, "keep": []}, "cards, I've ordered, arriving!"),
    ],
)
def test_only_what_is_switched_on_changes(settings, plain):
    assert normalised(**settings) == plain


def test_other_languages_have_stems_and_stop_words_of_their_own():
    assert normalised("Die Karten und das Konto", language="german", stop_words=True, stem=True) == "kart konto"


def test_it_is_refused_for_rows_that_teach_writing_unless_forced():
    with pytest.raises(ConfigError, match="normalise: these rows teach a model to write"):
        run(chat("Yes."), kind="normalise", lower_case=True)
    [record] = run(chat("Yes."), kind="normalise", lower_case=True, force=True)
    assert record.texts()[-1] == "yes."


def test_a_text_of_nothing_else_is_rejected():
    context = StageContext(classification=True)
    [record] = run(
        {"text": "To be, or to be", "label": "x"}, kind="normalise", stop_words=True, punctuation=True, context=context
    )
    assert record.rejected == "normalise: nothing is left after normalising"


def test_what_would_do_nothing_or_is_not_known_is_refused():
    with pytest.raises(ValidationError, match="nothing is switched on"):
        parse_stages([{"kind": "normalise"}])
    for settings, said in (({"stem": True}, "no stems"), ({"stop_words": True}, "no stop words")):
        [config] = parse_stages([{"kind": "normalise", "language": "klingon", **settings}])
        with pytest.raises(ConfigError, match=f"{said} of the language klingon"):
            Normalise.inputs(config)
