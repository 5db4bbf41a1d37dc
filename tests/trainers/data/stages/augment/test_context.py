"""Related sentences put beside a text."""

from tests.trainers.data.stages.augment.rows import labelled, made, run, texts

SENTENCES = "My card was stolen on the train.\nThe weather is fine today.\nA new card costs five pounds.\n"


def context(tmp_path, rows, name="sentences.txt", content=SENTENCES, **settings):
    (tmp_path / name).write_text(content)
    return made(run(rows, kind="context", sentences=str(tmp_path / name), **settings))


def test_only_sentences_that_share_something_with_the_text_are_put_beside_it(tmp_path):
    rows = context(tmp_path, labelled("Where is my new card?", "Hello"), copies=2)
    assert set(texts(rows)) == {
        "My card was stolen on the train. Where is my new card?",
        "A new card costs five pounds. Where is my new card?",
    }


def test_the_nearest_sentence_comes_where_it_is_wanted(tmp_path):
    rows = context(tmp_path, labelled("Where is my new card?"), neighbours=1, position="after", separator="\n")
    assert texts(rows) == ["Where is my new card?\nA new card costs five pounds."]


def test_sentences_with_a_class_go_to_rows_of_that_class(tmp_path):
    table = "text,label\nmy card is gone,lost\nmy card is new,order\n"
    rows = labelled("where is my card", label="order") + labelled("my card is new", label="order")
    assert texts(context(tmp_path, rows, "sentences.csv", table)) == ["my card is new where is my card"]
