"""Engines: what brings a job to a thread."""
