"""The one process that runs, watches and changes a pool. It never imports Zope and never prints: it yields events."""
