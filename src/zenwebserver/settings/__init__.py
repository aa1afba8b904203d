"""etc/zenwebserver.conf: its schema, its defaults, and clear errors; from text to `Settings`.

Pure: reading the file is the only I/O. Nothing here asks whether a path exists or a port is free.
"""

from zenwebserver.settings.beginning import first_text
from zenwebserver.settings.mistake import SettingsError
from zenwebserver.settings.model import Settings
from zenwebserver.settings.reading import load, parse
from zenwebserver.settings.writing import commented_defaults, reference, with_values

__all__ = [
    "Settings",
    "SettingsError",
    "commented_defaults",
    "first_text",
    "load",
    "parse",
    "reference",
    "with_values",
]
