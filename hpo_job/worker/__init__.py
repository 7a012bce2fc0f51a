"""A worker: it asks for trials, runs them and tells how they ended."""
