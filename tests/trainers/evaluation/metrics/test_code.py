"""Claims about generated code and SQL: the estimator, what counts as passing, and that nothing a model writes gets out."""

import itertools
import sqlite3

import numpy as np
import pytest

from cluster.exceptions import DataError
from tests.trainers.evaluation.metrics.made import reason, rows, value, values
from trainers.evaluation.metrics import METRICS
from trainers.evaluation.metrics.code import code_of, pass_chance
from trainers.evaluation.metrics.sql_worker import is_ordered
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows

RIGHT = "def add(a, b):\n    return a + b"
WRONG = "def add(a, b):\n    return a - b"
CHECK = "def check(f):\n    assert f(1, 2) == 3"


def coded(answers: list[str], prompt: str = "Write add.", **columns) -> Prediction:
    first, *more = answers
    return Prediction("t:1", None, first, prompt=prompt, columns={"test": CHECK, **columns}, samples=more)


def run(*predictions: Prediction, **args) -> tuple[Rows, list[dict]]:
    notes = METRICS["pass_at_k"].annotate(predictions, **args)
    return Rows([Prediction("", None, "", notes=one) for one in notes]), notes


def test_the_estimator_is_the_share_of_choices_with_one_that_passes():
    for n, c in ((5, 0), (5, 2), (6, 6), (7, 1)):
        for k in range(1, n + 1):
            choices = list(itertools.combinations(range(n), k))
            share = np.mean([any(one < c for one in choice) for choice in choices])
            assert pass_chance(n, c, k) == pytest.approx(share)
    assert np.isnan(pass_chance(3, 1, 4))


def test_answers_pass_fail_loop_and_exit():
    answers = [RIGHT, WRONG, "def add(a, b):\n    while True: pass", f"{RIGHT}\nimport os; os._exit(0)"]
    given, notes = run(coded(answers, entry_point="add"), k=[1, 2], time_limit_s=1.0)
    assert (notes[0]["code_runs"], notes[0]["code_passed"]) == (4, 1)
    assert notes[0]["code_failure"] == "raised: AssertionError"
    assert values(given, "pass_at_k", k=[1, 2]) == {"pass@1": 0.25, "pass@2": 0.5}
    assert "at least 5 answers a row are needed; found 4" in left_out(given, k=5)


def left_out(given: Rows, k: int) -> str:
    from cluster.config import MetricSpec
    from trainers.evaluation.metrics import measure

    reasons: dict[str, str] = {}
    measure(given, [MetricSpec(name="pass_at_k", args={"k": k})], reasons)
    return reasons[f"pass@{k}"]


def test_an_answer_may_go_on_from_the_prompt_or_lie_between_fences():
    begun = coded(["    return a + b"], prompt="def add(a, b):\n", entry_point="add")
    fenced = coded([f"Sure!\n```python\n{RIGHT}\n```\nDone."], entry_point="add")
    listed = coded([RIGHT], test=["assert add(1, 1) == 2", "assert add(2, 2) == 4"])
    without = Prediction("", None, RIGHT)
    given, notes = run(begun, fenced, listed, without)
    assert [one.get("code_passed") for one in notes] == [1, 1, 1, None]
    assert value(given, "pass_at_k") == 1.0
    assert "namespaces" in notes[0]["code_held_by"] or "landlock" in notes[0]["code_held_by"]


def test_tests_that_no_row_has_are_asked_for():
    assert run(coded([RIGHT]), tests="unit")[1] == [{}]
    assert reason(Rows([coded([RIGHT])]), "pass_at_k", tests="unit").endswith("column 'unit'; the rows have 'test'")


def test_the_code_of_an_answer_is_its_longest_block():
    text = "```bash\nls -l -a -r -t -h\n```\n```py\nx\n```\n```python\nlonger\n```"
    assert code_of(text) == "longer\n"
    assert code_of("x = 1") == "x = 1"
    assert code_of("```python\nx = 1") == "x = 1", "a block that was cut"


@pytest.mark.parametrize(
    ("text", "parses"),
    [
        (RIGHT, 1.0),
        ("def (", 0.0),
        ("", 0.0),
        ("x = '\\d'", 1.0),
        ("(" * 5000, 0.0),
        ("\0", 0.0),
        ("-" * 50_000 + "1", 0.0),
    ],
)
def test_code_parses_or_does_not(text, parses):
    assert value(rows((None, text)), "code_syntax") == parses


@pytest.fixture
def shop(tmp_path):
    for folder in (tmp_path, *tmp_path.parents):  # pytest keeps its folders to itself; queries run as another user
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    (tmp_path / "shop").mkdir()
    with sqlite3.connect(tmp_path / "shop" / "shop.sqlite") as connection:
        connection.executescript(
            "CREATE TABLE t (name TEXT, price REAL); INSERT INTO t VALUES ('a', 1), ('b', 2.5), ('c', 2.5)"
        )
    connection.close()
    return tmp_path


def asked(folder, *pairs: tuple[str, str], **args) -> list[dict]:
    given = [Prediction(f"q:{at}", want, got, columns={"database": "shop"}) for at, (want, got) in enumerate(pairs)]
    return METRICS["sql_execution"].annotate(given, folder=str(folder), **args)


def test_queries_are_compared_by_what_they_find(shop):
    every, ordered = "SELECT name FROM t", "SELECT name FROM t ORDER BY name"
    notes = asked(
        shop,
        (every, "```sql\nSELECT name FROM t ORDER BY name DESC;\n```"),
        (ordered, "SELECT name FROM t ORDER BY name DESC"),
        (ordered, "SELECT t.name FROM t ORDER BY 1"),
        (every, "SELECT DISTINCT price FROM t"),
        ("SELECT price FROM t", "SELECT DISTINCT price FROM t"),
        ("SELECT sum(price) / 3 FROM t", "SELECT avg(price) FROM t"),
        (every, "SELEC name"),
    )
    assert [one["sql_correct"] for one in notes] == [1, 0, 1, 0, 0, 1, 0]
    assert [one["sql_valid"] for one in notes] == [1, 1, 1, 1, 1, 1, 0]
    assert "syntax error" in notes[-1]["sql_error"]
    noted = Rows([Prediction("", "", "", notes=one) for one in notes])
    assert values(noted, "sql_execution")["sql_execution.accuracy"] == pytest.approx(3 / 7)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("DELETE FROM t", "not authorized"),
        ("DROP TABLE t", "not authorized"),
        ("ATTACH '/tmp/x.db' AS x", "not authorized"),
        ("PRAGMA table_info(t)", "not authorized"),
        ("SELECT load_extension('x')", "not authorized"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT zeroblob(2000000000)", "too big"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT count(*) FROM n", "too long"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", "more than 100,000 rows"),
        ("SELECT instr(hex(zeroblob(4000000)), hex(zeroblob(2000000)) || '1')", "too long"),
    ],
)
def test_a_query_that_writes_or_never_ends_is_wrong_and_the_next_is_run(shop, query, error):
    limit_s = 0.5 if error == "too long" else 10.0
    notes = asked(shop, ("SELECT 1", query), ("SELECT 1", "SELECT 1"), time_limit_s=limit_s)
    assert notes[0]["sql_correct"] == notes[0]["sql_valid"] == 0.0
    assert error in notes[0]["sql_error"]
    assert notes[1]["sql_correct"] == 1.0


def test_a_database_may_be_made_from_a_schema():
    given = Prediction(
        "", "SELECT 1 + x FROM t", "SELECT 3", columns={"schema": "CREATE TABLE t (x); INSERT INTO t VALUES (2)"}
    )
    assert METRICS["sql_execution"].annotate([given]) == [{"sql_correct": 1.0, "sql_valid": 1.0}]
    assert "no row has an answer" in reason(rows(("a", "a")), "sql_execution")


def test_a_missing_database_and_a_broken_reference_are_named(shop):
    with pytest.raises(DataError, match=r"q:0: metric sql_execution: the reference cannot be run \(no such table: u\)"):
        asked(shop, ("SELECT * FROM u", "SELECT 1"))
    with pytest.raises(DataError, match="there is no database 'shop'; looked for"):
        asked(shop / "other", ("SELECT 1", "SELECT 1"))


@pytest.mark.parametrize(
    ("query", "ordered"),
    [
        ("select a from t order  by a", True),
        ("select * from (select a from t order by a) s", False),
        ("select 'order by' from t -- order by\n", False),
        ("select a, (select 1) from t /* x */ ORDER BY 1 limit 3", True),
        ("select row_number() over (order by a) from t", False),
    ],
)
def test_an_order_of_its_own_is_told_from_inner_ones(query, ordered):
    assert is_ordered(query) is ordered
