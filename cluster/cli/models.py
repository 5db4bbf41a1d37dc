"""`mobula models`: the registry on the command line."""

import click

from cluster.cli.output import json_option, local_time, print_json, print_table, storage_option


@click.group(invoke_without_command=True)
@click.pass_context
@storage_option
@json_option
def command(context: click.Context, storage_path: str, as_json: bool) -> None:
    """List registered versions with their aliases, or change an alias."""
    context.obj = storage_path
    if context.invoked_subcommand is None:
        _list(storage_path, as_json)


@command.command("set-alias", epilog="Example: mobula models set-alias support-desk 3 champion")
@click.argument("name")
@click.argument("version", type=int)
@click.argument("alias")
@click.pass_obj
def set_alias(storage_path: str, name: str, version: int, alias: str) -> None:
    """Point ALIAS (champion, challenger, ...) of NAME at VERSION."""
    from cluster.registry import Registry

    registry = Registry(storage_path)
    registry.set_alias(name, version, alias)
    read_back = registry.version(f"models:/{name}@{alias}")
    click.echo(f"models:/{name}@{alias} is version {read_back.version}: {read_back.folder}")


def _list(storage_path: str, as_json: bool) -> None:
    from cluster.registry import Registry

    registry = Registry(storage_path)
    versions = [version for name in registry.names() for version in registry.versions(name)]
    if as_json:
        print_json([vars(version) for version in versions])
    elif versions:
        rows = [
            (one.name, one.version, one.aliases, local_time(one.created_unix_s), _best(one.metrics), one.folder)
            for one in versions
        ]
        print_table(("name", "version", "aliases", "created", "metrics", "folder"), rows)
    else:
        click.echo(f"nothing is registered in {storage_path}; `mobula train` registers what it trains", err=True)


def _best(metrics: dict[str, float]) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in list(metrics.items())[:3]) or "-"
