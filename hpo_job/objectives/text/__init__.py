"""The parts of text classification (ULMFiT)."""
