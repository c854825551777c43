"""actiond run."""

from __future__ import annotations

import gc
import time

import click

import actiond
from actiond.host import discovery, log, log_start, settings
from actiond.postgres.migrate import migrate
from actiond.service import main_loop
from actiond.service.supervisor import Supervisor
from actiond.words.log_lines import LogLine


@click.command("run")
@click.option(
    "--processors", "sources", multiple=True, metavar="FILE|MODULE", help="Where processors are (repeatable)."
)
@click.option("--dsn", help="The database (default: ACTIOND_DSN). Visible in `ps`: prefer the environment.")
@click.option("--migrate", "do_migrate", is_flag=True, help="Bring the schema up to date first.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--log-format", type=click.Choice(["auto", "console", "json", "journal"]))
def command(
    sources: tuple[str, ...], dsn: str | None, do_migrate: bool, log_level: str | None, log_format: str | None
) -> int:
    """Run the daemon until SIGTERM or Ctrl-C; SIGHUP reads the processors again."""
    chosen = settings.read(dsn=dsn, log_level=log_level, log_format=log_format)
    _spare_the_collector()
    log_start.begin(chosen)
    named = [*sources, *(part.strip() for part in chosen.processors.split(",") if part.strip())]
    try:
        return main_loop.leave(main_loop.run(_run, chosen, named, do_migrate))
    finally:
        log.flush()  # so that the reason why it did not start comes last


def _spare_the_collector() -> None:
    """A batch is thousands of small objects that all live until its outcomes are saved: with the default
    thresholds the collector would walk all of them, and all modules, many times a second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def _run(chosen: settings.Settings, named: list[str], do_migrate: bool) -> int:
    if do_migrate:
        began_s = time.monotonic()
        applied = await migrate(chosen.presence_dsn)  # not through a pooler
        took_s = round(time.monotonic() - began_s, 2)
        log.get_logger().info(LogLine.SCHEMA_MIGRATED, migrations=applied, took_s=took_s)
    return await Supervisor(chosen, discovery.Sources(named), actiond.__version__).run()
