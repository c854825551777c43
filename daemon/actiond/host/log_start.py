"""The log of a daemon, as its settings want it."""

from __future__ import annotations

from actiond.host import discovery, log
from actiond.host.settings import Settings
from actiond.words.errors import OperatorError
from actiond.words.log_lines import LogLine


def begin(chosen: Settings) -> None:
    """Lines get out from now on. An adapter that cannot be had costs a warning and nothing else."""
    log.configure(chosen.log_format, chosen.log_level)
    if not chosen.log_adapter:
        return
    try:
        log.configure(chosen.log_format, chosen.log_level, adapter=discovery.log_adapter(chosen.log_adapter))
    except OperatorError as wrong:
        log.get_logger().warning(LogLine.LOG_ADAPTER_INVALID, adapter=chosen.log_adapter, error=str(wrong))
