"""Put the commands together and be the edge at which errors become one sentence, a remedy and an exit code.

No module of this room imports anything heavy (numpy, polars, pydantic, torch, rich) before a command runs, so that `--help` answers
at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from wardround.cli import coordinator, demo, doctor, next, report, say, simulate, site, study, verify
from wardround.study.errors import NotAdmitted, PolicyRefused, QuorumNotMet, VerificationError, WardroundError

app = typer.Typer(
    name="wardround",
    help="Train or test one model at many hospitals; the records stay where they are. Research use; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command(short_help="Run a study on real data, from nothing to its report.")(demo.demo)
app.command(short_help="Run a study with all sites on this machine.")(simulate.simulate)
app.command(short_help="Check a study's record offline.")(verify.verify)
app.command(short_help="Write the report of a finished study again.")(report.report)
app.command(short_help="Say what waits for you here.")(next.next)
app.command(short_help="Look whether this machine can run a study.")(doctor.doctor)
app.add_typer(study.app, name="study", short_help="Write a study and check it.")
app.add_typer(site.app, name="site", short_help="Take part as a hospital: describe data, join, approve, run.")
app.add_typer(coordinator.app, name="coordinator", short_help="Set up a coordinating centre, invite hospitals, serve a study.")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say.line(f"wardround {version('wardround')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Train or test one model at many hospitals; the records stay where they are. Research use; not a medical device."""


def main() -> None:
    """Run a command; print what went wrong as one sentence and a remedy, never as a traceback.

    Set WARDROUND_TRACEBACK=1 to see where an unexpected error comes from; a traceback may show data.
    """
    as_json = "--json" in sys.argv[1:]
    try:
        app()
    except SystemExit as ended:
        wrong_use = getattr(ended.__context__, "format_message", None)  # of the library that reads the command line
        if wrong_use is not None and as_json:
            say.document({"error": {"kind": "WrongUse", "message": wrong_use(), "remedy": "Add --help to see how it is used."}})
        raise
    except WardroundError as error:
        say.complain(error, as_json)
        raise SystemExit(
            say.NO if isinstance(error, NotAdmitted | PolicyRefused | QuorumNotMet | VerificationError) else say.WRONG_USE
        ) from None
    except BrokenPipeError:
        raise SystemExit(say.OK) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        message = f"{place}{error.strerror or type(error).__name__}."
        say.complain(WardroundError(message, "Check path, rights and free space, then try again."), as_json)
        raise SystemExit(say.WRONG_USE) from None
    except Exception as error:
        # The text of a foreign error may hold a patient's value, so only its kind and place are shown.
        if os.environ.get("WARDROUND_TRACEBACK"):
            traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        message = f"The program itself failed: {type(error).__name__} in {Path(last.filename).name}, line {last.lineno}."
        remedy = "Please report this line. WARDROUND_TRACEBACK=1 before the command shows more, which may include data."
        say.complain(WardroundError(message, remedy), as_json)
        raise SystemExit(say.WRONG_USE) from None


if __name__ == "__main__":
    main()
