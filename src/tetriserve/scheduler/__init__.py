"""Decides who works on what, and when. Knows no clock, no device and no network: events in, commands out."""
