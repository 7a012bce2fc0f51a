"""What text classification (ULMFiT) is made of."""
