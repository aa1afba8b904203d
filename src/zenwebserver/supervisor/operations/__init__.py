"""What can be done to a pool, one procedure a file, each to be read from top to bottom; they tell, they never print.

The signature of each: `async def NAME(supervisor, report, **what) -> str`, the closing line; errors: ZenwebserverError.
"""
