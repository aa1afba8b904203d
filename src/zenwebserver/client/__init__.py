"""The supervisor's API seen from outside: what a command asks of it, and what is said where it does not answer.

What runs is changed by the supervisor alone, never from here.
"""
