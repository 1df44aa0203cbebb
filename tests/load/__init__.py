"""Servers under load, and under ``kill -9``: what was acknowledged is there afterwards."""
