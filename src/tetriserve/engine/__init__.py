"""Does what is decided: worker processes, one for each device, that run chunks and report events.

The parent process imports no torch; `worker.py` and what it imports run in the workers alone.
"""
