"""What is kept alive: servers, storage, the load balancer; and the releases that servers are forked from.

Each is one state machine (state.py): one enum, and one method that makes a transition. No operation lives here.
"""
