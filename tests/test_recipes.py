"""Every YAML that we ship as a recipe is a config that works."""

from pathlib import Path

import pytest

from cluster.config.load import dump_config, load_config

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
