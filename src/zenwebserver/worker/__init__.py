"""Runs in the site's Python: boots Zope, serves it with waitress, leaves without losing a request, reports.

Only the standard library, Zope, Paste Deploy and waitress may be imported here, nothing else of ours; Python 3.9.
"""
