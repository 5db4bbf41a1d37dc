"""Claims about people's ratings: they find their rows, and whatever is wrong with a file is said in a sentence."""

import json

import pytest

from cluster.config import RatingsConfig
from cluster.exceptions import DataError
from trainers.evaluation import Prediction
from trainers.evaluation.judge import annotate_ratings, metrics
from trainers.evaluation.rows import Rows

ROWS = [
    Prediction("rows.jsonl:1", None, "yes", key="k1", prompt="may I?"),
    Prediction("rows.jsonl:2", None, "no", key="k2", prompt="must I?"),
    Prediction("rows.jsonl:3", None, "never", key="k3", prompt="must I?"),
]


def ratings(tmp_path, text: str, name: str = "ratings.csv", **more) -> RatingsConfig:
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    return RatingsConfig(path=str(tmp_path / name), **more)


def test_ratings_of_several_people_become_means_medians_and_a_metric(tmp_path):
    text = "key,rater,rating\nk1,ann,4\nk1,bob,5\nk2,ann,1\n"
    notes = annotate_ratings(ROWS, ratings(tmp_path, text))
    assert notes[0] == {"human_rating": 4.5, "human_median": 4.0, "human_ratings": {"ann": 4.0, "bob": 5.0}}
    assert notes[2] == {}
    rated = [Prediction(one.place, None, "", notes=note) for one, note in zip(ROWS, notes, strict=True)]
    assert metrics.human_rating(Rows(rated)).value == pytest.approx((4.5 + 1) / 2)


def test_lines_of_json_name_rows_by_place_or_prompt_and_columns_by_any_name(tmp_path):
    lines = [{"where": "rows.jsonl:2", "who": 7, "stars": 3}, {"where": "rows.jsonl:3", "who": 7, "stars": "2.5"}]
    text = "\n\n".join(map(json.dumps, lines))
    config = ratings(tmp_path, text, "r.jsonl", by="place", row="where", rater="who", rating="stars")
    assert [note.get("human_rating") for note in annotate_ratings(ROWS, config)] == [None, 3.0, 2.5]
    by_prompt = ratings(tmp_path, '{"prompt": "may I?", "rater": "a", "rating": 1}', "p.jsonl", by="prompt")
    assert annotate_ratings(ROWS, by_prompt)[0]["human_rating"] == 1.0


def test_ratings_of_an_answer_that_the_model_no_longer_gives_do_not_count(tmp_path):
    notes = annotate_ratings(ROWS, ratings(tmp_path, "key,rater,rating,output\nk1,ann,4,yes\nk2,ann,4,perhaps\n"))
    assert notes[0]["human_rating"] == 4.0
    assert notes[1] == {"human_ratings_stale": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("key,rater,rating\nk9,ann,4\n", r"ratings\.csv:2: rates the row with key 'k9', which is none of the 3 rows"),
        ("key,rater,rating\nk1,ann,4\nk1,ann,5\n", r":3: ann rates the row 'k1' a second time"),
        ("key,rater,rating\nk1,ann,good\n", r":2: the rating is 'good'; expected a number"),
        ("key,rater,rating\nk1,ann,nan\n", r"the rating is 'nan'"),
        ("key,rater,rating\nk1,ann,9\n", r"the rating is 9; expected one from 1 to 5"),
        ("key,person,rating\nk1,ann,4\n", r"found the columns key, person, rating; .*rater \(evaluate.ratings.rater\)"),
        ("key,rater,rating\nk1,ann\n", r"expected a value in rating"),
        ("key,rater,rating\n", r"holds no ratings"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_with_its_line(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        annotate_ratings(ROWS, ratings(tmp_path, text, lowest=1, highest=5))


def test_a_prompt_that_names_rows_with_different_answers_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"prompt 'must I\?' names 2 rows with different answers; set .*by to key or place"
    ):
        annotate_ratings(ROWS, ratings(tmp_path, "prompt,rater,rating\nmust I?,ann,4\n", by="prompt"))


def test_files_that_are_no_ratings_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        annotate_ratings(ROWS, RatingsConfig(path=str(tmp_path / "none.csv")))
    with pytest.raises(DataError, match=r"x\.jsonl:1: is no JSON"):
        annotate_ratings(ROWS, ratings(tmp_path, "key,rater", "x.jsonl"))
    with pytest.raises(DataError, match="found list; expected an object"):
        annotate_ratings(ROWS, ratings(tmp_path, "[1]", "x.jsonl"))
    (tmp_path / "bytes.csv").write_bytes(b"key\xff\xfe,rater\n")
    with pytest.raises(DataError, match="is not text in UTF-8"):
        annotate_ratings(ROWS, RatingsConfig(path=str(tmp_path / "bytes.csv")))
