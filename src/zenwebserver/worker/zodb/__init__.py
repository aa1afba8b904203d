"""What is mended in the site's own ZODB and ZEO, so that nothing acknowledged is lost and nothing is stored twice.

docs/storage.md says what holds and what does not. Only ZODB, ZEO and transaction may be imported here, inside functions
or where guards.py imports only what is installed (what it puts in place later, Zope too); Python 3.9.
"""
