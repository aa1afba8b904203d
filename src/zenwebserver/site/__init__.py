"""The Zope site of a home: made where it is missing; its zope.conf, and how servers share its storage.
Text and files only: nothing here imports Zope, starts a process or opens a database.
"""
