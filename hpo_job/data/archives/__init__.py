"""Tables made of published archives."""
