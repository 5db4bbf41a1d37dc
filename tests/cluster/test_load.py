"""Every mistake in a run.yaml is named by file, line and key, with what to change."""

import re
import time

import pytest

from cluster.config.load import dump_config, load_config, load_variants, nearest
from cluster.exceptions import ConfigError

SMALL = """\
name: small
model:
  kind: scratch
data:
  train: train.jsonl
train:
  learning_rate: 2e-5
"""


@pytest.fixture
def load(tmp_path):
    def load_text(text, *overrides):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return load_config(path, overrides)

    return load_text


def refusal(load, text, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    return re.sub(r"\S*/run\.yaml", "run.yaml", str(caught.value))


def test_scientific_notation_is_a_number(load):
    assert load(SMALL).train.learning_rate == 2e-5
    assert load(SMALL, "train.learning_rate=5e-4").train.learning_rate == 5e-4


def test_words_that_yaml_1_1_reads_as_booleans_and_dates_stay_words(load):
    assert load(SMALL.replace("small", "no")).name == "no"
    assert load(SMALL.replace("small", "2026-01-01")).name == "2026-01-01"


def test_a_dumped_config_is_read_back_equal(load, tmp_path):
    config = load(SMALL, "train.adaptation={kind: lora, rank: 4}", "cluster.num_workers=2")
    (tmp_path / "dumped.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "dumped.yaml") == config


def test_an_override_sets_one_key_and_keeps_the_others(load):
    config = load(SMALL, "cluster.num_workers=2", "train.adaptation.kind=lora", "data.validation=")
    assert config.cluster.num_workers == 2
    assert config.train.adaptation.kind == "lora"
    assert config.train.learning_rate == 2e-5
    assert config.data.validation is None


def test_paths_in_the_file_start_at_the_files_folder(load, tmp_path, monkeypatch):
    (tmp_path / "train.jsonl").write_text("{}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "mine.jsonl").write_text("{}")
    assert load(SMALL).data.train == str(tmp_path / "train.jsonl")
    assert load(SMALL, "data.train=mine.jsonl").data.train == str(tmp_path / "elsewhere" / "mine.jsonl")
    assert load(SMALL, "data.train=some/hub-id").data.train == "some/hub-id"
    assert load(SMALL, "data.train=[s3://b/x, mine.jsonl]").data.train[0] == "s3://b/x"
    assert load(SMALL).cluster.storage_path == str(tmp_path / "elsewhere" / "runs")


def test_so_do_paths_inside_stages(load, tmp_path):
    (tmp_path / "words.csv").write_text("word,synonyms\ncard,plastic\n")
    text = SMALL.replace("train: train.jsonl", "train: train.jsonl\n  stages: [{kind: synonyms, thesaurus: words.csv}]")
    assert load(text).data.stages[0].thesaurus == str(tmp_path / "words.csv")
    text = text.replace(
        "kind: synonyms, thesaurus: words.csv", "kind: blocklist, toxicity: {model: words.csv, labels: [x]}"
    )
    assert load(text).data.stages[0].toxicity.model == str(tmp_path / "words.csv")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            SMALL.replace("learning_rate", "learning_rat"),
            "run.yaml:7: train.learning_rat: unknown key; did you mean learning_rate?",
        ),
        (SMALL + "learning_rate: 1\n", "run.yaml:8: learning_rate: unknown key here; it belongs in `train:`"),
        (
            SMALL.replace("2e-5", "fast"),
            "run.yaml:7: train.learning_rate: found 'fast', expected a number; the default is 2e-05",
        ),
        (
            SMALL + "  num_train_epochs: -1\n",
            "run.yaml:8: train.num_train_epochs: found -1, expected a value greater than 0; the default is 3.0",
        ),
        (
            SMALL + "  lr_scheduler_type: cosin\n",
            "run.yaml:8: train.lr_scheduler_type: found 'cosin', expected 'cosine', 'linear' or 'constant'; "
            "did you mean cosine?",
        ),
        (
            SMALL + "  adaptation: {kind: loraa}\n",
            "run.yaml:8: train.adaptation.kind: found 'loraa', expected one of 'full', 'lora'; did you mean lora?",
        ),
        (
            SMALL + "  adaptation: {kind: lora, rnak: 3}\n",
            "run.yaml:8: train.adaptation.rnak: unknown key; did you mean rank?",
        ),
        (
            SMALL + "  adaptation: {rank: 3}\n",
            "run.yaml:8: train.adaptation.rank: unknown key for kind full; it is one of kind lora: "
            "write `kind: lora` or remove it",
        ),
        (
            SMALL + "  objective: sft\n",
            "run.yaml:8: train.objective: found 'sft', expected keys with values, indented below it",
        ),
        (SMALL.replace("  train: train.jsonl", "  val_size: 0.1"), "run.yaml:4: data.train: is missing; add "),
        (SMALL.replace("small", "9"), "run.yaml:1: name: found 9, expected text; put it in quotes: '9'"),
        (SMALL + "name: again\n", "run.yaml:8: name: given a second time (first in line 1); keep one of the two"),
        (SMALL + "\ttrain: 3\n", "run.yaml:8: is not valid YAML (found character '\\t'"),
        (
            SMALL + "  global_batch_size: 9\n",
            "run.yaml:8: train.global_batch_size=9 is not a multiple of train.per_device_train_batch_size",
        ),
        ("- a\n- b\n", "run.yaml:1: holds a list, expected sections such as `model:` and `data:`"),
        ("  \n", "run.yaml: is empty, expected at least name, model and data"),
        ("# nothing\n", "run.yaml: holds only comments, expected at least name, model and data"),
    ],
)
def test_a_mistake_is_named_with_its_line(load, text, sentence):
    assert refusal(load, text).startswith(sentence)


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file(load):
    found = refusal(load, SMALL.replace("2e-5", "fast").replace("kind: scratch", "kind: scratch\n  hiden_size: 3"))
    assert [line.split(": ")[0] for line in found.splitlines()] == ["run.yaml:4", "run.yaml:8"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.learning_rat=1", "override 'train.learning_rat=1': train.learning_rat: unknown key; did you mean"),
        ("train.seed=x", "override 'train.seed=x': train.seed: found 'x', expected a whole number"),
        ("seed", "'seed': an override looks like section.key=value"),
        ("name.x=1", "override 'name.x=1': name holds 'small', which has no keys inside"),
        ("train.seed=[", "override 'train.seed=[': the part after = is not valid YAML"),
    ],
)
def test_a_mistake_in_an_override_says_so(load, override, sentence):
    assert refusal(load, SMALL, override).startswith(sentence)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(tmp_path / "run.yaml")


def test_parsing_takes_well_under_half_a_second(load):
    load(SMALL)
    start = time.perf_counter()
    load(SMALL)
    assert time.perf_counter() - start < 0.25


def test_the_nearest_name_is_suggested_only_when_it_is_near():
    assert nearest("learning_rat", ["learning_rate", "seed"]) == "learning_rate"
    assert nearest("xyz", ["learning_rate", "seed"]) is None


def test_paths_in_the_long_form_of_a_source_start_at_the_files_folder(load, tmp_path):
    for name in ("train.jsonl", "dataset_info.json"):
        (tmp_path / name).write_text("{}")
    sources = "  train: [train.jsonl, {path: train.jsonl, license: mit}, dataset_info.json:demo, owner/name:dev]"
    train = load(SMALL.replace("  train: train.jsonl", sources)).data.train
    assert [getattr(one, "path", one) for one in train] == [
        str(tmp_path / "train.jsonl"),
        str(tmp_path / "train.jsonl"),
        f"{tmp_path}/dataset_info.json:demo",
        "owner/name:dev",
    ]
    assert load_config(tmp_path / "run.yaml").data.train == train


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("{paht: a.jsonl}", "run.yaml:5: data.train.0.paht: unknown key; did you mean path?"),
        ("{path: a, columns: {txt: x}}", "data.train.0.columns.txt: unknown key; did you mean text?"),
        ("{sql: select 1}", "data.train.0.url_variable: is missing"),
        ("3", "data.train.0: found 3, expected text; put it in quotes"),
        ("{sql: select 1, url_variable: 'db://me:secret@host'}", "it may hold a password"),
    ],
)
def test_mistakes_in_a_source_are_named(load, entry, sentence):
    with pytest.raises(ConfigError) as caught:
        load(SMALL.replace("  train: train.jsonl", f"  train: [{entry}]"))
    assert sentence in str(caught.value) and "secret" not in str(caught.value)


VARIANTS = """\
name: cards
model: {kind: scratch}
data: {train: train.csv, max_length: 64}
compare:
  seeds: 2
  variants:
    all: {}
    half: {data: {max_rows: 5}, train.learning_rate: 1e-3}
"""


def test_variants_are_runs_of_their_own_one_for_each_seed(tmp_path):
    (tmp_path / "run.yaml").write_text(VARIANTS)
    found = load_variants(tmp_path / "run.yaml", ["train.seed=3", "train.learning_rate=1e-4"])
    assert [one.name for one in found["half"]] == ["cards-half-seed3", "cards-half-seed4"]
    assert [(one.train.seed, one.data.seed) for one in found["all"]] == [(3, 0), (4, 1)]
    assert (found["all"][0].data.max_rows, found["all"][0].train.learning_rate) == (None, 1e-4)
    half = found["half"][0]
    assert (half.data.max_rows, half.data.max_length, half.train.learning_rate) == (5, 64, 1e-3)


def test_a_mistake_in_a_variant_is_named_with_its_line(tmp_path):
    (tmp_path / "run.yaml").write_text(VARIANTS.replace("max_rows", "max_row"))
    with pytest.raises(ConfigError, match=r"run\.yaml:8: data\.max_row: unknown key; did you mean max_rows\?"):
        load_variants(tmp_path / "run.yaml")
