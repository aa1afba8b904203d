"""`python -m zenwebserver.settings` prints docs/settings.md."""

import sys

from zenwebserver.settings.writing import reference

sys.stdout.write(reference())
