"""The best trials' models: kept in a store, and exported."""
