"""Where processes of the site call: who is expected (by the token of an order), what they say, what they are told.

Nothing here decides what is to run.
"""
