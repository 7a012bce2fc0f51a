"""A shared study: creating and joining it, and who may start the next trial."""
