"""The `loadstar` program: index, serve, route, explain, show, eval, fit, calibrate, train,
report, doctor."""

from __future__ import annotations

import os
import sys

import typer

from app.settings import AppSettings
from cli import calibrate, doctor, evaluate, explain, fit, index, report, route, serve, show, train
from cli.output import print_error
from core.errors import LoadstarError
from core.settings import refuse_unknown_settings
from indexer.settings import IndexerSettings

program = typer.Typer(
    name="loadstar",
    help="The skill router that knows when not to load.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
program.command("index", epilog=index.EXAMPLE)(index.index)
program.command("serve", epilog=serve.EXAMPLE)(serve.serve)
program.command("route", epilog=route.EXAMPLE)(route.route)
program.command("explain", epilog=explain.EXAMPLE)(explain.explain)
program.command("show", epilog=show.EXAMPLE)(show.show)
program.command("eval", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
program.command("fit", epilog=fit.EXAMPLE)(fit.fit)
program.command("calibrate", epilog=calibrate.EXAMPLE)(calibrate.calibrate)
program.add_typer(train.program, name="train")
program.add_typer(report.program, name="report")
program.command("doctor", epilog=doctor.EXAMPLE)(doctor.doctor)


def main() -> None:
    """Run the command line; an error that a user can act on is one line and exit code 1."""
    try:
        refuse_unknown_settings(os.environ, (AppSettings, IndexerSettings))
        program()
    except LoadstarError as error:
        print_error(error, "--json" in sys.argv)
        sys.exit(1)


if __name__ == "__main__":
    main()
