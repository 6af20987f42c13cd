"""The one place of the version; the package's metadata and `vidro.__version__` are read from here."""

VERSION = "0.1.0"
