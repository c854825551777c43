"""Daemons that are broken on purpose: each must turn a named test red.

A broken statement text or class is handed in by constructor; no setting and no environment variable leads here.
"""
