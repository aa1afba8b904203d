"""nginx, the load balancer: which binary, its configuration as text, its certificates, and its control.

Nothing here knows how a Zope server is started or who is in the pool: it is told.
"""
