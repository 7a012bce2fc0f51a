"""The converters of archives."""
