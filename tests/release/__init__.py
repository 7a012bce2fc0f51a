"""The lock, and what a release contains."""
