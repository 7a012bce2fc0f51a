"""The models of the best trials: stored and exported."""
