"""What the README and docs/ say is so: pages are current, snippets parse, links lead somewhere, sentences are real."""

import ast
import json
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import yaml

from cluster.cli import VERBS, run
from cluster.config.data import DataConfig
from cluster.config.load import load_config
from cluster.config.stages import parse_stages
from cluster.docs import PAGES, keys_of
from cluster.exceptions import UserError

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()
WRITTEN = [README, ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("recipes/*.md"))]
KEYS = set(keys_of())


def by_name(path):
    return path.name


def fenced(path, language):
    """Code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


def code(path):
    """All that a page shows as code, blocks and spans, one piece per line."""
    text = path.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*blocks, *indented, *spans])


# -- generated pages ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_says_now(name):
    assert (ROOT / name).read_text() == PAGES[name](), "write it again with `make docs`"


def test_every_command_and_every_key_has_its_place():
    commands, run_yaml = (ROOT / name for name in ("docs/commands.md", "docs/run-yaml.md"))
    assert all(f"## mobula {verb}\n" in commands.read_text() for verb in VERBS)
    chosen = {key for key in KEYS if not key.endswith(".kind")}
    assert all(f"`{key}`" in run_yaml.read_text() for key in chosen)


# -- snippets -------------------------------------------------------------------------------------


@pytest.fixture
def started(tmp_path, monkeypatch, capsys):
    """The folder that `mobula init` writes, with the README's run.yaml in it."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "support"]) == 0
    (shown,) = fenced(README, "yaml")
    monkeypatch.chdir(tmp_path / "support")
    (tmp_path / "support" / "run.yaml").write_text(shown)
    capsys.readouterr()
    return tmp_path / "support"


def test_the_readmes_run_yaml_would_run_on_the_data_of_init(started, capsys):
    assert run(["check", "run.yaml", "--json", "cluster.num_workers=1"]) == 0, capsys.readouterr().out
    assert load_config("run.yaml").accumulation_steps == 2


def test_every_line_of_the_readmes_run_yaml_is_explained():
    (shown,) = fenced(README, "yaml")
    lines = [line for line in shown.splitlines() if line and not line.endswith(":")]
    assert [line for line in lines if "#" not in line] == []


def test_the_readmes_overrides_are_understood(started):
    commands = [line.partition("#")[0].split() for block in fenced(README, "sh") for line in block.splitlines()]
    overrides = [word for words in commands if words[:2] == ["mobula", "train"] for word in words if "=" in word]
    assert overrides
    assert load_config("run.yaml", overrides).name == "faster"


def test_the_readmes_row_is_one_to_learn_from():
    from trainers.data.shapes import Conversation, read_example

    (row,) = fenced(README, "json")
    assert isinstance(read_example(json.loads(row), DataConfig(train="x")), Conversation)


def test_stages_that_the_page_of_stages_shows_are_understood():
    blocks = fenced(ROOT / "docs" / "data-stages.md", "yaml")
    assert all(parse_stages(yaml.safe_load(block)) for block in blocks)


@pytest.mark.parametrize("page", WRITTEN, ids=by_name)
def test_python_in_a_page_parses(page):
    for snippet in fenced(page, "python"):
        ast.parse(snippet)


@pytest.mark.parametrize("page", WRITTEN, ids=by_name)
def test_commands_targets_and_keys_that_a_page_names_exist(page):
    shown = code(page)
    assert set(re.findall(r"(?<![\w./-])mobula ([a-z]+)\b", shown)) - {"train"} <= set(VERBS)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^(?:\w+=\S+ )?make ([a-z]+)", shown, re.MULTILINE)) <= targets
    sections = "model|data|train|evaluate|serve|cluster"
    if page.name != "troubleshooting.md":  # which shows keys that do not exist
        named = re.findall(rf"(?<![\w./-])(?:{sections})\.[a-z_]+(?:\.[a-z_]+)*(?![\w./(])", shown)
        files = {"jsonl", "yaml", "csv", "json", "md"}
        assert {key for key in named if key.rpartition(".")[2] not in files} <= KEYS


# -- links and pictures ---------------------------------------------------------------------------


def anchors(page):
    """Anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WRITTEN, ids=by_name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        place, _, anchor = link.partition("#")
        if "://" in place:
            continue
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_picture_is_well_formed_and_says_in_words_what_it_shows():
    picture = ElementTree.parse(ROOT / "docs" / "loop.svg").getroot()
    words = {element.tag.rpartition("}")[2]: element.text for element in picture}
    assert words["title"]
    assert "not built yet" in words["desc"]


def test_the_support_matrix_has_each_capability_once_with_a_status():
    rows = re.findall(
        r"^\| ([A-Z]{3}-\d\d) \| [^|]+ \| (\w+)", (ROOT / "docs/support-matrix.md").read_text(), re.MULTILINE
    )
    ids = [identity for identity, _ in rows]
    assert len(ids) == len(set(ids)) > 40
    assert {status for _, status in rows} <= {"yes", "part"}


# -- sentences ------------------------------------------------------------------------------------

RUN_YAML = """\
name: support
model: {kind: scratch}
data:
  train: train.jsonl
train:
  learning_rate: 2e-5
"""
ROW = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n'
UNANSWERED = '{"messages": [{"role": "user", "content": "Hi"}]}\n'


@pytest.fixture
def is_told(tmp_path, monkeypatch):
    """Holds what a mistake says against the page; paths are shown there without their folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_text(ROW)

    def is_told(mistake, *arguments, **named):
        with pytest.raises(UserError) as caught:
            mistake(*arguments, **named)
        said = str(caught.value).replace(f"{tmp_path}/", "")
        assert f"mobula: {said}\n" in TROUBLESHOOTING
        return True

    return is_told


def config(text=RUN_YAML, *overrides):
    Path("run.yaml").write_text(text)
    return load_config("run.yaml", overrides)


@pytest.mark.parametrize(
    "text",
    [
        RUN_YAML.replace("learning_rate", "learning_rat"),
        RUN_YAML.replace("2e-5", "fast"),
        RUN_YAML + "  global_batch_size: 10\ncluster: {num_workers: 2}\n",
        RUN_YAML + "  deepspeed: zero4\n",
    ],
)
def test_mistakes_in_run_yaml_read_as_shown(is_told, text):
    assert is_told(config, text)


def test_a_run_yaml_that_is_not_there_reads_as_shown(is_told):
    assert is_told(load_config, "other.yaml")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing.jsonl", None),
        ("train.jsonl", ""),
        ("train.jsonl", ROW * 2 + '{"messages": [}\n'),
        ("train.jsonl", ROW + '{"question_text": "Hi", "reply": "Hello"}\n'),
        ("train.jsonl", ROW + ROW.replace("Hello", "")),
        ("train.jsonl", ROW + UNANSWERED),
        ("rows.csv", "text,label\nhello,a,b\n"),
    ],
)
def test_mistakes_in_data_read_as_shown(is_told, name, text):
    from trainers.data.sources import examples

    settings = config().data
    if text is not None:
        Path(name).write_text(text)
    assert is_told(lambda: list(examples(name, settings, classification=name.endswith(".csv"))))


def test_a_label_that_training_never_saw_reads_as_shown(is_told):
    from trainers.data.encode import Encoder
    from trainers.data.sources import locate

    Path("test.csv").write_text("text,label\nWhere is it?,late\nBroken!,damagd\n")
    sources = locate("test.csv", "test")
    known = frozenset({"damaged", "late", "refund"})
    encode = Encoder(sources, config().data, SimpleNamespace(), classification=True, known_labels=known)
    assert is_told(lambda: [encode(block) for plan in sources.plans for block in plan.blocks()])


def test_a_sequence_longer_than_the_model_reads_as_shown(is_told):
    from trainers.models import check_positions

    assert is_told(check_positions, config(RUN_YAML, "data.max_length=4096"))


def test_folders_that_lack_something_read_as_shown(is_told):
    from trainers.folder import ModelFolder
    from trainers.tokenizer import train_tokenizer

    assert is_told(ModelFolder.open, "nowhere")
    folder = Path("model")
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    assert is_told(ModelFolder.open, folder)
    (folder / "model.safetensors").touch()
    assert is_told(ModelFolder.open, folder)
    train_tokenizer(["hello"], 300).save_pretrained(folder)
    assert is_told(ModelFolder.open, folder)


def test_more_than_the_cluster_has_reads_as_shown(is_told):
    from cluster.preflight import check_workers

    workers = config(RUN_YAML, "cluster.num_workers=8").cluster
    assert is_told(check_workers, workers, 2, 0)
    assert is_told(check_workers, workers, 16, 4)


def test_a_taken_port_reads_as_shown():
    from cluster.preflight import check_port_free

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UserError) as caught:
            check_port_free("127.0.0.1", port)
    said = re.sub(r"by \S+ \(process \d+\)", "by python (process 4242)", str(caught.value))
    assert f"mobula: {said.replace(str(port + 1), '8001').replace(str(port), '8000')}\n" in TROUBLESHOOTING


def test_runs_and_versions_that_do_not_fit_read_as_shown(is_told):
    from cluster.registry import Registry
    from cluster.runs import RunDirectory
    from serving.target import resolve

    RunDirectory.open(config())
    other = load_config("run.yaml", ["train.learning_rate=1e-4", "data.max_length=512"])
    assert is_told(RunDirectory.open, other)
    assert is_told(RunDirectory.find, "runs", "suport")
    assert is_told(resolve, "run.yaml")
    assert is_told(Registry("runs").version, "models:/support@champion")
