"""Processes that hold a model each. Imports only `transports` and its own environment."""
