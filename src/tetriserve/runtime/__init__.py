"""The wall clock: one asyncio loop drives the scheduler with real events and hands its commands to real workers."""
