"""The database that workers share: opening it, and its lock."""
