"""The command `mobula`. A verb's module is imported when the verb runs, so help and bad configs answer at once.

Results go to stdout, progress to stderr. Exit status: 0 the thing asked for exists, 1 we failed (the
traceback is in a log file), 2 the user can mend it (one sentence says how), 130 interrupted.
"""

import importlib
import os
import sys

import click

from cluster.exceptions import UserError, mobula_cause

VERBS = {
    "init": ("cluster.cli.init:command", "Write a starter run.yaml with sample data."),
    "check": ("cluster.cli.check:command", "Say whether a run.yaml would run here, without running it."),
    "data": ("cluster.cli.data:command", "Look at rows and at what the stages make of them."),
    "train": ("cluster.cli.train:command", "Fine-tune the model that a run.yaml describes."),
    "tune": ("cluster.cli.tune:command", "Search the settings that a run.yaml leaves open."),
    "ensemble": ("cluster.cli.ensemble:command", "Let several models answer as one."),
    "evaluate": ("cluster.cli.evaluate:command", "Score a model folder on a data file."),
    "compare": ("cluster.cli.compare:command", "Say which model is better, and decide by a gate."),
    "serve": ("cluster.cli.serve:command", "Serve a run, a model folder or a registered version."),
    "chat": ("cluster.cli.chat:command", "Talk to a served model in the terminal."),
    "status": ("cluster.cli.status:command", "Show how far a run is and how it ended."),
    "logs": ("cluster.cli.logs:command", "Show the metrics and errors of a run."),
    "models": ("cluster.cli.models:command", "List registered versions and set their aliases."),
    "schema": ("cluster.cli.schema:command", "Print the JSON Schema of run.yaml for editors."),
    "quickstart": ("cluster.cli.quickstart:command", "See the whole story on this machine in a few minutes."),
}
"""Name -> (where the command object is, what it does)."""


class Verbs(click.Group):
    """A group whose commands are imported only when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order in which one uses them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command behind a verb."""
        if cmd_name not in VERBS:
            return None
        module, attribute = VERBS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from the table, so that help imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest verb for one that does not exist."""
        from cluster.config.load import nearest

        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            guess = nearest(name, VERBS)
            ctx.fail(f"no command {name!r}{f'; did you mean {guess!r}?' if guess else ''}")
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="mobula", message="%(prog)s %(version)s")
def cli() -> None:
    """Fine-tunes language models on Ray and keeps them good after they ship.

    Start with `mobula quickstart`, or `mobula init my-run` and `mobula train my-run/run.yaml`.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    try:
        sys.exit(run(arguments))
    except BrokenPipeError:  # the reader of our output (`| head`) has gone; Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status; failures become the sentences described above."""
    try:
        return int(cli.main(args=arguments, prog_name="mobula", standalone_mode=False) or 0)
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return 130
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "mobula"
        _say(f"{error.format_message()} (`{where} --help` shows how it is used)")
        return 2
    except click.ClickException as error:
        _say(error.format_message())
        return 2
    except BrokenPipeError:
        raise
    except Exception as error:  # the last place where anything can still be said to the user
        return _explain(error)


def _explain(error: Exception) -> int:
    known = mobula_cause(error)
    if isinstance(known, UserError):
        _say(str(known))
        return 2
    place = _save_traceback(error)
    _say(f"{known or _headline(error)}\nThe full story is in {place}")
    if os.environ.get("MOBULA_DEBUG") == "1":
        raise error
    return 1


def _headline(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1].strip()}"


def _save_traceback(error: Exception) -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="mobula-error-", suffix=".log", delete=False) as stream:
        stream.write(f"mobula {' '.join(sys.argv[1:])}\n\n")
        stream.writelines(traceback.format_exception(error))
    return stream.name


def _say(message: str) -> None:
    click.echo(f"mobula: {message}", err=True)
