"""`docs/commands.md` says of every command what its `--help` says."""

from __future__ import annotations

import typer

from tests.docs.write_help import COMMANDS, document


def test_the_page_says_what_the_program_says() -> None:
    from wardround.cli.main import app

    assert COMMANDS.read_text(encoding="utf-8") == document(app), "refresh docs/commands.md: .venv/bin/python -m tests.docs.write_help"


def small_app(text: str) -> typer.Typer:
    app = typer.Typer()
    site = typer.Typer()
    app.add_typer(site, name="site", help="Work at a hospital.")

    @site.command()
    def join(name: str = typer.Option("", help=text)) -> None:
        """Join a study."""

    @app.command(hidden=True)
    def secret() -> None:
        """Stay out of sight."""

    @app.command()
    def doctor() -> None:
        """Look at this machine."""

    return app


def test_every_command_has_its_heading_and_a_changed_word_shows() -> None:
    page = document(small_app("Who joins."))
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert sorted(headings) == ["## wardround", "## wardround doctor", "## wardround site", "## wardround site join"]
    assert "Who joins." in page
    assert "Usage: wardround site join [OPTIONS]" in page
    assert "\x1b" not in page
    assert page == document(small_app("Who joins."))
    assert page != document(small_app("Who leaves."))
