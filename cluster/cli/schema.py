"""`mobula schema`: the JSON Schema of run.yaml."""

import click

from cluster.cli.output import print_json


@click.command(epilog="In an editor: # yaml-language-server: $schema=run.schema.json")
def command() -> None:
    """Print the JSON Schema of run.yaml, from which editors complete keys and show their meaning."""
    from cluster.config import RunConfig

    schema = RunConfig.model_json_schema()
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema)
