"""Command `configs`."""

from keras_arch import presets
from keras_arch.cli._output import table


def configs() -> None:
    """List the configs of the package."""
    rows = []
    for name in presets.names():
        content = presets.read(name)
        description = " ".join(content.get("description", "").split())
        source = content.get("data", {}).get("source", "")
        rows.append((name, content.get("task", ""), source, description))
    table(("name", "task", "data", "description"), rows)
