"""A worker: it asks for trials, runs them and records how they ended."""
