"""What docs/data-stages.md shows of cleaning."""

import re
from pathlib import Path

import yaml

from cluster.config.stages import parse_stages
from cluster.config.stages.clean import CleanStage
from tests.trainers.data.stages.clean.rows import chat
from trainers.data.record import Record
from trainers.data.stages import STAGES, StageContext, build_stage, stage_class
from trainers.data.staging import run_stage

PAGE = Path(__file__).resolve().parents[5] / "docs" / "data-stages.md"
SECTION = PAGE.read_text().partition("\n## Cleaning\n")[2].partition("\n## ")[0]
SNIPPETS = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)]


def test_each_kind_is_shown_and_each_snippet_can_be_built():
    kinds = {kind.model_fields["kind"].default for kind in CleanStage.__args__}
    shown = [config for snippet in SNIPPETS for config in parse_stages(snippet)]
    assert {config.kind for config in shown} == kinds <= set(STAGES)
    for config in shown:
        if not getattr(config, "presidio", None) and not getattr(config, "toxicity", None):
            stage_class(config.kind).inputs(config)
            build_stage(config, StageContext(classification=True))


def test_the_list_to_start_from_keeps_good_rows_and_says_why_others_go():
    rows = {
        "kept": chat("It left our store on Monday, caf\u00c3\u00a9 included; write to jane@example.com."),
        "missing": chat("N/A"),
        "truncated": chat("It left our store on Monday and should be with you soon, because of"),
        "language": chat(
            "Elle est partie lundi et devrait arriver chez vous demain.", "Où est ma commande, s'il vous plaît ?"
        ),
        "quality": chat("I will be there. " * 20),
    }
    records = [Record(row, place=name) for name, row in rows.items()]
    for config in parse_stages(SNIPPETS[0]):
        records = run_stage(build_stage(config, StageContext()), records)
    assert {one.place: (one.rejected or "kept").partition(":")[0] for one in records} == {name: name for name in rows}
    assert records[0].texts()[-1] == "It left our store on Monday, café included; write to <EMAIL>."
    assert records[0].changes == ["unicode", "pii"] and records[0].notes["language"] == "en"
