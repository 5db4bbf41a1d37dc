"""Every YAML that we ship as a recipe is a config that works."""

from pathlib import Path

import pytest

from cluster.config.load import dump_config, load_config, load_variants

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("**/*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_parses_and_dumps(recipe, tmp_path):
    config = load_config(recipe)
    (tmp_path / "dumped.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "dumped.yaml") == config


def test_there_are_recipes_with_a_page_each():
    assert RECIPES
    for recipe in RECIPES:
        assert recipe.with_suffix(".md").is_file(), f"{recipe.name} has no page beside it"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_the_variants_of_a_recipe_are_runs_of_their_own(recipe):
    variants = load_variants(recipe)
    names = [config.name for configs in variants.values() for config in configs]
    assert len(set(names)) == len(names) == len(variants)


def test_the_recipe_of_comparisons_changes_rows_in_one_variant_and_the_seed_in_another():
    recipe = next(recipe for recipe in RECIPES if recipe.name == "compare-banking77.yaml")
    half, every, other = (configs[0] for configs in load_variants(recipe).values())
    assert [stage.kind for stage in half.data.stages] == ["sample"]
    assert (every.data.stages, every.train.seed, other.train.seed) == ([], 0, 1)
    assert other.train.model_copy(update={"seed": 0}) == every.train
