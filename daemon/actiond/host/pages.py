"""Pages made from code, so that they cannot be wrong: `make pages` writes them, a test compares them."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from actiond.host.settings import PREFIX, Settings
from actiond.words.log_fields import COMMON_FIELDS
from actiond.words.log_lines import LogLine
from actiond.words.metrics import Metric


def _default(name: str) -> str:
    value = Settings.model_fields[name].default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def env_file() -> str:
    """deploy/actiond.env."""
    lines = ["# Settings of one actiond instance. Every line is the default; take away the # to change it.", ""]
    for name, field in Settings.model_fields.items():
        lines += [f"# {field.description}", f"#{PREFIX}{name.upper()}={_default(name)}", ""]
    return "\n".join(lines)


def settings_page() -> str:
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Read from the environment at the start; made from `daemon/actiond/host/settings.py` by `make pages`.",
        "",
        "| variable | default | what it does |",
        "| --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `{PREFIX}{name.upper()}` | `{_default(name) or ' '}` | {field.description} |")
    return "\n".join([*lines, ""])


def log_page() -> str:
    """docs/log.md."""
    lines = [
        "# Log lines",
        "",
        "Every line that the daemon prints, by name; made from `daemon/actiond/words/log_lines.py`. Lines",
        "marked * are printed at most once a minute for the same thing.",
        "",
        "| line | level | when | fields |",
        "| --- | --- | --- | --- |",
    ]
    for line in LogLine:
        mark = "" if line.once_per is None else " *"
        fields = ", ".join(f"`{field}`" for field in line.fields)
        lines.append(f"| `{line.value}`{mark} | {line.level} | {line.when} | {fields} |")
    lines += ["", "Fields that any line can have:", "", "| field | meaning |", "| --- | --- |"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in COMMON_FIELDS.items()]
    return "\n".join([*lines, ""])


def metrics_page() -> str:
    """docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Every metric that `/metrics` shows beside `process_*`, by name; made from `daemon/actiond/words/metrics.py`.",
        "How to get them, and what to make of them: [observing.md](observing.md).",
        "",
        "| metric | kind | labels | what it says |",
        "| --- | --- | --- | --- |",
    ]
    for metric in Metric:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.value}` | {metric.kind} | {labels} | {metric.what} |")
    return "\n".join([*lines, ""])


def write(root: Path) -> None:
    """All of them, below the folder of the project."""
    (root / "deploy" / "actiond.env").write_text(env_file())
    (root / "docs" / "settings.md").write_text(settings_page())
    (root / "docs" / "log.md").write_text(log_page())
    (root / "docs" / "metrics.md").write_text(metrics_page())


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[3])
