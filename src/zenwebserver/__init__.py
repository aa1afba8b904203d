"""zenwebserver: a pool of Zope servers behind an nginx that it configures itself."""

__version__ = "0.1.0"
