"""Sessions as JSON lines, of any number and length: writing, checking and importing them.

``docs/export.md`` describes the format line by line.
"""
